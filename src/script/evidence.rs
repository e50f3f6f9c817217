//! What this run has proved, and what may be destroyed because of it. The guards live here, not in scripts.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::world::container::Volume;
use crate::world::volume::Backup;
use crate::world::{Error, Result, World};

/// A volume's identity: one made anew under the same name is another volume.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    name: String,
    created_at: String,
}

impl From<&Volume> for Identity {
    fn from(v: &Volume) -> Self {
        Self { name: v.name.clone(), created_at: v.created_at.clone() }
    }
}

#[derive(Default)]
struct Proofs {
    backups: Vec<(Identity, PathBuf)>,
    verified: Vec<Identity>,
    created: Vec<Identity>,
}

/// Collects proofs as primitives give them.
#[derive(Default)]
pub struct Evidence {
    proofs: Mutex<Proofs>,
    /// Objects the operator named with `--allow-data-loss`, such as `volume:primero_database`.
    pub allowed_losses: Vec<String>,
}

impl Evidence {
    pub fn new(allowed_losses: Vec<String>) -> Self {
        Self { allowed_losses, ..Self::default() }
    }

    /// A volume of our own making holds nothing that was there before this run.
    pub fn created(&self, volume: &Volume) {
        self.change(|p| p.created.push(volume.into()));
    }

    pub fn backed_up(&self, volume: &Volume, backup: &Backup) {
        self.change(|p| p.backups.push((volume.into(), backup.path.clone())));
    }

    /// A backup was read to its end; counts for the volume that this run took it from.
    pub fn verified(&self, backup: &Backup) {
        self.change(|p| {
            let of = p.backups.iter().filter(|(_, path)| *path == backup.path).map(|(id, _)| id.clone());
            p.verified.extend(of.collect::<Vec<_>>());
        });
    }

    /// Whether `volume` (as the script knows it) may go; `current` is what bears that name now.
    pub fn permits_removal(&self, world: &World, volume: &Volume, current: &Volume) -> Result<()> {
        let name = &volume.name;
        if volume.created_at != current.created_at {
            let message = format!("volume {name} is not the one the script looked at: it was made anew since");
            return Err(Error::refused("volume.unproven", message).hint("look at it again with volume::inspect"));
        }
        let id = Identity::from(current);
        let proofs = self.proofs.lock().unwrap_or_else(|e| e.into_inner());
        let proven = proofs.verified.contains(&id) || proofs.created.contains(&id);
        if proven || self.allowed_losses.iter().any(|l| *l == format!("volume:{name}")) {
            return Ok(());
        }
        drop(proofs);
        if !world.volumes.size(name)?.1 {
            return Ok(());
        }
        let hint =
            format!("take volume::backup and volume::verify first, or name the loss: --allow-data-loss volume:{name}");
        Err(Error::refused("volume.unproven", format!("no verified backup of volume {name} in this run")).hint(hint))
    }

    fn change(&self, change: impl FnOnce(&mut Proofs)) {
        change(&mut self.proofs.lock().unwrap_or_else(|e| e.into_inner()));
    }
}
