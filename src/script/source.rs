//! The texts that were compiled, so that an error can print the line it points to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rhai::{AST, Position};
use sha2::{Digest, Sha256};
use similar::TextDiff;

/// Where a text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    BuiltIn,
    /// An operator typed it.
    Input,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn => f.write_str(crate::event::BUILT_IN),
            Self::Input => f.write_str("typed"),
        }
    }
}

/// Before the name of what is built in, in its id.
pub const BUILT_IN_PREFIX: &str = "built-in:";

/// A script or module with its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it, unique in a run: the path, or `built-in:primero.rhai`.
    pub id: String,
    /// What a script or the operator called it: `primero`, `upgrade.rhai`.
    pub name: String,
    pub origin: Origin,
    /// What is built in is not copied.
    pub text: Cow<'static, str>,
}

impl Source {
    pub fn built_in(file: &crate::script::shipped::Shipped) -> Self {
        let id = format!("{BUILT_IN_PREFIX}{}", file.name);
        Self { id, name: file.name.to_owned(), origin: Origin::BuiltIn, text: file.text.into() }
    }

    /// What finds it again, wherever the program is started: a file's whole path, else the name.
    pub fn found_by(&self) -> String {
        match &self.origin {
            Origin::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
            Origin::BuiltIn | Origin::Input => self.name.clone(),
        }
    }

    /// The directory its imports are looked for first.
    pub fn directory(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) => path.parent(),
            Origin::BuiltIn | Origin::Input => None,
        }
    }
}

/// A point in a source; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The line's text, without its end.
    pub text: String,
}

impl Place {
    /// How many characters the thing at this place has: an identifier with its namespace, else one.
    pub fn width(&self) -> usize {
        let rest = self.text.chars().skip(self.column.saturating_sub(1));
        rest.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).count().max(1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[derive(Default)]
struct Known {
    files: BTreeMap<String, Source>,
    /// Function name to the sources that define it. Closures (`anon$…`) are in it too: the engine
    /// reports a closure with the source of the function that runs it, not of its own.
    functions: HashMap<String, Vec<String>>,
    /// Parameter lists of named functions, for hints: (source, name) to `name(a, b)`.
    signatures: BTreeMap<(String, String), Vec<String>>,
}

/// All sources of a run, shared with whoever reports errors.
#[derive(Clone, Default)]
pub struct Sources(Arc<RwLock<Known>>);

impl Sources {
    /// Remembers a text before it is compiled.
    pub fn add(&self, source: &Source) {
        self.write().files.insert(source.id.clone(), source.clone());
    }

    /// Remembers which functions and closures a compiled source defines.
    pub fn add_functions(&self, id: &str, ast: &AST) {
        let mut known = self.write();
        for function in ast.iter_functions() {
            let defined_in = known.functions.entry(function.name.to_owned()).or_default();
            if !defined_in.iter().any(|source| source == id) {
                defined_in.push(id.to_owned());
            }
            let signature = format!("{}({})", function.name, function.params.join(", "));
            let key = (id.to_owned(), function.name.to_owned());
            known.signatures.entry(key).or_default().push(signature);
        }
    }

    /// As [`Sources::add_functions`] for an input of a session: a function takes the place of the one of the same name
    /// that an earlier input has defined.
    pub fn redefine(&self, id: &str, ast: &AST) {
        let is_input = |known: &Known, id: &str| known.files.get(id).is_some_and(|s| s.origin == Origin::Input);
        {
            let mut known = self.write();
            for function in ast.iter_functions() {
                let mut defined_in = known.functions.remove(function.name).unwrap_or_default();
                defined_in.retain(|other| !is_input(&known, other));
                known.functions.insert(function.name.to_owned(), defined_in);
                let inputs: Vec<_> = known.signatures.keys().filter(|(id, _)| is_input(&known, id)).cloned().collect();
                for key in inputs.into_iter().filter(|(_, name)| name == function.name) {
                    known.signatures.remove(&key);
                }
            }
        }
        self.add_functions(id, ast);
    }

    pub fn get(&self, id: &str) -> Option<Source> {
        self.read().files.get(id).cloned()
    }

    pub fn ids(&self) -> Vec<String> {
        self.read().files.keys().cloned().collect()
    }

    /// The source whose function of that name the engine ran; `reported` is what the engine says.
    pub fn of_function(&self, name: &str, reported: &str) -> Option<String> {
        let known = self.read();
        let defined_in = known.functions.get(name)?;
        defined_in.iter().find(|id| *id == reported).or_else(|| defined_in.first()).cloned()
    }

    /// Parameter lists of script functions with that name.
    pub fn signatures(&self, name: &str) -> Vec<String> {
        let known = self.read();
        known.signatures.iter().filter(|((_, n), _)| n == name).flat_map(|(_, list)| list.clone()).collect()
    }

    /// Parameter lists of the functions that a source defines (closures left out).
    pub fn functions_of(&self, id: &str) -> Vec<String> {
        let known = self.read();
        let of = known.signatures.iter().filter(|((source, name), _)| source == id && !name.starts_with("anon$"));
        of.flat_map(|(_, list)| list.clone()).collect()
    }

    /// Names of script functions (closures left out).
    pub fn function_names(&self) -> Vec<String> {
        self.read().functions.keys().filter(|name| !name.starts_with("anon$")).cloned().collect()
    }

    /// The place of a position; `None` where the engine knows none.
    pub fn place(&self, id: &str, position: Position) -> Option<Place> {
        let line = position.line()?;
        let known = self.read();
        let text = known.files.get(id).and_then(|source| source.text.lines().nth(line - 1)).unwrap_or("");
        let column = position.position().unwrap_or(1).max(1);
        Some(Place { file: id.to_owned(), line, column, text: text.to_owned() })
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text's checksum as `sha256sum` prints it.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How one text became another, line by line, as `diff -u` shows it: of each what it is called, and the text. Empty
/// where they are alike.
pub fn unified(before: (&str, &str), now: (&str, &str)) -> String {
    let diff = TextDiff::from_lines(before.1, now.1);
    let shown = diff.unified_diff().context_radius(2).header(before.0, now.0).to_string();
    shown.trim_end().to_owned()
}

/// Where `fn name` stands in a text; the engine keeps no positions of definitions.
pub fn definition(text: &str, name: &str) -> Position {
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start().trim_start_matches("private ").trim_start();
        let Some(rest) = code.strip_prefix("fn ") else { continue };
        let rest = rest.trim_start();
        let after = rest.strip_prefix(name).map(str::trim_start);
        if after.is_some_and(|after| after.starts_with('(')) {
            let bytes = line.len() - rest.len();
            let column = line[..bytes].chars().count() + 1;
            return Position::new(u16::try_from(index + 1).unwrap_or(u16::MAX), u16::try_from(column).unwrap_or(1));
        }
    }
    Position::NONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_found_by_name_and_columns_are_characters() {
        let text = "// fn step(\nfn stepped(x) {}\n  private fn step (x) {}\n";
        let position = definition(text, "step");
        assert_eq!((position.line(), position.position()), (Some(3), Some(14)));
        assert!(definition(text, "ste").is_none());
    }

    #[test]
    fn a_place_is_as_wide_as_the_name_it_points_to() {
        let place = Place { file: "a".into(), line: 1, column: 9, text: "let ä = docker::stopp(c)".into() };
        assert_eq!(place.width(), "docker::stopp".len());
    }
}
