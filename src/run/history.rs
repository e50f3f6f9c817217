//! What a journal says: where each step stands, what was proved, how the run ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use serde_json::Value;

use super::journal::Line;
use crate::script::evidence::Fact;
use crate::script::parameters::Given;
use crate::script::record::{Command, Decision, Ending, Engine, Entry, Past, Reason, Verdict, is_by_hand, undo_of};
use crate::script::steps::AFTER_ROLLBACK;

/// A run's past, folded from its entries.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub id: String,
    pub script: String,
    /// The engine as the operator had named it.
    pub docker: Option<String>,
    /// The engine that the run belongs to, once it has answered.
    pub engine: Option<Engine>,
    pub site: PathBuf,
    /// RFC 3339, of the first and the last line.
    pub begun_at: String,
    pub last_at: String,
    pub last_command: Option<Command>,
    pub sources: Vec<Frozen>,
    /// What the operator gave: on disk with the first line, so that it counts however early the run was cut off.
    pub given: Given,
    pub parameters: BTreeMap<String, Option<Value>>,
    pub answers: Vec<(String, bool)>,
    /// Paths in the order in which they were first begun.
    pub order: Vec<String>,
    pub steps: HashMap<String, Step>,
    /// What was done by hand in sessions, in its order.
    pub by_hand: Vec<Input>,
    /// Facts in their order, with the number of their line.
    pub facts: Vec<Fact>,
    pub overrides: Vec<String>,
    pub recovery: Option<String>,
    /// Why it can't be put back.
    pub no_rollback: Option<String>,
    /// `Some(automatic)` once steps were begun to be put back.
    pub going_back: Option<bool>,
    /// What the script has come to, where it says so.
    pub verdict: Option<Verdict>,
    pub undone: BTreeSet<String>,
    pub not_undone: BTreeMap<String, Reason>,
    /// How the last process left the run; `None` while one is under way, or after it was killed.
    pub ending: Option<Ending>,
    pub error: Option<Reason>,
    pub cleaned: bool,
    /// Stacks that are this run's until it is over.
    pub locks: Vec<String>,
    /// Announced and not settled, with their steps: what a process was doing when it was cut off.
    pub open_effects: BTreeMap<u64, (String, String)>,
    pub effects: u64,
    /// Steps that failed and may be done later, while the run is over.
    pub left_open: BTreeSet<String>,
}

/// A source as it was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// `""` for the script itself, else the module's name.
    pub key: String,
    pub id: String,
    pub origin: String,
    pub sha256: String,
    /// Relative to the run's directory.
    pub file: PathBuf,
}

/// What an operator typed in a session, as far as it acted.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// `#3`
    pub step: String,
    pub text: String,
    /// RFC 3339
    pub at: String,
    /// Announced by it, as an operator would type them.
    pub commands: Vec<String>,
    /// [`StepState::Begun`] while it is under way, and after a kill.
    pub state: StepState,
}

/// Where a step stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub state: StepState,
    /// Whether it, or a step inside it, announced an effect.
    pub changed: bool,
    /// Announced by the step itself, not by one inside it.
    pub last_effect: Option<String>,
    pub decision: Option<Decision>,
    pub seconds: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum StepState {
    /// Begun, and neither done nor failed.
    #[default]
    Begun,
    Done(Value),
    Failed(Reason),
}

impl History {
    pub fn of(lines: Vec<Line>) -> Self {
        let mut history = Self::default();
        lines.into_iter().for_each(|line| history.apply(line));
        history
    }

    /// Takes one more line into account.
    pub fn apply(&mut self, line: Line) {
        if self.begun_at.is_empty() {
            self.begun_at.clone_from(&line.at);
        }
        self.last_at = line.at;
        match line.entry {
            Entry::Run { id, script, docker, site, given, .. } => {
                (self.id, self.script, self.docker, self.site, self.given) = (id, script, docker, site, given);
            }
            Entry::Engine(engine) => self.engine = Some(engine),
            // One that only looks, and refuses or declines, leaves the run as it was.
            Entry::Process { command, .. } => self.last_command = Some(command),
            Entry::Source { id, name, origin, sha256, frozen } => {
                self.sources.retain(|source| source.key != name);
                self.sources.push(Frozen { key: name, id, origin, sha256, file: frozen });
            }
            Entry::Parameter { name, value } => _ = self.parameters.insert(name, value),
            Entry::Answer { question, yes } => self.answers.push((question, yes)),
            Entry::Override { loss } => self.overrides.push(loss),
            Entry::Recovery { text } => self.recovery = Some(text),
            Entry::NoRollback { reason } => self.no_rollback = Some(reason),
            Entry::Verdict(verdict) => self.verdict = Some(verdict),
            Entry::Fact(fact) => self.facts.push(fact),
            Entry::Effect { step, command } => self.effect(line.n, &step, command),
            Entry::Settled { effect, .. } => _ = self.open_effects.remove(&effect),
            Entry::PutBack { .. } => {
                (self.going_back, self.ending, self.error) = (Some(false), Some(Ending::PutBack), None);
                self.open_effects.clear();
            }
            Entry::Cleaned { .. } => self.cleaned = true,
            Entry::LeftOpen { step } => _ = self.left_open.insert(step),
            Entry::Locked { stack } if !self.locks.contains(&stack) => self.locks.push(stack),
            Entry::Locked { .. } => {}
            Entry::Ended { outcome, error, .. } => (self.ending, self.error) = (Some(outcome), error),
            Entry::Input { step, text, typed_at: at } => {
                let state = StepState::Begun;
                self.by_hand.push(Input { step, text, at, commands: Vec::new(), state });
            }
            Entry::Done { ref step, .. } | Entry::Failed { ref step, .. } | Entry::Started { ref step }
                if is_by_hand(step) =>
            {
                self.apply_by_hand(line.entry);
            }
            entry @ (Entry::Started { .. } | Entry::Done { .. } | Entry::Failed { .. } | Entry::Decided { .. }) => {
                self.apply_step(entry);
            }
            entry => self.apply_undo(entry),
        }
    }

    fn apply_step(&mut self, entry: Entry) {
        match entry {
            Entry::Started { step } => {
                (self.ending, self.error) = (None, None);
                self.close_effects(&step);
                if self.left_open.remove(&step) {
                    self.order.retain(|path| !is_inside(path, &step));
                    self.steps.retain(|path, _| !is_inside(path, &step));
                }
                self.undone.remove(&step);
                self.not_undone.remove(&step);
                // Known it may be without a place in the order: one that came after a step which was put back.
                if !self.order.contains(&step) {
                    self.order.push(step.clone());
                }
                let known = self.steps.entry(step).or_default();
                (known.state, known.decision) = (StepState::Begun, None);
            }
            Entry::Done { step, value, seconds } => {
                self.close_effects(&step);
                let known = self.steps.entry(step).or_default();
                (known.state, known.seconds) = (StepState::Done(value), seconds);
            }
            Entry::Failed { step, error } => {
                self.close_effects(&step);
                self.steps.entry(step).or_default().state = StepState::Failed(error);
            }
            // Half way back it is about what can't be put back: the step itself is what it was.
            Entry::Decided { .. } if self.going_back.is_some() => {}
            Entry::Decided { step, decision } => self.steps.entry(step).or_default().decision = Some(decision),
            _ => {}
        }
    }

    /// What is done by hand leaves the run's own steps, and how its last process left it, as they are.
    fn apply_by_hand(&mut self, entry: Entry) {
        let (step, state) = match entry {
            Entry::Done { step, value, .. } => (step, StepState::Done(value)),
            Entry::Failed { step, error } => (step, StepState::Failed(error)),
            _ => return,
        };
        self.close_effects(&step);
        if let Some(input) = self.by_hand.iter_mut().find(|input| input.step == step) {
            input.state = state;
        }
    }

    /// One step is put back by hand. A resumed run does it again, and with it what came after it: of that it knows
    /// only that it was done before this.
    fn begin_undo_alone(&mut self, step: &str) {
        let Some(at) = self.order.iter().position(|path| path == step) else { return };
        for path in self.order.split_off(at + 1) {
            let known = self.steps.remove(&path).filter(|known| known.changed && !is_inside(&path, step));
            if known.is_some() {
                let last_effect = Some(format!("do what it had done before `{step}` was put back"));
                self.steps.insert(path, Step { changed: true, last_effect, ..Step::default() });
            }
        }
        let known = self.steps.entry(step.to_owned()).or_default();
        (known.state, known.decision, known.last_effect) = (StepState::Begun, None, Some("put it back".into()));
        self.ending = self.ending.map(|_| Ending::Failed);
    }

    fn end_undo_alone(&mut self, step: &str) {
        self.order.retain(|path| path != step);
        self.steps.remove(step);
        self.undone.insert(step.to_owned());
    }

    fn apply_undo(&mut self, entry: Entry) {
        match entry {
            Entry::UndoStarted { step } if self.going_back.is_none() => self.begin_undo_alone(&step),
            Entry::UndoDone { step } if self.going_back.is_none() => self.end_undo_alone(&step),
            Entry::GoingBack { automatic } => {
                (self.ending, self.error) = (None, None);
                self.going_back = Some(self.going_back.unwrap_or(automatic) && automatic);
                self.open_effects.clear();
            }
            Entry::UndoStarted { step } => {
                self.close_effects(&undo_of(&step));
                self.not_undone.remove(&step);
                self.forget_undos_before(&step);
            }
            // Also of a step that the operator has put back by hand.
            Entry::UndoDone { step } => {
                self.close_effects(&undo_of(&step));
                self.not_undone.remove(&step);
                self.forget_undos_before(&step);
                self.undone.insert(step);
            }
            Entry::UndoFailed { step, error } => {
                self.close_effects(&undo_of(&step));
                self.forget_undos_before(&step);
                self.not_undone.insert(step, error);
            }
            _ => {}
        }
    }

    /// Steps are put back in reverse order: what was put back of those before `step` rests on what its undo leaves, and
    /// is to be put back again once that has run again. On the look at the end rests all of it.
    fn forget_undos_before(&mut self, step: &str) {
        if step == AFTER_ROLLBACK {
            self.undone.clear();
            return;
        }
        let Some(at) = self.order.iter().position(|path| path == step) else { return };
        for path in &self.order[..at] {
            self.undone.remove(path);
        }
    }

    /// What a step has announced is no open question any more.
    fn close_effects(&mut self, step: &str) {
        self.open_effects.retain(|_, (of, _)| of != step);
    }

    /// A change inside a step is one of every step around it.
    fn effect(&mut self, n: u64, step: &str, command: String) {
        self.effects += 1;
        if is_by_hand(step) {
            let outermost = step.split(" / ").next();
            if let Some(input) = self.by_hand.iter_mut().find(|input| Some(input.step.as_str()) == outermost) {
                input.commands.push(command.clone());
            }
        }
        let ends = step.match_indices(" / ").map(|(at, _)| at).chain([step.len()]);
        for path in ends.map(|end| &step[..end]) {
            if let Some(known) = self.steps.get_mut(path) {
                known.changed = true;
            }
        }
        if let Some(known) = self.steps.get_mut(step) {
            known.last_effect = Some(command.clone());
        }
        self.open_effects.insert(n, (step.to_owned(), command));
    }

    /// Whether a step of this path has begun steps inside it.
    pub fn has_inner(&self, path: &str) -> bool {
        self.order.iter().any(|other| is_inside(other, path))
    }

    /// Whether a step of the same script began after this one had: then the script went on after it.
    fn is_passed(&self, path: &str) -> bool {
        let later = self.order.iter().skip_while(|other| *other != path).skip(1);
        later.into_iter().any(|other| !is_inside(other, path))
    }

    /// Whether a step, or one around it, was put back.
    pub fn is_put_back(&self, path: &str) -> bool {
        self.undone.iter().any(|undone| undone == path || is_inside(path, undone))
    }

    /// Paths of the outermost steps, in the order in which they were first begun.
    pub fn outermost(&self) -> impl Iterator<Item = &String> {
        self.order.iter().filter(|path| !path.contains(" / "))
    }

    /// What a replay is told of a step.
    pub fn past(&self, path: &str) -> Past {
        let Some(step) = self.steps.get(path) else { return Past::New };
        match (&step.state, &step.decision) {
            (StepState::Done(value), _) => Past::Done { value: value.clone(), changed: step.changed },
            (_, Some(Decision::Skip)) => Past::Done { value: Value::Null, changed: step.changed },
            (_, Some(Decision::Accept(value))) => Past::Done { value: value.clone(), changed: step.changed },
            (StepState::Begun, None) => match &step.last_effect {
                Some(last) => Past::Unknown { last: last.clone() },
                // What the steps inside it have done is known of each of them.
                None => Past::Again { changed: step.changed },
            },
            (StepState::Failed(error), None) if self.is_passed(path) => {
                Past::Failed { error: error.clone(), changed: step.changed }
            }
            _ => Past::Again { changed: step.changed },
        }
    }

    /// Whether it is no script's run, but what an operator did by hand.
    pub fn is_session(&self) -> bool {
        self.sources.is_empty() && !self.by_hand.is_empty()
    }

    /// What reaches the run's engine.
    pub fn endpoint(&self) -> Option<String> {
        self.engine.as_ref().map(|engine| engine.named.clone()).or_else(|| self.docker.clone())
    }

    pub fn state(&self) -> State {
        match (self.going_back, self.ending) {
            _ if self.is_session() => State::Session,
            // Also where no line but this one is left of a damaged journal.
            (_, Some(Ending::PutBack)) => State::RolledBack,
            (_, Some(Ending::Refused)) => State::Refused,
            _ if self.sources.is_empty() => State::NotBegun,
            (Some(_), _) => State::RollingBack,
            (None, Some(Ending::Done)) => State::Done,
            (None, Some(Ending::Stopped)) => State::Interrupted,
            (None, Some(_)) => State::Failed,
            (None, None) => State::Interrupted,
        }
    }
}

fn is_inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.starts_with(" / "))
}

/// Where a run stands, as far as its journal tells. Whether a process drives it is for its lock to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its process ended before the journal named the script: nothing was changed.
    NotBegun,
    /// No script: an operator has worked by hand. There is nothing to go on with or to put back.
    Session,
    Done,
    /// A step failed or was cancelled; nothing was put back.
    Failed,
    /// Its process ended without a word, by a kill or a power cut; or when it had run the one step it was to run.
    Interrupted,
    /// Some steps were put back, others not yet.
    RollingBack,
    RolledBack,
    /// Its first step was refused: nothing is different from before, and there is nothing to put back.
    Refused,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotBegun => "not begun",
            Self::Session => "session",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::RollingBack => "rolling back",
            Self::RolledBack => "rolled back",
            Self::Refused => "refused",
        }
    }

    /// Nothing is left to go on with.
    pub fn is_over(self) -> bool {
        matches!(self, Self::NotBegun | Self::Session | Self::Done | Self::RolledBack | Self::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: Vec<Entry>) -> History {
        let lines = entries.into_iter().enumerate();
        History::of(lines.map(|(i, entry)| Line { n: i as u64 + 1, at: String::new(), entry }).collect())
    }

    fn source() -> Entry {
        let text = String::new;
        Entry::Source { id: text(), name: text(), origin: text(), sha256: text(), frozen: PathBuf::new() }
    }

    fn failed(step: &str) -> Entry {
        Entry::Failed { step: step.into(), error: Reason::from(&crate::world::Error::failed("a.b", "broken")) }
    }

    #[test]
    fn a_process_that_only_looks_leaves_the_run_as_it_was() {
        let process = |command| Entry::Process { command, pid: 1, host: String::new() };
        let ended = |outcome| Entry::Ended { outcome, error: None, journal_seconds: 0.0 };
        let done = vec![source(), started("a"), ended(Ending::Done), process(Command::Rollback)];
        assert_eq!(history(done).state(), State::Done);
        let failed = vec![source(), started("a"), ended(Ending::Failed), process(Command::Resume)];
        assert_eq!(history(failed.clone()).state(), State::Failed);
        assert_eq!(history([failed, vec![started("a")]].concat()).state(), State::Interrupted);
    }

    #[test]
    fn a_failure_that_the_script_went_on_after_is_one_again() {
        let last = history(vec![started("a"), started("a / b"), failed("a / b"), failed("a")]);
        assert_eq!(last.past("a"), Past::Again { changed: false });
        let caught = history(vec![started("a"), failed("a"), started("b")]);
        assert!(matches!(caught.past("a"), Past::Failed { .. }));
        let inside = history(vec![started("o"), started("o / a"), failed("o / a"), started("o / b")]);
        assert!(matches!(inside.past("o / a"), Past::Failed { .. }));
        assert_eq!(inside.past("o"), Past::Again { changed: false });
    }

    fn started(step: &str) -> Entry {
        Entry::Started { step: step.into() }
    }

    fn effect(step: &str) -> Entry {
        Entry::Effect { step: step.into(), command: format!("act in {step}") }
    }

    #[test]
    fn a_step_that_announced_nothing_runs_again_and_one_that_did_is_unknown() {
        let history = history(vec![started("a"), started("b"), effect("b")]);
        assert_eq!(history.past("a"), Past::Again { changed: false });
        assert_eq!(history.past("b"), Past::Unknown { last: "act in b".into() });
        assert_eq!(history.past("c"), Past::New);
    }

    #[test]
    fn an_effect_inside_counts_for_the_steps_around_it() {
        let history = history(vec![started("a"), started("a / b"), effect("a / b")]);
        assert!(history.steps["a"].changed && history.steps["a / b"].changed);
        assert_eq!(history.past("a"), Past::Again { changed: true });
        assert_eq!(history.past("a / b"), Past::Unknown { last: "act in a / b".into() });
        assert_eq!(history.outermost().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_decision_counts_until_the_step_begins_again() {
        let decided = |decision| Entry::Decided { step: "a".into(), decision };
        let cut_off = vec![started("a"), effect("a")];
        let with = |decision| history([cut_off.clone(), vec![decided(decision)]].concat());
        assert_eq!(with(Decision::Retry).past("a"), Past::Again { changed: true });
        assert_eq!(with(Decision::Skip).past("a"), Past::Done { value: Value::Null, changed: true });
        let value = Value::from(7);
        assert_eq!(with(Decision::Accept(value.clone())).past("a"), Past::Done { value, changed: true });
        let again = history([cut_off.clone(), vec![decided(Decision::Retry), started("a")]].concat());
        assert_eq!(again.past("a"), Past::Unknown { last: "act in a".into() });
    }

    fn done(step: &str) -> Entry {
        Entry::Done { step: step.into(), value: Value::Null, seconds: 0.0 }
    }

    #[test]
    fn what_is_done_by_hand_is_kept_beside_the_steps_and_ends_nothing() {
        let ended = Entry::Ended { outcome: Ending::Failed, error: None, journal_seconds: 0.0 };
        let input = Entry::Input { step: "#1".into(), text: "docker::stop(db)".into(), typed_at: String::new() };
        let run = vec![source(), started("a"), failed("a"), ended, input, effect("#1")];
        let known = history(run.clone());
        assert_eq!(known.state(), State::Failed);
        assert_eq!((known.by_hand[0].state.clone(), known.open_effects.len()), (StepState::Begun, 1));
        let inside = vec![started("#1 / b"), effect("#1 / b"), done("#1 / b"), done("#1")];
        let known = history([run, inside].concat());
        assert_eq!(known.by_hand[0].commands, ["act in #1", "act in #1 / b"]);
        assert_eq!(known.by_hand[0].state, StepState::Done(Value::Null));
        assert!(known.open_effects.is_empty() && !known.is_session());
        assert_eq!((known.state(), known.order), (State::Failed, vec!["a".to_owned()]));
    }

    #[test]
    fn a_step_that_was_put_back_alone_is_new_and_what_came_after_it_is_in_question() {
        let undo = |step: &str| (Entry::UndoStarted { step: step.into() }, Entry::UndoDone { step: step.into() });
        let steps = ["a", "b", "b / c", "d"].map(|step| vec![started(step), effect(step), done(step)]).concat();
        let ended = Entry::Ended { outcome: Ending::Done, error: None, journal_seconds: 0.0 };
        let run = [vec![source()], steps, vec![started("e"), done("e"), ended]].concat();
        let (begun, over) = undo("b");
        let half = history([run.clone(), vec![begun.clone()]].concat());
        assert_eq!(half.past("b"), Past::Unknown { last: "put it back".into() });
        assert_eq!((half.state(), half.order.clone()), (State::Failed, vec!["a".to_owned(), "b".to_owned()]));
        let whole = history([run, vec![begun, over, started("b")]].concat());
        assert_eq!(whole.order, ["a", "b"]);
        assert_eq!(
            (whole.past("b"), whole.past("b / c"), whole.past("e")),
            (Past::Again { changed: false }, Past::New, Past::New)
        );
        assert!(matches!(whole.past("d"), Past::Unknown { .. }) && whole.undone.is_empty());
    }

    #[test]
    fn what_was_put_back_before_an_undo_is_put_back_again_with_it() {
        let steps = ["a", "b", "c"].map(started).to_vec();
        let begun = |step: &str| Entry::UndoStarted { step: step.into() };
        let over = |step: &str| Entry::UndoDone { step: step.into() };
        let failed = |step: &str| {
            let error = Reason::from(&crate::world::Error::failed("a.b", "jammed"));
            Entry::UndoFailed { step: step.into(), error }
        };
        let undone = |entries: Vec<Entry>| {
            let back = vec![Entry::GoingBack { automatic: false }];
            history([steps.clone(), back, entries].concat()).undone.into_iter().collect::<Vec<_>>()
        };
        // As the journals of before have it: the others went on after the one that failed.
        let old = vec![begun("c"), failed("c"), begun("b"), over("b"), begun("a"), over("a")];
        assert_eq!(undone(old.clone()), ["a", "b"]);
        assert_eq!(undone([old.clone(), vec![begun("c")]].concat()), Vec::<String>::new());
        assert_eq!(undone([old, vec![over("c")]].concat()), ["c"]);
        let all = ["c", "b", "a"].map(|step| vec![begun(step), over(step)]).concat();
        assert_eq!(undone(all.clone()), ["a", "b", "c"]);
        assert_eq!(undone([all.clone(), vec![begun("b"), failed("b")]].concat()), ["b", "c"]);
        let looked = [all, vec![failed(AFTER_ROLLBACK)]].concat();
        assert_eq!(undone(looked.clone()), Vec::<String>::new());
        assert_eq!(undone([looked, vec![over(AFTER_ROLLBACK), begun("c"), over("c")]].concat()), ["c", AFTER_ROLLBACK]);
    }

    #[test]
    fn the_state_follows_from_the_last_word() {
        let ended = |outcome| Entry::Ended { outcome, error: None, journal_seconds: 0.0 };
        let back = Entry::GoingBack { automatic: true };
        assert_eq!(super::History::default().state(), State::NotBegun);
        let history = |entries: Vec<Entry>| history([vec![source()], entries].concat());
        assert_eq!(history(vec![started("a")]).state(), State::Interrupted);
        assert_eq!(history(vec![ended(Ending::Done)]).state(), State::Done);
        assert_eq!(history(vec![ended(Ending::Failed)]).state(), State::Failed);
        assert_eq!(history(vec![back.clone()]).state(), State::RollingBack);
        assert_eq!(history(vec![back.clone(), ended(Ending::PartlyPutBack)]).state(), State::RollingBack);
        assert_eq!(history(vec![back, ended(Ending::PutBack)]).state(), State::RolledBack);
        let by_another = Entry::PutBack { by: "rollback-2".into() };
        assert_eq!(history(vec![ended(Ending::Failed), by_another]).state(), State::RolledBack);
    }
}
