//! Asking a server what it has counted of writes.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::Client;
use super::{Clients, ready, rows};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;
use crate::world::writes::WriteCounts;

/// The counters of the whole cluster, asked over the server's own socket.
pub fn count(clients: &Clients, server: &Server) -> Result<WriteCounts> {
    let (version, reachable) = ready::reach(clients, server)?;
    let client = Client::inside(clients, server);
    if version.major < 15 {
        // A collector process takes the counters of sessions that have ended by now.
        rows::query(&client, &reachable, COLLECTED, &[])?;
    }
    let cluster: Cluster = read(&client, &reachable, rows::query(&client, &reachable, CLUSTER, &[])?)?;
    let of_database = |name: String| {
        let rows = rows::query(&client, &name, DATABASE, &[])?;
        read(&client, &name, rows).map(|counts| (name, counts))
    };
    let databases = cluster.names.into_iter().map(of_database).collect::<Result<_>>()?;
    Ok(WriteCounts { databases, ..cluster.counts })
}

#[derive(Deserialize)]
struct Cluster {
    names: Vec<String>,
    #[serde(flatten)]
    counts: WriteCounts,
}

fn read<T: for<'de> Deserialize<'de>>(client: &Client<'_>, database: &str, rows: Vec<Map<String, Value>>) -> Result<T> {
    let row = rows.into_iter().next().unwrap_or_default();
    serde_json::from_value(row.into()).map_err(|e| {
        let message = format!("what psql in {} says of writes in {database:?} cannot be read: {e}", client.label);
        Error::failed("psql.failed", message)
    })
}

const COLLECTED: &str = "SELECT pg_sleep(0.6) IS NULL AS waited";

const CLUSTER: &str = r"
    SELECT
      (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
      txid_snapshot_xmax(txid_current_snapshot()) AS next_xid,
      floor(extract(epoch FROM clock_timestamp()))::bigint AS at,
      (SELECT coalesce(json_agg(gid ORDER BY gid), '[]') FROM pg_prepared_xacts) AS prepared,
      (SELECT coalesce(json_object_agg(format('%I.%I', s.schemaname, s.relname),
                                       json_build_array(n_tup_ins, n_tup_upd, n_tup_del)), '{}')
         FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid
        WHERE c.relisshared AND s.schemaname <> 'pg_toast') AS shared,
      '{}'::json AS databases,
      (SELECT json_agg(datname ORDER BY datname) FROM pg_database
        WHERE datname <> 'template0' AND datallowconn AND datconnlimit <> -2) AS names";

/// What a table has out of line is in the table's own counters as well.
const DATABASE: &str = r"
    SELECT
      (SELECT CASE WHEN current_setting('track_counts')::bool
                   THEN concat_ws('/', coalesce(extract(epoch FROM d.stats_reset)::text, '-'),
                                       coalesce(extract(epoch FROM b.stats_reset)::text, '-')) ELSE '' END
         FROM pg_stat_database d, pg_stat_bgwriter b WHERE d.datname = current_database()) AS since,
      (SELECT coalesce(json_object_agg(format('%I.%I', s.schemaname, s.relname),
                                       json_build_array(n_tup_ins, n_tup_upd, n_tup_del)), '{}')
         FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid
        WHERE NOT c.relisshared AND c.relpersistence <> 't' AND s.schemaname <> 'pg_toast') AS relations,
      (SELECT coalesce(json_object_agg(format('%I.%I', schemaname, sequencename),
                                       coalesce(last_value::text, 'not called')), '{}')
         FROM pg_sequences WHERE schemaname NOT LIKE 'pg\_temp%') AS sequences";
