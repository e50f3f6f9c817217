//! One database, in one snapshot: its catalogs by one session, its rows by that one or by several.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::catalogs::Statement;
use super::gathered::{Gathered, Table};
use super::{READABLE, catalogs, unreadable};
use crate::world::content::{DatabaseContent, Level};
use crate::world::error::Result;
use crate::world::live::postgres::client::Client;
use crate::world::live::postgres::psql::{Psql, connect};
use crate::world::live::postgres::talk::Talk;
use crate::world::live::progress::Progress;
use crate::world::session::Purpose;
use crate::world::side_by_side::up_to;

/// Until 14 a collector process took the counters and wrote them down, at most twice a second: what a session counted
/// that has ended by now is sure to be there after this time. From 15 on a session's counters are there when it ends.
const COLLECTOR: Duration = Duration::from_millis(600);

/// So many relations are locked in one transaction at most: a server has room for only so many, and others need some.
const LOCKS: usize = 600;
/// What is less is read by one session.
const LARGE: u64 = 64 << 20;

/// How all databases are looked at.
pub struct Round<'a> {
    pub client: &'a Client<'a>,
    pub server_major: u32,
    pub level: Level,
    pub jobs: usize,
    pub begun: Instant,
}

/// Statements that are one transaction, and the bytes that they read.
struct Share {
    script: String,
    bytes: u64,
}

impl Round<'_> {
    /// All of a database, which `talk` goes on in.
    pub fn database(&self, talk: &Talk<'_>, name: &str) -> Result<DatabaseContent> {
        talk.ask(&connect(name)?, |_| Ok(()))?;
        let gathered = Mutex::new(Gathered::default());
        self.with(talk, name, &gathered)?;
        let gathered = gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
        match gathered.is_whole {
            true => gathered.content(),
            false => Err(unreadable(self.client, name, "its end is missing")),
        }
    }

    /// A session of ours in a database.
    pub fn session<'s>(&'s self, name: &'s str) -> Psql<'s> {
        Psql::new(self.client, name).any_text().purpose(Purpose::Reading)
    }

    fn with(&self, talk: &Talk<'_>, name: &str, gathered: &Mutex<Gathered>) -> Result<()> {
        self.hear(talk, name, gathered, &self.beginning())?;
        let shares = self.shares(&gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let bytes = shares.iter().map(|share| share.bytes).sum();
        let label = format!("content of {name}");
        let progress = Mutex::new(Progress::bytes(&self.client.clients.context, label, Some(bytes)));
        let read = |talk: &Talk<'_>, share: &Share, before: &str, after: &str| {
            self.hear(talk, name, gathered, &format!("{before}{}{after}", share.script))?;
            progress.lock().unwrap_or_else(PoisonError::into_inner).advance(share.bytes);
            Ok(())
        };
        // Little is read in the transaction that has the snapshot.
        if shares.len() < 2 {
            shares.iter().try_for_each(|share| read(talk, share, "", ""))?;
        } else {
            let snapshot = gathered.lock().unwrap_or_else(PoisonError::into_inner).snapshot.clone();
            let begin = format!("{BEGIN}SET TRANSACTION SNAPSHOT '{snapshot}';\n");
            self.in_sessions(name, &shares, |talk, share| read(talk, share, &begin, "COMMIT;\n"))?;
        }
        self.hear(talk, name, gathered, &self.ending())
    }

    /// Hands shares to sessions of their own, the largest first.
    fn in_sessions(
        &self,
        name: &str,
        shares: &[Share],
        read: impl Fn(&Talk<'_>, &Share) -> Result<()> + Sync,
    ) -> Result<()> {
        let waiting = Mutex::new(shares.iter());
        let sessions: Vec<usize> = (0..self.jobs.min(shares.len())).collect();
        up_to(sessions.len(), &sessions, |_, _| {
            std::thread::scope(|scope| {
                let talk = Talk::open(scope, self.session(name));
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                let work = || {
                    while let Some(share) = next() {
                        read(&talk, share)?;
                    }
                    Ok(())
                };
                let outcome = work();
                if outcome.is_err() {
                    // The others need not go on.
                    while next().is_some() {}
                }
                talk.end(outcome)
            })
        })
        .map(|_| ())
    }

    fn hear(&self, talk: &Talk<'_>, name: &str, gathered: &Mutex<Gathered>, script: &str) -> Result<()> {
        talk.ask(script, |line| {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.line(line).map_err(|e| unreadable(self.client, name, &e.to_string()))
        })
    }

    /// What the catalogs tell without a lock on each relation.
    fn beginning(&self) -> String {
        let mut script = format!("{BEGIN}SELECT jsonb_build_array('snapshot', pg_export_snapshot());\n");
        for kind in ["numbers", "facts", "tables"] {
            script += catalogs::of_rows(kind);
            script.push('\n');
        }
        for statement in self.known(catalogs::of_database()).filter(|statement| !statement.is_batched) {
            script += &statement.sql(0, 1);
        }
        script
    }

    /// Those of the statements that the server has catalogs for.
    pub fn known(&self, statements: &'static [Statement]) -> impl Iterator<Item = &'static Statement> {
        let major = self.server_major;
        statements.iter().filter(move |statement| major >= statement.since.max(READABLE))
    }

    /// The counters, and the end of the transaction.
    fn ending(&self) -> String {
        let left = if self.server_major < 15 { COLLECTOR.saturating_sub(self.begun.elapsed()) } else { Duration::ZERO };
        let wait = match left.as_millis() {
            0 => String::new(),
            left => format!("SELECT pg_sleep({left} / 1000.0) \\g /dev/null\n"),
        };
        format!("{wait}{}\nCOMMIT;\n", catalogs::of_rows("statistics"))
    }

    /// All that takes a lock on each relation, in transactions that take few; the largest first. Where there is little
    /// of it, it is one.
    fn shares(&self, gathered: &Gathered) -> Vec<Share> {
        let most = LOCKS.min(gathered.locks / 4).max(1);
        let mut shares = self.shares_of_tables(&gathered.tables, most);
        for (kind, count) in [("view", gathered.views), ("sequence", gathered.sequences)] {
            let of = count.div_ceil(most.div_ceil(3)).max(1);
            shares.extend((0..of).map(|share| Share { script: self.of_kind(kind, share, of), bytes: 0 }));
        }
        if self.level == Level::Content && gathered.content.large_objects > 0 {
            let script = format!("{}\n", catalogs::of_rows("large objects"));
            shares.insert(0, Share { script, bytes: 0 });
        }
        let locks =
            gathered.tables.iter().map(|table| table.locks).sum::<usize>() + gathered.views * 3 + gathered.sequences;
        let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
        if locks > most || bytes > LARGE && self.jobs > 1 {
            return shares;
        }
        let script = shares.iter().map(|share| share.script.as_str()).collect();
        vec![Share { script, bytes }]
    }

    fn of_kind(&self, kind: &str, share: usize, of: usize) -> String {
        if kind == "view" {
            let batched = self.known(catalogs::of_database()).filter(|statement| statement.is_batched);
            return batched.map(|statement| statement.sql(share, of)).collect();
        }
        let sql = catalogs::of_rows("sequences").replace("@share", &share.to_string());
        format!("{}\n", sql.replace("@of", &of.to_string()))
    }

    /// Tables by their size: the large ones alone, small ones together.
    fn shares_of_tables(&self, tables: &[Table], most: usize) -> Vec<Share> {
        let kind = match self.level {
            Level::Files => return Vec::new(),
            Level::Counts => "counts",
            Level::Content => "hashes",
        };
        let mut tables: Vec<&Table> = tables.iter().filter(|table| !table.is_away).collect();
        tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
        let mut shares = Vec::new();
        let mut rest = &tables[..];
        while !rest.is_empty() {
            let (mut bytes, mut locks, mut count) = (0, 0, 0);
            for table in rest {
                let is_enough = locks + table.locks > most || bytes + table.bytes > LARGE / 2;
                if count > 0 && is_enough {
                    break;
                }
                (bytes, locks, count) = (bytes + table.bytes, locks + table.locks, count + 1);
            }
            let oids: Vec<_> = rest[..count].iter().map(|table| table.oid.to_string()).collect();
            let script = format!("{}\n", catalogs::of_rows(kind).replace("@oids", &oids.join(", ")));
            shares.push(Share { script, bytes });
            rest = &rest[count..];
        }
        shares
    }
}

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;\n";
