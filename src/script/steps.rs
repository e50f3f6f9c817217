//! Steps of a run: what changes the outside world happens in one, can be named, resumed, and put back.
//!
//! [`pass`] is the one place a step passes through: it asks the run's record what is known of the step, and runs the
//! body only when the record says so.

use std::collections::HashMap;
use std::time::Instant;

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, NativeCallContext, Position};
use serde_json::Value;

use super::api::ScriptResult;
use super::api::call::Call;
use super::record::{self, Entry, Past, Reason, undo_of};
use super::session::Session;
use super::{errors, handles};
use crate::event::Event;
use crate::planted::{Fault, is_planted};
use crate::world::{Error, Kind, Result};

/// Where a run stands: the steps under way, and how to put back those that were begun.
#[derive(Default)]
pub struct Steps {
    /// Paths of the steps under way, outermost first.
    under_way: Vec<String>,
    /// How often each path was begun, for `name#2`.
    begun: HashMap<String, usize>,
    undo: Vec<Undo>,
    /// To be called before anything is put back.
    before_rollback: Vec<Closure>,
    /// To be called after all of it is put back: whether it is.
    after_rollback: Vec<Closure>,
    /// The step after whose beginning nothing is undone automatically.
    committed: Option<String>,
    /// The innermost step that failed first.
    failed: Option<String>,
    recovery: Option<String>,
    /// Of what the script gives a verdict in the end, and what a failure's has beside its reason.
    judged: Option<(String, Value)>,
    /// What is being put back now, as the journal calls it.
    undoing: Option<String>,
    /// Whether anything outside was changed, or begun to be.
    changed: bool,
    /// Finished steps are being gone through; nothing of this process's own has happened yet.
    replaying: bool,
    /// The script stops where the recorded steps end: it is only read for what puts them back.
    replay_only: bool,
    /// How many bodies are gone through only for the undo closures of the steps inside them.
    reading: usize,
    /// What is typed in a session acts in a step of its own, which is journalled once it acts.
    input: Option<Input>,
    /// Only one outermost step is to run.
    one_only: bool,
    /// Whether an outermost step has run.
    has_run: bool,
}

/// An input of a session, under way.
struct Input {
    /// What the journal has to know of it.
    entry: Entry,
    is_written: bool,
}

/// A script's function with what it can see: its module may long have been left.
struct Closure {
    function: FnPtr,
    environment: Box<GlobalRuntimeState>,
}

impl Closure {
    fn new(call: &Call<'_>, function: FnPtr) -> Self {
        Self { function, environment: Box::new(call.context.global_runtime_state().clone()) }
    }

    /// Calls the function without arguments, or with `value` where it takes one.
    fn call(&self, engine: &Engine, value: Dynamic) -> ScriptResult {
        let source = self.environment.source.as_deref();
        let context = NativeCallContext::new_with_all_fields(engine, "undo", source, &self.environment, Position::NONE);
        let without: [Dynamic; 0] = [];
        match self.function.call_raw(&context, None, without) {
            Err(error) if is_arity(&error, &self.function) => self.function.call_raw(&context, None, [value]),
            result => result,
        }
    }
}

fn is_arity(error: &EvalAltResult, function: &FnPtr) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, _) if signature.starts_with(function.fn_name()))
}

/// How to put back one step.
struct Undo {
    path: String,
    /// Whether the step has come to change anything: the undo of what never happened does nothing.
    changed: bool,
    closure: Closure,
    /// What the step gave; `()` until it has succeeded.
    value: Dynamic,
}

impl Steps {
    /// For a run with a past: `replay_only` stops where that ends.
    pub fn replaying(replay_only: bool) -> Self {
        Self { replaying: true, replay_only, ..Self::default() }
    }

    /// For a run that goes on by one outermost step.
    pub fn one_only() -> Self {
        Self { one_only: true, ..Self::replaying(false) }
    }

    /// For the `number`th input of a session, typed at `typed_at`.
    pub fn by_hand(number: usize, text: &str, typed_at: String) -> Self {
        let step = record::by_hand(number);
        let entry = Entry::Input { step: step.clone(), text: text.to_owned(), typed_at };
        let input = Some(Input { entry, is_written: false });
        Self { input, under_way: vec![step], ..Self::default() }
    }

    /// What the journal has to know before the input under way acts; `None` once it does.
    pub fn unwritten_input(&mut self) -> Option<Entry> {
        let input = self.input.as_mut().filter(|input| !input.is_written)?;
        input.is_written = true;
        Some(input.entry.clone())
    }

    /// The input that was under way, and whether it has come to act.
    pub fn into_input(self) -> Option<(Entry, bool)> {
        self.input.map(|input| (input.entry, input.is_written))
    }

    /// Whether another outermost step must not run now.
    fn is_enough(&self) -> bool {
        self.one_only && self.has_run && self.under_way.len() == 1
    }

    /// Whether effects are allowed now: in a step, or while steps are put back.
    pub fn is_inside(&self) -> bool {
        self.current().is_some()
    }

    /// The innermost step under way, or what is being put back.
    pub fn current(&self) -> Option<String> {
        self.undoing.clone().or_else(|| self.under_way.last().cloned())
    }

    pub fn is_undoing(&self) -> bool {
        self.undoing.is_some()
    }

    pub fn is_replaying(&self) -> bool {
        self.replaying
    }

    /// Whether the script is only read for what puts its steps back: it must neither act nor ask.
    pub fn is_reading(&self) -> bool {
        (self.replay_only || self.reading > 0) && !self.is_undoing()
    }

    /// Whether all of it is read for that, and nothing else.
    pub fn is_going_back(&self) -> bool {
        self.replay_only
    }

    /// From here on what the script says is news.
    pub fn end_replay(&mut self) {
        self.replaying = false;
    }

    pub fn set_recovery(&mut self, text: String) {
        self.recovery = Some(text);
    }

    /// What the script told the operator to type if it fails now.
    pub fn recovery(&self) -> Option<&str> {
        self.recovery.as_deref()
    }

    /// Whether no more than one outermost step was begun.
    pub fn is_in_first(&self) -> bool {
        self.begun.keys().filter(|path| !path.contains(" / ")).count() <= 1
    }

    /// See `run::judges`.
    pub fn judges(&mut self, subject: String, details: Value) {
        self.judged = Some((subject, details));
    }

    /// What is still to be judged.
    pub fn take_judged(&mut self) -> Option<(String, Value)> {
        self.judged.take()
    }

    pub fn committed(&self) -> Option<&str> {
        self.committed.as_deref()
    }

    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether a step that changed something can be put back.
    pub fn has_undo(&self) -> bool {
        self.undo.iter().any(|undo| undo.changed)
    }

    /// Whether the run has changed anything.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The steps under way change something now.
    pub fn mark_changed(&mut self) {
        self.changed = true;
        let under_way = &self.under_way;
        self.undo.iter_mut().filter(|undo| under_way.contains(&undo.path)).for_each(|undo| undo.changed = true);
    }

    /// Hands out what is to be put back, last begun first; from now on effects belong to that.
    fn start_undoing(&mut self) -> Vec<Undo> {
        self.under_way.clear();
        let mut undo = std::mem::take(&mut self.undo);
        undo.retain(|undo| undo.changed);
        if !is_planted(Fault::UndoOrder) {
            undo.reverse();
        }
        undo
    }

    fn begin(&mut self, name: &str, commit: bool) -> String {
        let parent = self.under_way.last().map(|path| format!("{path} / ")).unwrap_or_default();
        let plain = format!("{parent}{name}");
        let count = self.begun.entry(plain.clone()).or_default();
        *count += 1;
        let path = if *count == 1 { plain } else { format!("{plain}#{count}") };
        self.under_way.push(path.clone());
        if commit && self.committed.is_none() {
            self.committed = Some(path.clone());
        }
        path
    }

    fn end(&mut self, path: &str, result: &ScriptResult) {
        self.under_way.pop();
        match result {
            Err(error) if is_end_of_replay(error) => {}
            Err(error) if !error.is_pseudo_error() => _ = self.failed.get_or_insert_with(|| path.to_owned()),
            // A step that is done is put back by its own undo: a resumed run does not come by its inner steps.
            _ => {
                let inner = format!("{path} / ");
                self.undo.retain(|undo| !undo.path.starts_with(&inner));
            }
        }
    }
}

/// A step's options, with their types checked.
struct StepOptions {
    undo: Option<FnPtr>,
    probe: Option<FnPtr>,
    repeatable: bool,
    commit: bool,
    /// A failure of it is no failure of the run, which a later process does it for.
    open_work: bool,
}

impl StepOptions {
    fn read(call: &Call<'_>) -> Result<Self> {
        let options = call.options("options", &["undo", "probe", "repeatable", "commit", "open_work"])?;
        let function = |key: &str| {
            options.value(key).map(|value| value.try_cast::<FnPtr>().ok_or_else(|| not_a_function(key))).transpose()
        };
        let flag = |key: &str| Ok::<_, Error>(options.bool(key)?.unwrap_or(false));
        // `undo: false` says that another step's undo takes back what this one does.
        let is_elsewhere = options.value("undo").is_some_and(|value| value.as_bool() == Ok(false));
        Ok(Self {
            undo: if is_elsewhere { None } else { function("undo")? },
            probe: function("probe")?,
            repeatable: flag("repeatable")?,
            commit: flag("commit")?,
            open_work: flag("open_work")?,
        })
    }
}

fn not_a_function(key: &str) -> Error {
    Error::failed("script.wrong_type", format!("step: option `{key}` must be a function"))
        .hint(format!("for example `{key}: || {{ … }}`"))
}

/// `step(name, body, options)`
pub fn step(call: &mut Call<'_>) -> ScriptResult {
    let name = call.string("name")?;
    if !is_proper(&name) {
        let hint = "not empty, and without `/`, `#` and line ends, which separate the names of a path";
        return Err(Error::failed("script.bad_step_name", format!("a step can't be named {name:?}")).hint(hint).into());
    }
    let body = call.function("body")?;
    let options = StepOptions::read(call)?;
    let session = call.session;
    session.world.cancel.check()?;
    if session.steps().is_undoing() {
        // What puts a step back runs again as a whole when it is cut off.
        return call.invoke(&body, ());
    }
    let path = session.steps().begin(&name, options.commit);
    let may_wait = options.open_work;
    let mut result = pass(call, &path, &body, options);
    if may_wait && let Err(error) = &result {
        result = leave_open(session, &path, error).map_or(result, Ok);
    }
    session.steps().end(&path, &result);
    result
}

/// What a failed step leaves to be done later; `None` where the failure is not the step's own.
fn leave_open(session: &Session, path: &str, error: &EvalAltResult) -> Option<Dynamic> {
    let cause = errors::cause(error);
    let is_its_own = !error.is_pseudo_error() && !is_end_of_replay(error) && !is_refusal(error);
    if !is_its_own || cause.kind == Kind::Cancelled {
        return None;
    }
    session.write(Entry::LeftOpen { step: path.to_owned() }).ok()?;
    let run = session.record.place().map(|(run, _)| run).unwrap_or_default();
    let text = format!("step `{path}` is left open: {}\nto do it later: pgscript resume {run}", cause.message);
    session.emit(Event::Warn { text });
    Some(Dynamic::UNIT)
}

/// `on_rollback(look)`
pub fn on_rollback(call: &mut Call<'_>) -> ScriptResult {
    let closure = Closure::new(call, call.function("look")?);
    call.session.steps().before_rollback.push(closure);
    Ok(Dynamic::UNIT)
}

/// `after_rollback(look)`
pub fn after_rollback(call: &mut Call<'_>) -> ScriptResult {
    let closure = Closure::new(call, call.function("look")?);
    call.session.steps().after_rollback.push(closure);
    Ok(Dynamic::UNIT)
}

/// `no_rollback(reason)`
pub fn no_rollback(call: &mut Call<'_>) -> ScriptResult {
    let reason = call.string("reason")?;
    if call.session.steps().input.is_some() {
        let message = "whether a run can be put back is for its script to say";
        return Err(Error::refused("run.by_hand", message).hint("nothing was done").into());
    }
    call.session.write(Entry::NoRollback { reason })?;
    Ok(Dynamic::UNIT)
}

/// The path's own separators can't be part of a name.
fn is_proper(name: &str) -> bool {
    !name.trim().is_empty() && !name.contains(['/', '#', '\n', '\r'])
}

/// Runs a step, or gives what an earlier process recorded of it.
fn pass(call: &Call<'_>, path: &str, body: &FnPtr, options: StepOptions) -> ScriptResult {
    let session = call.session;
    let past = session.record.past(path).map_err(refusal)?;
    // Before the body runs: a step is put back even when it failed half way, and what began last is put back first.
    let undo = options.undo.clone().map(|function| register_undo(call, path, function, past.changed()));
    let is_reading = session.steps().is_reading();
    let value = match past {
        Past::Done { value, .. } => replay(session, path, value)?,
        Past::Failed { .. } if options.open_work && is_reading => Dynamic::UNIT,
        Past::Failed { .. } if options.open_work => perform(call, path, body)?,
        Past::Failed { error, .. } => {
            look_inside(call, path, body);
            return Err(Error::failed(error.code, error.message).into());
        }
        _ if is_reading => {
            look_inside(call, path, body);
            return Err(end_of_replay());
        }
        _ if session.steps().is_enough() => return Err(end_of_replay()),
        Past::Unknown { last } => match find_out(call, path, &options, &last)? {
            Some(value) => value,
            None => perform(call, path, body)?,
        },
        Past::New | Past::Again { .. } => perform(call, path, body)?,
    };
    if let Some(index) = undo
        && let Some(undo) = session.steps().undo.get_mut(index)
    {
        undo.value = value.clone();
    }
    Ok(value)
}

/// The value of a step that was finished before.
fn replay(session: &Session, path: &str, value: Value) -> ScriptResult {
    session.emit(Event::StepReplayed { path: path.to_owned() });
    let value = handles::decode(session, value)?;
    if !session.record.is_behind() && !session.steps().replay_only {
        session.steps().end_replay();
    }
    Ok(value)
}

/// Finds the undo closures of the steps inside one that did not come to its end: where it has none of its own, they
/// are what puts it back. Nothing is done; the body ends where it would act.
fn look_inside(call: &Call<'_>, path: &str, body: &FnPtr) {
    if !call.session.record.has_inner(path) {
        return;
    }
    call.session.steps().reading += 1;
    let _ = call.invoke(body, ());
    call.session.steps().reading -= 1;
}

/// What became of a step that was cut off: its value, or `None` when it is to run again.
fn find_out(
    call: &Call<'_>,
    path: &str,
    options: &StepOptions,
    last: &str,
) -> Result<Option<Dynamic>, Box<EvalAltResult>> {
    if options.repeatable {
        return Ok(None);
    }
    let Some(probe) = &options.probe else {
        return Err(refusal(unknown(call.session, path, last, "whether it came to its end is not known")));
    };
    let found = call.invoke(probe, ()).map_err(|error| {
        let cause = errors::cause(&error);
        match cause.kind {
            Kind::Cancelled => error,
            _ => {
                let why = format!("its probe could not tell what became of it: {} [{}]", cause.message, cause.code);
                refusal(unknown(call.session, path, last, &why))
            }
        }
    })?;
    if found.is_unit() {
        return Ok(None);
    }
    let value = handles::encode(call.session, path, &found)?;
    call.session.write(Entry::Done { step: path.to_owned(), value, seconds: 0.0 })?;
    call.session.emit(Event::StepReplayed { path: path.to_owned() });
    Ok(Some(found))
}

fn unknown(session: &Session, path: &str, last: &str, why: &str) -> Error {
    let run = session.record.place().map(|(run, _)| run).unwrap_or_default();
    let message = format!("step `{path}` was cut off while it was about to: {last}\n{why}");
    Error::refused("run.unknown_step", message).hint(format!(
        "look what became of it, then say so:\n\
         it did not happen, run the step again:  pgscript resume {run} --retry {step}\n\
         the step need not happen:               pgscript resume {run} --skip {step}\n\
         it happened, and the step gives VALUE:  pgscript resume {run} --accept {accept}\n\
         or put back all that was done:          pgscript rollback {run}",
        step = quoted(path),
        accept = quoted(&format!("{path}=VALUE")),
    ))
}

/// As a shell takes it for one word.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Errors that put a question to the operator: they refuse to go on, nothing is wrong with what was done. Their hints
/// hold the commands that answer it.
pub const REFUSALS: [&str; 3] = ["run.changed_sequence", "run.edited_script", "run.unknown_step"];

/// An error that a script can't catch: only the operator can answer it.
fn refusal(error: Error) -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::from(error), Position::NONE).into()
}

/// Whether going on was refused, for the operator to decide.
pub fn is_refusal(error: &EvalAltResult) -> bool {
    !is_end_of_replay(error) && REFUSALS.contains(&errors::cause(error).code.as_str())
}

/// Runs a step's body, journalled.
fn perform(call: &Call<'_>, path: &str, body: &FnPtr) -> ScriptResult {
    let session = call.session;
    session.steps().end_replay();
    session.steps().has_run = true;
    session.announce_input()?;
    let step = path.to_owned();
    session.write(Entry::Started { step: step.clone() })?;
    session.emit(Event::StepStarted { path: step.clone() });
    let begun = Instant::now();
    let result = call.invoke(body, ()).and_then(|value| {
        let (encoded, seconds) = (handles::encode(session, path, &value)?, begun.elapsed().as_secs_f64());
        session.write(Entry::Done { step: step.clone(), value: encoded, seconds })?;
        Ok(value)
    });
    let seconds = begun.elapsed().as_secs_f64();
    match &result {
        Ok(_) => session.emit(Event::StepDone { path: step, seconds }),
        // A step inside it is in question: it stays cut off.
        Err(error) if is_end_of_replay(error) || is_refusal(error) => {}
        Err(error) => {
            let cause = errors::cause(error);
            // Where even this can't be written, the step counts as cut off.
            let _ = session.write(Entry::Failed { step: step.clone(), error: Reason::from(&cause) });
            session.emit(Event::StepFailed { path: step, seconds, code: cause.code, message: cause.message });
        }
    }
    result
}

fn register_undo(call: &Call<'_>, path: &str, function: FnPtr, changed: bool) -> usize {
    let closure = Closure::new(call, function);
    let mut steps = call.session.steps();
    steps.changed |= changed;
    steps.undo.push(Undo { path: path.to_owned(), changed, closure, value: Dynamic::UNIT });
    steps.undo.len() - 1
}

/// Ends a script that is only read for what puts its steps back. Nothing a script catches.
#[derive(Clone)]
struct EndOfReplay;

fn end_of_replay() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::from(EndOfReplay), Position::NONE).into()
}

/// Whether a script ended because its recorded steps did.
pub fn is_end_of_replay(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            is_end_of_replay(inner)
        }
        EvalAltResult::ErrorTerminated(value, _) => value.is::<EndOfReplay>(),
        _ => false,
    }
}

/// What became of the steps of a run that is put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    pub done: Vec<String>,
    /// Step and reason.
    pub failed: Vec<(String, String)>,
    /// Not tried, because the operator stopped it, or because one that they rest on failed.
    pub left: Vec<String>,
    /// All was put back, and yet it is not as it was: what the script found.
    pub differs: Option<String>,
}

impl PutBack {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.left.is_empty() && self.differs.is_none()
    }
}

/// What the journal calls the time before the first undo closure.
const BEFORE_ROLLBACK: &str = "before the rollback";
/// What the journal calls the look at what has been put back, as if it were the undo of a last step.
pub const AFTER_ROLLBACK: &str = "look whether all is back";

/// Calls what the script wants to have looked at before it is put back; an error there stops the rollback.
pub fn look_before_rollback(session: &Session, engine: &Engine) -> Result<(), Box<EvalAltResult>> {
    let looks = {
        let mut steps = session.steps();
        steps.under_way.clear();
        steps.undoing = Some(BEFORE_ROLLBACK.into());
        std::mem::take(&mut steps.before_rollback)
    };
    for look in looks {
        let _ = look.call(engine, Dynamic::UNIT)?;
    }
    Ok(())
}

/// Runs the undo closures, last begun first, and then looks whether all is back. They are a chain: one that fails, or
/// that is cancelled, leaves those of the steps before it. Those that an earlier process has run are left out, as long
/// as nothing was put back after them that they rest on.
pub fn put_back(session: &Session, engine: &Engine, automatic: bool) -> PutBack {
    session.world.cancel.rearm();
    let mut outcome = PutBack::default();
    let undo = session.steps().start_undoing();
    session.steps().undoing = Some(BEFORE_ROLLBACK.into());
    // Written or not, the operator wants the service back: see `Session::write`.
    let _ = session.write(Entry::GoingBack { automatic });
    let mut has_run = false;
    for undo in undo {
        // The journal knows that what comes after one that is run again is not done either; unless it can't be written.
        if !has_run && session.record.is_undone(&undo.path) {
            continue;
        }
        if session.world.cancel.is_cancelled() || !outcome.failed.is_empty() {
            outcome.left.push(undo.path);
            continue;
        }
        has_run = true;
        run_undo(session, engine, undo, &mut outcome);
    }
    if outcome.is_complete() {
        look_after_rollback(session, engine, &mut outcome);
    }
    outcome
}

/// Asks the script whether all is as it was. Where it says no, nothing counts as put back: the next rollback puts back
/// all of it again. The operator may have put right by hand what this is about.
fn look_after_rollback(session: &Session, engine: &Engine, outcome: &mut PutBack) {
    let looks = std::mem::take(&mut session.steps().after_rollback);
    if session.record.is_undone(AFTER_ROLLBACK) {
        return;
    }
    session.steps().undoing = Some(AFTER_ROLLBACK.into());
    let found = looks.iter().try_for_each(|look| look.call(engine, Dynamic::UNIT).map(|_| ()));
    let Err(error) = found else { return };
    let cause = errors::cause(&error);
    let step = AFTER_ROLLBACK.to_owned();
    let _ = session.write(Entry::UndoFailed { step, error: Reason::from(&cause) });
    if cause.kind == Kind::Cancelled {
        session.world.cancel.cancel();
    }
    outcome.differs = Some(match cause.hint {
        Some(hint) => format!("{}\n{hint}", cause.message),
        None => cause.message,
    });
}

/// Runs the one undo closure whose turn it is: that of `step`, or, where that is `None`, of whatever step it is.
pub fn put_back_one(session: &Session, engine: &Engine, step: Option<&str>) -> Result<PutBack> {
    session.world.cancel.rearm();
    let undo = session.steps().start_undoing().into_iter().find(|undo| !session.record.is_undone(&undo.path));
    let Some(undo) = undo else {
        return Err(Error::refused("run.no_undo", "no step is left that could be put back"));
    };
    if step.is_some_and(|step| step != undo.path) {
        let message = format!("step `{}` is not the one to put back now", step.unwrap_or_default());
        return Err(Error::refused("run.no_undo", message).hint(format!(
            "nothing was done. Steps are put back in reverse order, those that have a way back of their own; the next \
             one is `{}`",
            undo.path
        )));
    }
    let mut outcome = PutBack::default();
    run_undo(session, engine, undo, &mut outcome);
    Ok(outcome)
}

fn run_undo(session: &Session, engine: &Engine, undo: Undo, outcome: &mut PutBack) {
    let step = undo.path;
    session.steps().undoing = Some(undo_of(&step));
    let _ = session.write(Entry::UndoStarted { step: step.clone() });
    session.emit(Event::UndoStarted { path: step.clone() });
    match undo.closure.call(engine, undo.value) {
        Ok(_) => {
            let _ = session.write(Entry::UndoDone { step: step.clone() });
            session.emit(Event::UndoDone { path: step.clone() });
            outcome.done.push(step);
        }
        Err(error) => {
            let cause = errors::cause(&error);
            let _ = session.write(Entry::UndoFailed { step: step.clone(), error: Reason::from(&cause) });
            session.emit(Event::UndoFailed { path: step.clone(), message: cause.message.clone() });
            if cause.kind == Kind::Cancelled {
                session.world.cancel.cancel();
            }
            outcome.failed.push((step, cause.message));
        }
    }
}
