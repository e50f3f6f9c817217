//! What goes away under a run while it works.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::simulated::site::{SERVER, Site};

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
