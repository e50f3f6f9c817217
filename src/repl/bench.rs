//! What a session acts upon: the run it is in, if any, and the language with the session's own functions. After the
//! run was driven from within it, it is made anew; variables and functions of the session stay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Map, Scope};

use super::api;
use super::commands::in_session;
use super::save::Saved;
use crate::run::drive::{Changes, Driven, Setup};
use crate::run::history::{History, StepState};
use crate::run::session::{self, Desk};
use crate::run::store::{Held, Place};
use crate::run::{journal, last_word};
use crate::script::api::Reference;
use crate::script::engine::Language;
use crate::script::handles;
use crate::script::interactive::{self, Workspace};
use crate::ui::{human, output, style};
use crate::world::{Error, Kind, Result};

/// Shared with the functions of [`api`].
pub struct State {
    pub setup: Setup,
    pub desk: Arc<Desk>,
    /// The run's lock, where this process has it.
    held: Option<Held>,
    /// The run was driven, or another one is wanted: the session has to be opened again.
    wanted: Option<Option<Place>>,
    /// How a run that was driven by the input under way has failed.
    pub failed: Option<Kind>,
    /// The operator has edited the script, and wants it so.
    pub is_edited: bool,
    pub is_leaving: bool,
    pub typed: Vec<Saved>,
    /// For `edit`: the text to be typed next.
    pub next_input: Option<String>,
    /// Signatures and docstrings of the session's own functions, for `help`.
    pub functions: Vec<(String, String)>,
    /// Everything a session may call, for `help`.
    pub reference: Arc<Reference>,
}

/// The one state of a session.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that the session is in.
    pub fn place(&self) -> Result<Place> {
        let state = self.state();
        state.desk.place.clone().ok_or_else(|| {
            Error::usage("session.no_run", "this session is in no run")
                .hint("go to one: .run RUN, or pgscript repl --run RUN; `run::list()` shows what there is")
        })
    }

    /// As [`Shared::place`], of a run whose journal can be trusted.
    pub fn sound_place(&self) -> Result<Place> {
        let place = self.place()?;
        let desk = self.state().desk.clone();
        desk.damage.as_ref().map_or(Ok(()), |damage| Err(journal::damaged(&place, damage)))?;
        Ok(place)
    }

    /// Goes to another run before the next input.
    pub fn go_to(&self, place: Place) {
        self.state().wanted = Some(Some(place));
    }

    /// Drives the run: it gives the journal out of hand meanwhile. How it ended is said here.
    pub fn drive(&self, drive: impl FnOnce(&Setup, &Place, Option<Held>) -> Result<Driven>) -> Result<()> {
        let place = self.sound_place()?;
        let (setup, desk) = {
            let state = self.state();
            (state.setup.clone(), state.desk.clone())
        };
        if let Some(error) = desk.read_only() {
            return Err(error);
        }
        let held = desk.release()?;
        {
            let mut state = self.state();
            (state.held, state.wanted) = (held.clone(), Some(Some(place.clone())));
        }
        let driven = drive(&setup, &place, held)?;
        self.tell(&setup, &driven);
        Ok(())
    }

    fn tell(&self, setup: &Setup, driven: &Driven) {
        let Some(failure) = &driven.outcome.failure else {
            if driven.outcome.is_partial {
                output::tell("stopped before the next step: .next shows it\n");
            }
            return;
        };
        let seconds = human::seconds(driven.outcome.seconds);
        let text = last_word::render(driven, failure, setup, &seconds, style::columns());
        let run = driven.place.as_ref().map_or("", |place| place.id.as_str());
        output::complain(&setup.world.redactor.redact(&in_session(&text, run)));
        self.state().failed = Some(failure.report.kind);
    }

    /// How scripts that were changed since are taken.
    pub fn changes(&self) -> Changes {
        if self.state().is_edited { Changes::Accept } else { Changes::Refuse }
    }
}

/// The language in a session.
pub struct Bench {
    pub shared: Shared,
    pub language: Language,
    pub workspace: Workspace,
}

impl Bench {
    /// Opens a session, in a run where one is given; `held` as for [`session::open`].
    pub fn open(setup: &Setup, place: Option<&Place>, held: Option<Held>) -> Result<Self> {
        let desk = Arc::new(session::open(setup, place, held.clone())?);
        desk.allow(&setup.losses)?;
        let state = State {
            setup: setup.clone(),
            desk: desk.clone(),
            held,
            wanted: None,
            failed: None,
            is_edited: false,
            is_leaving: false,
            typed: Vec::new(),
            next_input: None,
            functions: Vec::new(),
            reference: Arc::default(),
        };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let language = language(setup, &desk, &shared);
        shared.state().reference = language.reference.clone();
        let mut bench = Self { shared, language, workspace: Workspace::default() };
        bench.load_variables();
        Ok(bench)
    }

    /// Aliases of the imported modules, with the signatures of their functions.
    pub fn modules(&self) -> Vec<(String, Vec<String>)> {
        let sources = &self.language.sources;
        let of = |name: &String| self.language.places.module(None, name).map(|source| sources.functions_of(&source.id));
        let imports = self.workspace.imports().iter();
        imports.map(|(alias, name)| (alias.clone(), of(name).unwrap_or_default())).collect()
    }

    /// Opens the session again if the last input has made that necessary. Gives whether it has.
    pub fn renew(&mut self) -> Result<bool> {
        let (setup, wanted, held) = {
            let mut state = self.shared.state();
            let Some(wanted) = state.wanted.take() else { return Ok(false) };
            state.desk.release()?;
            let before = state.desk.place.clone();
            let is_same = wanted.as_ref().map(|place| &place.id) == before.as_ref().map(|place| &place.id);
            let held = state.held.take().filter(|_| is_same);
            // Where it can't be opened, the session goes on where it was.
            state.wanted = Some(before);
            (state.setup.clone(), wanted, held)
        };
        let desk = Arc::new(session::open(&setup, wanted.as_ref(), held)?);
        self.shared.state().wanted = None;
        self.shared.state().desk = desk.clone();
        self.language = language(&setup, &desk, &self.shared);
        interactive::import_again(&mut self.language, &self.workspace)?;
        self.load_variables();
        Ok(true)
    }

    /// The script's variables at the point where it stopped, and `steps`: what each finished step gave.
    fn load_variables(&mut self) {
        let (setup, desk) = {
            let state = self.shared.state();
            (state.setup.clone(), state.desk.clone())
        };
        let (Some(place), history) = (&desk.place, desk.now()) else { return };
        if history.sources.is_empty() {
            return;
        }
        // What can't be read now (the engine is away, a changed file) is missing, no more.
        if let Ok(variables) = session::variables(&setup, place, &history) {
            self.workspace.define(variables);
        }
        let mut scope = Scope::new();
        scope.push_dynamic("steps", results(&desk, &history).into());
        self.workspace.define(scope);
    }
}

fn language(setup: &Setup, desk: &Desk, shared: &Shared) -> Language {
    let shared = shared.clone();
    Language::with(setup.places.clone(), setup.listener.clone(), Some(desk.session.clone()), move |registrar| {
        api::register(registrar, &shared);
    })
}

/// What each finished step gave, by its path.
fn results(desk: &Desk, history: &History) -> Map {
    let each = history.steps.iter().filter_map(|(path, step)| match &step.state {
        StepState::Done(value) => Some((path.as_str().into(), handles::decode(&desk.session, value.clone()).ok()?)),
        _ => None,
    });
    each.collect::<Map>()
}
