//! What goes away under a run while it works: the engine with everything it ran, the database's container, the room on
//! the engine's disk.

use std::path::{Path, PathBuf};

use super::after::Site;
use super::engines::Engine;
use super::{edited, fill, go_on, pause, run_edited_as};
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
fn the_engine_is_killed_during_the_dump() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let failed = engine_killed_at(&engine, &site, "$ pg_dumpall");
    let failed = failed.expect(
        5,
        &[
            "error[docker.unreachable]",
            "failed in step `dump the cluster`",
            "could not put back `back up the volume`",
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
fn the_engine_is_killed_during_the_restore() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let failed = engine_killed_at(&engine, &site, "$ pg_restore")
        .expect(5, &["error[docker.unreachable]", "failed in step `restore the dump`"]);
    site.goes_on(&failed);
    drop(site);
    drop(engine);
}

/// What engines before 23 say of a container that they were starting when they were killed, and for ever after.
#[test]
fn a_container_that_the_engine_was_killed_at_starting_is_made_again() {
    let site = Site::up();
    site.upgrade_until("5 dump the cluster").kill();
    let gate = Gate::opened();
    for service in ["postgres", "worker"] {
        let id = site.stack.inspect(service, "{{.Id}}");
        gate.refuse(&format!("/containers/{id}/start"), &format!("task {id}: already exists"));
    }
    let said = ["postgres-1 is created again: the engine was killed", "worker-1 is created again", "is rolled back"];
    run(&mut site.stack.pgscript(&["rollback", "upgrade-1", "--yes", "--docker", &gate.url()])).expect(0, &said);
    site.is_back();
}

#[test]
fn the_database_container_is_killed_during_the_dump() {
    let site = Site::up();
    let database = site.stack.container("postgres");
    let run = site.upgrade_until("$ pg_dumpall");
    site.stack.docker(&["kill", "--signal", "KILL", &database]);
    run.end().expect(1, &["failed in step `dump the cluster`", "everything is back as it was"]);
    site.is_back();
}

#[test]
fn the_database_container_is_killed_during_the_backup() {
    let site = Site::up();
    // Stands still between the last look and the stop: however long a kill takes, it is not too late.
    let line = "postgres::last_look(source, plan.database, dir + \"/writes.json\");";
    let script = edited(&site.stack, line, &format!("{line}\n        {}", pause(&site.stack)));
    let mut run = Watched::start(run_edited_as(&site.stack, &script, &site.stack.upgrade_command(17, &[])));
    run.until("paused");
    site.stack.docker(&["kill", "--signal", "KILL", &site.stack.container("postgres")]);
    go_on(&site.stack);
    site.is_upgraded(run.end().expect(0, &["had not stopped cleanly"]));
}

/// An upgrade to whose restore the engine's disk leaves no room, and the file that takes it.
#[track_caller]
fn disk_full_in_the_restore(site: &Site) -> (Run, PathBuf) {
    let root = site.stack.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    let run = site.upgrade_until("10 restore the dump");
    // Enough for the engine to start the clients, too little for another database.
    let log = fill(Path::new(&root), 2 << 20);
    let failed = run.end().expect(1, &["is not complete", "failed in step `restore the dump`"]);
    // A failed checkpoint tells its client no reason, only the server's log has it.
    let server = server_log(site);
    let reason = "No space left on device";
    assert!(failed.text.contains(reason) || server.contains(reason), "{}\n{server}", failed.text);
    (failed, log)
}

/// What the stack's database server wrote.
fn server_log(site: &Site) -> String {
    let host = site.stack.engine.as_deref().unwrap_or_default();
    let logs = ["-c", "docker -H \"$0\" logs \"$1\" 2>&1", host, &site.stack.container("postgres")];
    sh("sh", &logs)
}

#[test]
fn disk_full_under_the_volume() {
    let engine = Engine::start(&["--disk=1500"]);
    let site = engine.site();
    let (failed, log) = disk_full_in_the_restore(&site);
    std::fs::remove_file(log).unwrap();
    site.goes_on(&failed);
    drop(site);
    drop(engine);
}

#[test]
fn disk_full_under_the_volume_and_no_room_for_the_way_back() {
    let engine = Engine::start(&["--disk=1500"]);
    let site = engine.site();
    let (failed, log) = disk_full_in_the_restore(&site);
    site.comes_back(&failed);
    assert!(log.exists(), "somebody made room");
    drop(site);
    drop(engine);
}

/// What a kill in the middle of a restore may leave: a database that is away, and one whose DROP was cut off.
#[test]
fn killed_while_databases_were_away() {
    let site = Site::up();
    let first = run(site.stack.upgrade_command(17, &[]).env("PGSCRIPT_KILL_AT", "after:2000"));
    let journal = std::fs::read_to_string(site.stack.base.join("upgrade-1/journal.jsonl")).unwrap();
    first.expect(0, &[]);
    run(&mut site.stack.pgscript(&["rollback", "upgrade-1", "--yes"])).expect(0, &["is rolled back"]);
    let line =
        journal.lines().position(|line| line.contains("$ pg_restore") || line.contains("\"pg_restore ")).unwrap() + 1;
    let at = format!("after:{line}");
    assert_eq!(run(site.stack.upgrade_command(17, &[]).env("PGSCRIPT_KILL_AT", at)).code, -1);
    site.stack.sql("template1", "DROP DATABASE primero_production");
    site.stack.sql("template1", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'postgres'");
    site.is_upgraded(run(&mut site.stack.pgscript(&["resume", "upgrade-2"])));
}
