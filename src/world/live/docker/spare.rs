//! Images that a helper container can be made of.

use std::collections::HashSet;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptions};

use super::Docker;
use super::errors::during;
use crate::world::container::{LABEL_HELPER, LABEL_PROJECT, LABEL_RUN};
use crate::world::error::Result;

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

/// Those that mount the volumes; what the run holds on to, which nobody tidies away; the stack; what other runs hold;
/// whatever is there.
fn rank(container: &ContainerSummary, volumes: &[&str], project: Option<&str>, run: Option<&str>) -> u8 {
    let label = |name: &str| container.labels.as_ref()?.get(name).map(String::as_str);
    let mut mounts = container.mounts.iter().flatten().filter_map(|mount| mount.name.as_deref());
    let is_helper = label(LABEL_HELPER).is_some();
    match () {
        () if mounts.any(|name| volumes.contains(&name)) => 0,
        () if is_helper && run.is_some() && label(LABEL_RUN) == run => 1,
        () if project.is_some() && label(LABEL_PROJECT) == project => 2,
        () if is_helper => 3,
        () => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::MountPoint;

    #[test]
    fn the_volume_s_own_image_goes_first_then_what_the_run_holds_and_a_stranger_s_last() {
        let container = |labels: &[(&str, &str)], volume: &str| ContainerSummary {
            labels: Some(labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()),
            mounts: Some(vec![MountPoint { name: Some(volume.into()), ..MountPoint::default() }]),
            ..ContainerSummary::default()
        };
        let rank = |labels, volume| rank(&container(labels, volume), &["data"], Some("stack"), Some("here:/run"));
        assert_eq!(rank(&[], "data"), 0);
        assert_eq!(rank(&[(LABEL_HELPER, "lock"), (LABEL_RUN, "here:/run")], "x"), 1);
        assert_eq!(rank(&[(LABEL_PROJECT, "stack")], "x"), 2);
        assert_eq!(rank(&[(LABEL_HELPER, "keep"), (LABEL_RUN, "there:/run")], "x"), 3);
        assert_eq!(rank(&[(LABEL_PROJECT, "another")], "x"), 4);
    }
}
