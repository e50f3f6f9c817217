//! What differs between a cluster and what was made of it, and what is no difference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::definition::{Definition, Reader, of_fact, rest_of_fact};
use super::difference::{Comparison, Difference, MISSING};
use super::objects::{Facts, Name, Objects};
use super::uncarried::{SWITCHED_OFF, foreign_owner, has_schema, in_database, is, is_of_system, why_uncarried};
use super::words;
use super::{Content, DatabaseContent, Level, NOT_CALLED, kept};
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

/// Parents come before what is in them.
const FIRST: [&str; 3] = ["schema", "table", "view"];
/// Of the cluster's own files: a copy that follows has them otherwise.
const OF_FILES: [&str; 3] = ["setting", "client authentication", "user name map"];
/// What a server that nobody reaches yet has otherwise than the one that it stands for.
const HELD_OTHERWISE: [&str; 5] =
    ["archive_mode", "listen_addresses", "max_worker_processes", "port", "unix_socket_directories"];

/// A fact of which only the text differs.
struct Doubt {
    difference: Difference,
    old: Vec<Definition>,
    now: Vec<Definition>,
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
        let mut sequences = now.sequences.clone();
        self.as_recorded(old, &mut sequences)?;
        self.changed(name, "sequence", "sequence", &old.sequences, &sequences);
        if old.large_objects != now.large_objects {
            let (old, now) = (old.large_objects.to_string(), now.large_objects.to_string());
            self.differ(name, "large object", "large objects".into(), &old, &now);
        }
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
        self.found.rows.push(row(name, numbers.each_ref().map(String::as_str)));
        Ok(())
    }

    fn rows(&mut self, database: &str, old: &DatabaseContent, now: &DatabaseContent) -> Result<()> {
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

    /// Values of sequences as the record would have them, where it says of the same value something else. Earlier
    /// versions did not tell where a sequence begins that was not called; and a server that followed the cluster has one
    /// a little ahead of where it stands.
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

    fn changed(
        &mut self,
        database: &str,
        kind: &str,
        what: &str,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) {
        for (name, old) in before {
            match after.get(name) {
                None if self.is_said_missing(database, kind, name) => {}
                None => self.differ(database, kind, format!("{what} {name}"), "", MISSING),
                Some(now) if now != old => self.differ(database, kind, format!("{what} {name}"), old, now),
                Some(_) => {}
            }
        }
    }

    /// All objects of a database, or of the cluster.
    fn objects(&mut self, database: &str, old: &Objects, now: &Objects, made: Option<&Objects>) -> Result<()> {
        let mut kinds: BTreeSet<&str> = old.kinds().chain(now.kinds()).map(String::as_str).collect();
        let first: Vec<&str> = FIRST.into_iter().filter(|kind| kinds.remove(kind)).collect();
        let mut doubts = Vec::new();
        let mut gone = Gone::default();
        for kind in first.into_iter().chain(kinds) {
            let now = self.plainly(now.of(kind)?);
            let old = match OF_FILES.contains(&kind) && database.is_empty() {
                true => self.settings(kind, old)?,
                false => Some(self.plainly(old.of(kind)?)),
            };
            let Some(old) = old else { continue };
            if kind == "setting" {
                self.compare_settings(&old, &now);
                continue;
            }
            let made = made.map(|made| made.of(kind)).transpose()?.map(|made| self.plainly(made));
            self.kind(database, kind, [&old, &now], made.as_ref(), &mut gone, &mut doubts);
        }
        self.resolve(database, doubts)
    }

    /// What the cluster's files say; `None` where nobody knows what they said before.
    fn settings(&mut self, kind: &str, old: &Objects) -> Result<Option<BTreeMap<Name, Facts>>> {
        let of_copy = old.of(kind)?;
        if !of_copy.is_empty() {
            return Ok(Some(of_copy));
        }
        match self.beside.settings {
            Some(content) => Ok(Some(content.objects.of(kind)?)),
            None => {
                self.found.not_looked_at.push(format!("each {kind} (a copy has its own)"));
                Ok(None)
            }
        }
    }

    /// What the files of either cluster say must be in force in both, unless a server's command line says otherwise:
    /// that is the site's own, and comes with its container.
    fn compare_settings(&mut self, old: &BTreeMap<Name, Facts>, now: &BTreeMap<Name, Facts>) {
        for (name, facts) in old {
            let known = name.first().map(String::as_str).unwrap_or_default();
            // The new version does not know a name that is not there: who brings settings along names those.
            let Some(after) = now.get(name).filter(|_| !HELD_OTHERWISE.contains(&known)) else { continue };
            let is_told = |by: &str| [facts, after].iter().any(|facts| is(by, facts, "is told by"));
            if is_told("file") && !is_told("command line") && facts.get("value") != after.get("value") {
                let (before, after) = (words::value(facts.get("value")), words::value(after.get("value")));
                self.differ("", "setting", words::object("setting", name), &before, &after);
            }
        }
    }

    /// A text in which nothing is quoted that only one version quotes.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if text.contains('"') {
            for word in &self.keywords {
                text = text.replace(&format!("\"{word}\""), word);
            }
        }
        text
    }

    /// The same of a fact: JSON has a backslash before each quote in a text.
    fn plain_json(&self, fact: &Value) -> String {
        self.plain(&fact.to_string().replace("\\\"", "\""))
    }

    /// Objects under names in which nothing is quoted that only one version quotes.
    fn plainly(&self, objects: BTreeMap<Name, Facts>) -> BTreeMap<Name, Facts> {
        let plain = |name: Name| name.iter().map(|part| self.plain(part)).collect();
        objects.into_iter().map(|(name, facts)| (plain(name), facts)).collect()
    }

    fn kind(
        &mut self,
        database: &str,
        kind: &str,
        [old, now]: [&BTreeMap<Name, Facts>; 2],
        made: Option<&BTreeMap<Name, Facts>>,
        gone: &mut Gone,
        doubts: &mut Vec<Doubt>,
    ) {
        for (name, facts) in old {
            match now.get(name) {
                Some(after) => self.facts(database, kind, name, [facts, after], doubts),
                None if gone.before.takes(kind, name, facts) => {}
                None => match why_uncarried(kind, name, facts) {
                    Some(why) => self.found.left_behind.push(in_database(database, &why.what)),
                    None => self.differ(database, kind, words::object(kind, name), &self.shown(kind, facts), MISSING),
                },
            }
        }
        for (name, facts) in now.iter().filter(|(name, _)| !old.contains_key(*name)) {
            let object = words::object(kind, name);
            if is_versions_own(kind, name, facts) || gone.after.takes(kind, name, facts) {
                continue;
            }
            if made.is_some_and(|made| made.get(name) == Some(facts)) {
                self.found.made_by_image.push(in_database(database, &object));
            } else {
                self.differ(database, kind, object, MISSING, &self.shown(kind, facts));
            }
        }
    }

    /// What an object is like, where it is little and says more than its name.
    fn shown(&self, kind: &str, facts: &Facts) -> String {
        match kind {
            "setting of a role or database" => words::value(facts.get("value")),
            "default rights" | "right on a parameter" => {
                let said = |(role, rights): (&String, _)| format!("{role}: {}", words::privileges(Some(rights)));
                words::rights(facts.get("rights"), self.unknown).iter().map(said).collect::<Vec<_>>().join("; ")
            }
            "rights on a system object" => {
                let said = |fact: &str| facts.get(fact).map(|acl| format!("{fact} {}", words::value(Some(acl))));
                ["given", "taken"].into_iter().filter_map(said).collect::<Vec<_>>().join("; ")
            }
            _ => String::new(),
        }
    }

    fn facts(&mut self, database: &str, kind: &str, name: &Name, [old, now]: [&Facts; 2], doubts: &mut Vec<Doubt>) {
        let names: BTreeSet<&String> = old.keys().chain(now.keys()).collect();
        for fact in names {
            let (before, after) = (old.get(fact), now.get(fact));
            if before == after || is_no_difference(kind, fact, before, after) {
                continue;
            }
            if fact == "rights" {
                self.rights(database, kind, name, [before, after]);
                continue;
            }
            if self.is_left_behind(database, kind, name, fact, [before, after]) {
                continue;
            }
            let is_text = matches!(fact.as_str(), "body" | "comment" | "label" | "value");
            if let (Some(before), Some(after), false) = (before, after, is_text)
                && self.plain_json(before) == self.plain_json(after)
            {
                continue;
            }
            let (before, after) = words::values(before, after);
            let difference = Difference::of_fact(database, kind, words::object(kind, name), fact, before, after);
            match self.definitions(kind, name, fact, [old, now]) {
                Some((old, now)) => doubts.push(Doubt { difference, old, now }),
                None => self.found.differences.push(difference),
            }
        }
    }

    /// The definitions that a fact is on both sides, where nothing else of it differs.
    fn definitions(
        &self,
        kind: &str,
        name: &Name,
        fact: &str,
        [old, now]: [&Facts; 2],
    ) -> Option<(Vec<Definition>, Vec<Definition>)> {
        let rest = |facts: &Facts| rest_of_fact(kind, fact, facts.get(fact)?).map(|rest| self.plain(&rest));
        let (before, after) = (of_fact(kind, name, old, fact)?, of_fact(kind, name, now, fact)?);
        (before.len() == after.len() && rest(old) == rest(now)).then_some((before, after))
    }

    fn rights(&mut self, database: &str, kind: &str, name: &Name, acls: [Option<&Value>; 2]) {
        let [before, after] = acls.map(|acl| words::rights(acl, self.unknown));
        let roles: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for role in roles.into_iter().filter(|role| before.get(*role) != after.get(*role)) {
            let (fact, [before, after]) =
                (format!("rights of {role}"), [&before, &after].map(|rights| words::privileges(rights.get(role))));
            let object = words::object(kind, name);
            self.found.differences.push(Difference::of_fact(database, kind, object, &fact, before, after));
        }
    }

    /// What no dump brings along, and that has changed as it was said before.
    fn is_left_behind(
        &mut self,
        database: &str,
        kind: &str,
        name: &Name,
        fact: &str,
        values: [Option<&Value>; 2],
    ) -> bool {
        let what = match (kind, fact, values) {
            ("constraint", SWITCHED_OFF, [Some(_), None]) => {
                format!("that triggers of {} are switched off", words::object(kind, name))
            }
            ("extension", "owner", [Some(Value::String(owner)), Some(_)]) if owner != &self.before.user => {
                foreign_owner(name, owner).what
            }
            _ => return false,
        };
        self.found.left_behind.push(in_database(database, &what));
        true
    }

    /// Has the newer server read the texts that differ, and tells what it writes otherwise even so.
    fn resolve(&mut self, database: &str, doubts: Vec<Doubt>) -> Result<()> {
        if doubts.is_empty() {
            return Ok(());
        }
        let is_one_version = self.before.server_major == self.after.server_major;
        let Some(reader) = self.beside.reader else {
            match is_one_version {
                true => self.found.differences.extend(doubts.into_iter().map(|doubt| doubt.difference)),
                false => {
                    let what = format!(
                        "{} definitions that each version writes in its own way, because no server of \
                        the newer one was there to read them",
                        doubts.len()
                    );
                    self.found.not_looked_at.push(in_database(database, &what));
                }
            }
            return Ok(());
        };
        let asked: Vec<Definition> =
            doubts.iter().flat_map(|doubt| doubt.old.iter().chain(&doubt.now)).cloned().collect();
        let written = reader.written(database, &asked)?;
        let mut answers = written.into_iter();
        for doubt in doubts {
            let mut take = |count| answers.by_ref().take(count).collect::<Option<Vec<String>>>();
            let (old, now) = (take(doubt.old.len()), take(doubt.now.len()));
            if old.is_none() || old != now {
                self.found.differences.push(doubt.difference);
            }
        }
        Ok(())
    }
}

/// What goes with a table or schema that is gone is not told of each thing in it.
#[derive(Default)]
struct Gone {
    before: Parents,
    after: Parents,
}

#[derive(Default)]
struct Parents(BTreeSet<Vec<String>>);

impl Parents {
    /// Whether the object's parent is among them; if not, and it may be a parent, it is one from now on.
    fn takes(&mut self, kind: &str, name: &Name, facts: &Facts) -> bool {
        let schema = name.first().cloned().unwrap_or_default();
        let parent = match kind {
            "column" | "constraint" | "trigger" | "policy" | "rule" => name.get(..2).map(<[String]>::to_vec),
            "index" => facts.get("table").and_then(Value::as_str).map(|table| vec![schema.clone(), table.to_owned()]),
            "sequence" => owner_of_sequence(facts),
            _ => None,
        };
        let is_in_schema = has_schema(kind) && name.len() > 1 && self.0.contains(&vec![schema]);
        if is_in_schema || parent.is_some_and(|parent| self.0.contains(&parent)) {
            return true;
        }
        if FIRST.contains(&kind) {
            self.0.insert(name.clone());
        }
        false
    }
}

fn owner_of_sequence(facts: &Facts) -> Option<Vec<String>> {
    let parts = facts.get("owned by")?.as_array()?.iter().take(2);
    parts.map(|part| part.as_str().map(str::to_owned)).collect()
}

/// What a newer version has of its own accord.
fn is_versions_own(kind: &str, name: &Name, facts: &Facts) -> bool {
    let given = facts.get("given").and_then(Value::as_array);
    let is_public_read =
        given.is_some_and(|given| given.len() == 1 && given[0].as_str().is_some_and(|item| item.starts_with("=r/")));
    kind == "rights on a system object"
        && is_public_read
        && !facts.contains_key("taken")
        && name.get(1).is_some_and(|object| object.starts_with("information_schema."))
}

fn is_no_difference(kind: &str, fact: &str, before: Option<&Value>, after: Option<&Value>) -> bool {
    match (kind, fact) {
        // It may rise.
        ("extension", "version") => {
            let number = |value: Option<&Value>| {
                let text = value.and_then(Value::as_str).unwrap_or_default();
                text.split(|c: char| !c.is_ascii_digit())
                    .map(|part| part.parse::<u64>().unwrap_or(0))
                    .collect::<Vec<_>>()
            };
            number(after) >= number(before)
        }
        // Another version brings another one, and the old one stays.
        ("extension", "comment") => before.is_none(),
        _ => false,
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
