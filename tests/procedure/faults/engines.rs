//! Engines of other kinds, and an engine that restarts: each a second daemon of the test's own, one at a time.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::after::Site;
use crate::stack::Watched;
use crate::upgrades::private;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A second engine with the images; gone with the value.
pub struct Engine {
    pub name: String,
    pub host: String,
    _turn: MutexGuard<'static, ()>,
}

impl Engine {
    pub fn start(options: &[&str]) -> Self {
        let engine = Self::without_images(options);
        let images = ["pgscript-test/postgres:13", "pgscript-test/postgres:17", "pgscript-test/app:1"];
        engine.script(&[&["second-load", &engine.name], &images[..]].concat());
        engine
    }

    pub fn without_images(options: &[&str]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("pgt-{}", std::process::id());
        // Made first, so that an engine that comes up half way is ended as well.
        let mut engine = Self { name: name.clone(), host: String::new(), _turn: turn };
        engine.host = engine.script(&[&["second", &name], options].concat());
        engine
    }

    /// A verb of `engine.sh`; must succeed.
    #[track_caller]
    pub fn script(&self, args: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/engine.sh");
        let out = Command::new(script).args(args).output().unwrap();
        assert!(out.status.success(), "engine.sh {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    pub fn site(&self) -> Site {
        Site::on(Some(self.host.clone()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/engine.sh");
        let _ = Command::new(script).args(["second-stop", &self.name]).output();
    }
}

/// The volume lies below another root and belongs to other users; the artefacts are the operator's alone.
fn remapped(mapping: &str) -> (Engine, Site) {
    let engine = Engine::start(&[&format!("--userns-remap={mapping}")]);
    let site = engine.site();
    site.stack.upgrade(17, &[]).expect(0, &["is done"]);
    assert_eq!(site.stack.major(), "17");
    assert_eq!(site.stack.content(), site.before);
    site.stack.writes();
    site.stack.no_helpers_left();
    private(&site.stack.artefacts());
    (engine, site)
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn users_are_remapped_as_docker_does_by_default() {
    let (engine, site) = remapped("default");
    site.stack.rollback().expect(0, &["is rolled back"]);
    site.is_back();
    private(&site.stack.artefacts());
    drop(site);
    drop(engine);
}

#[test]
fn users_are_remapped_as_in_the_field() {
    let (engine, site) = remapped("field");
    drop(site);
    drop(engine);
}

#[test]
fn the_engine_restarts_while_the_application_is_fenced() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let mut run = Watched::start(site.stack.upgrade_command(17, &["--keep"]));
    run.until("dump the cluster");
    engine.script(&["second-restart", &engine.name]);
    let failed = run.end();
    assert_ne!(failed.code, 0, "{}", failed.text);
    for service in ["postgres", "application", "worker", "nginx"] {
        assert_eq!(site.stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), "no", "{service}");
        assert!(service == "postgres" || site.stack.inspect(service, "{{.State.Running}}") == "false", "{service}");
    }
    site.stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
    site.is_back();
    drop(site);
    drop(engine);
}
