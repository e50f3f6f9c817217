//! The journal's lines in plain words.

use super::journal::Line;
use crate::script::record::{Decision, Ending, Entry};

/// What a line says, for people; the first line of what is long.
pub fn words(line: &Line) -> String {
    match &line.entry {
        Entry::Run { script, version, .. } => format!("run of {script} begins (pgscript {version})"),
        Entry::Process { command, pid, host } => format!("process {pid} on {host} takes it up: {}", name(command)),
        Entry::Source { id, .. } => format!("goes by {id}"),
        Entry::Parameter { name, value } => match value {
            Some(value) => format!("parameter {name} is {value}"),
            None => format!("parameter {name} is a secret"),
        },
        Entry::Engine(engine) => format!("belongs to the Docker engine of {} ({})", engine.host, engine.named),
        Entry::Answer { question, yes } => format!("{}: {question}", if *yes { "yes" } else { "no" }),
        Entry::Input { step, text, .. } => format!("by hand {step}: {}", first(text)),
        Entry::Effect { command, .. } => format!("about to: {}", first(command)),
        Entry::Settled { effect, error: None } => format!("{effect} has happened"),
        Entry::Settled { effect, error: Some(error) } => format!("{effect} failed: {}", first(&error.message)),
        Entry::Fact(fact) => format!("known: {}", serde_json::to_string(fact).unwrap_or_default()),
        Entry::Override { loss } => format!("the operator allows to lose {loss}"),
        Entry::Recovery { text } => format!("to type on failure: {}", first(text)),
        Entry::NoRollback { reason } => format!("can't be put back from here on: {}", first(reason)),
        Entry::Verdict(verdict) => format!("says: {}", first(&verdict.says)),
        Entry::GoingBack { automatic: true } => "a step failed: puts back what was done".into(),
        Entry::GoingBack { automatic: false } => "puts back what was done".into(),
        Entry::Ended { outcome, error, .. } => {
            let why = error.as_ref().map(|error| format!(": {}", first(&error.message))).unwrap_or_default();
            format!("ended: {}{why}", ending(*outcome))
        }
        Entry::Locked { stack } => format!("has the stack {stack}"),
        Entry::PutBack { by } => format!("{by} has put back what it did"),
        Entry::Cleaned { by } => format!("{by} removes its copies"),
        step => of_step(step),
    }
}

fn of_step(entry: &Entry) -> String {
    match entry {
        Entry::Started { step } => format!("step {step} begins"),
        Entry::Done { step, seconds, .. } => format!("step {step} is done ({seconds:.1} s)"),
        Entry::Failed { step, error } => format!("step {step} failed: {}", first(&error.message)),
        Entry::LeftOpen { step } => format!("step {step} is left open: the run goes on without it"),
        Entry::Decided { step, decision } => match decision {
            Decision::Retry => format!("the operator decides: run {step} again"),
            Decision::Skip => format!("the operator decides: skip {step}"),
            Decision::Accept(value) => format!("the operator decides: {step} has happened, and gave {value}"),
        },
        Entry::UndoStarted { step } => format!("puts back {step}"),
        Entry::UndoDone { step } => format!("{step} is put back"),
        Entry::UndoFailed { step, error } => format!("{step} could not be put back: {}", first(&error.message)),
        other => format!("{other:?}"),
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn name(command: &crate::script::record::Command) -> &'static str {
    use crate::script::record::Command;
    match command {
        Command::Run => "run",
        Command::Resume => "resume",
        Command::Rollback => "rollback",
        Command::Repl => "by hand",
    }
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Failed => "failed",
        Ending::PutBack => "everything is put back",
        Ending::PartlyPutBack => "some steps could not be put back",
        Ending::Refused => "refused, and nothing is changed",
        Ending::Stopped => "one step was to run, and has",
    }
}
