//! An engine that goes away, falls silent, and comes back.

use std::time::{Duration, Instant};

use crate::gate::Gate;
use crate::place::wait_until;
use crate::repl::engine::{IMAGE, LABEL, Things, docker};

use super::*;

/// What whoever types must not wait for; a machine that builds beside it is slow.
const SOON: Duration = Duration::from_secs(5);

/// A container that runs and waits, known to the engine behind the gate.
fn sleeper(test: &str) -> Things {
    let things = Things::new(test);
    let label = format!("{LABEL}={}", things.name);
    docker(&["run", "-d", "--name", &things.name, "--label", &label, "--entrypoint", "sleep", IMAGE, "600"]);
    things
}

fn behind(gate: &Gate, place: &Place, arguments: &[&str]) -> Seat {
    seat(place, arguments).env("DOCKER_HOST", &gate.url())
}

/// Types the beginning of the container's name and Tab; then types on, which must be seen soon.
#[track_caller]
fn completion_does_not_hang(shell: &mut Shell, name: &str) {
    let begun = Instant::now();
    let text = format!("docker::container(\"{}", &name[..name.len() - 3]);
    shell.write(&text).terminal.type_keys("\t!");
    shell.terminal.see_when("what is typed after Tab", |screen| screen.lines().last().unwrap().contains('!'));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
}

#[test]
fn an_engine_that_goes_away_and_comes_back() {
    let (place, things, gate) = (Place::new(""), sleeper("away"), Gate::opened());
    let mut shell = Shell::open(behind(&gate, &place, &[]), PROMPT).0;
    let look = format!("docker::container(\"{}\").state", things.name);
    shell.enter(&look, &["running"]);
    gate.close();
    shell.enter(&look, &["error[docker.unreachable]", &gate.url()]);
    shell.enter("20 + 22", &["42\n"]);
    completion_does_not_hang(&mut shell, &things.name);
    gate.open();
    shell.enter(&look, &["running"]);
    shell.write("docker::container(\"").terminal.type_keys(&things.name[..things.name.len() - 3]);
    wait_until("the name", || {
        shell.terminal.type_keys("\t");
        std::thread::sleep(Duration::from_millis(100));
        shell.terminal.screen().contains(&format!("docker::container(\"{}\"", things.name))
    });
    shell.terminal.type_keys(").state\r");
    shell.answer(&["running"]);
    shell.leave();
}

#[test]
fn an_engine_that_falls_silent_is_waited_for_until_ctrl_c() {
    let (place, things, gate) = (Place::new(""), sleeper("silent"), Gate::opened());
    let mut shell = Shell::open(behind(&gate, &place, &[]), PROMPT).0;
    let look = format!("docker::container(\"{}\").state", things.name);
    shell.enter(&look, &["running"]);
    gate.be_silent(true);
    completion_does_not_hang(&mut shell, &things.name);
    shell.type_in(&look);
    let begun = Instant::now();
    shell.terminal.type_keys(CTRL_C).expect("error[cancelled]");
    shell.until_prompt();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    shell.enter("20 + 22", &["42\n"]);
    gate.be_silent(false);
    shell.enter(&look, &["running"]);
    shell.leave();
}

#[test]
fn an_engine_that_goes_away_in_the_middle_of_a_command() {
    let (place, things, gate) = (Place::new(""), sleeper("middle"), Gate::opened());
    let mut shell = Shell::open(behind(&gate, &place, &[]), PROMPT).0;
    shell.enter(&format!("let c = docker::container(\"{}\");", things.name), &[]);
    shell.type_in("c.exec([\"sleep\", \"60\"])");
    wait_until("the command", || docker(&["top", &things.name]).contains("sleep 60"));
    gate.close();
    shell.answer(&["error[docker.", &gate.url()]);
    shell.enter("host::write(\"made\", \"x\")", &["$ write made"]);
    gate.open();
    shell.enter("c.exec([\"echo\", \"forty\" + \"-two\"]).stdout", &["forty-two"]);
    shell.leave();
    let inputs = crate::repl::acted(&place, "repl-1");
    let states: Vec<_> = inputs.iter().map(|input| input["state"].as_str().unwrap()).collect();
    assert!(states[0].starts_with("failed: ") && states[1..] == ["done", "done"], "{states:?}");
}

/// A run that works on a stack of one container, and has failed.
fn failed_on_a_stack(gate: &Gate) -> (Place, Things) {
    let things = Things::new("stack");
    let (label, project) = (format!("{LABEL}={}", things.name), format!("com.docker.compose.project={}", things.name));
    docker(&["create", "--name", &things.name, "--label", &label, "--label", &project, "--entrypoint", "true", IMAGE]);
    let place = Place::new(&format!(
        "run::lock(\"{0}\");\n\
         step(\"write\", || host::write(\"made\", \"\"), #{{ undo: || host::remove_file(\"made\") }});\n\
         let c = step(\"look\", || docker::container(\"{0}\"));\n\
         step(\"fail\", || fail(\"a.b\", \"it broke\"), #{{ repeatable: true }});",
        things.name
    ));
    let run = place.with_env(&["run", "../main.rhai", "--keep"], &[("DOCKER_HOST", &gate.url())]);
    run.expect(1, &["it broke"]);
    (place, things)
}

/// The containers that are locks of this stack.
fn locks(things: &Things) -> usize {
    docker(&["ps", "-aq", "--filter", &format!("name=pgscript-lock-{}", things.name)]).lines().count()
}

#[test]
fn an_engine_that_is_away_when_the_shell_opens_is_taken_up_when_it_is_back() {
    let gate = Gate::opened();
    let (place, things) = failed_on_a_stack(&gate);
    docker(&["rm", &format!("pgscript-lock-{}", things.name)]);
    gate.close();
    let (mut shell, greeting) = Shell::open(behind(&gate, &place, &["--run", "1"]), "main-1 (failed)> ");
    assert!(greeting.contains("main-1: failed") && greeting.contains("The engine does not answer"), "{greeting}");
    shell.enter("20 + 22", &["42\n"]);
    shell.enter("c", &["there is no variable `c`"]);
    gate.open();
    // Nothing is done on a stack that the run does not have, and what was missing is there.
    wait_until("the lock", || {
        shell.enter("20 + 22", &["42\n"]);
        locks(&things) == 1
    });
    shell.enter("c.name", &[&things.name]);
    shell.leave();
}

#[test]
fn an_engine_that_is_silent_when_the_shell_opens_is_given_up_by_ctrl_c() {
    let gate = Gate::opened();
    let (place, _things) = failed_on_a_stack(&gate);
    gate.be_silent(true);
    gate.asked();
    let mut terminal = behind(&gate, &place, &["--run", "1"]).start();
    wait_until("a question to the engine", || !gate.asked().is_empty());
    terminal.type_keys(CTRL_C).expect("The engine does not answer").expect("main-1 (failed)> ");
    let mut shell = Shell::at(terminal, "main-1 (failed)> ");
    shell.enter("20 + 22", &["42\n"]);
    gate.be_silent(false);
    wait_until("the engine", || shell.enter("20 + 22", &["42\n"]).contains("the engine answers again"));
    shell.leave();
}
