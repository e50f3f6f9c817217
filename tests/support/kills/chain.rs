//! A run that is killed, taken up, killed one line later, taken up again …, until it comes to its end all the same.

use serde_json::Value;

use super::Ended;

/// An upgrade in a site of its own.
pub trait Upgrade {
    /// Starts it, to be killed there.
    fn killed_at(&self, instant: &str);
    /// `resume` or `rollback`, to be killed at an instant that may not come.
    fn go_on(&self, verb: &str, instant: &str) -> Ended;
    /// The lines of its journal.
    fn journal(&self) -> Vec<Value>;
}

/// More lines than any step has.
const LONGEST_STEP: u64 = 140;
/// How many lines further on each kill is than the one before it: every line is met with the feature.
const STRIDE: u64 = if cfg!(feature = "full-matrix") { 1 } else { 12 };
/// A process writes that it takes the run up; kills before that are the same as the one before.
const FIRST: u64 = 2;

/// Kills at each line of each step while the run is resumed; gives how many kills there were.
pub fn of_resumes(site: &impl Upgrade) -> usize {
    site.killed_at("after:40");
    1 + repeat(site, "resume")
}

/// The same while a finished upgrade is rolled back.
pub fn of_rollbacks(site: &impl Upgrade) -> usize {
    repeat(site, "rollback")
}

/// Each process is killed one line further on than the one before, until something is done for good; then it begins
/// with the next line.
fn repeat(site: &impl Upgrade, verb: &str) -> usize {
    let (mut kills, mut reach) = (0, FIRST);
    while reach < LONGEST_STEP {
        let before = site.journal();
        let line = before.len() as u64 + reach;
        // In turn before the line, when what it says has happened, and after it.
        let at = if kills % 2 == 0 { format!("after:{line}") } else { format!("before:{line}") };
        match site.go_on(verb, &at) {
            Ended::Killed => kills += 1,
            Ended::Well => return kills,
        }
        let after = site.journal();
        // Killed after its last word: it has come to its end.
        if after.last().is_some_and(|line| line["entry"] == "ended") {
            return kills;
        }
        let finished = |lines: &[Value]| {
            lines.iter().filter(|line| matches!(line["entry"].as_str(), Some("done" | "undo_done"))).count()
        };
        reach = if finished(&after) > finished(&before) { FIRST } else { reach + STRIDE };
    }
    panic!("no step came to its end within {LONGEST_STEP} lines:\n{:#?}", site.journal());
}
