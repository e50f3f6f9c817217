//! The directories that the engine's driver `local` keeps volumes in: `<root>/<name>/_data`.
//!
//! They are looked at and renamed on this machine, or by a [`Worker`] on the engine's. Nothing here ever removes a
//! directory that holds something: whether one is empty is left to rename(2) and rmdir(2), which know at that instant.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::Access as Permission;

use super::worker::Worker;
use crate::world::container::{EngineInfo, Mount, Volume};
use crate::world::error::{Error, Result};
use crate::world::live::host::sync_parent;

/// The content of a volume, in its own directory.
pub const DATA: &str = "_data";
/// Where a worker has the root mounted.
const MOUNTED_ROOT: &str = "/pgscript-volumes";
/// A worker's exit code: the two volumes are not on one file system.
const TWO_FILE_SYSTEMS: i64 = 75;

/// What a volume's directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is no `_data`: renamed away, or removed as empty, by a call that was killed.
    Missing,
    Empty,
    Filled,
}

/// The root of a local engine's volumes, and the way to it.
pub enum Directories<'a> {
    Here(PathBuf),
    There(PathBuf, Worker<'a>),
}

/// Whether we may change what is in the root: on this machine, as root.
pub fn is_ours(root: &Path, info: &EngineInfo) -> bool {
    info.is_local && rustix::fs::access(root, Permission::READ_OK | Permission::WRITE_OK | Permission::EXEC_OK).is_ok()
}

/// The root that a volume's directory lies in; else why its content can't be renamed.
pub fn root(volume: &Volume) -> Result<PathBuf, String> {
    if volume.driver != "local" {
        return Err(format!("its driver is {}, not local", volume.driver));
    }
    if !volume.options.is_empty() {
        let options: Vec<_> = volume.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        return Err(format!("its driver has options ({})", options.join(", ")));
    }
    let mount_point = Path::new(&volume.mount_point);
    let own = mount_point.parent().filter(|own| own.file_name() == Some(OsStr::new(&volume.name)));
    match own.and_then(Path::parent) {
        Some(root) if root.is_absolute() && mount_point.file_name() == Some(OsStr::new(DATA)) => Ok(root.to_owned()),
        _ => Err(format!("its mount point {} is not where the driver local puts one", volume.mount_point)),
    }
}

pub fn cannot_move(volume: &str, why: impl std::fmt::Display) -> Error {
    Error::refused("volume.cannot_move", format!("volume {volume} can't be moved: {why}"))
        .hint("back it up and restore it into a new volume instead: volume::backup, volume::restore")
}

impl Directories<'_> {
    pub fn root(&self) -> &Path {
        let (Self::Here(root) | Self::There(root, _)) = self;
        root
    }

    /// What a volume holds; `volume.cannot_move` where its directory is not as the driver made it.
    pub fn look(&self, name: &str) -> Result<Content> {
        match self {
            Self::Here(root) => look_here(root, name),
            Self::There(root, worker) => look_there(root, worker, name),
        }
    }

    /// Renames the content of `from` to that of `to`, which must be empty or missing.
    pub fn shift(&self, from: &str, to: &str) -> Result<()> {
        match self {
            Self::Here(root) => shift_here(root, from, to),
            Self::There(root, worker) => {
                let output = worker.run(SHIFT, &[from, to], mounted(root))?;
                match output.exit_code {
                    0 => Ok(()),
                    TWO_FILE_SYSTEMS => Err(cannot_move(from, format!("{from} and {to} are on two file systems"))),
                    _ => Err(cannot_move(from, last_line(&output.stderr))),
                }
            }
        }
    }

    /// Removes the directory of a volume that holds nothing, so that the removal of the volume can take nothing along.
    pub fn clear(&self, name: &str) -> Result<()> {
        let not_empty = |why: &dyn std::fmt::Display| {
            Error::refused("volume.not_empty", format!("volume {name} is not removed, for it is not empty: {why}"))
                .hint("something was written to it meanwhile: look at it, and move or remove that first")
        };
        match self {
            Self::Here(root) => {
                fs::remove_dir(root.join(name).join(DATA)).or_else(if_missing(())).map_err(|e| not_empty(&e))?;
                match look_here(root, name)? {
                    Content::Missing => sync_parent(&root.join(name).join(DATA)),
                    _ => Err(not_empty(&"its directory came back")),
                }
            }
            Self::There(root, worker) => {
                let output = worker.run(CLEAR, &[name], mounted(root))?;
                if output.exit_code == 0 { Ok(()) } else { Err(not_empty(&last_line(&output.stderr))) }
            }
        }
    }
}

fn if_missing<T>(value: T) -> impl FnOnce(std::io::Error) -> std::io::Result<T> {
    move |e| if e.kind() == ErrorKind::NotFound { Ok(value) } else { Err(e) }
}

fn look_here(root: &Path, name: &str) -> Result<Content> {
    let own = root.join(name);
    let failed = |e: std::io::Error| Error::io("look at", own.display(), &e);
    if !fs::symlink_metadata(&own).map_err(failed)?.is_dir() {
        return Err(cannot_move(name, odd(root, name)));
    }
    let entries: std::io::Result<Vec<_>> = fs::read_dir(&own).and_then(Iterator::collect);
    match entries.map_err(failed)?.as_slice() {
        [] => Ok(Content::Missing),
        [data] if data.file_name() == DATA && data.file_type().map_err(failed)?.is_dir() => {
            match fs::read_dir(data.path()).map_err(failed)?.next() {
                None => Ok(Content::Empty),
                Some(entry) => entry.map(|_| Content::Filled).map_err(failed),
            }
        }
        _ => Err(cannot_move(name, odd(root, name))),
    }
}

fn odd(root: &Path, name: &str) -> String {
    format!("{} is a link, or holds something beside a directory {DATA}", root.join(name).display())
}

fn shift_here(root: &Path, from: &str, to: &str) -> Result<()> {
    let data = |name: &str| root.join(name).join(DATA);
    // The engine doesn't wait until the directory it made is on disk.
    sync_parent(&root.join(to))?;
    // Takes the place of an empty directory; the kernel refuses any other.
    fs::rename(data(from), data(to)).map_err(|e| match e.kind() {
        ErrorKind::CrossesDevices => cannot_move(from, format!("{from} and {to} are on two file systems")),
        ErrorKind::ResourceBusy => cannot_move(from, format!("a file system is mounted at {}", data(from).display())),
        ErrorKind::DirectoryNotEmpty => both_filled(from, to),
        _ => Error::io("rename", data(from).display(), &e),
    })?;
    sync_parent(&data(to))?;
    sync_parent(&data(from))
}

/// Two volumes that both hold something: neither is touched.
pub fn both_filled(from: &str, to: &str) -> Error {
    Error::refused("volume.not_empty", format!("volume {from} can't be moved to {to}: both hold something"))
        .hint("look at both: something filled one of them again after an earlier move that did not come to its end")
}

fn mounted(root: &Path) -> Vec<Mount> {
    vec![Mount {
        kind: "bind".into(),
        name: String::new(),
        source: root.display().to_string(),
        destination: MOUNTED_ROOT.into(),
        read_only: false,
    }]
}

fn look_there(root: &Path, worker: &Worker<'_>, name: &str) -> Result<Content> {
    let output = worker.run(LOOK, &[name], mounted(root))?;
    match (output.exit_code, output.stdout.trim_ascii()) {
        (0, b"missing") => Ok(Content::Missing),
        (0, b"empty") => Ok(Content::Empty),
        (0, b"filled") => Ok(Content::Filled),
        (0, b"odd") => Err(cannot_move(name, odd(root, name))),
        _ => Err(cannot_move(name, last_line(&output.stderr))),
    }
}

/// What a program said last.
pub fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it failed without a word").to_owned()
}

/// Says what a volume holds. A listing that fails ends the script: it must never pass for an empty one.
const LOOK: &str = r#"
set -eu
cd /pgscript-volumes
[ ! -L "$1" ] || { echo odd; exit; }
rm -f "$1/.pgscript-probe"
own=$(ls -A "$1")
case "$own" in
'') echo missing; exit ;;
_data) ;;
*) echo odd; exit ;;
esac
if [ -L "$1/_data" ] || [ ! -d "$1/_data" ]; then echo odd; exit; fi
content=$(ls -A "$1/_data")
if [ -n "$content" ]; then echo filled; else echo empty; fi
"#;

/// Renames. `mv` would copy from one file system to another: a hard link between them, which nothing copies, tells
/// first.
const SHIFT: &str = r#"
set -eu
cd /pgscript-volumes
rm -f "$1/.pgscript-probe" "$2/.pgscript-probe"
: > "$1/.pgscript-probe"
linked=0
ln "$1/.pgscript-probe" "$2/.pgscript-probe" || linked=75
rm -f "$1/.pgscript-probe" "$2/.pgscript-probe"
[ "$linked" = 0 ] || exit "$linked"
[ ! -e "$2/_data" ] || rmdir "$2/_data"
mv "$1/_data" "$2/"
sync
"#;

/// Removes an empty directory, and only that.
const CLEAR: &str = r#"
set -eu
cd /pgscript-volumes
[ ! -e "$1/_data" ] || rmdir "$1/_data"
own=$(ls -A "$1")
[ -z "$own" ] || { echo "there is $own in it" >&2; exit 1; }
sync
"#;
