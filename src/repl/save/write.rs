//! How a session is written down.

use super::draft::{Draft, Fate, Form, Unit};
use super::split::{Kind, Statement};
use super::steps::PROBE;

/// A script, and of each line the statement it is of.
pub struct Text {
    pub text: String,
    pub units: Vec<Option<usize>>,
}

/// Lines under construction.
pub struct Lines<'d, 's> {
    draft: &'d Draft<'s>,
    form: Form,
    lines: Vec<String>,
    units: Vec<Option<usize>>,
}

impl<'d, 's> Lines<'d, 's> {
    pub fn new(draft: &'d Draft<'s>, form: Form) -> Self {
        Self { draft, form, lines: Vec::new(), units: Vec::new() }
    }

    pub fn text(mut self) -> Text {
        self.head();
        let (imports, functions) = (self.draft.imports(), self.draft.functions());
        self.gap();
        imports.iter().for_each(|unit| self.unit(*unit));
        for unit in functions {
            self.gap();
            self.unit(unit);
        }
        let mut next = 0;
        for index in 0..self.draft.inputs.len() {
            let first = next;
            next += self.draft.units[first..].iter().take_while(|unit| unit.input == index).count();
            self.input(index, first..next);
        }
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        let text = self.lines.iter().map(|line| format!("{line}\n")).collect();
        Text { text, units: self.units }
    }

    fn head(&mut self) {
        let times = || self.draft.inputs.iter().map(|input| input.when.as_str()).filter(|when| !when.is_empty());
        let typed = match (times().next(), times().next_back()) {
            (Some(first), Some(last)) if first != last => format!(" It was typed from {first} to {last}."),
            (Some(only), _) => format!(" It was typed at {only}."),
            _ => String::new(),
        };
        self.push(&format!("//! A session of `pgscript repl` as a script.{}", clean(&typed)), None);
        let after = "//!\n\
                     //! What changes something outside is a step. Before others rely on it, \
                     say of each how it is put back (`undo`) and\n\
                     //! what becomes of it when it is cut off (`repeatable`, `probe`): \
                     `pgscript check` says where that is missing.";
        self.push(after, None);
    }

    fn input(&mut self, index: usize, units: std::ops::Range<usize>) {
        let input = &self.draft.inputs[index];
        if input.is_command {
            self.gap();
            return self.comment("", &input.text);
        }
        if let Some(error) = &input.error {
            self.gap();
            let when = if input.when.is_empty() { String::new() } else { format!(" at {}", input.when) };
            self.comment(&format!("failed{when}: "), error.trim());
            if input.had_effect {
                self.comment("", "it had begun to change something outside");
            }
            self.comment("  ", &input.text);
        } else if units.clone().any(|unit| self.is_here(unit)) {
            self.gap();
        }
        for unit in units {
            if self.is_here(unit) {
                self.unit(unit);
            }
        }
    }

    /// Whether a statement stands where it was typed, and not at the top.
    fn is_here(&self, unit: usize) -> bool {
        let unit = &self.draft.units[unit];
        let is_moved = matches!(unit.statement.kind, Kind::Function(_) | Kind::Import);
        unit.fate != Fate::Failed && !(is_moved && unit.fate == Fate::Plain)
    }

    fn unit(&mut self, index: usize) {
        let unit = &self.draft.units[index];
        let has_failed = self.draft.inputs[unit.input].error.is_some();
        if !has_failed {
            unit.statement.comments.iter().for_each(|comment| self.push(comment, None));
        }
        match &unit.fate {
            Fate::LeftOut(reason) => {
                let effect =
                    if self.draft.inputs[unit.input].had_effect { " (it changed something outside)" } else { "" };
                self.comment("left out: ", &format!("{reason}{effect}"));
                self.comment("  ", &unit.statement.text);
            }
            _ => {
                let text = self.written(index, unit);
                if !text.is_empty() {
                    self.push(&text, Some(index));
                }
            }
        }
    }

    fn written(&self, index: usize, unit: &Unit) -> String {
        let statement = &unit.statement;
        match (&unit.fate, self.form) {
            (Fate::Plain, Form::Probed) if unit.can_be_step => probed(statement, index),
            (Fate::Step { name, changed }, Form::Saved) => step(statement, name, changed, &self.free_name()),
            _ => plain(statement),
        }
    }

    /// A variable that no input has.
    fn free_name(&self) -> String {
        let is_free = |name: &String| !self.draft.inputs.iter().any(|input| input.text.contains(name.as_str()));
        std::iter::once("changed".to_owned())
            .chain((2..).map(|n| format!("changed{n}")))
            .find(is_free)
            .unwrap_or_default()
    }

    fn comment(&mut self, label: &str, text: &str) {
        for (number, line) in text.trim_end().lines().enumerate() {
            let label = if number == 0 || label.trim().is_empty() { label.to_owned() } else { " ".repeat(label.len()) };
            self.push(format!("// {label}{}", clean(line)).trim_end(), None);
        }
    }

    /// An empty line, unless there is one.
    fn gap(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.push_line(String::new(), None);
        }
    }

    fn push(&mut self, text: &str, unit: Option<usize>) {
        text.split('\n').for_each(|line| self.push_line(line.to_owned(), unit));
    }

    fn push_line(&mut self, line: String, unit: Option<usize>) {
        self.lines.push(line);
        self.units.push(unit);
    }
}

/// Without what would end a comment's line.
fn clean(line: &str) -> String {
    line.replace(['\r', '\n'], " ")
}

/// As it was typed, but for `return`, which must not leave the script.
fn plain(statement: &Statement) -> String {
    let text = &statement.text;
    match statement.kind {
        Kind::Comments => String::new(),
        Kind::Block if statement.returns => format!("(|| {{\n    {text}\n}}).call();"),
        Kind::Block | Kind::Function(_) => text.clone(),
        _ => format!("{text};"),
    }
}

/// In a step, to see what it does there.
fn probed(statement: &Statement, index: usize) -> String {
    let probe = |head: &str, body: &str| format!("{head}step(\"{PROBE}{index}\", || {{\n{body}\n}});");
    match &statement.kind {
        Kind::Declaration { head, value, .. } | Kind::Assignment { head, value } if !value.is_empty() => {
            probe(&format!("{head} "), value)
        }
        Kind::Block => probe("", &statement.text),
        Kind::Expression => probe("", &format!("{}\n;", statement.text)),
        _ => plain(statement),
    }
}

/// In a step that gives what others need of it: the value, or the variables it changes.
fn step(statement: &Statement, name: &str, changed: &[String], free: &str) -> String {
    let body = match &statement.kind {
        // A `return` must not leave out what the step gives.
        Kind::Block if !changed.is_empty() => plain(statement),
        Kind::Block => statement.text.clone(),
        Kind::Declaration { name, value, .. } => format!("let {name} = {value};"),
        _ => format!("{};", statement.text),
    };
    match (&statement.kind, changed) {
        (Kind::Declaration { head, value, .. } | Kind::Assignment { head, value }, []) => match value.contains('\n') {
            true => format!("{head} step(\"{name}\", || {{\n    {value}\n}});"),
            false => format!("{head} step(\"{name}\", || {value});"),
        },
        (_, []) if body.contains('\n') => format!("step(\"{name}\", || {{\n    {body}\n}});"),
        (_, []) => format!("step(\"{name}\", || {{ {body} }});"),
        (Kind::Block | Kind::Expression, [only]) => {
            format!("{only} = step(\"{name}\", || {{\n    {body}\n    {only}\n}});")
        }
        (_, several) => several_changed(statement, name, several, &body, free),
    }
}

/// In a step that gives several variables, in a map called `free`.
fn several_changed(statement: &Statement, step: &str, changed: &[String], body: &str, free: &str) -> String {
    let mut outer: Vec<(String, String)> = changed.iter().map(|name| (name.clone(), format!("{name} ="))).collect();
    if let Kind::Assignment { head, .. } = &statement.kind {
        let root: String = head.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !changed.contains(&root) {
            outer.push((root.clone(), format!("{root} =")));
        }
    }
    // Copies: a variable that a step changes though it lives outside would be lost when the run is resumed.
    let copies: Vec<_> = outer.iter().map(|(name, _)| format!("let {name} = {name};")).collect();
    let declared = match &statement.kind {
        Kind::Declaration { name, head, .. } => Some((name.clone(), head.clone())),
        _ => None,
    };
    let given: Vec<_> = declared.into_iter().chain(outer).collect();
    let pairs: Vec<_> = given.iter().map(|(name, _)| format!("{name}: {name}")).collect();
    let taken: String = given.iter().map(|(name, head)| format!("\n{head} {free}.{name};")).collect();
    let (copies, pairs) = (copies.join(" "), pairs.join(", "));
    format!("let {free} = step(\"{step}\", || {{\n    {copies}\n    {body}\n    #{{ {pairs} }}\n}});{taken}")
}
