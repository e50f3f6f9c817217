//! Who is there while a script runs in a captured world, and writes down what happens.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Effect, Outage, Question, Step};
use crate::event::{Event, Listener};
use crate::practice::invariants::{complete_copies, owed, served};
use crate::run::instants::Instants;
use crate::script::record::Entry;
use crate::script::session::Prompter;
use crate::world::Result;
use crate::world::capture::beside::Beside;
use crate::world::container::LABEL_HELPER;
use crate::world::sim::{Sim, State};

/// The course of a run, as it is told afterwards.
pub struct Course {
    sim: Sim,
    /// Services that had sessions with their server at first.
    served: BTreeSet<String>,
    told: Mutex<Told>,
}

/// What has happened until now.
#[derive(Default)]
pub struct Told {
    pub steps: Vec<Step>,
    pub questions: Vec<Question>,
    pub warnings: Vec<String>,
    /// When the application lost its server, and got it back: milliseconds, and the step.
    lost: Option<(u64, String)>,
    regained: Option<(u64, String)>,
    pub stopped: BTreeSet<String>,
    /// Under way: since when, and paths of steps.
    under_way: Vec<(u64, String)>,
    /// Announced and not settled: the line, where it stands, and what was there before it.
    open: Vec<(u64, (usize, usize), Look)>,
    /// Bytes that were read since the last one was announced.
    read: u64,
}

/// What there is at a moment.
struct Look {
    now: u64,
    running: BTreeSet<String>,
    served: BTreeSet<String>,
    copies: Vec<String>,
    stored: u64,
}

impl Look {
    fn of(world: &State) -> Self {
        let own = world.containers().filter(|c| !c.labels.contains_key(LABEL_HELPER));
        Self {
            now: world.now,
            running: own.filter(|c| c.state == "running").map(|c| c.name.clone()).collect(),
            served: served(world),
            copies: complete_copies(world, &owed(world, None)),
            stored: world.stored(),
        }
    }
}

impl Course {
    pub fn new(sim: Sim) -> Result<Self> {
        let served = sim.read(|world| Ok(served(world)))?;
        Ok(Self { sim, served, told: Mutex::default() })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, once the run is over.
    pub fn take(&self) -> Told {
        std::mem::take(&mut self.told())
    }

    fn look(&self) -> Result<Look> {
        self.sim.arrange(|world| Look::of(world))
    }

    fn ask(&self, text: &str) {
        let mut told = self.told();
        let step = told.current();
        let is_before_outage = told.lost.is_none();
        told.questions.push(Question { step, text: text.to_owned(), is_before_outage });
    }
}

impl Told {
    fn current(&self) -> String {
        self.under_way.last().map(|(_, path)| path.clone()).unwrap_or_default()
    }

    pub fn outage(&self) -> Option<Outage> {
        let (since, from) = self.lost.clone()?;
        let until = self.regained.as_ref().map_or(since, |(until, _)| *until);
        let seconds = until.saturating_sub(since) as f64 / 1000.0;
        Some(Outage { from, to: self.regained.as_ref().map(|(_, step)| step.clone()), seconds })
    }

    fn announce(&mut self, line: u64, path: &str, command: &str, before: Look) {
        // What is done outside of any step that is known is put back.
        let known = self.steps.iter().rposition(|step| step.path == path);
        let at = known.unwrap_or_else(|| {
            self.steps.push(Step { path: path.to_owned(), seconds: 0.0, effects: Vec::new() });
            self.steps.len() - 1
        });
        let copies_before = before.copies.clone();
        let effect = Effect { command: command.to_owned(), copies_before, ..Effect::default() };
        self.steps[at].effects.push(effect);
        self.read = 0;
        self.open.push((line, (at, self.steps[at].effects.len() - 1), before));
    }

    fn settle(&mut self, line: u64, after: &Look, at_first: &BTreeSet<String>) {
        let Some(index) = self.open.iter().position(|(open, ..)| *open == line) else { return };
        let (_, (step, effect), before) = self.open.remove(index);
        let path = self.steps[step].path.clone();
        let gone: Vec<_> = before.running.difference(&after.running).cloned().collect();
        self.stopped.extend(gone.iter().cloned());
        let told = &mut self.steps[step].effects[effect];
        told.copies_after.clone_from(&after.copies);
        told.reads = std::mem::take(&mut self.read);
        told.writes = after.stored.saturating_sub(before.stored);
        told.seconds = after.now.saturating_sub(before.now) as f64 / 1000.0;
        told.starts = after.running.difference(&before.running).cloned().collect();
        told.stops = gone;
        self.follow(at_first, &before, &path, before.now);
        self.follow(at_first, after, &path, after.now);
    }

    /// Whether the application has its server.
    fn follow(&mut self, at_first: &BTreeSet<String>, look: &Look, step: &str, at: u64) {
        let has_all = at_first.is_subset(&look.served);
        match (&self.lost, has_all) {
            (None, false) => self.lost = Some((at, step.to_owned())),
            (Some(_), false) => self.regained = None,
            (Some(_), true) if self.regained.is_none() => self.regained = Some((at, step.to_owned())),
            _ => {}
        }
    }
}

impl Instants for Course {
    fn before(&self, number: u64, entry: &Entry) -> Result<()> {
        let look = self.look()?;
        let mut told = self.told();
        match entry {
            Entry::Started { step } => {
                told.under_way.push((look.now, step.clone()));
                told.steps.push(Step { path: step.clone(), seconds: 0.0, effects: Vec::new() });
            }
            Entry::Done { step, .. } | Entry::Failed { step, .. } => {
                if let Some((since, _)) = told.under_way.pop() {
                    let seconds = look.now.saturating_sub(since) as f64 / 1000.0;
                    told.steps
                        .iter_mut()
                        .rfind(|known| known.path == *step)
                        .iter_mut()
                        .for_each(|s| s.seconds = seconds);
                }
                let path = step.clone();
                told.follow(&self.served, &look, &path, look.now);
            }
            Entry::Effect { step, command } => told.announce(number, step, command, look),
            Entry::Settled { effect, .. } => told.settle(*effect, &look, &self.served),
            _ => {}
        }
        Ok(())
    }

    fn written(&self, _: u64) {}

    fn synced(&self, _: u64) {}

    fn after(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

impl Listener for Course {
    fn hear(&self, event: &Event) {
        match event {
            Event::Warn { text } => self.told().warnings.push(text.clone()),
            Event::Progress { unit: "bytes", total: Some(total), finished: true, .. } => self.told().read += total,
            _ => {}
        }
    }
}

/// Says yes to everything, and writes down what was asked. What must be done by hand is a deploy.
pub struct Yes {
    pub course: Arc<Course>,
    pub beside: Beside,
    /// Who is asked for parameters that have no value.
    pub operator: Arc<dyn Prompter>,
    /// What that gave, without secrets.
    pub answers: Arc<Mutex<Vec<(String, String)>>>,
}

impl Prompter for Yes {
    fn confirm(&self, question: &str) -> Result<bool> {
        self.course.ask(question);
        Ok(true)
    }

    fn manual(&self, instruction: &str) -> Result<()> {
        self.course.ask(instruction);
        self.beside.deploy("what is done by hand").map(|_| ())
    }

    fn ask(&self, name: &str, help: &str, secret: bool) -> Result<String> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = answers.iter().find(|(known, _)| known == name) {
            return Ok(known.clone());
        }
        let answer = self.operator.ask(name, help, secret)?;
        if !secret {
            answers.push((name.to_owned(), answer.clone()));
        }
        Ok(answer)
    }
}
