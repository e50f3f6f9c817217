//! What a run has proved. [`Ledger`] says what it adds up to, [`guards`](super::guards) what may be destroyed because
//! of it.
//!
//! A proof is a [`Fact`] in the journal, so a resumed run knows what its earlier processes have proved.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;

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
    /// A server was started on what was unpacked from these very bytes of the backup, and it was the cluster that was
    /// backed up, with all that was recorded of it.
    BackupBooted {
        path: PathBuf,
        sha256: String,
        system_identifier: String,
    },
    /// What a server held was written to a file, which a later run may go by: it is known by its checksum.
    ContentSaved {
        path: PathBuf,
        sha256: String,
    },
    /// Others may have written to the volume: earlier backups of it are not all of it any more, and it is not ours
    /// only.
    VolumeInUse {
        volume: String,
    },
    /// The run itself has written to the volume: earlier backups of it are not all of it any more.
    VolumeWritten {
        volume: String,
    },
    /// A container writes to the volume, or could; `started_at` (RFC 3339) is the start of it that the run knows of.
    Holder {
        container: String,
        volume: String,
        started_at: String,
    },
    /// The volume holds the database of a Compose project, or of the run's containers that have none.
    ClusterOf {
        volume: String,
        project: String,
    },
    /// The container was made by the run: nothing in it was there before.
    ContainerCreated {
        container: String,
    },
    /// The container is about to be started by the run.
    Starting {
        container: String,
    },
    /// The data of `from` is about to be given the name `to`; after a crash the engine shows which of them has it.
    VolumeMoving {
        from: String,
        to: String,
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
    /// `to` is a copy that has followed the server of `from` past its last checkpoint (`lsn`): it holds the same.
    CopyCaughtUp {
        from: String,
        to: String,
        lsn: String,
    },
    /// The copy in the volume was taken to a new version: what was the cluster of number `from` is that of number `to`.
    /// `same` files of its relations are the very files of the copy, `others` are not.
    ClusterUpgraded {
        volume: String,
        from: String,
        to: String,
        same: u64,
        others: Vec<String>,
    },
    /// The others of the cluster that was upgraded in the volume are of sequences: every table and index is in the very
    /// files of the copy.
    FilesProved {
        volume: String,
    },
    /// The volume is about to be removed.
    VolumeRemoved {
        volume: String,
    },
    /// The removed volume is gone: one of that name is another one.
    VolumeGone {
        volume: String,
    },
    /// The removal that was announced has not happened: the volume is what it was.
    VolumeStays {
        volume: String,
    },
    /// The volume holds the content of the backup whose file has this checksum (empty in journals of before).
    VolumeRestored {
        volume: String,
        path: PathBuf,
        #[serde(default)]
        sha256: String,
    },
    /// A backup or dump is about to be written: the path is the run's, and what was proved by what it replaces is not
    /// proved any more.
    ArtefactBegun {
        path: PathBuf,
    },
    /// A cluster was dumped, whole and checked. `fenced`: nobody else could reach the server meanwhile.
    DumpTaken {
        path: PathBuf,
        container: String,
        volume: Option<String>,
        system_identifier: String,
        tables: u64,
        fenced: bool,
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
    /// The operator allows the project's application to run although its data is not proved to be whole.
    FenceLifted {
        project: String,
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
    /// The container's definition is in this file, or about to be: who relies on it looks.
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
    ledger: Mutex<Ledger>,
    /// Objects the operator named with `--allow-data-loss`, such as `volume:primero_database`.
    allowed_losses: Vec<String>,
}

impl Evidence {
    /// `facts` are those of the run's earlier processes, in their order.
    pub fn new(facts: &[Fact], allowed_losses: Vec<String>) -> Self {
        Self { ledger: Mutex::new(Ledger::of(facts)), allowed_losses }
    }

    pub fn learn(&self, fact: &Fact) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).apply(fact);
    }

    /// What the facts add up to now. Nothing may be proved while `question` looks at it.
    pub fn ask<T>(&self, question: impl FnOnce(&Ledger) -> T) -> T {
        question(&self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the operator has named this very thing on the command line.
    pub fn allows_loss(&self, kind: &str, name: &str) -> bool {
        self.allowed_losses.iter().any(|loss| *loss == format!("{kind}:{name}"))
    }
}
