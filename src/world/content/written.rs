//! What was written to a cluster between two looks at it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Content, Counters, DatabaseContent, kept};

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
    let knows_rows = before.is_counted() && now.is_counted();
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
