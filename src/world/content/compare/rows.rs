//! Rows of tables, and values of sequences.

use std::collections::{BTreeMap, BTreeSet};

use super::super::difference::MISSING;
use super::super::objects::{Facts, Name};
use super::super::uncarried::{in_database, is_of_system};
use super::super::{DatabaseContent, Level, NOT_CALLED, words};
use super::Round;
use crate::world::error::Result;

impl Round<'_> {
    pub(super) fn rows(&mut self, database: &str, old: &DatabaseContent, now: &DatabaseContent) -> Result<()> {
        let level = self.found.level;
        let counted_otherwise = self.counted_otherwise(now)?;
        for (table, count) in &old.tables {
            let object = format!("rows of {table}");
            let Some(rows) = now.tables.get(table) else {
                if counted_otherwise.contains(table) {
                    self.found.not_looked_at.push(in_database(database, &format!("rows of {table}")));
                    continue;
                }
                let is_left = is_of_system(table) && self.before.has_objects();
                let is_said = self.is_said_missing(database, "table", table) || is_left;
                if !is_said {
                    self.differ(database, "rows", object, "", MISSING);
                }
                continue;
            };
            let is_unread = old.unread.contains(table) || now.unread.contains(table);
            if level >= Level::Counts && is_unread {
                self.found.not_looked_at.push(in_database(database, &format!("rows of {table}")));
            } else if level >= Level::Counts && count != rows {
                self.differ(database, "rows", object, &count.to_string(), &rows.to_string());
            } else if level == Level::Content && old.hashes.get(table) != now.hashes.get(table) {
                let same = format!("{count} rows");
                self.differ(database, "rows", format!("content of {table}"), &same, &same);
            }
        }
        Ok(())
    }

    /// Earlier versions counted the rows of each partition and of materialized views, which are no tables of their own
    /// any more: they are there, under these names.
    fn counted_otherwise(&self, now: &DatabaseContent) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        if !self.before.has_objects() {
            for kind in ["table", "view"] {
                found.extend(now.objects.of(kind)?.keys().map(|name| words::dotted(name)));
            }
        }
        Ok(found)
    }

    pub(super) fn sequences(&mut self, database: &str, old: &DatabaseContent, now: &DatabaseContent) -> Result<()> {
        let mut values = now.sequences.clone();
        self.as_recorded(old, &mut values)?;
        for (name, before) in &old.sequences {
            let object = format!("sequence {name}");
            match values.get(name) {
                None if self.is_said_missing(database, "sequence", name) => {}
                None => self.differ(database, "sequence", object, "", MISSING),
                Some(after) if after != before => self.differ(database, "sequence", object, before, after),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Values of sequences as the record would have them, where it says of the same value something else. Earlier
    /// versions did not tell where a sequence begins that was not called; and a server that followed the cluster has
    /// one a little ahead of where it stands.
    fn as_recorded(&self, old: &DatabaseContent, now: &mut BTreeMap<String, String>) -> Result<()> {
        let not_called = old.sequences.iter().filter(|(_, then)| then.as_str() == NOT_CALLED);
        for (name, then) in not_called {
            now.get_mut(name)
                .filter(|value| value.starts_with(NOT_CALLED))
                .into_iter()
                .for_each(|v| v.clone_from(then));
        }
        let is_of_follower = self.before.is_standby && !self.after.is_standby;
        if !is_of_follower || self.before.system_identifier != self.after.system_identifier {
            return Ok(());
        }
        let by =
            |(name, facts): (Name, Facts)| Some((words::dotted(&name), i128::from(facts.get("increment")?.as_i64()?)));
        let increments: BTreeMap<String, i128> = old.objects.of("sequence")?.into_iter().filter_map(by).collect();
        for (name, value) in now {
            let Some(then) = old.sequences.get(name) else { continue };
            let (Ok(ahead), Ok(last)) = (then.parse::<i128>(), value.parse::<i128>()) else { continue };
            let step = increments.get(name).copied().unwrap_or(1);
            // As many as PostgreSQL logs in advance.
            let most = last + 32 * step;
            if (last.min(most)..=last.max(most)).contains(&ahead) {
                value.clone_from(then);
            }
        }
        Ok(())
    }

    /// Whether an object was found to be missing already, or lies in a schema that is.
    fn is_said_missing(&self, database: &str, kind: &str, name: &str) -> bool {
        let schema = name.split('.').next().unwrap_or_default();
        self.found.differences.iter().any(|d| {
            d.database == database
                && d.after == MISSING
                && (d.object == format!("{kind} {name}") || d.object == format!("schema {schema}"))
        })
    }
}
