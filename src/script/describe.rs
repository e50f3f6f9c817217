//! What a script is for, which parameters it takes and which steps it has, without running it; and the reference
//! of everything scripts may call.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rhai::Dynamic;
use serde_json::{Value, json};

use super::api::{Function, Reference};
use super::check::{File, is_global};
use super::durability::{self, AfterKill};
use super::engine::Language;
use super::flow::Flow;
use super::source::Source;
use super::tree::{Argument, Call, Tree};

/// A parameter as far as the text of the script tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub type_name: String,
    pub help: String,
    /// As a script would write it; `None` when it is required. `…` when it is computed.
    pub default: Option<String>,
    /// The default as plain data, where there is one.
    pub value: Option<Value>,
    pub choices: Vec<String>,
    /// The module that asks for it; empty for the script itself.
    pub module: String,
}

/// A step and how deep it stands in others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub depth: usize,
    pub commit: bool,
    pub has_undo: bool,
    /// It comes after the script's `no_rollback`.
    pub is_one_way: bool,
    /// What becomes of it when the run is killed in it; `None` where the text does not tell.
    pub after_kill: Option<AfterKill>,
    /// It stands in a branch or a loop: it may not come, or more than once.
    pub is_conditional: bool,
}

/// A script's own account of itself.
#[derive(Clone, Debug, Default)]
pub struct Description {
    pub name: String,
    pub origin: String,
    pub doc: String,
    pub parameters: Vec<Parameter>,
    /// Whether a parameter's name is computed, so that others may exist.
    pub has_computed_parameters: bool,
    pub steps: Vec<Step>,
}

/// Describes a script. Modules that can't be read are left out: `check` and `run` say why.
pub fn describe(language: &Language, source: &Source, tree: Tree) -> Description {
    let mut description = Description {
        name: source.name.clone(),
        origin: source.origin.to_string(),
        doc: tree.doc.clone(),
        ..Description::default()
    };
    let mut files = BTreeMap::new();
    parameters(language, source, tree, "", &mut files, &mut description);
    description.steps = steps(&files, &source.id, &language.reference);
    description
}

/// Reads the parameters of a file and of what it imports; the files are kept.
fn parameters(
    language: &Language,
    source: &Source,
    tree: Tree,
    module: &str,
    files: &mut BTreeMap<String, File>,
    into: &mut Description,
) {
    for call in tree.calls.iter().filter(|call| is_global(call, "param")) {
        match parameter(call, module) {
            Some(parameter) if into.parameters.iter().all(|known| known.name != parameter.name) => {
                into.parameters.push(parameter);
            }
            Some(_) => {}
            None => into.has_computed_parameters = true,
        }
    }
    let imports: Vec<_> = tree.imports.iter().map(|import| (import.alias.clone(), import.name.clone())).collect();
    files.insert(source.id.clone(), File { source: source.clone(), tree, imports: BTreeMap::new() });
    let mut known = BTreeMap::new();
    for (alias, name) in imports {
        into.has_computed_parameters |= name.is_none();
        let imported = name.and_then(|name| Some((language.places.module(Some(source), &name).ok()?, name)));
        let id = imported.and_then(|(imported, name)| {
            if !files.contains_key(&imported.id) {
                let ast = language.engine.compile(&*imported.text).ok()?;
                parameters(language, &imported, Tree::new(&ast), &name, files, into);
            }
            Some(imported.id)
        });
        known.insert(alias, id);
    }
    if let Some(file) = files.get_mut(&source.id) {
        file.imports = known;
    }
}

fn parameter(call: &Call, module: &str) -> Option<Parameter> {
    let name = call.arguments.first()?.text()?;
    let empty = Vec::new();
    let options = match call.arguments.get(1) {
        Some(Argument::Map(options)) => options,
        None => &empty,
        Some(_) => return Some(computed(name, module)),
    };
    let find = |key: &str| options.iter().find(|(k, _)| k == key).map(|(_, value)| value.literal());
    let text = |key: &str| find(key).map(|value| value.map_or_else(|| COMPUTED.to_owned(), ToString::to_string));
    let default = find("default");
    let type_name = text("type").unwrap_or_else(|| match default.flatten() {
        Some(value) if value.is_int() => "int".into(),
        Some(value) if value.is_bool() => "bool".into(),
        Some(value) if value.is_array() => "list".into(),
        _ if find("choices").is_some() => "choice".into(),
        _ => "string".into(),
    });
    let choices = find("choices").flatten().and_then(|v| v.clone().into_typed_array::<String>().ok());
    Some(Parameter {
        name,
        type_name,
        help: text("help").unwrap_or_default(),
        default: default.map(|value| value.map_or_else(|| "…".to_owned(), written)),
        value: default.flatten().filter(|v| !v.is_unit()).and_then(|v| serde_json::to_value(v).ok()),
        choices: choices.unwrap_or_default(),
        module: module.to_owned(),
    })
}

/// The type of a parameter that is known only when the script runs.
pub const COMPUTED: &str = "…";

fn computed(name: String, module: &str) -> Parameter {
    let type_name = COMPUTED.to_owned();
    let (help, choices, module) = (String::new(), Vec::new(), module.to_owned());
    Parameter { name, type_name, help, default: Some("…".into()), value: None, choices, module }
}

/// A value as a script writes it.
fn written(value: &Dynamic) -> String {
    match value.is_unit() {
        true => "()".into(),
        false => value.clone().into_string().map_or_else(|_| value.to_string(), |text| format!("{text:?}")),
    }
}

fn steps(files: &BTreeMap<String, File>, script: &str, reference: &Reference) -> Vec<Step> {
    let Some(File { tree, .. }) = files.get(script) else { return Vec::new() };
    let flow = Flow::new(files, script, reference);
    let mut order = Order { tree, steps: tree.calls.iter().filter(|call| is_step(call)).collect(), found: Vec::new() };
    order.reach(None, Place::default(), &mut Vec::new());
    // Those of functions that only others call.
    for call in &order.steps {
        if !order.found.iter().any(|(known, _)| known.position == call.position) {
            order.found.push((call, Place { depth: order.depth(call), is_conditional: true }));
        }
    }
    let described = |(call, place): &(&Call, Place)| {
        let at = flow.step_at(call);
        let after_kill = at.and_then(|step| AfterKill::of(&flow, step));
        step(call, *place, after_kill, at.is_some_and(|step| durability::is_one_way(&flow, step)))
    };
    order.found.iter().filter_map(described).collect()
}

fn is_step(call: &Call) -> bool {
    is_global(call, "step")
}

/// Where a step stands: in how many others, and whether only some runs come to it.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: usize,
    is_conditional: bool,
}

/// The steps in the order in which a run comes to them: those of a function stand wherever it is called.
struct Order<'t> {
    tree: &'t Tree,
    steps: Vec<&'t Call>,
    found: Vec<(&'t Call, Place)>,
}

impl<'t> Order<'t> {
    /// Those of the script's text, or of one of its functions, which is called at `place`.
    fn reach(&mut self, function: Option<usize>, place: Place, path: &mut Vec<usize>) {
        let tree = self.tree;
        let of_function: Vec<_> = tree.calls.iter().filter(|call| self.home(call.owner) == function).collect();
        for call in of_function {
            let here = Place {
                depth: place.depth + self.depth(call),
                is_conditional: place.is_conditional || call.block != 0,
            };
            if is_step(call) {
                self.found.push((call, here));
            }
            let called = tree.function(&call.name).filter(|_| call.namespace.is_empty() && !call.is_method);
            if let Some(called) = called.filter(|index| !path.contains(index)) {
                path.push(called);
                self.reach(Some(called), here, path);
                path.pop();
            }
        }
    }

    /// The function of a name in which something stands; closures stand where they are written.
    fn home(&self, owner: Option<usize>) -> Option<usize> {
        let mut home = owner;
        for _ in 0..32 {
            let Some(closure) = home.map(|index| &self.tree.functions[index]).filter(|f| f.is_closure()) else { break };
            home = self.tree.closures.iter().find(|known| known.name == closure.name).and_then(|known| known.owner);
        }
        home
    }

    /// In how many steps' closures a call stands.
    fn depth(&self, call: &Call) -> usize {
        let mut depth = 0;
        let mut owner = call.owner;
        // A closure stands in whichever function its step does.
        while let Some(index) = owner.filter(|_| depth < 32) {
            let name = &self.tree.functions[index].name;
            let Some(outer) = self.steps.iter().find(|step| step.closures.contains(name)) else { break };
            depth += 1;
            owner = outer.owner;
        }
        depth
    }
}

fn step(call: &Call, place: Place, after_kill: Option<AfterKill>, is_one_way: bool) -> Option<Step> {
    let name = call.arguments.first()?.text().unwrap_or_else(|| "…".into());
    let options = match call.arguments.get(2) {
        Some(Argument::Map(options)) => options.as_slice(),
        _ => &[],
    };
    let commit = options.iter().any(|(k, v)| k == "commit" && v.literal().is_some_and(|v| v.as_bool() == Ok(true)));
    let has_undo = !is_one_way && options.iter().any(|(key, _)| key == "undo");
    let Place { depth, is_conditional } = place;
    Some(Step { name, depth, commit, has_undo, is_one_way, after_kill, is_conditional })
}

impl Description {
    pub fn render(&self) -> String {
        let mut out = format!("{} ({})\n", self.name, self.origin);
        if !self.doc.is_empty() {
            let _ = writeln!(out, "\n{}", self.doc);
        }
        if !self.parameters.is_empty() {
            out.push_str("\nParameters:\n");
            let width = self.parameters.iter().map(|p| p.name.len() + p.type_name.len()).max().unwrap_or_default() + 2;
            for parameter in &self.parameters {
                let _ = writeln!(out, "{}", parameter.render(width));
            }
        }
        if !self.steps.is_empty() {
            out.push_str("\nSteps:\n");
            for (number, step) in self.steps.iter().enumerate() {
                let mark = if step.commit { "  (from here on nothing is undone by itself)" } else { "" };
                let undo = match (step.has_undo, step.is_one_way) {
                    (true, _) => "  (can be undone)",
                    (_, true) => "  (the run can't be put back any more)",
                    _ => "",
                };
                let kill = step.after_kill.map(|kill| format!("  (after a kill: {})", kill.in_words()));
                let kill = kill.unwrap_or_default();
                let may = if step.is_conditional { "  (where its condition holds)" } else { "" };
                let (number, indent) = (number + 1, "  ".repeat(step.depth));
                let _ = writeln!(out, "{number:>4}  {indent}{}{may}{undo}{kill}{mark}", step.name);
            }
        }
        out
    }

    pub fn to_json(&self) -> Value {
        let parameters = self.parameters.iter().map(|p| {
            json!({"name": p.name, "type": p.type_name, "help": p.help, "default": p.default, "choices": p.choices,
                   "module": p.module, "required": p.default.is_none()})
        });
        let steps = self.steps.iter().map(|s| {
            json!({"name": s.name, "depth": s.depth, "commit": s.commit, "undo": s.has_undo,
                   "one_way": s.is_one_way, "after_kill": s.after_kill.map(AfterKill::name),
                   "conditional": s.is_conditional})
        });
        json!({"name": self.name, "origin": self.origin, "doc": self.doc,
               "parameters": parameters.collect::<Vec<_>>(), "steps": steps.collect::<Vec<_>>()})
    }
}

impl Parameter {
    fn render(&self, width: usize) -> String {
        let head = format!("{}: {}", self.name, self.type_name);
        let default = match self.default.as_deref() {
            None => "required".to_owned(),
            Some("()") => "optional".to_owned(),
            Some(default) => format!("default {default}"),
        };
        let choices = if self.choices.is_empty() { String::new() } else { format!("; {}", self.choices.join(", ")) };
        let help = if self.help.is_empty() { String::new() } else { format!("{}  ", self.help) };
        format!("  {head:<width$}  {help}[{default}{choices}]")
    }
}

/// The reference as text: all of it, a namespace (`docker`), a function (`docker::stop`) or a type (`Container`).
pub fn api(reference: &Reference, topic: Option<&str>) -> Option<String> {
    let mut out = String::new();
    for (namespace, doc) in &reference.namespaces {
        let functions: Vec<_> = reference.functions.iter().filter(|f| f.namespace == *namespace).collect();
        let is_whole = topic.is_none_or(|t| t == *namespace || t == "global" && namespace.is_empty());
        let shown: Vec<_> = functions.into_iter().filter(|f| is_whole || topic == Some(&*f.path())).collect();
        if shown.is_empty() {
            continue;
        }
        let title = if namespace.is_empty() { "global" } else { namespace };
        let _ = writeln!(out, "{title}: {doc}\n");
        for function in shown {
            let _ = writeln!(out, "{}\n", render_function(function));
        }
    }
    for type_name in types(reference) {
        if topic.is_none() || topic == Some(type_name) {
            let _ = writeln!(out, "{}", render_type(reference, type_name));
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Everything `api` can be asked for.
pub fn topics(reference: &Reference) -> Vec<String> {
    let namespaces = reference.namespaces.iter().map(|(n, _)| if n.is_empty() { "global" } else { n }.to_owned());
    let functions = reference.functions.iter().map(Function::path);
    namespaces.chain(functions).chain(types(reference).into_iter().map(str::to_owned)).collect()
}

fn types(reference: &Reference) -> Vec<&'static str> {
    let mut types: Vec<_> = reference.properties.iter().map(|p| p.type_name).collect();
    types.dedup();
    types
}

fn render_function(function: &Function) -> String {
    let prefix = if function.namespace.is_empty() { String::new() } else { format!("{}::", function.namespace) };
    let doc = function.doc.lines().map(|line| format!("    {line}").trim_end().to_owned());
    format!("  {prefix}{}\n{}", function.signature, doc.collect::<Vec<_>>().join("\n"))
}

fn render_type(reference: &Reference, type_name: &str) -> String {
    let properties: Vec<_> = reference.properties.iter().filter(|p| p.type_name == type_name).collect();
    let width = properties.iter().map(|p| p.name.len() + p.value_type.len()).max().unwrap_or_default() + 2;
    let mut out = format!("{type_name}:\n");
    for property in properties {
        let head = format!("{}: {}", property.name, property.value_type);
        let _ = writeln!(out, "  .{head:<width$}  {}", property.doc.replace('\n', " "));
    }
    out
}

/// The reference as JSON.
pub fn api_json(reference: &Reference) -> Value {
    let functions = reference.functions.iter().map(|f| {
        let parameters = f.signature.parameters.iter();
        let parameters = parameters.map(|p| json!({"name": p.name, "type": p.type_name, "default": p.default}));
        json!({"path": f.path(), "signature": f.signature.to_string(), "doc": f.doc, "returns": f.signature.returns,
               "parameters": parameters.collect::<Vec<_>>()})
    });
    let namespaces = reference.namespaces.iter().map(|(name, doc)| json!({"name": name, "doc": doc}));
    let properties = reference
        .properties
        .iter()
        .map(|p| json!({"type": p.type_name, "name": p.name, "value": p.value_type, "doc": p.doc}));
    json!({"namespaces": namespaces.collect::<Vec<_>>(), "functions": functions.collect::<Vec<_>>(),
           "properties": properties.collect::<Vec<_>>()})
}
