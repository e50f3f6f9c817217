//! The machine that pgscript runs on: its files, its clock, and what its commands do.

use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::artefact::called;
use super::state::{Content, File};
use super::{Context, Sim, State};
use crate::event::Event;
use crate::world::container::Output;
use crate::world::error::{Error, Result};
use crate::world::host::{Command, Entry, Host, Space};

/// Modes of what it makes.
const FILE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

pub struct Machine {
    context: Context,
}

impl Machine {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    fn act<T>(&self, change: &str, path: &Path, act: impl FnOnce(&mut State, &Path) -> Result<T>) -> Result<T> {
        self.context.cancel.check()?;
        let path = absolute(path)?;
        self.context.sim.act(&format!("{change} {}", called(&path)), |state| act(state, &path))
    }

    fn read<T>(&self, path: &Path, look: impl FnOnce(&State, &Path) -> Result<T>) -> Result<T> {
        self.context.cancel.check()?;
        let path = absolute(path)?;
        self.context.sim.read(|state| look(state, &path))
    }
}

impl Host for Machine {
    fn entry(&self, path: &Path) -> Result<Option<Entry>> {
        self.read(path, |state, at| Ok(state.file(at).map(|file| entry(path.to_owned(), &file))))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        self.read(dir, |state, at| {
            let found = state.file(at).ok_or_else(|| missing("list", at))?;
            if found.content != Content::Directory {
                return Err(Error::io("list", dir.display(), &io::ErrorKind::NotADirectory.into()));
            }
            let inside = state.files.iter().filter(|(path, _)| path.parent() == Some(at));
            let named = |path: &Path| dir.join(path.file_name().unwrap_or_default());
            Ok(inside.map(|(path, file)| entry(named(path), file)).collect())
        })
    }

    fn create_private_dir(&self, path: &Path) -> Result<()> {
        self.act("mkdir", path, |state, path| {
            if state.file(path).is_some_and(|file| file.content == Content::Directory) {
                return check_private(state, path);
            }
            state.make_directories(path)
        })
    }

    fn check_private(&self, path: &Path) -> Result<()> {
        self.read(path, check_private)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        Self::read(self, path, |state, path| {
            let file = state.file(path).ok_or_else(|| missing("read", path))?;
            file.content
                .to_bytes()
                .ok_or_else(|| Error::io("read", path.display(), &io::ErrorKind::IsADirectory.into()))
        })
    }

    fn write(&self, path: &Path, content: &[u8], overwrite: bool) -> Result<()> {
        self.act("write", path, |state, path| {
            if !overwrite && state.files.contains_key(path) {
                return Err(exists(path));
            }
            let old = state.files.get(path).map(|file| &file.content);
            let content = old.and_then(|old| old.damaged_by(content)).unwrap_or_else(|| bytes(content));
            state.put_file(path, content, FILE)?;
            // Under another name until it is whole and synced: nobody ever sees a part of it.
            state.sync_files(path);
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Write + Send>> {
        self.act("create", path, |state, path| {
            if state.files.contains_key(path) {
                return Err(exists(path));
            }
            state.put_file(path, bytes(&[]), FILE)
        })?;
        Ok(Box::new(Stream { sim: self.context.sim.clone(), path: absolute(path)? }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(Host::read(self, path)?)))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.act("remove", path, |state, path| match state.files.contains_key(path) {
            true => {
                state.remove_files(path);
                Ok(())
            }
            false => Err(missing("remove", path)),
        })
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.act("remove", path, |state, path| {
            let found = state.file(path).ok_or_else(|| missing("remove", path))?;
            if found.content != Content::Directory {
                let message = format!("{} is no directory", path.display());
                return Err(Error::refused("host.not_a_directory", message)
                    .hint("a symbolic link is not followed: name the directory itself"));
            }
            state.remove_files(path);
            Ok(())
        })
    }

    fn space(&self, path: &Path) -> Result<Space> {
        self.read(path, |state, _| Ok(Space { free: state.free, total: state.total, device: 1 }))
    }

    fn sha256(&self, path: &Path) -> Result<String> {
        Ok(Sha256::digest(Host::read(self, path)?).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let is_known = |state: &State| state.commands.keys().any(|known| known.split(' ').next() == Some(name));
        let found = self.context.sim.read(|state| Ok(is_known(state))).unwrap_or_default();
        found.then(|| Path::new("/usr/bin").join(name))
    }

    fn run(&self, command: &Command) -> Result<Output> {
        self.context.cancel.check()?;
        let (line, program) = (command.argv.join(" "), command.argv.first().cloned().unwrap_or_default());
        let done = self.context.sim.act(&line, |state| {
            let effect = state.commands.get(&line).or_else(|| state.commands.get(&program)).cloned();
            let effect = effect.ok_or_else(|| {
                Error::failed("host.no_program", format!("there is no program {program}"))
                    .hint("in a simulated world: sim::command tells what it does")
            })?;
            Ok(state.effect(&effect, &serde_json::Map::new()))
        })?;
        let (exit_code, stderr) = done.map_or_else(|why| (1, why.into_bytes()), |()| (0, Vec::new()));
        if command.stream && exit_code != 0 {
            let line = self.context.redactor.redact(&String::from_utf8_lossy(&stderr));
            self.context.emit(Event::Output { source: program, line });
        }
        Ok(Output { exit_code, stdout: Vec::new(), stderr })
    }

    fn hostname(&self) -> Result<String> {
        // Runs are kept on the real machine, and so are their processes.
        Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    fn now(&self) -> String {
        super::artefact::time(self.context.sim.read(|state| Ok(state.now)).unwrap_or_default())
    }

    fn clock(&self) -> Duration {
        self.context.sim.read(|state| Ok(Duration::from_millis(state.now))).unwrap_or_default()
    }

    fn require_terminal(&self, what_for: &str) -> Result<()> {
        Err(Error::refused("ui.no_terminal", format!("there is no terminal {what_for}")))
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        self.context.cancel.check()?;
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.context.sim.wait(milliseconds)
    }
}

/// What is streamed into a file: nobody syncs it.
struct Stream {
    sim: Sim,
    path: PathBuf,
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let change = format!("write {}", called(&self.path));
        let written = self.sim.act(&change, |state| {
            state.take_room(buffer.len() as u64, &self.path.display().to_string())?;
            match state.files.get_mut(&self.path).map(|file| &mut file.content) {
                Some(Content::Bytes { bytes }) => bytes.extend_from_slice(buffer),
                _ => return Err(missing("write", &self.path)),
            }
            Ok(())
        });
        written.map(|()| buffer.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("look at", path.display(), &e))
}

fn entry(path: PathBuf, file: &File) -> Entry {
    let is_dir = file.content == Content::Directory;
    Entry { path, is_dir, size: file.content.size(), mode: file.mode, modified: (file.modified / 1000).cast_signed() }
}

fn missing(verb: &str, path: &Path) -> Error {
    Error::io(verb, path.display(), &io::ErrorKind::NotFound.into())
}

fn exists(path: &Path) -> Error {
    Error::refused("host.exists", format!("{} exists already and is not overwritten", path.display()))
}

fn check_private(state: &State, path: &Path) -> Result<()> {
    let Some(file) = state.files.get(path).filter(|file| file.mode & 0o077 != 0) else { return Ok(()) };
    let message = format!("{} is open to others (mode {:03o})", path.display(), file.mode);
    Err(Error::refused("host.not_private", message)
        .hint(format!("name another directory, or: chmod 700 {}", path.display())))
}

fn bytes(content: &[u8]) -> Content {
    Content::Bytes { bytes: content.to_vec() }
}

impl Content {
    /// What a backup or dump becomes when its bytes are written over by others, as many; `None` for other files.
    fn damaged_by(&self, content: &[u8]) -> Option<Self> {
        let own = self.to_bytes()?;
        let is_whole = own == content;
        match self {
            _ if own.len() != content.len() => None,
            Self::Backup { tree, bytes, .. } => Some(Self::Backup { tree: tree.clone(), bytes: *bytes, is_whole }),
            Self::Dump { cluster, bytes, .. } => Some(Self::Dump { cluster: cluster.clone(), bytes: *bytes, is_whole }),
            Self::Directory | Self::Bytes { .. } => None,
        }
    }

    /// What somebody reads who opens it: of what stands for much, what tells it from any other.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Directory => None,
            Self::Bytes { bytes } => Some(bytes.clone()),
            Self::Backup { .. } | Self::Dump { .. } => serde_json::to_vec(self).ok(),
        }
    }
}

impl State {
    /// A file or directory; `/` and what is above a file are always there.
    pub fn file(&self, path: &Path) -> Option<File> {
        let is_above = || self.files.keys().any(|file| file.starts_with(path));
        let above = || File { content: Content::Directory, mode: 0o755, modified: 0, synced: Some(Content::Directory) };
        self.files.get(path).cloned().or_else(|| (path == Path::new("/") || is_above()).then(above))
    }

    /// Makes what is missing of a path, each directory 0700.
    pub fn make_directories(&mut self, path: &Path) -> Result<()> {
        let all: Vec<_> = path.ancestors().map(Path::to_owned).collect();
        for directory in all.into_iter().rev() {
            match self.file(&directory).map(|file| file.content) {
                None => {
                    let (content, synced) = (Content::Directory, Some(Content::Directory));
                    self.files.insert(directory, File { content, mode: DIRECTORY, modified: self.now, synced });
                }
                Some(Content::Directory) => {}
                Some(_) => {
                    let message = format!("{} is no directory", directory.display());
                    return Err(Error::refused("host.not_a_directory", message));
                }
            }
        }
        Ok(())
    }
}
