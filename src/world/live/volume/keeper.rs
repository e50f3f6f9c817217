//! Containers that are there only to be in the way of a tidying-up: never started, they mount a volume.

use std::collections::BTreeMap;

use super::Volumes;
use super::access::{MOUNT_NAME, MOUNT_PARENT, mount};
use crate::world::container::{Container, ContainerSpec, KEEPER, LABEL_HELPER, of_image};
use crate::world::error::Result;

pub fn is_keeper(container: &Container) -> bool {
    container.labels.get(LABEL_HELPER).is_some_and(|purpose| purpose == KEEPER)
}

impl Volumes {
    pub fn keep_volume(&self, volume: &str, image: Option<&str>) -> Result<Container> {
        self.volume(volume)?;
        let keepers: Vec<_> = self.users(volume)?.into_iter().filter(is_keeper).collect();
        // One that somebody has started has ended, and counts as exited.
        let (good, ended): (Vec<_>, Vec<_>) = keepers.into_iter().partition(|c| c.state == "created");
        if let Some(keeper) = good.into_iter().next() {
            return Ok(keeper);
        }
        let make = |image: &str| {
            self.containers.create(&ContainerSpec {
                name: Some(format!("{volume}-keeper")),
                image: Some(image.to_owned()),
                entrypoint: Some(vec!["/never-started".into()]),
                labels: Some(BTreeMap::from([(LABEL_HELPER.into(), KEEPER.into())])),
                mounts: vec![mount("volume", volume, &format!("{MOUNT_PARENT}{MOUNT_NAME}"))],
                network: Some("none".into()),
                ..ContainerSpec::default()
            })
        };
        // Before the ended ones go, whose image it may be.
        let images = self.containers.spare_images(&[volume], None)?;
        for keeper in ended {
            self.containers.remove(&keeper.id, true)?;
        }
        of_image(image, || Ok(images), make)
    }

    pub fn unkeep_volume(&self, volume: &str) -> Result<()> {
        for keeper in self.users(volume)?.into_iter().filter(is_keeper) {
            self.containers.remove(&keeper.id, true)?;
        }
        Ok(())
    }
}
