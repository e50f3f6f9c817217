//! What happens to a program and its world, at which moment.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::invariants::{Broken, is_complete};
use crate::run::instants::Instants;
use crate::script::record::Entry;
use crate::world::sim::{Deed, Sim, State, Watch};
use crate::world::{Cancel, Error, Result};

/// Something that happens at a moment of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The program is killed.
    Kill,
    /// The change that was about to happen fails; nothing happens where there is none.
    Fail,
    /// Somebody else does this.
    Deed(Deed),
    /// The machine goes down with the program, and what nobody has synced is lost, of the journal too.
    PowerCut,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("killed"),
            Self::Fail => f.write_str("failing"),
            Self::Deed(deed) => write!(f, "{deed:?}"),
            Self::PowerCut => f.write_str("without power"),
        }
    }
}

/// When something happens in a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At the moment of that number, counted from 1.
    Moment(usize),
    /// Before the first change that begins so, or after it.
    Before(String),
    After(String),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moment(number) => write!(f, "at {number}"),
            Self::Before(change) => write!(f, "before `{change}`"),
            Self::After(change) => write!(f, "after `{change}`"),
        }
    }
}

impl When {
    fn is(&self, number: usize, at: &At) -> bool {
        match (self, at) {
            (Self::Moment(wanted), _) => *wanted == number,
            (Self::Before(wanted), At::BeforeChange { change }) | (Self::After(wanted), At::AfterChange { change }) => {
                change.starts_with(wanted)
            }
            _ => false,
        }
    }
}

/// A moment of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The innermost step under way, or the one that is being put back; empty outside of all.
    pub step: String,
    pub at: At,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeChange { change } => write!(f, "before `{change}`"),
            Self::AfterChange { change } => write!(f, "after `{change}`"),
            Self::BeforeLine { line } => write!(f, "before line {line} of the journal"),
            Self::AfterLine { line } => write!(f, "after line {line} of the journal"),
        }
    }
}

impl Moment {
    /// The change that was about to be made.
    pub fn change(&self) -> Option<&str> {
        match &self.at {
            At::BeforeChange { change } => Some(change),
            _ => None,
        }
    }
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

/// A world as it was at a moment of a life, and how long the journal was, in bytes.
#[derive(Clone)]
pub struct Snapshot {
    /// Number of the moment.
    pub moment: usize,
    pub world: State,
    pub written: u64,
    /// Of these a power cut leaves so many.
    pub synced: u64,
}

/// The course of one life: its moments, counted from 1, and what happens at some of them.
pub struct Course {
    sim: Sim,
    cancel: Cancel,
    state: Mutex<Counted>,
}

struct Counted {
    moments: Vec<Moment>,
    acts: Vec<(When, Act)>,
    /// Steps under way, the innermost one last.
    steps: Vec<String>,
    /// Bytes of the journal, and those of them that a power cut leaves; `None` before there is one.
    written: Option<u64>,
    synced: u64,
    broken: Vec<(usize, Broken)>,
    is_cut: bool,
    /// Of each moment after which the world or the journal is another one; `None` where nobody wants them.
    snapshots: Option<Vec<Snapshot>>,
}

impl Course {
    pub fn new(sim: Sim, cancel: Cancel, acts: Vec<(When, Act)>) -> Self {
        Self {
            sim,
            cancel,
            state: Mutex::new(Counted {
                moments: Vec::new(),
                acts,
                steps: Vec::new(),
                written: None,
                synced: 0,
                broken: Vec::new(),
                is_cut: false,
                snapshots: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the world is kept of each moment at which a kill would leave another one.
    pub fn keep_snapshots(&self) {
        self.state().snapshots = Some(Vec::new());
    }

    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.state().snapshots.take().unwrap_or_default()
    }

    /// All moments so far, in their order.
    pub fn moments(&self) -> Vec<Moment> {
        self.state().moments.clone()
    }

    /// What was broken, after which moment.
    pub fn broken(&self) -> Vec<(usize, Broken)> {
        self.state().broken.clone()
    }

    /// A moment has come. `world` where it is one of a change, which is what can be told of the world then.
    fn at(&self, at: At, world: Option<&mut State>) -> Result<()> {
        if self.sim.is_killed() {
            return Err(killed());
        }
        let is_change = matches!(at, At::BeforeChange { .. });
        let is_after = matches!(at, At::AfterChange { .. } | At::AfterLine { .. });
        let mut happening = Vec::new();
        {
            let mut state = self.state();
            let number = state.moments.len() + 1;
            // Each happens once.
            let (now, later) = std::mem::take(&mut state.acts).into_iter().partition(|(when, _)| when.is(number, &at));
            state.acts = later;
            happening.extend::<Vec<_>>(now);
            let step = state.steps.last().cloned().unwrap_or_default();
            state.moments.push(Moment { step, at });
        }
        let mut deeds = Vec::new();
        let mut result = Ok(());
        for (_, act) in happening {
            match act {
                Act::Kill => result = Err(self.kill()),
                Act::PowerCut => {
                    result = Err(self.kill());
                    self.state().is_cut = true;
                    deeds.push(Deed::PowerCut);
                }
                Act::Fail if is_change => result = Err(Error::failed("sim.failed", "this fails here")),
                Act::Fail => {}
                Act::Deed(deed) => deeds.push(deed),
            }
        }
        match world {
            Some(world) => self.end_moment(is_after, &deeds, world),
            None => self.sim.arrange(|world| self.end_moment(is_after, &deeds, world))?,
        }
        result
    }

    fn kill(&self) -> Error {
        self.sim.kill();
        // The script itself must not go on either.
        self.cancel.cancel();
        killed()
    }

    /// Bytes of the journal that a power cut has left; `None` where there was none, of either.
    pub fn cut(&self) -> Option<u64> {
        let state = self.state();
        state.written.filter(|_| state.is_cut).map(|_| state.synced)
    }

    fn end_moment(&self, is_after: bool, deeds: &[Deed], world: &mut State) {
        deeds.iter().for_each(|deed| world.deed(deed));
        let mut state = self.state();
        let (moment, written, synced) = (state.moments.len(), state.written.unwrap_or_default(), state.synced);
        if let Some(snapshots) = state.snapshots.as_mut().filter(|_| is_after) {
            snapshots.push(Snapshot { moment, world: world.clone(), written, synced });
        }
    }
}

fn killed() -> Error {
    Error::failed("sim.killed", "the program was killed here")
}

impl Watch for Course {
    fn before(&self, change: &str, world: &mut State) -> Result<()> {
        self.at(At::BeforeChange { change: change.to_owned() }, Some(world))
    }

    fn after(&self, change: &str, world: &mut State) -> Result<()> {
        if !is_complete(world) {
            let mut state = self.state();
            let moment = state.moments.len();
            // Once is enough: it goes on until there is one again.
            if state.broken.last().is_none_or(|(last, _)| *last + 2 < moment) {
                state.broken.push((moment, Broken::NoCompleteCopy));
            }
        }
        self.at(At::AfterChange { change: change.to_owned() }, Some(world))
    }
}

impl Instants for Course {
    fn before(&self, number: u64, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Started { step } | Entry::UndoStarted { step } => self.state().steps.push(step.clone()),
            _ => {}
        }

        self.at(At::BeforeLine { line: number }, None)?;
        if matches!(
            entry,
            Entry::Done { .. } | Entry::Failed { .. } | Entry::UndoDone { .. } | Entry::UndoFailed { .. }
        ) {
            self.state().steps.pop();
        }
        Ok(())
    }

    fn written(&self, bytes: u64) {
        self.state().written = Some(bytes);
    }

    fn synced(&self, bytes: u64) {
        self.state().synced = bytes;
    }

    fn after(&self, number: u64) -> Result<()> {
        self.at(At::AfterLine { line: number }, None)
    }
}
