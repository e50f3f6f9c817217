//! Reading a directory tree into an archive.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat};
use sha2::{Digest, Sha256};

use super::member::{END_MARK, Kind, Member, padding, write_header};
use super::pipe::stream_error;
use super::tally::Tally;
use crate::world::Cancel;
use crate::world::error::{Error, Result};
use crate::world::live::host::hex;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Counts a tree without reading any content; sockets are left out, as in an archive. A server may be at work in it:
/// what comes and goes meanwhile is counted or not.
pub fn measure(root: &Path, cancel: &Cancel) -> Result<Tally> {
    let mut tally = Tally::default();
    walk(root, Changes::Expected, cancel, &mut |found| {
        tally.count(found.member);
        Ok(())
    })?;
    Ok(tally)
}

/// A checksum over names, kinds, modes, owners, sizes, times and links, without reading any content.
pub fn fingerprint(root: &Path, cancel: &Cancel) -> Result<String> {
    let (mut hash, mut header) = (Sha256::new(), Vec::new());
    walk(root, Changes::Refused, cancel, &mut |found| {
        header.clear();
        write_header(&mut header, "./", found.member).map_err(|e| Error::io("read", found.member.name(), &e))?;
        hash.update(&header);
        Ok(())
    })?;
    Ok(hex(&hash.finalize()))
}

/// Writes the tree below `root` as an archive with end mark; `advance` hears of the bytes of content as they pass.
/// What changes while it is read is the error `volume.changed`.
pub fn write(root: &Path, cancel: &Cancel, out: &mut dyn Write, advance: &mut dyn FnMut(u64)) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut buffer = vec![0; CHUNK];
    let written = |e| stream_error("write", "the backup", e);
    walk(root, Changes::Refused, cancel, &mut |found| {
        tally.count(found.member);
        write_header(out, "./", found.member).map_err(written)?;
        if found.member.kind == Kind::File {
            write_content(&found, cancel, &mut buffer, out, advance)?;
        }
        Ok(())
    })?;
    out.write_all(&END_MARK).map_err(written)?;
    Ok(tally)
}

fn write_content(
    found: &Found<'_>,
    cancel: &Cancel,
    buffer: &mut [u8],
    out: &mut dyn Write,
    advance: &mut dyn FnMut(u64),
) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("read", found.member.name(), &e);
    let file = openat(found.dir, found.name, FILE, Mode::empty()).map_err(|e| failed(e.into()))?;
    let mut file = File::from(file);
    let mut left = found.member.size;
    check_unchanged(found, &file)?;
    while left > 0 {
        cancel.check()?;
        let wanted = left.min(buffer.len() as u64) as usize;
        let read = file.read(&mut buffer[..wanted]).map_err(failed)?;
        if read == 0 {
            return Err(changed(found.member));
        }
        out.write_all(&buffer[..read]).map_err(|e| stream_error("write", "the backup", e))?;
        left -= read as u64;
        advance(read as u64);
    }
    check_unchanged(found, &file)?;
    out.write_all(padding(found.member.size)).map_err(|e| stream_error("write", "the backup", e))
}

fn check_unchanged(found: &Found<'_>, file: &File) -> Result<()> {
    let now = fstat(file).map_err(|e| Error::io("look at", found.member.name(), &e.into()))?;
    if same(&found.stat, &now) { Ok(()) } else { Err(changed(found.member)) }
}

/// The change time can't be set by a program: it tells of any write, chmod or rename.
fn same(a: &Stat, b: &Stat) -> bool {
    let key = |s: &Stat| (s.st_dev, s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec);
    key(a) == key(b)
}

const CHANGED: &str = "volume.changed";

fn changed(member: &Member) -> Error {
    Error::failed(CHANGED, format!("{} changed while it was read", member.name()))
        .hint("something writes to the volume: stop it, then try again")
}

/// An entry under its directory's handle.
struct Found<'a> {
    member: &'a Member,
    stat: Stat,
    dir: BorrowedFd<'a>,
    name: &'a OsStr,
}

type Visit<'a> = dyn FnMut(Found<'_>) -> Result<()> + 'a;

/// Whether a tree may change while it is visited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    Expected,
    /// It is the error `volume.changed`.
    Refused,
}

/// Visits the root and all below it, each directory before its entries, names in byte order.
fn walk(root: &Path, changes: Changes, cancel: &Cancel, visit: &mut Visit<'_>) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::io("read", root.display(), &e.into());
    // The mount point itself may be reached through a link; nothing below it is.
    let dir = openat(CWD, root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(failed)?;
    let stat = fstat(&dir).map_err(failed)?;
    let mut walk = Walk { changes, cancel, linked: HashMap::new(), visit };
    let member = member(&stat, Vec::new(), Kind::Directory, Vec::new());
    (walk.visit)(Found { member: &member, stat, dir: dir.as_fd(), name: OsStr::new(".") })?;
    walk.directory(dir, &member, stat)
}

struct Walk<'a, 'v> {
    changes: Changes,
    cancel: &'a Cancel,
    /// First path of each file with several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
    visit: &'a mut Visit<'v>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, dir: OwnedFd, member: &Member, before: Stat) -> Result<()> {
        let failed = |e: rustix::io::Errno| Error::io("read", member.name(), &e.into());
        for name in names(&dir).map_err(failed)? {
            self.cancel.check()?;
            let path = match member.path.as_slice() {
                b"" => name.to_bytes().to_vec(),
                parent => [parent, b"/", name.to_bytes()].concat(),
            };
            match self.entry(dir.as_fd(), OsStr::from_bytes(name.to_bytes()), path) {
                Err(error) if self.changes == Changes::Expected && error.code == CHANGED => {}
                visited => visited?,
            }
        }
        let now = fstat(&dir).map_err(failed)?;
        match same(&before, &now) || self.changes == Changes::Expected {
            true => Ok(()),
            false => Err(changed(member)),
        }
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: Vec<u8>) -> Result<()> {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let failed = |e: rustix::io::Errno| match e.kind() {
            ErrorKind::NotFound => Error::failed(CHANGED, format!("{shown} vanished while it was read"))
                .hint("something writes to the volume: stop it, then try again"),
            _ => Error::io("read", &shown, &e.into()),
        };
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let Some(kind) = kind(&stat) else { return Ok(()) };
        let mut link = Vec::new();
        if kind == Kind::Symlink {
            link = readlinkat(dir, name, Vec::new()).map_err(failed)?.into_bytes();
        }
        let mut member = member(&stat, path, kind, link);
        if kind != Kind::Directory && stat.st_nlink > 1 {
            self.name_again(&mut member, &stat);
        }
        (self.visit)(Found { member: &member, stat, dir, name })?;
        if kind == Kind::Directory {
            let below = openat(dir, name, DIRECTORY, Mode::empty()).map_err(failed)?;
            return self.directory(below, &member, stat);
        }
        Ok(())
    }

    /// A further name of a file that was seen becomes a hard link.
    fn name_again(&mut self, member: &mut Member, stat: &Stat) {
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.linked.get(&identity) {
            (member.kind, member.size, member.device) = (Kind::HardLink, 0, (0, 0));
            member.link = first.clone();
        } else {
            self.linked.insert(identity, member.path.clone());
        }
    }
}

fn names(dir: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `None` for a socket, which is nothing without its server.
fn kind(stat: &Stat) -> Option<Kind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::CharDevice),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        _ => None,
    }
}

fn member(stat: &Stat, path: Vec<u8>, kind: Kind, link: Vec<u8>) -> Member {
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Member {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        link,
        device: if is_device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
    }
}
