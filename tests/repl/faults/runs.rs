//! Runs that somebody else drives, or whose files are damaged.

use std::fs;
use std::process::Child;

use crate::place::wait_until;

use super::*;

const LOOKING: &str = "main-1 (only to look at)> ";

/// A run of another process that has one step done and is in its second; that one ends when there is a file `go`.
fn driven() -> (Place, Child) {
    let place = Place::new(
        "let one = step(\"one\", || 7);\n\
         step(\"two\", || { host::write(\"two\", \"\"); while !host::exists(\"go\") { host::sleep(0.02); } });\n\
         step(\"three\", || host::write(\"three\", \"\"));\n",
    );
    let driver = place.command(&["run", "../main.rhai"]).spawn().unwrap();
    wait_until("the second step", || place.path("work/two").exists());
    (place, driver)
}

#[test]
fn a_run_that_another_process_drives_can_be_looked_at_and_taken_once_that_has_ended() {
    let (place, mut driver) = driven();
    let (mut shell, greeting) = Shell::open(seat(&place, &["--run", "1"]), LOOKING);
    assert!(greeting.contains("you can look, not change anything"), "{greeting}");
    shell.enter("one * 6", &["42\n"]);
    let number = driver.id().to_string();
    shell.enter("host::write(\"mine\", \"\")", &["error[run.driven]", "this session can only look", &number]);
    for command in [".resume", ".step", ".undo", ".rollback", ".skip two"] {
        shell.enter(command, &["error[run.driven]"]);
    }
    let steps = shell.enter(".steps", &["two"]);
    assert!(!steps.contains("three"), "{steps}");
    fs::write(place.path("work/go"), "").unwrap();
    assert!(driver.wait().unwrap().success());
    // What the other one has done meanwhile is seen.
    shell.enter(".steps", &["three"]);
    shell.enter(".status", &["main-1: done"]);
    let said = shell.enter("host::write(\"mine\", \"\")", &["error[run.driven]", "to work in the run:"]);
    assert!(said.contains(" .run main-1\n"), "{said}");
    shell.enter(".rollback", &["error[run.driven]", "to work in the run:"]);
    shell.goes_on(".run main-1", "main-1 (done)> ", &["main-1 is done now"]);
    shell.enter("host::write(\"mine\", \"\")", &["$ write mine"]);
    shell.leave();
    assert!(place.path("work/mine").exists());
    assert_eq!(place.status(&["main-1"])["by_hand"][0]["state"], "done");
}

#[test]
fn a_run_whose_driver_is_killed_can_be_taken() {
    let (place, mut driver) = driven();
    let mut shell = Shell::open(seat(&place, &["--run", "1"]), LOOKING).0;
    driver.kill().unwrap();
    driver.wait().unwrap();
    shell.enter(".resume", &["error[run.driven]", "to work in the run:"]);
    shell.goes_on(".run 1", "main-1 (interrupted)> ", &[]);
    fs::write(place.path("work/go"), "").unwrap();
    shell.enter(".next", &["step `two` was cut off"]);
    shell.leave();
}

#[test]
fn a_run_that_is_not_there_leaves_the_session_where_it_is() {
    let place = crate::repl::failed();
    let mut shell = open(&place);
    shell.enter("let kept = 42;", &[]);
    shell.enter(".run upgrade-9", &["error[run.not_found]", "no run upgrade-9"]);
    shell.enter("host::write(\"made\", \"x\")", &["$ write made"]);
    shell.goes_on(".run main-1", "main-1 (failed)> ", &["main-1 is failed now"]);
    shell.enter(".run upgrade-9", &["error[run.not_found]"]);
    shell.enter("host::write(\"mended\", \"x\"); kept", &["$ write mended", "42\n"]);
    shell.leave();
    assert_eq!(crate::repl::acted(&place, "main-1")[0]["state"], "done");
}

#[test]
fn a_damaged_journal_is_looked_at_and_never_gone_on_with() {
    let place = crate::repl::failed();
    let journal = place.run_dir(1).join("journal.jsonl");
    let sound = fs::read_to_string(&journal).unwrap();
    let damaged = sound.replacen("\"step\":\"two\"", "\"step\":\"tvo\"", 1);
    assert_ne!(damaged, sound);
    fs::write(&journal, &damaged).unwrap();
    let (mut shell, greeting) = Shell::open(seat(&place, &["--run", "1"]), "main-1 (damaged)> ");
    for words in ["main-1: damaged", "The journal is damaged: line ", "done         one"] {
        assert!(greeting.contains(words), "{words:?} is not said:\n{greeting}");
    }
    shell.enter(".steps", &["one    done"]);
    shell.enter(".journal", &["step one is done"]);
    for command in [".resume", ".step", ".retry two", ".undo", ".rollback", ".next", ".plan", ".skip two"] {
        shell.enter(command, &["error[journal.damaged]"]);
    }
    // What is done is kept, elsewhere.
    shell.enter("host::write(\"looked\", \"\")", &["$ write looked"]);
    let words = shell.leave();
    assert!(words.contains("pgscript status repl-2"), "{words}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), damaged);
    assert_eq!(place.entries(2, "effect")[0]["command"], "write looked");
}

#[test]
fn a_journal_that_is_cut_off_loses_its_last_line_only() {
    let place = crate::repl::failed();
    let journal = place.run_dir(1).join("journal.jsonl");
    let sound = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, format!("{sound}{{\"n\":99,\"at\":\"20")).unwrap();
    let mut shell = Shell::open(seat(&place, &["--run", "1"]), "main-1 (failed)> ").0;
    shell.enter("host::write(\"mended\", \"x\")", &["$ write mended"]);
    shell.goes_on(".resume", "main-1 (done)> ", &["came to the end"]);
    shell.leave();
}
