//! Runs that are killed by the hook `PGSCRIPT_KILL_AT`, exactly before or after a line of the journal; and how often.

pub mod chain;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// How a process of the run ended.
pub enum Ended {
    Killed,
    Well,
}

/// Runs a command that ends itself there.
#[track_caller]
pub fn killed_at(command: &mut Command, instant: &str) {
    let output = command.env("PGSCRIPT_KILL_AT", instant).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "not killed at {instant}:\n{said}");
}

/// Runs a `resume` or `rollback` that is to be killed at an instant which may not come.
#[track_caller]
pub fn gone_on(command: &mut Command, instant: &str) -> Ended {
    let output = command.env("PGSCRIPT_KILL_AT", instant).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    match (output.status.signal(), output.status.code()) {
        (Some(9), _) => Ended::Killed,
        (_, Some(0)) => Ended::Well,
        // Killed after its last word: there is nothing left to resume.
        (_, Some(3)) if said.contains("[run.over]") => Ended::Well,
        other => panic!("{command:?}, to be killed at {instant}, ended with {other:?}:\n{said}"),
    }
}

/// The lines of the journal of a run, whose directory that is.
pub fn journal(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Prints the count, and adds it to the file in which `tests/run.sh` adds up.
pub fn count(what: &str, survived: usize, total: usize) {
    println!("kills: {what}: {survived} survived of {total}");
    if let Some(path) = std::env::var_os("PGSCRIPT_TEST_KILLS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(format!("{survived} {total} {what}\n").as_bytes()).unwrap();
    }
}
