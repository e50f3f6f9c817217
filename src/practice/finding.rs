//! What a history breaks, and where in the script it was disturbed.

use super::history::{Aim, End, Expected, History, Planned, Scene};
use super::instants::{Act, At, Moment, When};
use super::invariants::Broken;
use super::theatre::Theatre;
use crate::world::Result;

/// A promise that a script breaks.
#[derive(Clone, Debug)]
pub struct Finding {
    pub broken: Broken,
    /// The shortest history that leads there.
    pub history: History,
    /// Where in the script that history was disturbed.
    pub moment: Moment,
}

/// Findings of one kind in one step are one.
pub fn kind(broken: &Broken) -> String {
    match broken {
        Broken::NoCompleteCopy => "no complete copy".into(),
        Broken::RowsLost { .. } => "rows lost".into(),
        Broken::OtherEnd { differences } => differences.first().cloned().unwrap_or_default(),
        Broken::NotAsKeptUp { services } => services.first().cloned().unwrap_or_default(),
        Broken::LeftBehind { what } => what.first().cloned().unwrap_or_default(),
        Broken::Stuck { code, .. } => code.clone(),
    }
}

/// Plays a history and gives what is broken in it. One in which going on fails is given another way back.
pub fn judge(scene: &Scene, expected: &Expected, theatre: &mut Theatre<'_>, history: &History) -> Result<Vec<Finding>> {
    let played = theatre.play(history)?;
    if played.has_no_way_back() && played.end != End::Done {
        // Then it must be possible to go on.
        return judge(scene, expected, theatre, &history.then(Aim::Resume, Vec::new()));
    }
    // A life that nothing has happened to any more is one too many.
    let moment = disturbed(history, &played.moments);
    let mut broken: Vec<_> = played.broken.iter().map(|(_, _, broken)| broken.clone()).collect();
    broken.extend(expected.judge(scene, &played));
    if played.end == End::PutBack && is_to_go_forward(history) {
        broken.extend(played.failed.clone().map(Broken::from));
    }
    if matches!(played.end, End::Failed { .. }) && history.0.last().is_some_and(|life| life.aim == Aim::Resume) {
        let back = theatre.play(&history.then(Aim::Rollback, Vec::new()))?;
        broken.extend(expected.judge(scene, &back));
    }
    Ok(broken.into_iter().map(|broken| Finding { broken, history: history.clone(), moment: moment.clone() }).collect())
}

/// Whether nothing has failed in it, and it was resumed in the end: then it comes to what it would have come to.
fn is_to_go_forward(history: &History) -> bool {
    let mut acts = history.0.iter().flat_map(|life| &life.acts);
    history.0.last().is_some_and(|life| life.aim == Aim::Resume) && acts.all(|(_, act)| *act == Act::Kill)
}

/// The moment at which something first happened.
pub fn disturbed(history: &History, moments: &[Vec<Moment>]) -> Moment {
    let of_life = |(life, planned): (usize, &Planned)| {
        let number = planned.acts.iter().filter_map(|(when, _)| match when {
            When::Moment(number) => Some(*number),
            When::Before(_) | When::After(_) => None,
        });
        moments.get(life)?.get(number.min()? - 1).cloned()
    };
    history.0.iter().enumerate().find_map(of_life).unwrap_or_else(nowhere)
}

/// Where it is not known.
pub fn nowhere() -> Moment {
    Moment { step: String::new(), at: At::BeforeLine { line: 0 } }
}
