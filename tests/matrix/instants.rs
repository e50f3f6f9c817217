//! The instants of a run at which a kill makes a difference, from the journal of an undisturbed one.

use std::fmt;

use serde_json::Value;

/// Before or after a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instant {
    is_before: bool,
    line: u64,
    /// What the line says, for people.
    what: String,
}

impl fmt::Display for Instant {
    /// As the hook takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.is_before { "before" } else { "after" };
        match f.alternate() {
            true => write!(f, "{when}:{} ({})", self.line, self.what),
            false => write!(f, "{when}:{}", self.line),
        }
    }
}

/// Each effect twice (announced and not done; done and not confirmed), each step once it is done but not known to be.
pub fn instants(journal: &[Value]) -> Vec<Instant> {
    let instant = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let (is_before, what) = match line["entry"].as_str()? {
            "effect" => (false, text("command")),
            "settled" => (true, format!("effect {} is confirmed", line["effect"])),
            "done" => (true, format!("{} is done", text("step"))),
            _ => return None,
        };
        Some(Instant { is_before, line: line["n"].as_u64()?, what })
    };
    journal.iter().filter_map(instant).collect()
}
