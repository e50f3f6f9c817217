//! Found before the outage: the run refuses, says why, and no container has noticed.

use pgscript::world::sim::Deed;

use crate::program::run;
use crate::simulated::site::{SERVER, Site};

const NOTHING: &str = "nothing was changed";

/// These checks alone, with these parameters, must find something in the way and say this of it.
#[track_caller]
fn refused(checks: &str, settings: &[&str], said: &[&str]) {
    let site = Site::up();
    let only = format!("only_checks={checks}");
    let set: Vec<_> = [only.as_str()].iter().chain(settings).flat_map(|set| ["--set", set]).collect();
    run(&mut site.script("preflight.rhai", &set)).expect(3, said).expect(3, &[NOTHING]);
    site.is_untouched();
}

#[test]
fn wrong_password_given() {
    let site = Site::up();
    let run = run(site.script("upgrade.rhai", &[]).env("PGSCRIPT_PASSWORD", "surely-not-this-one"));
    assert!(!run.text.contains("surely-not-this-one"), "{}", run.text);
    run.expect(3, &["[primero.wrong_password]", "the password given", "PGSCRIPT_PASSWORD", NOTHING])
        .expect(3, &["✗ failed in step `preflight`"]);
    site.is_untouched();
}

#[test]
fn no_such_project() {
    let site = Site::up();
    let said = ["[stack.not_found]", "no Compose project elsewhere", "primero", "--set project=NAME", NOTHING];
    site.upgrade(&["--set", "project=elsewhere"]).expect(3, &said);
}

#[test]
fn target_not_newer() {
    let said = ["[preflight.not_newer]", "PostgreSQL 13 already", "--set to=14", NOTHING];
    refused("version", &["to=13"], &said);
    refused("version", &["to=12"], &said);
}

#[test]
fn target_image_missing() {
    let said = ["[preflight.image_missing]", "no-such-registry.invalid/postgres:17", "--set image=", "docker load"];
    refused("image", &["image=no-such-registry.invalid/postgres:17"], &said);
}

#[test]
fn image_of_another_version() {
    let said = ["[preflight.image_version]", "pgscript-test/postgres:15 has PostgreSQL 15, not 17", "--set image="];
    refused("image", &["image=pgscript-test/postgres:15"], &said);
}

#[test]
fn deploy_command_empty() {
    let said = ["error[deploy.no_command]", "no command is given", "--set deploy_command=PROGRAM,ARGUMENT,…"];
    refused("deploy", &["deploy=command"], &said);
}

#[test]
fn not_enough_space() {
    let site = Site::up();
    site.arrange(|state| state.free = 1000);
    run(&mut site.script("preflight.rhai", &["--set", "only_checks=room"]))
        .expect(3, &["[preflight.space]", "MB free at", "--set base=DIR", NOTHING]);
    site.is_untouched();
}

#[test]
fn database_container_already_stopped() {
    let site = Site::up();
    site.deed(Deed::StopContainer(SERVER.into()));
    let before = site.containers();
    let name = format!("docker start {SERVER}");
    let said = ["[preflight.not_running]", "is exited", &name, NOTHING, "✗ failed in step `preflight`"];
    site.upgrade(&[]).expect(3, &said);
    assert_eq!(site.containers(), before);
}

#[test]
fn no_jobs() {
    refused("version", &["jobs=0"], &["error[upgrade.jobs]", "--set jobs=1"]);
}
