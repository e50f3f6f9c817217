//! What a deploy would bring: the containers that there are, made anew, with the database's image of the new version.

use std::collections::{BTreeMap, BTreeSet};

use super::Captured;
use crate::world::container::{Container, LABEL_HELPER};
use crate::world::sim::compose::{Service, Stack};
use crate::world::sim::state::{Image, ImageKind};

/// What stands in a container's label: the compose files it came from.
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";

/// Defines the project of each server that was looked at. `names` may call images.
pub fn define(captured: &mut Captured, containers: &[Container], names: &BTreeSet<String>) {
    for server in captured.servers.clone() {
        let Some(database) = containers.iter().find(|c| c.id == server.container) else { continue };
        if database.project.is_empty() {
            continue;
        }
        let images = images(&captured.state.images, database, names);
        let is_of_it =
            |c: &&Container| c.project == database.project && !c.is_one_off() && !c.labels.contains_key(LABEL_HELPER);
        let service = |c: &Container| service(c, &images, &captured.state.images);
        let stack = Stack {
            config_files: database.labels.get(CONFIG_FILES).cloned().unwrap_or_default(),
            services: containers.iter().filter(is_of_it).map(service).collect(),
            database_service: database.service.clone(),
            images: images.clone(),
            version: server.major,
        };
        captured.assumed.insert(format!(
            "the deploy of {0} does what the documented one does: it makes the containers of {0} anew as they are, the \
             database of the image that was prepared",
            database.project
        ));
        captured.state.stacks.insert(database.project.clone(), stack);
    }
}

/// The image of each version: one that is called by name, else one of the running image's repository, else any.
fn images(images: &[Image], database: &Container, names: &BTreeSet<String>) -> BTreeMap<u32, String> {
    let repository = |reference: &str| reference.rsplit_once(':').map_or(reference, |(name, _)| name).to_owned();
    let own = repository(&database.image);
    let rank = |tag: &String| match () {
        () if names.contains(tag) => 0,
        () if *tag == database.image => 1,
        () if repository(tag) == own => 2,
        () => 3,
    };
    let mut found: BTreeMap<u32, &String> = BTreeMap::new();
    for image in images {
        let ImageKind::Postgres { major, .. } = image.kind else { continue };
        for tag in &image.shown.tags {
            let known = found.entry(major).or_insert(tag);
            if rank(tag) < rank(known) {
                *known = tag;
            }
        }
    }
    found.into_iter().map(|(major, tag)| (major, tag.clone())).collect()
}

fn service(container: &Container, versions: &BTreeMap<u32, String>, images: &[Image]) -> Service {
    let named = container.mounts.iter().filter(|mount| mount.kind == "volume");
    let volumes: BTreeMap<_, _> = named.map(|mount| (mount.destination.clone(), mount.name.clone())).collect();
    Service {
        name: container.service.clone(),
        image: container.image.clone(),
        mount_since: places(&volumes, versions, images),
        volumes,
        restart: container.restart_policy.clone(),
        like: Some((*container.inspect).clone()),
        ..Service::default()
    }
}

/// Where each version's image wants the volume that is mounted now: there, or where the image has one of its own.
fn places(
    volumes: &BTreeMap<String, String>,
    versions: &BTreeMap<u32, String>,
    images: &[Image],
) -> BTreeMap<u32, String> {
    let Some(now) = volumes.keys().next() else { return BTreeMap::new() };
    let place = |reference: &String| {
        let image = images.iter().find(|image| image.shown.tags.contains(reference))?;
        let own = &image.shown.volumes;
        Some(if own.contains(now) { now.clone() } else { own.first().unwrap_or(now).clone() })
    };
    versions.iter().filter_map(|(major, reference)| Some((*major, place(reference)?))).collect()
}
