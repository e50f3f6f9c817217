//! `pgscript repl`

use std::io::{BufReader, stdin};

use clap::Args;

use super::driving::Driving;
use super::signals::InSession;
use super::{Exit, Global};
use crate::repl::shell::{self, Start};
use crate::repl::watch::Watch;
use crate::run::drive::Setup;
use crate::run::history::History;
use crate::run::store::{Held, Place};
use crate::script::parameters::Given;
use crate::ui::prompt::is_terminal;
use crate::world::Result;

/// Opens a shell with every primitive; in a half-finished run, one that knows where it stands.
///
/// Guards hold as in a script, and each input is journalled. Without a terminal it takes inputs from standard
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
                let watch = start.watch.clone();
                shell::at_terminal(start)?;
                return Ok(if watch.is_ended() { Exit::Cancelled } else { Exit::Done });
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
    driving.with_setup(global, Given::default(), &history, |setup| {
        let watch = Watch::default();
        let _signals = InSession::new(&watch);
        work(Start { setup: setup.clone(), place, held: None, watch })
    })
}

/// The shell in a run that has just failed in this process. Gives back the terminal when the operator leaves it; gives
/// whether a signal has ended it, and this process is to end too.
pub fn after_failure(setup: &Setup, place: &Place, held: Option<Held>) -> Result<bool> {
    let watch = Watch::default();
    let _signals = InSession::new(&watch);
    shell::at_terminal(Start { setup: setup.clone(), place: Some(place.clone()), held, watch: watch.clone() })?;
    Ok(watch.is_ended())
}
