//! What a kill, a resume and a rollback make of a script's steps, as far as its text tells.
//!
//! A step that was cut off runs again by itself where it had changed nothing yet or is `repeatable`; its `probe` says
//! what happened; else the operator is asked. A rollback puts back what has an `undo`.

use rhai::Position;

use super::captured::{self, Lost};
use super::check::is_global;
use super::flow::{Flow, Met, Step};
use super::source::Source;
use super::tree::Call;
use crate::world::Error;

/// What a resumed run does about a step that was cut off in its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterKill {
    RunsAgain,
    Probes,
    Asks,
}

impl AfterKill {
    /// `None` where the text does not tell.
    pub fn of(flow: &Flow<'_>, step: &Step<'_>) -> Option<Self> {
        let declared = step.declared;
        match step.body {
            _ if declared.is_computed => None,
            _ if declared.repeatable => Some(Self::RunsAgain),
            Some(_) if !flow.changes(step) => Some(Self::RunsAgain),
            _ if declared.probe => Some(Self::Probes),
            Some(_) => Some(Self::Asks),
            None => None,
        }
    }

    /// As `show` says it: "after a kill: …".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::RunsAgain => "runs again by itself",
            Self::Probes => "probes",
            Self::Asks => "asks",
        }
    }

    /// As it is called in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RunsAgain => "runs_again",
            Self::Probes => "probes",
            Self::Asks => "asks",
        }
    }
}

/// Whether a step comes after its script has said that the run can't be put back any more.
pub fn is_one_way(flow: &Flow<'_>, step: &Step<'_>) -> bool {
    let calls = &flow.units[step.unit].file.tree.calls;
    let says_so = |call: &&Call| is_global(call, "no_rollback") && call.owner.is_none();
    calls.iter().find(says_so).is_some_and(|from| step.call.position > from.position)
}

/// What the operator types about a step that nobody else can judge.
const DECIDE: &str = "pgscript resume RUN --retry STEP | --skip STEP | --accept STEP=VALUE";

/// A warning and where it belongs.
pub type Warning<'f> = (&'f Source, Position, Error);

/// At most one warning a rule.
pub fn warnings<'f>(flow: &Flow<'f>) -> Vec<Warning<'f>> {
    let met = flow.met();
    let changing: Vec<_> = met.iter().filter(|met| flow.changes(met.step)).collect();
    let stays = |met: &Met<'_, '_>| !met.is_covered && !met.step.declared.undo && !is_one_way(flow, met.step);
    let stay: Vec<_> = changing.iter().filter(|met| stays(met)).map(|met| met.step).collect();
    let is_open = |step: &Step<'_>| AfterKill::of(flow, step) == Some(AfterKill::Asks);
    let ask: Vec<_> = changing.iter().map(|met| met.step).filter(|step| is_open(step)).collect();
    let is_bare = stay.len() == changing.len() && ask.len() == changing.len();
    let about_steps = match is_bare {
        true => [(&stay, neither_way as fn(&str) -> Error)].to_vec(),
        false => [(&stay, no_way_back as fn(&str) -> Error), (&ask, open_question)].to_vec(),
    };
    let about_steps = about_steps.into_iter().filter_map(|(steps, warning)| {
        let first = steps.first()?;
        Some((&flow.units[first.unit].file.source, first.call.position, warning(&names(flow, steps))))
    });
    about_steps.chain(lost(flow, &met)).collect()
}

fn neither_way(steps: &str) -> Error {
    let message = format!(
        "a kill in {steps} would leave no way forward and none back: no step that changes something has `undo`, \
         `probe` or `repeatable`"
    );
    Error::failed("check.not_durable", message).hint(format!(
        "forward: nobody can know what such a step has done, so the operator must find out and decide by hand:\n\
         {DECIDE}\n\
         back: `pgscript rollback` would put nothing back\n\
         declare both: step(\"…\", || …, #{{ undo: |value| …, probe: || … }}), or `repeatable: true` for the probe"
    ))
}

fn no_way_back(steps: &str) -> Error {
    Error::failed("check.no_undo", format!("a rollback can't put back: {steps}")).hint(
        "these steps change something and have no `undo`: `pgscript rollback`, or a failure, leaves that as it is\n\
         declare how to put it back: step(\"…\", || …, #{ undo: |value| … })",
    )
}

fn open_question(steps: &str) -> Error {
    let message = format!("a kill in {steps} would leave a question that only the operator can answer");
    Error::failed("check.open_question", message).hint(format!(
        "nobody could know what such a step has done:\n\
         {DECIDE}\n\
         declare `repeatable: true` where doing it twice does no harm,\n\
         or `probe: || …` that gives () if it was not done, else the step's value"
    ))
}

fn lost<'f>(flow: &Flow<'f>, met: &[Met<'_, 'f>]) -> Option<Warning<'f>> {
    let lost = captured::lost(flow, met);
    let first = lost.first()?;
    let step = named(flow, first.step);
    let message = match lost.as_slice() {
        [_] => format!(
            "on resume {step} does not run again, so `{}` keeps its old value; return it from the step",
            first.variable
        ),
        several => format!(
            "on resume finished steps do not run again, so these keep their old values: {}; return them from the steps",
            several.iter().map(|lost| in_step(flow, lost)).collect::<Vec<_>>().join(", ")
        ),
    };
    let name = first.step.name.as_deref().unwrap_or("…");
    let hint = format!("let result = step(\"{name}\", || {{ …; result }}), with `{}` in it", first.variable);
    let error = Error::failed("check.lost_variable", message).hint(hint);
    Some((&flow.units[first.step.unit].file.source, first.position, error))
}

fn in_step(flow: &Flow<'_>, lost: &Lost<'_, '_>) -> String {
    format!("`{}` of {}", lost.variable, named(flow, lost.step))
}

fn names(flow: &Flow<'_>, steps: &[&Step<'_>]) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in steps.iter().map(|step| named(flow, step)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn named(flow: &Flow<'_>, step: &Step<'_>) -> String {
    let line = step.call.position.line().unwrap_or_default();
    let place = || format!("the step at {}:{line}", flow.units[step.unit].file.source.id);
    step.name.as_ref().map_or_else(place, |name| format!("`{name}`"))
}
