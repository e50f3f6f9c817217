//! Somebody is connected, or tries to, while the server must be left alone.

use super::before::Before;
use super::{client, upgrade};
use crate::stack::{Stack, Watched, run};

#[track_caller]
fn refused_for_a_session(stack: &Stack, from: &str) {
    while stack.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'") == "0" {}
    let before = Before::of(stack);
    let said =
        ["[postgres.sessions_connected]", "primero@primero_production from ", from, "(psql)", "end what holds them"];
    run(&mut upgrade(stack, &[]))
        .expect(3, &said)
        .expect(3, &["✗ failed in step `stop the application`", "everything is back as it was"]);
    before.is_back(stack);
}

#[test]
fn foreign_session_of_another_container() {
    let stack = Stack::up(13);
    assert!(client(&stack, &["--detach"], "SELECT pg_sleep(600)").output().unwrap().status.success());
    refused_for_a_session(&stack, "from 1");
}

#[test]
fn foreign_session_inside_the_container() {
    let stack = Stack::up(13);
    let database = stack.container("postgres");
    let psql = ["psql", "-U", "primero", "primero_production", "-c", "SELECT pg_sleep(600)"];
    stack.docker(&[["exec", "--detach", &database].as_slice(), &psql].concat());
    refused_for_a_session(&stack, "local socket");
}

#[test]
fn application_restarts_during_the_dump() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let application = stack.container("application");
    let mut watched = Watched::start(upgrade(&stack, &[]));
    watched.until("5 dump the cluster");
    stack.docker(&["start", &application]);
    let name = format!("{}-application-1 was started during the procedure", stack.name);
    watched
        .end()
        .expect(3, &["[stack.fence_broken]", &name, "find out who starts it"])
        .expect(3, &["✗ failed in step `dump the cluster`", "everything is back as it was"]);
    before.is_back(&stack);
}

#[test]
fn application_container_already_stopped_stays_stopped() {
    let stack = Stack::up(13);
    stack.docker(&["stop", &stack.container("application")]);
    let before = Before::of(&stack);
    let mut watched = Watched::start(upgrade(&stack, &[]));
    watched.until("5 dump the cluster");
    watched.interrupt();
    watched.end().expect(4, &["everything is back as it was"]);
    assert_eq!(stack.inspect("application", "{{.State.Running}}"), "false");
    before.is_back(&stack);
}
