//! The rehearsal on a copy of all the data: the application goes on, nothing of it is left however it ends, and what it
//! has found is told before the night.

use serde_json::Value;

use crate::faults::before::{Before, walk};
use crate::stack::{Run, Stack, Watched, run};

/// A rehearsal with these settings.
fn command(stack: &Stack, settings: &[&str]) -> std::process::Command {
    let set: Vec<_> = settings.iter().flat_map(|set| ["--set", set]).collect();
    stack.command_of("rehearse.rhai", 17, &set)
}

/// Containers, volumes, networks and files are what they were, and the server keeps nothing for a copy.
#[track_caller]
fn nothing_is_left(stack: &Stack) {
    stack.no_helpers_left();
    assert_eq!(stack.kept_volumes(), Vec::<String>::new());
    assert_eq!(stack.sql("primero_production", "SELECT count(*) FROM pg_replication_slots"), "0");
    let is_record = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        ["journal.jsonl", "log.jsonl", "lock", "seen.json"].contains(&name) || name.ends_with(".rhai")
    };
    let left: Vec<_> = walk(&stack.base).into_iter().filter(|path| !is_record(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn verdict_of(stack: &Stack, name: &str) -> Value {
    let status = run(&mut stack.pgscript(&["status", name, "--format", "json"])).expect(0, &[]);
    serde_json::from_str::<Value>(&status.text).unwrap()["verdict"].clone()
}

/// The rehearsal tells what the upgrade then is, which shows it with its age and with what has changed since.
#[track_caller]
fn rehearsed_then_upgraded(strategy: &str) {
    let stack = Stack::with(15, &["--seed", "small"]);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    let beats = stack.heartbeats();
    let set = format!("strategy={strategy}");
    let said = command(&stack, &[&set, "compare=counts"]);
    let said = run(&mut { said }).expect(0, &["compared: catalogs and all rows", "ready"]);
    let told = format!("rehearsed by {strategy}, the application is going to be down for ");
    assert!(said.text.contains(&told), "{}", said.text);
    // No container was touched, and application and worker have written all the time.
    before.has_untouched_containers(&stack);
    nothing_is_left(&stack);
    assert!(stack.heartbeats() > beats + 10, "the application has not gone on");
    let verdict = verdict_of(&stack, "rehearse-1");
    assert_eq!(verdict["ready"], true);
    let details = &verdict["details"];
    assert!(details["outage"]["least"].as_u64() < details["outage"]["most"].as_u64(), "{details}");
    assert!(details["phases"]["compare old and new"].as_f64() > Some(0.0), "{details}");
    assert!(details["room"]["cluster"].as_u64() > Some(10_000_000), "{details}");
    run(&mut stack.pgscript(&["rollback", "--yes"])).expect(2, &["has changed anything"]);

    // What the upgrade makes of its result is the same by both.
    if strategy == "dump" && !cfg!(feature = "full-matrix") {
        return;
    }
    stack.sql("primero_production", "CREATE TABLE since_then (x int)");
    stack.inventory_version(17);
    let done = stack.upgrade(17, &["--set", &set]).expect(0, &["is done", " ago, by rehearse-1; since then:"]);
    assert!(done.text.contains("since then: 1 difference in"), "{}", done.text);
    assert_eq!(stack.major(), "17");
    stack.writes();
}

#[test]
fn by_a_copy_that_is_upgraded() {
    rehearsed_then_upgraded("pg_upgrade");
}

#[test]
fn by_a_dump() {
    rehearsed_then_upgraded("dump");
}

/// Whatever was under way: a rollback takes it away, and a resume brings it to its end.
#[test]
fn killed_at_any_instant_it_leaves_nothing() {
    let stack = Stack::with(15, &["--seed", "little"]);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    let all = [
        ("strategy=pg_upgrade", "▸  6 upgrade the copy", "resume"),
        ("strategy=dump", "▸  7 restore the dump", "rollback"),
        ("strategy=pg_upgrade", "▸  3 take a copy", "rollback"),
        ("strategy=pg_upgrade", "▸  4 cut the copy off", "rollback"),
        ("strategy=pg_upgrade", "$ docker start", "rollback"),
        ("strategy=pg_upgrade", "$ pg_basebackup", "resume"),
        ("strategy=pg_upgrade", "$ pg_upgrade --link", "resume"),
        ("strategy=dump", "▸  3 take a copy", "resume"),
        ("strategy=dump", "▸  6 dump the cluster", "resume"),
        ("strategy=dump", "▸  8 compare old and new", "rollback"),
        ("strategy=dump", "13 remove what was made", "resume"),
    ];
    let tried = if cfg!(feature = "full-matrix") { &all[..] } else { &all[..2] };
    for (number, (strategy, instant, then)) in tried.iter().enumerate() {
        let mut killed = Watched::start(command(&stack, &[strategy]));
        killed.until(instant);
        killed.kill();
        let name = format!("rehearse-{}", number + 1);
        let ended = run(&mut stack.pgscript(&[then, &name, "--yes"]));
        let said = if *then == "resume" { "the application is going to be down for" } else { "rolled back" };
        ended.expect(0, &[said]);
        nothing_is_left(&stack);
    }
    before.has_untouched_containers(&stack);
    stack.writes();
}

#[track_caller]
fn fails(stack: &Stack, strategy: &str, said: &[&str]) -> Run {
    let failed = run(&mut command(stack, &[strategy])).expect(1, said).expect(1, &["everything is back as it was"]);
    assert!(failed.text.contains("not ready, because"), "{}", failed.text);
    nothing_is_left(stack);
    failed
}

/// What only the rows tell: found days before, where today it would be found in the outage.
#[test]
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
    fails(&stack, "strategy=dump", &["error[verify.different]", "orders"]);
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
    fails(&stack, "strategy=dump", &["inner_f", "names_f", "SET search_path"]);
    if cfg!(feature = "full-matrix") {
        fails(&stack, "strategy=pg_upgrade", &["inner_f", "SET search_path"]);
    }

    let orphans = "
        DROP TABLE names; CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE child (id int REFERENCES parent (id)); ALTER TABLE child DISABLE TRIGGER ALL;
        INSERT INTO child VALUES (424242); ALTER TABLE child ENABLE TRIGGER ALL;";
    stack.sql("primero_production", orphans);
    let failed = fails(&stack, "strategy=dump", &["child", "foreign key"]);
    assert!(!failed.text.contains("424242"), "what a row holds was said:\n{}", failed.text);
    before.has_untouched_containers(&stack);
}
