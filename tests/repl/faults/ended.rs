//! What ends the shell from outside: kill -9, SIGTERM, a window that is closed.

use std::fs;

use crate::place::wait_until;
use crate::repl::engine::{ENGINE, IMAGE, LABEL, Things, docker};
use crate::terminal::Signal;

use super::*;

const FAILED: &str = "main-1 (failed)> ";
/// Waits for a minute, in a process of its own that says which one it is.
const WAITS: &str = "host::run([\"sh\", \"-c\", \"echo $$ >begun; exec sleep 60\"])";

/// The shell in a failed run, while a command runs; gives the command's process.
fn while_a_command_runs(place: &Place) -> (Shell, String) {
    let (mut shell, _) = Shell::open(seat(place, &["--run", "1"]), FAILED);
    shell.type_in(WAITS);
    wait_until("the command", || fs::read_to_string(place.path("work/begun")).is_ok_and(|pid| pid.ends_with('\n')));
    let pid = place.read("work/begun").trim().to_owned();
    (shell, pid)
}

fn is_there(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What became of the input, by the journal.
fn by_hand(place: &Place) -> String {
    place.status(&["main-1"])["by_hand"][0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn killed_while_a_command_runs_another_shell_opens_and_knows_of_it() {
    let place = crate::repl::failed();
    let (mut shell, pid) = while_a_command_runs(&place);
    shell.terminal.signal(Signal::KILL);
    assert_eq!(shell.terminal.wait(), 128 + 9);
    assert_eq!(by_hand(&place), "cut off");
    place.pgscript(&["status", "1"]).expect(0, &[WAITS, "cut off while it was about to: sh -c"]);
    // What it has left behind may still work on the run, so the next one waits for that.
    let mut next = seat(&place, &["--run", "1"]).start();
    next.expect("a program that it had started still runs");
    assert!(is_there(&pid));
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let greeting = next.read(FAILED);
    assert!(greeting.contains("cut off while it was about to: sh -c"), "{greeting}");
    let mut next = Shell::at(next, FAILED);
    next.enter("host::write(\"mended\", \"x\")", &["$ write mended"]);
    next.goes_on(".resume", "main-1 (done)> ", &["came to the end"]);
    next.leave();
}

#[test]
fn terminated_at_the_prompt_it_gives_the_terminal_back_as_it_was() {
    let place = crate::repl::failed();
    for typed in ["", "let begun = [1,"] {
        let mut terminal = seat(&place, &["--run", "1"]).start();
        let before = terminal.modes();
        terminal.expect(FAILED);
        let mut shell = Shell::at(terminal, FAILED);
        shell.until_prompt();
        assert_ne!(shell.terminal.modes().local_modes, before.local_modes);
        shell.terminal.type_keys(typed).see(typed);
        shell.terminal.signal(Signal::TERM).expect("\nmain-1 is failed: pgscript resume main-1");
        assert_eq!(shell.terminal.wait(), 4);
        let after = shell.terminal.modes();
        assert_eq!(
            (after.input_modes, after.output_modes, after.control_modes, after.local_modes),
            (before.input_modes, before.output_modes, before.control_modes, before.local_modes)
        );
        assert!(!shell.terminal.marks_pastes(), "pastes would be marked for the operator's own shell");
    }
    place.expect_state("main-1", "failed");
}

#[test]
fn terminated_while_a_command_runs_it_cancels_that_and_leaves() {
    let place = crate::repl::failed();
    let (mut shell, pid) = while_a_command_runs(&place);
    shell.terminal.signal(Signal::TERM).expect("error[cancelled]").expect("main-1 is failed: pgscript resume");
    assert_eq!(shell.terminal.wait(), 4);
    assert!(!is_there(&pid));
    assert_eq!(by_hand(&place), "failed: cancelled by the operator");
    place.pgscript(&["repl", "--run", "1"]).expect(0, &[]);
}

#[test]
fn a_window_that_is_closed_leaves_nothing_running() {
    let place = crate::repl::failed();
    let (mut shell, pid) = while_a_command_runs(&place);
    shell.terminal.hang_up();
    shell.terminal.wait();
    assert!(!is_there(&pid));
    assert_eq!(by_hand(&place), "failed: cancelled by the operator");
    let (mut shell, _) = Shell::open(seat(&place, &["--run", "1"]), FAILED);
    shell.until_prompt();
    shell.terminal.hang_up();
    shell.terminal.wait();
    place.expect_state("main-1", "failed");
}

#[test]
fn terminated_in_the_shell_of_a_failed_run_the_run_ends_too() {
    let place = Place::new(crate::repl::SCRIPT);
    let mut terminal = Seat::new(&place.command(&["run", "../main.rhai"])).start();
    let before = terminal.modes();
    terminal.expect("what now? ").type_line("shell").expect(FAILED);
    let mut shell = Shell::at(terminal, FAILED);
    shell.until_prompt();
    shell.terminal.signal(Signal::TERM);
    assert_eq!(shell.terminal.wait(), 4);
    assert_eq!(shell.terminal.modes().local_modes, before.local_modes);
    let mut terminal = Seat::new(&place.command(&["resume", "main-1"])).start();
    terminal.expect("what now? ").type_line("shell").expect(FAILED);
    let mut shell = Shell::at(terminal, FAILED);
    shell.type_in("ui::say(\"beg\" + \"un\"); loop { }").terminal.expect("  begun\n");
    shell.terminal.signal(Signal::TERM).expect("error[cancelled]");
    assert_eq!(shell.terminal.wait(), 1, "the run has failed: {}", shell.terminal.text());
}

#[test]
fn a_stack_is_free_again_when_the_shell_is_terminated_at_the_prompt() {
    let (place, things) = (Place::new("step(\"lock\", || run::lock(\"none\"));"), Things::new("ended"));
    let (label, project) = (format!("{LABEL}={}", things.name), format!("com.docker.compose.project={}", things.name));
    docker(&["create", "--name", &things.name, "--label", &label, "--label", &project, "--entrypoint", "true", IMAGE]);
    place.edit("main.rhai", "none", &things.name);
    place.with_env(&["run", "../main.rhai"], &[("DOCKER_HOST", ENGINE)]).expect(0, &[]);
    let lock = format!("name=pgscript-lock-{}", things.name);
    let is_locked = || !docker(&["ps", "-aq", "--filter", &lock]).is_empty();
    assert!(!is_locked(), "the run is over");
    let mut shell = Shell::open(seat(&place, &["--run", "1"]).env("DOCKER_HOST", ENGINE), "main-1 (done)> ").0;
    assert!(is_locked());
    shell.until_prompt();
    shell.terminal.signal(Signal::TERM);
    assert_eq!(shell.terminal.wait(), 4);
    assert!(!is_locked());
}
