//! The files of a cluster, by the programs of images: `pg_basebackup` and a standby ([`copy`], [`standby`]),
//! `pg_upgrade` ([`programs`], [`upgrade`]). Everything runs in containers of the engine, which mount the volume at
//! [`ROOT`].

mod copy;
mod facts;
mod programs;
mod standby;
mod upgrade;

use std::io::Read;
use std::sync::Arc;

use super::Context;
use crate::world::cluster::*;
use crate::world::container::{ContainerEngine, ContainerSpec, Mount, Output};
use crate::world::control::state_of;
use crate::world::error::{Error, Result};
use crate::world::postgres::{Postgres, Server, own_password};
use crate::world::volume::VolumeArchive;

/// Where a container of ours sees the volume with the copy.
const ROOT: &str = "/pgscript-cluster";
/// The copy of the old cluster, and the new one that is made beside it, in that volume.
const OLD: &str = "/pgscript-cluster/old";
const NEW: &str = "/pgscript-cluster/new";

/// The weight of what runs beside the application.
const BESIDE: u64 = 64;

/// The [`ClusterFiles`] of the live world.
pub struct Clusters {
    context: Context,
    containers: Arc<dyn ContainerEngine>,
    postgres: Arc<dyn Postgres>,
    volumes: Arc<dyn VolumeArchive>,
}

impl Clusters {
    pub fn new(
        context: Context,
        containers: Arc<dyn ContainerEngine>,
        postgres: Arc<dyn Postgres>,
        volumes: Arc<dyn VolumeArchive>,
    ) -> Self {
        Self { context, containers, postgres, volumes }
    }

    /// Runs a shell script to its end in a container of an image that sees the volume; `arguments` are its `$1`, `$2`
    /// … A script that fails is an error with what it said.
    fn sh(&self, image: &str, user: &str, mounts: Vec<Mount>, script: &str, arguments: &[&str]) -> Result<String> {
        let spec = ContainerSpec { mounts, user: Some(user.to_owned()), ..ContainerSpec::default() };
        self.sh_in(spec, image, script, arguments)
    }

    fn sh_in(&self, spec: ContainerSpec, image: &str, script: &str, arguments: &[&str]) -> Result<String> {
        let spec = ContainerSpec {
            image: Some(image.to_owned()),
            entrypoint: Some(sh(script, arguments)),
            command: Some(Vec::new()),
            env: vec!["LC_ALL=C".into()],
            network: Some("none".into()),
            ..spec
        };
        succeeded(self.containers.run(&spec)?)
    }

    /// How the server is reached from a container in its own network.
    fn environment(&self, server: &Server, port: u16) -> Vec<String> {
        let password = server.password.clone().or_else(|| own_password(&*self.containers, server).ok().flatten());
        password.iter().for_each(|password| self.context.redactor.learn(password));
        let mut env = super::postgres::environment(server, password, "127.0.0.1");
        env.push(format!("PGPORT={port}"));
        env
    }

    /// In which state the copy is.
    fn state(&self, copy: &ClusterCopy) -> Result<&'static str> {
        let control = self.volumes.control(&copy.volume, OLD.trim_start_matches(ROOT).trim_start_matches('/'))?;
        Ok(state_of(control.as_ref()))
    }
}

/// The command that runs a shell script; `arguments` are its `$1`, `$2` …
fn sh(script: &str, arguments: &[&str]) -> Vec<String> {
    ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied()).map(str::to_owned).collect()
}

/// The volume, writable, where our containers see it.
fn volume(name: &str) -> Mount {
    mount(name, ROOT, false)
}

fn mount(volume: &str, destination: &str, read_only: bool) -> Mount {
    let (kind, source) = ("volume".into(), String::new());
    Mount { kind, name: volume.to_owned(), source, destination: destination.to_owned(), read_only }
}

fn succeeded(output: Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.exit_code == 0 {
        return Ok(text(&output.stdout));
    }
    let said = [text(&output.stderr), text(&output.stdout)].into_iter().find(|text| !text.is_empty());
    let message = said.unwrap_or_else(|| format!("it ended with exit code {}", output.exit_code));
    let code = if message.contains("No space left on device") { "host.disk_full" } else { "docker.failed" };
    Err(Error::failed(code, message))
}

impl ClusterFiles for Clusters {
    fn can_replicate(&self, server: &Server) -> Result<()> {
        copy::can_replicate(self, server)
    }

    fn copy(&self, server: &Server, volume: &str, options: &CopyOptions) -> Result<ClusterCopy> {
        copy::take(self, server, volume, options)
    }

    fn follow(&self, copy: &ClusterCopy, server: &Server) -> Result<Server> {
        standby::start(self, copy, server)
    }

    fn follows(&self, copy: &ClusterCopy) -> Result<bool> {
        standby::follows(self, copy)
    }

    fn copy_stopped(&self, copy: &ClusterCopy, stopped: &Stopped) -> Result<()> {
        copy::take_stopped(self, copy, stopped)
    }

    fn lag(&self, copy: &ClusterCopy, server: &Server) -> Result<u64> {
        standby::lag(self, copy, server)
    }

    fn caught_up(&self, copy: &ClusterCopy, checkpoint: &str) -> Result<String> {
        standby::caught_up(self, copy, checkpoint)
    }

    fn part(&self, copy: &ClusterCopy, server: &Server) -> Result<Server> {
        standby::part(self, copy, server)
    }

    fn promote(&self, copy: &ClusterCopy, stopped: Option<&Stopped>) -> Result<()> {
        standby::promote(self, copy, stopped)
    }

    fn discard(&self, name: &str, server: Option<&Server>) -> Result<()> {
        standby::discard(self, name, server)
    }

    fn programs(&self, image: &str, volume: &str) -> Result<()> {
        programs::fill(self, image, volume)
    }

    fn initdb(&self, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()> {
        upgrade::initdb(self, copy, image, programs)
    }

    fn settings(&self, copy: &ClusterCopy, files: &mut (dyn Read + Send)) -> Result<()> {
        upgrade::settings(self, copy, files)
    }

    fn check_upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()> {
        upgrade::check(self, copy, options)
    }

    fn upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Upgraded> {
        upgrade::run(self, copy, options)
    }

    fn made_anew(&self, server: &Server, files: &[String]) -> Result<Vec<String>> {
        upgrade::made_anew(self, server, files)
    }
}
