//! A backup is only one when it has been started: a damaged one, one of another cluster and none at all are told apart
//! from it, and the old volume stays until it is there.

use std::path::PathBuf;

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::Content;

use crate::program::run;
use crate::simulated::site::{Site, VOLUME};

/// What the upgrade says when it has started the backup, and what `status` says from then on.
const STARTED: &str = "volume.tar.zst was started: it holds what was recorded";
const COMPARED: &str = "read to its end, started, and compared with what was recorded";
const BOOTED: [&str; 2] = ["--set", "boot_backup=after"];
const NOT_YET: &str = "read to its end, checksum right; not started yet";

fn backup(site: &Site) -> PathBuf {
    site.artefacts().join("volume.tar.zst")
}

fn kept() -> String {
    format!("{VOLUME}_pg13_upgrade-1")
}

/// The cleanup removes nothing, for that reason, until the operator names the volume.
#[track_caller]
fn cleanup_is_refused(site: &Site, because: &[&str]) {
    let loss = format!("--allow-data-loss volume:{}", kept());
    let said = ["error[cleanup.backup_not_started]", "nothing was removed", &loss, "pgscript resume upgrade-1"];
    site.cleanup().expect(3, &said).expect(3, because);
    assert_eq!(site.kept_volumes(), [kept()]);
    assert!(site.has_artefacts());
    site.has_moved_on();
}

#[track_caller]
fn named_by_the_operator_it_goes(site: &Site) {
    let named = ["--allow-data-loss", &format!("volume:{}", kept())];
    run(site.pgscript(&["run", "cleanup.rhai", "--yes", "--set", "run=upgrade-1"]).args(named))
        .expect(0, &["Removed."]);
    assert_eq!(site.kept_volumes(), Vec::<String>::new());
    site.has_moved_on();
}

#[test]
fn an_upgrade_starts_its_backup_and_leaves_nothing_of_that() {
    for strategy in ["dump", "pg_upgrade"] {
        let site = Site::up();
        let started = site.upgrade(&[&["--set", &format!("strategy={strategy}")], &BOOTED[..]].concat());
        site.is_upgraded(started.expect(0, &["start the backup", STARTED]));
        assert_eq!(site.kept_volumes(), [kept()]);
        let status = site.status();
        assert!(status.contains(COMPARED) && !status.contains("left open"), "{status}");
        // One that was damaged later is none any more: no removal rests on it.
        let whole = site.look(|state| state.files[&backup(&site)].clone());
        site.deed(Deed::DamageFile(backup(&site)));
        cleanup_is_refused(&site, &["was started, but is not the same file any more"]);
        site.arrange(|state| _ = state.files.insert(backup(&site), whole));
        let cleaned = site.cleanup().expect(0, &["Removed."]);
        assert!(!cleaned.text.contains(STARTED), "started twice:\n{}", cleaned.text);
    }
}

/// Whoever damages it between its last byte and its start: the disk, for instance.
#[test]
fn backup_damaged_after_it_was_written_is_not_booted() {
    let site = Site::up();
    site.before("create volume primero_database_pgscript_boot", Happening::Deed(Deed::DamageFile(backup(&site))));
    let work = "  - the backup was not started: pgscript resume upgrade-1";
    site.is_upgraded(site.upgrade(&BOOTED).expect(0, &["step `start the backup` is left open", "damaged", work]));
    let status = site.status();
    assert!(status.contains(NOT_YET) && status.contains("left open    start the backup"), "{status}");
    cleanup_is_refused(&site, &["was never started", "damaged"]);
    named_by_the_operator_it_goes(&site);
}

#[test]
fn cleanup_needs_a_backup_that_was_started() {
    // It was not started in the upgrade: cleanup does that, and is satisfied.
    let site = Site::up();
    site.is_upgraded(site.upgrade(&[]));
    assert!(site.status().contains(NOT_YET), "{}", site.status());
    let record = site.artefacts().join("before.json");
    let text = site.text(&record);
    // What somebody else has written of the old cluster proves nothing.
    write(&site, &record, &text.replace("\"large_objects\": 0", "\"large_objects\": 1"));
    cleanup_is_refused(&site, &["was never started", "is not what the run that made the backup has recorded"]);
    write(&site, &record, &text);
    let said = ["was never started. It is unpacked into a scratch volume now", STARTED, "Removed."];
    site.cleanup().expect(0, &said);
    assert_eq!(site.kept_volumes(), Vec::<String>::new());
    site.has_moved_on();
    // There is none at all.
    let site = Site::up();
    site.is_upgraded(site.upgrade(&["--set", "backup=no"]));
    cleanup_is_refused(&site, &["has no backup of it", "there is no backup"]);
    named_by_the_operator_it_goes(&site);
}

#[track_caller]
fn write(site: &Site, path: &std::path::Path, text: &str) {
    assert_ne!(site.text(path), text);
    site.arrange(|state| {
        state.files.get_mut(path).unwrap().content = Content::Bytes { bytes: text.as_bytes().to_vec() };
    });
}

/// Somebody has put a sound backup of another cluster in the place of this one.
#[test]
fn backup_of_another_cluster_is_not_booted() {
    let (site, other) = (Site::up(), Site::up());
    for site in [&site, &other] {
        site.is_upgraded(site.upgrade(&[]));
    }
    let manifest = |site: &Site| site.artefacts().join("volume.tar.zst.json");
    let theirs = other.look(|state| [backup(&other), manifest(&other)].map(|path| state.files[&path].clone()));
    site.arrange(|state| {
        for (path, mut file) in [backup(&site), manifest(&site)].into_iter().zip(theirs) {
            // Both worlds begin alike.
            if let Content::Backup { tree, .. } = &mut file.content {
                tree.clusters.values_mut().for_each(|cluster| cluster.system_identifier += 1);
            }
            state.files.insert(path, file);
        }
    });
    cleanup_is_refused(&site, &["was never started"]);
    named_by_the_operator_it_goes(&site);
}

/// What a killed run has left of it goes with the next command.
#[test]
fn a_start_of_the_backup_that_was_cut_off_is_done_again() {
    let site = Site::up();
    site.before("start primero-pgscript-boot", Happening::Killed);
    site.upgrade(&BOOTED).expect(-1, &[]);
    site.resume().expect(0, &[STARTED]);
    assert_eq!(site.kept_volumes(), [kept()]);
    site.has_moved_on();
}
