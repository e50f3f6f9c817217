//! What a script that only looks has come to: kept with its run, also where it fails, and not for ever.

use serde_json::json;

use super::*;

const LOOKS: &str = r#"
run::judges("the stack", #{ kind: "look" });
step("look", || 1);
run::verdict(true, "the stack: ready", #{ kind: "look", found: [1, "two"] });
no_rollback("it has only looked");
"#;

fn runs(place: &Place) -> Vec<String> {
    let runs: Value = serde_json::from_str(&place.pgscript(&["runs", "--all", "--format", "json"]).stdout).unwrap();
    runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_verdict_is_told_kept_and_shown() {
    let place = Place::new(LOOKS);
    let ran = place.pgscript(&["run", "../main.rhai"]);
    ran.expect(0, &[]);
    assert!(ran.stdout.contains("the stack: ready"), "{}", ran.stdout);
    assert!(place.pgscript(&["status"]).stdout.contains("the stack: ready"));
    let kept = &place.status(&[])["verdict"];
    let details = json!({ "kind": "look", "found": [1, "two"] });
    assert_eq!(*kept, json!({ "ready": true, "says": "the stack: ready", "details": details }));
    let told = place.pgscript(&["run", "../main.rhai", "--format", "json"]);
    assert!(
        told.stdout.lines().any(|line| line.contains("\"event\":\"verdict\"") && line.contains("the stack: ready"))
    );
    // There is nothing to go back to.
    place.pgscript(&["rollback", "--yes"]).expect(2, &["run.not_found"]);
}

#[test]
fn a_look_that_fails_says_why_and_one_that_is_cancelled_says_nothing() {
    let place = Place::new(&LOOKS.replace("|| 1", "|| fail(\"look.failed\", \"it is dark\\nand late\")"));
    let ran = place.pgscript(&["run", "../main.rhai"]);
    ran.expect(1, &[]);
    assert!(ran.stdout.contains("the stack: not ready, because it is dark"), "{}", ran.stdout);
    let verdict = place.status(&[])["verdict"].clone();
    assert_eq!(verdict["ready"], false);
    assert_eq!(verdict["details"], json!({ "kind": "look", "code": "look.failed", "why": "it is dark\nand late" }));

    let place = Place::new(&LOOKS.replace("|| 1", "|| throw #{ code: \"cancelled\", message: \"no more\" }"));
    place.pgscript(&["run", "../main.rhai"]);
    assert_eq!(place.status(&[])["verdict"], Value::Null);
}

#[test]
fn of_many_looks_the_newest_ten_are_kept() {
    let place = Place::new(LOOKS);
    for _ in 0..12 {
        place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    }
    let expected: Vec<_> = (3..=12).map(|number| format!("main-{number}")).collect();
    assert_eq!(runs(&place), expected);
}

/// Who has typed the next thing since wants to know of what is unfinished.
#[test]
fn status_wrong_run() {
    let place = Place::new(r#"step("write", || { host::write("one", "1"); host::write("two", "2"); });"#);
    place.run_killed_at("after:4");
    for name in ["one", "two"] {
        let _ = fs::remove_file(place.path("work").join(name));
    }
    place.pgscript(&["run", "../main.rhai"]).expect(0, &[]);
    assert_eq!(place.status(&[])["run"], "main-1");
}
