//! What a cluster holds, and what two looks at it, or at two clusters, have in common. Nothing here asks a server:
//! [`Postgres::content`](super::postgres::Postgres::content) does.
//!
//! [`objects`] keeps what is in the catalogs, [`compare`] finds what differs, with [`words`] for people; a
//! [`definition`] is SQL text that each version writes in its own way. [`written`] finds what was written since.

mod canary;
mod compare;
mod definition;
mod difference;
mod objects;
mod uncarried;
mod words;
mod written;

pub use compare::Beside;
pub use definition::{Definition, Reader, quoted};
pub use difference::{Comparison, Difference};
pub use objects::{Facts, Name, Objects};
pub use uncarried::uncarried;
pub use written::{Written, WrittenTable, written_since};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::Result;

/// How closely a cluster is looked at; each level has what those before it have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The catalogs alone. It proves something of a cluster whose very files are known to be those of the other one.
    Files,
    /// The exact number of rows of each table. Contents of earlier versions tell no level: it was this one.
    #[default]
    Counts,
    /// A hash over all rows of each table, and of each large object.
    Content,
}

impl Level {
    pub const NAMES: [&'static str; 3] = ["files", "counts", "content"];

    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Files, Self::Counts, Self::Content].into_iter().find(|level| level.name() == name)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What a cluster holds at one moment. All maps go by name; names are as SQL writes them, and quoted where they are
/// anything but lower-case words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The number that initdb gave the cluster; it tells it from every other one.
    pub system_identifier: String,
    pub server_major: u32,
    /// Full id of the container the server ran in.
    pub container: String,
    /// As whom the server was asked.
    #[serde(default)]
    pub user: String,
    /// What kind of role each of the site's is, in words.
    pub roles: BTreeMap<String, String>,
    /// Objects of the cluster that are in none of its databases.
    #[serde(default)]
    pub objects: Objects,
    /// The server followed another one. There a sequence stands where the log has it: ahead of the last value that was
    /// given, by as many as may be given until it is logged again.
    #[serde(default)]
    pub is_standby: bool,
    /// Words that this server quotes where they are names, because they mean something to it.
    #[serde(default)]
    pub keywords: BTreeSet<String>,
    /// All databases that can be connected to, except `template0`.
    pub databases: BTreeMap<String, DatabaseContent>,
    /// Read from a file, which anybody may have written: it can be compared, but it proves nothing. The journal keeps
    /// it, so that a resumed run knows as much.
    #[serde(default)]
    pub from_file: bool,
    #[serde(default)]
    pub level: Level,
    /// How long it took to look, in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// What one database holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatabaseContent {
    /// Rows of each table; a partitioned table has those of all its partitions, a parent only its own. 0 where they
    /// were not counted.
    pub tables: BTreeMap<String, u64>,
    /// The hash over all rows of each table: it depends neither on their order nor on the version of the server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hashes: BTreeMap<String, String>,
    /// Tables whose rows could not be looked at, although those of others were.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<String>,
    /// Last value of each sequence, or the one that it will begin with.
    pub sequences: BTreeMap<String, String>,
    /// Version of each extension.
    pub extensions: BTreeMap<String, String>,
    pub large_objects: u64,
    #[serde(default)]
    pub statistics: Statistics,
    #[serde(default)]
    pub objects: Objects,
}

/// What the server has counted of writes. It describes how the content came about and takes no part in [`compare`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Names the time from which the server counts, and changes when the counters are reset or lost. Empty when it does
    /// not count at all (`track_counts` is off).
    pub since: String,
    pub tables: BTreeMap<String, Counters>,
}

/// A table's counters `n_tup_ins`, `n_tup_upd` and `n_tup_del`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// A table that was made anew under its old name has another one, and counts from 0.
    pub oid: u32,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

impl Content {
    /// The same cluster, asked in the same way, without anything in it.
    fn head(&self) -> Self {
        Self {
            system_identifier: self.system_identifier.clone(),
            container: self.container.clone(),
            user: self.user.clone(),
            roles: BTreeMap::new(),
            objects: Objects::default(),
            keywords: self.keywords.clone(),
            databases: BTreeMap::new(),
            ..*self
        }
    }

    /// Number of tables in all databases.
    pub fn tables(&self) -> u64 {
        self.databases.values().map(|database| database.tables.len() as u64).sum()
    }

    /// Number of rows in all databases.
    pub fn rows(&self) -> u64 {
        self.databases.values().map(|database| database.tables.values().sum::<u64>()).sum()
    }

    /// Whether rows were counted: else every table has 0 of them, and only its name says something.
    pub fn is_counted(&self) -> bool {
        self.level >= Level::Counts
    }

    /// Whether the catalogs were read. Earlier versions of this program did not, nor can it be done of old servers.
    pub fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }
}

/// Holds what a cluster had before against what one has now. Whatever differs is found; [`words`] says it.
///
/// Errors: `psql.failed` where a server can't be asked, `compare.blind` when a change that was made for that purpose is
/// not found.
pub fn compare(before: &Content, after: &Content, beside: Beside<'_>) -> Result<Comparison> {
    canary::must_come_out_red(before, after)?;
    compare::compare_all(before, after, beside)
}

/// How a sequence that was not called begins to be told.
pub const NOT_CALLED: &str = "not called";

/// What is now of those that were there before.
fn kept<'c, V>(before: &'c BTreeMap<String, V>, after: &'c BTreeMap<String, V>) -> impl Iterator<Item = &'c V> {
    before.keys().filter_map(|name| after.get(name))
}

#[cfg(test)]
mod tests;
