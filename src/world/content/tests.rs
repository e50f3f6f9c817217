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
        user: "primero".into(),
        ..Content::default()
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
    differs(&no_role, &["role reader: missing"]);
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

/// A cluster whose catalogs were read, with one table in its database.
fn with_catalogs(major: u32, facts: serde_json::Value) -> Content {
    let mut content = cluster();
    (content.server_major, content.level) = (major, Level::Content);
    put(&mut content.objects, "database", &["production"], serde_json::json!({"owner": "primero"}));
    content.databases.remove("template1");
    let production = content.databases.get_mut("production").unwrap();
    for table in ["cases", "users"] {
        production.hashes.insert(format!("public.{table}"), table.into());
        let name = ["public", table];
        let mut tables = production.objects.of("table").unwrap();
        tables.insert(name.map(str::to_owned).to_vec(), facts.as_object().unwrap().clone());
        production.objects.put("table", &tables).unwrap();
    }
    content
}

fn put(objects: &mut Objects, kind: &str, name: &[&str], facts: serde_json::Value) {
    let mut all = objects.of(kind).unwrap();
    all.insert(name.iter().map(|part| (*part).to_owned()).collect(), facts.as_object().unwrap().clone());
    objects.put(kind, &all).unwrap();
}

/// What differs when `after` has one more object, or another one.
fn differs_by(kind: &str, name: &[&str], old: Option<serde_json::Value>, now: Option<serde_json::Value>) -> Comparison {
    let facts = serde_json::json!({"owner": "primero", "rights": ["primero=arwdDxt/primero"]});
    let (mut before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(17, facts));
    for (content, facts) in [(&mut before, old), (&mut after, now)] {
        let objects = &mut content.databases.get_mut("production").unwrap().objects;
        facts.into_iter().for_each(|facts| put(objects, kind, name, facts));
    }
    compared(&before, &after)
}

#[test]
fn facts_of_objects_are_compared() {
    let json = |text: &str| Some(serde_json::from_str(text).unwrap());
    let found = differs_by("sequence", &["public", "s"], json(r#"{"cache": 1}"#), json(r#"{"cache": 5}"#));
    assert_eq!(said(&found), ["production: sequence public.s: cache: 1 before, 5 after"]);
    let found = differs_by("sequence", &["public", "s"], json("{}"), None);
    assert_eq!(said(&found), ["production: sequence public.s: missing"]);
    let found = differs_by("sequence", &["public", "s"], None, json("{}"));
    assert_eq!(said(&found), ["production: sequence public.s: was not there before"]);
    let acl = |acl: &str| json(&format!(r#"{{"rights": ["primero=arwdDxt{acl}"#));
    let found = differs_by(
        "view",
        &["public", "v"],
        acl(r#"/primero", "app=r/primero"]}"#),
        acl(r#"m/primero", "=r/primero"]}"#),
    );
    let rights = ["rights of PUBLIC: none before, SELECT after", "rights of app: SELECT before, none after"];
    assert_eq!(said(&found), rights.map(|right| format!("production: view public.v: {right}")));
}

#[test]
fn what_nothing_brings_along_is_no_difference() {
    let json = |text: &str| Some(serde_json::from_str(text).unwrap());
    let index = differs_by("index", &["public", "i"], json(r#"{"valid": "no", "table": "cases"}"#), None);
    assert!(index.is_equal() && index.left_behind == ["production: index public.i, which is invalid"], "{index:?}");
    let function = differs_by("function", &["pg_catalog", "f", "integer"], json("{}"), None);
    assert!(function.is_equal() && function.left_behind[0].contains("pg_catalog.f(integer)"), "{function:?}");
    let valid = differs_by("index", &["public", "i"], json(r#"{"valid": "yes", "table": "cases"}"#), None);
    assert!(!valid.is_equal());
}

#[test]
fn what_is_in_a_missing_table_is_not_told_one_by_one() {
    let facts = serde_json::json!({"owner": "primero"});
    let (mut before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(17, facts));
    let objects = &mut before.databases.get_mut("production").unwrap().objects;
    put(objects, "column", &["public", "users", "id"], serde_json::json!({"type": "integer"}));
    put(objects, "index", &["public", "users_pkey"], serde_json::json!({"table": "users"}));
    put(objects, "sequence", &["public", "users_id_seq"], serde_json::json!({"owned by": ["public", "users", "id"]}));
    let production = after.databases.get_mut("production").unwrap();
    let mut tables = production.objects.of("table").unwrap();
    tables.retain(|name, _| name[1] != "users");
    production.objects.put("table", &tables).unwrap();
    production.tables.remove("public.users");
    assert_eq!(said(&compared(&before, &after)), ["production: table public.users: missing"]);
}

/// Reads as a server would that writes everything in capitals.
struct Capitals;

impl Reader for Capitals {
    fn written(
        &self,
        _: &str,
        definitions: &[Definition],
    ) -> std::result::Result<Vec<Option<String>>, crate::world::Error> {
        let written = definitions.iter().map(|definition| match definition {
            Definition::Expression { sql, .. } if sql.contains("broken") => None,
            Definition::Expression { sql, .. } => Some(sql.to_uppercase()),
            other => panic!("{other:?}"),
        });
        Ok(written.collect())
    }
}

#[test]
fn what_the_newer_server_writes_alike_is_no_difference() {
    let facts = serde_json::json!({"owner": "primero"});
    let (mut before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(17, facts));
    let mut check = |name: &str, old: &str, now: &str| {
        for (content, text) in [(&mut before, old), (&mut after, now)] {
            let objects = &mut content.databases.get_mut("production").unwrap().objects;
            put(objects, "constraint", &["public", "cases", name], serde_json::json!({"check": text}));
        }
    };
    check("alike", "a > 0", "A > 0");
    check("other", "a > 0", "A > 1");
    check("unreadable", "broken", "BROKEN");
    let beside = Beside { reader: Some(&Capitals), ..Beside::default() };
    let found = compare(&before, &after, beside).unwrap();
    let said: Vec<_> = found.differences.iter().map(|d| d.object.as_str()).collect();
    assert_eq!(said, ["constraint other of public.cases", "constraint unreadable of public.cases"]);
    let unread = compared(&before, &after);
    assert!(unread.is_equal() && unread.not_looked_at[0].contains("3 definitions"), "{unread:?}");
}

#[test]
fn values_that_changed_are_found_by_their_hash() {
    let facts = serde_json::json!({"owner": "primero"});
    let (mut before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(17, facts));
    assert!(compared(&before, &after).is_equal());
    let hashes = &mut after.databases.get_mut("production").unwrap().hashes;
    hashes.insert("public.cases".into(), "another".into());
    let words = "production: content of public.cases: not the same (10 rows before and after)";
    assert_eq!(said(&compared(&before, &after)), [words]);
    // One that was looked at less closely knows nothing of large objects either.
    let objects = &mut after.databases.get_mut("production").unwrap().objects;
    put(objects, "content of large object", &["70001"], serde_json::json!({"hash": "1"}));
    assert_eq!(said(&compared(&before, &after)).len(), 2);
    before.level = Level::Counts;
    let counted = compared(&before, &after);
    assert!(counted.is_equal() && counted.not_looked_at == ["what is in the rows, and in large objects"]);
}

#[test]
fn what_the_image_makes_is_no_difference() {
    let facts = serde_json::json!({"owner": "primero"});
    let (before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(17, facts.clone()));
    let mut made = with_catalogs(17, facts);
    let role = || serde_json::json!({"login": true});
    put(&mut after.objects, "role", &["reporting"], role());
    put(&mut made.objects, "role", &["reporting"], role());
    assert_eq!(said(&compared(&before, &after)), ["role reporting: was not there before"]);
    let found = compare(&before, &after, Beside { made: Some(&made), ..Beside::default() }).unwrap();
    assert!(found.is_equal() && found.made_by_image == ["role reporting"], "{found:?}");
}

#[test]
fn a_sequence_stands_a_little_ahead_where_a_server_follows() {
    let facts = serde_json::json!({"owner": "primero"});
    let (mut before, mut after) = (with_catalogs(13, facts.clone()), with_catalogs(13, facts));
    before.is_standby = true;
    let set = |content: &mut Content, value: &str| {
        let sequences = &mut content.databases.get_mut("production").unwrap().sequences;
        sequences.insert("public.users_id_seq".into(), value.into());
    };
    set(&mut before, "35");
    for (value, is_equal) in
        [("35", true), ("3", true), ("2", false), ("36", false), ("not called, begins with 1", false)]
    {
        set(&mut after, value);
        assert_eq!(compared(&before, &after).is_equal(), is_equal, "{value}");
    }
    // Of what was made of the copy it is known exactly.
    set(&mut after, "34");
    after.system_identifier = "7".into();
    assert!(!compared(&before, &after).is_equal());
}

/// What earlier versions have told of a cluster is told in other words now.
#[test]
fn what_was_recorded_by_an_earlier_version_is_still_compared() {
    let facts = serde_json::json!({"owner": "primero"});
    let mut before = cluster();
    before.databases.remove("template1");
    let production = before.databases.get_mut("production").unwrap();
    production.tables.insert("public.part_1".into(), 4);
    production.sequences.insert("public.users_id_seq".into(), "not called".into());
    let mut after = with_catalogs(13, facts);
    after.roles.insert("primero".into(), "login superuser".into());
    let now = after.databases.get_mut("production").unwrap();
    put(&mut now.objects, "table", &["public", "part_1"], serde_json::json!({}));
    now.sequences.insert("public.users_id_seq".into(), "not called, begins with 1".into());
    let found = compared(&before, &after);
    assert!(found.is_equal(), "{found:?}");
    assert!(found.not_looked_at.contains(&"production: rows of public.part_1".to_owned()), "{found:?}");
    after.databases.get_mut("production").unwrap().tables.insert("public.cases".into(), 9);
    assert_eq!(said(&compared(&before, &after)), ["production: rows of public.cases: 10 before, 9 after"]);
}
