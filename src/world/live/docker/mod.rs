//! The Docker engine through bollard.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use super::Context;
use crate::world::container::*;
use crate::world::error::Result;

pub struct Docker {
    context: Context,
    docker_host: Option<String>,
}

impl Docker {
    pub fn new(context: Context, docker_host: Option<String>) -> Self {
        Self { context, docker_host }
    }
}

#[allow(unused_variables)]
impl ContainerEngine for Docker {
    fn info(&self) -> Result<EngineInfo> {
        todo!()
    }

    fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        todo!()
    }

    fn container(&self, container: &str) -> Result<Container> {
        todo!()
    }

    fn create(&self, spec: &ContainerSpec) -> Result<Container> {
        todo!()
    }

    fn start(&self, container: &str) -> Result<()> {
        todo!()
    }

    fn stop(&self, container: &str, timeout: Duration) -> Result<()> {
        todo!()
    }

    fn remove(&self, container: &str, force: bool) -> Result<()> {
        todo!()
    }

    fn rename(&self, container: &str, name: &str) -> Result<()> {
        todo!()
    }

    fn set_restart_policy(&self, container: &str, policy: &str) -> Result<()> {
        todo!()
    }

    fn logs(&self, container: &str, tail: usize) -> Result<String> {
        todo!()
    }

    fn exec(&self, container: &str, spec: &ExecSpec, streams: Streams<'_>) -> Result<i64> {
        todo!()
    }

    fn run(&self, spec: &ContainerSpec) -> Result<Output> {
        todo!()
    }

    fn image(&self, reference: &str) -> Result<Option<Image>> {
        todo!()
    }

    fn pull(&self, reference: &str) -> Result<Image> {
        todo!()
    }

    fn networks(&self, project: Option<&str>) -> Result<Vec<Network>> {
        todo!()
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        todo!()
    }

    fn create_network(&self, name: &str, driver: &str, labels: &BTreeMap<String, String>) -> Result<Network> {
        todo!()
    }

    fn remove_network(&self, name: &str) -> Result<()> {
        todo!()
    }

    fn connect_network(&self, network: &str, container: &str, aliases: &[String]) -> Result<()> {
        todo!()
    }

    fn disconnect_network(&self, network: &str, container: &str) -> Result<()> {
        todo!()
    }

    fn volumes(&self, project: Option<&str>) -> Result<Vec<Volume>> {
        todo!()
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        todo!()
    }

    fn create_volume(
        &self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        todo!()
    }

    fn remove_volume(&self, name: &str) -> Result<()> {
        todo!()
    }

    fn copy_out(&self, container: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<u64> {
        todo!()
    }

    fn copy_in(&self, container: &str, directory: &str, source: &mut (dyn Read + Send)) -> Result<()> {
        todo!()
    }
}
