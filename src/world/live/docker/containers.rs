//! Containers: found, inspected, started, stopped, renamed, removed.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerUpdateBody};
use bollard::query_parameters::*;
use futures_util::StreamExt;

use super::errors::{checked_name, during, is_missing};
use super::{Docker, convert};
use crate::world::container::*;
use crate::world::error::{Error, Result};

/// Of a container's log as much as a person would read.
const MOST_LOG: usize = 4 << 20;

/// A removal under way is looked at this often, with this pause in between.
const REMOVAL_LOOKS: u32 = 300;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

impl Docker {
    /// Sorted by name. A container that goes away while we look is not one of them.
    pub(super) async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&server_filters(filter)).build();
        let client = self.client().await?;
        let found = client.list_containers(Some(options)).await.map_err(during("list containers"))?;
        let mut containers = Vec::with_capacity(found.len());
        for id in found.into_iter().filter_map(|summary| summary.id) {
            match client.inspect_container(&id, None).await {
                Ok(answer) => containers.push(convert::container(answer)?),
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(during(format!("inspect container {id}"))(e)),
            }
        }
        // The engine's volume filter also matches a destination of that name.
        let holds = |c: &Container, volume: &str| c.mounts.iter().any(|m| m.kind == "volume" && m.name == volume);
        containers.retain(|c| filter.volume.as_deref().is_none_or(|volume| holds(c, volume)));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Nothing is inspected: whoever types a name waits for this.
    pub(super) async fn list_names(&self) -> Result<Names> {
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let client = self.client().await?;
        let containers =
            async { client.list_containers(Some(all)).await.map_err(during("list the names of containers")) };
        let (containers, volumes) = tokio::try_join!(containers, self.list_volumes(None))?;
        let is_helper =
            |c: &ContainerSummary| c.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_HELPER));
        let mut containers: Vec<_> = containers.into_iter().filter(|c| !is_helper(c)).filter_map(own_name).collect();
        containers.sort();
        Ok(Names { containers, volumes: volumes.into_iter().map(|v| v.name).collect() })
    }

    pub(super) async fn inspect_container(&self, container: &str) -> Result<Container> {
        let action = format!("inspect container {container}");
        let name = checked_name("container", container)?;
        let answer = self.client().await?.inspect_container(name, None).await.map_err(during(action))?;
        convert::container(answer)
    }

    pub(super) async fn start_container(&self, container: &str) -> Result<()> {
        let action = format!("start container {container}");
        let name = checked_name("container", container)?;
        // Starting sets up networks and mounts, and a volume driver may be far away.
        let (client, name) = (self.patient_client().await?.clone(), name.to_owned());
        self.change(async move { client.start_container(&name, None).await.map_err(during(action)) }).await
    }

    pub(super) async fn stop_container(&self, container: &str, timeout: Duration) -> Result<()> {
        let action = format!("stop container {container}");
        let name = checked_name("container", container)?;
        let seconds = timeout.as_millis().div_ceil(1000).min(i32::MAX as u128) as i32;
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let (client, name) = (self.patient_client().await?.clone(), name.to_owned());
        self.change(async move { client.stop_container(&name, Some(options)).await.map_err(during(action)) }).await
    }

    /// `anonymous_volumes`: those that were made with this container go with it; named ones never do.
    pub(super) async fn remove_container(&self, container: &str, force: bool, anonymous_volumes: bool) -> Result<()> {
        let action = format!("remove container {container}");
        let name = checked_name("container", container)?;
        let options = RemoveContainerOptionsBuilder::new().force(force).v(anonymous_volumes).build();
        let (client, name) = (self.patient_client().await?.clone(), name.to_owned());
        let removal =
            self.change(async move { client.remove_container(&name, Some(options)).await.map_err(during(action)) });
        match removal.await {
            // By somebody else's request, or that of a process that was killed: what matters is that it comes to its
            // end.
            Err(error) if error.message.contains("is already in progress") => self.await_gone(container, error).await,
            other => other,
        }
    }

    /// Waits until a container that is being removed is gone; `error` when it stays.
    async fn await_gone(&self, container: &str, error: Error) -> Result<()> {
        for _ in 0..REMOVAL_LOOKS {
            match self.inspect_container(container).await {
                Err(gone) if gone.code == "docker.not_found" => return Ok(()),
                _ => tokio::time::sleep(REMOVAL_PAUSE).await,
            }
        }
        Err(error)
    }

    pub(super) async fn rename_container(&self, container: &str, new_name: &str) -> Result<()> {
        let action = format!("rename container {container} to {new_name}");
        let name = checked_name("container", container)?;
        let options = RenameContainerOptionsBuilder::new().name(new_name).build();
        let (client, name) = (self.client().await?.clone(), name.to_owned());
        self.change(async move { client.rename_container(&name, options).await.map_err(during(action)) }).await
    }

    pub(super) async fn update_restart_policy(&self, container: &str, policy: &str) -> Result<()> {
        let action = format!("set the restart policy of container {container} to {policy}");
        let name = checked_name("container", container)?;
        let update =
            ContainerUpdateBody { restart_policy: Some(convert::restart_policy(policy)?), ..Default::default() };
        let (client, name) = (self.client().await?.clone(), name.to_owned());
        self.change(async move { client.update_container(&name, update).await.map_err(during(action)) }).await
    }

    pub(super) async fn read_logs(&self, container: &str, tail: usize) -> Result<String> {
        let unreadable = |e: Error| {
            let hint =
                format!("see `docker inspect -f '{{{{.HostConfig.LogConfig.Type}}}}' {container}` for where they go");
            if e.message.contains("logging driver") { e.hint(hint) } else { e }
        };
        let name = checked_name("container", container)?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail.to_string()).build();
        let mut lines = self.patient_client().await?.logs(name, Some(options));
        let mut text = Vec::new();
        while let Some(line) = lines.next().await {
            let action = format!("read the logs of container {container}");
            text.extend_from_slice(&line.map_err(during(action)).map_err(unreadable)?.into_bytes());
            if text.len() > 2 * MOST_LOG {
                text.drain(..text.len() - MOST_LOG);
            }
        }
        Ok(String::from_utf8_lossy(&text[text.len().saturating_sub(MOST_LOG)..]).into_owned())
    }
}

/// `/primero-postgres-1`. The others are what linked containers call it: `/app/database`.
fn own_name(summary: ContainerSummary) -> Option<String> {
    let names = summary.names?;
    names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/')).map(str::to_owned)
}

fn server_filters(filter: &ContainerFilter) -> HashMap<&'static str, Vec<String>> {
    let mut labels = filter.labels.clone();
    labels.extend(filter.project.iter().map(|project| format!("{LABEL_PROJECT}={project}")));
    labels.extend(filter.service.iter().map(|service| format!("{LABEL_SERVICE}={service}")));
    let mut filters = HashMap::from([("label", labels)]);
    filters.extend(filter.volume.iter().map(|volume| ("volume", vec![volume.clone()])));
    if filter.running {
        filters.insert("status", vec!["running".to_owned()]);
    }
    filters
}
