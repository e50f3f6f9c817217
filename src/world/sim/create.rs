//! Containers made from a specification: what the request, the image and the engine's own defaults give together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::State;
use super::state::{Container, Image, Tree};
use crate::world::container::{Attachment, ContainerSpec, EndpointOptions, Mount, NAMESPACE_MODES};
use crate::world::error::Result;
use crate::world::like::{Likeness, object};
use crate::world::refusal::{checked_name, refused};
use crate::world::request;

/// Fields of `Config` that [`Container`] holds by itself.
pub const OWN_FIELDS: [&str; 9] =
    ["Image", "Env", "Cmd", "Entrypoint", "Labels", "User", "Healthcheck", "HostConfig", "NetworkingConfig"];

impl State {
    /// Creates a container and what it mounts; gives its id.
    ///
    /// Errors: `docker.image_missing`, `docker.conflict` (the name is taken), `docker.network_gone`.
    pub fn create(&mut self, spec: &ContainerSpec) -> Result<String> {
        let action = match &spec.name {
            Some(name) => format!("create container {}", checked_name("container", name)?),
            None => "create a container".to_owned(),
        };
        let found = self.image(request::wished_image(spec, &action)?).map(|image| image.shown.id.clone());
        let old = request::old_image(spec, found.as_deref()).and_then(|id| self.image(id)).map(Image::config);
        let image = request::chosen_image(spec, &action, found.as_deref(), old)?;
        let request = request::request(spec, image)?;
        self.create_requested(spec.name.as_deref(), request, &action).map_err(|e| request::create_error(e, spec))
    }

    fn create_requested(&mut self, name: Option<&str>, mut request: Likeness, action: &str) -> Result<String> {
        if let Some(holder) = name.and_then(|name| self.containers().find(|c| c.name == name)) {
            let reason = format!(
                "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or \
                 rename) that container to be able to reuse that name.",
                holder.name, holder.id
            );
            return Err(refused(action, 409, &reason));
        }
        let reference = request.body.get("Image").and_then(Value::as_str).unwrap_or_default().to_owned();
        let missing = || refused(action, 404, &format!("No such image: {reference}"));
        let image = self.image(&reference).cloned().ok_or_else(missing)?;
        for (network, _) in request.networks.iter().skip(1) {
            self.known_network(network, action)?;
        }
        self.with_ids(&mut request.host);
        let id = self.id();
        let name = name.map_or_else(|| format!("unnamed_{}", &id[..12]), str::to_owned);
        let container = self.assembled(&id, name, &image, request);
        self.containers.insert(id.clone(), Arc::new(container));
        Ok(id)
    }

    /// Whose namespaces are shared is kept by its id, whatever it was called by; one that is not there stays as it was
    /// named.
    fn with_ids(&self, host: &mut Map<String, Value>) {
        for field in NAMESPACE_MODES {
            let named = host.get(field).and_then(|mode| mode.as_str()?.strip_prefix("container:"));
            if let Some(found) = named.and_then(|name| self.container(name)) {
                host.insert(field.into(), json!(format!("container:{}", found.id)));
            }
        }
    }

    fn assembled(&mut self, id: &str, name: String, image: &Image, request: Likeness) -> Container {
        let Likeness { mut body, mut host, networks } = request;
        let (entrypoint, command) = argv(&body, image);
        let mode = host.remove("NetworkMode").and_then(|mode| Some(mode.as_str()?.to_owned()));
        let network_mode = mode.filter(|mode| !mode.is_empty()).unwrap_or_else(|| "default".into());
        let mounts = self.mount_all(&body, &host, image);
        let host_name = host_name(self, id, &network_mode);
        body.entry("Hostname").or_insert(json!(host_name));
        with_volumes(&mut body, image);
        let restart_policy = policy_text(&host.remove("RestartPolicy").unwrap_or_default());
        with_defaults(&mut host);
        let container = Container {
            id: id.to_owned(),
            name,
            image: text(&body, "Image"),
            image_id: image.shown.id.clone(),
            entrypoint,
            command,
            env: environment(&body, image),
            labels: labels(&body),
            user: text(&body, "User"),
            health_check: body.get("Healthcheck").filter(|check| check.is_object()).cloned(),
            mounts,
            networks: attachments(&network_mode, &networks),
            network_mode,
            restart_policy,
            state: "created".into(),
            created_at: self.now,
            started_at: 0,
            exit_code: 0,
            restart_count: 0,
            restart_at: 0,
            crashes: false,
            was_stopped: false,
            is_half_started: false,
            log: Vec::new(),
            execs: Vec::new(),
            layer: Tree::default(),
            server: None,
            config: Map::new(),
            host_config: host,
        };
        OWN_FIELDS.iter().for_each(|field| _ = body.remove(*field));
        Container { config: body, ..container }
    }

    /// The mounts of a request; volumes that are not there yet are created, as are those that the image declares and
    /// nothing is mounted at.
    fn mount_all(&mut self, body: &Map<String, Value>, host: &Map<String, Value>, image: &Image) -> Vec<Mount> {
        let binds = list(host.get("Binds")).into_iter().filter_map(|bind| bound(bind.as_str()?));
        let mut mounts: Vec<_> = binds.chain(list(host.get("Mounts")).iter().map(mounted)).collect();
        let tmpfs = host.get("Tmpfs").map(object).unwrap_or_default();
        let declared = body.get("Volumes").map(object).unwrap_or_default();
        for destination in declared.keys().chain(&image.shown.volumes) {
            let is_taken = mounts.iter().any(|mount| mount.destination == *destination);
            if !is_taken && !tmpfs.contains_key(destination) {
                mounts.push(Mount { destination: destination.clone(), ..mounted(&json!({"Type": "volume"})) });
            }
        }
        for mount in mounts.iter_mut().filter(|mount| mount.kind == "volume") {
            if mount.name.is_empty() {
                mount.name = self.id();
            }
            mount.source = self.ensure_volume(&mount.name);
            self.fill_from_image(mount, image);
        }
        mounts
    }

    /// An empty volume gets what the image has at that place: of that only the owner counts here.
    fn fill_from_image(&mut self, mount: &Mount, image: &Image) {
        let is_in_image = image.shown.volumes.iter().any(|path| mount.destination.starts_with(path.as_str()));
        let Some(volume) = self.volumes.get_mut(&mount.name) else { return };
        if is_in_image && !mount.read_only && volume.tree.is_empty() && volume.tree.owner.is_empty() {
            volume.tree.owner.clone_from(&image.owner);
        }
    }
}

impl Image {
    /// `Config` of an image's inspect answer.
    pub fn config(&self) -> Value {
        let volumes: Map<_, _> = self.shown.volumes.iter().map(|path| (path.clone(), json!({}))).collect();
        let shown = &self.shown;
        json!({"Env": shown.env, "Entrypoint": shown.entrypoint, "Cmd": shown.command, "Volumes": volumes})
    }
}

/// As the engine merges them: an entry point of one's own has no command of the image's behind it.
fn argv(body: &Map<String, Value>, image: &Image) -> (Vec<String>, Vec<String>) {
    let given = |field| body.get(field).filter(|value| value.is_array()).map(|value| words(Some(value)));
    match (given("Entrypoint"), given("Cmd")) {
        (Some(entrypoint), command) => (entrypoint, command.unwrap_or_default()),
        (None, Some(command)) => (image.shown.entrypoint.clone(), command),
        (None, None) => (image.shown.entrypoint.clone(), image.shown.command.clone()),
    }
}

/// Of the image those variables that the request does not set.
fn environment(body: &Map<String, Value>, image: &Image) -> Vec<String> {
    let mut env = words(body.get("Env"));
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in &image.shown.env {
        if !env.iter().any(|given| name(given) == name(entry)) {
            env.push(entry.clone());
        }
    }
    env
}

fn labels(body: &Map<String, Value>) -> BTreeMap<String, String> {
    let given = body.get("Labels").map(object).unwrap_or_default();
    given.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect()
}

fn with_volumes(body: &mut Map<String, Value>, image: &Image) {
    let mut volumes = body.get("Volumes").map(object).unwrap_or_default();
    volumes.extend(image.shown.volumes.iter().map(|path| (path.clone(), json!({}))));
    if !volumes.is_empty() {
        body.insert("Volumes".into(), Value::Object(volumes));
    }
}

/// What the engine answers where nothing was asked for.
fn with_defaults(host: &mut Map<String, Value>) {
    let defaults = [
        ("PidMode", json!("")),
        ("IpcMode", json!("private")),
        ("PortBindings", json!({})),
        ("PublishAllPorts", json!(false)),
        ("CpuShares", json!(0)),
        ("LogConfig", json!({"Type": "json-file", "Config": {}})),
        ("UsernsMode", json!("")),
    ];
    for (field, value) in defaults {
        if host.get(field).is_none_or(Value::is_null) {
            host.insert(field.into(), value);
        }
    }
}

/// That of the container whose network it has, or of the machine; else its own short id.
fn host_name(state: &State, id: &str, network_mode: &str) -> String {
    let other = network_mode.strip_prefix("container:").and_then(|other| state.container(other));
    match other.and_then(|other| other.config.get("Hostname")?.as_str()) {
        Some(name) => name.to_owned(),
        None if network_mode == "host" => state.engine.host.clone(),
        None => id[..12].to_owned(),
    }
}

fn attachments(mode: &str, requested: &[(String, Value)]) -> Vec<Attachment> {
    let place = |network: &str, wishes: &Value| Attachment {
        network: network.to_owned(),
        network_id: String::new(),
        ip: String::new(),
        aliases: words(wishes.get("Aliases")),
        endpoint: endpoint(wishes),
    };
    match mode {
        mode if mode.starts_with("container:") => Vec::new(),
        _ if !requested.is_empty() => {
            let mut places: Vec<_> = requested.iter().map(|(network, wishes)| place(network, wishes)).collect();
            places.sort_by(|a, b| a.network.cmp(&b.network));
            places
        }
        "default" => vec![place("bridge", &Value::Null)],
        network => vec![place(network, &Value::Null)],
    }
}

fn endpoint(wishes: &Value) -> EndpointOptions {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ipam = &wishes["IPAMConfig"];
    let options = wishes.get("DriverOpts").map(object).unwrap_or_default();
    EndpointOptions {
        ipv4_address: text(&ipam["IPv4Address"]),
        ipv6_address: text(&ipam["IPv6Address"]),
        link_local_ips: words(ipam.get("LinkLocalIPs")),
        mac_address: text(&wishes["MacAddress"]),
        links: words(wishes.get("Links")),
        driver_opts: options.into_iter().map(|(name, value)| (name, text(&value))).collect(),
    }
}

/// `source:destination[:options]`
fn bound(bind: &str) -> Option<Mount> {
    let (source, rest) = bind.split_once(':')?;
    let (destination, options) = rest.split_once(':').unwrap_or((rest, ""));
    let is_path = source.starts_with('/');
    let (name, source) = if is_path { ("", source) } else { (source, "") };
    Some(Mount {
        kind: if is_path { "bind" } else { "volume" }.into(),
        name: name.into(),
        source: source.into(),
        destination: destination.trim_end_matches('/').into(),
        read_only: options.split(',').any(|option| option == "ro"),
    })
}

fn mounted(entry: &Value) -> Mount {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let kind = text("Type");
    let (name, source) =
        if kind == "volume" { (text("Source"), String::new()) } else { (String::new(), text("Source")) };
    let read_only = entry["ReadOnly"].as_bool() == Some(true);
    Mount { kind, name, source, destination: text("Target"), read_only }
}

fn policy_text(policy: &Value) -> String {
    let name = policy["Name"].as_str().unwrap_or_default();
    match policy["MaximumRetryCount"].as_u64() {
        _ if name.is_empty() => "no".into(),
        Some(count) if count > 0 && name == "on-failure" => format!("on-failure:{count}"),
        _ => name.into(),
    }
}

fn text(map: &Map<String, Value>, field: &str) -> String {
    map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

fn words(value: Option<&Value>) -> Vec<String> {
    list(value).iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    const SERVER: &str = "primero-postgres-1";

    /// Containers made like that one are called by it.
    fn like(state: &State, container: &str) -> ContainerSpec {
        ContainerSpec { like: Some((*state.show(container).unwrap().inspect).clone()), ..ContainerSpec::default() }
    }

    #[test]
    fn a_container_made_again_from_what_is_shown_of_it_is_the_same() {
        let mut state = reference(13);
        let old = state.show(SERVER).unwrap();
        let spec = ContainerSpec { name: Some(SERVER.into()), ..like(&state, SERVER) };
        assert_eq!(state.create(&spec).unwrap_err().code, "docker.conflict");
        state.stop(SERVER).unwrap();
        state.remove(SERVER, false).unwrap();
        let id = state.create(&spec).unwrap();
        state.start(&id).unwrap();
        let new = state.show(SERVER).unwrap();
        assert_ne!(new.id, old.id);
        assert_eq!((&new.env, &new.labels, &new.mounts), (&old.env, &old.labels, &old.mounts));
        assert_eq!((&new.networks, &new.restart_policy), (&old.networks, &old.restart_policy));
        let mut config = old.inspect["Config"].clone();
        config["Hostname"] = json!(&new.id[..12]);
        assert_eq!(new.inspect["Config"], config);
        assert_eq!(state.sessions(SERVER).len(), 2);
    }

    #[test]
    fn another_image_brings_its_own_environment_and_keeps_what_was_wished() {
        let mut state = reference(13);
        let spec = ContainerSpec {
            image: Some("pgscript-test/postgres:17".into()),
            network: Some("none".into()),
            labels: Some(BTreeMap::new()),
            ..like(&state, SERVER)
        };
        let id = state.create(&spec).unwrap();
        let new = state.show(&id).unwrap();
        assert_eq!((new.variable("PG_MAJOR"), new.variable("POSTGRES_USER")), (Some("17"), Some("primero")));
        assert_eq!(new.env.iter().filter(|entry| entry.starts_with("PATH=")).count(), 1);
        assert_eq!(new.argv(), ["docker-entrypoint.sh", "postgres"]);
        assert_eq!(new.networks.iter().map(|place| place.network.as_str()).collect::<Vec<_>>(), ["none"]);
        assert_eq!((new.project.as_str(), new.mounts[0].name.as_str()), ("", "primero_database"));
    }

    #[test]
    fn what_a_real_engine_has_shown_serves_as_well() {
        let mut state = reference(13);
        let inspect = json!({
            "Id": "f".repeat(64), "Image": state.image("pgscript-test/app:1").unwrap().shown.id,
            "Config": {"Hostname": "f".repeat(12), "Image": "pgscript-test/app:1", "Env": ["A=b"], "Cmd": ["app.sh"],
                "Entrypoint": null, "Labels": {"x": "y"}, "Volumes": null, "User": ""},
            "HostConfig": {"Binds": ["primero_data:/data:rw", "/srv/in:/in:ro"], "NetworkMode": "primero_default",
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "Mounts": null, "PidMode": ""},
            "Mounts": [{"Type": "volume", "Name": "primero_data", "Destination": "/data", "RW": true}],
            "NetworkSettings": {"Networks": {"primero_default": {"Aliases": ["app", "ffffffffffff"],
                "IPAMConfig": null, "IPAddress": "172.18.0.9", "MacAddress": "02:42:ac:12:00:09"}}},
        });
        let id = state.create(&ContainerSpec { like: Some(inspect), ..ContainerSpec::default() }).unwrap();
        let made = state.show(&id).unwrap();
        assert_eq!(
            (made.restart_policy.as_str(), made.networks[0].aliases.as_slice()),
            ("on-failure:3", &["app".into()][..])
        );
        assert_eq!(made.inspect["Config"]["Hostname"], json!(&id[..12]));
        assert!(state.volumes.contains_key("primero_data") && made.mounts[1].read_only);
        assert_eq!(made.networks[0].endpoint, EndpointOptions::default());
    }

    #[test]
    fn what_an_image_declares_is_a_volume_unless_something_is_mounted_there() {
        let mut state = reference(13);
        let image = Some("pgscript-test/postgres:15".to_owned());
        let id = state.create(&ContainerSpec { image: image.clone(), ..ContainerSpec::default() }).unwrap();
        let anonymous = state.container(&id).unwrap().mounts[0].clone();
        assert_eq!((anonymous.name.len(), anonymous.destination.as_str()), (64, "/var/lib/postgresql/data"));
        assert_eq!(state.volumes[&anonymous.name].tree.owner, "999:999");
        let tmpfs = BTreeMap::from([("/var/lib/postgresql/data".to_owned(), String::new())]);
        let id = state.create(&ContainerSpec { image, tmpfs, ..ContainerSpec::default() }).unwrap();
        assert_eq!(state.container(&id).unwrap().mounts, []);
    }

    #[test]
    fn without_its_image_nothing_is_created() {
        let mut state = reference(13);
        let spec = ContainerSpec { image: Some("pgscript-test/absent:9".into()), ..ContainerSpec::default() };
        let error = state.create(&spec).unwrap_err();
        assert_eq!(error.code, "docker.image_missing");
        assert!(error.message.contains("absent:9") && error.hint.unwrap().contains("docker pull"));
    }
}
