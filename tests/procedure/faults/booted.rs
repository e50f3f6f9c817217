//! A backup is only one when it has been started: a damaged one, one of another cluster and none at all are told apart
//! from it, and the old volume stays until it is there.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use super::after::Site;
use super::{edited, variations};
use crate::stack::{Run, run, sh};

/// What the upgrade says when it has started the backup, and what `status` says from then on.
const STARTED: &str = "volume.tar.zst was started: it holds what was recorded";
const COMPARED: &str = "read to its end, started, and compared with what was recorded";
const BOOTED: [&str; 2] = ["--set", "boot_backup=after"];
const NOT_YET: &str = "read to its end, checksum right; not started yet";

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

#[track_caller]
fn named_by_the_operator_it_goes(site: &Site) {
    cleanup(site, &["--allow-data-loss", &format!("volume:{}", kept(site))]).expect(0, &["Removed."]);
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());
    site.has_moved_on();
}

#[test]
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

/// Whoever damages it between its last byte and its start: the disk, for instance.
#[test]
fn backup_damaged_after_it_was_written_is_not_booted() {
    let site = Site::up();
    let start = "step(\"start the backup\", || boot::start(";
    let flip = r#"let path = dir + "/volume.tar.zst";
            host::run(["sh", "-c", "printf x | dd of=\"$0\" bs=1 seek=200000 conv=notrunc", path]);"#;
    let script = edited(&site.stack, start, &format!("step(\"damage\", || {{ {flip} }});\n    {start}"));
    let ran = run(&mut super::run_edited_as(&site.stack, &script, &site.stack.upgrade_command(17, &BOOTED)));
    let work = "  - the backup was not started: pgscript resume upgrade-1";
    site.is_upgraded(ran.expect(0, &["step `start the backup` is left open", "damaged", work]));
    let status = site.stack.status();
    assert!(status.contains(NOT_YET) && status.contains("left open    start the backup"), "{status}");
    cleanup_is_refused(&site, &["was never started", "damaged"]);
    // As docs/recovery.md says: it is written anew, of the kept volume.
    let mut shell = site.stack.pgscript(&["repl", "--run", "upgrade-1"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let anew = r#"
        let kept = volume::inspect(record.kept);
        volume::verify(volume::backup(kept, dir + "/volume.tar.zst", #{ replace: true }))
        "#;
    shell.stdin.take().unwrap().write_all(anew.as_bytes()).unwrap();
    let typed = shell.wait_with_output().unwrap();
    assert!(typed.status.success(), "{}", String::from_utf8_lossy(&typed.stderr));
    run(&mut site.stack.pgscript(&["resume", "upgrade-1"])).expect(0, &[STARTED]);
    assert!(site.stack.status().contains(COMPARED), "{}", site.stack.status());
    site.stack.cleanup().expect(0, &["Removed."]);
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());
}

/// The site's own script has backed up another volume; or somebody has put another backup in the place of this one.
#[test]
fn backup_of_another_cluster_is_not_booted() {
    let site = Site::up();
    let other = Site::up();
    let database = other.stack.container("postgres");
    let line = "if plan.backup == \"after\" { back_up(record.kept, plan, true); }";
    let theirs = format!(
        "step(\"stop theirs\", || host::run([\"docker\", \"stop\", \"{}\"]));\n\
         if plan.backup == \"after\" {{ back_up(\"{}\", plan, true); }}",
        database, other.stack.volume
    );
    let script = edited(&site.stack, line, &theirs);
    let ran = run(&mut super::run_edited_as(&site.stack, &script, &site.stack.upgrade_command(17, &BOOTED)));
    let said = ["step `start the backup` is left open", "holds another cluster"];
    site.is_upgraded(ran.expect(0, &said));
    assert!(!site.stack.status().contains(COMPARED), "{}", site.stack.status());
    cleanup_is_refused(&site, &["has no backup of it", "holds another cluster"]);
    // A sound backup of this cluster takes the place of the other site's own, manifest and all.
    let own = site.stack.dir.join("own.tar.zst").display().to_string();
    let script = site.stack.dir.join("own.rhai");
    let text = format!("volume::backup(volume::inspect(\"{}\"), \"{own}\")", kept(&site));
    std::fs::write(&script, format!("let project = param(\"project\");\nstep(\"own\", || {text});")).unwrap();
    run(site.stack.pgscript(&["run"]).arg(&script)).expect(0, &[]);
    other.stack.docker(&["start", &database]);
    other.is_upgraded(other.stack.upgrade(17, &[]));
    let theirs = backup(&other).display().to_string();
    sh("cp", &[&own, &theirs]);
    sh("cp", &[&format!("{own}.json"), &format!("{theirs}.json")]);
    cleanup_is_refused(&other, &["was never started", "untouched, what this run has unpacked from"]);
    named_by_the_operator_it_goes(&site);
}

#[test]
fn cleanup_needs_a_backup_that_was_started() {
    // It was not started in the upgrade: cleanup does that, and is satisfied.
    let site = Site::up();
    site.is_upgraded(site.stack.upgrade(17, &[]));
    assert!(site.stack.status().contains(NOT_YET), "{}", site.stack.status());
    let record = site.stack.artefacts().join("before.json");
    let text = std::fs::read_to_string(&record).unwrap();
    // What somebody else has written of the old cluster proves nothing.
    std::fs::write(&record, text.replace("\"large_objects\": 1", "\"large_objects\": 0")).unwrap();
    cleanup_is_refused(&site, &["was never started", "is not what the run that made the backup has recorded"]);
    std::fs::write(&record, text).unwrap();
    let said = ["was never started. It is unpacked into a scratch volume now", STARTED, "Removed."];
    site.stack.cleanup().expect(0, &said);
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());
    site.has_moved_on();
    // There is none at all.
    let site = Site::up();
    site.is_upgraded(site.stack.upgrade(17, &["--set", "backup=no"]));
    cleanup_is_refused(&site, &["has no backup of it", "there is no backup"]);
    named_by_the_operator_it_goes(&site);
}

/// What a killed run has left of it goes with the next command.
#[test]
fn a_start_of_the_backup_that_was_cut_off_is_done_again() {
    let site = Site::up();
    let mut watched = site.upgrade_with_until(&BOOTED, "start the backup");
    watched.until("$ docker start");
    watched.kill();
    assert!(site.stack.kept_volumes().len() == 2, "{:?}", site.stack.kept_volumes());
    run(&mut site.stack.pgscript(&["resume", "upgrade-1"])).expect(0, &[STARTED]);
    only_the_old_volume_is_kept(&site);
    site.has_moved_on();
}
