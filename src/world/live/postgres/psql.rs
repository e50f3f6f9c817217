//! psql as a child: everything arrives on stdin, nothing but fixed options is in argv.

use std::borrow::Cow;
use std::io::{Cursor, Read, Write};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{Call, Client, connection_string};
use super::messages::{Message, Parser};
use crate::event::Event;
use crate::world::container::Streams;
use crate::world::error::{Error, Result};
use crate::world::live::lines::Lines;
use crate::world::postgres::Binding;
use crate::world::session::Purpose;

/// One psql run.
pub struct Psql<'a> {
    client: &'a Client<'a>,
    database: &'a str,
    /// psql's own settings, sent before the input.
    preamble: String,
    /// Lines of the input that are not the caller's own; taken off the line numbers of errors.
    wrapped: u64,
    purpose: Purpose,
    stop_on_error: bool,
}

impl<'a> Psql<'a> {
    pub fn new(client: &'a Client<'a>, database: &'a str) -> Self {
        Self { client, database, preamble: String::new(), wrapped: 0, purpose: Purpose::default(), stop_on_error: true }
    }

    /// Values for `:'name'` and `:"name"`.
    pub fn bind(mut self, bindings: &[Binding]) -> Result<Self> {
        self.preamble.push_str(&bound(bindings)?);
        Ok(self)
    }

    /// A line of psql's own language before the input.
    pub fn preamble(mut self, line: &str) -> Self {
        self.preamble.push_str(line);
        self.preamble.push('\n');
        self
    }

    /// In a database whose texts are bytes of no encoding (SQL_ASCII) names come as they are, not only those that are
    /// UTF-8; [`text_of`] reads them.
    pub fn any_text(self) -> Self {
        ANY_TEXT.iter().fold(self, |psql, line| psql.preamble(line))
    }

    /// The input begins with so many lines that are not the caller's own.
    pub fn wrapped(mut self, lines: u64) -> Self {
        self.wrapped = lines;
        self
    }

    /// What the session is for; statements unless it is said.
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Goes on after an error; the caller judges each.
    pub fn tolerant(mut self) -> Self {
        self.stop_on_error = false;
        self
    }

    /// Runs to the end; the first error of the server ends it.
    pub fn run(self, input: &mut (dyn Read + Send), output: &mut (dyn Write + Send)) -> Result<()> {
        let mut first: Option<Message> = None;
        let mut judge = |message: Message| {
            first.get_or_insert(message);
            Verdict::Stop
        };
        let label = self.client.label.clone();
        let ended = self.judged(input, output, &mut judge);
        match (first, ended) {
            (_, Err(error)) if error.code == "cancelled" => Err(error),
            (Some(message), _) => Err(message.failed()),
            (None, ended) => match ended? {
                0 => Ok(()),
                126 | 127 => Err(no_psql(&label)),
                code => Err(Error::failed("psql.failed", format!("psql in {label} ended with exit code {code}"))),
            },
        }
    }

    /// Runs to the end and gives the exit code; `judge` hears every error as it comes and may stop the input.
    pub fn judged(
        self,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
        judge: &mut (dyn FnMut(Message) -> Verdict + Send),
    ) -> Result<i64> {
        let stop_on_error = format!("ON_ERROR_STOP={}", i32::from(self.stop_on_error));
        let argv = ["psql", "-X", "-q", "-A", "-t", "--no-password", "-v", &stop_on_error, "-f", "-"];
        let call = Call::new(&argv, Some(self.database)).purpose(self.purpose).encoding("UTF8");
        let preamble = format!("\\set VERBOSITY verbose\n{}", self.preamble);
        let mut parser = Parser::new(preamble.lines().count() as u64 + self.wrapped);
        let (context, label) = (&self.client.clients.context, &self.client.label);
        let stopped = AtomicBool::new(false);
        let mut take = |message: Message| {
            if !message.is_error() {
                // What has no state was said when the session began, and is said again by each.
                let mut told = self.client.clients.told.lock().unwrap_or_else(PoisonError::into_inner);
                if !message.sqlstate.is_empty() || told.insert(format!("{label}: {}", message.text)) {
                    context.emit(Event::Warn { text: message.describe() });
                }
            } else if judge(message) == Verdict::Stop {
                stopped.store(true, Ordering::Relaxed);
            }
        };
        let mut stderr = Lines::new(&context.redactor, |line: &str| {
            if let Some(message) = parser.line(line) {
                take(message);
            }
        });
        let mut stdin = Cursor::new(preamble).chain(Stoppable { input, stopped: &stopped });
        let streams = Streams { stdin: Some(&mut stdin), stdout: Some(output), stderr: Some(&mut stderr) };
        let ended = self.client.exec(call, streams);
        stderr.finish();
        if let Some(message) = parser.finish() {
            take(message);
        }
        ended
    }
}

/// See [`Psql::any_text`].
const ANY_TEXT: [&str; 4] = [
    "SELECT pg_catalog.current_setting('server_encoding') = 'SQL_ASCII' AS has_bytes \\gset",
    "\\if :has_bytes",
    "\\encoding LATIN1",
    "\\endif",
];

/// An answer as text. Where it is no UTF-8, each byte is a character, so that two names stay two.
pub fn text_of(answer: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(answer) {
        Ok(text) => text.into(),
        Err(_) => answer.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// What has a psql that stays go on in another database, with any text in it.
pub fn connect(database: &str) -> Result<String> {
    let set = set_line(&Binding { name: "target".into(), value: connection_string(database) })?;
    Ok(format!("{set}\\connect -reuse-previous=on :\"target\"\n{}\n", ANY_TEXT.join("\n")))
}

/// psql as a person uses it; gives its exit code.
pub fn on_terminal(client: &Client<'_>, database: &str) -> Result<i64> {
    match client.terminal(Call::new(&["psql", "-X"], Some(database)).encoding("UTF8"))? {
        126 | 127 => Err(no_psql(&client.label)),
        code => Ok(code),
    }
}

fn no_psql(label: &str) -> Error {
    Error::failed("postgres.no_client", format!("psql is not in {label}"))
}

/// What becomes of the rest of the input after an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    Stop,
}

/// Fails once stopped: the engine then ends psql. An early end of the input would look like the end of the script, and
/// psql would run what it has of the last statement.
struct Stoppable<'a> {
    input: &'a mut (dyn Read + Send),
    stopped: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(std::io::Error::other("stopped at an error")),
            false => self.input.read(buf),
        }
    }
}

/// Lines that set values.
pub fn bound(bindings: &[Binding]) -> Result<String> {
    bindings.iter().map(set_line).collect()
}

/// `\set name 'value'`, quoted for psql's backslash commands.
fn set_line(binding: &Binding) -> Result<String> {
    let name = &binding.name;
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    // psql's own variables (ON_ERROR_STOP, AUTOCOMMIT …) are all in capitals.
    if !word || !name.bytes().any(|b| b.is_ascii_lowercase()) || name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("{name:?} cannot be the name of a value");
        return Err(Error::usage("psql.bad_value", message).hint("use lower-case letters, digits and _"));
    }
    Ok(format!("\\set {name} {}\n", quote(&binding.value).map_err(|e| e.hint(format!("value of {name}")))?))
}

/// A value between single quotes as psql's `\set` reads it: backslash escapes, no line breaks.
fn quote(value: &str) -> Result<String> {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        match c {
            '\0' => return Err(Error::usage("psql.bad_value", "a value has a NUL character; PostgreSQL has none")),
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, value: &str) -> Result<String> {
        set_line(&Binding { name: name.into(), value: value.into() })
    }

    #[test]
    fn any_text_is_quoted_on_one_line() {
        assert_eq!(line("x", "a'b\\c\nd\re\tf").unwrap(), "\\set x 'a\\'b\\\\c\\nd\\re\\tf'\n");
        assert_eq!(line("x", "`id` :x $1 \"ü😀").unwrap(), "\\set x '`id` :x $1 \"ü😀'\n");
        assert_eq!(line("x", "").unwrap(), "\\set x ''\n");
    }

    #[test]
    fn a_nul_and_psqls_own_variables_are_refused() {
        assert_eq!(line("x", "a\0b").unwrap_err().code, "psql.bad_value");
        for name in ["ON_ERROR_STOP", "a b", "", "x'", "1a", "é"] {
            assert_eq!(line(name, "v").unwrap_err().code, "psql.bad_value", "{name}");
        }
    }
}
