//! A volume's content: as one file, under another name, twice; and what keeps a volume from being tidied away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::{Container, Volume};
use super::control::ControlFile;
use super::error::Result;

/// On a volume that [`VolumeArchive::rename`] made; its value is the name the volume had.
pub const LABEL_MOVED_FROM: &str = "pgscript.moved-from";
/// On a volume that [`VolumeArchive::clone_to`] made; its value is the name of the volume it was copied from.
pub const LABEL_CLONED_FROM: &str = "pgscript.cloned-from";
/// What a backup holds; kept beside it as `<file>.json` so that a person can read it in an emergency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub volume: String,
    /// Content of `PG_VERSION`, wherever the layout puts it; empty when the volume holds no cluster.
    pub pg_version: String,
    /// Entries of any kind: files, directories, links; the root included, as `tar --list` prints them.
    pub entries: u64,
    pub files: u64,
    /// Sum of the regular files' sizes.
    pub bytes: u64,
    /// Bytes of the compressed file.
    pub compressed_bytes: u64,
    /// Of the compressed file, as `sha256sum` prints it.
    pub sha256: String,
    /// Owner of the volume's root directory.
    pub uid: u64,
    pub gid: u64,
    /// Whose numbers the archive's owners are: [`OWNERS_CONTAINER`], or `host <uid>.<gid>` where the engine remaps
    /// user ids and the volume was read on its host.
    #[serde(default = "owners_container")]
    pub owners: String,
    /// RFC 3339.
    pub created_at: String,
}

/// Owners as a container sees them: the same as the host's unless the engine remaps user ids.
pub const OWNERS_CONTAINER: &str = "container";

fn owners_container() -> String {
    OWNERS_CONTAINER.into()
}

/// A backup on disk: a zstd-compressed tar of the volume's root, paths relative to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    pub path: PathBuf,
    pub manifest: Manifest,
}

/// How a volume's bytes are read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The mount point when it can be reached, else the archive endpoint.
    #[default]
    Auto,
    /// Only the mount point the engine names (same machine, root).
    MountPoint,
    /// Only the engine's archive endpoint, through a created (never started) container.
    Endpoint,
}

/// Options of [`VolumeArchive::backup`].
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    pub access: Access,
    /// zstd level; 1 when `None`.
    pub level: Option<i32>,
    /// Whether an older backup of the same volume at that path gives way; it stays until the new one is whole, and for
    /// good when the volume has become empty.
    pub replace: bool,
    /// An image the site has, for the created container of [`Access::Endpoint`]; a container that mounts
    /// the volume is used when there is one.
    pub image: Option<String>,
}

/// Options of [`VolumeArchive::rename`] and [`VolumeArchive::clone_to`].
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// For the new volume; one that tells where its content is from is added.
    pub labels: BTreeMap<String, String>,
    /// An image the engine has, with `sh` and the core utilities, for the helper container that is needed where the
    /// engine's files can't be reached; that of a container that mounts the volume when `None`.
    pub image: Option<String>,
}

/// What happens to volumes as a whole. Codes: `volume.not_found`, `volume.in_use`, `volume.not_empty`, `volume.changed`
/// (while it was read), `volume.no_mount_point` ([`Access::MountPoint`] only), `backup.exists`, `backup.in_progress`,
/// `backup.other_volume`, `backup.empty_volume`, `backup.not_found`, `backup.no_manifest`, `backup.damaged`,
/// `backup.cut_off`, `backup.other_owners`, `docker.image_missing` (a helper is needed, no image known),
/// `host.disk_full`; of moving and cloning `volume.exists` and `volume.cannot_move`, `volume.cannot_clone` with the
/// reason.
pub trait VolumeArchive: Send + Sync {
    /// Writes `<path>` and `<path>.json` (0600). The file appears under its name only when it is whole
    /// and synced; an existing file is overwritten only with [`BackupOptions::replace`]. Nothing may have the volume
    /// mounted and be running.
    fn backup(&self, volume: &str, path: &Path, options: &BackupOptions) -> Result<Backup>;

    /// Reads a backup's manifest.
    fn open(&self, path: &Path) -> Result<Backup>;

    /// Reads the whole file back: checksum, decompression, every entry, counts against the manifest.
    fn verify(&self, backup: &Backup) -> Result<()>;

    /// Gives an empty volume exactly the backup's content: bytes, owners, modes, links, times. Broken off, it leaves
    /// a volume that is not empty and that the next restore refuses.
    fn restore(&self, backup: &Backup, volume: &str, options: &BackupOptions) -> Result<()>;

    /// The first line of `PG_VERSION` in a volume, without starting anything; empty when there is none.
    fn pg_version(&self, volume: &str) -> Result<String>;

    /// What the control file says of the cluster in a directory of a volume (empty for its root), without starting
    /// anything; `None` where there is none that can be read.
    fn control(&self, volume: &str, directory: &str) -> Result<Option<ControlFile>>;

    /// Bytes of the regular files of a volume, and whether it has any entry.
    fn size(&self, volume: &str) -> Result<(u64, bool)>;

    /// Keeps the data of volume `from` under the name `to` without copying them, and leaves no volume `from`. Needs
    /// the driver `local` without options, and no container but a keeper that mounts `from`; `to` gets a keeper where
    /// `from` had one. Killed at any instant, the same call again completes it. Refused where both hold something.
    fn rename(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume>;

    /// Gives the content of volume `from` to a new volume `to` as well, verified, with shared blocks on file systems
    /// that can. Nothing that runs may have `from` mounted writable. `to` is empty until it holds everything; the same
    /// call again completes one that was killed, and is satisfied with a `to` that it made and that is still the same.
    fn clone_to(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume>;

    /// A container, created and never started, that mounts the volume, so that `docker volume prune` leaves the volume
    /// alone, and the removal of *exited* containers leaves the container alone. One that is there is found again.
    /// `image`: that of a container that mounts the volume, or of any container, when `None`.
    fn keep(&self, volume: &str, image: Option<&str>) -> Result<Container>;

    /// Removes the volume's keepers, if it has any.
    fn unkeep(&self, volume: &str) -> Result<()>;
}
