//! The copy that follows and is upgraded: what breaks it.

use pgscript::world::sim::deeds::Happening;

use crate::program::{Watched, run};
use crate::simulated::site::{SERVER, Site, VOLUME};

const COPY: [&str; 2] = ["--set", "strategy=pg_upgrade"];

#[track_caller]
fn no_slot(site: &Site) {
    assert!(site.look(|state| state.cluster(SERVER).unwrap().slots.is_empty()));
}

/// Killed in the middle, a copy is of no more use; the run goes on all the same, and back.
#[test]
fn killed_while_the_copy_is_upgraded() {
    let site = Site::up();
    site.after(&format!("upgrade {VOLUME}"), Happening::Killed);
    site.upgrade(&COPY).expect(-1, &[]);
    assert!(site.status().contains("Your data is safe"));
    site.is_upgraded(site.resume().expect(0, &["the copy is taken anew, of the files of the stopped server"]));
    site.rollback().expect(0, &["is rolled back"]);
    site.is_back();
    no_slot(&site);

    let kill = |change: &str, name: &str| {
        site.after(change, Happening::Killed);
        site.upgrade(&COPY).expect(-1, &[]);
        run(&mut site.pgscript(&["rollback", name, "--yes"])).expect(0, &["is rolled back"]);
        site.is_back();
        no_slot(&site);
    };
    kill("copy ", "upgrade-2");
    kill(&format!("upgrade {VOLUME}"), "upgrade-3");
}

/// What is wrong with the upgrade itself is known before the old server is given up.
#[test]
fn pg_upgrade_fails_and_everything_is_back() {
    let site = Site::up();
    site.after(&format!("stop {SERVER}"), Happening::Halted);
    let run = Watched::start(site.script("upgrade.rhai", &COPY));
    run.until_halted();
    // Somebody has been at the new cluster.
    let new = format!("{VOLUME}_pg17_upgrade-1");
    let removed = site.arrange(|state| state.volumes.get_mut(&new).unwrap().tree.clusters.remove("new"));
    assert!(removed.is_some());
    run.go_on();
    let said = ["error[pg_upgrade.failed]", "failed in step `upgrade the copy`", "everything is back as it was"];
    run.end().expect(1, &said);
    site.is_untouched();
    no_slot(&site);
}
