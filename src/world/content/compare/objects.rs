//! What the catalogs tell of each object: whether it is there, and each fact of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::definition::{Definition, of_fact, rest_of_fact};
use super::super::difference::{Difference, MISSING};
use super::super::objects::{Facts, Name, Objects};
use super::super::uncarried::{SWITCHED_OFF, foreign_owner, has_schema, in_database, is, why_uncarried};
use super::super::{Level, words};
use super::Round;
use crate::world::error::Result;

/// Parents come before what is in them.
const FIRST: [&str; 3] = ["schema", "table", "view"];
/// Of the cluster's own files: a copy that follows has them otherwise.
const OF_FILES: [&str; 3] = ["setting", "client authentication", "user name map"];
/// What the closest level alone looks at.
const OF_CONTENT: &str = "content of large object";
/// What a server that nobody reaches yet has otherwise than the one that it stands for.
const HELD_OTHERWISE: [&str; 5] =
    ["archive_mode", "listen_addresses", "max_worker_processes", "port", "unix_socket_directories"];

/// A fact of which only the text differs.
struct Doubt {
    difference: Difference,
    old: Vec<Definition>,
    now: Vec<Definition>,
}

impl Round<'_> {
    /// All objects of a database, or of the cluster.
    pub(super) fn objects(
        &mut self,
        database: &str,
        old: &Objects,
        now: &Objects,
        made: Option<&Objects>,
    ) -> Result<()> {
        let mut kinds: BTreeSet<&str> = old.kinds().chain(now.kinds()).map(String::as_str).collect();
        let first: Vec<&str> = FIRST.into_iter().filter(|kind| kinds.remove(kind)).collect();
        let mut doubts = Vec::new();
        let mut gone = Gone::default();
        let level = self.found.level;
        let is_told = |kind: &&str| *kind != OF_CONTENT || level == Level::Content;
        let may_differ = |kind: &&str| !old.are_same(now, kind);
        for kind in first.into_iter().chain(kinds).filter(is_told).filter(may_differ) {
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
