//! `pgscript drill`: a script is killed, and fails, at each of its moments, and is taken up again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::history::{Aim, End, Expected, History, Scene};
use super::instants::{Act, Moment, When};
use super::invariants::Broken;
use crate::world::side_by_side::up_to;
use crate::world::{Error, Result};

/// A promise that a script breaks.
#[derive(Clone, Debug)]
pub struct Finding {
    pub broken: Broken,
    /// The shortest history that leads there.
    pub history: History,
    /// Where in the script that history was disturbed.
    pub moment: Moment,
}

/// What a drill has come to.
#[derive(Debug)]
pub struct Drilled {
    pub histories: usize,
    /// Moments of the undisturbed run, and of its way back.
    pub moments: [usize; 2],
    pub findings: Vec<Finding>,
}

/// Every moment, forward and back: killed, and then resumed or rolled back; each change fails.
///
/// Errors: `drill.not_done` where the script does not come to its end undisturbed.
pub fn every_moment(scene: &Scene, jobs: usize) -> Result<Drilled> {
    let (expected, moments) = Expected::of(scene)?;
    let [forward, back] = [&moments[0], &moments[1]];
    let mut histories = Vec::new();
    for (number, moment) in numbered(forward) {
        let killed = History::with(When::Moment(number), Act::Kill);
        histories.push(killed.then(Aim::Resume, Vec::new()));
        histories.push(killed.then(Aim::Rollback, Vec::new()));
        if moment.change().is_some() {
            let failed = History::with(When::Moment(number), Act::Fail);
            histories.push(failed.then(Aim::Resume, Vec::new()));
            histories.push(failed.then(Aim::Rollback, Vec::new()));
        }
    }
    for (number, moment) in numbered(back) {
        let acts = [Some(Act::Kill), moment.change().map(|_| Act::Fail)];
        for act in acts.into_iter().flatten() {
            let disturbed = History::undisturbed().then(Aim::Rollback, vec![(When::Moment(number), act)]);
            histories.push(disturbed.then(Aim::Rollback, Vec::new()));
        }
    }
    let findings = play_all(scene, &expected, &histories, jobs)?;
    Ok(Drilled { histories: histories.len(), moments: [forward.len(), back.len()], findings })
}

fn numbered(moments: &[Moment]) -> impl Iterator<Item = (usize, &Moment)> {
    moments.iter().enumerate().map(|(index, moment)| (index + 1, moment))
}

/// Plays them, several at once; of findings that are alike the first one stays.
fn play_all(scene: &Scene, expected: &Expected, histories: &[History], jobs: usize) -> Result<Vec<Finding>> {
    let found = Mutex::new(BTreeMap::new());
    let played = AtomicUsize::new(0);
    up_to(jobs, histories, |index, history| {
        for finding in judge(scene, expected, history)? {
            let key = (finding.moment.step.clone(), kind(&finding.broken));
            let mut found = found.lock().unwrap_or_else(|e| e.into_inner());
            match found.get(&key) {
                Some((known, _)) if *known < index => {}
                _ => _ = found.insert(key, (index, finding)),
            }
        }
        played.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Error>(())
    })?;
    let mut found: Vec<_> = found.into_inner().unwrap_or_else(|e| e.into_inner()).into_values().collect();
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, finding)| finding).collect())
}

/// Findings of one kind in one step are one.
fn kind(broken: &Broken) -> String {
    match broken {
        Broken::NoCompleteCopy => "no complete copy".into(),
        Broken::RowsLost { .. } => "rows lost".into(),
        Broken::OtherEnd { differences } => differences.first().cloned().unwrap_or_default(),
        Broken::LeftBehind { what } => what.first().cloned().unwrap_or_default(),
        Broken::Stuck { code, .. } => code.clone(),
    }
}

/// Plays a history and gives what is broken in it. One in which going on fails is given another way back.
pub fn judge(scene: &Scene, expected: &Expected, history: &History) -> Result<Vec<Finding>> {
    let played = scene.play(history)?;
    // A life that nothing has happened to any more is one too many.
    let moment = disturbed(history, &played.moments);
    let mut broken: Vec<_> = played.broken.iter().map(|(_, _, broken)| broken.clone()).collect();
    broken.extend(expected.judge(scene, &played));
    if matches!(played.end, End::Failed { .. }) && history.0.last().is_some_and(|life| life.aim == Aim::Resume) {
        let back = scene.play(&history.then(Aim::Rollback, Vec::new()))?;
        broken.extend(expected.judge(scene, &back));
    }
    Ok(broken.into_iter().map(|broken| Finding { broken, history: history.clone(), moment: moment.clone() }).collect())
}

/// The moment at which something first happened.
fn disturbed(history: &History, moments: &[Vec<Moment>]) -> Moment {
    let of_life = |(life, planned): (usize, &super::history::Planned)| {
        let number = planned.acts.iter().filter_map(|(when, _)| match when {
            When::Moment(number) => Some(*number),
            When::Before(_) | When::After(_) => None,
        });
        moments.get(life)?.get(number.min()? - 1).cloned()
    };
    let nowhere = Moment { step: String::new(), at: super::instants::At::BeforeLine { line: 0 } };
    history.0.iter().enumerate().find_map(of_life).unwrap_or(nowhere)
}
