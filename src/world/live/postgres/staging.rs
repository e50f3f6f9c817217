//! New artefacts: written under a temporary name, private, synced, and renamed only when whole.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::world::error::{Error, Result};

/// A file or directory under its temporary name, `.<name>.partial`; removed when dropped before [`Staging::finish`].
pub struct Staging {
    path: PathBuf,
    partial: PathBuf,
    done: bool,
}

impl Staging {
    /// An artefact that must not exist yet. What an earlier, killed run left under the temporary name goes away.
    fn new(path: &Path) -> Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            let message = format!("{} exists already", path.display());
            return Err(Error::refused("dump.exists", message).hint("a dump never overwrites: take another name"));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(parent)) = (name, path.parent()) else {
            return Err(Error::usage("dump.failed", format!("{} cannot be a dump's name", path.display())));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let parent = fs::canonicalize(parent).map_err(|e| Error::io("open", parent.display(), &e))?;
        let partial = parent.join(format!(".{name}.partial"));
        remove(&partial).map_err(|e| Error::io("remove", partial.display(), &e))?;
        Ok(Self { path: parent.join(name), partial, done: false })
    }

    /// A new private directory.
    pub fn directory(path: &Path) -> Result<Self> {
        let staging = Self::new(path)?;
        let made = DirBuilder::new().mode(0o700).create(&staging.partial);
        made.map_err(|e| Error::io("create", staging.partial.display(), &e))?;
        Ok(staging)
    }

    /// A new private file.
    pub fn file(path: &Path) -> Result<(Self, File)> {
        let staging = Self::new(path)?;
        let file = create(&staging.partial)?;
        Ok((staging, file))
    }

    /// Where to write meanwhile.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// The absolute name it gets in the end.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Staging::finish`], for a file that was made inside the temporary directory: it gets the name.
    pub fn finish_as_file(self, inner: &str) -> Result<()> {
        let inner = self.partial.join(inner);
        make_private(&inner).map_err(|e| Error::io("sync", inner.display(), &e))?;
        fs::rename(&inner, &self.path).map_err(|e| Error::io("rename", inner.display(), &e))?;
        sync_parent(&self.path)
    }

    /// Makes everything private and durable, then gives it its name.
    pub fn finish(mut self) -> Result<PathBuf> {
        make_private(&self.partial).map_err(|e| Error::io("sync", self.partial.display(), &e))?;
        fs::rename(&self.partial, &self.path).map_err(|e| Error::io("rename", self.partial.display(), &e))?;
        self.done = true;
        sync_parent(&self.path)?;
        Ok(self.path.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done {
            let _ = remove(&self.partial);
        }
    }
}

/// A new file that only its owner can read.
pub fn create(path: &Path) -> Result<File> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|e| Error::io("create", path.display(), &e))
}

/// The names in a directory reach the disk.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync", parent.display(), &e))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    let is_dir = fs::symlink_metadata(path)?.is_dir();
    fs::set_permissions(path, Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
    if is_dir {
        for entry in fs::read_dir(path)? {
            make_private(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_unfinished_artefact_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (staging, mut file) = Staging::file(&dir.path().join("dump.sql")).unwrap();
        file.write_all(b"x").unwrap();
        drop(staging);
        let staging = Staging::directory(&dir.path().join("dump")).unwrap();
        fs::write(staging.partial().join("a"), b"x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_one_is_private_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        fs::create_dir(dir.path().join(".dump.partial")).unwrap();
        let staging = Staging::directory(&path).unwrap();
        fs::write(staging.partial().join("a"), b"x").unwrap();
        let path = staging.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Staging::file(&path).err().unwrap().code, "dump.exists");
    }
}
