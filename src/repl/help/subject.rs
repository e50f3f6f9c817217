//! The things there is help on, each with its names and its words.

use super::Command;
use super::builtins::Builtin;
use super::modules::Module;
use super::topics::{TOPICS, Topic};
use crate::script::api::{Function, Property, Reference};

/// One thing there is help on.
pub enum Subject<'h> {
    /// A function of the session: signature and docstring.
    Own(&'h str, &'h str),
    Topic(&'static Topic),
    Function(&'h Function),
    Module(&'h Module),
    /// A function of a module: signature and docstring.
    Imported(&'h Module, &'h str, &'h str),
    Property(&'h Property),
    Command(&'h Command),
    Builtin(&'h Builtin),
}

/// All of them, what is meant more often first.
pub fn all<'h>(
    reference: &'h Reference,
    commands: &'h [Command],
    own: &'h [(String, String)],
    modules: &'h [Module],
    builtins: &'h [Builtin],
) -> Vec<Subject<'h>> {
    let own = own.iter().map(|(signature, doc)| Subject::Own(signature, doc));
    let imported = modules.iter().flat_map(|module| {
        let functions = module.functions.iter().map(|(signature, doc)| Subject::Imported(module, signature, doc));
        std::iter::once(Subject::Module(module)).chain(functions)
    });
    own.chain(TOPICS.iter().map(Subject::Topic))
        .chain(commands.iter().map(Subject::Command))
        .chain(reference.functions.iter().map(Subject::Function))
        .chain(imported)
        .chain(reference.properties.iter().map(Subject::Property))
        .chain(builtins.iter().map(Subject::Builtin))
        .collect()
}

impl Subject<'_> {
    /// The whole name: `docker::stop`, `Container.state`, `.undo`.
    pub fn name(&self) -> String {
        match self {
            Self::Function(function) => function.path(),
            Self::Imported(module, ..) => format!("{}::{}", module.name, self.short()),
            Self::Property(property) => format!("{}.{}", property.type_name, property.name),
            Self::Command(command) => command.name.to_owned(),
            // Others of that name are meant more often.
            Self::Builtin(builtin) => format!("{} of Rhai", builtin.name),
            _ => self.short().to_owned(),
        }
    }

    /// The last part of the name.
    pub fn short(&self) -> &str {
        match self {
            Self::Own(signature, _) | Self::Imported(_, signature, _) => {
                signature.split('(').next().unwrap_or(signature).trim()
            }
            Self::Topic(topic) => topic.name,
            Self::Function(function) => &function.signature.name,
            Self::Module(module) => module.name,
            Self::Property(property) => property.name,
            Self::Command(command) => command.name.trim_start_matches('.'),
            Self::Builtin(builtin) => &builtin.name,
        }
    }

    /// What a list shows of it: `docker::stop(container, options)`.
    pub fn head(&self) -> String {
        match self {
            Self::Own(signature, _) => (*signature).to_owned(),
            Self::Imported(module, signature, _) => format!("{}::{signature}", module.name),
            Self::Function(function) => {
                let names: Vec<_> = function.signature.parameters.iter().map(|p| p.name.as_str()).collect();
                format!("{}({})", function.path(), names.join(", "))
            }
            Self::Command(command) => format!("{} {}", command.name, command.arguments).trim_end().to_owned(),
            Self::Topic(_) | Self::Module(_) | Self::Property(_) | Self::Builtin(_) => self.name(),
        }
    }

    /// The docstring.
    pub fn doc(&self) -> &str {
        match self {
            Self::Own(_, doc) | Self::Imported(_, _, doc) => doc,
            Self::Topic(topic) => topic.line,
            Self::Function(function) => function.doc,
            Self::Module(module) => &module.doc,
            Self::Property(property) => property.doc,
            Self::Command(command) => command.help,
            Self::Builtin(builtin) => builtin.doc(),
        }
    }

    pub fn has_effect(&self) -> bool {
        matches!(self, Self::Function(function) if function.has_effect)
    }

    /// Whether it is the method or property `name` of the handle type `receiver`, in whatever capitals.
    pub fn is_of(&self, receiver: &str, name: &str) -> bool {
        let of = match self {
            Self::Function(function) => function.signature.receiver(),
            Self::Property(property) => Some(property.type_name),
            _ => None,
        };
        of.is_some_and(|of| of.eq_ignore_ascii_case(receiver)) && self.short() == name
    }

    /// How well it answers a search for lower-case words; 0 where one of them is missing.
    pub fn score(&self, words: &[String]) -> usize {
        let (name, doc) = (self.name().to_lowercase(), self.doc().to_lowercase());
        let text = if let Self::Topic(topic) = self { topic.text.to_lowercase() } else { String::new() };
        let is_word = |text: &str, word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
        let score = |word: &str| match () {
            () if is_word(&name, word) => 16,
            () if name.contains(word) => 8,
            () if is_word(&doc, word) => 4,
            () if doc.contains(word) => 2,
            () if text.contains(word) => 1,
            () => 0,
        };
        let scores: Vec<_> = words.iter().map(|word| score(word)).collect();
        if scores.contains(&0) { 0 } else { scores.iter().sum() }
    }
}

/// The first sentence of a docstring.
pub fn first_sentence(doc: &str) -> String {
    const LONGEST: usize = 120;
    let paragraph = doc.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let end = paragraph.find(". ").unwrap_or(paragraph.len());
    let sentence = paragraph[..end].trim_end_matches('.');
    match sentence.char_indices().nth(LONGEST) {
        None => sentence.to_owned(),
        Some((at, _)) => {
            let end = sentence[..at].rfind(' ').unwrap_or(at);
            format!("{} …", sentence[..end].trim_end_matches([',', ';', ':', '(']).trim_end())
        }
    }
}
