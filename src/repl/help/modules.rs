//! The built-in modules, as their own comments describe them.

use std::sync::Arc;

use crate::event::Silent;
use crate::script::engine::Language;
use crate::script::loader::Places;
use crate::script::shipped::{self, Kind};
use crate::script::tree::Tree;

/// A module that scripts import.
pub struct Module {
    pub name: &'static str,
    /// Its `//!` text.
    pub doc: String,
    /// Signature and `///` text of those that importers may call.
    pub functions: Vec<(String, String)>,
}

/// The built-in modules, by name. One that can't be read is left out, which a test of the modules would tell.
pub fn all() -> Vec<Module> {
    let Ok(places) = Places::new(None) else { return Vec::new() };
    let language = Language::new(places, Arc::new(Silent), None);
    let modules = shipped::ALL.iter().filter(|file| file.kind == Kind::Module);
    modules.filter_map(|file| module(&language, file)).collect()
}

fn module(language: &Language, file: &shipped::Shipped) -> Option<Module> {
    let tree = Tree::new(&language.engine.compile(file.text).ok()?);
    let public = tree.functions.iter().filter(|function| !function.is_private && !function.is_closure());
    // The engine keeps functions in no order.
    let mut functions: Vec<_> = public.map(|function| (function.signature(), function.doc.clone())).collect();
    functions.sort();
    Some(Module { name: file.name.strip_suffix(".rhai").unwrap_or(file.name), doc: tree.doc, functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_there_with_its_words() {
        let modules = all();
        assert_eq!(modules.len(), shipped::ALL.iter().filter(|file| file.kind == Kind::Module).count());
        for module in modules {
            assert!(!module.doc.is_empty() && !module.functions.is_empty(), "{}", module.name);
        }
    }
}
