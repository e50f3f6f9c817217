//! The copy that follows and is upgraded: what stands in its way, and what breaks it.

use super::after::Site;
use super::before::Before;
use super::upgrade;
use crate::stack::{Run, Stack, Watched, run};

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
fn refused_or_dumped(stack: &Stack, why: &str) -> Run {
    let before = Before::containers_of(stack);
    let mut forced = stack.checks(17, "strategy", &["strategy=pg_upgrade"]);
    run(&mut forced).expect(3, &["error[preflight.strategy]", why, "--set strategy=dump"]);
    before.is_untouched(stack);
    let mut auto = Watched::start(upgrade(stack, &AUTO));
    auto.until("2 make the artefact directory");
    auto.interrupt();
    let said = ["dump: no copy can be upgraded: ", why, "everything is back as it was"];
    let ended = auto.end().expect(4, &said);
    before.is_back(stack);
    ended
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
    refused_or_dumped(&stack, "max_wal_senders leaves 0 of 2");
    stack.sql("postgres", "ALTER SYSTEM SET wal_level = minimal");
    stack.docker(&["restart", &stack.container("postgres")]);
    stack.writes();
    refused_or_dumped(&stack, "wal_level is minimal");
    stack.sql("postgres", "ALTER SYSTEM RESET wal_level");
    set("ALTER SYSTEM RESET max_wal_senders");
    let rules = "sed -i '/replication/d' \"$PGDATA/pg_hba.conf\"";
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c", rules]);
    stack.sql("postgres", "SELECT pg_reload_conf()");
    refused_or_dumped(&stack, &format!("{}-postgres-1 lets nobody replicate", stack.name));
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

/// Settings, rules and files of the old cluster, by either strategy; what the new version does not know is named.
#[test]
fn config_lost_and_removed_setting() {
    let stack = Stack::with(13, &["--seed", "none"]);
    stack.sql("postgres", "ALTER SYSTEM SET max_connections = 123");
    stack.sql("postgres", "ALTER SYSTEM SET operator_precedence_warning = on");
    stack.sql("postgres", "ALTER SYSTEM SET log_line_prefix = '%m it''s %u '");
    let files = "cd \"$PGDATA\" && echo 'track_activity_query_size = 4096' >> postgresql.conf && \
                 { echo 'host all all 10.9.0.0/16 reject'; cat pg_hba.conf; } > /tmp/hba && \
                 cat /tmp/hba > pg_hba.conf && \
                 echo 'map root primero' >> pg_ident.conf";
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-ec", files]);
    stack.docker(&["restart", &stack.container("postgres")]);
    stack.writes();
    stack.inventory_version(17);
    stack.deploy_by_command();
    // So do a role's setting, which a restore would stumble over, and a time zone that the new image lacks.
    stack.sql("primero_production", "CREATE ROLE reporting; ALTER ROLE reporting SET operator_precedence_warning = on");
    stack.sql("primero_production", "CREATE VIEW office_time AS SELECT now() AT TIME ZONE 'US/Eastern' AS t");
    let said =
        ["ROLE reporting: operator_precedence_warning", "ALTER ROLE reporting RESET operator_precedence_warning;"];
    run(&mut stack.upgrade_command(17, &[])).expect(3, &said);
    stack.sql("postgres", "ALTER ROLE reporting RESET operator_precedence_warning;");
    let told = "SELECT string_agg(setting, '|' ORDER BY name) FROM pg_settings
                WHERE name IN ('max_connections', 'log_line_prefix', 'track_activity_query_size')";
    let rules = "SELECT string_agg(concat_ws(' ', type, address, auth_method), '|') FROM pg_hba_file_rules";
    let before = [told, rules].map(|sql| stack.sql("postgres", sql));
    assert!(before[0].contains("it's") && before[1].contains("10.9.0.0 reject"), "{before:?}");
    for strategy in ["strategy=dump", "strategy=pg_upgrade"] {
        let said = [
            "does not know, and that are left out",
            "operator_precedence_warning = on",
            "primero_production: view public.office_time names 'US/Eastern'",
        ];
        stack.upgrade(17, &["--set", strategy]).expect(0, &said);
        assert_eq!([told, rules].map(|sql| stack.sql("postgres", sql)), before, "{strategy}");
        let map = "SELECT count(*) FROM pg_ls_dir(current_setting('data_directory')) f WHERE f = 'pg_ident.conf'";
        assert_eq!(stack.sql("postgres", map), "1");
        stack.sql("postgres", "ALTER SYSTEM RESET max_connections");
        stack.writes();
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
        stack.writes();
    }
}
