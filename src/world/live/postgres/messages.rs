//! What psql writes to stderr, read back into the server's messages.

use super::quoted;
use crate::world::error::Error;

/// One message of the server, as psql prints it with `VERBOSITY verbose`; or psql's own complaint, without SQLSTATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `ERROR`, `FATAL`, `WARNING` …; `error` for psql's own.
    pub severity: String,
    /// Five characters; empty for psql's own complaints.
    pub sqlstate: String,
    pub text: String,
    pub detail: String,
    pub hint: String,
    /// Line of the input at which the statement ended, from 1.
    pub line: Option<u64>,
}

impl Message {
    pub fn is_error(&self) -> bool {
        matches!(self.severity.as_str(), "ERROR" | "FATAL" | "PANIC" | "error")
    }

    /// `relation "t" does not exist (SQLSTATE 42P01, line 3); DETAIL: …`: what an operator needs, nothing of the
    /// statement itself, which may hold a secret, and nothing of rows.
    pub fn describe(&self) -> String {
        let mut place = Vec::new();
        if !self.sqlstate.is_empty() {
            place.push(format!("SQLSTATE {}", self.sqlstate));
        }
        if let Some(line) = self.line {
            place.push(format!("line {line}"));
        }
        let mut text = format!("{}: {}", self.severity, quoted::text(&self.text));
        if !place.is_empty() {
            text.push_str(&format!(" ({})", place.join(", ")));
        }
        if let Some(detail) = quoted::detail(&self.detail) {
            text.push_str(&format!("\nDETAIL: {detail}"));
        }
        text
    }

    /// The error of a statement that failed.
    pub fn failed(&self) -> Error {
        let error = login_refused(&self.text).unwrap_or_else(|| Error::failed("psql.failed", self.describe()));
        let hints = [self.hint.as_str(), self.on_names().unwrap_or_default()];
        let hints: Vec<_> = hints.into_iter().filter(|hint| !hint.is_empty()).collect();
        if hints.is_empty() { error } else { error.hint(hints.join("; ")) }
    }

    /// What to do about a name without a schema.
    fn on_names(&self) -> Option<&'static str> {
        // Undefined table, function or operator, other object; creation without a schema.
        let is_without_schema = match self.sqlstate.as_str() {
            "42P01" | "42883" | "42704" => !self.text.contains('.'),
            "3F000" => self.text.contains("no schema has been selected"),
            _ => false,
        };
        is_without_schema.then_some(ON_NAMES)
    }
}

/// Our sessions look for names without a schema in `pg_catalog` alone, and those that load data nowhere.
const ON_NAMES: &str = "names without a schema are not looked for in the site's schemas: write public.NAME; where a \
                        function of the site's looks for it, ALTER FUNCTION … SET search_path TO the schemas it needs";

/// The same for what a program has said: a function that is called while data is loaded or an index is built (of an
/// index, a generated column, a constraint) finds no name of its own that has no schema.
pub fn on_names_in(said: &str) -> Option<&'static str> {
    let is_it = said.lines().any(|line| {
        let name = line.split_once("ERROR:").map_or("", |(_, rest)| rest);
        name.contains(" does not exist") && !name.contains('.')
    });
    is_it.then_some(ON_NAMES)
}

/// Says whether a client's complaint means that the server did not let it in, and what to do then.
pub fn login_refused(text: &str) -> Option<Error> {
    const REFUSALS: [&str; 7] = [
        "password authentication failed",
        "authentication failed for user",
        "no password supplied",
        "no pg_hba.conf entry",
        "pg_hba.conf rejects",
        "is not permitted to log in",
        "does not have a valid SCRAM secret",
    ];
    let reason = text.lines().find(|line| REFUSALS.iter().any(|refusal| line.contains(refusal)))?;
    let error = Error::failed("postgres.login_refused", format!("the server refused the login: {}", reason.trim()));
    let hint = match reason.contains("no password supplied") {
        true => "the server asks for a password here; give the superuser's password along with the server",
        false => "check the role and its password, and the rules in pg_hba.conf",
    };
    Some(error.hint(hint))
}

/// Where a line that continues a message belongs.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    Text,
    Detail,
    Hint,
    /// `LINE`, `QUERY`, `CONTEXT`, `LOCATION`: may quote the statement, so it is dropped.
    #[default]
    Dropped,
}

/// What the server says when a session begins, before psql marks its messages: that a collation is of another version,
/// for one.
fn on_connecting(line: &str) -> Option<Message> {
    let (severity, text) = line.split_once(":  ")?;
    let is_notice = matches!(severity, "WARNING" | "NOTICE" | "INFO" | "LOG");
    is_notice.then(|| Message { severity: severity.to_owned(), text: text.to_owned(), ..Message::default() })
}

/// Puts lines together into [`Message`]s.
#[derive(Default)]
pub struct Parser {
    current: Option<Message>,
    field: Field,
    /// Lines that were sent before the caller's own input; taken off the line numbers.
    preamble: u64,
}

impl Parser {
    pub fn new(preamble: u64) -> Self {
        Self { preamble, ..Self::default() }
    }

    /// Takes one line; gives the message that it ends, if it begins another.
    pub fn line(&mut self, line: &str) -> Option<Message> {
        if let Some(message) = self.begin(line) {
            self.field = Field::Text;
            return self.current.replace(message);
        }
        self.proceed(line);
        None
    }

    /// The last message.
    pub fn finish(&mut self) -> Option<Message> {
        self.current.take()
    }

    fn begin(&self, line: &str) -> Option<Message> {
        let Some(rest) = line.strip_prefix("psql:") else { return on_connecting(line) };
        let (number, rest) = match rest.strip_prefix("<stdin>:").and_then(|rest| rest.split_once(": ")) {
            Some((number, rest)) => (number.parse::<u64>().ok(), rest),
            None => (None, rest.trim_start()),
        };
        let line = number.and_then(|number| number.checked_sub(self.preamble)).filter(|number| *number > 0);
        let own = || Message {
            severity: "error".into(),
            text: rest.strip_prefix("error: ").unwrap_or(rest).to_owned(),
            line,
            ..Message::default()
        };
        let Some((severity, body)) = rest.split_once(":  ") else { return Some(own()) };
        if severity.is_empty() || !severity.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Some(own());
        }
        let (sqlstate, text) = match body.split_once(": ") {
            Some((state, text)) if state.len() == 5 && state.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                (state, text)
            }
            _ => ("", body),
        };
        let (severity, sqlstate, text) = (severity.to_owned(), sqlstate.to_owned(), text.to_owned());
        Some(Message { severity, sqlstate, text, line, ..Message::default() })
    }

    fn proceed(&mut self, line: &str) {
        let Some(message) = self.current.as_mut() else {
            // Something other than psql speaks (the loader, the shell): better kept than lost.
            self.field = Field::Text;
            self.current = Some(Message { severity: "error".into(), text: line.to_owned(), ..Message::default() });
            return;
        };
        let (field, rest) = field_of(line).unwrap_or((self.field, line));
        let started = field != self.field;
        self.field = field;
        let target = match field {
            Field::Text => &mut message.text,
            Field::Detail => &mut message.detail,
            Field::Hint => &mut message.hint,
            Field::Dropped => return,
        };
        if !started && !target.is_empty() {
            target.push('\n');
        }
        target.push_str(rest);
    }
}

fn field_of(line: &str) -> Option<(Field, &str)> {
    if let Some(rest) = line.strip_prefix("DETAIL:  ") {
        return Some((Field::Detail, rest));
    }
    if let Some(rest) = line.strip_prefix("HINT:  ") {
        return Some((Field::Hint, rest));
    }
    let (word, _) = line.split_once(':')?;
    let word = word.split_once(' ').map_or(word, |(first, _)| first);
    const DROPPED: [&str; 9] =
        ["LINE", "QUERY", "CONTEXT", "LOCATION", "SCHEMA", "TABLE", "COLUMN", "DATATYPE", "CONSTRAINT"];
    DROPPED.contains(&word).then_some((Field::Dropped, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(preamble: u64, text: &str) -> Vec<Message> {
        let mut parser = Parser::new(preamble);
        let mut messages: Vec<_> = text.lines().filter_map(|line| parser.line(line)).collect();
        messages.extend(parser.finish());
        messages
    }

    #[test]
    fn a_warning_of_a_session_that_begins_is_no_error() {
        let text = "WARNING:  database \"a\" has a collation version mismatch\nDETAIL:  The database was created \
                    using 2.36.\nHINT:  Rebuild.\npsql:<stdin>:2: ERROR:  42P01: relation \"t\" does not exist";
        let found = parse(1, text);
        assert_eq!((found[0].severity.as_str(), found[0].is_error()), ("WARNING", false));
        assert_eq!((found[0].hint.as_str(), found[1].sqlstate.as_str()), ("Rebuild.", "42P01"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_error_has_sqlstate_line_detail_and_hint() {
        let messages = parse(
            10,
            "psql:<stdin>:15: ERROR:  23505: duplicate key value violates unique constraint \"t_pkey\"\n\
             DETAIL:  Key (a)=(1) already exists.\nHINT:  Take another.\nSCHEMA NAME:  public\n\
             LOCATION:  _bt_check_unique, nbtinsert.c:664",
        );
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].sqlstate, "23505");
        assert_eq!(messages[0].line, Some(5));
        assert_eq!(messages[0].detail, "Key (a)=(1) already exists.");
        assert_eq!(messages[0].hint, "Take another.");
        let failed = messages[0].failed();
        assert_eq!(failed.code, "psql.failed");
        assert!(failed.message.ends_with("(SQLSTATE 23505, line 5)\nDETAIL: Key (a) already exists."));
    }

    #[test]
    fn the_statement_that_failed_is_not_repeated() {
        let messages = parse(
            0,
            "psql:<stdin>:1: ERROR:  42601: syntax error at or near \"ALTER\"\nLINE 1: ALTER ROLE x 'hunter2'\n\
             \x20       ^\nCONTEXT:  SQL statement \"hunter2\"\nmore hunter2\nLOCATION:  x",
        );
        assert!(!format!("{messages:?}").contains("hunter2"));
    }

    #[test]
    fn several_messages_and_messages_of_several_lines() {
        let messages = parse(
            0,
            "psql:<stdin>:1: WARNING:  01000: one\ntwo\npsql:<stdin>:2: ERROR:  55006: current user cannot be dropped\n\
             LOCATION:  DropRole, user.c:1151",
        );
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].text, "one\ntwo");
        assert!(!messages[0].is_error() && messages[1].is_error());
    }

    #[test]
    fn psqls_own_complaints_are_errors_without_a_sqlstate() {
        let messages = parse(0, "psql:<stdin>:3: error: invalid command \\foo");
        assert_eq!((messages[0].text.as_str(), messages[0].line), ("invalid command \\foo", Some(3)));
        assert!(messages[0].is_error());
    }

    #[test]
    fn a_refused_login_is_named_as_such() {
        let messages = parse(
            0,
            "psql: error: connection to server at \"172.17.0.2\", port 5432 failed: FATAL:  password authentication \
             failed for user \"app\"",
        );
        assert_eq!(messages[0].failed().code, "postgres.login_refused");
        assert!(login_refused("FATAL:  database \"x\" does not exist").is_none());
    }
}
