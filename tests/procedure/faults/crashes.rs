//! What goes away under a run while it works: the engine with everything it ran, the database's container, the room on
//! the engine's disk.

use std::path::Path;

use super::after::Site;
use super::before::Before;
use super::engines::Engine;
use crate::disk::fill;
use crate::gate::Gate;
use crate::stack::{Run, Watched, run, sh};

/// An upgrade whose engine is killed, and started again, as soon as it says `line`.
#[track_caller]
fn engine_killed_at(engine: &Engine, site: &Site, line: &str) -> Run {
    let run = site.upgrade_until(line);
    engine.script("second-restart", &["--kill"]);
    run.end()
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_engine_is_killed_during_the_dump() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let failed = engine_killed_at(&engine, &site, "$ pg_dumpall");
    let failed = failed.expect(
        5,
        &[
            "error[docker.unreachable]",
            "failed in step `dump the cluster`",
            "could not put back `hold the server`",
            "not put back yet, because it rests on that: `stop the application`",
            "next: pgscript rollback upgrade-1 ",
        ],
    );
    site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_back();
    drop(site);
    drop(engine);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_engine_is_killed_during_the_restore() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let failed = engine_killed_at(&engine, &site, "$ pg_restore")
        .expect(5, &["error[docker.unreachable]", "failed in step `restore the dump`"])
        .expect(5, &["could not put back `hold the server`", "next: pgscript rollback upgrade-1 "]);
    site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_back();
    drop(site);
    drop(engine);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_engine_is_killed_after_the_commit() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let failed = engine_killed_at(&engine, &site, "14 deploy the new version");
    assert_ne!(failed.code, 0, "{}", failed.text);
    site.goes_on(&failed);
    drop(site);
    drop(engine);
}

/// What engines before 23 say of a container that they were starting when they were killed, and for ever after.
#[test]
fn a_container_that_the_engine_was_killed_at_starting_is_made_again() {
    let site = Site::up();
    site.upgrade_until("6 dump the cluster").kill();
    let gate = Gate::opened();
    for service in ["postgres", "worker"] {
        let id = site.stack.inspect(service, "{{.Id}}");
        gate.refuse(&format!("/containers/{id}/start"), &format!("task {id}: already exists"));
    }
    let said = ["postgres-1 is created again: the engine was killed", "worker-1 is created again", "is rolled back"];
    run(&mut site.stack.pgscript(&["rollback", "upgrade-1", "--yes", "--docker", &gate.url()])).expect(0, &said);
    site.is_back();
}

/// It comes back on the full disk, too, and goes on once there is room.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn disk_full_under_the_volume() {
    let engine = Engine::start(&["--disk=1500"]);
    let site = engine.site();
    let root = site.stack.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let run = site.upgrade_until("8 restore the dump");
    // Enough for the engine to start the clients, too little for another database.
    let log = fill(Path::new(&root), 2 << 20);
    let said = ["is not complete", "failed in step `restore the dump`", "everything is back as it was"];
    // A failed checkpoint tells its client no reason, only the server's log has it.
    run.end().expect(1, &said).expect(1, &["No space left on device"]);
    assert!(log.exists(), "somebody made room");
    site.is_back();
    std::fs::remove_file(log).unwrap();
    site.is_upgraded(site.stack.upgrade(17, &[]));
    drop(site);
    drop(engine);
}

/// The power goes while the new cluster is filled or upgraded, soon after its first start: what was not synced is lost,
/// a rule for the application among it, perhaps. The run goes on all the same.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn half_made_cluster() {
    let engine = Engine::start(&["--disk=1500"]);
    let site = engine.site();
    let cuts = [
        ("dump", "8 restore the dump"),
        ("pg_upgrade", "8 compare old and new"),
        ("pg_upgrade", "12 put the new cluster in place"),
    ];
    for (number, (strategy, line)) in (1..).zip(cuts) {
        // As long as a server has run before the night.
        sh("sync", &["-f", &site.stack.docker(&["info", "--format", "{{.DockerRootDir}}"])]);
        let run_id = format!("upgrade-{number}");
        let set = ["--set", &format!("strategy={strategy}")];
        let mut watched = Watched::start(site.stack.upgrade_command(17, &set));
        watched.until(line);
        engine.script("second-power-cut", &[&watched.id().to_string()]);
        watched.end().expect(-1, &[]);
        site.is_upgraded(run(&mut site.stack.pgscript(&["resume", &run_id])));
        run(&mut site.stack.pgscript(&["rollback", &run_id, "--yes"])).expect(0, &["is rolled back"]);
        site.is_back();
    }
    drop(site);
    drop(engine);
}

/// Backup and dump would find room, and then the new cluster would not: also where the old one goes first.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn disk_accepted_too_small() {
    let engine = Engine::start(&["--disk=1500"]);
    let site = engine.site();
    let root = site.stack.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let place = site.stack.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &site.stack.volume]);
    let size: u64 = sh("du", &["-s", "-B1", &place]).split_whitespace().next().unwrap().parse().unwrap();
    let base = format!("base={root}/artefacts");
    let log = fill(Path::new(&root), size * 3 / 2);
    let before = Before::containers_of(&site.stack);
    let said = ["error[preflight.space]", "MB more when the old cluster is gone", "for the new cluster, its log"];
    run(&mut site.stack.upgrade_command(17, &["--set", &base])).expect(3, &said);
    before.is_untouched(&site.stack);
    std::fs::remove_file(&log).unwrap();
    fill(Path::new(&root), size * 2 + (100 << 20));
    site.stack.upgrade(17, &["--set", &base]).expect(0, &["no room beside the old one", "upgrade.rhai is done"]);
    site.stack.cleanup_of("upgrade-2").expect(0, &["Removed"]);
    site.has_moved_on();
    std::fs::remove_file(&log).unwrap();
    drop(site);
    drop(engine);
}

/// What a kill in the middle of a restore may leave: a database that is away, and one whose DROP was cut off.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn killed_while_databases_were_away() {
    let site = Site::up();
    site.upgrade_until("$ pg_restore").kill();
    let sql =
        ["DROP DATABASE primero_production", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'postgres'"];
    for sql in sql {
        site.stack.docker(&["exec", &site.new_server(), "psql", "-XU", "primero", "-d", "template1", "-c", sql]);
    }
    site.is_upgraded(run(&mut site.stack.pgscript(&["resume", "upgrade-1"])));
}
