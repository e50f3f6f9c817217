//! What happens to a program and its world, at which moment.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::invariants::{Broken, complete_copies, owed};
use crate::run::instants::Instants;
use crate::script::record::Entry;
use crate::world::sim::{Sim, State, Watch};
use crate::world::{Cancel, Error, Result};

/// Something that happens at a moment of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The program is killed.
    Kill,
    /// The change that was about to happen fails; nothing happens where there is none.
    Fail,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Fail => "failing",
        })
    }
}

/// A moment of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The innermost step under way, or the one that is being put back; empty outside of all.
    pub step: String,
    pub at: At,
}

/// Around a change of the world, or around a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    BeforeChange { change: String },
    AfterChange { change: String },
    BeforeLine { line: u64 },
    AfterLine { line: u64 },
}

/// The course of one life: its moments, counted from 1, and what happens at some of them.
pub struct Course {
    sim: Sim,
    cancel: Cancel,
    state: Mutex<Counted>,
}

struct Counted {
    moments: Vec<Moment>,
    acts: Vec<(usize, Act)>,
    /// Steps under way, the innermost one last.
    steps: Vec<String>,
    synced: u64,
    broken: Vec<(usize, Broken)>,
}

impl Course {
    pub fn new(sim: Sim, cancel: Cancel, acts: Vec<(usize, Act)>) -> Self {
        Self { sim, cancel, state: Mutex::new(Counted { moments: Vec::new(), acts, steps: Vec::new(), synced: 0, broken: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All moments so far, in their order.
    pub fn moments(&self) -> Vec<Moment> {
        self.state().moments.clone()
    }

    /// What was broken, after which moment.
    pub fn broken(&self) -> Vec<(usize, Broken)> {
        self.state().broken.clone()
    }

    /// Up to how many bytes the journal is on the disk.
    pub fn synced(&self) -> u64 {
        self.state().synced
    }

    fn at(&self, at: At) -> Result<()> {
        if self.sim.is_killed() {
            return Err(killed());
        }
        let mut state = self.state();
        let step = state.steps.last().cloned().unwrap_or_default();
        state.moments.push(Moment { step, at });
        let now = state.moments.len();
        let acts: Vec<_> = state.acts.iter().filter(|(at, _)| *at == now).map(|(_, act)| act.clone()).collect();
        let is_change = matches!(state.moments.last(), Some(Moment { at: At::BeforeChange { .. }, .. }));
        drop(state);
        for act in acts {
            match act {
                Act::Kill => {
                    self.sim.kill();
                    // The script itself must not go on either.
                    self.cancel.cancel();
                    return Err(killed());
                }
                Act::Fail if is_change => return Err(Error::failed("sim.failed", "this fails here")),
                Act::Fail => {}
            }
        }
        Ok(())
    }
}

fn killed() -> Error {
    Error::failed("sim.killed", "the program was killed here")
}

impl Watch for Course {
    fn before(&self, change: &str, _: &mut State) -> Result<()> {
        self.at(At::BeforeChange { change: change.to_owned() })
    }

    fn after(&self, change: &str, world: &mut State) -> Result<()> {
        if complete_copies(world, &owed(world, None)).is_empty() {
            let mut state = self.state();
            let moment = state.moments.len();
            // Once is enough: it goes on until there is one again.
            if state.broken.last().is_none_or(|(last, _)| *last + 2 < moment) {
                state.broken.push((moment, Broken::NoCompleteCopy));
            }
        }
        self.at(At::AfterChange { change: change.to_owned() })
    }
}

impl Instants for Course {
    fn before(&self, number: u64, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Started { step } | Entry::UndoStarted { step } => self.state().steps.push(step.clone()),
            _ => {}
        }

        self.at(At::BeforeLine { line: number })?;
        if matches!(
            entry,
            Entry::Done { .. } | Entry::Failed { .. } | Entry::UndoDone { .. } | Entry::UndoFailed { .. }
        ) {
            self.state().steps.pop();
        }
        Ok(())
    }

    fn synced(&self, bytes: u64) {
        self.state().synced = bytes;
    }

    fn after(&self, number: u64) -> Result<()> {
        self.at(At::AfterLine { line: number })
    }
}
