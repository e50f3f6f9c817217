//! Steps that were cut off, and can or can't tell what became of them.

use super::*;

const SCRIPT: &str = r#"
let one = step("one", || { host::write("one", "1"); "first" }, #{ undo: || host::remove_file("one") });
let two = step("it's two", || { host::write("two", one, #{ overwrite: true }); "ran" }, #{ undo: || gone("two") });
step("three", || { host::write("three", `${two}`); });
fn gone(path) { if host::exists(path) { host::remove_file(path); } }
ui::say(`two: ${two}`);
"#;

/// Killed in the second step, which is neither repeatable nor has a probe.
fn cut_off() -> Place {
    let place = Place::new(SCRIPT);
    place.run_killed_in("write two");
    place
}

#[test]
fn the_operator_is_asked_what_became_of_a_step_with_all_there_is_to_answer() {
    let place = cut_off();
    let refused = place.pgscript(&["resume"]);
    assert_eq!(refused.code, 3);
    let error = refused.error();
    for words in [
        "error[run.unknown_step]: step `it's two` was cut off while it was about to: write two",
        r"pgscript resume main-1 --retry 'it'\''s two'",
        r"pgscript resume main-1 --skip 'it'\''s two'",
        r"pgscript resume main-1 --accept 'it'\''s two=VALUE'",
        "pgscript rollback main-1",
    ] {
        assert!(error.contains(words), "{words:?} is not in {error}");
    }
    refused.expect(3, &["the run stands where it stood"]);
    assert_eq!(place.files().len(), 1, "nothing was run, nothing put back");
    // Asked again, the answer is the same; and it still shows in the status.
    place.pgscript(&["resume"]).expect(3, &["about to: write two"]);
    place.pgscript(&["status"]).expect(0, &["cut off", "about to: write two"]);
    place.pgscript(&["rollback"]).expect(0, &[]);
    assert!(place.files().is_empty());
}

#[test]
fn retry_skip_and_accept_answer_it_and_are_journalled() {
    let cases = [
        (&["--retry", "it's two"][..], "retry", "ran", true),
        (&["--skip", "it's two"], "skip", "", false),
        (&["--accept", r#"it's two={"a": [1.5, "x=y"]}"#], "accept", r#"#{"a": [1.5, "x=y"]}"#, false),
    ];
    for (options, name, value, runs) in cases {
        let place = cut_off();
        let ran = place.pgscript(&[&["resume", "--format", "json"], options].concat());
        ran.expect(0, &[]);
        assert_eq!(ran.says(), [format!("two: {value}")]);
        assert_eq!(place.read("work/three"), value);
        assert_eq!(place.path("work/two").exists(), runs, "{name}");
        let decided = place.entries(1, "decided");
        assert_eq!(decided.len(), 1);
        assert_eq!(decided[0]["step"], "it's two");
        assert!(decided[0]["decision"].to_string().contains(name), "{decided:?}");
        // Whatever was decided, its undo takes back what it may have done.
        place.pgscript(&["rollback"]).expect(0, &[]);
        assert_eq!(place.files().keys().collect::<Vec<_>>(), [&place.path("work/three")]);
    }
}

#[test]
fn a_decision_holds_until_the_step_is_over_also_when_the_resume_is_killed() {
    let place = cut_off();
    let lines = place.journal(1).len();
    let at = format!("after:{}", lines + 2);
    let killed = place.killed_at(&["resume", "--skip", "it's two"], &at);
    assert_eq!(killed.code, KILLED);
    place.pgscript(&["resume"]).expect(0, &["two:"]);
    assert!(!place.path("work/two").exists());
}

#[test]
fn a_decision_about_another_step_is_refused_before_anything_is_done() {
    let place = cut_off();
    let state = place.untouched();
    let wrong = |options: &[&str], words: &[&str]| {
        place.pgscript(&[&["resume"], options].concat()).expect(2, words);
    };
    wrong(&["--retry", "tow"], &["error[run.no_step]", "`tow`", "has not begun", "  it's two"]);
    wrong(&["--skip", "one"], &["error[run.no_step]", "`one`", "is done already", "  it's two"]);
    wrong(&["--retry", "it's two", "--skip", "three"], &["`three`", "has not begun"]);
    wrong(&["--accept", "it's two"], &["STEP=VALUE"]);
    wrong(&["--accept", "it's two=word"], &["JSON", "it's two=\"word\""]);
    assert!(place.untouched() == state, "something was touched");
}

fn probed(probe: &str) -> Place {
    let script =
        SCRIPT.replace("#{ undo: || gone(\"two\") }", &format!("#{{ undo: || gone(\"two\"), probe: || {probe} }}"));
    let place = Place::new(&script);
    place.run_killed_in("write two");
    place
}

#[test]
fn a_probe_that_gives_nothing_runs_the_step_again() {
    let place = probed("()");
    place.pgscript(&["resume"]).expect(0, &["two: ran"]);
    assert_eq!(place.read("work/two"), "first");
}

#[test]
fn a_probe_that_gives_a_value_gives_the_step_s() {
    let place = probed("\"found\"");
    place.pgscript(&["resume"]).expect(0, &["two: found"]);
    assert!(!place.path("work/two").exists());
    assert_eq!(place.read("work/three"), "found");
}

#[test]
fn a_probe_that_throws_leaves_the_question_to_the_operator_and_the_run_as_it_was() {
    let place = probed("fail(\"a.b\", \"the disk hides\")");
    let refused = place.pgscript(&["resume"]);
    refused.expect(3, &["run.unknown_step", "its probe could not tell", "the disk hides [a.b]", "--retry"]);
    refused.expect(3, &["the run stands where it stood"]);
    assert_eq!(place.files().len(), 1, "nothing was put back");
    place.expect_state("main-1", "interrupted");
    place.pgscript(&["resume", "--retry", "it's two"]).expect(0, &["two: ran"]);
}

#[test]
fn a_step_inside_another_is_decided_about_by_its_path_and_nothing_is_put_back_meanwhile() {
    let place = Place::new(
        r#"
step("outer", || {
    step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
    step("two", || host::write("two", "2"));
});
"#,
    );
    place.run_killed_in("write two");
    place.pgscript(&["resume"]).expect(3, &["step `outer / two` was cut off", "--retry 'outer / two'"]);
    assert_eq!(place.files().len(), 1, "nothing was put back");
    place.expect_state("main-1", "interrupted");
    place.pgscript(&["resume"]).expect(3, &["step `outer / two`"]);
    place.pgscript(&["resume", "--retry", "outer / two"]).expect(0, &[]);
    assert_eq!(place.read("work/two"), "2");
}

#[test]
fn a_script_can_not_catch_the_question() {
    let place = Place::new(
        r#"
try { step("one", || host::write("one", "1")); } catch (e) { ui::say("caught"); }
step("two", || host::write("two", "2"));
"#,
    );
    place.run_killed_in("write one");
    place.pgscript(&["resume"]).expect(3, &["run.unknown_step"]).expect_not(&["  caught"]);
    assert!(place.files().is_empty());
}
