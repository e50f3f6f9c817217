//! What goes away under a run while it works: the engine with everything it ran, or the database's container.

use super::after::Site;
use super::engines::Engine;
use crate::stack::Run;

/// An upgrade whose engine is killed, and started again, as soon as it says `line`.
#[track_caller]
fn engine_killed_at(engine: &Engine, site: &Site, line: &str) -> Run {
    let run = site.upgrade_until(line);
    engine.script(&["second-restart", &engine.name, "--kill"]);
    run.end()
}

/// An upgrade whose database container is killed as soon as it says `line`.
#[track_caller]
fn database_killed_at(site: &Site, line: &str) -> Run {
    let database = site.stack.container("postgres");
    let run = site.upgrade_until(line);
    site.stack.docker(&["kill", "--signal", "KILL", &database]);
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
            "could not put back `stop the application`",
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

#[test]
fn the_database_container_is_killed_during_the_dump() {
    let site = Site::up();
    let failed = database_killed_at(&site, "$ pg_dumpall");
    failed.expect(1, &["failed in step `dump the cluster`", "everything is back as it was"]);
    site.is_back();
}

#[test]
fn the_database_container_is_killed_during_the_backup() {
    let site = Site::up();
    let done = database_killed_at(&site, "4 back up the volume");
    site.is_upgraded(done.expect(0, &["had not stopped cleanly"]));
}
