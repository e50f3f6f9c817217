//! A session that was saved is a script that does the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pgscript::repl::save::{Saved, script};
use pgscript::script::loader::Places;
use tempfile::TempDir;

fn plain(text: &str) -> Saved {
    Saved { text: text.into(), ..Saved::default() }
}

fn effect(text: &str) -> Saved {
    Saved { had_effect: true, ..plain(text) }
}

fn pgscript(place: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
    command.args(arguments).current_dir(place).env_clear().env("PGSCRIPT_STORE", place.join("runs"));
    command.output().unwrap()
}

/// Saves a session in a place, checks it and runs it; gives what it said.
fn run(place: &TempDir, inputs: &[Saved]) -> String {
    let text = script(inputs, &Places::new(None).unwrap());
    fs::write(place.path().join("saved.rhai"), &text).unwrap();
    for arguments in [["check", "saved.rhai"], ["run", "saved.rhai"]] {
        let output = pgscript(place.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{text}");
        if arguments[0] == "run" {
            return said.into_owned();
        }
    }
    unreachable!()
}

#[test]
fn a_saved_session_runs_and_does_the_same() {
    let place = TempDir::new().unwrap();
    let inputs = [
        plain("const DIR = \"made\"; let n = 0; let names = [];"),
        effect("host::create_private_dir(DIR); let begun = host::now();"),
        plain("fn put(dir, name) { host::write(`${dir}/${name}`, name); name }"),
        effect("let first = put(DIR, \"first\"); first.len()"),
        effect("for name in [\"a\", \"b\"] { names.push(put(DIR, name)); n += 1; }"),
        Saved { error: Some("there is no function".into()), ..plain("let late = \"late\"; putt(late)") },
        effect("n += put(DIR, late).len()"),
        effect("if n < 0 { return; } put(DIR, \"after\"); n += 10;"),
        effect("if n > 0 { put(DIR, \"before\"); n += 100; return; } n = 0;"),
        plain("let kept = |name| put(DIR, name);"),
        effect("kept.call(\"kept\")"),
        plain("if n > 0 { return; } n = 0;"),
        plain("ui::say(`n is ${n}, ${names}, ${first}, ${begun.len()}`)"),
    ];
    let said = run(&place, &inputs);
    assert!(said.contains("n is 116, [\"a\", \"b\"], first, 20"), "{said}");
    for file in ["first", "a", "b", "late", "after", "before", "kept"] {
        assert_eq!(fs::read_to_string(place.path().join("made").join(file)).unwrap(), file, "{said}");
    }
}

/// The variables that finished steps have changed are those that the run goes on with.
#[test]
fn a_saved_session_that_fails_is_resumed_with_its_variables() {
    let place = TempDir::new().unwrap();
    let inputs = [
        plain("let n = 0; let m = 1;"),
        effect("if true { host::write(\"one\", \"1\"); n += 1; m += 1; }"),
        effect("host::write(\"two\", `${n} ${m} ${host::read(\"needed\")}`)"),
    ];
    fs::write(place.path().join("saved.rhai"), script(&inputs, &Places::new(None).unwrap())).unwrap();
    assert!(!pgscript(place.path(), &["run", "saved.rhai", "--keep"]).status.success());
    fs::write(place.path().join("needed"), "it is there").unwrap();
    let resumed = pgscript(place.path(), &["resume", "saved-1"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(fs::read_to_string(place.path().join("two")).unwrap(), "1 2 it is there");
}
