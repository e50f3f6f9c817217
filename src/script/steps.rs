//! Steps of a run: what changes the outside world happens in one, can be named, and can be put back.
//!
//! [`perform`] is the one place a step passes through.

use std::collections::HashMap;
use std::time::Instant;

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, NativeCallContext};

use super::api::ScriptResult;
use super::api::call::Call;
use super::errors;
use super::session::Session;
use crate::event::Event;
use crate::world::{Error, Kind, Result};

/// Where a run stands: the steps under way, and how to put back those that were begun.
#[derive(Default)]
pub struct Steps {
    /// Paths of the steps under way, outermost first.
    under_way: Vec<String>,
    /// How often each path was begun, for `name#2`.
    begun: HashMap<String, usize>,
    undo: Vec<Undo>,
    /// The step after whose beginning nothing is undone automatically.
    committed: Option<String>,
    /// The innermost step that failed first.
    failed: Option<String>,
    recovery: Option<String>,
    undoing: bool,
    /// Whether anything outside was changed, or begun to be.
    changed: bool,
}

/// How to put back one step.
pub struct Undo {
    pub path: String,
    /// Whether the step has come to change anything: the undo of what never happened does nothing.
    changed: bool,
    function: FnPtr,
    /// What the step gave; `()` until it has succeeded.
    value: Dynamic,
    /// The functions and imports that the closure can see: its module may long have been left.
    environment: Box<GlobalRuntimeState>,
}

impl Undo {
    /// Calls the closure, with the step's value where it takes one.
    pub fn run(self, engine: &Engine) -> Result<(), Box<EvalAltResult>> {
        let source = self.environment.source.clone();
        let position = rhai::Position::NONE;
        let source = source.as_deref();
        let context = NativeCallContext::new_with_all_fields(engine, "undo", source, &self.environment, position);
        call_with_optional(&self.function, &context, self.value).map(|_| ())
    }
}

impl Steps {
    /// Whether effects are allowed now: in a step, or while steps are put back.
    pub fn is_inside(&self) -> bool {
        self.undoing || !self.under_way.is_empty()
    }

    pub fn set_recovery(&mut self, text: String) {
        self.recovery = Some(text);
    }

    /// What the script told the operator to type if it fails now.
    pub fn recovery(&self) -> Option<&str> {
        self.recovery.as_deref()
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
    pub fn start_undoing(&mut self) -> Vec<Undo> {
        self.undoing = true;
        self.under_way.clear();
        let undo = std::mem::take(&mut self.undo);
        undo.into_iter().rev().filter(|undo| undo.changed).collect()
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

    fn end(&mut self, path: &str, failed: bool) {
        self.under_way.pop();
        if failed && self.failed.is_none() {
            self.failed = Some(path.to_owned());
        }
    }
}

/// A step's options, with their types checked.
struct StepOptions {
    undo: Option<FnPtr>,
    commit: bool,
}

impl StepOptions {
    fn read(call: &Call<'_>) -> Result<Self> {
        let options = call.options("options", &["undo", "probe", "repeatable", "commit"])?;
        let function = |key: &str| {
            options.value(key).map(|value| value.try_cast::<FnPtr>().ok_or_else(|| not_a_function(key))).transpose()
        };
        // A run is not resumed yet, so these two are only checked.
        function("probe")?;
        options.bool("repeatable")?;
        Ok(Self { undo: function("undo")?, commit: options.bool("commit")?.unwrap_or(false) })
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
    perform(call, &name, &body, options)
}

/// The path's own separators can't be part of a name.
fn is_proper(name: &str) -> bool {
    !name.trim().is_empty() && !name.contains(['/', '#', '\n', '\r'])
}

/// Everything that happens to a step: its path, its events, its body, its undo.
fn perform(call: &Call<'_>, name: &str, body: &FnPtr, options: StepOptions) -> ScriptResult {
    let session = call.session;
    session.world.cancel.check()?;
    let path = session.steps().begin(name, options.commit);
    session.emit(Event::StepStarted { path: path.clone() });
    let undo = options.undo.and_then(|function| register_undo(call, &path, function));
    let begun = Instant::now();

    let result = call.invoke(body, ());

    let seconds = begun.elapsed().as_secs_f64();
    let failed = matches!(&result, Err(error) if !error.is_pseudo_error());
    session.steps().end(&path, failed);
    match &result {
        Err(error) if failed => {
            let cause = errors::cause(error);
            session.emit(Event::StepFailed { path, seconds, code: cause.code, message: cause.message });
        }
        _ => session.emit(Event::StepDone { path, seconds }),
    }
    if let (Ok(value), Some(index)) = (&result, undo)
        && let Some(undo) = session.steps().undo.get_mut(index)
    {
        undo.value = value.clone();
    }
    result
}

/// A step is put back even when it failed half way, so this happens before its body runs: what began last is
/// put back first. Steps of an undo closure are not put back themselves.
fn register_undo(call: &Call<'_>, path: &str, function: FnPtr) -> Option<usize> {
    let mut steps = call.session.steps();
    if steps.undoing {
        return None;
    }
    let environment = Box::new(call.context.global_runtime_state().clone());
    steps.undo.push(Undo { path: path.to_owned(), changed: false, function, value: Dynamic::UNIT, environment });
    Some(steps.undo.len() - 1)
}

/// What became of the steps of a run that did not end well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    pub done: Vec<String>,
    /// Step and reason.
    pub failed: Vec<(String, String)>,
    /// Not tried, because the operator stopped it.
    pub left: Vec<String>,
}

impl PutBack {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.left.is_empty()
    }
}

/// Runs the undo closures, last begun first. One that fails does not keep the others from running;
/// a cancellation does.
pub fn put_back(session: &Session, engine: &Engine) -> PutBack {
    session.world.cancel.rearm();
    let mut outcome = PutBack::default();
    let mut stopped = false;
    let undo = session.steps().start_undoing();
    for undo in undo {
        let path = undo.path.clone();
        if stopped || session.world.cancel.is_cancelled() {
            stopped = true;
            outcome.left.push(path);
            continue;
        }
        session.emit(Event::UndoStarted { path: path.clone() });
        match undo.run(engine) {
            Ok(()) => {
                session.emit(Event::UndoDone { path: path.clone() });
                outcome.done.push(path);
            }
            Err(error) => {
                let cause = errors::cause(&error);
                stopped = cause.kind == Kind::Cancelled;
                session.emit(Event::UndoFailed { path: path.clone(), message: cause.message.clone() });
                outcome.failed.push((path, cause.message));
            }
        }
    }
    outcome
}

/// Calls `function` without arguments, or with `value` where it takes one.
fn call_with_optional(function: &FnPtr, context: &NativeCallContext<'_>, value: Dynamic) -> ScriptResult {
    let without: [Dynamic; 0] = [];
    match function.call_raw(context, None, without) {
        Err(error) if is_arity(&error, function) => function.call_raw(context, None, [value]),
        result => result,
    }
}

fn is_arity(error: &EvalAltResult, function: &FnPtr) -> bool {
    matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, _) if signature.starts_with(function.fn_name()))
}
