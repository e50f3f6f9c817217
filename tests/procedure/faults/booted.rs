//! A backup is only one when it has been started: a damaged one, one of another cluster and none at all are told apart
//! from it, and the old volume stays until it is there.

use std::path::PathBuf;

use super::after::Site;
use super::variations;
use crate::stack::{Run, run};

/// What the upgrade says when it has started the backup, and what `status` says from then on.
const STARTED: &str = "volume.tar.zst was started: it holds what was recorded";
const COMPARED: &str = "read to its end, started, and compared with what was recorded";

fn backup(site: &Site) -> PathBuf {
    site.stack.artefacts().join("volume.tar.zst")
}

/// Changes a byte in the middle.
fn damage(site: &Site) {
    let mut bytes = std::fs::read(backup(site)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(backup(site), bytes).unwrap();
}

fn kept(site: &Site) -> String {
    format!("{}_pg13_upgrade-1", site.stack.volume)
}

/// Nothing but the kept volume is there, and nothing of what a start of the backup needs.
#[track_caller]
fn only_the_old_volume_is_kept(site: &Site) {
    assert_eq!(site.stack.kept_volumes(), [kept(site)]);
    assert!(!site.containers().contains("-pgscript-boot-"), "{}", site.containers());
    site.stack.no_helpers_left();
}

/// The cleanup with further arguments.
fn cleanup(site: &Site, args: &[&str]) -> Run {
    run(site.stack.pgscript(&["run", "cleanup.rhai", "--yes", "--set", "run=upgrade-1"]).args(args))
}

/// The cleanup removes nothing, for that reason, until the operator names the volume.
#[track_caller]
fn cleanup_is_refused(site: &Site, because: &[&str]) {
    let loss = format!("--allow-data-loss volume:{}", kept(site));
    let said = ["error[cleanup.backup_not_started]", "nothing was removed", &loss, "pgscript resume upgrade-1"];
    cleanup(site, &[]).expect(3, &said).expect(3, because);
    only_the_old_volume_is_kept(site);
    assert!(site.stack.artefacts().join("upgrade.json").exists());
    site.has_moved_on();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn an_upgrade_starts_its_backup_and_leaves_nothing_of_that() {
    for strategy in variations(&["dump", "pg_upgrade"]) {
        let site = Site::up();
        let upgraded =
            site.stack.upgrade(17, &["--set", &format!("strategy={strategy}"), "--set", "boot_backup=after"]);
        site.is_upgraded(upgraded.expect(0, &["start the backup", STARTED]));
        only_the_old_volume_is_kept(&site);
        let status = site.stack.status();
        assert!(status.contains(COMPARED) && !status.contains("left open"), "{status}");
        // One that was damaged later is none any more: no removal rests on it.
        let whole = std::fs::read(backup(&site)).unwrap();
        damage(&site);
        cleanup_is_refused(&site, &["was started, but is not the same file any more", "damaged"]);
        std::fs::write(backup(&site), whole).unwrap();
        let cleaned = site.stack.cleanup().expect(0, &["Removed."]);
        assert!(!cleaned.text.contains(STARTED), "started twice:\n{}", cleaned.text);
    }
}
