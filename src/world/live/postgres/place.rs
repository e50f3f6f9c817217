//! Where a server is met: its port, and a database to be connected to where none is named. Its container says both;
//! what proves wrong is found out from the server, and remembered for the container.

use std::sync::PoisonError;

use super::Clients;
use crate::world::container::ExecSpec;
use crate::world::error::Result;
use crate::world::listening::{SAY_PORT, data_directory, port, said_port};
use crate::world::postgres::Server;

impl Clients {
    /// The port at which the server of a container is spoken to.
    pub fn port(&self, container: &str) -> Result<u16> {
        let known = self.ports.lock().unwrap_or_else(PoisonError::into_inner).get(container).copied();
        known.map_or_else(|| self.containers.container(container).map(|container| port(&container)), Ok)
    }

    /// The directory with the server's lock file.
    pub fn data_directory(&self, container: &str) -> Result<String> {
        self.containers.container(container).map(|container| data_directory(&container))
    }

    /// Asks for the port in the server's lock file; tells whether it is another one than was tried.
    pub fn find_port(&self, container: &str) -> Result<bool> {
        let argv = ["sh", "-c", SAY_PORT, "sh", &self.data_directory(container)?].map(str::to_owned).to_vec();
        let said = self.containers.exec_output(container, &ExecSpec { argv, ..ExecSpec::default() })?;
        self.learn_port(container, &said.stdout)
    }

    /// Takes the line of a server's lock file; tells whether it names another port than was tried.
    pub fn learn_port(&self, container: &str, line: &[u8]) -> Result<bool> {
        let Some(port) = said_port(&String::from_utf8_lossy(line)) else { return Ok(false) };
        let is_new = self.port(container)? != port;
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned(), port);
        Ok(is_new)
    }

    /// The database to be connected to where none is named: the server's own, or what was found where that is gone.
    pub fn own_database(&self, server: &Server) -> String {
        let found = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&place(server)).filter(|_| !server.is_database_chosen).unwrap_or(&server.database).clone()
    }

    /// Remembers which database answers where none is named.
    pub fn learn_database(&self, server: &Server, database: &str) {
        if !server.is_database_chosen {
            let mut found = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
            found.insert(place(server), database.to_owned());
        }
    }
}

fn place(server: &Server) -> (String, String) {
    (server.container.clone(), server.database.clone())
}
