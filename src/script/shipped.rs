//! The scripts and modules inside the program, and how they get out of it to be edited.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::world::{Error, Result};

/// What a shipped file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A procedure an operator runs.
    Script,
    /// A module that procedures import.
    Module,
}

/// One file of `scripts/` or `stdlib/`, as it was when the program was built.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    pub kind: Kind,
    /// With its extension: `upgrade.rhai`.
    pub name: &'static str,
    pub text: &'static str,
}

/// All of them, scripts first, by name.
pub const ALL: &[Shipped] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The shipped file of that name, with or without its extension.
pub fn find(name: &str) -> Option<&'static Shipped> {
    ALL.iter().find(|file| file.name == name || file.name.strip_suffix(".rhai") == Some(name))
}

impl Shipped {
    /// Writes it into a directory, which is made where it is missing; never over an existing file. Gives its path.
    pub fn eject(&self, directory: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory.display(), &e))?;
        let path = directory.join(self.name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        let mut file = file.map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => taken(std::slice::from_ref(&path)),
            _ => Error::io("create", path.display(), &e),
        })?;
        file.write_all(self.text.as_bytes()).map_err(|e| Error::io("write", path.display(), &e))?;
        Ok(path)
    }
}

/// The refusal to write over files.
pub fn taken(paths: &[PathBuf]) -> Error {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Error::refused("eject.exists", format!("already there: {}", paths.join(", ")))
        .hint("nothing was written; move it away or choose another directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_because_eject_writes_them_into_one_directory() {
        let mut names: Vec<_> = ALL.iter().map(|file| file.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(find("upgrade").is_some() && find("upgrade.rhai").is_some() && find("nothing").is_none());
    }
}
