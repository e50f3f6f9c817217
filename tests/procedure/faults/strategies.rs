//! The copy that follows and is upgraded: what stands in its way, and what breaks it.

use super::after::Site;
use super::before::Before;
use super::upgrade;
use crate::stack::{Stack, Watched, run};

const AUTO: [&str; 2] = ["--set", "strategy=auto"];

fn upgrade_by_copy(site: &Site, text: &str) -> Watched {
    let mut run = Watched::start(site.stack.upgrade_command(17, &AUTO));
    run.until(text);
    run
}

#[track_caller]
fn no_slot(site: &Site) {
    assert_eq!(site.stack.sql("postgres", "SELECT count(*) FROM pg_replication_slots"), "0");
}

/// Killed in the middle, a copy is of no more use; the run goes on all the same, and back. Other instants:
/// `tests/simulated`.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_while_the_copy_is_upgraded() {
    let site = Site::up();
    upgrade_by_copy(&site, "$ pg_upgrade --link").kill();
    assert!(site.stack.status().contains("Your data is safe"));
    let resumed = run(&mut site.stack.pgscript(&["resume", "upgrade-1"]));
    site.is_upgraded(resumed.expect(0, &["the copy is taken anew, of the files of the stopped server"]));
    site.stack.rollback().expect(0, &["is rolled back"]);
    site.is_back();
    no_slot(&site);
}

#[track_caller]
fn refused(stack: &Stack, why: &str) {
    let before = Before::containers_of(stack);
    let mut forced = stack.checks(17, "strategy", &["strategy=pg_upgrade"]);
    run(&mut forced).expect(3, &["error[preflight.strategy]", why, "--set strategy=dump"]);
    before.is_untouched(stack);
}

#[track_caller]
fn dumped(stack: &Stack, why: &str) {
    let before = Before::containers_of(stack);
    let mut auto = Watched::start(upgrade(stack, &AUTO));
    auto.until("2 make the artefact directory");
    auto.interrupt();
    auto.end().expect(4, &["dump: no copy can be upgraded: ", why, "everything is back as it was"]);
    before.is_back(stack);
}

#[test]
fn a_server_that_nobody_may_follow_is_refused_as_a_strategy_or_dumped() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let set = |sql: &str| {
        stack.sql("postgres", sql);
        stack.docker(&["restart", &stack.container("postgres")]);
        stack.writes();
    };
    set("ALTER SYSTEM SET max_wal_senders = 0");
    refused(&stack, "max_wal_senders leaves 0 of 2");
    stack.sql("postgres", "ALTER SYSTEM SET wal_level = minimal");
    stack.docker(&["restart", &stack.container("postgres")]);
    stack.writes();
    refused(&stack, "wal_level is minimal");
    stack.sql("postgres", "ALTER SYSTEM RESET wal_level");
    set("ALTER SYSTEM RESET max_wal_senders");
    let rules = "sed -i '/replication/d' \"$PGDATA/pg_hba.conf\"";
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c", rules]);
    stack.sql("postgres", "SELECT pg_reload_conf()");
    let why = format!("{}-postgres-1 lets nobody replicate", stack.name);
    refused(&stack, &why);
    dumped(&stack, &why);
}

/// Nobody reads the rows of a copy: a page that can't be read is what it was, and no reason to stay down.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn damaged_page() {
    let stack = Stack::up(13);
    stack.sql(
        "primero_production",
        "CREATE TABLE holed AS SELECT i AS id, repeat('x', 500) AS v FROM generate_series(1, 1000) i",
    );
    stack.sql("primero_production", "CHECKPOINT");
    let file = stack.sql("primero_production", "SELECT pg_relation_filepath('holed')");
    let damage = format!("dd if=/dev/urandom of=\"$PGDATA/{file}\" bs=8192 seek=10 count=1 conv=notrunc");
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-ec", &damage]);
    stack.docker(&["restart", &stack.container("postgres")]);
    stack.writes();
    stack.inventory_version(17);
    stack.deploy_by_command();
    let said = [
        "old and new cluster are compared by their catalogs alone: database \"primero_production\" has rows that",
        "public.holed: invalid page in block 10",
        "planner statistics can't be gathered: ERROR: invalid page in block 10",
        "runs on PostgreSQL 17",
        "step `gather statistics` is left open",
    ];
    stack.upgrade(17, &["--set", "strategy=pg_upgrade"]).expect(0, &said);
    assert_eq!(stack.sql("primero_production", "SELECT v FROM holed WHERE id = 1 LIMIT 1"), "x".repeat(500));
}
