//! Waiting for a server that can be worked with.

use std::time::{Duration, Instant};

use super::client::{Call, Client};
use super::{Clients, rows, superuser};
use crate::world::error::{Error, Result};
use crate::world::listening::SAY_PORT;
use crate::world::postgres::{ANY_DATABASE, Server, ServerVersion};

const INTERVAL: Duration = Duration::from_millis(200);

/// Polls until the server answers over TCP and then a real question over its socket. The image's first start runs a
/// temporary server on the socket only: an answer over TCP is not from that one.
pub fn wait(clients: &Clients, server: &Server, timeout: Duration) -> Result<ServerVersion> {
    let begun = Instant::now();
    loop {
        let stage = match attempt(clients, server, timeout.saturating_sub(begun.elapsed()))? {
            Attempt::Ready(version) => return Ok(version),
            Attempt::NotYet(stage) => stage,
        };
        if begun.elapsed() >= timeout {
            let seconds = timeout.as_secs();
            let message = format!("{} is not ready after {seconds} s: {stage}", server.container_name);
            return Err(Error::failed("postgres.not_ready", message + log_tail(clients, server).as_str()));
        }
        pause(clients)?;
    }
}

/// What a server says that recovers after a crash, or is about to accept sessions; how long that may take.
const STARTING: (&[&str], Duration) = (
    &["the database system is starting up", "not yet accepting connections", "the database system is in recovery mode"],
    Duration::from_secs(120),
);
/// What a client says when no server listens yet: in a container that was just started.
const NOT_LISTENING: (&[&str], Duration) = (&["Is the server running", "Connection refused"], Duration::from_secs(10));

/// Asks the server something that may be asked again, and waits while it is only starting: then nothing has run. Where
/// the server listens on another port than its container says, or its own database is gone, it is asked there.
pub fn when_up<T>(clients: &Clients, server: &Server, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let error = match placed(clients, server, &mut ask) {
            Err(error) if begun.elapsed() < patience(&error) => error,
            other => return other.map_err(|error| superuser::explain(clients, server, error)),
        };
        if !clients.containers.container(&server.container).is_ok_and(|container| container.is_running()) {
            return Err(error);
        }
        // Whatever comes of this, asking again tells.
        if !matches!(listens(clients, server, SOCKET, LOOK), Ok(0)) {
            pause(clients)?;
        }
    }
}

fn patience(error: &Error) -> Duration {
    let found = [STARTING, NOT_LISTENING].into_iter().find(|said| is_said(error, said));
    found.map_or(Duration::ZERO, |(_, patience)| patience)
}

fn is_said(error: &Error, (words, _): &(&[&str], Duration)) -> bool {
    words.iter().any(|words| error.message.contains(words))
}

/// Asks, and asks again in the database that is there where the server's own is not.
fn placed<T>(clients: &Clients, server: &Server, ask: &mut impl FnMut() -> Result<T>) -> Result<T> {
    let database = clients.own_database(server);
    match heard(clients, server, ask) {
        Err(error) if is_away(&error) && error.message.contains(&format!("\"{database}\"")) => {
            match reach(clients, server) {
                Ok((_, other)) if other != database => heard(clients, server, ask),
                _ => Err(error),
            }
        }
        other => other,
    }
}

/// Asks, and asks again at the port that the server itself names where nothing answers at the one that was tried.
fn heard<T>(clients: &Clients, server: &Server, ask: &mut impl FnMut() -> Result<T>) -> Result<T> {
    match ask() {
        // Where the container has just ended there is nobody to ask.
        Err(error) if is_said(&error, &NOT_LISTENING) && clients.find_port(&server.container).unwrap_or(false) => ask(),
        other => other,
    }
}

/// Finds out where the server is met, for what can't be asked twice. What is wrong with the server shows there.
pub fn find(clients: &Clients, server: &Server) {
    let _ = reach(clients, server);
}

fn pause(clients: &Clients) -> Result<()> {
    let token = clients.context.cancel.token();
    clients.context.wait_uncancelled(async { tokio::time::timeout(INTERVAL, token.cancelled()).await }).ok();
    clients.context.cancel.check()
}

enum Attempt {
    Ready(ServerVersion),
    /// How far it got.
    NotYet(String),
}

fn attempt(clients: &Clients, server: &Server, left: Duration) -> Result<Attempt> {
    let container = clients.containers.container(&server.container)?;
    match container.state.as_str() {
        "running" => {}
        "created" | "restarting" | "paused" => {
            return Ok(Attempt::NotYet(format!("its container is {}", container.state)));
        }
        _ => return Err(ended(clients, server, container.exit_code)),
    }
    if container.restart_count > 0 && container.exit_code != 0 {
        return Ok(Attempt::NotYet(format!(
            "its container restarts again and again (exit code {})",
            container.exit_code
        )));
    }
    match listens(clients, server, LOOPBACK, left) {
        Ok(0) => {}
        Ok(1) => return Ok(Attempt::NotYet("it answers, but rejects connections (starting up)".into())),
        // So it also looks when the container has just ended, which the engine may not know yet.
        Ok(code @ (126 | 127)) if still_runs(clients, server)? => {
            let message = format!("pg_isready does not run in {} (exit code {code})", server.container_name);
            return Err(Error::failed("postgres.no_client", message));
        }
        Ok(_) => {
            let port = clients.port(&server.container)?;
            return Ok(Attempt::NotYet(format!("nothing answers on 127.0.0.1:{port} inside its container")));
        }
        Err(error) if error.code == "cancelled" || error.code == "docker.unreachable" => return Err(error),
        // The container may just have ended: the next look at its state tells.
        Err(error) => return Ok(Attempt::NotYet(error.message)),
    }
    match version(clients, server) {
        Ok(version) => Ok(Attempt::Ready(version)),
        Err(error) if HOPELESS.contains(&error.code.as_str()) => Err(error),
        Err(error) => Ok(Attempt::NotYet(format!("it answers over TCP, but not yet over its socket: {error}"))),
    }
}

/// What no waiting changes.
const HOPELESS: [&str; 4] = ["cancelled", "docker.unreachable", "postgres.login_refused", "postgres.not_superuser"];

const LOOPBACK: &str = "127.0.0.1";
/// An empty host is the socket.
const SOCKET: &str = "";

/// Exit code of `pg_isready`, when it has been asked until the server answers there, or for so long: with a command of
/// its own in the container for each question, waiting would cost the machine more than the server's start. Where
/// nothing answers the server's own lock file is looked at for another port.
fn listens(clients: &Clients, server: &Server, host: &str, left: Duration) -> Result<i64> {
    let script = format!(
        r#"
        i=0
        while :; do
            pg_isready -q -h "$3" -t 2; code=$?
            case $code in
            1) ;;
            2) port="$({SAY_PORT})"; [ "${{port:-$PGPORT}}" = "$PGPORT" ] || {{ echo "$port"; break; }} ;;
            *) break ;;
            esac
            [ $i -lt "$2" ] && sleep 0.1 || break
            i=$((i + 1))
        done
        exit $code"#
    );
    let directory = clients.data_directory(&server.container)?;
    let times = (left.min(LOOK).as_millis() / 100).to_string();
    // Where this user is trusted, pg_isready opens a whole session.
    let argv = ["sh", "-c", &script, "sh", &directory, &times, host];
    let ask = || Client::inside(clients, server).output(Call::new(&argv, ANY));
    let said = ask()?;
    match said.exit_code == 2 && clients.learn_port(&server.container, &said.stdout)? {
        true => Ok(ask()?.exit_code),
        false => Ok(said.exit_code),
    }
}

/// How long one look at a server that is starting takes: then its container is looked at again.
const LOOK: Duration = Duration::from_secs(2);
const ANY: Option<&str> = Some(ANY_DATABASE);

/// Whether the container runs, and goes on running for as long as an engine under load takes to notice an end.
fn still_runs(clients: &Clients, server: &Server) -> Result<bool> {
    for _ in 0..10 {
        if !clients.containers.container(&server.container)?.is_running() {
            return Ok(false);
        }
        pause(clients)?;
    }
    Ok(true)
}

/// The server's version, asked over its socket.
pub fn version(clients: &Clients, server: &Server) -> Result<ServerVersion> {
    reach(clients, server).map(|(version, _)| version)
}

/// The server's version, and a database that can be connected to: the server's own, or one of the two that every
/// cluster has where that one was renamed or dropped since, or a restore that came to nothing has left it missing or
/// invalid. From then on it is the one where none is named.
pub fn reach(clients: &Clients, server: &Server) -> Result<(ServerVersion, String)> {
    let mut first = None;
    for database in [server.database.as_str(), "postgres", "template1"] {
        match heard(clients, server, &mut || ask_version(clients, server, database)) {
            Ok(version) => {
                clients.learn_database(server, database);
                return Ok((version, database.to_owned()));
            }
            Err(error) if is_away(&error) => _ = first.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| Error::failed("psql.failed", "there is no database to connect to")))
}

/// Whether a database is not there, or not whole: what a DROP DATABASE that was cut off leaves is "invalid".
fn is_away(error: &Error) -> bool {
    ["\" does not exist", "cannot connect to invalid database"].iter().any(|words| error.message.contains(words))
}

fn ask_version(clients: &Clients, server: &Server, database: &str) -> Result<ServerVersion> {
    let client = Client::inside(clients, server);
    let sql = "SELECT pg_catalog.current_setting('server_version') AS text,
                      pg_catalog.current_setting('server_version_num')::pg_catalog.int4 / 10000 AS major,
                      pg_catalog.current_setting('is_superuser')::pg_catalog.bool AS is_superuser";
    let rows = rows::query(&client, database, sql, &[]);
    let rows = rows.map_err(|error| superuser::explain(clients, server, error))?;
    let row = rows.first();
    if row.and_then(|row| row.get("is_superuser")?.as_bool()) == Some(false) {
        return Err(superuser::is_none(clients, server));
    }
    let text = row.and_then(|row| row.get("text")?.as_str());
    let major = row.and_then(|row| row.get("major")?.as_u64());
    match (text, major) {
        (Some(text), Some(major)) => Ok(ServerVersion { major: major as u32, text: text.to_owned() }),
        _ => Err(Error::failed("psql.failed", format!("{} does not tell its version", server.container_name))),
    }
}

fn ended(clients: &Clients, server: &Server, exit_code: i64) -> Error {
    let log = log_tail(clients, server);
    let name = &server.container_name;
    let message = format!("{name} ended with exit code {exit_code} before it was ready{log}");
    let error = Error::failed("postgres.not_ready", message);
    if log.contains("database files are incompatible with server") {
        return error.hint("the volume holds the data of another major version than the image's");
    }
    if log.contains("there appears to be PostgreSQL data in") {
        return error.hint("from 18 on the image wants its volume at /var/lib/postgresql");
    }
    if log.contains("No space left on device") {
        return error.hint("the disk is full");
    }
    error
}

fn log_tail(clients: &Clients, server: &Server) -> String {
    match clients.containers.logs(&server.container, 20) {
        Ok(log) if !log.trim().is_empty() => format!("\nthe last lines of its log:\n{}", log.trim_end()),
        _ => String::new(),
    }
}
