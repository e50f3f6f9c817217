//! The files of a cluster: copied while its server runs, following it, and taken to a new major version.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::postgres::Server;

/// Value of [`LABEL_HELPER`](super::container::LABEL_HELPER) on the containers of a copy: the one in which it follows
/// its server, and its [tools](ClusterCopy::tools). They outlive the process that made them.
pub const COPY: &str = "copy";

/// A copy of a cluster, in a volume of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterCopy {
    pub volume: String,
    /// Name of the container in which it follows the server; the replication slot is called so, too.
    pub name: String,
    /// Id and name of the server's container, and the id of its image.
    pub container: String,
    pub container_name: String,
    pub image_id: String,
    /// A superuser role, and a database to connect to.
    pub user: String,
    pub database: String,
    /// Owner of the files, `uid:gid` as a container sees it.
    pub owner: String,
    /// Bytes of all databases when it was taken.
    pub bytes: u64,
    /// The weight that its containers have for the processors; the usual one when `None`.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    pub cluster: ClusterFacts,
}

/// What a server says of its cluster, and what another one must have like it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    pub major: u32,
    pub system_identifier: String,
    /// As the server sees it.
    pub data_directory: String,
    pub port: u16,
    /// The role that initdb made: it may have been renamed since.
    pub bootstrap_user: String,
    pub data_checksums: bool,
    /// Bytes.
    pub wal_segment_size: u64,
    /// Settings that a standby may not have lower.
    pub at_least: BTreeMap<String, String>,
    /// Encoding, locale and provider of `template0`: columns of `pg_database`, as far as this major has them.
    pub template: BTreeMap<String, serde_json::Value>,
    pub bytes: u64,
}

impl ClusterFacts {
    /// A column of `template0`'s row that is a text.
    pub fn template(&self, column: &str) -> Option<&str> {
        self.template.get(column).and_then(serde_json::Value::as_str)
    }
}

impl ClusterCopy {
    /// How the copy itself is spoken to, in the container of that id and name.
    pub fn server(&self, id: &str, name: &str) -> Server {
        Server {
            container: id.to_owned(),
            container_name: name.to_owned(),
            user: self.user.clone(),
            password: None,
            database: self.database.clone(),
            is_database_chosen: false,
        }
    }

    /// The replication slot by which the server keeps what the copy has not got yet.
    pub fn slot(&self) -> String {
        slot_of(&self.name)
    }

    /// Name of the container with the programs of both versions.
    pub fn tools(&self) -> String {
        tools_of(&self.name)
    }
}

/// See [`ClusterCopy::tools`]; `name` is the copy's.
pub fn tools_of(name: &str) -> String {
    format!("{name}-tools")
}

/// Slots are called by small letters, digits and `_`, at most 63 of them; the end of a long name tells more.
pub fn slot_of(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let slot: String = name.to_lowercase().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    slot.get(slot.len().saturating_sub(63)..).unwrap_or(&slot).to_owned()
}

/// Where the files of a server that has stopped are.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub volume: String,
    /// Where the server's container mounts it, and its directory there.
    pub mount: String,
    pub directory: String,
}

/// How a copy is taken.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// See [`ClusterCopy::name`].
    pub name: String,
    /// As `pg_basebackup --max-rate` takes it; as fast as it goes when `None`.
    pub max_rate: Option<String>,
    /// See [`ClusterCopy::cpu_shares`].
    pub cpu_shares: Option<u64>,
}

/// How `pg_upgrade` hands over the files of tables and indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Each gets a second name: nothing is copied.
    Link,
    /// They are moved (18 and later).
    Swap,
    Copy,
}

/// How a copy is upgraded.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// The new version's image, and the volume with the old version's programs.
    pub image: String,
    pub programs: String,
    pub transfer: Transfer,
    pub jobs: u32,
    /// Directory in the volume in which the new server looks for its cluster; empty for the volume's root.
    pub place: String,
}

/// What an upgrade has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// Files of the site's relations in the new cluster that are the very files of the copy (the same inode).
    pub same: u64,
    /// The others, below the cluster's `base`: `16384/16397`. Sequences are made anew.
    pub others: Vec<String>,
    pub system_identifier: String,
}

/// Copies clusters with `pg_basebackup` and upgrades copies with `pg_upgrade`, in containers of the engine alone, so
/// with an engine on another machine, too.
///
/// Codes: `basebackup.refused` (the server lets no copy be taken, or none follow), `basebackup.failed`,
/// `basebackup.damaged`, `basebackup.behind`, `basebackup.not_stopped`, `pg_upgrade.no_programs`,
/// `pg_upgrade.no_user`, `pg_upgrade.failed` (message has the decisive lines of its logs).
pub trait ClusterFiles: Send + Sync {
    /// Whether the server lets a copy be taken and follow: opens a session for replication.
    fn can_replicate(&self, server: &Server) -> Result<()>;

    /// Copies the running server's cluster into a volume of which nothing else is wanted, and reads it back.
    fn copy(&self, server: &Server, volume: &str, options: &CopyOptions) -> Result<ClusterCopy>;

    /// Starts the copy, which follows the server from then on. One that is there is started again.
    fn follow(&self, copy: &ClusterCopy, server: &Server) -> Result<Server>;

    /// Whether the copy runs and follows.
    fn follows(&self, copy: &ClusterCopy) -> Result<bool>;

    /// Takes the copy anew, of the files of its server, which has stopped cleanly.
    fn copy_stopped(&self, copy: &ClusterCopy, stopped: &Stopped) -> Result<()>;

    /// Bytes of the log that the copy has not got yet.
    fn lag(&self, copy: &ClusterCopy, server: &Server) -> Result<u64>;

    /// Waits until the copy has everything up to the last checkpoint of its server, which has stopped. Gives how far it
    /// came.
    fn caught_up(&self, copy: &ClusterCopy, checkpoint: &str) -> Result<String>;

    /// Cuts the copy off from its server, which goes on, and makes a cluster of its own of it, in a network of its own.
    /// Unlogged tables are empty in it.
    fn part(&self, copy: &ClusterCopy, server: &Server) -> Result<Server>;

    /// Makes a cluster of its own of the copy, and stops it cleanly. What no standby has, the rows of unlogged tables,
    /// is taken from the files of the server, which has stopped cleanly; not for a copy that was parted.
    fn promote(&self, copy: &ClusterCopy, stopped: Option<&Stopped>) -> Result<()>;

    /// Ends the copy of that name; where its server runs, what that kept for it goes, too.
    fn discard(&self, name: &str, server: Option<&Server>) -> Result<()>;

    /// Fills a volume with the programs of an image, such that they run in a container of another one.
    fn programs(&self, image: &str, volume: &str) -> Result<()>;

    /// Makes an empty cluster beside the copy, for [`ClusterFiles::upgrade`]. `programs`: see there.
    fn initdb(&self, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()>;

    /// Lays files ready, a tar stream of them, that come into that cluster when it is upgraded: in the place of those
    /// of their names, or, of one called `NAME.added`, at the end of `NAME`.
    fn settings(&self, copy: &ClusterCopy, files: &mut (dyn Read + Send)) -> Result<()>;

    /// Asks whether the copy, which runs and follows, could be upgraded into that cluster.
    fn check_upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()>;

    /// Upgrades the copy into that cluster, which then is all that the volume holds. A copy serves once: where it
    /// failed, it is of no more use.
    fn upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Upgraded>;

    /// Which of a running server's tables and indexes are in `files` (see [`Upgraded::others`]): `database: name`.
    fn made_anew(&self, server: &Server, files: &[String]) -> Result<Vec<String>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_called_as_a_server_allows_it() {
        assert_eq!(slot_of("Primero-pgscript-copy-1.x"), "primero_pgscript_copy_1_x");
        assert_eq!(slot_of(&format!("{}-end", "a".repeat(80))).len(), 63);
        assert!(slot_of(&format!("{}-end", "ü".repeat(80))).ends_with("__end"));
    }
}
