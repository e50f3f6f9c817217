//! A run belongs to its engine: what has the same names on another one is not taken for the run's.

use std::process::Command;

use pgscript::world::sim::{State, with_images};

use crate::program::{Run, run};
use crate::simulated::world::World;

/// Makes a volume; fails until there is a file `go`.
const SCRIPT: &str = r#"
step("make", || if !volume::exists("own") { volume::create("own") },
    #{ repeatable: true, undo: || if volume::exists("own") { volume::remove(volume::inspect("own")) } });
step("wait", || if !host::exists("/srv/go") { fail("test.waits", "not yet") }, #{ repeatable: true });
"#;

/// A run that has failed half way on one engine, and a second engine with a volume of the same name.
struct Case {
    world: World,
    other: World,
}

impl Case {
    fn new() -> Self {
        let world = World::of(with_images());
        world.own(SCRIPT, &["--keep"]).expect(1, &["test.waits", "nothing was put back"]);
        let mut other = with_images();
        other.engine.id = "ANOTHER:ONE".into();
        let labels = [("whose".to_owned(), "another".to_owned())].into();
        other.make_volume("own", "local", &labels, &Default::default()).unwrap();
        Self { world, other: World::of(other) }
    }

    /// As an operator types it who has no engine in the environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.pgscript(arguments);
        command.env_remove("DOCKER_HOST");
        command
    }

    fn pgscript(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    /// As pgscript tells it from others: daemons of one machine may call themselves the same.
    fn id_of_other(&self) -> String {
        let asked = self.pgscript(&["eval", "docker::info().id", "--docker", &self.other.address()]).expect(0, &[]);
        asked.text.trim().trim_matches('"').to_owned()
    }

    #[track_caller]
    fn other_is_untouched(&self) {
        let whose = |state: &State| state.volumes["own"].labels["whose"].clone();
        assert_eq!(self.other.look(whose), "another");
    }
}

#[test]
fn other_engine_is_never_taken_for_the_run_s() {
    let case = Case::new();
    let (own, other, id) = (case.world.address(), case.other.address(), case.id_of_other());
    // Named by the operator: refused, with words, whatever the command.
    for command in
        [&["rollback", "own-1", "--yes"][..], &["resume", "own-1"], &["eval", "--run", "1", "docker::info()"]]
    {
        case.pgscript(&[command, &["--docker", &other]].concat())
            .expect(3, &["error[run.other_engine]", "run own-1 belongs to the Docker engine of"])
            .expect(3, &[&format!("with /var/lib/docker ({own}, id ")])
            .expect(3, &[&format!("what answers at {other} is another one")])
            .expect(3, &["nothing was done", &format!("--docker {own}")])
            .expect(3, &[&format!("--docker {other} --allow-data-loss engine:{id}")]);
    }
    case.pgscript(&["status", "own-1", "--docker", &other]).expect(0, &["own-1: failed"]);
    assert!(case.world.has_volume("own"));
    case.other_is_untouched();
    // The environment of a later command does not win over the journal.
    let rolled_back = run(case.command(&["rollback", "own-1", "--yes"]).env("DOCKER_HOST", &other));
    rolled_back.expect(0, &["DOCKER_HOST is not heeded", &format!("belongs to the engine {own}")]);
    assert!(!case.world.has_volume("own"));
    case.other_is_untouched();
}

#[test]
fn an_engine_that_has_got_another_id_is_the_run_s_once_the_operator_says_so() {
    let case = Case::new();
    let (other, id) = (case.other.address(), case.id_of_other());
    case.other.arrange(|state| state.make_directories("/srv/go".as_ref()).unwrap());
    case.pgscript(&["resume", "--docker", &other, "--allow-data-loss", "engine:0123456789abcdef"])
        .expect(3, &["error[run.other_engine]"]);
    let allowed = ["--docker", &other, "--allow-data-loss", &format!("engine:{id}")];
    case.pgscript(&[&["resume"], &allowed[..]].concat()).expect(0, &["is done"]);
    // From now on it is the run's, without a word.
    case.pgscript(&["eval", "--run", "1", "docker::info().id"]).expect(0, &[&id]);
    case.other_is_untouched();
}
