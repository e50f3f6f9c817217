//! What a server has counted of writes, and what was written between two looks at it. Nothing here asks a server:
//! [`Postgres::write_counts`](super::postgres::Postgres::write_counts) does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a cluster's server has counted of writes by some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCounts {
    pub system_identifier: String,
    /// Number of the next transaction that writes, with its epoch. While it stays the same nothing was written.
    pub next_xid: u64,
    /// When it was asked, by the server's clock: seconds since 1970.
    pub at: u64,
    /// Names of prepared transactions: written, and not yet in any table's counters.
    pub prepared: Vec<String>,
    /// Relations that all databases share.
    pub shared: BTreeMap<String, Counts>,
    pub databases: BTreeMap<String, DatabaseCounts>,
}

/// Rows inserted, updated and deleted, as the server has counted them: rolled back ones too.
pub type Counts = [u64; 3];

/// What was counted in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCounts {
    /// As [`Statistics::since`](super::content::Statistics::since): from when on the server counts; empty when it
    /// doesn't.
    pub since: String,
    /// Tables and catalogs, as `schema.name`.
    pub relations: BTreeMap<String, Counts>,
    /// Last value of each sequence, or `not called`.
    pub sequences: BTreeMap<String, String>,
}

/// What [`writes_between`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Each in words: `primero_production: public.cases (1 inserted)`.
    pub written: Vec<String>,
    /// Databases of which it can't be told: the server has counted anew since, or does not count.
    pub uncounted: Vec<String>,
}

/// Statistics for the planner, which the server itself writes when it analyzes a table.
const OWN: [&str; 2] = ["pg_catalog.pg_statistic", "pg_catalog.pg_statistic_ext_data"];

/// What was written between `before` and `now`, whoever did it; not what the server writes for itself.
pub fn writes_between(before: &WriteCounts, now: &WriteCounts) -> Writes {
    let mut writes = Writes::default();
    let is_new = |name: &&String| !before.prepared.contains(name);
    writes.written.extend(now.prepared.iter().filter(is_new).map(|name| format!("prepared transaction {name}")));
    let shared = changed(&before.shared, &now.shared);
    writes.written.extend(shared.into_iter().map(|what| format!("cluster: {what}")));
    for name in names(&before.databases, &now.databases) {
        let (Some(then), Some(here)) = (before.databases.get(name), now.databases.get(name)) else {
            let what = if now.databases.contains_key(name) { "was created" } else { "is gone" };
            writes.written.push(format!("{name}: the database {what}"));
            continue;
        };
        if then.since.is_empty() || then.since != here.since || before.system_identifier != now.system_identifier {
            writes.uncounted.push(name.clone());
        } else {
            let changed = changed(&then.relations, &here.relations);
            writes.written.extend(changed.into_iter().map(|what| format!("{name}: {what}")));
        }
        let moved = |sequence: &&&String| then.sequences.get(**sequence) != here.sequences.get(**sequence);
        let sequences = names(&then.sequences, &here.sequences);
        let sequences = sequences.iter().filter(moved).map(|sequence| format!("{name}: sequence {sequence}"));
        writes.written.extend(sequences);
    }
    writes
}

fn names<'c, V>(one: &'c BTreeMap<String, V>, other: &'c BTreeMap<String, V>) -> BTreeSet<&'c String> {
    one.keys().chain(other.keys()).collect()
}

fn changed(before: &BTreeMap<String, Counts>, now: &BTreeMap<String, Counts>) -> Vec<String> {
    let nothing = Counts::default();
    let describe = |name: &String| {
        let (then, here) = (before.get(name).unwrap_or(&nothing), now.get(name));
        let Some(here) = here else { return Some(format!("{name} (is gone)")) };
        if then == here {
            return None;
        }
        let parts = ["inserted", "updated", "deleted"].iter().zip(then.iter().zip(here));
        let parts = parts.filter(|(_, (then, here))| here > then);
        let parts: Vec<_> = parts.map(|(verb, (then, here))| format!("{} {verb}", here - then)).collect();
        // Fewer than before: it was made anew.
        let what = if parts.is_empty() { "made anew".to_owned() } else { parts.join(", ") };
        Some(format!("{name} ({what})"))
    };
    names(before, now).into_iter().filter(|name| !OWN.contains(&name.as_str())).filter_map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> WriteCounts {
        let database = DatabaseCounts {
            since: "-/1".into(),
            relations: [
                ("public.cases", [10, 4, 2]),
                ("public.heartbeat", [1, 0, 0]),
                ("pg_catalog.pg_statistic", [50, 7, 0]),
            ]
            .map(|(name, counts)| (name.to_owned(), counts))
            .into(),
            sequences: [("public.s".to_owned(), "3".to_owned())].into(),
        };
        WriteCounts {
            system_identifier: "71".into(),
            next_xid: 700,
            shared: [("pg_catalog.pg_authid".to_owned(), [3, 1, 0])].into(),
            databases: [("production".to_owned(), database)].into(),
            ..WriteCounts::default()
        }
    }

    /// What is found after a change of the one database.
    fn after(change: impl FnOnce(&mut DatabaseCounts)) -> Writes {
        let mut now = counts();
        change(now.databases.get_mut("production").unwrap());
        writes_between(&counts(), &now)
    }

    #[test]
    fn what_the_server_writes_for_itself_is_no_write() {
        let analyzed = after(|d| {
            d.relations.insert("pg_catalog.pg_statistic".into(), [50, 90, 1]);
            d.relations.insert("pg_catalog.pg_statistic_ext_data".into(), [1, 0, 0]);
        });
        assert_eq!(analyzed, Writes::default());
        assert_eq!(writes_between(&counts(), &WriteCounts { next_xid: 705, ..counts() }), Writes::default());
    }

    #[test]
    fn write_during_dump_is_named_by_database_and_relation() {
        let written = |change: fn(&mut DatabaseCounts)| after(change).written.join("; ");
        let insert = |d: &mut DatabaseCounts| _ = d.relations.insert("public.cases".into(), [12, 4, 3]);
        assert_eq!(written(insert), "production: public.cases (2 inserted, 1 deleted)");
        let large_object =
            |d: &mut DatabaseCounts| _ = d.relations.insert("pg_catalog.pg_largeobject".into(), [1, 0, 0]);
        assert_eq!(written(large_object), "production: pg_catalog.pg_largeobject (1 inserted)");
        assert_eq!(written(|d| _ = d.relations.remove("public.cases")), "production: public.cases (is gone)");
        let anew = |d: &mut DatabaseCounts| _ = d.relations.insert("public.cases".into(), [10, 0, 0]);
        assert_eq!(written(anew), "production: public.cases (made anew)");
        let sequence = |d: &mut DatabaseCounts| drop(d.sequences.insert("public.s".into(), "36".into()));
        assert_eq!(written(sequence), "production: sequence public.s");
    }

    #[test]
    fn roles_databases_and_prepared_transactions_are_writes_too() {
        let mut now = counts();
        now.shared.insert("pg_catalog.pg_authid".into(), [3, 2, 0]);
        now.prepared = vec!["tx".into()];
        now.databases.insert("new".into(), DatabaseCounts::default());
        let expected =
            ["prepared transaction tx", "cluster: pg_catalog.pg_authid (1 updated)", "new: the database was created"];
        assert_eq!(writes_between(&counts(), &now).written, expected);
    }

    #[test]
    fn counters_that_were_lost_are_not_taken_for_no_writes() {
        for since in ["-/2", ""] {
            assert_eq!(after(|d| d.since = since.into()).uncounted, ["production"]);
        }
        let mut never = counts();
        never.databases.get_mut("production").unwrap().since = String::new();
        assert_eq!(writes_between(&never, &never).uncounted, ["production"]);
        let other = WriteCounts { system_identifier: "72".into(), ..counts() };
        assert_eq!(writes_between(&counts(), &other).uncounted, ["production"]);
    }
}
