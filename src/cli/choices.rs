//! A run has failed and the operator sits at the terminal: what to do about it, one line each.

use super::driving::Driving;
use super::signals;
use crate::repl::edit;
use crate::run::drive::{self, Changes, Driven, Setup};
use crate::run::history::State;
use crate::run::store::Place;
use crate::script::errors::Report;
use crate::script::execute::{Aftermath, Failure, Outcome, Way};
use crate::script::record::Decision;
use crate::script::steps::PutBack;
use crate::ui::prompt::{Terminal, is_terminal};
use crate::ui::{output, style};
use crate::world::{Kind, Result};

/// Whether there is somebody to ask, and a question would be seen.
pub fn are_offered(driving: &Driving) -> bool {
    !driving.yes && driving.format == super::Format::Text && is_terminal()
}

/// Code of the error about a step that was cut off and can't tell what became of it.
const UNKNOWN: &str = "run.unknown_step";

/// Asks until the run is over or the operator leaves it. `keep`: nothing is put back unless it is asked for.
pub fn offer(setup: &Setup, mut driven: Driven, keep: bool) -> Result<Driven> {
    // A cancellation before the commit step means: put it back.
    let mut chosen = (is_cancelled(&driven) && !keep).then(|| "back".to_owned());
    while let Some(question) = question(setup, &driven) {
        let choice = match chosen.take() {
            Some(choice) => choice,
            None => {
                setup.world.cancel.rearm();
                let choice = choose(&question, &driven)?;
                signals::forget();
                choice
            }
        };
        setup.world.cancel.rearm();
        match act(setup, &driven, &choice) {
            Ok(Some(next)) => {
                chosen = (is_cancelled(&next) && !keep && choice != "back").then(|| "back".to_owned());
                driven = next;
            }
            Ok(None) => break,
            // Nothing was done: the choice was none.
            Err(error) => output::complain(&format!("\n{}", Report::from(&error).render())),
        }
    }
    Ok(driven)
}

fn is_cancelled(driven: &Driven) -> bool {
    driven.outcome.failure.as_ref().is_some_and(|failure| {
        failure.report.kind == Kind::Cancelled && !matches!(failure.aftermath, Aftermath::Committed(_))
    })
}

/// The error, above the choices; `None` where there is nothing to choose.
fn question(setup: &Setup, driven: &Driven) -> Option<String> {
    let failure = driven.outcome.failure.as_ref()?;
    let is_open = driven.state == State::Failed || failure.report.code == UNKNOWN;
    (driven.place.is_some() && is_open)
        .then(|| format!("\n{}", failure.report.render_within(style::columns(), &setup.world.redactor)))
}

/// One word, explained in a line each. Ctrl-C and Ctrl-D leave.
fn choose(question: &str, driven: &Driven) -> Result<String> {
    let step = step_of(driven);
    let retry =
        step.as_ref().map_or("go on from where it stopped".to_owned(), |step| format!("run step `{step}` again"));
    let skip = step.as_ref().map(|step| format!("leave step `{step}` out, and go on with the next one"));
    let edit = format!("open the script in your editor, then {retry}");
    let mut choices = vec![("retry", retry.as_str())];
    choices.extend(skip.as_deref().map(|skip| ("skip", skip)));
    choices.extend([
        ("edit", edit.as_str()),
        ("shell", "look around and do one thing by hand, with the script's variables"),
        ("back", "put everything back as it was"),
        ("quit", "leave everything as it is; `pgscript resume` or `rollback` go on later"),
    ]);
    choices.retain(|(choice, _)| *choice != "back" || driven.history.no_rollback.is_none());
    match Terminal.choose(question, &choices) {
        Err(error) if error.kind == Kind::Cancelled => Ok("quit".into()),
        choice => choice,
    }
}

/// What is run again or skipped: the step that the script names, with all that is inside it; but a step that was cut
/// off is decided about alone.
fn step_of(driven: &Driven) -> Option<String> {
    let failure = driven.outcome.failure.as_ref()?;
    let step = failure.step.as_deref()?;
    let is_unknown = failure.report.code == UNKNOWN;
    Some(if is_unknown { step } else { step.split(" / ").next().unwrap_or(step) }.to_owned())
}

/// What the choice leads to; `None` when the operator leaves.
fn act(setup: &Setup, driven: &Driven, choice: &str) -> Result<Option<Driven>> {
    let (Some(place), Some(failure)) = (&driven.place, &driven.outcome.failure) else { return Ok(None) };
    let held = || driven.held.clone();
    let decided = |decision| step_of(driven).map(|step| (step, decision)).into_iter().collect();
    let again = |decisions, changes| {
        drive::resume(setup, place, held(), decisions, changes, Way::Forward { keep: true }).map(Some)
    };
    let retry = || if failure.report.code == UNKNOWN { decided(Decision::Retry) } else { Vec::new() };
    match choice {
        "retry" => again(retry(), Changes::Refuse),
        "skip" => again(decided(Decision::Skip), Changes::Refuse),
        "edit" => {
            edit(setup, driven)?;
            again(retry(), Changes::Accept)
        }
        "back" => {
            let mut back = drive::rollback(setup, place, held(), &[], Changes::Refuse)?;
            // The run has failed all the same: what waits for its exit code must not go on.
            back.outcome.failure.get_or_insert_with(|| Failure {
                report: failure.report.clone(),
                step: failure.step.clone(),
                aftermath: Aftermath::PutBack(PutBack::default()),
                recovery: None,
            });
            Ok(Some(back))
        }
        "shell" => {
            let is_ended = super::repl::after_failure(setup, place, held())?;
            if is_ended { Ok(None) } else { after_shell(place, driven).map(Some) }
        }
        _ => Ok(None),
    }
}

/// Where the run stands once the operator has left the shell: it may have been brought to its end there.
fn after_shell(place: &Place, driven: &Driven) -> Result<Driven> {
    let (history, _) = place.history()?;
    let state = history.state();
    let outcome = Outcome {
        script: driven.outcome.script.clone(),
        seconds: driven.outcome.seconds,
        failure: driven.outcome.failure.clone().filter(|_| state != State::Done),
        is_partial: false,
    };
    Ok(Driven { outcome, held: driven.held.clone(), place: Some(place.clone()), state, history })
}

/// Opens what the error points to, else the script, in the operator's editor.
fn edit(setup: &Setup, driven: &Driven) -> Result<()> {
    let place = driven.outcome.failure.as_ref().and_then(|failure| failure.reason().place);
    let (source, line) = place.unwrap_or_else(|| (driven.history.script.clone(), 1));
    edit::script(&setup.places, &source, line)
}
