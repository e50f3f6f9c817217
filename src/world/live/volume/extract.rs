//! Writing an archive's members into an empty directory: exactly as they were.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat, fchmod, fchown,
    futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat, syncfs, utimensat,
};
use rustix::io::Errno;

use super::copy::CopyError;
use super::member::{Kind, Member};
use crate::world::Cancel;
use crate::world::error::{Error, Result};

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Fills one directory. Every name is resolved from its handle, component by component, without following links.
pub struct Extractor {
    root: OwnedFd,
    /// The directory of the last member; its neighbours follow it.
    current: Option<(Vec<u8>, OwnedFd)>,
    /// Owners, modes and times of directories come last: filling them changes them.
    directories: Vec<Member>,
    buffer: Vec<u8>,
    cancel: Cancel,
}

impl Extractor {
    /// `root` must be empty.
    pub fn new(root: &Path, cancel: &Cancel) -> Result<Self> {
        let root = openat(CWD, root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())
            .map_err(|e| Error::io("open", root.display(), &e.into()))?;
        Ok(Self { root, current: None, directories: Vec::new(), buffer: vec![0; CHUNK], cancel: cancel.clone() })
    }

    /// Creates a member; `content` gives its bytes.
    pub fn add(
        &mut self,
        member: &Member,
        content: &mut dyn Read,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), CopyError> {
        self.cancel.check()?;
        if member.path.is_empty() {
            self.directories.push(member.clone());
            return Ok(());
        }
        let (parent, name) = split(&member.path);
        self.enter(parent).map_err(|e| failed(member, e))?;
        let Some((_, dir)) = &self.current else { return Err(failed(member, Errno::NOENT).into()) };
        match member.kind {
            Kind::File => {
                let file = openat(dir, name, NEW_FILE, Mode::RUSR | Mode::WUSR).map_err(|e| failed(member, e))?;
                fill(file.into(), member, content, &mut self.buffer, &self.cancel, advance)
            }
            Kind::HardLink => self.link(dir.as_fd(), name, member).map_err(|e| failed(member, e).into()),
            Kind::Directory => {
                self.directories.push(member.clone());
                mkdirat(dir, name, Mode::RWXU).map_err(|e| failed(member, e).into())
            }
            Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                special(dir.as_fd(), name, member).map_err(|e| failed(member, e).into())
            }
        }
    }

    fn link(&self, dir: BorrowedFd<'_>, name: &OsStr, member: &Member) -> rustix::io::Result<()> {
        let (parent, target) = split(&member.link);
        let from = open_below(&self.root, parent)?;
        linkat(&from, target, dir, name, AtFlags::empty())
    }

    /// Gives the directories their owners, modes and times, innermost first, and waits until all is on disk.
    pub fn finish(mut self) -> Result<()> {
        for member in std::mem::take(&mut self.directories).iter().rev() {
            let dir = open_below(&self.root, &member.path).map_err(|e| failed(member, e))?;
            dress(dir.as_fd(), member).map_err(|e| failed(member, e))?;
        }
        syncfs(&self.root).map_err(|e| Error::io("sync", "the volume", &e.into()))
    }

    fn enter(&mut self, parent: &[u8]) -> rustix::io::Result<()> {
        if self.current.as_ref().is_none_or(|(path, _)| path != parent) {
            self.current = Some((parent.to_vec(), open_below(&self.root, parent)?));
        }
        Ok(())
    }
}

fn failed(member: &Member, error: Errno) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            Error::failed("backup.damaged", format!("the archive holds {} more than once", member.name()))
        }
        _ => Error::io("restore", member.name(), &error.into()),
    }
}

fn split(path: &[u8]) -> (&[u8], &OsStr) {
    let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    (parent, OsStr::from_bytes(name))
}

/// Opens a directory below `root`; a symbolic link on the way is an error.
fn open_below(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut dir = openat(root, c".", DIRECTORY, Mode::empty())?;
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        dir = openat(&dir, part, DIRECTORY, Mode::empty())?;
    }
    Ok(dir)
}

fn fill(
    mut file: File,
    member: &Member,
    content: &mut dyn Read,
    buffer: &mut [u8],
    cancel: &Cancel,
    advance: &mut dyn FnMut(u64),
) -> Result<(), CopyError> {
    loop {
        cancel.check()?;
        let read = content.read(buffer).map_err(CopyError::Source)?;
        if read == 0 {
            return dress(file.as_fd(), member).map_err(|e| failed(member, e).into());
        }
        file.write_all(&buffer[..read]).map_err(|e| Error::io("restore", member.name(), &e))?;
        advance(read as u64);
    }
}

/// The owner first: a change of owner takes setuid and setgid away.
fn dress(file: BorrowedFd<'_>, member: &Member) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))?;
    fchmod(file, Mode::from_raw_mode(member.mode))?;
    futimens(file, &times(member))
}

fn special(dir: BorrowedFd<'_>, name: &OsStr, member: &Member) -> rustix::io::Result<()> {
    let node = |kind| mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, makedev(member.device.0, member.device.1));
    match member.kind {
        Kind::Symlink => symlinkat(OsStr::from_bytes(&member.link), dir, name)?,
        Kind::CharDevice => node(FileType::CharacterDevice)?,
        Kind::BlockDevice => node(FileType::BlockDevice)?,
        _ => node(FileType::Fifo)?,
    }
    let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if member.kind != Kind::Symlink {
        chmodat(dir, name, Mode::from_raw_mode(member.mode), AtFlags::empty())?;
    }
    utimensat(dir, name, &times(member), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(member: &Member) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1.into() },
    }
}
