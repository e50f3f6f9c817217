//! The way back, whatever has happened to the stack and the run store meanwhile; and that what is said at its end is
//! so.

use pgscript::world::container::ContainerSpec;
use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::Fault;

use super::{deploy, failed_in_the_deploy};
use crate::disk::SmallDisk;
use crate::program::{Run, Watched, run};
use crate::simulated::site::{SERVER, Site, VOLUME};

/// By itself, or by what it says is to be typed.
#[track_caller]
fn goes_back(site: &Site, ended: &Run) {
    assert_ne!(ended.code, 0, "{}", ended.text);
    if !ended.text.contains("everything is back as it was") {
        site.as_advised(ended, "rollback").expect(0, &["is rolled back"]);
    }
    site.is_cleaned_up();
}

fn rollback_script(site: &Site) -> Run {
    run(&mut site.pgscript(&["run", "rollback.rhai", "--yes"]))
}

/// The put-back starts what somebody else has stopped meanwhile.
#[test]
fn put_back_while_down() {
    let site = Site::up();
    // Nobody starts it again: a restart policy is not asked after a kill by hand.
    site.before("stop primero-application-1", Happening::Deed(Deed::StopContainer(SERVER.into())));
    site.upgrade(&[]).expect(1, &["everything is back as it was"]);
    site.is_cleaned_up();
}

/// Brings an upgrade back that has failed with the old server put aside, and whose record can't be noted in; by
/// `rollback.rhai`, which leaves that run's journal alone, or by `pgscript rollback`.
#[track_caller]
fn back_without_a_note(back: impl FnOnce(&Site, &Run) -> Run) {
    let (site, failed) = failed_in_the_deploy();
    site.cleanup().expect(3, &["error[cleanup.not_verified]", "upgrade-1"]);
    let record = site.artefacts().join("upgrade.json");
    let refused = Fault {
        change: "write upgrade.json".into(),
        after: 0,
        times: 0,
        code: "host.failed".into(),
        message: "upgrade.json: Operation not permitted".into(),
    };
    site.arrange(|state| state.faults.push(refused));
    let back = back(&site, &failed);
    site.arrange(|state| state.faults.clear());
    assert!(site.text(&record).contains("\"in place\""));
    back.expect(0, &["not noted in"]);
    assert!(site.status().contains("upgrade-1: rolled back"), "{}", site.status());
    site.is_cleaned_up();
    assert!(!site.has_artefacts());
}

#[test]
fn put_back_without_a_note_has_its_cleanup() {
    back_without_a_note(|site, failed| site.as_advised(failed, "rollback"));
}

#[test]
fn put_back_by_the_script_has_its_cleanup() {
    back_without_a_note(|site, _| rollback_script(site));
}

/// A disk without a byte left may take every line of the journal but the last.
#[test]
fn a_way_back_whose_last_word_was_not_written_has_its_cleanup() {
    let site = Site::up();
    site.is_upgraded(site.upgrade(&[]));
    site.rollback().expect(0, &["is rolled back"]);
    let text = std::fs::read_to_string(site.journal()).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("\"ended\""), "{last}");
    std::fs::write(site.journal(), format!("{before}\n")).unwrap();
    assert!(site.status().contains("rolling back"), "{}", site.status());
    // Not while anything is missing.
    let application = "primero-application-1".to_owned();
    site.deed(Deed::StopContainer(application.clone()));
    site.cleanup().expect(3, &["error[cleanup.not_verified]", "is rolling back"]);
    site.deed(Deed::StartContainer(application));
    site.is_cleaned_up();
}

/// The inventory names the new version already: it starts on the old volume, and can't.
#[test]
fn foreign_deploy_in_the_dump() {
    for major in [17, 13] {
        let site = Site::up();
        site.before("dump dump", deploy(major));
        goes_back(&site, &site.upgrade(&[]));
    }
}

#[test]
fn recreated_in_the_restore() {
    for major in [17, 13] {
        let site = Site::up();
        site.before("restore primero_production", deploy(major));
        goes_back(&site, &site.upgrade(&[]));
    }
}

/// A server that restarts again and again.
#[test]
fn crash_loop_blocks_rollback() {
    let site = Site::up();
    site.after("ansible-playbook", Happening::Deed(Deed::CrashLoop(SERVER.into())));
    let failed = site.upgrade(&[]);
    assert_ne!(failed.code, 0, "{}", failed.text);
    site.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_cleaned_up();
}

#[test]
fn store_vanished() {
    let site = Site::up();
    site.before("ansible-playbook", Happening::Deed(Deed::RemoveFiles(site.artefacts())));
    let failed = site.upgrade(&[]);
    assert_ne!(failed.code, 0, "{}", failed.text);
    site.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_cleaned_up();
    // And the whole store: what is on the engine is enough.
    let site = Site::up();
    site.before("ansible-playbook", Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    site.deed(Deed::RemoveFiles(site.store()));
    std::fs::remove_dir_all(site.store()).unwrap();
    let said = ["the upgrade's record is found on the engine", "runs on PostgreSQL 13 again"];
    rollback_script(&site).expect(0, &said);
    site.is_back();
}

/// Before the old server is put aside, too, when nothing but the store is gone.
#[test]
fn store_vanished_before_the_commit() {
    let site = Site::up();
    site.before("dump dump", Happening::Deed(Deed::RemoveFiles(site.artefacts())));
    goes_back(&site, &site.upgrade(&[]));
    assert!(site.store().exists());
}

/// Journal, record and backup: nothing of it can be written any more.
#[test]
fn full_store_way_back() {
    for keep in ["keep_volume=yes", "keep_volume=no"] {
        let site = Site::up();
        let disk = SmallDisk::at(site.store(), 4 << 10);
        site.is_upgraded(site.upgrade(&["--set", keep]));
        disk.fill_to_the_end();
        let full = ["write ", "backup ", "dump "].map(|change| Fault {
            change: change.into(),
            after: 0,
            times: 0,
            code: "host.disk_full".into(),
            message: "No space left on device".into(),
        });
        site.arrange(|state| state.faults.extend(full));
        site.rollback().expect(0, &["not noted in", "is rolled back"]);
        site.is_back();
        // And its records go once there is room; what nobody could note the origin of by hand.
        disk.make_room();
        site.arrange(|state| state.faults.clear());
        site.cleanup().expect(0, &["_pg17_upgrade-1 stays: no verified backup", "Removed"]);
        let kept = site.kept_volumes();
        assert_eq!(kept, [format!("{VOLUME}_pg17_upgrade-1")]);
        site.deed(Deed::RemoveContainer(format!("{}-keeper", kept[0])));
        site.arrange(|state| state.volumes.remove(&kept[0]));
        site.is_cleaned_up();
    }
}

/// What can't come back is named, and the run is not over.
#[test]
fn what_is_not_back_is_named_and_the_next_rollback_tries_again() {
    let site = Site::up();
    let line = "stack::start_isolated(project, held);\n        psql::wait_ready(source);";
    let script = site.edited("upgrade.rhai", line, &format!("{line} host::write(\"/srv/mark\", \"\");"));
    site.fail("write mark", "a.b", "as asked");
    site.before("write mark", Happening::Halted);
    let run = Watched::start(site.script(script.to_str().unwrap(), &[]));
    run.until_halted();
    // A container in the server's place that is none of the stack, and has its name.
    let stranger = ContainerSpec {
        name: Some(SERVER.into()),
        image: Some("pgscript-test/app:1".into()),
        ..ContainerSpec::default()
    };
    site.deed(Deed::RemoveContainer(SERVER.into()));
    let stranger = site.arrange(|state| state.create(&stranger).unwrap());
    run.go_on();
    let said = ["as asked", "could not put back `hold the server`", SERVER, "next: pgscript rollback upgrade-1 "];
    let failed = run.end().expect(1, &said);
    assert!(!failed.text.contains("everything is back"), "{}", failed.text);
    assert!(site.status().contains("rolling back"), "{}", site.status());
    site.deed(Deed::RemoveContainer(stranger));
    site.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_cleaned_up();
}
