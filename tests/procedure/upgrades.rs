//! The whole way, between majors.

use crate::stack::{Run, SMALL, Stack};

/// Upgrades, looks at everything, goes on living, and cleans up.
fn upgrade(from: u32, to: u32) {
    upgrade_stack(&Stack::with(from, SMALL), from, to, &[]);
}

const AUTO: &str = "strategy=auto";
const BY_A_COPY: &str = "pg_upgrade: a copy can follow the server";

/// A stack that is about to be upgraded, deployed by a command.
fn prepared(from: u32, to: u32) -> Stack {
    let stack = Stack::with(from, SMALL);
    stack.inventory_version(to);
    stack.deploy_by_command();
    stack
}

/// By a copy that follows and is upgraded; old and new server are compared at that level.
fn upgrade_by_copy(stack: &Stack, from: u32, to: u32, level: &str, said: &str) {
    let compare = format!("compare={level}");
    upgrade_stack(stack, from, to, &["--set", AUTO, "--set", &compare]).expect(0, &[BY_A_COPY, said]);
}

fn upgrade_stack(stack: &Stack, from: u32, to: u32, args: &[&str]) -> Run {
    let (before, beats) = (stack.content(), stack.heartbeats());
    let policy = stack.inspect("postgres", "{{.HostConfig.RestartPolicy.Name}}");
    if !stack.is_deployed_by_command() {
        stack.inventory_version(to);
    }
    let said = stack.upgrade(to, args).expect(0, &["= ", "logs in with its password"]);
    assert_eq!(stack.major(), to.to_string());
    assert_eq!(stack.content(), before);
    assert!(stack.heartbeats() >= beats, "heartbeats were lost");
    stack.writes();
    for service in ["postgres", "application", "worker", "nginx"] {
        assert_eq!(stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), policy, "{service}");
    }
    stack.no_helpers_left();
    let artefacts = stack.artefacts();
    private(&artefacts);
    let kept = stack.kept_volumes();
    assert!(kept.len() == 1 && kept[0].starts_with(&format!("{}_pg{from}_upgrade-", stack.volume)), "{kept:?}");
    let newest = kept[0].rsplit_once('_').unwrap().1;
    stack.cleanup_of(newest).expect(0, &["Removed"]);
    assert!(!artefacts.exists());
    assert_eq!(stack.kept_volumes(), Vec::<String>::new());
    stack.no_helpers_left();
    said
}

/// Everything below is 0600 or, a directory, 0700.
pub fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::symlink_metadata(path).unwrap();
    let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(meta.permissions().mode() & 0o777, wanted, "{}", path.display());
    if meta.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|e| private(&e.unwrap().path()));
    }
}

#[test]
fn from_13_to_15() {
    upgrade(13, 15);
}

#[test]
fn from_13_to_17_without_analyze_one_by_one() {
    let said = upgrade_stack(&Stack::with(13, SMALL), 13, 17, &[]).text;
    assert!(!said.contains("<<< \"ANALYZE"), "{said}");
    // A first, coarse stage before the application starts, the rest while it runs: of all databases at the same time.
    let (outage, after) = said.split_once(" start the application").unwrap();
    for part in [outage, after] {
        let gathered: Vec<_> = part.lines().filter(|line| line.ends_with(" sessions)")).collect();
        let is_of_all = |line: &&str| line.contains("primero_production") && line.contains("template1");
        assert!(gathered.len() == 1 && gathered.iter().all(is_of_all), "{gathered:?}");
    }
}

#[test]
fn from_15_to_17_with_locales_of_icu() {
    let stack = Stack::with(15, SMALL);
    let database = "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C'";
    stack.sql("postgres", database);
    stack.sql("icu", "CREATE COLLATION \"Num's\" (PROVIDER = icu, LOCALE = 'en-u-kn-true', DETERMINISTIC = false)");
    upgrade_stack(&stack, 15, 17, &[]);
    let spelt = "SELECT datlocale FROM pg_database WHERE datname = 'icu'
                 UNION ALL SELECT colllocale FROM pg_collation WHERE oid >= 16384";
    assert_eq!(stack.sql("icu", spelt), "de-u-kn-true\nen-u-kn-true");
}

#[test]
fn from_13_to_17_by_a_copy_and_back() {
    let stack = prepared(13, 17);
    let before = stack.content();
    let unseen = "not looked at: what is in the rows, and in large objects";
    stack.upgrade(17, &["--set", AUTO, "--set", "compare=counts"]).expect(0, &[BY_A_COPY, unseen]);
    assert_eq!((stack.major(), stack.content()), ("17".to_owned(), before.clone()));
    stack.writes();
    stack.rollback().expect(0, &["is rolled back"]);
    assert_eq!((stack.major(), stack.content()), ("13".to_owned(), before));
    assert_eq!(stack.sql("postgres", "SELECT count(*) FROM pg_replication_slots"), "0");
    stack.cleanup().expect(0, &["Removed"]);
    upgrade_by_copy(&stack, 13, 17, "auto", "compared: catalogs and all rows");
}

#[test]
fn from_15_to_17_by_a_copy() {
    let unseen = "not looked at: rows of tables, nor how many there are";
    upgrade_by_copy(&prepared(15, 17), 15, 17, "files", unseen);
}

#[test]
fn from_13_to_18_by_a_copy() {
    upgrade_by_copy(&prepared(13, 18), 13, 18, "content", "compared: catalogs and all rows");
}

/// A limit of the database that a dump can't keep to. Where the old minor release stores `pg_attver`, which 18 does not
/// know, its own pg_dump leaves it out.
#[test]
fn transaction_timeout_of_a_database_and_pg_attver() {
    let stack = Stack::with(17, SMALL);
    let stored = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver=%')";
    let stored = stack.sql("postgres", stored);
    // Not the application's own, which a busy machine would shut out.
    stack.sql("postgres", "CREATE DATABASE limited");
    stack.sql("limited", "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 3) AS v FROM generate_series(1, 200000) i");
    stack.sql("postgres", "ALTER DATABASE limited SET transaction_timeout = '200ms'");
    let said = upgrade_stack(&stack, 17, 18, &[]);
    assert_eq!(said.text.contains("would write the column option pg_attver"), stored == "t", "{}", said.text);
}

/// The image of 18 keeps its cluster in a directory of its major, one level below the mount.
#[cfg(feature = "full-matrix")]
#[test]
fn from_13_to_18() {
    upgrade(13, 18);
}
