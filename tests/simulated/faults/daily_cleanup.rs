//! The field's daily job removes every exited container of another version than the application's (`docker rm`), also
//! in the middle of an upgrade; others type `docker network prune`, which takes networks in which nobody runs just
//! then.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use super::removed;
use crate::simulated::site::Site;

/// So that nothing of the stack runs while the volume is backed up.
const BACKUP: [&str; 2] = ["--set", "backup=before"];

#[test]
fn exited_application_container_removed_and_the_run_fails() {
    let site = Site::up();
    for removed in removed(&["application", "worker"]) {
        site.before("dump dump", removed);
    }
    site.fail("verify dump", "dump.damaged", "as asked");
    let said = ["as asked", "primero-application-1 is created again, from its definition"];
    site.upgrade(&[]).expect(1, &said).expect(1, &["everything is back as it was"]);
    site.is_untouched();
}

#[test]
fn exited_database_container_removed_during_the_backup() {
    let site = Site::up();
    for removed in removed(&["postgres"]) {
        site.after("backup primero_database", removed);
    }
    let said = ["primero-postgres-1 is created again, from its definition", "everything is back as it was"];
    site.upgrade(&BACKUP).expect(1, &said);
    site.is_untouched();
}

#[test]
fn exited_application_container_removed_and_the_run_succeeds() {
    let site = Site::up();
    for removed in removed(&["application", "worker", "nginx"]) {
        site.before("dump dump", removed);
    }
    site.is_upgraded(site.upgrade(&[]));
}

#[test]
fn networks_pruned_while_all_is_stopped_and_the_run_fails() {
    let site = Site::up();
    site.after("backup primero_database", Happening::Deed(Deed::PruneNetworks));
    site.fail("dump dump", "dump.failed", "as asked");
    let said = ["as asked", "network primero_default was removed; it is created again as it was"];
    site.upgrade(&BACKUP).expect(1, &said).expect(1, &["everything is back as it was"]);
    site.is_untouched();
}

#[test]
fn networks_pruned_while_all_is_stopped_and_the_run_succeeds() {
    let site = Site::up();
    site.after("backup primero_database", Happening::Deed(Deed::PruneNetworks));
    site.is_upgraded(site.upgrade(&BACKUP));
}
