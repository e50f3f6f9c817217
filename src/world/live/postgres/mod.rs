//! PostgreSQL client programs in containers. Nothing here speaks the protocol: what runs is what an operator could run.
//!
//! [`client`] is where programs run, [`place`] where they meet the server, [`psql`] and [`messages`] how psql is fed
//! and read. A dump is made by [`dump`] or [`plain`], read by [`archive`] and [`plain_scan`], checked by [`verify`];
//! [`restore`] and [`transfer`] fill a cluster, and [`classify`] knows which of their errors are no loss.
//! [`fingerprint`] looks at what a cluster holds; [`replace`] knows what of earlier attempts may go.

mod archive;
mod classify;
mod client;
mod databases;
mod dump;
mod fingerprint;
mod globals;
mod messages;
mod pinned;
mod place;
mod plain;
mod plain_scan;
mod psql;
mod quoted;
mod ready;
mod record;
mod replace;
mod restore;
mod roles;
mod rows;
mod schema;
mod staging;
mod standing;
mod superuser;
mod talk;
mod transfer;
mod verify;
mod watch;
mod writes;

pub use client::environment;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Context;
use crate::world::container::ContainerEngine;
use crate::world::content::{Content, Definition, Level};
use crate::world::error::{Error, Result};
use crate::world::postgres::*;
use crate::world::secret::Secret;
use crate::world::side_by_side;
use crate::world::writes::WriteCounts;

/// The [`Postgres`] of the live world.
pub struct Clients {
    context: Context,
    containers: Arc<dyn ContainerEngine>,
    /// Major version of the server in each container, by id: it decides which settings a session can have.
    majors: Mutex<HashMap<String, u32>>,
    /// Port of the server in each container, by id, where it was asked.
    ports: Mutex<HashMap<String, u16>>,
    /// What is connected to in the place of a server's own database that is gone, by container and that database.
    databases: Mutex<HashMap<(String, String), String>>,
    /// What each server is spoken to with where it asks for a password, by container and role.
    passwords: Mutex<HashMap<(String, String), Option<Secret>>>,
    /// What servers say whenever a session begins, and was told once.
    told: Mutex<HashSet<String>>,
    standing: standing::Standing,
    /// For sessions that stand longer than a call.
    this: Weak<Self>,
}

impl Clients {
    pub fn new(context: Context, containers: Arc<dyn ContainerEngine>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            context,
            containers,
            majors: Mutex::default(),
            ports: Mutex::default(),
            databases: Mutex::default(),
            passwords: Mutex::default(),
            told: Mutex::default(),
            standing: standing::Standing::default(),
            this: this.clone(),
        })
    }

    /// The password to give where a server asks for one.
    fn password(&self, server: &Server) -> Option<Secret> {
        if server.password.is_some() {
            return server.password.clone();
        }
        let place = (server.container.clone(), server.user.clone());
        let mut known = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(password) = known.get(&place) {
            return password.clone();
        }
        // What can't be found out now may be later; whoever needs it is told by the server.
        let password = own_password(&*self.containers, server).ok()?;
        password.iter().for_each(|password| self.context.redactor.learn(password));
        if password.is_some() {
            known.insert(place, password.clone());
        }
        password
    }
}

impl Postgres for Clients {
    fn wait_ready(&self, server: &Server, timeout: Duration) -> Result<ServerVersion> {
        ready::wait(self, server, timeout)
    }

    fn query(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<Row>> {
        ready::when_up(self, server, || rows::query(&client::Client::inside(self, server), database, sql, bindings))
    }

    fn execute(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<String>> {
        ready::when_up(self, server, || rows::execute(&client::Client::inside(self, server), database, sql, bindings))
    }

    fn execute_all(&self, server: &Server, items: &[Statements], jobs: usize) -> Result<()> {
        let run = |_, item: &Statements| self.execute(server, &item.database, &item.sql, &[]).map(|_| ());
        side_by_side::up_to(jobs, items, run).map(|_| ())
    }

    fn script(
        &self,
        server: &Server,
        database: &str,
        script: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        ready::find(self, server);
        psql::Psql::new(&client::Client::inside(self, server), database).run(script, output)
    }

    fn terminal(&self, server: &Server, database: &str) -> Result<i64> {
        ready::find(self, server);
        psql::on_terminal(&client::Client::inside(self, server), database)
    }

    fn content(&self, server: &Server, level: Level, jobs: usize) -> Result<Content> {
        ready::when_up(self, server, || fingerprint::collect(self, server, level, jobs))
    }

    fn written(&self, server: &Server, database: &str, definitions: &[Definition]) -> Result<Vec<Option<String>>> {
        fingerprint::written(self, server, database, definitions)
    }

    fn write_counts(&self, server: &Server) -> Result<WriteCounts> {
        writes::count(self, server)
    }

    fn dump(&self, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
        self.containers.sweep(&[])?;
        match options.format {
            Format::Directory => dump::directory(self, server, path, options),
            Format::Plain => plain::cluster(self, server, path, options),
        }
    }

    fn dump_globals(&self, server: &Server, path: &Path, client_image: Option<&str>) -> Result<()> {
        let client = plain::programs(self, server, client_image)?;
        dump::require_new_client(&client, server, ready::version(self, server)?.major)?;
        plain::globals(&client, path)
    }

    fn dump_database(
        &self,
        server: &Server,
        database: &str,
        path: &Path,
        format: &str,
        client_image: Option<&str>,
    ) -> Result<()> {
        let server_major = ready::version(self, server)?.major;
        let chosen = databases::to_dump(self, server, &[database.to_owned()])?;
        let Some(database) = chosen.first() else { return Ok(()) };
        match format {
            "directory" => dump::one_directory(self, server, server_major, database, path, client_image),
            "plain" | "custom" => {
                let client = plain::programs(self, server, client_image)?;
                dump::require_new_client(&client, server, server_major)?;
                if format == "plain" {
                    plain::database(&client, database, path)
                } else {
                    dump::one_custom(&client, database, path)
                }
            }
            other => {
                let message = format!("a dump of one database cannot have the format {other:?}");
                Err(Error::usage("dump.failed", message).hint("plain, custom or directory"))
            }
        }
    }

    fn open_dump(&self, path: &Path) -> Result<Dump> {
        verify::open(self, path)
    }

    fn verify_dump(&self, dump: &Dump, client_image: Option<&str>) -> Result<()> {
        verify::verify(self, dump, client_image)
    }

    fn restore(&self, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport> {
        self.containers.sweep(&[])?;
        restore::restore(self, dump, server, options)
    }

    fn transfer(&self, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport> {
        self.containers.sweep(&[])?;
        transfer::transfer(self, source, target, options)
    }

    fn untaken(&self, source: &Server, target: &Server, client_image: &str) -> Result<Vec<Untaken>> {
        schema::untaken(self, source, target, client_image)
    }

    fn set_password(&self, server: &Server, role: &str, password: &Secret) -> Result<()> {
        ready::when_up(self, server, || roles::set_password(self, server, role, password))
    }

    fn login(&self, server: &Server, role: &str, password: &Secret, database: &str) -> Result<()> {
        ready::when_up(self, server, || roles::login(self, server, role, password, database))
    }
}
