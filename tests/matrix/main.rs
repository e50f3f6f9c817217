//! pgscript is killed, as by `kill -9`, at every instant of the shipped upgrade, and then resumed, or rolled back.
//! Whatever the instant, the data is complete, the application writes, and nobody has to decide anything.
//!
//! The hook `PGSCRIPT_KILL_AT` ends the process exactly before or after a line of the journal: right after an effect
//! was announced (nothing has happened), and right before it is confirmed (it has happened, and nobody knows).

mod chain;
mod instants;
mod site;
#[path = "../procedure/stack.rs"]
#[allow(dead_code)]
mod stack;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use instants::{Instant, instants};
use site::Site;

/// What is done after the kill.
#[derive(Clone, Copy, Debug)]
enum Then {
    Resume,
    Rollback,
}

/// Without the feature every so many instants of the matrix are tried, all of them with it.
const EVERY: usize = if cfg!(feature = "full-matrix") { 1 } else { 64 };
/// Stacks that work side by side.
const SIDE_BY_SIDE: usize = 2;

const DUMP: &str = "strategy=dump";
const COPY: &str = "strategy=pg_upgrade";

#[test]
fn killed_at_any_instant_the_upgrade_goes_forward_and_back() {
    matrix("matrix", DUMP);
}

#[test]
fn killed_at_any_instant_the_upgrade_of_a_copy_goes_forward_and_back() {
    matrix("matrix of the copy", COPY);
}

fn matrix(name: &str, strategy: &'static str) {
    let all = {
        let site = Site::up(strategy);
        site.upgrade();
        let all = instants(&site.journal());
        site.roll_back();
        all
    };
    assert!(all.len() > 80, "only {} instants: is the journal complete?", all.len());
    let cells: Vec<_> = (all.iter().enumerate())
        .flat_map(|(i, instant)| [(2 * i, instant, Then::Resume), (2 * i + 1, instant, Then::Rollback)])
        .filter(|(i, ..)| is_tried(*i, EVERY))
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                let mut site = Site::up(strategy);
                while let Some((_, instant, then)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = cell(&site, instant, *then);
                    println!("{then:?} after a kill {instant}: {}", if outcome.is_ok() { "ok" } else { "FAILED" });
                    if let Err(reason) = outcome {
                        failures.lock().unwrap().push(format!("{then:?} after a kill {instant}: {reason}"));
                        site = Site::up(strategy);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    site::count(name, cells.len() - failures.len(), cells.len());
    assert!(failures.is_empty(), "{} of {} cells failed:\n{}", failures.len(), cells.len(), failures.join("\n\n"));
}

/// The cells of an instant have neighbouring numbers: some of either kind are tried.
fn is_tried(cell: usize, every: usize) -> bool {
    cell.is_multiple_of(every) || cell % every == every / 2 + 1
}

/// One run that is killed, and what comes after; the site is as before at the end.
fn cell(site: &Site, instant: &Instant, then: Then) -> Result<(), String> {
    site::caught(|| {
        site.upgrade_killed_at(&instant.to_string());
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
    })
}

#[test]
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
    site::count(name, kills, kills);
}

#[test]
fn killed_again_and_again_while_it_is_rolled_back_the_old_server_returns() {
    let site = Site::up(COPY);
    site.upgrade();
    let kills = chain::of_rollbacks(&site);
    site.is_as_before();
    site::count("chain of rollbacks", kills, kills);
}
