//! What a running server says of its cluster.

use super::Clusters;
use crate::world::cluster::ClusterFacts;
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Server};

/// Which columns `pg_database` has for a database's locale differs between majors: the row is taken as a whole.
const FACTS: &str = r"
    SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
           (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
           pg_catalog.current_setting('data_directory') AS data_directory,
           pg_catalog.current_setting('port')::int AS port,
           (SELECT rolname FROM pg_catalog.pg_authid WHERE oid = 10) AS bootstrap_user,
           pg_catalog.current_setting('data_checksums')::bool AS data_checksums,
           (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS wal_segment_size,
           (SELECT pg_catalog.json_object_agg(name, setting) FROM pg_catalog.pg_settings
             WHERE name IN ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
                            'max_locks_per_transaction')) AS at_least,
           (SELECT pg_catalog.to_jsonb(d) || pg_catalog.jsonb_build_object(
                       'encoding', pg_catalog.pg_encoding_to_char(d.encoding))
              FROM pg_catalog.pg_database d WHERE datname = 'template0') AS template,
           (SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::bigint FROM pg_catalog.pg_database) AS bytes";

pub fn ask(clusters: &Clusters, server: &Server) -> Result<ClusterFacts> {
    let row = clusters.postgres.query(server, ANY_DATABASE, FACTS, &[])?.into_iter().next().unwrap_or_default();
    serde_json::from_value(row.into()).map_err(|e| {
        let message = format!("what {} says of its cluster cannot be read: {e}", server.container_name);
        Error::failed("psql.failed", message)
    })
}
