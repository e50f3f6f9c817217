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

/// Killed between its making and the journal's line about it, or with its store gone since: nobody's.
#[test]
fn a_lock_that_is_nobody_s_is_taken_over_by_the_next_command_of_any_kind() {
    let script = r#"step("lock", || { run::lock("STACK"); host::sleep(60.0); }, #{ undo: || () });"#;
    let case = Case::new("lock", script);
    let locked = || wait_until("the lock", || !case.lock().is_empty());
    let killed = Watched::start(case.run());
    locked();
    // Somebody's, while the process lives and while its run is unfinished.
    case.anything().expect(0, &[]);
    assert_ne!(case.lock(), "");
    killed.kill();
    case.anything().expect(0, &[]);
    assert_ne!(case.lock(), "", "its run can be gone on with");
    std::fs::remove_dir_all(case.path("runs")).unwrap();
    // Whoever came first, another test perhaps, has heard of it.
    let heard = case.anything().expect(0, &[]).text;
    let said = format!("the lock of {} was taken over from run main-1 of {}", case.stack, case.path("runs"));
    assert!(!heard.contains("taken over") || heard.contains(&said), "{heard}");
    assert_eq!(case.lock(), "");
    // Its run is over, but it was killed before it gave the lock back: found by its labels, not by the journal.
    let killed = Watched::start(case.run());
    locked();
    killed.kill();
    run(&mut case.command(&["rollback", "main-1", "--yes"])).expect(0, &["is rolled back"]);
    assert_eq!(case.lock(), "");
}

/// Each line of the journal around the making of the lock.
#[test]
fn killed_around_the_lock_a_run_is_rolled_back_without_leaving_one() {
    let script = r#"step("lock", || run::lock("STACK"), #{ repeatable: true, undo: || () }); step("x", || (), #{});"#;
    let case = Case::new("around", script);
    for line in 3..9 {
        for at in ["before", "after"] {
            let killed = run(case.run().env("PGSCRIPT_KILL_AT", format!("{at}:{line}")));
            assert_eq!(killed.code, -1, "{at}:{line}: {}", killed.text);
            run(&mut case.command(&["rollback", "--yes"]));
            run(&mut case.run()).expect(0, &["is done"]);
            assert_eq!(case.lock(), "", "{at}:{line}");
        }
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

/// What a user has made, and keeps, is nobody's helper.
#[test]
fn a_script_s_own_container_is_not_swept() {
    let script = r#"
step("make", || docker::create(#{ name: "STACK", image: "IMAGE" }), #{});
step("wait", || host::sleep(60.0), #{});
"#;
    let case = Case::new("own", &script.replace("IMAGE", IMAGE));
    let mut running = Watched::start(case.run());
    running.until("2 wait");
    running.kill();
    case.anything().expect(0, &[]);
    let found = docker(&["ps", "-aq", "--filter", &format!("name=^{}$", case.stack)]);
    docker(&["rm", "-v", &case.stack]);
    assert_ne!(found, "");
}
