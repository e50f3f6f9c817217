//! What differs between a cluster and what was made of it, and what is no difference.

mod objects;
mod rows;

use std::collections::BTreeSet;

use super::definition::Reader;
use super::difference::{Comparison, Difference, MISSING};
use super::uncarried::is_of_system;
use super::{Content, DatabaseContent, Level, kept, words};
use crate::world::error::Result;

/// What is known beside the two contents.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// What the new cluster held before anything was brought into it: that is its image's own.
    pub made: Option<&'a Content>,
    /// The old server itself, where the content of before is that of a copy that follows it, with settings of its own.
    pub settings: Option<&'a Content>,
    /// Reads definitions as the newer of the two servers does.
    pub reader: Option<&'a dyn Reader>,
}

/// Whatever differs, without proving first that it can fail; see [`super::compare`].
pub(super) fn compare_all(before: &Content, after: &Content, beside: Beside<'_>) -> Result<Comparison> {
    let mut round = Round::new(before, after, beside);
    round.cluster()?;
    for (name, old) in &before.databases {
        match after.databases.get(name) {
            Some(now) => round.database(name, old, now)?,
            None => round.missing_database(name),
        }
    }
    Ok(round.found)
}

struct Round<'a> {
    before: &'a Content,
    after: &'a Content,
    beside: Beside<'a>,
    /// Both tell what their catalogs hold.
    has_objects: bool,
    /// Words that only one of the two servers quotes.
    keywords: BTreeSet<String>,
    /// Privileges that one of them does not know.
    unknown: &'static [&'static str],
    found: Comparison,
}

impl<'a> Round<'a> {
    fn new(before: &'a Content, after: &'a Content, beside: Beside<'a>) -> Self {
        let keywords = before.keywords.symmetric_difference(&after.keywords).cloned().collect();
        let unknown: &[_] = if before.server_major.min(after.server_major) < 17 { &[words::MAINTAIN] } else { &[] };
        let level = before.level.min(after.level);
        let mut found = Comparison {
            rows: Vec::new(),
            differences: Vec::new(),
            left_behind: Vec::new(),
            made_by_image: Vec::new(),
            not_looked_at: Vec::new(),
            level,
            compared: before.tables(),
        };
        match level {
            Level::Files => found.not_looked_at.push("rows of tables, nor how many there are".into()),
            Level::Counts => found.not_looked_at.push("what is in the rows, and in large objects".into()),
            Level::Content => {}
        }
        let has_objects = before.has_objects() && after.has_objects();
        if !has_objects {
            let what = "definitions, owners, rights and settings (an old server, or an earlier version of pgscript)";
            found.not_looked_at.push(what.into());
        }
        Self { before, after, beside, has_objects, keywords, unknown, found }
    }

    /// A difference of the object itself, which has not to do with one of its facts.
    fn differ(&mut self, database: &str, kind: &str, object: String, before: &str, after: &str) {
        let (before, after) = (before.to_owned(), after.to_owned());
        self.found.differences.push(Difference::of_fact(database, kind, object, "", before, after));
    }

    fn cluster(&mut self) -> Result<()> {
        let (before, after) = (self.before, self.after);
        let roles = pair(before.roles.len(), kept(&before.roles, &after.roles).count());
        self.found.rows.push(row("(cluster)", ["", "", "", "", "", &roles]));
        if self.has_objects {
            let made = self.beside.made.map(|made| &made.objects);
            return self.objects("", &before.objects, &after.objects, made);
        }
        // What kind of role each is was told in other words by earlier versions.
        for role in before.roles.keys().filter(|role| !after.roles.contains_key(*role)) {
            self.differ("", "role", format!("role {role}"), "", MISSING);
        }
        Ok(())
    }

    fn missing_database(&mut self, name: &str) {
        self.found.rows.push(row(name, ["missing", "", "", "", "", ""]));
        // Where the catalogs were read they have said so.
        if !self.has_objects {
            self.differ("", "database", format!("database {}", words::plain_name(name)), "", MISSING);
        }
    }

    fn database(&mut self, name: &str, old: &DatabaseContent, now: &DatabaseContent) -> Result<()> {
        if self.has_objects {
            let made = self.beside.made.and_then(|made| made.databases.get(name)).map(|made| &made.objects);
            self.objects(name, &old.objects, &now.objects, made)?;
        } else {
            let missing = old.extensions.keys().filter(|extension| !now.extensions.contains_key(*extension));
            for extension in missing {
                self.differ(name, "extension", format!("extension {extension}"), "", MISSING);
            }
        }
        self.rows(name, old, now)?;
        self.sequences(name, old, now)?;
        if old.large_objects != now.large_objects {
            let (old, now) = (old.large_objects.to_string(), now.large_objects.to_string());
            self.differ(name, "large object", "large objects".into(), &old, &now);
        }
        self.found.rows.push(self.overview(name, old, now));
        Ok(())
    }

    /// A database's line of the table.
    fn overview(&self, name: &str, old: &DatabaseContent, now: &DatabaseContent) -> [String; 7] {
        // What nothing brings along is said, and what could not be read is not compared.
        let is_left = |table: &str| is_of_system(table) && !now.tables.contains_key(table);
        let names: Vec<&String> = old.tables.keys().filter(|table| !is_left(table)).collect();
        let rows = |of: &DatabaseContent| -> u64 {
            let is_read = |table: &&&String| !old.unread.contains(**table) && !now.unread.contains(**table);
            names.iter().filter(is_read).filter_map(|table| of.tables.get(*table)).sum()
        };
        let numbers = [
            pair(names.len(), names.iter().filter(|table| now.tables.contains_key(**table)).count()),
            if self.found.level >= Level::Counts { pair(rows(old), rows(now)) } else { "not counted".into() },
            pair(old.sequences.len(), kept(&old.sequences, &now.sequences).count()),
            pair(old.extensions.len(), kept(&old.extensions, &now.extensions).count()),
            pair(old.large_objects, now.large_objects),
            String::new(),
        ];
        row(name, numbers.each_ref().map(String::as_str))
    }
}

fn row(name: &str, cells: [&str; 6]) -> [String; 7] {
    let [tables, rows, sequences, extensions, large_objects, roles] = cells.map(str::to_owned);
    [name.to_owned(), tables, rows, sequences, extensions, large_objects, roles]
}

fn pair<T: PartialEq + std::fmt::Display>(old: T, now: T) -> String {
    let sign = if old == now { '=' } else { '≠' };
    format!("{old} {sign} {now}")
}
