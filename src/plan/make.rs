//! Makes a plan: captures the world, runs the script in it, and tells what has happened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::course::{Course, Told, Yes};
use super::{Basis, Cluster, Failure, Made, Plan, VERSION};
use crate::event::Silent;
use crate::practice::life::{self, Stage};
use crate::practice::theatre::store_dir;
use crate::run::drive::{self, Driven, Setup};
use crate::run::history::History;
use crate::run::store::Store;
use crate::script::source::Source;
use crate::world::capture::beside::Beside;
use crate::world::capture::kept::kept as world_to_keep;
use crate::world::capture::{self, Captured};
use crate::world::container::LABEL_HELPER;
use crate::world::sim::state::Content;
use crate::world::sim::{RATE, Sim, State};
use crate::world::{Error, Owner, Redactor, Result};

/// What of other runs a script may read: their journals, and what a rehearsal has kept. More than this is none of it.
const KEPT_FILES: [&str; 2] = ["journal.jsonl", "seen.json"];
const LARGEST: u64 = 64 << 20;

/// A plan, and what the operator was asked for to make it.
pub struct Planned {
    pub plan: Plan,
    pub answers: Vec<(String, String)>,
    /// The world that it was made in, fit to be kept.
    pub world: State,
}

/// What a script would do in the live world of `setup`, which is only looked at.
///
/// Errors: those of the engine and of servers; of the script, when it can't be read. A script that would fail makes a
/// plan that says so.
pub fn make(setup: &Setup, source: &Source) -> Result<Planned> {
    let _looking = Looking::begin(&setup.world.owner);
    let dir = store_dir()?;
    lay_runs(&setup.store, dir.path())?;
    let mut stage = Stage {
        places: setup.places.read_once(),
        given: setup.given.clone(),
        store: Store::of_practice(dir.path().to_owned()),
        listener: Arc::new(Silent),
        earlier: 0,
    };
    let answers = Arc::new(Mutex::new(Vec::new()));
    let names = names(setup, &stage, source, &answers)?;
    let captured = capture::capture(&setup.world, &names)?;
    let sim = Sim::in_memory(captured.state.clone());
    let course = Arc::new(Course::new(sim.clone())?);
    stage.listener = course.clone();
    let beside = beside(setup, &sim, &captured, dir.path());
    let (driven, redactor) = drive(setup, &stage, &course, beside.clone(), source, &captured, &answers);
    let mut assumed = captured.assumed.clone();
    assumed.extend(beside.assumed.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
    let plan = plan(setup, source, &captured, &driven, course.take(), &sim.into_state()?);
    let plan = Plan { assumed: assumed.into_iter().collect(), ..plan };
    let plan = match rehearsal(&plan, &stage.store)? {
        Some((run, phases)) => measured(plan, &run, &phases),
        None => plan,
    };
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let world = world_to_keep(&captured.state, &beside.asked.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Planned { world, plan: in_place(&plan, dir.path(), setup, &redactor)?, answers })
}

/// What a run in the captured world has come to; what was assumed is left out.
fn plan(
    setup: &Setup,
    source: &Source,
    captured: &Captured,
    driven: &Result<Driven>,
    told: Told,
    world: &State,
) -> Plan {
    let history = driven.as_ref().map_or_else(|_| History::default(), |driven| driven.history.clone());
    Plan {
        version: VERSION,
        made_at: setup.world.host.now(),
        script: source.found_by(),
        basis: basis(captured, &history),
        outage: told.outage(),
        given: history.given,
        parameters: history.parameters,
        steps: told.steps,
        stopped: told.stopped.into_iter().collect(),
        kept: kept(captured, world),
        questions: told.questions,
        warnings: told.warnings,
        assumed: Vec::new(),
        times_by: by_sizes(),
        failure: failure(driven),
    }
}

/// While it lives, nothing at all is changed on the engine.
struct Looking<'o>(&'o Owner);

impl<'o> Looking<'o> {
    fn begin(owner: &'o Owner) -> Self {
        owner.only_look(true);
        Self(owner)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.only_look(false);
    }
}

/// What was asked of the operator, by the names of parameters.
type Answers = Arc<Mutex<Vec<(String, String)>>>;

/// Lays the journals of earlier runs where the script is tried: it may ask for them, and its own run gets the next
/// number.
fn lay_runs(store: &Store, dir: &Path) -> Result<()> {
    for run in store.runs()? {
        let to = dir.join(&run.id);
        fs::create_dir(&to).map_err(|e| Error::io("create", to.display(), &e))?;
        for name in KEPT_FILES {
            let from = run.dir.join(name);
            if fs::metadata(&from).is_ok_and(|found| found.len() <= LARGEST) {
                fs::copy(&from, to.join(name)).map_err(|e| Error::io("copy", from.display(), &e))?;
            }
        }
    }
    Ok(())
}

/// What the script's parameters name: it is run in a world without anything in it until it fails, which is after it has
/// asked for them.
fn names(setup: &Setup, stage: &Stage, source: &Source, answers: &Answers) -> Result<BTreeSet<String>> {
    let before: BTreeSet<_> = stage.store.runs()?.into_iter().map(|run| run.id).collect();
    let sim = Sim::in_memory(State::default());
    let course = Arc::new(Course::new(sim.clone())?);
    let captured = Captured { state: State::default(), servers: Vec::new(), assumed: BTreeSet::new() };
    let beside = beside(setup, &sim, &captured, stage.store.root());
    // How it ends says nothing of the real world.
    _ = drive(setup, stage, &course, beside, source, &captured, answers);
    let mut values = Vec::new();
    for run in stage.store.runs()?.into_iter().filter(|run| !before.contains(&run.id)) {
        values.extend(run.history()?.0.parameters.into_values().flatten());
        fs::remove_dir_all(&run.dir).map_err(|e| Error::io("remove", run.dir.display(), &e))?;
    }
    Ok(values.iter().flat_map(texts).collect())
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn beside(setup: &Setup, sim: &Sim, captured: &Captured, store: &Path) -> Beside {
    Beside {
        sim: sim.clone(),
        live: setup.world.clone(),
        store: store.to_owned(),
        stands_for: setup.store.root().to_owned(),
        free: captured.state.free,
        projects: captured.state.stacks.keys().cloned().collect(),
        assumed: Arc::default(),
        asked: Arc::default(),
    }
}

/// Runs the script in the captured world.
fn drive(
    setup: &Setup,
    stage: &Stage,
    course: &Arc<Course>,
    beside: Beside,
    source: &Source,
    captured: &Captured,
    answers: &Answers,
) -> (Result<Driven>, Redactor) {
    let instants = course.clone();
    let mut own = life::setup(stage, beside.sim.clone(), setup.world.cancel.clone(), instants);
    own.world.owner.only_look(true);
    own.prompter = Arc::new(Yes {
        course: course.clone(),
        beside: beside.clone(),
        operator: setup.prompter.clone(),
        answers: answers.clone(),
    });
    own.losses.clone_from(&setup.losses);
    own.world = beside.world(own.world, captured.servers.clone());
    let redactor = own.world.redactor.clone();
    (drive::run(&own, source.clone(), false), redactor)
}

fn basis(captured: &Captured, history: &History) -> Basis {
    let state = &captured.state;
    let stacks = state.containers().filter(|c| !c.labels.contains_key(LABEL_HELPER));
    let made = stacks.clone().map(|c| {
        let made = Made { id: c.id.clone(), image_id: c.image_id.clone(), state: c.state.clone() };
        (c.name.clone(), made)
    });
    let used = state.stacks.values().flat_map(|stack| stack.images.values());
    let images = used.filter_map(|name| Some((name.clone(), state.image(name)?.shown.id.clone())));
    let mounts = stacks.flat_map(|c| &c.mounts).map(|mount| mount.name.clone());
    let cluster = |seen: &capture::Seen| {
        let cluster = Cluster { system_identifier: seen.system_identifier.to_string(), major: seen.major };
        (seen.name.clone(), cluster)
    };
    Basis {
        engine: state.engine.id.clone(),
        containers: made.collect(),
        images: images.collect(),
        volumes: mounts.filter(|name| !name.is_empty()).collect(),
        clusters: captured.servers.iter().map(cluster).collect(),
        sources: history.sources.iter().map(|source| (source.key.clone(), source.sha256.clone())).collect(),
    }
}

/// What of the clusters of now is still there in the end, and in no container that runs.
fn kept(captured: &Captured, world: &State) -> Vec<String> {
    let old: BTreeSet<_> = captured.servers.iter().map(|seen| seen.system_identifier).collect();
    let in_use: BTreeSet<_> = world
        .containers
        .values()
        .filter(|c| c.state == "running")
        .flat_map(|c| c.mounts.iter().map(|mount| mount.name.clone()))
        .collect();
    let is_old =
        |tree: &crate::world::sim::state::Tree| tree.clusters.values().any(|c| old.contains(&c.system_identifier));
    let volumes = world.volumes.values().filter(|v| !in_use.contains(&v.name) && is_old(&v.tree));
    let files = world.files.iter().filter(|(_, file)| match &file.content {
        Content::Backup { tree, is_whole, .. } => *is_whole && is_old(tree),
        Content::Dump { cluster, is_whole, .. } => *is_whole && old.contains(&cluster.system_identifier),
        _ => false,
    });
    let volumes = volumes.map(|volume| format!("volume {}", volume.name));
    volumes.chain(files.map(|(path, _)| format!("file {}", path.display()))).collect()
}

fn failure(driven: &Result<Driven>) -> Option<Failure> {
    let of = |error: &Error, step: &str| Failure {
        code: error.code.clone(),
        message: error.message.clone(),
        hint: error.hint.clone(),
        step: step.to_owned(),
        kind: Some(error.kind),
    };
    match driven {
        Err(error) => Some(of(error, "")),
        Ok(driven) => driven.outcome.failure.as_ref().map(|failure| {
            let report = &failure.report;
            let error = Error {
                kind: report.kind,
                code: report.code.clone(),
                message: report.message.clone(),
                hint: report.hint.clone(),
            };
            of(&error, failure.step.as_deref().unwrap_or_default())
        }),
    }
}

fn by_sizes() -> String {
    let rate = RATE >> 20;
    format!("sizes, at {rate} MB a second, and 20 s for a deploy: a rehearsal tells more (pgscript run rehearse.rhai)")
}

/// The newest rehearsal of the same that went well, and the seconds that it has measured by the names of steps.
fn rehearsal(plan: &Plan, store: &Store) -> Result<Option<(String, Value)>> {
    let of_plan = |name: &str| plan.parameters.get(name).cloned().flatten();
    let mut newest = None;
    for run in store.runs()? {
        let Some(verdict) = run.history()?.0.verdict.filter(|verdict| verdict.ready) else { continue };
        let is = |name: &str| verdict.details.get(name).cloned();
        let is_same = is("kind") == Some("rehearsal".into())
            && is("engine").is_some_and(|engine| engine == plan.basis.engine.as_str())
            && (is("project"), is("to")) == (of_plan("project"), of_plan("to"));
        if is_same {
            newest = Some((run.id, is("phases").unwrap_or_default()));
        }
    }
    Ok(newest)
}

/// Steps that a rehearsal has measured take as long as there: they are those of the outage.
pub(super) fn measured(mut plan: Plan, run: &str, phases: &Value) -> Plan {
    let (mut before, mut after) = (0.0, 0.0);
    for step in &mut plan.steps {
        if let Some(seconds) = phases.get(&step.path).and_then(Value::as_f64) {
            before += step.seconds;
            after += seconds;
            step.seconds = seconds;
        }
    }
    plan.outage.iter_mut().for_each(|outage| outage.seconds = (outage.seconds - before + after).max(after));
    plan.times_by = format!("rehearsal {run}, where it has measured a step; else by {}", plan.times_by);
    plan
}

/// The same with the real store in the place of the one in which the script was tried, and without secrets.
fn in_place(plan: &Plan, store: &Path, setup: &Setup, redactor: &Redactor) -> Result<Plan> {
    let failed = |e: serde_json::Error| Error::failed("plan.unreadable", format!("the plan can't be kept: {e}"));
    let own = store.display().to_string();
    let real = setup.store.root().display().to_string();
    let value = serde_json::to_value(plan).map_err(failed)?;
    let replaced = mapped(value, &|text| redactor.redact(&text.replace(&own, &real)));
    let mut made: Plan = serde_json::from_value(replaced).map_err(failed)?;
    if let (Some(new), Some(old)) = (&mut made.failure, &plan.failure) {
        new.kind = old.kind;
    }
    Ok(made)
}

/// Every text of a value changed.
fn mapped(value: Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text)),
        Value::Array(values) => values.into_iter().map(|value| mapped(value, change)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, mapped(value, change))).collect(),
        other => other,
    }
}
