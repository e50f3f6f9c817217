//! What is to happen at a change of a world that a file keeps, written there beforehand: so the whole program can be
//! killed or interrupted at an instant that is known, by whoever has made the file.

use serde::{Deserialize, Serialize};

use super::State;
use super::people::Deed;
use crate::world::{Error, Result};

/// Something that happens once, at the first change that begins so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// As a [`Fault`](super::state::Fault) names it.
    pub change: String,
    /// After the change has succeeded; otherwise before it.
    pub is_after: bool,
    pub happening: Happening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", content = "of", rename_all = "snake_case")]
pub enum Happening {
    /// Somebody else does this.
    Deed(Deed),
    /// The program gets `SIGKILL`, or what else ends a process at once.
    Killed,
    /// The operator types Ctrl-C.
    Interrupted,
    /// The program stands still, as after `kill -STOP`, until somebody lets it go on: meanwhile others work.
    Halted,
}

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
