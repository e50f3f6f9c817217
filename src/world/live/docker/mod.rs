//! The Docker engine through bollard.
//!
//! `endpoint` decides where the engine is, `connection` reaches it once. Containers are read in
//! `containers`, made in `create` (of a [`request`](crate::world::request)), talked to in `exec`, on the
//! operator's terminal in `terminal`, and in `archive` (all feed synchronous streams through `pipes`), and run
//! to their end in `run`; `execs` knows what others run in them.
//! What others have left is removed by `leftovers`, before anything else is asked; `spare` knows images for helpers.
//! `convert` turns the engine's answers into the world's types, `errors` its complaints.
//! Nothing here knows PostgreSQL, scripts or what a container is for.

mod archive;
mod connection;
mod containers;
mod convert;
mod create;
mod endpoint;
mod errors;
mod exec;
mod execs;
mod images;
mod leftovers;
mod networks;
mod pipes;
mod run;
mod spare;
mod terminal;
mod volumes;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{OnceCell, RwLock};

use self::connection::Connection;
pub use self::endpoint::Wish;
use self::execs::OwnExecs;
use super::Context;
use crate::event::Silent;
use crate::world::Cancel;
use crate::world::container::*;
use crate::world::error::{Error, Result};

/// A Docker engine, reached at the first call.
pub struct Docker {
    context: Context,
    wish: Wish,
    connection: Arc<OnceCell<Connection>>,
    /// Held for reading by each change that the engine is about to make; see [`Docker::change`].
    under_way: Arc<RwLock<()>>,
    own_execs: OwnExecs,
}

impl Docker {
    /// Without a wish the environment decides.
    pub fn new(context: Context, wish: Wish) -> Self {
        Self { context, wish, connection: Arc::default(), under_way: Arc::default(), own_execs: OwnExecs::default() }
    }

    /// As [`Context::wait`]; an engine that has gone since it was reached is named.
    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.context.wait(future).map_err(|error| self.at_engine(error))
    }

    fn at_engine(&self, error: Error) -> Error {
        match self.connection.get() {
            Some(connection) if error.code == "docker.unreachable" => connection.named(error),
            _ => error,
        }
    }

    /// A request that changes something. The engine carries it out also when nobody waits for the answer any more:
    /// cancelled, it goes on in the background, and whatever is asked next waits for its end. Otherwise a container
    /// that is still being stopped would look as if it ran, and would not be started again.
    async fn change<T: Send + 'static>(&self, request: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let under_way = self.under_way.clone().read_owned().await;
        let going_on = self.context.runtime.spawn(async move {
            let answer = request.await;
            drop(under_way);
            answer
        });
        going_on.await.unwrap_or_else(|e| Err(Error::failed("docker.failed", format!("a request was cut short: {e}"))))
    }

    /// Waits until no change is under way.
    async fn settled(&self) {
        drop(self.under_way.write().await);
    }
}

impl ContainerEngine for Docker {
    fn info(&self) -> Result<EngineInfo> {
        self.wait(self.engine_info())
    }

    fn sweep(&self, volumes: &[&str]) -> Result<()> {
        self.wait(self.sweep_leftovers(volumes))
    }

    fn beside(&self, cancel: Cancel) -> Arc<dyn ContainerEngine> {
        let context = Context { cancel, listener: Arc::new(Silent), ..self.context.clone() };
        // It waits for no change that the run has under way.
        let (wish, connection, under_way) = (self.wish.clone(), self.connection.clone(), Arc::default());
        Arc::new(Self { context, wish, connection, under_way, own_execs: self.own_execs.clone() })
    }

    fn names(&self) -> Result<Names> {
        self.wait(self.list_names())
    }

    fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        self.wait(self.list_containers(filter))
    }

    fn container(&self, container: &str) -> Result<Container> {
        self.wait(self.inspect_container(container))
    }

    fn create(&self, spec: &ContainerSpec) -> Result<Container> {
        let id = self.create_settled(spec)?;
        // Cancelled in between, it would be there and nobody would know of it.
        self.context.wait_uncancelled(self.inspect_container(&id)).map_err(|error| self.at_engine(error))
    }

    fn start(&self, container: &str) -> Result<()> {
        self.wait(self.start_container(container))
    }

    fn stop(&self, containers: &[&str], timeout: Duration) -> Result<()> {
        let stops = containers.iter().map(|container| self.stop_container(container, timeout));
        self.wait(async { join_all(stops).await.into_iter().collect() })
    }

    fn remove(&self, container: &str, force: bool) -> Result<()> {
        // What a helper container's image declares as a volume is nobody's data.
        let helper = self.container(container)?.labels.contains_key(LABEL_HELPER);
        self.wait(self.remove_container(container, force, helper))
    }

    fn rename(&self, container: &str, name: &str) -> Result<()> {
        self.wait(self.rename_container(container, name))
    }

    fn set_restart_policy(&self, container: &str, policy: &str) -> Result<()> {
        self.wait(self.update_restart_policy(container, policy))
    }

    fn logs(&self, container: &str, tail: usize) -> Result<String> {
        self.wait(self.read_logs(container, tail))
    }

    fn exec(&self, container: &str, spec: &ExecSpec, streams: Streams<'_>) -> Result<i64> {
        self.exec_streams(container, spec, streams)
    }

    fn foreign_execs(&self, container: &str, since: u64) -> Result<Vec<ExecEvent>> {
        self.wait(self.foreign_execs(container, since))
    }

    fn terminal(&self, container: &str, spec: &ExecSpec) -> Result<i64> {
        self.exec_terminal(container, spec)
    }

    fn run(&self, spec: &ContainerSpec) -> Result<Output> {
        self.run_to_end(spec)
    }

    fn image(&self, reference: &str) -> Result<Option<Image>> {
        self.wait(self.find_image(reference))
    }

    fn spare_images(&self, volumes: &[&str], project: Option<&str>) -> Result<Vec<String>> {
        self.wait(self.list_spare_images(volumes, project))
    }

    fn pull(&self, reference: &str) -> Result<Image> {
        self.wait(self.pull_image(reference))
    }

    fn networks(&self, project: Option<&str>) -> Result<Vec<Network>> {
        self.wait(self.list_networks(project))
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        self.wait(self.find_network(name))
    }

    fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<Network> {
        self.wait(self.make_network(name, spec))
    }

    fn remove_network(&self, name: &str) -> Result<()> {
        self.wait(self.drop_network(name))
    }

    fn connect_network(
        &self,
        network: &str,
        container: &str,
        aliases: &[String],
        options: &EndpointOptions,
    ) -> Result<()> {
        self.wait(self.attach_to_network(network, container, aliases, options))
    }

    fn disconnect_network(&self, network: &str, container: &str) -> Result<()> {
        self.wait(self.detach_from_network(network, container))
    }

    fn volumes(&self, project: Option<&str>) -> Result<Vec<Volume>> {
        self.wait(self.list_volumes(project))
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.wait(self.find_volume(name))
    }

    fn create_volume(
        &self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        self.wait(self.make_volume(name, driver, labels, options))
    }

    fn remove_volume(&self, name: &str) -> Result<()> {
        self.wait(self.drop_volume(name))
    }

    fn copy_out(&self, container: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<u64> {
        self.download(container, path, sink)
    }

    fn copy_in(&self, container: &str, directory: &str, source: &mut (dyn Read + Send)) -> Result<()> {
        self.upload(container, directory, source)
    }
}
