//! Ctrl-C in each step before the old server is put aside, in the middle of its work: everything comes back by itself.

use pgscript::world::sim::deeds::Happening;

use crate::simulated::site::Site;

/// Interrupts at that change, and everything is as it was.
#[track_caller]
fn put_back(change: &str, arguments: &[&str]) {
    let site = Site::up();
    site.before(change, Happening::Interrupted);
    site.upgrade(arguments).expect(4, &["cancelled by the operator", "everything is back as it was"]);
    site.is_untouched();
    assert!(!site.has_artefacts(), "a file with records is left");
}

#[test]
fn in_the_preflight() {
    put_back("start primero-pgscript-probe", &[]);
}

#[test]
fn in_the_step_make_the_artefact_directory() {
    put_back("mkdir artefacts", &[]);
}

#[test]
fn in_the_step_prepare_the_new_server() {
    put_back("start primero-pgscript-new-upgrade-1", &[]);
}

#[test]
fn in_the_step_stop_the_application() {
    put_back("stop primero-application-1", &[]);
}

#[test]
fn in_the_step_hold_the_server() {
    put_back("disconnect primero-postgres-1", &[]);
}

/// Where the site wants the backup before anything is given up.
#[test]
fn in_the_step_back_up_the_volume() {
    put_back("backup primero_database", &["--set", "backup=before"]);
}

#[test]
fn in_the_step_dump_the_cluster() {
    put_back("dump dump", &[]);
}

#[test]
fn in_the_step_verify_the_dump() {
    put_back("verify dump dump", &[]);
}

#[test]
fn in_the_step_restore_the_dump() {
    put_back("restore primero_production", &[]);
}

#[test]
fn in_the_steps_that_prove_the_new_server() {
    put_back("run initdb", &[]);
}

#[test]
fn while_the_copy_is_upgraded() {
    put_back("upgrade primero_database", &["--set", "strategy=pg_upgrade"]);
}
