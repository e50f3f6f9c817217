//! Better words and a hint for errors of the engine: a misspelt name, a wrong argument count.

use rhai::{EvalAltResult, ParseErrorType};

use super::api::{Reference, type_name};
use super::errors::did_you_mean;
use super::source::{Origin, Sources};

/// A clearer message than the engine's, where there is one.
pub fn message(error: &EvalAltResult, sources: &Sources, reference: &Reference) -> Option<String> {
    let EvalAltResult::ErrorFunctionNotFound(called, _) = error else { return plain(error) };
    let called = Called::parse(called);
    match called.declared(sources, reference).is_empty() || called.is_closure() {
        true => plain(error),
        false if called.types.is_empty() => Some(format!("`{}` can't be called without arguments", called.path)),
        false => Some(format!("`{}` does not take {}", called.path, called.arguments())),
    }
}

/// As [`message`], from the error alone.
pub fn plain(error: &EvalAltResult) -> Option<String> {
    match error {
        EvalAltResult::ErrorFunctionNotFound(called, _) => {
            let called = Called::parse(called);
            if called.is_closure() {
                return Some(format!("this closure can't be called with {} here", called.arguments()));
            }
            Some(format!("there is no function `{}`{}", called.path, called.on_types()))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => Some(format!("the map has no `{name}`")),
        EvalAltResult::ErrorDotExpr(text, _) => {
            let (property, owner) = unknown_property(text)?;
            Some(format!("{owner} has no property `{property}`"))
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => Some(format!("there is no module or namespace `{name}`")),
        EvalAltResult::ErrorVariableNotFound(name, _) => Some(format!("there is no variable `{name}`")),
        _ => None,
    }
}

/// What the script's author probably meant. `source` is the id of the source the error is in.
pub fn hint(error: &EvalAltResult, source: &str, sources: &Sources, reference: &Reference) -> Option<String> {
    match error {
        EvalAltResult::ErrorFunctionNotFound(called, _) => function(&Called::parse(called), sources, reference),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            Some(format!("where it may be missing: `map.get(\"{name}\") ?? default`, or `\"{name}\" in map`"))
        }
        EvalAltResult::ErrorDotExpr(text, _) => {
            let (property, owner) = unknown_property(text)?;
            let properties: Vec<_> = reference.properties.iter().filter(|p| p.type_name == owner).collect();
            did_you_mean(property, properties.iter().map(|p| p.name)).or_else(|| {
                let names: Vec<_> = properties.iter().map(|p| p.name).collect();
                (!names.is_empty()).then(|| format!("{owner} has: {}", names.join(", ")))
            })
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => namespace(name, source, sources, reference),
        EvalAltResult::ErrorVariableNotFound(name, _) => variable(name, source, sources),
        EvalAltResult::ErrorParsing(error, _) => parsing(error, source, sources, reference),
        _ => None,
    }
}

fn parsing(error: &ParseErrorType, source: &str, sources: &Sources, reference: &Reference) -> Option<String> {
    match error {
        ParseErrorType::VariableUndefined(name) => variable(name, source, sources),
        ParseErrorType::ModuleUndefined(name) => namespace(name, source, sources, reference),
        ParseErrorType::Reserved(name) if name == "eval" => {
            Some("write the code itself, so that `pgscript check` can read it".into())
        }
        ParseErrorType::Reserved(_) => Some("choose another name".into()),
        _ => None,
    }
}

/// Names that stand in the same text; the engine does not say which are in scope.
fn variable(name: &str, source: &str, sources: &Sources) -> Option<String> {
    let source = sources.get(source)?;
    if source.origin == Origin::Input && source.text.trim_start().starts_with("fn ") {
        return Some(format!(
            "a function sees no variables from outside: give it `{name}` as an argument, or make it a constant and \
             write `global::{name}`"
        ));
    }
    let words = source.text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let words = words.filter(|word| *word != name && !word.is_empty() && !word.starts_with(|c: char| c.is_numeric()));
    let declared = words.filter(|word| declares(&source.text, word));
    did_you_mean(name, declared)
}

fn declares(text: &str, word: &str) -> bool {
    ["let ", "const ", "for ", "|", "(", ", "].iter().any(|before| text.contains(&format!("{before}{word}")))
}

/// A namespace of the language, or the alias of an import.
fn namespace(name: &str, source: &str, sources: &Sources, reference: &Reference) -> Option<String> {
    let text = sources.get(source).map(|s| s.text).unwrap_or_default();
    let imported = text.lines().filter(|line| line.trim_start().starts_with("import "));
    let aliases = imported.filter_map(|line| line.split(" as ").nth(1)).map(|alias| alias.trim_end_matches([';', ' ']));
    let namespaces = reference.namespaces.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
    let is_shipped = super::shipped::find(name).is_some();
    let import = || is_shipped.then(|| format!("import \"{name}\" as {name};"));
    import().or_else(|| did_you_mean(name, namespaces.chain(aliases)))
}

fn function(called: &Called<'_>, sources: &Sources, reference: &Reference) -> Option<String> {
    if called.is_closure() {
        let hint = "it takes another number of arguments, or its module's function has returned: closures of a module \
                    live as long as the call of its function";
        return Some(hint.into());
    }
    let declared = called.declared(sources, reference);
    if !declared.is_empty() {
        return Some(declared.join("\n"));
    }
    let own = sources.function_names();
    let paths: Vec<_> = reference.functions.iter().map(super::api::Function::path).collect();
    let bare: Vec<_> = reference.functions.iter().map(|f| f.signature.name.clone()).collect();
    // `stopp(c)` may be a method or lack its namespace; with a namespace only whole paths can be meant.
    let candidates = paths.iter().chain(&own).map(String::as_str);
    match called.path.contains("::") {
        true => did_you_mean(called.path, candidates),
        false => {
            did_you_mean(called.path, candidates).or_else(|| did_you_mean(called.path, bare.iter().map(String::as_str)))
        }
    }
}

/// A call as the engine writes it: `docker::stop (Container, i64)`.
struct Called<'e> {
    path: &'e str,
    types: Vec<&'e str>,
}

impl<'e> Called<'e> {
    fn parse(text: &'e str) -> Self {
        let (path, list) = text.split_once(" (").unwrap_or((text, ""));
        let list = list.trim_end_matches(')');
        let types = list.split(", ").filter(|t| !t.is_empty()).map(type_name).collect();
        Self { path, types }
    }

    fn is_closure(&self) -> bool {
        self.path.starts_with("anon$")
    }

    /// Signatures of the functions that have the name.
    fn declared(&self, sources: &Sources, reference: &Reference) -> Vec<String> {
        let name = self.path.rsplit("::").next().unwrap_or(self.path);
        let matches = |f: &&super::api::Function| match self.path.contains("::") {
            true => f.path() == self.path,
            // As a global function or as a method of its handle.
            false => {
                let is_method = || f.signature.receiver().is_some_and(|r| self.types.first() == Some(&r));
                f.signature.name == name && (f.namespace.is_empty() || is_method())
            }
        };
        let native = reference.functions.iter().filter(matches);
        let native: Vec<_> = native.map(|f| qualified(f.namespace, &f.signature.to_string())).collect();
        if native.is_empty() { sources.signatures(name) } else { native }
    }

    fn arguments(&self) -> String {
        match self.types.len() {
            0 => "no arguments".into(),
            1 => format!("one argument ({})", self.types[0]),
            n => format!("{n} arguments ({})", self.types.join(", ")),
        }
    }

    fn on_types(&self) -> String {
        if self.types.is_empty() { String::new() } else { format!(" for ({})", self.types.join(", ")) }
    }
}

fn qualified(namespace: &str, signature: &str) -> String {
    if namespace.is_empty() { signature.to_owned() } else { format!("{namespace}::{signature}") }
}

/// `Unknown property 'x' - a getter is not registered for type 'T'`
fn unknown_property(text: &str) -> Option<(&str, &str)> {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (property, owner) = text.starts_with("Unknown property").then(|| quoted.next().zip(quoted.next()))??;
    Some((property, type_name(owner)))
}
