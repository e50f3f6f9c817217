//! `psql::` questions and statements to a PostgreSQL server in a container.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic, Map};

use super::call::{Call, Options};
use super::{Namespace, Registrar, ScriptResult, booted, content, values, writes};
use crate::event::Event;
use crate::script::witness;
use crate::world::container::Container;
use crate::world::postgres::{ANY_DATABASE, Binding, Row, Server, Statements, image_setting};
use crate::world::{Error, Result, Secret};

/// Declares the handle type and functions.
pub fn register(registrar: &mut Registrar) {
    registrar.handle::<Server>("Server");
    let s = "Server";
    registrar.property::<Server>(s, "container", "string", "Id of its container.", |s| s.container.clone().into());
    registrar.property::<Server>(s, "container_name", "string", "Name of its container.", |s| {
        s.container_name.clone().into()
    });
    registrar.property::<Server>(s, "user", "string", "Superuser role.", |s| s.user.clone().into());
    registrar.property::<Server>(s, "database", "string", "Database used when none is named.", |s| {
        s.database.clone().into()
    });
    content::handle(registrar);
    registrar.namespace("psql", "Questions and statements to a PostgreSQL server in a container.", |ns| {
        server(ns);
        questions(ns);
        content::functions(ns);
        writes::functions(ns);
        booted::of_server(ns);
        statements(ns);
        passwords(ns);
    });
}

fn server(ns: &mut Namespace<'_>) {
    ns.function(
        "server(container: Container, options: Map = #{}) -> Server",
        "The server in a container. Options: user (the container's POSTGRES_USER, else `postgres`), database \
         (POSTGRES_DB, else the user's name), password (where pg_hba.conf asks for one on the local socket, too; the \
         container's POSTGRES_PASSWORD when left out). Variables may be given by files (`POSTGRES_USER_FILE`). Where \
         the database of POSTGRES_DB was renamed or dropped since, what names none is done in another.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let o = call.options("options", &["user", "database", "password"])?;
            let told = |name: &str| image_setting(&*call.world().containers, &c, name);
            let user = match o.string("user")? {
                None => told("POSTGRES_USER")?,
                given => given,
            };
            let mut server = Server::of(&c, user);
            if let (None, Some(database)) = (c.variable("POSTGRES_DB"), told("POSTGRES_DB")?) {
                server.database = database;
            }
            server.password = o.secret("password")?;
            server.password.iter().for_each(|p| call.world().redactor.learn(p));
            if let Some(database) = o.string("database")? {
                (server.database, server.is_database_chosen) = (database, true);
            }
            Ok(values::handle(server))
        },
    );
    ns.function(
        "wait_ready(server: Server, options: Map = #{}) -> Map",
        "Waits until the server answers over TCP, so that the image's temporary init server does not count; gives up \
         after `timeout` seconds (120). Gives #{ major, text }.\n\nErrors: `postgres.not_ready` with the log's end, \
         `postgres.login_refused`, `postgres.not_superuser`.",
        |call| {
            let s: Arc<Server> = call.get("server")?;
            let timeout = call.options("options", &["timeout"])?.seconds("timeout")?;
            let version = call.world().postgres.wait_ready(&s, timeout.unwrap_or(Duration::from_secs(120)))?;
            Ok(values::from_serde(&version))
        },
    );
}

const QUERY: &[&str] = &["database", "values"];

fn questions(ns: &mut Namespace<'_>) {
    ns.function(
        "query(server: Server, sql: string, options: Map = #{}) -> Array",
        "The rows of one SELECT as maps. Options: database, values (a map; use `:'name'` for a literal and `:\"name\"` \
         for an identifier in the SQL; values are bound by psql, never pasted). Names without a schema are those of \
         pg_catalog: write `public.cases`. Roles, timeouts and styles that are set for the user, the database or the \
         cluster do not apply; times are in UTC.\n\nErrors: `psql.failed`.",
        |call| Ok(rows(call)?.into_iter().map(|r| values::from_object(r).into()).collect::<Array>().into()),
    );
    ns.function(
        "query_all(server: Server, databases: Array, sql: string) -> Array",
        "The rows of one SELECT in each of these databases, which are asked one after another: maps as those of \
         `psql::query`, with `database` in each.\n\nErrors: `psql.failed`.",
        query_all,
    );
    ns.function(
        "value(server: Server, sql: string, options: Map = #{}) -> any",
        "The one value of a SELECT with one row and one column; `()` for NULL. Options as in `psql::query`.\n\n\
         Errors: `psql.not_one_value`.",
        |call| {
            let mut rows = rows(call)?;
            let row = if rows.len() == 1 { rows.pop() } else { None };
            let only = row.filter(|r| r.len() == 1).and_then(|r| r.into_iter().next());
            let not_one = || Error::failed("psql.not_one_value", "the query does not give one row with one column");
            Ok(values::from_json(only.ok_or_else(not_one)?.1))
        },
    );
}

fn rows(call: &Call<'_>) -> Result<Vec<Row>> {
    let (s, sql): (Arc<Server>, _) = (call.get("server")?, call.string("sql")?);
    let (database, bindings) = target(&call.options("options", QUERY)?)?;
    call.world().postgres.query(&s, &database, &sql, &bindings)
}

fn query_all(call: &mut Call<'_>) -> ScriptResult {
    let (server, databases): (Arc<Server>, _) = (call.get("server")?, call.strings("databases")?);
    let found = call.world().postgres.query_all(&server, &databases, &call.string("sql")?)?;
    let named = databases.into_iter().zip(found).flat_map(|(database, rows)| {
        rows.into_iter().map(move |mut row| {
            row.insert("database".into(), database.clone().into());
            row
        })
    });
    Ok(named.map(|row| values::from_object(row).into()).collect::<Array>().into())
}

/// The database that is named there, or any.
fn database(o: &Options) -> Result<String> {
    Ok(o.string("database")?.unwrap_or_else(|| ANY_DATABASE.into()))
}

/// How a database is shown to people.
fn shown<'a>(server: &'a Server, database: &'a str) -> &'a str {
    if database == ANY_DATABASE { &server.database } else { database }
}

fn target(o: &Options) -> Result<(String, Vec<Binding>)> {
    let database = database(o)?;
    let bound = o.map("values")?.unwrap_or_default();
    if let Some((name, _)) = bound.iter().find(|(_, value)| value.is::<Secret>()) {
        let message =
            format!("the value {name} is a secret, which would come into the server's log with the statement");
        return Err(Error::usage("psql.bad_value", message).hint("psql::set_password sets a password without that"));
    }
    let bindings = bound.iter().map(|(name, v)| Binding { name: name.to_string(), value: v.to_string() }).collect();
    Ok((database, bindings))
}

fn execute_all(call: &mut Call<'_>) -> ScriptResult {
    let s: Arc<Server> = call.get("server")?;
    let jobs = call.options("options", &["jobs"])?.int("jobs")?.unwrap_or(2);
    let statements = |item: Dynamic| {
        let map = item.try_cast::<Map>()?;
        let text = |key: &str| map.get(key)?.clone().into_string().ok();
        Some(Statements { database: text("database")?, sql: text("sql")? })
    };
    let items: Option<Vec<_>> = call.get::<Array>("statements")?.into_iter().map(statements).collect();
    let items =
        items.ok_or_else(|| Error::failed("script.wrong_type", "`statements` holds what is no #{ database, sql }"))?;
    let mut databases: Vec<_> = items.iter().map(|item| item.database.as_str()).collect();
    databases.dedup();
    call.effect(format!(
        "docker exec -i {} psql -X -d {} ({} sessions)",
        s.container_name,
        databases.join(", "),
        items.len()
    ))?;
    witness::written(call.session, &s.container)?;
    call.world().postgres.execute_all(&s, &items, usize::try_from(jobs).unwrap_or(1))?;
    Ok(Dynamic::UNIT)
}

fn statements(ns: &mut Namespace<'_>) {
    ns.effect(
        "execute(server: Server, sql: string, options: Map = #{}) -> Array",
        "Runs statements one after another and stops at the first error; options as in `psql::query`. Gives the \
         command tags (`UPDATE 3`). The session has the settings of `psql::query`, and creates nothing without a \
         schema; event triggers (from 17 on) do not act on it. What needs another search path sets it.\n\n\
         Errors: `psql.failed` with the server's words and SQLSTATE.",
        |call| {
            let (s, sql): (Arc<Server>, _) = (call.get("server")?, call.string("sql")?);
            let (database, bindings) = target(&call.options("options", QUERY)?)?;
            let text = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let (name, shown) = (&s.container_name, shown(&s, &database));
            call.effect(format!("docker exec -i {name} psql -X -d '{shown}' <<< \"{text}\""))?;
            witness::written(call.session, &s.container)?;
            let tags = call.world().postgres.execute(&s, &database, &sql, &bindings)?;
            Ok(tags.into_iter().map(Dynamic::from).collect::<Array>().into())
        },
    );
    ns.effect(
        "execute_all(server: Server, statements: Array, options: Map = #{})",
        "Runs statements for several databases, or for several sessions of one, at the same time: an array of maps \
         #{ database, sql }, in sessions as those of `psql::execute`. The first error ends what has not begun. \
         Options: jobs (2).\n\nErrors: `psql.failed`.",
        execute_all,
    );
    ns.effect(
        "file(server: Server, path: string, options: Map = #{})",
        "Streams a psql script from a file of any size; stops at the first error. Options: database. Its output is \
         shown line by line. The session is one of `psql::execute`.",
        file,
    );
    ns.effect(
        "terminal(server: Server, options: Map = #{}) -> int",
        "psql on the operator's own terminal, in the server's container and as the server's user; gives its exit code. \
         What is typed and shown is neither logged nor journalled, and leaves no history in the container. The session \
         is a person's: it has the server's own settings, search path and event triggers, but the user's own rights, \
         whatever role is set for it, and no timeouts. Options: database.\n\n\
         Errors: `ui.no_terminal`, `postgres.no_client`.",
        terminal,
    );
}

fn terminal(call: &mut Call<'_>) -> ScriptResult {
    let s: Arc<Server> = call.get("server")?;
    let database = database(&call.options("options", &["database"])?)?;
    call.require_terminal("psql", &s.container_name)?;
    let shown = shown(&s, &database);
    call.effect(format!("docker exec -it {} psql -X -U {} -d '{shown}'", s.container_name, s.user))?;
    // Whatever is typed may write.
    witness::written(call.session, &s.container)?;
    Ok(call.world().postgres.terminal(&s, &database)?.into())
}

fn file(call: &mut Call<'_>) -> ScriptResult {
    let (s, path): (Arc<Server>, _) = (call.get("server")?, call.path("path")?);
    let database = database(&call.options("options", &["database"])?)?;
    let shown = shown(&s, &database);
    call.effect(format!("docker exec -i {} psql -X -d {shown} < {}", s.container_name, path.display()))?;
    witness::written(call.session, &s.container)?;
    let mut source = call.world().host.open(&path)?;
    let mut lines = Lines { call, pending: Vec::new() };
    call.world().postgres.script(&s, &database, &mut *source, &mut lines)?;
    lines.finish();
    Ok(Dynamic::UNIT)
}

/// Turns a stream into output events, a line each.
struct Lines<'c, 'a> {
    call: &'c Call<'a>,
    pending: Vec<u8>,
}

impl Lines<'_, '_> {
    /// psql's own output has short lines; anything longer is cut, though no secret is, so that memory stays bounded.
    const LONGEST: usize = 64 * 1024;

    fn finish(&mut self) {
        if !self.pending.is_empty() {
            let line = String::from_utf8_lossy(&self.pending).into_owned();
            self.pending.clear();
            self.call.session.emit(Event::Output { source: "psql".into(), line });
        }
    }
}

impl Write for Lines<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\n' => self.finish(),
                byte => self.pending.push(*byte),
            }
            if self.pending.len() > Self::LONGEST {
                let rest = self.pending.split_off(self.call.world().redactor.cut(&self.pending, Self::LONGEST));
                self.finish();
                self.pending = rest;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn passwords(ns: &mut Namespace<'_>) {
    ns.effect(
        "set_password(server: Server, role: string, password: Secret)",
        "Sets a role's password by a SCRAM-SHA-256 verifier computed here: the clear text never enters SQL, so no \
         server log can hold it. Any password works.",
        |call| {
            let (s, role): (Arc<Server>, _) = (call.get("server")?, call.string("role")?);
            let password = call.secret("password")?;
            call.effect(format!("docker exec -it {} psql -c '\\password {role}'", s.container_name))?;
            witness::written(call.session, &s.container)?;
            call.world().postgres.set_password(&s, &role, &password)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "login(server: Server, role: string, password: Secret, database: string)",
        "Proves a real login over TCP from the container's own network address, where pg_hba.conf asks for the \
         password.\n\nErrors: `postgres.login_refused`.",
        |call| {
            let (s, role): (Arc<Server>, _) = (call.get("server")?, call.string("role")?);
            let password = call.secret("password")?;
            call.world().postgres.login(&s, &role, &password, &call.string("database")?)?;
            Ok(Dynamic::UNIT)
        },
    );
}
