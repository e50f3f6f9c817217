//! The whole way, between majors.

use crate::stack::Stack;

/// Upgrades, looks at everything, goes on living, and cleans up.
fn upgrade(from: u32, to: u32) {
    let stack = Stack::up(from);
    let (before, beats) = (stack.content(), stack.heartbeats());
    let policy = stack.inspect("postgres", "{{.HostConfig.RestartPolicy.Name}}");
    stack.inventory_version(to);
    stack.upgrade(to, &[]).expect(0, &["= ", "logs in with its password"]);
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
    assert_eq!(stack.kept_volumes(), [format!("{}_pg{from}_upgrade-1", stack.volume)]);
    stack.cleanup().expect(0, &["Removed"]);
    assert!(!artefacts.exists());
    assert_eq!(stack.kept_volumes(), Vec::<String>::new());
    stack.no_helpers_left();
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
fn from_13_to_17() {
    upgrade(13, 17);
}

#[test]
fn from_15_to_17() {
    upgrade(15, 17);
}

/// The image of 18 keeps its cluster in a directory of its major, one level below the mount.
#[cfg(feature = "full-matrix")]
#[test]
fn from_13_to_18() {
    upgrade(13, 18);
}
