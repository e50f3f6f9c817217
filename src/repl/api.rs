//! `session::` what only a session can do: look at the run it is in, drive it, and sit at a container's terminal.

use std::path::Path;

use rhai::Dynamic;
use serde::Serialize;

use super::bench::Shared;
use super::commands::{self, in_session};
use super::{edit, help};
use crate::run::drive::{self, Changes};
use crate::run::history::{History, State, StepState};
use crate::run::status::{Seen, Status};
use crate::run::store::Place;
use crate::run::{journal, told};
use crate::script::api::call::Call;
use crate::script::api::{Namespace, Registrar, ScriptResult, values};
use crate::script::describe;
use crate::script::durability::AfterKill;
use crate::script::engine::Language;
use crate::script::execute::Way;
use crate::script::record::{Decision, Entry};
use crate::script::tree::Tree;
use crate::ui::style::{self, Style};
use crate::ui::wrap::fold;
use crate::world::{Error, Result};

/// Declares the namespace.
pub fn register(registrar: &mut Registrar, shared: &Shared) {
    registrar.namespace(
        "session",
        "The shell itself and the run it is in; in a script there is no such thing.",
        |ns| {
            looks(ns, shared);
            drives(ns, shared);
            decisions(ns, shared);
            others(ns, shared);
        },
    );
}

/// Declares a function whose body gets the session's state as well.
fn declare(
    ns: &mut Namespace<'_>,
    shared: &Shared,
    declaration: &'static str,
    doc: &'static str,
    body: impl Fn(&Shared, &mut Call<'_>) -> Result<Dynamic> + Send + Sync + Clone + 'static,
) {
    let shared = shared.clone();
    ns.function(declaration, doc, move |call| -> ScriptResult { Ok(body(&shared, call)?) });
}

fn looks(ns: &mut Namespace<'_>, shared: &Shared) {
    declare(
        ns,
        shared,
        "status() -> string",
        "Where the run stands: whether the data is safe, where it is, what is stopped, what to type.",
        |shared, _| Ok(in_lines(&status(shared)?.render())),
    );
    declare(
        ns,
        shared,
        "copies() -> Array",
        "Where complete copies of the data are: #{ what, place, proof, is_complete, is_there } each.",
        |shared, _| Ok(values::from_serde(&status(shared)?.copies)),
    );
    declare(
        ns,
        shared,
        "steps() -> Array",
        "The steps that have begun, in their order: #{ path, state, seconds } each. What they gave: `steps[\"PATH\"]`.",
        |shared, _| Ok(values::from_serde(&status(shared)?.steps)),
    );
    declare(
        ns,
        shared,
        "journal(lines: int = 20) -> Array",
        "The last lines of the journal in plain words: #{ n, at, what } each.",
        |shared, call| {
            let count = if call.has("lines") { call.int("lines")? } else { 20 };
            last_lines(&shared.place()?, usize::try_from(count).unwrap_or_default())
        },
    );
    declare(
        ns,
        shared,
        "next() -> string",
        "What resume would do first, and whether somebody has to decide.",
        |shared, _| Ok(in_lines(&next(shared)?)),
    );
    declare(
        ns,
        shared,
        "plan() -> Array",
        "All outermost steps of the script in its order: #{ step, state, way_back, after_a_kill } each.",
        |shared, _| plan(shared).map(|steps| values::from_serde(&steps)),
    );
}

/// A text that is read at the prompt.
fn in_lines(text: &str) -> Dynamic {
    fold(text, style::columns()).into()
}

fn drives(ns: &mut Namespace<'_>, shared: &Shared) {
    declare(
        ns,
        shared,
        "resume(options: Map = #{})",
        "Goes on with the script to its end, as `pgscript resume` does. A failure puts nothing back. Options: \
         accept_changes, as_recorded (what to make of scripts that were edited since).",
        |shared, call| {
            let options = call.options("options", &["accept_changes", "as_recorded"])?;
            let changes = match (options.bool("accept_changes")?, options.bool("as_recorded")?) {
                (Some(true), _) => Changes::Accept,
                (_, Some(true)) => Changes::AsRecorded,
                _ => shared.changes(),
            };
            shared.drive(|setup, place, held| {
                drive::resume(setup, place, held, Vec::new(), changes, Way::Forward { keep: true })
            })?;
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        shared,
        "step()",
        "Goes on with the script by one outermost step, and stops before the next one.",
        |shared, _| one_step(shared, Vec::new()),
    );
    declare(
        ns,
        shared,
        "retry(step: string = \"\")",
        "Runs a step again that failed or was cut off (the one that resume would begin with, when left out), and stops \
         before the next one.",
        |shared, call| {
            let decisions = match call.has("step") {
                true => vec![(open_step(shared, &call.string("step")?)?, Decision::Retry)],
                false => Vec::new(),
            };
            one_step(shared, decisions)
        },
    );
    declare(
        ns,
        shared,
        "undo(step: string = \"\")",
        "Puts back the last step that has a way back, and nothing before it; `step` says which one is meant. A resumed \
         run does it again, and what came after it.",
        |shared, call| {
            let step = if call.has("step") { Some(known_step(shared, &call.string("step")?)?) } else { None };
            let changes = shared.changes();
            shared.drive(|setup, place, held| drive::undo(setup, place, held, step, changes))?;
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        shared,
        "rollback()",
        "Puts back all steps, the last one first, as `pgscript rollback` does: it says first what that costs.",
        |shared, _| {
            let changes = shared.changes();
            shared.drive(|setup, place, held| drive::rollback(setup, place, held, &[], changes))?;
            Ok(Dynamic::UNIT)
        },
    );
}

fn one_step(shared: &Shared, decisions: Vec<(String, Decision)>) -> Result<Dynamic> {
    let changes = shared.changes();
    shared.drive(|setup, place, held| drive::resume(setup, place, held, decisions, changes, Way::OneStep))?;
    Ok(Dynamic::UNIT)
}

fn decisions(ns: &mut Namespace<'_>, shared: &Shared) {
    declare(
        ns,
        shared,
        "skip(step: string)",
        "Decides that a step which failed or was cut off need not happen: its value is `()`. Half way back: that a \
         step which could not be put back was put back by hand. Nothing is run yet.",
        |shared, call| {
            let step = call.string("step")?;
            let (place, history) = (shared.sound_place()?, shared.state().desk.now());
            if history.state() != State::RollingBack {
                return decide(shared, &step, Decision::Skip);
            }
            let step = meant(&history, &step, |path| history.not_undone.contains_key(path))?;
            let desk = shared.state().desk.clone();
            drive::put_back_by_hand(&place, &history, &step)?.into_iter().try_for_each(|entry| desk.decide(entry))?;
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        shared,
        "accept(step: string, value: any)",
        "Decides that a step which failed or was cut off has happened, and gave `value`. Nothing is run yet.",
        |shared, call| {
            let value = values::to_json(&call.value("value"))?;
            decide(shared, &call.string("step")?, Decision::Accept(value))
        },
    );
}

fn decide(shared: &Shared, step: &str, decision: Decision) -> Result<Dynamic> {
    let step = open_step(shared, step)?;
    shared.state().desk.decide(Entry::Decided { step, decision })?;
    Ok(Dynamic::UNIT)
}

fn others(ns: &mut Namespace<'_>, shared: &Shared) {
    declare(
        ns,
        shared,
        "edit()",
        "Opens the script of the run in your editor ($VISUAL, $EDITOR), where its last error points; what you change \
         is accepted when the run goes on. In a session without a run: your last input, which is then typed again.",
        |shared, _| edit::edit(shared),
    );
    declare(
        ns,
        shared,
        "save(file: path)",
        "Writes what was typed in this session as a script that `pgscript run` takes, into a new private file.",
        |shared, call| {
            let path = call.path("file")?;
            save(&path, shared)?;
            Ok(path.display().to_string().into())
        },
    );
    declare(ns, shared, "open(run: string)", "Goes to another run; variables of this session stay.", |shared, call| {
        let place = shared.state().setup.store.find(&call.string("run")?)?;
        shared.go_to(place);
        Ok(Dynamic::UNIT)
    });
    declare(
        ns,
        shared,
        "help(topic: string = \"\") -> string",
        "Explains a function, a namespace, a type, a command, or finds what has these words.",
        |shared, call| {
            let topic = if call.has("topic") { Some(call.string("topic")?) } else { None };
            let (reference, functions) = {
                let state = shared.state();
                (state.reference.clone(), state.functions.clone())
            };
            let style = Style::of_terminal();
            Ok(help::help(topic.as_deref(), &reference, &commands::ALL, &functions, style)?.into())
        },
    );
    declare(ns, shared, "exit()", "Leaves the shell, and says what is unfinished.", |shared, _| {
        shared.state().is_leaving = true;
        Ok(Dynamic::UNIT)
    });
}

/// Where the run stands, with what to type in the session.
pub fn status(shared: &Shared) -> Result<Status> {
    let place = shared.place()?;
    let (desk, world) = {
        let state = shared.state();
        (state.desk.clone(), state.setup.world.clone())
    };
    let history = if desk.damage.is_some() { desk.history.clone() } else { desk.now() };
    let mut status = Status::new(&place, &history, desk.damage.as_ref(), &Seen::now(&world, &place, &history));
    status.next.retain(|next| !next.command.starts_with("pgscript repl"));
    for next in &mut status.next {
        next.command = in_session(&next.command, &place.id);
    }
    Ok(status)
}

#[derive(Serialize)]
struct JournalLine {
    n: u64,
    at: String,
    what: String,
}

fn last_lines(place: &Place, count: usize) -> Result<Dynamic> {
    let lines = journal::read(&place.journal())?.lines;
    let from = lines.len().saturating_sub(count);
    let told = lines[from..].iter().map(|line| JournalLine { n: line.n, at: line.at.clone(), what: told::words(line) });
    Ok(values::from_serde(&told.collect::<Vec<_>>()))
}

/// A step of the script as its text has it, and where it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    step: String,
    /// `done`, `failed`, `cut off`, or `to come`.
    state: &'static str,
    /// `yes`, or `no`
    way_back: &'static str,
    /// What resume does when it was killed in its middle.
    after_a_kill: &'static str,
    /// `yes`, or `in a branch`: only some runs come to it
    comes: &'static str,
}

fn plan(shared: &Shared) -> Result<Vec<Planned>> {
    shared.sound_place()?;
    let (history, places) = {
        let state = shared.state();
        (state.desk.now(), state.setup.places.clone())
    };
    let source = places.script(&history.script)?;
    let language = Language::new(places, std::sync::Arc::new(crate::event::Silent), None);
    let compiled = language.engine.compile(&*source.text);
    let ast = compiled.map_err(|e| Error::failed("script.syntax", format!("{}: {e}", source.name)))?;
    let steps = describe::describe(&language, &source, Tree::new(&ast)).steps;
    let steps: Vec<_> = steps.into_iter().filter(|step| step.depth == 0).collect();
    let begun = begun(&history, &steps);
    Ok(steps.iter().zip(begun).map(|(step, has_begun)| planned(&history, step, has_begun)).collect())
}

/// Which of the script's steps are those that the run has begun: one of the same name may stand in several branches.
fn begun(history: &History, steps: &[describe::Step]) -> Vec<bool> {
    let mut found = vec![false; steps.len()];
    let mut next = 0;
    for path in &history.order {
        let rest = steps.iter().enumerate().skip(next);
        if let Some((index, _)) = rest.into_iter().find(|(_, step)| step.name == *path) {
            found[index] = true;
            next = index + 1;
        }
    }
    found
}

fn planned(history: &History, step: &describe::Step, has_begun: bool) -> Planned {
    let state = match history.steps.get(&step.name).filter(|_| has_begun).map(|known| &known.state) {
        Some(StepState::Done(_)) => "done",
        Some(StepState::Failed(_)) => "failed",
        Some(StepState::Begun) => "cut off",
        None => "to come",
    };
    Planned {
        step: step.name.clone(),
        state,
        way_back: if step.has_undo { "yes" } else { "no" },
        after_a_kill: step.after_kill.map_or("?", AfterKill::in_words),
        comes: if step.is_conditional { "in a branch" } else { "yes" },
    }
}

/// What resume would do, in words.
fn next(shared: &Shared) -> Result<String> {
    let place = shared.sound_place()?;
    let history = shared.state().desk.now();
    let id = &place.id;
    let over = match history.state() {
        State::Done => Some(format!("{id} is done: nothing is left to go on with. .rollback goes back.")),
        State::RolledBack => Some(format!("{id} was put back: everything is as it was.")),
        State::Refused => Some(format!("{id} was refused: nothing was changed.")),
        State::RollingBack => Some(format!("{id} is half way back: .rollback goes on putting back.")),
        State::NotBegun => Some(format!("{id} was cut off before its first step: nothing was changed.")),
        State::Session => Some(format!("{id} is a session: there is no script to go on with.")),
        State::Failed | State::Interrupted => None,
    };
    if let Some(over) = over {
        return Ok(over);
    }
    let steps = plan(shared)?;
    // What a run has passed by it does not come to any more.
    let last = steps.iter().rposition(|step| step.state != "to come");
    let is_left = |(index, step): &(usize, &Planned)| match step.state {
        "done" => false,
        "to come" => last.is_none_or(|last| *index > last),
        _ => true,
    };
    let left: Vec<_> = steps.iter().enumerate().filter(is_left).map(|(_, step)| step).collect();
    let is_sure = |step: &&&Planned| step.state != "to come" || step.comes == "yes";
    let Some(next) = left.iter().find(is_sure).or(left.first()) else {
        return Ok("all steps are done: .resume brings the script to its end.".into());
    };
    let before: Vec<_> =
        left.iter().take_while(|step| step.step != next.step).map(|s| format!("`{}`", s.step)).collect();
    let to_come = left.iter().skip(before.len()).filter(|step| step.state == "to come").count();
    let may = match before.is_empty() {
        true => String::new(),
        false => format!("before it, where the script's condition holds: {}\n", before.join(", ")),
    };
    Ok(may + explain(&history, next, to_come).as_str())
}

fn explain(history: &History, next: &Planned, to_come: usize) -> String {
    let name = &next.step;
    let known = history.steps.get(name);
    let decision = known.and_then(|step| step.decision.as_ref());
    let why = match (decision, known.map(|step| &step.state)) {
        (Some(Decision::Retry), _) => format!("step `{name}` runs again, as you have decided"),
        (Some(_), _) => format!("step `{name}` is left out, as you have decided"),
        (None, None) => format!("step `{name}` begins"),
        (None, Some(StepState::Failed(error))) => format!("step `{name}` runs again; it had failed: {}", error.message),
        (None, Some(_)) => {
            let last = known.and_then(|step| step.last_effect.as_ref());
            let was = last.map(|last| format!(" while it was about to: {last}")).unwrap_or_default();
            match next.after_a_kill {
                "asks" => format!(
                    "step `{name}` was cut off{was}\nwhat became of it is for you to find out; then one of\n  \
                     .retry {name}\n  .skip {name}\n  .accept {name} = VALUE"
                ),
                "probes" => format!("step `{name}` was cut off{was}\nits probe finds out what became of it"),
                _ => format!("step `{name}` was cut off{was}\nit runs again; it can be run twice"),
            }
        }
    };
    format!(
        "{why}\nsteps after it: {}\n.step does this one only, .resume all of them",
        to_come - usize::from(known.is_none())
    )
}

/// The step that is meant: by its name, or by a beginning that only one has.
fn known_step(shared: &Shared, text: &str) -> Result<String> {
    shared.sound_place()?;
    let history = shared.state().desk.now();
    meant(&history, text, |_| true)
}

/// As [`known_step`], among those that did not come to their end.
fn open_step(shared: &Shared, text: &str) -> Result<String> {
    shared.sound_place()?;
    let history = shared.state().desk.now();
    meant(&history, text, |path| !matches!(history.steps[path].state, StepState::Done(_)))
}

fn meant(history: &History, text: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let steps = || history.order.iter().filter(|path| wanted(path));
    if let Some(step) = steps().find(|path| *path == text) {
        return Ok(step.clone());
    }
    let mut alike = steps().filter(|path| path.starts_with(text));
    if let (Some(step), None) = (alike.next(), alike.next()) {
        return Ok(step.clone());
    }
    let names: Vec<_> = steps().map(|path| format!("  {path}")).collect();
    let hint = match names.is_empty() {
        true => "there is none about which something could be decided: .next".to_owned(),
        false => format!("nothing was done. There are:\n{}", names.join("\n")),
    };
    Err(Error::usage("run.no_step", format!("no such step, or more than one: `{text}`")).hint(hint))
}

fn save(path: &Path, shared: &Shared) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |e: std::io::Error| Error::io("write", path.display(), &e);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let (typed, places) = {
        let state = shared.state();
        (state.typed.clone(), state.setup.places.clone())
    };
    file.and_then(|mut file| file.write_all(super::save::script(&typed, &places).as_bytes())).map_err(failed)
}
