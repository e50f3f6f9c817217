//! Inputs one after the other, as a session types them: what one defines, the next ones see.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{
    AST, Caches, Dynamic, EvalAltResult, ImmutableString, Locked, ModuleResolver, Position, Scope, Shared, Stmt,
};

use super::engine::{Language, shadows};
use super::errors::{self, Report};
use super::source::{Origin, Source, definition};
use crate::world::{Error, Result};

/// What inputs have defined so far. It outlives the engine they ran in.
#[derive(Default)]
pub struct Workspace {
    pub scope: Scope<'static>,
    functions: AST,
    /// Alias to the module's name.
    imports: BTreeMap<String, String>,
    /// How many inputs there were.
    count: usize,
}

impl Workspace {
    /// Signatures and docstrings of the functions that were typed.
    pub fn functions(&self) -> Vec<(String, String)> {
        let functions = self.functions.iter_functions().filter(|f| !f.name.starts_with("anon$"));
        functions.map(|f| (format!("{}({})", f.name, f.params.join(", ")), f.comments.join("\n"))).collect()
    }

    /// Alias and name of the imported modules.
    pub fn imports(&self) -> &BTreeMap<String, String> {
        &self.imports
    }

    /// Takes over variables; those of the same name are replaced.
    pub fn define(&mut self, variables: Scope<'static>) {
        for (name, constant, value) in variables.iter() {
            match constant {
                true => self.scope.push_constant_dynamic(name, value),
                false => self.scope.push_dynamic(name, value),
            };
        }
        self.compact();
    }

    /// Each name once: what a later definition hides would be kept for ever.
    fn compact(&mut self) {
        let mut known = BTreeSet::new();
        // The engine gives the newest first.
        let newest = self.scope.iter_raw().filter(|(name, ..)| known.insert((*name).to_owned()));
        let kept: Vec<_> = newest.map(|(name, constant, value)| (name.to_owned(), constant, value.clone())).collect();
        if kept.len() == self.scope.len() {
            return;
        }
        self.scope = Scope::new();
        for (name, constant, value) in kept.into_iter().rev() {
            match constant {
                true => self.scope.push_constant_dynamic(name, value),
                false => self.scope.push_dynamic(name, value),
            };
        }
    }

    /// Constants, as functions reach them: `global::NAME`.
    fn constants(&self) -> BTreeMap<ImmutableString, Dynamic> {
        let constants = self.scope.iter_raw().filter(|(_, constant, _)| *constant);
        constants.map(|(name, _, value)| (name.into(), value.clone())).collect()
    }
}

/// Evaluates an input. An error leaves what was defined before it.
pub fn evaluate(
    language: &mut Language,
    workspace: &mut Workspace,
    text: &str,
) -> std::result::Result<Dynamic, Box<Report>> {
    workspace.count += 1;
    let source = Source {
        id: format!("input {}", workspace.count),
        name: format!("input {}", workspace.count),
        origin: Origin::Input,
        text: text.to_owned().into(),
    };
    let result = run(language, workspace, &source);
    workspace.compact();
    result.map_err(|error| Box::new(errors::report(&error, &source.id, &language.sources, &language.reference)))
}

/// Makes the modules that were imported before known to a new engine.
pub fn import_again(language: &mut Language, workspace: &Workspace) -> Result<()> {
    for (alias, name) in &workspace.imports {
        import(language, alias, name, Position::NONE).map_err(|error| errors::cause(&error))?;
    }
    Ok(())
}

fn run(
    language: &mut Language,
    workspace: &mut Workspace,
    source: &Source,
) -> std::result::Result<Dynamic, Box<EvalAltResult>> {
    language.sources.add(source);
    let compiled = language.engine.compile_with_scope(&workspace.scope, &*source.text);
    let mut ast = compiled.map_err(|e| EvalAltResult::ErrorParsing(*e.0, e.1))?;
    ast.set_source(source.id.as_str());
    refuse_reserved(language, source, &ast)?;
    language.sources.redefine(&source.id, &ast);
    workspace.functions = workspace.functions.clone_functions_only().merge(&ast.clone_functions_only());
    let imports = imports(language, &ast)?;
    let value = evaluate_statements(language, workspace, source, &ast)?;
    for (alias, name, position) in imports {
        import(language, &alias, &name, position)?;
        workspace.imports.insert(alias, name);
    }
    Ok(value)
}

fn evaluate_statements(
    language: &Language,
    workspace: &mut Workspace,
    source: &Source,
    ast: &AST,
) -> std::result::Result<Dynamic, Box<EvalAltResult>> {
    let mut global = language.engine.new_global_runtime_state();
    global.source = Some(source.id.as_str().into());
    global.lib.push(workspace.functions.shared_lib().clone());
    global.constants = Some(Shared::new(Locked::new(workspace.constants())));
    // The one way to run statements against functions and constants of inputs before.
    #[allow(deprecated)]
    let result =
        language.engine.eval_statements_raw(&mut global, &mut Caches::new(), &mut workspace.scope, ast.statements());
    match result {
        Err(error) if matches!(*error, EvalAltResult::Return(..)) => match *error {
            EvalAltResult::Return(value, _) => Ok(value),
            _ => Ok(Dynamic::UNIT),
        },
        value => value,
    }
}

fn refuse_reserved(language: &Language, source: &Source, ast: &AST) -> std::result::Result<(), Box<EvalAltResult>> {
    let reserved = language.reference.global_names();
    for function in ast.iter_functions() {
        if reserved.iter().any(|name| name == function.name) {
            let position = definition(&source.text, function.name);
            return Err(EvalAltResult::ErrorRuntime(Dynamic::from(shadows(function.name)), position).into());
        }
    }
    Ok(())
}

/// What the input imports under a name that later inputs are to know.
fn imports(language: &Language, ast: &AST) -> std::result::Result<Vec<(String, String, Position)>, Box<EvalAltResult>> {
    let mut found = Vec::new();
    for statement in ast.statements() {
        let Stmt::Import(import, position) = statement else { continue };
        let (name, alias) = (import.0.get_literal_value(None), import.1.as_str());
        let Some(name) = name.and_then(|name| name.into_string().ok()).filter(|_| !alias.is_empty()) else { continue };
        if language.reference.namespaces.iter().any(|(known, _)| *known == alias) {
            let message = format!("`{alias}` is a namespace of the language");
            let error = Error::failed("module.alias", message).hint("import the module under another name");
            return Err(EvalAltResult::ErrorRuntime(Dynamic::from(error), *position).into());
        }
        found.push((alias.to_owned(), name, *position));
    }
    Ok(found)
}

/// A module that the engine knows by its alias is seen by all inputs, and inside their functions too.
fn import(
    language: &mut Language,
    alias: &str,
    name: &str,
    position: Position,
) -> std::result::Result<(), Box<EvalAltResult>> {
    let module = language.loader.resolve(&language.engine, None, name, position)?;
    language.engine.register_static_module(alias, module);
    Ok(())
}
