//! The engine's daemon restarts after pgscript was killed: what has `restart: always` still comes up in the middle.

use serde_json::Value;

use super::after::Site;
use super::engines::Engine;
use crate::stack::{Watched, run};

const SERVICES: [&str; 4] = ["postgres", "application", "worker", "nginx"];

/// The number of the first line of run `upgrade-1` that announces a command with this text.
#[track_caller]
fn line_of(site: &Site, command: &str) -> u64 {
    let journal = std::fs::read_to_string(site.stack.base.join("upgrade-1/journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_it = |line: &Value| line["command"].as_str().is_some_and(|text| text.contains(command));
    lines.into_iter().find(is_it).unwrap_or_else(|| panic!("no {command:?} in\n{journal}"))["n"].as_u64().unwrap()
}

/// A new upgrade is killed as soon as a line of its journal is written, and then the engine's daemon restarts. Gives
/// the services that run thereafter.
fn killed_and_restarted(engine: &Engine, site: &Site, line: u64) -> Vec<&'static str> {
    let killed = run(site.stack.upgrade_command(17, &[]).env("PGSCRIPT_KILL_AT", format!("after:{line}")));
    assert_eq!(killed.code, -1, "{}", killed.text);
    engine.script("second-restart", &[]);
    SERVICES.into_iter().filter(|service| site.stack.inspect(service, "{{.State.Running}}") == "true").collect()
}

#[test]
fn the_engine_restarts_after_a_kill_between_the_fence_and_the_commit() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    // An undisturbed run says at which lines of the journal it does what; it is put back before the commit step.
    let mut first = Watched::start(site.stack.upgrade_command(17, &[]));
    first.until("7 verify the dump");
    first.interrupt();
    first.end().expect(4, &["everything is back as it was"]);
    site.is_back();
    let (dump, stop) = (line_of(&site, "pg_dumpall"), line_of(&site, "docker stop -t 60"));

    // All is fenced off and stays down.
    assert_eq!(killed_and_restarted(&engine, &site, dump), Vec::<&str>::new());
    run(&mut site.stack.pgscript(&["rollback", "upgrade-2"])).expect(0, &["is rolled back"]);
    site.is_back();

    // The database, which is not held yet, comes up; then, as if another deploy had been at it, the application does.
    assert_eq!(killed_and_restarted(&engine, &site, stop), ["postgres"]);
    for service in ["application", "worker"] {
        site.stack.docker(&["update", "--restart", "always", &site.stack.container(service)]);
        site.stack.docker(&["start", &site.stack.container(service)]);
    }
    engine.script("second-restart", &[]);
    site.stack.writes();
    site.is_upgraded(run(&mut site.stack.pgscript(&["resume", "upgrade-3"])));
    drop(site);
    drop(engine);
}
