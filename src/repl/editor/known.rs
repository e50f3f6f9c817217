//! What the names in a text stand for: the function that a call means, the type of a value.

use std::rc::Rc;
use std::sync::Arc;

use super::Surroundings;
use super::cursor::{Callee, Cursor, Of};
use super::scan::Kind;
use crate::script::api::{Function, Reference};

/// How long a chain of properties and calls is followed.
const LONGEST_CHAIN: usize = 16;

/// The language and what is around.
#[derive(Clone)]
pub struct Known {
    pub reference: Arc<Reference>,
    pub surroundings: Rc<dyn Surroundings>,
}

/// A function that a call means.
pub enum Declared<'r> {
    Native {
        function: &'r Function,
        is_method: bool,
    },
    /// The signature of one that a script has.
    Own(String),
}

/// A parameter as a hint shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: String,
    /// With type and default.
    pub whole: String,
}

/// A type and where the expression begins that has it.
struct Typed {
    type_name: String,
    start: usize,
}

/// Methods that every script has, by type, and whether they take arguments. Those that look, foremost: it is a shell to
/// find things out with.
pub const BUILT_IN: &[(&str, &[(&str, bool)])] = &[
    (
        "Array",
        &[
            ("all", true),
            ("contains", true),
            ("dedup", false),
            ("filter", true),
            ("find", true),
            ("index_of", true),
            ("is_empty", false),
            ("len", false),
            ("map", true),
            ("pop", false),
            ("push", true),
            ("reduce", true),
            ("reverse", false),
            ("some", true),
            ("sort", false),
        ],
    ),
    (
        "Map",
        &[
            ("contains", true),
            ("get", true),
            ("is_empty", false),
            ("keys", false),
            ("len", false),
            ("remove", true),
            ("set", true),
            ("to_json", false),
            ("values", false),
        ],
    ),
    (
        "string",
        &[
            ("contains", true),
            ("ends_with", true),
            ("index_of", true),
            ("is_empty", false),
            ("len", false),
            ("replace", true),
            ("split", true),
            ("starts_with", true),
            ("sub_string", true),
            ("to_lower", false),
            ("to_upper", false),
            ("trim", false),
        ],
    ),
];

impl Declared<'_> {
    /// The parameter for the argument of this number, counted as the call writes them.
    pub fn parameter(&self, index: usize) -> Option<(&Function, usize)> {
        match self {
            Self::Native { function, is_method } => {
                let index = index + usize::from(*is_method);
                (index < function.signature.parameters.len()).then_some((*function, index))
            }
            Self::Own(_) => None,
        }
    }

    /// The parameters, without the object of a method.
    pub fn shown(&self) -> Vec<Shown> {
        match self {
            Self::Native { function, is_method } => {
                let parameters = function.signature.parameters.iter().skip(usize::from(*is_method));
                let whole = |p: &crate::script::api::signature::Parameter| match &p.default {
                    Some(default) => format!("{}: {} = {default}", p.name, p.type_name),
                    None => format!("{}: {}", p.name, p.type_name),
                };
                parameters.map(|p| Shown { name: p.name.clone(), whole: whole(p) }).collect()
            }
            Self::Own(signature) => {
                let names = parameters_of(signature).map(str::to_owned);
                names.map(|name| Shown { whole: name.clone(), name }).collect()
            }
        }
    }

    pub fn returns(&self) -> Option<&str> {
        match self {
            Self::Native { function, .. } => Some(&function.signature.returns),
            Self::Own(_) => None,
        }
    }
}

/// `site` and `to` of `check(site, to)`.
pub fn parameters_of(signature: &str) -> impl Iterator<Item = &str> {
    let list = signature.split_once('(').map_or("", |(_, rest)| rest.split(')').next().unwrap_or_default());
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// `check` of `check(site, to)`.
pub fn name_of(signature: &str) -> &str {
    signature.split('(').next().unwrap_or_default().trim()
}

impl Known {
    /// Functions that a call may mean; several where a script has one name for several numbers of parameters.
    pub fn declared(&self, cursor: &Cursor<'_>, callee: Callee<'_>) -> Vec<Declared<'_>> {
        self.called(cursor, callee, LONGEST_CHAIN)
    }

    fn called(&self, cursor: &Cursor<'_>, callee: Callee<'_>, depth: usize) -> Vec<Declared<'_>> {
        let native = |path: &str, is_method| {
            self.reference.function(path).map(|function| Declared::Native { function, is_method })
        };
        let own = |signatures: Vec<String>| {
            signatures.into_iter().filter(|s| name_of(s) == callee.name).map(Declared::Own).collect()
        };
        match callee.of {
            Of::Nothing => {
                native(callee.name, false).map_or_else(|| own(self.surroundings.functions()), |declared| vec![declared])
            }
            Of::Namespace(namespace) if self.is_namespace(namespace) => {
                native(&format!("{namespace}::{}", callee.name), false).into_iter().collect()
            }
            Of::Namespace(alias) => {
                let module = self.surroundings.modules().into_iter().find(|(name, _)| name == alias);
                own(module.map(|(_, signatures)| signatures).unwrap_or_default())
            }
            Of::Object(object) => {
                let type_name = self.typed(cursor, object, depth).map(|typed| typed.type_name);
                self.method(callee.name, type_name.as_deref()).into_iter().collect()
            }
        }
    }

    /// Of a value whose type is not known, only a method that one type alone has.
    fn method(&self, name: &str, type_name: Option<&str>) -> Option<Declared<'_>> {
        let is_meant = |function: &&Function| {
            let receiver = function.signature.receiver();
            function.signature.name == name && receiver.is_some() && (type_name.is_none() || receiver == type_name)
        };
        let mut found = self.reference.functions.iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(function), None) => Some(Declared::Native { function, is_method: true }),
            _ => None,
        }
    }

    pub fn is_namespace(&self, name: &str) -> bool {
        !name.is_empty() && self.reference.namespaces.iter().any(|(known, _)| *known == name)
    }

    /// The type of the expression that ends with this token, where the text and the session tell.
    pub fn type_of(&self, cursor: &Cursor<'_>, end: usize) -> Option<String> {
        self.typed(cursor, end, LONGEST_CHAIN).map(|typed| typed.type_name)
    }

    fn typed(&self, cursor: &Cursor<'_>, end: usize, depth: usize) -> Option<Typed> {
        let depth = depth.checked_sub(1)?;
        let token = cursor.scan.tokens.get(end)?;
        let is = |type_name: &str, start| Some(Typed { type_name: type_name.to_owned(), start });
        match (token.kind, cursor.of(token)) {
            (Kind::Text, _) => is("string", end),
            (Kind::Word, name) => self.name(cursor, end, name, depth),
            (Kind::Close, _) => {
                let open = cursor.scan.partners[end]?;
                match cursor.word(open)? {
                    "(" => self.result(cursor, open, depth),
                    "#{" => is("Map", open),
                    "[" if !cursor.is_index(open) => is("Array", open),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What a call gives whose argument list this bracket opens.
    fn result(&self, cursor: &Cursor<'_>, open: usize, depth: usize) -> Option<Typed> {
        let callee = cursor.callee(open)?;
        let start = match callee.of {
            Of::Nothing => open - 1,
            Of::Namespace(_) => open.checked_sub(3)?,
            Of::Object(object) => self.typed(cursor, object, depth)?.start,
        };
        let declared = self.called(cursor, callee, depth);
        let type_name = declared.first()?.returns().filter(|name| !matches!(*name, "any" | "()"))?;
        Some(Typed { type_name: type_name.to_owned(), start })
    }

    /// The type of a property or a variable.
    fn name(&self, cursor: &Cursor<'_>, index: usize, name: &str, depth: usize) -> Option<Typed> {
        let before = index.checked_sub(1).and_then(|before| cursor.word(before));
        if let Some("." | "?.") = before {
            let object = self.typed(cursor, index.checked_sub(2)?, depth)?;
            let mut properties = self.reference.properties.iter();
            let property = properties.find(|p| p.type_name == object.type_name && p.name == name)?;
            let type_name = Some(property.value_type).filter(|type_name| *type_name != "any")?;
            return Some(Typed { type_name: type_name.to_owned(), start: object.start });
        }
        let of_session = || {
            let variables = self.surroundings.variables();
            variables.into_iter().find(|variable| variable.name == name).map(|variable| {
                match variable.type_name.as_str() {
                    // The engine's own names.
                    "map" => "Map".to_owned(),
                    "array" => "Array".to_owned(),
                    _ => variable.type_name,
                }
            })
        };
        let type_name = match self.local(cursor, index, name, depth) {
            Some(local) => local?,
            None => of_session()?,
        };
        Some(Typed { type_name, start: index })
    }

    /// The type of a variable that this very text declares: outer `None` when it does not, inner when it can't be told.
    fn local(&self, cursor: &Cursor<'_>, before: usize, name: &str, depth: usize) -> Option<Option<String>> {
        let word = |index: usize| cursor.word(index).unwrap_or_default();
        let is_name = |index: usize| cursor.scan.tokens[index].kind == Kind::Word && word(index) == name;
        for index in (1..before).rev().filter(|index| is_name(*index)) {
            match (word(index - 1), word(index + 1)) {
                ("(", _) if index > 1 && word(index - 2) == "catch" => return Some(Some("Error".into())),
                ("let" | "const", "=") => {
                    let end = statement_end(cursor, index);
                    // In its own value the name is still the one before.
                    if end < before {
                        // Of `a + b.name` the part that ends it tells nothing.
                        let typed = self.typed(cursor, end - 1, depth).filter(|typed| typed.start == index + 2);
                        return Some(typed.map(|typed| typed.type_name));
                    }
                }
                ("let" | "const" | "for", _) => return Some(None),
                _ => {}
            }
        }
        None
    }
}

/// The index of the semicolon that ends the statement, or one past the last token.
fn statement_end(cursor: &Cursor<'_>, from: usize) -> usize {
    let tokens = &cursor.scan.tokens;
    let mut end = from;
    while tokens.get(end).is_some_and(|token| token.kind != Kind::Semicolon) {
        end = cursor.scan.after(end);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::editor::testing::known;

    #[test]
    fn the_type_of_an_expression_is_known() {
        let cases = [
            ("c", "Container"),
            ("c.name", "string"),
            ("c.mounts", "Array"),
            ("row", "Map"),
            ("row.name", ""),
            ("unknown", ""),
            ("docker::container(\"x\")", "Container"),
            ("f(docker::container(\"x\")", "Container"),
            ("docker::container(\"x\").image", "string"),
            ("psql::server(c).content()", "Content"),
            ("c.inspect().inspect().name", "string"),
            ("docker::exists(\"x\")", "bool"),
            ("docker::env(c, \"x\")", ""),
            ("check(1, 2)", ""),
            ("\"text\"", "string"),
            ("#{ a: 1 }", "Map"),
            ("[1, 2]", "Array"),
            ("row[1]", ""),
            ("let v = volume::inspect(\"x\"); v", "Volume"),
            ("let v = volume::inspect(\"x\"); let v = 1; v", ""),
            ("let c = 1 + c.name; c", ""),
            ("let v = c; v.name", "string"),
            ("for c in x { c", ""),
            ("let c = c.inspect(); c", "Container"),
            ("let c = c", "Container"),
            ("let c; c", ""),
            ("try { } catch (e) { e", "Error"),
            ("try { } catch (e) { e.code", "string"),
            ("let a = a; a", ""),
        ];
        let (known, _) = known();
        for (text, type_name) in cases {
            let cursor = Cursor::new(text, text.len());
            let found = known.type_of(&cursor, cursor.scan.tokens.len() - 1);
            assert_eq!(found.unwrap_or_default(), type_name, "{text}");
        }
    }

    #[test]
    fn what_is_built_in_is_what_the_engine_has() {
        let signatures = rhai::Engine::new().gen_fn_signatures(true);
        for (type_name, methods) in BUILT_IN {
            for (name, takes_arguments) in *methods {
                let lists =
                    signatures.iter().filter(|s| name_of(s) == *name).map(|s| s.split(['(', ')']).nth(1).unwrap());
                let is_of_type = |list: &&str| list.split(',').next().unwrap().ends_with(&type_name.to_lowercase());
                let mut commas = lists.filter(is_of_type).map(|list| list.contains(','));
                assert!(commas.any(|commas| commas == *takes_arguments), "{type_name}.{name} {takes_arguments}");
            }
        }
    }
}
