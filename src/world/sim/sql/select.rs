//! Questions that name no catalog: values, settings, the rows of a table.

use serde_json::{Value, json};

use super::{Asked, failed, words};
use crate::world::control::lsn;
use crate::world::error::Result;
use crate::world::postgres::Row;

/// `None` for anything but values, and the rows of a table of the site's counted.
pub fn answer(asked: &Asked<'_>) -> Option<Result<Vec<Row>>> {
    let list = asked.sql.strip_prefix("SELECT ").or_else(|| asked.sql.strip_prefix("select "))?;
    match from(list) {
        None => values(asked, list).map(|row| Ok(vec![row])),
        Some((list, table)) => counted(asked, list, table),
    }
}

/// What is selected, and where from.
fn from(list: &str) -> Option<(&str, &str)> {
    let words = words::apart(list, ' ');
    let place = words.iter().position(|word| word.eq_ignore_ascii_case("FROM"))?;
    let at = words[place].as_ptr() as usize - list.as_ptr() as usize;
    Some((list[..at].trim(), list[at + 4..].trim()))
}

fn counted(asked: &Asked<'_>, list: &str, table: &str) -> Option<Result<Vec<Row>>> {
    let (expression, name) = aliased(list);
    let is_count = expression.split("::").next().is_some_and(|text| text.eq_ignore_ascii_case("count(*)"));
    if !is_count || table.contains(' ') {
        return None;
    }
    let name = name.unwrap_or("count").to_owned();
    let database = asked.cluster.databases.get(asked.database)?;
    let found = database.tables.get(table).map(|table| table.rows.len());
    let missing = || failed("42P01", format!("relation \"{table}\" does not exist"));
    Some(found.ok_or_else(missing).map(|rows| vec![Row::from_iter([(name, json!(rows))])]))
}

fn values(asked: &Asked<'_>, list: &str) -> Option<Row> {
    let mut row = Row::new();
    for item in words::apart(list, ',') {
        let (expression, name) = aliased(item);
        let value = value(asked, expression)?;
        row.insert(name.map_or_else(|| own_name(expression), words::name), value);
    }
    Some(row)
}

/// `expression AS name`
fn aliased(item: &str) -> (&str, Option<&str>) {
    match item.rsplit_once(" AS ") {
        Some((expression, name)) if !name.contains([' ', ')', '\'']) => (expression.trim(), Some(name.trim())),
        _ => (item.trim(), None),
    }
}

/// How the server calls a column that nobody has named.
fn own_name(expression: &str) -> String {
    let function = expression.split('(').next().unwrap_or_default();
    let is_name = expression.contains('(') && function.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_name && !function.is_empty() { function.to_owned() } else { "?column?".into() }
}

fn value(asked: &Asked<'_>, expression: &str) -> Option<Value> {
    let text = expression.trim();
    let compared = [" <> ", " >= ", " = "].into_iter().find_map(|sign| {
        let (left, right) = text.split_once(sign)?;
        let (left, right) = (value(asked, left)?, value(asked, right)?);
        Some(match sign {
            " = " => left == right,
            " <> " => left != right,
            _ => left.as_i64()? >= right.as_i64()?,
        })
    });
    if let Some(compared) = compared {
        return Some(json!(compared));
    }
    if let Some((inner, kind)) = text.rsplit_once("::").filter(|(_, kind)| !kind.contains(['\'', '(', ' '])) {
        return Some(cast(value(asked, inner)?, kind));
    }
    if let Some(text) = words::literal(text) {
        return Some(json!(text));
    }
    match text.to_lowercase().as_str() {
        "null" => Some(Value::Null),
        "true" => Some(json!(true)),
        "false" => Some(json!(false)),
        "current_user" | "session_user" => Some(json!(asked.cluster.bootstrap_user)),
        _ => text.parse::<i64>().ok().map(|number| json!(number)).or_else(|| call(asked, text)),
    }
}

fn call(asked: &Asked<'_>, text: &str) -> Option<Value> {
    let (function, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let argument = words::literal(words::apart(arguments, ',').first().unwrap_or(&""));
    let cluster = asked.cluster;
    Some(match function.to_lowercase().as_str() {
        "current_setting" => json!(asked.state.setting(asked.container, &argument?)?.0),
        "current_database" => json!(asked.database),
        "pg_is_in_recovery" => json!(cluster.follows.is_some()),
        "pg_current_wal_lsn" if cluster.follows.is_none() => json!(lsn(cluster.lsn)),
        "pg_last_wal_replay_lsn" => cluster.follows.map_or(Value::Null, |_| json!(lsn(cluster.lsn))),
        "pg_sleep" => json!(""),
        "version" => json!(format!("PostgreSQL {}", asked.state.server_version(asked.container)?)),
        "pg_database_size" => json!(cluster.databases.get(&argument?)?.bytes()),
        _ => return None,
    })
}

fn cast(value: Value, kind: &str) -> Value {
    let text = || value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    match kind.to_lowercase().as_str() {
        _ if value.is_null() => Value::Null,
        "int" | "int4" | "int8" | "bigint" | "integer" => text().parse::<i64>().map_or(Value::Null, |n| json!(n)),
        "bool" | "boolean" => json!(["on", "true", "t", "yes", "1"].contains(&text().as_str())),
        "text" | "name" => json!(text()),
        _ => value,
    }
}
