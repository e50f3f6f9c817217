//! What a running server says of its cluster, as a simulated one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::world::World;
use crate::world::container::Container;
use crate::world::content::{Content, Level};
use crate::world::control::STATES;
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Row, Server, own_password};
use crate::world::secret::Secret;
use crate::world::sim::cluster::{Cluster, Database, Password, Role, Table};

/// A cluster as its server tells of it.
pub struct Look {
    pub cluster: Cluster,
    /// As the server sees it.
    pub directory: String,
    /// As whom it was asked.
    pub user: String,
    /// Database to connect to where none is named.
    pub database: String,
    /// Addresses that somebody is connected from.
    pub clients: BTreeSet<String>,
    /// Extensions that can be created.
    pub extensions: BTreeSet<String>,
    /// Names of files in its directory that its settings name.
    pub files: BTreeSet<String>,
}

const ROLES: &str = "SELECT rolname::text AS name, oid = 10 AS is_first, rolsuper AS is_superuser,
    rolcanlogin AS can_login, CASE WHEN rolpassword IS NULL THEN 'none' WHEN rolpassword LIKE 'md5%' THEN 'md5'
    ELSE 'scram' END AS kept_as FROM pg_catalog.pg_authid WHERE rolname NOT LIKE 'pg\\_%'";
const SIZES: &str = "SELECT datname::text AS name, pg_catalog.pg_database_size(oid)::bigint AS bytes
    FROM pg_catalog.pg_database WHERE datallowconn";
const LOG: &str = "SELECT coalesce(pg_catalog.sum(size), 0)::bigint AS bytes FROM pg_catalog.pg_ls_waldir()";
const SETTINGS: &str = "SELECT name, setting AS value FROM pg_catalog.pg_file_settings
    WHERE error IS NULL AND applied ORDER BY seqno";
const RULES: &str = "SELECT pg_catalog.concat_ws(' ', type, pg_catalog.array_to_string(database, ','),
    pg_catalog.array_to_string(user_name, ','),
    CASE address WHEN '0.0.0.0' THEN 'all' ELSE address END, auth_method) AS rule
    FROM pg_catalog.pg_hba_file_rules WHERE error IS NULL ORDER BY line_number";
const SLOTS: &str = "SELECT slot_name::text AS slot_name FROM pg_catalog.pg_replication_slots";
const CLIENTS: &str = "SELECT pid, application_name, coalesce(pg_catalog.host(client_addr), 'local socket') AS client
    FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'";
const EXTENSIONS: &str = "SELECT name::text AS name FROM pg_catalog.pg_available_extensions";
const FILES: &str = "SELECT DISTINCT CASE WHEN setting LIKE '/%'
    THEN pg_catalog.substr(setting, pg_catalog.length(directory) + 2) ELSE setting END AS name
    FROM pg_catalog.pg_settings, pg_catalog.current_setting('data_directory') AS directory
    WHERE name IN ('hba_file', 'ident_file', 'ssl_cert_file', 'ssl_key_file', 'ssl_ca_file', 'ssl_crl_file',
    'ssl_dh_params_file', 'krb_server_keyfile') AND setting <> '' AND
    (setting NOT LIKE '/%' OR setting LIKE directory || '/%') AND
    (pg_catalog.pg_stat_file(setting, true)).size IS NOT NULL";
const SELF: &str = "SELECT current_setting('data_directory') AS directory, current_setting('data_checksums') AS sums";

/// What initdb and the images write into `postgresql.conf` of each new cluster, whatever the value, and what they write
/// with this value.
const WRITTEN: [&str; 9] = [
    "datestyle",
    "default_text_search_config",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_timezone",
    "port",
    "timezone",
];
const WRITTEN_SO: [(&str, &str); 6] = [
    ("dynamic_shared_memory_type", "posix"),
    ("listen_addresses", "*"),
    ("max_connections", "100"),
    ("max_wal_size", "1GB"),
    ("min_wal_size", "80MB"),
    ("shared_buffers", "128MB"),
];

/// Asks the server in a container; as its own superuser, or as the first of `names` that is one.
///
/// Errors: those of the server; `postgres.not_superuser` where none is known.
pub fn look(world: &World, container: &Container, names: &BTreeSet<String>) -> Result<Look> {
    let own = Server::of(container, None);
    match of_server(world, &own) {
        Err(error) if ["postgres.not_superuser", "psql.failed"].contains(&error.code.as_str()) => {
            let is_role = |name: &&String| name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let others = names.iter().filter(is_role).map(|name| Server::of(container, Some(name.clone())));
            others.filter_map(|server| of_server(world, &server).ok()).next().ok_or(error)
        }
        looked => looked,
    }
}

fn of_server(world: &World, server: &Server) -> Result<Look> {
    let ask = |sql: &str| world.postgres.query(server, ANY_DATABASE, sql, &[]);
    let about = ask(SELF)?.into_iter().next().unwrap_or_default();
    let content = world.postgres.content(server, Level::Files, 1)?;
    let number = content.system_identifier.parse().map_err(|_| unreadable(server, "its system identifier"))?;
    let roles = ask(ROLES)?;
    let first = roles.iter().find(|role| role.get("is_first") == Some(&Value::Bool(true)));
    let first = first.map_or_else(|| server.user.clone(), |role| text(role, "name"));
    let password = own_password(&*world.containers, server)?;
    let mut cluster = Cluster::new(number, content.server_major, &first);
    cluster.control.state = STATES[6].into();
    cluster.checksums = text(&about, "sums") == "on";
    cluster.roles = roles.iter().map(|row| role(row, server, password.as_ref())).collect();
    cluster.settings = ask(SETTINGS)?.iter().map(|row| (text(row, "name"), text(row, "value"))).collect();
    cluster.settings.retain(|name, value| !is_usual(name, value));
    let rules: Vec<_> = ask(RULES)?.iter().map(|row| text(row, "rule")).collect();
    cluster.take_file("pg_hba.conf", &rules.join("\n"));
    cluster.slots = ask(SLOTS)?.iter().map(|row| (text(row, "slot_name"), 0)).collect();
    cluster.log_bytes = ask(LOG)?.first().map_or(0, |row| number_of(row, "bytes"));
    let sizes: BTreeMap<_, _> = ask(SIZES)?.iter().map(|row| (text(row, "name"), number_of(row, "bytes"))).collect();
    cluster.databases = databases(&content, &sizes, &first)?;
    let clients = ask(CLIENTS)?.iter().map(|row| text(row, "client")).collect();
    let extensions = ask(EXTENSIONS)?.iter().map(|row| text(row, "name")).collect();
    let files = ask(FILES)?.iter().map(|row| text(row, "name")).collect();
    let directory = text(&about, "directory");
    Ok(Look {
        cluster,
        directory,
        files,
        user: server.user.clone(),
        database: server.database.clone(),
        clients,
        extensions,
    })
}

fn unreadable(server: &Server, what: &str) -> Error {
    Error::failed("plan.unreadable", format!("{what} of {} can't be read", server.container_name))
        .hint("nothing was changed; is it a server of PostgreSQL 12 or newer?")
}

fn is_usual(name: &str, value: &str) -> bool {
    let name = name.to_lowercase();
    WRITTEN.contains(&name.as_str()) || WRITTEN_SO.contains(&(name.as_str(), value))
}

/// Which password a role has is known of the image's own alone; it is nobody else's.
fn role(row: &Row, server: &Server, own: Option<&Secret>) -> (String, Role) {
    let name = text(row, "name");
    let known = own.filter(|_| name == server.user).map_or("", Secret::reveal).to_owned();
    let password = match text(row, "kept_as").as_str() {
        "md5" => Some(Password::Md5(known)),
        "scram" => Some(Password::Scram(known)),
        _ => None,
    };
    let is = |field: &str| row.get(field) == Some(&Value::Bool(true));
    (name, Role { is_superuser: is("is_superuser"), can_login: is("can_login"), password })
}

fn databases(content: &Content, sizes: &BTreeMap<String, u64>, first: &str) -> Result<BTreeMap<String, Database>> {
    let facts = content.objects.of("database")?;
    let owner =
        |name: &String| facts.get(&vec![name.clone()]).and_then(|facts| Some(facts.get("owner")?.as_str()?.to_owned()));
    let mut found = BTreeMap::new();
    for (name, held) in &content.databases {
        let mut database = Database {
            sequences: held.sequences.iter().map(|(name, last)| (name.clone(), last.parse().unwrap_or(0))).collect(),
            extensions: held.extensions.clone(),
            large_objects: held.large_objects,
            owner: owner(name).filter(|owner| owner != first).unwrap_or_default(),
            ..Database::default()
        };
        let unlogged = unlogged(held)?;
        for table in held.tables.keys() {
            let is_unlogged = unlogged.contains(table);
            database.tables.insert(table.clone(), Table { is_unlogged, ..Table::default() });
        }
        database.more_bytes = sizes.get(name).copied().unwrap_or(0).saturating_sub(database.bytes());
        found.insert(name.clone(), database);
    }
    Ok(found)
}

/// Names of unlogged tables, as far as they need no quotes.
fn unlogged(held: &crate::world::content::DatabaseContent) -> Result<BTreeSet<String>> {
    let tables = held.objects.of("table")?;
    let is_unlogged = tables.into_iter().filter(|(_, facts)| facts.get("persistence") == Some(&"unlogged".into()));
    Ok(is_unlogged.map(|(name, _)| name.join(".")).collect())
}

fn text(row: &Row, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number_of(row: &Row, field: &str) -> u64 {
    row.get(field).and_then(Value::as_u64).unwrap_or(0)
}
