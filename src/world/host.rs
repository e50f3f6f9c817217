//! The machine pgscript runs on: files, space, commands, clock.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::container::Output;
use super::error::Result;

/// A file or directory as `stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: PathBuf,
    pub is_dir: bool,
    /// Bytes of a file; 0 for a directory.
    pub size: u64,
    /// Permission bits, `0o600`.
    pub mode: u32,
    /// Seconds since the epoch.
    pub modified: i64,
}

/// A file system's room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
    /// Tells two paths on one file system from two file systems.
    pub device: u64,
}

/// Why others could read or change what is in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposed {
    /// It belongs to this user.
    Owner(u32),
    /// It is a symbolic link of this user, who can lead it elsewhere.
    Link(u32),
    /// It is open to others.
    Mode(u32),
}

impl Exposed {
    /// `None` for a directory that is ours alone. A link is followed; root's links lead whoever they lead for good.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let us = rustix::process::geteuid().as_raw();
        let (link, metadata) = (path.symlink_metadata()?, path.metadata()?);
        if link.is_symlink() && ![us, 0].contains(&link.uid()) {
            return Ok(Some(Self::Link(link.uid())));
        }
        if metadata.uid() != us {
            return Ok(Some(Self::Owner(metadata.uid())));
        }
        let mode = metadata.mode() & 0o777;
        Ok((mode & 0o077 != 0).then_some(Self::Mode(mode)))
    }

    /// What is wrong with it, for a message: `belongs to user 1000, not to us (0)`.
    pub fn why(self) -> String {
        let us = rustix::process::geteuid().as_raw();
        match self {
            Self::Owner(owner) => format!("belongs to user {owner}, not to us ({us})"),
            Self::Link(owner) => format!("is a symbolic link of user {owner}, who can lead it elsewhere"),
            Self::Mode(mode) => format!("is open to others (mode {mode:03o})"),
        }
    }
}

/// A command on this machine: argv, never a shell string.
#[derive(Clone, Debug, Default)]
pub struct Command {
    pub argv: Vec<String>,
    pub dir: Option<PathBuf>,
    pub env: Vec<(String, String)>,
    /// Show its lines as they come (`Event::Output`).
    pub stream: bool,
}

/// Files are private by default: 0600, directories 0700. Codes `host.*`.
pub trait Host: Send + Sync {
    fn entry(&self, path: &Path) -> Result<Option<Entry>>;
    fn list(&self, dir: &Path) -> Result<Vec<Entry>>;
    /// Creates a directory (and missing parents) as 0700; an existing last one must be private and ours.
    fn create_private_dir(&self, path: &Path) -> Result<()>;
    /// Whether a directory, where it is there already, is private, ours, and can be written to.
    fn check_private(&self, path: &Path) -> Result<()>;
    fn read(&self, path: &Path) -> Result<Vec<u8>>;
    /// Written under a temporary name, synced, renamed; 0600. `overwrite` false: an existing file is `host.exists`.
    fn write(&self, path: &Path, content: &[u8], overwrite: bool) -> Result<()>;
    /// A new private file to stream into; an existing one is `host.exists`.
    fn create(&self, path: &Path) -> Result<Box<dyn Write + Send>>;
    /// A file to stream from.
    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>>;
    fn remove_file(&self, path: &Path) -> Result<()>;
    /// Removes a directory with everything in it.
    fn remove_dir(&self, path: &Path) -> Result<()>;
    fn space(&self, path: &Path) -> Result<Space>;
    /// As `sha256sum` prints it.
    fn sha256(&self, path: &Path) -> Result<String>;
    /// The program that `run` would start by a name, as an absolute path: a name with a slash is a path itself, any
    /// other is looked up in `PATH`. `None` where there is none that may be run.
    fn program(&self, name: &str) -> Option<PathBuf>;
    fn run(&self, command: &Command) -> Result<Output>;
    fn hostname(&self) -> Result<String>;
    /// RFC 3339, UTC, seconds.
    fn now(&self) -> String;
    /// Time since some moment, by a clock that nobody sets: for how long something takes.
    fn clock(&self) -> Duration;
    /// `ui.no_terminal` unless standard input and output are a terminal; `what_for` ends the sentence "there is no
    /// terminal …".
    fn require_terminal(&self, what_for: &str) -> Result<()>;
    /// Returns early with `cancelled` on Ctrl-C.
    fn sleep(&self, duration: Duration) -> Result<()>;
}
