//! The databases of a cluster: which there are, who is connected, and making room for a restore.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::client::{Call, Client};
use super::roles::binding;
use super::{Clients, rows};
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Server};

/// A row of `pg_database`.
#[derive(Clone, Debug)]
pub struct Database {
    pub name: String,
    pub connectable: bool,
    /// Size on disk.
    pub bytes: u64,
    pub encoding: String,
}

impl Database {
    /// Whether every cluster has it from the beginning.
    pub fn is_standard(&self) -> bool {
        is_standard(&self.name)
    }

    /// A program that dumps it: in its own encoding.
    pub fn dumping(&self, argv: &[&str]) -> Call<'_> {
        Call::new(argv, Some(&self.name)).encoding(&self.encoding)
    }
}

/// Whether every cluster has a database of that name from the beginning.
pub fn is_standard(name: &str) -> bool {
    matches!(name, "postgres" | "template1")
}

/// All databases but `template0`.
pub fn list(clients: &Clients, server: &Server) -> Result<Vec<Database>> {
    // -2 marks what a DROP DATABASE that was cut off has left: it can only be dropped.
    let sql = "SELECT datname AS name, datallowconn AND datconnlimit <> -2 AS connectable,
                      coalesce(pg_catalog.pg_database_size(oid), 0) AS bytes,
                      pg_catalog.pg_encoding_to_char(encoding) AS encoding
               FROM pg_catalog.pg_database WHERE datname <> 'template0' ORDER BY datname";
    let rows = rows::query(&Client::inside(clients, server), ANY_DATABASE, sql, &[])?;
    Ok(rows
        .iter()
        .map(|row| Database {
            name: text(row, "name"),
            connectable: row.get("connectable").and_then(Value::as_bool).unwrap_or(false),
            bytes: row.get("bytes").and_then(Value::as_u64).unwrap_or(0),
            encoding: text(row, "encoding"),
        })
        .collect())
}

/// Those to dump: `wanted`, or all. One that cannot be connected to cannot be dumped, and is an error, never a gap.
pub fn to_dump(clients: &Clients, server: &Server, wanted: &[String]) -> Result<Vec<Database>> {
    let mut databases = list(clients, server)?;
    if let Some(missing) = wanted.iter().find(|name| databases.iter().all(|database| database.name != **name)) {
        return Err(Error::failed("dump.failed", format!("{} has no database {missing:?}", server.container_name)));
    }
    databases.retain(|database| wanted.is_empty() || wanted.contains(&database.name));
    if let Some(closed) = databases.iter().find(|database| !database.connectable) {
        let message = format!("database {:?} allows no connections, so it cannot be dumped", closed.name);
        let hint = format!(
            "ALTER DATABASE \"{}\" ALLOW_CONNECTIONS true, or drop it, or name the databases to dump",
            closed.name
        );
        return Err(Error::failed("dump.incomplete", message).hint(hint));
    }
    Ok(databases)
}

/// The number that initdb gave the cluster.
pub fn system_identifier(clients: &Clients, server: &Server) -> Result<String> {
    let sql = "SELECT system_identifier::text AS identifier FROM pg_catalog.pg_control_system()";
    let rows = rows::query(&Client::inside(clients, server), ANY_DATABASE, sql, &[])?;
    Ok(rows.first().map(|row| text(row, "identifier")).unwrap_or_default())
}

/// Names of the roles and of the tablespaces that there are.
pub fn roles_and_tablespaces(clients: &Clients, server: &Server, database: &str) -> Result<(Vec<String>, Vec<String>)> {
    let sql = "SELECT 'role' AS kind, rolname AS name FROM pg_catalog.pg_roles
               UNION ALL SELECT 'tablespace', spcname FROM pg_catalog.pg_tablespace";
    let rows = rows::query(&Client::inside(clients, server), database, sql, &[])?;
    let of = |kind: &str| rows.iter().filter(|row| text(row, "kind") == kind).map(|row| text(row, "name")).collect();
    Ok((of("role"), of("tablespace")))
}

/// Refuses while anyone else is connected. Our own last session may need a moment to go.
pub fn require_alone(clients: &Clients, server: &Server) -> Result<()> {
    let sql = "SELECT pid::text, coalesce(application_name, '') AS application,
                      coalesce(client_addr::text, 'local') AS client,
                      coalesce(datname, '') AS database, coalesce(usename, '') AS role
               FROM pg_catalog.pg_stat_activity
               WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_catalog.pg_backend_pid()
               ORDER BY backend_start";
    let begun = Instant::now();
    loop {
        let rows = rows::query(&Client::inside(clients, server), ANY_DATABASE, sql, &[])?;
        if rows.is_empty() {
            return Ok(());
        }
        let ours = rows.iter().all(|row| text(row, "application") == "pgscript");
        if begun.elapsed() > Duration::from_millis(if ours { 5000 } else { 300 }) {
            return Err(sessions_connected(server, &rows));
        }
        std::thread::sleep(Duration::from_millis(100));
        clients.context.cancel.check()?;
    }
}

fn sessions_connected(server: &Server, rows: &[Map<String, Value>]) -> Error {
    let sessions: Vec<String> = rows
        .iter()
        .map(|row| {
            let of = |name| text(row, name);
            let (pid, application, role) = (of("pid"), of("application"), of("role"));
            format!("pid {pid}, {application:?}, role {role} from {} in database {}", of("client"), of("database"))
        })
        .collect();
    let message = format!("others are connected to {}: {}", server.container_name, sessions.join("; "));
    Error::refused("restore.sessions_connected", message)
        .hint("stop what they belong to; whoever writes during a restore loses data")
}

/// A database to be connected to while `except` is dropped or created.
pub fn maintenance(databases: &[Database], except: &str) -> Result<String> {
    let usable = |name: &str| name != except && databases.iter().any(|d| d.connectable && d.name == name);
    let usual = ["template1", "postgres"].into_iter().find(|name| usable(name)).map(str::to_owned);
    usual.or_else(|| databases.iter().map(|d| d.name.clone()).find(|name| usable(name))).ok_or_else(|| {
        let message = format!("there is no database but {except:?} to be connected to");
        Error::failed("restore.unexpected_error", message).hint("create a database postgres")
    })
}

/// Drops a database, a template too. Background workers in it (pg_cron's) are ended, clients are not.
pub fn drop(clients: &Clients, server: &Server, maintenance: &str, name: &str) -> Result<()> {
    // ALTER DATABASE refuses one that an earlier DROP has left half gone.
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
               WHERE datname = :'name' AND backend_type NOT IN ('client backend', 'walsender');
               UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = :'name';
               DROP DATABASE :\"name\";";
    rows::execute(&Client::inside(clients, server), maintenance, sql, &[binding("name", name)]).map(|_| ()).map_err(
        |error| {
            let message = format!("database {name:?} of {} cannot be replaced: {error}", server.container_name);
            Error { message, ..error }
        },
    )
}

/// Whether a database holds anything that initdb did not put there.
pub fn has_user_objects(clients: &Clients, server: &Server, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384)
               OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid >= 16384)
               OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE oid >= 16384)
               OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_')
               OR EXISTS (SELECT FROM pg_catalog.pg_extension WHERE oid >= 16384)
               OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
               OR EXISTS (SELECT FROM pg_catalog.pg_cast WHERE oid >= 16384)
               OR EXISTS (SELECT FROM pg_catalog.pg_collation WHERE oid >= 16384)
               AS found";
    let rows = rows::query(&Client::inside(clients, server), name, sql, &[])?;
    Ok(rows.first().and_then(|row| row.get("found")?.as_bool()).unwrap_or(true))
}

/// A fresh `postgres` or `template1`, as initdb makes it.
pub fn recreate_standard(clients: &Clients, server: &Server, maintenance: &str, name: &str, there: bool) -> Result<()> {
    if there {
        drop(clients, server, maintenance, name)?;
    }
    let (comment, template) = match name {
        "template1" => ("default template for new databases", "true"),
        _ => ("default administrative connection database", "false"),
    };
    let sql = "CREATE DATABASE :\"name\" TEMPLATE template0 IS_TEMPLATE :template;
               COMMENT ON DATABASE :\"name\" IS :'comment';";
    let bindings = [binding("name", name), binding("comment", comment), binding("template", template)];
    rows::execute(&Client::inside(clients, server), maintenance, sql, &bindings).map(|_| ())
}

pub fn text(row: &Map<String, Value>, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
