//! `pgscript drill`: a script is killed, and fails, at each of its moments, and is taken up again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::finding::{self, Finding, disturbed, kind, nowhere};
use super::history::{self, Aim, End, Expected, Failed, History, Planned, Played, Scene};
use super::instants::{Act, At, Moment, When};
use super::invariants::{self, Broken};
use super::others;
use super::random::{Urn, shrink};
use super::theatre::Theatre;
use crate::world::side_by_side::up_to;
use crate::world::sim::State;
use crate::world::sim::cluster::RowId;
use crate::world::{Error, Result};

/// What a drill has come to.
#[derive(Debug)]
pub struct Drilled {
    pub histories: usize,
    /// Moments of the undisturbed run, and of its way back.
    pub moments: [usize; 2],
    pub findings: Vec<Finding>,
}

/// Which histories are played.
#[derive(Clone, Copy, Debug)]
pub enum Plan<'p> {
    /// Every moment, forward and back: killed, and then resumed or rolled back; each change fails. `step`: only what
    /// begins with that name is disturbed.
    EveryMoment { step: &'p str },
    /// At every instant, forward and back, somebody else does something ([`others`]), or `only` what is called so; of
    /// all these histories one in so many.
    Others { step: &'p str, only: &'p str, one_in: usize },
    /// Killed, and killed again at every moment of the life after that: once in each step, and in each way to take it
    /// up; of all these histories one in so many.
    Twice { step: &'p str, one_in: usize },
    /// So many at random, which the seed repeats.
    Random { seed: u64, histories: usize },
}

/// Drills a script.
///
/// A script that undisturbed does not come to its end, or not to a good one, is disturbed only to find out where in the
/// run the way back is lost.
pub fn drill(scene: &Scene, jobs: usize, plan: Plan<'_>) -> Result<Drilled> {
    let (mut theatre, run, back) = Theatre::new(scene)?;
    let of = |played: &Played, life: usize| played.moments.get(life).cloned().unwrap_or_default();
    let moments = [of(&run, 0), of(&back, 1)];
    let counts = [moments[0].len(), moments[1].len()];
    let mut findings = undisturbed_run(scene, &theatre, &run);
    if findings.is_empty() && !back.has_no_way_back() {
        findings = undisturbed_back(scene, &mut theatre, &back, &moments[0])?;
    }
    if !findings.is_empty() {
        return Ok(Drilled { histories: 2, moments: counts, findings });
    }
    let expected = Expected::of(scene, &run, &back);
    let histories = match plan {
        Plan::EveryMoment { step } => histories(&moments[0], &moments[1], step),
        Plan::Others { step, only, one_in } => {
            let of_life = |life: usize| others::histories(scene, &theatre, life, &moments[life], step, only);
            one_of(one_in, [of_life(0), of_life(1)].concat())
        }
        Plan::Twice { step, one_in } => twice(&mut theatre, &moments, step, one_in)?,
        Plan::Random { seed, histories } => {
            let urn = Urn::of(&moments[0], &moments[1]);
            (0..histories).map(|number| urn.draw(seed, number)).collect()
        }
    };
    let findings = play_all(scene, &expected, plan, &histories, jobs.max(1), theatre)?;
    Ok(Drilled { histories: histories.len() + 2, moments: counts, findings })
}

/// What is wrong with a run although nothing has happened to it: where it fails, or since when it has been so.
fn undisturbed_run(scene: &Scene, theatre: &Theatre<'_>, run: &Played) -> Vec<Finding> {
    let owed = invariants::owed_in_use(&run.world, scene.original);
    let is_so =
        |world: &State, broken: &Broken| history::in_use(scene, world, &owed).iter().any(|now| now.contains(broken));
    let found = wrong(scene, run, &End::Done, &owed).into_iter().map(|(broken, moment)| {
        let since = || theatre.since(0, |world| is_so(world, &broken)).cloned();
        let moment = moment.or_else(since).unwrap_or_else(|| last(run));
        Finding { broken, history: History::undisturbed(), moment }
    });
    found.collect()
}

/// What is wrong with the way back although nothing has happened to it: where it fails, or where the run was when it
/// was lost.
fn undisturbed_back(
    scene: &Scene,
    theatre: &mut Theatre<'_>,
    back: &Played,
    forward: &[Moment],
) -> Result<Vec<Finding>> {
    let found = wrong_back(scene, back);
    if !found.is_empty() && found.iter().all(|(_, moment)| moment.is_none()) {
        let lost = where_back_is_lost(scene, theatre, forward)?;
        if !lost.is_empty() {
            return Ok(lost);
        }
    }
    let history = History::undisturbed().then(Aim::Rollback, Vec::new());
    let found = found.into_iter().map(|(broken, moment)| {
        let moment = moment.unwrap_or_else(|| last(back));
        Finding { broken, history: history.clone(), moment }
    });
    Ok(found.collect())
}

fn wrong_back(scene: &Scene, back: &Played) -> Vec<(Broken, Option<Moment>)> {
    wrong(scene, back, &End::PutBack, &invariants::owed(&back.world, Some(scene.original)))
}

/// Finds a moment of a run whose way back is wrong in the end: killed there it can't go back, killed at the one before
/// it can.
fn where_back_is_lost(scene: &Scene, theatre: &mut Theatre<'_>, forward: &[Moment]) -> Result<Vec<Finding>> {
    let kills: Vec<_> = disturbances(forward, "").filter(|(_, act)| *act == Act::Kill).collect();
    let (mut right, mut lost, mut findings) = (0, kills.len(), Vec::new());
    while right < lost {
        let middle = (right + lost) / 2;
        let (when, act) = kills[middle].clone();
        let history = History::with(when, act).then(Aim::Rollback, Vec::new());
        let played = theatre.play(&history)?;
        let found = match played.end {
            End::Nothing => Vec::new(),
            _ => wrong_back(scene, &played),
        };
        if found.is_empty() {
            right = middle + 1;
            continue;
        }
        lost = middle;
        let moment = disturbed(&history, &played.moments);
        let found =
            found.into_iter().map(|(broken, _)| Finding { broken, history: history.clone(), moment: moment.clone() });
        findings = found.collect();
    }
    Ok(findings)
}

/// What is wrong with a history to which nothing more happened; and at which moment, where that is known.
fn wrong(scene: &Scene, played: &Played, wanted: &End, owed: &BTreeSet<RowId>) -> Vec<(Broken, Option<Moment>)> {
    let at = |life: usize, number: usize| played.moments.get(life)?.get(number.checked_sub(1)?).cloned();
    let mut found: Vec<_> =
        played.broken.iter().map(|(life, number, broken)| (broken.clone(), at(*life, *number))).collect();
    if played.end == *wanted {
        found.extend(history::in_use(scene, &played.world, owed).into_iter().map(|broken| (broken, None)));
        return found;
    }
    let otherwise = || Failed {
        code: "drill.not_done".into(),
        message: format!("undisturbed, it ends {:?}", played.end),
        step: String::new(),
    };
    let failed = played.failed.clone().unwrap_or_else(otherwise);
    let step = Some(failed.step.clone()).filter(|step| !step.is_empty());
    let moment = step.map(|step| Moment { step, at: last(played).at });
    found.push((failed.into(), moment));
    found
}

fn last(played: &Played) -> Moment {
    played.moments.last().and_then(|moments| moments.last()).cloned().unwrap_or_else(nowhere)
}

fn histories(forward: &[Moment], back: &[Moment], step: &str) -> Vec<History> {
    let mut histories = Vec::new();
    for (when, act) in disturbances(forward, step) {
        let disturbed = History::with(when, act);
        histories.push(disturbed.then(Aim::Resume, Vec::new()));
        histories.push(disturbed.then(Aim::Rollback, Vec::new()));
    }
    for disturbance in disturbances(back, step) {
        let disturbed = History::undisturbed().then(Aim::Rollback, vec![disturbance]);
        histories.push(disturbed.then(Aim::Rollback, Vec::new()));
    }
    histories
}

/// The first one, and then each that is so many further on.
fn one_of(many: usize, histories: Vec<History>) -> Vec<History> {
    histories.into_iter().step_by(many.max(1)).collect()
}

/// Histories of two kills: the first in the middle of each step of the run, or of its way back; the second at each
/// change, and each line of the journal, of the life that takes it up. One in so many is few first kills, and for each
/// of them few second ones: to learn a life takes as long as to play some.
fn twice(theatre: &mut Theatre<'_>, moments: &[Vec<Moment>; 2], step: &str, one_in: usize) -> Result<Vec<History>> {
    let first_in = one_in.isqrt().max(1);
    let mut taken_up = Vec::new();
    for (life, moments) in moments.iter().enumerate() {
        let aims: &[Aim] = if life == 0 { &[Aim::Resume, Aim::Rollback] } else { &[Aim::Rollback] };
        for first in kill_in_each_step(moments, step) {
            let killed = match life {
                0 => History(vec![Planned { aim: Aim::Run, acts: vec![first] }]),
                _ => History::undisturbed().then(Aim::Rollback, vec![first]),
            };
            taken_up.extend(aims.iter().map(|aim| (killed.clone(), *aim)));
        }
    }
    let mut histories = Vec::new();
    for (killed, aim) in taken_up.into_iter().step_by(first_in) {
        let life = theatre.learn(&killed.then(aim, Vec::new()))?;
        let kills = disturbances(&life, "").filter(|(_, act)| *act == Act::Kill).step_by((one_in / first_in).max(1));
        histories.extend(kills.map(|kill| killed.then(aim, vec![kill]).then(aim, Vec::new())));
    }
    Ok(histories)
}

/// A kill in the middle of each step that is called so.
fn kill_in_each_step(moments: &[Moment], step: &str) -> Vec<(When, Act)> {
    let mut of_steps = BTreeMap::<_, Vec<_>>::new();
    for (when, act) in disturbances(moments, step).filter(|(_, act)| *act == Act::Kill) {
        let When::Moment(number) = when else { continue };
        of_steps.entry(&moments[number - 1].step).or_default().push((when, act));
    }
    of_steps.into_values().map(|mut kills| kills.swap_remove(kills.len() / 2)).collect()
}

fn disturbances(moments: &[Moment], step: &str) -> impl Iterator<Item = (When, Act)> {
    let numbered = moments.iter().enumerate().filter(move |(_, moment)| moment.step.starts_with(step));
    numbered.filter_map(|(index, moment)| Some((When::Moment(index + 1), disturbance(moment)?)))
}

/// What can happen at a moment that makes a difference. A kill before something leaves what one after the moment before
/// leaves.
fn disturbance(moment: &Moment) -> Option<Act> {
    match moment.at {
        At::BeforeChange { .. } => Some(Act::Fail),
        At::AfterChange { .. } | At::AfterLine { .. } => Some(Act::Kill),
        At::BeforeLine { .. } => None,
    }
}

/// Plays them, several at once, each of which has a theatre of its own; of findings that are alike the first one stays.
fn play_all(
    scene: &Scene,
    expected: &Expected,
    plan: Plan<'_>,
    histories: &[History],
    jobs: usize,
    first: Theatre<'_>,
) -> Result<Vec<Finding>> {
    let (found, next) = (Mutex::new(BTreeMap::new()), AtomicUsize::new(0));
    let theatres = Mutex::new(vec![first]);
    let workers: Vec<_> = (0..jobs).collect();
    up_to(jobs, &workers, |_, _| {
        let own = theatres.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let mut theatre = own.map_or_else(|| Theatre::new(scene).map(|(theatre, ..)| theatre), Ok)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(history) = histories.get(index) else { return Ok::<_, Error>(()) };
            for finding in judge(scene, expected, plan, &mut theatre, history)? {
                let key = (finding.moment.step.clone(), kind(&finding.broken));
                let mut found = found.lock().unwrap_or_else(|e| e.into_inner());
                match found.get(&key) {
                    Some((known, _)) if *known < index => {}
                    _ => _ = found.insert(key, (index, finding)),
                }
            }
        }
    })?;
    let mut found: Vec<_> = found.into_inner().unwrap_or_else(|e| e.into_inner()).into_values().collect();
    found.sort_by_key(|(index, _)| *index);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (mut theatre, ..) = Theatre::new(scene)?;
    let shortest = |(_, finding)| match plan {
        // The lives after a failure are there because of it.
        Plan::Others { .. } => Ok(finding),
        _ => shrink(scene, expected, &mut theatre, finding),
    };
    found.into_iter().map(shortest).collect()
}

/// Plays a history as its plan wants it, and gives what is broken in it.
fn judge(
    scene: &Scene,
    expected: &Expected,
    plan: Plan<'_>,
    theatre: &mut Theatre<'_>,
    history: &History,
) -> Result<Vec<Finding>> {
    match plan {
        Plan::Others { .. } => return others::judge(scene, expected, theatre, history),
        Plan::Twice { .. } => {
            // The second kill is in the life before the last: it begins there.
            let mut known = History(history.0[..history.0.len() - 1].to_vec());
            known.0.iter_mut().next_back().into_iter().for_each(|life| life.acts.clear());
            theatre.learn(&known)?;
        }
        Plan::EveryMoment { .. } | Plan::Random { .. } => {}
    }
    finding::judge(scene, expected, theatre, history)
}
