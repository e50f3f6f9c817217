//! Found before the outage: the run refuses, says why, and no container has noticed.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::before::Before;
use super::{SmallDisk, upgrade};
use crate::stack::{Run, Stack, run};

const NOTHING: &str = "nothing was changed";

/// One stack for all that leave it alone; it goes with the last test that has it, and each has it for itself.
fn shared() -> (MutexGuard<'static, ()>, Arc<Stack>) {
    static SHARED: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
    static TURN: Mutex<()> = Mutex::new(());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let stack = shared.upgrade().unwrap_or_else(|| {
        let stack = Arc::new(Stack::with(13, &["--seed", "none"]));
        stack.inventory_version(17);
        stack
    });
    *shared = Arc::downgrade(&stack);
    drop(shared);
    (TURN.lock().unwrap_or_else(PoisonError::into_inner), stack)
}

/// A run with Ansible that must come to nothing, with this exit code and these words.
#[track_caller]
fn refused(to: u32, arguments: &[&str], code: i32, said: &[&str]) {
    let (_turn, stack) = shared();
    let before = Before::containers_of(&stack);
    let settings: Vec<_> = arguments.iter().flat_map(|a| ["--set", a]).collect();
    ended(stack.upgrade(to, &settings), code, said);
    before.is_untouched(&stack);
}

#[track_caller]
fn ended(run: Run, code: i32, said: &[&str]) {
    run.expect(code, said).expect(code, &["✗ failed in step `preflight`"]);
}

#[test]
fn docker_unreachable() {
    let said =
        ["[docker.unreachable]", "unix:///no/such.sock", "there is no socket /no/such.sock", "systemctl status docker"];
    let (_turn, stack) = shared();
    let before = Before::containers_of(&stack);
    let by_option = run(upgrade(&stack, &[]).args(["--docker", "unix:///no/such.sock"]));
    by_option.expect(5, &said).expect(5, &["--docker", NOTHING]);
    let by_environment = run(upgrade(&stack, &[]).env("DOCKER_HOST", "unix:///no/such.sock"));
    by_environment.expect(5, &said).expect(5, &[NOTHING]);
    before.is_untouched(&stack);
}

#[test]
fn wrong_password_given() {
    let (_turn, stack) = shared();
    let before = Before::containers_of(&stack);
    let run = run(upgrade(&stack, &[]).env("PGSCRIPT_PASSWORD", "surely-not-this-one"));
    assert!(!run.text.contains("surely-not-this-one"), "{}", run.text);
    ended(run, 3, &["[primero.wrong_password]", "the password given", "PGSCRIPT_PASSWORD", NOTHING]);
    before.is_untouched(&stack);
}

#[test]
fn no_such_project() {
    let (_turn, stack) = shared();
    let mut command = stack.pgscript(&[]);
    command.args(["run", "upgrade.rhai", "--set", "to=17", "--set", "project=elsewhere"]);
    let said = ["[stack.not_found]", "no Compose project elsewhere", &stack.name, "--set project=NAME", NOTHING];
    run(&mut command).expect(3, &said);
}

#[test]
fn target_not_newer() {
    let said = ["[preflight.not_newer]", "PostgreSQL 13 already", "--set to=14", NOTHING];
    refused(13, &[], 3, &said);
    refused(12, &[], 3, &said);
}

#[test]
fn target_image_missing() {
    let said = ["[preflight.image_missing]", "no-such-registry.invalid/postgres:17", "--set image=", "docker load"];
    refused(17, &["image=no-such-registry.invalid/postgres:17"], 3, &said);
}

#[test]
fn image_of_another_version() {
    let said = ["[preflight.image_version]", "pgscript-test/postgres:15 has PostgreSQL 15, not 17", "--set image="];
    refused(17, &["image=pgscript-test/postgres:15"], 3, &said);
}

#[test]
fn inventory_says_another_version() {
    let said = ["[deploy.wrong_version]", "is 17, the target is 15", "primero_postgres_version: '15'", NOTHING];
    refused(15, &[], 3, &said);
}

#[test]
fn wrong_limit() {
    let said = ["[ansible.no_hosts]", "the limit nobody matches no host", "unreachable-host", NOTHING];
    refused(17, &["ansible_limit=nobody"], 2, &said);
}

#[test]
fn limit_that_matches_two_hosts() {
    let said = ["[deploy.not_one_host]", "2 hosts", "unreachable-host", "--set ansible_limit=HOST", NOTHING];
    refused(17, &["ansible_limit=all"], 3, &said);
}

#[test]
fn host_unreachable() {
    let said = ["[ansible.unreachable]", "host unreachable-host is unreachable", "-m ping", NOTHING];
    refused(17, &["ansible_limit=unreachable-host"], 5, &said);
}

#[test]
fn ansible_missing() {
    let said = ["[ansible.not_installed]", "/no/such/venv", "bin/ansible-playbook", NOTHING];
    refused(17, &["ansible_virtualenv=/no/such/venv"], 5, &said);
}

#[test]
fn inventory_missing() {
    refused(17, &["ansible_inventory=nowhere.yml"], 2, &["[ansible.inventory]", "nowhere.yml", NOTHING]);
}

#[test]
fn not_enough_space() {
    let (_turn, stack) = shared();
    let before = Before::containers_of(&stack);
    let disk = SmallDisk::new(&stack, 16);
    let base = format!("base={}", disk.0.join("artefacts").display());
    ended(run(&mut upgrade(&stack, &["--set", &base])), 3, &["[preflight.space]", "MB free at", "--set base=DIR"]);
    assert_eq!(super::before::walk(&disk.0), Vec::<std::path::PathBuf>::new());
    before.is_untouched(&stack);
}

#[test]
fn artefact_directory_open_to_others() {
    let (_turn, stack) = shared();
    let before = Before::containers_of(&stack);
    let base = stack.dir.join("open");
    std::fs::create_dir(&base).unwrap();
    std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (set, chmod) = (format!("base={}", base.display()), format!("chmod 700 {}", base.display()));
    run(&mut upgrade(&stack, &["--set", &set]))
        .expect(3, &["[host.not_private]", "is open to others (mode 755)", &chmod]);
    assert!(std::fs::read_dir(&base).unwrap().next().is_none());
    before.is_untouched(&stack);
}

#[test]
fn database_container_already_stopped() {
    let stack = Stack::with(13, &["--seed", "none"]);
    stack.docker(&["stop", &stack.container("postgres")]);
    let before = Before::containers_of(&stack);
    let name = format!("docker start {}-postgres-1", stack.name);
    ended(run(&mut upgrade(&stack, &[])), 3, &["[preflight.not_running]", "is exited", &name, NOTHING]);
    before.is_untouched(&stack);
    stack.docker(&["start", &stack.container("postgres")]);
    stack.writes();
}
