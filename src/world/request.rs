//! What is asked of an engine for a [`ContainerSpec`]: a request as the API's JSON, whatever carries it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::container::{ContainerSpec, Mount, NAMESPACE_MODES};
use super::error::{Error, Result};
use super::like::{Likeness, likeness, object, unmount};
use super::refusal::image_missing;

/// The image that a new container gets.
pub struct ChosenImage {
    pub reference: String,
    /// The old image's settings, when the new container has another image.
    pub subtract: Option<Value>,
}

/// The reference that is asked for: the specification's, else that of the container to copy.
pub fn wished_image<'s>(spec: &'s ContainerSpec, action: &str) -> Result<&'s str> {
    let old = spec.like.as_ref().and_then(|inspect| inspect["Config"]["Image"].as_str());
    let none = || Error::usage("docker.image_missing", format!("cannot {action}: no image is given"));
    spec.image.as_deref().or(old).ok_or_else(none)
}

/// The id of the image that the container to copy was made of, where that is to be looked at: it is not `found`, the
/// one that is called as the wished one now.
pub fn old_image<'s>(spec: &'s ContainerSpec, found: Option<&str>) -> Option<&'s str> {
    let id = spec.like.as_ref()?["Image"].as_str()?;
    (!id.is_empty() && found != Some(id)).then_some(id)
}

/// The image to use, which must be there, and what of the old one must not be taken over. `found`: the id of the
/// wished one; `old`: the `Config` of [`old_image`]. `None` for what the engine does not have.
///
/// Errors: `docker.image_missing`.
pub fn chosen_image(
    spec: &ContainerSpec,
    action: &str,
    found: Option<&str>,
    old: Option<Value>,
) -> Result<ChosenImage> {
    let wished = wished_image(spec, action)?;
    let missing = || image_missing(action, wished);
    let old_id = spec.like.as_ref().map(|inspect| inspect["Image"].as_str().unwrap_or_default());
    let Some(old_id) = old_id.filter(|old_id| found != Some(*old_id)) else {
        found.ok_or_else(missing)?;
        return Ok(ChosenImage { reference: wished.to_owned(), subtract: None });
    };
    if spec.image.is_none() && old.is_some() {
        // The tag has moved on since: like the old one means the old one's image.
        return Ok(ChosenImage { reference: old_id.to_owned(), subtract: None });
    }
    found.ok_or_else(missing)?;
    let Some(old) = old else {
        let message = format!(
            "cannot {action}: the image {old_id} of the container to copy is gone, so what that image had set can't \
             be told from what the container had"
        );
        return Err(Error::failed("docker.image_missing", message).hint("load that image again (docker load)"));
    };
    Ok(ChosenImage { reference: wished.to_owned(), subtract: Some(old) })
}

/// What the specification says, over what the container to copy has.
pub fn request(spec: &ContainerSpec, image: ChosenImage) -> Result<Likeness> {
    let mut request = match &spec.like {
        Some(inspect) => likeness(inspect, image.subtract.as_ref()),
        None => Likeness { body: Map::new(), host: Map::new(), networks: Vec::new() },
    };
    let body = &mut request.body;
    body.insert("Image".into(), json!(image.reference));
    if let Some(entrypoint) = &spec.entrypoint {
        // As in `docker run --entrypoint`: the arguments of the old one mean nothing to it.
        body.insert("Entrypoint".into(), json!(entrypoint));
        body.remove("Cmd");
    }
    if let Some(command) = &spec.command {
        body.insert("Cmd".into(), json!(command));
    }
    if let Some(labels) = &spec.labels {
        body.insert("Labels".into(), json!(labels));
    }
    if let Some(user) = &spec.user {
        body.insert("User".into(), json!(user));
    }
    if spec.without_health_check {
        body.insert("Healthcheck".into(), json!({"Test": ["NONE"]}));
    }
    set_env(body, &spec.env);
    for destination in spec.unmount.iter().chain(spec.tmpfs.keys()) {
        unmount(&mut request, destination);
    }
    for mount in &spec.mounts {
        set_mount(&mut request, mount);
    }
    set_tmpfs(&mut request.host, &spec.tmpfs);
    if let Some(driver) = &spec.log_driver {
        request.host.insert("LogConfig".into(), json!({"Type": driver}));
    }
    set_replaced(&mut request.host, &spec.replaced);
    if let Some(network) = &spec.network {
        set_network(&mut request, network);
    }
    if let Some(shares) = spec.cpu_shares {
        request.host.insert("CpuShares".into(), json!(shares));
    }
    if spec.host_user_namespace {
        request.host.insert("UsernsMode".into(), json!("host"));
    }
    if let Some(policy) = &spec.restart_policy {
        request.host.insert("RestartPolicy".into(), restart_policy(policy)?);
    }
    Ok(request)
}

fn set_env(body: &mut Map<String, Value>, added: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let replaced: Vec<_> = added.iter().map(|entry| name(entry)).collect();
    let old = body.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
    let kept = old.into_iter().filter(|entry| !replaced.contains(&name(entry.as_str().unwrap_or_default())));
    let env: Vec<_> = kept.chain(added.iter().map(|entry| json!(entry))).collect();
    body.insert("Env".into(), Value::Array(env));
}

fn set_mount(request: &mut Likeness, mount: &Mount) {
    unmount(request, &mount.destination);
    let source = if mount.kind == "volume" { &mount.name } else { &mount.source };
    let mut entry = json!({"Type": mount.kind, "Target": mount.destination, "ReadOnly": mount.read_only});
    if mount.kind != "tmpfs" {
        entry["Source"] = json!(source);
    }
    if mount.kind == "volume" && mount.read_only {
        // Else the engine would fill an empty one with what the image has there.
        entry["VolumeOptions"] = json!({"NoCopy": true});
    }
    match request.host.get_mut("Mounts") {
        Some(Value::Array(mounts)) => mounts.push(entry),
        _ => _ = request.host.insert("Mounts".into(), json!([entry])),
    }
}

fn set_tmpfs(host: &mut Map<String, Value>, given: &BTreeMap<String, String>) {
    let mut all = host.get("Tmpfs").map(object).unwrap_or_default();
    all.extend(given.iter().map(|(destination, options)| (destination.clone(), json!(options))));
    if !all.is_empty() {
        host.insert("Tmpfs".into(), Value::Object(all));
    }
}

/// The namespaces of a container that has gone are those of the one in its place.
fn set_replaced(host: &mut Map<String, Value>, replaced: &BTreeMap<String, String>) {
    for field in NAMESPACE_MODES {
        let shared = host.get(field).and_then(Value::as_str).and_then(|mode| mode.strip_prefix("container:"));
        if let Some(now) = shared.and_then(|id| replaced.get(id)) {
            host.insert(field.into(), json!(format!("container:{now}")));
        }
    }
}

/// Another network than that of the container to copy: nobody may reach it by the old ways.
fn set_network(request: &mut Likeness, network: &str) {
    request.networks.clear();
    request.host.insert("NetworkMode".into(), json!(network));
    for field in ["PortBindings", "PublishAllPorts", "Links"] {
        request.host.remove(field);
    }
    if network.starts_with("container:") {
        // These belong to the other container's network; the engine refuses them.
        for field in ["Hostname", "Domainname", "ExposedPorts"] {
            request.body.remove(field);
        }
        for field in ["Dns", "DnsOptions", "DnsSearch", "ExtraHosts"] {
            request.host.remove(field);
        }
    }
}

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`, as `docker update --restart` takes it; as the API
/// writes it.
pub fn restart_policy(text: &str) -> Result<Value> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, count.parse::<u32>().ok().map(Some)),
        None => (text, Some(None)),
    };
    let is_known = ["no", "always", "unless-stopped", "on-failure"].contains(&name);
    match count {
        Some(None) if is_known => Ok(json!({"Name": name})),
        Some(Some(count)) if name == "on-failure" => Ok(json!({"Name": name, "MaximumRetryCount": count})),
        _ => Err(Error::usage("docker.failed", format!("`{text}` is not a restart policy"))
            .hint("no, always, unless-stopped, on-failure or on-failure:3")),
    }
}

/// What the engine says to a creation, with what to do about it.
pub fn create_error(error: Error, spec: &ContainerSpec) -> Error {
    let name = spec.name.as_deref().unwrap_or_default();
    match error.code.as_str() {
        "docker.not_found" if error.message.contains("No such image") => {
            let image = spec.image.as_deref().unwrap_or("<image>");
            Error::failed("docker.image_missing", error.message)
                .hint(format!("`docker pull {image}`, or build it, then go on"))
        }
        "docker.conflict" if error.message.contains("already in use") => {
            error.hint(format!("see `docker ps -a --filter name={name}`; rename or remove that container"))
        }
        _ => error,
    }
}
