//! A volume's content as one file: written, checked, read back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Result;

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
    /// An image the site has, for the created container of [`Access::Endpoint`]; a container that mounts
    /// the volume is used when there is one.
    pub image: Option<String>,
}

/// Copies volumes to files and back. Codes: `volume.not_found`, `volume.in_use`, `volume.not_empty`, `volume.changed`
/// (while it was read), `volume.no_mount_point` ([`Access::MountPoint`] only), `backup.exists`, `backup.in_progress`,
/// `backup.not_found`, `backup.no_manifest`, `backup.damaged`, `backup.cut_off`, `backup.other_owners`,
/// `docker.image_missing` (the archive endpoint, no image known), `host.disk_full`.
pub trait VolumeArchive: Send + Sync {
    /// Writes `<path>` and `<path>.json` (0600). The file appears under its name only when it is whole
    /// and synced; an existing file is never overwritten. Nothing may have the volume mounted and be running.
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

    /// Bytes of the regular files of a volume, and whether it has any entry.
    fn size(&self, volume: &str) -> Result<(u64, bool)>;
}
