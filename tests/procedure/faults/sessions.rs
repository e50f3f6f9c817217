//! Somebody is connected, or tries to, while the server must be left alone.

use super::before::Before;
use super::{client, upgrade};
use crate::stack::{Stack, Watched, run};

fn wait_for_the_session(stack: &Stack) {
    while stack.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'") == "0" {}
}

#[test]
fn foreign_session_inside_the_container() {
    let stack = Stack::up(13);
    let database = stack.container("postgres");
    let psql = ["psql", "-U", "primero", "primero_production", "-c", "SELECT pg_sleep(600)"];
    stack.docker(&[["exec", "--detach", &database].as_slice(), &psql].concat());
    wait_for_the_session(&stack);
    let before = Before::of(&stack);
    let said =
        ["[postgres.sessions_connected]", "primero@primero_production from local socket (psql)", "end what holds them"];
    run(&mut upgrade(&stack, &[]))
        .expect(3, &said)
        .expect(3, &["✗ failed in step `stop the application`", "everything is back as it was"]);
    before.is_back(&stack);
}

/// One that holds a session, and one that connects for a moment now and then: named before the outage. A neighbour that
/// does not use the database is no obstacle.
#[test]
fn other_project_that_uses_the_database_is_named_before_the_outage() {
    let stack = Stack::up(13);
    let other = |kind: &str| format!("{}-{kind}", stack.name);
    assert!(
        client(&stack, &["--detach", "--name", &other("holds")], "SELECT pg_sleep(600)")
            .output()
            .unwrap()
            .status
            .success()
    );
    let network = format!("{}_default", stack.name);
    let label = format!("pgscript.test.stack={}", stack.name);
    let beside = |kind: &str, arguments: &[&str]| {
        let own = ["run", "-d", "--name", &other(kind), "--network", &network, "--label", &label];
        stack.docker(&[&own[..], arguments].concat());
    };
    let password = format!("PGPASSWORD={}", stack.password());
    let visit = "while :; do psql -h postgres -U primero primero_production -c 'SELECT 1'; sleep 3; done";
    let project = ["--label", "com.docker.compose.project=elsewhere", "-e", &password];
    beside("visits", &[&project[..], &["pgscript-test/app:1", "bash", "-c", visit]].concat());
    beside("idle", &["pgscript-test/app:1", "idle.sh"]);
    wait_for_the_session(&stack);
    let before = Before::of(&stack);
    let held = format!("{} (of no Compose project): primero@primero_production from 1", other("holds"));
    let visited = format!("{} (Compose project elsewhere): ", other("visits"));
    let said = ["error[preflight.other_clients]", &held, &visited, "docker stop"];
    let clients = || run(&mut stack.checks(17, "clients", &[]));
    let refused = clients().expect(3, &said);
    assert!(!refused.text.contains(&other("idle")), "{}", refused.text);
    before.is_untouched(&stack);
    stack.docker(&["rm", "-f", "-v", &other("holds")]);
    // Its server process would sleep on.
    stack.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'");
    let refused = clients().expect(3, &["error[preflight.other_clients]", &visited]);
    assert!(!refused.text.contains(&other("holds")), "{}", refused.text);
    stack.docker(&["rm", "-f", "-v", &other("visits")]);
    let mut watched = Watched::start(upgrade(&stack, &[]));
    watched.until("2 make the artefact directory");
    watched.interrupt();
    watched.end().expect(4, &[&format!("{} (of no Compose project). No connection", other("idle"))]);
}
