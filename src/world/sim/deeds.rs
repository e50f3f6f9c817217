//! What may happen to a world beside the program's own changes, as plain data: what other people do, and what is
//! planned for a change. A world in a file has it written there beforehand, so that the whole program can be killed,
//! interrupted or halted at an instant that is known.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something that somebody else does, or that happens. What it is about goes by name, and need not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", content = "of", rename_all = "snake_case")]
pub enum Deed {
    /// `docker container prune`: what is created or exited goes.
    PruneContainers,
    /// `docker volume prune`: what no container mounts goes; from engine 23 on only what nobody has named.
    PruneVolumes,
    /// `docker network prune`: networks in which nobody runs go.
    PruneNetworks,
    /// `docker compose up -d`, with the database's image of that major; without one as it was deployed last.
    ComposeUp {
        project: String,
        version: Option<u32>,
    },
    StartContainer(String),
    StopContainer(String),
    /// `docker rm -f`
    RemoveContainer(String),
    /// `docker exec … psql -c 'INSERT …'` in a server's container: a row, of which somebody is told that it is kept.
    Insert(String),
    /// A row that a program of the host writes to the server through a port that its container publishes.
    InsertThroughPort(String),
    /// A container's process is killed, as where memory is scarce.
    Kill(String),
    /// A container's process ends with an error, now and a moment after each start.
    CrashLoop(String),
    /// What made a container's process end with an error is mended: it runs from its next start on.
    Mend(String),
    /// The engine is killed while it starts that container: it comes up again, and can't start that one any more.
    HalfStart(String),
    /// A byte of a file, or of what is below a directory, of the machine that pgscript runs on is another one.
    DamageFile(PathBuf),
    /// `rm -rf` on the machine that pgscript runs on.
    RemoveFiles(PathBuf),
    /// The engine is started again: what runs is killed, and comes back by its restart policy.
    RestartEngine,
    /// The machine goes down at once, and comes up again: what nobody has synced is lost.
    PowerCut,
}

/// Something that happens once, at the first change that begins so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// As a [`Fault`](super::state::Fault) names it.
    pub change: String,
    /// After the change has succeeded; otherwise before it.
    pub is_after: bool,
    pub happening: Happening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", content = "of", rename_all = "snake_case")]
pub enum Happening {
    /// Somebody else does this.
    Deed(Deed),
    /// The program gets `SIGKILL`, or what else ends a process at once.
    Killed,
    /// The operator types Ctrl-C.
    Interrupted,
    /// The program stands still, as after `kill -STOP`, until somebody lets it go on: meanwhile others work.
    Halted,
}
