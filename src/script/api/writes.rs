//! `psql::save_write_counts` and `psql::writes_since`: whether somebody has written to a server that is held.

use std::sync::Arc;

use rhai::{Array, Dynamic, Map};

use super::call::Call;
use super::{Namespace, ScriptResult, content};
use crate::world::Error;
use crate::world::postgres::Server;
use crate::world::writes::{self, WriteCounts};

/// Declares the functions, in the namespace `psql`.
pub fn functions(ns: &mut Namespace<'_>) {
    ns.effect(
        "save_write_counts(server: Server, path: string, options: Map = #{}) -> Map",
        "Keeps in a private JSON file what the server has counted of writes to each table, catalog and sequence, for \
         `psql::writes_since`; gives #{ next_xid, at }. Options: overwrite.\n\nErrors: `host.exists`.",
        |call| {
            let (s, path): (Arc<Server>, _) = (call.get("server")?, call.path("path")?);
            let overwrite = call.options("options", &["overwrite"])?.bool("overwrite")?.unwrap_or(false);
            let counts = call.world().postgres.write_counts(&s)?;
            content::keep(call, &path, &counts, overwrite)?;
            Ok(described(&counts).into())
        },
    );
    ns.function(
        "writes_since(server: Server, path: string) -> Map",
        "What was written since `psql::save_write_counts`, over whatever way: #{ written, uncounted, next_xid, at }. \
         `written` has each table, catalog, sequence or prepared transaction in words; not the planner's statistics, \
         which the server writes for itself. `uncounted` names databases of which it can't be told: their counters \
         were reset or lost meanwhile. `at` is the moment of this look by the server's clock, in seconds since 1970. \
         As long as `next_xid` is the \"NextXID\" of pg_controldata, nothing was written since this look.\n\n\
         Errors: `host.not_json`.",
        writes_since,
    );
}

fn described(counts: &WriteCounts) -> Map {
    Map::from([("next_xid".into(), (counts.next_xid as i64).into()), ("at".into(), (counts.at as i64).into())])
}

fn writes_since(call: &mut Call<'_>) -> ScriptResult {
    let (s, path): (Arc<Server>, _) = (call.get("server")?, call.path("path")?);
    let before: WriteCounts = serde_json::from_slice(&call.world().host.read(&path)?).map_err(|e| {
        Error::failed("host.not_json", format!("{} does not hold a server's counts of writes: {e}", path.display()))
    })?;
    let now = call.world().postgres.write_counts(&s)?;
    let writes = writes::writes_between(&before, &now);
    let list = |texts: Vec<String>| Dynamic::from(texts.into_iter().map(Dynamic::from).collect::<Array>());
    let mut answer = described(&now);
    answer.insert("written".into(), list(writes.written));
    answer.insert("uncounted".into(), list(writes.uncounted));
    Ok(answer.into())
}
