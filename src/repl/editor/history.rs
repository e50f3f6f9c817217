//! The history's file: one input a line, `#V2` first, with line breaks and backslashes escaped, as rustyline writes it.
//!
//! rustyline's own file is not used: to add an entry beside another session it writes the whole file anew in its place,
//! so that a kill in that moment loses all of it; and it refuses to load a file with one bad byte. Here an entry is one
//! `write` at the end of the file, and only the start of a session, which has more than enough, replaces the file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

/// Entries kept.
pub const MOST: usize = 10_000;
/// Bytes read of a file; of a longer one the end.
const LONGEST: u64 = 32 << 20;
const HEAD: &str = "#V2\n";
/// How often a lock is tried that another session holds for one `write`; a stopped one must not stop this one.
const PATIENCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);
/// Damaged files kept beside the new one.
const KEPT: u32 = 9;

/// Where entries go, if anywhere.
#[derive(Debug, Default)]
pub struct History {
    path: Option<PathBuf>,
}

/// What there was when a session began.
#[derive(Debug, Default)]
pub struct Loaded {
    pub history: History,
    /// Oldest first.
    pub entries: Vec<String>,
    /// One line for the operator: what is not as it should be, and what became of it.
    pub warning: Option<String>,
}

/// Why a file can't be used.
enum Fault {
    /// Its content or kind; it makes room for a new one.
    Damaged(String),
    /// It is somebody else's, or can't be reached; it stays as it is.
    Kept(String),
}

impl History {
    /// Reads the file, and makes its directory (0700) where there is none. What is wrong with it never prevents a
    /// session: a damaged file is moved aside, and where that fails the history is kept in memory only.
    pub fn load(path: PathBuf) -> Loaded {
        match read(&path) {
            Ok(entries) => Loaded { history: Self { path: Some(path) }, entries, warning: None },
            Err(Fault::Kept(why)) => Loaded { warning: Some(in_memory(&path, &why)), ..Loaded::default() },
            Err(Fault::Damaged(why)) => match move_aside(&path) {
                Ok(aside) => {
                    let aside = aside.display();
                    let warning =
                        format!("the history {} {why}; it was moved to {aside}, a new one begins", path.display());
                    Loaded { history: Self { path: Some(path) }, warning: Some(warning), ..Loaded::default() }
                }
                Err(error) => {
                    let why = format!("{why} and can't be moved aside ({error})");
                    Loaded { warning: Some(in_memory(&path, &why)), ..Loaded::default() }
                }
            },
        }
    }

    /// Adds an entry to the file. What goes wrong is said once; from then on the history is kept in memory only.
    pub fn append(&mut self, entry: &str) -> Option<String> {
        let path = self.path.as_deref()?;
        let error = append(path, entry).err()?;
        let warning = in_memory(path, &format!("can't be written ({error})"));
        self.path = None;
        Some(warning)
    }
}

fn in_memory(path: &Path, why: &str) -> String {
    format!("the history {} {why}; it is kept in memory only", path.display())
}

/// Never through a link, and without waiting for whoever is at the other end of a pipe.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits() as i32).open(path)
}

fn read(path: &Path) -> Result<Vec<String>, Fault> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(dir);
        made.map_err(|error| Fault::Kept(format!("has no directory ({error})")))?;
    }
    // Symbolic links are asked for by name: what `open` says of them differs between systems.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::Kept(format!("can't be looked at ({error})"))),
        Ok(metadata) if metadata.is_symlink() => return Err(Fault::Kept("is a symbolic link".into())),
        Ok(metadata) if !metadata.is_file() => return Err(Fault::Damaged("is no file".into())),
        Ok(_) => {}
    }
    let unreadable = |error: io::Error| Fault::Damaged(format!("can't be read ({error})"));
    // What can be read only, on a disk that is mounted so, is worth reading.
    let file = open(path, OpenOptions::new().read(true).write(true));
    let mut file = file.or_else(|_| open(path, OpenOptions::new().read(true))).map_err(unreadable)?;
    lock(&file);
    let (bytes, is_whole) = tail(&mut file).map_err(unreadable)?;
    let entries = parse(bytes, is_whole)?;
    // Its entries are readable all the same.
    let _ = file.set_permissions(Permissions::from_mode(0o600));
    let _ = mend(&file);
    if entries.len() > MOST || !is_whole {
        let kept = entries[entries.len().saturating_sub(MOST)..].to_vec();
        let _ = replace(path, &kept);
        return Ok(kept);
    }
    Ok(entries)
}

/// The last bytes, and whether they are all.
fn tail(file: &mut File) -> io::Result<(Vec<u8>, bool)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok((bytes, from == 0))
}

fn parse(bytes: Vec<u8>, is_whole: bool) -> Result<Vec<String>, Fault> {
    let damaged = |what: &str| Fault::Damaged(what.to_owned());
    // The line that a kill or a full disk has cut off is not worth the others. Without its beginning a long file has no
    // head, and a first line that may be cut off too.
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let begin = if is_whole { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(end, |at| at + 1) };
    let text = std::str::from_utf8(&bytes[begin.min(end)..end]).map_err(|_| damaged("is damaged (not UTF-8)"))?;
    if text.contains('\0') {
        return Err(damaged("is damaged (zeros in it)"));
    }
    let lines = match (text.strip_prefix(HEAD), is_whole) {
        (Some(lines), _) => lines,
        (None, false) => text,
        (None, true) if bytes.is_empty() || HEAD.as_bytes().starts_with(&bytes) => "",
        (None, true) => return Err(damaged("is damaged (it is no history)")),
    };
    Ok(lines.lines().filter(|line| !line.is_empty()).map(unescaped).collect())
}

/// Drops what a cut-off write has left at the end, so that the next entry does not become part of it.
fn mend(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length == 0 || file.read_exact_at(&mut last, length - 1).is_ok() && last == *b"\n" {
        return Ok(());
    }
    let from = length.saturating_sub(LONGEST);
    let mut bytes = vec![0; (length - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
    file.set_len(from + end)
}

fn append(path: &Path, entry: &str) -> io::Result<()> {
    let mut file = current(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let begin = match (length, last) {
        (0, _) => HEAD,
        (_, [b'\n']) => "",
        _ => "\n",
    };
    file.write_all(format!("{begin}{}\n", escaped(entry)).as_bytes())
}

/// The file that has the name, locked: another session may have replaced it between opening and locking.
fn current(path: &Path) -> io::Result<File> {
    for _ in 0..PATIENCE {
        let file = open(path, OpenOptions::new().read(true).append(true).create(true))?;
        lock(&file);
        let (opened, named) = (file.metadata()?, fs::symlink_metadata(path));
        if !opened.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
            return Ok(file);
        }
    }
    Err(io::Error::other("it is replaced all the time"))
}

/// A lock that can't be had is done without: what is added at the end does no harm.
fn lock(file: &File) {
    for _ in 0..PATIENCE {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => std::thread::sleep(PAUSE),
            _ => return,
        }
    }
}

/// Puts a new file in the place of the one that is locked.
fn replace(path: &Path, entries: &[String]) -> io::Result<()> {
    let new = beside(path, &format!("new-{}", std::process::id()));
    let lines = entries.iter().map(|entry| escaped(entry) + "\n");
    let text: String = std::iter::once(HEAD.to_owned()).chain(lines).collect();
    let mut file = open(&new, OpenOptions::new().write(true).create(true).truncate(true))?;
    let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done
}

/// Gives the name that it got.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (1..=KEPT).map(|number| match number {
        1 => beside(path, "damaged"),
        number => beside(path, &format!("damaged-{number}")),
    });
    let free = names.into_iter().find(|name| fs::symlink_metadata(name).is_err());
    let free = free.ok_or_else(|| io::Error::other(format!("there are {KEPT} damaged ones already")))?;
    fs::rename(path, &free).map(|()| free)
}

/// `history.damaged` beside `history`.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{extension}"));
    path.with_file_name(name)
}

fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

/// An escape that is none stands for itself.
fn unescaped(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\\') {
        entry.push_str(before);
        let (c, skipped) = match after.as_bytes().first() {
            Some(b'n') => ('\n', 1),
            Some(b'\\') => ('\\', 1),
            _ => ('\\', 0),
        };
        entry.push(c);
        rest = &after[skipped..];
    }
    entry + rest
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory, and the path of a history below it that is not there yet.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/history");
        (dir, path)
    }

    fn with_content(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let (dir, path) = place();
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn entries(path: &Path) -> Vec<String> {
        let loaded = History::load(path.to_owned());
        assert_eq!(loaded.warning, None);
        loaded.entries
    }

    /// A session over this file begins without entries, says so, and what it remembers is there for the next one.
    fn begins_anew(path: &Path) -> String {
        let mut loaded = History::load(path.to_owned());
        assert_eq!(loaded.entries, [""; 0]);
        assert_eq!(loaded.history.append("new"), None);
        assert_eq!(entries(path), ["new"]);
        let warning = loaded.warning.unwrap();
        assert!(!warning.contains('\n') && warning.contains("history.damaged"), "{warning}");
        warning
    }

    /// A session over this file goes on in memory and leaves it as it is.
    fn is_left_alone(path: &Path) -> String {
        let mut loaded = History::load(path.to_owned());
        assert_eq!((loaded.entries.len(), loaded.history.append("new")), (0, None));
        let warning = loaded.warning.unwrap();
        assert!(!warning.contains('\n') && warning.contains("in memory only"), "{warning}");
        warning
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let (_dir, path) = place();
        let all = ["one", "two\nlines\n", "a \\n b\\", "é \\\\n", "#V2"];
        let mut history = History::load(path.clone()).history;
        for entry in all {
            assert_eq!(history.append(entry), None);
        }
        assert_eq!(entries(&path), all);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn the_file_is_one_that_rustyline_reads() {
        use rustyline::history::{FileHistory, History as _};
        let (_dir, path) = place();
        let mut history = History::load(path.clone()).history;
        history.append("two\nlines \\ n");
        let mut theirs = FileHistory::new();
        theirs.load(&path).unwrap();
        assert_eq!(theirs.iter().collect::<Vec<_>>(), ["two\nlines \\ n"]);
    }

    #[test]
    fn two_sessions_at_once_keep_each_others_entries() {
        let (_dir, path) = place();
        let (mut one, mut other) = (History::load(path.clone()).history, History::load(path.clone()).history);
        one.append("1");
        other.append("2");
        // A third one begins and replaces the file by a shorter one.
        replace(&path, &entries(&path)).unwrap();
        one.append("3");
        other.append("4");
        assert_eq!(entries(&path), ["1", "2", "3", "4"]);
    }

    #[test]
    fn entries_of_many_sessions_are_whole() {
        let (_dir, path) = place();
        let write = |session: usize| {
            let mut history = History::load(path.clone()).history;
            (0..50).for_each(|number| {
                assert_eq!(history.append(&format!("{session} {number} {}", "x".repeat(5000))), None)
            });
        };
        std::thread::scope(|scope| (0..4).for_each(|session| _ = scope.spawn(move || write(session))));
        let entries = entries(&path);
        assert!(entries.iter().all(|entry| entry.len() > 5000) && entries.len() == 200, "{}", entries.len());
    }

    #[test]
    fn only_the_last_entries_are_kept() {
        let (_dir, path) = place();
        let mut history = History::load(path.clone()).history;
        let lines: String = (0..MOST + 5).map(|number| format!("{number}\n")).collect();
        fs::write(&path, format!("{HEAD}{lines}")).unwrap();
        let kept = entries(&path);
        assert_eq!((kept.len(), kept[0].as_str()), (MOST, "5"));
        history.append("last");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), MOST + 2);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_corrupted_history_is_moved_aside() {
        for bytes in [&b"#V2\nfine\nbad \xff\xfe byte\n"[..], b"#V2\nfine\n\0\0\0\0\n", b"export PATH=x\n"] {
            let (_dir, path) = with_content(bytes);
            begins_anew(&path);
            assert_eq!(fs::read(beside(&path, "damaged")).unwrap(), bytes);
        }
    }

    #[test]
    fn a_corrupted_history_does_not_take_the_place_of_an_earlier_one() {
        let (_dir, path) = with_content(b"first\n");
        History::load(path.clone());
        fs::write(&path, "second\n").unwrap();
        History::load(path.clone());
        assert_eq!(fs::read(beside(&path, "damaged")).unwrap(), b"first\n");
        assert_eq!(fs::read(beside(&path, "damaged-2")).unwrap(), b"second\n");
    }

    #[test]
    fn a_corrupted_history_that_can_not_be_moved_stays() {
        let (_dir, path) = with_content(b"bad\n");
        for number in 2..=KEPT {
            fs::write(beside(&path, &format!("damaged-{number}")), "").unwrap();
        }
        fs::write(beside(&path, "damaged"), "").unwrap();
        is_left_alone(&path);
        assert_eq!(fs::read(&path).unwrap(), b"bad\n");
    }

    #[test]
    fn a_history_that_was_cut_off_loses_its_last_entry_only() {
        for torn in [&b"#V2\none\ntwo\nthr"[..], b"#V2\none\ntwo\n\xc3"] {
            let (_dir, path) = with_content(torn);
            let mut loaded = History::load(path.clone());
            assert_eq!((loaded.entries.join(" "), &loaded.warning), ("one two".into(), &None));
            loaded.history.append("three");
            assert_eq!(entries(&path), ["one", "two", "three"]);
        }
        for torn in [&b""[..], b"#", b"#V2"] {
            let (_dir, path) = with_content(torn);
            let mut loaded = History::load(path.clone());
            assert_eq!((loaded.entries.len(), &loaded.warning), (0, &None));
            loaded.history.append("one");
            assert_eq!(entries(&path), ["one"]);
        }
    }

    #[test]
    fn a_history_that_is_cut_off_while_a_session_runs_takes_entries() {
        let (_dir, path) = with_content(b"#V2\none\n");
        let mut history = History::load(path.clone()).history;
        fs::write(&path, "#V2\none\ntw").unwrap();
        history.append("three");
        assert_eq!(entries(&path), ["one", "tw", "three"]);
    }

    #[test]
    fn a_directory_in_the_place_of_the_history_is_moved_aside() {
        let (_dir, path) = place();
        fs::create_dir_all(path.join("below")).unwrap();
        begins_anew(&path);
        assert!(beside(&path, "damaged").join("below").is_dir());
    }

    #[test]
    fn a_pipe_in_the_place_of_the_history_does_not_make_it_wait() {
        let (_dir, path) = place();
        fs::create_dir(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        begins_anew(&path);
    }

    #[test]
    fn a_history_that_is_a_symbolic_link_is_not_followed() {
        let (dir, path) = place();
        let foreign = dir.path().join("foreign");
        fs::write(&foreign, "#V2\nsecret\n").unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        symlink(&foreign, &path).unwrap();
        assert!(is_left_alone(&path).contains("symbolic link"));
        assert_eq!(fs::read(&foreign).unwrap(), b"#V2\nsecret\n");
    }

    #[test]
    fn a_history_that_becomes_a_symbolic_link_is_not_followed() {
        let (dir, path) = with_content(b"#V2\n");
        let mut history = History::load(path.clone()).history;
        let foreign = dir.path().join("foreign");
        fs::write(&foreign, "").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&foreign, &path).unwrap();
        assert!(history.append("one").unwrap().contains("in memory only"));
        assert_eq!((history.append("two"), fs::read(&foreign).unwrap().len()), (None, 0));
    }

    #[test]
    fn a_history_without_a_directory_is_kept_in_memory() {
        let (dir, _) = place();
        fs::write(dir.path().join("file"), "").unwrap();
        is_left_alone(&dir.path().join("file/history"));
    }

    #[test]
    fn a_history_that_others_could_read_is_made_private() {
        let (_dir, path) = with_content(b"#V2\none\n");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(entries(&path), ["one"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn of_a_history_that_is_far_too_long_the_end_is_kept() {
        let (_dir, path) = with_content(b"#V2\n");
        let long = "x".repeat(4 << 20);
        let mut history = History::load(path.clone()).history;
        (0..9).for_each(|number| assert_eq!(history.append(&format!("{number}{long}")), None));
        let kept = entries(&path);
        assert_eq!(kept.iter().map(|entry| &entry[..1]).collect::<String>(), "2345678");
        assert_eq!(entries(&path), kept);
    }
}
