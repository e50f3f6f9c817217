//! The field's daily job removes every exited container of another version than the application's (`docker rm`), also
//! in the middle of an upgrade; others type `docker network prune`, which takes networks in which nobody runs just
//! then.

use super::before::Before;
use super::{CONTENT_BEFORE, edited, go_on, pause, run_edited, run_edited_as};
use crate::stack::{Stack, Watched};

/// A copy of the upgrade that stands still after this line, and one that then fails.
fn standing_still_after(stack: &Stack, line: &str, then: &str) -> Watched {
    let script = edited(stack, line, &format!("{line}\n    {}\n    {then}", pause(stack)));
    let mut command = run_edited(stack, &script);
    // So that nothing of the stack runs then.
    command.args(["--set", "backup=before"]);
    let mut watched = Watched::start(command);
    watched.until("paused");
    watched
}

#[test]
fn exited_application_container_removed_and_the_run_fails() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let watched = standing_still_after(&stack, CONTENT_BEFORE, "fail(\"test.failed\", \"as asked\");");
    for service in ["application", "worker"] {
        stack.docker(&["rm", &stack.container(service)]);
    }
    go_on(&stack);
    let name = format!("{}-application-1 is created again, from its definition", stack.name);
    watched.end().expect(1, &["[test.failed]", &name, "everything is back as it was"]);
    before.is_back(&stack);
}

#[test]
fn exited_database_container_removed_during_the_backup() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let watched = standing_still_after(&stack, "volume::verify(backup);", "");
    stack.docker(&["rm", &stack.container("postgres")]);
    go_on(&stack);
    let name = format!("{}-postgres-1 is created again, from its definition", stack.name);
    watched.end().expect(1, &[&name, "✗ failed in step `dump the cluster`", "everything is back as it was"]);
    before.is_back(&stack);
}

#[test]
fn exited_application_container_removed_and_the_run_succeeds() {
    let stack = Stack::up(13);
    let before = stack.content();
    stack.inventory_version(17);
    let mut watched = Watched::start(stack.upgrade_command(17, &[]));
    watched.until("5 hold the server");
    for service in ["application", "worker", "nginx"] {
        stack.docker(&["rm", &stack.container(service)]);
    }
    watched.end().expect(0, &["is done"]);
    assert_eq!(stack.major(), "17");
    assert_eq!(stack.content(), before);
    stack.writes();
    for service in ["postgres", "application", "worker", "nginx"] {
        assert_eq!(stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), "always", "{service}");
    }
    stack.no_helpers_left();
}

/// As `docker network prune` would, but these alone.
fn prune_networks(stack: &Stack) {
    for network in ["default", "pgscript_fence"] {
        stack.docker(&["network", "rm", &format!("{}_{network}", stack.name)]);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn networks_pruned_while_all_is_stopped_and_the_run_fails() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let watched = standing_still_after(&stack, "volume::verify(backup);", "fail(\"test.failed\", \"as asked\");");
    prune_networks(&stack);
    go_on(&stack);
    let said = format!("network {}_default was removed; it is created again as it was", stack.name);
    watched.end().expect(1, &["[test.failed]", &said, "everything is back as it was"]);
    before.is_back(&stack);
}

#[test]
fn networks_pruned_while_all_is_stopped_and_the_run_succeeds() {
    let stack = Stack::up(13);
    let before = stack.content();
    stack.inventory_version(17);
    stack.deploy_by_command();
    let pause = pause(&stack);
    let script = edited(&stack, "volume::verify(backup);", &format!("volume::verify(backup);\n            {pause}"));
    let shipped = stack.upgrade_command(17, &["--set", "backup=before"]);
    let mut watched = Watched::start(run_edited_as(&stack, &script, &shipped));
    watched.until("paused");
    prune_networks(&stack);
    go_on(&stack);
    watched.end().expect(0, &["is done"]);
    assert_eq!((stack.major(), stack.content()), ("17".to_owned(), before));
    stack.writes();
    stack.no_helpers_left();
}
