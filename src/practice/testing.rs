//! `pgscript test`: functions of `*_test.rhai`, each in a simulated world of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rhai::{AST, CallFnOptions, Dynamic, EvalAltResult, Scope};

use super::api::{self, Play, Said};
use super::life::{self, Stage};
use super::theatre::store_dir;
use crate::event::Listener;
use crate::run::instants::OfEnvironment;
use crate::run::session;
use crate::run::store::Store;
use crate::script::engine::{Language, STACK};
use crate::script::errors::{self, Report};
use crate::script::loader::Places;
use crate::script::parameters::Given;
use crate::script::source::Source;
use crate::world::side_by_side::up_to;
use crate::world::sim::{Sim, State};
use crate::world::{Cancel, Error, Result};

/// How the names of files with tests end, and how those of tests begin.
pub const ENDING: &str = "_test.rhai";
pub const PREFIX: &str = "test_";

/// A test: a function without parameters of a file.
#[derive(Clone, Debug)]
pub struct Test {
    pub file: Source,
    pub name: String,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    pub test: Test,
    pub seconds: f64,
    /// What failed; `None` where nothing did.
    pub failure: Option<Report>,
}

/// All files with tests below these paths, sorted. A file that is named is one whatever it is called.
///
/// Errors: `test.none` where a path is not there, or no such file is below it.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        collect(path, true, &mut found)?;
        if found.len() == before {
            return Err(Error::usage("test.none", format!("{}: no file with tests (*{ENDING})", path.display())));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(path: &Path, is_named: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("look for tests in", path.display(), &e);
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    if path.is_dir() && (is_named || !is_hidden) {
        for entry in std::fs::read_dir(path).map_err(failed)? {
            collect(&entry.map_err(failed)?.path(), false, found)?;
        }
    } else if path.is_file() && (is_named || path.to_string_lossy().ends_with(ENDING)) {
        found.push(path.to_owned());
    }
    Ok(())
}

/// The tests of a file, in its order.
///
/// Errors: that of a file that can't be read or is no script.
pub fn tests(places: &Places, file: &Path) -> std::result::Result<Vec<Test>, Box<Report>> {
    let source = places.script(&file.to_string_lossy()).map_err(|error| Box::new(Report::from(&error)))?;
    let language = language(places, None, None);
    let ast = compile(&language, &source)?;
    let is_test = |f: &rhai::ScriptFnMetadata<'_>| f.name.starts_with(PREFIX) && f.params.is_empty();
    let names = ast.iter_functions().filter(is_test).map(|f| f.name.to_owned());
    let place = |name: &String| source.text.find(&format!("fn {name}("));
    let mut names: Vec<_> = names.collect();
    names.sort_by_key(|name| place(name));
    Ok(names.into_iter().map(|name| Test { file: source.clone(), name }).collect())
}

/// Runs tests, several at once; `each` hears of each as it ends.
pub fn run(places: &Places, tests: &[Test], jobs: usize, each: impl Fn(&Outcome) + Sync) -> Result<Vec<Outcome>> {
    let places = places.read_once();
    up_to(jobs, tests, |_, test| {
        let begun = Instant::now();
        let places = places.clone();
        let own = test.clone();
        let thread = std::thread::Builder::new().name("script".into()).stack_size(STACK);
        let running = thread.spawn(move || one(&places, &own));
        let running = running.map_err(|e| Error::io("start", "the thread of a test", &e))?;
        let failure = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).err();
        let failure = failure.map(|report| *report);
        let outcome = Outcome { test: test.clone(), seconds: begun.elapsed().as_secs_f64(), failure };
        each(&outcome);
        Ok(outcome)
    })
}

fn one(places: &Places, test: &Test) -> std::result::Result<(), Box<Report>> {
    let unplaced = |error: Error| Box::new(Report::from(&error));
    let dir = store_dir().map_err(unplaced)?;
    let said = Arc::new(Said::default());
    let stage = Stage {
        places: places.clone(),
        given: Given::default(),
        store: Store::of_practice(dir.path().to_owned()),
        listener: said.clone() as Arc<dyn Listener>,
        earlier: 0,
    };
    let sim = Sim::in_memory(State::default());
    let beside = Path::new(&test.file.id).parent().map(Path::to_owned).unwrap_or_default();
    let play = Play::new(sim.clone(), stage.clone(), said, beside);
    // What is done by the test itself is no run of its world's store.
    let own = Stage { store: Store::of_practice(dir.path().join("test")), ..stage };
    let setup = life::setup(&own, sim, Cancel::default(), Arc::new(OfEnvironment::new()));
    let desk = session::open(&setup, None, None).map_err(unplaced)?;
    desk.begin(&test.name);
    let language = language(places, Some(&desk), Some(&play));
    let ast = compile(&language, &test.file)?;
    let options = CallFnOptions::new().eval_ast(true).rewind_scope(false);
    let called: std::result::Result<Dynamic, Box<EvalAltResult>> =
        language.engine.call_fn_with_options(options, &mut Scope::new(), &ast, &test.name, ());
    let told = |error: Box<EvalAltResult>| {
        Box::new(errors::report(&error, &test.file.id, &language.sources, &language.reference))
    };
    called.map(|_| ()).map_err(told)
}

fn language(places: &Places, desk: Option<&session::Desk>, play: Option<&Play>) -> Language {
    let (session, listener) = match desk {
        Some(desk) => (Some(desk.session.clone()), desk.session.listener.clone()),
        None => (None, Arc::new(Said::default()) as Arc<dyn Listener>),
    };
    Language::with(places.clone(), listener, session, |registrar| api::register(registrar, play))
}

fn compile(language: &Language, source: &Source) -> std::result::Result<AST, Box<Report>> {
    let told = |error: Box<EvalAltResult>| {
        Box::new(errors::report(&error, &source.id, &language.sources, &language.reference))
    };
    language.compile(source).map_err(told)
}
