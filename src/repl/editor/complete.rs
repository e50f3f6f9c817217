//! Completion: what may stand at the cursor.

use rustyline::completion::Pair;

use super::ArgumentKind;
use super::candidate::{Candidate, beginning_with, containing, listed};
use super::cursor::{Cursor, Place, Role};
use super::known::{BUILT_IN, Known, name_of, parameters_of};
use super::names::{self, Wanted};
use super::options;
use super::scan::{KEYWORDS, Kind, is_command};
use crate::script::api::signature::Signature;
use crate::ui::style::Style;

/// Functions of Rhai itself that are of use at a prompt.
const GLOBAL: &[&str] = &["print(value)", "type_of(value)"];

/// What may stand at the cursor, and the byte where it begins.
pub fn complete(known: &Known, style: Style, line: &str, position: usize) -> (usize, Vec<Pair>) {
    let completion = Completion { known, cursor: Cursor::new(line, position) };
    let (start, candidates) = match is_command(completion.cursor.text) {
        true => completion.command(),
        false => completion.script(),
    };
    (start, listed(candidates, style))
}

struct Completion<'a> {
    known: &'a Known,
    cursor: Cursor<'a>,
}

type Found = (usize, Vec<Candidate>);

impl Completion<'_> {
    fn script(&self) -> Found {
        match self.cursor.place() {
            Place::Nowhere => (self.cursor.text.len(), Vec::new()),
            Place::Word { start } => (start, beginning_with(self.typed(start), self.words(start))),
            Place::Path { start, namespace } => (start, beginning_with(self.typed(start), self.functions(namespace))),
            Place::Member { start, object } => (start, beginning_with(self.typed(start), self.members(object))),
            Place::Key { start } => (start, beginning_with(self.typed(start), self.keys())),
            Place::Text { start, quote } => (start, self.names(start, quote)),
        }
    }

    fn typed(&self, start: usize) -> &str {
        &self.cursor.text[start..]
    }

    /// What a function's name is inserted with.
    fn suffix(&self, takes_arguments: bool) -> &'static str {
        let goes_on = |c: char| c == '(' || c == '_' || c.is_alphanumeric();
        match (self.cursor.after.starts_with(goes_on), takes_arguments) {
            (true, _) => "",
            (false, true) => "(",
            (false, false) => "()",
        }
    }

    /// A function of the language; a method's object is no argument.
    fn native(&self, signature: &Signature, is_method: bool) -> Candidate {
        let mut signature = signature.clone();
        if is_method {
            signature.parameters.remove(0);
        }
        Candidate::function(signature.to_string(), self.suffix(!signature.parameters.is_empty()))
    }

    /// A function that a script has.
    fn own(&self, signature: String) -> Candidate {
        let takes_arguments = parameters_of(&signature).next().is_some();
        Candidate::function(signature, self.suffix(takes_arguments))
    }

    /// Names that need nothing before them.
    fn words(&self, start: usize) -> Vec<Candidate> {
        let (reference, surroundings) = (&self.known.reference, &self.known.surroundings);
        let variables = surroundings.variables();
        if let Some(handle) = self.handle().filter(|_| self.typed(start).is_empty()) {
            let fitting = variables.iter().filter(|variable| variable.type_name == handle);
            let fitting: Vec<_> = fitting.map(|variable| Candidate::new(&variable.name)).collect();
            if !fitting.is_empty() {
                return fitting;
            }
        }
        let colons = if self.cursor.after.starts_with("::") { "" } else { "::" };
        let namespace = |name: &str| Candidate::new(format!("{name}{colons}"));
        let namespaces = reference.namespaces.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
        let mut words: Vec<_> = namespaces.map(namespace).collect();
        words.extend(surroundings.modules().iter().map(|(alias, _)| namespace(alias)));
        let global = reference.functions.iter().filter(|function| function.namespace.is_empty());
        words.extend(global.map(|function| self.native(&function.signature, false)));
        let own = surroundings.functions().into_iter().chain(GLOBAL.iter().map(|s| (*s).to_owned()));
        words.extend(own.map(|signature| self.own(signature)));
        words.extend(variables.into_iter().map(|variable| Candidate::new(variable.name)));
        words.extend(self.cursor.declared().into_iter().map(Candidate::new));
        // Whoever has typed nothing wants to see what there is, not how loops are written.
        if !self.typed(start).is_empty() {
            words.extend(KEYWORDS.iter().map(|keyword| Candidate::new(*keyword)));
        }
        if self.cursor.text[..start].trim().is_empty() {
            words.extend(["help ", "exit"].map(Candidate::new));
        }
        words
    }

    /// The handle type that an argument at the cursor must have.
    fn handle(&self) -> Option<String> {
        let Role::Argument(callee, index) = self.cursor.role() else { return None };
        let declared = self.known.declared(&self.cursor, callee);
        let (function, index) = declared.first()?.parameter(index)?;
        let type_name = &function.signature.parameters[index].type_name;
        let is_handle = self.known.reference.properties.iter().any(|property| property.type_name == type_name);
        is_handle.then(|| type_name.clone())
    }

    fn functions(&self, namespace: &str) -> Vec<Candidate> {
        if self.known.is_namespace(namespace) {
            let functions = self.known.reference.functions.iter().filter(|f| f.namespace == namespace);
            return functions.map(|function| self.native(&function.signature, false)).collect();
        }
        let module = self.known.surroundings.modules().into_iter().find(|(alias, _)| alias == namespace);
        module.map(|(_, signatures)| signatures).unwrap_or_default().into_iter().map(|s| self.own(s)).collect()
    }

    /// Properties and methods of the value that ends with this token.
    fn members(&self, object: usize) -> Vec<Candidate> {
        let Some(type_name) = self.known.type_of(&self.cursor, object) else { return Vec::new() };
        let reference = &self.known.reference;
        let properties = reference.properties.iter().filter(|p| p.type_name == type_name);
        let mut members: Vec<_> = properties.map(|property| Candidate::new(property.name)).collect();
        let methods = reference.functions.iter().filter(|f| f.signature.receiver() == Some(&type_name));
        members.extend(methods.map(|function| self.native(&function.signature, true)));
        let built_in = BUILT_IN.iter().filter(|(name, _)| *name == type_name).flat_map(|(_, methods)| *methods);
        let built_in = built_in.map(|(name, takes_arguments)| {
            Candidate::new(format!("{name}{}", self.suffix(*takes_arguments))).shown(*name)
        });
        members.extend(built_in);
        let is_variable = self.cursor.scan.tokens[object].kind == Kind::Word && !self.cursor.is_member(object);
        if let Some(variable) = self.cursor.word(object).filter(|_| is_variable && type_name == "Map") {
            let keys = self.known.surroundings.keys(variable);
            members.extend(keys.into_iter().filter(|key| is_identifier(key)).map(Candidate::new));
        }
        members
    }

    /// Options of the primitive to which the map literal goes that are not there yet.
    fn keys(&self) -> Vec<Candidate> {
        let Role::Argument(callee, index) = self.cursor.role_of_map() else { return Vec::new() };
        let declared = self.known.declared(&self.cursor, callee);
        let Some((function, index)) = declared.first().and_then(|declared| declared.parameter(index)) else {
            return Vec::new();
        };
        if function.signature.parameters[index].type_name != "Map" {
            return Vec::new();
        }
        let (given, colon) = (self.cursor.keys(), if self.cursor.after.starts_with(':') { "" } else { ": " });
        let keys = options::keys(&self.known.reference, function);
        let missing = keys.into_iter().filter(|key| !given.contains(&key.as_str()));
        missing.map(|key| Candidate::new(format!("{key}{colon}")).shown(key)).collect()
    }

    /// Names of things, as they stand in a string that opened with `quote`.
    fn names(&self, start: usize, quote: char) -> Vec<Candidate> {
        let typed = unescaped(self.typed(start), quote);
        let wanted = names::wanted(self.known, &self.cursor);
        let found = names::there_are(&*self.known.surroundings, &wanted, &typed);
        let goes_on = |c: char| c == quote || c.is_alphanumeric() || "-_./$".contains(c);
        let closes = matches!(quote, '"' | '`') && !self.cursor.after.starts_with(goes_on);
        let in_string = |mut candidate: Candidate| {
            let is_whole = !candidate.text.ends_with('/');
            candidate.text = escaped(&candidate.text, quote)?;
            if closes && is_whole {
                candidate.text.push(quote);
            }
            Some(candidate)
        };
        containing(&typed, found).into_iter().filter_map(in_string).collect()
    }

    /// Words to the shell: their own names, and what may follow them.
    fn command(&self) -> Found {
        let text = self.cursor.text;
        let begin = text.len() - text.trim_start().len();
        let commands = self.known.surroundings.commands();
        let Some((name, _)) = text[begin..].split_once(char::is_whitespace) else {
            let blank = |arguments: &[ArgumentKind]| if arguments.is_empty() { "" } else { " " };
            let names = commands.iter().map(|c| Candidate::new(format!("{}{}", c.name, blank(&c.arguments))));
            let words = ["help ", "exit"].map(Candidate::new);
            let names = names.chain(words).map(|c| Candidate { shown: c.shown.trim_end().to_owned(), ..c });
            return (begin, beginning_with(self.typed(begin), names.collect()));
        };
        let arguments = match commands.into_iter().find(|command| command.name == name) {
            Some(command) => command.arguments,
            None if name == "help" => vec![ArgumentKind::Topic],
            None => Vec::new(),
        };
        self.argument(begin + name.len(), &arguments)
    }

    /// The argument that the cursor is in, of those that begin after `at`.
    fn argument(&self, mut at: usize, kinds: &[ArgumentKind]) -> Found {
        let text = self.cursor.text;
        for (number, kind) in kinds.iter().enumerate() {
            at += text[at..].len() - text[at..].trim_start().len();
            let is_last = number + 1 == kinds.len();
            match text[at..].find(char::is_whitespace) {
                Some(length) if !is_last => at += length,
                _ => return (at, self.argument_of(kind, at, is_last)),
            }
        }
        (text.len(), Vec::new())
    }

    fn argument_of(&self, kind: &ArgumentKind, at: usize, is_last: bool) -> Vec<Candidate> {
        let (typed, surroundings) = (self.typed(at), &*self.known.surroundings);
        let there_are = |wanted| names::there_are(surroundings, &wanted, typed);
        let mut found = match kind {
            ArgumentKind::Step => there_are(Wanted::Steps),
            ArgumentKind::Container => there_are(Wanted::Containers),
            ArgumentKind::Volume => there_are(Wanted::Volumes),
            ArgumentKind::Database => there_are(Wanted::Databases),
            ArgumentKind::File => there_are(Wanted::Files),
            ArgumentKind::Topic => return beginning_with(typed, self.topics(typed)),
            ArgumentKind::Variable => surroundings.variables().into_iter().map(|v| Candidate::new(v.name)).collect(),
            ArgumentKind::Word(words) => words.iter().map(|word| Candidate::new(*word)).collect(),
            ArgumentKind::Number | ArgumentKind::Text => Vec::new(),
        };
        if !is_last && self.cursor.after.is_empty() {
            let is_whole = |candidate: &&mut Candidate| !candidate.text.ends_with('/');
            found.iter_mut().filter(is_whole).for_each(|candidate| candidate.text.push(' '));
        }
        containing(typed, found)
    }

    /// What `help` takes. The functions of a namespace come once it is named.
    fn topics(&self, typed: &str) -> Vec<Candidate> {
        let (reference, surroundings) = (&self.known.reference, &self.known.surroundings);
        if let Some((namespace, _)) = typed.split_once("::") {
            let functions = reference.functions.iter().filter(|function| function.namespace == namespace);
            return functions.map(|f| Candidate::new(f.path()).shown(&f.signature.name)).collect();
        }
        let namespaces = reference.namespaces.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
        let mut topics: Vec<_> = namespaces.map(Candidate::new).collect();
        topics.extend(reference.global_names().into_iter().map(Candidate::new));
        topics.extend(reference.properties.iter().map(|property| Candidate::new(property.type_name)));
        topics.extend(surroundings.functions().iter().map(|signature| Candidate::new(name_of(signature))));
        topics.extend(surroundings.commands().into_iter().map(|command| Candidate::new(command.name)));
        topics.extend(surroundings.topics().into_iter().map(Candidate::new));
        topics
    }
}

fn is_identifier(text: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) && text.chars().all(is_part)
}

/// What a string's text stands for, as far as names have it.
fn unescaped(text: &str, quote: char) -> String {
    if quote != '"' {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// A name as it stands in a string; `None` where such a string can't hold it.
fn escaped(text: &str, quote: char) -> Option<String> {
    match quote {
        '"' => Some(text.replace('\\', "\\\\").replace('"', "\\\"")),
        '`' => (!text.contains('`') && !text.contains("${")).then(|| text.to_owned()),
        _ => (!text.contains('"')).then(|| text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::editor::testing::known;

    /// The line as the only candidate makes it, or all that are inserted. `<>` is the cursor; without one it is at the
    /// end.
    fn completed(marked: &str) -> String {
        let (known, _) = known();
        found(&known, marked).0
    }

    fn found(known: &Known, marked: &str) -> (String, Vec<String>) {
        let position = marked.find("<>").unwrap_or(marked.len());
        let line = marked.replacen("<>", "", 1);
        let (start, pairs) = complete(known, Style::plain(true), &line, position);
        let shown = pairs.iter().map(|pair| pair.display.clone()).collect();
        let line = match pairs.as_slice() {
            [pair] => format!("{}{}{}", &line[..start], pair.replacement, &line[position..]),
            pairs => pairs.iter().map(|pair| pair.replacement.as_str()).collect::<Vec<_>>().join(" | "),
        };
        (line, shown)
    }

    #[test]
    fn the_language_is_completed() {
        let cases = [
            ("dock", "docker::"),
            ("dock<>::stop", "docker::stop"),
            ("docker::st", "start( | stop("),
            ("docker::sto", "docker::stop("),
            ("docker::sto<>(c)", "docker::stop(c)"),
            ("docker::inf", "docker::info()"),
            ("let x = docker::sto", "let x = docker::stop("),
            ("step(\"x\", || { docker::sto", "step(\"x\", || { docker::stop("),
            ("`${docker::sto", "`${docker::stop("),
            ("nothing::st", ""),
            ("prim", "primero::"),
            ("primero::st", "primero::stop("),
            ("primero::si", "primero::sites()"),
            ("par", "param("),
            ("chec", "check("),
            ("cle", "clean()"),
            ("whi", "while"),
            ("dat", "data"),
            ("let other = 1; oth", "let other = 1; other"),
            ("hel", "help "),
            ("x = hel", ""),
            ("let na", ""),
            ("// docker::sto", ""),
            ("12", ""),
        ];
        for (marked, expected) in cases {
            assert_eq!(completed(marked), expected, "{marked}");
        }
    }

    #[test]
    fn an_empty_line_offers_what_there_is_but_no_keywords() {
        let offered = completed("");
        for name in ["docker::", "step(", "c", "check(", "primero::", "help ", "exit"] {
            assert!(offered.split(" | ").any(|text| text == name), "{name} of {offered}");
        }
        assert!(!offered.contains("while"));
    }

    #[test]
    fn members_are_those_of_the_type() {
        let cases = [
            ("c.sto", "c.stop("),
            ("c.nam", "c.name"),
            ("c.insp", "c.inspect()"),
            ("c.net", "network_mode | networks"),
            ("c?.nam", "c?.name"),
            (
                "data.",
                "backup( | backup_not_started() | clone( | control( | driver | holders() | is_empty() | keep( | labels \
                       | mount_point | move( | name | options | pg_version() | remove() | size() | unkeep()",
            ),
            ("docker::container(\"x\").nam", "docker::container(\"x\").name"),
            ("c.name.to_u", "c.name.to_upper()"),
            ("c.mounts.filt", "c.mounts.filter("),
            (
                "row.",
                "contains( | get( | id | is_empty() | keys() | len() | name | remove( | set( | to_json() | values()",
            ),
            ("row.na", "row.name"),
            ("row[\"na", "row[\"name\""),
            ("row[\"two", "row[\"two words\""),
            ("unknown.", ""),
            ("let v = volume::inspect(\"x\"); v.mount", "let v = volume::inspect(\"x\"); v.mount_point"),
        ];
        for (marked, expected) in cases {
            assert_eq!(completed(marked), expected, "{marked}");
        }
    }

    #[test]
    fn strings_hold_names_of_what_their_parameter_is() {
        let cases = [
            ("docker::container(\"primero-a", "docker::container(\"primero-app-1\""),
            ("docker::container(\"primero-a<>\")", "docker::container(\"primero-app-1\")"),
            ("docker::container(\"primero-a<>)", "docker::container(\"primero-app-1\")"),
            ("docker::container(`primero-a", "docker::container(`primero-app-1`"),
            ("docker::container(\"app", "docker::container(\"primero-app-1\""),
            ("docker::container(\"odd", ""),
            ("docker::exists(\"primero-p", "docker::exists(\"primero-postgres-1\""),
            ("volume::inspect(\"primero_d", "volume::inspect(\"primero_data\""),
            ("docker::containers(#{ volume: \"primero_d", "docker::containers(#{ volume: \"primero_data\""),
            ("pg_dump::database(db, \"pri", "pg_dump::database(db, \"primero\""),
            (
                "psql::query(db, \"select 1\", #{ database: \"post",
                "psql::query(db, \"select 1\", #{ database: \"postgres\"",
            ),
            ("db.cluster(\"x\", #{ databases: [\"post", "db.cluster(\"x\", #{ databases: [\"postgres\""),
            ("step(\"stop", "step(\"stop the application\""),
            ("param(\"", ""),
            ("docker::env(c, \"", ""),
            ("docker::network(\"", ""),
            ("c.copy_out(\"", ""),
            ("check(\"primero_f", "check(\"primero_files\""),
            ("ui::say(\"post", "ui::say(\"postgres\""),
            ("ui::say(\"back", "ui::say(\"back up\""),
            ("import \"pri", ""),
            ("host::read(\"Cargo.to", "host::read(\"Cargo.toml\""),
            ("host::read(\"./src/repl/edito", "host::read(\"./src/repl/editor/"),
            ("ui::say(\"./src/repl/edito", "ui::say(\"./src/repl/editor/"),
            ("ansible::site(#{ dir: \"sr", "ansible::site(#{ dir: \"src/"),
        ];
        for (marked, expected) in cases {
            assert_eq!(completed(marked), expected, "{marked}");
        }
    }

    #[test]
    fn only_the_list_that_is_wanted_is_asked_for() {
        let asked = |marked: &str| {
            let (known, session) = known();
            found(&known, marked);
            session.asked.take().join(" ")
        };
        assert_eq!(asked("docker::container(\"p"), "containers");
        assert_eq!(asked("volume::inspect(\"p"), "volumes");
        assert_eq!(asked("step(\"p"), "steps");
        assert_eq!(asked("docker::st"), "");
        assert_eq!(asked("host::read(\"p"), "");
        assert_eq!(asked(".undo p"), "steps");
    }

    #[test]
    fn a_name_is_escaped_as_its_string_wants_it() {
        assert_eq!(
            (escaped("a\"b\\", '"').unwrap(), unescaped(r#"a\"b\\"#, '"')),
            (r#"a\"b\\"#.into(), "a\"b\\".into())
        );
        assert_eq!((escaped("a`b", '`'), escaped("a${b", '`'), escaped("a\"b", '#')), (None, None, None));
        assert_eq!((escaped("a\"b", '`'), escaped("a`b", '#')), (Some("a\"b".into()), Some("a`b".into())));
    }

    #[test]
    fn a_map_of_options_offers_those_that_are_missing() {
        let cases = [
            ("docker::stop(c, #{ ti", "docker::stop(c, #{ timeout: "),
            ("docker::stop(c, #{ ti<>: 5 }", "docker::stop(c, #{ timeout: 5 }"),
            ("c.stop(#{ ti", "c.stop(#{ timeout: "),
            ("docker::wait_healthy([c], #{ ", "stable:  | timeout: "),
            ("docker::wait_healthy([c], #{ stable: 3, ", "docker::wait_healthy([c], #{ stable: 3, timeout: "),
            ("docker::containers(#{ pro", "docker::containers(#{ project: "),
            ("step(\"x\", || { docker::stop(c) }, #{ rep", "step(\"x\", || { docker::stop(c) }, #{ repeatable: "),
            ("docker::create(#{ mounts: [#{ ", ""),
            ("let m = #{ ", ""),
            ("check(#{ ", ""),
        ];
        for (marked, expected) in cases {
            assert_eq!(completed(marked), expected, "{marked}");
        }
    }

    #[test]
    fn a_handle_is_offered_before_everything_else() {
        assert_eq!(completed("docker::stop("), "docker::stop(c");
        assert_eq!(completed("docker::stop(do"), "do | docker::");
        assert!(completed("docker::container(").contains("docker::"));
        assert!(completed("psql::compare(").contains("docker::"), "there is no content");
    }

    #[test]
    fn words_to_the_shell_are_completed_with_their_arguments() {
        let cases = [
            (".", ".format  | .help  | .logs  | .save  | .steps | .undo "),
            (".un", ".undo "),
            ("  .un", "  .undo "),
            (".ste", ".steps"),
            (".undo sto", ".undo stop the application"),
            (".undo stop the a", ".undo stop the application"),
            (".undo application", ".undo stop the application"),
            (".logs app", ".logs primero-app-1 "),
            (".logs primero-app-1 ", ""),
            (".save Cargo.to", ".save Cargo.toml"),
            (".format t", ".format table"),
            (".steps x", ""),
            (".unknown x", ""),
            ("help", "help "),
            ("help dock", "help docker"),
            ("help docker::sto", "help docker::stop"),
            ("help Cont", "Container | Content"),
            ("help gua", "help guards"),
            ("help .un", "help .undo"),
            ("help che", "help check"),
            (".help ste", ".help step"),
            ("exit ", ""),
        ];
        for (marked, expected) in cases {
            assert_eq!(completed(marked), expected, "{marked}");
        }
    }

    #[test]
    fn functions_are_listed_with_their_signatures_where_there_is_room() {
        let (known, _) = known();
        assert_eq!(
            found(&known, "docker::st").1,
            ["start(container: Container)", "stop(container: Container, options: Map = #{})"]
        );
        assert_eq!(found(&known, "c.st").1, ["start()", "started_at", "state", "stop(options: Map = #{})"]);
        assert!(found(&known, "docker::").1.iter().all(|shown| !shown.contains('(')));
    }

    /// Wherever the cursor is, nothing panics, and what is offered goes on from what stands there.
    #[test]
    fn every_position_of_a_script_can_be_completed() {
        let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/stdlib/stack.rhai")).unwrap();
        let script: String = script.chars().take(3000).collect::<String>() + "é`${c.";
        let (known, _) = known();
        for position in (0..=script.len()).filter(|position| script.is_char_boundary(*position)) {
            let (start, _) = complete(&known, Style::plain(true), &script, position);
            assert!(start <= position && script.is_char_boundary(start));
        }
    }
}
