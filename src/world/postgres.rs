//! A PostgreSQL server in a container: questions, statements, dumps, restores.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{Container, ContainerEngine, ExecSpec};
use super::content::{Content, Definition, Level};
use super::error::{Error, Result};
use super::secret::Secret;
use super::writes::WriteCounts;

/// Where a server is and as whom to speak to it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Full id of the container the server runs in.
    pub container: String,
    pub container_name: String,
    /// A superuser role; the official image's `POSTGRES_USER`.
    pub user: String,
    /// Where `pg_hba.conf` asks for one, on the local socket too; goes by environment, never argv. `None`: the one that
    /// the image was given, see [`own_password`].
    pub password: Option<Secret>,
    /// Database to connect to when none is named.
    pub database: String,
    /// Whether somebody chose that database: then it is this one or none. What the image was given once may have been
    /// renamed or dropped since; then another one serves.
    pub is_database_chosen: bool,
}

/// No database's name: the server's own database, or another one where that is gone. For what may be asked in any.
pub const ANY_DATABASE: &str = "";

impl Server {
    /// The server that the official image starts in a container: the role of its `POSTGRES_USER` unless `user` says
    /// otherwise, and the database of its `POSTGRES_DB`, else the one that is called as the role.
    pub fn of(container: &Container, user: Option<String>) -> Self {
        let set = |name| container.variable(name).map(str::to_owned);
        let user = user.or_else(|| set("POSTGRES_USER")).unwrap_or_else(|| "postgres".into());
        Self {
            container: container.id.clone(),
            container_name: container.name.clone(),
            database: set("POSTGRES_DB").unwrap_or_else(|| user.clone()),
            user,
            password: None,
            is_database_chosen: false,
        }
    }
}

/// A setting of the official image: the variable itself, or the text of the file that `NAME_FILE` names, which only a
/// running container shows. `None` where neither is set, or can be read.
pub fn image_setting(engine: &dyn ContainerEngine, container: &Container, name: &str) -> Result<Option<String>> {
    if let Some(value) = container.variable(name) {
        return Ok(Some(value.to_owned()));
    }
    let Some(path) = container.variable(&format!("{name}_FILE")).filter(|_| container.is_running()) else {
        return Ok(None);
    };
    let spec = ExecSpec { argv: vec!["cat".into(), path.to_owned()], user: Some("0".into()), ..ExecSpec::default() };
    let read = engine.exec_output(&container.id, &spec)?;
    let text = String::from_utf8_lossy(&read.stdout).trim_end_matches('\n').to_owned();
    Ok((read.exit_code == 0).then_some(text))
}

/// The password of the role that the image has made, where that is whom the server is spoken to as.
pub fn own_password(engine: &dyn ContainerEngine, server: &Server) -> Result<Option<Secret>> {
    let container = engine.container(&server.container)?;
    let role = image_setting(engine, &container, "POSTGRES_USER")?;
    if role.as_deref().unwrap_or("postgres") != server.user {
        return Ok(None);
    }
    Ok(image_setting(engine, &container, "POSTGRES_PASSWORD")?.map(Secret::new))
}

/// A server's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerVersion {
    /// `17`
    pub major: u32,
    /// `17.6 (Debian 17.6-0+deb13u1)`
    pub text: String,
}

/// Statements for one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    pub database: String,
    pub sql: String,
}

/// One value bound to a psql variable: use it as `:'name'` (literal) or `:"name"` (identifier).
#[derive(Clone, Debug)]
pub struct Binding {
    pub name: String,
    pub value: String,
}

/// How a dump is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Globals as SQL and one directory dump per database, in parallel.
    Directory,
    /// One plain SQL stream, as `pg_dumpall` writes it (zstd-compressed when the path ends in `.zst`).
    Plain,
}

/// What to dump and with what.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    pub format: Format,
    /// Image whose client programs are used, at least as new as the source; the server's own when `None`.
    pub client_image: Option<String>,
    /// Parallel jobs per database (directory format).
    pub jobs: u32,
    /// As `pg_dump --compress` takes it; a fast one the client knows when `None`.
    pub compress: Option<String>,
    /// Only these databases; all that allow connections when empty.
    pub databases: Vec<String>,
    /// Whether an older dump of the same cluster at the same path gives way; it stays until the new one is whole.
    pub replace: bool,
}

/// One database in a dump.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DumpedDatabase {
    pub name: String,
    /// Entry in the dump's directory, relative; empty in plain format.
    pub path: String,
    /// Entries of its table of contents; 0 in plain format.
    pub entries: u64,
    /// Tables with data.
    pub tables: u64,
}

/// A dump on disk, complete and checked. `<path>/dump.json` or `<path>.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    pub path: PathBuf,
    /// Number of the cluster it is of; empty when nobody wrote it down (a dump made elsewhere).
    #[serde(default)]
    pub system_identifier: String,
    pub format: Format,
    /// Major of the server it was taken from, and of the client that wrote it.
    pub server_major: u32,
    pub client_major: u32,
    pub superuser: String,
    pub databases: Vec<DumpedDatabase>,
    pub bytes: u64,
    /// Checksum of each file, relative path first.
    pub files: Vec<(String, String)>,
    pub created_at: String,
}

/// A dump that holds tables is not replaced by one that holds none.
///
/// Errors: `dump.empty_cluster`.
pub fn require_tables(old: Option<&Dump>, new: &Dump, server: &Server) -> Result<()> {
    let tables = |dump: &Dump| dump.databases.iter().map(|database| database.tables).sum::<u64>();
    let Some(old) = old.filter(|old| tables(old) > 0 && tables(new) == 0) else { return Ok(()) };
    let message = format!(
        "{} holds no table, the dump {} of {} holds {}: it is not replaced",
        server.container_name,
        old.path.display(),
        old.created_at,
        tables(old)
    );
    let hint = "look why the cluster is empty (another volume?); if it is meant to be, take another name";
    Err(Error::refused("dump.empty_cluster", message).hint(hint))
}

#[derive(Clone, Debug)]
pub struct RestoreOptions {
    pub client_image: Option<String>,
    pub jobs: u32,
}

/// An error of the restore that the closed list knows, and why it is no loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedError {
    pub sqlstate: String,
    pub message: String,
    pub reason: String,
}

/// Something of a schema that a server does not take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untaken {
    /// Empty for roles and what else is not in one database.
    pub database: String,
    /// As a dump's table of contents calls it, with its owner: `VIEW five_factorial primero`.
    pub object: String,
    /// What the server says.
    pub message: String,
    pub hint: String,
    /// Of what gives a right, the statement that failed.
    pub statement: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RestoreReport {
    pub databases: Vec<String>,
    pub expected: Vec<ExpectedError>,
}

/// A row: values by the names of their columns.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// Speaks to servers through the client programs of a container: no psqlrc, and but for [`Postgres::terminal`] no
/// terminal and `ON_ERROR_STOP`. Where a database is asked for, [`ANY_DATABASE`] may be given.
///
/// Codes: `postgres.not_ready`, `postgres.login_refused`, `postgres.not_superuser`, `psql.failed` (message has the
/// server's error and SQLSTATE), `dump.exists`, `dump.other_cluster`, `dump.empty_cluster`, `dump.failed`,
/// `dump.incomplete`, `dump.damaged`, `restore.unexpected_error`, `restore.sessions_connected`, `restore.target_older`,
/// `postgres.client_too_old`, `postgres.no_client` (the program is not in the image), `postgres.no_address` (a login
/// would prove nothing), `psql.bad_value`, `host.disk_full`.
pub trait Postgres: Send + Sync {
    /// Waits until the server answers over TCP, so that the image's temporary init server does not count.
    fn wait_ready(&self, server: &Server, timeout: Duration) -> Result<ServerVersion>;

    /// Rows of a single SELECT (or VALUES, TABLE, WITH … SELECT) as JSON objects, column order kept. The transaction is
    /// read-only. Every column needs a name of its own; a numeric with more digits than a double needs a cast to text.
    fn query(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<Row>>;

    /// Statements one after another; stops at the first error. Gives the command tags (`UPDATE 3`); rows are dropped,
    /// and a SELECT gives no tag.
    fn execute(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<String>>;

    /// The rows of one SELECT in each of these databases, in their order.
    fn query_all(&self, server: &Server, databases: &[String], sql: &str) -> Result<Vec<Vec<Row>>> {
        databases.iter().map(|database| self.query(server, database, sql, &[])).collect()
    }

    /// Each item's statements in a session of their own, up to `jobs` items at once. After an error nothing new is
    /// begun.
    fn execute_all(&self, server: &Server, items: &[Statements], jobs: usize) -> Result<()>;

    /// A psql script as a stream, of any size; its output goes to `output`. Stops at the first error.
    fn script(
        &self,
        server: &Server,
        database: &str,
        script: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<()>;

    /// psql on this process's own terminal, for a person: with the settings of server and role and without a psqlrc;
    /// see [`ContainerEngine::terminal`](super::container::ContainerEngine::terminal). Gives its exit code.
    fn terminal(&self, server: &Server, database: &str) -> Result<i64>;

    /// Everything the cluster holds, as closely as `level` says. Reads only, each database in one snapshot; a large one
    /// by `jobs` sessions.
    fn content(&self, server: &Server, level: Level, jobs: usize) -> Result<Content>;

    /// How the server writes SQL text that it is given to read; `None` for what it can't read. Nothing of it stays.
    fn written(&self, server: &Server, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>>;

    /// What the server has counted of writes, in all databases that can be connected to, except `template0`.
    fn write_counts(&self, server: &Server) -> Result<WriteCounts>;

    /// The whole cluster into a new file or directory (0600/0700); whole and checked, or an error and no file. With
    /// `replace` into the place of an older dump, but neither of another cluster's nor, when the new one would hold no
    /// table, of one that does.
    fn dump(&self, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump>;

    /// Only roles, memberships, settings and tablespaces, as SQL, into a new file (0600).
    fn dump_globals(&self, server: &Server, path: &Path, client_image: Option<&str>) -> Result<()>;

    /// One database into a new file, in pg_dump's own `plain` or `custom` format, or a directory.
    fn dump_database(
        &self,
        server: &Server,
        database: &str,
        path: &Path,
        format: &str,
        client_image: Option<&str>,
    ) -> Result<()>;

    /// Reads a dump's record; for a plain file without one, looks at the file itself.
    fn open_dump(&self, path: &Path) -> Result<Dump>;

    /// Reads the dump to its end: checksums, trailer, CR and NUL damage, every data member. Without an image a
    /// directory dump is held against its checksums only, which were taken when every member had been read.
    fn verify_dump(&self, dump: &Dump, client_image: Option<&str>) -> Result<()>;

    /// Restores into a cluster in which nobody is connected. Databases that the dump holds and the cluster has
    /// are replaced. Errors not on the closed list stop at once.
    fn restore(&self, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport>;

    /// `source` straight into `target`, database by database, without a file.
    fn transfer(&self, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport>;

    /// What a throw-away server does not take of the roles and schemas of another; without rows. `client_image` has
    /// the pg_dump.
    fn untaken(&self, source: &Server, target: &Server, client_image: &str) -> Result<Vec<Untaken>>;

    /// Sets a role's password from a SCRAM verifier computed here; the clear text never enters SQL.
    fn set_password(&self, server: &Server, role: &str, password: &Secret) -> Result<()>;

    /// A real login over TCP by the container's own network address, where `pg_hba.conf` asks for the password.
    fn login(&self, server: &Server, role: &str, password: &Secret, database: &str) -> Result<()>;
}
