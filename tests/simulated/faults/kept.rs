//! What an upgrade keeps beside the new server: what a rollback says before it uses it, and when it ends.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::program::{at_terminal, run};
use crate::simulated::site::{SERVER, Site, VOLUME};

fn upgraded(arguments: &[&str]) -> Site {
    let site = Site::up();
    site.is_upgraded(site.upgrade(arguments));
    site
}

#[test]
fn a_volume_that_is_not_kept_comes_back_from_its_backup() {
    let site = Site::up();
    let kept = ["Kept of version 13: backup, dump (/"];
    site.is_upgraded(site.upgrade(&["--set", "keep_volume=no"]).expect(0, &kept));
    assert_eq!(site.kept_volumes(), Vec::<String>::new());
    let backup = format!("the old volume comes back from {}", site.artefacts().join("volume.tar.zst").display());
    site.rollback().expect(0, &[&backup, "content of the replaced volume:", "is rolled back"]);
    site.is_back();
    assert_eq!(site.kept_volumes(), Vec::<String>::new());
    // The new server's cluster went into a backup, too.
    assert!(site.look(|state| state.files.contains_key(&site.artefacts().join("replaced-volume.tar.zst"))));
    site.is_cleaned_up();
}

#[test]
fn a_lost_run_store_and_no_kept_volume() {
    let base = "base=/srv/artefacts";
    let site = upgraded(&["--set", base, "--set", "keep_volume=no"]);
    std::fs::remove_dir_all(site.store()).unwrap();
    site.before("restore primero_database", Happening::Interrupted);
    let rollback = ["run", "rollback.rhai", "--yes", "--set", base];
    let cancelled = run(&mut site.pgscript(&rollback)).expect(4, &["cancelled", "next: pgscript resume rollback-1 "]);
    assert!(!cancelled.text.contains("could not put back"), "{}", cancelled.text);
    // The old cluster is compared with what it held before the upgrade.
    let back = site.as_advised(&cancelled, "resume");
    let back = back.expect(0, &["before the upgrade and now", "runs on PostgreSQL 13 again"]);
    assert!(!back.text.contains("content of the replaced volume"), "the half restored volume was kept:\n{}", back.text);
    site.is_back();
    let replaced = |path: &std::path::Path| path.ends_with("upgrade-1/replaced-volume.tar.zst");
    assert!(site.look(|state| state.files.keys().any(|path| replaced(path))), "what the new server held is lost");
}

#[test]
fn a_rollback_that_is_declined_changes_nothing() {
    let site = upgraded(&[]);
    let look = || (site.containers(), site.look(|state| state.files.keys().cloned().collect::<Vec<_>>()));
    let before = look();
    run(&mut site.pgscript(&["rollback"])).expect(2, &["there is no terminal", "--yes"]);
    assert_eq!(look(), before);
    let answers = [("Dump the new server first", "no"), ("Bring back PostgreSQL 13", "no")];
    at_terminal(&site.pgscript(&["rollback"]), &answers).expect(3, &["error[rollback.declined]"]);
    assert_eq!(look(), before);
    assert!(site.status().contains("upgrade-1: done"), "{}", site.status());
    site.has_moved_on();
    let answers = [("Dump the new server first", "no"), ("Bring back PostgreSQL 13", "yes")];
    at_terminal(&site.pgscript(&["rollback"]), &answers).expect(0, &["is rolled back"]);
    assert!(
        !site.look(|state| state.files.keys().any(|path| path.starts_with(site.artefacts().join("written-since"))))
    );
    site.is_back();
}

#[test]
fn after_the_cleanup_there_is_no_way_back() {
    let site = upgraded(&[]);
    site.cleanup().expect(0, &["Removed"]);
    assert_eq!(site.kept_volumes(), Vec::<String>::new());
    assert!(!site.has_artefacts());
    let containers = site.containers();
    site.rollback().expect(3, &["error[run.cleaned]", "removed by a cleanup: there is no way back"]);
    let status = site.status();
    assert!(status.contains("Your data is safe") && status.contains("removed by a cleanup"), "{status}");
    assert!(!status.contains("NOT THERE") && !status.contains("pgscript rollback"), "{status}");
    // The newest run is the cleanup: nothing about it is alarming, and it does not get stuck half way back.
    run(&mut site.pgscript(&["rollback", "--yes"])).expect(3, &["error[run.no_rollback]", "cleanup-2"]);
    let newest = run(&mut site.pgscript(&["status"])).expect(0, &["cleanup-2: done", "keeps no copy"]);
    assert!(!newest.text.contains("What to type"), "{}", newest.text);
    run(&mut site.pgscript(&["run", "rollback.rhai", "--yes"])).expect(3, &["error[artefacts.not_found]"]);
    assert_eq!(site.containers(), containers);
    site.has_moved_on();
}

/// As `docker volume prune` and the job that removes exited containers do, every day.
#[test]
fn a_kept_volume_survives_the_daily_tidying() {
    let site = upgraded(&[]);
    let cluster = site.look(|state| state.cluster(SERVER).unwrap().system_identifier);
    let tidied_up = || {
        site.arrange(|state| {
            state.deed(&Deed::PruneVolumes);
            let exited = state.containers().filter(|c| c.state == "exited").map(|c| c.name.clone());
            for name in exited.collect::<Vec<_>>() {
                state.deed(&Deed::RemoveContainer(name));
            }
        });
    };
    tidied_up();
    assert_eq!(site.kept_volumes(), [format!("{VOLUME}_pg13_upgrade-1")]);
    site.rollback().expect(0, &["; mv -T ", "is rolled back"]);
    site.is_back();
    assert_ne!(site.look(|state| state.cluster(SERVER).unwrap().system_identifier), cluster);
    // What the new server held is kept the same way.
    tidied_up();
    assert_eq!(site.kept_volumes(), [format!("{VOLUME}_pg17_upgrade-1")]);
    site.is_cleaned_up();
}
