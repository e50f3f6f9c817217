//! A simulated world behind the same traits as the live one: containers, volumes, networks, files and clusters with the
//! *identity* of the data that they hold, and no data.
//!
//! [`State`] is everything there is; it is plain data, so that it can be kept in a file, copied, and compared. [`Sim`]
//! is the handle by which it is looked at and changed: each change is one instant, at which a fault may happen, the
//! program may be killed, and somebody else may act. The world refuses what the real things refuse; `tests/contract`
//! holds both to the same behaviour.

mod admission;
pub mod ansible;
mod archive;
pub mod artefact;
mod bulk;
mod bytes;
pub mod cluster;
pub mod compose;
mod configuration;
mod containers;
mod contents;
mod copies;
pub mod create;
pub mod deeds;
mod dump;
mod effects;
mod files;
mod handle;
pub mod host;
mod life;
mod moves;
mod networks;
mod people;
mod planned;
mod postgres;
mod programs;
mod reference;
mod restore;
mod server;
mod sessions;
mod settings;
mod show;
pub mod sql;
pub mod state;
mod tar_files;
#[cfg(test)]
mod testing;
mod time;
mod upgrade;
mod volumes;

use std::sync::Arc;

pub use archive::Archives;
pub use bulk::RATE;
pub use containers::Containers;
pub use copies::Copies;
pub use deeds::Deed;
pub use handle::{Beyond, Sim, Watch};
pub use postgres::Servers;
pub use reference::{reference, with_images};
pub use sessions::Session;
pub use state::State;

use super::{Cancel, Owner, Redactor, World};
use crate::event::{Event, Listener};

/// What every part of the simulated world shares.
#[derive(Clone)]
pub struct Context {
    pub sim: Sim,
    pub cancel: Cancel,
    pub listener: Arc<dyn Listener>,
    pub redactor: Redactor,
    pub owner: Owner,
}

impl Context {
    pub fn emit(&self, event: Event) {
        self.listener.hear(&event);
    }
}

/// The simulated world behind the traits.
pub fn world(context: Context) -> World {
    World {
        containers: Arc::new(Containers::new(context.clone())),
        volumes: Arc::new(Archives::new(context.clone())),
        postgres: Arc::new(Servers::new(context.clone())),
        clusters: Arc::new(Copies::new(context.clone())),
        ansible: Arc::new(ansible::Playbooks::new(context.clone())),
        host: Arc::new(host::Machine::new(context.clone())),
        cancel: context.cancel,
        redactor: context.redactor,
        owner: context.owner,
    }
}
