//! `pgscript plan` and `run --plan` as they are typed, on a simulated engine in a file.

#[path = "terminal/mod.rs"]
mod terminal;

use std::path::PathBuf;
use std::process::Command;

use pgscript::world::sim::{self, State};
use serde_json::Value;
use tempfile::TempDir;
use terminal::Seat;

const SETTINGS: [&str; 6] = ["--set", "to=17", "--set", "ansible_dir=/srv/primero/ansible", "--set", "strategy=dump"];

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.put(&sim::reference(13));
        std::fs::create_dir(place.dir.path().join("site")).unwrap();
        place
    }

    fn world(&self) -> PathBuf {
        self.dir.path().join("world")
    }

    fn put(&self, world: &State) {
        std::fs::write(self.world(), serde_json::to_vec(world).unwrap()).unwrap();
    }

    fn state(&self) -> State {
        serde_json::from_slice(&std::fs::read(self.world()).unwrap()).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.elsewhere(args);
        command.arg("--docker").arg(format!("sim://{}", self.world().display()));
        command
    }

    /// Of a subcommand that asks no engine.
    fn elsewhere(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.args(args);
        command.env("PGSCRIPT_SITE", self.dir.path().join("site")).env("NO_COLOR", "1");
        command.env("PGSCRIPT_STORE", self.dir.path().join("store")).stdin(std::process::Stdio::null());
        command
    }

    /// The upgrade, with `first` before its parameters.
    fn upgrade(&self, first: &[&str]) -> Command {
        self.command(&[first, &SETTINGS].concat())
    }

    fn upgrade_elsewhere(&self, first: &[&str]) -> Command {
        self.elsewhere(&[first, &SETTINGS].concat())
    }

    fn file(&self) -> String {
        self.dir.path().join("plan.json").display().to_string()
    }
}

fn output(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_plan_is_shown_kept_and_run() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let before = place.state().instants;
    let (code, said) = output(place.upgrade(&["plan", "upgrade.rhai", "--out", &place.file()]));
    assert_eq!(code, 0, "{said}");
    for line in ["stop the application", "+ docker stop -t 60 primero-application-1", "outage: about", "Assumed:"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(std::fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(place.file()).unwrap().contains("primero-secret"));
    assert_eq!(place.state().instants, before, "the world was changed");
    let (code, said) = output(place.upgrade(&["plan", "upgrade.rhai", "--short", "--format", "json"]));
    let line = said.lines().rfind(|line| line.starts_with("{\"event\":\"plan\"")).unwrap();
    let plan: Value = serde_json::from_str(line).unwrap();
    assert_eq!((code, &plan["version"], &plan["script"]), (0, &1.into(), &"upgrade.rhai".into()));
    let (code, said) = output(place.command(&["run", "--plan", &place.file(), "--set", "to=16"]));
    assert!(code == 3 && said.contains("error[plan.other_parameters]"), "{code}: {said}");
    let (code, said) = output(place.command(&["run", "--plan", &place.file()]));
    assert_eq!(code, 0, "{said}");
    let server = place.state();
    assert_eq!(server.container("primero-postgres-1").unwrap().image, "pgscript-test/postgres:17");
    let (code, said) = output(place.command(&["run", "--plan", &place.file()]));
    assert!(code == 3 && said.contains("error[plan.world_moved]"), "{code}: {said}");
}

#[test]
fn the_world_of_a_plan_is_kept_without_secrets_for_drills_and_tests() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let world = place.dir.path().join("site/own.world");
    let mut there = place.upgrade(&["plan", "upgrade.rhai", "--short", "--capture", "own.world"]);
    there.current_dir(world.parent().unwrap());
    let (code, said) = output(there);
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::metadata(&world).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&world).unwrap().contains("primero-secret"));
    let (code, said) = output(place.upgrade(&["plan", "upgrade.rhai", "--capture", world.to_str().unwrap()]));
    assert!(code == 2 && said.contains("error[host.exists]"), "{code}: {said}");
    let step = ["drill", "upgrade.rhai", "--step", "deploy the new version", "--world", world.to_str().unwrap()];
    let (code, said) = output(place.upgrade_elsewhere(&step));
    assert!(code == 0 && said.ends_with(": 0 findings\n"), "{code}: {said}");
    let test = place.dir.path().join("site/own_test.rhai");
    let text = "fn test_it() {
        sim::captured(\"own.world\");
        let run = sim::run(\"upgrade.rhai\", #{ to: 17, ansible_dir: \"/srv/primero/ansible\" });
        assert_eq(`${run.end} ${run.message}`, \"done \");
        assert_eq(sim::lost(), 0);
    }
    fn test_none() { assert_fails(\"host.not_found\", || sim::captured(\"another.world\")); }
    fn test_no_world() { assert_fails(\"sim.unreadable\", || sim::captured(\"own_test.rhai\")); }";
    std::fs::write(&test, text).unwrap();
    let (code, said) = output(place.elsewhere(&["test", test.to_str().unwrap()]));
    assert!(code == 0 && said.contains("3 passed, 0 failed"), "{code}: {said}");
}

#[test]
fn what_is_no_plan_is_not_run_and_a_plan_is_not_written_over() {
    let place = Place::new();
    std::fs::write(place.file(), "{}").unwrap();
    let (code, said) = output(place.command(&["run", "--plan", &place.file()]));
    assert!(code == 2 && said.contains("error[plan.unreadable]"), "{code}: {said}");
    let (code, said) = output(place.upgrade(&["plan", "upgrade.rhai", "--out", &place.file()]));
    assert!(code == 2 && said.contains("error[host.exists]"), "{code}: {said}");
}

#[test]
fn a_plan_of_what_is_refused_ends_as_its_run_would() {
    let place = Place::new();
    let mut world = place.state();
    world.free = 1000;
    place.put(&world);
    let (code, said) = output(place.upgrade(&["plan", "upgrade.rhai"]));
    assert!(code == 3 && said.contains("[preflight.space]"), "{code}: {said}");
}

#[test]
fn at_a_terminal_the_operator_is_asked_once_before_the_outage() {
    let place = Place::new();
    let before = place.state().instants;
    let mut terminal = Seat::new(&place.upgrade(&["run", "upgrade.rhai"])).start();
    terminal.expect("stopped meanwhile:").expect("Begin?").expect("(yes/no)").type_line("no");
    assert_eq!(terminal.wait(), 4);
    assert!(terminal.text().contains("run.declined"), "{}", terminal.text());
    assert_eq!(place.state().instants, before, "the world was changed");
    let mut terminal = Seat::new(&place.upgrade(&["run", "upgrade.rhai"])).start();
    terminal.expect("Begin?").expect("(yes/no)").type_line("yes");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(terminal.text().matches("Begin?").count(), 1, "{}", terminal.text());
}

#[test]
fn at_a_terminal_nothing_is_asked_with_yes_or_where_nothing_is_stopped() {
    let place = Place::new();
    let quiet = place.dir.path().join("quiet.rhai");
    std::fs::write(&quiet, "step(\"s\", || host::write(\"/x\", \"y\"), #{ commit: true, undo: false });").unwrap();
    for command in [place.upgrade(&["run", "upgrade.rhai", "--yes"]), place.command(&["run", quiet.to_str().unwrap()])]
    {
        let mut terminal = Seat::new(&command).start();
        assert_eq!(terminal.wait(), 0, "{}", terminal.text());
        assert!(!terminal.text().contains("Begin?"), "{}", terminal.text());
    }
}
