//! Sessions that stand open for a moment after a question: a procedure asks many in a row, and to start psql in a
//! container takes longer than most answers.
//!
//! One for each server. A question leaves nothing behind in it: it only reads. Before anything else of ours
//! is done at that server the session is closed, for nobody may be connected where a database is dropped, or where
//! those who are connected are counted.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::psql::{bound, connect};
use super::rows;
use super::talk::Talk;
use crate::world::error::{Error, Result};
use crate::world::postgres::{Binding, Server};

/// So long one stands open. A server that is asked to end by SIGTERM waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// By the server's container.
#[derive(Default)]
pub struct Standing(Mutex<HashMap<String, Open>>);

struct Open {
    /// The environment that has led there.
    place: Vec<String>,
    /// That it is connected to.
    database: String,
    talk: Talk<'static>,
}

impl Standing {
    /// The answer to one SELECT, a line for each row. `None` where there was none, or not all of it: then psql is to be
    /// asked that tells what is wrong, and in which line.
    pub fn ask(&self, client: &Client<'_>, database: &str, select: &str, bindings: &[Binding]) -> Option<Vec<u8>> {
        let server = client.own_server()?;
        let open = self.known().remove(&server.container);
        if !is_plain(select) {
            open.into_iter().for_each(Open::close);
            return None;
        }
        let (place, database) = client.place_in(database).ok()?;
        let mut open = match open {
            Some(open) if open.place == place => open,
            other => {
                other.into_iter().for_each(Open::close);
                Open::new(client, server, place, &database)?
            }
        };
        match open.ask(&database, select, bindings) {
            Ok(answer) => {
                let earlier = self.known().insert(server.container.clone(), open);
                // Another question was under way meanwhile.
                earlier.into_iter().for_each(Open::close);
                Some(answer)
            }
            Err(_) => {
                open.close();
                None
            }
        }
    }

    /// Closes what stands open at a server.
    pub fn close(&self, container: &str) {
        let open = self.known().remove(container);
        open.into_iter().for_each(Open::close);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn new(client: &Client<'_>, server: &Server, place: Vec<String>, database: &str) -> Option<Self> {
        let clients = client.clients.this.upgrade()?;
        let (server, first) = (server.clone(), database.to_owned());
        let talk = Talk::open_for(PATIENCE, move |input, output| {
            rows::session(&Client::inside(&clients, &server), &first).run(input, output)
        });
        Some(Self { place, database: database.to_owned(), talk })
    }

    fn ask(&mut self, database: &str, select: &str, bindings: &[Binding]) -> Result<Vec<u8>> {
        let mut script = String::new();
        if self.database != database {
            script += &connect(database)?;
            database.clone_into(&mut self.database);
        }
        script += &bound(bindings)?;
        // Sent whatever psql takes it for.
        script += &format!("{select}\n\\g\n");
        script.extend(bindings.iter().map(|binding| format!("\\unset {}\n", binding.name)));
        let mut answer = rows::Collected::default();
        self.talk
            .ask(&script, |line| writeln!(answer, "{line}").map_err(|e| Error::failed("psql.failed", e.to_string())))?;
        Ok(answer.0)
    }

    fn close(self) {
        // Whatever it has to say of its end: what was asked was answered.
        let _ = self.talk.end(Ok(()));
    }
}

/// Whether this is one statement at whose end psql takes it as ended, and nothing of psql's own language: else what
/// comes after it would be taken for a part of it, or it could leave something. What only may be so is not plain.
fn is_plain(select: &str) -> bool {
    if select.contains(['\\', ';', '$']) || select.contains("--") || select.contains("/*") {
        return false;
    }
    let mut open = None;
    for c in select.chars().filter(|c| matches!(c, '\'' | '"')) {
        open = match open {
            None => Some(c),
            Some(quote) => Some(quote).filter(|quote| *quote != c),
        };
    }
    open.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_where_it_ends_is_not_plain() {
        for plain in ["SELECT 1", "SELECT 'it''s', \"a b\"", "SELECT '\"', (1", "SELECT :'name'", "SELECT \"'\""] {
            assert!(is_plain(plain), "{plain}");
        }
        let others =
            ["SELECT 'a", "SELECT ' \" ' \"", "SELECT $$a", "SELECT 1; SELECT 2", "SELECT 1 -- '", "/* SELECT", "\\q"];
        for other in others {
            assert!(!is_plain(other), "{other}");
        }
    }
}
