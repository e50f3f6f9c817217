//! Everything outside the process, behind one trait per thing. Nothing here knows of scripts.
//!
//! The traits are synchronous: a script runs on its own thread and waits for each primitive. The
//! live world ([`live`]) bridges to the asynchronous libraries and stops an operation within a
//! tenth of a second when [`cancel::Cancel`] fires.

pub mod ansible;
pub mod cancel;
pub mod capture;
pub mod cluster;
pub mod container;
pub mod content;
pub mod control;
pub mod error;
mod forms;
pub mod helper_container;
pub mod host;
pub mod like;
pub mod listening;
pub mod live;
pub mod owner;
pub mod postgres;
pub mod process;
pub mod refusal;
pub mod request;
pub mod secret;
pub mod session;
pub mod side_by_side;
pub mod sim;
pub mod sockets;
pub mod volume;
pub mod writes;

use std::sync::Arc;

pub use cancel::Cancel;
pub use error::{Error, Kind, Result};
pub use owner::{Doorkeeper, Owner};
pub use secret::{Redactor, Secret};

/// The outside as a script sees it.
#[derive(Clone)]
pub struct World {
    pub containers: Arc<dyn container::ContainerEngine>,
    pub volumes: Arc<dyn volume::VolumeArchive>,
    pub postgres: Arc<dyn postgres::Postgres>,
    pub clusters: Arc<dyn cluster::ClusterFiles>,
    pub ansible: Arc<dyn ansible::Ansible>,
    pub host: Arc<dyn host::Host>,
    pub cancel: Cancel,
    pub redactor: Redactor,
    pub owner: Owner,
}

/// The world that an engine's address names: a simulated one for `sim://FILE`, else the live one.
pub fn open(context: live::Context, docker: impl Into<live::docker::Wish>) -> World {
    let wish = docker.into();
    match wish.address().as_deref().and_then(sim::Sim::at) {
        Some(sim) => {
            let live::Context { cancel, listener, redactor, owner, .. } = context;
            sim::world(sim::Context { sim, cancel, listener, redactor, owner })
        }
        None => live::world(context, wish),
    }
}
