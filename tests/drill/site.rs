//! A site that has edited the shipped script or its modules, and what a drill of it finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pgscript::event::Silent;
use pgscript::practice::drill::{Drilled, Plan, drill as play};
use pgscript::practice::{Broken, Scene};
use pgscript::script::loader::Places;
use pgscript::script::parameters::Given;
use pgscript::world::sim::{self, State};
use tempfile::TempDir;

use crate::kills;

/// What the upgrade of the reference deployment wants to know, beside its strategy.
pub const UPGRADE: [&str; 2] = ["to=17", "ansible_dir=/srv/primero/ansible"];

/// A text of a shipped file, and what the site has made of it.
#[derive(Clone)]
pub struct Edit {
    /// As it is called in the repository: `stdlib/stack.rhai`.
    file: &'static str,
    shipped: String,
    edited: String,
}

pub fn edit(file: &'static str, shipped: &str, edited: &str) -> Edit {
    Edit { file, shipped: shipped.to_owned(), edited: edited.to_owned() }
}

/// A script with its parameters, and what was run before it.
#[derive(Clone, Copy)]
pub struct Drill<'d> {
    pub script: &'d str,
    pub set: &'d [&'d str],
    pub after: Option<&'d Drill<'d>>,
}

/// The upgrade of the reference deployment.
pub const fn upgrade<'d>(set: &'d [&'d str]) -> Drill<'d> {
    Drill { script: "upgrade.rhai", set, after: None }
}

/// Drills a shipped script: nothing is found. Adds the count to the file in which `tests/run.sh` adds up.
#[track_caller]
pub fn shipped(what: &str, drill: Drill<'_>, plan: Plan<'_>) {
    let Drilled { histories, findings, .. } = drilled(sim::reference(13), &[], drill, plan);
    kills::count(what, histories - findings.len(), histories);
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Drills the upgrade of a site with these edits; only what begins with `step` is disturbed.
#[track_caller]
pub fn edited(edits: &[Edit], set: &[&str], step: &str) -> Drilled {
    drilled_in(sim::reference(13), edits, set, Plan::EveryMoment { step })
}

/// Drills the upgrade of a site with these edits, on a deployment of its own.
#[track_caller]
pub fn drilled_in(world: State, edits: &[Edit], set: &[&str], plan: Plan<'_>) -> Drilled {
    let set: Vec<_> = UPGRADE.iter().chain(set).copied().collect();
    drilled(world, edits, upgrade(&set), plan)
}

#[track_caller]
fn drilled(world: State, edits: &[Edit], drill: Drill<'_>, plan: Plan<'_>) -> Drilled {
    let site = TempDir::new().unwrap();
    write(&site, edits);
    let original = world.clusters().next().unwrap().system_identifier;
    let places = Places::new(Some(site.path().to_owned())).unwrap().read_once();
    let scene = Scene {
        source: places.script(drill.script).unwrap(),
        given: given(drill.set),
        places: places.clone(),
        original,
        world,
        listener: Arc::new(Silent),
        earlier: None,
    };
    let scene = match drill.after {
        Some(earlier) => scene.after(places.script(earlier.script).unwrap(), given(earlier.set)).unwrap(),
        None => scene,
    };
    let began = Instant::now();
    let drilled = play(&scene, 2, plan).unwrap();
    println!("{} histories in {:.1} s", drilled.histories, began.elapsed().as_secs_f64());
    drilled.findings.iter().for_each(|finding| println!("{finding:?}"));
    drilled
}

fn given(set: &[&str]) -> Given {
    let mut given = Given::default();
    set.iter().for_each(|text| given.add_set(text).unwrap());
    given
}

/// Writes what was edited into the site's directory.
fn write(site: &TempDir, edits: &[Edit]) {
    let mut texts = BTreeMap::new();
    for Edit { file, shipped, edited } in edits {
        let text = texts.entry(file).or_insert_with(|| text_of(file));
        let times = text.matches(shipped).count();
        assert_eq!(times, 1, "an edit of {file} does not apply any more: there {times} times, not once, is\n{shipped}");
        *text = text.replacen(shipped, edited, 1);
    }
    for (file, text) in texts {
        std::fs::write(site.path().join(Path::new(file).file_name().unwrap()), text).unwrap();
    }
}

fn text_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Something of this kind is found in that step.
#[track_caller]
pub fn finds(drilled: &Drilled, step: &str, is_it: impl Fn(&Broken) -> bool) {
    let found = drilled.findings.iter().any(|finding| finding.moment.step == step && is_it(&finding.broken));
    assert!(found, "not found in step `{step}`, but this:\n{:#?}", drilled.findings);
}

/// What does not come to its end, for that reason.
pub fn stuck(code: &str) -> impl Fn(&Broken) -> bool {
    move |broken| matches!(broken, Broken::Stuck { code: found, .. } if found == code)
}

/// What is not kept up as before, for a reason that begins so.
pub fn not_kept_up(what: &str) -> impl Fn(&Broken) -> bool {
    move |broken| matches!(broken, Broken::NotAsKeptUp { services } if services.iter().any(|s| s.starts_with(what)))
}
