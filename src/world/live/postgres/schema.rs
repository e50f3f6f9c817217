//! The schema of a running cluster, tried on a throw-away server of the new version: what that one does not take is
//! known before anything is stopped.

use std::collections::VecDeque;
use std::io::Read;

use super::client::{Call, Client, connection_string};
use super::databases::Database;
use super::roles::binding;
use super::{Clients, databases, globals, pinned, quoted, restore, rows, transfer};
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Server, Untaken};
use crate::world::session::Purpose;
use crate::world::side_by_side::side_by_side;

/// Everything of the source's roles and schemas that the target does not take. The target is spoilt by that.
pub fn untaken(clients: &Clients, source: &Server, target: &Server, image: &str) -> Result<Vec<Untaken>> {
    let trial = Trial {
        from: Client::beside(clients, source, Some(image), None)?,
        into: Client::inside(clients, target),
        target: restore::Target::prepare(clients, target, 0)?,
        owners: databases::roles_and_tablespaces(clients, source, ANY_DATABASE)?.0,
    };
    let (mut found, demotes) = roles(&trial.from, &trial.into, &trial.target)?;
    // The standard databases are made anew one by one, as each is the place to be while the other is away.
    let databases = databases::to_dump(clients, source, &[])?;
    let (standard, others): (Vec<_>, Vec<_>) = databases.into_iter().partition(Database::is_standard);
    for database in &standard {
        found.extend(trial.database(database)?);
    }
    found.extend(side_by_side(&others, |_, database| trial.database(database))?.concat());
    if let Some(error) = demotes.then(|| globals::demote(clients, &trial.target.server).err()).flatten() {
        found.push(Untaken { object: format!("ROLE {}", target.user), message: error.message, ..Untaken::default() });
    }
    Ok(found)
}

/// The source's schemas, on their way into the target.
struct Trial<'a> {
    from: Client<'a>,
    into: Client<'a>,
    target: restore::Target<'a>,
    /// The roles of the source.
    owners: Vec<String>,
}

impl Trial<'_> {
    /// What of a database is not taken.
    fn database(&self, database: &Database) -> Result<Vec<Untaken>> {
        let maintenance = self.target.make_room(&database.name)?;
        let mut found = self.restored(database, &["--create"], &maintenance)?;
        let ahead: Vec<_> = found.iter().filter_map(|one| pinned::extension(&one.message)).collect();
        if !ahead.is_empty() {
            // Once more as a restore does it: with such extensions where they have to be, before what the dump says.
            self.anew(database, &ahead)?;
            found.retain(|one| one.object.starts_with("DATABASE "));
            found.extend(self.restored(database, &[], &database.name)?);
        }
        Ok(found)
    }

    /// The database anew, with these extensions. How it orders text does not matter to what is tried.
    fn anew(&self, database: &Database, extensions: &[String]) -> Result<()> {
        let maintenance = self.target.maintenance(&database.name)?;
        databases::drop(self.target.clients, &self.target.server, &maintenance, &database.name)?;
        let sql = "CREATE DATABASE :\"name\" TEMPLATE template0 ENCODING :'encoding' LC_COLLATE 'C' LC_CTYPE 'C'";
        let values = [binding("name", &database.name), binding("encoding", &database.encoding)];
        rows::execute(&self.into, &maintenance, sql, &values)?;
        pinned::create_extensions(&self.into, &database.name, extensions)
    }

    /// Restores the schema through a connection to `connected` as far as it goes; gives what was not taken.
    fn restored(&self, database: &Database, options: &[&str], connected: &str) -> Result<Vec<Untaken>> {
        let argv = ["pg_dump", "--schema-only", "--format=custom", "--no-password", "--quote-all-identifiers"];
        let mut entries = Entries { owners: &self.owners, ..Entries::default() };
        let load = |stdin: &mut (dyn Read + Send)| pg_restore(&self.into, options, connected, stdin, &mut entries);
        transfer::pipe((&self.from, database.dumping(&argv)), None, load)?;
        let named = |one: Untaken| Untaken { database: database.name.clone(), ..one };
        Ok(entries.found.into_iter().map(named).collect())
    }
}

/// Roles, memberships and settings: what psql says of them, and whether the target's superuser is to lose its rights.
fn roles(from: &Client<'_>, into: &Client<'_>, target: &restore::Target<'_>) -> Result<(Vec<Untaken>, bool)> {
    let sql = globals::dumped(from, &["--no-role-passwords"])?;
    let maintenance = target.maintenance("")?;
    let (sql, demotes) = globals::keeping_superuser(sql, &target.server.user);
    let errors = globals::all_errors(into, &maintenance, &target.known, &mut sql.as_slice())?;
    let untaken = |message: super::messages::Message| Untaken {
        database: String::new(),
        object: String::new(),
        message: message.describe(),
        hint: message.hint,
        statement: String::new(),
    };
    Ok((errors.into_iter().map(untaken).collect(), demotes))
}

/// Restores as far as it goes: after an error it goes on.
fn pg_restore(
    into: &Client<'_>,
    options: &[&str],
    connected: &str,
    stdin: &mut (dyn Read + Send),
    entries: &mut Entries<'_>,
) -> Result<()> {
    let mut call = Call::new(&["pg_restore", "--verbose", "--no-password"], None).purpose(Purpose::Loading);
    call.argv.extend(options.iter().map(ToString::to_string));
    call.argv.extend(["--dbname".to_owned(), connection_string(connected)]);
    let exit_code = into.listened(call, Some(stdin), None, |line| entries.line(line))?;
    if exit_code == 0 || !entries.found.is_empty() {
        return Ok(());
    }
    let said = entries.others.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    Err(Error::failed("restore.unexpected_error", format!("pg_restore ended with exit code {exit_code}: {said}")))
}

/// What `pg_restore` says of the entries that failed.
#[derive(Default)]
struct Entries<'a> {
    /// The roles of the source.
    owners: &'a [String],
    found: Vec<Untaken>,
    /// The last that it says beside that.
    others: VecDeque<String>,
    /// The entry that it is at: `VIEW five_factorial`.
    entry: String,
    part: Part,
    /// Whether the error under way is the first of its entry.
    is_news: bool,
}

/// What a line without the program's name goes on with.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Nothing,
    Statement,
}

impl Entries<'_> {
    fn line(&mut self, line: &str) {
        let text = line.strip_prefix("pg_restore: ");
        if let Some(entry) = text.and_then(|text| text.strip_prefix("from TOC entry ")) {
            self.entry = object(entry, self.owners);
        } else if let Some(said) = text.and_then(|text| text.strip_prefix("error: could not execute query: ")) {
            let message = quoted::text(said.strip_prefix("ERROR:  ").unwrap_or(said));
            // What fails after that in the same entry (its owner, for one) fails because of it.
            self.is_news = !self.entry.is_empty();
            let object = std::mem::take(&mut self.entry);
            if self.is_news {
                self.found.push(Untaken { object, message, ..Untaken::default() });
            }
            self.part = Part::Nothing;
        } else if let Some(statement) = line.strip_prefix("Command was: ") {
            self.part = Part::Statement;
            self.statement(statement);
        } else if let Some(other) = text {
            self.part = Part::Nothing;
            self.others.push_back(other.to_owned());
            if self.others.len() > 20 {
                self.others.pop_front();
            }
        } else if let Some(hint) = line.strip_prefix("HINT:  ") {
            self.last(|last| last.hint = hint.to_owned());
        } else if self.part == Part::Statement {
            self.statement(line);
        }
    }

    /// Statements that give rights hold no secret, and say what is to be taken back.
    fn statement(&mut self, line: &str) {
        let is_grant = self.found.last().is_some_and(|last| last.object.contains("ACL "));
        if is_grant && self.is_news && !line.trim().is_empty() {
            self.last(|last| {
                last.statement.push_str(if last.statement.is_empty() { "" } else { "\n" });
                last.statement.push_str(line);
            });
        }
    }

    fn last(&mut self, change: impl FnOnce(&mut Untaken)) {
        if let Some(last) = self.found.last_mut().filter(|_| self.is_news) {
            change(last);
        }
    }
}

/// `215; 1259 16394 VIEW five_factorial primero` without its numbers and its owner, which may have spaces in its name.
fn object(entry: &str, owners: &[String]) -> String {
    let named = entry.splitn(4, ' ').nth(3).unwrap_or(entry);
    let without = |owner: &str| named.strip_suffix(owner)?.strip_suffix(' ');
    let found = owners.iter().map(String::as_str).chain(["(no owner)"]).filter_map(without);
    found.min_by_key(|rest| rest.len()).unwrap_or(named).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_named_without_its_numbers_and_its_owner() {
        let owners = ["primero", "of two words", "words"].map(str::to_owned);
        assert_eq!(object("215; 1259 16394 VIEW five_factorial primero", &owners), "VIEW five_factorial");
        assert_eq!(object("9; 1255 1 FUNCTION f(a text, b int) of two words", &owners), "FUNCTION f(a text, b int)");
        assert_eq!(object("9; 3079 1 EXTENSION adminpack (no owner)", &owners), "EXTENSION adminpack");
        assert_eq!(object("9; 0 0 COMMENT EXTENSION adminpack", &owners), "COMMENT EXTENSION adminpack");
    }

    #[test]
    fn the_first_error_of_an_entry_is_kept_and_rows_are_not() {
        let owners = ["primero".to_owned()];
        let mut entries = Entries { owners: &owners, ..Entries::default() };
        for line in [
            "pg_restore: while PROCESSING TOC:",
            "pg_restore: from TOC entry 215; 1259 16394 VIEW five primero",
            "pg_restore: error: could not execute query: ERROR:  syntax error at or near \"!\"",
            "LINE 2:  SELECT (5 !) AS n;",
            "Command was: CREATE VIEW public.five AS SELECT (5 !) AS n;",
            "pg_restore: error: could not execute query: ERROR:  relation \"public.five\" does not exist",
            "Command was: ALTER VIEW public.five OWNER TO primero;",
            "pg_restore: from TOC entry 9; 0 0 ACL FUNCTION pg_start_backup(label text) primero",
            "pg_restore: error: could not execute query: ERROR:  function pg_start_backup(text) does not exist",
            "HINT:  No function matches.",
            "Command was: GRANT ALL ON FUNCTION pg_catalog.pg_start_backup(label text) TO backup;",
        ] {
            entries.line(line);
        }
        let found: Vec<_> = entries.found.iter().map(|one| (one.object.as_str(), one.message.as_str())).collect();
        assert_eq!(
            found,
            [
                ("VIEW five", "syntax error at or near \"!\""),
                ("ACL FUNCTION pg_start_backup(label text)", "function pg_start_backup(text) does not exist"),
            ]
        );
        let [view, grant] = &entries.found[..] else { unreachable!() };
        assert_eq!((view.statement.as_str(), grant.hint.as_str()), ("", "No function matches."));
        assert_eq!(grant.statement, "GRANT ALL ON FUNCTION pg_catalog.pg_start_backup(label text) TO backup;");
    }
}
