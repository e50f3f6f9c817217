//! `help`: what one can type, from the same docstrings as the reference (`pgscript show --api`).

mod builtins;
mod modules;
mod pages;
mod subject;
mod topics;

use self::subject::Subject;
use super::commands::Command;
use crate::script::api::Reference;
use crate::script::errors::did_you_mean;
use crate::ui::human;
use crate::ui::style::Style;
use crate::world::{Error, Result};

/// Help on a topic: a namespace, a function, a handle type, a property, a command with its dot or without, a module, a
/// page about the language, or words to search for. Without one, where to begin. Each line ends in a line's end.
///
/// `commands` stand in the order in which they are needed; `own` are the session's functions, signature and docstring.
///
/// Errors: `help.not_found`, with what was perhaps meant.
pub fn help(
    topic: Option<&str>,
    reference: &Reference,
    commands: &[Command],
    own: &[(String, String)],
    style: Style,
) -> Result<String> {
    let (modules, builtins) = (modules::all(), builtins::all());
    let subjects = subject::all(reference, commands, own, &modules, &builtins);
    let help = Help { reference, commands, subjects, style };
    let lines = match topic.map(bare).filter(|topic| !topic.is_empty()) {
        None => help.start(),
        Some("topics") => help.topics(),
        Some("commands") => help.list_of_commands(),
        Some(topic) => help.find(topic)?,
    };
    Ok(lines.iter().map(|line| format!("{}\n", line.trim_end())).collect())
}

/// A topic without what a call has around its name: `docker::stop(c);` means `docker::stop`.
fn bare(topic: &str) -> &str {
    topic.split('(').next().unwrap_or(topic).trim().trim_end_matches(';').trim()
}

/// Everything there is help on.
struct Help<'h> {
    reference: &'h Reference,
    commands: &'h [Command],
    subjects: Vec<Subject<'h>>,
    style: Style,
}

impl<'h> Help<'h> {
    fn find(&self, topic: &str) -> Result<Vec<String>> {
        self.exact(topic).or_else(|| self.search(topic)).ok_or_else(|| self.not_found(topic))
    }

    /// What is called so: by its whole name, else by the last part of it. A name in other capitals comes last.
    fn exact(&self, topic: &str) -> Option<Vec<String>> {
        let is_short = |subject: &&Subject<'_>| subject.short() == topic;
        let short: Vec<_> = self.subjects.iter().filter(is_short).collect();
        if let Some(namespace) = self.namespace_called(topic) {
            return Some(self.with_others(self.namespace(namespace), &short, ""));
        }
        if let Some(kind) = self.types().into_iter().find(|kind| *kind == topic) {
            return Some(self.with_others(self.handle_type(kind), &short, ""));
        }
        if let Some(subject) = self.subjects.iter().find(|subject| subject.name() == topic) {
            return Some(self.with_others(self.subject(subject), &short, &subject.name()));
        }
        match short.as_slice() {
            [] => self.method(topic).or_else(|| self.in_other_capitals(topic)),
            [only] => Some(self.subject(only)),
            several => {
                let head = format!("{} things are called `{topic}`; `help NAME` says more:", several.len());
                Some(self.list(&head, several))
            }
        }
    }

    /// `container.stop`, as one would type it.
    fn method(&self, topic: &str) -> Option<Vec<String>> {
        let (receiver, name) = topic.split_once('.')?;
        let mut subjects = self.subjects.iter();
        subjects.find(|subject| subject.is_of(receiver, name)).map(|subject| self.subject(subject))
    }

    fn in_other_capitals(&self, topic: &str) -> Option<Vec<String>> {
        let lower = topic.to_lowercase();
        let names = self.subjects.iter().flat_map(|subject| [subject.name(), subject.short().to_owned()]);
        let mut names = self.types().into_iter().map(str::to_owned).chain(names);
        let same = names.find(|name| name.to_lowercase() == lower && name != topic)?;
        self.exact(&same)
    }

    /// What has all the words in its name or its docstring, the best first.
    fn search(&self, topic: &str) -> Option<Vec<String>> {
        const SHOWN: usize = 12;
        let words: Vec<_> = topic.split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<_> = self.subjects.iter().map(|subject| (subject.score(&words), subject)).collect();
        found.retain(|(score, _)| *score > 0);
        // Stable: what is alike stays in the order of the reference.
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        if found.is_empty() {
            return None;
        }
        let shown: Vec<_> = found.iter().take(SHOWN).map(|(_, subject)| *subject).collect();
        let meant = self.meant(topic).map_or_else(|| ".".into(), |meant| format!("; {meant}"));
        let mut lines = self.list(&format!("Nothing is called `{topic}`{meant} It is spoken of in:"), &shown);
        if found.len() > SHOWN {
            let rest = human::count((found.len() - SHOWN) as u64);
            lines.extend(self.prose(&format!("… {rest} more; another word narrows it: help {topic} WORD"), 0));
        }
        Some(lines)
    }

    fn not_found(&self, topic: &str) -> Error {
        let hint = self.meant(topic).unwrap_or_else(|| "`help topics` shows what there is help on".into());
        Error::usage("help.not_found", format!("there is no help on `{topic}`")).hint(hint)
    }

    /// The name that a misspelt one is nearest to, as a question.
    fn meant(&self, topic: &str) -> Option<String> {
        let names = self.subjects.iter().flat_map(|subject| [subject.name(), subject.short().to_owned()]);
        let namespaces = self.reference.namespaces.iter().map(|(name, _)| (*name).to_owned());
        let types = self.types().into_iter().map(str::to_owned);
        let names: Vec<_> = names.chain(namespaces).chain(types).filter(|name| !name.is_empty()).collect();
        did_you_mean(topic, names.iter().map(String::as_str))
    }

    /// The namespace of that name; the one without a name is called `global`.
    fn namespace_called(&self, topic: &str) -> Option<&'h str> {
        let name = if topic == "global" { "" } else { topic };
        self.reference.namespaces.iter().map(|(known, _)| *known).find(|known| *known == name)
    }

    /// The handle types, in the order of the reference.
    fn types(&self) -> Vec<&'static str> {
        let mut types: Vec<_> = self.reference.properties.iter().map(|property| property.type_name).collect();
        types.dedup();
        types
    }
}

#[cfg(test)]
mod tests;
