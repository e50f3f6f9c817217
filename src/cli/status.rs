//! `pgscript status [RUN]`

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{Exit, Format, Global};
use crate::event::Silent;
use crate::run::belonging::Onlooker;
use crate::run::history::{History, State};
use crate::run::status::{Seen, Status as Standing};
use crate::run::store::Place;
use crate::ui::output;
use crate::world::live::docker::Wish;
use crate::world::{self, Cancel, Doorkeeper, Error, Owner, Redactor, live};

/// Says where a run stands: whether the data is safe, where it is, and what to type.
#[derive(Args, Debug)]
pub struct Status {
    /// The run, `upgrade-7` or `7`; the newest one when left out.
    run: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The Docker engine; that of the run when left out.
    #[arg(long, value_name = "URL")]
    docker: Option<String>,
}

impl Status {
    pub fn execute(self, global: &Global) -> anyhow::Result<Exit> {
        let place = match &self.run {
            Some(name) => global.store.find(name)?,
            None => newest(global)?,
        };
        let (history, damage) = place.history()?;
        let wish = match self.docker {
            Some(url) => Wish::Named(url),
            None => history.endpoint().map_or(Wish::Nothing, Wish::OfRun),
        };
        let seen = look(wish, &place, &history)?;
        let status = Standing::new(&place, &history, damage.as_ref(), &seen);
        match self.format {
            Format::Json => output::print(&format!("{:#}\n", serde_json::to_value(&status)?)),
            Format::Text => output::tell(&status.render()),
        }
        Ok(Exit::Done)
    }
}

fn newest(global: &Global) -> crate::world::Result<Place> {
    let root = global.store.root().display();
    let mut runs = global.store.runs()?;
    // A frightened operator asks about what is not finished; neither about what was tried by hand meanwhile, nor
    // about a run that was refused and has nothing to say.
    let histories: Vec<_> = runs.iter().map(|place| place.history().ok().map(|(history, _)| history)).collect();
    let is_unfinished = |history: &Option<History>| history.as_ref().is_some_and(|history| !history.state().is_over());
    let is_run = |history: &Option<History>| {
        history.as_ref().is_none_or(|history| {
            !history.is_session() && (history.state() != State::Refused || history.verdict.is_some())
        })
    };
    let newest = histories.iter().rposition(is_unfinished).or_else(|| histories.iter().rposition(is_run));
    let newest = newest.or(runs.len().checked_sub(1));
    newest.map(|index| runs.swap_remove(index)).ok_or_else(|| {
        Error::usage("run.not_found", format!("no runs in {root}")).hint("--store names another run store")
    })
}

/// What the engine shows, if it shows it soon, and what is there of the run's files.
fn look(wish: Wish, place: &Place, history: &History) -> anyhow::Result<Seen> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = threads.context("cannot start the runtime")?;
    let (cancel, redactor, owner) = (Cancel::default(), Redactor::default(), Owner::default());
    let doorkeeper: Arc<dyn Doorkeeper> = Arc::new(Onlooker { engine: history.engine.clone(), run: place.id.clone() });
    owner.keeps_door(Arc::downgrade(&doorkeeper));
    let context =
        live::Context { runtime: runtime.handle().clone(), cancel, listener: Arc::new(Silent), redactor, owner };
    let world = world::open(context, wish);
    let seen = Seen::now(&world, place, history);
    world.cancel.cancel();
    runtime.shutdown_timeout(Duration::from_millis(50));
    Ok(seen)
}
