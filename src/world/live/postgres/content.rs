//! Looking at everything a cluster holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::Client;
use super::psql::Psql;
use super::rows::{self, Collected};
use super::{Clients, ready};
use crate::world::content::{Content, Counters, DatabaseContent, Statistics};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;
use crate::world::session::Purpose;
use crate::world::side_by_side::side_by_side;

/// Everything in the cluster, asked over the server's own socket: of each database in one session and one snapshot.
pub fn collect(clients: &Clients, server: &Server, counting: bool) -> Result<Content> {
    let begun = Instant::now();
    let (version, reachable) = ready::reach(clients, server)?;
    let client = Client::inside(clients, server);
    let cluster = Cluster::ask(&client, &reachable)?;
    let round = Round { client: &client, server_major: version.major, counting, begun };
    let databases = side_by_side(&cluster.databases, |_, name| round.database(name))?;
    Ok(Content {
        system_identifier: cluster.system_identifier,
        server_major: version.major,
        container: server.container.clone(),
        roles: cluster.roles,
        databases: cluster.databases.into_iter().zip(databases).collect(),
        from_file: false,
        is_counted: counting,
    })
}

/// What is not in one of the databases.
#[derive(Deserialize)]
struct Cluster {
    system_identifier: String,
    roles: BTreeMap<String, String>,
    databases: Vec<String>,
}

impl Cluster {
    fn ask(client: &Client<'_>, database: &str) -> Result<Self> {
        let row = rows::query(client, database, CLUSTER, &[])?.into_iter().next().unwrap_or_default();
        serde_json::from_value(row.into()).map_err(|e| unreadable(client, database, &e.to_string()))
    }
}

fn unreadable(client: &Client<'_>, database: &str, why: &str) -> Error {
    let message = format!("what psql in {} says of database {database:?} cannot be read: {why}", client.label);
    Error::failed("psql.failed", message)
}

/// The cluster's number, attributes, settings and memberships of every role of the site, and the databases that hold
/// something of the site: all but `template0`.
const CLUSTER: &str = r"
    SELECT
      (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
      (SELECT pg_catalog.json_object_agg(r.rolname,
           pg_catalog.concat_ws(' ', CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolinherit THEN 'inherit' END,
                     CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
                     CASE WHEN rolcanlogin THEN 'login' END, CASE WHEN rolreplication THEN 'replication' END,
                     CASE WHEN rolbypassrls THEN 'bypassrls' END, 'limit ' || rolconnlimit,
                     'until ' || coalesce(pg_catalog.to_json(rolvaliduntil AT TIME ZONE 'UTC')::text, 'ever'),
                     'settings ' || coalesce(rolconfig::text, '{}'),
                     'member of ' || coalesce((
                         SELECT pg_catalog.string_agg(g.rolname, ',' ORDER BY g.rolname)
                           FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
                          WHERE m.member = r.oid), '-')))
         FROM pg_catalog.pg_roles r WHERE r.rolname NOT LIKE 'pg\_%') AS roles,
      (SELECT pg_catalog.json_agg(datname ORDER BY datname) FROM pg_catalog.pg_database
        WHERE datname <> 'template0' AND datallowconn) AS databases";

/// Asked of each database. Facts, then a line for each table, then the counters: what psql prints is a JSON object a
/// line, its one key saying what it is. `\gexec` runs the statements that the query before it gives: a parent's rows
/// are those of `ONLY` itself, its partitions and children are tables of their own. Nothing of the site's runs in it:
/// names are those of pg_catalog, and counting the rows of a table calls no function.
const CONTENT: &str = r"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT pg_catalog.json_build_object('facts', pg_catalog.json_build_object(
    'sequences', (SELECT coalesce(pg_catalog.json_object_agg(pg_catalog.format('%I.%I', schemaname, sequencename),
                                                             coalesce(last_value::text, 'not called')), '{}')
                    FROM pg_catalog.pg_sequences WHERE schemaname NOT LIKE 'pg\_temp%'),
    'extensions', (SELECT coalesce(pg_catalog.json_object_agg(extname, extversion), '{}') FROM pg_catalog.pg_extension),
    'large_objects', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata)));
";

const COUNT: &str = r"SELECT pg_catalog.format(
           'SELECT pg_catalog.json_build_object(''table'', pg_catalog.json_build_array(%L, pg_catalog.count(*))) '
           'FROM %s%I.%I',
           pg_catalog.format('%I.%I', n.nspname, c.relname),
           CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname)";

const NAME: &str = r"SELECT pg_catalog.json_build_object(
           'table', pg_catalog.json_build_array(pg_catalog.format('%I.%I', n.nspname, c.relname), 0))";

const OF_TABLES: &str = r"
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
 ORDER BY n.nspname, c.relname";

/// A server that has crashed begins to count anew. From 15 on only the cluster's own counters say so.
const COUNTERS: &str = r"
SELECT pg_catalog.json_build_object('statistics', pg_catalog.json_build_object(
    'since', (SELECT CASE WHEN pg_catalog.current_setting('track_counts')::bool
                     THEN pg_catalog.concat_ws('/', coalesce(extract(epoch FROM d.stats_reset)::text, '-'),
                                               coalesce(extract(epoch FROM b.stats_reset)::text, '-')) ELSE '' END
                FROM pg_catalog.pg_stat_database d, pg_catalog.pg_stat_bgwriter b
               WHERE d.datname = pg_catalog.current_database()),
    'tables', (SELECT coalesce(pg_catalog.json_object_agg(pg_catalog.format('%I.%I', schemaname, relname),
                      pg_catalog.json_build_object('oid', relid::bigint, 'inserted', n_tup_ins,
                                                   'updated', n_tup_upd, 'deleted', n_tup_del)), '{}')
                 FROM pg_catalog.pg_stat_user_tables WHERE schemaname NOT LIKE 'pg\_%')));
COMMIT;
";

/// Until 14 a collector process took the counters and wrote them down, at most twice a second: what a session counted
/// that has ended by now is sure to be there after this time. From 15 on a session's counters are there when it ends.
const COLLECTOR: Duration = Duration::from_millis(600);

struct Round<'a> {
    client: &'a Client<'a>,
    server_major: u32,
    counting: bool,
    begun: Instant,
}

/// A line of the answer.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Facts { sequences: BTreeMap<String, String>, extensions: BTreeMap<String, String>, large_objects: u64 },
    Table(String, u64),
    Statistics { since: String, tables: BTreeMap<String, Counters> },
}

impl Round<'_> {
    fn database(&self, name: &str) -> Result<DatabaseContent> {
        let left = if self.server_major < 15 { COLLECTOR.saturating_sub(self.begun.elapsed()) } else { Duration::ZERO };
        let wait = match left.as_millis() {
            0 => String::new(),
            // While the tables are being counted the time passes anyway.
            left => format!(
                "SELECT pg_catalog.pg_sleep_until(pg_catalog.transaction_timestamp() + interval '{left} ms') \
                 \\g /dev/null\n"
            ),
        };
        let tables = match self.counting {
            true => format!("{COUNT}{OF_TABLES} \\gexec\n"),
            false => format!("{NAME}{OF_TABLES};\n"),
        };
        let script = format!("{CONTENT}{tables}{wait}{COUNTERS}");
        let mut answer = Collected::default();
        let session = Psql::new(self.client, name).any_text().purpose(Purpose::Reading);
        session.run(&mut script.as_bytes(), &mut answer)?;
        read(&rows::text_of(&answer.0)).map_err(|why| unreadable(self.client, name, &why))
    }
}

fn read(answer: &str) -> std::result::Result<DatabaseContent, String> {
    let mut content = DatabaseContent::default();
    let mut is_whole = false;
    for line in serde_json::Deserializer::from_str(answer).into_iter::<Line>() {
        match line.map_err(|e| e.to_string())? {
            Line::Facts { sequences, extensions, large_objects } => {
                content = DatabaseContent { sequences, extensions, large_objects, ..content };
            }
            Line::Table(name, rows) => drop(content.tables.insert(name, rows)),
            Line::Statistics { since, tables } => {
                content.statistics = Statistics { since, tables };
                is_whole = true;
            }
        }
    }
    if is_whole { Ok(content) } else { Err("its end is missing".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = concat!(
        r#"{"facts" : {"sequences" : { "public.s" : "3" }, "extensions" : {}, "large_objects" : 1}}"#,
        "\n",
        r#"{"table" : ["public.cases", 12]}"#,
        "\n",
        r#"{"statistics" : {"since" : "-/1", "tables" : "#,
        r#"{ "public.cases" : {"oid" : 16384, "inserted" : 12, "updated" : 1, "deleted" : 0} }}}"#,
        "\n",
    );

    #[test]
    fn the_answer_is_read_line_by_line() {
        let content = read(ANSWER).unwrap();
        assert_eq!(content.tables["public.cases"], 12);
        assert_eq!(content.sequences["public.s"], "3");
        assert_eq!((content.large_objects, content.statistics.tables["public.cases"].oid), (1, 16384));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_not_taken_for_less_content() {
        for end in [0, ANSWER.find("{\"table").unwrap(), ANSWER.find("{\"stat").unwrap(), ANSWER.len() - 3] {
            assert!(read(&ANSWER[..end]).is_err(), "{end}");
        }
    }
}
