//! `pgscript plan` and `run --plan` as they are typed, on a simulated engine in a file.

use std::process::Command;

use pgscript::world::sim;
use serde_json::Value;

use crate::program::{Run, pgscript, run};
use crate::simulated::world::World;
use crate::terminal::Seat;

const SETTINGS: [&str; 6] = ["--set", "to=17", "--set", "ansible_dir=/srv/primero/ansible", "--set", "strategy=dump"];

impl World {
    /// The upgrade, with `first` before its parameters.
    fn upgrade(&self, first: &[&str]) -> Command {
        self.pgscript(&[first, &SETTINGS].concat())
    }

    fn file(&self) -> String {
        self.dir().join("plan.json").display().to_string()
    }

    /// How many moments of it there have been: a change is two.
    fn instants(&self) -> u64 {
        self.look(|state| state.instants)
    }
}

fn reference() -> World {
    World::of(sim::reference(13))
}

fn output(mut command: Command) -> (i32, String) {
    let Run { code, text } = run(&mut command);
    (code, text)
}

#[test]
fn a_plan_is_shown_kept_and_run() {
    use std::os::unix::fs::PermissionsExt;
    let world = reference();
    let before = world.instants();
    let (code, said) = output(world.upgrade(&["plan", "upgrade.rhai", "--out", &world.file()]));
    assert_eq!(code, 0, "{said}");
    for line in ["stop the application", "+ docker stop -t 60 primero-application-1", "outage: about", "Assumed:"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(std::fs::metadata(world.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(world.file()).unwrap().contains("primero-secret"));
    assert_eq!(world.instants(), before, "the world was changed");
    let (code, said) = output(world.upgrade(&["plan", "upgrade.rhai", "--short", "--format", "json"]));
    let line = said.lines().rfind(|line| line.starts_with("{\"event\":\"plan\"")).unwrap();
    let plan: Value = serde_json::from_str(line).unwrap();
    assert_eq!((code, &plan["version"], &plan["script"]), (0, &1.into(), &"upgrade.rhai".into()));
    let (code, said) = output(world.pgscript(&["run", "--plan", &world.file(), "--set", "to=16"]));
    assert!(code == 3 && said.contains("error[plan.other_parameters]"), "{code}: {said}");
    let (code, said) = output(world.pgscript(&["run", "--plan", &world.file()]));
    assert_eq!(code, 0, "{said}");
    let image = world.of_container("primero-postgres-1", |server| server.image.clone());
    assert_eq!(image.as_deref(), Some("pgscript-test/postgres:17"));
    let (code, said) = output(world.pgscript(&["run", "--plan", &world.file()]));
    assert!(code == 3 && said.contains("error[plan.world_moved]"), "{code}: {said}");
}

#[test]
fn the_world_of_a_plan_is_kept_without_secrets_for_drills_and_tests() {
    use std::os::unix::fs::PermissionsExt;
    let world = reference();
    let kept = world.dir().join("own.world");
    let mut there = world.upgrade(&["plan", "upgrade.rhai", "--short", "--capture", "own.world"]);
    there.current_dir(world.dir());
    let (code, said) = output(there);
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&kept).unwrap().contains("primero-secret"));
    let (code, said) = output(world.upgrade(&["plan", "upgrade.rhai", "--capture", kept.to_str().unwrap()]));
    assert!(code == 2 && said.contains("error[host.exists]"), "{code}: {said}");
    let step = ["drill", "upgrade.rhai", "--step", "deploy the new version", "--world", kept.to_str().unwrap()];
    let (code, said) = output(pgscript(&[&step[..], &SETTINGS].concat()));
    assert!(code == 0 && said.ends_with(": 0 findings\n"), "{code}: {said}");
    let test = world.dir().join("own_test.rhai");
    let text = "fn test_it() {
        sim::captured(\"own.world\");
        let run = sim::run(\"upgrade.rhai\", #{ to: 17, ansible_dir: \"/srv/primero/ansible\" });
        assert_eq(`${run.end} ${run.message}`, \"done \");
        assert_eq(sim::lost(), 0);
    }
    fn test_none() { assert_fails(\"host.not_found\", || sim::captured(\"another.world\")); }
    fn test_no_world() { assert_fails(\"sim.unreadable\", || sim::captured(\"own_test.rhai\")); }";
    std::fs::write(&test, text).unwrap();
    let (code, said) = output(pgscript(&["test", test.to_str().unwrap()]));
    assert!(code == 0 && said.contains("3 passed, 0 failed"), "{code}: {said}");
}

#[test]
fn what_is_no_plan_is_not_run_and_a_plan_is_not_written_over() {
    let world = reference();
    std::fs::write(world.file(), "{}").unwrap();
    let (code, said) = output(world.pgscript(&["run", "--plan", &world.file()]));
    assert!(code == 2 && said.contains("error[plan.unreadable]"), "{code}: {said}");
    let (code, said) = output(world.upgrade(&["plan", "upgrade.rhai", "--out", &world.file()]));
    assert!(code == 2 && said.contains("error[host.exists]"), "{code}: {said}");
}

#[test]
fn a_plan_of_what_is_refused_ends_as_its_run_would() {
    let world = reference();
    world.arrange(|state| state.free = 1000);
    let (code, said) = output(world.upgrade(&["plan", "upgrade.rhai"]));
    assert!(code == 3 && said.contains("[preflight.space]"), "{code}: {said}");
}

#[test]
fn at_a_terminal_the_operator_is_asked_once_before_the_outage() {
    let world = reference();
    let before = world.instants();
    let mut terminal = Seat::new(&world.upgrade(&["run", "upgrade.rhai"])).start();
    terminal.expect("stopped meanwhile:").expect("Begin?").expect("(yes/no)").type_line("no");
    assert_eq!(terminal.wait(), 4);
    assert!(terminal.text().contains("run.declined"), "{}", terminal.text());
    assert_eq!(world.instants(), before, "the world was changed");
    let mut terminal = Seat::new(&world.upgrade(&["run", "upgrade.rhai"])).start();
    terminal.expect("Begin?").expect("(yes/no)").type_line("yes");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(terminal.text().matches("Begin?").count(), 1, "{}", terminal.text());
}

#[test]
fn at_a_terminal_nothing_is_asked_with_yes_or_where_nothing_is_stopped() {
    let world = reference();
    let quiet = world.dir().join("quiet.rhai");
    std::fs::write(&quiet, "step(\"s\", || host::write(\"/x\", \"y\"), #{ commit: true, undo: false });").unwrap();
    for command in [world.upgrade(&["run", "upgrade.rhai", "--yes"]), world.pgscript(&["run", quiet.to_str().unwrap()])]
    {
        let mut terminal = Seat::new(&command).start();
        assert_eq!(terminal.wait(), 0, "{}", terminal.text());
        assert!(!terminal.text().contains("Begin?"), "{}", terminal.text());
    }
}
