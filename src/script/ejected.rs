//! How shipped files get out of the program to be edited, and what is noted of them then, so that a later program can
//! tell what the site has changed and what the shipped file has become.
//!
//! A note is two files beside the scripts: the very text, and a record with its checksum. A record without its text
//! (a crash in between, an editor) is known by the checksum; then only the differences can't be shown any more.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::changes;
use super::shipped::{self, Shipped};
use super::source::{Origin, Source, sha256};
use crate::world::{Error, Result};

/// Where the notes of a directory's scripts are.
pub const DIRECTORY: &str = ".pgscript-ejected";

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const ABOUT: &str = "What pgscript wrote here as the script of this name, and which version of it did: `pgscript diff` \
                     compares with that. Not to be edited; keep it with the scripts, in git too.";

/// The text that a site's file came from.
#[derive(Debug)]
pub struct Base {
    record: Record,
    text: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Record {
    about: String,
    version: String,
    sha256: String,
    /// How many changes of shipped files were known to the program that wrote it.
    changes: usize,
}

impl Base {
    /// The version of the program that wrote it.
    pub fn version(&self) -> &str {
        &self.record.version
    }

    /// As it was written; `None` where the note's copy is not that any more.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    fn is(&self, text: &str) -> bool {
        sha256(text) == self.record.sha256
    }
}

/// Writes a shipped file into a directory, which is made where it is missing; never over an existing file. What it came
/// from is noted beside it. Gives its path.
pub fn eject(file: &Shipped, directory: &Path) -> Result<PathBuf> {
    let path = directory.join(file.name);
    if is_taken(&path) {
        return Err(taken(std::slice::from_ref(&path)));
    }
    // First, so that a crash leaves a note without its script, and never a script without its note.
    note(directory, file)?;
    let new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
    let mut new = new.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => taken(std::slice::from_ref(&path)),
        _ => Error::io("create", path.display(), &e),
    })?;
    new.write_all(file.text.as_bytes()).map_err(|e| Error::io("write", path.display(), &e))?;
    Ok(path)
}

/// Whether something is there already; a broken symbolic link is in the way too.
pub fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The refusal to write over files.
pub fn taken(paths: &[PathBuf]) -> Error {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Error::refused("eject.exists", format!("already there: {}", paths.join(", ")))
        .hint("nothing was written; move it away or choose another directory")
}

/// Notes that a script in a directory has come from the shipped file as it is now.
pub fn note(directory: &Path, file: &Shipped) -> Result<()> {
    let notes = directory.join(DIRECTORY);
    fs::create_dir_all(&notes).map_err(|e| Error::io("create", notes.display(), &e))?;
    let record =
        Record { about: ABOUT.into(), version: VERSION.into(), sha256: sha256(file.text), changes: changes::count() };
    let record = serde_json::to_string_pretty(&record).unwrap_or_default() + "\n";
    // The record is what counts: it comes when the text is there.
    replace(&notes.join(file.name), file.text)?;
    replace(&record_of(directory, file.name), &record)
}

/// Removes the note of a script that is not there any more.
pub fn forget(directory: &Path, file: &Shipped) -> Result<()> {
    let notes = directory.join(DIRECTORY);
    for path in [record_of(directory, file.name), notes.join(file.name)] {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", path.display(), &e)),
            _ => {}
        }
    }
    // Only the last note takes it along.
    let _ = fs::remove_dir(notes);
    Ok(())
}

fn record_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(DIRECTORY).join(format!("{name}.json"))
}

/// Under a temporary name, synced, renamed: a crash leaves the old file or the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let directory = path.parent().unwrap_or(Path::new("."));
    let named = written.and_then(|()| fs::rename(&new, path)).and_then(|()| File::open(directory)?.sync_all());
    named.map_err(|e| Error::io("write", path.display(), &e))
}

/// The note of a script in a directory; `None` where there is none. One that can't be read is an error.
fn read(directory: &Path, name: &str) -> Result<Option<Base>> {
    let path = record_of(directory, name);
    let record = match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        record => record.map_err(|e| Error::io("read", path.display(), &e))?,
    };
    let record: Record = serde_json::from_str(&record).map_err(|e| {
        Error::failed("ejected.note", format!("{} is no note of `pgscript eject`: {e}", path.display())).hint(
            "restore it from where the site's scripts are kept; without it nobody knows what the script came from",
        )
    })?;
    let text = fs::read_to_string(directory.join(DIRECTORY).join(name)).ok();
    Ok(Some(Base { text: text.filter(|text| sha256(text) == record.sha256), record }))
}

/// How a site's file stands to the shipped one whose place it takes.
#[derive(Debug)]
pub struct Standing {
    pub source: Source,
    pub shipped: &'static Shipped,
    /// What it came from, if that was noted.
    pub base: Option<Base>,
}

impl Standing {
    /// `None` for what is built in, or has another name than everything that is shipped. An error is one of its note.
    pub fn of(source: &Source) -> Result<Option<Self>> {
        let Origin::File(path) = &source.origin else { return Ok(None) };
        let name = path.file_name().unwrap_or_default();
        let Some(shipped) = shipped::ALL.iter().find(|file| file.name == name) else { return Ok(None) };
        let base = read(path.parent().unwrap_or(Path::new("")), shipped.name)?;
        Ok(Some(Self { source: source.clone(), shipped, base }))
    }

    /// Whether it is the shipped one of today, word for word.
    pub fn is_shipped(&self) -> bool {
        self.source.text == self.shipped.text
    }

    /// Whether the site has changed it; `None` where nobody knows.
    pub fn is_edited(&self) -> Option<bool> {
        self.base.as_ref().map(|base| !base.is(&self.source.text))
    }

    /// Whether the shipped one is another one than that it came from; `None` where nobody knows.
    pub fn has_moved_on(&self) -> Option<bool> {
        self.base.as_ref().map(|base| !base.is(self.shipped.text))
    }

    /// Its name, and how many of all changes of shipped files it has for certain.
    pub fn copy(&self) -> (&'static str, usize) {
        let known = match self.is_shipped() {
            true => changes::count(),
            false => self.base.as_ref().map_or(0, |base| base.record.changes),
        };
        (self.shipped.name, known)
    }

    /// The directory it is in, as somebody would type it.
    pub fn directory(&self) -> String {
        let directory = self.source.directory().filter(|directory| !directory.as_os_str().is_empty());
        directory.map_or_else(|| ".".into(), |directory| directory.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn at(directory: &TempDir) -> Standing {
        let path = directory.path().join("upgrade.rhai");
        let text = fs::read_to_string(&path).unwrap().into();
        let source =
            Source { id: path.display().to_string(), name: "upgrade".into(), origin: Origin::File(path), text };
        Standing::of(&source).unwrap().unwrap()
    }

    fn shipped() -> &'static Shipped {
        shipped::find("upgrade.rhai").unwrap()
    }

    fn directory() -> TempDir {
        let directory = TempDir::new().unwrap();
        eject(shipped(), directory.path()).unwrap();
        directory
    }

    /// As if an earlier program had written it.
    fn note_of_before(directory: &TempDir, text: &str) {
        let earlier = Shipped { text: Box::leak(text.to_owned().into_boxed_str()), ..*shipped() };
        note(directory.path(), &earlier).unwrap();
    }

    #[test]
    fn what_was_just_ejected_is_the_shipped_one_with_a_note_of_version_and_text() {
        let directory = directory();
        let standing = at(&directory);
        assert!(standing.is_shipped() && changes::since(&[standing.copy()]).is_empty());
        assert_eq!((standing.is_edited(), standing.has_moved_on()), (Some(false), Some(false)));
        let base = standing.base.unwrap();
        assert_eq!((base.version(), base.text()), (VERSION, Some(shipped().text)));
        let names = fs::read_dir(directory.path().join(DIRECTORY)).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["upgrade.rhai", "upgrade.rhai.json"]);
    }

    #[test]
    fn edits_of_the_site_and_changes_of_the_shipped_one_are_told_apart() {
        let directory = directory();
        let path = directory.path().join("upgrade.rhai");
        fs::write(&path, "edited").unwrap();
        assert_eq!((at(&directory).is_edited(), at(&directory).has_moved_on()), (Some(true), Some(false)));
        note_of_before(&directory, "of before");
        assert_eq!((at(&directory).is_edited(), at(&directory).has_moved_on()), (Some(true), Some(true)));
        fs::write(&path, "of before").unwrap();
        assert_eq!((at(&directory).is_edited(), at(&directory).has_moved_on()), (Some(false), Some(true)));
    }

    #[test]
    fn without_a_note_nothing_is_claimed_and_everything_may_be_missing() {
        let directory = directory();
        forget(directory.path(), shipped()).unwrap();
        assert!(!directory.path().join(DIRECTORY).exists());
        forget(directory.path(), shipped()).unwrap();
        fs::write(directory.path().join("upgrade.rhai"), "whose?").unwrap();
        let standing = at(&directory);
        assert_eq!((standing.is_edited(), standing.has_moved_on()), (None, None));
        assert!(!changes::since(&[standing.copy()]).is_empty());
    }

    #[test]
    fn a_copy_that_somebody_has_edited_is_not_compared_with_but_the_version_is_still_known() {
        let directory = directory();
        note_of_before(&directory, "of before");
        fs::write(directory.path().join(DIRECTORY).join("upgrade.rhai"), "edited").unwrap();
        let standing = at(&directory);
        assert_eq!(standing.has_moved_on(), Some(true));
        assert_eq!(standing.base.unwrap().text(), None);
    }

    #[test]
    fn a_record_that_can_not_be_read_is_an_error_that_names_it() {
        let directory = directory();
        let path = record_of(directory.path(), "upgrade.rhai");
        fs::write(&path, "<<<<<<< HEAD").unwrap();
        let error = read(directory.path(), "upgrade.rhai").unwrap_err();
        assert!(error.code == "ejected.note" && error.message.contains(path.to_str().unwrap()), "{error:?}");
    }
}
