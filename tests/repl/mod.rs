//! The recovery shell as an operator meets it: inputs that are piped in, and a pseudo terminal. What is about names of
//! containers, and about an engine that goes away, needs one; without it these tests fail.

mod by_hand;
mod engine;
mod faults;
mod names;
mod piped;
mod saved;
mod walks;

use std::io::Write;

use crate::place::{Place, Ran, ran};

/// One step done, one failed half way, one to come; each can be put back.
const SCRIPT: &str = r#"
let where = "one";
let first = step("one", || { host::write(where, "1"); 42 }, #{ undo: || host::remove_file("one") });
let second = step("two", || {
    if !host::exists("two") { host::write("two", "2"); }
    if !host::exists("mended") { fail("a.b", "it broke"); }
    "ran"
}, #{ repeatable: true, undo: || if host::exists("two") { host::remove_file("two") } });
step("three", || host::write("three", "3"), #{ undo: || host::remove_file("three") });
ui::say("came to the end");
"#;

/// The script has failed in its second step, and nothing was put back.
fn failed() -> Place {
    let place = Place::new(SCRIPT);
    place.run(&["--keep"]).expect(1, &["it broke"]);
    place
}

/// What the operator did by hand in a run, without what only looked.
fn acted(place: &Place, run: &str) -> Vec<serde_json::Value> {
    let status = place.status(&[run]);
    let inputs = status["by_hand"].as_array().unwrap().iter();
    inputs.filter(|input| !input["commands"].as_array().unwrap().is_empty()).cloned().collect()
}

/// The shell with these inputs on its standard input.
fn type_in(place: &Place, arguments: &[&str], inputs: &str) -> Ran {
    let mut command = place.command(&[&["repl"], arguments].concat());
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(inputs.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}
