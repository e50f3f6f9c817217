//! PostgreSQL client programs in containers.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use crate::world::container::ContainerEngine;
use crate::world::error::Result;
use crate::world::postgres::*;
use crate::world::secret::Secret;

pub struct Clients {
    context: Context,
    containers: Arc<dyn ContainerEngine>,
}

impl Clients {
    pub fn new(context: Context, containers: Arc<dyn ContainerEngine>) -> Self {
        Self { context, containers }
    }
}

#[allow(unused_variables)]
impl Postgres for Clients {
    fn wait_ready(&self, server: &Server, timeout: Duration) -> Result<ServerVersion> {
        todo!()
    }

    fn query(
        &self,
        server: &Server,
        database: &str,
        sql: &str,
        bindings: &[Binding],
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>> {
        todo!()
    }

    fn execute(&self, server: &Server, database: &str, sql: &str, bindings: &[Binding]) -> Result<Vec<String>> {
        todo!()
    }

    fn script(
        &self,
        server: &Server,
        database: &str,
        script: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        todo!()
    }

    fn dump(&self, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
        todo!()
    }

    fn dump_globals(&self, server: &Server, path: &Path, client_image: Option<&str>) -> Result<()> {
        todo!()
    }

    fn dump_database(
        &self,
        server: &Server,
        database: &str,
        path: &Path,
        format: &str,
        client_image: Option<&str>,
    ) -> Result<()> {
        todo!()
    }

    fn open_dump(&self, path: &Path) -> Result<Dump> {
        todo!()
    }

    fn verify_dump(&self, dump: &Dump, client_image: Option<&str>) -> Result<()> {
        todo!()
    }

    fn restore(&self, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport> {
        todo!()
    }

    fn transfer(&self, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport> {
        todo!()
    }

    fn set_password(&self, server: &Server, role: &str, password: &Secret) -> Result<()> {
        todo!()
    }

    fn login(&self, server: &Server, role: &str, password: &Secret, database: &str) -> Result<()> {
        todo!()
    }
}
