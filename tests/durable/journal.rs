//! A journal that something has happened to, and runs that are found by their number.

use super::*;

const SCRIPT: &str = r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || host::write("two", "2", #{ overwrite: true }), #{ repeatable: true, undo: || host::remove_file("two") });
ui::say("done");
"#;

/// A run that was killed after its first step.
fn cut_off() -> Place {
    let place = Place::new(SCRIPT);
    place.run_killed_in("write two");
    place
}

fn damage(place: &Place, change: impl FnOnce(&mut Vec<String>)) {
    let path = place.run_dir(1).join("journal.jsonl");
    let mut lines: Vec<_> = fs::read_to_string(&path).unwrap().lines().map(|line| format!("{line}\n")).collect();
    change(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

/// Neither forward nor back, and whoever looks is told so.
#[track_caller]
fn expect_damaged(place: &Place, words: &str) {
    let files = place.untouched();
    for command in [&["resume"][..], &["rollback", "--yes"], &["resume", "--as-recorded"], &["rollback", "1"]] {
        place.pgscript(command).expect(3, &["error[journal.damaged]", "main-1", words, "nothing was done"]);
    }
    assert!(place.untouched() == files, "something was touched");
    let status = place.pgscript(&["status"]);
    status.expect(0, &["main-1: damaged", words, "log.jsonl"]).expect_not(&["pgscript resume", "Your data is safe"]);
    assert_eq!(place.status(&[])["state"], "damaged");
    assert!(place.status(&[])["is_safe"].is_null());
    place.pgscript(&["runs"]).expect(0, &["main-1", "damaged"]);
}

#[test]
fn a_torn_last_line_is_dropped_and_the_run_goes_on() {
    let place = cut_off();
    damage(&place, |lines| {
        let last = lines.last_mut().unwrap();
        last.truncate(last.len() / 2);
    });
    place.pgscript(&["status"]).expect(0, &["main-1: interrupted"]);
    place.pgscript(&["runs"]).expect(0, &["main-1", "interrupted"]);
    place.pgscript(&["resume"]).expect(0, &["done"]);
    assert_eq!(place.read("work/two"), "2");
}

#[test]
fn a_flipped_byte_is_damage() {
    let place = cut_off();
    damage(&place, |lines| lines[3] = lines[3].replacen(':', ";", 1));
    expect_damaged(&place, "line 4");
}

#[test]
fn a_missing_line_is_damage() {
    let place = cut_off();
    damage(&place, |lines| _ = lines.remove(5));
    expect_damaged(&place, "line 6");
}

#[test]
fn a_line_that_is_there_twice_is_damage() {
    let place = cut_off();
    damage(&place, |lines| lines.insert(4, lines[4].clone()));
    expect_damaged(&place, "line 6");
}

#[test]
fn a_journal_that_was_emptied_is_damage_and_not_a_run_that_did_nothing() {
    let place = cut_off();
    damage(&place, Vec::clear);
    expect_damaged(&place, "the journal is empty");
}

#[test]
fn a_journal_that_is_missing_is_damage() {
    let place = cut_off();
    fs::remove_file(place.run_dir(1).join("journal.jsonl")).unwrap();
    expect_damaged(&place, "the journal is missing");
}

#[test]
fn a_damaged_run_is_not_passed_over_for_an_older_one() {
    let place = cut_off();
    place.run_killed_at("after:4");
    fs::write(place.run_dir(2).join("journal.jsonl"), "rubbish\n").unwrap();
    place.pgscript(&["rollback"]).expect(3, &["main-2", "journal.damaged"]);
    place.pgscript(&["resume"]).expect(3, &["main-2", "journal.damaged"]);
    place.pgscript(&["resume", "main-1"]).expect(0, &["done"]);
}

#[test]
fn a_frozen_script_that_was_changed_in_the_run_is_not_run() {
    let place = cut_off();
    let frozen = place.run_dir(1).join("scripts/01-main.rhai");
    fs::write(&frozen, SCRIPT.replace("done", "changed")).unwrap();
    let refused = place.pgscript(&["resume", "--as-recorded"]);
    refused.expect(3, &["run.frozen_changed", "01-main.rhai", "--accept-changes"]);
    place.pgscript(&["resume"]).expect(0, &["done"]);
}

#[test]
fn the_newest_run_is_that_of_the_highest_number_whatever_the_clock_says() {
    let place = Place::new(SCRIPT);
    place.run_killed_at("after:4");
    place.run_killed_at("after:4");
    // As if the second run had been made long before the first one.
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in [place.run_dir(2), place.run_dir(2).join("journal.jsonl")] {
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(place.status(&[])["run"], "main-2");
    place.pgscript(&["resume"]).expect(0, &["main-2"]);
    fs::remove_file(place.path("work/one")).unwrap();
    place.pgscript(&["resume"]).expect(0, &["main-1"]);
    let runs: Value = serde_json::from_str(&place.pgscript(&["runs", "--format", "json"]).stdout).unwrap();
    let names: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(names, ["main-1", "main-2"]);
    fs::remove_file(place.path("work/one")).unwrap();
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    assert_eq!(place.status(&[])["run"], "main-3");
}
