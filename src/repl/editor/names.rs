//! Names of things outside the language, as a string holds them: which kind is meant, and what there is of it.

use super::candidate::Candidate;
use super::cursor::{Cursor, Role};
use super::known::Declared;
use super::known::{Known, parameters_of};
use super::{Surroundings, files};
use crate::script::api::Function;

/// The kind of name that a string is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Containers,
    Volumes,
    Databases,
    Steps,
    Files,
    /// Keys of this variable.
    Keys(String),
    /// Names that nobody could list.
    Nothing,
    /// Not known: whatever there is.
    Anything,
}

/// What the string is for in which the cursor stands.
pub fn wanted(known: &Known, cursor: &Cursor<'_>) -> Wanted {
    match cursor.role() {
        Role::Index(object) => cursor.word(object).map_or(Wanted::Nothing, |name| Wanted::Keys(name.to_owned())),
        Role::Value(key) => by_name(key),
        Role::Argument(callee, index) => match known.declared(cursor, callee).first() {
            Some(Declared::Own(signature)) => parameters_of(signature).nth(index).map_or(Wanted::Anything, by_name),
            Some(declared) => declared.parameter(index).map_or(Wanted::Nothing, |(f, index)| of_parameter(f, index)),
            None => Wanted::Anything,
        },
        Role::Free if cursor.is_import() => Wanted::Nothing,
        Role::Free => Wanted::Anything,
    }
}

/// By the name alone that a parameter or an option has.
fn by_name(name: &str) -> Wanted {
    match name {
        "container" | "containers" => Wanted::Containers,
        "volume" | "volumes" => Wanted::Volumes,
        "database" | "databases" => Wanted::Databases,
        "step" | "steps" => Wanted::Steps,
        "path" | "file" | "dir" | "directory" | "playbook" | "inventory" | "virtualenv" => Wanted::Files,
        name if ["_path", "_file", "_files", "_dir"].iter().any(|end| name.ends_with(end)) => Wanted::Files,
        _ => Wanted::Anything,
    }
}

/// By a declared parameter. A plain `name` is that of what the namespace is about.
fn of_parameter(function: &Function, index: usize) -> Wanted {
    let signature = &function.signature;
    match (function.namespace, signature.name.as_str(), signature.parameters[index].name.as_str()) {
        // Paths inside a container can't be listed.
        ("docker", _, "path" | "directory") if signature.receiver() == Some("Container") => Wanted::Nothing,
        ("docker", "env" | "image_env" | "network" | "create_network" | "remove_network", "name") => Wanted::Nothing,
        ("docker", _, "name") => Wanted::Containers,
        ("volume", _, "name") => Wanted::Volumes,
        ("", "step", "name") => Wanted::Steps,
        ("", "param", "name") => Wanted::Nothing,
        (_, _, name) => by_name(name),
    }
}

/// What there is of a kind, by what was typed of it. Asks the surroundings for what is wanted only: lists of the engine
/// and the server may take a moment.
pub fn there_are(surroundings: &dyn Surroundings, wanted: &Wanted, typed: &str) -> Vec<Candidate> {
    let names = match wanted {
        Wanted::Containers => surroundings.containers(),
        Wanted::Volumes => surroundings.volumes(),
        Wanted::Databases => surroundings.databases(),
        Wanted::Steps => surroundings.steps(),
        Wanted::Keys(variable) => surroundings.keys(variable),
        Wanted::Nothing => Vec::new(),
        Wanted::Files => return files::paths(typed),
        Wanted::Anything if typed.contains('/') => return files::paths(typed),
        Wanted::Anything => {
            let lists =
                [surroundings.containers(), surroundings.volumes(), surroundings.databases(), surroundings.steps()];
            lists.concat()
        }
    };
    // What can't be typed, or would recolour the terminal, is not offered.
    names.into_iter().filter(|name| !name.contains(char::is_control)).map(Candidate::new).collect()
}
