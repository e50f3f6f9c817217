//! The last word about a run that failed: what happened, what was put back, what to type next.

use std::fmt::Write as _;

use super::drive::{Driven, Setup};
use super::history::{History, State};
use crate::script::execute::{Aftermath, Failure};
use crate::script::steps;

/// What can be typed next, and what it does.
pub fn ways_on(driven: &Driven) -> Vec<(String, &'static str)> {
    let Some(place) = &driven.place else { return Vec::new() };
    let id = &place.id;
    let rollback = |meaning| (format!("pgscript rollback {id}"), meaning);
    if asks_operator(driven) {
        return Vec::new();
    }
    if is_back(driven) && !matches!(driven.state, State::RolledBack | State::Refused) {
        return vec![rollback("once the journal can be written: lets it know that everything is back")];
    }
    let can_go_back = driven.history.no_rollback.is_none();
    match driven.state {
        State::Failed | State::Interrupted => {
            let mut ways = vec![(format!("pgscript resume {id}"), "goes on where it stopped")];
            ways.extend(can_go_back.then(|| rollback("puts everything back as it was")));
            ways
        }
        State::RollingBack => {
            let mut ways = vec![rollback("goes on putting back")];
            ways.extend(skips(id, &driven.history));
            ways
        }
        // A rollback that was refused or declined.
        State::Done if can_go_back => vec![rollback("goes back to what was before the run")],
        State::Done => Vec::new(),
        State::NotBegun | State::Session | State::RolledBack | State::Refused => Vec::new(),
    }
}

/// For each step that could not be put back, how to go on without it.
pub fn skips(run: &str, history: &History) -> impl Iterator<Item = (String, &'static str)> {
    history.not_undone.keys().map(move |step| {
        (format!("pgscript rollback {run} --skip {}", steps::quoted(step)), "once you have put that back by hand")
    })
}

/// Whether going on was refused with a question: the hint has the commands that answer it.
fn asks_operator(driven: &Driven) -> bool {
    driven.outcome.failure.as_ref().is_some_and(|failure| steps::REFUSALS.contains(&failure.report.code.as_str()))
}

fn is_back(driven: &Driven) -> bool {
    let aftermath = driven.outcome.failure.as_ref().map(|failure| &failure.aftermath);
    matches!(aftermath, Some(Aftermath::PutBack(steps)) if steps.is_complete())
}

/// What happened, to what, what has been put back, what to type next. `seconds` is how long it took, for people;
/// `width` the columns of their terminal.
pub fn render(driven: &Driven, failure: &Failure, setup: &Setup, seconds: &str, width: usize) -> String {
    let mut out = format!("\n{}", failure.report.render_within(width, &setup.world.redactor));
    let step = failure.step.as_ref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let _ = match failure.aftermath {
        Aftermath::Stands => writeln!(out, "\n✗ stopped after {seconds}"),
        _ => writeln!(out, "\n✗ failed{step} after {seconds}"),
    };
    match driven.state {
        State::Refused => out.push_str("  nothing was changed\n"),
        _ => aftermath(&failure.aftermath, &mut out),
    }
    let advice = failure.advice();
    if let Some(recovery) = advice {
        let _ = writeln!(out, "  next: {}", recovery.replace('\n', "\n        "));
    }
    let ways = ways_on(driven);
    let width = ways.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    for (number, (command, meaning)) in ways.iter().enumerate() {
        let head = if number == 0 && advice.is_none() { "next:" } else { "or:  " };
        let _ = writeln!(out, "  {head} {command:<width$}   {meaning}");
    }
    if asks_operator(driven) {
        out.push_str("  next: one of the commands above\n");
    }
    if let Some(place) = driven.place.as_ref().filter(|_| !ways.is_empty() || asks_operator(driven)) {
        let _ = writeln!(out, "  where it stands: pgscript status {}", place.id);
        if let Some(url) = &setup.docker {
            let _ = writeln!(out, "  (the engine is {url}, as the journal says)");
        }
    }
    out
}

fn aftermath(aftermath: &Aftermath, out: &mut String) {
    match aftermath {
        Aftermath::Unchanged => out.push_str("  nothing was changed\n"),
        Aftermath::Untouched => {}
        Aftermath::Kept => out.push_str("  nothing was put back\n"),
        Aftermath::Stands => out.push_str("  nothing was done: the run stands where it stood\n"),
        Aftermath::Committed(step) => {
            let _ = writeln!(out, "  step `{step}` had begun, so nothing was put back by itself");
        }
        Aftermath::PutBack(steps) if steps.is_complete() => out.push_str("  everything is back as it was\n"),
        Aftermath::PutBack(steps) => {
            for (step, reason) in &steps.failed {
                let _ = writeln!(out, "  could not put back `{step}`: {reason}");
            }
            let why = if steps.failed.is_empty() { "" } else { ", because it rests on that" };
            for step in &steps.left {
                let _ = writeln!(out, "  not put back yet{why}: `{step}`");
            }
            if let Some(what) = &steps.differs {
                let _ = writeln!(out, "  put back, but not as it was: {}", what.replace('\n', "\n    "));
            }
        }
    }
}
