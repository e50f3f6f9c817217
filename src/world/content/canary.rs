//! The comparison proves each time that it can fail: what was changed for that purpose, in a copy of what is compared,
//! must be found.

use std::collections::BTreeMap;

use serde_json::json;

use super::compare::{Beside, compare_all};
use super::{Content, DatabaseContent, Level, Objects};
use crate::world::error::{Error, Result};

const CHANGED: &str = "changed by pgscript, to see whether it is found";

/// Changes a table of a copy in each way that both contents can tell, and wants each change to be found.
///
/// Errors: `compare.blind`.
pub fn must_come_out_red(before: &Content, after: &Content) -> Result<()> {
    let Some((database, table)) = a_table(before, after) else { return Ok(()) };
    let now = only(after, &database, &table)?;
    let mut changes: Vec<(&str, Content)> = vec![("a table", without_table(now.clone()))];
    let level = before.level.min(after.level);
    if level >= Level::Counts {
        changes.push((
            "a row",
            with_rows(now.clone(), |database| {
                database.tables.values_mut().for_each(|rows| *rows += 1);
            }),
        ));
    }
    if level >= Level::Content {
        changes.push((
            "a value",
            with_rows(now.clone(), |database| {
                database.hashes.values_mut().for_each(|hash| *hash = CHANGED.into());
            }),
        ));
    }
    if before.has_objects() && after.has_objects() {
        changes.push(("an owner", with_owner(now.clone())?));
    }
    for (what, changed) in changes {
        if compare_all(&now, &changed, Beside::default())?.differences.is_empty() {
            let message = format!("the comparison does not find {what} of table {table} that was changed to try it");
            return Err(Error::failed("compare.blind", message).hint("what it says of the clusters is worth nothing"));
        }
    }
    Ok(())
}

/// A table that both have, the first one by its name.
fn a_table(before: &Content, after: &Content) -> Option<(String, String)> {
    before.databases.iter().find_map(|(name, old)| {
        let now = after.databases.get(name)?;
        let is_read = |table: &&String| {
            now.tables.contains_key(*table) && !old.unread.contains(*table) && !now.unread.contains(*table)
        };
        old.tables.keys().find(is_read).map(|table| (name.clone(), table.clone()))
    })
}

/// The content without anything but the table.
fn only(content: &Content, database: &str, table: &str) -> Result<Content> {
    let mut small = DatabaseContent::default();
    if let Some(whole) = content.databases.get(database) {
        let of_table = |(name, rows): (&String, &u64)| (name == table).then(|| (name.clone(), *rows));
        small.tables = whole.tables.iter().filter_map(of_table).collect();
        small.hashes.extend(whole.hashes.get(table).map(|hash| (table.to_owned(), hash.clone())));
        let mut tables = whole.objects.of("table")?;
        tables.retain(|name, _| super::words::dotted(name) == table);
        small.objects.put("table", &tables)?;
    }
    let databases = BTreeMap::from([(database.to_owned(), small)]);
    let (mut objects, mut one) = (Objects::default(), BTreeMap::new());
    if content.has_objects() {
        one.insert(vec![database.to_owned()], serde_json::Map::new());
        objects.put("database", &one)?;
    }
    Ok(Content { databases, objects, ..content.head() })
}

fn with_rows(mut content: Content, change: impl Fn(&mut DatabaseContent)) -> Content {
    content.databases.values_mut().for_each(change);
    content
}

fn without_table(content: Content) -> Content {
    with_rows(content, |database| {
        *database = DatabaseContent::default();
    })
}

/// Another owner of the database: the catalogs are compared, too.
fn with_owner(mut content: Content) -> Result<Content> {
    let mut databases = content.objects.of("database")?;
    databases.values_mut().for_each(|facts| _ = facts.insert("owner".into(), json!(CHANGED)));
    content.objects.put("database", &databases)?;
    Ok(content)
}
