//! The statements of a session, and what becomes of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::ParseErrorType;

use super::Saved;
use super::split::{Kind, Statement, split};
use super::write::{Lines, Text};
use crate::event::Silent;
use crate::script::check::Checker;
use crate::script::engine::Language;
use crate::script::errors;
use crate::script::loader::Places;
use crate::script::source::{Origin, Source};

/// What messages call the script; beside it, in the working directory, its modules are looked for.
const NAME: &str = "session.rhai";

/// How the statements are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they were typed.
    Typed,
    /// Each in a step of its own, to see what it does there.
    Probed,
    Saved,
}

/// What becomes of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Plain,
    /// In a step of this name, which gives these variables when it changes some.
    Step {
        name: String,
        changed: Vec<String>,
    },
    /// Its input failed: it stands in a comment.
    Failed,
    /// It would not be understood, and why.
    LeftOut(String),
}

/// A statement of an input.
pub struct Unit {
    /// Number of its input.
    pub input: usize,
    pub statement: Statement,
    pub fate: Fate,
    /// Whether it is understood in a step.
    pub can_be_step: bool,
}

pub struct Draft<'s> {
    pub inputs: &'s [Saved],
    pub units: Vec<Unit>,
    pub language: Language,
}

impl<'s> Draft<'s> {
    pub fn new(inputs: &'s [Saved], places: &Places) -> Self {
        let language = || Language::new(places.clone(), Arc::new(Silent), None);
        let mut lenient = language();
        lenient.engine.set_strict_variables(false);
        let typed = inputs.iter().enumerate().filter(|(_, input)| !input.is_command);
        let units = typed.flat_map(|(index, input)| units(&lenient, index, input)).collect();
        Self { inputs, units, language: language() }
    }

    pub fn source(&self, text: &str) -> Source {
        Source { id: NAME.into(), name: NAME.into(), origin: Origin::File(NAME.into()), text: text.to_owned().into() }
    }

    /// Leaves out, or takes up again, what keeps the script from being understood. Each round settles a statement.
    pub fn put_right(&mut self, form: Form) {
        for _ in 0..3 * self.units.len() {
            let wrong = self.wrong(form);
            if wrong.is_empty() {
                return;
            }
            for (unit, reason) in wrong {
                self.reject(unit, reason, form);
            }
        }
    }

    /// The statements that are wrong, and why. What needs a variable of a failed input brings it back instead.
    fn wrong(&mut self, form: Form) -> Vec<(usize, String)> {
        let text = self.render(form);
        let unit_at = |line: Option<usize>| text.units.get(line?.checked_sub(1)?).copied().flatten();
        if let Err(error) = self.language.engine.compile(&text.text) {
            let Some(unit) = unit_at(error.position().line()) else { return Vec::new() };
            if let ParseErrorType::VariableUndefined(name) = error.err_type()
                && let Some(declaration) = self.declared_by_failed(name, self.units[unit].input)
            {
                self.units[declaration].fate = Fate::Plain;
                return self.wrong(form);
            }
            let error = rhai::EvalAltResult::ErrorParsing(*error.0, error.1);
            return vec![(unit, errors::cause(&error).message)];
        }
        let findings = Checker::new(&self.language).check(&self.source(&text.text));
        let found = findings.into_iter().filter(|finding| !finding.is_warning).filter_map(|finding| {
            let place = finding.report.place.filter(|place| place.file == NAME)?;
            Some((unit_at(Some(place.line))?, finding.report.message))
        });
        // By unit: one that is wrong twice is rejected once.
        found.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// The last declaration of a variable in an input before this one that failed. That the variable was there later
    /// shows that the declaration itself had not failed.
    fn declared_by_failed(&self, name: &str, before: usize) -> Option<usize> {
        let is_it = |unit: &Unit| {
            let declares = matches!(&unit.statement.kind, Kind::Declaration { name: declared, .. } if declared == name);
            declares && unit.input < before && unit.fate == Fate::Failed
        };
        self.units.iter().rposition(is_it)
    }

    fn reject(&mut self, unit: usize, reason: String, form: Form) {
        let unit = &mut self.units[unit];
        let is_failed = self.inputs[unit.input].error.is_some();
        match form {
            Form::Probed if unit.can_be_step => unit.can_be_step = false,
            _ if is_failed => unit.fate = Fate::Failed,
            _ => unit.fate = Fate::LeftOut(reason),
        }
    }

    /// The definitions that count: of each function the last, one of a failed input only where there is no other.
    pub fn functions(&self) -> Vec<usize> {
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for is_failed in [true, false] {
            for (index, unit) in self.units.iter().enumerate() {
                let has_failed = self.inputs[unit.input].error.is_some();
                if let (Kind::Function(key), true) = (&unit.statement.kind, has_failed == is_failed)
                    && matches!(unit.fate, Fate::Plain)
                {
                    last.insert(key, index);
                }
            }
        }
        let mut functions: Vec<_> = last.into_values().collect();
        functions.sort_unstable();
        functions
    }

    /// Imports that stand first, each once.
    pub fn imports(&self) -> Vec<usize> {
        let mut imports: Vec<usize> = Vec::new();
        for (index, unit) in self.units.iter().enumerate() {
            let is_import = unit.statement.kind == Kind::Import && unit.fate == Fate::Plain;
            let is_new = !imports.iter().any(|known| self.units[*known].statement.text == unit.statement.text);
            if is_import && is_new {
                imports.push(index);
            }
        }
        imports
    }

    pub fn render(&self, form: Form) -> Text {
        Lines::new(self, form).text()
    }
}

/// The statements of an input. From one on that `return` leaves, the rest is one.
fn units(lenient: &Language, index: usize, input: &Saved) -> Vec<Unit> {
    let is_lookup = |name: &str| is_lookup(lenient, name);
    let text = input.text.replace("\r\n", "\n").replace('\r', "\n");
    let statements = split(&lenient.engine, is_lookup, &text);
    let has_failed = input.error.is_some();
    let statements = match statements {
        Some(statements) => together(statements),
        None if has_failed => Vec::new(),
        None => vec![Statement::whole(&text)],
    };
    let unit = |statement: Statement| {
        let is_kept = matches!(statement.kind, Kind::Function(_) | Kind::Import);
        let ends_all = statement.returns && statement.words.split(' ').any(|word| word == "exit");
        let fate = match has_failed {
            true if !is_kept => Fate::Failed,
            false if ends_all => Fate::LeftOut("`exit` would end the whole script".into()),
            _ => Fate::Plain,
        };
        Unit { input: index, statement, fate, can_be_step: true }
    };
    statements.into_iter().map(unit).collect()
}

fn together(statements: Vec<Statement>) -> Vec<Statement> {
    let mut done: Vec<Statement> = Vec::new();
    for statement in statements {
        let is_code = !matches!(statement.kind, Kind::Function(_) | Kind::Import);
        match done.iter_mut().find(|before| before.returns).filter(|_| is_code) {
            Some(before) => before.append(statement),
            None if statement.returns => done.push(Statement { kind: Kind::Block, ..statement }),
            None => done.push(statement),
        }
    }
    done
}

/// Whether the first argument of a function names what it gives: `docker::container("web")`.
fn is_lookup(language: &Language, name: &str) -> bool {
    let takes_name = |function: &crate::script::api::Function| {
        let first = function.signature.parameters.first();
        first.is_some_and(|p| {
            p.type_name == "string" && matches!(p.name.as_str(), "name" | "project" | "network" | "reference")
        })
    };
    language.reference.functions.iter().any(|function| function.signature.name == name && takes_name(function))
}
