//! The world is broken at random instants of a real upgrade: the daemon, the database, the power, the disk, other
//! people. Then somebody goes on or back as the program advises, and in the end everything is looked at from outside.
//!
//! `make chaos HISTORIES=N SEED=S` plays N histories from seed S on, many of them two at a time; a seed repeats its
//! choices. Without these variables it is a few fixed ones, for what others do at every instant is tried in the
//! simulated world. What was said is in `target/chaos/SEED`.

mod breaking;
mod dice;
mod engine;
mod history;
mod outside;
mod plan;
mod process;
mod site;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::Engine;
use history::{Outcome, Story};
use plan::Plan;
use tokio::signal::unix::{SignalKind, signal};

/// Each has found a fault, or breaks what nothing else of them breaks. The first ones break what is real alone: the
/// power is cut, the disk is full, the daemon and the database are killed.
const FIXED: [u64; 12] = [0, 4, 29, 33, 3, 7, 8, 13, 17, 20, 22, 44];
/// So many of these are tried.
const TRIED: usize = if cfg!(feature = "full-matrix") { FIXED.len() } else { 4 };
/// Each on an engine of its own, which costs as much as a history: a few have one.
const SIDE_BY_SIDE: usize = 2;

#[test]
fn what_was_not_synced_is_lost_in_a_power_cut() {
    let engine = Engine::start();
    let (synced, not_synced) = (engine.disk.join("synced"), engine.disk.join("not synced"));
    std::fs::write(&synced, "there").unwrap();
    std::fs::File::open(&synced).unwrap().sync_all().unwrap();
    std::fs::write(&not_synced, "gone").unwrap();
    let mut program = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    engine.cut_power(&[program.id()]);
    assert!(!program.wait().unwrap().success(), "the program has outlived it");
    assert_eq!(std::fs::read_to_string(synced).unwrap(), "there");
    assert!(!not_synced.exists(), "what was not synced is there");
}

#[test]
fn histories_of_a_broken_world_end_with_all_data_and_nothing_left() {
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let stories = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..(seeds.len() / 4).clamp(1, SIDE_BY_SIDE) {
            scope.spawn(|| {
                let mut engine = None;
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let plan = Plan::of(*seed);
                    let on = engine.get_or_insert_with(Engine::with_images);
                    let story = history::play(&plan, on, &directory(*seed));
                    if process::INTERRUPTED.load(Ordering::SeqCst) {
                        return;
                    }
                    tell(&plan, &story);
                    // What a fault has left is not the next history's affair.
                    engine = engine.filter(|_| story.outcome != Outcome::Fault);
                    stories.lock().unwrap().push(story);
                }
            });
        }
    });
    let stories = stories.into_inner().unwrap();
    println!("{}", table::render(&stories));
    let faults = stories.iter().filter(|story| story.outcome == Outcome::Fault).count();
    println!("chaos: {} histories, {faults} with a fault", stories.len());
    count(stories.len(), faults);
    let found: Vec<_> = stories.iter().flat_map(|story| &story.faults).map(String::as_str).collect();
    let found = found.join("\n\n");
    assert_eq!(faults, 0, "see target/chaos/SEED; `make chaos HISTORIES=1 SEED=…` plays one again\n{found}");
    assert_eq!(stories.len(), seeds.len(), "the driver was interrupted");
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("PGSCRIPT_TEST_HISTORIES") {
        None => FIXED[..TRIED].to_vec(),
        Some(histories) => {
            have_the_process();
            let first = number("PGSCRIPT_TEST_SEED").unwrap_or(1);
            (first..first + histories).collect()
        }
    }
}

fn directory(seed: u64) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("chaos").join(seed.to_string())
}

fn tell(plan: &Plan, story: &Story) {
    let seconds = story.took.as_secs();
    let actions: Vec<_> = story.actions.iter().map(|action| action.name()).collect();
    let mut text = format!("seed {}: {:?} after {seconds} s: {}\n", plan.seed, story.outcome, actions.join(", "));
    if !story.faults.is_empty() {
        text += &format!("{plan}{}\n", story.faults.join("\n\n"));
    }
    print!("{text}");
}

/// For `tests/run.sh` and the Makefile, which write the figures.
fn count(histories: usize, faults: usize) {
    if let Some(path) = std::env::var_os("PGSCRIPT_TEST_CHAOS") {
        let mut file = std::fs::File::create(path).unwrap();
        writeln!(file, "chaos_histories={histories} chaos_faults={faults}").unwrap();
    }
}

/// Where nothing but histories is played: what fails in one is told with its seed, and Ctrl-C ends them where they are,
/// and takes along their engines, mounts and stacks.
fn have_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        if std::thread::current().name().is_some() {
            eprintln!("{panic}");
        }
    }));
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut interrupt, mut terminate) =
                (signal(SignalKind::interrupt()).unwrap(), signal(SignalKind::terminate()).unwrap());
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            process::INTERRUPTED.store(true, Ordering::SeqCst);
        });
    });
}
