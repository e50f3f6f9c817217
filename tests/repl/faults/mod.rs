//! What goes wrong while somebody sits at the shell, a test each, named after it.

mod completion;
mod editing;
mod ended;
mod engines;
mod history;
mod interrupted;
mod output;
mod runs;
mod screens;

use crate::place::Place;
use crate::terminal::{Seat, Shell};

/// In a session that is in no run.
const PROMPT: &str = "pgscript> ";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// The shell with these arguments on a terminal.
fn seat(place: &Place, arguments: &[&str]) -> Seat {
    Seat::new(&place.command(&[&["repl"], arguments].concat()))
}

/// A session in no run.
fn open(place: &Place) -> Shell {
    Shell::open(seat(place, &[]), PROMPT).0
}

/// What was remembered of the inputs, oldest first.
fn history(place: &Place) -> Vec<String> {
    let text = place.read("runs/history");
    let entries = text.strip_prefix("#V2\n").expect("a history's first line").lines();
    entries.map(|entry| entry.replace("\\n", "\n").replace("\\\\", "\\")).collect()
}
