//! Work by hand in a run that has failed: what is known of it, one step at a time, and what a resume makes of it.

use std::fs;
use std::process::Stdio;

use super::*;
use crate::place::{KILLED, wait_until};

#[test]
fn the_scripts_variables_are_there_as_they_were_where_it_stopped() {
    let place = failed();
    let ran = type_in(&place, &["--run", "1"], "first\nwhere\nsteps[\"one\"]\nfirst + 1\n");
    assert_eq!(ran.expect(0, &[]).stdout, "42\n\"one\"\n42\n43\n");
    type_in(&place, &["--run", "1"], "second\n").expect(1, &["there is no variable `second`"]);
    place.expect_state("main-1", "failed");
}

#[test]
fn a_resume_takes_into_account_what_was_done_by_hand() {
    let place = failed();
    let text = "host::write(\"mended\", \"by hand\")";
    type_in(&place, &["--run", "main-1"], &format!("{text}\n")).expect(0, &[]);
    place.expect_state("main-1", "failed");
    place.pgscript(&["status"]).expect(0, &["main-1: failed", "Done by hand:", text, "$ write mended"]);
    let ran = place.pgscript(&["resume", "main-1"]);
    ran.expect(0, &["done by hand in this run", text, "came to the end"]);
    place.expect_state("main-1", "done");
    // What was done by hand stays: no step of the script has done it.
    place.pgscript(&["rollback", "main-1"]).expect(0, &["what they did is not put back by this"]);
    assert_eq!(place.files().len(), 1);
    assert!(place.path("work/mended").exists());
}

#[test]
fn one_step_runs_and_no_more() {
    let place = failed();
    let ran = type_in(&place, &["--run", "1"], "host::write(\"mended\", \"\")\n.next\n.step\n.next\n");
    ran.expect(
        0,
        &["step `two` runs again; it had failed: it broke", "stopped before the next step", "step `three` begins"],
    );
    assert!(place.path("work/two").exists() && !place.path("work/three").exists());
    place.expect_state("main-1", "interrupted");
    type_in(&place, &["--run", "1"], ".step\n").expect(0, &["came to the end", "main-1 is done now"]);
    place.expect_state("main-1", "done");
}

#[test]
fn steps_are_put_back_one_at_a_time_and_run_again() {
    let place = failed();
    fs::write(place.path("work/mended"), "").unwrap();
    place.pgscript(&["resume"]).expect(0, &[]);
    let ran = type_in(&place, &["--run", "1"], ".undo two\n");
    ran.expect(3, &["step `two` is not the one to put back now", "the next one is `three`"]);
    assert!(place.path("work/two").exists());
    type_in(&place, &["--run", "1"], ".undo thr\n.undo\n.steps\n.next\n").expect(0, &["step `two` begins"]);
    assert!(!place.path("work/two").exists() && !place.path("work/three").exists());
    place.expect_state("main-1", "failed");
    place.pgscript(&["resume"]).expect(0, &["came to the end"]);
    assert_eq!(fs::read_to_string(place.path("work/three")).unwrap(), "3");
    type_in(&place, &["--run", "1"], ".undo\n.rollback\n").expect(0, &["main-1 is rolled back now"]);
    assert_eq!(place.files().len(), 1, "only what no step has made is left");
    type_in(&place, &["--run", "1"], ".undo\n").expect(3, &["was put back already"]);
}

#[test]
fn a_kill_while_one_step_is_put_back_leaves_it_in_question() {
    let place = failed();
    fs::write(place.path("work/mended"), "").unwrap();
    place.pgscript(&["resume"]).expect(0, &[]);
    let lines = place.journal(1).len();
    let copy = place.state();
    for further in 1.. {
        place.restore(&copy);
        let at = format!("after:{}", lines + further);
        let mut command = place.command(&["repl", "--run", "1"]);
        let mut child = command.env("PGSCRIPT_KILL_AT", &at).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b".undo three\n").unwrap();
        let ended = ran(child.wait_with_output().unwrap());
        if ended.code != KILLED {
            assert!(further > 4, "the undo itself was never cut off");
            break;
        }
        // Whatever became of it: all forward, or all back.
        let again = place.pgscript(&["resume", "main-1", "--retry", "three"]);
        if again.code != 0 {
            place.pgscript(&["resume", "main-1"]);
        }
        place.pgscript(&["rollback", "main-1"]).expect(0, &[]);
        assert_eq!(place.files().len(), 1, "{at}");
    }
}

#[test]
fn a_failed_step_is_skipped_or_taken_for_done_by_a_decision() {
    let place = failed();
    type_in(&place, &["--run", "1"], ".skip two\n.next\n.resume\n")
        .expect(0, &["left out, as you have decided", "came to the end"]);
    assert_eq!(place.entries(1, "decided")[0]["decision"], "skip");
    let place = failed();
    type_in(&place, &["--run", "1"], ".accept two = \"by hand\"\n.resume\nsteps[\"one\"]\n")
        .expect(0, &["came to the end"]);
    type_in(&failed(), &["--run", "1"], ".skip one\n").expect(2, &["no such step", "  two"]);
}

#[test]
fn half_way_back_a_step_that_was_put_back_by_hand_is_skipped() {
    let place = Place::new(
        r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || host::write("two", "2"), #{ undo: || fail("a.b", "jammed") });
"#,
    );
    place.run(&[]).expect(0, &[]);
    type_in(&place, &["--run", "1"], ".rollback\n")
        .expect(1, &["could not put back `two`: jammed", "next: .rollback", "or:   .skip 'two'"]);
    type_in(&place, &["--run", "1"], ".skip one\n").expect(2, &["no such step", "  two"]);
    let by_hand = "host::remove_file(\"two\")\n.skip two\n.rollback\n";
    type_in(&place, &["--run", "1"], by_hand).expect(0, &["main-1 is rolled back now"]);
    assert!(place.files().is_empty());
}

#[test]
fn a_failure_in_the_session_ends_the_pipe_and_is_told_as_it_is_typed_there() {
    let place = failed();
    let ran = type_in(&place, &["--run", "1"], ".resume\nui::say(\"never\")\n");
    ran.expect(1, &["it broke", "next: .resume", ".rollback"]).expect_not(&["never", "pgscript resume main-1"]);
}

#[test]
fn an_edited_script_is_refused_and_taken_when_that_is_said() {
    let place = failed();
    place.edit("main.rhai", "fail(\"a.b\", \"it broke\")", "ui::say(\"edited\")");
    let ran = type_in(&place, &["--run", "1"], ".resume\n");
    ran.expect(3, &["was changed since run main-1 has run it", ".resume --accept-changes"]);
    type_in(&place, &["--run", "1"], ".resume --accept-changes\n").expect(0, &["edited", "came to the end"]);
}

#[test]
fn a_run_that_another_process_drives_can_only_be_looked_at() {
    let script = "let one = step(\"one\", || 7);\nstep(\"two\", || { host::write(\"two\", \"\"); host::sleep(30); });";
    let place = Place::new(script);
    let mut driver = place.command(&["run", "../main.rhai"]).spawn().unwrap();
    wait_until("the second step", || place.path("work/two").exists());
    let ran = type_in(&place, &["--run", "1"], "one\n.steps\nhost::write(\"three\", \"\")\n");
    ran.expect(3, &["7\n", "run.driven", "this session can only look"]);
    type_in(&place, &["--run", "1"], ".resume\n").expect(3, &["run.driven"]);
    assert!(!place.path("work/three").exists());
    place.expect_state("main-1", "running");
    driver.kill().unwrap();
    driver.wait().unwrap();
    assert!(place.entries(1, "process").iter().all(|line| line["command"] != "repl"));
}

#[test]
fn a_damaged_journal_is_looked_at_and_what_is_done_is_kept_elsewhere() {
    let place = failed();
    let journal = place.run_dir(1).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"step\":\"two\"", "\"step\":\"tvo\"", 1)).unwrap();
    let before = fs::read_to_string(&journal).unwrap();
    let ran = type_in(&place, &["--run", "1"], ".status\nhost::write(\"looked\", \"\")\n");
    ran.expect(0, &["The journal is damaged", "main-1: damaged"]);
    type_in(&place, &["--run", "1"], ".resume\n").expect(3, &["journal.damaged"]);
    assert_eq!(fs::read_to_string(&journal).unwrap(), before);
    assert_eq!(place.entries(2, "effect")[0]["command"], "write looked");
}

#[test]
fn killed_while_a_primitive_runs_status_tells_what_it_was_about_to_do() {
    let place = failed();
    let mut command = place.command(&["repl", "--run", "1"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let text = "host::run([\"sh\", \"-c\", \"touch begun; exec sleep 2\"])";
    child.stdin.as_mut().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    wait_until("the command", || place.path("work/begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let status = place.status(&["main-1"]);
    assert_eq!((&status["state"], &status["by_hand"][0]["state"]), (&"failed".into(), &"cut off".into()));
    assert_eq!(status["by_hand"][0]["text"], text);
    place.pgscript(&["status", "1"]).expect(0, &["cut off while it was about to: sh -c"]);
}

#[test]
fn a_run_that_is_not_there_is_named() {
    Place::new("").pgscript(&["repl", "--run", "upgrade-9"]).expect(2, &["no run upgrade-9"]);
    type_in(&Place::new(""), &[], ".resume\n").expect(2, &["this session is in no run", ".run RUN"]);
    type_in(&Place::new(""), &[], ".nonsens\n").expect(2, &["there is no command .nonsens"]);
}
