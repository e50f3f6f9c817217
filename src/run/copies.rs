//! Where the data of before a run is, as the run's facts and the engine show it: volumes, backups, dumps, the new
//! server.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::history::History;
use super::status::Seen;
use crate::script::evidence::Fact;

/// A copy of the data.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    pub what: String,
    pub place: String,
    /// What was proved of it.
    pub proof: String,
    /// Whether it counts as a complete copy.
    pub is_complete: bool,
    /// Whether it is there now; `None` when that could not be asked.
    pub is_there: Option<bool>,
}

/// One copy that is there is enough; one that could not be asked after leaves the question open.
pub fn is_safe(copies: &[Copy]) -> Option<bool> {
    let complete = || copies.iter().filter(|copy| copy.is_complete);
    if complete().any(|copy| copy.is_there == Some(true)) {
        Some(true)
    } else if complete().any(|copy| copy.is_there.is_none()) {
        None
    } else {
        Some(false)
    }
}

/// What each volume name holds: the data of before, or what came after it.
#[derive(Default)]
struct Volumes {
    held: BTreeMap<String, &'static str>,
    /// What volumes held whose removal was announced.
    removed: BTreeMap<String, &'static str>,
    /// Whether the run has come near the old data at all.
    has_met: bool,
}

/// Where the data is before the run has done anything to it.
pub const UNTOUCHED: &str = "the server's own";
const OLD: &str = "the data of before the run";
const NEW: &str = "what came in its place";
/// The old data, too, but not the original.
const UNPACKED: &str = "unpacked from a backup";

impl Volumes {
    /// A name that is met for the first time holds the old data, unless that has left it.
    fn meet(&mut self, name: &str) {
        self.has_met |= !self.held.contains_key(name);
        self.held.entry(name.to_owned()).or_insert(OLD);
    }

    fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::BackupTaken { volume, .. } | Fact::VolumeInUse { volume } => self.meet(volume),
            Fact::DumpTaken { volume: Some(volume), .. } => self.meet(volume),
            Fact::VolumeCreated { volume } => _ = self.held.insert(volume.clone(), NEW),
            Fact::VolumeMoved { from, to } => {
                self.meet(from);
                let content = self.held.insert(from.clone(), NEW).unwrap_or(NEW);
                self.held.insert(to.clone(), content);
            }
            Fact::VolumeCloned { from, to } | Fact::CopyCaughtUp { from, to, .. } => {
                self.meet(from);
                let content = self.held[from.as_str()];
                self.held.insert(to.clone(), content);
            }
            Fact::VolumeRemoved { volume } => {
                self.has_met |= !self.held.contains_key(volume);
                if let Some(content) = self.held.insert(volume.clone(), NEW) {
                    self.removed.insert(volume.clone(), content);
                }
            }
            Fact::VolumeStays { volume } => {
                if let Some(content) = self.removed.remove(volume) {
                    self.held.insert(volume.clone(), content);
                }
            }
            Fact::VolumeRestored { volume, .. } => _ = self.held.insert(volume.clone(), UNPACKED),
            _ => {}
        }
    }
}

/// All that the run tells of, those that hold what came in its place too.
pub fn copies(history: &History, seen: &Seen) -> Vec<Copy> {
    let (mut volumes, mut files) = (Volumes::default(), Vec::new());
    for fact in &history.facts {
        volumes.apply(fact);
        add(&mut files, fact, &volumes, history, seen);
    }
    let of_volumes = volumes.held.iter().filter(|(_, content)| **content != NEW).map(|(name, content)| Copy {
        what: "volume".into(),
        place: name.clone(),
        proof: if *content == OLD { "the original data itself" } else { UNPACKED }.into(),
        is_complete: true,
        is_there: seen.volumes.as_ref().map(|known| known.contains(name)),
    });
    let mut copies: Vec<_> = of_volumes.collect();
    if !volumes.has_met {
        copies.push(Copy {
            what: "volume".into(),
            place: UNTOUCHED.into(),
            proof: "this run has not touched it yet".into(),
            is_complete: true,
            is_there: Some(true),
        });
    }
    copies.extend(files);
    copies.extend(compared(history, seen));
    copies
}

/// Adds the backup or dump that a fact tells of, as `volumes` were when it was taken. One that was made twice counts
/// once, with its last proof; one of the new server holds what came in the place of the data, and is no copy of that.
fn add(copies: &mut Vec<Copy>, fact: &Fact, volumes: &Volumes, history: &History, seen: &Seen) {
    let facts = &history.facts;
    let is_new = |volume: Option<&String>| volume.is_some_and(|volume| volumes.held.get(volume) == Some(&NEW));
    let (what, path, is_new, proof, is_complete) = match fact {
        Fact::BackupTaken { path, volume, sha256 } => {
            let is_new = is_new(Some(volume));
            let (proof, is_read) = backup_proof(path, sha256, is_new, facts);
            ("backup of the volume", path, is_new, proof.to_owned(), is_read)
        }
        Fact::DumpTaken { path, volume, tables, system_identifier, .. } => {
            let proof = dump_proof(path, system_identifier, facts);
            ("dump of the cluster", path, is_new(volume.as_ref()), format!("{tables} tables; {proof}"), *tables > 0)
        }
        _ => return,
    };
    let proof = if is_new { format!("{NEW}; {proof}") } else { proof };
    let place = path.display().to_string();
    copies.retain(|copy| copy.place != place);
    let (is_complete, is_there) = (is_complete && !is_new, Some(seen.files.contains(path)));
    copies.push(Copy { what: what.into(), place, proof, is_complete, is_there });
}

/// What was proved of a backup, and whether it was read to its end. Of one of the new server nobody asks for a start.
fn backup_proof(path: &Path, sha256: &str, is_new: bool, facts: &[Fact]) -> (&'static str, bool) {
    let is_read = facts.iter().any(|f| matches!(f, Fact::BackupVerified { path: of } if of == path));
    let is_it = |f: &Fact| matches!(f, Fact::BackupBooted { path: of, sha256: sum, .. } if of == path && sum == sha256);
    let proof = match (is_read, facts.iter().any(is_it)) {
        (false, _) => "not read back yet",
        (true, true) => "read to its end, started, and compared with what was recorded",
        (true, false) if is_new => "read to its end, checksum right",
        (true, false) => "read to its end, checksum right; not started yet",
    };
    (proof, is_read)
}

fn dump_proof(path: &Path, cluster: &str, facts: &[Fact]) -> &'static str {
    let is_compared = facts.iter().any(|f| matches!(f, Fact::Compared { system_identifier: of, .. } if of == cluster));
    let is_read = facts.iter().any(|f| matches!(f, Fact::DumpVerified { path: of } if of == path));
    match (is_compared, is_read) {
        (true, _) => "restored, and compared with the original",
        (false, true) => "read to its end",
        (false, false) => "complete when it was written",
    }
}

/// The data in the new server: on its volume, wherever that has gone since. A deploy may have made another container.
fn compared(history: &History, seen: &Seen) -> Option<Copy> {
    let (mut volumes, mut found): (BTreeMap<&str, &str>, Option<(&str, String)>) = (BTreeMap::new(), None);
    for fact in &history.facts {
        match fact {
            Fact::Holder { container, volume, .. } => _ = volumes.insert(container, volume),
            Fact::Compared { after, tables, rows, .. } => {
                let proof = format!("{tables} tables, {rows} rows: the same as the original when they were compared");
                found = volumes.get(after.as_str()).map(|volume| (*volume, proof));
            }
            Fact::VolumeMoved { from, to } => {
                found = found.map(|(volume, proof)| (if volume == from { to } else { volume }, proof));
            }
            Fact::VolumeRemoved { volume: gone } => found = found.filter(|(volume, _)| volume != gone),
            _ => {}
        }
    }
    found.map(|(volume, proof)| Copy {
        what: "volume of the new server".into(),
        place: volume.to_owned(),
        proof,
        is_complete: true,
        is_there: seen.volumes.as_ref().map(|known| known.contains(volume)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(facts: Vec<Fact>) -> Vec<Copy> {
        let history = History { facts, ..History::default() };
        let volumes = Some(["db", "db-kept"].map(str::to_owned).into());
        copies(&history, &Seen { volumes, ..Seen::default() })
    }

    fn moved(from: &str, to: &str) -> Fact {
        Fact::VolumeMoved { from: from.into(), to: to.into() }
    }

    #[test]
    fn the_old_data_is_followed_from_name_to_name() {
        let place = |facts| of(facts).into_iter().map(|copy| copy.place).collect::<Vec<_>>();
        assert_eq!(place(vec![]), ["the server's own"]);
        // A volume of the run's own is not the old data.
        let made = || Fact::VolumeCreated { volume: "db-new".into() };
        assert_eq!(place(vec![made(), Fact::VolumeInUse { volume: "db-new".into() }]), ["the server's own"]);
        assert_eq!(place(vec![made(), moved("db", "db-kept")]), ["db-kept"]);
        assert_eq!(place(vec![moved("db", "db-kept")]), ["db-kept"]);
        let and_back = vec![moved("db", "db-kept"), moved("db", "db-new"), moved("db-kept", "db")];
        assert_eq!(place(and_back), ["db"]);
    }

    #[test]
    fn the_new_server_is_its_volume_wherever_that_goes() {
        let holder = Fact::Holder { container: "c".into(), volume: "db".into(), started_at: "now".into() };
        let proved = Fact::Compared { system_identifier: "7".into(), after: "c".into(), tables: 3, rows: 9 };
        let upgraded = [moved("db", "db-kept"), holder, proved];
        let places = |more: &[Fact]| {
            let copies = of([&upgraded[..], more].concat());
            copies.into_iter().map(|copy| (copy.what, copy.place, copy.is_there)).collect::<Vec<_>>()
        };
        let copy = |what: &str, place: &str, there| (what.to_owned(), place.to_owned(), Some(there));
        let (old, new) = ("volume", "volume of the new server");
        assert_eq!(places(&[]), [copy(old, "db-kept", true), copy(new, "db", true)]);
        let back = [moved("db", "db-new"), moved("db-kept", "db")];
        assert_eq!(places(&back), [copy(old, "db", true), copy(new, "db-new", false)]);
        let removed = Fact::VolumeRemoved { volume: "db".into() };
        assert_eq!(places(&[removed]), [copy(old, "db-kept", true)]);
    }

    #[test]
    fn what_was_kept_of_the_new_server_is_no_copy_of_the_data_of_before() {
        let dump = |path: &str, identifier: &str| Fact::DumpTaken {
            path: path.into(),
            container: "c".into(),
            volume: Some("db".into()),
            system_identifier: identifier.into(),
            tables: 3,
            fenced: true,
        };
        let backup = |path: &str| Fact::BackupTaken { volume: "db".into(), path: path.into(), sha256: String::new() };
        let verified = |path: &str| Fact::BackupVerified { path: path.into() };
        let facts = vec![
            backup("/old"),
            verified("/old"),
            dump("/dump", "7"),
            moved("db", "db-kept"),
            Fact::Compared { system_identifier: "7".into(), after: "c".into(), tables: 3, rows: 9 },
            dump("/written-since", "8"),
            backup("/replaced"),
            verified("/replaced"),
        ];
        let found = of(facts);
        let proof = |place: &str| {
            let copy = found.iter().find(|copy| copy.place == place).unwrap();
            (copy.is_complete, copy.proof.as_str())
        };
        assert_eq!(proof("/old"), (true, "read to its end, checksum right; not started yet"));
        assert_eq!(proof("/dump"), (true, "3 tables; restored, and compared with the original"));
        let new = (false, "what came in its place; 3 tables; complete when it was written");
        assert_eq!(proof("/written-since"), new);
        assert_eq!(proof("/replaced"), (false, "what came in its place; read to its end, checksum right"));
    }

    #[test]
    fn a_backup_that_was_started_is_told_apart_from_one_that_was_not() {
        let backup = |sum: &str| Fact::BackupTaken { volume: "db".into(), path: "/b".into(), sha256: sum.into() };
        let booted = Fact::BackupBooted { path: "/b".into(), sha256: "1".into(), system_identifier: "7".into() };
        let verified = Fact::BackupVerified { path: "/b".into() };
        let proof = |facts: Vec<Fact>| of(facts).into_iter().find(|copy| copy.place == "/b").unwrap().proof;
        let started = "read to its end, started, and compared with what was recorded";
        assert_eq!(proof(vec![backup("1"), verified.clone(), booted.clone()]), started);
        let anew = proof(vec![backup("1"), verified, booted, backup("2")]);
        assert_eq!(anew, "read to its end, checksum right; not started yet");
    }

    #[test]
    fn nothing_that_is_missing_or_unproved_counts_as_safe() {
        let backup = Fact::BackupTaken { volume: "gone".into(), path: "/nowhere/b".into(), sha256: String::new() };
        let facts = vec![backup, Fact::VolumeRemoved { volume: "gone".into() }];
        let found = of(facts);
        assert_eq!(found.len(), 1);
        assert_eq!(is_safe(&found), Some(false));
        assert_eq!(is_safe(&of(vec![moved("db", "db-kept")])), Some(true));
    }
}
