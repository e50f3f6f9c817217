//! Questions about the server itself: its settings, its cluster's number, what its image brings.

use serde_json::{Value, json};

use super::activity::none;
use super::{Asked, Recogniser, row, rows, words};
use crate::world::error::Result;
use crate::world::postgres::Row;
use crate::world::sim::settings;
use crate::world::sim::state::ImageKind;

/// The more telling ones come first.
pub const TABLE: &[Recogniser] = &[
    (&["pg_read_binary_file", "AS was_visible"], none),
    (&["FROM pg_control_system()"], system_identifier),
    (&["lower(name) AS name FROM pg_settings"], known_settings),
    (&["pg_stat_file(setting", "hba_file"], files),
    (&["FROM pg_settings WHERE name = "], one_setting),
    (&["FROM pg_settings WHERE name IN ("], some_settings),
    (&["FROM pg_file_settings"], told_settings),
    (&["AS wal_level", "AS senders"], replication_room),
    (&["current_setting('max_locks_per_transaction')::int *"], locks),
    (&["pg_collation_actual_version(oid)) AS version"], collation_versions),
    (&["FROM pg_available_extensions WHERE installed_version <> default_version"], old_extensions),
    (&["FROM pg_available_extensions"], available_extensions),
    (&["now() AT TIME ZONE"], at_time_zone),
    (&["FROM pg_ls_waldir()"], log_bytes),
    (&["AS rule", "FROM pg_hba_file_rules"], rules),
];

fn system_identifier(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let selected = asked.sql.split(" FROM ").next().unwrap_or_default();
    let name = selected.rsplit_once(" AS ").map_or("system_identifier", |(_, name)| name);
    Ok(vec![Row::from_iter([(name.to_owned(), json!(asked.cluster.system_identifier.to_string()))])])
}

fn known_settings(asked: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows(settings::names(asked.cluster.major).map(|name| json!({ "name": name }))))
}

fn value_of(asked: &Asked<'_>, name: &str) -> Option<String> {
    asked.state.setting(asked.container, name).map(|(value, _)| value)
}

fn one_setting(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let condition = asked.sql.split("WHERE name = ").nth(1).unwrap_or_default();
    let Some(name) = words::literals(condition).into_iter().next() else { return Ok(Vec::new()) };
    let Some(value) = value_of(asked, &name) else { return Ok(Vec::new()) };
    if !asked.sql.contains("setting::bigint") {
        return Ok(rows([json!({ "setting": value })]));
    }
    let number: i64 = value.parse().unwrap_or_default();
    let is_in_blocks = asked.sql.contains("setting::bigint * current_setting('block_size')");
    let block = if is_in_blocks { asked.state.number_setting(asked.container, "block_size") } else { 1 };
    Ok(rows([json!({ "setting": number * block })]))
}

fn some_settings(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let list = asked.sql.split("WHERE name IN (").nth(1).unwrap_or_default();
    let list = list.split(')').next().unwrap_or_default();
    let is_named = asked.sql.starts_with("SELECT name");
    let found = words::literals(list).into_iter().filter_map(|name| {
        let value = value_of(asked, &name)?;
        Some(if is_named { json!({ "name": name, "setting": value }) } else { json!({ "setting": value }) })
    });
    Ok(rows(found))
}

/// The rules are always in the data directory; keys where the cluster's volume has them.
fn files(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let is_there = |name: &String| {
        let place = asked.state.container(asked.container).and_then(|container| container.server.as_ref());
        let tree = place.and_then(|place| asked.state.tree(asked.container, place).map(|tree| (place, tree)));
        tree.is_some_and(|(place, tree)| {
            let path = format!("{}/{name}", place.directory);
            tree.files.contains_key(path.trim_start_matches('/'))
        })
    };
    let keys = ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file"];
    let mut names: Vec<String> = keys.iter().filter_map(|key| value_of(asked, key)).filter(is_there).collect();
    names.push("pg_hba.conf".into());
    names.sort();
    Ok(rows(names.into_iter().map(|name| json!({ "name": name }))))
}

fn told_settings(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let told = asked.cluster.settings.iter();
    Ok(rows(told.map(|(name, value)| json!({ "name": name, "value": value, "is_altered": false }))))
}

fn replication_room(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let number = |name: &str| asked.state.number_setting(asked.container, name);
    let standbys = asked.state.standbys(asked.container) as i64;
    Ok(rows([json!({
        "wal_level": value_of(asked, "wal_level"),
        "senders": number("max_wal_senders") - standbys,
        "slots": number("max_replication_slots") - asked.cluster.slots.len() as i64,
    })]))
}

fn locks(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let number = |name: &str| asked.state.number_setting(asked.container, name);
    let sessions = number("max_connections") + number("max_prepared_transactions");
    Ok(rows([json!({ "?column?": number("max_locks_per_transaction") * sessions })]))
}

/// What the image of the server brings: extensions by name, and the version of its collations.
fn image<'a>(asked: &'a Asked<'_>) -> Option<(&'a std::collections::BTreeSet<String>, &'a str)> {
    let container = asked.state.container(asked.container)?;
    let image = asked.state.image(&container.image_id).or_else(|| asked.state.image(&container.image))?;
    match &image.kind {
        ImageKind::Postgres { extensions, collations, .. } => Some((extensions, collations)),
        _ => None,
    }
}

fn collation_versions(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let version = image(asked).map(|(_, version)| version).filter(|version| !version.is_empty());
    Ok(rows([json!({ "name": "c", "version": version })]))
}

/// The version that an extension has where it is made with a server of this major.
pub fn version_of(extension: &str, major: u32) -> String {
    match (extension, major) {
        ("plpgsql", _) => "1.0",
        ("pg_trgm", ..14) => "1.5",
        ("pg_trgm", _) => "1.6",
        ("ltree", ..17) => "1.2",
        ("ltree", _) => "1.3",
        ("pgcrypto", ..18) => "1.3",
        ("pgcrypto", _) => "1.4",
        ("uuid-ossp", _) => "1.1",
        ("pg_stat_statements", ..14) => "1.8",
        ("pg_stat_statements", ..17) => "1.10",
        ("pg_stat_statements", _) => "1.11",
        _ => "1.0",
    }
    .into()
}

/// Whether the image of a container brings an extension.
pub fn has_extension(state: &crate::world::sim::State, container: &str, extension: &str) -> bool {
    state.container(container).is_some_and(|container| image_has_extension(state, &container.image_id, extension))
}

/// Whether an image brings an extension.
pub fn image_has_extension(state: &crate::world::sim::State, image: &str, extension: &str) -> bool {
    match state.image(image).map(|image| &image.kind) {
        Some(ImageKind::Postgres { extensions, .. }) => extension == "plpgsql" || extensions.contains(extension),
        _ => false,
    }
}

fn available_extensions(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let names = image(asked).into_iter().flat_map(|(extensions, _)| extensions).cloned();
    Ok(rows(names.chain(["plpgsql".to_owned()]).map(|name| json!({ "name": name }))))
}

fn old_extensions(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let database = asked.cluster.databases.get(asked.database);
    let old = database.into_iter().flat_map(|database| &database.extensions).filter_map(|(name, installed)| {
        let newest = version_of(name, asked.cluster.major);
        let is_old = *installed != newest && has_extension(asked.state, asked.container, name);
        is_old.then(|| json!({ "name": name, "installed": installed, "newest": newest }))
    });
    Ok(rows(old))
}

fn log_bytes(asked: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows([json!({ "bytes": asked.cluster.log_bytes })]))
}

/// Each as a line of `pg_hba.conf`.
fn rules(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let rules = asked.cluster.rules();
    Ok(rows(rules.lines().filter(|line| !line.is_empty()).map(|line| json!({ "rule": line }))))
}

fn at_time_zone(_: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(vec![row(json!({ "there": Value::String("2026-01-01T00:00:00".into()) }))])
}
