//! What `docker compose up` makes of a project's definition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::State;
use super::state::{Container, ImageKind};
use crate::world::container::{
    ContainerSpec, LABEL_NETWORK, LABEL_ONE_OFF, LABEL_PROJECT, LABEL_SERVICE, LABEL_VOLUME, Mount, NetworkSpec,
};
use crate::world::error::Result;

const LABEL_HASH: &str = "com.docker.compose.config-hash";

/// A project's definition, as its compose file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// What stands in a label of its containers; such a file need not be there.
    pub config_files: String,
    pub services: Vec<Service>,
    /// The service whose image is chosen by the version, and that one's images by majors.
    pub database_service: String,
    pub images: BTreeMap<u32, String>,
    /// The version of the last deploy.
    pub version: u32,
}

/// A service of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub image: String,
    /// The image's own where it is empty.
    pub command: Vec<String>,
    /// `KEY=value`
    pub env: Vec<String>,
    /// Volumes by destination: their names with the engine.
    pub volumes: BTreeMap<String, String>,
    /// Where other majors of the database have their volume: from that major on.
    pub mount_since: BTreeMap<u32, String>,
    pub restart: String,
    pub health_check: Option<Value>,
    /// Names beside the service's own in the project's network.
    pub aliases: Vec<String>,
    /// Of a stack that was captured: its container as the engine has shown it (an inspect answer). A deploy makes it
    /// anew like that, of `image`.
    #[serde(default)]
    pub like: Option<Value>,
    /// Its fixed address in the project's network; any where it is empty.
    #[serde(default)]
    pub ipv4_address: String,
    /// `service:NAME`: it shares that service's network, which comes before it; its own place where it is empty.
    #[serde(default)]
    pub network_mode: String,
    /// `127.0.0.1:15432:5432`: the host's address and port, and the container's.
    #[serde(default)]
    pub ports: Vec<String>,
}

impl State {
    /// `docker compose up -d` of a project: networks, volumes and containers that are missing are created, containers
    /// whose image or configuration is another one are replaced, and all of them run. Without a definition those that
    /// are there are started.
    ///
    /// Errors: what the engine refuses; the services before that are up.
    pub fn compose_up(&mut self, project: &str, version: Option<u32>) -> Result<()> {
        let Some(stack) = self.stacks.get_mut(project) else { return self.start_project(project) };
        stack.version = version.unwrap_or(stack.version);
        let stack = stack.clone();
        self.make_default_network(project)?;
        for service in &stack.services {
            self.make_volumes(project, service);
            self.bring_up(project, &stack, service)?;
        }
        Ok(())
    }

    fn start_project(&mut self, project: &str) -> Result<()> {
        let is_of_it = |c: &&Container| c.labels.get(LABEL_PROJECT).is_some_and(|label| label == project);
        let ids: Vec<_> = self.containers().filter(is_of_it).map(|c| c.id.clone()).collect();
        ids.iter().try_for_each(|id| self.start(id))
    }

    fn make_default_network(&mut self, project: &str) -> Result<()> {
        let name = format!("{project}_default");
        if self.find_network(&name).is_some() {
            return Ok(());
        }
        let labels = [(LABEL_PROJECT, project), (LABEL_NETWORK, "default")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        self.make_network(&name, &NetworkSpec { labels, ..NetworkSpec::default() }).map(|_| ())
    }

    fn make_volumes(&mut self, project: &str, service: &Service) {
        for name in service.volumes.values() {
            let short = name.strip_prefix(&format!("{project}_")).unwrap_or(name);
            let labels = [(LABEL_PROJECT, project), (LABEL_VOLUME, short)];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            // One that is there is taken as it is.
            _ = self.make_volume(name, "local", &labels, &BTreeMap::new());
        }
    }

    fn bring_up(&mut self, project: &str, stack: &Stack, service: &Service) -> Result<()> {
        let mut spec = spec(project, stack, service);
        let is_it = |c: &&Container| {
            let is = |name: &str, value: &str| c.labels.get(name).is_some_and(|label| label == value);
            is(LABEL_PROJECT, project) && is(LABEL_SERVICE, &service.name) && is(LABEL_ONE_OFF, "False")
        };
        let there: Vec<_> = self.containers().filter(is_it).cloned().collect();
        let image = spec.image.as_deref().and_then(|image| self.image(image)).map(|image| image.shown.id.clone());
        let shared = service.network_mode.strip_prefix("service:");
        let shared = shared.and_then(|host| self.container(&format!("{project}-{host}-1")));
        let shared = shared.map(|host| format!("container:{}", host.id));
        // What a captured stack's definition has changed since is not known.
        let is_known = service.like.is_none();
        if let Some(like) = spec.like.as_mut().filter(|_| is_known) {
            like["Image"] = json!(image);
            if let Some(mode) = &shared {
                like["HostConfig"]["NetworkMode"] = json!(mode);
            }
        }
        let hash = spec.labels.as_ref().and_then(|labels| labels.get(LABEL_HASH));
        let is_same = |c: &Container| {
            let is_there = shared.as_ref().is_none_or(|mode| c.network_mode == *mode);
            let is_its = is_known && is_there && Some(&c.image_id) == image.as_ref();
            is_its && c.labels.get(LABEL_HASH) == hash
        };
        match there.first() {
            Some(container) if is_same(container) => self.start(&container.id),
            Some(_) => {
                for container in &there {
                    self.stop(&container.id)?;
                    self.remove(&container.id, true)?;
                }
                self.create(&spec).and_then(|id| self.start(&id))
            }
            None => self.create(&spec).and_then(|id| self.start(&id)),
        }
    }

    /// A deploy of a project brings the version whose cluster its database's volume holds by then: what was prepared.
    /// One whose server runs on its cluster is left as it is. Gives whether there was anything to deploy.
    ///
    /// Errors: as [`State::compose_up`].
    pub fn deploy_prepared(&mut self, project: &str) -> Result<bool> {
        let (Some(stack), Some(major)) = (self.stacks.get(project), self.prepared(project)) else { return Ok(false) };
        let is_it = |c: &&Container| {
            let is = |name: &str, value: &str| c.labels.get(name).is_some_and(|label| label == value);
            is(LABEL_PROJECT, project) && is(LABEL_SERVICE, &stack.database_service) && c.state == "running"
        };
        if self.containers().filter(is_it).any(|c| self.cluster(&c.id).is_some()) {
            return Ok(false);
        }
        self.pass(super::effects::DEPLOY);
        self.compose_up(project, Some(major)).map(|()| true)
    }

    /// Major of the cluster that lies in the volume of a project's database service; `None` where there is none.
    pub(super) fn prepared(&self, project: &str) -> Option<u32> {
        let stack = self.stacks.get(project)?;
        let database = stack.services.iter().find(|service| service.name == stack.database_service)?;
        let trees = database.volumes.values().filter_map(|name| Some(&self.volumes.get(name)?.tree));
        trees.flat_map(|tree| tree.clusters.values()).map(|cluster| cluster.major).max()
    }

    /// Major of the server that a project's database service has by its definition.
    pub fn deployed_major(&self, project: &str) -> Option<u32> {
        let stack = self.stacks.get(project)?;
        match self.image(stack.images.get(&stack.version)?)?.kind {
            ImageKind::Postgres { major, .. } => Some(major),
            _ => None,
        }
    }
}

fn spec(project: &str, stack: &Stack, service: &Service) -> ContainerSpec {
    let is_database = service.name == stack.database_service;
    let image = stack.images.get(&stack.version).filter(|_| is_database).unwrap_or(&service.image);
    let moved = service.mount_since.range(..=stack.version).next_back().map(|(_, destination)| destination);
    let mount = |(destination, volume): (&String, &String)| Mount {
        kind: "volume".into(),
        name: volume.clone(),
        source: String::new(),
        destination: moved.filter(|_| is_database).unwrap_or(destination).clone(),
        read_only: false,
    };
    let mounts: Vec<_> = service.volumes.iter().map(mount).collect();
    if let Some(like) = &service.like {
        return again(like, image, service, mounts);
    }
    let hash = hash(&json!({"service": service, "image": image, "at": mounts}));
    let labels = [
        (LABEL_PROJECT, project),
        (LABEL_SERVICE, &service.name),
        (LABEL_HASH, &hash),
        (LABEL_ONE_OFF, "False"),
        ("com.docker.compose.container-number", "1"),
        ("com.docker.compose.project.config_files", &stack.config_files),
        ("com.docker.compose.version", "2.20.2"),
    ];
    ContainerSpec {
        name: Some(format!("{project}-{}-1", service.name)),
        image: Some(image.clone()),
        like: Some(wishes(project, image, service)),
        command: Some(service.command.clone()).filter(|command| !command.is_empty()),
        env: service.env.clone(),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        mounts,
        restart_policy: Some(service.restart.clone()).filter(|policy| !policy.is_empty()),
        ..ContainerSpec::default()
    }
}

/// A captured container made anew. Where a volume is mounted elsewhere, nothing is left at its old place.
fn again(like: &Value, image: &str, service: &Service, mounts: Vec<Mount>) -> ContainerSpec {
    let is_free = |destination: &&String| mounts.iter().all(|mount| mount.destination != **destination);
    let unmount = service.volumes.keys().filter(is_free).cloned().collect();
    ContainerSpec {
        name: like["Name"].as_str().map(|name| name.trim_start_matches('/').to_owned()),
        image: Some(image.to_owned()),
        like: Some(like.clone()),
        restart_policy: Some(service.restart.clone()),
        mounts,
        unmount,
        ..ContainerSpec::default()
    }
}

/// What the engine is asked for beside the rest: the place in the project's network, the health check.
fn wishes(project: &str, image: &str, service: &Service) -> Value {
    let mut config = Map::from_iter([("Image".to_owned(), json!(image))]);
    config.extend(service.health_check.clone().map(|check| ("Healthcheck".to_owned(), check)));
    let ports: Map<_, _> = service.ports.iter().filter_map(|port| published(port)).collect();
    if !service.network_mode.is_empty() {
        return json!({"Config": config, "HostConfig": {"NetworkMode": service.network_mode, "PortBindings": ports}});
    }
    let network = format!("{project}_default");
    let aliases: Vec<_> = std::iter::once(&service.name).chain(&service.aliases).collect();
    let mut place = Map::from_iter([("Aliases".to_owned(), json!(aliases))]);
    if !service.ipv4_address.is_empty() {
        place.insert("IPAMConfig".to_owned(), json!({"IPv4Address": service.ipv4_address}));
    }
    let networks = Map::from_iter([(network.clone(), Value::Object(place))]);
    let host = json!({"NetworkMode": network, "PortBindings": ports});
    json!({"Config": config, "HostConfig": host, "NetworkSettings": {"Networks": networks}})
}

/// `5432/tcp` and where it is published, of `127.0.0.1:15432:5432`.
fn published(port: &str) -> Option<(String, Value)> {
    let (host, inside) = port.rsplit_once(':')?;
    let (address, outside) = host.rsplit_once(':').unwrap_or(("", host));
    Some((format!("{inside}/tcp"), json!([{"HostIp": address, "HostPort": outside}])))
}

/// Differs where the definition does.
fn hash(definition: &Value) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(definition.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    const SERVER: &str = "primero-postgres-1";

    fn ids(state: &State) -> Vec<(String, String)> {
        let mut all: Vec<_> = state.containers().map(|c| (c.name.clone(), c.id.clone())).collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_as_it_should_be_stays_and_runs() {
        let mut state = reference(13);
        let before = ids(&state);
        state.stop(SERVER).unwrap();
        state.compose_up("primero", None).unwrap();
        assert_eq!(ids(&state), before);
        assert!(state.containers().all(|c| c.state == "running"));
    }

    #[test]
    fn another_version_replaces_the_database_alone_and_does_not_start_on_the_old_cluster() {
        let mut state = reference(13);
        let before = ids(&state);
        state.compose_up("primero", Some(17)).unwrap();
        let after = ids(&state);
        assert_eq!(before.iter().filter(|known| after.contains(known)).count(), before.len() - 1);
        let server = state.container(SERVER).unwrap();
        assert_eq!((server.image.as_str(), server.state.as_str()), ("pgscript-test/postgres:17", "restarting"));
        assert_eq!(state.deployed_major("primero"), Some(17));
        assert!(server.log.iter().any(|line| line.contains("incompatible with server")), "{:?}", server.log);
    }

    #[test]
    fn what_was_removed_is_made_again_with_its_labels() {
        let mut state = reference(17);
        for name in state.containers().map(|c| c.name.clone()).collect::<Vec<_>>() {
            state.remove(&name, true).unwrap();
        }
        state.drop_network("primero_default").unwrap();
        let rows = state.volumes["primero_database"].tree.clusters[""].rows().count();
        state.compose_up("primero", None).unwrap();
        assert_eq!(state.networks["primero_default"].labels[LABEL_NETWORK], "default");
        assert_eq!(state.volumes["primero_database"].labels[LABEL_VOLUME], "database");
        let server = state.container(SERVER).unwrap();
        assert_eq!((&server.labels[LABEL_PROJECT][..], &server.labels[LABEL_SERVICE][..]), ("primero", "postgres"));
        assert!(state.cluster(SERVER).unwrap().rows().count() >= rows);
        assert_eq!(state.sessions(SERVER).len(), 2);
    }

    #[test]
    fn version_18_has_its_volume_elsewhere() {
        let mut state = reference(18);
        assert_eq!(state.show(SERVER).unwrap().mounts[0].destination, "/var/lib/postgresql");
        state.compose_up("primero", Some(17)).unwrap();
        assert_eq!(state.show(SERVER).unwrap().mounts[0].destination, "/var/lib/postgresql/data");
    }
}
