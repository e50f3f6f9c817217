//! Runs, resumes and rolls back: the journal around a script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::frozen;
use super::history::{History, State};
use super::lock;
use super::log::Log;
use super::recorder::{Identity, Recorder};
use super::store::{Held, Place, Store};
use crate::event::{Event, Listener};
use crate::script::evidence::Evidence;
use crate::script::execute::{self, Aftermath, Failure, Outcome, Way};
use crate::script::loader::Places;
use crate::script::parameters::{Given, Parameters};
use crate::script::record::{Command, Decision, Ending, Entry, Record};
use crate::script::session::{Prompter, Session};
use crate::script::source::{Origin, Source};
use crate::script::steps::Steps;
use crate::script::witness;
use crate::world::container::{ContainerFilter, LABEL_HELPER, LABEL_RUN};
use crate::world::volume::KEEPER;
use crate::world::{Error, Kind, Result, World};

/// What every way of driving a run needs.
#[derive(Clone)]
pub struct Setup {
    pub store: Store,
    pub places: Places,
    pub world: World,
    /// Also writes to `log`.
    pub listener: Arc<dyn Listener>,
    pub log: Log,
    pub prompter: Arc<dyn Prompter>,
    /// Objects named with `--allow-data-loss`.
    pub losses: Vec<String>,
    /// The engine as the operator named it.
    pub docker: Option<String>,
    pub given: Given,
}

/// How scripts that were changed since the run began are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changes {
    /// Shown and refused.
    #[default]
    Refuse,
    Accept,
    /// The scripts as they were run, wherever their files are now.
    AsRecorded,
}

/// What came of it.
#[derive(Debug)]
pub struct Driven {
    pub outcome: Outcome,
    /// `None` when the script began no step.
    pub place: Option<Place>,
    /// Where the run stands now.
    pub state: State,
    /// Whether a way back still exists.
    pub history: History,
}

/// Runs a script from its beginning.
pub fn run(setup: &Setup, source: Source, keep: bool) -> Result<Driven> {
    let script = match &source.origin {
        Origin::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        Origin::BuiltIn => source.name.clone(),
    };
    let recorder = Recorder::new(identity(setup, Command::Run, script, Changes::Refuse)?);
    attempt(setup, recorder, Steps::default(), source, Way::Forward { keep })
}

/// Goes on with a run: finished steps give their recorded values, the first other one runs.
pub fn resume(
    setup: &Setup,
    place: &Place,
    decisions: Vec<(String, Decision)>,
    changes: Changes,
    keep: bool,
) -> Result<Driven> {
    let held = take(setup, place, Command::Resume)?;
    let (history, _) = place.history()?;
    refuse_resume(place, &history)?;
    let (recorder, source, setup) = reopen(setup, place, held, &history, Command::Resume, changes)?;
    for (step, decision) in decisions {
        recorder.decide(&step, decision)?;
    }
    recorder.relock(&setup.world)?;
    sweep(&setup.world)?;
    attempt(&setup, recorder, Steps::replaying(false), source, Way::Forward { keep })
}

/// Puts back the steps of a run, the last one first.
pub fn rollback(setup: &Setup, place: &Place, changes: Changes) -> Result<Driven> {
    let held = take(setup, place, Command::Rollback)?;
    let (history, _) = place.history()?;
    refuse_rollback(place, &history)?;
    let (recorder, source, setup) = reopen(setup, place, held, &history, Command::Rollback, changes)?;
    recorder.relock(&setup.world)?;
    sweep(&setup.world)?;
    attempt(&setup, recorder, Steps::replaying(true), source, Way::Back)
}

fn identity(setup: &Setup, command: Command, script: String, changes: Changes) -> Result<Identity> {
    Ok(Identity {
        store: setup.store.clone(),
        command,
        script,
        docker: setup.docker.clone(),
        site: setup.places.site().to_owned(),
        host: setup.world.host.hostname()?,
        listener: setup.listener.clone(),
        log: setup.log.clone(),
        owner: setup.world.owner.clone(),
        accept_changes: changes == Changes::Accept,
    })
}

fn take(setup: &Setup, place: &Place, command: Command) -> Result<Held> {
    place.lock(command, &setup.world.cancel, &|driver| {
        let text = format!("process {} has ended, but what it had started still runs; waiting for its end", driver.pid);
        setup.listener.hear(&Event::Warn { text });
    })
}

fn refuse_resume(place: &Place, history: &History) -> Result<()> {
    let id = &place.id;
    let over = |what: &str| Error::refused("run.over", format!("run {id} {what}: there is nothing to resume"));
    match history.state() {
        State::Done => Err(over("is done").hint(format!("to go back: pgscript rollback {id}"))),
        State::RolledBack => Err(over("was rolled back").hint(format!("run {} again", history.script))),
        State::RollingBack => Err(Error::refused("run.rolling_back", format!("run {id} is half way back"))
            .hint(format!("bring that to an end: pgscript rollback {id}"))),
        State::Failed | State::Interrupted => begun(place, history),
    }
}

fn refuse_rollback(place: &Place, history: &History) -> Result<()> {
    let id = &place.id;
    if history.cleaned {
        let message = format!("the copies that run {id} had made were removed by a cleanup: there is no way back");
        return Err(Error::refused("run.cleaned", message).hint(
            "the data of before is only in your own backups now; the server that runs has all that was written since",
        ));
    }
    match history.state() {
        State::RolledBack => Err(Error::refused("run.over", format!("run {id} was rolled back already"))),
        _ => begun(place, history),
    }
}

/// A run that was killed before its journal named its script has done nothing.
fn begun(place: &Place, history: &History) -> Result<()> {
    if history.sources.is_empty() {
        return Err(Error::refused(
            "run.not_begun",
            format!("run {} ended before it had begun: nothing was changed", place.id),
        )
        .hint(format!("run the script again; this directory can go: rm -r {}", place.dir.display())));
    }
    Ok(())
}

fn reopen(
    setup: &Setup,
    place: &Place,
    held: Held,
    history: &History,
    command: Command,
    changes: Changes,
) -> Result<(Recorder, Source, Setup)> {
    let mut setup = setup.clone();
    if changes == Changes::AsRecorded {
        setup.places = setup.places.with_frozen(frozen::all(place, history)?);
    }
    let source = setup.places.script(&history.script).map_err(|error| {
        let run = &place.id;
        let hint = format!("the run kept a copy: --as-recorded goes on with it (run {run})");
        Error { hint: Some(hint), ..error }
    })?;
    let recorder = Recorder::resume(identity(&setup, command, history.script.clone(), changes)?, place.clone(), held)?;
    Ok((recorder, source, setup))
}

/// What a killed process has left running in helper containers would work against its successor.
fn sweep(world: &World) -> Result<()> {
    let Some(run) = world.owner.name() else { return Ok(()) };
    let labels = vec![format!("{LABEL_RUN}={run}"), LABEL_HELPER.to_owned()];
    let found = match world.containers.containers(&ContainerFilter { labels, ..ContainerFilter::default() }) {
        // A script that needs the engine will say so itself.
        Err(error) if error.kind == Kind::Unavailable => return Ok(()),
        other => other?,
    };
    for helper in found {
        if matches!(helper.labels.get(LABEL_HELPER).map(String::as_str), Some(KEEPER | lock::PURPOSE)) {
            continue;
        }
        world.containers.remove(&helper.id, true)?;
    }
    Ok(())
}

/// Runs the script once, whichever way, and writes down how it ended.
fn attempt(setup: &Setup, recorder: Recorder, steps: Steps, source: Source, way: Way) -> Result<Driven> {
    setup.world.cancel.rearm();
    let recorder = Arc::new(recorder);
    let before = recorder.history();
    for loss in setup.losses.iter().filter(|loss| !before.overrides.contains(loss)) {
        recorder.write(Entry::Override { loss: loss.clone() })?;
    }
    let session = Arc::new(Session {
        world: setup.world.clone(),
        listener: setup.listener.clone(),
        prompter: setup.prompter.clone(),
        parameters: Parameters::new(setup.given.clone()),
        steps: Mutex::new(steps),
        evidence: Evidence::new(&before.facts, [before.overrides.clone(), setup.losses.clone()].concat()),
        record: recorder.clone(),
    });
    match witness::settle(&session) {
        // A script that needs the engine will say so itself.
        Err(error) if error.kind == Kind::Unavailable => {}
        settled => settled?,
    }
    let outcome = execute::execute(session, setup.places.clone(), source, way)?;
    let ending = ending(outcome.failure.as_ref(), way, before.ending);
    let error = outcome.failure.as_ref().map(Failure::reason);
    if matches!(ending, Ending::Done | Ending::PutBack) {
        // Before the last word: a kill in between leaves a run to be taken up, not a lock that nobody gives back.
        give_back(setup, &recorder);
    }
    if recorder.kept_in().is_some() {
        let journal_seconds = recorder.journal_seconds();
        if let Err(error) = recorder.write(Entry::Ended { outcome: ending, error, journal_seconds }) {
            setup.listener.hear(&Event::Warn { text: format!("not journalled: {error}") });
        }
    }
    let history = recorder.history();
    let state = history.state();
    if let (State::RolledBack, Some(place)) = (state, recorder.kept_in()) {
        place.remove_definitions()?;
    }
    Ok(Driven { place: recorder.kept_in(), outcome, state, history })
}

fn give_back(setup: &Setup, recorder: &Recorder) {
    if let Err(error) = recorder.unlock(&setup.world) {
        let text = format!("the lock of the stack was not given back: {error}");
        setup.listener.hear(&Event::Warn { text });
    }
}

fn ending(failure: Option<&Failure>, way: Way, before: Option<Ending>) -> Ending {
    match (failure.map(|failure| &failure.aftermath), way) {
        (None, Way::Forward { .. }) => Ending::Done,
        (None, Way::Back) | (Some(Aftermath::Unchanged), Way::Forward { .. }) => Ending::PutBack,
        (Some(Aftermath::PutBack(steps)), _) if steps.is_complete() => Ending::PutBack,
        (Some(Aftermath::PutBack(_)), _) => Ending::PartlyPutBack,
        // A rollback that was declined changes nothing about the run.
        (Some(_), Way::Back) => before.unwrap_or(Ending::Failed),
        (Some(_), Way::Forward { .. }) => Ending::Failed,
    }
}

/// Decisions as the command line gives them: `--retry`, `--skip`, `--accept STEP=VALUE`.
pub fn decisions(retry: &[String], skip: &[String], accept: &[String]) -> Result<Vec<(String, Decision)>> {
    let mut decisions: BTreeMap<String, Decision> = BTreeMap::new();
    let each = |steps: &[String], decision: Decision| {
        steps.iter().map(move |s| (s.clone(), decision.clone())).collect::<Vec<_>>()
    };
    decisions.extend(each(retry, Decision::Retry));
    decisions.extend(each(skip, Decision::Skip));
    for text in accept {
        let (step, value) = text.split_once('=').ok_or_else(|| {
            Error::usage("run.malformed", format!("--accept {text}: not STEP=VALUE"))
                .hint("VALUE is JSON: --accept 'count the rows=17', --accept 'make a name=\"x\"'")
        })?;
        let value = serde_json::from_str(value)
            .map_err(|e| Error::usage("run.malformed", format!("--accept {text}: the value is no JSON: {e}")))?;
        decisions.insert(step.to_owned(), Decision::Accept(value));
    }
    Ok(decisions.into_iter().collect())
}

/// The run that a command without a name means: the newest one that is `wanted`.
pub fn newest(store: &Store, wanted: impl Fn(&History) -> bool, what: &str) -> Result<Place> {
    let mut found = Vec::new();
    for place in store.runs()? {
        // One with a damaged journal may well be the one that is meant: it is not passed over in silence.
        if wanted(&place.history()?.0) {
            found.push(place);
        }
    }
    found.pop().ok_or_else(|| {
        Error::usage("run.not_found", format!("no run in {} {what}", store.root().display()))
            .hint("`pgscript runs` lists them; --store names another store")
    })
}
