//! The real world: a Docker engine through bollard, child processes, files.

pub mod ansible;
mod cluster;
mod compress;
pub mod docker;
mod helper;
pub mod host;
mod lines;
pub mod postgres;
mod process;
mod progress;
pub mod terminal;
pub mod volume;

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::error::{Error, Result};
use super::{Cancel, Owner, Redactor, World};
use crate::event::{Event, Listener};

/// What every part of the live world shares.
#[derive(Clone)]
pub struct Context {
    pub runtime: Handle,
    pub cancel: Cancel,
    pub listener: Arc<dyn Listener>,
    pub redactor: Redactor,
    pub owner: Owner,
}

impl Context {
    /// Waits for a future on the calling (script) thread; ends at once when cancelled.
    pub fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let token = self.cancel.token();
        self.runtime.block_on(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => Err(Error::cancelled()),
                value = future => value,
            }
        })
    }

    /// Waits for a future that puts things back, cancelled or not.
    pub fn wait_uncancelled<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn emit(&self, event: Event) {
        self.listener.hear(&event);
    }
}

/// The live world; nothing is contacted before it is asked for. `docker`: the engine, as in `DOCKER_HOST`.
pub fn world(context: Context, docker: impl Into<docker::Wish>) -> World {
    let containers = Arc::new(docker::Docker::new(context.clone(), docker.into()));
    let postgres = postgres::Clients::new(context.clone(), containers.clone());
    let volumes = Arc::new(volume::Volumes::new(context.clone(), containers.clone()));
    World {
        clusters: Arc::new(cluster::Clusters::new(
            context.clone(),
            containers.clone(),
            postgres.clone(),
            volumes.clone(),
        )),
        volumes,
        postgres,
        ansible: Arc::new(ansible::AnsiblePrograms::new(context.clone())),
        host: Arc::new(host::Machine::new(context.clone())),
        containers,
        cancel: context.cancel.clone(),
        redactor: context.redactor.clone(),
        owner: context.owner.clone(),
    }
}
