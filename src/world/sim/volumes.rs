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
        self.containers().filter(move |container| container.mounts_volume(volume))
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

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;
    use crate::world::container::{ContainerSpec, LABEL_HELPER};

    #[test]
    fn a_volume_in_use_names_its_holders_also_those_that_do_not_run() {
        let mut state = reference(13);
        state.stop("primero-postgres-1").unwrap();
        let error = state.drop_volume("primero_database").unwrap_err();
        assert_eq!(error.code, "docker.conflict");
        assert!(error.message.ends_with("it is mounted by primero-postgres-1 (exited)"), "{error}");
        state.remove("primero-postgres-1", false).unwrap();
        assert!(state.volumes.contains_key("primero_database"));
        state.drop_volume("primero_database").unwrap();
        assert_eq!(state.drop_volume("primero_database").unwrap_err().code, "docker.not_found");
    }

    #[test]
    fn what_was_made_with_a_helper_goes_with_it_and_with_nobody_else() {
        for (labels, left) in [(BTreeMap::new(), 1), ([(LABEL_HELPER.to_owned(), "x".to_owned())].into(), 0)] {
            let mut state = reference(13);
            let image = Some("pgscript-test/postgres:15".to_owned());
            let id = state.create(&ContainerSpec { image, labels: Some(labels), ..ContainerSpec::default() }).unwrap();
            let made = state.container(&id).unwrap().mounts[0].name.clone();
            state.remove(&id, false).unwrap();
            assert_eq!(state.volumes.contains_key(&made), left == 1);
        }
    }

    #[test]
    fn an_existing_volume_is_handed_out_as_it_is_unless_its_driver_is_another() {
        let mut state = reference(13);
        let none = BTreeMap::new();
        let labels = [("a".to_owned(), "b".to_owned())].into();
        let again = state.make_volume("primero_database", "local", &labels, &none).unwrap();
        assert!(!again.labels.contains_key("a") && again.mount_point.ends_with("/volumes/primero_database/_data"));
        assert_eq!(state.make_volume("primero_database", "nfs", &none, &none).unwrap_err().code, "docker.conflict");
        assert_eq!(state.make_volume("../x", "", &none, &none).unwrap_err().code, "docker.not_found");
    }
}
