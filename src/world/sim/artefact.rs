//! Files of the simulated machine: what they weigh, their checksums, and how a new one comes to its name.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::State;
use super::state::{Content, File};
use super::time::rfc3339;
use crate::world::error::{Error, Result};

impl Content {
    /// What it takes on the disk.
    pub fn size(&self) -> u64 {
        match self {
            Self::Directory => 0,
            Self::Bytes { bytes } => bytes.len() as u64,
            Self::Backup { bytes, .. } | Self::Dump { bytes, .. } => *bytes,
        }
    }

    /// What bytes are that were read from a backup or dump and written elsewhere: that again. `None` for others.
    pub fn artefact(&self) -> Option<Cow<'_, Self>> {
        match self {
            Self::Directory => None,
            Self::Bytes { bytes } => serde_json::from_slice::<Self>(bytes).ok().map(Cow::Owned),
            Self::Backup { .. } | Self::Dump { .. } => Some(Cow::Borrowed(self)),
        }
    }

    /// As `sha256sum` prints it. Damage changes it.
    pub fn sha256(&self) -> String {
        let digest = match self {
            Self::Bytes { bytes } => Sha256::digest(bytes),
            // Plain data has a text, and equal data the same one.
            other => Sha256::digest(serde_json::to_vec(other).unwrap_or_default()),
        };
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl State {
    /// Takes room on the machine's disk.
    ///
    /// Errors: `host.disk_full`.
    pub fn take_room(&mut self, bytes: u64, target: &str) -> Result<()> {
        self.need_room(bytes, target)?;
        self.free -= bytes;
        Ok(())
    }

    /// Whether so much is free.
    ///
    /// Errors: `host.disk_full`.
    pub fn need_room(&self, bytes: u64, target: &str) -> Result<()> {
        match self.free < bytes {
            true => Err(Error::failed("host.disk_full", format!("cannot write {target}: No space left on device"))),
            false => Ok(()),
        }
    }

    /// Gives a file of that name another content, without syncing it.
    ///
    /// Errors: `host.not_found` where its directory is not there, `host.disk_full`.
    pub fn put_file(&mut self, path: &Path, content: Content, mode: u32) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if self.file(parent).is_none_or(|file| file.content != Content::Directory) {
            let message = format!("cannot open {}: No such file or directory (os error 2)", parent.display());
            return Err(Error::failed("host.not_found", message));
        }
        let (old, new) = (self.files.get(path).map_or(0, |file| file.content.size()), content.size());
        self.take_room(new.saturating_sub(old), &path.display().to_string())?;
        self.free += old.saturating_sub(new);
        let synced = self.files.get(path).and_then(|file| file.synced.clone());
        self.files.insert(path.to_owned(), File { content, mode, modified: self.now, synced });
        Ok(())
    }

    /// All that is at a path, or below it, reaches the disk.
    pub fn sync_files(&mut self, path: &Path) {
        for (_, file) in self.files.iter_mut().filter(|(name, _)| name.starts_with(path)) {
            file.synced = Some(file.content.clone());
        }
    }

    /// Removes what is at a path, and below it.
    pub fn remove_files(&mut self, path: &Path) {
        let gone: Vec<PathBuf> = self.files.keys().filter(|name| name.starts_with(path)).cloned().collect();
        for name in gone {
            self.free += self.files.remove(&name).map_or(0, |file| file.content.size());
        }
    }

    /// Gives what is at a path another name; what had that goes.
    pub fn rename_files(&mut self, from: &Path, to: &Path) {
        self.remove_files(to);
        let moved: Vec<PathBuf> = self.files.keys().filter(|name| name.starts_with(from)).cloned().collect();
        for name in moved {
            let Some(file) = self.files.remove(&name) else { continue };
            let rest = name.strip_prefix(from).unwrap_or(Path::new(""));
            // `join` of nothing would end in a slash.
            let new = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.files.insert(new, file);
        }
    }
}

/// What a file is called in the names of changes: its directory is another one for each run.
pub fn called(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// `<path>.json`: where what describes an artefact lies.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// `.<name>.partial`: what an artefact is called until it is whole.
pub fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.partial"))
}

/// RFC 3339, UTC, seconds.
pub fn time(milliseconds: u64) -> String {
    rfc3339(milliseconds / 1000 * 1000)
}

#[cfg(test)]
mod tests {
    use super::super::testing::state;
    use super::*;

    fn bytes(text: &str) -> Content {
        Content::Bytes { bytes: text.into() }
    }

    #[test]
    fn a_file_takes_room_and_gives_it_back() {
        let mut state = State { free: 10, ..state() };
        let path = Path::new("/base/a");
        assert_eq!(state.put_file(Path::new("/gone/a"), bytes("x"), 0o600).unwrap_err().code, "host.not_found");
        state.put_file(path, bytes("12345678"), 0o600).unwrap();
        assert_eq!(state.free, 2);
        assert_eq!(state.put_file(Path::new("/base/b"), bytes("123"), 0o600).unwrap_err().code, "host.disk_full");
        state.rename_files(path, Path::new("/base/c"));
        state.remove_files(Path::new("/base/c"));
        assert_eq!(state.free, 10);
    }

    #[test]
    fn names_are_those_of_the_live_world() {
        assert_eq!(beside(Path::new("/d/x.tar")), Path::new("/d/x.tar.json"));
        assert_eq!(partial(Path::new("/d/dump")), Path::new("/d/.dump.partial"));
        assert_eq!(time(1_790_000_000_000), "2026-09-21T14:13:20Z");
    }
}
