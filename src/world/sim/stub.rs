//! Stands for the container engine until it is there.

use std::collections::BTreeMap;

use super::State;
use super::state::{Container, Tree, Volume};
use crate::world::container::{ContainerSpec, Volume as Shown};
use crate::world::error::{Error, Result};

impl State {
    pub fn create(&mut self, spec: &ContainerSpec) -> Result<String> {
        let reference = spec.image.clone().unwrap_or_default();
        let missing = || Error::failed("docker.image_missing", format!("no image {reference}"));
        let image = self.image(&reference).cloned().ok_or_else(missing)?;
        let id = self.id();
        let container = Container {
            id: id.clone(),
            name: spec.name.clone().unwrap_or_else(|| id.clone()),
            image: reference.clone(),
            image_id: image.shown.id.clone(),
            config: Default::default(),
            host_config: Default::default(),
            entrypoint: spec.entrypoint.clone().unwrap_or_default(),
            command: spec.command.clone().unwrap_or_default(),
            env: spec.env.clone(),
            labels: spec.labels.clone().unwrap_or_default(),
            user: String::new(),
            health_check: None,
            mounts: spec.mounts.clone(),
            networks: Vec::new(),
            network_mode: spec.network.clone().unwrap_or_default(),
            restart_policy: "no".into(),
            state: "created".into(),
            started_at: 0,
            exit_code: 0,
            restart_count: 0,
            was_stopped: false,
            is_half_started: false,
            log: Vec::new(),
            execs: Vec::new(),
            layer: Tree::default(),
            server: None,
        };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    pub fn start(&mut self, container: &str) -> Result<()> {
        let Some(found) = self.container(container).cloned() else { return Ok(()) };
        let directory = found.entrypoint.iter().skip_while(|word| *word != "-D").nth(1).cloned();
        let place = directory.map(|directory| self.place(&found, &directory));
        let now = self.now;
        if let Some(found) = self.container_mut(container) {
            found.state = "running".into();
            found.started_at = now;
            found.server = place.or(found.server.clone());
        }
        if let Some(cluster) = self.cluster_mut(container) {
            cluster.open();
        }
        Ok(())
    }

    pub fn stop(&mut self, container: &str) -> Result<()> {
        if self.container(container).is_some_and(|c| c.state == "running") {
            if let Some(cluster) = self.cluster_mut(container) {
                cluster.close();
            }
            self.follow_primaries();
            if let Some(found) = self.container_mut(container) {
                found.state = "exited".into();
            }
        }
        Ok(())
    }

    pub fn remove(&mut self, container: &str, _force: bool) -> Result<()> {
        if let Some(id) = self.container(container).map(|c| c.id.clone()) {
            self.containers.remove(&id);
        }
        Ok(())
    }

    pub fn make_volume(
        &mut self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Shown> {
        let made = Volume {
            name: name.into(),
            driver: driver.into(),
            labels: labels.clone(),
            options: options.clone(),
            created_at: self.now,
            tree: Tree::default(),
        };
        let volume = self.volumes.entry(name.into()).or_insert(made).clone();
        Ok(self.shown_volume(&volume))
    }

    pub fn drop_volume(&mut self, name: &str) -> Result<()> {
        self.volumes.remove(name);
        Ok(())
    }

    pub fn holders<'s>(&'s self, volume: &'s str) -> impl Iterator<Item = &'s Container> {
        self.containers.values().filter(move |c| c.mounts.iter().any(|m| m.kind == "volume" && m.name == volume))
    }

    pub(super) fn shown_volume(&self, volume: &Volume) -> Shown {
        Shown {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
            mount_point: format!("{}/volumes/{}/_data", self.engine.root_dir, volume.name),
            labels: volume.labels.clone(),
            options: volume.options.clone(),
            created_at: String::new(),
        }
    }

    pub fn runs_server(&self, container: &Container) -> bool {
        container.state == "running" && container.server.is_some() && self.cluster(&container.id).is_some()
    }

    pub(super) fn follow_primaries(&mut self) {
        let standbys: Vec<_> = self.containers.values().cloned().collect();
        for standby in standbys {
            if !self.runs_server(&standby) {
                continue;
            }
            let Some(primary) = standby.network_mode.strip_prefix("container:").and_then(|of| self.container(of))
            else {
                continue;
            };
            let Some(written) = self.cluster(&primary.id).filter(|_| self.runs_server(primary)).cloned() else {
                continue;
            };
            if let Some(cluster) =
                self.cluster_mut(&standby.id).filter(|c| c.follows == Some(written.system_identifier))
            {
                cluster.replay(&written);
            }
        }
    }
}
