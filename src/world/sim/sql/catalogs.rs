//! Questions about databases, roles, and what is in them.

use serde_json::json;

use super::activity::none;
use super::{Asked, Recogniser, rows, words};
use crate::world::error::Result;
use crate::world::postgres::Row;
use crate::world::sim::cluster::{Auth, Database, Password, Role};

/// The more telling ones come first.
pub const TABLE: &[Recogniser] = &[
    (&["AS has_break", "AS kind, datname::text AS name"], names),
    (&["FROM pg_stat_database WHERE checksum_failures > 0"], none),
    (&["SELECT EXISTS (SELECT FROM ONLY "], is_filled),
    (&["WITH RECURSIVE reads AS (", "relkind = 'm'"], none),
    (&["rolpassword LIKE 'md5%' AND rolcanlogin AND EXISTS (SELECT FROM pg_hba_file_rules"], shut_out_roles),
    (&["FROM pg_authid WHERE rolpassword LIKE 'md5%' AND rolcanlogin"], md5_roles),
    (&["AS is_first", "AS kept_as", "FROM pg_authid"], all_roles),
    (&["pg_database_size(oid)::bigint AS bytes FROM pg_database"], sizes),
    (&["SELECT EXISTS (SELECT FROM pg_db_role_setting) OR"], is_given),
    (&["FROM pg_db_role_setting"], none),
    (&["FROM public.pgscript_refused"], none),
    (&["FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver=%'"], unknown_options),
    (&["key(number) JOIN pg_collation"], none),
    (&["'datlocprovider' = 'i' UNION ALL"], as_created),
    (&["pg_get_viewdef(c.oid) AS text", "TIME ZONE"], none),
    (&["count(*) AS tables FROM pg_class"], tables),
    (&["SELECT extname, quote_ident(extname) AS quoted FROM pg_extension"], extensions),
    (&["DISTINCT pg_encoding_to_char(encoding) AS encoding"], locales),
    (&["pg_database_size(oid) > 100000000 AS is_large"], large_databases),
    (&["sum(pg_database_size(oid))::bigint FROM pg_database"], bytes),
    (&["has_database_privilege(r.oid, d.oid, 'CONNECT')"], login_database),
    (&["SELECT datname FROM pg_database"], databases),
    (&["SELECT rolname FROM pg_roles"], roles),
    (&["SELECT rolname FROM pg_authid"], roles),
];

/// How many tables the system itself has in each database.
const OF_SYSTEM: usize = 68;

fn names(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let hex = |name: &str| name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let named = |kind: &str, name: &str| {
        let has_break = kind == "DATABASE" && name.contains(['\n', '\r']);
        json!({ "kind": kind, "name": name, "bytes": hex(name), "has_break": has_break })
    };
    let databases = asked.cluster.databases.keys().map(|name| named("DATABASE", name));
    Ok(rows(databases.chain(asked.cluster.roles.keys().map(|name| named("ROLE", name)))))
}

fn is_filled(_: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows([json!({ "exists": true })]))
}

fn md5_roles(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let has = asked
        .cluster
        .roles
        .iter()
        .filter(|(_, role)| role.can_login && matches!(role.password, Some(Password::Md5(_))));
    Ok(rows(has.map(|(name, _)| json!({ "rolname": name }))))
}

fn all_roles(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let kept_as = |role: &Role| match role.password {
        None => "none",
        Some(Password::Md5(_)) => "md5",
        Some(Password::Scram(_)) => "scram",
    };
    let role = |(name, role): (&String, &Role)| {
        json!({
            "name": name, "is_first": *name == asked.cluster.bootstrap_user, "is_superuser": role.is_superuser,
            "can_login": role.can_login, "kept_as": kept_as(role),
        })
    };
    Ok(rows(asked.cluster.roles.iter().map(role)))
}

fn sizes(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let size = |(name, database): (&String, &Database)| json!({ "name": name, "bytes": database.bytes() });
    Ok(rows(asked.cluster.databases.iter().map(size)))
}

fn shut_out_roles(asked: &Asked<'_>) -> Result<Vec<Row>> {
    if asked.cluster.auth == Auth::Scram { md5_roles(asked) } else { Ok(Vec::new()) }
}

fn is_given(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let others = asked.cluster.roles.keys().any(|role| *role != asked.cluster.bootstrap_user);
    Ok(rows([json!({ "?column?": others })]))
}

/// No simulated server stores any.
fn unknown_options(asked: &Asked<'_>) -> Result<Vec<Row>> {
    match asked.sql.starts_with("SELECT EXISTS") {
        true => Ok(rows([json!({ "exists": false })])),
        false => Ok(Vec::new()),
    }
}

fn own<'a>(asked: &'a Asked<'_>) -> Option<&'a Database> {
    asked.cluster.databases.get(asked.database)
}

fn as_created(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let made = own(asked).into_iter().flat_map(|database| database.extensions.keys());
    Ok(rows(made.map(|name| json!({ "kind": "extension", "schema": "", "name": name, "value": "public" }))))
}

fn tables(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let own = own(asked).map_or(0, |database| database.tables.len());
    Ok(rows([json!({ "tables": OF_SYSTEM + own })]))
}

fn extensions(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let quoted = |name: &String| if is_plain(name) { name.clone() } else { format!("\"{name}\"") };
    let made = own(asked).into_iter().flat_map(|database| database.extensions.keys());
    Ok(rows(made.map(|name| json!({ "extname": name, "quoted": quoted(name) }))))
}

fn locales(_: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows([json!({ "encoding": "UTF8", "datcollate": "en_US.utf8", "datctype": "en_US.utf8" })]))
}

fn databases(asked: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows(asked.cluster.databases.keys().map(|name| json!({ "datname": name }))))
}

fn large_databases(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let mut all: Vec<_> = asked.cluster.databases.iter().map(|(name, database)| (database.bytes(), name)).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    Ok(rows(all.into_iter().map(|(size, name)| json!({ "datname": name, "is_large": size > 100_000_000 }))))
}

fn bytes(asked: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows([json!({ "sum": asked.cluster.bytes() })]))
}

fn login_database(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let own = asked.sql.split("datname = ").nth(1).and_then(|rest| words::literals(rest).into_iter().next());
    let key = |(name, database): &(&String, &Database)| {
        (own.as_ref() != Some(*name), *name == "template1", std::cmp::Reverse(database.bytes()))
    };
    let first = asked.cluster.databases.iter().min_by_key(key).map(|(name, _)| json!({ "datname": name }));
    Ok(rows(first))
}

fn roles(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let role = |(name, _): (&String, &_)| json!({ "rolname": name });
    let is_wanted = |role: &crate::world::sim::cluster::Role| {
        (!asked.sql.contains("rolsuper") || role.is_superuser) && (!asked.sql.contains("rolcanlogin") || role.can_login)
    };
    Ok(rows(asked.cluster.roles.iter().filter(|(_, role)| is_wanted(role)).map(role)))
}
