//! Simulated PostgreSQL servers: they answer where their containers run, by what their clusters are like.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::bulk::wait;
use super::cluster::{Auth, Cluster, Database, Password};
use super::sql::{self, words};
use super::state::Container;
use super::{Beyond, Context, State, contents, dump, restore};
use crate::world::content::{Content, Definition, Level};
use crate::world::error::{Error, Result};
use crate::world::postgres::*;
use crate::world::secret::Secret;
use crate::world::writes::{DatabaseCounts, WriteCounts};

/// How often somebody who waits looks, in milliseconds.
const INTERVAL: u64 = 200;

/// The [`Postgres`] of the simulated world.
pub struct Servers {
    context: Context,
}

impl Servers {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// Looks at the server's cluster from a database.
    fn look<T>(&self, server: &Server, database: &str, look: impl FnOnce(&State, &str) -> Result<T>) -> Result<T> {
        self.context.cancel.check()?;
        self.context.sim.read(|state| {
            let database = state.reach(server, database)?;
            look(state, &database)
        })
    }

    /// Changes something from a database.
    fn change<T>(
        &self,
        verb: &str,
        server: &Server,
        database: &str,
        change: impl FnOnce(&mut State, &str) -> Result<T>,
    ) -> Result<T> {
        self.context.cancel.check()?;
        self.context.sim.act(&format!("{verb} {}", server.container_name), |state| {
            let database = state.reach(server, database)?;
            change(state, &database)
        })
    }
}

impl State {
    /// The container whose server speaks to this role, and its cluster.
    ///
    /// Errors: `docker.not_found`, `docker.conflict` for a container that does not run, `psql.failed` where nobody
    /// listens or there is no such role, `postgres.not_superuser`.
    pub fn serving(&self, server: &Server) -> Result<(&Container, &Cluster)> {
        let name = &server.container_name;
        let action = format!("cannot run a command in container {name}");
        let missing =
            || Error::failed("docker.not_found", format!("{action}: No such container: {}", server.container));
        let container = self.container(&server.container).ok_or_else(missing)?;
        if container.state != "running" {
            let message = format!("{action}: Container {} is not running", container.id);
            return Err(Error::failed("docker.conflict", message));
        }
        let cluster = self.cluster(&container.id).filter(|cluster| !cluster.is_damaged && self.runs_server(container));
        let cluster = cluster.ok_or_else(|| {
            let message = "error: connection to server failed: Connection refused\nIs the server running there?";
            Error::failed("psql.failed", message)
        })?;
        match cluster.roles.get(&server.user) {
            None => Err(Error::failed("psql.failed", format!("FATAL: role \"{}\" does not exist", server.user))),
            Some(role) if !role.is_superuser => Err(no_superuser(server, cluster)),
            Some(_) => Ok((container, cluster)),
        }
    }

    /// The database to work in: that one, or, where none is named, the server's own or one that stands in for it.
    ///
    /// Errors: as [`State::serving`], and `psql.failed` where there is no such database.
    pub fn reach(&self, server: &Server, database: &str) -> Result<String> {
        let (_, cluster) = self.serving(server)?;
        let is_any = database == ANY_DATABASE;
        let wished = if is_any { server.database.as_str() } else { database };
        let others: &[&str] = if is_any && !server.is_database_chosen { &["postgres", "template1"] } else { &[] };
        let mut names = [wished].into_iter().chain(others.iter().copied());
        let found = names.find(|name| cluster.databases.contains_key(*name)).map(str::to_owned);
        found.ok_or_else(|| Error::failed("psql.failed", format!("FATAL: database \"{wished}\" does not exist")))
    }
}

fn no_superuser(server: &Server, cluster: &Cluster) -> Error {
    let others = cluster.roles.iter().filter(|(_, role)| role.is_superuser && role.can_login);
    let others: Vec<_> = others.map(|(name, _)| name.as_str()).collect();
    let message = format!(
        "role {} is no superuser of {}, and pgscript must read all of the cluster, which only a superuser may",
        server.user, server.container_name
    );
    let known = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    Error::refused("postgres.not_superuser", message).hint(format!("name a superuser{known}: --set user=ROLE"))
}

/// How far a server has got: its version, or why it does not answer yet.
fn attempt(state: &State, server: &Server) -> Result<Result<ServerVersion, String>> {
    let name = &server.container_name;
    let missing = || Error::failed("docker.not_found", format!("No such container: {}", server.container));
    let container = state.container(&server.container).ok_or_else(missing)?;
    match container.state.as_str() {
        "running" => {}
        "created" | "restarting" | "paused" => return Ok(Err(format!("its container is {}", container.state))),
        _ => {
            let log = log_tail(container);
            let message = format!("{name} ended with exit code {} before it was ready{log}", container.exit_code);
            let error = Error::failed("postgres.not_ready", message);
            return Err(match log.contains("database files are incompatible with server") {
                true => error.hint("the volume holds the data of another major version than the image's"),
                false => error,
            });
        }
    }
    match state.serving(server) {
        Ok((_, cluster)) => {
            let text = state.server_version(&server.container).unwrap_or_default();
            Ok(Ok(ServerVersion { major: cluster.major, text }))
        }
        Err(error) if error.code == "postgres.not_superuser" => Err(error),
        Err(error) => Ok(Err(error.message)),
    }
}

fn log_tail(container: &Container) -> String {
    let from = container.log.len().saturating_sub(20);
    match container.log.get(from..) {
        Some(lines) if !lines.is_empty() => format!("\nthe last lines of its log:\n{}", lines.join("\n")),
        _ => String::new(),
    }
}

/// Rows of one question.
fn rows(state: &State, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<Row>> {
    let verb = words::question(sql).split(' ').next().unwrap_or_default().to_uppercase();
    match verb.as_str() {
        "SELECT" | "VALUES" | "TABLE" | "WITH" => {}
        "INSERT" | "UPDATE" | "DELETE" | "CREATE" | "DROP" | "ALTER" | "TRUNCATE" => {
            let message = format!("cannot execute {verb} in a read-only transaction");
            return Err(sql::failed("25006", message)
                .hint("a query only reads; use psql::execute in a step to change something"));
        }
        _ => {
            let hint = "a query is one SELECT, VALUES, TABLE or WITH … SELECT; instead of SHOW x, SELECT \
                        current_setting('x')";
            return Err(sql::failed("42601", format!("syntax error at or near \"{verb}\"")).hint(hint));
        }
    }
    let answer = sql::answer(state, &server.container, database, sql, bindings);
    answer.unwrap_or_else(|| Err(sql::unknown(sql)))
}

impl Postgres for Servers {
    fn wait_ready(&self, server: &Server, timeout: Duration) -> Result<ServerVersion> {
        let now = || self.context.sim.read(|state| Ok(state.now));
        let begun = now()?;
        loop {
            let stage = match self.context.sim.read(|state| attempt(state, server))? {
                Ok(version) => return Ok(version),
                Err(stage) => stage,
            };
            if now()? - begun >= timeout.as_millis() as u64 {
                let seconds = timeout.as_secs();
                let log = |state: &State| Ok(state.container(&server.container).map(log_tail).unwrap_or_default());
                let log = self.context.sim.read(log)?;
                let message = format!("{} is not ready after {seconds} s: {stage}{log}", server.container_name);
                return Err(Error::failed("postgres.not_ready", message));
            }
            wait(&self.context, INTERVAL)?;
        }
    }

    fn query(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<Row>> {
        let answer = self.look(server, database, |state, database| rows(state, server, database, sql, bindings));
        let question = || sql::without_schema(&sql::text(sql, bindings));
        let asks = |beyond: &Arc<dyn Beyond>| match &answer {
            Ok(_) => beyond.knows_better(&question()),
            Err(error) => error.code == sql::UNKNOWN,
        };
        let beyond = self.context.sim.beyond().filter(asks);
        beyond.and_then(|beyond| beyond.query(&server.container, database, sql, bindings)).unwrap_or(answer)
    }

    fn execute(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<String>> {
        self.change("execute in", server, database, |state, database| {
            sql::execute(state, &server.container, database, sql, bindings)
        })
    }

    fn execute_all(&self, server: &Server, items: &[Statements], _jobs: usize) -> Result<()> {
        items.iter().try_for_each(|item| self.execute(server, &item.database, &item.sql, &[]).map(|_| ()))
    }

    fn script(
        &self,
        server: &Server,
        database: &str,
        script: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        let mut text = String::new();
        script.read_to_string(&mut text).map_err(|e| Error::io("read", "the script", &e))?;
        for statement in words::statements(&text) {
            let is_question = statement.text.starts_with("SELECT") && !statement.is_gexec;
            let answer = match is_question {
                true => self.query(server, database, &statement.text, &[]),
                false => Ok(Vec::new()),
            };
            match answer {
                Ok(rows) if is_question => print(output, &rows)?,
                // A function with an effect is no question.
                _ => _ = self.execute(server, database, &as_script(&statement), &[])?,
            }
        }
        Ok(())
    }

    fn terminal(&self, server: &Server, database: &str) -> Result<i64> {
        self.look(server, database, |_, _| {
            let message = format!("there is no terminal for psql in {}", server.container_name);
            Err(Error::usage("ui.no_terminal", message))
        })
    }

    fn content(&self, server: &Server, level: Level, _jobs: usize) -> Result<Content> {
        let content = self.look(server, ANY_DATABASE, |state, _| {
            let (container, cluster) = state.serving(server)?;
            contents::look(state, &container.id, cluster, &server.user, level)
        })?;
        wait(&self.context, (content.seconds * 1000.0) as u64)?;
        Ok(content)
    }

    fn written(&self, server: &Server, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>> {
        let as_it_is = |definition: &Definition| match definition {
            Definition::Query(sql)
            | Definition::Expression { sql, .. }
            | Definition::Condition { sql, .. }
            | Definition::Rule { sql, .. }
            | Definition::Function { sql, .. }
            | Definition::Domain { sql, .. }
            | Definition::PartitionKey { sql, .. } => Some(sql.clone()),
        };
        self.look(server, database, |_, _| Ok(definitions.iter().map(as_it_is).collect()))
    }

    fn write_counts(&self, server: &Server) -> Result<WriteCounts> {
        self.look(server, ANY_DATABASE, |state, _| Ok(counts(state.serving(server)?.1, state.now)))
    }

    fn dump(&self, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
        dump::cluster(&self.context, server, path, options)
    }

    fn dump_globals(&self, server: &Server, path: &Path, client_image: Option<&str>) -> Result<()> {
        dump::globals(&self.context, server, path, client_image)
    }

    fn dump_database(
        &self,
        server: &Server,
        database: &str,
        path: &Path,
        format: &str,
        client_image: Option<&str>,
    ) -> Result<()> {
        dump::database(&self.context, server, database, path, format, client_image)
    }

    fn open_dump(&self, path: &Path) -> Result<Dump> {
        self.context.sim.read(|state| dump::open(state, path))
    }

    fn verify_dump(&self, dump: &Dump, client_image: Option<&str>) -> Result<()> {
        dump::verify(&self.context, dump, client_image)
    }

    fn restore(&self, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport> {
        restore::restore(&self.context, dump, server, options)
    }

    fn transfer(&self, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport> {
        restore::transfer(&self.context, source, target, options)
    }

    fn untaken(&self, source: &Server, target: &Server, client_image: &str) -> Result<Vec<Untaken>> {
        self.context.sim.read(|state| {
            state.serving(source)?;
            state.serving(target)?;
            dump::client_major(state, source, Some(client_image))?;
            let told = state.answers.iter().filter(|answer| answer.sql == UNTAKEN).flat_map(|answer| &answer.rows);
            let untaken = |row: &Row| serde_json::from_value(json!(row));
            told.map(untaken).collect::<Result<_, _>>().map_err(|e| {
                Error::failed("psql.failed", format!("what the server is told not to take can't be read: {e}"))
            })
        })
    }

    fn set_password(&self, server: &Server, role: &str, password: &Secret) -> Result<()> {
        if password.reveal().is_empty() || password.reveal().contains('\0') {
            let message = format!("the password of {role} is empty or has a NUL character");
            return Err(Error::usage("psql.bad_value", message));
        }
        self.change("set password in", server, ANY_DATABASE, |state, _| {
            let missing = || sql::failed("42704", format!("role \"{role}\" does not exist"));
            state.note_write(&server.container);
            let cluster = state.cluster_mut(&server.container).ok_or_else(missing)?;
            if cluster.follows.is_some() {
                return Err(sql::failed("25006", "cannot execute ALTER ROLE in a read-only transaction"));
            }
            let found = cluster.roles.get_mut(role).ok_or_else(missing)?;
            found.password = Some(Password::Scram(password.reveal().to_owned()));
            cluster.advance();
            Ok(())
        })
    }

    fn login(&self, server: &Server, role: &str, password: &Secret, database: &str) -> Result<()> {
        self.context.sim.read(|state| {
            let (container, cluster) = state.serving(server)?;
            let address = container.networks.iter().map(|place| place.ip.as_str()).find(|ip| !ip.is_empty());
            let address = address.ok_or_else(|| {
                let message =
                    format!("{} has no address of its own in a network, so a login proves nothing", container.name);
                Error::failed("postgres.no_address", message).hint("connect the container to a network first")
            })?;
            let said = match refusal(cluster, role, password.reveal(), database) {
                None => return Ok(()),
                Some(said) => said,
            };
            let message = format!("{role} cannot log in to {} by {address}: FATAL: {said}", container.name);
            let is_md5_only = said.contains("SCRAM secret");
            let hint = match is_md5_only {
                true => format!(
                    "{role} has an md5 password hash, which a scram-sha-256 rule refuses: set the password anew \
                     (psql::set_password)"
                ),
                false => "check the role, its password, the database and the rules in pg_hba.conf".into(),
            };
            Err(Error::failed("postgres.login_refused", message).hint(hint))
        })
    }
}

/// What an answer is told for that says what a server does not take, see [`Postgres::untaken`].
const UNTAKEN: &str = "untaken";

/// What the server says to a login over the network; `None` where it lets the role in.
fn refusal(cluster: &Cluster, role: &str, password: &str, database: &str) -> Option<String> {
    let wrong = || Some(format!("password authentication failed for user \"{role}\""));
    let Some(found) = cluster.roles.get(role) else { return wrong() };
    match (&found.password, cluster.auth) {
        (_, Auth::Trust) => {}
        (Some(Password::Md5(_)), Auth::Scram) => {
            let said = format!("{}\nUser \"{role}\" does not have a valid SCRAM secret.", wrong().unwrap_or_default());
            return Some(said);
        }
        (Some(kept), _) if kept.is(password) => {}
        _ => return wrong(),
    }
    if !found.can_login {
        return Some(format!("role \"{role}\" is not permitted to log in"));
    }
    let is_there = cluster.databases.contains_key(database);
    (!is_there).then(|| format!("database \"{database}\" does not exist"))
}

fn counts(cluster: &Cluster, now: u64) -> WriteCounts {
    let count = |number: usize| [number as u64, 0, 0];
    let shared = [("pg_catalog.pg_authid", cluster.roles.len()), ("pg_catalog.pg_database", cluster.databases.len())];
    let of_database = |(name, database): (&String, &Database)| {
        let relations = database.tables.iter().map(|(table, held)| (table.clone(), [held.inserted, 0, 0]));
        let sequences = database.sequences.iter().map(|(sequence, last)| {
            let told = if *last == 0 { "not called".into() } else { last.to_string() };
            (sequence.clone(), told)
        });
        let (relations, sequences) = (relations.collect(), sequences.collect());
        (name.clone(), DatabaseCounts { since: contents::since(database), relations, sequences })
    };
    WriteCounts {
        system_identifier: cluster.system_identifier.to_string(),
        next_xid: cluster.next_xid,
        at: now / 1000,
        prepared: Vec::new(),
        shared: shared.map(|(name, number)| (name.to_owned(), count(number))).into(),
        databases: cluster.databases.iter().map(of_database).collect(),
    }
}

/// As psql prints rows without alignment.
fn print(output: &mut (dyn Write + Send), rows: &[Row]) -> Result<()> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for row in rows {
        let line = row.values().map(text).collect::<Vec<_>>().join("|");
        writeln!(output, "{line}").map_err(|e| Error::io("write", "the output", &e))?;
    }
    Ok(())
}

fn as_script(statement: &words::Statement) -> String {
    format!("{}{}", statement.text, if statement.is_gexec { " \\gexec\n" } else { ";" })
}

#[cfg(test)]
mod tests;
