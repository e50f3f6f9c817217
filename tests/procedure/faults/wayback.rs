//! The way back, whatever has happened to the stack, the run store and the engine meanwhile; and that what is said at
//! its end is so.

use std::path::Path;
use std::time::{Duration, Instant};

use super::after::Site;
use super::{SmallDisk, edited, go_on, pause, run_edited_as, variations};
use crate::stack::{Run, Watched, run, sh};

/// What a run that is over has kept goes, and its record with it.
#[track_caller]
pub fn is_cleaned_up(site: &Site) {
    if site.stack.base.join("upgrade-1/artefacts").exists() {
        site.stack.cleanup().expect(0, &["Removed"]);
    }
    let ours = |args: &[&str]| site.stack.docker(args).lines().filter(|n| n.starts_with(&site.stack.name)).count();
    assert_eq!(ours(&["volume", "ls", "--quiet"]), 1, "volumes are left");
    let helpers = ["ps", "--all", "--filter", "label=pgscript.helper", "--format", "{{.Names}}"];
    assert_eq!(ours(&helpers), 0, "helpers are left");
    site.is_back();
}

/// The put-back starts what somebody else has stopped meanwhile.
#[test]
fn put_back_while_down() {
    let site = Site::up();
    let database = site.stack.container("postgres");
    let run = site.upgrade_until("make the artefact directory");
    // Nobody starts it again: a restart policy is not asked after a kill by hand.
    site.stack.docker(&["kill", &database]);
    run.end().expect(1, &["everything is back as it was"]);
    is_cleaned_up(&site);
}

/// Brings an upgrade back that has failed with the old server put aside, and whose record can't be noted in; by
/// `rollback.rhai`, which leaves that run's journal alone, or by `pgscript rollback`.
#[track_caller]
fn back_without_a_note(by_script: bool) {
    let site = Site::up();
    let mut run = site.upgrade_until("12 put the old server aside");
    run.until("14 deploy the new version");
    run.interrupt();
    let failed = run.end();
    assert_ne!(failed.code, 0, "{}", failed.text);
    site.stack.cleanup().expect(3, &["error[cleanup.not_verified]", "upgrade-1"]);
    let record = site.stack.artefacts().join("upgrade.json").display().to_string();
    sh("chattr", &["+i", &record]);
    let back = if by_script { run_rollback_script(&site) } else { site.stack.as_advised(&failed, "rollback") };
    sh("chattr", &["-i", &record]);
    assert!(std::fs::read_to_string(&record).unwrap().contains("\"in place\""));
    back.expect(0, &["not noted in"]);
    assert!(site.stack.status().contains("upgrade-1: rolled back"), "{}", site.stack.status());
    is_cleaned_up(&site);
    assert!(!site.stack.base.join("upgrade-1/artefacts").exists());
}

#[test]
fn put_back_without_a_note_has_its_cleanup() {
    back_without_a_note(false);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn put_back_by_the_script_has_its_cleanup() {
    back_without_a_note(true);
}

/// A disk without a byte left may take every line of the journal but the last.
#[test]
fn a_way_back_whose_last_word_was_not_written_has_its_cleanup() {
    let site = Site::up();
    site.is_upgraded(site.stack.upgrade(17, &[]));
    site.stack.rollback().expect(0, &["is rolled back"]);
    let journal = site.stack.base.join("upgrade-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("\"ended\""), "{last}");
    std::fs::write(&journal, format!("{before}\n")).unwrap();
    assert!(site.stack.status().contains("rolling back"), "{}", site.stack.status());
    // Not while anything is missing.
    let application = site.stack.container("application");
    site.stack.docker(&["stop", "--time", "1", &application]);
    site.stack.cleanup().expect(3, &["error[cleanup.not_verified]", "is rolling back"]);
    site.stack.docker(&["start", &application]);
    is_cleaned_up(&site);
}

/// What can't come back is named, and the run is not over.
#[test]
fn what_is_not_back_is_named_and_the_next_rollback_tries_again() {
    let site = Site::up();
    let line = "stack::start_isolated(project, held);\n        psql::wait_ready(source);";
    let script = edited(&site.stack, line, &format!("{line} {} fail(\"a.b\", \"as asked\");", pause(&site.stack)));
    let mut run = Watched::start(run_edited_as(&site.stack, &script, &site.stack.upgrade_command(17, &[])));
    run.until("paused");
    // A container in the server's place that is none of the stack, and has its name.
    let server = site.stack.container("postgres");
    let name = site.stack.inspect("postgres", "{{.Name}}").trim_start_matches('/').to_owned();
    site.stack.docker(&["rm", "--force", &server]);
    let label = format!("pgscript.test.stack={}", site.stack.name);
    let stranger = ["create", "--label", &label, "--name", &name, "pgscript-test/app:1"];
    let stranger = site.stack.docker(&stranger);
    go_on(&site.stack);
    let failed = run.end();
    let said = ["as asked", "could not put back `hold the server`", &name, "next: pgscript rollback upgrade-1 "];
    let failed = failed.expect(1, &said);
    assert!(!failed.text.contains("everything is back"), "{}", failed.text);
    assert!(site.stack.status().contains("rolling back"), "{}", site.stack.status());
    site.stack.docker(&["rm", "--force", &stranger]);
    site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    is_cleaned_up(&site);
}

/// Runs the site's own deploy, as somebody may who knows of nothing, and waits for its end.
fn foreign_deploy(site: &Site) {
    let script = site.stack.dir.join("deploy.sh").display().to_string();
    let _ = std::process::Command::new(script).output();
}

/// By itself, or by what it says is to be typed.
#[track_caller]
fn goes_back(site: &Site, ended: &Run) {
    assert_ne!(ended.code, 0, "{}", ended.text);
    if !ended.text.contains("everything is back as it was") {
        site.stack.as_advised(ended, "rollback").expect(0, &["is rolled back"]);
    }
    is_cleaned_up(site);
}

#[test]
fn foreign_deploy_in_the_dump() {
    let site = Site::up();
    let run = site.upgrade_until("$ pg_dumpall");
    // The inventory names the new version already: it starts on the old volume, and can't.
    foreign_deploy(&site);
    goes_back(&site, &run.end());
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn foreign_deploy_of_the_old_version_in_the_dump() {
    let site = Site::up();
    let run = site.upgrade_until("$ pg_dumpall");
    site.stack.inventory("primero_postgres_version: \"17\"", "primero_postgres_version: \"13\"");
    foreign_deploy(&site);
    goes_back(&site, &run.end());
}

#[test]
fn recreated_in_the_restore() {
    for major in variations(&["17", "13"]) {
        let site = Site::up();
        let run = site.upgrade_until("$ pg_restore");
        site.stack.inventory("primero_postgres_version: \"17\"", &format!("primero_postgres_version: \"{major}\""));
        foreign_deploy(&site);
        goes_back(&site, &run.end());
    }
}

/// A server that restarts again and again, and one that does not stop when it is asked to.
#[test]
fn crash_loop_blocks_rollback() {
    let restarts = "[postgres, -c, no_such_setting=1]";
    for command in variations(&["[sh, -c, \"trap '' INT TERM; while :; do sleep 1; done\"]", restarts]) {
        let site = Site::up();
        let mut run = site.upgrade_until("12 put the old server aside");
        site.edit("docker-compose.yml", "  postgres:\n", &format!("  postgres:\n    command: {command}\n"));
        run.until("postgres-1  Started");
        std::thread::sleep(Duration::from_secs(2));
        run.interrupt();
        let failed = run.end();
        assert_ne!(failed.code, 0, "{}", failed.text);
        let begun = Instant::now();
        site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
        // slow-way-back: nobody waits for a stop that can't come.
        assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
        is_cleaned_up(&site);
    }
}

/// Killed while the new server's first start is under way, which never ends and hears of no signal.
#[test]
fn slow_way_back() {
    let site = Site::up();
    // The trial server has no network, the new one has.
    let script = "[ -e /sys/class/net/eth0 ] || exit 0\ntrap '' INT TERM\necho sleeps\nwhile :; do sleep 1; done\n";
    std::fs::write(site.stack.dir.join("slow.sh"), script).unwrap();
    sh(
        "chmod",
        &["0755", &site.stack.dir.display().to_string(), &site.stack.dir.join("slow.sh").display().to_string()],
    );
    let volumes = "volumes: [\"database:${PRIMERO_POSTGRES_MOUNT}\"";
    let mounted = format!("{volumes}, \"./slow.sh:/docker-entrypoint-initdb.d/slow.sh:ro\"");
    site.edit("docker-compose.yml", volumes, &mounted);
    site.stack.inventory("primero_postgres_version: \"17\"", "primero_postgres_version: \"13\"");
    foreign_deploy(&site);
    site.stack.writes();
    site.stack.inventory("primero_postgres_version: \"13\"", "primero_postgres_version: \"17\"");
    let run = site.upgrade_until("3 prepare the new server");
    let begun = Instant::now();
    let logs = || sh("sh", &["-c", "docker logs \"$0\" 2>&1 || true", &site.new_server()]);
    while !logs().contains("sleeps") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the first start never came to its script");
        std::thread::sleep(Duration::from_millis(200));
    }
    let killed = run.kill();
    assert_eq!(killed.code, -1, "{}", killed.text);
    let begun = Instant::now();
    site.stack.rollback().expect(0, &["is rolled back"]);
    // Nothing of it is worth a minute's wait.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    is_cleaned_up(&site);
}

/// An image without a shell, and a container of it: the newest on the engine, and none of the stack.
struct Stranger {
    image: String,
    container: String,
}

impl Stranger {
    fn new(site: &Site) -> Self {
        let file = site.stack.dir.join("stranger.tar").display().to_string();
        sh("tar", &["-cf", &file, "-C", &site.stack.dir.display().to_string(), "postgres.env"]);
        let image = site.stack.docker(&["import", &file, &format!("pgscript-test/stranger-{}:1", site.stack.name)]);
        let label = format!("pgscript.test.stack={}", site.stack.name);
        let container = site.stack.docker(&["create", "--label", &label, &image, "/nothing"]);
        Self { image, container }
    }

    /// As a tidying-up at night does.
    fn remove(&self, site: &Site) {
        site.stack.docker(&["rm", &self.container]);
        site.stack.docker(&["image", "rm", "--force", &self.image]);
    }
}

/// No helper is made of an image that is no business of the run's, and that may be gone the next moment.
#[test]
fn somebody_elses_image() {
    let site = Site::up();
    let stranger = Stranger::new(&site);
    site.is_upgraded(site.stack.upgrade(17, &[]));
    let helpers = site.stack.docker(&["ps", "-aq", "--filter", "label=pgscript.helper"]);
    for helper in helpers.lines() {
        // One of another stack may be gone by now.
        let image = ["inspect", "--format", "{{.Image}}", helper];
        let found = std::process::Command::new("docker").args(image).output().unwrap();
        assert_ne!(String::from_utf8_lossy(&found.stdout).trim(), stranger.image);
    }
    let mut back = Watched::start(site.stack.pgscript(&["rollback", "--yes"]));
    back.until("; mv -T ");
    stranger.remove(&site);
    back.end().expect(0, &["is rolled back"]);
    is_cleaned_up(&site);
}

#[test]
fn full_store_way_back() {
    for keep in variations(&["yes", "no"]) {
        let mut site = Site::up();
        let disk = SmallDisk::new(&site.stack, 200);
        // Journal, backup and record: all of it.
        site.stack.base = disk.0.join("runs");
        site.is_upgraded(site.stack.upgrade(17, &["--set", &format!("keep_volume={keep}")]));
        disk.fill(1 << 20);
        // Neither room nor names are left.
        let rest = "cat /dev/zero > \"$0/rest\"; i=0; while true > \"$0/rest.$i\"; do i=$((i + 1)); done; true";
        sh("sh", &["-c", &format!("exec 2> /dev/null; {rest}"), &disk.0.display().to_string()]);
        site.stack.rollback().expect(0, &["not noted in", "is rolled back"]);
        site.is_back();
        // And its records go once there is room; what nobody could note the origin of by hand.
        sh("sh", &["-c", "rm -f \"$0\"/rest* \"$0\"/somebody-else*", &disk.0.display().to_string()]);
        let cleaned = site.stack.cleanup().expect(0, &["_pg17_upgrade-1 stays: no verified backup", "Removed"]);
        let typed = cleaned.text.lines().find_map(|line| Some(&line[line.find("docker rm ")?..])).unwrap();
        sh("sh", &["-c", typed]);
        is_cleaned_up(&site);
        drop(disk);
    }
}

#[test]
fn store_vanished() {
    let site = Site::up();
    let run = site.upgrade_until("14 deploy the new version");
    std::fs::remove_dir_all(site.stack.base.join("upgrade-1/artefacts")).unwrap();
    let failed = run.end();
    assert_ne!(failed.code, 0, "{}", failed.text);
    site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    is_cleaned_up(&site);
    // And the whole store: what is on the engine is enough.
    let run = site.upgrade_until("14 deploy the new version");
    let _ = run.kill();
    std::fs::remove_dir_all(&site.stack.base).unwrap();
    let back = |site: &Site| run_rollback_script(site);
    back(&site).expect(0, &["the upgrade's record is found on the engine", "runs on PostgreSQL 13 again"]);
    site.is_back();
}

fn run_rollback_script(site: &Site) -> Run {
    run(&mut site.stack.pgscript(&["run", "rollback.rhai", "--yes"]))
}

/// Before the old server is put aside, too, when nothing but the store is gone.
#[test]
fn store_vanished_before_the_commit() {
    let site = Site::up();
    let run = site.upgrade_until("$ pg_dumpall");
    sh("rm", &["-rf", &site.stack.base.join("upgrade-1/artefacts").display().to_string()]);
    goes_back(&site, &run.end());
    assert!(Path::new(&site.stack.base).exists());
}
