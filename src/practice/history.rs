//! Histories: lives of the program one after the other, and what happened to each. A history replays exactly.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::instants::{Act, Moment, When};
use super::invariants::{self, Broken, Shape};
use super::life::{Ended, Stage};
use crate::event::Listener;
use crate::run::history::State as RunState;
use crate::script::execute::{Aftermath, Failure};
use crate::script::loader::Places;
use crate::script::parameters::Given;
use crate::script::source::Source;
use crate::world::Result;
use crate::world::sim::State;
use crate::world::sim::cluster::RowId;

/// What the program is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    Run,
    Resume,
    Rollback,
}

/// One life of a history: what for, and what happens at which of its moments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub aim: Aim,
    pub acts: Vec<(When, Act)>,
}

/// Lives, the first of which runs the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(pub Vec<Planned>);

impl History {
    /// The script is run, undisturbed.
    pub fn undisturbed() -> Self {
        Self(vec![Planned { aim: Aim::Run, acts: Vec::new() }])
    }

    /// The script is run, and this happens at that moment.
    pub fn with(when: When, act: Act) -> Self {
        Self(vec![Planned { aim: Aim::Run, acts: vec![(when, act)] }])
    }

    /// The same, and then another life.
    pub fn then(&self, aim: Aim, acts: Vec<(When, Act)>) -> Self {
        Self(self.0.iter().cloned().chain([Planned { aim, acts }]).collect())
    }
}

/// `run, kill at 17; resume`
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lives = self.0.iter().map(|life| {
            let aim = match life.aim {
                Aim::Run => "run",
                Aim::Resume => "resume",
                Aim::Rollback => "rollback",
            };
            let acts = life.acts.iter().map(|(at, act)| format!(", {act} {at}"));
            format!("{aim}{}", acts.collect::<String>())
        });
        f.write_str(&lives.collect::<Vec<_>>().join("; "))
    }
}

/// The script and the world that histories begin with.
pub struct Scene {
    pub places: Places,
    pub given: Given,
    pub source: Source,
    pub world: State,
    pub listener: Arc<dyn Listener>,
    /// Number of the cluster that the stack has at first.
    pub original: u64,
    /// What has run before, and has left the world as it is.
    pub earlier: Option<Earlier>,
}

/// A script that was run to its end before histories begin, and the world in which that was.
pub struct Earlier {
    pub source: Source,
    pub given: Given,
    pub world: State,
}

/// How a history was played.
pub struct Played {
    pub world: State,
    /// The moments of each life.
    pub moments: Vec<Vec<Moment>>,
    /// What was broken, at which moment of which life (both counted from 0).
    pub broken: Vec<(usize, usize, Broken)>,
    pub end: End,
    /// Why the last life did not come to what it was for, whatever became of the run then.
    pub failed: Option<Failed>,
}

impl Played {
    /// Whether the last life was to put back what its script says can't be put back any more.
    pub fn has_no_way_back(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.code == NO_ROLLBACK)
    }
}

/// What failed; the step is empty outside of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub code: String,
    pub message: String,
    pub step: String,
}

/// Where the run stands when a history is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The last life was killed.
    Killed,
    /// There is no run: nothing was done, or it was refused.
    Nothing,
    Done,
    PutBack,
    /// It failed, and can be taken up again.
    Failed(Failed),
}

impl Failed {
    /// Of a life that failed; `None` of one that did not, or that was killed.
    pub fn of(ended: &Ended) -> Option<Self> {
        match &ended.outcome {
            _ if ended.is_killed => None,
            Ok(driven) => driven.outcome.failure.as_ref().map(Self::of_script),
            Err(error) => Some(Self { code: error.code.clone(), message: error.message.clone(), step: String::new() }),
        }
    }

    /// Of a run that is not over although nothing says why.
    fn standing(state: RunState) -> Self {
        Self { code: String::new(), message: state.as_str().to_owned(), step: String::new() }
    }

    fn of_script(failure: &Failure) -> Self {
        let (code, mut message) = (failure.report.code.clone(), failure.report.message.clone());
        let mut step = failure.step.clone();
        if let Aftermath::PutBack(put_back) = &failure.aftermath {
            let undo = put_back.failed.first();
            let reasons = undo.map(|(_, reason)| reason).into_iter().chain(&put_back.differs);
            reasons.for_each(|reason| message += &format!("\n{reason}"));
            step = step.or_else(|| undo.map(|(step, _)| step.clone()));
        }
        Self { code, message, step: step.unwrap_or_default() }
    }
}

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Self {
        Self::Stuck { code: failed.code, message: failed.message }
    }
}

/// What a script says that can't be put back any more.
pub const NO_ROLLBACK: &str = "run.no_rollback";

/// Where the run stands after a life.
pub fn end_of(stage: &Stage, ended: &Ended) -> Result<End> {
    if ended.is_killed {
        return Ok(End::Killed);
    }
    let failed = Failed::of(ended);
    let state = match (&ended.outcome, stage.own_run()?) {
        (Ok(_), None) => return Ok(End::Nothing),
        (Ok(driven), _) => driven.state,
        (Err(error), Some(place)) if error.code == NO_ROLLBACK => place.sound_history()?.state(),
        // What did not even begin stands in no journal.
        (Err(_), _) => RunState::Failed,
    };
    Ok(match state {
        RunState::Done => End::Done,
        RunState::RolledBack => End::PutBack,
        RunState::Refused => End::Nothing,
        other => End::Failed(failed.unwrap_or_else(|| Failed::standing(other))),
    })
}

/// What undisturbed runs come to: what all others are held against.
pub struct Expected {
    original: Shape,
    done: Shape,
    put_back: Shape,
    own_done: BTreeSet<String>,
    own_put_back: BTreeSet<String>,
}

impl Expected {
    /// Of an undisturbed run, and of one that was then put back, or could not be.
    pub fn of(scene: &Scene, run: &Played, back: &Played) -> Self {
        let put_back = if back.has_no_way_back() { &scene.world } else { &back.world };
        Self {
            original: Shape::of(&scene.world, scene.original),
            done: Shape::of(&run.world, scene.original),
            put_back: Shape::of(put_back, scene.original),
            own_done: invariants::own(&run.world),
            own_put_back: invariants::own(put_back),
        }
    }

    /// What is broken in the end of a history that is over.
    pub fn judge(&self, scene: &Scene, played: &Played) -> Vec<Broken> {
        let world = &played.world;
        let shape = Shape::of(world, scene.original);
        let (shapes, own, owed) = match played.end {
            End::Killed => return Vec::new(),
            End::Failed(ref failed) => return vec![failed.clone().into()],
            End::Done => (vec![&self.done], &self.own_done, invariants::owed_in_use(world, scene.original)),
            End::Nothing | End::PutBack => {
                let of_old = invariants::owed(world, Some(scene.original));
                (vec![&self.original, &self.put_back], &self.own_put_back, of_old)
            }
        };
        let mut broken = Vec::new();
        let differences = shapes.into_iter().map(|expected| shape.differences(expected));
        let differences = differences.min_by_key(Vec::len).unwrap_or_default();
        if !differences.is_empty() {
            broken.push(Broken::OtherEnd { differences });
        }
        let left = invariants::left_behind(world, own);
        if !left.is_empty() {
            broken.push(Broken::LeftBehind { what: left });
        }
        broken.extend(in_use(scene, world, &owed));
        broken
    }
}

/// What is wrong with the stack when a run is over, whatever the script takes for right.
pub fn in_use(scene: &Scene, world: &State, owed: &BTreeSet<RowId>) -> Vec<Broken> {
    let mut broken = Vec::new();
    let has: BTreeSet<_> = invariants::running_rows(world).collect();
    let rows = owed.difference(&has).count();
    if rows > 0 {
        broken.push(Broken::RowsLost { rows });
    }
    let services = invariants::not_kept_up(&scene.world, world);
    if !services.is_empty() {
        broken.push(Broken::NotAsKeptUp { services });
    }
    broken
}
