//! What becomes of containers.

use super::super::{Deed, reference};
use crate::world::container::ContainerSpec;

const SERVER: &str = "primero-postgres-1";

fn app(argv: &[&str]) -> ContainerSpec {
    ContainerSpec {
        name: Some("a".into()),
        image: Some("pgscript-test/app:1".into()),
        entrypoint: Some(argv.iter().map(|word| (*word).to_owned()).collect()),
        ..ContainerSpec::default()
    }
}

#[test]
fn a_running_container_is_not_removed_and_a_stopped_one_stays_stopped() {
    let mut state = reference(13);
    let started_at = state.show(SERVER).unwrap().started_at;
    state.start(SERVER).unwrap();
    assert_eq!(state.remove(SERVER, false).unwrap_err().code, "docker.conflict");
    state.stop(SERVER).unwrap();
    state.stop(SERVER).unwrap();
    let stopped = state.show(SERVER).unwrap();
    assert_eq!((stopped.state.as_str(), stopped.exit_code, stopped.networks[0].ip.as_str()), ("exited", 0, ""));
    state.pass(100_000);
    assert_eq!(state.show(SERVER).unwrap().state, "exited");
    assert!(state.cluster(SERVER).unwrap().is_clean());
    state.start(SERVER).unwrap();
    assert_ne!(state.show(SERVER).unwrap().started_at, started_at);
    assert_eq!(state.start("nobody").unwrap_err().code, "docker.not_found");
}

#[test]
fn a_server_that_is_given_no_time_to_stop_is_killed() {
    let mut state = reference(13);
    state.stop_at_once(SERVER).unwrap();
    let stopped = state.show(SERVER).unwrap();
    assert_eq!((stopped.state.as_str(), stopped.exit_code), ("exited", 137));
    assert!(!state.cluster(SERVER).unwrap().is_clean());
}

#[test]
fn a_program_that_is_not_there_is_not_started() {
    let mut state = reference(13);
    state.create(&app(&["no-such-program"])).unwrap();
    let error = state.start("a").unwrap_err();
    assert_eq!(error.code, "docker.failed");
    assert!(error.message.contains("no-such-program"), "{error}");
    let left = state.show("a").unwrap();
    assert_eq!((left.state.as_str(), left.exit_code), ("created", 127));
}

#[test]
fn what_ends_with_an_error_is_started_again_as_its_policy_says() {
    for (policy, count) in [("no", 0), ("on-failure:2", 2), ("on-failure", 9), ("always", 9)] {
        let mut state = reference(13);
        state.create(&ContainerSpec { restart_policy: Some(policy.into()), ..app(&["false"]) }).unwrap();
        state.start("a").unwrap();
        (0..100).for_each(|_| state.pass(1000));
        let now = state.show("a").unwrap();
        let is_over = now.restart_count == count && now.state == "exited";
        assert!(is_over || now.restart_count >= 9 && now.state == "restarting", "{policy}: {now:?}");
        state.stop("a").unwrap();
        assert_eq!(state.show("a").unwrap().state, "exited");
    }
    let mut state = reference(13);
    state.create(&ContainerSpec { restart_policy: Some("on-failure".into()), ..app(&["true"]) }).unwrap();
    state.start("a").unwrap();
    assert_eq!(state.show("a").unwrap().state, "exited");
}

#[test]
fn a_server_that_is_killed_comes_back_and_recovers() {
    let mut state = reference(13);
    state.deed(&Deed::Kill(SERVER.into()));
    let killed = state.show(SERVER).unwrap();
    assert_eq!((killed.state.as_str(), killed.exit_code, killed.restart_count), ("restarting", 137, 1));
    assert_eq!(state.cluster(SERVER).unwrap().control.state, "in production");
    state.pass(100);
    assert!(state.runs_server(state.container(SERVER).unwrap()));
    assert!(state.container(SERVER).unwrap().log.iter().any(|line| line.contains("was not properly shut down")));
}

#[test]
fn a_container_needs_the_one_whose_network_it_has() {
    let mut state = reference(13);
    let id = state.container(SERVER).unwrap().id.clone();
    let spec = ContainerSpec { network: Some(format!("container:{id}")), ..app(&["sleep", "600"]) };
    state.create(&spec).unwrap();
    state.stop(SERVER).unwrap();
    assert_eq!(state.start("a").unwrap_err().code, "docker.conflict");
    assert_eq!(state.container("a").unwrap().exit_code, 128);
    state.remove(SERVER, false).unwrap();
    assert_eq!(state.start("a").unwrap_err().code, "docker.not_found");
}

#[test]
fn a_port_of_the_host_is_given_once() {
    let mut state = reference(13);
    let mut inspect =
        serde_json::json!({"Config": {}, "HostConfig": {"PortBindings": {"5432/tcp": [{"HostPort": "5432"}]}}});
    inspect["Image"] = state.image("pgscript-test/app:1").unwrap().shown.id.clone().into();
    for name in ["one", "other"] {
        let spec = app(&["sleep", "600"]);
        state.create(&ContainerSpec { name: Some(name.into()), like: Some(inspect.clone()), ..spec }).unwrap();
    }
    state.start("one").unwrap();
    let error = state.start("other").unwrap_err();
    assert!(error.message.ends_with("port is already allocated"), "{error}");
    state.stop("one").unwrap();
    state.start("other").unwrap();
}

#[test]
fn what_was_in_memory_is_gone_with_the_process() {
    let mut state = reference(13);
    let tmpfs = [("/var/lib/postgresql/data".to_owned(), String::new())].into();
    let spec = ContainerSpec {
        name: Some("trial".into()),
        image: Some("pgscript-test/postgres:17".into()),
        env: vec!["POSTGRES_PASSWORD=x".into()],
        tmpfs,
        ..ContainerSpec::default()
    };
    state.create(&spec).unwrap();
    state.start("trial").unwrap();
    assert_eq!(state.cluster("trial").unwrap().major, 17);
    state.stop("trial").unwrap();
    assert!(state.cluster("trial").is_none());
}
