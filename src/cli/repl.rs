//! `pgscript repl`

use std::io::{BufReader, stdin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::driving::Driving;
use super::signals::Handling;
use super::{Exit, Global};
use crate::repl::shell::{self, Start};
use crate::run::drive::Setup;
use crate::run::history::History;
use crate::run::store::{Held, Place};
use crate::script::parameters::Given;
use crate::ui::prompt::is_terminal;
use crate::world::Result;

/// Opens a shell with every primitive; in a half-finished run, one that knows where it stands.
///
/// Guards hold as in a script, what changes something is journalled. Without a terminal it takes inputs from standard
/// input and ends at the first error.
#[derive(Args, Debug)]
pub struct Repl {
    /// The run to work in, `upgrade-7` or `7`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    driving: Driving,
}

impl Repl {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        session(&self.driving, global, self.run.as_deref(), |start| {
            if is_terminal() {
                return shell::at_terminal(start).map(|()| Exit::Done);
            }
            let ended = shell::piped(start, BufReader::new(stdin()))?;
            Ok(ended.map_or(Exit::Done, Exit::from))
        })
    }
}

/// Makes what a session begins with: in a run, with the site and the engine of that run.
pub fn session(
    driving: &Driving,
    global: Global,
    run: Option<&str>,
    work: impl FnOnce(Start) -> Result<Exit>,
) -> anyhow::Result<Exit> {
    let place = run.map(|name| global.store.find(name)).transpose()?;
    let history = place.as_ref().map_or_else(|| Ok(History::default()), |place| place.history().map(|(h, _)| h))?;
    let global = if place.is_some() { global.of_run(&history)? } else { global };
    let (is_busy, is_ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let handling = Handling::Session { is_busy: is_busy.clone(), is_ended: is_ended.clone() };
    driving.with_setup(global, Given::default(), history.docker, handling, |setup| {
        work(Start { setup: setup.clone(), place, held: None, is_busy, is_ended })
    })
}

/// The shell in a run that has just failed in this process; gives back the terminal when the operator leaves it.
pub fn after_failure(setup: &Setup, place: &Place, held: Option<Held>) -> Result<()> {
    let (is_busy, is_ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    shell::at_terminal(Start { setup: setup.clone(), place: Some(place.clone()), held, is_busy, is_ended })
}
