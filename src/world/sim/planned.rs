//! What is planned in a world comes to pass, to the world and to the process that works in it.

use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::State;
use super::deeds::{Happening, Planned};
use crate::world::{Error, Result};

/// The program's signal handler hears of a Ctrl-C within so much.
const HEARD: Duration = Duration::from_millis(200);

impl State {
    /// Lets happen what is planned for this change, and gives the signal that the program itself gets of it.
    pub(super) fn meet_planned(&mut self, change: &str, is_after: bool) -> Option<Signal> {
        let is_now = |planned: &Planned| planned.is_after == is_after && change.starts_with(&planned.change);
        // Only the first of several for the same change: each happens once.
        let at = self.planned.iter().position(is_now)?;
        match self.planned.remove(at).happening {
            Happening::Deed(deed) => {
                self.deed(&deed);
                None
            }
            Happening::Killed => Some(Signal::KILL),
            Happening::Interrupted => Some(Signal::INT),
            Happening::Halted => Some(Signal::STOP),
        }
    }
}

/// Sends this process a signal, once the world is kept as it is.
///
/// Errors: `sim.planned` where the system does not send it.
pub(super) fn strike(signal: Signal) -> Result<()> {
    kill_process(getpid(), signal)
        .map_err(|e| Error::failed("sim.planned", format!("the planned signal was not sent: {e}")))?;
    std::thread::sleep(HEARD);
    Ok(())
}
