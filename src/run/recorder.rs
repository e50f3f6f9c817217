//! The run's memory while a script runs: writes the journal, and answers what earlier processes have recorded.
//!
//! The run's directory is made when the first step begins: a script that only reads leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::history::{self, Frozen, History};
use super::instants::Instants;
use super::journal::{self, Journal, Line};
use super::lock::{self, Claim};
use super::log::Log;
use super::store::{self, Held, Place, Store};
use super::{belonging, frozen};
use crate::event::{Event, Listener};
use crate::script::evidence::Fact;
use crate::script::ledger::Ledger;
use crate::script::parameters::Given;
use crate::script::record::{Command, Entry, Known, Owner, Past, Record};
use crate::script::source::{self, Origin, Source};
use crate::world::container::EngineInfo;
use crate::world::{Doorkeeper, Error, Owner as OwnerLabel, Redactor, Result, World};

/// What a run needs to know of itself before it has a directory.
#[derive(Clone)]
pub struct Identity {
    pub store: Store,
    pub command: Command,
    /// How the operator named the script; a path is absolute.
    pub script: String,
    /// The engine as the operator named it.
    pub docker: Option<String>,
    pub site: PathBuf,
    pub host: String,
    pub listener: Arc<dyn Listener>,
    pub log: Log,
    /// What the helpers of this run are labelled with.
    pub owner: OwnerLabel,
    /// What no file of the run may hold.
    pub redactor: Redactor,
    /// The operator has seen what was changed in the scripts, and wants it.
    pub accept_changes: bool,
    /// Objects named with `--allow-data-loss`.
    pub losses: Vec<String>,
    /// Who is there at each line of the journal.
    pub instants: Arc<dyn Instants>,
}

/// Implements [`Record`] on a directory.
pub struct Recorder {
    identity: Identity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    redactor: Redactor,
    open: Option<Open>,
    /// What is to be written once there is a directory; sources with their texts.
    pending: Vec<Pending>,
    history: History,
    /// Changed sources that the operator has accepted, until the run goes on with them.
    accepted: Vec<(String, Source)>,
    /// The sources of the run's earlier processes.
    recorded: Vec<Frozen>,
    /// The outermost steps that its earlier processes have begun, in their order.
    sequence: Vec<String>,
    /// How many of the recorded outermost steps were gone by.
    passed: usize,
    /// The outermost steps that the script has called so far.
    called: Vec<String>,
    /// Answers that were given again.
    answered: usize,
    /// Stacks whose locks this process has made sure of.
    locked: Vec<String>,
}

enum Pending {
    Entry(Entry),
    Source(String, Source),
}

struct Open {
    place: Place,
    writer: Writer,
}

enum Writer {
    Writing {
        journal: Journal,
        held: Held,
    },
    /// The run is only looked at: what would be written is dropped.
    Reading,
    /// Another recorder of this process writes now.
    Retired,
}

impl Recorder {
    /// For a run that begins.
    pub fn new(identity: Identity) -> Self {
        let state = State { redactor: identity.redactor.clone(), ..State::default() };
        Self { identity, state: Mutex::new(state) }
    }

    /// For a run that is only looked at: what would be written is dropped.
    pub fn reading(identity: Identity, place: Place, history: History) -> Self {
        let recorder = Self::new(identity);
        {
            let mut state = recorder.state();
            state.recorded.clone_from(&history.sources);
            state.sequence = history.outermost().cloned().collect();
            state.history = history;
            state.open = Some(Open { place, writer: Writer::Reading });
        }
        recorder
    }

    /// For a run that has a past; `held` is its lock.
    pub fn resume(identity: Identity, place: Place, held: Held) -> Result<Self> {
        let (journal, lines) = Journal::open(&place.journal())?;
        let journal = journal.watched(identity.instants.clone());
        let history = History::of(lines);
        let recorder = Self::new(identity);
        {
            let mut state = recorder.state();
            state.recorded.clone_from(&history.sources);
            state.sequence = history.outermost().cloned().collect();
            state.history = history;
            recorder.enter(&mut state, place, journal, held)?;
        }
        Ok(recorder)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run's past and present.
    pub fn history(&self) -> History {
        self.state().history.clone()
    }

    /// Where the run is kept, if it has come to that.
    pub fn kept_in(&self) -> Option<Place> {
        self.state().open.as_ref().map(|open| open.place.clone())
    }

    /// What the run's journal says, which need not be read while nobody else writes it.
    fn written(&self) -> Option<History> {
        let state = self.state();
        let is_writing = state.open.as_ref().is_some_and(|open| matches!(open.writer, Writer::Writing { .. }));
        is_writing.then(|| state.history.clone())
    }

    /// From now on another recorder of this process writes the journal: this one must not.
    pub fn retire(&self) {
        if let Some(open) = &mut self.state().open {
            open.writer = Writer::Retired;
        }
    }

    /// The run's lock.
    pub fn held(&self) -> Option<Held> {
        match &self.state().open.as_ref()?.writer {
            Writer::Writing { held, .. } => Some(held.clone()),
            _ => None,
        }
    }

    /// Seconds spent on writing the journal.
    pub fn journal_seconds(&self) -> f64 {
        let state = self.state();
        match state.open.as_ref().map(|open| &open.writer) {
            Some(Writer::Writing { journal, .. }) => journal.spent().as_secs_f64(),
            _ => 0.0,
        }
    }

    fn changed_sequence(&self, state: &State, recorded: &[String]) -> Error {
        let diff = frozen::diff_steps(recorded, &state.called);
        let again = self.again(state);
        Error::refused(
            "run.changed_sequence",
            format!("the script's steps are not those that this run has begun:\n{diff}"),
        )
        .hint(format!(
            "the names and the order of the steps that have begun must stay; new steps go after them, and what is \
             inside a step may be changed\n\
             with the steps marked `-` back in the script:  {again} --accept-changes\n\
             or by the script as it was:                    {again} --as-recorded"
        ))
    }

    /// The command of this process, as it is typed again.
    fn again(&self, state: &State) -> String {
        let command = match self.identity.command {
            Command::Run | Command::Resume | Command::Repl => "resume",
            Command::Rollback => "rollback",
        };
        let run = state.open.as_ref().map_or("RUN", |open| open.place.id.as_str());
        format!("pgscript {command} {run}")
    }

    /// Gives back the locks of the stacks that this run had.
    pub fn unlock(&self, world: &World) -> Result<()> {
        let Some(place) = self.kept_in() else { return Ok(()) };
        let has_none = {
            let history = &self.state().history;
            history.locks.is_empty() && history.engine.is_none()
        };
        if has_none {
            return Ok(());
        }
        // Also one that was made by a process which was killed before it could note it.
        lock::give_back(world, &self.claim(&place))
    }

    /// Takes the locks again that the run has had: a finished run has given them back, and a lock may have been
    /// removed.
    pub fn relock(&self, world: &World) -> Result<()> {
        let stacks = self.state().history.locks.clone();
        stacks.iter().try_for_each(|stack| self.lock(world, stack, false))
    }

    fn claim(&self, place: &Place) -> Claim {
        let root = self.identity.store.root();
        let store = std::path::absolute(root).unwrap_or_else(|_| root.to_owned()).display().to_string();
        Claim { run: place.id.clone(), host: self.identity.host.clone(), store }
    }

    /// A directory for the run, and what was to be written in it.
    fn create(&self, state: &mut State) -> Result<()> {
        if state.open.is_some() {
            return Ok(());
        }
        let stem = Path::new(&self.identity.script).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let place = self.identity.store.create(&stem)?;
        let held = place.lock(self.identity.command, &crate::world::Cancel::default(), &|_| {})?;
        let journal = Journal::create(&place.journal())?.watched(self.identity.instants.clone());
        store::sync(&place.dir)?;
        self.enter(state, place, journal, held)
    }

    fn enter(&self, state: &mut State, place: Place, journal: Journal, held: Held) -> Result<()> {
        let Identity { script, docker, site, command, host, .. } = self.identity.clone();
        let (id, is_new) = (place.id.clone(), state.history.id.is_empty());
        let directory = place.dir.display().to_string();
        // Two stores may well have a run of the same name.
        self.identity.owner.set(&format!("{host}:{directory}"));
        self.identity.log.open(&place.dir.join("log.jsonl"))?;
        state.open = Some(Open { place, writer: Writer::Writing { journal, held } });
        // Who works by hand in a run knows where it is.
        if is_new || command != Command::Repl {
            self.identity.listener.hear(&Event::RunKept { run: id.clone(), directory });
        }
        if is_new {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let given = state.history.given.clone();
            append(state, Entry::Run { id, script, version, docker, site, given })?;
        }
        let noted = append(state, Entry::Process { command, pid: std::process::id(), host });
        // A full disk must be in the way of nobody who puts back what was done.
        if command != Command::Rollback {
            noted?;
        }
        for pending in std::mem::take(&mut state.pending) {
            match pending {
                Pending::Entry(entry) => _ = append(state, entry)?,
                Pending::Source(key, source) => freeze(state, &key, &source)?,
            }
        }
        Ok(())
    }

    /// A source that is not what it was when the run ran it: refused with what was changed, or accepted.
    fn compare(&self, state: &mut State, key: &str, source: &Source) -> Result<()> {
        let Some(frozen) = state.recorded.iter().find(|frozen| frozen.key == key).cloned() else {
            return freeze(state, key, source);
        };
        if frozen.sha256 == source::sha256(&source.text) {
            return Ok(());
        }
        let Some(open) = &state.open else { return Ok(()) };
        let before = std::fs::read_to_string(open.place.dir.join(&frozen.file)).unwrap_or_default();
        let run = &open.place.id;
        let changes = frozen::diff(&source.name, &before, &source.text);
        if !self.identity.accept_changes {
            let message = format!("{} was changed since run {run} has run it:\n{changes}", source.origin);
            let again = self.again(state);
            return Err(Error::refused("run.edited_script", message).hint(format!(
                "to go by the script as it is now:  {again} --accept-changes\n\
                 to go by the script as it was:     {again} --as-recorded"
            )));
        }
        self.identity.listener.hear(&Event::Say { text: format!("accepted change of {}:\n{changes}", source.origin) });
        // Not yet: should its steps be refused, the run is to go by the scripts that it knew.
        state.accepted.push((key.to_owned(), source.clone()));
        Ok(())
    }
}

/// Keeps the text of a source beside the journal, and notes it there.
fn freeze(state: &mut State, key: &str, source: &Source) -> Result<()> {
    let Some(open) = &state.open else {
        state.pending.push(Pending::Source(key.to_owned(), source.clone()));
        return Ok(());
    };
    let directory = open.place.dir.join(frozen::DIRECTORY);
    create_private(&directory)?;
    let number = std::fs::read_dir(&directory).map_or(0, Iterator::count) + 1;
    let name = Path::new(&source.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = Path::new(frozen::DIRECTORY).join(format!("{number:02}-{name}.rhai"));
    store::write_new(&open.place.dir.join(&file), source.text.as_bytes())?;
    let origin = match &source.origin {
        Origin::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        Origin::BuiltIn | Origin::Input => source.origin.to_string(),
    };
    let (id, name, sha256) = (source.id.clone(), key.to_owned(), source::sha256(&source.text));
    append(state, Entry::Source { id, name, origin, sha256, frozen: file }).map(|_| ())
}

fn create_private(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let created = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(directory);
    created.map_err(|e| Error::io("create", directory.display(), &e))
}

fn append(state: &mut State, entry: Entry) -> Result<u64> {
    let entry = redacted(entry, &state.redactor);
    let Some(open) = &mut state.open else {
        state.pending.push(Pending::Entry(entry));
        return Ok(0);
    };
    let n = match &mut open.writer {
        Writer::Writing { journal, .. } => journal.append(entry.clone())?,
        Writer::Reading => return Ok(0),
        Writer::Retired => return Err(retired()),
    };
    state.history.apply(Line { n, at: journal::now(), entry });
    Ok(n)
}

fn retired() -> Error {
    Error::refused("run.moved_on", "the run has moved on within this input")
        .hint("type the rest as an input of its own: it then goes by where the run stands now")
}

/// Whether a process does something with this entry, rather than look.
fn is_going_on(entry: &Entry) -> bool {
    matches!(entry, Entry::Started { .. } | Entry::Done { .. } | Entry::GoingBack { .. } | Entry::Ended { .. })
}

/// An entry without secrets. Effects come without, parameters are never secret, and a step's value with one is refused.
fn redacted(mut entry: Entry, redactor: &Redactor) -> Entry {
    match &mut entry {
        Entry::Failed { error, .. }
        | Entry::UndoFailed { error, .. }
        | Entry::Settled { error: Some(error), .. }
        | Entry::Ended { error: Some(error), .. } => error.message = redactor.redact(&error.message),
        Entry::Answer { question: text, .. }
        | Entry::Recovery { text }
        | Entry::NoRollback { reason: text }
        | Entry::Input { text, .. } => {
            *text = redactor.redact(text);
        }
        Entry::Verdict(verdict) => {
            verdict.says = redactor.redact(&verdict.says);
            redactor.redact_value(&mut verdict.details);
        }
        _ => {}
    }
    entry
}

impl Record for Recorder {
    fn write(&self, entry: Entry) -> Result<u64> {
        let mut state = self.state();
        if matches!(entry, Entry::Started { .. } | Entry::Input { .. }) {
            self.create(&mut state)?;
        }
        if is_going_on(&entry) {
            for (key, source) in std::mem::take(&mut state.accepted) {
                freeze(&mut state, &key, &source)?;
            }
        }
        append(&mut state, entry)
    }

    fn source(&self, key: &str, source: &Source) -> Result<()> {
        let mut state = self.state();
        self.compare(&mut state, key, source)
    }

    fn past(&self, path: &str) -> Result<Past> {
        let mut state = self.state();
        if path.contains(" / ") {
            return Ok(state.history.past(path));
        }
        state.called.push(path.to_owned());
        let expected = state.sequence.get(state.passed);
        if expected.is_some_and(|expected| expected != path) {
            // Beyond the first difference nothing is known of the script.
            let until = state.sequence.len().min(state.called.len());
            return Err(self.changed_sequence(&state, &state.sequence[..until]));
        }
        state.passed += usize::from(expected.is_some());
        Ok(state.history.past(path))
    }

    fn is_behind(&self) -> bool {
        let state = self.state();
        state.passed < state.sequence.len()
    }

    fn finish(&self) -> Result<()> {
        let state = self.state();
        if state.passed < state.sequence.len() {
            return Err(self.changed_sequence(&state, &state.sequence));
        }
        Ok(())
    }

    fn has_inner(&self, path: &str) -> bool {
        self.state().history.has_inner(path)
    }

    fn is_going_back(&self) -> bool {
        self.state().history.going_back.is_some()
    }

    fn is_undone(&self, path: &str) -> bool {
        self.state().history.undone.contains(path)
    }

    fn give(&self, given: Given) {
        let mut state = self.state();
        // Of one that has begun, also of an older version, the journal knows.
        if state.history.id.is_empty() {
            state.history.given = given;
        }
    }

    fn given(&self) -> Given {
        self.state().history.given.clone()
    }

    fn parameter(&self, name: &str) -> Option<Value> {
        self.state().history.parameters.get(name).cloned().flatten()
    }

    fn answer(&self, question: &str) -> Option<bool> {
        let mut state = self.state();
        let (asked, yes) = state.history.answers.get(state.answered)?.clone();
        (asked == state.redactor.redact(question)).then(|| {
            state.answered += 1;
            yes
        })
    }

    fn place(&self) -> Result<(String, PathBuf)> {
        let mut state = self.state();
        self.create(&mut state)?;
        let place = state.open.as_ref().map(|open| (open.place.id.clone(), open.place.dir.clone()));
        place.ok_or_else(|| Error::failed("run.no_directory", "the run has no directory"))
    }

    fn seconds(&self, path: &str) -> Option<f64> {
        let state = self.state();
        let step = state.history.steps.get(path)?;
        matches!(step.state, history::StepState::Done(_)).then_some(step.seconds)
    }

    fn lock(&self, world: &World, stack: &str, take_over: bool) -> Result<()> {
        if self.state().locked.iter().any(|held| held == stack) {
            return Ok(());
        }
        self.place()?;
        let Some(place) = self.kept_in() else { return Ok(()) };
        let claim = self.claim(&place);
        while let Some(holder) = lock::take(world, stack, &claim)? {
            let is_of_this_store = holder.host == claim.host && holder.store == claim.store;
            // Of another store only whether it still counts is known here: what to type is said to who looks there.
            let found = holder.look().filter(|_| is_of_this_store);
            match (holder.abandoned(), found) {
                // Killed between its last word and this, or lost with its store: nobody's any more.
                (Some(why), _) => {
                    lock::remove(world, &holder)?;
                    self.identity.listener.hear(&Event::Warn { text: why });
                }
                (None, Some((None, _))) if take_over => lock::remove(world, &holder)?,
                (None, found) => return Err(locked(stack, &holder, found)),
            }
        }
        if !self.state().history.locks.iter().any(|known| known == stack) {
            self.write(Entry::Locked { stack: stack.to_owned() })?;
        }
        self.state().locked.push(stack.to_owned());
        Ok(())
    }

    fn runs(&self) -> Result<Vec<Known>> {
        let known = |place: Place| {
            let (history, damage) = place.history()?;
            let state = match (place.driver(), damage) {
                (Some(_), _) => "running",
                (None, Some(_)) => "damaged",
                (None, None) => history.state().as_str(),
            };
            let History { script, begun_at, verdict, .. } = history;
            Ok(Known { id: place.id, script, state: state.to_owned(), directory: place.dir, begun_at, verdict })
        };
        self.identity.store.runs()?.into_iter().map(known).collect()
    }

    fn put_back(&self, run: &str, cluster: &str) -> Result<()> {
        let place = self.identity.store.find(run)?;
        let by = self.place()?.0;
        let _held = place.lock(self.identity.command, &crate::world::Cancel::default(), &|_| {})?;
        let (history, damage) = place.history()?;
        if damage.is_none() && history.state() == history::State::RolledBack {
            return Ok(());
        }
        let is_it = match dumped(&place) {
            Some(dumped) => dumped == cluster,
            // It has put nothing aside.
            None => damage.is_none() && Ledger::of(&history.facts).has_no_fence(),
        };
        if !is_it {
            let message = format!("cluster {cluster} is not known to be the one that run {run} began with");
            return Err(Error::refused("run.unproven", message).hint("bring that one back first"));
        }
        Journal::mend(&place.journal())?.append(Entry::PutBack { by })?;
        place.remove_definitions()
    }

    fn forget(&self, run: &str) -> Result<()> {
        let place = self.identity.store.find(run)?;
        let by = self.place()?.0;
        let _held = place.lock(self.identity.command, &crate::world::Cancel::default(), &|_| {})?;
        let history = place.sound_history()?;
        let (mut journal, _) = Journal::open(&place.journal())?;
        if !history.state().is_over() {
            let message = format!("run {run} is {}: what it keeps may be the only copy", history.state().as_str());
            return Err(Error::refused("run.unfinished", message)
                .hint(format!("pgscript resume {run} or pgscript rollback {run} bring it to an end")));
        }
        if !history.cleaned {
            journal.append(Entry::Cleaned { by })?;
        }
        place.remove_definitions()
    }

    fn owner(&self, artefact: &Path) -> Result<Option<Owner>> {
        self.newest(|history, place| made(history, place, artefact))
    }

    fn keeper(&self, volume: &str) -> Result<Option<Owner>> {
        self.newest(|history, _| Ledger::of(&history.facts).keeps(volume))
    }
}

impl Doorkeeper for Recorder {
    fn meets(&self, found: &EngineInfo) -> Result<()> {
        let mut state = self.state();
        if matches!(state.open.as_ref().map(|open| &open.writer), Some(Writer::Retired)) {
            return Ok(());
        }
        let (known, losses) = (state.history.engine.as_ref(), &self.identity.losses);
        match belonging::meets(known, found, losses, &state.history.id, &self.again(&state))? {
            Some(engine) => append(&mut state, Entry::Engine(engine)).map(|_| ()),
            None => Ok(()),
        }
    }

    fn abandoned(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        lock::abandoned(labels)
    }
}

impl Recorder {
    fn newest(&self, is_wanted: impl Fn(&History, &Place) -> bool) -> Result<Option<Owner>> {
        let this = self.kept_in();
        // Stacks that later runs have brought to an end.
        let mut ended = BTreeSet::new();
        for place in self.identity.store.runs()?.into_iter().rev() {
            let is_this = this.as_ref().is_some_and(|this| this.id == place.id);
            let own = if is_this { self.written() } else { None };
            let (history, damage) = own.map_or_else(|| place.history(), |own| Ok((own, None)))?;
            if !is_wanted(&history, &place) {
                if damage.is_none() && history.state().is_over() {
                    ended.extend(history.locks);
                }
                continue;
            }
            let (state, driver) = (history.state(), place.driver());
            let shown = match (&driver, &damage) {
                (Some(_), _) => "running",
                (None, Some(_)) => "damaged",
                (None, None) => state.as_str(),
            };
            return Ok(Some(Owner {
                run: place.id,
                is_this,
                // What is wrong with a journal must not make its run look finished.
                is_over: damage.is_none() && state.is_over() && driver.is_none(),
                is_superseded: damage.is_none()
                    && driver.is_none()
                    && history.locks.iter().any(|stack| ended.contains(stack)),
                is_rolled_back: damage.is_none()
                    && matches!(state, history::State::RolledBack | history::State::Refused),
                state: shown.to_owned(),
                facts: history.facts,
            }));
        }
        Ok(None)
    }
}

/// Whether a run has made the artefact, or began to.
fn made(history: &History, place: &Place, artefact: &Path) -> bool {
    let is_it = |path: &Path| path == artefact;
    artefact.starts_with(&place.dir)
        || history.facts.iter().any(|fact| match fact {
            Fact::ArtefactBegun { path } | Fact::BackupTaken { path, .. } | Fact::DumpTaken { path, .. } => is_it(path),
            _ => false,
        })
}

/// The system identifier of the cluster that the run has dumped first, which is that of before.
fn dumped(place: &Place) -> Option<String> {
    let identifier = |entry| match entry {
        Entry::Fact(Fact::DumpTaken { system_identifier, .. }) => Some(system_identifier),
        _ => None,
    };
    journal::legible(&place.journal()).into_iter().find_map(identifier)
}

fn locked(stack: &str, holder: &lock::Holder, found: Option<(Option<store::Driver>, history::State)>) -> Error {
    let lock::Holder { run, host, since, store, .. } = holder;
    let (state, hint) = match found {
        Some((Some(driver), _)) => (
            format!("is running (process {})", driver.pid),
            format!("wait for it; `pgscript status {run}` shows where it stands"),
        ),
        Some((None, state)) => (
            format!("is {} and was not brought to an end", state.as_str()),
            format!(
                "go on with it:  pgscript resume {run}\nor go back:     pgscript rollback {run}\n\
                 where it stands: pgscript status {run}"
            ),
        ),
        None => (
            format!("is kept on {host} in {store}"),
            format!(
                "look there: pgscript status {run}\n\
                 only if that machine, and the run with it, is lost for good: docker rm {}",
                lock::name(stack)
            ),
        ),
    };
    Error::refused("run.locked", format!("{stack} is worked on by run {run} of {host} since {since}, which {state}"))
        .hint(hint)
}
