//! Engines of other kinds, and an engine that restarts: each a second daemon of the test's own, one at a time.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::after::Site;
use crate::engine;
use crate::procedure::upgrades::private;
use crate::stack::Watched;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A second engine with the images.
pub struct Engine {
    engine: engine::Engine,
    _turn: MutexGuard<'static, ()>,
}

impl Engine {
    pub fn start(options: &[&str]) -> Self {
        let engine = Self::without_images(options);
        engine.load(&["pgscript-test/postgres:13", "pgscript-test/postgres:17", "pgscript-test/app:1"]);
        engine
    }

    pub fn without_images(options: &[&str]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { engine: engine::Engine::start(format!("pgt-{}", std::process::id()), options), _turn: turn }
    }

    pub fn site(&self) -> Site {
        Site::on(Some(self.host.clone()))
    }
}

impl Deref for Engine {
    type Target = engine::Engine;

    fn deref(&self) -> &engine::Engine {
        &self.engine
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
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn users_are_remapped_as_in_the_field() {
    let (engine, site) = remapped("field");
    drop(site);
    drop(engine);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_engine_restarts_while_the_application_is_fenced() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let mut run = Watched::start(site.stack.upgrade_command(17, &["--keep"]));
    run.until("dump the cluster");
    engine.script("second-restart", &[]);
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
