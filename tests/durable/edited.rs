//! Scripts that were changed between a run and its resume.

use super::*;

const SCRIPT: &str = r#"import "lib" as lib;
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || host::write("two", lib::text()), #{ repeatable: true, undo: || gone("two") });
fn gone(path) { if host::exists(path) { host::remove_file(path); } }
"#;

/// Killed in the second step.
fn cut_off() -> Place {
    let place = Place::new(SCRIPT);
    place.write("lib.rhai", "fn text() { \"2\" }\n");
    place.run_killed_in("write two");
    place
}

const REFUSED: &[&str] = &["error[run.edited_script]", "pgscript resume main-1 --accept-changes", "--as-recorded"];

#[track_caller]
fn refuse(place: &Place, words: &[&str]) {
    let files = place.files();
    place.pgscript(&["resume"]).expect(3, &[REFUSED, words].concat());
    assert_eq!(place.files(), files, "nothing was done");
    place.expect_state("main-1", "interrupted");
}

#[test]
fn a_mended_body_is_shown_refused_accepted_and_noted() {
    let place = cut_off();
    place.edit("main.rhai", "lib::text()", "\"mended\"");
    let changed = [
        "main.rhai (as it was run)",
        "-step(\"two\", || host::write(\"two\", lib::text())",
        "+step(\"two\", || host::write(\"two\", \"mended\")",
    ];
    refuse(&place, &changed);
    place.pgscript(&["resume", "--accept-changes", "--as-recorded"]).expect(2, &[]);
    // It fails once more, so that the run goes on.
    place.edit("main.rhai", "\"mended\"", "fail(\"a.b\", \"not yet\")");
    let ran = place.pgscript(&["resume", "--accept-changes", "--keep"]);
    ran.expect(1, &["accepted change of", "not yet"]);
    assert_eq!(place.entries(1, "source").len(), 3, "the script twice, the module once");
    assert!(place.run_dir(1).join("scripts/03-main.rhai").is_file());
    // What was accepted needs no option again.
    place.pgscript(&["resume", "--keep"]).expect(1, &["not yet"]).expect_not(&["accepted change"]);
    place.edit("main.rhai", "fail(\"a.b\", \"not yet\")", "\"mended\"");
    place.pgscript(&["resume", "--accept-changes"]).expect(0, &[]);
    assert_eq!(place.read("work/two"), "mended");
}

#[test]
fn as_recorded_goes_on_with_the_script_as_it_was() {
    let place = cut_off();
    place.edit("main.rhai", "lib::text()", "\"mended\"");
    place.edit("lib.rhai", "2", "other");
    place.pgscript(&["resume", "--as-recorded"]).expect(0, &[]).expect_not(&["accepted change"]);
    assert_eq!(place.read("work/two"), "2");
}

#[test]
fn a_step_put_before_a_recorded_one_is_refused_even_when_the_change_is_accepted() {
    let place = cut_off();
    place.edit("main.rhai", "step(\"one\"", "step(\"zero\", || host::write(\"zero\", \"0\"));\nstep(\"one\"");
    refuse(&place, &["+step(\"zero\""]);
    let refused = place.pgscript(&["resume", "--accept-changes"]);
    refused
        .expect(3, &["error[run.changed_sequence]", "-one", "+zero", "--as-recorded", "the run stands where it stood"]);
    assert_eq!(place.files().len(), 1, "nothing was run, nothing put back");
    place.expect_state("main-1", "interrupted");
    place.pgscript(&["resume", "--as-recorded"]).expect(0, &[]);
}

#[test]
fn a_step_put_after_the_recorded_ones_runs() {
    let place = cut_off();
    place.edit("main.rhai", "fn gone", "step(\"three\", || host::write(\"three\", \"3\"));\nfn gone");
    refuse(&place, &["+step(\"three\""]);
    place.pgscript(&["resume", "--accept-changes"]).expect(0, &[]);
    assert_eq!((place.read("work/two"), place.read("work/three")), ("2".into(), "3".into()));
}

#[test]
fn a_renamed_step_is_refused() {
    let place = cut_off();
    place.edit("main.rhai", "step(\"one\"", "step(\"first\"");
    place.pgscript(&["resume", "--accept-changes"]).expect(3, &["run.changed_sequence", "-one", "+first"]);
    place.pgscript(&["rollback"]).expect(3, &["run.edited_script", "pgscript rollback main-1 --as-recorded"]);
    place.pgscript(&["rollback", "--accept-changes"]).expect(3, &["run.changed_sequence", "-one"]);
    assert_eq!(place.files().len(), 1);
    place.pgscript(&["rollback", "--as-recorded"]).expect(0, &[]);
    assert!(place.files().is_empty());
}

#[test]
fn a_removed_step_is_refused_also_when_it_is_the_last_one() {
    let place = cut_off();
    let text = place.read("main.rhai");
    let without = |step: &str| {
        text.lines().filter(|line| !line.contains(step)).map(|line| format!("{line}\n")).collect::<String>()
    };
    place.write("main.rhai", &without("step(\"one\""));
    place.pgscript(&["resume", "--accept-changes"]).expect(3, &["run.changed_sequence", "-one", "+two"]);
    place.write("main.rhai", &without("step(\"two\""));
    place.pgscript(&["resume", "--accept-changes"]).expect(3, &["run.changed_sequence", "-two"]);
    place.pgscript(&["rollback", "--accept-changes"]).expect(3, &["run.changed_sequence", "-two"]);
    place.expect_state("main-1", "interrupted");
    assert_eq!(place.files().len(), 1, "nothing was put back");
    place.write("main.rhai", &text);
    place.pgscript(&["resume", "--accept-changes"]).expect(0, &[]);
}

#[test]
fn an_edited_module_is_shown_refused_and_accepted() {
    let place = cut_off();
    place.edit("lib.rhai", "\"2\"", "\"changed\"");
    refuse(&place, &["-fn text() { \"2\" }", "+fn text() { \"changed\" }"]);
    place.pgscript(&["resume", "--accept-changes"]).expect(0, &["accepted change"]);
    assert_eq!(place.read("work/two"), "changed");
}

#[test]
fn a_script_that_is_gone_can_still_be_gone_on_with_and_rolled_back() {
    for (command, files) in [("resume", 2), ("rollback", 0)] {
        let place = cut_off();
        fs::remove_file(place.path("main.rhai")).unwrap();
        fs::remove_file(place.path("lib.rhai")).unwrap();
        let hint = format!("pgscript {command} main-1 --as-recorded");
        place.pgscript(&[command]).expect(2, &["script.not_found", &hint, "nothing was done"]);
        place.expect_state("main-1", "interrupted");
        place.pgscript(&[command, "--as-recorded"]).expect(0, &[]);
        assert_eq!(place.files().len(), files);
    }
}

#[test]
fn a_site_s_override_that_appears_later_is_refused() {
    let place = Place::new(
        "import \"artefacts\" as a;\nstep(\"one\", || host::write(\"one\", \"1\"), #{ repeatable: true });\n",
    );
    place.run_killed_in("write one");
    place.write("site/artefacts.rhai", "fn mine() { 1 }\n");
    place.pgscript(&["resume"]).expect(3, &[REFUSED, &["site/artefacts.rhai", "+fn mine() { 1 }"]].concat());
    place.pgscript(&["resume", "--accept-changes"]).expect(0, &[]);
}

#[test]
fn a_script_that_does_not_even_parse_any_more_leaves_the_run_as_it_was() {
    let place = cut_off();
    place.edit("main.rhai", "fn gone", "let = 1;\nfn gone");
    for command in [&["resume", "--accept-changes"][..], &["rollback", "--accept-changes"]] {
        place.pgscript(command).expect(1, &["script.syntax"]);
        place.expect_state("main-1", "interrupted");
    }
    assert_eq!(place.files().len(), 1, "nothing was put back");
}
