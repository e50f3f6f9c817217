//! `pgscript run SCRIPT`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use clap::Args;

use super::{Exit, Format, output, prompter, signals};
use crate::event::Event;
use crate::script::evidence::Evidence;
use crate::script::execute::{self, Aftermath, Failure, Outcome};
use crate::script::loader::Places;
use crate::script::parameters::{Given, Parameters};
use crate::script::session::Session;
use crate::ui::prompt::Terminal;
use crate::ui::{self, human};
use crate::world::{Cancel, Redactor, Result, live};

/// Runs a script: a path, or the name of a script of the site or of those built in.
#[derive(Args, Debug)]
pub struct Run {
    /// `upgrade.rhai`, `./my-upgrade.rhai`, …
    script: String,
    /// Gives a parameter; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A file with parameters: TOML (`to = 17`), or JSON where the name ends in `.json`.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Answers every yes-or-no question with yes.
    #[arg(long, short)]
    yes: bool,
    /// Leaves everything as it is when the run fails, instead of putting back what was done.
    #[arg(long)]
    keep: bool,
    /// Lets the script destroy this one thing without proof of a copy, such as `volume:primero_database`; may be
    /// repeated. Only for what nobody needs any more.
    #[arg(long, value_name = "KIND:NAME", value_parser = loss)]
    allow_data_loss: Vec<String>,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The Docker engine: unix:///…, tcp://…, ssh://user@host. That of the environment when left out.
    #[arg(long, value_name = "URL", env = "DOCKER_HOST", hide_env_values = true)]
    docker: Option<String>,
}

/// Only what a guard asks for can be named: a typing error must not look like an allowance.
fn loss(text: &str) -> std::result::Result<String, String> {
    match text.strip_prefix("volume:") {
        Some(name) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("name what may be lost, as volume:NAME".into()),
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

impl Run {
    pub fn execute(self, places: Places) -> anyhow::Result<Exit> {
        let source = places.script(&self.script)?;
        let given = self.given()?;
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = threads.context("cannot start the runtime")?;
        let (cancel, redactor) = (Cancel::default(), Redactor::default());
        signals::listen(&runtime, cancel.clone())?;
        let listener = ui::listener(self.format.into(), redactor.clone());
        let context = live::Context { runtime: runtime.handle().clone(), cancel, listener, redactor };
        let session = Arc::new(Session {
            listener: context.listener.clone(),
            prompter: Arc::new(prompter::Operator {
                yes: self.yes,
                cancel: context.cancel.clone(),
                terminal: Terminal,
            }),
            world: live::world(context, self.docker.clone()),
            parameters: Parameters::new(given),
            steps: Mutex::default(),
            evidence: Evidence::new(self.allow_data_loss),
        });
        let outcome = execute::execute(session.clone(), places, source, self.keep)?;
        let exit = tell(&outcome, self.format, &session, self.docker.as_deref());
        // A primitive that does not let go must not hold up the prompt.
        runtime.shutdown_timeout(std::time::Duration::from_millis(200));
        Ok(exit)
    }

    fn given(&self) -> Result<Given> {
        let mut given = Given::default();
        for set in &self.set {
            given.add_set(set)?;
        }
        if let Some(path) = &self.params {
            given.read_file(path)?;
        }
        given.read_environment(
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))),
        );
        Ok(given)
    }
}

/// The last word about a run.
fn tell(outcome: &Outcome, format: Format, session: &Session, docker: Option<&str>) -> Exit {
    let Some(failure) = &outcome.failure else { return Exit::Done };
    let exit = Exit::from(failure.report.kind);
    let (script, seconds, exit_code) = (outcome.script.clone(), outcome.seconds, exit.code());
    session.emit(Event::RunFailed { script, seconds, exit_code, failure: failure.to_json() });
    if format == Format::Text {
        output::complain(&session.world.redactor.redact(&block(failure, outcome.seconds, docker)));
    }
    exit
}

/// What happened, to what, what has been put back, what to type next.
fn block(failure: &Failure, seconds: f64, docker: Option<&str>) -> String {
    let mut out = format!("\n{}", failure.report.render());
    let step = failure.step.as_ref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let _ = writeln!(out, "\n✗ failed{step} after {}", human::seconds(seconds));
    match &failure.aftermath {
        Aftermath::Unchanged => out.push_str("  nothing was changed\n"),
        Aftermath::Untouched => {}
        Aftermath::Kept => out.push_str("  nothing was put back, as --keep asks\n"),
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
    if let Some(recovery) = failure.advice() {
        let _ = writeln!(out, "  next: {}", recovery.replace('\n', "\n        "));
        if let Some(url) = docker {
            let _ = writeln!(out, "        (on the same engine: --docker {url})");
        }
    }
    out
}
