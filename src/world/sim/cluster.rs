//! A simulated cluster: which rows it holds, not what is in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::world::control::{ControlFile, SHUT_DOWN, STATES};

/// A row is known by a number that no other row of the world has.
pub type RowId = u64;

/// What a server keeps in its data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The number that initdb gave it; it tells it from every other one. `pg_upgrade` makes a cluster with another one.
    pub system_identifier: u64,
    pub major: u32,
    pub control: Control,
    /// Where the log ends, in bytes. Every write moves it on.
    pub lsn: u64,
    /// Number of the next transaction that writes.
    pub next_xid: u64,
    /// The role that initdb made.
    pub bootstrap_user: String,
    pub roles: BTreeMap<String, Role>,
    pub databases: BTreeMap<String, Database>,
    /// `postgresql.conf` and `postgresql.auto.conf` together; the server's own defaults are left out.
    pub settings: BTreeMap<String, String>,
    /// What `pg_hba.conf` asks of whoever comes by TCP from another address than 127.0.0.1.
    pub auth: Auth,
    /// Whether `pg_hba.conf` has a line for replication.
    pub lets_replicate: bool,
    /// Slots by which the server keeps its log: up to where each has it.
    pub slots: BTreeMap<String, u64>,
    pub checksums: bool,
    /// `uid:gid` of its files.
    pub owner: String,
    /// The copy of a running server that goes on as a standby: it takes what the one of that number writes.
    pub follows: Option<u64>,
    /// Of which cluster's files its relations are: itself, or, after `pg_upgrade`, the one that was upgraded.
    pub relations_of: u64,
    /// Bytes that it takes on the disk beside its databases: its log, above all.
    #[serde(default)]
    pub log_bytes: u64,
    /// Two servers at once have written to it, or a power cut has taken what nobody had synced: no server starts.
    pub is_damaged: bool,
}

/// What `pg_control` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// One of [`STATES`].
    pub state: String,
    pub checkpoint: u64,
    pub timeline: u32,
    pub next_xid: u64,
}

/// How a login over the network is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// An md5 hash or a SCRAM verifier, whichever the role has.
    Md5,
    /// Only a SCRAM verifier serves.
    Scram,
    Trust,
}

/// What a role's password is kept as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Password {
    Md5(String),
    Scram(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub is_superuser: bool,
    pub can_login: bool,
    pub password: Option<Password>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// By the name as SQL writes it: `public.cases`.
    pub tables: BTreeMap<String, Table>,
    /// Last values.
    pub sequences: BTreeMap<String, u64>,
    /// Versions.
    pub extensions: BTreeMap<String, String>,
    pub large_objects: u64,
    /// Changes when the server counts anew: after a crash, or in a cluster that was made of another.
    pub counted_since: u64,
    /// Empty for the role that initdb made.
    #[serde(default)]
    pub owner: String,
    /// Bytes that it takes on the disk beside a new database and a page for each row.
    #[serde(default)]
    pub more_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub rows: BTreeSet<RowId>,
    /// Rows inserted, as the server has counted since [`Database::counted_since`].
    pub inserted: u64,
    pub is_unlogged: bool,
}

impl Database {
    /// What it takes on the disk.
    pub fn bytes(&self) -> u64 {
        const EMPTY: u64 = 8 << 20;
        const PAGE: u64 = 8192;
        EMPTY + self.more_bytes + self.tables.values().map(|table| table.rows.len() as u64).sum::<u64>() * PAGE
    }
}

impl Password {
    /// What is kept of a password by that encryption (`password_encryption`). In a simulated world that is the clear
    /// text: it is nobody's secret. What is a hash or a verifier already is kept as it is.
    pub fn kept(encryption: &str, given: &str) -> Self {
        let is_hash = given.len() == 35 && given.starts_with("md5");
        let is_verifier = given.starts_with("SCRAM-SHA-256$");
        let given = given.to_owned();
        if is_hash || encryption == "md5" && !is_verifier { Self::Md5(given) } else { Self::Scram(given) }
    }

    /// Whether it is this password, however it is kept.
    pub fn is(&self, clear: &str) -> bool {
        let (Self::Md5(own) | Self::Scram(own)) = self;
        own == clear
    }
}

impl Cluster {
    /// To whom a database belongs.
    pub fn owner_of(&self, database: &str) -> &str {
        let owner = self.databases.get(database).map(|database| database.owner.as_str());
        owner.filter(|owner| !owner.is_empty()).unwrap_or(&self.bootstrap_user)
    }

    /// As initdb leaves it: the superuser, and the databases `postgres` and `template1`.
    pub fn new(system_identifier: u64, major: u32, superuser: &str) -> Self {
        let role = Role { is_superuser: true, can_login: true, password: None };
        let databases = ["postgres", "template1"].map(|name| (name.to_owned(), Database::default()));
        Self {
            system_identifier,
            major,
            control: Control { state: SHUT_DOWN.into(), checkpoint: FIRST_LSN, timeline: 1, next_xid: FIRST_XID },
            lsn: FIRST_LSN + RECORD,
            next_xid: FIRST_XID,
            bootstrap_user: superuser.to_owned(),
            roles: BTreeMap::from([(superuser.to_owned(), role)]),
            databases: databases.into(),
            settings: BTreeMap::new(),
            auth: if major >= 14 { Auth::Scram } else { Auth::Md5 },
            lets_replicate: true,
            slots: BTreeMap::new(),
            checksums: major >= 18,
            owner: "999:999".into(),
            follows: None,
            relations_of: system_identifier,
            log_bytes: 0,
            is_damaged: false,
        }
    }

    /// Notes that something was written: a transaction, and a record in the log.
    pub fn advance(&mut self) {
        self.next_xid += 1;
        self.lsn += RECORD;
    }

    /// Adds a row to a table that there is.
    pub fn insert(&mut self, database: &str, table: &str, row: RowId) -> bool {
        let found = self.databases.get_mut(database).and_then(|database| database.tables.get_mut(table));
        let Some(table) = found else { return false };
        table.rows.insert(row);
        table.inserted += 1;
        self.advance();
        true
    }

    /// Every row of every database.
    pub fn rows(&self) -> impl Iterator<Item = RowId> {
        self.databases.values().flat_map(|database| database.tables.values()).flat_map(|table| &table.rows).copied()
    }

    /// Whether a row is in any database.
    pub fn has_row(&self, row: RowId) -> bool {
        let mut tables = self.databases.values().flat_map(|database| database.tables.values());
        tables.any(|table| table.rows.contains(&row))
    }

    /// A server has started on it.
    pub fn open(&mut self) {
        if !self.is_clean() {
            // What it had counted is lost with a crash.
            self.databases.values_mut().for_each(|database| database.counted_since += 1);
        }
        self.control.state = if self.follows.is_some() { STATES[5] } else { STATES[6] }.into();
    }

    /// Its server has stopped cleanly, with a last checkpoint.
    pub fn close(&mut self) {
        self.control.state = if self.follows.is_some() { STATES[2] } else { SHUT_DOWN }.into();
        if self.follows.is_none() {
            self.control.checkpoint = self.lsn;
            self.lsn += RECORD;
        }
        self.control.next_xid = self.next_xid;
    }

    /// Follows nobody any more: it is a cluster of its own, on a timeline of its own.
    pub fn promote(&mut self) {
        if self.follows.take().is_some() {
            self.control.timeline += 1;
            self.control.state = STATES[6].into();
            self.control.checkpoint = self.lsn;
            self.advance();
        }
    }

    /// Stopped cleanly.
    pub fn is_clean(&self) -> bool {
        [SHUT_DOWN, STATES[2]].contains(&self.control.state.as_str())
    }

    /// Takes everything that the cluster it follows has written.
    pub fn replay(&mut self, primary: &Self) {
        let own = Self { settings: self.settings.clone(), follows: self.follows, ..primary.clone() };
        let control = Control { state: self.control.state.clone(), ..primary.control.clone() };
        *self = Self { control, slots: BTreeMap::new(), owner: self.owner.clone(), ..own };
        // A standby makes them empty.
        let databases = self.databases.values_mut();
        databases.flat_map(|d| d.tables.values_mut()).filter(|t| t.is_unlogged).for_each(|t| t.rows.clear());
    }

    /// As `pg_controldata` reads it.
    pub fn control_file(&self) -> ControlFile {
        let state = STATES.iter().find(|state| **state == self.control.state).copied().unwrap_or(STATES[6]);
        ControlFile {
            system_identifier: self.system_identifier,
            state,
            checkpoint: self.control.checkpoint,
            redo: self.control.checkpoint,
            timeline: self.control.timeline,
            next_xid: self.control.next_xid,
        }
    }

    /// Bytes of all databases.
    pub fn bytes(&self) -> u64 {
        self.databases.values().map(Database::bytes).sum()
    }
}

/// Where the log of a new cluster begins.
const FIRST_LSN: u64 = 0x0100_0028;
const FIRST_XID: u64 = 700;
/// Bytes of a record in the log.
const RECORD: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_or_verifier_is_kept_as_it_is() {
        let hash = "md5e1b6ba0ef2bc5c2a6d2ab4b4bd9bb5b5";
        assert_eq!(Password::kept("scram-sha-256", hash), Password::Md5(hash.into()));
        assert_eq!(Password::kept("md5", "SCRAM-SHA-256$x"), Password::Scram("SCRAM-SHA-256$x".into()));
        assert_eq!(Password::kept("md5", "clear"), Password::Md5("clear".into()));
        assert!(Password::kept("scram-sha-256", "clear").is("clear"));
    }
}
