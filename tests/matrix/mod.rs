//! pgscript is killed, as by `kill -9`, at every instant of the shipped upgrade, and then resumed, or rolled back.
//! Whatever the instant, the data is complete, the application writes, and nobody has to decide anything. Killed at any
//! instant of a rehearsal, nothing of it is left. `make test` tries the same instants in the simulated world
//! (`tests/drill.rs`, `tests/simulated/chains.rs`).
//!
//! The hook `PGSCRIPT_KILL_AT` ends the process exactly before or after a line of the journal: right after an effect
//! was announced (nothing has happened), and right before it is confirmed (it has happened, and nobody knows).

mod instants;
mod rehearsal;
mod site;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kills::chain::{self, Upgrade};
use instants::{Instant, instants};
use rehearsal::Rehearsed;
use site::Site;

/// What is done after the kill.
#[derive(Clone, Copy, Debug)]
enum Then {
    Resume,
    Rollback,
}

/// Stacks that work side by side.
const SIDE_BY_SIDE: usize = 2;

const DUMP: &str = "strategy=dump";
const COPY: &str = "strategy=pg_upgrade";

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_at_any_instant_the_upgrade_goes_forward_and_back() {
    upgrades("matrix", DUMP);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_at_any_instant_the_upgrade_of_a_copy_goes_forward_and_back() {
    upgrades("matrix of the copy", COPY);
}

fn upgrades(name: &str, strategy: &'static str) {
    let site = Site::up(strategy);
    site.upgrade();
    let all = instants(&site.journal());
    site.roll_back();
    site.clean_up();
    matrix(name, &all, site, || Site::up(strategy), upgraded);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_at_any_instant_the_rehearsal_leaves_nothing() {
    rehearsals("matrix of the rehearsal", DUMP);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_at_any_instant_the_rehearsal_of_a_copy_leaves_nothing() {
    rehearsals("matrix of the copy's rehearsal", COPY);
}

fn rehearsals(name: &str, strategy: &'static str) {
    let site = Rehearsed::up(strategy);
    let all = instants(&site.journal());
    matrix(name, &all, site, || Rehearsed::up(strategy), rehearsed);
}

/// Tries the instants on a site and on further ones that `up` makes; after a cell that failed on a new one.
fn matrix<S: Send>(name: &str, all: &[Instant], site: S, up: impl Fn() -> S + Sync, cell: fn(&S, &Instant, Then)) {
    assert!(all.len() > 80, "only {} instants: is the journal complete?", all.len());
    let cells: Vec<_> = all.iter().flat_map(|instant| [(instant, Then::Resume), (instant, Then::Rollback)]).collect();
    let next = AtomicUsize::new(0);
    let first = Mutex::new(Some(site));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // A site takes longer to make than two cells.
        for _ in 0..SIDE_BY_SIDE.min(cells.len().div_ceil(2)) {
            scope.spawn(|| {
                let first = first.lock().unwrap().take();
                let mut site = first.unwrap_or_else(&up);
                while let Some((instant, then)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = site::caught(|| cell(&site, instant, *then));
                    println!("{then:?} after a kill {instant}: {}", if outcome.is_ok() { "ok" } else { "FAILED" });
                    if let Err(reason) = outcome {
                        failures.lock().unwrap().push(format!("{then:?} after a kill {instant}: {reason}"));
                        site = up();
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    crate::kills::count(name, cells.len() - failures.len(), cells.len());
    assert!(failures.is_empty(), "{} of {} cells failed:\n{}", failures.len(), cells.len(), failures.join("\n\n"));
}

/// An upgrade that is killed, and what comes after; the site is as before at the end.
fn upgraded(site: &Site, instant: &Instant, then: Then) {
    site.killed_at(&instant.to_string());
    site.status_answers();
    match then {
        Then::Resume => {
            site.resume();
            site.is_upgraded();
            site.roll_back();
        }
        Then::Rollback => site.roll_back(),
    }
    site.is_as_before();
    site.clean_up();
}

/// A rehearsal that is killed, and what comes after.
fn rehearsed(site: &Rehearsed, instant: &Instant, then: Then) {
    site.killed_at(&instant.to_string());
    match then {
        Then::Resume => site.resume(),
        Then::Rollback => site.roll_back(),
    }
    site.is_without_a_trace();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_again_and_again_while_it_resumes_the_upgrade_comes_to_its_end() {
    chain_of_resumes("chain of resumes", DUMP);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_again_and_again_while_it_resumes_the_upgrade_of_a_copy_comes_to_its_end() {
    chain_of_resumes("chain of resumes of the copy", COPY);
}

fn chain_of_resumes(name: &str, strategy: &'static str) {
    let site = Site::up(strategy);
    let kills = chain::of_resumes(&site);
    site.is_upgraded();
    site.roll_back();
    site.is_as_before();
    crate::kills::count(name, kills, kills);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_again_and_again_while_it_is_rolled_back_the_old_server_returns() {
    let site = Site::up(COPY);
    site.upgrade();
    let kills = chain::of_rollbacks(&site);
    site.is_as_before();
    crate::kills::count("chain of rollbacks", kills, kills);
}
