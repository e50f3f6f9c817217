//! New artefacts: written under a temporary name, private, synced, and renamed only when whole. What they replace stays
//! as it is until then.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::world::error::{Error, Result};

/// A file or directory under its temporary name, `.<name>.partial`; removed when dropped before [`Staging::finish`].
pub struct Staging {
    path: PathBuf,
    partial: PathBuf,
    done: bool,
}

impl Staging {
    /// What an earlier, killed run left under the temporary name goes away.
    fn new(path: &Path, replace: bool) -> Result<Self> {
        settle(path)?;
        if !replace && fs::symlink_metadata(path).is_ok() {
            let message = format!("{} exists already", path.display());
            return Err(Error::refused("dump.exists", message).hint("take another name, or say `replace: true`"));
        }
        let (path, partial) = (absolute(path)?, partial(path)?);
        remove(&partial).map_err(|e| Error::io("remove", partial.display(), &e))?;
        Ok(Self { path, partial, done: false })
    }

    /// A private directory. Without `replace` there must be nothing at its path.
    pub fn directory(path: &Path, replace: bool) -> Result<Self> {
        let staging = Self::new(path, replace)?;
        let made = DirBuilder::new().mode(0o700).create(&staging.partial);
        made.map_err(|e| Error::io("create", staging.partial.display(), &e))?;
        Ok(staging)
    }

    /// A private file. Without `replace` there must be nothing at its path.
    pub fn file(path: &Path, replace: bool) -> Result<(Self, File)> {
        let staging = Self::new(path, replace)?;
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

    /// Makes everything private and durable, then gives it its name. What had the name is gone afterwards.
    pub fn finish(mut self) -> Result<PathBuf> {
        make_private(&self.partial).map_err(|e| Error::io("sync", self.partial.display(), &e))?;
        take_name(&self.partial, &self.path).map_err(|e| Error::io("rename", self.partial.display(), &e))?;
        self.done = true;
        sync_parent(&self.path)?;
        // The old one, where there was one. Whatever remains of it goes with the next attempt.
        let _ = remove(&self.partial);
        Ok(self.path.clone())
    }
}

/// The temporary name of an artefact.
pub fn partial(path: &Path) -> Result<PathBuf> {
    hidden(path, "partial")
}

/// Where an old directory is for a moment, on a file system that can't exchange two names.
fn aside(path: &Path) -> Result<PathBuf> {
    hidden(path, "replaced")
}

/// `.<name>.<suffix>` beside it.
fn hidden(path: &Path, suffix: &str) -> Result<PathBuf> {
    let path = absolute(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(path.with_file_name(format!(".{name}.{suffix}")))
}

/// The path with all but its last name resolved.
fn absolute(path: &Path) -> Result<PathBuf> {
    let (Some(name), Some(parent)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else {
        return Err(Error::usage("dump.failed", format!("{} cannot be a dump's name", path.display())));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = fs::canonicalize(parent).map_err(|e| Error::io("open", parent.display(), &e))?;
    Ok(parent.join(name))
}

/// Gives `new` the name `path`. A directory that has it gets the name `new` instead: at no moment is there none.
fn take_name(new: &Path, path: &Path) -> std::io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return fs::rename(new, path);
    }
    match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => take_name_in_turn(new, path),
        Err(error) => Err(error.into()),
    }
}

/// As [`take_name`] where two names can't be exchanged (NFS); [`settle`] mends it when it is cut off.
fn take_name_in_turn(new: &Path, path: &Path) -> std::io::Result<()> {
    let aside = aside(path).map_err(std::io::Error::other)?;
    fs::rename(path, &aside)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&aside, path)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

/// Brings an artefact back that was to be replaced when its run was killed, so that it is where it was.
pub fn settle(path: &Path) -> Result<()> {
    let aside = aside(path)?;
    if fs::symlink_metadata(&aside).is_err() {
        return Ok(());
    }
    let (action, done) = match fs::symlink_metadata(path) {
        // The new one has the name already.
        Ok(_) => ("remove", remove(&aside)),
        Err(_) => ("rename", fs::rename(&aside, path)),
    };
    done.map_err(|e| Error::io(action, aside.display(), &e))
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

/// Removes a file or directory, if it is there.
pub fn remove(path: &Path) -> std::io::Result<()> {
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
        let (staging, mut file) = Staging::file(&dir.path().join("dump.sql"), false).unwrap();
        file.write_all(b"x").unwrap();
        drop(staging);
        let staging = Staging::directory(&dir.path().join("dump"), false).unwrap();
        fs::write(staging.partial().join("a"), b"x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_one_is_private_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        fs::create_dir(dir.path().join(".dump.partial")).unwrap();
        let staging = Staging::directory(&path, false).unwrap();
        fs::write(staging.partial().join("a"), b"x").unwrap();
        let path = staging.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Staging::file(&path, false).err().unwrap().code, "dump.exists");
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_is_replaced_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), b"old").unwrap();
        drop(Staging::directory(&path, true).unwrap());
        assert_eq!(text(&path.join("a")), "old");
        let staging = Staging::directory(&path, true).unwrap();
        fs::write(staging.partial().join("a"), b"new").unwrap();
        assert_eq!(text(&path.join("a")), "old");
        staging.finish().unwrap();
        assert_eq!(text(&path.join("a")), "new");

        let path = dir.path().join("dump.sql");
        fs::write(&path, b"old").unwrap();
        let (staging, mut file) = Staging::file(&path, true).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(text(&path), "old");
        staging.finish().unwrap();
        assert_eq!(text(&path), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn without_an_exchange_of_names_a_cut_off_attempt_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let (new, path) = (dir.path().join(".dump.partial"), dir.path().join("dump"));
        for (at, content) in [(&new, "new"), (&path, "old")] {
            fs::create_dir(at).unwrap();
            fs::write(at.join("a"), content).unwrap();
        }
        // Cut off after the first of three steps.
        fs::rename(&path, aside(&path).unwrap()).unwrap();
        settle(&path).unwrap();
        assert_eq!(text(&path.join("a")), "old");
        take_name_in_turn(&new, &path).unwrap();
        assert_eq!((text(&path.join("a")), text(&new.join("a"))), ("new".into(), "old".into()));
        // Cut off after the second.
        fs::rename(&new, aside(&path).unwrap()).unwrap();
        settle(&path).unwrap();
        assert_eq!(text(&path.join("a")), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
