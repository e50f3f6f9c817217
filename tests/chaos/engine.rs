//! An engine of the driver's own, whose data root is a file system of its own: it can lose its power.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine as second;
use crate::stack::sh;

/// Enough for the images, three clusters, a backup and a dump.
const MEGABYTES: &str = "--disk=1200";

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub struct Engine {
    engine: second::Engine,
    /// Where its file system is mounted.
    pub disk: PathBuf,
}

impl Engine {
    /// Without images.
    pub fn start() -> Self {
        let name = format!("e-chaos-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let engine = second::Engine::start(name, &[MEGABYTES, "--userland-proxy"]);
        Self { disk: engine.data_root().into(), engine }
    }

    pub fn with_images() -> Self {
        let engine = Self::start();
        let images =
            ["postgres:13", "postgres:15", "postgres:17", "app:1"].map(|image| format!("pgscript-test/{image}"));
        engine.load(&images.each_ref().map(String::as_str));
        engine.sync();
        engine
    }

    pub fn restart(&self, options: &[&str]) {
        self.script("second-restart", options);
    }

    /// These processes, the daemon, all containers, and what was not synced are gone; then it boots again.
    pub fn cut_power(&self, with: &[u32]) {
        let pids: Vec<_> = with.iter().map(u32::to_string).collect();
        self.script("second-power-cut", &pids.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// What is there now outlives a power cut.
    pub fn sync(&self) {
        sh("sync", &["-f", &self.disk.display().to_string()]);
    }

    /// Leaves so many kilobytes of room.
    pub fn fill(&self, kilobytes: u64) {
        let free: u64 = sh("df", &["-k", "--output=avail", &self.disk.display().to_string()])
            .lines()
            .last()
            .and_then(|free| free.trim().parse().ok())
            .unwrap();
        let taken = format!("{}K", free.saturating_sub(kilobytes).max(1));
        // What is freed meanwhile, or can't be had, does not matter.
        _ = Command::new("fallocate").args(["-l", &taken]).arg(self.filler()).output();
    }

    pub fn free(&self) {
        _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.disk.join("somebody-else's.log")
    }

    /// From now on nothing new can be written below that directory.
    pub fn write_protect(&self, directory: &Path) {
        let directory = directory.display().to_string();
        sh("mount", &["--bind", &directory, &directory]);
        sh("mount", &["-o", "remount,ro,bind", &directory]);
    }

    pub fn write_enable(&self, directory: &Path) {
        // A power cut ends it as well.
        _ = Command::new("umount").arg("-l").arg(directory).output();
    }

    /// `docker` on this engine: standard output, or why it did not succeed.
    pub fn docker(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.args(["60", "docker"]).args(args).env("DOCKER_HOST", &self.host).stdin(Stdio::null());
        let out = command.output().unwrap();
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
            false => Err(format!("docker {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim())),
        }
    }

    /// Containers, volumes and networks, sorted.
    pub fn things(&self) -> Vec<String> {
        let list = |kind: &str, args: &[&str]| {
            let names = self.docker(args).unwrap();
            names.lines().map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
        };
        let mut all = list("container", &["ps", "-a", "--format", "{{.Names}}"]);
        all.extend(list("volume", &["volume", "ls", "-q"]));
        all.extend(list("network", &["network", "ls", "--format", "{{.Name}}"]));
        all.sort();
        all
    }
}

impl Deref for Engine {
    type Target = second::Engine;

    fn deref(&self) -> &second::Engine {
        &self.engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.free();
    }
}
