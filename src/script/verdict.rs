//! What a script that looks at a stack says of it in the end, also where it fails before that.

use serde_json::Value;

use super::errors::Report;
use super::record::{Entry, Verdict};
use super::session::Session;
use crate::event::Event;
use crate::world::Result;

/// Keeps a verdict with the run, and tells it.
pub fn give(session: &Session, verdict: Verdict) -> Result<()> {
    session.steps().take_judged();
    session.write(Entry::Verdict(verdict.clone()))?;
    let Verdict { ready, says, details } = verdict;
    session.emit(Event::Verdict { ready, says, details });
    Ok(())
}

/// The verdict of a script that was going to give one, and has failed. Who has stopped it knows no more than before.
pub fn of_failure(session: &Session, report: &Report) {
    let judged = session.steps().take_judged();
    let Some((subject, mut details)) = judged.filter(|_| report.code != "cancelled") else { return };
    if let Value::Object(details) = &mut details {
        details.insert("code".into(), report.code.clone().into());
        details.insert("why".into(), report.message.clone().into());
    }
    let why = report.message.lines().next().unwrap_or_default();
    let says = format!("{subject}: not ready, because {why}");
    // A journal that can't be written is told of elsewhere.
    let _ = give(session, Verdict { ready: false, says, details });
}
