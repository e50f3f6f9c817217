//! What `run`, `resume` and `rollback` share: their options, the runtime around a script, and the last word about it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Exit, Format, Global, output, prompter, signals};
use crate::event::Event;
use crate::run::drive::{Driven, Setup};
use crate::run::history::State;
use crate::run::log::{Both, Log};
use crate::script::execute::{Aftermath, Failure};
use crate::script::parameters::Given;
use crate::script::steps;
use crate::ui::prompt::Terminal;
use crate::ui::{self, human};
use crate::world::{Cancel, Owner, Redactor, Result, live};

/// Options of every command that drives a script.
#[derive(Args, Clone, Debug)]
pub struct Driving {
    /// A file with parameters: TOML (`to = 17`), or JSON where the name ends in `.json`.
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Answers every yes-or-no question with yes.
    #[arg(long, short)]
    pub yes: bool,
    /// Lets the script destroy this one thing without proof of a copy, such as `volume:primero_database`; may be
    /// repeated. Only for what nobody needs any more.
    #[arg(long, value_name = "KIND:NAME", value_parser = loss)]
    pub allow_data_loss: Vec<String>,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The Docker engine: unix:///…, tcp://…, ssh://user@host. That of the environment when left out.
    #[arg(long, value_name = "URL", env = "DOCKER_HOST", hide_env_values = true)]
    pub docker: Option<String>,
}

/// Kinds of things that a guard asks for.
const LOSSES: [&str; 4] = ["volume", "container", "artefact", "fence"];

/// Only what a guard asks for can be named: a typing error must not look like an allowance.
fn loss(text: &str) -> std::result::Result<String, String> {
    match text.split_once(':') {
        Some((kind, name)) if LOSSES.contains(&kind) && !name.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("name what may be lost, as KIND:NAME; kinds: {}", LOSSES.join(", "))),
    }
}

impl From<Format> for ui::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

impl Driving {
    /// Makes everything a run needs, drives it with `drive`, and says the last word.
    pub fn drive(
        &self,
        global: Global,
        given: Given,
        docker: Option<String>,
        drive: impl FnOnce(&Setup) -> Result<Driven>,
    ) -> anyhow::Result<Exit> {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = threads.context("cannot start the runtime")?;
        let (cancel, redactor) = (Cancel::default(), Redactor::default());
        signals::listen(&runtime, cancel.clone())?;
        let setup = self.setup(&runtime, global, given, docker, cancel, redactor)?;
        let result = drive(&setup).map(|driven| tell(&driven, self.format, &setup));
        // A primitive that does not let go must not hold up the prompt.
        runtime.shutdown_timeout(std::time::Duration::from_millis(200));
        Ok(result?)
    }

    fn setup(
        &self,
        runtime: &tokio::runtime::Runtime,
        global: Global,
        mut given: Given,
        docker: Option<String>,
        cancel: Cancel,
        redactor: Redactor,
    ) -> Result<Setup> {
        if let Some(path) = &self.params {
            given.read_file(path)?;
        }
        given.read_environment(
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))),
        );
        let log = Log::default();
        let shown = ui::listener(self.format.into(), redactor.clone());
        let listener = Arc::new(Both(shown, ui::log_listener(Box::new(log.clone()), redactor.clone())));
        let (runtime, owner) = (runtime.handle().clone(), Owner::default());
        let context = live::Context { runtime, cancel, listener: listener.clone(), redactor, owner };
        let prompter = prompter::Operator { yes: self.yes, cancel: context.cancel.clone(), terminal: Terminal };
        let docker = self.docker.clone().or(docker);
        Ok(Setup {
            store: global.store,
            places: global.places,
            world: live::world(context, docker.clone()),
            listener,
            log,
            prompter: Arc::new(prompter),
            losses: self.allow_data_loss.clone(),
            docker,
            given,
        })
    }
}

/// The last word about a run.
fn tell(driven: &Driven, format: Format, setup: &Setup) -> Exit {
    let Some(failure) = &driven.outcome.failure else { return Exit::Done };
    let exit = Exit::from(failure.report.kind);
    let (script, seconds, exit_code) = (driven.outcome.script.clone(), driven.outcome.seconds, exit.code());
    let mut object = failure.to_json();
    object["run"] = driven.place.as_ref().map(|place| place.id.clone()).into();
    object["next"] = json!(ways_on(driven).into_iter().map(|(command, _)| command).collect::<Vec<_>>());
    setup.listener.hear(&Event::RunFailed { script, seconds, exit_code, failure: object });
    if format == Format::Text {
        output::complain(&setup.world.redactor.redact(&block(driven, failure, setup)));
    }
    exit
}

/// What can be typed next, and what it does.
pub fn ways_on(driven: &Driven) -> Vec<(String, &'static str)> {
    let Some(place) = &driven.place else { return Vec::new() };
    let id = &place.id;
    let rollback = |meaning| (format!("pgscript rollback {id}"), meaning);
    if asks_operator(driven) {
        return Vec::new();
    }
    if is_back(driven) && driven.state != State::RolledBack {
        return vec![rollback("once the journal can be written: lets it know that everything is back")];
    }
    match driven.state {
        State::Failed | State::Interrupted => vec![
            (format!("pgscript resume {id}"), "goes on where it stopped"),
            rollback("puts everything back as it was"),
        ],
        State::RollingBack => vec![rollback("goes on putting back")],
        // A rollback that was refused or declined.
        State::Done => vec![rollback("goes back to what was before the run")],
        State::NotBegun | State::RolledBack => Vec::new(),
    }
}

/// Whether going on was refused with a question: the hint has the commands that answer it.
fn asks_operator(driven: &Driven) -> bool {
    driven.outcome.failure.as_ref().is_some_and(|failure| steps::REFUSALS.contains(&failure.report.code.as_str()))
}

fn is_back(driven: &Driven) -> bool {
    let aftermath = driven.outcome.failure.as_ref().map(|failure| &failure.aftermath);
    matches!(aftermath, Some(Aftermath::PutBack(steps)) if steps.is_complete())
}

/// What happened, to what, what has been put back, what to type next.
fn block(driven: &Driven, failure: &Failure, setup: &Setup) -> String {
    let mut out = format!("\n{}", failure.report.render());
    let step = failure.step.as_ref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let seconds = human::seconds(driven.outcome.seconds);
    let _ = match failure.aftermath {
        Aftermath::Stands => writeln!(out, "\n✗ stopped after {seconds}"),
        _ => writeln!(out, "\n✗ failed{step} after {seconds}"),
    };
    aftermath(&failure.aftermath, &mut out);
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
            let _ = writeln!(out, "  (the engine is {url}, as before)");
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
            for step in &steps.left {
                let _ = writeln!(out, "  not put back: `{step}`");
            }
        }
    }
}
