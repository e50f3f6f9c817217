//! Volumes as files (one zstd-compressed tar each, with a manifest beside it), and volumes as a whole: moved, cloned,
//! kept.
//!
//! `access` finds the way to a volume's bytes. `tree` and `extract` read and write them at the mount point,
//! `endpoint` streams them through the engine. `member` is the archive format, `artefact` the file it is kept in.
//! `rename` and `duplicate` work on the `directories` of the engine's own driver, here or by a `worker` on the engine's
//! host; `keeper` holds on to a volume.
//! Nothing here starts a container of the stack or decides what may be lost.

mod access;
mod artefact;
mod copy;
mod directories;
mod duplicate;
mod endpoint;
mod extract;
mod keeper;
mod member;
mod pipe;
mod places;
mod rename;
mod tally;
#[cfg(test)]
mod tests;
mod tree;
mod worker;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use self::access::{Helper, MOUNT_NAME, Route};
use self::artefact::{Artefact, Reading, damaged};
use self::copy::{Copier, CopyError};
use self::extract::Extractor;
use self::member::{Member, Members};
use self::tally::{Tally, VersionFinder, first_line};
use super::Context;
use super::host::now;
use super::progress::Progress;
use crate::world::container::{Container, ContainerEngine, Volume};
use crate::world::control::{self, ControlFile};
use crate::world::error::{Error, Result};
use crate::world::volume::*;

/// zstd's fastest ordinary level: a disk is slower than two cores of it.
const LEVEL: i32 = 1;

pub struct Volumes {
    context: Context,
    containers: Arc<dyn ContainerEngine>,
}

impl Volumes {
    pub fn new(context: Context, containers: Arc<dyn ContainerEngine>) -> Self {
        Self { context, containers }
    }
}

impl VolumeArchive for Volumes {
    fn backup(&self, volume: &str, path: &Path, options: &BackupOptions) -> Result<Backup> {
        let described = self.volume(volume)?;
        self.check_unused(volume)?;
        let info = self.containers.info()?;
        let route = self.route(&described, options, &info, None)?;
        let packed = pack(&self.context, volume, path, options, |out, progress| match &route {
            Route::MountPoint(dir) => pack_directory(&self.context, dir, out, progress),
            Route::Endpoint(helper) => pack_endpoint(&self.context, helper, out, progress),
        })?;
        // Whoever started meanwhile has written to what was read.
        self.check_unused(volume)?;
        packed.publish(route.owners(&info))
    }

    fn open(&self, path: &Path) -> Result<Backup> {
        artefact::open(path)
    }

    fn verify(&self, backup: &Backup) -> Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let label = format!("verify {}", backup.path.display());
        each_member(&self.context, backup, &label, &mut |_, content, advance| {
            loop {
                self.context.cancel.check()?;
                match content.read(&mut buffer).map_err(CopyError::Source)? {
                    0 => return Ok(()),
                    read => advance(read as u64),
                }
            }
        })
    }

    fn restore(&self, backup: &Backup, volume: &str, options: &BackupOptions) -> Result<()> {
        let described = self.volume(volume)?;
        self.check_unused(volume)?;
        let info = self.containers.info()?;
        let route = self.route(&described, options, &info, Some(&backup.manifest.owners))?;
        if !is_empty(&self.context, &route)? {
            return Err(Error::refused("volume.not_empty", format!("volume {volume} is not empty"))
                .hint("restore into a new volume; one that an earlier restore left half filled is removed first"));
        }
        match &route {
            Route::MountPoint(dir) => unpack_directory(&self.context, backup, volume, dir),
            Route::Endpoint(helper) => unpack_endpoint(&self.context, backup, volume, helper),
        }
    }

    fn pg_version(&self, volume: &str) -> Result<String> {
        let described = self.volume(volume)?;
        let info = self.containers.info()?;
        if access::is_without_directory(&described, &info) {
            return Ok(String::new());
        }
        match self.route(&described, &BackupOptions::default(), &info, None)? {
            Route::MountPoint(dir) => pg_version_in(&dir),
            Route::Endpoint(helper) => endpoint::pg_version(&helper, &self.context.cancel),
        }
    }

    fn control(&self, volume: &str, directory: &str) -> Result<Option<ControlFile>> {
        let described = self.volume(volume)?;
        let info = self.containers.info()?;
        if access::is_without_directory(&described, &info) {
            return Ok(None);
        }
        let path = Path::new(directory).join(control::PATH);
        let bytes = match self.route(&described, &BackupOptions::default(), &info, None)? {
            Route::MountPoint(dir) => file_in(&dir, &path)?,
            Route::Endpoint(helper) => endpoint::file(&helper, &path.to_string_lossy())?,
        };
        Ok(bytes.and_then(|bytes| ControlFile::parse(&bytes)))
    }

    fn size(&self, volume: &str) -> Result<(u64, bool)> {
        let described = self.volume(volume)?;
        let info = self.containers.info()?;
        if access::is_without_directory(&described, &info) {
            return Ok((0, false));
        }
        let tally = match self.route(&described, &BackupOptions::default(), &info, None)? {
            Route::MountPoint(dir) => tree::measure(&dir, &self.context.cancel)?,
            Route::Endpoint(helper) => measure_endpoint(&self.context, &helper)?,
        };
        // The root is an entry, too.
        Ok((tally.bytes, tally.entries > 1))
    }

    fn rename(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume> {
        self.rename_volume(from, to, options)
    }

    fn clone_to(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume> {
        self.clone_volume(from, to, options)
    }

    fn keep(&self, volume: &str, image: Option<&str>) -> Result<Container> {
        self.keep_volume(volume, image)
    }

    fn unkeep(&self, volume: &str) -> Result<()> {
        self.unkeep_volume(volume)
    }
}

/// What reading a volume gave: its counts and its cluster's version.
type Content = (Tally, String);

/// A backup that is whole and on disk, but not yet visible.
struct Packed {
    artefact: Artefact,
    manifest: Manifest,
}

impl Packed {
    fn publish(self, owners: String) -> Result<Backup> {
        self.artefact.publish(Manifest { owners, ..self.manifest })
    }
}

/// Writes what `read` reads into a new file.
fn pack(
    context: &Context,
    volume: &str,
    path: &Path,
    options: &BackupOptions,
    read: impl FnOnce(&mut (dyn Write + Send), &mut Progress) -> Result<Content>,
) -> Result<Packed> {
    let level = options.level.unwrap_or(LEVEL);
    if options.replace {
        artefact::check_replaceable(path, volume)?;
    }
    let (mut artefact, mut compressor) = Artefact::create(path, level, options.replace, &context.cancel)?;
    let mut progress = Progress::bytes(context, format!("backup {volume}"), None);
    let (tally, pg_version) = read(&mut compressor, &mut progress).map_err(|e| artefact.reason(e))?;
    let written = artefact.seal(compressor)?;
    let manifest = Manifest {
        volume: volume.into(),
        pg_version,
        entries: tally.entries,
        files: tally.files,
        bytes: tally.bytes,
        compressed_bytes: written.bytes,
        sha256: written.sha256,
        uid: tally.uid.into(),
        gid: tally.gid.into(),
        owners: OWNERS_CONTAINER.into(),
        created_at: now(),
    };
    Ok(Packed { artefact, manifest })
}

fn pack_directory(
    context: &Context,
    dir: &Path,
    out: &mut (dyn Write + Send),
    progress: &mut Progress,
) -> Result<Content> {
    let expected = tree::measure(dir, &context.cancel)?;
    progress.expect(expected.bytes);
    let version = pg_version_in(dir)?;
    let tally = tree::write(dir, &context.cancel, out, &mut |n| progress.advance(n))?;
    if tally != expected {
        return Err(Error::failed("volume.changed", "files came or went while the volume was read")
            .hint("something writes to the volume: stop it, then try again"));
    }
    Ok((tally, version))
}

fn pack_endpoint(
    context: &Context,
    helper: &Helper<'_>,
    out: &mut (dyn Write + Send),
    progress: &mut Progress,
) -> Result<Content> {
    endpoint::read(helper, &context.cancel, |members| {
        let mut copier = Copier::new(out, "./", &context.cancel);
        let content =
            survey(members, &mut |member, content| copier.add(member, content, &mut |n| progress.advance(n)))?;
        copier.finish()?;
        Ok(content)
    })
}

fn measure_endpoint(context: &Context, helper: &Helper<'_>) -> Result<Tally> {
    let counted = endpoint::read(helper, &context.cancel, |members| survey(members, &mut |_, _| Ok(())));
    counted.map(|(tally, _)| tally)
}

type Take<'a> = dyn FnMut(&Member, &mut dyn Read) -> Result<(), CopyError> + 'a;

/// Hands on every member and counts.
fn survey<R: Read>(members: &mut Members<R>, take: &mut Take<'_>) -> Result<Content, CopyError> {
    let (mut tally, mut version) = (Tally::default(), VersionFinder::default());
    while let Some(member) = members.next().map_err(CopyError::Source)? {
        tally.count(&member);
        let start = version.read(&member, members).map_err(CopyError::Source)?;
        take(&member, &mut Read::chain(start.as_slice(), &mut *members))?;
    }
    Ok((tally, version.version().to_owned()))
}

type TakeCounted<'a> = dyn FnMut(&Member, &mut dyn Read, &mut dyn FnMut(u64)) -> Result<(), CopyError> + 'a;

/// Reads a backup to its end, hands on every member, and compares the whole with the manifest.
fn each_member(context: &Context, backup: &Backup, label: &str, take: &mut TakeCounted<'_>) -> Result<()> {
    let mut progress = Progress::bytes(context, label, Some(backup.manifest.bytes));
    let mut reading = Reading::start(backup, &context.cancel)?;
    let mut place = "at the start".to_owned();
    let read = survey(reading.members()?, &mut |member, content| {
        place = format!("in {}", member.name());
        take(member, content, &mut |n| progress.advance(n))?;
        place = format!("after {}", member.name());
        Ok(())
    });
    let (tally, version) = match read {
        Ok(content) => content,
        Err(CopyError::Source(error)) => return Err(reading.reason(&place, error)),
        Err(CopyError::Target(error)) => return Err(error),
    };
    reading.finish()?;
    compare(backup, &tally, &version)
}

fn compare(backup: &Backup, tally: &Tally, version: &str) -> Result<()> {
    let stated = &backup.manifest;
    let counts = [
        ("entries", tally.entries, stated.entries),
        ("files", tally.files, stated.files),
        ("bytes", tally.bytes, stated.bytes),
        ("the root's uid", tally.uid.into(), stated.uid),
        ("the root's gid", tally.gid.into(), stated.gid),
    ];
    if let Some((what, is, stated)) = counts.into_iter().find(|(_, is, stated)| is != stated) {
        return Err(damaged(backup, format!("{what}: {is} in the archive, {stated} in the manifest")));
    }
    if version != stated.pg_version {
        let what = format!("PG_VERSION is \"{version}\" in the archive, \"{}\" in the manifest", stated.pg_version);
        return Err(damaged(backup, what));
    }
    Ok(())
}

fn is_empty(context: &Context, route: &Route<'_>) -> Result<bool> {
    match route {
        Route::MountPoint(dir) => match fs::read_dir(dir) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(e) => Err(Error::io("list", dir.display(), &e)),
        },
        Route::Endpoint(helper) => endpoint::read(helper, &context.cancel, |members| {
            members.next().and_then(|_root| members.next()).map(|first| first.is_none()).map_err(CopyError::Source)
        }),
    }
}

fn unpack_directory(context: &Context, backup: &Backup, volume: &str, dir: &Path) -> Result<()> {
    let space = rustix::fs::statvfs(dir).map_err(|e| Error::io("look at", dir.display(), &e.into()))?;
    let (free, needed) = (space.f_bavail * space.f_frsize, backup.manifest.bytes);
    if free < needed {
        let message = format!("volume {volume} needs {needed} bytes, {free} are free at {}", dir.display());
        return Err(Error::refused("host.disk_full", message));
    }
    let mut extractor = Extractor::new(dir, &context.cancel)?;
    let mut take =
        |member: &Member, content: &mut dyn Read, advance: &mut dyn FnMut(u64)| extractor.add(member, content, advance);
    each_member(context, backup, &format!("restore {volume}"), &mut take)
        .and_then(|()| extractor.finish())
        .map_err(|e| half_filled(e, volume))
}

fn unpack_endpoint(context: &Context, backup: &Backup, volume: &str, helper: &Helper<'_>) -> Result<()> {
    endpoint::write(helper, &context.cancel, |out| {
        let mut copier = Copier::new(out, format!("{MOUNT_NAME}/"), &context.cancel);
        let mut take = |member: &Member, content: &mut dyn Read, advance: &mut dyn FnMut(u64)| {
            copier.add(member, content, advance)
        };
        each_member(context, backup, &format!("restore {volume}"), &mut take)?;
        copier.finish()
    })
    .map_err(|e| half_filled(e, volume))?;
    helper.sync(context);
    Ok(())
}

/// Says what a restore that broke off leaves.
fn half_filled(error: Error, volume: &str) -> Error {
    error.further_hint(&format!(
        "volume {volume} may be half filled: remove it and create it again before the next restore"
    ))
}

/// As [`VersionFinder`] finds it, from a directory.
fn pg_version_in(dir: &Path) -> Result<String> {
    if let Some(version) = version_file(&dir.join("PG_VERSION"))? {
        return Ok(version);
    }
    let failed = |e: io::Error| Error::io("list", dir.display(), &e);
    let mut majors = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        majors.extend(entry.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    majors.sort_unstable();
    for major in majors.iter().rev() {
        if let Some(version) = version_file(&dir.join(format!("{major}/docker/PG_VERSION")))? {
            return Ok(version);
        }
    }
    Ok(String::new())
}

/// A file of a volume; `None` where it is none, or not within the volume.
fn file_in(dir: &Path, path: &Path) -> Result<Option<Vec<u8>>> {
    let real = |path: &Path| match path.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(|e| Error::io("read", path.display(), &e)),
    };
    match (real(dir)?, real(&dir.join(path))?) {
        (Some(dir), Some(file)) if file.starts_with(&dir) && file.is_file() => {
            fs::read(&file).map(Some).map_err(|e| Error::io("read", file.display(), &e))
        }
        _ => Ok(None),
    }
}

fn version_file(path: &Path) -> Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            fs::read(path).map(|bytes| Some(first_line(&bytes))).map_err(|e| Error::io("read", path.display(), &e))
        }
        _ => Ok(None),
    }
}
