//! A simulated volume's content as one file, and back; what can be said of it without starting anything.

use std::path::Path;

use super::artefact::{beside, called, partial, time};
use super::bulk::work;
use super::state::{Container, Content, Tree};
use super::{Context, State, moves};
use crate::world::container::{self as world, Mount};
use crate::world::control::ControlFile;
use crate::world::error::{Error, Result};
use crate::world::volume::*;

/// How much smaller a backup is than the volume.
const PACKED: u64 = 4;
/// Files and directories of a cluster without tables, and files of a table.
const FILES: u64 = 900;
const DIRECTORIES: u64 = 26;
const OF_TABLE: u64 = 3;

/// The [`VolumeArchive`] of the simulated world.
pub struct Archives {
    context: Context,
}

impl Archives {
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Tree {
    /// Bytes of its regular files.
    pub fn bytes(&self) -> u64 {
        let clusters = self.clusters.values().map(|cluster| cluster.bytes() + cluster.log_bytes).sum::<u64>();
        clusters + self.files.values().map(|file| file.len() as u64).sum::<u64>()
    }

    fn file_count(&self) -> u64 {
        let tables = |cluster: &super::cluster::Cluster| {
            cluster.databases.values().map(|database| database.tables.len() as u64).sum::<u64>()
        };
        let clusters = self.clusters.values().map(|cluster| FILES + tables(cluster) * OF_TABLE).sum::<u64>();
        clusters + self.files.len() as u64
    }

    /// What `PG_VERSION` says, wherever the layout puts it; empty without a cluster.
    pub fn pg_version(&self) -> String {
        let in_root = self.clusters.get("").map(|cluster| cluster.major);
        let majors = self.clusters.iter().filter_map(|(directory, cluster)| {
            let major = directory.strip_suffix("/docker")?.parse::<u32>().ok()?;
            Some((major, cluster.major))
        });
        let found = in_root.or_else(|| majors.max().map(|(_, major)| major));
        found.map(|major| major.to_string()).unwrap_or_default()
    }

    /// The same content, whatever has been synced.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.clusters, &self.files, self.is_partial) == (&other.clusters, &other.files, other.is_partial)
    }
}

impl State {
    /// Errors: `volume.not_found`.
    pub(super) fn known_volume(&self, name: &str) -> Result<&super::state::Volume> {
        self.volumes.get(name).ok_or_else(|| {
            Error::failed("volume.not_found", format!("there is no volume {name}")).hint("docker volume ls")
        })
    }

    /// Errors: `volume.in_use` while a container that mounts the volume is not stopped.
    pub(super) fn check_unused(&self, volume: &str) -> Result<()> {
        self.check_not_running(volume, |_| true)
    }

    /// Errors: `volume.in_use` while a container that could write to the volume is not stopped.
    pub(super) fn check_unwritten(&self, volume: &str) -> Result<()> {
        self.check_not_running(volume, |mount| !mount.read_only)
    }

    fn check_not_running(&self, volume: &str, counts: impl Fn(&Mount) -> bool) -> Result<()> {
        let is_up = |c: &&Container| matches!(c.state.as_str(), "running" | "paused" | "restarting" | "removing");
        let mounts = |c: &&Container| c.mounts.iter().any(|m| m.kind == "volume" && m.name == volume && counts(m));
        let mut names: Vec<_> = self.holders(volume).filter(is_up).filter(mounts).map(|c| c.name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        names.sort();
        let message = format!("volume {volume} is mounted by running containers: {}", names.join(", "));
        Err(Error::refused("volume.in_use", message)
            .hint("stop them first; a server's files are only consistent after a clean stop"))
    }
}

fn taken(path: &Path) -> Error {
    Error::refused("backup.exists", format!("{} exists already", path.display()))
        .hint("name another file; one that an earlier attempt left can be replaced: #{ replace: true }")
}

/// What an earlier attempt left is a backup of the same volume; anything else of that name stays.
fn check_free(state: &State, volume: &str, path: &Path, options: &BackupOptions) -> Result<()> {
    if !state.files.contains_key(path) {
        return Ok(());
    }
    if !options.replace {
        return Err(taken(path));
    }
    let found = open(state, path).map_err(|_| taken(path))?.manifest.volume;
    if found == volume {
        return Ok(());
    }
    let message = format!("{} is a backup of volume {found} and is not replaced by one of {volume}", path.display());
    Err(Error::refused("backup.other_volume", message).hint("name another file"))
}

/// Reads a backup's manifest.
fn open(state: &State, path: &Path) -> Result<Backup> {
    let (record, shown) = (beside(path), path.display());
    if !state.files.contains_key(path) {
        return Err(Error::failed("backup.not_found", format!("there is no backup {shown}")));
    }
    let by_hand = format!(
        "look for a copy of {}; the data itself can be checked by hand with: zstd -dc {shown} | tar -t",
        record.display()
    );
    let manifest = match state.files.get(&record).map(|file| &file.content) {
        Some(Content::Bytes { bytes }) => serde_json::from_slice(bytes).map_err(|e| {
            Error::failed("backup.damaged", format!("the manifest {} can't be read: {e}", record.display()))
        }),
        _ => Err(Error::failed("backup.no_manifest", format!("{shown} has no manifest {}", record.display()))),
    };
    Ok(Backup { path: path.to_owned(), manifest: manifest.map_err(|e| e.hint(by_hand))? })
}

/// What a backup would give back, when it has been read to its end.
fn read(state: &State, backup: &Backup) -> Result<Tree> {
    let (shown, stated) = (backup.path.display(), &backup.manifest);
    let another = "use another copy of this backup; this one can't be restored";
    let damaged = |what: &str| Error::failed("backup.damaged", format!("{shown} is damaged: {what}")).hint(another);
    let Some(file) = state.files.get(&backup.path) else {
        let message = format!("cannot read {shown}: No such file or directory (os error 2)");
        return Err(Error::failed("host.not_found", message));
    };
    let (is, stated_bytes) = (file.content.size(), stated.compressed_bytes);
    let is_of_bytes = matches!(file.content, Content::Bytes { .. });
    if is < stated_bytes && !is_of_bytes {
        let message = format!("{shown} has {is} of {stated_bytes} bytes");
        return Err(Error::failed("backup.cut_off", message).hint(another));
    }
    if is > stated_bytes && !is_of_bytes {
        return Err(damaged(&format!("it has {is} bytes, its manifest says {stated_bytes}")));
    }
    let sha256 = file.content.sha256();
    match file.content.artefact().as_deref() {
        Some(Content::Backup { tree, is_whole: true, .. }) if sha256 == stated.sha256 => Ok(tree.clone()),
        _ => Err(damaged(&format!("its sha256 is {sha256}, its manifest says {}", stated.sha256))),
    }
}

fn described(volume: &str, tree: &Tree, content: &Content, now: u64) -> Manifest {
    let files = tree.file_count();
    let (uid, gid) = tree.owner.split_once(':').unwrap_or(("0", "0"));
    Manifest {
        volume: volume.into(),
        pg_version: tree.pg_version(),
        entries: 1 + files + tree.clusters.len() as u64 * DIRECTORIES,
        files,
        bytes: tree.bytes(),
        compressed_bytes: content.size(),
        sha256: content.sha256(),
        uid: uid.parse().unwrap_or_default(),
        gid: gid.parse().unwrap_or_default(),
        owners: OWNERS_CONTAINER.into(),
        created_at: time(now),
    }
}

/// A backup that grows under a temporary name; what is left of it goes where it comes to nothing.
struct Growing<'c> {
    context: &'c Context,
    volume: &'c str,
    path: &'c Path,
    options: &'c BackupOptions,
}

impl Growing<'_> {
    fn act(&self, verb: &str, act: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        self.context.cancel.check()?;
        self.context.sim.act(&format!("{verb} {}", self.volume), act)
    }

    fn make(&self) -> Result<Backup> {
        let partial = partial(self.path);
        let tree = self.context.sim.read(|state| Ok(state.known_volume(self.volume)?.tree.clone()))?;
        let tree = Tree { is_unsynced: false, ..tree };
        let compressed = (tree.bytes() / PACKED).max(1000);
        let (change, label) = (format!("backup {}", self.volume), format!("backup {}", self.volume));
        work(self.context, &change, &label, tree.bytes(), |state, piece| {
            let (bytes, is_whole) = (piece.part(compressed), piece.is_last());
            state.put_file(&partial, Content::Backup { tree: tree.clone(), bytes, is_whole }, 0o600)
        })?;
        self.act("sync the backup of", |state| {
            state.sync_files(&partial);
            // Whoever started meanwhile has written to what was read.
            state.check_unused(self.volume)
        })?;
        let content = Content::Backup { tree: tree.clone(), bytes: compressed, is_whole: true };
        let manifest = self.context.sim.read(|state| {
            self.check_not_emptied(state, &tree)?;
            Ok(described(self.volume, &tree, &content, state.now))
        })?;
        self.publish(manifest)
    }

    /// A backup with files in it does not give way to one without.
    fn check_not_emptied(&self, state: &State, tree: &Tree) -> Result<()> {
        let is_full = open(state, self.path).is_ok_and(|old| old.manifest.files > 0);
        if !self.options.replace || !is_full || tree.file_count() > 0 {
            return Ok(());
        }
        let (volume, shown) = (self.volume, self.path.display());
        let message = format!("volume {volume} is empty, and {shown} is a backup of when it was not");
        Err(Error::refused("backup.empty_volume", message).hint("the old backup is as it was; name another file"))
    }

    /// The manifest goes first: a backup without its manifest never shows.
    fn publish(&self, manifest: Manifest) -> Result<Backup> {
        let bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Error::failed("host.io", format!("cannot write the manifest: {e}")))?;
        let record = beside(self.path);
        self.act("describe the backup of", |state| {
            state.put_file(&record, Content::Bytes { bytes }, 0o600)?;
            state.sync_files(&record);
            Ok(())
        })?;
        self.act("publish the backup of", |state| {
            state.rename_files(&partial(self.path), self.path);
            Ok(())
        })?;
        Ok(Backup { path: self.path.to_owned(), manifest })
    }

    /// With the backup's name never given, a manifest would speak of none.
    fn give_up(&self) {
        let (partial, record) = (partial(self.path), beside(self.path));
        // What led here is what the caller hears of.
        let _ = self.context.sim.act(&format!("remove the backup of {}", self.volume), |state| {
            state.remove_files(&partial);
            if !state.files.contains_key(self.path) {
                state.remove_files(&record);
            }
            Ok(())
        });
    }
}

impl VolumeArchive for Archives {
    fn backup(&self, volume: &str, path: &Path, options: &BackupOptions) -> Result<Backup> {
        self.context.sim.read(|state| {
            state.known_volume(volume)?;
            state.check_unused(volume)?;
            check_free(state, volume, path, options)
        })?;
        let growing = Growing { context: &self.context, volume, path, options };
        growing.make().inspect_err(|_| growing.give_up())
    }

    fn open(&self, path: &Path) -> Result<Backup> {
        self.context.sim.read(|state| open(state, path))
    }

    fn verify(&self, backup: &Backup) -> Result<()> {
        let change = format!("verify backup {}", called(&backup.path));
        let label = format!("verify {}", backup.path.display());
        work(&self.context, &change, &label, backup.manifest.bytes, |state, piece| match piece.is_last() {
            true => read(state, backup).map(|_| ()),
            false => Ok(()),
        })
    }

    fn restore(&self, backup: &Backup, volume: &str, _options: &BackupOptions) -> Result<()> {
        self.context.sim.read(|state| {
            let tree = &state.known_volume(volume)?.tree;
            state.check_unused(volume)?;
            if !tree.is_empty() {
                return Err(Error::refused("volume.not_empty", format!("volume {volume} is not empty"))
                    .hint("restore into a new volume; one that an earlier restore left half filled is removed first"));
            }
            let (free, needed) = (state.free, backup.manifest.bytes);
            if free < needed {
                let message = format!("volume {volume} needs {needed} bytes, {free} are free");
                return Err(Error::refused("host.disk_full", message));
            }
            Ok(())
        })?;
        let (change, label) = (format!("restore {volume}"), format!("restore {volume}"));
        let restored = work(&self.context, &change, &label, backup.manifest.bytes, |state, piece| {
            let found = read(state, backup);
            let held = state.files.get(&backup.path).and_then(|file| match file.content.artefact()?.into_owned() {
                Content::Backup { tree, .. } => Some(tree),
                _ => None,
            });
            state.known_volume(volume)?;
            let Some(volume) = state.volumes.get_mut(volume) else { return Ok(()) };
            if piece.is_last() {
                volume.tree = found?;
            } else if let Some(tree) = held {
                // Damage shows at the end of it.
                volume.tree = Tree { is_partial: true, ..tree };
            }
            Ok(())
        });
        restored.map_err(|error| {
            error.further_hint(&format!(
                "volume {volume} may be half filled: remove it and create it again before the next restore"
            ))
        })
    }

    fn pg_version(&self, volume: &str) -> Result<String> {
        self.context.sim.read(|state| Ok(state.known_volume(volume)?.tree.pg_version()))
    }

    fn control(&self, volume: &str, directory: &str) -> Result<Option<ControlFile>> {
        self.context.sim.read(|state| {
            let clusters = &state.known_volume(volume)?.tree.clusters;
            Ok(clusters.get(directory.trim_matches('/')).map(super::cluster::Cluster::control_file))
        })
    }

    fn size(&self, volume: &str) -> Result<(u64, bool)> {
        self.context.sim.read(|state| {
            let tree = &state.known_volume(volume)?.tree;
            Ok((tree.bytes(), !tree.is_empty()))
        })
    }

    fn rename(&self, from: &str, to: &str, options: &NewVolume) -> Result<world::Volume> {
        moves::rename(&self.context, from, to, options)
    }

    fn clone_to(&self, from: &str, to: &str, options: &NewVolume) -> Result<world::Volume> {
        moves::clone_to(&self.context, from, to, options)
    }

    fn keep(&self, volume: &str, image: Option<&str>) -> Result<world::Container> {
        moves::keep(&self.context, volume, image)
    }

    fn unkeep(&self, volume: &str) -> Result<()> {
        moves::unkeep(&self.context, volume)
    }
}

#[cfg(test)]
mod tests;
