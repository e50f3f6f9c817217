//! What an archive holds, counted while it passes.

use std::io;

use super::member::{Kind, Member};

/// Longest `PG_VERSION` that is looked at, bytes; a real one has three.
const LONGEST_VERSION: u64 = 32;

/// Counts of a tree or an archive; two that agree hold the same number of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries of any kind, the root included (as `tar --list` prints them).
    pub entries: u64,
    pub files: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Owner of the root.
    pub uid: u32,
    pub gid: u32,
}

impl Tally {
    pub fn count(&mut self, member: &Member) {
        if member.path.is_empty() {
            (self.uid, self.gid) = (member.uid, member.gid);
        }
        self.entries += 1;
        self.files += u64::from(member.kind == Kind::File);
        self.bytes += member.size;
    }
}

/// Finds the cluster's version: `PG_VERSION` in the root, else the newest `<major>/docker/PG_VERSION` (the layout
/// of the official image from PostgreSQL 18 on).
#[derive(Clone, Debug, Default)]
pub struct VersionFinder {
    found: Option<(u32, String)>,
}

impl VersionFinder {
    /// The root's own file outranks every major.
    const ROOT: u32 = u32::MAX;

    fn rank(member: &Member) -> Option<u32> {
        if member.kind != Kind::File || member.size > LONGEST_VERSION {
            return None;
        }
        let path = std::str::from_utf8(&member.path).ok()?;
        match path.strip_suffix("PG_VERSION")? {
            "" => Some(Self::ROOT),
            dir => dir.strip_suffix("/docker/")?.parse().ok(),
        }
    }

    /// Reads the content of a member that tells the version; gives what it read, for handing on.
    pub fn read(&mut self, member: &Member, content: &mut dyn io::Read) -> io::Result<Vec<u8>> {
        let Some(rank) = Self::rank(member) else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        if self.found.as_ref().is_none_or(|(best, _)| *best < rank) {
            self.found = Some((rank, first_line(&bytes)));
        }
        Ok(bytes)
    }

    /// Empty when there was none.
    pub fn version(&self) -> &str {
        self.found.as_ref().map_or("", |(_, version)| version)
    }
}

/// The first line without surrounding blanks.
pub fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned()
}
