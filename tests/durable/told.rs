//! What `runs` and `status` tell of a run in each of its states.

use super::*;

const SCRIPT: &str = r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || { if host::exists("broken") { fail("a.b", "it broke"); } host::write("two", "2"); },
    #{ repeatable: true, undo: || {
        if host::exists("jam") { fail("a.b", "jammed"); }
        if host::exists("two") { host::remove_file("two"); }
    } });
"#;

/// `runs` and `status`, as text and as JSON.
#[track_caller]
fn expect(place: &Place, state: &str, words: &[&str], next: &[&str]) {
    place.pgscript(&["runs"]).expect(0, &["main-1", state, "main.rhai"]);
    let runs: Value = serde_json::from_str(&place.pgscript(&["runs", "--format", "json"]).stdout).unwrap();
    let run = &runs["runs"][0];
    assert_eq!((&run["run"], &run["state"]), (&"main-1".into(), &state.into()));
    let status = place.status(&["main-1"]);
    assert_eq!((&status["run"], &status["state"]), (&"main-1".into(), &state.into()));
    assert_eq!(status["directory"], place.run_dir(1).display().to_string());
    let commands: Vec<_> = status["next"].as_array().unwrap().iter().map(|n| n["command"].as_str().unwrap()).collect();
    assert_eq!(commands, next);
    let text = place.pgscript(&["status"]);
    text.expect(0, &[&format!("main-1: {state}"), "main.rhai, begun 2"]).expect(0, words).expect(0, next);
}

#[test]
fn each_state_is_told_with_what_to_type() {
    let place = Place::new(SCRIPT);
    place.run_killed_in("write two");
    let (resume, rollback) = ("pgscript resume main-1", "pgscript rollback main-1");
    let shell = "pgscript repl --run main-1";
    let cut_off = ["done         one", "cut off      two", "cut off while it was about to: write two"];
    expect(&place, "interrupted", &cut_off, &[resume, rollback, shell]);
    let before = place.state();

    place.write("work/broken", "");
    place.pgscript(&["resume", "--keep"]).expect(1, &["it broke"]);
    expect(&place, "failed", &["failed       two", "error [a.b] it broke"], &[resume, rollback, shell]);

    place.restore(&before);
    place.pgscript(&["resume"]).expect(0, &[]);
    expect(&place, "done", &["done         two"], &[rollback]);

    place.write("work/jam", "");
    place.pgscript(&["rollback"]).expect(1, &["jammed"]);
    let by_hand = "pgscript rollback main-1 --skip 'two'";
    expect(&place, "rolling back", &["done         one", "not put back two"], &[rollback, by_hand, shell]);

    fs::remove_file(place.path("work/jam")).unwrap();
    place.pgscript(&["rollback"]).expect(0, &[]);
    expect(&place, "rolled back", &["put back     one", "put back     two"], &[]);
}

#[test]
fn a_run_that_was_cut_off_before_its_first_step_has_changed_nothing() {
    let place = Place::new(SCRIPT);
    place.run_killed_at("before:1");
    let words = ["main-1: not begun", "nothing was changed", "Run the script again"];
    place.pgscript(&["status"]).expect(0, &words).expect_not(&["interrupted", "begun ,"]);
    place.pgscript(&["runs"]).expect(0, &["main-1", "not begun"]);
    assert_eq!(place.status(&[])["next"], Value::Array(Vec::new()));
    let refused = place.pgscript(&["resume"]);
    refused.expect(3, &["run.not_begun", "nothing was changed", "run the script again", "rm -r"]);
    place.pgscript(&["rollback", "1"]).expect(3, &["run.not_begun", "nothing was changed"]);
}

#[test]
fn without_runs_and_for_wrong_names_it_is_said_where_was_looked() {
    let place = Place::new(SCRIPT);
    let store = place.path("runs").display().to_string();
    place.pgscript(&["runs"]).expect(0, &["no runs in", &store]);
    assert_eq!(place.pgscript(&["runs", "--format", "json"]).stdout, "{\n  \"runs\": []\n}\n");
    for command in [&["status"][..], &["resume"], &["rollback"]] {
        place.pgscript(command).expect(2, &["run.not_found", &store, "--store"]);
    }
    assert!(!place.path("runs").exists(), "to look makes nothing");
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    for command in ["status", "resume", "rollback"] {
        place.pgscript(&[command, "mian"]).expect(2, &["run.not_found", "no run mian", "pgscript runs", "--store"]);
        place.pgscript(&[command, "7"]).expect(2, &["no run 7"]);
    }
}

#[test]
fn a_run_is_named_by_its_number_and_by_a_beginning_that_is_its_own() {
    let place = Place::new(SCRIPT);
    place.write("other.rhai", "step(\"one\", || host::exists(\"one\"));");
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    place.pgscript(&["run", "../other.rhai"]).expect(0, &[]);
    place.pgscript(&["rollback", "1"]).expect(0, &[]);
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    assert_eq!(place.status(&[])["run"], "main-3");
    assert_eq!(place.status(&["1"])["run"], "main-1");
    assert_eq!(place.status(&["other"])["run"], "other-2");
    for command in ["status", "resume", "rollback"] {
        place.pgscript(&[command, "main"]).expect(2, &["run.ambiguous", "main-1, main-3", "its number"]);
    }
    place.expect_state("main-3", "done");
}

#[test]
fn a_run_that_can_not_be_read_hides_no_other() {
    let place = Place::new(SCRIPT);
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    fs::create_dir_all(place.path("runs/strange-2/journal.jsonl")).unwrap();
    fs::create_dir(place.path("runs/lost+found")).unwrap();
    place.write("runs/note-3", "");
    place
        .pgscript(&["runs"])
        .expect(0, &["main-1", "done", "strange-2", "unreadable", "cannot read"])
        .expect_not(&["note"]);
    place.pgscript(&["status"]).expect(1, &["cannot read", "strange-2/journal.jsonl"]);
    place.pgscript(&["status", "1"]).expect(0, &["main-1: done"]);
}
