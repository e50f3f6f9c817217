//! What a simulated server makes of SQL. It reads none: a question is known by a telling part of its text, and answered
//! by what the cluster is like; a statement is known by how it begins.

mod activity;
mod catalogs;
mod select;
mod server;
mod statements;
#[cfg(test)]
mod tests;
pub mod words;

use serde_json::Value;

use super::State;
use super::cluster::Cluster;
use crate::world::error::{Error, Result};
use crate::world::postgres::{Binding, Row};

pub use server::{has_extension, image_has_extension, version_of as extension_version};
pub use statements::execute;

/// A question to the server of a container.
pub struct Asked<'a> {
    pub state: &'a State,
    pub container: &'a str,
    pub cluster: &'a Cluster,
    pub database: &'a str,
    /// With values in the place of variables, without comments, white space as one space each, and without the name of
    /// the system's schema.
    pub sql: String,
}

/// How a question is known, by parts that are all in its text, and what answers it.
type Recogniser = (&'static [&'static str], fn(&Asked<'_>) -> Result<Vec<Row>>);

/// What the server of a container answers; `None` for what no part of the simulation knows.
///
/// Errors: `psql.failed`, as the server says it.
pub fn answer(
    state: &State,
    container: &str,
    database: &str,
    sql: &str,
    bindings: &[Binding],
) -> Option<Result<Vec<Row>>> {
    let text = text(sql, bindings);
    if let Some(answer) = told(state, &text) {
        return Some(Ok(answer));
    }
    let cluster = state.cluster(container)?;
    let asked = Asked { state, container, cluster, database, sql: words::without_schema(&text) };
    let tables = [server::TABLE, activity::TABLE, catalogs::TABLE];
    let known = tables.into_iter().flatten().find(|(parts, _)| parts.iter().all(|part| asked.sql.contains(part)));
    known.map(|(_, answer)| answer(&asked)).or_else(|| select::answer(&asked))
}

/// A question as it is compared with [`Answer`](super::state::Answer)s: with values in the place of variables, without
/// comments, white space as one space each.
pub fn text(sql: &str, bindings: &[Binding]) -> String {
    words::question(&words::bound(sql, bindings))
}

/// The same without the name of the system's schema.
pub fn without_schema(text: &str) -> String {
    words::without_schema(text)
}

/// What somebody has said that servers answer.
fn told(state: &State, text: &str) -> Option<Vec<Row>> {
    let squeeze = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = state.answers.iter().find(|answer| text.contains(&squeeze(&answer.sql)))?;
    Some(found.rows.clone())
}

/// A row of an object's members.
fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

/// Rows of objects.
fn rows(values: impl IntoIterator<Item = Value>) -> Vec<Row> {
    values.into_iter().map(row).collect()
}

/// What the server says of a statement that failed.
pub fn failed(sqlstate: &str, text: impl std::fmt::Display) -> Error {
    Error::failed("psql.failed", format!("ERROR: {text} (SQLSTATE {sqlstate})"))
}

/// Code of the error about a question that the simulation does not know.
pub const UNKNOWN: &str = "sim.unknown_sql";

/// Nobody knows what the server would answer.
pub fn unknown(sql: &str) -> Error {
    let shown: String = words::question(sql).chars().take(300).collect();
    Error::failed(UNKNOWN, format!("the simulated server does not know what to answer to: {shown}"))
        .hint("say what it answers, by a part of the text: sim::answer(SQL, ROWS)")
}
