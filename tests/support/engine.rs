//! A second Docker engine, made by `tests/stack/engine.sh`; gone with the value.

use std::process::{Command, Stdio};

pub struct Engine {
    pub name: String,
    /// As in `DOCKER_HOST`.
    pub host: String,
}

impl Engine {
    /// Without images; the options are those of `engine.sh second`.
    #[track_caller]
    pub fn start(name: String, options: &[&str]) -> Self {
        // Made first, so that an engine that comes up half way is ended as well.
        let mut engine = Self { name, host: String::new() };
        engine.host = engine.script("second", options);
        engine
    }

    #[track_caller]
    pub fn load(&self, images: &[&str]) {
        self.script("second-load", images);
    }

    /// A verb of `engine.sh` for this engine, still to be run.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/engine.sh"));
        command.arg(verb).arg(&self.name).args(arguments).stdin(Stdio::null());
        command
    }

    /// A verb of `engine.sh`; must succeed. Gives what it prints.
    #[track_caller]
    pub fn script(&self, verb: &str, arguments: &[&str]) -> String {
        let out = self.command(verb, arguments).output().unwrap();
        assert!(out.status.success(), "engine.sh {verb} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The data root's directory.
    pub fn data_root(&self) -> String {
        format!("/var/lib/pgscript-test-{}", self.name)
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        let path = format!("/run/pgscript-test-{}/docker.pid", self.name);
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        _ = self.command("second-stop", &[]).output();
    }
}
