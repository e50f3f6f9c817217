//! A drill that finds nothing proves something only where it could have found something: faults that are planted in the
//! program itself (`src/planted.rs`) are found by a seed; without them the same seed finds nothing.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// What is drilled: a shipped script, or one of the site's own.
struct Drill<'d> {
    script: &'d str,
    text: Option<&'d str>,
    set: &'d [&'d str],
    seed: &'d str,
}

const HISTORIES: &str = "24";
const UPGRADE: Drill<'_> = Drill {
    script: "upgrade.rhai",
    text: None,
    set: &["to=17", "ansible_dir=/srv/primero/ansible", "strategy=dump"],
    seed: "1",
};

/// The shipped scripts look in each undo what there is, whatever the order; one of a site goes by it.
const NETWORK: &str = r#"
let search = docker::container("primero-solr-1");
let has_joined = || docker::inspect(search).networks.some(|place| place.network == "primero_search");

step("make a network", || if docker::network("primero_search") == () { docker::create_network("primero_search"); },
    #{ repeatable: true, undo: || if docker::network("primero_search") != () {
        docker::remove_network("primero_search");
    } });
step("join it", || if !has_joined.call() { docker::connect("primero_search", search); },
    #{ repeatable: true, undo: || if has_joined.call() { docker::disconnect("primero_search", search); } });
"#;

/// A site that goes by the guard: what is nowhere else stays. The shipped scripts have looked themselves.
const ANEW: &str = r#"
fn complete(file) {
    if !docker::exists("primero-postgres-1") {
        let known = docker::load_definitions(file);
        docker::create(#{ name: "primero-postgres-1", like: known[0] });
    }
    docker::start(docker::container("primero-postgres-1"));
}

let file = step("keep the definition", || {
    let directory = run::directory() + "/anew";
    host::create_private_dir(directory);
    let file = directory + "/database.json";
    if !host::exists(file) { docker::save_definitions([docker::container("primero-postgres-1")], file); }
    file
}, #{ repeatable: true, undo: false });
step("make the server anew", || {
    if docker::exists("primero-postgres-1") {
        let server = docker::container("primero-postgres-1");
        docker::stop(server);
        docker::remove(server);
    }
    try { volume::remove(volume::inspect("primero_database")); } catch (e) {
        if e.code != "volume.unproven" { throw e; }
    }
    complete(file);
    docker::wait_healthy([docker::container("primero-postgres-1")]);
}, #{ repeatable: true, undo: || complete(file) });
"#;

/// Drills in a program with this fault; gives what is found, each with its step.
fn drill(drill: &Drill<'_>, fault: Option<&str>) -> Vec<Value> {
    let site = TempDir::new().unwrap();
    if let Some(text) = drill.text {
        std::fs::write(site.path().join(drill.script), text).unwrap();
    }
    let mut program = Command::new(env!("CARGO_BIN_EXE_pgscript"));
    program.args(["drill", drill.script, "--format", "json", "--histories", HISTORIES, "--seed", drill.seed]);
    program.args(drill.set.iter().flat_map(|text| ["--set", text]));
    program.env("PGSCRIPT_SITE", site.path()).env_remove("PGSCRIPT_PLANTED");
    program.envs(fault.map(|fault| ("PGSCRIPT_PLANTED", fault)));
    let Output { status, stdout, stderr } = program.output().unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "{status}: {}", String::from_utf8_lossy(&stderr));
    let findings: Vec<_> = stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(status.code(), Some(if findings.is_empty() { 0 } else { 3 }));
    findings.into_iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// With the fault this promise is found broken, first disturbed in this step; without it none is.
#[track_caller]
fn is_found(fault: &str, drilled: &Drill<'_>, step: &str, broken: &str) {
    let found = drill(drilled, Some(fault));
    let is_it = |finding: &Value| finding["moment"]["step"] == step && finding["broken"]["broken"] == broken;
    assert!(found.iter().any(is_it), "{broken} is not found in step `{step}`, but this:\n{found:#?}");
    assert_eq!(drill(drilled, None), Vec::<Value>::new());
}

#[test]
fn a_journal_that_is_not_synced_is_found() {
    is_found("journal-not-synced", &UPGRADE, "restore the dump", "stuck");
}

#[test]
fn a_guard_that_is_switched_off_is_found() {
    let site = Drill { script: "anew.rhai", text: Some(ANEW), set: &[], seed: "1" };
    is_found("guard-of-volumes", &site, "make the server anew", "no_complete_copy");
}

#[test]
fn a_label_that_is_left_away_is_found() {
    is_found("label-of-helpers", &UPGRADE, "preflight", "left_behind");
}

#[test]
fn undos_in_the_wrong_order_are_found() {
    let site = Drill { script: "network.rhai", text: Some(NETWORK), set: &[], seed: "1" };
    is_found("undo-order", &site, "make a network", "stuck");
}
