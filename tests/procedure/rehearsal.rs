//! The rehearsal on a copy of all the data: the application goes on, nothing of it is left however it ends, and what it
//! has found is told before the night.

use serde_json::Value;

use crate::procedure::faults::before::Before;
use crate::procedure::upgrades::Held;
use crate::stack::{Run, Stack, run};

/// A rehearsal with these settings.
fn command(stack: &Stack, settings: &[&str]) -> std::process::Command {
    let set: Vec<_> = settings.iter().flat_map(|set| ["--set", set]).collect();
    stack.command_of("rehearse.rhai", 17, &set)
}

fn verdict_of(stack: &Stack, name: &str) -> Value {
    let status = run(&mut stack.pgscript(&["status", name, "--format", "json"])).expect(0, &[]);
    serde_json::from_str::<Value>(&status.text).unwrap()["verdict"].clone()
}

/// The rehearsal tells what the upgrade then is, which shows it with its age and with what has changed since.
#[track_caller]
fn rehearsed_then_upgraded(strategy: &str) {
    let stack = Stack::up(15);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    let beats = stack.heartbeats();
    let set = format!("strategy={strategy}");
    // By sizes it could take longer than two minutes; the rehearsal tells that it does not, and that none is too few.
    let minutes = if strategy == "dump" { 0 } else { 2 };
    let limit = format!("outage_minutes={minutes}");
    let warned = format!("and may be for {minutes} min");
    let said = run(&mut command(&stack, &[&set, "compare=counts", "deploy_seconds=35", &limit]))
        .expect(0, &["compared: catalogs and all rows", "ready", &warned]);
    let told = format!("rehearsed by {strategy}, the application is going to be down for ");
    let line = said.text.lines().find(|line| line.contains(&told)).unwrap();
    assert_eq!(line.contains("outage"), minutes == 0, "{line}");
    // Application and worker have written all the time.
    before.is_without_a_trace(&stack);
    assert!(stack.heartbeats() > beats + 10, "the application has not gone on");
    let verdict = verdict_of(&stack, "rehearse-1");
    assert_eq!(verdict["ready"], true);
    let details = &verdict["details"];
    assert!(details["outage"]["least"].as_u64() < details["outage"]["most"].as_u64(), "{details}");
    assert!(details["phases"]["compare old and new"].as_f64() > Some(0.0), "{details}");
    assert!(details["room"]["cluster"].as_u64() > Some(10_000_000), "{details}");
    stack.rollback().expect(2, &["has changed anything"]);

    stack.sql("primero_production", "CREATE TABLE since_then (x int)");
    stack.inventory_version(17);
    let held = Held::by(&stack);
    // Only a copy that was upgraded has the files of before.
    let level = if strategy == "dump" { "compare=auto" } else { "compare=files" };
    let done = stack.upgrade(17, &["--set", &set, "--set", level]);
    let done = held.goes_on(15, 17, done).expect(0, &["is done", " ago, by rehearse-1; since then: 1 difference in"]);
    let unseen = "not looked at: rows of tables, nor how many there are";
    assert_eq!(done.text.contains(unseen), strategy != "dump", "{}", done.text);
}

#[test]
fn by_a_copy_that_is_upgraded() {
    rehearsed_then_upgraded("pg_upgrade");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn by_a_dump() {
    rehearsed_then_upgraded("dump");
}

#[track_caller]
fn fails(stack: &Stack, before: &Before, strategy: &str, said: &[&str]) -> Run {
    let failed = run(&mut command(stack, &[strategy])).expect(1, said).expect(1, &["everything is back as it was"]);
    assert!(failed.text.contains("not ready, because"), "{}", failed.text);
    before.is_without_a_trace(stack);
    failed
}

/// What only the rows tell: found days before, where today it would be found in the outage.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn generated_recomputed_search_path_and_data_breaks_rule() {
    let stack = Stack::with(15, &["--seed", "none"]);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    let rows = "
        CREATE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.10';
        CREATE TABLE orders (id int PRIMARY KEY, a numeric, f numeric GENERATED ALWAYS AS (fee(a)) STORED);
        INSERT INTO orders (id, a) SELECT i, i FROM generate_series(1, 100) i;
        CREATE OR REPLACE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.19';";
    stack.sql("primero_production", rows);
    fails(&stack, &before, "strategy=dump", &["error[verify.different]", "orders"]);
    let verdict = verdict_of(&stack, "rehearse-1");
    assert_eq!(
        (verdict["ready"].as_bool(), verdict["details"]["code"].as_str()),
        (Some(false), Some("verify.different"))
    );
    if cfg!(feature = "full-matrix") {
        // The files come along as they are.
        run(&mut command(&stack, &["strategy=pg_upgrade"])).expect(0, &["ready"]);
    }

    let names = "
        DROP TABLE orders;
        CREATE FUNCTION inner_f(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
        CREATE FUNCTION outer_f(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_f(t); END';
        CREATE TABLE names (id int PRIMARY KEY, n text); INSERT INTO names VALUES (1, 'A');
        CREATE INDEX names_f ON names (outer_f(n));";
    stack.sql("primero_production", names);
    fails(&stack, &before, "strategy=dump", &["inner_f", "names_f", "SET search_path"]);
    if cfg!(feature = "full-matrix") {
        fails(&stack, &before, "strategy=pg_upgrade", &["inner_f", "SET search_path"]);
    }

    let orphans = "
        DROP TABLE names; CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE child (id int REFERENCES parent (id)); ALTER TABLE child DISABLE TRIGGER ALL;
        INSERT INTO child VALUES (424242); ALTER TABLE child ENABLE TRIGGER ALL;";
    stack.sql("primero_production", orphans);
    let failed = fails(&stack, &before, "strategy=dump", &["child", "foreign key"]);
    assert!(!failed.text.contains("424242"), "what a row holds was said:\n{}", failed.text);
}

/// What no dump can write, days before; a copy that is upgraded brings it along.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn huge_value() {
    let stack = Stack::with(15, &["--seed", "none"]);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    let value = "
        CREATE TABLE big_value (id int PRIMARY KEY, b bytea); ALTER TABLE big_value ALTER b SET STORAGE EXTERNAL;
        INSERT INTO big_value SELECT 1, convert_to(repeat('0123456789', 60000000), 'UTF8');";
    stack.sql("primero_production", value);
    fails(&stack, &before, "strategy=dump", &["big_value"]);
    run(&mut command(&stack, &["strategy=pg_upgrade"])).expect(0, &["ready"]);
    before.is_without_a_trace(&stack);
}

/// Rows whose page was lost are missed by nobody else: for PostgreSQL a page of zeros is an empty one.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn damaged_page() {
    let stack = Stack::with(15, &["--seed", "none"]);
    stack.deploy_by_command();
    let row = "SELECT i AS id, repeat('x', 500) AS v FROM generate_series(1, 1000) i";
    for table in ["holed", "recent", "grown"] {
        stack.sql("primero_production", &format!("CREATE TABLE {table} AS {row}"));
    }
    stack.sql("primero_production", "VACUUM holed");
    stack.sql("primero_production", "CHECKPOINT");
    let file = |table| stack.sql("primero_production", &format!("SELECT pg_relation_filepath('{table}')"));
    let holes = format!(
        "cd \"$PGDATA\" && dd if=/dev/zero of={} bs=8192 seek=10 count=3 conv=notrunc &&
         dd if=/dev/zero of={} bs=8192 seek=20 count=1 conv=notrunc && dd if=/dev/zero bs=8192 count=1 >> {}",
        file("holed"),
        file("recent"),
        file("grown")
    );
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-ec", &holes]);
    stack.docker(&["restart", &stack.container("postgres")]);
    stack.writes();
    let before = Before::containers_of(&stack);
    let said = [
        "rows are lost: of public.holed of database primero_production pages are nothing but zeros: 10, 11, 12",
        "rows are lost: of public.recent of database primero_production pages are nothing but zeros: 20",
        "ready, with warnings of ",
        "lost_pages;",
    ];
    // A page at the end is one that no row has needed yet.
    let found = run(&mut command(&stack, &["strategy=pg_upgrade"])).expect(0, &said);
    assert!(!found.text.contains("public.grown"), "{}", found.text);
    before.is_without_a_trace(&stack);
}
