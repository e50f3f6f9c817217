//! The fault *comparison-blind*: what was changed in a restored cluster is found and named, each change by itself.

use std::collections::VecDeque;

use pgscript::world::content::{Content, Difference};
use serde::Deserialize;

use super::*;

const TABLE: &str = include_str!("differences.toml");
/// The database that the changes are made in, and that which it is made anew from.
const SAMPLE: &str = "sample";
const KEPT: &str = "kept_sample";
/// Changes that are tried at once: with the slow matrix each alone.
const AT_ONCE: usize = if cfg!(feature = "full-matrix") { 1 } else { 16 };

#[derive(Deserialize)]
struct Table {
    base: Base,
    difference: Vec<Change>,
}

#[derive(Deserialize)]
struct Base {
    postgres: String,
    sample: String,
}

#[derive(Deserialize)]
struct Change {
    name: String,
    #[serde(default)]
    since: u32,
    database: Option<String>,
    sql: String,
    undo: Option<String>,
    names: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
}

/// A server on which changes are tried.
struct Trial<'a> {
    stage: &'a Stage,
    server: &'a Server,
    before: Content,
}

impl Trial<'_> {
    fn run(&self, database: &str, sql: &str) -> Result<(), Error> {
        let sql = format!("SET search_path = public; {sql}");
        self.stage.pg().execute(self.server, database, &sql, &[]).map(|_| ())
    }

    /// The sample as it arrived.
    fn anew(&self) {
        let sql = format!(
            "DROP DATABASE {SAMPLE}; CREATE DATABASE {SAMPLE} TEMPLATE {KEPT};
             ALTER DATABASE {SAMPLE} SET work_mem = '5MB'; COMMENT ON DATABASE {SAMPLE} IS NULL"
        );
        self.run("postgres", &sql).unwrap();
    }

    fn differences(&self) -> Vec<Difference> {
        let after = self.stage.look(self.server);
        self.stage.compared(&self.before, &after, self.server).differences
    }

    /// Makes as many changes as are made without an error, and gives those that are not found then. Each must have a
    /// difference of its own.
    fn try_some<'c>(&self, changes: &[&'c Change]) -> Vec<&'c Change> {
        self.anew();
        let (made, refused): (Vec<_>, Vec<_>) = changes.iter().copied().partition(|change| {
            let database = change.database.as_deref().unwrap_or(SAMPLE);
            let result = self.run(database, &change.sql);
            assert!(result.is_ok() || changes.len() > 1, "{}: {}", change.name, result.unwrap_err());
            result.is_ok()
        });
        let mut said: Vec<String> = self.differences().iter().map(ToString::to_string).collect();
        for change in &made {
            for word in &change.never {
                assert!(!said.iter().any(|text| text.contains(word)), "{}: {word} is shown: {said:?}", change.name);
            }
        }
        let is_of = |change: &Change, text: &str| change.names.iter().all(|word| has(text, word));
        let mut missed: Vec<_> = made
            .iter()
            .copied()
            .filter(|change| match said.iter().position(|text| is_of(change, text)) {
                Some(index) => {
                    said.remove(index);
                    false
                }
                None => true,
            })
            .collect();
        assert!(missed.is_empty() || changes.len() > 1, "{} is not found: {said:#?}", changes[0].name);
        for change in made.iter().filter(|change| change.undo.is_some()) {
            self.run("postgres", change.undo.as_deref().unwrap_or_default()).unwrap();
        }
        missed.extend(refused);
        missed
    }
}

/// In any case of letters.
fn has(text: &str, word: &str) -> bool {
    text.to_lowercase().contains(&word.to_lowercase())
}

fn comparison_blind(from: u32, to: u32) {
    let table: Table = toml::from_str(TABLE).unwrap();
    let stage = Stage::new();
    let (old, new) = (stage.server(from), stage.server(to));
    stage.site(&old, "postgres", &table.base.postgres);
    stage.site(&old, SAMPLE, &table.base.sample);
    stage.pg().execute(&old, "postgres", "DROP DATABASE primero_production", &[]).unwrap();
    let before = stage.look(&old);
    let dump = stage.pg().dump(&old, &stage.path("dump"), &options(Format::Directory, Some(to))).unwrap();
    stage.pg().restore(&dump, &new, &restore_options(Some(to))).unwrap();
    // What no dump brings along, and the procedure does.
    let sql = "ALTER ROLE ALL SET timezone = 'UTC'; DROP DATABASE primero_production";
    stage.pg().execute(&new, "postgres", sql, &[]).unwrap();
    let trial = Trial { stage: &stage, server: &new, before };
    assert_eq!(trial.differences(), [], "{from} to {to}");

    let sql = format!(
        "ALTER DATABASE {SAMPLE} RENAME TO {KEPT}; CREATE DATABASE {SAMPLE};
         ALTER DATABASE {KEPT} ALLOW_CONNECTIONS false"
    );
    stage.pg().execute(&new, "postgres", &sql, &[]).unwrap();
    trial.anew();
    let closed = |d: &Difference| d.object.contains(KEPT);
    let known: Vec<_> = trial.differences().into_iter().filter(|d| !closed(d)).collect();
    assert_eq!(known, [], "{from} to {to}");

    let all: Vec<&Change> = table.difference.iter().filter(|change| change.since <= to).collect();
    let mut waiting: VecDeque<&Change> = all.iter().copied().collect();
    let mut at_once = AT_ONCE;
    while !waiting.is_empty() {
        let some: Vec<_> = waiting.drain(..at_once.min(waiting.len())).collect();
        let missed = trial.try_some(&some);
        // What nobody but itself is in the way of is found alone.
        at_once = if missed.len() == some.len() { 1 } else { AT_ONCE };
        waiting.extend(missed);
    }
    println!("seeded differences: {from} to {to}: {} found of {}", all.len(), all.len());
    note_found(all.len());
}

/// For `tests/run.sh`, which adds them up.
fn note_found(count: usize) {
    let Ok(path) = std::env::var("PGSCRIPT_TEST_DIFFERENCES") else { return };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(file, "{count}").unwrap();
}

#[test]
fn comparison_blind_from_13_to_17() {
    comparison_blind(13, 17);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn comparison_blind_from_15_to_17() {
    comparison_blind(15, 17);
}
