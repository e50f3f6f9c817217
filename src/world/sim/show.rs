//! A container as the engine shows it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::State;
use super::state::Container;
use super::time::rfc3339;
use crate::world::container::{self as world, Attachment, Inspect, LABEL_PROJECT, LABEL_SERVICE, Mount};
use crate::world::request::restart_policy;

impl State {
    /// The container of that id, beginning of an id, or name, with the whole answer of an inspection; `None` where
    /// there is none.
    pub fn show(&self, container: &str) -> Option<world::Container> {
        let found = self.shared_container(container)?;
        let label = |name: &str| found.labels.get(name).cloned().unwrap_or_default();
        Some(world::Container {
            id: found.id.clone(),
            name: found.name.clone(),
            image: found.image.clone(),
            image_id: found.image_id.clone(),
            state: found.state.clone(),
            started_at: time_text(found.started_at),
            exit_code: found.exit_code,
            restart_count: found.restart_count,
            health: self.health(found).to_owned(),
            restart_policy: found.restart_policy.clone(),
            project: label(LABEL_PROJECT),
            service: label(LABEL_SERVICE),
            labels: found.labels.clone(),
            env: found.env.clone(),
            mounts: found.mounts.clone(),
            networks: found.networks.clone(),
            inspect: self.inspect(found),
        })
    }

    fn inspect(&self, container: &Arc<Container>) -> Inspect {
        let network = |place: &Attachment| {
            let known = Some(&place.network_id).filter(|id| !id.is_empty());
            known.or_else(|| self.find_network(&place.network).map(|network| &network.id)).cloned().unwrap_or_default()
        };
        let inspected = Inspected {
            container: container.clone(),
            health: self.health(container).to_owned(),
            network_ids: container.networks.iter().map(network).collect(),
            without_entrypoint: self.image(&container.image_id).is_some_and(|image| image.shown.entrypoint.is_empty()),
        };
        Inspect::later(move || inspected.answer())
    }
}

/// What is shown of a container.
struct Inspected {
    container: Arc<Container>,
    health: String,
    /// Of its networks, in their order.
    network_ids: Vec<String>,
    /// Its image has none.
    without_entrypoint: bool,
}

impl Inspected {
    fn answer(&self) -> Value {
        let container = &*self.container;
        let places = container.networks.iter().zip(&self.network_ids);
        let networks: Map<_, _> =
            places.map(|(place, id)| (place.network.clone(), endpoint(container, place, id))).collect();
        json!({
            "Id": container.id,
            "Created": time_text(container.created_at),
            "Path": container.entrypoint.first().or(container.command.first()),
            "State": self.state(),
            "Image": container.image_id,
            "Name": format!("/{}", container.name),
            "RestartCount": container.restart_count,
            "Platform": "linux",
            "HostConfig": host_config(container),
            "Mounts": container.mounts.iter().map(mount_point).collect::<Vec<_>>(),
            "Config": config(container, self.without_entrypoint),
            "NetworkSettings": {"Networks": networks},
        })
    }

    fn state(&self) -> Value {
        let container = &self.container;
        let is = |state: &str| container.state == state;
        let mut shown = json!({
            "Status": container.state,
            // The engine calls those running, too.
            "Running": is("running") || is("paused") || is("restarting"),
            "Paused": is("paused"),
            "Restarting": is("restarting"),
            "Dead": is("dead"),
            "ExitCode": container.exit_code,
            "StartedAt": time_text(container.started_at),
        });
        if !self.health.is_empty() {
            shown["Health"] = json!({"Status": self.health, "FailingStreak": 0, "Log": []});
        }
        shown
    }
}

fn endpoint(container: &Container, place: &Attachment, network_id: &str) -> Value {
    let asked = &place.endpoint;
    let mut aliases = place.aliases.clone();
    if !["bridge", "host", "none"].contains(&place.network.as_str()) {
        // The engine adds the short id by itself.
        aliases.push(container.id[..12].to_owned());
    }
    let mut ipam = Map::new();
    for (field, value) in [("IPv4Address", &asked.ipv4_address), ("IPv6Address", &asked.ipv6_address)] {
        if !value.is_empty() {
            ipam.insert(field.into(), json!(value));
        }
    }
    if !asked.link_local_ips.is_empty() {
        ipam.insert("LinkLocalIPs".into(), json!(asked.link_local_ips));
    }
    json!({
        "IPAMConfig": if ipam.is_empty() { Value::Null } else { Value::Object(ipam) },
        "Links": if asked.links.is_empty() { Value::Null } else { json!(asked.links) },
        "Aliases": aliases,
        "NetworkID": network_id,
        "IPAddress": place.ip,
        "MacAddress": mac(place),
        "DriverOpts": if asked.driver_opts.is_empty() { Value::Null } else { json!(asked.driver_opts) },
    })
}

/// The one that was asked for, else what the engine makes of the address.
fn mac(place: &Attachment) -> String {
    match place.ip.parse::<std::net::Ipv4Addr>().map(|address| address.octets()) {
        _ if !place.endpoint.mac_address.is_empty() => place.endpoint.mac_address.clone(),
        Ok([a, b, c, d]) => format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        Err(_) => String::new(),
    }
}

fn config(container: &Container, without_entrypoint: bool) -> Value {
    let mut config = container.config.clone();
    let is_none = container.entrypoint.is_empty() && without_entrypoint;
    let entrypoint = if is_none { Value::Null } else { json!(container.entrypoint) };
    config.insert("User".into(), json!(container.user));
    config.insert("Env".into(), json!(container.env));
    config.insert("Cmd".into(), if container.command.is_empty() { Value::Null } else { json!(container.command) });
    config.insert("Entrypoint".into(), entrypoint);
    config.insert("Image".into(), json!(container.image));
    config.insert("Labels".into(), json!(container.labels));
    config.entry("WorkingDir").or_insert(json!(""));
    if let Some(check) = &container.health_check {
        config.insert("Healthcheck".into(), check.clone());
    }
    Value::Object(config)
}

fn host_config(container: &Container) -> Value {
    let mut host = container.host_config.clone();
    host.insert("NetworkMode".into(), json!(container.network_mode));
    let mut policy = restart_policy(&container.restart_policy).unwrap_or_default();
    if policy["MaximumRetryCount"].is_null() {
        policy["MaximumRetryCount"] = json!(0);
    }
    host.insert("RestartPolicy".into(), policy);
    Value::Object(host)
}

fn mount_point(mount: &Mount) -> Value {
    json!({
        "Type": mount.kind, "Name": mount.name, "Source": mount.source, "Destination": mount.destination,
        "Driver": if mount.kind == "volume" { "local" } else { "" }, "Mode": "", "RW": !mount.read_only,
    })
}

/// RFC 3339; of what has never been, the engine's own word for it.
pub(super) fn time_text(milliseconds: u64) -> String {
    if milliseconds == 0 { "0001-01-01T00:00:00Z".into() } else { rfc3339(milliseconds) }
}
