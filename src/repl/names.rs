//! The names that an operator could mean while typing: of containers, volumes and databases, as the engine has them
//! now.

mod kept;

use std::collections::BTreeSet;
use std::time::Duration;

use self::kept::Kept;
use crate::script::witness;
use crate::world::container::{self, Container, ContainerEngine, ContainerFilter, ExecSpec, LABEL_HELPER};
use crate::world::listening;
use crate::world::postgres::Server;
use crate::world::session::{self, Purpose};
use crate::world::{Result, World};

/// So many servers are asked at a time.
const AT_ONCE: usize = 8;
const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate";

/// Asked for in the background, and never waited for longer than a key may take: what has not come by then is offered
/// the next time. An engine that is away has no names, and has them again when it is back; nothing of that is printed.
///
/// Dropped, it ends what is under way, which needs the runtime of the world it was made with.
pub struct Names {
    engine: Kept<container::Names>,
    databases: Kept<Vec<String>>,
}

impl Names {
    pub fn new(world: World) -> Self {
        let (engine, servers) = (world.containers.clone(), world.containers);
        Self {
            engine: Kept::new(Duration::from_millis(300), Duration::from_secs(2), move |cancel| {
                engine.beside(cancel).names()
            }),
            databases: Kept::new(Duration::from_millis(500), Duration::from_secs(10), move |cancel| {
                databases(&*servers.beside(cancel))
            }),
        }
    }

    /// Whether the engine has answered when it was asked last. Waits 300 ms at most.
    pub fn are_known(&self) -> bool {
        !self.engine.is_missing()
    }

    /// Sorted, without pgscript's helpers. Waits 300 ms at most.
    pub fn containers(&self) -> Vec<String> {
        self.engine.get().containers
    }

    /// Sorted, without those that nobody has named. Waits 300 ms at most.
    pub fn volumes(&self) -> Vec<String> {
        self.engine.get().volumes.into_iter().filter(|volume| !witness::is_anonymous(volume)).collect()
    }

    /// The databases of all servers that run, sorted, without templates. Waits 500 ms at most.
    pub fn databases(&self) -> Vec<String> {
        self.databases.get()
    }
}

fn databases(engine: &dyn ContainerEngine) -> Result<Vec<String>> {
    let running = engine.containers(&ContainerFilter { running: true, ..ContainerFilter::default() })?;
    let is_server = |c: &&Container| witness::is_database(c) && !c.labels.contains_key(LABEL_HELPER);
    let servers: Vec<_> = running.iter().filter(is_server).collect();
    let mut found = BTreeSet::new();
    for servers in servers.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let asked = servers.iter().map(|server| scope.spawn(|| databases_of(engine, server)));
            let asked: Vec<_> = asked.collect();
            found.extend(asked.into_iter().filter_map(|answer| answer.join().ok()).flatten());
        });
    }
    Ok(found.into_iter().collect())
}

/// Nothing where the server does not answer, or not without a password.
fn databases_of(engine: &dyn ContainerEngine, container: &Container) -> Vec<String> {
    let server = Server::of(container, None);
    let psql = ["psql", "-X", "-q", "-A", "-t", "-0", "--no-password", "-c", DATABASES];
    let Ok(major) = session::major(engine, &container.id) else { return Vec::new() };
    let options = session::options(Purpose::Reading, major) + " -c statement_timeout=2000 -c client_min_messages=error";
    let mut spec = ExecSpec {
        argv: psql.map(String::from).to_vec(),
        env: vec![
            // The socket, whatever an environment file shared with the application says.
            "PGHOST=".into(),
            format!("PGUSER={}", server.user),
            format!("PGDATABASE={}", server.database),
            format!("PGPORT={}", listening::port(container)),
            format!("PGOPTIONS={options}"),
            "PGAPPNAME=pgscript".into(),
            "PGCONNECT_TIMEOUT=2".into(),
            "PGCLIENTENCODING=UTF8".into(),
        ],
        ..ExecSpec::default()
    };
    spec.env.extend(session::VARIABLES.map(String::from));
    let Ok(answer) = engine.exec_output(&container.id, &spec) else { return Vec::new() };
    let Ok(text) = String::from_utf8(answer.stdout) else { return Vec::new() };
    // What cannot be typed cannot be meant.
    let names = text.split('\0').map(|name| name.trim_end_matches('\n'));
    names.filter(|name| !name.is_empty() && !name.contains(char::is_control)).map(str::to_owned).collect()
}
