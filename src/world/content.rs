//! What a cluster holds, and what two looks at it, or at two clusters, have in common. Nothing here asks a server:
//! [`Postgres::content`](super::postgres::Postgres::content) does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Exact content of a cluster at one moment. All maps go by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The number that initdb gave the cluster; it tells it from every other one.
    pub system_identifier: String,
    pub server_major: u32,
    /// Full id of the container the server ran in.
    pub container: String,
    /// Attributes, settings and memberships of each role of the site, as one text.
    pub roles: BTreeMap<String, String>,
    /// All databases that can be connected to, except `template0`.
    pub databases: BTreeMap<String, DatabaseContent>,
    /// Read from a file, which anybody may have written: it can be compared, but it proves nothing. The journal keeps
    /// it, so that a resumed run knows as much.
    #[serde(default)]
    pub from_file: bool,
    /// Whether rows were counted: else every table has 0 of them, and only its name says something.
    #[serde(default = "counted")]
    pub is_counted: bool,
}

/// All of before were.
fn counted() -> bool {
    true
}

/// What one database holds. Tables and sequences are named `schema.name`, quoted where SQL wants quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseContent {
    /// Rows of each table, partition and populated materialized view; a parent's own rows only.
    pub tables: BTreeMap<String, u64>,
    /// Last value of each sequence, or `not called`.
    pub sequences: BTreeMap<String, String>,
    /// Version of each extension.
    pub extensions: BTreeMap<String, String>,
    pub large_objects: u64,
    #[serde(default)]
    pub statistics: Statistics,
}

/// What the server has counted of writes. It describes how the content came about and takes no part in [`compare`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Names the time from which the server counts, and changes when the counters are reset or lost. Empty when it does
    /// not count at all (`track_counts` is off).
    pub since: String,
    pub tables: BTreeMap<String, Counters>,
}

/// A table's counters `n_tup_ins`, `n_tup_upd` and `n_tup_del`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// A table that was made anew under its old name has another one, and counts from 0.
    pub oid: u32,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

impl Content {
    /// Number of tables in all databases.
    pub fn tables(&self) -> u64 {
        self.databases.values().map(|database| database.tables.len() as u64).sum()
    }

    /// Number of rows in all databases.
    pub fn rows(&self) -> u64 {
        self.databases.values().map(|database| database.tables.values().sum::<u64>()).sum()
    }
}

/// What [`compare`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// For people: database, tables, rows, sequences, extensions, large objects, roles; old and new number each.
    pub rows: Vec<[String; 7]>,
    /// What was lost or changed, in words.
    pub differences: Vec<String>,
    /// Tables that were there to be compared. Without any, an empty list of differences means nothing.
    pub compared: u64,
}

impl Comparison {
    /// Something was compared, and no difference was found.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.compared > 0
    }
}

/// Holds what a cluster had before against what one has now. Extension versions may rise; everything else must be
/// the same. What only the new cluster has is no loss.
pub fn compare(before: &Content, after: &Content) -> Comparison {
    let is_counted = before.is_counted && after.is_counted;
    let mut differences = changed("role", &before.roles, &after.roles);
    let roles = pair(before.roles.len(), kept(&before.roles, &after.roles).count());
    let mut rows = vec![row("(cluster)", ["", "", "", "", "", &roles])];
    for (name, old) in &before.databases {
        let Some(now) = after.databases.get(name) else {
            differences.push(format!("database {name} is missing"));
            rows.push(row(name, ["missing", "", "", "", "", ""]));
            continue;
        };
        if is_counted {
            differences.extend(changed(&format!("{name}: rows of"), &old.tables, &now.tables));
        } else {
            let missing = old.tables.keys().filter(|table| !now.tables.contains_key(*table));
            differences.extend(missing.map(|table| format!("{name}: table {table}: missing")));
        }
        differences.extend(changed(&format!("{name}: sequence"), &old.sequences, &now.sequences));
        let extensions = old.extensions.keys().filter(|extension| !now.extensions.contains_key(*extension));
        differences.extend(extensions.map(|extension| format!("{name}: extension {extension}: missing")));
        if old.large_objects != now.large_objects {
            let (old, now) = (old.large_objects, now.large_objects);
            differences.push(format!("{name}: large objects: {old} before, {now} after"));
        }
        let numbers = [
            pair(old.tables.len(), kept(&old.tables, &now.tables).count()),
            match is_counted {
                true => pair(old.tables.values().sum::<u64>(), kept(&old.tables, &now.tables).sum()),
                false => "not counted".into(),
            },
            pair(old.sequences.len(), kept(&old.sequences, &now.sequences).count()),
            pair(old.extensions.len(), kept(&old.extensions, &now.extensions).count()),
            pair(old.large_objects, now.large_objects),
            String::new(),
        ];
        rows.push(row(name, numbers.each_ref().map(String::as_str)));
    }
    Comparison { rows, differences, compared: before.tables() }
}

fn row(name: &str, cells: [&str; 6]) -> [String; 7] {
    let [tables, rows, sequences, extensions, large_objects, roles] = cells.map(str::to_owned);
    [name.to_owned(), tables, rows, sequences, extensions, large_objects, roles]
}

fn pair<T: PartialEq + std::fmt::Display>(old: T, now: T) -> String {
    let sign = if old == now { '=' } else { '≠' };
    format!("{old} {sign} {now}")
}

/// What is now of those that were there before.
fn kept<'c, V>(before: &'c BTreeMap<String, V>, after: &'c BTreeMap<String, V>) -> impl Iterator<Item = &'c V> {
    before.keys().filter_map(|name| after.get(name))
}

fn changed<V: PartialEq + std::fmt::Display>(
    what: &str,
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
) -> Vec<String> {
    let difference = |(name, old): (&String, &V)| match after.get(name) {
        None => Some(format!("{what} {name}: missing")),
        Some(now) if now != old => Some(format!("{what} {name}: {old} before, {now} after")),
        Some(_) => None,
    };
    before.iter().filter_map(difference).collect()
}

/// What has been written to a cluster between two looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// By database and name, only those that were written to.
    pub tables: Vec<WrittenTable>,
    /// Databases that have had tables all the time, and whose counters say nothing of the time between: of these only
    /// tables whose number of rows has changed are known.
    pub uncounted: Vec<String>,
}

/// A table that was written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrittenTable {
    pub database: String,
    pub table: String,
    /// Exact rows then; `None` when there was no such table, or when they were not counted.
    pub before: Option<u64>,
    /// Exact rows now; `None` when it is gone.
    pub now: Option<u64>,
    /// Rows inserted since, as the server has counted them: those that were rolled back count too, those that TRUNCATE
    /// took away do not count as deleted. `None` when the counters were reset or lost meanwhile.
    pub inserted: Option<u64>,
    pub updated: Option<u64>,
    pub deleted: Option<u64>,
}

/// Which tables were written to between `before` and `now`.
pub fn written_since(before: &Content, now: &Content) -> Written {
    let mut written = Written::default();
    let is_same_cluster = before.system_identifier == now.system_identifier;
    let knows_rows = before.is_counted && now.is_counted;
    for name in names(&before.databases, &now.databases) {
        let nothing = DatabaseContent::default();
        let (old, new) = (before.databases.get(name), now.databases.get(name));
        let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        let (then, now) = (&old.statistics.since, &new.statistics.since);
        let is_counted = is_same_cluster && !then.is_empty() && then == now;
        if !is_counted && kept(&old.tables, &new.tables).next().is_some() {
            written.uncounted.push(name.clone());
        }
        let tables = written_tables(name, old, new, is_counted);
        written
            .tables
            .extend(tables.into_iter().filter_map(|table| if knows_rows { Some(table) } else { seen(table) }));
    }
    written
}

fn written_tables(database: &str, old: &DatabaseContent, new: &DatabaseContent, is_counted: bool) -> Vec<WrittenTable> {
    let written = |table: &String| {
        let (before, now) = (old.tables.get(table).copied(), new.tables.get(table).copied());
        let delta = if is_counted { delta(old, new, table) } else { None };
        let is_written = before != now || delta.is_some_and(|delta| delta != [0; 3]);
        let [inserted, updated, deleted] = [0, 1, 2].map(|column| delta.map(|delta| delta[column]));
        let (database, table) = (database.to_owned(), table.clone());
        is_written.then_some(WrittenTable { database, table, before, now, inserted, updated, deleted })
    };
    names(&old.tables, &new.tables).into_iter().filter_map(written).collect()
}

/// A table whose rows were not counted then: it was written to if its counters say so, or it came or went.
fn seen(table: WrittenTable) -> Option<WrittenTable> {
    let is_old = table.before.is_some() && table.now.is_some();
    let has_moved = [table.inserted, table.updated, table.deleted].iter().flatten().any(|rows| *rows > 0);
    (!is_old || has_moved).then_some(WrittenTable { before: None, ..table })
}

fn names<'c, V>(one: &'c BTreeMap<String, V>, other: &'c BTreeMap<String, V>) -> BTreeSet<&'c String> {
    one.keys().chain(other.keys()).collect()
}

/// Inserted, updated and deleted since, when the counters of that table can tell.
fn delta(old: &DatabaseContent, new: &DatabaseContent, table: &str) -> Option<[u64; 3]> {
    let now = new.statistics.tables.get(table)?;
    let then = match old.statistics.tables.get(table) {
        Some(then) if then.oid == now.oid => *then,
        // Made since, perhaps anew: all that its counters say has happened since.
        _ => Counters { oid: now.oid, inserted: 0, updated: 0, deleted: 0 },
    };
    let (inserted, updated) = (now.inserted.checked_sub(then.inserted)?, now.updated.checked_sub(then.updated)?);
    Some([inserted, updated, now.deleted.checked_sub(then.deleted)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<V: Clone>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn counters(oid: u32, inserted: u64, updated: u64, deleted: u64) -> Counters {
        Counters { oid, inserted, updated, deleted }
    }

    fn cluster() -> Content {
        let production = DatabaseContent {
            tables: map(&[("public.cases", 10), ("public.users", 3)]),
            sequences: map(&[("public.users_id_seq", "3".to_owned())]),
            extensions: map(&[("plpgsql", "1.0".to_owned())]),
            large_objects: 2,
            statistics: Statistics {
                since: "1/1".into(),
                tables: map(&[("public.cases", counters(20, 12, 4, 2)), ("public.users", counters(21, 3, 0, 0))]),
            },
        };
        Content {
            system_identifier: "7000000000000000001".into(),
            server_major: 13,
            container: "c".into(),
            roles: map(&[("primero", "superuser login".to_owned()), ("reader", "login".to_owned())]),
            databases: map(&[("production", production), ("template1", DatabaseContent::default())]),
            from_file: false,
            is_counted: true,
        }
    }

    /// The cluster after a change of its database.
    fn changed(change: impl FnOnce(&mut DatabaseContent)) -> Content {
        let mut after = cluster();
        change(after.databases.get_mut("production").unwrap());
        after
    }

    #[track_caller]
    fn differs(after: &Content, differences: &[&str]) {
        let found = compare(&cluster(), after);
        assert_eq!(found.differences, differences);
        assert!(!found.is_equal());
    }

    #[test]
    fn a_cluster_is_equal_to_itself() {
        let found = compare(&cluster(), &cluster());
        assert!(found.is_equal());
        assert_eq!(found.rows[0], ["(cluster)", "", "", "", "", "", "2 = 2"]);
        assert_eq!(found.rows[1], ["production", "2 = 2", "13 = 13", "1 = 1", "1 = 1", "2 = 2", ""]);
        assert_eq!(found.rows[2], ["template1", "0 = 0", "0 = 0", "0 = 0", "0 = 0", "0 = 0", ""]);
        assert_eq!((cluster().tables(), cluster().rows()), (2, 13));
    }

    #[test]
    fn another_server_with_more_in_it_has_lost_nothing() {
        let mut after = changed(|production| {
            production.tables.insert("public.new".into(), 7);
            production.sequences.insert("public.new_id_seq".into(), "not called".into());
            production.extensions.insert("plpgsql".into(), "2.0".into());
            production.extensions.insert("pg_trgm".into(), "1.6".into());
            production.statistics = Statistics::default();
        });
        after.roles.insert("new".into(), "login".into());
        after.databases.insert("new".into(), DatabaseContent::default());
        (after.system_identifier, after.server_major, after.container) = ("7".into(), 17, "d".into());
        let found = compare(&cluster(), &after);
        assert!(found.is_equal(), "{:?}", found.differences);
        assert_eq!(found.rows.len(), 3);
        assert_eq!(found.rows[1][1..3], ["2 = 2", "13 = 13"]);
    }

    #[test]
    fn every_loss_is_found() {
        let lost_table = changed(|d| {
            d.tables.remove("public.users");
        });
        differs(&lost_table, &["production: rows of public.users: missing"]);
        assert_eq!(compare(&cluster(), &lost_table).rows[1][1..3], ["2 ≠ 1", "13 ≠ 10"]);
        let lost_row = changed(|d| {
            d.tables.insert("public.cases".into(), 9);
        });
        differs(&lost_row, &["production: rows of public.cases: 10 before, 9 after"]);
        assert_eq!(compare(&cluster(), &lost_row).rows[1][1..3], ["2 = 2", "13 ≠ 12"]);
        let one_more = changed(|d| {
            d.tables.insert("public.cases".into(), 11);
        });
        differs(&one_more, &["production: rows of public.cases: 10 before, 11 after"]);
        let sequence = changed(|d| {
            d.sequences.insert("public.users_id_seq".into(), "not called".into());
        });
        differs(&sequence, &["production: sequence public.users_id_seq: 3 before, not called after"]);
        let no_sequence = changed(|d| d.sequences.clear());
        differs(&no_sequence, &["production: sequence public.users_id_seq: missing"]);
        let no_extension = changed(|d| d.extensions.clear());
        differs(&no_extension, &["production: extension plpgsql: missing"]);
        differs(&changed(|d| d.large_objects = 1), &["production: large objects: 2 before, 1 after"]);
        let mut no_role = cluster();
        no_role.roles.remove("reader");
        no_role.roles.insert("primero".into(), "login".into());
        let words = ["role primero: superuser login before, login after", "role reader: missing"];
        differs(&no_role, &words);
        assert_eq!(compare(&cluster(), &no_role).rows[0][6], "2 ≠ 1");
        let mut no_database = cluster();
        no_database.databases.remove("production");
        differs(&no_database, &["database production is missing"]);
        assert_eq!(compare(&cluster(), &no_database).rows[1][..2], ["production", "missing"]);
    }

    #[test]
    fn an_empty_comparison_proves_nothing() {
        let mut empty = cluster();
        empty.databases.get_mut("production").unwrap().tables.clear();
        let found = compare(&empty, &cluster());
        assert!(found.differences.is_empty());
        assert!(!found.is_equal());
    }

    #[test]
    fn it_survives_the_way_into_a_file_and_back() {
        let text = serde_json::to_string(&cluster()).unwrap();
        assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), cluster());
    }

    fn written(now: &Content) -> Vec<WrittenTable> {
        let written = written_since(&cluster(), now);
        assert_eq!(written.uncounted, [""; 0]);
        written.tables
    }

    fn table(name: &str, rows: [Option<u64>; 2], counted: Option<[u64; 3]>) -> WrittenTable {
        let [inserted, updated, deleted] = [0, 1, 2].map(|i| counted.map(|counted| counted[i]));
        let (database, table) = ("production".to_owned(), name.to_owned());
        WrittenTable { database, table, before: rows[0], now: rows[1], inserted, updated, deleted }
    }

    #[test]
    fn nothing_written_is_nothing_said() {
        assert_eq!(written_since(&cluster(), &cluster()), Written::default());
    }

    #[test]
    fn what_was_written_is_said_by_table() {
        let now = changed(|d| {
            d.tables.insert("public.cases".into(), 11);
            d.statistics.tables.insert("public.cases".into(), counters(20, 15, 9, 4));
            // As many rows as before, yet not the same.
            d.statistics.tables.insert("public.users".into(), counters(21, 3, 1, 0));
            d.tables.insert("public.new".into(), 2);
            d.statistics.tables.insert("public.new".into(), counters(22, 2, 0, 0));
        });
        let expected = [
            table("public.cases", [Some(10), Some(11)], Some([3, 5, 2])),
            table("public.new", [None, Some(2)], Some([2, 0, 0])),
            table("public.users", [Some(3), Some(3)], Some([0, 1, 0])),
        ];
        assert_eq!(written(&now), expected);
    }

    #[test]
    fn a_table_that_went_or_was_made_anew_is_said() {
        let now = changed(|d| {
            d.tables.remove("public.users");
            d.statistics.tables.remove("public.users");
            d.statistics.tables.insert("public.cases".into(), counters(30, 10, 0, 0));
        });
        let expected = [
            table("public.cases", [Some(10), Some(10)], Some([10, 0, 0])),
            table("public.users", [Some(3), None], None),
        ];
        assert_eq!(written(&now), expected);
    }

    #[test]
    fn counters_that_were_reset_leave_the_rows() {
        let fewer = changed(|d| {
            d.tables.insert("public.cases".into(), 11);
            d.statistics.tables.insert("public.cases".into(), counters(20, 1, 0, 0));
        });
        assert_eq!(written(&fewer), [table("public.cases", [Some(10), Some(11)], None)]);
        let unseen = |now: &Content| {
            let found = written_since(&cluster(), now);
            assert_eq!(found.tables, [table("public.cases", [Some(10), Some(11)], None)]);
            assert!(found.uncounted.contains(&"production".to_owned()), "{:?}", found.uncounted);
        };
        let one_more = |d: &mut DatabaseContent| {
            d.tables.insert("public.cases".into(), 11);
            d.statistics.tables.insert("public.cases".into(), counters(20, 99, 99, 99));
        };
        unseen(&changed(|d| {
            one_more(d);
            d.statistics.since = "1/2".into();
        }));
        let mut other = changed(one_more);
        other.system_identifier = "7000000000000000002".into();
        unseen(&other);
    }

    #[test]
    fn without_rows_names_are_compared_and_counters_tell_what_was_written() {
        let uncounted = |mut content: Content| {
            content.is_counted = false;
            content.databases.values_mut().for_each(|d| d.tables.values_mut().for_each(|rows| *rows = 0));
            content
        };
        let found = compare(&uncounted(cluster()), &cluster());
        assert!(found.is_equal(), "{:?}", found.differences);
        assert_eq!(found.rows[1][1..3], ["2 = 2", "not counted"]);
        let lost = changed(|d| _ = d.tables.remove("public.users"));
        let found = compare(&uncounted(cluster()), &lost);
        assert_eq!(found.differences, ["production: table public.users: missing"]);
        let now = changed(|d| {
            d.tables.insert("public.new".into(), 2);
            d.statistics.tables.insert("public.users".into(), counters(21, 5, 0, 0));
        });
        let expected =
            [table("public.new", [None, Some(2)], None), table("public.users", [None, Some(3)], Some([2, 0, 0]))];
        assert_eq!(written_since(&uncounted(cluster()), &now).tables, expected);
    }

    #[test]
    fn a_database_that_came_or_went_shows_by_its_tables() {
        let mut now = cluster();
        now.databases.remove("production");
        let gone = written_since(&cluster(), &now).tables;
        assert_eq!(gone.iter().map(|t| (t.before, t.now)).collect::<Vec<_>>(), [(Some(10), None), (Some(3), None)]);
        let came = written_since(&now, &cluster()).tables;
        assert_eq!(came.iter().map(|t| (t.before, t.now)).collect::<Vec<_>>(), [(None, Some(10)), (None, Some(3))]);
    }
}
