//! A journal that something has happened to. A torn last line is dropped; where it is damaged, or the run store lost,
//! `rollback.rhai` goes by the artefacts alone.

use super::after::Site;
use super::wayback::is_cleaned_up;
use crate::stack::{Watched, run};

/// Changes the upgrade's journal.
#[track_caller]
fn change_the_journal(site: &Site, change: impl FnOnce(&mut Vec<u8>)) {
    let path = site.stack.base.join("upgrade-1/journal.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    let before = bytes.clone();
    change(&mut bytes);
    assert_ne!(bytes, before);
    std::fs::write(&path, bytes).unwrap();
}

fn take_out_a_line(journal: &mut Vec<u8>) {
    let mut lines: Vec<_> = journal.split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(lines.len() / 2);
    *journal = lines.concat();
}

fn tear_the_last_line(journal: &mut Vec<u8>) {
    let last = journal.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().len();
    journal.truncate(journal.len() - last / 2);
}

/// Neither `resume` nor `rollback` goes by such a journal; nothing is done.
#[track_caller]
fn nobody_goes_by_it(site: &Site) {
    let containers = site.containers();
    for verb in ["resume", "rollback"] {
        run(&mut site.stack.pgscript(&[verb, "upgrade-1", "--yes"])).expect(3, &["error[journal.damaged]"]);
    }
    assert_eq!(site.containers(), containers);
    let status = site.stack.status();
    assert!(status.contains("upgrade-1: damaged") && status.contains("The journal is damaged"), "{status}");
}

/// The command that `status` says to type instead of a resume or a rollback, with the answer to its question.
#[track_caller]
fn advised(site: &Site) -> std::process::Command {
    let status = site.stack.status();
    let line = status.lines().find_map(|line| line.trim().strip_prefix("pgscript run rollback.rhai "));
    let line = line.unwrap_or_else(|| panic!("no rollback.rhai was advised:\n{status}"));
    let typed = line.split("   ").next().unwrap();
    let mut command = site.stack.pgscript(&[]);
    command.args(["run", "rollback.rhai", "--yes"]).args(typed.split_whitespace());
    command
}

#[test]
fn a_torn_last_line_is_dropped_and_the_upgrade_goes_on() {
    let site = Site::up();
    let mut killed = site.upgrade_until("6 dump the cluster");
    killed.until("$ pg_dumpall");
    killed.kill();
    change_the_journal(&site, tear_the_last_line);
    let status = site.stack.status();
    assert!(status.contains("upgrade-1: interrupted") && status.contains("Your data is safe"), "{status}");
    site.is_upgraded(run(&mut site.stack.pgscript(&["resume", "upgrade-1"])));
}

#[test]
fn a_flipped_byte_in_the_journal_of_a_failed_upgrade() {
    let site = Site::up();
    site.fail_in_the_deploy();
    change_the_journal(&site, |journal| {
        let middle = journal.len() / 2;
        journal[middle] ^= 1;
    });
    nobody_goes_by_it(&site);

    // Killed in the middle of the way back, and typed again.
    let mut killed = Watched::start(advised(&site));
    killed.until("start the old server");
    killed.kill();
    run(&mut advised(&site)).expect(0, &["runs on PostgreSQL 13 again"]);
    site.is_back();
    site.is_back();
    run(&mut site.stack.pgscript(&["run", "rollback.rhai", "--yes"])).expect(0, &["is back on PostgreSQL 13 already"]);
    // From then on the run is over.
    assert!(site.stack.base.join("upgrade-1/journal.damaged.jsonl").exists());
    run(&mut site.stack.pgscript(&["rollback", "upgrade-1"])).expect(0, &["has been put back"]);
    is_cleaned_up(&site);
}

#[test]
fn a_lost_run_store_and_no_kept_volume() {
    let site = Site::up();
    let base = site.stack.dir.join("artefacts");
    let base = format!("base={}", base.display());
    site.is_upgraded(site.stack.upgrade(17, &["--set", &base, "--set", "keep_volume=no"]));
    site.stack.sql("primero_production", "CREATE TABLE made_late AS SELECT 1 AS x");
    std::fs::remove_dir_all(&site.stack.base).unwrap();

    let rollback = || site.stack.pgscript(&["run", "rollback.rhai", "--yes", "--set", &base]);
    let mut interrupted = Watched::start(rollback());
    interrupted.until("the old volume comes back from");
    interrupted.interrupt();
    let cancelled = interrupted.end().expect(4, &["cancelled", "next: pgscript resume rollback-1 "]);
    assert!(!cancelled.text.contains("could not put back"), "{}", cancelled.text);

    // The old cluster is compared with what it held before the upgrade.
    let back = run(&mut rollback()).expect(0, &["before the upgrade and now", "runs on PostgreSQL 13 again"]);
    assert!(!back.text.contains("content of the replaced volume"), "the half restored volume was kept:\n{}", back.text);
    site.is_back();
    let replaced = site.stack.dir.join("artefacts").join(&site.stack.name).join("upgrade-1/replaced-volume.tar.zst");
    assert!(replaced.exists(), "what the new server held is lost");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_missing_line_in_the_journal_of_a_finished_upgrade() {
    let site = Site::up();
    site.is_upgraded(site.stack.upgrade(17, &[]));
    site.stack.sql("primero_production", "CREATE TABLE made_late AS SELECT 1 AS x");
    change_the_journal(&site, take_out_a_line);
    nobody_goes_by_it(&site);
    // Interrupted, and gone on with by its own journal.
    let mut interrupted = Watched::start(advised(&site));
    interrupted.until("start the old server");
    interrupted.interrupt();
    let cancelled = interrupted.end().expect(4, &["cancelled"]);
    site.stack.as_advised(&cancelled, "resume").expect(0, &["runs on PostgreSQL 13 again"]);
    site.is_back();
    assert_eq!(site.stack.kept_volumes(), [format!("{}_pg17_upgrade-1", site.stack.volume)]);
}

/// What the journal proves no more the operator allows by name.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_damaged_journal_of_a_finished_upgrade_has_its_cleanup() {
    let site = Site::up();
    site.is_upgraded(site.stack.upgrade(17, &[]));
    change_the_journal(&site, take_out_a_line);
    let artefacts = site.stack.artefacts();
    let project = format!("project={}", site.stack.name);
    let cleanup = ["run", "cleanup.rhai", "--yes", "--set", &project];
    let refused = ["error[guard.artefact_in_use]", "which is damaged", "look at pgscript status upgrade-1"];
    let kept = format!("docker volume rm {}_pg13_upgrade-1", site.stack.volume);
    run(&mut site.stack.pgscript(&cleanup)).expect(3, &refused).expect(3, &[&kept]);
    let named = format!("artefact:{}", artefacts.display());
    run(&mut site.stack.pgscript(&["resume", "--allow-data-loss", &named])).expect(0, &["Removed."]);
    assert!(!artefacts.exists());
    site.stack.writes();
}
