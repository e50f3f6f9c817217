//! Histories at random, which a seed repeats: two things happen in a row, and others are at work as well.

use fastrand::Rng;

use super::finding::{Finding, judge, kind};
use super::history::{Aim, Expected, History, Planned, Scene};
use super::instants::{Act, Moment, When};
use super::theatre::Theatre;
use crate::world::Result;
use crate::world::sim::Deed;

/// What is drawn from: how many moments the lives of undisturbed runs have.
#[derive(Clone, Copy, Debug)]
pub struct Urn {
    pub forward: usize,
    pub back: usize,
}

impl Urn {
    pub fn of(forward: &[Moment], back: &[Moment]) -> Self {
        Self { forward: forward.len().max(1), back: back.len().max(1) }
    }

    /// The history of that number from a seed: each is drawn by itself, so that any of them can be drawn again alone.
    pub fn draw(self, seed: u64, number: usize) -> History {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number as u64);
        let mut lives = Vec::new();
        let first = match rng.u8(..4) {
            // The way back of a run that is done.
            0 => {
                lives.push(Planned { aim: Aim::Run, acts: Vec::new() });
                Planned { aim: Aim::Rollback, acts: vec![act(&mut rng, self.back)] }
            }
            _ => Planned { aim: Aim::Run, acts: vec![act(&mut rng, self.forward)] },
        };
        let goes_back = first.aim == Aim::Rollback || rng.bool();
        lives.push(first);
        let then = if goes_back { Aim::Rollback } else { Aim::Resume };
        if rng.bool() {
            let second = act(&mut rng, self.back);
            // Two clean-ups of different kinds in a row leave nothing that any tool could keep.
            let is_deed = |acts: &[(When, Act)]| matches!(acts.last(), Some((_, Act::Deed(_))));
            let has_deed = lives.iter().any(|life| is_deed(&life.acts));
            let acts = Some(vec![second]).filter(|second| !(has_deed && is_deed(second)));
            lives.push(Planned { aim: then, acts: acts.unwrap_or_default() });
        }
        lives.push(Planned { aim: then, acts: Vec::new() });
        History(lives)
    }
}

fn act(rng: &mut Rng, moments: usize) -> (When, Act) {
    // What others do who do not know of the run, and what leaves it a chance.
    let deeds = [Deed::PruneContainers, Deed::PruneNetworks, Deed::PruneVolumes, Deed::RestartEngine];
    let act = match rng.u8(..10) {
        0..4 => Act::Kill,
        4..6 => Act::Fail,
        6..8 => Act::PowerCut,
        _ => Act::Deed(deeds[rng.usize(..deeds.len())].clone()),
    };
    (When::Moment(1 + rng.usize(..moments)), act)
}

/// The shortest history that is left of one when everything is taken out of it without which the same is found.
///
/// Errors: those of the theatre.
pub fn shrink(scene: &Scene, expected: &Expected, theatre: &mut Theatre<'_>, finding: Finding) -> Result<Finding> {
    let mut shortest = finding;
    loop {
        let mut shorter = None;
        for candidate in without_one(&shortest.history) {
            let found = judge(scene, expected, theatre, &candidate)?;
            shorter = found.into_iter().find(|found| kind(&found.broken) == kind(&shortest.broken));
            if shorter.is_some() {
                break;
            }
        }
        match shorter {
            Some(found) => shortest = found,
            None => return Ok(shortest),
        }
    }
}

/// The history without one of its lives, or without one of the things that happen in it.
fn without_one(history: &History) -> Vec<History> {
    let lives = &history.0;
    let without_life = (1..lives.len()).map(|life| {
        let mut lives = lives.clone();
        lives.remove(life);
        History(lives)
    });
    let places =
        lives.iter().enumerate().flat_map(|(life, planned)| (0..planned.acts.len()).map(move |act| (life, act)));
    let without_act = places.map(|(life, act)| {
        let mut lives = lives.clone();
        lives[life].acts.remove(act);
        History(lives)
    });
    without_life.chain(without_act).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_histories_again_and_another_one_others() {
        let urn = Urn { forward: 500, back: 200 };
        let drawn = |seed| (0..50).map(|number| urn.draw(seed, number).to_string()).collect::<Vec<_>>();
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!(drawn(7).iter().any(|history| history.contains("; rollback, ")));
    }
}
