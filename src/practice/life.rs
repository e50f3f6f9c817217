//! One process of the program in a simulated world.

use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::instants::{Act, Course, Moment, When};
use super::invariants::Broken;
use crate::event::Listener;
use crate::run::drive::{self, Changes, Driven, Setup};
use crate::run::instants::Instants;
use crate::run::log::Log;
use crate::run::store::{Place, Store};
use crate::script::execute;
use crate::script::loader::Places;
use crate::script::parameters::Given;
use crate::script::session::Prompter;
use crate::script::source::Source;
use crate::world::sim::{self, Sim, State, Watch};
use crate::world::{Cancel, Error, Owner, Redactor, Result};

/// What all lives of a run have in common.
#[derive(Clone)]
pub struct Stage {
    pub places: Places,
    pub given: Given,
    pub store: Store,
    pub listener: Arc<dyn Listener>,
    /// How many runs the store has of before.
    pub earlier: usize,
}

impl Stage {
    /// The run that its lives are of; `None` as long as there is none.
    pub fn own_run(&self) -> Result<Option<Place>> {
        Ok(self.store.runs()?.into_iter().nth(self.earlier))
    }
}

/// What the program is started for.
#[derive(Clone, Debug)]
pub enum Way {
    Run(Source),
    Resume(Place),
    Rollback(Place),
}

/// A process of the program.
pub struct Life<'s> {
    stage: &'s Stage,
    sim: Sim,
    cancel: Cancel,
    course: Arc<Course>,
}

/// How a life ended.
pub struct Ended {
    pub world: State,
    /// What the program has come to; an error where it did not begin, or was killed.
    pub outcome: Result<Driven>,
    pub is_killed: bool,
    pub moments: Vec<Moment>,
    /// What was broken, after which moment.
    pub broken: Vec<(usize, Broken)>,
}

impl<'s> Life<'s> {
    /// A process that begins in this world, to which `acts` happen, each at the moment of that number.
    pub fn new(stage: &'s Stage, world: State, acts: Vec<(When, Act)>) -> Self {
        let (sim, cancel) = (Sim::in_memory(world), Cancel::default());
        let course = Arc::new(Course::new(sim.clone(), cancel.clone(), acts));
        sim.watched(Some(course.clone() as Arc<dyn Watch>));
        Self { stage, sim, cancel, course }
    }

    /// What happens in it, and when.
    pub fn course(&self) -> Arc<Course> {
        self.course.clone()
    }

    /// Lives it.
    ///
    /// Errors: `sim.killed` and the like stand in [`Ended::outcome`]; here is only what is wrong with the stage.
    pub fn live(self, way: Way) -> Result<Ended> {
        let setup = self.setup();
        let outcome = match way {
            Way::Run(source) => drive::run(&setup, source, false),
            Way::Resume(place) => {
                let way = execute::Way::Forward { keep: false };
                drive::resume(&setup, &place, None, Vec::new(), Changes::Refuse, way)
            }
            Way::Rollback(place) => drive::rollback(&setup, &place, None, &[], Changes::Refuse),
        };
        drop(setup);
        if let Some(length) = self.course.cut() {
            cut_journal(&self.stage.store, length)?;
        }
        let is_killed = self.sim.is_killed();
        let (moments, broken) = (self.course.moments(), self.course.broken());
        Ok(Ended { world: self.sim.into_state()?, outcome, is_killed, moments, broken })
    }

    fn setup(&self) -> Setup {
        setup(self.stage, self.sim.clone(), self.cancel.clone(), self.course.clone() as Arc<dyn Instants>)
    }
}

/// Takes from the journal of the newest run, which is that of the life, what nobody had synced.
fn cut_journal(store: &Store, length: u64) -> Result<()> {
    let path = newest_run(store)?.journal();
    let cut = OpenOptions::new().write(true).open(&path).and_then(|journal| journal.set_len(length));
    cut.map_err(|e| Error::io("cut", path.display(), &e))
}

/// What the program has in a simulated world.
pub fn setup(stage: &Stage, sim: Sim, cancel: Cancel, instants: Arc<dyn Instants>) -> Setup {
    let Stage { places, given, store, listener, .. } = stage;
    let (redactor, owner) = (Redactor::default(), Owner::default());
    owner.set("a process in a simulated world");
    // Helpers of an earlier life are nobody's any more, although all are of one process.
    static LIVES: AtomicU64 = AtomicU64::new(1);
    owner.live_as(&format!("life {}", LIVES.fetch_add(1, Ordering::Relaxed)));
    let context = sim::Context { sim, cancel, listener: listener.clone(), redactor, owner };
    Setup {
        store: store.clone(),
        places: places.clone(),
        world: sim::world(context),
        listener: listener.clone(),
        log: Log::default(),
        prompter: Arc::new(Agreeing),
        losses: Vec::new(),
        docker: None,
        given: given.clone(),
        instants,
    }
}

/// An operator who says yes to everything, and has nothing else to say.
struct Agreeing;

impl Prompter for Agreeing {
    fn confirm(&self, _: &str) -> Result<bool> {
        Ok(true)
    }

    fn manual(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn ask(&self, name: &str, _: &str, _: bool) -> Result<String> {
        Err(Error::usage("param.missing", format!("the parameter {name} has no value")))
    }
}

/// The newest run of a store.
///
/// Errors: `run.not_found` where it has none.
pub fn newest_run(store: &Store) -> Result<Place> {
    store.runs()?.pop().ok_or_else(|| Error::failed("run.not_found", format!("no run in {}", store.root().display())))
}
