//! This machine.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, RenameFlags, linkat, renameat_with, statvfs, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::progress::Progress;
use super::{Context, process, terminal};
use crate::event::Event;
use crate::world::container::Output;
use crate::world::error::{Error, Result};
use crate::world::host::*;

/// Bytes read at a time from large files.
const CHUNK: usize = 256 << 10;

pub struct Machine {
    context: Context,
}

impl Machine {
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Host for Machine {
    fn entry(&self, path: &Path) -> Result<Option<Entry>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(entry(path.to_owned(), &metadata))),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io("look at", path.display(), &e)),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        let read = |e| Error::io("list", dir.display(), &e);
        let mut entries = Vec::new();
        for found in fs::read_dir(dir).map_err(read)? {
            let path = found.map_err(read)?.path();
            match fs::symlink_metadata(&path) {
                // A symbolic link shows as what it leads to, one that leads nowhere as itself.
                Ok(own) => entries.push(entry(path.clone(), &fs::metadata(&path).unwrap_or(own))),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("look at", path.display(), &e)),
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn create_private_dir(&self, path: &Path) -> Result<()> {
        if create_dirs(path)? {
            return Ok(());
        }
        check_private(path)
    }

    fn check_private(&self, path: &Path) -> Result<()> {
        if fs::symlink_metadata(path).is_ok() {
            check_private(path)?;
        }
        let absolute = std::path::absolute(path).map_err(|e| Error::io("look at", path.display(), &e))?;
        // What is missing is made in the nearest one that is there.
        let Some(there) = absolute.ancestors().find(|ancestor| fs::metadata(ancestor).is_ok()) else { return Ok(()) };
        rustix::fs::access(there, Access::WRITE_OK).map_err(|e| {
            let message = format!("{} can't be written to: {}", there.display(), std::io::Error::from(e));
            Error::refused("host.not_writable", message).hint("name another directory")
        })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).map_err(|e| Error::io("read", path.display(), &e))
    }

    fn write(&self, path: &Path, content: &[u8], overwrite: bool) -> Result<()> {
        if !overwrite && fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let partial = partial_path(path)?;
        let written = write_private(&partial, content).and_then(|()| publish(&partial, path, overwrite));
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Write + Send>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match file {
            Ok(file) => Ok(Box::new(file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
            Err(e) => Err(Error::io("create", path.display(), &e)),
        }
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path).map_err(|e| Error::io("open", path.display(), &e))?))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|e| Error::io("remove", path.display(), &e))?;
        sync_parent(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let failed = |e: std::io::Error| Error::io("remove", path.display(), &e);
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(Error::refused("host.not_a_directory", format!("{} is no directory", path.display()))
                .hint("a symbolic link is not followed: name the directory itself"));
        }
        // Works from directory handles and never follows a symbolic link, also one that appears meanwhile.
        fs::remove_dir_all(path).map_err(failed)?;
        sync_parent(path)
    }

    fn space(&self, path: &Path) -> Result<Space> {
        let absolute = std::path::absolute(path).map_err(|e| Error::io("look at", path.display(), &e))?;
        let mut missing = Error::failed("host.not_found", format!("no part of {} exists", path.display()));
        for ancestor in absolute.ancestors() {
            match fs::metadata(ancestor) {
                Ok(metadata) => {
                    let fs = statvfs(ancestor).map_err(|e| Error::io("look at", ancestor.display(), &e.into()))?;
                    let (free, total) = (fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize);
                    return Ok(Space { free, total, device: metadata.dev() });
                }
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => {
                    missing = Error::io("look at", ancestor.display(), &e);
                    break;
                }
            }
        }
        Err(missing)
    }

    fn sha256(&self, path: &Path) -> Result<String> {
        let failed = |e: std::io::Error| Error::io("read", path.display(), &e);
        let mut file = File::open(path).map_err(failed)?;
        let total = file.metadata().map_err(failed)?.len();
        let mut progress = Progress::bytes(&self.context, format!("sha256 {}", path.display()), Some(total));
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            self.context.cancel.check()?;
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(hex(&hash.finalize())),
                n => {
                    hash.update(&buffer[..n]);
                    progress.advance(n as u64);
                }
            }
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        process::find_program(name)
    }

    fn run(&self, command: &Command) -> Result<Output> {
        let child = process::Child { argv: &command.argv, dir: command.dir.as_deref(), env: &command.env, stdin: None };
        let source = command.argv.first().map(|name| Path::new(name).file_name().unwrap_or(name.as_ref()));
        let source = source.unwrap_or_default().to_string_lossy().into_owned();
        let mut show = |_: bool, line: &str| {
            if command.stream {
                let line = self.context.redactor.redact(line);
                self.context.emit(Event::Output { source: source.clone(), line });
            }
        };
        let ended = process::run(&self.context, &child, &mut show)?;
        Ok(Output { exit_code: ended.exit_code, stdout: ended.stdout, stderr: ended.stderr })
    }

    fn hostname(&self) -> Result<String> {
        Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    fn now(&self) -> String {
        now()
    }

    fn clock(&self) -> Duration {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGUN.elapsed()
    }

    fn require_terminal(&self, what_for: &str) -> Result<()> {
        terminal::require(what_for)
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        self.context.wait(async move {
            tokio::time::sleep(duration).await;
            Ok(())
        })
    }
}

fn entry(path: PathBuf, metadata: &Metadata) -> Entry {
    let is_dir = metadata.is_dir();
    let size = if is_dir { 0 } else { metadata.len() };
    Entry { path, is_dir, size, mode: metadata.mode() & 0o7777, modified: metadata.mtime() }
}

/// The clock, RFC 3339, UTC, seconds.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Creates what is missing of a path, each directory 0700 and synced into its parent; `false` when it was there.
fn create_dirs(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(false),
        Ok(_) => return Err(Error::refused("host.not_a_directory", format!("{} is no directory", path.display()))),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("look at", path.display(), &e)),
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dirs(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(e) => Err(Error::io("create", path.display(), &e)),
    }
}

/// A directory that others can enter, or that another user owns, is no place for people's records.
fn check_private(path: &Path) -> Result<()> {
    let exposed = Exposed::of(path).map_err(|e| Error::io("look at", path.display(), &e))?;
    let Some(exposed) = exposed else { return Ok(()) };
    let shown = path.display();
    let cure = match exposed {
        Exposed::Owner(_) => format!(", or: chown {} {shown}", rustix::process::geteuid().as_raw()),
        Exposed::Link(_) => String::new(),
        Exposed::Mode(_) => format!(", or: chmod 700 {shown}"),
    };
    let message = format!("{shown} {}", exposed.why());
    Err(Error::refused("host.not_private", message).hint(format!("name another directory{cure}")))
}

pub(super) fn exists(path: &Path) -> Error {
    Error::refused("host.exists", format!("{} exists already and is not overwritten", path.display()))
}

/// `.<name>.partial` in the same directory: where a file grows until it is whole.
pub(super) fn partial_path(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::usage("host.no_file_name", format!("{} names no file", path.display())));
    };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    Ok(path.with_file_name(partial))
}

/// Writes a new file (0600) and syncs it; what a crash left under this name goes.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write", path.display(), &e);
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

/// Gives a finished file its name, durably. Without `overwrite`, an existing one stays and is `host.exists`.
pub(super) fn publish(partial: &Path, path: &Path, overwrite: bool) -> Result<()> {
    let renamed = if overwrite { fs::rename(partial, path) } else { rename_new(partial, path).map_err(Into::into) };
    renamed.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Error::io("rename to", path.display(), &e),
    })?;
    sync_parent(path)
}

fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems (NFS) know no such rename; a hard link refuses an existing name as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(CWD, from, CWD, to, AtFlags::empty())?;
            unlinkat(CWD, from, AtFlags::empty())
        }
        other => other,
    }
}

/// Makes a name's appearance or disappearance durable.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync", parent.display(), &e))
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::{Arc, OnceLock};

    use tokio::runtime::Runtime;

    use crate::event::Silent;
    use crate::world::live::Context;
    use crate::world::{Cancel, Owner, Redactor};

    /// A context of its own cancellation on a runtime that all tests share.
    pub fn context() -> Context {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap()).handle().clone();
        Context {
            runtime,
            cancel: Cancel::default(),
            listener: Arc::new(Silent),
            redactor: Redactor::default(),
            owner: Owner::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn machine() -> Machine {
        Machine::new(testing::context())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn files_and_directories_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b/c");
        machine().create_private_dir(&dir).unwrap();
        machine().create_private_dir(&dir).unwrap();
        for ancestor in dir.ancestors().take(3) {
            assert_eq!(mode(ancestor), 0o700, "{}", ancestor.display());
        }
        let file = dir.join("secret");
        machine().write(&file, b"one", false).unwrap();
        assert_eq!((mode(&file), machine().read(&file).unwrap()), (0o600, b"one".to_vec()));
        assert_eq!(machine().list(&dir).unwrap(), [machine().entry(&file).unwrap().unwrap()]);
    }

    #[test]
    fn a_directory_open_to_others_is_refused_with_a_way_out() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let error = machine().create_private_dir(temp.path()).unwrap_err();
        assert_eq!(error.code, "host.not_private");
        assert!(error.hint.unwrap().contains("chmod 700"));
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(machine().create_private_dir(&file).unwrap_err().code, "host.not_a_directory");
        assert_eq!(machine().create_private_dir(&file.join("below")).unwrap_err().code, "host.io");
    }

    #[test]
    fn an_existing_file_is_only_overwritten_when_asked() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(temp.path().join(".file.partial"), "left by a crash").unwrap();
        machine().write(&file, b"one", false).unwrap();
        assert_eq!(machine().write(&file, b"two", false).unwrap_err().code, "host.exists");
        let target = temp.path().join("target");
        fs::write(&target, "").unwrap();
        assert_eq!(publish(&target, &file, false).unwrap_err().code, "host.exists");
        assert_eq!(fs::read(&file).unwrap(), b"one");
        machine().write(&file, b"three", true).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"three");
        assert!(!temp.path().join(".file.partial").exists());
    }

    #[test]
    fn removing_a_directory_follows_no_symbolic_link() {
        let temp = tempfile::tempdir().unwrap();
        let (kept, gone, link) = (temp.path().join("kept"), temp.path().join("gone"), temp.path().join("link"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        fs::create_dir(&gone).unwrap();
        symlink(&kept, gone.join("link")).unwrap();
        symlink(&kept, &link).unwrap();
        assert_eq!(machine().remove_dir(&link).unwrap_err().code, "host.not_a_directory");
        machine().remove_dir(&gone).unwrap();
        assert!(kept.join("file").exists() && !gone.exists());
        assert_eq!(machine().remove_dir(&gone).unwrap_err().code, "host.not_found");
    }

    #[test]
    fn space_is_that_of_the_nearest_directory_that_exists() {
        let temp = tempfile::tempdir().unwrap();
        let here = machine().space(temp.path()).unwrap();
        let below = machine().space(&temp.path().join("not/yet/there")).unwrap();
        assert_eq!((here.device, here.total), (below.device, below.total));
        assert!(here.free > 0 && here.free < here.total);
    }

    #[test]
    fn checksum_clock_and_commands_are_the_systems_own() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(machine().sha256(&file).unwrap(), sum);
        let argv = vec!["pwd".to_owned()];
        let output = machine().run(&Command { argv, dir: Some(temp.path().into()), ..Command::default() }).unwrap();
        assert_eq!(output.stdout, format!("{}\n", temp.path().display()).into_bytes());
        assert!(machine().now().ends_with('Z') && machine().now().len() == 20, "{}", machine().now());
        assert!(!machine().hostname().unwrap().is_empty());
    }

    #[test]
    fn sleep_ends_early_when_cancelled() {
        let machine = machine();
        let cancel = machine.context.cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            cancel.cancel();
        });
        let begun = std::time::Instant::now();
        assert_eq!(machine.sleep(Duration::from_secs(600)).unwrap_err().code, "cancelled");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
