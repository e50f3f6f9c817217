//! What a run has proved, and what may be destroyed because of it. The guards live here, not in scripts.
//!
//! A proof is a [`Fact`] in the journal, so a resumed run knows what its earlier processes have proved.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::world::container::{Container, Volume};
use crate::world::volume::Backup;
use crate::world::{Error, Result, World};

/// What a primitive proved, or what took a proof away. Facts of loss are written before the act, others after it: a
/// crash in between errs on the safe side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The volume is of our own making: nothing in it was there before the run.
    VolumeCreated {
        volume: String,
    },
    /// A volume's content was written to a file.
    BackupTaken {
        volume: String,
        path: PathBuf,
        sha256: String,
    },
    /// A backup was read to its end and is whole.
    BackupVerified {
        path: PathBuf,
    },
    /// A server may have written to the volume: earlier backups of it are not all of it any more.
    VolumeInUse {
        volume: String,
    },
    /// The data of `from` is kept under the name `to`.
    VolumeMoved {
        from: String,
        to: String,
    },
    /// `to` holds the same as `from`.
    VolumeCloned {
        from: String,
        to: String,
    },
    VolumeRemoved {
        volume: String,
    },
    /// The volume holds the content of the backup.
    VolumeRestored {
        volume: String,
        path: PathBuf,
    },
    /// A cluster was dumped, whole and checked.
    DumpTaken {
        path: PathBuf,
        container: String,
        volume: Option<String>,
        system_identifier: String,
        tables: u64,
    },
    DumpVerified {
        path: PathBuf,
    },
    /// A dump was restored into the server of a container.
    Restored {
        path: PathBuf,
        container: String,
    },
    /// The cluster in `after` (a container) holds what the one of `system_identifier` held.
    Compared {
        system_identifier: String,
        after: String,
        tables: u64,
        rows: u64,
    },
    /// The container is kept down: stopped, and not started by the engine.
    Held {
        container: String,
        name: String,
    },
    /// A container that was kept down runs again, or may.
    Released {
        container: String,
    },
    /// The container can be created again from this file.
    DefinitionSaved {
        container: String,
        path: PathBuf,
    },
    /// A file or directory with a backup or dump is gone.
    ArtefactRemoved {
        path: PathBuf,
    },
}

/// Collects facts as primitives state them.
#[derive(Default)]
pub struct Evidence {
    facts: Mutex<Vec<Fact>>,
    /// Objects the operator named with `--allow-data-loss`, such as `volume:primero_database`.
    pub allowed_losses: Vec<String>,
}

impl Evidence {
    /// `facts` are those of the run's earlier processes, in their order.
    pub fn new(facts: Vec<Fact>, allowed_losses: Vec<String>) -> Self {
        Self { facts: Mutex::new(facts), allowed_losses }
    }

    pub fn learn(&self, fact: Fact) {
        self.facts().push(fact);
    }

    fn facts(&self) -> MutexGuard<'_, Vec<Fact>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this run may remove the volume.
    pub fn permits_removal(&self, world: &World, volume: &Volume) -> Result<()> {
        let name = &volume.name;
        if self.is_proven(name) || self.is_allowed("volume", name) || !world.volumes.size(name)?.1 {
            return Ok(());
        }
        let hint =
            format!("take volume::backup and volume::verify first, or name the loss: --allow-data-loss volume:{name}");
        Err(Error::refused("volume.unproven", format!("no verified backup of volume {name} in this run")).hint(hint))
    }

    fn is_allowed(&self, kind: &str, name: &str) -> bool {
        self.allowed_losses.iter().any(|loss| *loss == format!("{kind}:{name}"))
    }

    /// Whether what the volume holds is also somewhere else, or is of our own making.
    fn is_proven(&self, volume: &str) -> bool {
        let (mut proven, mut files): (bool, Vec<PathBuf>) = (false, Vec::new());
        for fact in self.facts().iter() {
            match fact {
                Fact::VolumeCreated { volume: of } if of == volume => proven = true,
                Fact::BackupTaken { volume: of, path, .. } if of == volume => files.push(path.clone()),
                Fact::BackupVerified { path } if files.contains(path) => proven = true,
                Fact::VolumeRemoved { volume: of } | Fact::VolumeInUse { volume: of } if of == volume => {
                    (proven, files) = (false, Vec::new());
                }
                _ => {}
            }
        }
        proven
    }
}

/// The fact that a backup was taken.
pub fn backed_up(volume: &Volume, backup: &Backup) -> Fact {
    let sha256 = backup.manifest.sha256.clone();
    Fact::BackupTaken { volume: volume.name.clone(), path: backup.path.clone(), sha256 }
}

/// Where a container keeps a PostgreSQL cluster: the names of its writable volumes.
pub fn volumes_of(container: &Container) -> impl Iterator<Item = &str> {
    let writable = container.mounts.iter().filter(|m| m.kind == "volume" && !m.read_only);
    writable.map(|m| m.name.as_str())
}

/// Whether one path is the other or lies below it.
pub fn is_within(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory)
}
