//! `psql::content` and what is done with it: comparing, keeping, finding what was written since.

use std::path::Path;

use rhai::{Array, Dynamic, Map};
use serde::Serialize;

use super::call::Call;
use super::{Namespace, Registrar, ScriptResult, booted, values};
use crate::event::Event;
use crate::script::evidence::Fact;
use crate::script::{guards, witness};
use crate::world::content::{self, Content};
use crate::world::postgres::Server;
use crate::world::{Error, Result};

/// Declares the handle type.
pub fn handle(registrar: &mut Registrar<'_>) {
    registrar.handle::<Content>("Content");
    let c = "Content";
    let doc = "The number initdb gave the cluster.";
    registrar.property::<Content>(c, "system_identifier", "string", doc, |c| c.system_identifier.clone().into());
    registrar
        .property::<Content>(c, "server_major", "int", "Major of the server.", |c| i64::from(c.server_major).into());
    registrar.property::<Content>(c, "tables", "int", "Tables in all databases.", |c| (c.tables() as i64).into());
    registrar.property::<Content>(c, "rows", "int", "Rows in all databases.", |c| (c.rows() as i64).into());
    let doc = "#{ tables, sequences, extensions, large_objects, statistics } by database; rows by table, last value by \
               sequence, version by extension.";
    registrar.property::<Content>(c, "databases", "Map", doc, |c| values::from_serde(&c.databases));
    let doc = "Attributes, settings and memberships by role.";
    registrar.property::<Content>(c, "roles", "Map", doc, |c| values::from_serde(&c.roles));
}

/// Declares the functions, in the namespace `psql`.
pub fn functions(ns: &mut Namespace<'_, '_>) {
    ns.function(
        "content(server: Server, options: Map = #{}) -> Content",
        "Everything a cluster holds: roles, and per database the exact rows of each table, sequences, extensions and \
         large objects. Reads only; on large tables it takes as long as counting takes. Options: rows (`false`: only \
         the names of tables; that proves something of a cluster whose very files are known to be those of the other \
         one).",
        |call| {
            let s: Server = call.get("server")?;
            let counting = call.options("options", &["rows"])?.bool("rows")?.unwrap_or(true);
            Ok(Dynamic::from(call.world().postgres.content(&s, counting)?))
        },
    );
    ns.function(
        "compare(before: Content, after: Content) -> Map",
        "Whether a cluster holds all that another held. Extension versions may rise, and what only `after` has is no \
         loss. Gives #{ rows, differences, proven }: a row per database with old and new numbers (database, tables, \
         rows, sequences, extensions, large objects, roles); every difference in words; and whether that proves that \
         nothing is missing: there were tables to compare, nothing differs, rows were counted or the files are those \
         of the other cluster, and neither content is from a file.",
        compare,
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

fn compare(call: &mut Call<'_>) -> ScriptResult {
    let (before, after): (Content, Content) = (call.get("before")?, call.get("after")?);
    let found = content::compare(&before, &after);
    let is_other = before.system_identifier != after.system_identifier;
    if found.is_equal() && is_other {
        witness::remember(call.session, &call.world().containers.container(&after.container)?)?;
    }
    let is_told = before.is_counted && after.is_counted
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
    let rows = found.rows.iter().map(|row| row.iter().cloned().map(Dynamic::from).collect::<Array>().into());
    let result = Map::from([
        ("rows".into(), rows.collect::<Array>().into()),
        ("differences".into(), found.differences.iter().cloned().map(Dynamic::from).collect::<Array>().into()),
        ("proven".into(), proven.into()),
    ]);
    Ok(result.into())
}

fn written_since(call: &mut Call<'_>) -> ScriptResult {
    let (s, before): (Server, Content) = (call.get("server")?, call.get("before")?);
    let written = content::written_since(&before, &call.world().postgres.content(&s, true)?);
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

fn files(ns: &mut Namespace<'_, '_>) {
    ns.effect(
        "save_content(content: Content, path: string, options: Map = #{})",
        "Keeps a cluster's content as a private JSON file for a later procedure. Options: overwrite.\n\n\
         Errors: `host.exists`.",
        |call| {
            let (content, path): (Content, _) = (call.get("content")?, call.path("path")?);
            let overwrite = call.options("options", &["overwrite"])?.bool("overwrite")?.unwrap_or(false);
            keep(call, &path, &content, overwrite)?;
            booted::note_saved(call, &content, &path)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "load_content(path: string) -> Content",
        "What `psql::save_content` kept. It can be compared, but a file proves nothing to the guards.\n\n\
         Errors: `host.not_json`.",
        |call| {
            let path = call.path("path")?;
            let content: Content = serde_json::from_slice(&call.world().host.read(&path)?).map_err(|e| {
                Error::failed("host.not_json", format!("{} is not the content of a cluster: {e}", path.display()))
            })?;
            Ok(Dynamic::from(Content { from_file: true, ..content }))
        },
    );
}

/// Writes a private JSON file.
pub fn keep(call: &mut Call<'_>, path: &Path, value: &impl Serialize, overwrite: bool) -> Result<()> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::failed("host.not_json", format!("{}: {e}", path.display())))?;
    let lost = if overwrite { guards::artefact_loss(call.session, path)? } else { Vec::new() };
    call.effect(format!("write {}", path.display()))?;
    guards::lose(call.session, &lost)?;
    call.world().host.write(path, &json, overwrite)
}
