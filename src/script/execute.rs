//! Runs a script from its first line to the last word about it.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use rhai::{EvalAltResult, Scope};
use serde_json::{Value, json};

use super::check::Checker;
use super::describe::{self, Description};
use super::engine::{Language, STACK};
use super::errors::{self, Finding, Report};
use super::loader::Places;
use super::outdated::is_to_be_said;
use super::parameters::Given;
use super::record::Reason;
use super::session::Session;
use super::shipped::{self, Kind};
use super::source::Source;
use super::steps::{self, PutBack};
use super::tree::Tree;
use super::verdict;
use crate::event::{Event, Silent};
use crate::world::{Error, Kind as ErrorKind, Result};

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub script: String,
    pub seconds: f64,
    /// `None` when it ended well.
    pub failure: Option<Failure>,
    /// It was to run one step only, and there are more.
    pub is_partial: bool,
}

/// What went wrong, and what became of the steps.
#[derive(Clone, Debug)]
pub struct Failure {
    pub report: Report,
    /// The innermost step that failed.
    pub step: Option<String>,
    pub aftermath: Aftermath,
    /// What the script told the operator to type.
    pub recovery: Option<String>,
}

/// What was done about the steps of a failed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing had been changed yet.
    Unchanged,
    /// No step had begun that could be put back.
    Untouched,
    PutBack(PutBack),
    /// `--keep`
    Kept,
    /// Going on was refused before anything was done: the run stands where it stood.
    Stands,
    /// The step marked `commit` had begun.
    Committed(String),
}

/// Which way a script is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To its end. `keep`: a failure before the commit step does not put back what was done.
    Forward { keep: bool },
    /// By one outermost step; a failure puts nothing back.
    OneStep,
    /// Through the steps that are recorded, to put them back.
    Back,
    /// Through the steps that are recorded, to put back one: the last one, which must be this, if it is named.
    BackOne(Option<String>),
}

/// Runs a script on a thread with a large stack and waits for it.
pub fn execute(session: Arc<Session>, places: Places, source: Source, way: Way) -> Result<Outcome> {
    let thread = std::thread::Builder::new().name("script".into()).stack_size(STACK);
    let running = thread.spawn(move || run(&session, places, &source, way));
    let running = running.map_err(|e| Error::io("start", "the script's thread", &e))?;
    running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn run(session: &Arc<Session>, places: Places, source: &Source, way: Way) -> Result<Outcome> {
    let begun = Instant::now();
    let language = Language::new(places, session.listener.clone(), Some(session.clone()));
    let script = source.name.clone();
    let mut is_partial = false;
    let failure = mistake(session, &language, source, &way).or_else(|| {
        let ended = start(session, &language, source, &mut Scope::new());
        let ended = ended.and_then(|()| Ok(session.record.finish()?));
        match &way {
            Way::OneStep if ended.as_ref().is_err_and(|error| steps::is_end_of_replay(error)) => {
                is_partial = true;
                None
            }
            Way::OneStep => ended.err().map(|error| fail(session, &language, source, &error, true)),
            Way::Forward { keep } => ended.err().map(|error| fail(session, &language, source, &error, *keep)),
            Way::Back | Way::BackOne(_) => {
                go_back(session, &language, source, ended, &way).err().map(|failure| *failure)
            }
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    if failure.is_none() && !is_partial {
        let script = script.clone();
        match way {
            Way::Forward { .. } | Way::OneStep => session.emit(Event::RunDone { script, seconds }),
            Way::Back => session.emit(Event::RunPutBack { script, seconds }),
            Way::BackOne(_) => {}
        }
    }
    Ok(Outcome { script, seconds, failure, is_partial })
}

/// The script's own variables at the point to which its recorded steps lead. The session must only read; what stops
/// the script before that point is no error here, only fewer variables.
pub fn variables(session: Arc<Session>, places: Places, source: Source) -> Result<Scope<'static>> {
    let thread = std::thread::Builder::new().name("script".into()).stack_size(STACK);
    let running = thread.spawn(move || {
        let language = Language::new(places, session.listener.clone(), Some(session.clone()));
        let mut scope = Scope::new();
        let _ = start(&session, &language, &source, &mut scope);
        scope
    });
    let running = running.map_err(|e| Error::io("start", "the script's thread", &e))?;
    Ok(running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// What `check` finds wrong must not be found out in the middle of an outage.
fn mistake(session: &Session, language: &Language, source: &Source, way: &Way) -> Option<Failure> {
    let once = language.places.once();
    if once.is_some_and(|once| once.is_sound(&source.id)) {
        return None;
    }
    // Read by an engine of its own: nothing of the run has happened yet.
    let reader = Language::new(language.places.clone(), Arc::new(Silent), None);
    let (warnings, errors): (Vec<_>, Vec<_>) =
        Checker::new(&reader).check(source).into_iter().partition(|finding| finding.is_warning);
    // Who goes step by step has heard it.
    let is_whole = matches!(way, Way::Forward { .. } | Way::Back);
    for Finding { report, .. } in warnings.into_iter().filter(|finding| is_whole && is_to_be_said(finding)) {
        let text = format!("{}\n{}", report.message, report.hint.unwrap_or_default()).trim_end().to_owned();
        // Not `emit`, which tells nothing twice: whoever takes a run up again is to hear it, too.
        session.listener.hear(&Event::Warn { text });
    }
    let further = errors.len().saturating_sub(1);
    let Some(Finding { mut report, .. }) = errors.into_iter().next() else {
        once.inspect(|once| once.note_sound(&source.id));
        return None;
    };
    if further > 0 {
        report.message += &format!(" (and {further} more: pgscript check {})", source.name);
    }
    Some(Failure { report, step: None, aftermath: Aftermath::Unchanged, recovery: None })
}

fn start(
    session: &Session,
    language: &Language,
    source: &Source,
    scope: &mut Scope<'static>,
) -> Result<(), Box<EvalAltResult>> {
    language.loader.enter(source)?;
    let ast = language.compile(source)?;
    language.loader.note_aliases(source, &ast)?;
    let describe = || describe::describe(language, source, Tree::new(&ast));
    let description = match language.places.once() {
        Some(once) => once.described(&source.id, describe),
        None => Arc::new(describe()),
    };
    refuse_unknown(session, language, &description)?;
    session.record.give(durable(session.parameters.given(), &description));
    let (script, origin) = (source.name.clone(), source.origin.to_string());
    session.emit(Event::RunStarted { script, origin, parameters: given(session, &description) });
    language.engine.run_ast_with_scope(scope, &ast)
}

/// A misspelt `--set tp=17` must not be found out after the outage, by its default. A parameters file may serve all
/// of a site's procedures: what another shipped script asks for is not misspelt.
fn refuse_unknown(session: &Session, language: &Language, description: &Description) -> Result<()> {
    let Given { set, file, .. } = session.parameters.given();
    let in_file =
        file.iter().flat_map(|(path, values)| values.keys().map(move |name| (name, path.display().to_string())));
    let mut names = set.keys().map(|name| (name, "--set".to_owned())).chain(in_file);
    let is_unknown = |name: &String| description.parameters.iter().all(|p| p.name != *name);
    let shipped = LazyCell::new(|| parameters_of_shipped_scripts(language));
    let elsewhere = |name: &String, place: &str| place != "--set" && shipped.contains(name);
    let unknown =
        names.find(|(name, place)| !description.has_computed_parameters && is_unknown(name) && !elsewhere(name, place));
    let Some((name, place)) = unknown else { return Ok(()) };
    let known = description.parameters.iter().map(|p| p.name.as_str());
    let show = format!("`pgscript show {}` lists them", description.name);
    let message = format!("{} has no parameter `{name}` (from {place})", description.name);
    Err(Error::usage("params.unknown", message).hint(errors::did_you_mean(name, known).unwrap_or(show)))
}

fn parameters_of_shipped_scripts(language: &Language) -> BTreeSet<String> {
    // Read by an engine of its own, so that the run does not report to have loaded them.
    let reader = Language::new(language.places.clone(), Arc::new(Silent), None);
    let scripts = shipped::ALL.iter().filter(|file| file.kind == Kind::Script).map(Source::built_in);
    let described = scripts.filter_map(|source| {
        let ast = reader.engine.compile(&*source.text).ok()?;
        Some(describe::describe(&reader, &source, Tree::new(&ast)).parameters)
    });
    described.flatten().map(|parameter| parameter.name).collect()
}

/// What was given for parameters that are known to be no secrets.
fn durable(given: &Given, description: &Description) -> Given {
    let is_kept = |name: &str| match description.parameters.iter().find(|parameter| parameter.name == name) {
        Some(parameter) => match parameter.type_name.as_str() {
            "secret" => Some(false),
            describe::COMPUTED => None,
            _ => Some(true),
        },
        None if description.has_computed_parameters => None,
        // Of another script.
        None => Some(false),
    };
    given.kept(is_kept, description.parameters.iter().map(|parameter| parameter.name.clone()))
}

/// What the run starts with, as far as it is known by then; secrets as dots.
fn given(session: &Session, description: &Description) -> Value {
    let (given, at_first) = (session.parameters.given(), session.record.given());
    let known = description.parameters.iter().filter_map(|parameter| {
        let value = match parameter.type_name.as_str() {
            "secret" => given.has(&parameter.name).then(|| "••••••".into()),
            _ => {
                let recorded = session.record.parameter(&parameter.name);
                let at_first = || at_first.raw(&parameter.name);
                recorded.or_else(at_first).or_else(|| given.raw(&parameter.name)).or_else(|| parameter.value.clone())
            }
        };
        Some((parameter.name.clone(), value.filter(|value| !value.is_null())?))
    });
    Value::Object(known.collect())
}

/// The script has been read to where its recorded steps end; now they are put back.
fn go_back(
    session: &Session,
    language: &Language,
    source: &Source,
    ended: Result<(), Box<EvalAltResult>>,
    way: &Way,
) -> Result<(), Box<Failure>> {
    let report = |error: &EvalAltResult| errors::report(error, &source.id, &language.sources, &language.reference);
    let unchanged = |error: Box<EvalAltResult>| {
        let aftermath = Aftermath::Stands;
        Box::new(Failure { report: report(&error), step: None, aftermath, recovery: None })
    };
    match (ended, session.record.finish()) {
        // What comes after all that was done does not matter: it may well be what the run had failed at.
        (Err(error), _) if steps::is_refusal(&error) || is_cancelled(&error) => return Err(unchanged(error)),
        (_, Ok(())) => session.steps().end_replay(),
        (Err(error), Err(_)) if !steps::is_end_of_replay(&error) => return Err(unchanged(error)),
        (_, Err(error)) => return Err(unchanged(error.into())),
    }
    // Half way back the question was answered, and what would be looked at may be gone.
    if !session.record.is_going_back() {
        steps::look_before_rollback(session, &language.engine).map_err(unchanged)?;
    }
    let outcome = match way {
        Way::BackOne(step) => {
            steps::put_back_one(session, &language.engine, step.as_deref()).map_err(|error| unchanged(error.into()))?
        }
        _ => steps::put_back(session, &language.engine, false),
    };
    if outcome.is_complete() {
        return Ok(());
    }
    let mut error = match outcome.differs {
        Some(_) => Error::failed("run.not_back", "all steps were put back, and yet not everything is as it was"),
        None => Error::failed("run.partly_put_back", "not every step could be put back"),
    };
    if session.world.cancel.is_cancelled() {
        error = Error::cancelled();
    }
    let aftermath = Aftermath::PutBack(outcome);
    Err(Box::new(Failure { report: Report::from(&error), step: None, aftermath, recovery: None }))
}

/// Ctrl-C while the script was read is no word about the script; the end of the recorded steps is none of Ctrl-C.
fn is_cancelled(error: &EvalAltResult) -> bool {
    !steps::is_end_of_replay(error) && errors::cause(error).kind == crate::world::Kind::Cancelled
}

fn fail(session: &Session, language: &Language, source: &Source, error: &EvalAltResult, keep: bool) -> Failure {
    let report = errors::report(error, &source.id, &language.sources, &language.reference);
    let committed = session.steps().committed().map(str::to_owned);
    // Nothing has been done since the run was taken up again: an open question is no reason to put back all of it.
    let stands = session.steps().is_replaying() || steps::is_refusal(error);
    if !stands {
        verdict::of_failure(session, &report);
    }
    let aftermath = match committed {
        _ if stands => Aftermath::Stands,
        Some(step) => Aftermath::Committed(step),
        None if !session.steps().changed() => Aftermath::Unchanged,
        None if !session.steps().has_undo() => Aftermath::Untouched,
        None if keep && !(report.kind == ErrorKind::Refused && session.steps().is_in_first()) => Aftermath::Kept,
        None => Aftermath::PutBack(steps::put_back(session, &language.engine, true)),
    };
    let steps = session.steps();
    Failure {
        report,
        step: steps.failed().map(str::to_owned),
        aftermath,
        recovery: steps.recovery().map(str::to_owned),
    }
}

/// The id of a source, for whoever is in another directory by then.
fn lasting(id: &str) -> String {
    let path = std::path::Path::new(id);
    let absolute = path.is_file().then(|| std::path::absolute(path).ok()).flatten();
    absolute.map_or_else(|| id.to_owned(), |path| path.display().to_string())
}

impl Failure {
    /// What to type next: the script's own word, unless everything is back as it was.
    pub fn advice(&self) -> Option<&str> {
        let is_back = match &self.aftermath {
            Aftermath::PutBack(steps) => steps.is_complete(),
            _ => false,
        };
        self.recovery.as_deref().filter(|_| !is_back)
    }

    /// The error as the journal keeps it.
    pub fn reason(&self) -> Reason {
        let place = self.report.place.as_ref().map(|place| (lasting(&place.file), place.line));
        Reason { code: self.report.code.clone(), message: self.report.message.clone(), place }
    }

    /// The error's object with `step`, `aftermath` and `recovery`.
    pub fn to_json(&self) -> Value {
        let mut object = self.report.to_json();
        object["step"] = self.step.clone().into();
        object["aftermath"] = match &self.aftermath {
            Aftermath::Unchanged => json!({"state": "unchanged"}),
            Aftermath::Untouched => json!({"state": "untouched"}),
            Aftermath::Kept => json!({"state": "kept"}),
            Aftermath::Stands => json!({"state": "stands"}),
            Aftermath::Committed(step) => json!({"state": "committed", "step": step}),
            Aftermath::PutBack(steps) => {
                let failed = steps.failed.iter().map(|(step, message)| json!({"step": step, "message": message}));
                let state = if steps.is_complete() { "put_back" } else { "partly_put_back" };
                let failed = failed.collect::<Vec<_>>();
                json!({
                    "state": state, "done": steps.done, "failed": failed, "left": steps.left, "differs": steps.differs,
                })
            }
        };
        object["recovery"] = self.advice().into();
        object
    }
}
