//! A run has failed and the operator sits at the terminal: what to do about it, one line each.

use std::path::PathBuf;
use std::process::Command;

use super::driving::Driving;
use super::output;
use crate::run::drive::{self, Changes, Driven, Setup};
use crate::run::history::State;
use crate::script::execute::Aftermath;
use crate::script::record::Decision;
use crate::ui::prompt::{Terminal, is_terminal};
use crate::world::{Error, Kind, Result};

/// Whether there is somebody to ask, and a question would be seen.
pub fn are_offered(driving: &Driving) -> bool {
    !driving.yes && driving.format == super::Format::Text && is_terminal()
}

const CHOICES: [(&str, &str); 5] = [
    ("retry", "run the failed step again"),
    ("skip", "leave the failed step out, and go on with the next one"),
    ("edit", "open the script in your editor, then run the failed step again"),
    ("back", "put everything back as it was"),
    ("quit", "leave everything as it is; `pgscript resume` or `pgscript rollback` go on later"),
];

/// Asks until the run is over or the operator leaves it. `keep`: nothing is put back unless it is asked for.
pub fn offer(setup: &Setup, mut driven: Driven, keep: bool) -> Result<Driven> {
    while let Some(question) = question(setup, &driven) {
        // A cancellation before the commit step means: put it back.
        let cancelled = driven.outcome.failure.as_ref().is_some_and(|f| f.report.kind == Kind::Cancelled);
        let is_committed =
            driven.outcome.failure.as_ref().is_some_and(|f| matches!(f.aftermath, Aftermath::Committed(_)));
        let choice = match cancelled && !is_committed && !keep {
            true => "back".to_owned(),
            false => {
                setup.world.cancel.rearm();
                Terminal.choose(&question, &CHOICES)?
            }
        };
        driven = match act(setup, &driven, &choice)? {
            Some(next) => next,
            None => return Ok(driven),
        };
    }
    Ok(driven)
}

/// The error, above the choices; `None` where there is nothing to choose.
fn question(setup: &Setup, driven: &Driven) -> Option<String> {
    let failure = driven.outcome.failure.as_ref()?;
    (driven.place.is_some() && driven.state == State::Failed)
        .then(|| setup.world.redactor.redact(&format!("\n{}", failure.report.render())))
}

fn act(setup: &Setup, driven: &Driven, choice: &str) -> Result<Option<Driven>> {
    let Some(place) = &driven.place else { return Ok(None) };
    let failed = driven.outcome.failure.as_ref().and_then(|failure| failure.step.clone());
    setup.world.cancel.rearm();
    let again = |decisions, changes| drive::resume(setup, place, decisions, changes, true).map(Some);
    match (choice, failed) {
        ("retry", _) => again(Vec::new(), Changes::Refuse),
        ("skip", Some(step)) => again(vec![(outermost(&step), Decision::Skip)], Changes::Refuse),
        ("edit", _) => {
            edit(driven)?;
            again(Vec::new(), Changes::Accept)
        }
        ("back", _) => drive::rollback(setup, place, Changes::Refuse).map(Some),
        _ => Ok(None),
    }
}

/// What is skipped is the step that the script names, with all that is inside it.
fn outermost(step: &str) -> String {
    step.split(" / ").next().unwrap_or(step).to_owned()
}

/// Opens the file the error points to, else the script, in the operator's editor.
fn edit(driven: &Driven) -> Result<()> {
    let place = driven.outcome.failure.as_ref().and_then(|f| f.report.place.clone());
    let (file, line) = match place {
        Some(place) => (PathBuf::from(place.file), place.line),
        None => (PathBuf::from(&driven.history.script), 1),
    };
    if !file.is_file() {
        output::complain(&format!(
            "{} is built in: `pgscript eject {} DIR` writes it out; put it beside your script or into the site's directory\n",
            file.display(),
            driven.outcome.script
        ));
        return Ok(());
    }
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(format!("+{line}")).arg(&file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::failed("ui.editor", format!("{editor} ended with {status}"))),
        Err(error) => {
            Err(Error::failed("ui.editor", format!("cannot start {editor}: {error}"))
                .hint("name your editor in EDITOR"))
        }
    }
}
