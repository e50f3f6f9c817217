//! The engine's answers as the simulation's types.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::cluster::Look;
use crate::world::World;
use crate::world::container::{self as world, Image as Shown};
use crate::world::error::Result;
use crate::world::like::object;
use crate::world::sim::State;
use crate::world::sim::create::OWN_FIELDS;
use crate::world::sim::state::{Container, Image, ImageKind, Tree, Volume};

/// As many lines of a container's log are looked at.
pub const LOG_LINES: usize = 500;

/// Milliseconds since 1970.
pub fn now() -> u64 {
    jiff::Timestamp::now().as_millisecond().unsigned_abs()
}

fn milliseconds(rfc3339: &str) -> u64 {
    rfc3339.parse::<jiff::Timestamp>().map_or(0, |at| u64::try_from(at.as_millisecond()).unwrap_or(0))
}

pub fn networks(state: &mut State, networks: Vec<world::Network>) {
    state.networks.extend(networks.into_iter().map(|network| (network.name.clone(), network)));
}

/// What is in them is not looked at: only that there is something, where somebody uses them.
pub fn volumes(state: &mut State, volumes: Vec<world::Volume>) {
    let captured = |volume: world::Volume| Volume {
        name: volume.name,
        driver: volume.driver,
        labels: volume.labels,
        options: volume.options,
        created_at: milliseconds(&volume.created_at),
        tree: Tree::default(),
    };
    state.volumes.extend(volumes.into_iter().map(|volume| (volume.name.clone(), captured(volume))));
}

/// The major version of an image's PostgreSQL, as images name it that are made like the official one.
pub fn major(world: &World, image: &str) -> Result<Option<u32>> {
    Ok(world.containers.image(image)?.and_then(|image| major_of(&image)))
}

fn major_of(image: &Shown) -> Option<u32> {
    image.variable("PG_MAJOR")?.parse().ok()
}

/// All images that the engine has, and those that `names` call.
pub fn images(
    world: &World,
    state: &mut State,
    containers: &[world::Container],
    looks: &[(String, Look)],
    names: &BTreeSet<String>,
) -> Result<()> {
    let writing: BTreeSet<_> = looks.iter().flat_map(|(_, look)| &look.clients).collect();
    let is_client = |c: &&world::Container| c.networks.iter().any(|place| writing.contains(&place.ip));
    let applications: BTreeSet<_> = containers.iter().filter(is_client).map(|c| c.image_id.clone()).collect();
    let extensions: BTreeSet<_> = looks.iter().flat_map(|(_, look)| look.extensions.clone()).collect();
    let mut found = world.containers.spare_images(&[], None)?;
    let is_reference = |name: &&String| name.contains([':', '/', '@']) && !name.starts_with(['/', '.']);
    found.extend(names.iter().filter(is_reference).cloned());
    for reference in found {
        // What is no reference after all is none that anything is made of.
        let Ok(Some(shown)) = world.containers.image(&reference) else { continue };
        if state.images.iter().any(|known| known.shown.id == shown.id) {
            continue;
        }
        let kind = match major_of(&shown) {
            Some(major) => postgres(major, &shown, &extensions),
            None if applications.contains(&shown.id) => ImageKind::Application,
            None => ImageKind::Other,
        };
        let owner = owner(&shown, &kind).to_owned();
        state.images.push(Image { shown, owner, kind });
    }
    Ok(())
}

fn postgres(major: u32, shown: &Shown, extensions: &BTreeSet<String>) -> ImageKind {
    let version = shown.variable("PG_VERSION").map_or_else(|| format!("{major}.0"), str::to_owned);
    let number = version.split('-').next().unwrap_or(&version);
    ImageKind::Postgres {
        major,
        version: format!("{number} ({version})"),
        extensions: extensions.clone(),
        collations: "as now".into(),
    }
}

/// Whom the official images make their clusters for: Debian's, which have the server where that puts it, and Alpine's.
fn owner(shown: &Shown, kind: &ImageKind) -> &'static str {
    let is_debian = shown.variable("PATH").is_some_and(|path| path.contains("/usr/lib/postgresql/"));
    match kind {
        ImageKind::Postgres { .. } if is_debian => "999:999",
        ImageKind::Postgres { .. } => "70:70",
        _ => "0:0",
    }
}

/// A container, with the end of its log.
pub fn container(shown: &world::Container, log: &str) -> Container {
    let (mut config, mut host) = (object(&shown.inspect["Config"]), object(&shown.inspect["HostConfig"]));
    let (entrypoint, command) = (words(&config, "Entrypoint"), words(&config, "Cmd"));
    let user = config.get("User").and_then(Value::as_str).unwrap_or_default().to_owned();
    let health_check = config.get("Healthcheck").filter(|check| check.is_object()).cloned();
    OWN_FIELDS.iter().for_each(|field| _ = config.remove(*field));
    ["NetworkMode", "RestartPolicy"].iter().for_each(|field| _ = host.remove(*field));
    Container {
        id: shown.id.clone(),
        name: shown.name.clone(),
        image: shown.image.clone(),
        image_id: shown.image_id.clone(),
        config,
        host_config: host,
        entrypoint,
        command,
        env: shown.env.clone(),
        labels: shown.labels.clone(),
        user,
        health_check,
        mounts: shown.mounts.clone(),
        networks: shown.networks.clone(),
        network_mode: shown.network_mode().to_owned(),
        restart_policy: shown.restart_policy.clone(),
        state: shown.state.clone(),
        created_at: shown.inspect["Created"].as_str().map_or(0, milliseconds),
        started_at: milliseconds(&shown.started_at),
        exit_code: shown.exit_code,
        restart_count: shown.restart_count,
        restart_at: 0,
        crashes: shown.state == "restarting",
        was_stopped: false,
        is_half_started: false,
        log: log.lines().map(str::to_owned).collect(),
        execs: Vec::new(),
        layer: Tree::default(),
        server: None,
    }
}

fn words(config: &Map<String, Value>, field: &str) -> Vec<String> {
    let words = config.get(field).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}
