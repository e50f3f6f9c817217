//! Found before the outage: the run refuses, says why, and no container has noticed.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::before::Before;
use super::upgrade;
use crate::stack::{Stack, run};

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

/// These checks alone, with these parameters, must find something in the way and say this of it.
#[track_caller]
fn refused(to: u32, checks: &str, settings: &[&str], said: &[&str]) {
    let (_turn, stack) = shared();
    refused_on(&stack, to, checks, settings, said);
}

#[track_caller]
fn refused_on(stack: &Stack, to: u32, checks: &str, settings: &[&str], said: &[&str]) {
    let before = Before::containers_of(stack);
    run(&mut stack.checks(to, checks, settings)).expect(3, said).expect(3, &[NOTHING]);
    before.is_untouched(stack);
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
fn inventory_says_another_version() {
    let said = ["error[deploy.wrong_version]", "is 17, the target is 15", "primero_postgres_version: '15'"];
    refused(15, "deploy", &[], &said);
}

#[test]
fn wrong_limit() {
    let said = ["error[ansible.no_hosts]", "the limit nobody matches no host", "unreachable-host"];
    refused(17, "deploy", &["ansible_limit=nobody"], &said);
}

#[test]
fn limit_that_matches_two_hosts() {
    let said = ["error[deploy.not_one_host]", "2 hosts", "unreachable-host", "--set ansible_limit=HOST"];
    refused(17, "deploy", &["ansible_limit=all"], &said);
}

#[test]
fn host_unreachable() {
    let said = ["error[ansible.unreachable]", "host unreachable-host is unreachable", "-m ping"];
    refused(17, "deploy", &["ansible_limit=unreachable-host"], &said);
}

#[test]
fn ansible_missing() {
    let said = ["error[ansible.not_installed]", "/no/such/venv", "bin/ansible-playbook"];
    refused(17, "deploy", &["ansible_virtualenv=/no/such/venv"], &said);
}

#[test]
fn inventory_missing() {
    refused(17, "deploy", &["ansible_inventory=nowhere.yml"], &["error[ansible.inventory]", "nowhere.yml"]);
}

#[test]
fn misspelt_playbook() {
    let said = ["error[ansible.playbook]", "there is no playbook", "ansible/aplication-primero.yml"];
    refused(17, "deploy", &["ansible_playbook=aplication-primero.yml"], &said);
}

#[test]
fn misspelt_tag() {
    let said = ["error[ansible.no_tasks]", "runs no task on any host", "check the tags"];
    refused(17, "deploy", &["ansible_tags=strat"], &said);
}

#[test]
fn misspelt_extra_vars_file() {
    let said = ["error[ansible.extra_vars]", "there is no file of extra vars", "ansible/secrest.yml"];
    refused(17, "deploy", &["ansible_extra_vars_files=secrest.yml"], &said);
}

/// Without a limit an inventory of one host looks safe, but Ansible knows localhost without any inventory.
#[test]
fn playbook_for_more_than_the_host() {
    let (_turn, stack) = shared();
    let ansible = stack.dir.join("ansible");
    let play = "- hosts: all:localhost\n  gather_facts: false\n  tasks:\n    - ping:\n      tags: [start]\n";
    std::fs::write(ansible.join("everywhere.yml"), play).unwrap();
    let host = format!("{} ansible_connection=local primero_postgres_version=17\n", stack.name);
    std::fs::write(ansible.join("one-host.ini"), host).unwrap();
    let hosts = format!("would act on localhost, {0}; it must act on {0} alone", stack.name);
    let cure = format!("--set ansible_limit={}", stack.name);
    let said = ["error[deploy.not_one_host]", &hosts, &cure];
    let further = ["ansible_playbook=everywhere.yml", "ansible_inventory=one-host.ini", "ansible_limit="];
    refused_on(&stack, 17, "deploy", &further, &said);
}

#[test]
fn deploy_command_that_is_not_there() {
    let cure = "--set deploy_command=/PATH/TO/PROGRAM,ARGUMENT,…";
    let refused = |command: &str, said: &[&str]| {
        let command = format!("deploy_command={command}");
        let said: Vec<_> = ["error[deploy.command_not_found]", cure].iter().chain(said).copied().collect();
        refused(17, "deploy", &["deploy=command", &command], &said);
    };
    refused("no-such-program,up", &["there is no program no-such-program in PATH"]);
    refused("/no/such/deploy.sh,up", &["there is no program /no/such/deploy.sh", "looked for was the file"]);
    refused("/etc/passwd", &["/etc/passwd is not a file that may be run"]);
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
