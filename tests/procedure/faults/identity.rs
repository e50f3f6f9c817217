//! A run belongs to its engine: what has the same names on another one is not taken for the run's.

use std::process::Command;

use super::engines::Engine;
use crate::stack::{Run, docker, pgscript, run};

/// Makes a volume; fails until there is a file `go`.
const SCRIPT: &str = r#"
let name = param("name");
let path = param("path");
step("make", || if !volume::exists(name) { volume::create(name) },
    #{ repeatable: true, undo: || if volume::exists(name) { volume::remove(volume::inspect(name)) } });
step("wait", || if !host::exists(path) { fail("test.waits", "not yet") }, #{ repeatable: true });
"#;

/// A run that has failed half way, on this machine's engine, and a second engine with a volume of the same name.
struct Case {
    dir: tempfile::TempDir,
    name: String,
    other: Engine,
}

impl Case {
    fn new() -> Self {
        let other = Engine::without_images(&[]);
        let dir = tempfile::tempdir().unwrap();
        let case = Self { name: format!("{}-identity", other.name), dir, other };
        std::fs::write(case.path("main.rhai"), SCRIPT).unwrap();
        let set = [format!("name={}", case.name), format!("path={}", case.path("go"))];
        case.pgscript(&["run", &case.path("main.rhai"), "--keep", "--set", &set[0], "--set", &set[1]])
            .expect(1, &["test.waits", "nothing was put back"]);
        case.on_other(&["volume", "create", "--label", "whose=another", &case.name]);
        case
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = pgscript(args);
        command.env("PGSCRIPT_STORE", self.path("runs")).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command
    }

    fn pgscript(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    fn on_other(&self, args: &[&str]) -> String {
        docker(&[&["--host", &self.other.host], args].concat())
    }

    /// As pgscript tells it from others: daemons of one machine may call themselves the same.
    fn id_of_other(&self) -> String {
        let asked = self.pgscript(&["eval", "docker::info().id", "--docker", &self.other.host]).expect(0, &[]);
        asked.text.trim().trim_matches('"').to_owned()
    }

    #[track_caller]
    fn other_is_untouched(&self) {
        assert_eq!(self.on_other(&["volume", "inspect", "-f", "{{.Labels.whose}}", &self.name]), "another");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        _ = Command::new("docker").args(["volume", "rm", &self.name]).output();
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn an_engine_that_has_got_another_id_is_the_run_s_once_the_operator_says_so() {
    let case = Case::new();
    let (other, id) = (case.other.host.clone(), case.id_of_other());
    std::fs::write(case.path("go"), "").unwrap();
    case.pgscript(&["resume", "--docker", &other, "--allow-data-loss", "engine:0123456789abcdef"])
        .expect(3, &["error[run.other_engine]"]);
    let allowed = ["--docker", &other, "--allow-data-loss", &format!("engine:{id}")];
    case.pgscript(&[&["resume"], &allowed[..]].concat()).expect(0, &["is done"]);
    // From now on it is the run's, without a word.
    case.pgscript(&["eval", "--run", "1", "docker::info().id"]).expect(0, &[&id]);
    case.other_is_untouched();
}
