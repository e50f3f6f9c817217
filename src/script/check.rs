//! Reads a script as a proof-reader would, with the modules it imports: what would fail when it runs, at 2 a.m.
//!
//! Only what is certain is a finding. A method whose name is also a key of some map is let pass, because a map
//! can hold functions; types of arguments are not followed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use rhai::{Engine, EvalAltResult, ParseError, Position};

use super::api::nearest;
use super::durability;
use super::engine::Language;
use super::errors::{self, Finding, Report};
use super::flow::Flow;
use super::loader::Aliases;
use super::outdated;
use super::source::{Source, definition};
use super::tree::{Argument, Call, Tree, Variable};
use crate::world::side_by_side::up_to;
use crate::world::{Error, Kind};

/// A source that was read, with what its imports are.
pub struct File {
    pub source: Source,
    pub tree: Tree,
    /// Alias to the id of the imported source; `None` when it can't be known or read.
    pub imports: BTreeMap<String, Option<String>>,
}

/// Reads scripts and their modules.
pub struct Checker<'l> {
    language: &'l Language,
    files: BTreeMap<String, File>,
    /// What was found under a name, by the directory that it was looked for in first: most modules are imported often.
    modules: HashMap<(Option<PathBuf>, String), Source>,
    findings: Vec<Finding>,
}

impl<'l> Checker<'l> {
    pub fn new(language: &'l Language) -> Self {
        let (files, modules) = (BTreeMap::new(), HashMap::new());
        Self { language, files, modules, findings: Vec::new() }
    }

    /// Everything found in a script and in what it imports, directly or not.
    pub fn check(&mut self, script: &Source) -> Vec<Finding> {
        let language = self.language;
        // What the engine knows takes a while to list: meanwhile the sources are read.
        let natives = std::thread::scope(|scope| {
            let natives = scope.spawn(|| Natives::new(language));
            self.read(script);
            natives.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let files = std::mem::take(&mut self.files);
        self.aliases(&files, &script.id);
        for file in files.values() {
            self.shadowed(file);
            self.steps(file);
        }
        for wrong in wrong_names(language, &natives, &files) {
            self.find(wrong.source, wrong.position, wrong.error, false);
            if let Some(finding) = self.findings.last_mut() {
                finding.module = wrong.module;
            }
        }
        for (source, position, error) in durability::warnings(&Flow::new(&files, &script.id, &language.reference)) {
            self.find(source, position, error, true);
        }
        self.findings = outdated::told(files.values().map(|file| &file.source), std::mem::take(&mut self.findings));
        self.files = files;
        self.findings.sort_by_key(|f| {
            let place = f.report.place.as_ref();
            (f.is_warning, place.map(|p| (p.file != script.id, p.file.clone(), p.line, p.column)))
        });
        std::mem::take(&mut self.findings)
    }

    /// A script and what it imports, directly or not, by id. What can't be read is left out.
    pub fn files(mut self, script: &Source) -> BTreeMap<String, File> {
        self.read(script);
        self.files
    }

    /// Reads a source and what it imports, directly or not, each once.
    fn read(&mut self, source: &Source) {
        let mut ahead = read_all(&self.language.engine, self.expected(source));
        let mut found = vec![source.clone()];
        while !found.is_empty() {
            let missing = found.iter().filter(|source| !ahead.contains_key(&source.id)).cloned().collect();
            ahead.extend(read_all(&self.language.engine, missing));
            for source in &found {
                self.language.sources.add(source);
                let Some(tree) = ahead.remove(&source.id) else { continue };
                match tree {
                    Ok(tree) => {
                        let file = File { source: source.clone(), tree, imports: BTreeMap::new() };
                        self.files.insert(source.id.clone(), file);
                    }
                    Err(error) => self.unreadable(source, error),
                }
            }
            found = found.iter().flat_map(|source| self.imports(source)).collect();
            found.sort_by(|a, b| a.id.cmp(&b.id));
            found.dedup_by(|a, b| a.id == b.id);
        }
        let read: BTreeSet<_> = self.files.keys().cloned().collect();
        for id in self.files.values_mut().flat_map(|file| file.imports.values_mut()) {
            *id = id.take().filter(|id| read.contains(id));
        }
    }

    /// A script and its modules as the lines of their texts tell them: which they are is known for sure when a text has
    /// been read, and to wait for that would leave processors idle.
    fn expected(&mut self, script: &Source) -> Vec<Source> {
        let mut found = vec![script.clone()];
        let mut read = 0;
        while let Some(source) = found.get(read).cloned() {
            read += 1;
            let names = source.text.lines().filter_map(|line| Some(line.strip_prefix("import \"")?.split_once('"')?.0));
            for module in names.filter_map(|name| self.module(&source, name).ok()) {
                if found.iter().all(|known| known.id != module.id) {
                    found.push(module);
                }
            }
        }
        found
    }

    /// The module that a source means by a name.
    fn module(&mut self, importer: &Source, name: &str) -> Result<Source, Error> {
        let key = (importer.directory().map(Path::to_owned), name.to_owned());
        if let Some(module) = self.modules.get(&key) {
            return Ok(module.clone());
        }
        let module = self.language.places.module(Some(importer), name)?;
        self.modules.insert(key, module.clone());
        Ok(module)
    }

    fn unreadable(&mut self, source: &Source, error: ParseError) {
        let error = EvalAltResult::ErrorParsing(*error.0, error.1);
        let report = errors::report(&error, &source.id, &self.language.sources, &self.language.reference);
        self.findings.push(Finding { report, module: None, is_warning: false });
    }

    /// Notes what the aliases of a source mean; gives the modules that are not read yet.
    fn imports(&mut self, source: &Source) -> Vec<Source> {
        let Some(file) = self.files.get(&source.id) else { return Vec::new() };
        let imports: Vec<_> = file.tree.imports.iter().map(|i| (i.name.clone(), i.alias.clone(), i.position)).collect();
        let mut known = BTreeMap::new();
        let mut unread = Vec::new();
        for (name, alias, position) in imports {
            let module = name.map(|name| self.module(source, &name)).transpose();
            let module = module.unwrap_or_else(|error| {
                self.find(source, position, error, false);
                None
            });
            known.insert(alias, module.as_ref().map(|module| module.id.clone()));
            unread.extend(module.filter(|module| !self.files.contains_key(&module.id)));
        }
        if let Some(file) = self.files.get_mut(&source.id) {
            file.imports = known;
        }
        unread
    }

    /// One alias for two modules; the script comes first, then its modules by name.
    fn aliases(&mut self, files: &BTreeMap<String, File>, script: &str) {
        let mut aliases = Aliases::default();
        let mut ordered: Vec<_> = files.values().collect();
        ordered.sort_by_key(|file| file.source.id != script);
        for file in ordered {
            for import in &file.tree.imports {
                let Some(Some(module)) = file.imports.get(&import.alias) else { continue };
                if let Err(error) = aliases.note(&import.alias, module, &file.source.id) {
                    self.find(&file.source, import.position, error, false);
                }
            }
        }
    }

    /// The engine would take a script's own `step` for the primitive.
    fn shadowed(&mut self, file: &File) {
        let reserved = self.language.reference.global_names();
        for function in file.tree.functions.iter().filter(|f| reserved.contains(&f.name)) {
            let position = definition(&file.source.text, &function.name);
            self.find(&file.source, position, super::engine::shadows(&function.name), false);
        }
    }

    /// Two steps of one name next to each other can only be told apart by their order.
    fn steps(&mut self, file: &File) {
        let mut seen = HashMap::new();
        for call in file.tree.calls.iter().filter(|c| is_global(c, "step")) {
            let Some(name) = call.arguments.first().and_then(Argument::text) else { continue };
            if let Some(first) = seen.insert((call.owner, call.block, name.clone()), call.position) {
                let line = first.line().unwrap_or_default();
                let error = Error::failed("check.same_step", format!("a second step `{name}`, as in line {line}"))
                    .hint("give each step a name of its own, so that a journal can be read");
                self.find(&file.source, call.position, error, true);
            }
        }
    }

    fn find(&mut self, source: &Source, position: Position, error: Error, is_warning: bool) {
        let place = self.language.sources.place(&source.id, position);
        let report = Report { place, ..Report::from(&error) };
        self.findings.push(Finding { report, module: None, is_warning });
    }
}

/// Reads sources; gives what came of each by its id.
fn read_all(engine: &Engine, mut sources: Vec<Source>) -> HashMap<String, Result<Tree, ParseError>> {
    // The longest first, so that none is left for the end.
    sources.sort_by_key(|source| Reverse(source.text.len()));
    let read = |source: &Source| engine.compile(&*source.text).map(|ast| Tree::new(&ast));
    let Ok(trees) = up_to(READERS, &sources, |_, source| Ok::<_, Infallible>(read(source)));
    sources.into_iter().map(|source| source.id).zip(trees).collect()
}

/// How many sources are read at the same time: nothing else of a check takes as long. With more, the memory of each
/// thread costs what they gain.
const READERS: usize = 2;

/// Whether a call is that of a global primitive.
pub fn is_global(call: &Call, name: &str) -> bool {
    call.name == name && call.namespace.is_empty() && !call.is_method
}

/// `a::b::f` calls into a module that the module `a` imports as `b`: what `id` and `["b"]` mean together.
pub fn module_of<'f>(files: &'f BTreeMap<String, File>, id: &str, inner: &[String]) -> Option<&'f File> {
    let file = files.get(id)?;
    match inner.split_first() {
        None => Some(file),
        Some((next, rest)) => module_of(files, file.imports.get(next)?.as_deref()?, rest),
    }
}

/// Functions of the engine: its packages and the primitives, by name with the argument counts they take.
struct Natives {
    global: HashMap<String, BTreeSet<usize>>,
    /// `docker` → `stop` → counts
    namespaces: HashMap<String, HashMap<String, BTreeSet<usize>>>,
}

/// Understood by the engine itself, with any arguments.
const KEYWORDS: [&str; 13] = [
    "print",
    "debug",
    "type_of",
    "eval",
    "Fn",
    "call",
    "curry",
    "is_shared",
    "is_def_fn",
    "is_def_var",
    "exit",
    "this",
    "to_string",
];

impl Natives {
    fn new(language: &Language) -> Self {
        let names = language.engine.collect_fn_metadata(
            None,
            |info| Some((info.namespace.to_string(), info.metadata.name.to_string(), info.metadata.num_params)),
            true,
        );
        let mut natives = Self { global: HashMap::new(), namespaces: HashMap::new() };
        for (namespace, name, count) in names {
            let functions = match namespace.as_str() {
                "" => &mut natives.global,
                _ => natives.namespaces.entry(namespace).or_default(),
            };
            functions.entry(name).or_default().insert(count);
        }
        natives
    }
}

/// A call or a variable that means nothing.
struct Wrong<'f> {
    source: &'f Source,
    position: Position,
    error: Error,
    /// The module in which it was looked for.
    module: Option<String>,
}

/// The calls and variables that mean nothing.
fn wrong_names<'f>(language: &Language, natives: &Natives, files: &'f BTreeMap<String, File>) -> Vec<Wrong<'f>> {
    let keys: BTreeSet<_> = files.values().flat_map(|f| f.tree.keys.iter().map(String::as_str)).collect();
    let mut found = Vec::new();
    for file in files.values() {
        let calls = Calls { natives, language, files, keys: &keys, file };
        let wrong = |position, namespace: &[String], error| Wrong {
            source: &file.source,
            position,
            error,
            module: calls.module(namespace),
        };
        found.extend(file.tree.calls.iter().filter_map(|c| Some(wrong(c.position, &c.namespace, calls.wrong(c)?))));
        let variables = file.tree.variables.iter();
        found.extend(variables.filter_map(|v| Some(wrong(v.position, &v.namespace, calls.wrong_variable(v)?))));
    }
    found
}

/// Judges the calls of one file.
struct Calls<'c> {
    natives: &'c Natives,
    language: &'c Language,
    files: &'c BTreeMap<String, File>,
    keys: &'c BTreeSet<&'c str>,
    file: &'c File,
}

impl Calls<'_> {
    /// The id of the module that a namespace means in the file.
    fn module(&self, namespace: &[String]) -> Option<String> {
        let (root, inner) = namespace.split_first()?;
        let module = module_of(self.files, self.file.imports.get(root)?.as_deref()?, inner)?;
        Some(module.source.id.clone())
    }

    /// What is wrong with a call, if anything certainly is.
    fn wrong(&self, call: &Call) -> Option<Error> {
        let is_name = call.name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !is_name || call.namespace.is_empty() && KEYWORDS.contains(&call.name.as_str()) {
            return self.pointer(call);
        }
        match call.namespace.split_first() {
            Some((root, inner)) => self.wrong_qualified(call, root, inner),
            None if call.is_method => self.wrong_method(call),
            None => self.wrong_plain(call),
        }
    }

    /// `Fn("name")` must name a function.
    fn pointer(&self, call: &Call) -> Option<Error> {
        let name = (call.name == "Fn" && !call.is_method).then(|| call.arguments.first()?.text())??;
        let own = self.file.tree.function(&name).is_some();
        if own || self.natives.global.contains_key(&name) || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        Some(unknown(format!("there is no function `{name}`"), nearest(&name, self.own_names().into_iter())))
    }

    fn wrong_plain(&self, call: &Call) -> Option<Error> {
        let own = self.own(&call.name);
        if own.iter().any(|(count, _)| *count == call.arity) || takes(&self.natives.global, call, call.arity) {
            return None;
        }
        if !own.is_empty() || self.natives.global.contains_key(&call.name) {
            return Some(self.wrong_count(call, own));
        }
        let paths: Vec<_> = self.language.reference.functions.iter().map(super::api::Function::path).collect();
        let natives = self.natives.global.keys().map(String::as_str);
        let candidates = paths.iter().map(String::as_str).chain(self.own_names()).chain(natives);
        let near = paths.iter().find(|path| path.ends_with(&format!("::{}", call.name))).map(String::as_str);
        let near = near.or_else(|| nearest(&call.name, candidates));
        Some(unknown(format!("there is no function `{}`", call.name), near))
    }

    /// A method is a function whose first argument is the receiver, or a script's function with `this`.
    fn wrong_method(&self, call: &Call) -> Option<Error> {
        let is_script = |count: usize| {
            let mut functions = self.files.values().flat_map(|file| &file.tree.functions);
            functions.any(|f| f.name == call.name && f.parameters.len() == count)
        };
        let known = takes(&self.natives.global, call, call.arity + 1) || is_script(call.arity);
        if known || self.keys.contains(call.name.as_str()) {
            return None;
        }
        if self.natives.global.contains_key(&call.name) || !self.own(&call.name).is_empty() {
            return Some(self.wrong_count(call, self.own(&call.name)));
        }
        let natives = self.natives.global.keys().map(String::as_str);
        let near = nearest(&call.name, natives.chain(self.own_names()));
        Some(unknown(format!("there is no method `{}`", call.name), near))
    }

    fn wrong_qualified(&self, call: &Call, root: &str, inner: &[String]) -> Option<Error> {
        let path = format!("{}::{}", call.namespace.join("::"), call.name);
        if let Some(imported) = self.file.imports.get(root) {
            // What can't be read has its own finding.
            let module = module_of(self.files, imported.as_deref()?, inner)?;
            return wrong_in_module(call, &path, module);
        }
        let Some(functions) = self.natives.namespaces.get(root) else { return Some(self.unknown_namespace(root)) };
        if !inner.is_empty() || takes(functions, call, call.arity) {
            return None;
        }
        if let Some(function) = self.language.reference.function(&path) {
            let signature = format!("{}::{}", function.namespace, function.signature);
            return Some(wrong_arity(&path, call.arity).hint(signature));
        }
        let paths: Vec<_> = self.language.reference.functions.iter().map(super::api::Function::path).collect();
        Some(unknown(format!("there is no function `{path}`"), nearest(&path, paths.iter().map(String::as_str))))
    }

    fn unknown_namespace(&self, name: &str) -> Error {
        if super::shipped::find(name).is_some() {
            return unknown(format!("there is no module or namespace `{name}`"), None)
                .hint(format!("import \"{name}\" as {name};"));
        }
        let namespaces = self.natives.namespaces.keys().map(String::as_str);
        let near = nearest(name, namespaces.chain(self.file.imports.keys().map(String::as_str)));
        unknown(format!("there is no module or namespace `{name}`"), near)
    }

    /// A variable of a module must be exported by it; a plain one must be a variable.
    fn wrong_variable(&self, variable: &Variable) -> Option<Error> {
        let Some((root, inner)) = variable.namespace.split_first() else { return self.read_as_function(variable) };
        if root == "global" {
            return self.wrong_constant(variable);
        }
        let Some(imported) = self.file.imports.get(root) else {
            return (!self.natives.namespaces.contains_key(root)).then(|| self.unknown_namespace(root));
        };
        let module = module_of(self.files, imported.as_deref()?, inner)?;
        let exports = &module.tree.exports;
        (!exports.contains(&variable.name)).then(|| {
            let message = format!("{} exports no `{}`", module.source.id, variable.name);
            unknown(message, nearest(&variable.name, exports.iter().map(String::as_str)))
        })
    }

    /// Inside a closure a name that is both a variable around it and a function of the file means the function.
    fn read_as_function(&self, variable: &Variable) -> Option<Error> {
        let closure = variable.owner?;
        let (tree, name) = (&self.file.tree, &variable.name);
        let own = |owner: usize| {
            tree.functions[owner].parameters.contains(name) || tree.declared.contains(&(Some(owner), name.clone()))
        };
        if !tree.functions[closure].is_closure() || tree.function(name).is_none() || own(closure) {
            return None;
        }
        let elsewhere = tree.declared.iter().any(|(_, declared)| declared == name)
            || tree.functions.iter().any(|f| !f.is_closure() && f.parameters.contains(name));
        elsewhere.then(|| {
            let message = format!("`{name}` is also a function of this file: inside a closure it means the function");
            Error::failed("check.function_not_variable", message).hint("give the variable another name")
        })
    }

    /// While a module's function runs, `global::` means the module's constants, in closures handed to it too.
    fn wrong_constant(&self, variable: &Variable) -> Option<Error> {
        let mut owner = variable.owner;
        for _ in 0..32 {
            let closure = &self.file.tree.functions[owner?];
            let mut calls = self.file.tree.calls.iter().filter(|call| call.closures.contains(&closure.name));
            let handed = calls.find(|c| c.namespace.first().is_some_and(|root| self.file.imports.contains_key(root)));
            if let Some(call) = handed {
                let (name, module) = (&variable.name, &call.namespace[0]);
                let message =
                    format!("`global::{name}` would be looked up in the module `{module}`, which runs this closure");
                let hint = format!("copy it before the call: let limit = global::{name};");
                return Some(Error::failed("check.constant", message).hint(hint));
            }
            owner = self.file.tree.calls.iter().find(|call| call.closures.contains(&closure.name))?.owner;
        }
        None
    }

    /// Own functions of a name: parameter count and signature.
    fn own(&self, name: &str) -> Vec<(usize, String)> {
        let functions = self.file.tree.functions.iter().filter(|f| f.name == name);
        functions.map(|f| (f.parameters.len(), f.signature())).collect()
    }

    fn own_names(&self) -> Vec<&str> {
        self.file.tree.functions.iter().filter(|f| !f.is_closure()).map(|f| f.name.as_str()).collect()
    }

    fn wrong_count(&self, call: &Call, own: Vec<(usize, String)>) -> Error {
        let error = wrong_arity(&call.name, call.arity);
        let native = self.language.reference.functions.iter().filter(|f| f.signature.name == call.name);
        let native = native.map(|f| format!("{}{}", prefix(f.namespace), f.signature));
        let signatures: Vec<_> = own.into_iter().map(|(_, signature)| signature).chain(native).collect();
        if signatures.is_empty() { error } else { error.hint(signatures.join("\n")) }
    }
}

fn prefix(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{namespace}::") }
}

fn takes(functions: &HashMap<String, BTreeSet<usize>>, call: &Call, count: usize) -> bool {
    functions.get(&call.name).is_some_and(|counts| counts.contains(&count))
}

fn wrong_in_module(call: &Call, path: &str, module: &File) -> Option<Error> {
    let named: Vec<_> = module.tree.functions.iter().filter(|f| f.name == call.name && !f.is_private).collect();
    if named.iter().any(|f| f.parameters.len() == call.arity) {
        return None;
    }
    if named.is_empty() {
        let public = module.tree.functions.iter().filter(|f| !f.is_private && !f.is_closure());
        let near = nearest(&call.name, public.map(|f| f.name.as_str()));
        let near = near.map(|near| format!("{}::{near}", call.namespace.join("::")));
        return Some(unknown(format!("{} has no function `{}`", module.source.id, call.name), near.as_deref()));
    }
    let signatures: Vec<_> = named.iter().map(|f| f.signature()).collect();
    Some(wrong_arity(path, call.arity).hint(signatures.join("\n")))
}

fn unknown(message: String, near: Option<&str>) -> Error {
    let error = Error::new(Kind::Failed, "check.unknown", message);
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

fn wrong_arity(name: &str, given: usize) -> Error {
    let message = match given {
        0 => format!("`{name}` can't be called without arguments"),
        1 => format!("`{name}` does not take one argument"),
        n => format!("`{name}` does not take {n} arguments"),
    };
    Error::failed("check.arguments", message)
}
