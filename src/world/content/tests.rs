use super::*;

/// The comparison of two contents, without a server.
fn compared(before: &Content, after: &Content) -> Comparison {
    compare(before, after, Beside::default()).unwrap()
}

fn said(found: &Comparison) -> Vec<String> {
    found.differences.iter().map(ToString::to_string).collect()
}

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
        ..DatabaseContent::default()
    };
    Content {
        system_identifier: "7000000000000000001".into(),
        server_major: 13,
        container: "c".into(),
        roles: map(&[("primero", "superuser login".to_owned()), ("reader", "login".to_owned())]),
        databases: map(&[("production", production), ("template1", DatabaseContent::default())]),
        from_file: false,
        level: Level::Counts,
        user: "primero".into(),
        objects: Objects::default(),
        keywords: BTreeSet::new(),
        seconds: 0.0,
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
    let found = compared(&cluster(), after);
    assert_eq!(said(&found), differences);
    assert!(!found.is_equal());
}

#[test]
fn a_cluster_is_equal_to_itself() {
    let found = compared(&cluster(), &cluster());
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
    let found = compared(&cluster(), &after);
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
    assert_eq!(compared(&cluster(), &lost_table).rows[1][1..3], ["2 ≠ 1", "13 ≠ 10"]);
    let lost_row = changed(|d| {
        d.tables.insert("public.cases".into(), 9);
    });
    differs(&lost_row, &["production: rows of public.cases: 10 before, 9 after"]);
    assert_eq!(compared(&cluster(), &lost_row).rows[1][1..3], ["2 = 2", "13 ≠ 12"]);
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
    assert_eq!(compared(&cluster(), &no_role).rows[0][6], "2 ≠ 1");
    let mut no_database = cluster();
    no_database.databases.remove("production");
    differs(&no_database, &["database production: missing"]);
    assert_eq!(compared(&cluster(), &no_database).rows[1][..2], ["production", "missing"]);
}

#[test]
fn an_empty_comparison_proves_nothing() {
    let mut empty = cluster();
    empty.databases.get_mut("production").unwrap().tables.clear();
    let found = compared(&empty, &cluster());
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
    let expected =
        [table("public.cases", [Some(10), Some(10)], Some([10, 0, 0])), table("public.users", [Some(3), None], None)];
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
        content.level = Level::Files;
        content.databases.values_mut().for_each(|d| d.tables.values_mut().for_each(|rows| *rows = 0));
        content
    };
    let found = compared(&uncounted(cluster()), &cluster());
    assert!(found.is_equal(), "{:?}", found.differences);
    assert_eq!(found.rows[1][1..3], ["2 = 2", "not counted"]);
    let lost = changed(|d| _ = d.tables.remove("public.users"));
    let found = compared(&uncounted(cluster()), &lost);
    assert_eq!(said(&found), ["production: rows of public.users: missing"]);
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
