//! How help is laid out.

use super::builtins::Builtin;
use super::subject::{Subject, first_sentence};
use super::{Command, Help};
use crate::script::api::Function;
use crate::script::api::signature::Signature;
use crate::ui::style::{Mark, Paint};
use crate::ui::wrap::wrap;

/// Commands on the first page.
const MOST_NEEDED: usize = 5;
/// On a terminal that is narrower, a list has its descriptions below the names.
const TWO_COLUMNS: usize = 60;

impl Help<'_> {
    /// Where to begin, in at most twenty lines on a terminal of the usual width.
    pub fn start(&self) -> Vec<String> {
        let mut lines = self.prose("Type Rhai and it runs; `help NAME` explains everything there is.", 0);
        lines.push(String::new());
        lines.extend(
            self.columns(
                &[
                    ("docker::containers()", "what there is"),
                    ("let db = docker::container(\"db\")", "keeps a handle for later"),
                    ("db.stop()", "changes something: kept as a step of the session"),
                ]
                .map(owned),
            ),
        );
        lines.push(String::new());
        lines.extend(
            self.columns(
                &[
                    ("help topics", "everything there is help on"),
                    ("help docker", "a namespace; help docker::stop a function"),
                    ("help Container", "a handle: its properties and methods"),
                    ("help WORDS", "searches names and descriptions"),
                ]
                .map(owned),
            ),
        );
        if !self.commands.is_empty() {
            lines.push(String::new());
            let needed = self.commands.iter().take(MOST_NEEDED).map(command_entry);
            let all = (self.commands.len() > MOST_NEEDED).then(|| owned(("help commands", "all of them")));
            lines.extend(self.columns(&needed.chain(all).collect::<Vec<_>>()));
        }
        lines
    }

    pub fn topics(&self) -> Vec<String> {
        let namespaces = self.reference.namespaces.iter();
        let namespaces: Vec<_> =
            namespaces.map(|(name, doc)| owned((if name.is_empty() { "global" } else { name }, doc))).collect();
        let types: Vec<_> = self.types().into_iter().map(|kind| (kind.to_owned(), self.members(kind))).collect();
        let language = self.entries(|subject| matches!(subject, Subject::Topic(_)));
        let modules = self.entries(|subject| matches!(subject, Subject::Module(_)));
        let own = self.entries(|subject| matches!(subject, Subject::Own(..)));
        let commands = [owned(("commands", "what begins with a dot"))];
        let sections = [
            ("Namespaces", namespaces.as_slice()),
            ("Handles", &types),
            ("The language", &language),
            ("Modules, to be imported: import \"stack\" as stack;", &modules),
            ("Functions of this session", &own),
            ("Commands", if self.commands.is_empty() { &[] } else { &commands }),
        ];
        let mut lines = self.prose("`help NAME` shows one of these.", 0);
        for (title, entries) in sections.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            lines.push(String::new());
            lines.extend(self.heading(title));
            lines.extend(self.columns(entries));
        }
        lines
    }

    pub fn list_of_commands(&self) -> Vec<String> {
        let entries: Vec<_> = self.commands.iter().map(command_entry).collect();
        let mut lines = self.heading("Commands");
        lines.extend(self.columns(&entries));
        lines
    }

    pub fn namespace(&self, name: &str) -> Vec<String> {
        let doc = self.reference.namespaces.iter().find(|(known, _)| *known == name).map_or("", |(_, doc)| doc);
        let title = if name.is_empty() { "global" } else { name };
        let is_its = |subject: &&Subject<'_>| matches!(subject, Subject::Function(f) if f.namespace == name);
        let functions: Vec<_> = self.subjects.iter().filter(is_its).collect();
        self.list(&format!("{title}: {doc}"), &functions)
    }

    /// A handle's properties, its methods, and where it comes from.
    pub fn handle_type(&self, kind: &str) -> Vec<String> {
        let mut lines = self.heading(&format!("{kind}: a handle"));
        let properties = self.reference.properties.iter().filter(|property| property.type_name == kind);
        let properties: Vec<_> =
            properties.map(|p| (format!(".{}: {}", p.name, p.value_type), p.doc.to_owned())).collect();
        lines.extend(self.columns(&properties));
        let methods: Vec<_> = self.methods(kind).collect();
        if !methods.is_empty() {
            lines.push(String::new());
            lines.extend(self.heading("Methods"));
            let entries = methods.iter().map(|function| {
                let names: Vec<_> = function.signature.parameters[1..].iter().map(|p| p.name.as_str()).collect();
                let head = format!(".{}({})", function.signature.name, names.join(", "));
                (self.marked(function.has_effect, &head), first_sentence(function.doc))
            });
            lines.extend(self.columns(&entries.collect::<Vec<_>>()));
            lines.extend(self.legend(methods.iter().any(|function| function.has_effect)));
        }
        let givers = self.reference.functions.iter().filter(|function| function.signature.returns == kind);
        let givers: Vec<_> = givers.map(Function::path).collect();
        if !givers.is_empty() {
            lines.push(String::new());
            lines.extend(self.prose(&format!("Given by {}.", givers.join(", ")), 0));
        }
        lines
    }

    /// All there is to say about one thing.
    pub fn subject(&self, subject: &Subject<'_>) -> Vec<String> {
        match subject {
            Subject::Function(function) => self.function(function),
            Subject::Topic(topic) => {
                let mut lines = self.heading(&format!("{}: {}", topic.name, topic.line));
                lines.push(String::new());
                lines.extend(self.paragraphs(topic.text, 0));
                lines
            }
            Subject::Module(module) => {
                let functions: Vec<_> = self.subjects.iter().filter(|s| is_in(s, module.name)).collect();
                let doc = module.doc.replace('\n', " ");
                let mut lines = self.list(&format!("{}: {doc}", module.name), &functions);
                lines.push(String::new());
                lines.extend(self.prose(&import(module.name), 2));
                lines
            }
            Subject::Imported(module, _, doc) => {
                let mut lines = self.commented(&subject.head(), doc);
                lines.push(String::new());
                lines.extend(self.prose(&import(module.name), 2));
                lines
            }
            Subject::Property(p) => {
                let head = format!("{}.{}: {}", p.type_name, p.name, p.value_type);
                self.described(&head, p.doc)
            }
            Subject::Own(signature, doc) => {
                let doc = if doc.is_empty() { "A function of this session, without a `///` comment." } else { doc };
                self.commented(signature, doc)
            }
            Subject::Builtin(builtin) => self.builtin(builtin),
            Subject::Command(command) => {
                let mut lines = self.described(&subject.head(), command.help);
                if !command.rhai.is_empty() {
                    lines.push(String::new());
                    lines.extend(self.prose(&format!("The same as {}", command.rhai), 2));
                }
                lines
            }
        }
    }

    /// A function of Rhai, whose description is Markdown with examples.
    fn builtin(&self, builtin: &Builtin) -> Vec<String> {
        let mut lines = Vec::new();
        for (doc, signatures) in &builtin.forms {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(signatures.iter().flat_map(|signature| self.heading(signature)));
            lines.push(String::new());
            let mut is_code = false;
            let text = doc.lines().filter_map(|line| match line {
                fence if fence.starts_with("```") => {
                    is_code = !is_code;
                    None
                }
                empty if is_code && empty.trim().is_empty() => None,
                code if is_code => Some(format!("  {code}")),
                text => Some(text.trim_start_matches(['#', ' ']).to_owned()),
            });
            lines.extend(self.paragraphs(&text.collect::<Vec<_>>().join("\n"), 2));
        }
        lines
    }

    fn function(&self, function: &Function) -> Vec<String> {
        let prefix = if function.namespace.is_empty() { String::new() } else { format!("{}::", function.namespace) };
        let mut lines = self.described(&format!("{prefix}{}", function.signature), function.doc);
        lines.push(String::new());
        if function.signature.receiver().is_some()
            && let [receiver, others @ ..] = function.signature.parameters.as_slice()
        {
            let method = Signature { parameters: others.to_vec(), ..function.signature.clone() };
            lines.extend(self.prose(&format!("As a method: {}.{method}", receiver.name), 2));
        }
        let effect = match function.has_effect {
            true => "Changes something outside: belongs in a step. Here, each input is one.",
            false => "Needs no step.",
        };
        lines.extend(self.prose(effect, 2));
        lines
    }

    /// Entries with their first sentences below a title.
    pub fn list(&self, title: &str, subjects: &[&Subject<'_>]) -> Vec<String> {
        let mut lines = self.heading(title);
        let entries = subjects.iter().map(|subject| self.entry(subject));
        lines.extend(self.columns(&entries.collect::<Vec<_>>()));
        lines.extend(self.legend(subjects.iter().any(|subject| subject.has_effect())));
        lines
    }

    /// A page, and what else has that name.
    pub fn with_others(&self, mut page: Vec<String>, others: &[&Subject<'_>], shown: &str) -> Vec<String> {
        let names = others.iter().map(|subject| subject.name());
        let others: Vec<_> = names.filter(|name| name != shown).collect();
        if !others.is_empty() {
            page.push(String::new());
            page.extend(self.prose(&format!("See also {}.", others.join(", ")), 0));
        }
        page
    }

    fn entries(&self, is_wanted: impl Fn(&Subject<'_>) -> bool) -> Vec<(String, String)> {
        self.subjects.iter().filter(|subject| is_wanted(subject)).map(|subject| self.entry(subject)).collect()
    }

    fn entry(&self, subject: &Subject<'_>) -> (String, String) {
        (self.marked(subject.has_effect(), &subject.head()), first_sentence(subject.doc()))
    }

    fn marked(&self, has_effect: bool, head: &str) -> String {
        if has_effect { format!("{head} {}", self.style.mark(Mark::Effect)) } else { head.to_owned() }
    }

    fn legend(&self, is_marked: bool) -> Vec<String> {
        let legend = format!("{} changes something outside", self.style.mark(Mark::Effect));
        if is_marked { vec![String::new(), self.style.paint(Paint::Dim, &format!("  {legend}"))] } else { Vec::new() }
    }

    /// The first properties and methods of a handle type.
    fn members(&self, kind: &str) -> String {
        const SHOWN: usize = 3;
        let properties = self.reference.properties.iter().filter(|property| property.type_name == kind);
        let properties = properties.map(|property| format!(".{}", property.name));
        let methods = self.methods(kind).map(|function| format!(".{}()", function.signature.name));
        let (properties, methods): (Vec<_>, Vec<_>) = (properties.collect(), methods.collect());
        let count = properties.len() + methods.len();
        let first = |names: Vec<String>| names.into_iter().take(SHOWN);
        let shown: Vec<_> = first(properties).chain(first(methods)).collect();
        format!("{}{}", shown.join(", "), if shown.len() < count { " …" } else { "" })
    }

    fn methods<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Function> {
        self.reference.functions.iter().filter(move |function| function.signature.receiver() == Some(kind))
    }

    fn described(&self, head: &str, doc: &str) -> Vec<String> {
        let mut lines = self.heading(head);
        lines.push(String::new());
        lines.extend(self.prose(doc, 2));
        lines
    }

    /// As [`Help::described`], with the comment of a script, whose lines are broken anywhere.
    fn commented(&self, head: &str, doc: &str) -> Vec<String> {
        let mut lines = self.heading(head);
        lines.push(String::new());
        lines.extend(self.paragraphs(doc, 2));
        lines
    }

    fn heading(&self, text: &str) -> Vec<String> {
        self.wrap(text, self.style.width).iter().map(|line| self.style.paint(Paint::Bold, line)).collect()
    }

    fn wrap(&self, text: &str, width: usize) -> Vec<String> {
        wrap(&self.ascii(text), width)
    }

    /// A text as the terminal can show it.
    fn ascii(&self, text: &str) -> String {
        self.style.ascii(text.to_owned())
    }

    /// A text within the width, its empty lines kept.
    pub fn prose(&self, text: &str, indent: usize) -> Vec<String> {
        let lines = self.wrap(text, self.style.width.saturating_sub(indent));
        lines.iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect()
    }

    /// Prose as people write it: neighbouring lines are one paragraph, but for code, which is indented, and for lists.
    fn paragraphs(&self, text: &str, indent: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut paragraph = String::new();
        for line in text.lines() {
            if line.is_empty() || line.starts_with([' ', '-', '*']) {
                lines.extend(self.prose(&std::mem::take(&mut paragraph), indent));
                lines.extend(self.prose(if line.is_empty() { "\n" } else { line }, indent));
            } else {
                paragraph.push_str(if paragraph.is_empty() { "" } else { " " });
                paragraph.push_str(line);
            }
        }
        lines.extend(self.prose(&paragraph, indent));
        lines
    }

    /// Names and what they are, side by side where there is room.
    fn columns(&self, entries: &[(String, String)]) -> Vec<String> {
        let widest = if self.style.width < TWO_COLUMNS { 0 } else { self.style.width * 2 / 5 };
        let entries: Vec<_> = entries.iter().map(|(name, text)| (self.ascii(name), text)).collect();
        let lengths = entries.iter().map(|(name, _)| name.chars().count()).filter(|length| *length <= widest);
        let width = lengths.max().unwrap_or_default();
        let mut lines = Vec::new();
        for (name, text) in entries {
            if name.chars().count() > width {
                lines.extend(self.prose(&name, 2));
                let indent = if width == 0 { 6 } else { width + 4 };
                lines.extend(self.prose(text, indent));
                continue;
            }
            let parts = self.prose(text, width + 4);
            let first = format!("  {name:<width$}  {}", parts.first().map_or("", |part| part.trim_start()));
            lines.push(first);
            lines.extend(parts.into_iter().skip(1));
        }
        lines
    }
}

fn command_entry(command: &Command) -> (String, String) {
    (Subject::Command(command).head(), first_sentence(command.help))
}

fn is_in(subject: &Subject<'_>, name: &str) -> bool {
    matches!(subject, Subject::Imported(module, ..) if module.name == name)
}

fn import(module: &str) -> String {
    format!("import \"{module}\" as {module};")
}

fn owned((name, text): (&str, &str)) -> (String, String) {
    (name.to_owned(), text.to_owned())
}
