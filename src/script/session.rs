//! What a running script shares with the primitives it calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::evidence::{Evidence, Fact};
use super::record::{Entry, Record};
use super::steps::Steps;
use crate::event::{Event, Listener};
use crate::world::{Error, Result, World};

/// Questions to the operator. Without a terminal each is an error that says which option answers it.
pub trait Prompter: Send + Sync {
    /// Yes or no; `Ok(false)` is a considered "no".
    fn confirm(&self, question: &str) -> Result<bool>;
    /// Asks for something to be done by hand and waits until it is.
    fn manual(&self, instruction: &str) -> Result<()>;
    /// The value of a parameter; not echoed when secret.
    fn ask(&self, name: &str, help: &str, secret: bool) -> Result<String>;
}

/// One script, one run: the world it acts on, who hears of it, and where it stands.
pub struct Session {
    pub world: World,
    pub listener: Arc<dyn Listener>,
    pub prompter: Arc<dyn Prompter>,
    pub parameters: super::parameters::Parameters,
    pub steps: Mutex<Steps>,
    /// What this run has proved; the guards ask it.
    pub evidence: Evidence,
    /// The run's memory.
    pub record: Arc<dyn Record>,
}

impl Session {
    /// Where the run stands. Held for a moment only, never while a script's function runs.
    pub fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens. What a script says again while it is only replayed is not told again.
    pub fn emit(&self, event: Event) {
        let is_said =
            matches!(event, Event::Say { .. } | Event::Warn { .. } | Event::Table { .. } | Event::Verdict { .. });
        if !is_said || !self.steps().is_replaying() {
            self.listener.hear(&event);
        }
    }

    /// Announces a change of the outside world; `command` is what an operator would type for it. Gives the number to
    /// settle it by. Outside a step it is refused: what happens there could neither be resumed nor undone.
    pub fn effect(&self, command: impl Into<String>) -> Result<Option<u64>> {
        let command = command.into();
        self.world.cancel.check()?;
        if self.steps().is_reading() {
            return Err(past_record());
        }
        let Some(step) = self.steps().current() else {
            return Err(Error::refused("script.outside_step", format!("outside a step: {command}"))
                .hint("wrap it: step(\"name\", || { … }); what changes the outside world belongs in a step"));
        };
        self.announce_input()?;
        let announced = self.write(Entry::Effect { step, command: self.world.redactor.redact(&command) })?;
        self.steps().mark_changed();
        self.emit(Event::Effect { command });
        Ok(announced)
    }

    /// An input of a session that is about to act is journalled, once.
    pub fn announce_input(&self) -> Result<()> {
        let input = self.steps().unwritten_input();
        input.map_or(Ok(()), |input| self.write(input).map(|_| ()))
    }

    /// A script that is only read to be put back, and has come by all steps that were begun, must not wait or ask.
    pub fn check_reading(&self) -> Result<()> {
        if self.steps().is_reading() && !self.record.is_behind() { Err(past_record()) } else { Ok(()) }
    }

    /// Writes to the run's journal. Where it can't be written, nothing new is begun; but what was done is still put
    /// back (the undo of a step may run twice), with a warning and `None`, and the script is read for that.
    pub fn write(&self, entry: Entry) -> Result<Option<u64>> {
        match self.record.write(entry) {
            Ok(number) => Ok(Some(number)),
            Err(error) if self.steps().is_undoing() || self.steps().is_reading() => {
                self.emit(Event::Warn { text: format!("not journalled: {error}") });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Records what was proved, or that a proof is lost.
    pub fn prove(&self, fact: Fact) -> Result<()> {
        self.write(Entry::Fact(fact.clone()))?;
        self.evidence.learn(&fact);
        Ok(())
    }
}

/// Where a script that is only read to be put back goes beyond what was done; never shown for a script as it was run.
fn past_record() -> Error {
    Error::refused("run.past_record", "the run had not come here: there is nothing to put back from here on")
}
