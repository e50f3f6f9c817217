//! Work by hand: a session of its own, or one that is part of a run. Each input is a journalled step, so that the
//! guards go by all that was proved, and a later resume takes into account what was done.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::Scope;
use serde_json::Value;

use super::drive::{self, Setup};
use super::frozen;
use super::history::History;
use super::journal::Damage;
use super::recorder::Recorder;
use super::store::{Held, Place};
use crate::event::Silent;
use crate::script::evidence::Evidence;
use crate::script::execute;
use crate::script::parameters::{Given, Parameters};
use crate::script::record::{Command, Entry, Known, Owner, Past, Record};
use crate::script::session::{Prompter, Session};
use crate::script::source::Source;
use crate::script::steps::Steps;
use crate::script::witness;
use crate::world::{Error, Kind, Result, World};

/// What the runs of sessions are called.
pub const NAME: &str = "repl";

/// A session of an operator.
pub struct Desk {
    pub session: Arc<Session>,
    /// The run that it is part of.
    pub place: Option<Place>,
    /// What the run had come to when the session took it up.
    pub history: History,
    pub damage: Option<Damage>,
    is_settled: bool,
    record: Arc<ByHand>,
}

/// Opens a session: one of its own, or one in a run, whose lock may be `held` by this process already. A run that
/// another process drives, or whose stack is another run's by now, can only be looked at; one with a damaged journal
/// too, but the session is one of its own then.
pub fn open(setup: &Setup, place: Option<&Place>, held: Option<Held>) -> Result<Desk> {
    let Some(place) = place else { return alone(setup, None, History::default(), None) };
    let (history, damage) = place.history()?;
    if damage.is_some() {
        return alone(setup, Some(place), history, damage);
    }
    let held = match held.map_or_else(|| drive::take(setup, place, Command::Repl), Ok) {
        Ok(held) => held,
        Err(error) if error.code == "run.driven" => return look_on(setup, place, history, error),
        Err(error) => return Err(error),
    };
    let identity = drive::identity(setup, Command::Repl, history.script.clone(), drive::Changes::Refuse)?;
    let recorder = drive::keeping_door(setup, Recorder::resume(identity, place.clone(), held)?);
    let mut is_settled = match catch_up(setup, &recorder) {
        Err(error) if is_away(&error) => false,
        // Another run works on the stack by now.
        Err(error) if error.code == "run.locked" => return look_on(setup, place, history, error),
        other => other.map(|()| true)?,
    };
    let history = recorder.history();
    let record = ByHand::new(recorder, None);
    let session = session(setup, &record, &history);
    if is_settled {
        is_settled = match witness::settle(&session) {
            Err(error) if is_away(&error) => false,
            other => other.map(|()| true)?,
        };
    }
    Ok(Desk { session, place: Some(place.clone()), history, damage: None, is_settled, record })
}

/// What the engine has to know, and to forget, before anything is done in a run.
fn catch_up(setup: &Setup, recorder: &Recorder) -> Result<()> {
    setup.world.containers.info()?;
    recorder.relock(&setup.world)
}

/// An engine that does not answer is no reason not to open the shell: that may be what it is opened for. One that is
/// silent is given up by Ctrl-C.
fn is_away(error: &Error) -> bool {
    matches!(error.kind, Kind::Unavailable | Kind::Cancelled) || error.code == "docker.timeout"
}

fn alone(setup: &Setup, place: Option<&Place>, history: History, damage: Option<Damage>) -> Result<Desk> {
    let identity = drive::identity(setup, Command::Repl, NAME.to_owned(), drive::Changes::Refuse)?;
    let record = ByHand::new(drive::keeping_door(setup, Recorder::new(identity)), None);
    // What a damaged journal has proved counts for nothing.
    let session = session(setup, &record, &History::default());
    Ok(Desk { session, place: place.cloned(), history, damage, is_settled: true, record })
}

fn look_on(setup: &Setup, place: &Place, history: History, why: Error) -> Result<Desk> {
    let identity = drive::identity(setup, Command::Repl, history.script.clone(), drive::Changes::Refuse)?;
    let recorder = drive::keeping_door(setup, Recorder::reading(identity, place.clone(), history.clone()));
    let record = ByHand::new(recorder, Some(Looking { place: place.clone(), why }));
    let session = session(setup, &record, &history);
    Ok(Desk { session, place: Some(place.clone()), history, damage: None, is_settled: true, record })
}

fn session(setup: &Setup, record: &Arc<ByHand>, history: &History) -> Arc<Session> {
    let losses = [history.overrides.clone(), setup.losses.clone()].concat();
    Arc::new(Session {
        world: setup.world.clone(),
        listener: setup.listener.clone(),
        prompter: setup.prompter.clone(),
        parameters: Parameters::new(setup.given.clone()),
        steps: Mutex::new(Steps::default()),
        evidence: Evidence::new(&history.facts, losses),
        record: record.clone(),
    })
}

impl Desk {
    /// The next input is a step of its own.
    pub fn begin(&self, text: &str) {
        *self.session.steps() = Steps::by_hand(self.record.next_number(), text, self.session.world.host.now());
    }

    /// The input has come to its end. Gives whether it has acted.
    pub fn end(&self, error: Option<&Error>) -> Result<bool> {
        let input = std::mem::take(&mut *self.session.steps()).into_input();
        let Some((begun, has_acted)) = input else { return Ok(false) };
        let Entry::Input { step, .. } = &begun else { return Ok(false) };
        let step = step.clone();
        let ended = match error {
            None => Entry::Done { step, value: Value::Null, seconds: 0.0 },
            Some(error) => Entry::Failed { step, error: error.into() },
        };
        if !has_acted {
            self.record.looked().extend([begun, ended]);
            // Tried again before the next input that acts, and said then.
            _ = self.record.keep_looks();
            return Ok(false);
        }
        match self.record.recorder.write(ended) {
            // What drove the run within this input has written its own last word.
            Err(error) if error.code != "run.moved_on" => Err(error),
            _ => Ok(true),
        }
    }

    /// Journals what the operator allowed to be lost, before anything acts.
    pub fn allow(&self, losses: &[String]) -> Result<()> {
        if self.read_only().is_some() {
            return Ok(());
        }
        let recorder = &self.record.recorder;
        let known = recorder.history().overrides;
        let new = losses.iter().filter(|loss| !known.contains(loss));
        new.cloned().try_for_each(|loss| recorder.write(Entry::Override { loss }).map(|_| ()))
    }

    /// The operator's decision about a step, for the next resume.
    pub fn decide(&self, entry: Entry) -> Result<()> {
        self.session.record.write(entry).map(|_| ())
    }

    /// Lets go of the journal, so that the run can be driven; the session has to be opened again after that. Gives the
    /// run's lock.
    pub fn release(&self) -> Result<Option<Held>> {
        self.record.keep_looks()?;
        let held = self.record.recorder.held();
        self.record.recorder.retire();
        Ok(held)
    }

    /// Where the session, or the run it is part of, is kept; `None` while it has not acted.
    pub fn kept_in(&self) -> Option<Place> {
        self.record.recorder.kept_in()
    }

    /// What the journal says by now.
    pub fn now(&self) -> History {
        // Somebody else writes it.
        let read = self.record.looking.as_ref().and_then(|looking| looking.place.history().ok());
        read.map_or_else(|| self.record.recorder.history(), |(history, _)| history)
    }

    /// Why nothing can be changed; `None` where it can.
    pub fn read_only(&self) -> Option<Error> {
        self.record.looking.as_ref().map(Looking::refusal)
    }

    /// Whether the engine was there when the session was opened. Else the run's stack is not locked, and what became of
    /// what was cut off is not known: with an engine that is back, the session has to be opened again.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The operator leaves. A stack that nobody works on any more is free again.
    pub fn leave(&self) -> Result<()> {
        // What was cancelled is what came before.
        self.session.world.cancel.rearm();
        let kept = self.record.keep_looks();
        let recorder = &self.record.recorder;
        if self.record.looking.is_none() && recorder.history().state().is_over() {
            match recorder.unlock(&self.session.world) {
                Err(error) if is_away(&error) => {}
                other => other?,
            }
        }
        kept
    }
}

/// The variables that the run's script had where it was stopped: it is read once more, as it was then, up to where
/// its recorded steps end. Nothing is done, nobody is asked.
pub fn variables(setup: &Setup, place: &Place, history: &History) -> Result<Scope<'static>> {
    let mut setup = setup.clone();
    setup.places = setup.places.with_frozen(frozen::all(place, history)?);
    setup.listener = Arc::new(Silent);
    setup.prompter = Arc::new(Nobody);
    let source = setup.places.script(&history.script)?;
    let identity = drive::identity(&setup, Command::Repl, history.script.clone(), drive::Changes::AsRecorded)?;
    let recorder = Arc::new(Recorder::reading(identity, place.clone(), history.clone()));
    let session = Session {
        world: setup.world.clone(),
        listener: setup.listener.clone(),
        prompter: setup.prompter.clone(),
        parameters: Parameters::new(setup.given.clone()),
        steps: Mutex::new(Steps::replaying(true)),
        evidence: Evidence::new(&history.facts, Vec::new()),
        record: recorder,
    };
    execute::variables(Arc::new(session), setup.places.clone(), source)
}

/// A script that is only read asks nobody.
struct Nobody;

impl Nobody {
    fn refuse<T>(&self) -> Result<T> {
        Err(Error::refused("run.past_record", "the script asks here, and it is only read"))
    }
}

impl Prompter for Nobody {
    fn confirm(&self, _: &str) -> Result<bool> {
        self.refuse()
    }

    fn manual(&self, _: &str) -> Result<()> {
        self.refuse()
    }

    fn ask(&self, _: &str, _: &str, _: bool) -> Result<String> {
        self.refuse()
    }
}

/// A run's memory for what is done by hand: it is written like everything else, but the script's own past, its
/// texts, parameters and answers are none of its business.
struct ByHand {
    recorder: Arc<Recorder>,
    /// Nothing can be changed: somebody else has had the run, or its stack, when the session was opened.
    looking: Option<Looking>,
    /// Beginnings and ends of inputs that have only looked, and are not written: the session has no journal before
    /// something acts in it, and a full disk keeps nobody from looking.
    looked: Mutex<VecDeque<Entry>>,
}

/// A session in a run that somebody else had when it was opened.
#[derive(Clone)]
struct Looking {
    place: Place,
    /// What was said to it then.
    why: Error,
}

impl Looking {
    /// Why nothing can be changed, as things are now.
    fn refusal(&self) -> Error {
        let (id, Error { kind, code, message, .. }) = (&self.place.id, &self.why);
        if code == "run.driven" && self.place.driver().is_none() {
            let message = format!("run {id} was being worked on when this session came to it, so it can only look");
            return Error::new(*kind, code.clone(), message)
                .hint(format!("nothing was done. That has ended by now; to work in the run:\n.run {id}"));
        }
        Error { message: format!("{message}: this session can only look"), ..self.why.clone() }
    }
}

impl ByHand {
    fn new(recorder: Arc<Recorder>, looking: Option<Looking>) -> Arc<Self> {
        Arc::new(Self { recorder, looking, looked: Mutex::default() })
    }

    fn looked(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the next input.
    fn next_number(&self) -> usize {
        let unwritten = self.looked().iter().filter(|entry| matches!(entry, Entry::Input { .. })).count();
        self.recorder.history().by_hand.len() + unwritten + 1
    }

    fn write_looks(&self) -> Result<()> {
        let mut looked = self.looked();
        while let Some(entry) = looked.front() {
            self.recorder.write(entry.clone())?;
            looked.pop_front();
        }
        Ok(())
    }

    /// As [`ByHand::write_looks`], where there is a journal: who only looks, and is in no run, leaves nothing behind.
    fn keep_looks(&self) -> Result<()> {
        if self.looking.is_some() || self.recorder.held().is_none() {
            return Ok(());
        }
        self.write_looks()
    }

    fn writable(&self) -> Result<()> {
        self.looking.as_ref().map_or(Ok(()), |looking| Err(looking.refusal()))
    }
}

impl Record for ByHand {
    fn write(&self, entry: Entry) -> Result<u64> {
        // What a look has proved is worth knowing; who only looks on keeps it to himself.
        if !matches!(entry, Entry::Fact(_)) {
            self.writable()?;
        }
        if matches!(entry, Entry::Input { .. }) {
            self.write_looks()?;
        }
        self.recorder.write(entry)
    }

    fn source(&self, _: &str, _: &Source) -> Result<()> {
        Ok(())
    }

    fn past(&self, _: &str) -> Result<Past> {
        Ok(Past::New)
    }

    fn is_behind(&self) -> bool {
        false
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }

    fn has_inner(&self, _: &str) -> bool {
        false
    }

    fn is_going_back(&self) -> bool {
        false
    }

    fn is_undone(&self, _: &str) -> bool {
        false
    }

    fn give(&self, _: Given) {}

    fn given(&self) -> Given {
        Given::default()
    }

    fn parameter(&self, _: &str) -> Option<Value> {
        None
    }

    fn answer(&self, _: &str) -> Option<bool> {
        None
    }

    fn place(&self) -> Result<(String, PathBuf)> {
        self.recorder.place()
    }

    fn seconds(&self, path: &str) -> Option<f64> {
        self.recorder.seconds(path)
    }

    fn lock(&self, world: &World, stack: &str, take_over: bool) -> Result<()> {
        self.writable()?;
        self.recorder.lock(world, stack, take_over)
    }

    fn runs(&self) -> Result<Vec<Known>> {
        self.recorder.runs()
    }

    fn put_back(&self, run: &str, cluster: &str) -> Result<()> {
        self.writable()?;
        self.recorder.put_back(run, cluster)
    }

    fn forget(&self, run: &str) -> Result<()> {
        self.writable()?;
        self.recorder.forget(run)
    }

    fn owner(&self, artefact: &Path) -> Result<Option<Owner>> {
        self.recorder.owner(artefact)
    }

    fn keeper(&self, volume: &str) -> Result<Option<Owner>> {
        self.recorder.keeper(volume)
    }
}
