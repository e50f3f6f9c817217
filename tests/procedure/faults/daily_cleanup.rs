//! The field's daily job removes every exited container of another version than the application's (`docker rm`), also
//! in the middle of an upgrade.

use super::before::Before;
use super::{edited, go_on, pause, run_edited};
use crate::stack::{Stack, Watched};

/// A copy of the upgrade that stands still after this line, and one that then fails.
fn standing_still_after(stack: &Stack, line: &str, then: &str) -> Watched {
    let script = edited(stack, line, &format!("{line}\n    {}\n    {then}", pause(stack)));
    let mut watched = Watched::start(run_edited(stack, &script));
    watched.until("paused");
    watched
}

#[test]
fn exited_application_container_removed_and_the_run_fails() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let watched =
        standing_still_after(&stack, "let before = psql::content(source);", "fail(\"test.failed\", \"as asked\");");
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
    watched.until("4 back up the volume");
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
