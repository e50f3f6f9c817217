//! What goes away under a run while it works.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::simulated::site::{SERVER, Site, VOLUME};

fn killed() -> Happening {
    Happening::Deed(Deed::Kill(SERVER.into()))
}

#[test]
fn the_database_container_is_killed_during_the_dump() {
    let site = Site::up();
    site.before("dump dump", killed());
    site.upgrade(&[]).expect(1, &["failed in step `dump the cluster`", "everything is back as it was"]);
    site.is_untouched();
}

/// Between the last look and the stop.
#[test]
fn the_database_container_is_killed_during_the_backup() {
    let site = Site::up();
    site.before("stop primero-postgres-1", killed());
    site.is_upgraded(site.upgrade(&["--set", "backup=before"]).expect(0, &["had not stopped cleanly"]));
}

/// All that runs goes down with it, and what has `restart: always` comes up in the middle.
#[test]
fn the_engine_restarts_at_any_of_these_moments() {
    for change in ["dump dump", "restore primero_production", "move volume primero_database"] {
        let site = Site::up();
        site.before(change, Happening::Deed(Deed::RestartEngine));
        let ended = site.upgrade(&[]);
        if ended.code == 0 {
            site.is_upgraded(ended);
        } else if ended.text.contains("everything is back as it was") {
            site.is_untouched();
        } else {
            site.is_safe(&ended);
            site.is_upgraded(site.as_advised(&ended, "resume"));
        }
    }
}

/// Backup and dump would find room, and then the new cluster would not: also where the old one goes first.
#[test]
fn disk_accepted_too_small() {
    let site = Site::up();
    let size = site.look(|state| state.volumes[VOLUME].tree.bytes());
    site.arrange(|state| {
        // Only what is on the engine's own machine can be asked for its room.
        state.engine.is_local = true;
        state.free = size * 3 / 2;
    });
    let said = ["error[preflight.space]", "MB more when the old cluster is gone", "for the new cluster, its log"];
    site.upgrade(&[]).expect(3, &said);
    site.is_untouched();
    site.arrange(|state| state.free = size * 2 + (100 << 20));
    site.is_upgraded(site.upgrade(&[]).expect(0, &["no room beside the old one"]));
    site.cleanup_of("upgrade-2").expect(0, &["Removed"]);
    site.has_moved_on();
}

/// What a kill in the middle of a restore may leave: a database that is away.
#[test]
fn killed_while_databases_were_away() {
    let site = Site::up();
    site.after("restore primero_production", Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    site.arrange(|state| {
        let new = state.cluster_mut("primero-pgscript-new-upgrade-1").unwrap();
        assert!(new.databases.remove("primero_production").is_some());
    });
    site.is_upgraded(site.resume());
}
