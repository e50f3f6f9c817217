//! Volumes: made, found, held, removed.

use std::collections::BTreeMap;

use super::State;
use super::show::time_text;
use super::state::{Container, Tree, Volume};
use crate::world::container as world;
use crate::world::error::{Error, Result};
use crate::world::refusal::{checked_name, refused};

impl State {
    /// An existing volume of that name and driver is handed out as it is.
    ///
    /// Errors: `docker.conflict` where it has another driver.
    pub fn make_volume(
        &mut self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<world::Volume> {
        checked_name("volume", name)?;
        let driver = if driver.is_empty() { "local" } else { driver };
        if let Some(found) = self.volumes.get(name) {
            if found.driver != driver {
                let reason = format!("A volume named {name} already exists with the {} driver.", found.driver);
                return Err(refused(&format!("create volume {name}"), 409, &reason));
            }
            return Ok(self.shown_volume(found));
        }
        let volume = Volume {
            name: name.to_owned(),
            driver: driver.to_owned(),
            labels: labels.clone(),
            options: options.clone(),
            created_at: self.now,
            tree: Tree::default(),
        };
        let shown = self.shown_volume(&volume);
        self.volumes.insert(name.to_owned(), volume);
        Ok(shown)
    }

    /// The volume is there; gives its path on the engine's host.
    pub(super) fn ensure_volume(&mut self, name: &str) -> String {
        let tree = Tree::default();
        let (labels, options, created_at) = (BTreeMap::new(), BTreeMap::new(), self.now);
        let made = || Volume { name: name.into(), driver: "local".into(), labels, options, created_at, tree };
        self.volumes.entry(name.to_owned()).or_insert_with(made);
        self.mount_point(name)
    }

    /// Errors: `docker.not_found`; `docker.conflict` while a container, also one that does not run, mounts it.
    pub fn drop_volume(&mut self, name: &str) -> Result<()> {
        let action = format!("remove volume {name}");
        checked_name("volume", name)?;
        if !self.volumes.contains_key(name) {
            return Err(refused(&action, 404, &format!("get {name}: no such volume")));
        }
        let mut holders: Vec<_> = self.holders(name).map(|c| format!("{} ({})", c.name, c.state)).collect();
        if !holders.is_empty() {
            holders.sort();
            let message = format!("cannot {action}: it is mounted by {}", holders.join(", "));
            return Err(
                Error::failed("docker.conflict", message).hint("remove these containers first, stopped ones too")
            );
        }
        self.volumes.remove(name);
        Ok(())
    }

    /// Containers that mount a volume, whatever their state.
    pub fn holders<'s>(&'s self, volume: &'s str) -> impl Iterator<Item = &'s Container> {
        self.containers.values().filter(move |container| container.mounts_volume(volume))
    }

    pub(super) fn shown_volume(&self, volume: &Volume) -> world::Volume {
        world::Volume {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
            mount_point: self.mount_point(&volume.name),
            labels: volume.labels.clone(),
            options: volume.options.clone(),
            created_at: time_text(volume.created_at),
        }
    }

    fn mount_point(&self, name: &str) -> String {
        format!("{}/volumes/{name}/_data", self.engine.root_dir)
    }

    /// Removes volumes that were made with a container that has gone, unless somebody else mounts them.
    pub(super) fn drop_anonymous(&mut self, container: &Container) {
        for mount in container.mounts.iter().filter(|mount| mount.kind == "volume" && is_anonymous(&mount.name)) {
            if self.holders(&mount.name).next().is_none() {
                self.volumes.remove(&mount.name);
            }
        }
    }
}

impl Container {
    pub fn mounts_volume(&self, volume: &str) -> bool {
        self.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume)
    }
}

/// The engine's own names for volumes that nobody has named.
pub(super) fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
