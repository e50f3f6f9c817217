//! What a comparison found.

use std::fmt;

use serde::Serialize;

use super::Level;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// For people: database, tables, rows, sequences, extensions, large objects, roles; old and new number each.
    pub rows: Vec<[String; 7]>,
    pub differences: Vec<Difference>,
    /// What neither a dump nor `pg_upgrade` brings along, and that is not there any more.
    pub left_behind: Vec<String>,
    /// What only the new cluster has because its image makes it so.
    pub made_by_image: Vec<String>,
    /// What could not be, or was not to be, looked at.
    pub not_looked_at: Vec<String>,
    /// How closely both were looked at.
    pub level: Level,
    /// Tables that were there to be compared. Without any, an empty list of differences means nothing.
    pub compared: u64,
}

impl Comparison {
    /// Something was compared, and no difference was found.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.compared > 0
    }
}

/// One thing that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Empty for what is in none.
    pub database: String,
    pub kind: String,
    /// Kind and name in words.
    pub object: String,
    /// What of the object it is; empty for the object itself.
    pub fact: String,
    /// In words; nothing of it is from a row, and no secret.
    pub before: String,
    pub after: String,
}

impl Difference {
    /// `fact` is empty for the object itself.
    pub fn of_fact(database: &str, kind: &str, object: String, fact: &str, before: String, after: String) -> Self {
        let [database, kind, fact] = [database, kind, fact].map(str::to_owned);
        Self { database, kind, object, fact, before, after }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.database.is_empty() {
            write!(f, "{}: ", self.database)?;
        }
        write!(f, "{}: ", self.object)?;
        if !self.fact.is_empty() {
            write!(f, "{}: ", self.fact)?;
        }
        match (self.before.as_str(), self.after.as_str()) {
            (MISSING, "") => write!(f, "was not there before"),
            (MISSING, after) => write!(f, "was not there before; now {after}"),
            ("", MISSING) => write!(f, "missing"),
            (before, MISSING) => write!(f, "missing; was {before}"),
            (before, after) if before == after => write!(f, "not the same ({before} before and after)"),
            (before, after) => write!(f, "{before} before, {after} after"),
        }
    }
}

/// Stands for an object that is not there.
pub const MISSING: &str = "missing";
