//! The way back, whatever has happened to the stack, the run store and the engine meanwhile; and that what is said at
//! its end is so.

use std::time::{Duration, Instant};

use super::after::Site;
use super::variations;
use crate::disk::SmallDisk;
use crate::stack::sh;

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

/// Runs the site's own deploy, as somebody may who knows of nothing, and waits for its end.
fn foreign_deploy(site: &Site) {
    let script = site.stack.dir.join("deploy.sh").display().to_string();
    let _ = std::process::Command::new(script).output();
}

/// A server that restarts again and again, and one that does not stop when it is asked to.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
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

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn full_store_way_back() {
    for keep in variations(&["yes", "no"]) {
        let mut site = Site::up();
        let disk = SmallDisk::at(site.stack.dir.join("disk"), 200 << 10);
        // Journal, backup and record: all of it.
        site.stack.base = disk.0.join("runs");
        site.is_upgraded(site.stack.upgrade(17, &["--set", &format!("keep_volume={keep}")]));
        disk.fill_to_the_end();
        site.stack.rollback().expect(0, &["not noted in", "is rolled back"]);
        site.is_back();
        // And its records go once there is room; what nobody could note the origin of by hand.
        disk.make_room();
        let cleaned = site.stack.cleanup().expect(0, &["_pg17_upgrade-1 stays: no verified backup", "Removed"]);
        let typed = cleaned.text.lines().find_map(|line| Some(&line[line.find("docker rm ")?..])).unwrap();
        sh("sh", &["-c", typed]);
        is_cleaned_up(&site);
        drop(disk);
    }
}
