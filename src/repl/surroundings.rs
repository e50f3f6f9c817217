//! What the editor may offer around the cursor: what the session knows when an input begins, and names read live.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::Map;

use super::bench::Bench;
use super::commands;
use super::editor::{ArgumentKind, CommandShape, Surroundings, Variable};
use super::names::Names;
use crate::script::api::type_name;
use crate::world::World;

/// More keys of one map are of no help.
const KEYS: usize = 200;

/// A picture of the session, taken anew before each input.
pub struct Around {
    known: RefCell<Known>,
    names: Names,
}

#[derive(Default)]
struct Known {
    variables: Vec<Variable>,
    keys: Vec<(String, Vec<String>)>,
    functions: Vec<String>,
    modules: Vec<(String, Vec<String>)>,
    steps: Vec<String>,
}

impl Around {
    pub fn new(bench: &Bench, world: &World) -> Rc<Self> {
        let around = Self { known: RefCell::default(), names: Names::new(world.clone()) };
        around.look(bench);
        Rc::new(around)
    }

    /// Whether the engine answers.
    pub fn has_engine(&self) -> bool {
        self.names.are_known()
    }

    /// Takes the picture.
    pub fn look(&self, bench: &Bench) {
        let (mut known, engine) = (Known::default(), &bench.language.engine);
        for (name, _, value) in bench.workspace.scope.iter_raw() {
            let type_name = type_name(engine.map_type_name(value.type_name())).to_owned();
            known.variables.push(Variable { name: name.to_owned(), type_name });
            if let Some(map) = value.read_lock::<Map>() {
                known.keys.push((name.to_owned(), map.keys().take(KEYS).map(ToString::to_string).collect()));
            }
        }
        known.functions = bench.workspace.functions().into_iter().map(|(signature, _)| signature).collect();
        known.modules = bench.modules();
        known.steps = bench.shared.state().desk.now().order;
        *self.known.borrow_mut() = known;
    }
}

impl Surroundings for Around {
    fn variables(&self) -> Vec<Variable> {
        self.known.borrow().variables.clone()
    }

    fn keys(&self, variable: &str) -> Vec<String> {
        let known = self.known.borrow();
        known.keys.iter().find(|(name, _)| name == variable).map(|(_, keys)| keys.clone()).unwrap_or_default()
    }

    fn functions(&self) -> Vec<String> {
        self.known.borrow().functions.clone()
    }

    fn modules(&self) -> Vec<(String, Vec<String>)> {
        self.known.borrow().modules.clone()
    }

    fn steps(&self) -> Vec<String> {
        self.known.borrow().steps.clone()
    }

    fn containers(&self) -> Vec<String> {
        self.names.containers()
    }

    fn volumes(&self) -> Vec<String> {
        self.names.volumes()
    }

    fn databases(&self) -> Vec<String> {
        self.names.databases()
    }

    fn commands(&self) -> Vec<CommandShape> {
        let shape = |command: &commands::Command| CommandShape {
            name: command.name,
            arguments: command.arguments.split_whitespace().map(kind).collect(),
        };
        commands::ALL.iter().map(shape).collect()
    }
}

/// What an argument is, by its name in the command's own words.
fn kind(argument: &str) -> ArgumentKind {
    match argument.trim_matches(['[', ']']) {
        "STEP" => ArgumentKind::Step,
        "CONTAINER" => ArgumentKind::Container,
        "DATABASE" => ArgumentKind::Database,
        "FILE" => ArgumentKind::File,
        "TOPIC" => ArgumentKind::Topic,
        "LINES" => ArgumentKind::Number,
        "--accept-changes" => ArgumentKind::Word(&["--accept-changes", "--as-recorded"]),
        _ => ArgumentKind::Text,
    }
}
