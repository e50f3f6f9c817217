//! What is planned in a world comes to pass, to the world and to the process that works in it.

use super::State;
use super::deeds::{Happening, Planned};
use crate::world::{Error, Result};

/// What happens to the process itself, once the world is kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    Killed,
    Interrupted,
    Halted,
}

/// The program's signal handler hears of a Ctrl-C within so much, in milliseconds.
const HEARD: u64 = 200;

impl State {
    /// Lets happen what is planned for this change, and gives what the program itself gets of it.
    pub(super) fn meet_planned(&mut self, change: &str, is_after: bool) -> Option<Blow> {
        let is_now = |planned: &Planned| planned.is_after == is_after && change.starts_with(&planned.change);
        // Only the first of several for the same change: each happens once.
        let at = self.planned.iter().position(is_now)?;
        match self.planned.remove(at).happening {
            Happening::Deed(deed) => {
                self.deed(&deed);
                None
            }
            Happening::Killed => Some(Blow::Killed),
            Happening::Interrupted => Some(Blow::Interrupted),
            Happening::Halted => Some(Blow::Halted),
        }
    }
}

impl Blow {
    /// Falls on this process.
    ///
    /// Errors: `sim.planned` where the system does not send the signal.
    pub(super) fn fall(self) -> Result<()> {
        use rustix::process::{Signal, getpid, kill_process};
        let signal = match self {
            Self::Killed => Signal::KILL,
            Self::Interrupted => Signal::INT,
            Self::Halted => Signal::STOP,
        };
        kill_process(getpid(), signal)
            .map_err(|e| Error::failed("sim.planned", format!("the planned signal was not sent: {e}")))?;
        std::thread::sleep(std::time::Duration::from_millis(HEARD));
        Ok(())
    }
}
