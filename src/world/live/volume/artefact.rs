//! The backup as a file: it appears under its name whole and synced, with its manifest, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::member::Members;
use super::pipe::{BROKEN, PipeReader, PipeWriter, pipe, stream_error};
use crate::world::Cancel;
use crate::world::error::{Error, Result};
use crate::world::live::compress::compressor;
use crate::world::live::host::{exists, hex, partial_path, publish, sync_parent, write_private};
use crate::world::volume::{Backup, Manifest};

/// Written bytes are pushed to the disk as we go, so that the last sync is short.
const SYNC_EVERY: u64 = 64 << 20;

/// `<path>.json`
pub fn manifest_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".json");
    name.into()
}

/// A new backup that grows under a temporary name. Dropped before [`Artefact::publish`], nothing stays.
pub struct Artefact {
    path: PathBuf,
    partial: PathBuf,
    replaces: bool,
    /// Holds the lock that keeps a second writer of the same name out.
    _lock: File,
    writer: Option<JoinHandle<Result<Written>>>,
    cancel: Cancel,
}

/// What was written: compressed bytes and their checksum.
pub struct Written {
    pub bytes: u64,
    pub sha256: String,
}

/// Compresses on all cores what is written to it; ended by [`Artefact::seal`].
pub type Compressor = Encoder<'static, PipeWriter>;

impl Artefact {
    /// With `replaces`, a file of that name stays until this one is whole, and then goes. Codes: `backup.exists`,
    /// `backup.in_progress`, `host.*`.
    pub fn create(path: &Path, level: i32, replaces: bool, cancel: &Cancel) -> Result<(Self, Compressor)> {
        let partial = partial_path(path)?;
        check_free(path, replaces)?;
        let file = open_locked(&partial)?;
        // Who had the lock before us may have finished just now.
        check_free(path, replaces).inspect_err(|_| drop(fs::remove_file(&partial)))?;
        let failed = |e: io::Error| Error::io("write", partial.display(), &e);
        let lock = file.try_clone().map_err(failed)?;
        let (sender, receiver) = pipe(cancel);
        let target = partial.clone();
        let writer = Some(thread::spawn(move || write_all(file, receiver, &target)));
        let artefact = Self {
            path: path.to_owned(),
            partial: partial.clone(),
            replaces,
            _lock: lock,
            writer,
            cancel: cancel.clone(),
        };
        let compressor = compressor(sender, level).map_err(failed)?;
        Ok((artefact, compressor))
    }

    /// Ends the compressed stream and waits until it is on disk.
    pub fn seal(&mut self, compressor: Compressor) -> Result<Written> {
        let ended = compressor.finish().and_then(PipeWriter::finish);
        if let Err(error) = ended {
            return Err(self.reason(stream_error("write", self.partial.display(), error)));
        }
        let Some(writer) = &self.writer else { return Err(lost(&self.partial)) };
        while !writer.is_finished() {
            self.cancel.check()?;
            thread::sleep(Duration::from_millis(2));
        }
        self.join()
    }

    /// Why writing failed: the disk's own error, where the stream only broke because of it.
    pub fn reason(&mut self, error: Error) -> Error {
        if error.code != BROKEN {
            return error;
        }
        self.join().err().unwrap_or(error)
    }

    fn join(&mut self) -> Result<Written> {
        let ended = self.writer.take().and_then(|writer| writer.join().ok());
        ended.unwrap_or_else(|| Err(lost(&self.partial)))
    }

    /// Gives the file its name. The manifest goes first: a crash in between leaves one without a backup, which the
    /// next attempt replaces; a backup without its manifest never shows. Where a backup is replaced, a crash in between
    /// leaves the old one with the new manifest: it does not verify, and the next attempt replaces both.
    pub fn publish(self, manifest: Manifest) -> Result<Backup> {
        if self.replaces {
            check_not_emptied(&self.path, &manifest)?;
        }
        let record = manifest_path(&self.path);
        let failed = |e: serde_json::Error| Error::failed("host.io", format!("cannot write the manifest: {e}"));
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(failed)?;
        text.push(b'\n');
        let partial = partial_path(&record)?;
        let published = write_private(&partial, &text)
            .and_then(|()| publish(&partial, &record, true))
            .and_then(|()| publish(&self.partial, &self.path, self.replaces));
        if let Err(error) = published {
            let _ = fs::remove_file(&partial);
            // With the backup's name taken (or never given), the manifest would speak of another file, or of none.
            if error.code == "host.exists" || !self.path.exists() {
                let _ = fs::remove_file(&record);
            }
            return Err(if error.code == "host.exists" { taken(&self.path) } else { error });
        }
        Ok(Backup { path: self.path.clone(), manifest })
    }
}

impl Drop for Artefact {
    fn drop(&mut self) {
        // Gone already when published: then the name is free and nothing is removed.
        if fs::remove_file(&self.partial).is_ok() {
            let _ = sync_parent(&self.partial);
        }
    }
}

fn check_free(path: &Path, replaces: bool) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if replaces && metadata.is_file() => Ok(()),
        Ok(_) => Err(taken(path)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("look at", path.display(), &e)),
    }
}

/// What an earlier attempt left is a backup of the same volume; anything else of that name stays.
pub fn check_replaceable(path: &Path, volume: &str) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let found = open(path).map_err(|_| taken(path))?.manifest.volume;
    if found == volume {
        return Ok(());
    }
    let message = format!("{} is a backup of volume {found} and is not replaced by one of {volume}", path.display());
    Err(Error::refused("backup.other_volume", message).hint("name another file"))
}

/// A backup with files in it does not give way to one without: by then the volume may have lost them.
fn check_not_emptied(path: &Path, manifest: &Manifest) -> Result<()> {
    match open(path) {
        Ok(old) if old.manifest.files > 0 && manifest.files == 0 => {
            let message =
                format!("volume {} is empty, and {} is a backup of when it was not", manifest.volume, path.display());
            Err(Error::refused("backup.empty_volume", message).hint("the old backup is as it was; name another file"))
        }
        _ => Ok(()),
    }
}

fn taken(path: &Path) -> Error {
    Error { code: "backup.exists".into(), ..exists(path) }
        .hint("name another file; one that an earlier attempt left can be replaced: #{ replace: true }")
}

fn lost(path: &Path) -> Error {
    Error::failed(BROKEN, format!("the stream of {} broke off", path.display()))
}

/// Opens the temporary file empty, 0600 and locked; what a crash left in it goes.
fn open_locked(partial: &Path) -> Result<File> {
    let failed = |e: io::Error| Error::io("create", partial.display(), &e);
    loop {
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(partial).map_err(failed)?;
        // The kernel takes the lock of a process that ends, however it ends: what it left is nobody's.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let message = format!("another process is writing {}", partial.display());
                return Err(Error::refused("backup.in_progress", message).hint("wait for it, or name another file"));
            }
            Err(e) => return Err(Error::io("lock", partial.display(), &e.into())),
        }
        // Renamed or removed by its owner between our open and our lock: then this is not the file of that name.
        let ours = file.metadata().map_err(failed)?;
        match fs::symlink_metadata(partial) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
                file.set_len(0).map_err(failed)?;
                return Ok(file);
            }
            _ => continue,
        }
    }
}

/// The writing thread: hashes, writes, syncs.
fn write_all(mut file: File, mut pieces: PipeReader, target: &Path) -> Result<Written> {
    let failed = |e: io::Error| Error::io("write", target.display(), &e);
    let (mut hash, mut bytes, mut unsynced) = (Sha256::new(), 0, 0);
    loop {
        // The other end gave up, and says why.
        let Ok(piece) = pieces.piece() else { return Err(lost(target)) };
        let Some(piece) = piece else { break };
        file.write_all(&piece).map_err(failed)?;
        hash.update(&piece);
        bytes += piece.len() as u64;
        unsynced += piece.len() as u64;
        if unsynced >= SYNC_EVERY {
            file.sync_data().map_err(failed)?;
            unsynced = 0;
        }
    }
    file.sync_all().map_err(failed)?;
    Ok(Written { bytes, sha256: hex(&hash.finalize()) })
}

/// Reads a backup's manifest.
pub fn open(path: &Path) -> Result<Backup> {
    let record = manifest_path(path);
    if !path.exists() {
        return Err(Error::failed("backup.not_found", format!("there is no backup {}", path.display())));
    }
    let by_hand = format!(
        "look for a copy of {}; the data itself can be checked by hand with: zstd -dc {} | tar -t",
        record.display(),
        path.display()
    );
    let text = fs::read(&record).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            Error::failed("backup.no_manifest", format!("{} has no manifest {}", path.display(), record.display()))
        }
        _ => Error::io("read", record.display(), &e),
    });
    let manifest = text.and_then(|text| {
        serde_json::from_slice(&text).map_err(|e| {
            Error::failed("backup.damaged", format!("the manifest {} can't be read: {e}", record.display()))
        })
    });
    Ok(Backup { path: path.to_owned(), manifest: manifest.map_err(|e| e.hint(by_hand))? })
}

/// A backup that is being read: hashed on one thread, decompressed on the caller's.
pub struct Reading<'a> {
    backup: &'a Backup,
    reader: Option<JoinHandle<io::Result<String>>>,
    members: Option<Members<Decompressor>>,
}

type Decompressor = Decoder<'static, io::BufReader<PipeReader>>;

impl<'a> Reading<'a> {
    /// Checks the file's size before anything is read.
    pub fn start(backup: &'a Backup, cancel: &Cancel) -> Result<Self> {
        let failed = |e: io::Error| Error::io("read", backup.path.display(), &e);
        let mut file = File::open(&backup.path).map_err(failed)?;
        check_size(backup, &mut file)?;
        let (mut sender, receiver) = pipe(cancel);
        let reader = thread::spawn(move || {
            let mut hash = Sha256::new();
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    n => {
                        sender.write_all(&buffer[..n])?;
                        hash.update(&buffer[..n]);
                    }
                }
            }
            sender.finish()?;
            Ok(hex(&hash.finalize()))
        });
        let members = Some(Members::new(Decoder::new(receiver).map_err(failed)?));
        Ok(Self { backup, reader: Some(reader), members })
    }

    /// The archive; `None` once [`Reading::reason`] or [`Reading::finish`] was called.
    pub fn members(&mut self) -> Result<&mut Members<Decompressor>> {
        self.members.as_mut().ok_or_else(|| lost(&self.backup.path))
    }

    /// After the last member: the checksum of the file.
    pub fn finish(mut self) -> Result<()> {
        self.members = None;
        let failed = |e: io::Error| Error::io("read", self.backup.path.display(), &e);
        let hash = self.reader.take().and_then(|r| r.join().ok()).ok_or_else(|| lost(&self.backup.path))?;
        let (hash, stated) = (hash.map_err(failed)?, &self.backup.manifest.sha256);
        if hash == *stated {
            return Ok(());
        }
        Err(damaged(self.backup, format!("its sha256 is {hash}, its manifest says {stated}")))
    }

    /// Why reading failed at `place`: the disk's error, an archive that is cut off, or one that is damaged.
    pub fn reason(&mut self, place: &str, error: io::Error) -> Error {
        // Lets the thread go that still has something to say.
        self.members = None;
        let path = self.backup.path.display();
        let disk = self.reader.take().and_then(|r| r.join().ok()).and_then(Result::err);
        let disk = disk.map(|e| stream_error("read", &path, e)).filter(|e| e.code != BROKEN);
        if let Some(reason) = disk {
            return reason;
        }
        if error.get_ref().is_some_and(|e| e.is::<Error>()) {
            return stream_error("read", path, error);
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                Error::failed("backup.cut_off", format!("{path} ends early, {place}")).hint(ANOTHER_COPY)
            }
            _ => damaged(self.backup, format!("{place}: {error}")),
        }
    }
}

const ANOTHER_COPY: &str = "use another copy of this backup; this one can't be restored";

pub fn damaged(backup: &Backup, what: impl std::fmt::Display) -> Error {
    Error::failed("backup.damaged", format!("{} is damaged: {what}", backup.path.display())).hint(ANOTHER_COPY)
}

fn check_size(backup: &Backup, file: &mut File) -> Result<()> {
    let failed = |e: io::Error| Error::io("read", backup.path.display(), &e);
    let (is, stated) = (file.metadata().map_err(failed)?.len(), backup.manifest.compressed_bytes);
    if is < stated {
        let message = format!("{} has {is} of {stated} bytes", backup.path.display());
        return Err(Error::failed("backup.cut_off", message).hint(ANOTHER_COPY));
    }
    if is > stated {
        let why = if looks_like_text(file).map_err(failed)? { "; it was copied as text (LF became CRLF)" } else { "" };
        return Err(damaged(backup, format!("it has {is} bytes, its manifest says {stated}{why}")));
    }
    Ok(())
}

/// Whether every line feed has a carriage return before it: by chance, one in 256 has.
fn looks_like_text(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(1 << 20).read_to_end(&mut start)?;
    let feeds = start.iter().filter(|b| **b == b'\n').count();
    let pairs = start.windows(2).filter(|w| w == b"\r\n").count();
    Ok(feeds > 0 && feeds == pairs)
}
