//! What this run has proved, and what may be destroyed because of it. The guards live here, not in scripts.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::world::container::Volume;
use crate::world::volume::Backup;
use crate::world::{Error, Result, World};

#[derive(Default)]
struct Proofs {
    /// Volume names with the file their content was written to.
    backups: Vec<(String, PathBuf)>,
    verified: Vec<String>,
    created: Vec<String>,
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
        self.change(|p| p.created.push(volume.name.clone()));
    }

    pub fn backed_up(&self, volume: &Volume, backup: &Backup) {
        self.change(|p| p.backups.push((volume.name.clone(), backup.path.clone())));
    }

    /// A backup was read to its end; counts for the volume that this run took it from.
    pub fn verified(&self, backup: &Backup) {
        self.change(|p| {
            let of = p.backups.iter().filter(|(_, path)| *path == backup.path).map(|(name, _)| name.clone());
            p.verified.extend(of.collect::<Vec<_>>());
        });
    }

    /// The volume is gone: what was proved of it says nothing of the next one of that name.
    pub fn removed(&self, volume: &Volume) {
        self.change(|p| {
            p.backups.retain(|(name, _)| *name != volume.name);
            p.verified.retain(|name| *name != volume.name);
            p.created.retain(|name| *name != volume.name);
        });
    }

    /// Whether this run may remove the volume.
    pub fn permits_removal(&self, world: &World, volume: &Volume) -> Result<()> {
        let name = &volume.name;
        let proofs = self.proofs.lock().unwrap_or_else(|e| e.into_inner());
        let proven = proofs.verified.contains(name) || proofs.created.contains(name);
        drop(proofs);
        if proven || self.allowed_losses.iter().any(|l| *l == format!("volume:{name}")) || !world.volumes.size(name)?.1
        {
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
