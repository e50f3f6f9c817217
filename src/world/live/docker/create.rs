//! Containers made from a [`ContainerSpec`], new ones or ones like another.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, EndpointSettings, RestartPolicy};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::errors::{self, during, image_missing};
use super::like::{Likeness, likeness, object, unmount};
use super::{Docker, convert};
use crate::world::container::{ContainerSpec, LABEL_HELPER, LABEL_OWNER, LABEL_RUN, Mount, NAMESPACE_MODES};
use crate::world::error::{Error, Kind, Result};
use crate::world::process::Process;

/// How long a creation that was cancelled may take to show what has become of it.
const SETTLE: Duration = Duration::from_secs(30);

impl Docker {
    /// Creates the container and gives its id. Cancelled midway, the request is let come to its end and
    /// the container removed: a request once sent can't be taken back, and nobody would know of it.
    pub(super) fn create_settled(&self, spec: &ContainerSpec) -> Result<String> {
        let spec = &if is_helper(spec) { self.helper(spec.clone())? } else { spec.clone() };
        let mut creation = Box::pin(self.create_container(spec));
        let created = self.wait(&mut creation);
        if !created.as_ref().is_err_and(|e| e.kind == Kind::Cancelled) {
            return created;
        }
        self.context.wait_uncancelled(async {
            if let Ok(Ok(id)) = tokio::time::timeout(SETTLE, creation).await {
                _ = self.remove_container(&id, true, true).await;
            }
        });
        created
    }

    /// A helper says by which process and on whose behalf it was made, from its first instant. What its image declares
    /// as volumes would be created with it, and a kill in the middle of that leaves them behind: it gets a tmpfs in
    /// their place.
    fn helper(&self, mut spec: ContainerSpec) -> Result<ContainerSpec> {
        let labels = spec.labels.get_or_insert_default();
        labels.insert(LABEL_OWNER.to_owned(), Process::own()?.to_label());
        labels.extend(self.context.owner.name().map(|owner| (LABEL_RUN.to_owned(), owner.to_string())));
        let image = match &spec.image {
            Some(image) => self.wait(self.inspect_image(image))?.map(convert::image),
            None => None,
        };
        for destination in image.map(|image| image.volumes).unwrap_or_default() {
            if !spec.tmpfs.contains_key(&destination) && spec.mounts.iter().all(|m| m.destination != destination) {
                let (name, source) = (String::new(), String::new());
                spec.mounts.push(Mount { kind: "tmpfs".into(), name, source, destination, read_only: false });
            }
        }
        Ok(spec)
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<String> {
        let action = match &spec.name {
            Some(name) => format!("create container {}", errors::checked_name("container", name)?),
            None => "create a container".to_owned(),
        };
        let image = self.image_of(spec, &action).await?;
        let request = request(spec, image)?;
        let options = spec.name.as_deref().map(|name| CreateContainerOptionsBuilder::new().name(name).build());
        let (body, others) = into_body(request, &action)?;
        let answer =
            self.patient_client().await?.create_container(options, body).await.map_err(during(action.as_str()));
        let id = answer.map_err(|e| create_error(e, spec))?.id;
        for (network, wishes) in others {
            let settings: EndpointSettings = typed(wishes, &action)?;
            if let Err(e) = self.connect_endpoint(&network, &id, settings).await {
                _ = self.remove_container(&id, true, true).await;
                return Err(Error { message: format!("cannot {action}: {}", e.message), ..e });
            }
        }
        Ok(id)
    }

    /// The image to use, which must be there, and what of the old one must not be taken over.
    async fn image_of(&self, spec: &ContainerSpec, action: &str) -> Result<ChosenImage> {
        let like = spec.like.as_ref();
        let old_id = like.and_then(|inspect| inspect["Image"].as_str()).unwrap_or_default();
        let old_reference = like.and_then(|inspect| inspect["Config"]["Image"].as_str());
        let Some(wished) = spec.image.as_deref().or(old_reference) else {
            return Err(Error::usage("docker.image_missing", format!("cannot {action}: no image is given")));
        };
        let found = self.inspect_image(wished).await?.and_then(|image| image.id);
        if found.as_deref() == Some(old_id) || like.is_none() {
            found.ok_or_else(|| image_missing(action, wished))?;
            return Ok(ChosenImage { reference: wished.to_owned(), subtract: None });
        }
        let old = if old_id.is_empty() { None } else { self.inspect_image(old_id).await? };
        if spec.image.is_none() && old.is_some() {
            // The tag has moved on since: like the old one means the old one's image.
            return Ok(ChosenImage { reference: old_id.to_owned(), subtract: None });
        }
        found.ok_or_else(|| image_missing(action, wished))?;
        let Some(old) = old else {
            let message = format!(
                "cannot {action}: the image {old_id} of the container to copy is gone, so what that image had set \
                 can't be told from what the container had"
            );
            return Err(Error::failed("docker.image_missing", message).hint("load that image again (docker load)"));
        };
        let config = serde_json::to_value(old.config).unwrap_or_default();
        Ok(ChosenImage { reference: wished.to_owned(), subtract: Some(config) })
    }
}

fn is_helper(spec: &ContainerSpec) -> bool {
    spec.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_HELPER))
}

struct ChosenImage {
    reference: String,
    /// The old image's settings, when the new container has another image.
    subtract: Option<Value>,
}

/// What the specification says, over what the container to copy has.
fn request(spec: &ContainerSpec, image: ChosenImage) -> Result<Likeness> {
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
        let policy: RestartPolicy = convert::restart_policy(policy)?;
        request.host.insert("RestartPolicy".into(), json!(policy));
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

/// The request as the library wants it, and the networks to connect afterwards: an engine before 25 takes one.
fn into_body(request: Likeness, action: &str) -> Result<(ContainerCreateBody, Vec<(String, Value)>)> {
    let Likeness { mut body, host, networks } = request;
    let mut networks = networks.into_iter();
    if let Some((first, wishes)) = networks.next().filter(|(_, wishes)| !object(wishes).is_empty()) {
        body.insert("NetworkingConfig".into(), json!({"EndpointsConfig": {first: wishes}}));
    }
    body.insert("HostConfig".into(), Value::Object(host));
    Ok((typed(Value::Object(body), action)?, networks.collect()))
}

fn typed<T: DeserializeOwned>(value: Value, action: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|e| {
        Error::failed("docker.failed", format!("cannot {action}: the container to copy has an odd form: {e}"))
    })
}

fn create_error(error: Error, spec: &ContainerSpec) -> Error {
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
