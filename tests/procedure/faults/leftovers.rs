//! Nothing of pgscript's own is left, and nothing left is in the way: locks and helpers of processes that are gone.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::stack::{Run, Watched, docker, pgscript, run};

const IMAGE: &str = "pgscript-test/postgres:17";

/// A script that works on a stack of this name, which needs no containers.
struct Case {
    dir: tempfile::TempDir,
    stack: String,
}

impl Case {
    fn new(test: &str, script: &str) -> Self {
        let case = Self { dir: tempfile::tempdir().unwrap(), stack: format!("pgt-{}-{test}", std::process::id()) };
        std::fs::write(case.path("main.rhai"), script.replace("STACK", &case.stack)).unwrap();
        case
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = pgscript(args);
        command.env("PGSCRIPT_STORE", self.path("runs"));
        command
    }

    fn run(&self) -> Command {
        self.command(&["run", &self.path("main.rhai"), "--yes"])
    }

    /// Any other command that speaks to the engine, from another store.
    fn anything(&self) -> Run {
        run(pgscript(&["eval", "docker::info().version"]).env("PGSCRIPT_STORE", self.path("elsewhere")))
    }

    fn lock(&self) -> String {
        docker(&["ps", "-aq", "--filter", &format!("name=^pgscript-lock-{}$", self.stack)])
    }

    /// Containers, in any state, that mount the volume.
    fn holders(&self, volume: &str) -> String {
        docker(&["ps", "-aq", "--filter", &format!("volume={volume}")])
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        _ = Command::new("docker").args(["rm", "-f", &format!("pgscript-lock-{}", self.stack)]).output();
        _ = Command::new("docker").args(["volume", "rm", "-f", &self.stack]).output();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(watched: &Watched, name: &str) {
    _ = Command::new("kill").args([&format!("-{name}"), &watched.id().to_string()]).status();
}

#[test]
fn early_interrupt_keeps_the_lock_no_more() {
    let script = r#"
step("lock", || { run::lock("STACK"); host::sleep(0.3); }, #{ repeatable: true, undo: || () });
step("act", || host::sleep(60.0), #{ undo: || host::sleep(0.2) });
"#;
    let case = Case::new("early", script);
    // Around the instant in which the lock is made, and after it; once, twice, and by other signals.
    for (number, signals) in [&["INT", "INT"][..], &["INT"], &["TERM"], &["HUP"]].iter().cycle().take(20).enumerate() {
        let watched = Watched::start(case.run());
        std::thread::sleep(Duration::from_millis(30 * number as u64));
        for name in *signals {
            signal(&watched, name);
            std::thread::sleep(Duration::from_millis(if number % 3 == 0 { 5 } else { 60 }));
        }
        let ended = watched.end();
        let said = &ended.text;
        if said.contains("rolling back") || said.contains("not put back") {
            // The second one stops putting back: then there is something to go on with.
            continue;
        }
        assert_eq!(case.lock(), "", "{signals:?} after {} ms: {said}", 30 * number);
    }
}

#[test]
fn helper_without_a_name_is_swept_by_the_next_command() {
    let script = r#"
step("make", || if !volume::exists("STACK") { volume::create("STACK") }, #{ repeatable: true });
step("look", || docker::run(#{ image: "IMAGE", entrypoint: ["sleep"], command: ["600"], network: "none",
    mounts: [#{ kind: "volume", name: "STACK", destination: "/data" }] }), #{ repeatable: true });
"#;
    let case = Case::new("helper", &script.replace("IMAGE", IMAGE));
    let running = Watched::start(case.run());
    wait_until("the helper", || !case.holders(&case.stack).is_empty());
    // Whoever lives keeps it.
    case.anything().expect(0, &[]);
    let helper = case.holders(&case.stack);
    assert_ne!(helper, "");
    let mounts = docker(&["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}\n{{end}}", &helper]);
    let volumes: Vec<_> = mounts.lines().filter(|line| line.starts_with("volume ")).collect();
    assert_eq!(volumes, [format!("volume {} /data", case.stack)], "no anonymous volume of the image: {mounts}");
    let labels = docker(&["inspect", "-f", "{{json .Config.Labels}}", &helper]);
    for label in ["pgscript.helper", "pgscript.owner", "pgscript.run"] {
        assert!(labels.contains(label), "{label}: {labels}");
    }
    running.kill();
    case.anything().expect(0, &[]);
    assert_eq!(case.holders(&case.stack), "");
    run(&mut case.command(&["rollback", "--yes"]));
}
