//! What `run`, `resume` and `rollback` share: their options, the runtime around a script, and the last word about it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Exit, Format, Global, prompter, signals};
use crate::event::{Event, Listener};
use crate::run::drive::{Driven, Setup};
use crate::run::history::History;
use crate::run::instants::OfEnvironment;
use crate::run::last_word;
use crate::run::log::{Both, Log};
use crate::script::parameters::Given;
use crate::ui::output;
use crate::ui::prompt::Terminal;
use crate::ui::{self, human, style};
use crate::world::live::docker::Wish;
use crate::world::{self, Cancel, Owner, Redactor, Result, live};

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
    /// repeated. Only for what nobody needs any more. `engine:ID` takes that engine for the run's.
    #[arg(long, value_name = "KIND:NAME", value_parser = loss)]
    pub allow_data_loss: Vec<String>,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The Docker engine: unix:///…, tcp://…, ssh://user@host, context:NAME. When left out that of the run; for a new
    /// one that of the environment (DOCKER_HOST, docker context).
    #[arg(long, value_name = "URL")]
    pub docker: Option<String>,
}

/// Kinds of things that a guard asks for.
const LOSSES: [&str; 5] = ["volume", "container", "artefact", "fence", "engine"];

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
        history: &History,
        drive: impl FnOnce(&Setup) -> Result<Driven>,
    ) -> anyhow::Result<Exit> {
        self.with_setup(global, given, history, |setup| drive(setup).map(|driven| tell(&driven, self.format, setup)))
    }

    /// Makes everything a run or a session needs, for `work`. `history` is that of the run, which knows its engine.
    pub fn with_setup(
        &self,
        global: Global,
        given: Given,
        history: &History,
        work: impl FnOnce(&Setup) -> Result<Exit>,
    ) -> anyhow::Result<Exit> {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = threads.context("cannot start the runtime")?;
        let (cancel, redactor) = (Cancel::default(), Redactor::default());
        signals::listen(&runtime, cancel.clone())?;
        let setup = self.setup(&runtime, global, given, history, cancel, redactor)?;
        let result = work(&setup);
        // A primitive that does not let go must not hold up the prompt.
        runtime.shutdown_timeout(std::time::Duration::from_millis(200));
        Ok(result?)
    }

    fn setup(
        &self,
        runtime: &tokio::runtime::Runtime,
        global: Global,
        mut given: Given,
        history: &History,
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
        // Until the run has a directory, whose name it then is.
        owner.set(&format!("process {}", std::process::id()));
        let context = live::Context { runtime, cancel, listener: listener.clone(), redactor, owner };
        let prompter = prompter::Operator { yes: self.yes, cancel: context.cancel.clone(), terminal: Terminal };
        let of_environment = std::env::var("DOCKER_HOST").ok().filter(|url| !url.is_empty());
        let wish = match (&self.docker, history.endpoint()) {
            (Some(url), _) => Wish::Named(url.clone()),
            (None, Some(url)) => {
                say_unheeded(&*listener, &url, of_environment.as_deref());
                Wish::OfRun(url)
            }
            (None, None) => Wish::Nothing,
        };
        Ok(Setup {
            store: global.store,
            places: global.places,
            world: world::open(context, wish),
            listener,
            log,
            prompter: Arc::new(prompter),
            losses: self.allow_data_loss.clone(),
            docker: self.docker.clone().or_else(|| history.docker.clone()).or(of_environment),
            given,
            instants: Arc::new(OfEnvironment::new()),
        })
    }
}

/// Where a run's engine is stands in its journal: an environment that points elsewhere by now does not count.
fn say_unheeded(listener: &dyn Listener, own: &str, of_environment: Option<&str>) {
    if of_environment.is_some_and(|url| url != own) {
        let text =
            format!("DOCKER_HOST is not heeded: the run belongs to the engine {own}; --docker names another way to it");
        listener.hear(&Event::Warn { text });
    }
}

/// The last word about a run.
fn tell(driven: &Driven, format: Format, setup: &Setup) -> Exit {
    let Some(failure) = &driven.outcome.failure else { return Exit::Done };
    let exit = Exit::from(failure.report.kind);
    let (script, seconds, exit_code) = (driven.outcome.script.clone(), driven.outcome.seconds, exit.code());
    let mut object = failure.to_json();
    object["run"] = driven.place.as_ref().map(|place| place.id.clone()).into();
    object["next"] = json!(last_word::ways_on(driven).into_iter().map(|(command, _)| command).collect::<Vec<_>>());
    setup.listener.hear(&Event::RunFailed { script, seconds, exit_code, failure: object });
    if format == Format::Text {
        output::complain(&setup.world.redactor.redact(&last_word::render(
            driven,
            failure,
            setup,
            &human::seconds(seconds),
            style::columns(),
        )));
    }
    exit
}
