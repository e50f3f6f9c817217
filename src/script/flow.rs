//! Who calls whom in a script and its modules: which steps a run can meet, and which of them change something.
//!
//! Only what the text shows is followed. A function that is kept in a variable and called later is not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::api::{Function, Reference};
use super::check::{File, is_global, module_of};
use super::mutation::is_mutator;
use super::tree::{Argument, Call, Closure};

/// A function of a file, or its top level (`None`).
pub type Node = (usize, Option<usize>);

/// A script with all its modules.
pub struct Flow<'f> {
    pub units: Vec<Unit<'f>>,
    pub steps: Vec<Step<'f>>,
    /// Of each unit: its top level, then its functions.
    links: Vec<Vec<Links>>,
    /// `None` when it can't be read.
    script: Option<usize>,
}

/// A file with what stands where in it.
pub struct Unit<'f> {
    pub file: &'f File,
    functions: HashMap<&'f str, Vec<usize>>,
    /// Where each closure is written, by its function.
    pub closures: HashMap<usize, &'f Closure>,
    /// The closures that are bodies of steps: they run where they are written.
    pub bodies: BTreeSet<usize>,
    /// The closures that a step only keeps: its undo, its probe.
    pub aside: BTreeSet<usize>,
}

/// A step as written, or as written by a function that makes steps of what it is given.
pub struct Step<'f> {
    pub unit: usize,
    /// The call that names the step.
    pub call: &'f Call,
    /// `None` where it is computed.
    pub name: Option<String>,
    /// `None` where it can't be known.
    pub body: Option<Node>,
    pub declared: Declared,
}

/// What the options of a step say about it. What is computed counts as declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub undo: bool,
    pub probe: bool,
    pub repeatable: bool,
    /// Whether the options as a whole are computed.
    pub is_computed: bool,
}

/// What a function does itself, and where it leads.
#[derive(Default)]
struct Links {
    has_effect: bool,
    calls: Vec<Node>,
    steps: Vec<usize>,
}

/// A step that a run can meet.
pub struct Met<'s, 'f> {
    pub step: &'s Step<'f>,
    /// Whether a step around it has an `undo`.
    pub is_covered: bool,
}

impl<'f> Flow<'f> {
    /// `script` is the id of the file that is run.
    pub fn new(files: &'f BTreeMap<String, File>, script: &str, reference: &Reference) -> Self {
        let units: Vec<_> = files.values().map(Unit::new).collect();
        let links = units.iter().map(|unit| unit.file.tree.functions.iter().map(|_| Links::default()));
        let links = links.map(|functions| std::iter::once(Links::default()).chain(functions).collect()).collect();
        let script = files.keys().position(|id| id == script);
        let mut flow = Self { units, steps: Vec::new(), links, script };
        flow.link(&Calls::new(files, reference));
        flow
    }

    fn link(&mut self, calls: &Calls<'f, '_>) {
        let makers = self.makers();
        for unit in 0..self.units.len() {
            let file = self.units[unit].file;
            for call in &file.tree.calls {
                if is_global(call, "step") {
                    let maker = makers.get(&(unit, call.owner)).filter(|maker| std::ptr::eq(maker.call, call));
                    match maker {
                        Some(_) => _ = self.units[unit].options(call.arguments.get(2)),
                        None => self.step(unit, call, |at| call.arguments.get(at)),
                    }
                    continue;
                }
                let (has_effect, targets) = calls.resolve(&self.units[unit], call, &self.units);
                for target in targets {
                    if let Some(maker) = makers.get(&target) {
                        self.step(unit, call, |at| maker.argument(at, call));
                    }
                    self.links_of((unit, call.owner)).calls.push(target);
                }
                self.links_of((unit, call.owner)).has_effect |= has_effect;
            }
        }
        // A closure runs, for all that is known, in the function that it is written in.
        for unit in 0..self.units.len() {
            let Unit { closures, bodies, aside, .. } = &self.units[unit];
            let free = closures.iter().filter(|(index, _)| !bodies.contains(index) && !aside.contains(index));
            let free: Vec<_> = free.map(|(index, closure)| (*index, closure.owner)).collect();
            for (index, owner) in free {
                self.links_of((unit, owner)).calls.push((unit, Some(index)));
            }
        }
    }

    /// Functions like `fn journalled(name, body) { step(name, body, #{ … }) }`.
    fn makers(&self) -> HashMap<Node, Maker<'f>> {
        let mut makers = HashMap::new();
        for (index, unit) in self.units.iter().enumerate() {
            for call in unit.file.tree.calls.iter().filter(|call| is_global(call, "step")) {
                let (Some(owner), Some(Argument::Variable(body))) = (call.owner, call.arguments.get(1)) else {
                    continue;
                };
                let parameters = &unit.file.tree.functions[owner].parameters;
                if !unit.closures.contains_key(&owner) && parameters.contains(body) {
                    makers.insert((index, Some(owner)), Maker { call, parameters });
                }
            }
        }
        makers
    }

    /// Keeps a step that `call` makes with these arguments of `step`.
    fn step<'a>(&mut self, unit: usize, call: &'f Call, argument: impl Fn(usize) -> Option<&'a Argument>) {
        let here = &mut self.units[unit];
        let declared = here.options(argument(2));
        let body = match argument(1) {
            Some(Argument::Closure(name)) => here.function(name),
            _ => None,
        };
        here.bodies.extend(body);
        let name = argument(0).and_then(Argument::text);
        let index = self.steps.len();
        self.links_of((unit, call.owner)).steps.push(index);
        self.steps.push(Step { unit, call, name, body: body.map(|body| (unit, Some(body))), declared });
    }

    fn links_of(&mut self, (unit, function): Node) -> &mut Links {
        &mut self.links[unit][function.map_or(0, |index| index + 1)]
    }

    fn links(&self, (unit, function): Node) -> &Links {
        &self.links[unit][function.map_or(0, |index| index + 1)]
    }

    /// Whether a step's body, with everything it calls, changes the outside world. What steps in it change is theirs.
    pub fn changes(&self, step: &Step<'_>) -> bool {
        self.changes_without(step, &HashSet::new())
    }

    /// As [`Flow::changes`], for all that `left_out` does not do: closures that only are kept, for one.
    pub fn changes_without(&self, step: &Step<'_>, left_out: &HashSet<Node>) -> bool {
        let mut open: Vec<_> = step.body.into_iter().collect();
        let mut seen = left_out.clone();
        while let Some(node) = open.pop() {
            if seen.insert(node) {
                let links = self.links(node);
                if links.has_effect {
                    return true;
                }
                open.extend(&links.calls);
            }
        }
        false
    }

    /// The step that a call of a file makes.
    pub fn step_at(&self, call: &Call) -> Option<&Step<'f>> {
        self.steps.iter().find(|step| std::ptr::eq(step.call, call))
    }

    /// The steps that a run can meet, going forward: those of the script first, in the order of the text. One that is
    /// met both in a step with `undo` and outside is not covered.
    pub fn met(&self) -> Vec<Met<'_, 'f>> {
        let mut met: BTreeMap<usize, bool> = BTreeMap::new();
        let mut open: Vec<_> = self.entrances().into_iter().map(|node| (node, false)).collect();
        let mut seen = HashSet::new();
        while let Some((node, is_covered)) = open.pop() {
            if !seen.insert((node, is_covered)) {
                continue;
            }
            let links = self.links(node);
            open.extend(links.calls.iter().map(|target| (*target, is_covered)));
            for index in &links.steps {
                *met.entry(*index).or_insert(true) &= is_covered;
                let step = &self.steps[*index];
                open.extend(step.body.map(|body| (body, is_covered || step.declared.undo)));
            }
        }
        let mut met: Vec<_> =
            met.into_iter().map(|(index, is_covered)| Met { step: &self.steps[index], is_covered }).collect();
        met.sort_by_key(|met| (Some(met.step.unit) != self.script, met.step.unit, met.step.call.position));
        met
    }

    /// Where a run can begin: the files themselves and, as others may import the script, its functions that nothing
    /// in it uses.
    fn entrances(&self) -> Vec<Node> {
        let mut used: HashSet<Node> = HashSet::new();
        for (unit, functions) in self.links.iter().enumerate() {
            for (place, links) in functions.iter().enumerate() {
                let from = (unit, place.checked_sub(1));
                used.extend(links.calls.iter().filter(|target| **target != from));
            }
        }
        let unused = self.script.into_iter().flat_map(|script| {
            let Unit { file, closures, .. } = &self.units[script];
            let functions = (0..file.tree.functions.len()).filter(|index| !closures.contains_key(index));
            functions.map(move |index| (script, Some(index)))
        });
        let unused = unused.filter(|node| !used.contains(node));
        (0..self.units.len()).map(|unit| (unit, None)).chain(unused).collect()
    }
}

impl<'f> Unit<'f> {
    fn new(file: &'f File) -> Self {
        let mut functions: HashMap<_, Vec<_>> = HashMap::new();
        for (index, function) in file.tree.functions.iter().enumerate() {
            functions.entry(function.name.as_str()).or_default().push(index);
        }
        let closures = file.tree.closures.iter();
        let closures = closures.filter_map(|closure| Some((*functions.get(closure.name.as_str())?.first()?, closure)));
        let closures = closures.collect();
        Self { file, functions, closures, bodies: BTreeSet::new(), aside: BTreeSet::new() }
    }

    fn function(&self, name: &str) -> Option<usize> {
        self.functions.get(name)?.first().copied()
    }

    fn functions<'u>(&'u self, name: &str, arity: usize) -> impl Iterator<Item = usize> + 'u {
        let named = self.functions.get(name).map(Vec::as_slice).unwrap_or_default().iter().copied();
        named.filter(move |index| self.file.tree.functions[*index].parameters.len() == arity)
    }

    /// Reads a step's options and puts its undo and its probe aside.
    fn options(&mut self, options: Option<&Argument>) -> Declared {
        let entries = match options {
            None => return Declared::default(),
            Some(Argument::Map(entries)) => entries,
            Some(_) => return Declared { undo: true, probe: true, repeatable: true, is_computed: true },
        };
        let find = |key: &str| entries.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        for key in ["undo", "probe"] {
            if let Some(Argument::Closure(name)) = find(key) {
                self.aside.extend(self.functions.get(name.as_str()).into_iter().flatten());
            }
        }
        // `undo: false` is a word, too: another step's undo takes back what this one does.
        let undo = find("undo").is_some_and(|value| value.literal().is_none_or(|v| !v.is_unit()));
        let is_off = |value: &Argument| value.literal().is_some_and(|v| v.is_unit() || v.as_bool() == Ok(false));
        let is_set = |key: &str| find(key).is_some_and(|value| !is_off(value));
        Declared { undo, probe: is_set("probe"), repeatable: is_set("repeatable"), is_computed: false }
    }
}

/// A function that makes a step of a body it is given.
struct Maker<'f> {
    /// The call of `step` in it.
    call: &'f Call,
    parameters: &'f [String],
}

impl<'f> Maker<'f> {
    /// What the step gets as its argument `at` when the function is called like this.
    fn argument(&self, at: usize, outer: &'f Call) -> Option<&'f Argument> {
        let argument = self.call.arguments.get(at)?;
        let parameter = match argument {
            Argument::Variable(name) => self.parameters.iter().position(|parameter| parameter == name),
            _ => None,
        };
        parameter.map_or(Some(argument), |parameter| outer.arguments.get(parameter))
    }
}

/// Finds what a call means.
struct Calls<'f, 'r> {
    files: &'f BTreeMap<String, File>,
    units: HashMap<&'f str, usize>,
    /// By name, those that change the outside world.
    effects: HashMap<&'r str, Vec<&'r Function>>,
}

impl<'f, 'r> Calls<'f, 'r> {
    fn new(files: &'f BTreeMap<String, File>, reference: &'r Reference) -> Self {
        let mut effects: HashMap<_, Vec<_>> = HashMap::new();
        for function in reference.functions.iter().filter(|function| function.has_effect) {
            effects.entry(function.signature.name.as_str()).or_default().push(function);
        }
        let units = files.keys().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
        Self { files, units, effects }
    }

    /// Whether a call is that of a primitive with an effect, and the functions of scripts that it may mean.
    fn resolve(&self, unit: &Unit<'f>, call: &Call, units: &[Unit<'f>]) -> (bool, Vec<Node>) {
        let name = call.name.as_str();
        let here = self.units[unit.file.source.id.as_str()];
        let own = |found: Vec<usize>| found.into_iter().map(|index| (here, Some(index))).collect();
        match call.namespace.split_first() {
            Some((root, inner)) => match unit.file.imports.get(root) {
                Some(imported) => (false, self.in_module(call, imported.as_deref(), inner, units)),
                None => (self.is_effect(name, |function| function.namespace == root), Vec::new()),
            },
            None if call.is_method => (self.is_effect_of_handle(call), own(unit.functions(name, call.arity).collect())),
            None if name == "Fn" => {
                let named = call.arguments.first().and_then(Argument::text);
                (false, own(named.and_then(|name| unit.functions.get(name.as_str()).cloned()).unwrap_or_default()))
            }
            None => (false, own(unit.functions(name, call.arity).collect())),
        }
    }

    fn in_module(&self, call: &Call, id: Option<&str>, inner: &[String], units: &[Unit<'f>]) -> Vec<Node> {
        let Some(module) = id.and_then(|id| module_of(self.files, id, inner)) else { return Vec::new() };
        let index = self.units[module.source.id.as_str()];
        units[index].functions(&call.name, call.arity).map(|function| (index, Some(function))).collect()
    }

    fn is_effect(&self, name: &str, is_meant: impl Fn(&Function) -> bool) -> bool {
        self.effects.get(name).is_some_and(|functions| functions.iter().any(|function| is_meant(function)))
    }

    /// `container.stop()`; `list.remove(0)` is another thing.
    fn is_effect_of_handle(&self, call: &Call) -> bool {
        let takes_map = matches!(call.arguments.first(), Some(Argument::Map(_)));
        let takes = |function: &Function| {
            let counts = function.signature.required()..=function.signature.parameters.len();
            function.signature.receiver().is_some() && counts.contains(&(call.arity + 1))
        };
        !is_mutator(&call.name, call.arity, takes_map) && self.is_effect(&call.name, takes)
    }
}
