//! A journal that something has happened to. A torn last line is dropped; where it is damaged, or the run store lost,
//! `rollback.rhai` goes by the artefacts alone.

use std::process::Command;

use pgscript::world::sim::deeds::Happening;

use crate::program::run;
use crate::simulated::site::{Site, VOLUME};

/// So many tenths of a journal of an upgrade name the dump.
const LATE: usize = 8;

/// Changes the upgrade's journal.
#[track_caller]
fn change_the_journal(site: &Site, change: impl FnOnce(&mut Vec<u8>)) {
    let path = site.journal();
    let mut bytes = std::fs::read(&path).unwrap();
    let before = bytes.clone();
    change(&mut bytes);
    assert_ne!(bytes, before);
    std::fs::write(&path, bytes).unwrap();
}

fn take_out_a_line(journal: &mut Vec<u8>) {
    let mut lines: Vec<_> = journal.split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(lines.len() * LATE / 10);
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
        run(&mut site.pgscript(&[verb, "upgrade-1", "--yes"])).expect(3, &["error[journal.damaged]"]);
    }
    assert_eq!(site.containers(), containers);
    let status = site.status();
    assert!(status.contains("upgrade-1: damaged") && status.contains("The journal is damaged"), "{status}");
}

/// The command that `status` says to type instead of a resume or a rollback, with the answer to its question.
#[track_caller]
fn advised(site: &Site) -> Command {
    let status = site.status();
    let line = status.lines().find_map(|line| line.trim().strip_prefix("pgscript run rollback.rhai "));
    let line = line.unwrap_or_else(|| panic!("no rollback.rhai was advised:\n{status}"));
    let typed = line.split("   ").next().unwrap();
    let mut command = site.pgscript(&[]);
    command.args(["run", "rollback.rhai", "--yes"]).args(typed.split_whitespace());
    command
}

fn failed_in_the_deploy() -> Site {
    let site = Site::up();
    site.fail("ansible-playbook", "ansible.failed", "the registry does not answer");
    site.upgrade(&[]).expect(1, &["failed in step `deploy the new version`"]);
    site
}

#[test]
fn a_torn_last_line_is_dropped_and_the_upgrade_goes_on() {
    let site = Site::up();
    site.before("dump ", Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    change_the_journal(&site, tear_the_last_line);
    let status = site.status();
    assert!(status.contains("upgrade-1: interrupted") && status.contains("Your data is safe"), "{status}");
    site.is_upgraded(site.resume());
}

#[test]
fn a_flipped_byte_in_the_journal_of_a_failed_upgrade() {
    let site = failed_in_the_deploy();
    change_the_journal(&site, |journal| {
        let late = journal.len() * LATE / 10;
        journal[late] ^= 1;
    });
    nobody_goes_by_it(&site);

    // Killed in the middle of the way back, and typed again.
    site.before("start primero-postgres-1", Happening::Killed);
    run(&mut advised(&site)).expect(-1, &[]);
    run(&mut advised(&site)).expect(0, &["runs on PostgreSQL 13 again"]);
    site.is_back();
    run(&mut site.pgscript(&["run", "rollback.rhai", "--yes"])).expect(0, &["is back on PostgreSQL 13 already"]);
    // From then on the run is over.
    assert!(site.store().join("upgrade-1/journal.damaged.jsonl").exists());
    run(&mut site.pgscript(&["rollback", "upgrade-1"])).expect(0, &["has been put back"]);
    site.is_cleaned_up();
}

#[test]
fn a_missing_line_in_the_journal_of_a_finished_upgrade() {
    let site = Site::up();
    site.is_upgraded(site.upgrade(&[]));
    change_the_journal(&site, take_out_a_line);
    nobody_goes_by_it(&site);
    // Interrupted, and gone on with by its own journal.
    site.before("start primero-postgres-1", Happening::Interrupted);
    let cancelled = run(&mut advised(&site)).expect(4, &["cancelled"]);
    site.as_advised(&cancelled, "resume").expect(0, &["runs on PostgreSQL 13 again"]);
    site.is_back();
    assert_eq!(site.kept_volumes(), [format!("{VOLUME}_pg17_upgrade-1")]);
}

/// What the journal proves no more the operator allows by name.
#[test]
fn a_damaged_journal_of_a_finished_upgrade_has_its_cleanup() {
    let site = Site::up();
    site.is_upgraded(site.upgrade(&[]));
    change_the_journal(&site, take_out_a_line);
    let cleanup = ["run", "cleanup.rhai", "--yes", "--set", "project=primero"];
    let refused = ["error[guard.artefact_in_use]", "which is damaged", "look at pgscript status upgrade-1"];
    let kept = format!("docker volume rm {VOLUME}_pg13_upgrade-1");
    run(&mut site.pgscript(&cleanup)).expect(3, &refused).expect(3, &[&kept]);
    let named = format!("artefact:{}", site.artefacts().display());
    run(&mut site.pgscript(&["resume", "--allow-data-loss", &named])).expect(0, &["Removed."]);
    assert!(!site.has_artefacts());
    site.has_moved_on();
}
