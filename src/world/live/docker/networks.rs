//! Networks, and which containers are in them.

use std::collections::HashMap;

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::errors::{checked_name, during, is_missing};
use super::{Docker, convert};
use crate::world::container::{EndpointOptions, LABEL_PROJECT, Network, NetworkSpec};
use crate::world::error::{Error, Result};

impl Docker {
    /// Sorted by name.
    pub(super) async fn list_networks(&self, project: Option<&str>) -> Result<Vec<Network>> {
        let labels: Vec<_> = project.iter().map(|project| format!("{LABEL_PROJECT}={project}")).collect();
        let options = ListNetworksOptionsBuilder::new().filters(&HashMap::from([("label", labels)])).build();
        let found = self.client().await?.list_networks(Some(options)).await.map_err(during("list networks"))?;
        let mut networks = Vec::with_capacity(found.len());
        // Only the inspection names the containers; one that goes away meanwhile is not in the list.
        for id in found.into_iter().filter_map(|network| network.id) {
            networks.extend(self.inspect_network(&id).await?);
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    pub(super) async fn find_network(&self, name: &str) -> Result<Option<Network>> {
        // The engine also takes the beginning of an id for a name.
        Ok(self.inspect_network(name).await?.filter(|network| network.name == name || network.id == name))
    }

    async fn inspect_network(&self, name: &str) -> Result<Option<Network>> {
        match self.client().await?.inspect_network(checked_name("network", name)?, None).await {
            Ok(answer) => Ok(Some(convert::network(answer))),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(during(format!("inspect network {name}"))(e)),
        }
    }

    pub(super) async fn make_network(&self, name: &str, spec: &NetworkSpec) -> Result<Network> {
        let action = format!("create network {name}");
        // Engines before 25 would make a second one of the same name.
        if self.find_network(name).await?.is_some() {
            return Err(Error::failed("docker.conflict", format!("cannot {action}: it exists already")));
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some(spec.driver.clone()).filter(|driver| !driver.is_empty()),
            internal: Some(spec.internal),
            labels: Some(spec.labels.clone().into_iter().collect()),
            options: Some(spec.options.clone().into_iter().collect()),
            attachable: Some(spec.attachable),
            enable_ipv6: Some(spec.ipv6),
            ipam: spec.ipam.clone().and_then(|ipam| serde_json::from_value(ipam).ok()),
            ..Default::default()
        };
        let (client, failed) = (self.client().await?.clone(), during(action.clone()));
        self.change(async move { client.create_network(request).await.map_err(failed) }).await?;
        let gone = || Error::failed("docker.not_found", format!("cannot {action}: it is gone again"));
        self.find_network(name).await?.ok_or_else(gone)
    }

    pub(super) async fn drop_network(&self, name: &str) -> Result<()> {
        let action = format!("remove network {name}");
        let (client, name) = (self.client().await?.clone(), checked_name("network", name)?.to_owned());
        let removed = self.change(async move { client.remove_network(&name).await.map_err(during(action)) }).await;
        match removed {
            // Some engines call a network in use forbidden rather than a conflict.
            Err(e) if e.message.contains("active endpoints") => Err(Error::failed("docker.conflict", e.message)
                .hint("disconnect or stop the containers that are in it first")),
            other => other,
        }
    }

    pub(super) async fn attach_to_network(
        &self,
        network: &str,
        container: &str,
        aliases: &[String],
        options: &EndpointOptions,
    ) -> Result<()> {
        self.connect_endpoint(network, container, convert::endpoint_settings(aliases, options)).await
    }

    pub(super) async fn connect_endpoint(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        let action = format!("connect container {container} to network {network}");
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(settings) };
        let (client, name) = (self.client().await?.clone(), checked_name("network", network)?.to_owned());
        self.change(async move { client.connect_network(&name, request).await.map_err(during(action)) }).await
    }

    pub(super) async fn detach_from_network(&self, network: &str, container: &str) -> Result<()> {
        let action = format!("disconnect container {container} from network {network}");
        // Of a network that was removed a container that does not run still has its place, until it is forced.
        let is_gone = self.find_network(network).await?.is_none();
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(is_gone) };
        let (client, name) = (self.client().await?.clone(), checked_name("network", network)?.to_owned());
        self.change(async move { client.disconnect_network(&name, request).await.map_err(during(action)) }).await
    }
}
