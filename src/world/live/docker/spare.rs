//! Images that a helper container can be made of.

use std::collections::HashSet;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptions};

use super::Docker;
use super::errors::during;
use crate::world::error::Result;
use crate::world::helper_container::{Wanted, nearness};

impl Docker {
    /// See [`spare_images`](crate::world::container::ContainerEngine::spare_images).
    pub(super) async fn list_spare_images(&self, volumes: &[&str], project: Option<&str>) -> Result<Vec<String>> {
        let all = ListContainersOptionsBuilder::new().all(true).build();
        let containers = self.client().await?.list_containers(Some(all)).await.map_err(during("list containers"))?;
        let images =
            self.client().await?.list_images(None::<ListImagesOptions>).await.map_err(during("list images"))?;
        let run = self.context.owner.name();
        // On nobody's behalf there is no stack that would stay down for want of an image: then it is to be named.
        let (most, images) = if run.is_some() { (u8::MAX, images) } else { (0, Vec::new()) };
        let mut ranked: Vec<_> = containers
            .into_iter()
            .filter_map(|c| Some((rank(&c, volumes, project, run.as_deref()), c.image_id.clone()?)))
            .filter(|(rank, _)| *rank <= most)
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut seen = HashSet::new();
        let all = ranked.into_iter().map(|(_, image)| image).chain(images.into_iter().map(|image| image.id));
        Ok(all.filter(|image| !image.is_empty() && seen.insert(image.clone())).collect())
    }
}

fn rank(container: &ContainerSummary, volumes: &[&str], project: Option<&str>, run: Option<&str>) -> u8 {
    let label = |name: &str| container.labels.as_ref()?.get(name).map(String::as_str);
    let mounts = container.mounts.iter().flatten().filter_map(|mount| mount.name.as_deref());
    nearness(label, mounts, &Wanted { volumes, project, run })
}
