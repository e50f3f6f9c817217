//! `psql::content` and what is done with it: comparing, keeping, finding what was written since.

use std::path::Path;
use std::sync::Arc;

use rhai::{Array, Dynamic, Map};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::call::Call;
use super::{Namespace, Registrar, ScriptResult, values};
use crate::event::Event;
use crate::script::evidence::Fact;
use crate::script::{guards, witness};
use crate::world::content::{self, Beside, Comparison, Content, Definition, Level, Reader};
use crate::world::postgres::Server;
use crate::world::{Error, Result};

/// Declares the handle type.
pub fn handle(registrar: &mut Registrar) {
    registrar.handle::<Content>("Content");
    let c = "Content";
    let doc = "The number initdb gave the cluster.";
    registrar.property::<Content>(c, "system_identifier", "string", doc, |c| c.system_identifier.clone().into());
    registrar
        .property::<Content>(c, "server_major", "int", "Major of the server.", |c| i64::from(c.server_major).into());
    let doc = "How closely it was looked at: files, counts or content.";
    registrar.property::<Content>(c, "level", "string", doc, |c| c.level.name().into());
    registrar.property::<Content>(c, "seconds", "float", "How long it took to look.", |c| c.seconds.into());
    registrar.property::<Content>(c, "tables", "int", "Tables in all databases.", |c| (c.tables() as i64).into());
    registrar.property::<Content>(c, "rows", "int", "Rows in all databases.", |c| (c.rows() as i64).into());
    let doc = "#{ tables, sequences, extensions, large_objects, statistics } by database; rows by table, last value by \
               sequence, version by extension.";
    registrar.property::<Content>(c, "databases", "Map", doc, |c| values::from_serde(&c.databases));
    let doc = "What kind of role each is (superuser, login …), by name.";
    registrar.property::<Content>(c, "roles", "Map", doc, |c| values::from_serde(&c.roles));
}

/// Declares the functions, in the namespace `psql`.
pub fn functions(ns: &mut Namespace<'_>) {
    ns.function(
        "content(server: Server, options: Map = #{}) -> Content",
        "Everything a cluster holds, each database in one snapshot: objects with definitions, owners, rights, roles, \
         settings, values of sequences, and the rows of each table. Reads only. Options: level, jobs. Levels: `files` \
         reads the catalogs alone, and does not grow with the data; `counts` counts rows as well; `content` (where \
         none is given) hashes all rows and large objects, which takes as long as a dump. jobs (2): sessions that read \
         a large database.",
        |call| {
            let s: Arc<Server> = call.get("server")?;
            let o = call.options("options", &["level", "jobs"])?;
            let level = match o.string("level")? {
                None => Level::Content,
                Some(name) => Level::named(&name).ok_or_else(|| bad_level(&name))?,
            };
            let jobs = usize::try_from(o.int("jobs")?.unwrap_or(2)).unwrap_or(1);
            Ok(values::handle(call.world().postgres.content(&s, level, jobs)?))
        },
    );
    ns.function(
        "compare(before: Content, after: Content, options: Map = #{}) -> Map",
        "What differs between what a cluster held and what another one holds. No differences are: extension versions \
         that rise, rows of materialized views, in which partition a row is, names and definitions that each version \
         writes in its own way (the newer server, where it runs, is given them to read, and nothing of that stays). \
         Gives #{ rows, differences, left_behind, made_by_image, not_looked_at, level, proven }: a row per database \
         with old and new numbers (database, tables, rows, sequences, extensions, large objects, roles); every \
         difference as #{ database, kind, object, fact, before, after, text }; in words what no dump and no pg_upgrade \
         brings along, what `made` has of its own, and what was not looked at; and whether it proves that nothing is \
         missing: there were tables to compare, nothing differs, rows were counted or the files are those of the other \
         cluster, and neither content is from a file. Options: made (content of the new cluster before anything was \
         brought into it), settings (content of the old server, where `before` is of a copy that follows it).\n\n\
         Errors: `compare.blind`: a change that was made to try the comparison is not found.",
        compare,
    );
    ns.function(
        "uncarried(content: Content) -> Array",
        "What of a cluster neither a dump nor pg_upgrade brings along, in words, with what to do about it: invalid \
         indexes, objects in the system's schemas, replication origins, triggers of constraints that are switched off, \
         owners of extensions.",
        |call| {
            let found = content::uncarried(&*call.get::<Arc<Content>>("content")?)?;
            Ok(texts(&found).into())
        },
    );
    ns.function(
        "written_since(server: Server, before: Content) -> Array",
        "What would be lost by going back to `before`: #{ database, table, before, now, inserted, updated, deleted } \
         for each table that has been written to since. `before` and `now` are exact rows, `()` where there is no such \
         table. The others are the server's own counters: rolled back rows count too, truncated ones do not count as \
         deleted, and a session that is still connected may be ten seconds behind. They are `()` when the server began \
         to count anew meanwhile (a crash, a reset, another cluster); a warning then names the databases in which \
         updates can't be seen.",
        written_since,
    );
    files(ns);
}

fn bad_level(name: &str) -> Error {
    Error::usage("psql.bad_value", format!("there is no level {name:?}")).hint(Level::NAMES.join(", "))
}

/// Has definitions read by the server that a content is of.
struct ReadBy<'a> {
    call: &'a Call<'a>,
    server: Server,
}

impl Reader for ReadBy<'_> {
    fn written(&self, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>> {
        self.call.world().postgres.written(&self.server, database, definitions)
    }
}

/// The server of a content, where it runs and the content was taken of it.
fn server_of(call: &Call<'_>, content: &Content) -> Option<Server> {
    let container = call.world().containers.container(&content.container).ok()?;
    let is_it = container.is_running() && !content.from_file && !content.user.is_empty();
    is_it.then(|| Server::of(&container, Some(content.user.clone())))
}

fn compare(call: &mut Call<'_>) -> ScriptResult {
    let (before, after): (Arc<Content>, Arc<Content>) = (call.get("before")?, call.get("after")?);
    let options = call.options("options", &["made", "settings"])?;
    let beside_of = |name: &str| options.value(name).and_then(|value| value.try_cast::<Arc<Content>>());
    let (made, settings) = (beside_of("made"), beside_of("settings"));
    let newer = if after.server_major >= before.server_major { &after } else { &before };
    let reader = server_of(call, newer).map(|server| ReadBy { call, server });
    let reader = reader.as_ref().map(|reader| reader as &dyn Reader);
    let beside = Beside { made: made.as_deref(), settings: settings.as_deref(), reader };
    let found = content::compare(&before, &after, beside)?;
    let proven = prove(call, &before, &after, &found)?;
    let rows = found.rows.iter().map(|row| row.iter().cloned().map(Dynamic::from).collect::<Array>().into());
    let differences = found.differences.iter().map(|difference| {
        let mut map: Map = values::from_serde(difference).cast();
        map.insert("text".into(), difference.to_string().into());
        Dynamic::from(map)
    });
    let result = Map::from([
        ("rows".into(), rows.collect::<Array>().into()),
        ("differences".into(), differences.collect::<Array>().into()),
        ("left_behind".into(), texts(&found.left_behind).into()),
        ("made_by_image".into(), texts(&found.made_by_image).into()),
        ("not_looked_at".into(), texts(&found.not_looked_at).into()),
        ("level".into(), found.level.name().into()),
        ("proven".into(), proven.into()),
    ]);
    Ok(result.into())
}

fn texts(texts: &[String]) -> Array {
    texts.iter().cloned().map(Dynamic::from).collect()
}

/// States what a comparison that found nothing proves.
fn prove(call: &Call<'_>, before: &Content, after: &Content, found: &Comparison) -> Result<bool> {
    let is_other = before.system_identifier != after.system_identifier;
    if found.is_equal() && is_other {
        witness::remember(call.session, &call.world().containers.container(&after.container)?)?;
    }
    let is_told = found.level >= Level::Counts
        || call.session.evidence.ask(|l| l.is_upgrade_of(&after.container, &before.system_identifier));
    let proven = found.is_equal() && is_told && !before.from_file && !after.from_file;
    // One cluster is always equal to itself.
    if proven && is_other {
        call.session.prove(Fact::Compared {
            system_identifier: before.system_identifier.clone(),
            after: after.container.clone(),
            tables: before.tables(),
            rows: before.rows(),
        })?;
    }
    Ok(proven)
}

fn written_since(call: &mut Call<'_>) -> ScriptResult {
    let (s, before): (Arc<Server>, Arc<Content>) = (call.get("server")?, call.get("before")?);
    let written = content::written_since(&before, &call.world().postgres.content(&s, Level::Counts, 2)?);
    if !written.uncounted.is_empty() {
        let text = format!(
            "{} has counted anew since, or is another cluster: rows that were only updated can't be seen in {}",
            s.container_name,
            written.uncounted.join(", ")
        );
        call.session.emit(Event::Warn { text });
    }
    Ok(values::from_serde(&written.tables))
}

fn files(ns: &mut Namespace<'_>) {
    ns.effect(
        "save_content(content: Content, path: string, options: Map = #{})",
        "Keeps a cluster's content as a private JSON file for a later procedure. Options: overwrite.\n\n\
         Errors: `host.exists`.",
        |call| {
            let (content, path): (Arc<Content>, _) = (call.get("content")?, call.path("path")?);
            let overwrite = call.options("options", &["overwrite"])?.bool("overwrite")?.unwrap_or(false);
            let sha256 = checksum(&keep(call, &path, &*content, overwrite)?);
            // One from a file proves nothing, in another file neither.
            if !content.from_file {
                call.session.prove(Fact::ContentSaved { path: guards::absolute(&path), sha256 })?;
            }
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "load_content(path: string) -> Content",
        "What `psql::save_content` kept. It can be compared, but a file proves nothing to the guards.\n\n\
         Errors: `host.not_json`.",
        |call| {
            let path = call.path("path")?;
            let content = content_of(&call.world().host.read(&path)?, &path)?;
            Ok(values::handle(Content { from_file: true, ..content }))
        },
    );
}

/// What a file holds that `psql::save_content` has written.
pub fn content_of(json: &[u8], path: &Path) -> Result<Content> {
    let bad = |e| Error::failed("host.not_json", format!("{} is not the content of a cluster: {e}", path.display()));
    serde_json::from_slice(json).map_err(bad)
}

/// By which such a file is known again.
pub fn checksum(json: &[u8]) -> String {
    Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a private JSON file; gives what it holds.
pub fn keep(call: &mut Call<'_>, path: &Path, value: &impl Serialize, overwrite: bool) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::failed("host.not_json", format!("{}: {e}", path.display())))?;
    let lost = if overwrite { guards::artefact_loss(call.session, path)? } else { Vec::new() };
    call.effect(format!("write {}", path.display()))?;
    guards::lose(call.session, &lost)?;
    call.world().host.write(path, &json, overwrite)?;
    Ok(json)
}
