//! What neither a dump nor `pg_upgrade` brings along.

use serde_json::Value;

use super::objects::{Facts, Name, Objects};
use super::{Content, words};
use crate::world::error::Result;

/// What there is of a content that no dump and no `pg_upgrade` brings along, with what to do about it.
pub fn uncarried(content: &Content) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut look = |database: &str, objects: &Objects| -> Result<()> {
        for kind in objects.kinds() {
            for (name, facts) in objects.of(kind)? {
                found.extend(why_uncarried(kind, &name, &facts).map(|why| in_database(database, &why.warning())));
            }
        }
        Ok(())
    };
    look("", &content.objects)?;
    content.databases.iter().try_for_each(|(name, database)| look(name, &database.objects))?;
    // The cluster's first superuser owns what initdb has made.
    let databases = content.objects.of("database")?;
    let first = databases.get(&vec!["template1".to_owned()]).and_then(|facts| facts.get("owner")?.as_str());
    for (name, database) in &content.databases {
        for (extension, facts) in database.objects.of("extension")? {
            let owner = facts.get("owner").and_then(Value::as_str).unwrap_or_default();
            if owner != content.user && Some(owner) != first {
                found.push(in_database(name, &foreign_owner(&extension, owner).warning()));
            }
        }
    }
    Ok(found)
}

/// With the database in which it is, if it is in one.
pub fn in_database(database: &str, what: &str) -> String {
    if database.is_empty() { what.to_owned() } else { format!("{database}: {what}") }
}

/// What stays behind, and how to do without it.
pub struct Uncarried {
    pub what: String,
    cure: String,
}

impl Uncarried {
    fn new(what: String, cure: impl Into<String>) -> Self {
        Self { what, cure: cure.into() }
    }

    fn warning(&self) -> String {
        format!("{}: {}", self.what, self.cure)
    }
}

/// Whoever restores an extension owns it.
pub fn foreign_owner(extension: &Name, owner: &str) -> Uncarried {
    let what = format!("that extension {} belongs to {owner}", words::dotted(extension));
    Uncarried::new(what, "it will belong to the superuser")
}

/// `None` for what is brought along.
pub fn why_uncarried(kind: &str, name: &Name, facts: &Facts) -> Option<Uncarried> {
    let object = words::object(kind, name);
    let schema = name.first().map(String::as_str).unwrap_or_default();
    let is_in_system = matches!(schema, "pg_catalog" | "information_schema");
    let is_child = matches!(kind, "column" | "constraint" | "index" | "trigger" | "policy" | "rule");
    let found = match kind {
        "replication origin" => Uncarried::new(object, "make it again if it is needed (pg_replication_origin_create)"),
        "index" if is("no", facts, "valid") => {
            let index = words::dotted(name);
            let cure = format!("REINDEX INDEX CONCURRENTLY {index}, or DROP INDEX {index}");
            Uncarried::new(format!("{object}, which is invalid"), cure)
        }
        "constraint" if facts.contains_key(SWITCHED_OFF) => {
            let what = format!("that triggers of {object} are switched off");
            Uncarried::new(what, "switch them off again (ALTER TABLE … DISABLE TRIGGER ALL)")
        }
        _ if is_in_system && has_schema(kind) && !is_child => {
            Uncarried::new(object, "move it to a schema of the site's own (ALTER … SET SCHEMA)")
        }
        _ => return None,
    };
    Some(found)
}

/// The fact of a constraint whose triggers do not fire.
pub const SWITCHED_OFF: &str = "triggers switched off";

/// Whether a table lies in one of the system's schemas.
pub fn is_of_system(table: &str) -> bool {
    ["pg_catalog.", "information_schema."].iter().any(|schema| table.starts_with(schema))
}

/// Whether names of objects of that kind begin with a schema.
pub fn has_schema(kind: &str) -> bool {
    !matches!(
        kind,
        "cast" | "transform" | "default rights" | "rights on a system object" | "security label" | "setting"
    )
}

/// Whether a fact has this value.
pub fn is(value: &str, facts: &Facts, fact: &str) -> bool {
    facts.get(fact).and_then(Value::as_str) == Some(value)
}
