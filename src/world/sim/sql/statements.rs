//! Statements: what they make of the cluster, and their command tags as psql prints them.

mod definitions;

use super::words::{self, Statement};
use super::{answer, failed, server, unknown};
use crate::world::error::Result;
use crate::world::postgres::Binding;
use crate::world::sim::cluster::{Cluster, Database};
use crate::world::sim::contents::parts;
use crate::world::sim::state::State;

/// What a server does without anything of the model becoming otherwise.
const HARMLESS: [&str; 24] = [
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "DISCARD",
    "DO",
    "END",
    "GRANT",
    "IMPORT",
    "LOCK",
    "NOTIFY",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "RESET",
    "REVOKE",
    "SAVEPOINT",
    "SECURITY",
    "SET",
    "START",
    "VACUUM",
];
/// What a server that follows another one does, too.
const READING: [&str; 8] = ["SELECT", "VALUES", "TABLE", "WITH", "SET", "RESET", "BEGIN", "COMMIT"];

/// A session, as far as its statements depend on those before.
struct Session<'a> {
    state: &'a mut State,
    container: &'a str,
    database: &'a str,
    /// Where names without a schema are looked for, where the session has said so.
    schema: Option<String>,
}

/// Runs statements one after another; what was done before the first error stays. Gives the command tags.
///
/// Errors: `psql.failed` as the server says it, `sim.unknown_sql`.
pub fn execute(
    state: &mut State,
    container: &str,
    database: &str,
    sql: &str,
    bindings: &[Binding],
) -> Result<Vec<String>> {
    let mut session = Session { state, container, database, schema: None };
    let mut tags = Vec::new();
    for statement in words::statements(&words::bound(sql, bindings)) {
        session.state.note_write(container);
        tags.extend(session.run(&statement)?);
    }
    Ok(tags)
}

impl Session<'_> {
    fn cluster(&mut self) -> Result<&mut Cluster> {
        self.state.cluster_mut(self.container).ok_or_else(|| failed("57P03", "the server has no cluster"))
    }

    fn own(&mut self) -> Result<&mut Database> {
        let name = self.database.to_owned();
        let missing = || failed("3D000", format!("database \"{name}\" does not exist"));
        self.cluster()?.databases.get_mut(&name).ok_or_else(missing)
    }

    fn run(&mut self, statement: &Statement) -> Result<Option<String>> {
        let text = words::without_schema(&statement.text);
        let verb = text.split_whitespace().next().unwrap_or_default().to_uppercase();
        if self.cluster()?.follows.is_some() && !READING.contains(&verb.as_str()) {
            return Err(failed("25006", format!("cannot execute {verb} in a read-only transaction")));
        }
        let rest = text.get(verb.len()..).unwrap_or_default().trim();
        let tag = match verb.as_str() {
            "SELECT" | "VALUES" | "TABLE" | "WITH" => return self.select(&text, statement).map(|()| None),
            "CREATE" => self.create(rest)?,
            "DROP" => self.drop(rest)?,
            "ALTER" => self.alter(rest)?,
            "INSERT" => self.insert(rest)?,
            "UPDATE" => self.update(rest)?,
            "DELETE" => self.delete(rest)?,
            "TRUNCATE" => self.truncate(rest)?,
            "LOAD" => self.load(rest)?,
            "CHECKPOINT" => {
                let cluster = self.cluster()?;
                cluster.control.checkpoint = cluster.lsn;
                cluster.advance();
                verb
            }
            _ if HARMLESS.contains(&verb.as_str()) => self.harmless(verb, rest),
            _ => return Err(unknown(&statement.text)),
        };
        Ok(Some(tag))
    }

    fn harmless(&mut self, verb: String, rest: &str) -> String {
        if verb == "SET" && rest.to_lowercase().trim_start_matches("session ").starts_with("search_path") {
            let value = rest.split_once(['=']).or_else(|| rest.split_once(" TO ")).map_or("", |(_, value)| value);
            let first = value.split(',').next().unwrap_or_default().trim().trim_matches('\'');
            self.schema = (!first.is_empty()).then(|| words::name(first));
        }
        verb
    }

    /// What some functions do beside giving a row.
    fn select(&mut self, text: &str, statement: &Statement) -> Result<()> {
        let named = || words::literals(text).into_iter().next().unwrap_or_default();
        if text.contains("pg_drop_replication_slot(") {
            self.cluster()?.slots.remove(&named());
        } else if text.contains("pg_create_physical_replication_slot(") {
            let cluster = self.cluster()?;
            cluster.slots.insert(named(), cluster.lsn);
        } else if text.contains("pg_promote(") {
            self.cluster()?.promote();
        } else if text.contains("setval(") || text.contains("nextval(") {
            return self.sequence(text, &named());
        } else if text.contains("lo_create(") || text.contains("lo_from_bytea(") {
            self.own()?.large_objects += 1;
            self.cluster()?.advance();
        } else if !text.contains("pg_terminate_backend(") && !statement.is_gexec {
            let known = answer(self.state, self.container, self.database, &statement.text, &[]);
            return known.unwrap_or_else(|| Err(unknown(&statement.text))).map(|_| ());
        }
        Ok(())
    }

    fn sequence(&mut self, text: &str, name: &str) -> Result<()> {
        let told = text.split("setval(").nth(1).and_then(|rest| rest.split([',', ')']).nth(1)?.trim().parse().ok());
        let missing = || failed("42P01", format!("relation \"{name}\" does not exist"));
        let last = self.own()?.sequences.get_mut(name).ok_or_else(missing)?;
        *last = told.unwrap_or(*last + 1);
        self.cluster()?.advance();
        Ok(())
    }

    /// A table's name as the cluster has it.
    fn relation(&self, name: &str) -> Result<String> {
        let of = |part: &String| {
            let is_plain = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_plain { part.clone() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
        };
        let name = if name.contains('"') { name.to_owned() } else { name.to_lowercase() };
        let parts = parts(&name);
        match (parts.as_slice(), &self.schema) {
            ([_, _, ..], _) => Ok(parts.iter().map(of).collect::<Vec<_>>().join(".")),
            ([own], Some(schema)) => Ok(format!("{}.{}", of(schema), of(own))),
            _ => Err(failed("3F000", "no schema has been selected to create in")),
        }
    }

    /// A table to be written to; `None` for one of the system's catalogs.
    fn target(&mut self, name: &str) -> Result<Option<String>> {
        if name.starts_with("pg_") || name.starts_with("information_schema.") {
            return Ok(None);
        }
        let missing = || failed("42P01", format!("relation \"{name}\" does not exist"));
        let table = self.relation(name).map_err(|_| missing())?;
        if self.own()?.tables.contains_key(&table) { Ok(Some(table)) } else { Err(missing()) }
    }

    fn insert(&mut self, rest: &str) -> Result<String> {
        let (name, more) = named(without(rest, "INTO"));
        let Some(table) = self.target(&name)? else { return Ok("INSERT 0 1".into()) };
        let rows = rows_of(more);
        for _ in 0..rows {
            self.state.write_row(self.container, self.database, &table);
        }
        if let Some(last) = self.own()?.sequences.get_mut(&format!("{table}_id_seq")) {
            *last += rows;
        }
        Ok(format!("INSERT 0 {rows}"))
    }

    /// A row that is changed is another row from then on.
    fn update(&mut self, rest: &str) -> Result<String> {
        let (name, more) = named(without(rest, "ONLY"));
        let Some(table) = self.target(&name)? else { return Ok("UPDATE 1".into()) };
        let gone = self.take_rows(&table, more.contains(" WHERE "))?;
        for _ in 0..gone {
            self.state.write_row(self.container, self.database, &table);
        }
        Ok(format!("UPDATE {gone}"))
    }

    fn delete(&mut self, rest: &str) -> Result<String> {
        let (name, more) = named(without(without(rest, "FROM"), "ONLY"));
        let Some(table) = self.target(&name)? else { return Ok("DELETE 0".into()) };
        let gone = self.take_rows(&table, more.trim_start().starts_with("WHERE"))?;
        Ok(format!("DELETE {gone}"))
    }

    fn truncate(&mut self, rest: &str) -> Result<String> {
        let (name, _) = named(without(rest, "TABLE"));
        if let Some(table) = self.target(&name)? {
            self.take_rows(&table, false)?;
        }
        Ok("TRUNCATE TABLE".into())
    }

    /// Takes the last row of a table, or all, as somebody wants it who knows: nobody is promised them any more.
    fn take_rows(&mut self, table: &str, is_one: bool) -> Result<usize> {
        let Some(found) = self.own()?.tables.get_mut(table) else { return Ok(0) };
        let gone: Vec<_> = match is_one {
            true => found.rows.pop_last().into_iter().collect(),
            false => std::mem::take(&mut found.rows).into_iter().collect(),
        };
        gone.iter().for_each(|row| _ = self.state.acknowledged.remove(row));
        self.cluster()?.advance();
        Ok(gone.len())
    }

    fn load(&mut self, rest: &str) -> Result<String> {
        const CONTRIB: [&str; 5] = ["auto_explain", "passwordcheck", "pg_prewarm", "pg_stat_statements", "plpgsql"];
        let library = words::literals(rest).into_iter().next().unwrap_or_default();
        let name = library.rsplit('/').next().unwrap_or_default().trim_end_matches(".so");
        match CONTRIB.contains(&name) || server::has_extension(self.state, self.container, name) {
            true => Ok("LOAD".into()),
            false => Err(failed("58P01", format!("could not access file \"{library}\": No such file or directory"))),
        }
    }
}

/// How many rows an INSERT has.
fn rows_of(text: &str) -> u64 {
    if let Some((_, series)) = text.split_once("generate_series(") {
        let mut bounds = series.split([',', ')']).map(|bound| bound.trim().parse::<u64>().ok());
        if let (Some(Some(first)), Some(Some(last))) = (bounds.next(), bounds.next()) {
            return (last + 1).saturating_sub(first);
        }
    }
    let listed = text.split_once("VALUES").map(|(_, list)| words::apart(list, ',').len() as u64);
    listed.unwrap_or(1)
}

/// The first word, and what is after it.
fn first(text: &str) -> (&str, &str) {
    text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// A name, which may be quoted and have a schema, and what is after it.
fn named(text: &str) -> (String, &str) {
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '"';
        !is_quoted && (c.is_whitespace() || "(=,;".contains(c))
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (name.to_owned(), rest.trim())
}

fn without<'t>(text: &'t str, words: &str) -> &'t str {
    match text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words)) {
        true => text[words.len()..].trim(),
        false => text,
    }
}
