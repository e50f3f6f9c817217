//! Which statements are steps, and what the steps are called.

use std::collections::{BTreeSet, HashSet};

use super::draft::{Draft, Fate, Form, Unit};
use super::split::Kind;
use crate::script::check::{Checker, is_global};
use crate::script::flow::Flow;
use crate::script::mutation::is_mutator;
use crate::script::tree::{Argument, Call, Tree};

/// Before the number of a statement: the step it is tried in.
pub const PROBE: &str = "probe of statement ";
/// Longer names are cut.
const LONGEST: usize = 60;

/// What is known of a statement in its probe.
struct Probe {
    unit: usize,
    acts: bool,
    /// Whether it calls something whose effect would not show.
    calls_unknown: bool,
    /// Whether it makes steps itself.
    has_steps: bool,
    /// Variables from outside that it changes.
    changed: Vec<String>,
}

impl Draft<'_> {
    /// Decides which statements are steps. Where an input had an effect and none of its statements shows one, all that
    /// call something unknown are: a function was kept in a variable.
    pub fn make_steps(&mut self) {
        let probes = self.probes();
        let mut names = self.names();
        for input in 0..self.inputs.len() {
            let of_input = || probes.iter().filter(|probe| self.units[probe.unit].input == input);
            let is_hidden = self.inputs[input].had_effect && !of_input().any(|probe| probe.acts || probe.has_steps);
            let chosen: Vec<_> = of_input().filter(|p| p.acts || is_hidden && p.calls_unknown).collect();
            for probe in chosen {
                let name = unique(&self.units[probe.unit].statement.words, input, &mut names);
                self.units[probe.unit].fate = Fate::Step { name, changed: probe.changed.clone() };
            }
        }
    }

    fn probes(&self) -> Vec<Probe> {
        let source = self.source(&self.render(Form::Probed).text);
        let files = Checker::new(&self.language).files(&source);
        let flow = Flow::new(&files, &source.id, &self.language.reference);
        let Some(main) = flow.units.iter().position(|unit| unit.file.source.id == source.id) else { return Vec::new() };
        let tree = &flow.units[main].file.tree;
        let kept = kept_closures(tree);
        let kept_nodes = kept.iter().map(|closure| (main, Some(*closure))).collect();
        let steps = flow.steps.iter().filter(|step| step.unit == main && step.call.owner.is_none());
        let probes = steps.filter_map(|step| {
            let unit: usize = step.name.as_ref()?.strip_prefix(PROBE)?.parse().ok()?;
            let (_, body) = step.body?;
            let inside = inside(tree, body?, &kept);
            let calls = || tree.calls.iter().filter(|call| call.owner.is_some_and(|owner| inside.contains(&owner)));
            let had_effect = self.inputs[self.units[unit].input].had_effect;
            let acts = flow.changes_without(step, &kept_nodes) && (had_effect || !is_definition(&self.units[unit]));
            let calls_unknown = calls().any(|call| !self.is_known(call));
            let has_steps = calls().any(|call| is_global(call, "step"));
            Some(Probe { unit, acts, calls_unknown, has_steps, changed: changed(tree, body?, &inside) })
        });
        probes.collect()
    }

    /// Whether a call is that of a primitive, which would show its effect, or of an operator.
    fn is_known(&self, call: &Call) -> bool {
        let is_name = call.name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let path = call.namespace.iter().chain([&call.name]).cloned().collect::<Vec<_>>().join("::");
        !is_name || call.name == "curry" || self.language.reference.function(&path).is_some()
    }

    /// Names of steps that were typed.
    fn names(&self) -> BTreeSet<String> {
        let text = self.render(Form::Typed).text;
        let Ok(ast) = self.language.engine.compile(&text) else { return BTreeSet::new() };
        let tree = Tree::new(&ast);
        let steps = tree.calls.iter().filter(|call| is_global(call, "step"));
        steps.filter_map(|call| call.arguments.first().and_then(Argument::text)).collect()
    }
}

/// Whether a declaration or assignment only keeps a function: `let stop = |c| docker::stop(c)`.
fn is_definition(unit: &Unit) -> bool {
    match &unit.statement.kind {
        Kind::Declaration { value, .. } | Kind::Assignment { value, .. } => {
            value.starts_with(['|', '[', '#']) || value.starts_with("Fn(")
        }
        _ => false,
    }
}

/// Closures that no call is given, or one that only puts them away (`list.push(|| …)`): they don't run here.
fn kept_closures(tree: &Tree) -> HashSet<usize> {
    let runs = |call: &&Call| {
        // These methods of a list ask the closure what to leave in it.
        let asks = matches!(call.name.as_str(), "retain" | "drain" | "sort" | "fill_with" | "dedup");
        call.name != "curry" && (asks || !call.is_method || !is_mutator(&call.name, call.arity, false))
    };
    let run: HashSet<_> = tree.calls.iter().filter(runs).flat_map(|call| call.closures.iter()).collect();
    let kept = tree.closures.iter().filter(|closure| !run.contains(&closure.name));
    kept.filter_map(|closure| tree.function(&closure.name)).collect()
}

/// A closure, with those in it that run when it does.
fn inside(tree: &Tree, body: usize, kept: &HashSet<usize>) -> HashSet<usize> {
    let mut inside = HashSet::from([body]);
    let mut open = vec![body];
    while let Some(owner) = open.pop() {
        let inner = tree.closures.iter().filter(|closure| closure.owner == Some(owner));
        let inner = inner.filter_map(|closure| tree.function(&closure.name));
        open.extend(inner.filter(|index| !kept.contains(index) && inside.insert(*index)));
    }
    inside
}

/// The variables around a closure that it changes, in the order of the text.
fn changed(tree: &Tree, body: usize, inside: &HashSet<usize>) -> Vec<String> {
    let name = &tree.functions[body].name;
    let captures = tree.closures.iter().find(|closure| closure.name == *name).map(|closure| &closure.captures);
    let changes = tree.changes.iter().filter(|change| change.owner.is_some_and(|owner| inside.contains(&owner)));
    let mut names: Vec<String> = Vec::new();
    for change in changes {
        let is_outer = captures.is_some_and(|captures| captures.contains(&change.name));
        if is_outer && !names.contains(&change.name) {
            names.push(change.name.clone());
        }
    }
    names
}

/// A name of words that no other step has.
fn unique(words: &str, input: usize, names: &mut BTreeSet<String>) -> String {
    let mut name = String::new();
    for word in words.split(' ') {
        if !name.is_empty() && name.len() + word.len() >= LONGEST {
            break;
        }
        name.push_str(if name.is_empty() { "" } else { " " });
        name.extend(word.chars().take(LONGEST));
    }
    if name.is_empty() {
        name = format!("input {}", input + 1);
    }
    let numbered = (2_usize..).map(|number| format!("{name} {number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name)).unwrap_or(name);
    names.insert(free.clone());
    free
}
