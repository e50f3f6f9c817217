//! What a simulated cluster holds, as [`content`](crate::world::content) compares it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cluster::{Cluster, Database, Password, RowId};
use super::{State, settings};
use crate::world::content::{Content, Counters, DatabaseContent, Facts, Level, NOT_CALLED, Name, Objects, Statistics};
use crate::world::error::Result;

/// Words that servers quote where they are names.
const KEYWORDS: [&str; 6] = ["all", "from", "select", "table", "user", "where"];
/// Settings that name a file of the cluster.
const OF_PLACE: [&str; 5] = ["config_file", "data_directory", "external_pid_file", "hba_file", "ident_file"];
/// What nobody sets.
const INTERNAL: [&str; 16] = [
    "block_size",
    "data_checksums",
    "data_directory_mode",
    "debug_assertions",
    "in_hot_standby",
    "integer_datetimes",
    "lc_collate",
    "lc_ctype",
    "max_function_args",
    "max_identifier_length",
    "max_index_keys",
    "segment_size",
    "server_encoding",
    "server_version",
    "server_version_num",
    "wal_block_size",
];

/// What the cluster that the server of a container runs on holds, as closely as `level` says; `user` asks.
pub fn look(state: &State, container: &str, cluster: &Cluster, user: &str, level: Level) -> Result<Content> {
    let databases = cluster
        .databases
        .iter()
        .map(|(name, database)| of_database(cluster, name, database, level).map(|content| (name.clone(), content)));
    Ok(Content {
        system_identifier: cluster.system_identifier.to_string(),
        server_major: cluster.major,
        container: state.container(container).map(|found| found.id.clone()).unwrap_or_default(),
        user: user.to_owned(),
        roles: cluster.roles.iter().map(|(name, role)| (name.clone(), in_words(role))).collect(),
        objects: of_cluster(state, container, cluster)?,
        is_standby: cluster.follows.is_some(),
        keywords: BTreeSet::from(KEYWORDS.map(str::to_owned)),
        databases: databases.collect::<Result<_>>()?,
        from_file: false,
        level,
        seconds: seconds(cluster, level),
    })
}

/// How long it takes to look.
pub fn seconds(cluster: &Cluster, level: Level) -> f64 {
    let in_a_second = match level {
        Level::Files => return 0.1,
        Level::Counts => 1_500_000_000.0,
        Level::Content => 250_000_000.0,
    };
    0.1 + cluster.bytes() as f64 / in_a_second
}

fn in_words(role: &super::cluster::Role) -> String {
    let words = [(role.is_superuser, "superuser"), (true, "inherit"), (role.can_login, "login")];
    words.into_iter().filter(|(is_it, _)| *is_it).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

fn of_cluster(state: &State, container: &str, cluster: &Cluster) -> Result<Objects> {
    let mut objects = Objects::default();
    objects.put("role", &roles(cluster))?;
    objects.put("database", &databases(cluster))?;
    // A copy that follows has other files.
    if cluster.follows.is_none() {
        objects.put("setting", &of_settings(state, container, cluster))?;
        let rules = cluster.rules();
        let rules: Vec<_> = rules.lines().filter(|rule| !rule.is_empty()).map(without_method).collect();
        objects.put("client authentication", &one(&["pg_hba.conf"], json!({ "rules": rules })))?;
    }
    Ok(objects)
}

/// Images of one version ask for a password by md5, those of another by SCRAM.
fn without_method(rule: &str) -> String {
    let words = rule.split(' ').map(|word| if ["md5", "scram-sha-256"].contains(&word) { "password" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn one(name: &[&str], facts: Value) -> BTreeMap<Name, Facts> {
    BTreeMap::from([named(name, facts)])
}

fn named(name: &[&str], facts: Value) -> (Name, Facts) {
    let name = name.iter().map(|part| (*part).to_owned()).collect();
    (name, facts.as_object().cloned().unwrap_or_default())
}

fn roles(cluster: &Cluster) -> BTreeMap<Name, Facts> {
    let facts = |(name, role): (&String, &super::cluster::Role)| {
        let password = match &role.password {
            None => "none".to_owned(),
            Some(Password::Md5(kept)) => format!("md5 {}", mark(kept)),
            Some(Password::Scram(kept)) => format!("scram-sha-256 {}", mark(kept)),
        };
        named(
            &[name],
            json!({
                "superuser": role.is_superuser, "inherit": true, "createrole": role.is_superuser,
                "createdb": role.is_superuser, "login": role.can_login, "replication": role.is_superuser,
                "bypass row level security": role.is_superuser, "password": password,
            }),
        )
    };
    cluster.roles.iter().map(facts).collect()
}

/// Stands for a secret: enough of its hash to see a change.
fn mark(secret: &str) -> String {
    let digest = Sha256::digest(secret);
    format!("{{secret {:02x}{:02x}}}", digest[0], digest[1])
}

fn databases(cluster: &Cluster) -> BTreeMap<Name, Facts> {
    let facts = |name: &String| {
        named(
            &[name],
            json!({
                "owner": cluster.owner_of(name), "encoding": "UTF8", "provider": "c", "collate": "en_US.utf8",
                "ctype": "en_US.utf8", "template": name == "template1", "allows connections": true,
                "tablespace": "pg_default",
            }),
        )
    };
    cluster.databases.keys().map(facts).collect()
}

fn of_settings(state: &State, container: &str, cluster: &Cluster) -> BTreeMap<Name, Facts> {
    let own = settings::names(cluster.major).map(str::to_owned);
    let names = own.chain(cluster.settings.keys().cloned());
    let is_settable = |name: &String| !INTERNAL.contains(&name.as_str()) && !OF_PLACE.contains(&name.as_str());
    let facts = |name: String| {
        let (value, source) = state.setting(container, &name)?;
        Some(named(&[&name], json!({ "value": value, "is told by": source.name() })))
    };
    names.filter(is_settable).filter_map(facts).collect()
}

fn of_database(cluster: &Cluster, name: &str, database: &Database, level: Level) -> Result<DatabaseContent> {
    // A server that follows another one lets nobody look at them.
    let is_unread = |is_unlogged: bool| is_unlogged && cluster.follows.is_some() && level > Level::Files;
    let mut content = DatabaseContent {
        extensions: database.extensions.clone(),
        large_objects: database.large_objects,
        sequences: database.sequences.iter().map(|(name, last)| (name.clone(), last_value(*last))).collect(),
        statistics: Statistics { since: since(database), tables: BTreeMap::new() },
        objects: objects(cluster, name, database)?,
        ..DatabaseContent::default()
    };
    for (table, held) in &database.tables {
        let rows = if level >= Level::Counts { held.rows.len() as u64 } else { 0 };
        content.tables.insert(table.clone(), rows);
        if is_unread(held.is_unlogged) {
            content.unread.insert(table.clone());
        } else if level == Level::Content {
            content.hashes.insert(table.clone(), hash(&held.rows));
        }
        let counters = Counters { oid: oid(table), inserted: held.inserted, updated: 0, deleted: 0 };
        content.statistics.tables.insert(table.clone(), counters);
    }
    Ok(content)
}

/// As the server tells a sequence that nobody has called.
pub fn last_value(last: u64) -> String {
    if last == 0 { format!("{NOT_CALLED}, begins with 1") } else { last.to_string() }
}

/// Names the time from which the server counts in a database.
pub fn since(database: &Database) -> String {
    format!("-/{}", database.counted_since)
}

/// Of all rows; their order does not count.
fn hash(rows: &BTreeSet<RowId>) -> String {
    let mut all = Sha256::new();
    rows.iter().for_each(|row| all.update(row.to_le_bytes()));
    all.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number for a table: the same as long as it has its name.
pub fn oid(table: &str) -> u32 {
    let digest = Sha256::digest(table);
    16_384 + (u32::from_le_bytes([digest[0], digest[1], digest[2], 0]))
}

/// The parts of a name as SQL writes it: `public."Odd One"`.
pub fn parts(name: &str) -> Name {
    let (mut parts, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts
}

fn objects(cluster: &Cluster, name: &str, database: &Database) -> Result<Objects> {
    let owner = cluster.owner_of(name);
    let mut found = Objects::default();
    let names = database.tables.keys().chain(database.sequences.keys());
    let mut schemas: BTreeSet<String> = names.filter_map(|name| parts(name).into_iter().next()).collect();
    schemas.insert("public".into());
    let schema = |name: &String| {
        // From 15 on that one belongs to whoever owns the database; a dump and pg_upgrade leave it as it was.
        let owner = if name == "public" { "pg_database_owner" } else { owner };
        named(&[name], json!({ "owner": owner }))
    };
    found.put("schema", &schemas.iter().map(schema).collect())?;
    let table = |(name, table): (&String, &super::cluster::Table)| {
        let persistence = if table.is_unlogged { "unlogged" } else { "permanent" };
        (parts(name), named(&[], json!({ "owner": owner, "persistence": persistence })).1)
    };
    found.put("table", &database.tables.iter().map(table).collect())?;
    let sequence = |name: &String| (parts(name), named(&[], json!({ "owner": owner, "increment": 1 })).1);
    found.put("sequence", &database.sequences.keys().map(sequence).collect())?;
    let extension = |(name, version): (&String, &String)| {
        named(&[name], json!({ "owner": owner, "version": version, "schema": "public" }))
    };
    found.put("extension", &database.extensions.iter().map(extension).collect())?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATABASE, SERVER, TABLE, state};
    use super::*;
    use crate::world::content::{Beside, compare};

    fn content(cluster: &Cluster, level: Level) -> Content {
        let mut state = state();
        *state.cluster_mut(SERVER).unwrap() = cluster.clone();
        look(&state, SERVER, cluster, "primero", level).unwrap()
    }

    fn differences(before: &Cluster, after: &Cluster, level: Level) -> Vec<String> {
        let found = compare(&content(before, level), &content(after, level), Beside::default()).unwrap();
        found.differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_faithful_copy_has_no_difference_at_any_level_and_between_majors() {
        let old = state().cluster(SERVER).unwrap().clone();
        let new = Cluster { system_identifier: 9, major: 17, ..old.clone() };
        for level in [Level::Files, Level::Counts, Level::Content] {
            assert_eq!(differences(&old, &new, level), Vec::<String>::new());
        }
    }

    #[test]
    fn a_row_less_is_found_and_another_row_in_its_place_by_content_alone() {
        let old = state().cluster(SERVER).unwrap().clone();
        let mut less = old.clone();
        less.databases.get_mut(DATABASE).unwrap().tables.get_mut(TABLE).unwrap().rows.remove(&3);
        assert_eq!(
            differences(&old, &less, Level::Counts),
            ["primero_production: rows of public.cases: 3 before, 2 after"]
        );
        assert!(differences(&old, &less, Level::Files).is_empty());
        less.insert(DATABASE, TABLE, 99);
        assert!(differences(&old, &less, Level::Counts).is_empty());
        assert_eq!(differences(&old, &less, Level::Content).len(), 1);
    }

    #[test]
    fn tables_sequences_roles_extensions_and_owners_are_compared() {
        let old = state().cluster(SERVER).unwrap().clone();
        let found = |change: fn(&mut Database)| {
            let mut other = old.clone();
            change(other.databases.get_mut(DATABASE).unwrap());
            differences(&old, &other, Level::Counts).len()
        };
        assert_eq!(found(|d| _ = d.tables.remove(TABLE)), 1);
        assert_eq!(found(|d| _ = d.sequences.insert("public.cases_id_seq".into(), 9)), 1);
        assert_eq!(found(|d| d.extensions.clear()), 1);
        assert_eq!(found(|d| _ = d.extensions.insert("pg_trgm".into(), "1.7".into())), 0);
        // Of the database, three tables, the sequence and the extension.
        assert_eq!(found(|d| d.owner = "reader".into()), 6);
        assert_eq!(found(|d| d.large_objects += 1), 1);
        let mut other = old.clone();
        other.roles.remove("reader");
        assert_eq!(differences(&old, &other, Level::Files).len(), 1);
        other = old.clone();
        other.roles.get_mut("primero").unwrap().password = Some(Password::Scram("secret".into()));
        assert_eq!(differences(&old, &other, Level::Files).len(), 1);
        other = old.clone();
        other.settings.insert("work_mem".into(), "8MB".into());
        assert_eq!(differences(&other, &old, Level::Files).len(), 1);
    }

    #[test]
    fn a_name_is_taken_apart_as_sql_puts_it_together() {
        assert_eq!(parts("public.cases"), ["public", "cases"]);
        assert_eq!(parts("\"a.b\".\"c\"\"d\""), ["a.b", "c\"d"]);
    }

    #[test]
    fn a_standby_tells_no_rows_of_unlogged_tables_and_no_settings() {
        let mut cluster = state().cluster(SERVER).unwrap().clone();
        cluster.follows = Some(cluster.system_identifier);
        let content = content(&cluster, Level::Content);
        assert!(content.is_standby && content.databases[DATABASE].unread.contains("public.cache"));
        assert!(content.objects.of("setting").unwrap().is_empty());
    }
}
