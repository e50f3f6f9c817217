//! Runs, resumes and rolls back: the journal around a script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::frozen;
use super::history::{History, State, StepState};
use super::instants::Instants;
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
use crate::script::source::Source;
use crate::script::steps::Steps;
use crate::script::witness;
use crate::world::{Doorkeeper, Error, Kind, Result, World};

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
    /// Who is there at each line of the journal.
    pub instants: Arc<dyn Instants>,
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
    /// This process has the run until this is gone.
    pub held: Option<Held>,
    /// `None` when the script began no step.
    pub place: Option<Place>,
    /// Where the run stands now.
    pub state: State,
    /// Whether a way back still exists.
    pub history: History,
}

/// Runs a script from its beginning.
pub fn run(setup: &Setup, source: Source, keep: bool) -> Result<Driven> {
    let recorder = Recorder::new(identity(setup, Command::Run, source.found_by(), Changes::Refuse)?);
    let recorder = keeping_door(setup, recorder);
    attempt(setup, recorder, Steps::default(), source, Way::Forward { keep })
}

/// Goes on with a run, all the way or by one step: finished steps give their recorded values, the first other one runs.
/// `held` is the run's lock, where this process has it already.
pub fn resume(
    setup: &Setup,
    place: &Place,
    held: Option<Held>,
    decisions: Vec<(String, Decision)>,
    changes: Changes,
    way: Way,
) -> Result<Driven> {
    let held = held.map_or_else(|| take(setup, place, Command::Resume), Ok)?;
    let history = place.sound_history()?;
    refuse_resume(place, &history)?;
    decisions.iter().try_for_each(|(step, _)| refuse_decision(place, &history, step))?;
    let (recorder, source, setup) = reopen(setup, place, held, &history, Command::Resume, changes)?;
    meet_engine(&setup.world)?;
    recorder.relock(&setup.world)?;
    for (step, decision) in decisions {
        recorder.write(Entry::Decided { step, decision })?;
    }
    tell_by_hand(&setup, &history, "what they did is not done again, and taken as it is");
    let steps = if way == Way::OneStep { Steps::one_only() } else { Steps::replaying(false) };
    attempt(&setup, recorder, steps, source, way)
}

/// Puts back the steps of a run, the last one first. `held` as for [`resume`]; `skip` are steps that could not be put
/// back, and that the operator has put back by hand.
pub fn rollback(setup: &Setup, place: &Place, held: Option<Held>, skip: &[String], changes: Changes) -> Result<Driven> {
    back(setup, place, held, skip, changes, Way::Back)
}

/// Puts back the last step that can be, which must be `step` where that is named. A resumed run does it again.
pub fn undo(
    setup: &Setup,
    place: &Place,
    held: Option<Held>,
    step: Option<String>,
    changes: Changes,
) -> Result<Driven> {
    back(setup, place, held, &[], changes, Way::BackOne(step))
}

fn back(
    setup: &Setup,
    place: &Place,
    held: Option<Held>,
    skip: &[String],
    changes: Changes,
    way: Way,
) -> Result<Driven> {
    let held = held.map_or_else(|| take(setup, place, Command::Rollback), Ok)?;
    let history = place.sound_history()?;
    refuse_rollback(place, &history)?;
    let skipped = skip.iter().map(|step| put_back_by_hand(place, &history, step)).collect::<Result<Vec<_>>>()?;
    let (recorder, source, setup) = reopen(setup, place, held, &history, Command::Rollback, changes)?;
    meet_engine(&setup.world)?;
    recorder.relock(&setup.world)?;
    skipped.into_iter().flatten().try_for_each(|entry| recorder.write(entry).map(|_| ()))?;
    tell_by_hand(&setup, &history, "what they did is not put back by this");
    attempt(&setup, recorder, Steps::replaying(true), source, way)
}

/// Whoever takes a run up again hears of what was done to it by hand.
fn tell_by_hand(setup: &Setup, history: &History, consequence: &str) {
    let inputs = history.by_hand.iter().filter(|input| !input.commands.is_empty());
    let lines: Vec<_> = inputs.map(|input| format!("  {}", input.text.lines().next().unwrap_or_default())).collect();
    if !lines.is_empty() {
        let text = format!("done by hand in this run ({consequence}):\n{}", lines.join("\n"));
        setup.listener.hear(&Event::Warn { text });
    }
}

/// From now on no engine is spoken to that is not the run's.
pub(super) fn keeping_door(setup: &Setup, recorder: Recorder) -> Arc<Recorder> {
    let recorder = Arc::new(recorder);
    let doorkeeper: Arc<dyn Doorkeeper> = recorder.clone();
    setup.world.owner.keeps_door(Arc::downgrade(&doorkeeper));
    recorder
}

pub(super) fn identity(setup: &Setup, command: Command, script: String, changes: Changes) -> Result<Identity> {
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
        redactor: setup.world.redactor.clone(),
        losses: setup.losses.clone(),
        accept_changes: changes == Changes::Accept,
        instants: setup.instants.clone(),
    })
}

pub(super) fn take(setup: &Setup, place: &Place, command: Command) -> Result<Held> {
    setup.store.check_private()?;
    place.check_private()?;
    place.lock(command, &setup.world.cancel, &|driver| {
        let (pid, id, lock) = (driver.pid, &place.id, place.lock_file());
        let text = format!(
            "process {pid}, which worked on {id}, has ended, but a program that it had started still runs; waiting for \
             its end, so that the two don't work against each other\n\
             what it is: fuser -v {}\n\
             Ctrl-C ends the waiting; nothing is done until then",
            lock.display()
        );
        setup.listener.hear(&Event::Warn { text });
    })
}

fn refuse_resume(place: &Place, history: &History) -> Result<()> {
    let id = &place.id;
    let over = |what: &str| Error::refused("run.over", format!("run {id} {what}: there is nothing to resume"));
    match history.state() {
        State::NotBegun => Err(not_begun(place)),
        State::Session => Err(session(place)),
        State::Done if !history.left_open.is_empty() && !history.cleaned => Ok(()),
        State::Done => Err(over("is done").hint(format!("to go back: pgscript rollback {id}"))),
        State::Refused => Err(over("was refused, and has changed nothing")
            .hint(format!("mend what it names, then begin again: pgscript run {}", history.script))),
        State::RolledBack => {
            Err(over("was put back")
                .hint(format!("everything is as it was; begin again: pgscript run {}", history.script)))
        }
        State::RollingBack => Err(Error::refused("run.rolling_back", format!("run {id} is half way back")).hint(
            format!("some of its steps are put back, so it can't go on; put back the rest: pgscript rollback {id}"),
        )),
        State::Failed | State::Interrupted => Ok(()),
    }
}

/// Only about a step that did not come to its end there is something to decide.
fn refuse_decision(place: &Place, history: &History, step: &str) -> Result<()> {
    let open = |path: &&String| !matches!(history.steps[*path].state, StepState::Done(_));
    if history.order.iter().filter(open).any(|path| path == step) {
        return Ok(());
    }
    let what = if history.steps.contains_key(step) { "is done already" } else { "has not begun" };
    let open: Vec<_> = history.order.iter().filter(open).map(|path| format!("  {path}")).collect();
    let hint = match open.is_empty() {
        true => format!("none is open; go on: pgscript resume {}", place.id),
        false => format!("nothing was done. These began and did not come to their end:\n{}", open.join("\n")),
    };
    let message = format!("there is nothing to decide about step `{step}`: it {what} in run {}", place.id);
    Err(Error::usage("run.no_step", message).hint(hint))
}

fn refuse_rollback(place: &Place, history: &History) -> Result<()> {
    let id = &place.id;
    if history.cleaned {
        let message = format!("the copies that run {id} had made were removed by a cleanup: there is no way back");
        return Err(Error::refused("run.cleaned", message).hint(
            "the data of before is only in your own backups now; the server that runs has all that was written since",
        ));
    }
    if let Some(reason) = history.no_rollback.as_ref().filter(|_| history.going_back.is_none()) {
        let error = Error::refused("run.no_rollback", format!("run {id} can't be put back: {reason}"));
        let is_over = history.state().is_over();
        return Err(if is_over { error } else { error.hint(format!("bring it to its end: pgscript resume {id}")) });
    }
    match history.state() {
        State::RolledBack => Err(Error::refused("run.over", format!("run {id} was put back already"))
            .hint("everything is as it was before the run")),
        State::Refused => Err(Error::refused("run.over", format!("run {id} was refused, and has changed nothing"))
            .hint("everything is as it was before the run")),
        State::NotBegun => Err(not_begun(place)),
        State::Session => Err(session(place)),
        _ => Ok(()),
    }
}

/// What the journal is told of a step that the operator has put back by hand: one that could not be put back.
pub fn put_back_by_hand(place: &Place, history: &History, step: &str) -> Result<[Entry; 2]> {
    if history.not_undone.contains_key(step) {
        let step = step.to_owned();
        return Ok([Entry::Decided { step: step.clone(), decision: Decision::Skip }, Entry::UndoDone { step }]);
    }
    let failed: Vec<_> = history.not_undone.keys().map(|path| format!("  {path}")).collect();
    let hint = match failed.is_empty() {
        true => format!("nothing was done; go on: pgscript rollback {}", place.id),
        false => format!("nothing was done. These could not be put back:\n{}", failed.join("\n")),
    };
    let message = format!("step `{step}` is none that run {} could not put back", place.id);
    Err(Error::usage("run.no_step", message).hint(hint))
}

/// What was done by hand is neither done again nor put back by itself.
fn session(place: &Place) -> Error {
    let id = &place.id;
    Error::refused("run.session", format!("{id} is a session: what was done in it was done by hand")).hint(format!(
        "nothing was done. What that was: pgscript status {id}
to go on by hand: pgscript repl --run {id}"
    ))
}

/// A run that was killed before its journal named its script has done nothing.
fn not_begun(place: &Place) -> Error {
    Error::refused("run.not_begun", format!("run {} was cut off before its first step: nothing was changed", place.id))
        .hint(format!(
            "run the script again: `pgscript run …` as you did\nnobody needs the directory: rm -r {}",
            place.dir.display()
        ))
}

fn reopen(
    setup: &Setup,
    place: &Place,
    held: Held,
    history: &History,
    command: Command,
    changes: Changes,
) -> Result<(Arc<Recorder>, Source, Setup)> {
    let mut setup = setup.clone();
    if changes == Changes::AsRecorded {
        setup.places = setup.places.with_frozen(frozen::all(place, history)?);
    }
    let source = setup.places.script(&history.script).map_err(|error| {
        let command = if command == Command::Rollback { "rollback" } else { "resume" };
        let hint = format!(
            "nothing was done. The run kept a copy of the script as it was: pgscript {command} {} --as-recorded",
            place.id
        );
        Error { hint: Some(hint), ..error }
    })?;
    let recorder = Recorder::resume(identity(&setup, command, history.script.clone(), changes)?, place.clone(), held)?;
    Ok((keeping_door(&setup, recorder), source, setup))
}

/// Meets the run's engine, if it is there, before anything else: another one is refused, and what killed processes have
/// left there would work against their successor.
fn meet_engine(world: &World) -> Result<()> {
    match world.containers.info() {
        // A script that needs the engine will say so itself.
        Err(error) if error.kind == Kind::Unavailable => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Runs the script once, whichever way, and writes down how it ended.
fn attempt(setup: &Setup, recorder: Arc<Recorder>, steps: Steps, source: Source, way: Way) -> Result<Driven> {
    setup.world.cancel.rearm();
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
    let outcome = execute::execute(session, setup.places.clone(), source, way.clone())?;
    let error = outcome.failure.as_ref().map(Failure::reason);
    let ending = ending(&outcome, &way, &recorder.history());
    let is_over = match ending {
        Some(ending) => matches!(ending, Ending::Done | Ending::PutBack | Ending::Refused),
        // A rollback of a finished run that was refused or declined has taken the lock again.
        None => recorder.history().state().is_over(),
    };
    if is_over {
        // Before the last word: a kill in between leaves a run to be taken up, not a lock that nobody gives back.
        give_back(setup, &recorder);
    }
    if let (Some(ending), true) = (ending, recorder.kept_in().is_some()) {
        let journal_seconds = recorder.journal_seconds();
        if let Err(error) = recorder.write(Entry::Ended { outcome: ending, error, journal_seconds }) {
            setup.listener.hear(&Event::Warn { text: format!("not journalled: {error}") });
        }
    }
    let history = recorder.history();
    let state = history.state();
    // Containers are created again from them on a way back.
    let has_no_way_back = history.no_rollback.is_some() && state == State::Done;
    if let Some(place) = recorder.kept_in()
        && (has_no_way_back || matches!(state, State::RolledBack | State::Refused))
    {
        place.remove_definitions()?;
    }
    if history.verdict.is_some() && state.is_over() {
        tidy(&setup.store, &history)?;
    }
    Ok(Driven { place: recorder.kept_in(), held: recorder.held(), outcome, state, history })
}

/// How many runs are kept of those that have only looked at a stack, with the one that ends.
const LOOKS_KEPT: usize = 10;

/// Removes older runs of the same script on the same stack that have ended with a verdict: they come from cron, day by
/// day, and nothing can be put back by them.
fn tidy(store: &Store, history: &History) -> Result<()> {
    let is_alike = |place: &Place| {
        let Ok((known, None)) = place.history() else { return false };
        known.verdict.is_some()
            && known.state().is_over()
            && (&known.script, &known.locks) == (&history.script, &history.locks)
            && place.driver().is_none()
    };
    let alike: Vec<_> = store.runs()?.into_iter().filter(is_alike).collect();
    for place in &alike[..alike.len().saturating_sub(LOOKS_KEPT - 1)] {
        std::fs::remove_dir_all(&place.dir).map_err(|e| Error::io("remove", place.dir.display(), &e))?;
    }
    Ok(())
}

fn give_back(setup: &Setup, recorder: &Recorder) {
    // Also after Ctrl-C: nobody else could ever give it back.
    if let Err(error) = setup.world.cancel.in_spite(|| recorder.unlock(&setup.world)) {
        let text = format!("the lock of the stack was not given back: {error}");
        setup.listener.hear(&Event::Warn { text });
    }
}

/// `None` where the process has left the run as it was: it was refused, or a rollback declined.
fn ending(outcome: &Outcome, way: &Way, history: &History) -> Option<Ending> {
    match (outcome.failure.as_ref().map(|failure| &failure.aftermath), way) {
        (_, Way::BackOne(_)) => None,
        (Some(aftermath), Way::Forward { .. }) if is_back(aftermath, history) && is_refused_first(outcome, history) => {
            Some(Ending::Refused)
        }
        (None, _) if outcome.is_partial => Some(Ending::Stopped),
        (None, Way::Forward { .. } | Way::OneStep) => Some(Ending::Done),
        (None, Way::Back) => Some(Ending::PutBack),
        (Some(Aftermath::PutBack(steps)), _) if steps.is_complete() => Some(Ending::PutBack),
        (Some(Aftermath::PutBack(_)), _) => Some(Ending::PartlyPutBack),
        (Some(Aftermath::Stands), _) | (Some(_), Way::Back) => None,
        // What has changed nothing has nothing to go on with.
        (Some(Aftermath::Unchanged), _) if history.effects == 0 => Some(Ending::PutBack),
        (Some(Aftermath::Unchanged), _) => None,
        (Some(_), Way::Forward { .. } | Way::OneStep) => Some(Ending::Failed),
    }
}

/// Whether nothing is different from before.
fn is_back(aftermath: &Aftermath, history: &History) -> bool {
    match aftermath {
        Aftermath::PutBack(steps) => steps.is_complete(),
        Aftermath::Unchanged => history.effects == 0,
        _ => false,
    }
}

/// Whether the run has come no further than to a first step that refused.
fn is_refused_first(outcome: &Outcome, history: &History) -> bool {
    let is_refused = outcome.failure.as_ref().is_some_and(|failure| failure.report.kind == Kind::Refused);
    is_refused && history.outermost().count() == 1 && history.by_hand.is_empty()
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
        let parsed = serde_json::from_str(value).map_err(|e| {
            Error::usage("run.malformed", format!("--accept {text}: the value {value} is no JSON: {e}"))
                .hint(format!("a text needs its quotes, inside those of the shell: --accept '{step}=\"{value}\"'"))
        })?;
        decisions.insert(step.to_owned(), Decision::Accept(parsed));
    }
    Ok(decisions.into_iter().collect())
}

/// The run that a command without a name means: the newest one that is `wanted`.
pub fn newest(store: &Store, wanted: impl Fn(&History) -> bool, what: &str) -> Result<Place> {
    let mut found = Vec::new();
    for place in store.runs()? {
        let (history, damage) = place.history()?;
        // One with a damaged journal may well be the one that is meant: it is not passed over in silence.
        if damage.is_some() || wanted(&history) {
            found.push(place);
        }
    }
    found.pop().ok_or_else(|| {
        Error::usage("run.not_found", format!("no run in {} {what}", store.root().display()))
            .hint("`pgscript runs` lists them; --store names another store")
    })
}
