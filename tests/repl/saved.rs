//! A session that was saved is a script that does the same.

use pgscript::repl::save::{Saved, script};
use pgscript::script::loader::Places;

use crate::place::Place;
use crate::terminal::{Seat, Shell};

fn plain(text: &str) -> Saved {
    Saved { text: text.into(), ..Saved::default() }
}

fn effect(text: &str) -> Saved {
    Saved { had_effect: true, ..plain(text) }
}

/// A place whose script is a saved session, which passes the check.
fn saved(inputs: &[Saved]) -> Place {
    let place = Place::new(&script(inputs, &Places::new(None).unwrap()));
    place.pgscript(&["check", "../main.rhai"]).expect(0, &[]);
    place
}

#[test]
fn a_saved_session_runs_and_does_the_same() {
    let place = saved(&[
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
    ]);
    place.run(&[]).expect(0, &["n is 116, [\\\"a\\\", \\\"b\\\"], first, 20"]);
    for file in ["first", "a", "b", "late", "after", "before", "kept"] {
        assert_eq!(place.read(&format!("work/made/{file}")), file);
    }
}

/// The variables that finished steps have changed are those that the run goes on with.
#[test]
fn a_saved_session_that_fails_is_resumed_with_its_variables() {
    let place = saved(&[
        plain("let n = 0; let m = 1;"),
        effect("if true { host::write(\"one\", \"1\"); n += 1; m += 1; }"),
        effect("host::write(\"two\", `${n} ${m} ${host::read(\"needed\")}`)"),
    ]);
    place.run(&["--keep"]).expect(1, &["needed"]);
    place.write("work/needed", "it is there");
    place.pgscript(&["resume", "main-1"]).expect(0, &[]);
    assert_eq!(place.read("work/two"), "1 2 it is there");
}

#[test]
fn what_was_done_by_hand_is_saved_and_done_elsewhere() {
    let by_hand = Place::new("");
    let (mut shell, _) = Shell::open(Seat::new(&by_hand.command(&["repl"])), "pgscript> ");
    shell.enter("let name = \"made\";", &[]);
    shell.enter("host::write(name, \"1\")", &["$ write made"]);
    shell.enter("host::write(\"x\", \"2\") + nonsense", &["error[script.syntax]"]);
    shell.enter("host::read(\"nowhere\")", &["error[host.not_found]"]);
    shell.enter("let text = host::read(name);", &[]);
    shell.enter("host::write(\"copy\", text + \"2\")", &["$ write copy"]);
    shell.enter(".save saved.rhai", &["saved.rhai"]);
    shell.leave();
    let elsewhere = Place::new(&by_hand.read("work/saved.rhai"));
    elsewhere.pgscript(&["check", "../main.rhai"]).expect(0, &[]);
    elsewhere.run(&[]).expect(0, &[]);
    assert_eq!((elsewhere.read("work/made"), elsewhere.read("work/copy")), ("1".into(), "12".into()));
    assert_eq!(elsewhere.files().len(), 2, "what was refused was not saved");
}
