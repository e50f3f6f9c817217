//! SQL of a dump through psql, with every error held against the closed list.

use std::io::{self, Read};
use std::sync::Mutex;

use super::classify::{self, Known};
use super::client::{Call, Client};
use super::messages::{Message, login_refused};
use super::plain_scan::PlainScan;
use super::psql::{Psql, Verdict};
use super::rows::Collected;
use super::watch::{Watch, missing_extension};
use super::{Clients, rows};
use crate::world::error::{Error, Result};
use crate::world::live::progress::Progress;
use crate::world::postgres::{Binding, ExpectedError, Server};
use crate::world::session::Purpose;

/// `pg_dumpall` of what belongs to no database: in an encoding that has every character.
pub fn dumping(more: &[&str]) -> Call<'static> {
    let argv = ["pg_dumpall", "--globals-only", "--quote-all-identifiers", "--no-password"];
    Call::new(&[&argv[..], more].concat(), None).encoding("UTF8")
}

/// What it writes, in memory.
pub fn dumped(client: &Client<'_>, more: &[&str]) -> Result<Vec<u8>> {
    let mut sql = Collected::default();
    let mut watch = Watch::new(&client.clients.context, "dump.failed", None);
    client.tool(dumping(more), None, Some(&mut sql), &mut watch)?;
    Ok(sql.0)
}

/// Runs the SQL of `pg_dumpall` in psql; gives the expected errors. The first other one ends it.
pub fn run(
    client: &Client<'_>,
    database: &str,
    known: &Known,
    purpose: Purpose,
    input: &mut (dyn Read + Send),
    progress: Option<&mut Progress>,
) -> Result<Vec<ExpectedError>> {
    let (expected, unexpected) = judged((client, database, purpose), known, input, progress, Verdict::Stop)?;
    debug_assert!(unexpected.is_empty());
    Ok(expected)
}

/// The same to its end, whatever is said: gives the errors that are not expected.
pub fn all_errors(
    client: &Client<'_>,
    database: &str,
    known: &Known,
    input: &mut (dyn Read + Send),
) -> Result<Vec<Message>> {
    judged((client, database, Purpose::Loading), known, input, None, Verdict::GoOn).map(|(_, errors)| errors)
}

/// The SQL of `pg_dumpall --quote-all-identifiers`, in which a role stays a superuser, and whether it would not have:
/// the role that restores needs its rights to the end.
pub fn keeping_superuser(sql: Vec<u8>, role: &str) -> (Vec<u8>, bool) {
    let begins = format!("ALTER ROLE \"{}\" WITH ", role.replace('"', "\"\""));
    let demotes = format!("{begins}NOSUPERUSER ").into_bytes();
    let mut kept = Vec::with_capacity(sql.len());
    let mut found = false;
    for line in sql.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(demotes.as_slice()) {
            Some(rest) => {
                found = true;
                kept.extend_from_slice(format!("{begins}SUPERUSER ").as_bytes());
                kept.extend_from_slice(rest);
            }
            None => kept.extend_from_slice(line),
        }
    }
    (kept, found)
}

/// What [`keeping_superuser`] has kept back.
pub fn demote(clients: &Clients, server: &Server) -> Result<()> {
    let role = Binding { name: "role".into(), value: server.user.clone() };
    let client = Client::inside(clients, server);
    rows::execute(&client, &server.database, "ALTER ROLE :\"role\" NOSUPERUSER", &[role]).map(|_| ())
}

/// `after`: what becomes of psql after an error that is not expected.
fn judged(
    (client, database, purpose): (&Client<'_>, &str, Purpose),
    known: &Known,
    input: &mut (dyn Read + Send),
    progress: Option<&mut Progress>,
    after: Verdict,
) -> Result<(Vec<ExpectedError>, Vec<Message>)> {
    let scan = Mutex::new(Reading { scan: PlainScan::default(), trouble: None, ended: false });
    let (mut expected, mut fatal) = (Vec::new(), Vec::new());
    let mut judge = |message: Message| {
        let dropping = message.line.is_some_and(|line| lock(&scan).scan.only_drops_before(line));
        match classify::expected(&message, known, dropping) {
            Some(reason) => {
                let (sqlstate, text) = (message.sqlstate, message.text);
                expected.push(ExpectedError { sqlstate, message: text, reason: reason.into() });
                Verdict::GoOn
            }
            None => {
                fatal.push(message);
                after
            }
        }
    };
    let mut input = ReadAlong { input, reading: &scan, progress };
    let ended = Psql::new(client, database).purpose(purpose).tolerant().judged(&mut input, &mut io::sink(), &mut judge);
    let reading = scan.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(error) = reading.trouble {
        return Err(error);
    }
    match ended {
        Err(error) if error.code == "cancelled" => return Err(error),
        _ if !fatal.is_empty() && after == Verdict::Stop => {
            let error = unexpected(&fatal);
            // An error at the place where the dump was cut: the cut is what to tell.
            return Err(match reading.ended.then(|| reading.scan.finish()) {
                Some(Err(cut)) => Error { message: format!("{}; {}", cut.message, error.message), ..cut },
                _ => error,
            });
        }
        Err(error) => return Err(error),
        Ok(0) => {}
        Ok(_) if !fatal.is_empty() => {}
        Ok(code) => {
            let message = format!("psql in {} ended with exit code {code}", client.label);
            return Err(Error::failed("restore.unexpected_error", message));
        }
    }
    reading.scan.finish()?;
    Ok((expected, fatal))
}

fn unexpected(fatal: &[Message]) -> Error {
    let described: Vec<String> = fatal.iter().map(Message::describe).collect();
    let text = described.join("\n");
    if let Some(error) = login_refused(&text) {
        return error;
    }
    let error = Error::failed("restore.unexpected_error", format!("the dump does not restore: {text}"));
    let server_hint = fatal.iter().map(|message| &message.hint).find(|hint| !hint.is_empty());
    match (missing_extension(&text), server_hint) {
        (Some(extension), _) => error.hint(format!(
            "the target's image lacks the extension {extension}: install its package in the image, or take an image \
             that has it"
        )),
        (None, Some(hint)) => error.hint(hint.clone()),
        (None, None) => error,
    }
}

struct Reading {
    scan: PlainScan,
    trouble: Option<Error>,
    /// Whether all of the input was read.
    ended: bool,
}

fn lock<'a>(reading: &'a Mutex<Reading>) -> std::sync::MutexGuard<'a, Reading> {
    reading.lock().unwrap_or_else(|e| e.into_inner())
}

/// Hands bytes to psql while [`PlainScan`] reads along; a damaged dump ends here.
struct ReadAlong<'a, 'b> {
    input: &'a mut (dyn Read + Send),
    reading: &'a Mutex<Reading>,
    progress: Option<&'b mut Progress>,
}

impl Read for ReadAlong<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut reading = lock(self.reading);
        let taken = self.input.read(buf).map_err(|e| Error::io("read", "the dump", &e));
        let taken = taken.and_then(|count| reading.scan.feed(&buf[..count]).map(|()| count));
        match taken {
            Ok(count) => {
                reading.ended |= count == 0 && !buf.is_empty();
                if let Some(progress) = self.progress.as_mut() {
                    progress.advance(count as u64);
                }
                Ok(count)
            }
            Err(error) => {
                let reason = io::Error::other(error.message.clone());
                reading.trouble = Some(error);
                Err(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_superuser_that_was_demoted_keeps_its_rights_until_all_is_restored() {
        let sql = "CREATE ROLE \"a\"\"b\";\nALTER ROLE \"a\"\"b\" WITH NOSUPERUSER LOGIN;\n\
                   ALTER ROLE \"c\" WITH NOSUPERUSER;\n";
        let (kept, found) = keeping_superuser(sql.into(), "a\"b");
        assert!(found);
        let kept = String::from_utf8(kept).unwrap();
        assert_eq!(kept, sql.replace("\"a\"\"b\" WITH NOSUPERUSER", "\"a\"\"b\" WITH SUPERUSER"));
        assert_eq!(keeping_superuser(sql.into(), "b"), (sql.into(), false));
    }
}
