//! Putting back: by itself, by `rollback`, in parts, and not at all.

use pgscript::run::journal::Journal;
use pgscript::script::record::Entry;

use super::*;

/// Steps that leave a file each, which their undo takes away; `extra` goes between the second and the third.
fn script(extra: &str) -> String {
    format!(
        r#"
fn make(name, options) {{
    options.set("undo", || {{ if host::exists(name) {{ host::remove_file(name); }} }});
    options.set("repeatable", true);
    step(name, || host::write(name, "", #{{ overwrite: true }}), options)
}}
make("one", #{{}});
make("two", #{{}});
{extra}
make("three", #{{}});
"#
    )
}

const FAILS: &str = "step(\"fails\", || { if !host::exists(\"mended\") { fail(\"a.b\", \"broken\") } });";

#[test]
fn a_failure_before_the_commit_step_puts_back_and_the_run_is_over() {
    let place = Place::new(&script(FAILS));
    let ran = place.pgscript(&["run", "../main.rhai"]);
    ran.expect(1, &["broken", "everything is back as it was"]).expect_not(&["pgscript resume", "pgscript rollback"]);
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
    place.pgscript(&["resume", "main-1"]).expect(3, &["run.over", "was put back", "pgscript run"]);
    place.pgscript(&["resume"]).expect(2, &["run.not_found"]);
    place.pgscript(&["rollback"]).expect(0, &["main-1 has been put back", "pgscript runs"]);
}

#[test]
fn keep_leaves_everything_to_be_resumed_or_rolled_back() {
    for command in ["resume", "rollback"] {
        let place = Place::new(&script(FAILS));
        let ran = place.pgscript(&["run", "../main.rhai", "--keep"]);
        ran.expect(
            1,
            &["nothing was put back", "pgscript resume main-1", "pgscript rollback main-1", "pgscript status"],
        );
        assert_eq!(place.files().len(), 2);
        place.expect_state("main-1", "failed");
        place.pgscript(&["resume", "--keep"]).expect(1, &["broken", "nothing was put back"]);
        place.write("work/mended", "");
        place.pgscript(&[command]).expect(0, &[]);
        assert_eq!(place.files().len(), if command == "resume" { 4 } else { 1 });
    }
}

#[test]
fn a_resume_that_fails_before_the_commit_step_puts_back_what_the_killed_process_did() {
    let place = Place::new(&script(FAILS));
    place.run_killed_in("write two");
    place.pgscript(&["resume"]).expect(1, &["broken", "everything is back as it was"]);
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
}

#[test]
fn ctrl_c_before_the_commit_step_puts_back_and_after_it_leaves_the_run_to_be_resumed() {
    const WAITS: &str = "step(\"wait\", || { while !host::exists(\"go\") { host::sleep(0.05); } }, OPTIONS);";
    for (options, is_back) in [("#{}", true), ("#{ commit: true }", false)] {
        let place = Place::new(&script(&WAITS.replace("OPTIONS", options)));
        let child = place.command(&["run", "../main.rhai"]).spawn().unwrap();
        wait_until("the step", || place.path("work/two").exists() && place.entries(1, "started").len() == 3);
        interrupt(&child);
        let ran = ran(child.wait_with_output().unwrap());
        ran.expect(4, &["cancelled"]);
        if is_back {
            ran.expect(4, &["everything is back as it was"]);
            assert!(place.files().is_empty());
            place.expect_state("main-1", "rolled back");
        } else {
            ran.expect(4, &["step `wait` had begun, so nothing was put back by itself", "pgscript resume main-1"]);
            assert_eq!(place.files().len(), 2);
            place.expect_state("main-1", "failed");
            place.write("work/go", "");
            place.pgscript(&["resume"]).expect(0, &[]);
            assert_eq!(place.files().len(), 4);
        }
    }
}

#[test]
fn a_failure_after_the_commit_step_is_resumed_once_it_is_mended() {
    let place = Place::new(&script(&format!("make(\"commit\", #{{ commit: true }});\n{FAILS}")));
    let ran = place.pgscript(&["run", "../main.rhai"]);
    ran.expect(1, &["broken", "step `commit` had begun, so nothing was put back by itself", "pgscript resume main-1"]);
    assert_eq!(place.files().len(), 3);
    place.pgscript(&["resume"]).expect(1, &["broken", "step `commit` had begun"]);
    place.write("work/mended", "");
    let resumed = place.pgscript(&["resume"]);
    resumed.expect(0, &["one  (done before)", "commit  (done before)"]);
    assert_eq!(place.files().len(), 5);
    place.pgscript(&["resume", "1"]).expect(3, &["run.over", "is done", "pgscript rollback main-1"]);
}

/// A script that asks before it is rolled back, and what its answers do.
fn asks() -> Place {
    let look = r#"
on_rollback(|| {
    ui::warn(`7 rows would be lost; two is there: ${host::exists("two")}`);
    if host::exists("broken") { fail("a.b", "the server can't be asked"); }
    if !ui::confirm("go back all the same?") || host::exists("declined") { refuse("rollback.declined", "not now"); }
    host::write("looked", "");
});
make("commit", #{ commit: true });
"#;
    Place::new(&script(look))
}

#[test]
fn what_is_to_be_looked_at_before_a_rollback_comes_first_and_may_stop_it() {
    let place = asks();
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    let (files, done) = (place.files(), place.status(&[]));
    let stands = |place: &Place| {
        assert_eq!(place.files(), files, "nothing was put back");
        let status = place.status(&[]);
        assert_eq!((&status["state"], &status["next"]), (&done["state"], &done["next"]));
    };
    // Nobody is there to be asked.
    let refused = place.pgscript(&["rollback"]);
    refused.expect(2, &["7 rows would be lost; two is there: true", "ui.no_terminal", "the run stands where it stood"]);
    refused.expect(2, &["pgscript rollback main-1"]);
    stands(&place);
    place.write("work/declined", "");
    place
        .pgscript(&["rollback", "--yes"])
        .expect(3, &["rollback.declined", "not now", "the run stands where it stood"]);
    fs::remove_file(place.path("work/declined")).unwrap();
    stands(&place);
    place.write("work/broken", "");
    place.pgscript(&["rollback", "--yes"]).expect(1, &["the server can't be asked", "the run stands where it stood"]);
    fs::remove_file(place.path("work/broken")).unwrap();
    stands(&place);
    place.pgscript(&["rollback", "--yes"]).expect(0, &["two is there: true", "main.rhai is rolled back"]);
    assert_eq!(place.files().keys().collect::<Vec<_>>(), [&place.path("work/looked")]);
    place.expect_state("main-1", "rolled back");
}

#[test]
fn a_declined_rollback_of_a_run_that_was_cut_off_leaves_it_to_be_resumed() {
    let place = asks();
    place.run_killed_in("write three");
    place.pgscript(&["rollback"]).expect(2, &["ui.no_terminal"]);
    place.expect_state("main-1", "interrupted");
    place.pgscript(&["status"]).expect(0, &["cut off while it was about to: write three"]);
    place.pgscript(&["resume"]).expect(0, &[]);
    assert_eq!(place.files().len(), 4);
}

#[test]
fn a_rollback_that_was_begun_is_not_looked_at_again() {
    let place = asks();
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    let copy = place.state();
    place.pgscript(&["rollback", "--yes"]).expect(0, &[]);
    let undo = place.journal(1).iter().position(|line| line["entry"] == "undo_done").unwrap() + 1;
    place.restore(&copy);
    assert_eq!(place.killed_at(&["rollback", "--yes"], &format!("after:{undo}")).code, KILLED);
    place.expect_state("main-1", "rolling back");
    // Now the server could not be asked any more, and nobody is there to answer.
    place.write("work/broken", "");
    place.pgscript(&["resume"]).expect(2, &["run.not_found"]);
    place.pgscript(&["resume", "1"]).expect(3, &["run.rolling_back", "pgscript rollback main-1"]);
    place.pgscript(&["rollback"]).expect(0, &[]).expect_not(&["7 rows"]);
    assert_eq!(place.files().len(), 2, "broken and looked: {:?}", place.files());
}

#[test]
fn undo_goes_on() {
    let stuck = "step(\"stuck\", || { host::write(\"stuck\", \"\"); 7 }, #{ undo: |v| {
        if host::exists(\"jam\") { fail(\"a.b\", `${v} jammed`); } host::remove_file(\"stuck\") } });";
    let place = Place::new(&script(stuck));
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    place.write("work/jam", "");
    for _ in 0..2 {
        let failed = place.pgscript(&["rollback"]);
        let left = "not put back yet, because it rests on that: `one`";
        failed.expect(1, &["could not put back `stuck`: 7 jammed", left, "pgscript rollback main-1"]);
        failed.expect(1, &["goes on putting back"]).expect_not(&["one  (undo"]);
        assert_eq!(place.files().len(), 4, "what it rests on stays: {:?}", place.files());
        place.expect_state("main-1", "rolling back");
        place.pgscript(&["status"]).expect(0, &["not put back", "stuck", "put back     three", "rollback main-1"]);
    }
    let undone = || place.entries(1, "undo_done").iter().map(|line| line["step"].clone()).collect::<Vec<_>>();
    assert_eq!(undone(), ["three"]);
    fs::remove_file(place.path("work/jam")).unwrap();
    place.pgscript(&["rollback"]).expect(0, &["stuck  (undone)"]).expect_not(&["three  (undo)"]);
    assert_eq!(undone(), ["three", "stuck", "two", "one"]);
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
    place.pgscript(&["rollback", "main-1"]).expect(0, &["has been put back"]);
}

/// Undos that build on one another, as they do in a stack: the first step's one looks for what the last step's one
/// leaves.
const CHAIN: &str = r#"
fn put(name) { host::write(name, "", #{ overwrite: true }); }
step("start", || put("a"), #{ undo: || { if !host::exists("data") { put("initialised"); } put("started"); } });
step("remove", || put("b"), #{ undo: || {
    if host::exists("started") { host::remove_file("started"); }
    if host::exists("jam") { fail("a.b", "no room"); }
    put("data");
} });
"#;

/// A rollback of the program as it was before: it went on after the undo that failed. Its journal is taken up as it is.
#[test]
fn says_rolled_back() {
    for skip in [&[][..], &["--skip", "remove"]] {
        let place = Place::new(CHAIN);
        place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
        place.write("work/jam", "");
        let failed = place.pgscript(&["rollback"]);
        failed.expect(1, &["could not put back `remove`: no room"]).expect_not(&["rolled back"]);
        assert!(!place.path("work/initialised").exists() && !place.path("work/started").exists());
        let (mut journal, _) = Journal::open(&place.run_dir(1).join("journal.jsonl")).unwrap();
        for entry in [Entry::UndoStarted { step: "start".into() }, Entry::UndoDone { step: "start".into() }] {
            journal.append(entry).unwrap();
        }
        place.expect_state("main-1", "rolling back");
        fs::remove_file(place.path("work/jam")).unwrap();
        if !skip.is_empty() {
            place.write("work/data", "");
        }
        place.pgscript(&[&["rollback"][..], skip].concat()).expect(0, &["start  (undone)", "is rolled back"]);
        assert!(place.path("work/started").exists() && !place.path("work/initialised").exists());
        place.expect_state("main-1", "rolled back");
    }
}

#[test]
fn what_is_said_after_a_rollback_was_looked_at() {
    let look =
        r#"after_rollback(|| if host::exists("down") { fail("a.b", "the server is down", "docker start db"); });"#;
    let steps = script("");
    for automatic in [false, true] {
        let place = Place::new(&format!(
            "{look}
{steps}
{}",
            if automatic { FAILS } else { "" }
        ));
        place.write("work/down", "");
        let found = [
            "put back, but not as it was: the server is down
    docker start db",
            "pgscript rollback main-1",
        ];
        let mut ran = place.pgscript(&["run", "../main.rhai"]);
        if !automatic {
            ran.expect(0, &[]);
            ran = place.pgscript(&["rollback"]);
        }
        ran.expect(1, &found).expect_not(&["is rolled back", "everything is back"]);
        place.expect_state("main-1", "rolling back");
        // Everything again, because nothing of it may be as it was.
        place.pgscript(&["rollback"]).expect(1, &found).expect(1, &["three  (undone)", "one  (undone)"]);
        let copy = place.state();
        fs::remove_file(place.path("work/down")).unwrap();
        place.pgscript(&["rollback"]).expect(0, &["is rolled back"]);
        place.expect_state("main-1", "rolled back");
        place.restore(&copy);
        place.pgscript(&["rollback", "--skip", "look whether all is back"]).expect(0, &["is rolled back"]);
        place.expect_state("main-1", "rolled back");
    }
}

#[test]
fn what_was_put_back_by_hand_is_taken_for_put_back() {
    let place = Place::new(
        r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("it's two", || host::write("two", "2"), #{ undo: || fail("a.b", "jammed") });
"#,
    );
    place.run(&[]).expect(0, &[]);
    place.pgscript(&["rollback", "--skip", "it's two"]).expect(2, &["run.no_step", "nothing was done"]);
    let skip = r"pgscript rollback main-1 --skip 'it'\''s two'   once you have put that back by hand";
    place.pgscript(&["rollback"]).expect(1, &["could not put back `it's two`: jammed", skip]);
    place.pgscript(&["rollback", "--skip", "one"]).expect(2, &["run.no_step", "  it's two"]);
    place.expect_state("main-1", "rolling back");
    fs::remove_file(place.path("work/two")).unwrap();
    place.pgscript(&["rollback", "--skip", "it's two"]).expect(0, &[]).expect_not(&["jammed"]);
    place.expect_state("main-1", "rolled back");
    assert!(place.files().is_empty());
    assert_eq!(place.entries(1, "decided").len(), 1);
}

#[test]
fn a_run_that_says_so_can_only_be_brought_to_its_end() {
    let place = Place::new(
        r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
no_rollback("what it removes is gone");
step("two", || host::write("two", "2", #{ overwrite: true }), #{ repeatable: true, undo: false });
"#,
    );
    place.run_killed_in("write two");
    let refused = ["error[run.no_rollback]", "can't be put back: what it removes is gone"];
    for command in [&["rollback"][..], &["rollback", "main-1", "--yes"], &["rollback", "main-1", "--as-recorded"]] {
        place.pgscript(command).expect(3, &refused).expect(3, &["pgscript resume main-1"]);
    }
    place.pgscript(&["status"]).expect(0, &["pgscript resume main-1"]).expect_not(&["pgscript rollback"]);
    place.pgscript(&["resume"]).expect(0, &[]);
    // Done, it stays so: nothing is half way back.
    place.pgscript(&["rollback", "main-1"]).expect(3, &refused).expect_not(&["pgscript resume"]);
    place.expect_state("main-1", "done");
    place.pgscript(&["status"]).expect(0, &["main-1: done"]).expect_not(&["What to type", "NO COMPLETE"]);
}

#[test]
fn until_a_run_says_that_it_can_not_be_put_back_it_can() {
    let place = Place::new(
        r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
fail("a.b", "not yet");
no_rollback("what it removes is gone");
"#,
    );
    place.pgscript(&["run", "../main.rhai", "--keep"]).expect(1, &["pgscript rollback main-1"]);
    place.pgscript(&["rollback"]).expect(0, &[]);
    assert!(place.files().is_empty());
}

#[test]
fn rollback_without_a_name_never_goes_back_further_than_the_newest_run() {
    let place = Place::new(&script(""));
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    place.write("fails.rhai", &script(FAILS));
    place.pgscript(&["run", "../fails.rhai"]).expect(1, &["everything is back"]);
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    // Changes nothing, so it is not meant.
    place.write("looks.rhai", "step(\"look\", || host::exists(\"one\"));");
    place.pgscript(&["run", "../looks.rhai"]).expect(0, &[]);
    place.pgscript(&["rollback"]).expect(0, &["run main-3"]);
    place.pgscript(&["rollback"]).expect(0, &["run main-3 has been put back", "to go back further, name the run"]);
    place.expect_state("main-1", "done");
    place.pgscript(&["rollback", "1"]).expect(0, &["run main-1"]);
    place.expect_state("main-1", "rolled back");
}

#[test]
fn a_step_that_is_done_is_put_back_by_its_own_undo_and_one_that_is_not_by_those_inside_it() {
    let nested = |undo: &str, end: &str| {
        format!(
            r#"
fn say(text) {{
    host::write("undone", text + "\n" + if host::exists("undone") {{ host::read("undone") }} else {{ "" }},
        #{{ overwrite: true }});
}}
step("outer", || {{
    step("a", || host::write("a", ""), #{{ undo: || say("a") }});
    step("b", || {{ step("c", || host::write("c", ""), #{{ undo: || say("c") }}); }}, #{{ undo: || say("b") }});
    try {{ step("caught", || {{ host::write("d", ""); fail("a.b", "caught") }}, #{{ undo: || say("caught") }}); }}
    catch (e) {{ }}
    {end}
}}, {undo});
step("last", || host::write("last", ""), #{{ undo: || say("last") }});
"#
        )
    };
    let undone = |script: &str, effect: Option<&str>| {
        let place = Place::new(script);
        match effect {
            Some(effect) => place.run_killed_in(effect),
            None => assert_eq!(place.pgscript(&["run", "../main.rhai"]).code, 0),
        }
        place.pgscript(&["rollback"]).expect(0, &[]);
        // The last one is written on top.
        let text = if place.path("work/undone").exists() { place.read("work/undone") } else { String::new() };
        text.lines().rev().collect::<Vec<_>>().join(" ")
    };
    let own = "#{ undo: || say(\"outer\") }";
    let end = "step(\"e\", || host::write(\"e\", \"\"), #{ undo: || say(\"e\") });";
    assert_eq!(undone(&nested(own, end), None), "last outer");
    assert_eq!(undone(&nested("#{}", end), None), "last");
    // Cut off: b is done, so c is its own matter; what failed and was caught is put back too.
    assert_eq!(undone(&nested(own, end), Some("write e")), "e caught b a outer");
    assert_eq!(undone(&nested("#{}", end), Some("write e")), "e caught b a");
    assert_eq!(undone(&nested("#{}", end), Some("write c")), "c b a");
    // Nothing in the body acts meanwhile.
    let acts = "host::write(\"between\", \"\"); step(\"e\", || 1);";
    assert_eq!(
        undone(&nested("#{ repeatable: true, undo: || say(\"outer\") }", acts), Some("write between")),
        "caught b a outer"
    );
}

#[test]
fn a_step_that_failed_and_was_caught_fails_again_for_the_steps_after_it() {
    let place = Place::new(
        r#"
let result = "none";
try { step("tries", || { host::write("tried", "", #{ overwrite: true }); fail("a.b", "no luck"); },
    #{ undo: || host::remove_file("tried") }); }
catch (e) { result = e.message; }
step("one", || host::write("one", result), #{ undo: || host::remove_file("one") });
step("two", || host::write("two", result),
    #{ repeatable: true, undo: || { if host::exists("two") { host::remove_file("two") } } });
ui::say(result);
"#,
    );
    place.run_killed_in("write two");
    let copy = place.state();
    place.pgscript(&["resume"]).expect(0, &["no luck"]);
    assert_eq!(place.entries(1, "effect").iter().filter(|e| e["command"] == "write tried").count(), 1);
    assert_eq!(place.read("work/two"), "no luck");
    place.restore(&copy);
    place.pgscript(&["rollback"]).expect(0, &[]);
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_failure_or_a_question_outside_of_steps_is_no_obstacle_to_a_rollback() {
    for outside in [
        "fail(\"a.b\", \"health check\");",
        "if !ui::confirm(\"deploy?\") { refuse(\"a.b\", \"no\"); }",
        "while !host::exists(\"healthy\") { host::sleep(0.1); }",
        "let word = param(\"word\");",
        "throw \"plain\";",
    ] {
        let place = Place::new(&script(&format!("make(\"commit\", #{{ commit: true }});\n{outside}")));
        let mut child = place.command(&["run", "../main.rhai"]).spawn().unwrap();
        wait_until("the commit step", || place.path("work/commit").exists() && place.entries(1, "done").len() == 3);
        std::thread::sleep(Duration::from_millis(100));
        let _ = child.kill();
        child.wait().unwrap();
        place.pgscript(&["rollback"]).expect(0, &["main.rhai is rolled back"]);
        assert!(place.files().is_empty(), "{outside}");
    }
}

#[test]
fn ctrl_c_while_the_script_is_read_for_its_rollback_stops_it_before_anything_is_put_back() {
    let slow = "if host::exists(\"slow\") { let i = 0; while i < 100000000 { i += 1; } }\n";
    let place = Place::new(&format!("{}{slow}", script("make(\"commit\", #{ commit: true });")));
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    place.write("work/slow", "");
    let files = place.files();
    let child = place.command(&["rollback"]).spawn().unwrap();
    wait_until("the rollback", || place.entries(1, "process").len() == 2);
    std::thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    ran(child.wait_with_output().unwrap()).expect(4, &["cancelled", "the run stands where it stood"]);
    assert_eq!(place.files(), files, "nothing was put back");
    place.expect_state("main-1", "done");
    fs::remove_file(place.path("work/slow")).unwrap();
    place.pgscript(&["rollback"]).expect(0, &["is rolled back"]);
    assert!(place.files().is_empty());
}
