//! The journal: one JSON object a line, each with a checksum over itself and everything before it.
//!
//! A line is on disk before [`Journal::append`] returns. What a crash left of the last line is dropped when the journal
//! is opened again; anything else that is wrong (a flipped byte, a line too few) is damage, and is never guessed at.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::instants::{Instants, OfEnvironment};
use super::store::Place;
use crate::planted::{Fault, is_planted};
use crate::script::record::{Command, Entry};
use crate::world::{Error, Result};

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Counts from 1.
    pub n: u64,
    /// RFC 3339 in UTC. For people: a clock can be set back, so nothing is decided by it.
    pub at: String,
    #[serde(flatten)]
    pub entry: Entry,
}

/// Bytes that putting back a run may take to be noted: some sixty lines.
const RESERVE: u64 = 16 * 1024;
/// What stands before the checksum of a line.
const SUM: &str = ",\"sum\":\"";
/// Digits of the checksum, and what closes the line.
const SUM_DIGITS: usize = 16;

/// What a journal holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// The sound lines: all of them, or those before the damage.
    pub lines: Vec<Line>,
    pub damage: Option<Damage>,
    /// Bytes of the sound lines; what follows without damage is a torn last line.
    length: u64,
    sum: String,
}

/// Where a journal can't be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Counts from 1.
    pub line: usize,
    pub what: String,
}

/// Reads a journal without changing it.
pub fn read(path: &Path) -> Result<Reading> {
    let mut bytes = Vec::new();
    let failed = |e: std::io::Error| Error::io("read", path.display(), &e);
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
    let mut reading = Reading::default();
    for (index, text) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // Only a line's end, which is written with it, tells a whole line from a torn one.
        let Some(text) = text.strip_suffix(b"\n") else { break };
        match parse(text, &reading.sum, reading.lines.len() as u64 + 1) {
            Ok((line, sum)) => {
                reading.lines.push(line);
                (reading.sum, reading.length) = (sum, reading.length + text.len() as u64 + 1);
            }
            Err(what) => {
                reading.damage = Some(Damage { line: index + 1, what });
                break;
            }
        }
    }
    Ok(reading)
}

/// What the lines say that can be read each for itself, whatever is wrong with others: it may be that a fact is
/// missing, not that one is there which never was written.
pub fn legible(path: &Path) -> Vec<Entry> {
    let text = std::fs::read(path).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()).map(|line| line.entry).collect()
}

fn parse(text: &[u8], before: &str, expected: u64) -> Result<(Line, String), String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text".to_owned())?;
    let (body, sum) = text.rsplit_once(SUM).ok_or("it has no checksum")?;
    let sum = sum.strip_suffix("\"}").filter(|sum| sum.len() == SUM_DIGITS).ok_or("it has no checksum")?;
    if checksum(before, body) != sum {
        return Err("its checksum is wrong: it was changed, or lines before it are missing".into());
    }
    let line: Line = serde_json::from_str(&format!("{body}}}")).map_err(|e| format!("it can't be read: {e}"))?;
    if line.n != expected {
        return Err(format!("it has number {}, not {expected}", line.n));
    }
    Ok((line, sum.to_owned()))
}

/// Milliseconds are enough for people.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn checksum(before: &str, body: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(body).finalize();
    digest.iter().take(SUM_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// A journal that is being written.
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// The file system has promised room up to here.
    reserved: u64,
    is_going_back: bool,
    next: u64,
    sum: String,
    spent: Duration,
    instants: Arc<dyn Instants>,
}

impl Journal {
    /// A new journal (0600).
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|e| Error::io("create", path.display(), &e))?;
        Ok(Self::new(path, file, &Reading::default()))
    }

    /// Goes on with a journal: a torn last line is dropped, damage is `journal.damaged`.
    pub fn open(path: &Path) -> Result<(Self, Vec<Line>)> {
        let reading = read(path)?;
        if let Some(Damage { line, what }) = &reading.damage {
            return Err(Error::refused("journal.damaged", format!("line {line} of {}: {what}", path.display())));
        }
        let failed = |e: std::io::Error| Error::io("open", path.display(), &e);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        // The same length again would give back what a killed process has reserved.
        if file.metadata().map_err(failed)?.len() != reading.length {
            file.set_len(reading.length).map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok((Self::new(path, file, &reading), reading.lines))
    }

    /// As [`Journal::open`]; of one that is damaged or gone only the sound lines are left, and it is kept beside them
    /// as it was.
    pub fn mend(path: &Path) -> Result<Self> {
        match read(path) {
            Err(error) if error.code == "host.not_found" => return Self::create(path),
            Ok(Reading { damage: Some(_), length, .. }) => {
                let kept = path.with_extension("damaged.jsonl");
                let failed = |e: std::io::Error| Error::io("mend", path.display(), &e);
                std::fs::copy(path, &kept).and_then(|_| File::open(&kept)?.sync_all()).map_err(failed)?;
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                file.set_len(length).map_err(failed)?;
            }
            _ => {}
        }
        Self::open(path).map(|(journal, _)| journal)
    }

    fn new(path: &Path, file: File, reading: &Reading) -> Self {
        Self {
            path: path.to_owned(),
            file,
            length: reading.length,
            reserved: 0,
            is_going_back: false,
            next: reading.lines.len() as u64 + 1,
            sum: reading.sum.clone(),
            spent: Duration::ZERO,
            instants: Arc::new(OfEnvironment::new()),
        }
    }

    /// The same, with somebody who is there at each line.
    pub fn watched(mut self, instants: Arc<dyn Instants>) -> Self {
        instants.written(self.length);
        instants.synced(self.length);
        self.instants = instants;
        self
    }

    /// Writes an entry and gives its number once it is on disk.
    pub fn append(&mut self, entry: Entry) -> Result<u64> {
        let begun = Instant::now();
        let may_use_reserve = self.may_use_reserve(&entry);
        let line = Line { n: self.next, at: now(), entry };
        let body = serde_json::to_string(&line)
            .map_err(|e| Error::failed("journal.unwritable", format!("an entry has no JSON form: {e}")))?;
        let body = body.strip_suffix('}').unwrap_or(&body).to_owned();
        let sum = checksum(&self.sum, &body);
        self.instants.before(self.next, &line.entry)?;
        let bytes = format!("{body}{SUM}{sum}\"}}\n").into_bytes();
        if !may_use_reserve {
            self.reserve(bytes.len() as u64).map_err(|error| self.unwritable(&error))?;
        }
        self.write(&bytes)?;
        self.instants.after(self.next)?;
        self.sum = sum;
        self.next += 1;
        self.spent += begun.elapsed();
        Ok(line.n)
    }

    /// What was done must be put back, and noted, also on a full disk: nothing new is begun without room for that.
    fn may_use_reserve(&mut self, entry: &Entry) -> bool {
        self.is_going_back |= matches!(
            entry,
            Entry::GoingBack { .. } | Entry::PutBack { .. } | Entry::Process { command: Command::Rollback, .. }
        );
        self.is_going_back || matches!(entry, Entry::Settled { .. } | Entry::Failed { .. } | Entry::Ended { .. })
    }

    /// Keeps room for a line of `coming` bytes and for all that putting back would say.
    fn reserve(&mut self, coming: u64) -> std::io::Result<()> {
        let needed = self.length + coming + RESERVE;
        if self.reserved >= needed {
            return Ok(());
        }
        // Twice as much, so that not every line asks.
        for length in [needed + RESERVE, needed] {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, length) {
                Ok(()) => {
                    self.reserved = length;
                    return Ok(());
                }
                Err(Errno::NOSPC | Errno::DQUOT) if length > needed => {}
                Err(error @ (Errno::NOSPC | Errno::DQUOT)) => return Err(error.into()),
                // A file system that makes no promises.
                Err(_) => self.reserved = u64::MAX,
            }
        }
        Ok(())
    }

    /// A line that did not get onto the disk whole is taken back: the next one must not follow half a line.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let length = self.length + bytes.len() as u64;
        if let Err(error) = self.file.write_all(bytes).and_then(|()| self.sync(length)) {
            let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(self.unwritable(&error));
        }
        self.length = length;
        Ok(())
    }

    /// Brings the lines onto the disk, which are so many bytes.
    fn sync(&self, length: u64) -> std::io::Result<()> {
        self.instants.written(length);
        if is_planted(Fault::JournalNotSynced) {
            return Ok(());
        }
        self.file.sync_data()?;
        self.instants.synced(length);
        Ok(())
    }

    fn unwritable(&self, error: &std::io::Error) -> Error {
        Error::io("write the journal", self.path.display(), error).hint(
            "make room on the disk of the run store, or repair it (df -h shows it); nothing new is begun while nothing \
             can be written down",
        )
    }

    /// Time spent on writing so far.
    pub fn spent(&self) -> Duration {
        self.spent
    }
}

impl Drop for Journal {
    /// Gives back what was reserved.
    fn drop(&mut self) {
        let _ = self.file.set_len(self.length);
    }
}

/// The error that says which line of a journal can't be trusted, and what to do without it.
pub fn damaged(place: &Place, damage: &Damage) -> Error {
    let Damage { line, what } = damage;
    let (id, path) = (&place.id, place.journal());
    let message = format!("the journal of run {id} can't be trusted from line {line} on: {what}");
    let by_hand = match place.rollback_without_journal(Path::is_dir) {
        Some(command) => format!("brings the old server back without it:       {command}"),
        None => {
            format!("what was done, line by line, for going back by hand:  {}", place.dir.join("log.jsonl").display())
        }
    };
    Error::refused("journal.damaged", format!("{message}\n{}", path.display())).hint(format!(
        "nothing was done: what the run has done is not known for sure, so nothing goes on or back by itself\n\
         what is still known, and where the data is:  pgscript status {id}\n\
         if you have a sound copy of the journal, put it in its place and try again\n{by_hand}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::record::Entry;

    fn entry(step: &str) -> Entry {
        Entry::Started { step: step.into() }
    }

    fn of_three() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::create(&path).unwrap();
        for step in ["one", "two \"quoted\" ,\"sum\":\"x\"}", "three"] {
            journal.append(entry(step)).unwrap();
        }
        (dir, path)
    }

    fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn what_was_written_is_read_back_and_gone_on_with() {
        let (_dir, path) = of_three();
        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert_eq!(lines.iter().map(|l| l.n).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(lines[1].entry, entry("two \"quoted\" ,\"sum\":\"x\"}"));
        assert_eq!(journal.append(entry("four")).unwrap(), 4);
        assert_eq!(Journal::open(&path).unwrap().1.len(), 4);
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_torn() {
        let (_dir, path) = of_three();
        let whole = std::fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        for end in last..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut journal, lines) = Journal::open(&path).unwrap();
            assert_eq!(lines.len(), 2, "torn at byte {end}");
            journal.append(entry("three")).unwrap();
            assert_eq!(read(&path).unwrap().lines.len(), 3);
        }
    }

    #[test]
    fn a_flipped_byte_is_found_in_every_place() {
        let (_dir, path) = of_three();
        let whole = std::fs::read(&path).unwrap();
        for index in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let reading = read(&path).unwrap();
            let last_is_torn = reading.lines.len() == 2 && reading.damage.is_none();
            assert!(reading.damage.is_some() || last_is_torn, "byte {index} was not missed");
        }
    }

    #[test]
    fn a_missing_line_is_damage() {
        let (_dir, path) = of_three();
        change(&path, |bytes| {
            let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i).collect();
            bytes.drain(ends[0] + 1..=ends[1]);
        });
        let error = Journal::open(&path).err().unwrap();
        assert_eq!(error.code, "journal.damaged");
        assert!(error.message.contains("line 2"), "{}", error.message);
        assert_eq!(read(&path).unwrap().lines.len(), 1);
    }

    #[test]
    fn a_mended_journal_goes_on_after_its_sound_lines_and_what_it_was_is_kept() {
        let (dir, path) = of_three();
        change(&path, |bytes| {
            let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 20;
            bytes[second] ^= 1;
        });
        let before = std::fs::read(&path).unwrap();
        assert_eq!(legible(&path).last(), Some(&entry("three")));
        let mut journal = Journal::mend(&path).unwrap();
        assert_eq!(journal.append(entry("four")).unwrap(), 2);
        drop(journal);
        assert_eq!(read(&path).unwrap().lines.last().unwrap().entry, entry("four"));
        assert_eq!(std::fs::read(dir.path().join("journal.damaged.jsonl")).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Journal::mend(&path).unwrap().append(entry("one")).unwrap(), 1);
    }

    #[test]
    fn times_decide_nothing() {
        let (_dir, path) = of_three();
        let lines = read(&path).unwrap().lines;
        assert!(lines.iter().all(|l| l.at.ends_with('Z')));
    }
}
