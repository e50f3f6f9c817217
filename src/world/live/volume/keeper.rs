//! Containers that are there only to be in the way of a tidying-up: never started, they mount a volume.

use std::collections::BTreeMap;

use super::Volumes;
use super::access::{MOUNT_NAME, MOUNT_PARENT, mount};
use crate::world::container::{Container, ContainerFilter, ContainerSpec, KEEPER, LABEL_HELPER};
use crate::world::error::{Error, Result};

pub fn is_keeper(container: &Container) -> bool {
    container.labels.get(LABEL_HELPER).is_some_and(|purpose| purpose == KEEPER)
}

impl Volumes {
    pub fn keep_volume(&self, volume: &str, image: Option<&str>) -> Result<Container> {
        self.volume(volume)?;
        let (keepers, others): (Vec<_>, Vec<_>) = self.users(volume)?.into_iter().partition(is_keeper);
        // One that somebody has started has ended, and counts as exited.
        let (good, ended): (Vec<_>, Vec<_>) = keepers.into_iter().partition(|c| c.state == "created");
        if let Some(keeper) = good.into_iter().next() {
            return Ok(keeper);
        }
        let image = match (image, others.first().or(ended.first())) {
            (Some(image), _) => image.to_owned(),
            (None, Some(user)) => user.image_id.clone(),
            (None, None) => self.any_image()?,
        };
        for keeper in ended {
            self.containers.remove(&keeper.id, true)?;
        }
        self.containers.create(&ContainerSpec {
            name: Some(format!("{volume}-keeper")),
            image: Some(image),
            entrypoint: Some(vec!["/never-started".into()]),
            labels: Some(BTreeMap::from([(LABEL_HELPER.into(), KEEPER.into())])),
            mounts: vec![mount("volume", volume, &format!("{MOUNT_PARENT}{MOUNT_NAME}"))],
            network: Some("none".into()),
            ..ContainerSpec::default()
        })
    }

    pub fn unkeep_volume(&self, volume: &str) -> Result<()> {
        for keeper in self.users(volume)?.into_iter().filter(is_keeper) {
            self.containers.remove(&keeper.id, true)?;
        }
        Ok(())
    }

    /// A keeper is never started: whatever the engine has will do.
    fn any_image(&self) -> Result<String> {
        let first = self.containers.containers(&ContainerFilter::default())?.into_iter().next();
        first.map(|c| c.image_id).ok_or_else(|| {
            Error::refused("docker.image_missing", "the engine has no container whose image could be used")
                .hint("name an image the engine has: #{ image: \"…\" }; docker image ls shows them")
        })
    }
}
