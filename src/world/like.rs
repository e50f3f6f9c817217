//! What makes a new container like an existing one: an inspect answer turned into a request.
//!
//! An inspect answer mixes what somebody wished with what the image and the engine added. The wishes go
//! into the request; what came from the old image must not, else a server of the new major would run with
//! the old one's `PATH`; nor what belongs to the one container only (its id as host name and alias).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A request, still as the API's JSON: `Config`'s fields with `HostConfig` among them, and the networks.
pub struct Likeness {
    pub body: Map<String, Value>,
    pub host: Map<String, Value>,
    /// The first is given at creation, the others are connected after it.
    pub networks: Vec<(String, Value)>,
}

/// `old_image` is the `Config` of the image the container was created from, when the new one has another.
pub fn likeness(inspect: &Value, old_image: Option<&Value>) -> Likeness {
    let id = inspect["Id"].as_str().unwrap_or_default();
    let mut body = object(&inspect["Config"]);
    let mut host = object(&inspect["HostConfig"]);
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default().to_owned();
    let host_name = body.get("Hostname").and_then(Value::as_str).unwrap_or_default();
    if is_short_id(id, host_name) || mode == "host" || mode.starts_with("container:") {
        body.remove("Hostname");
    }
    if let Some(image) = old_image {
        subtract(&mut body, image);
    }
    host.remove("ContainerIDFile");
    keep_mounts(&mut host, &inspect["Mounts"]);
    Likeness { body, host, networks: networks(inspect, id, &mode) }
}

/// The object; an empty one for anything else.
pub fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn list(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Takes out what the image had set.
fn subtract(config: &mut Map<String, Value>, image: &Value) {
    const WHOLE: [&str; 7] = ["User", "WorkingDir", "StopSignal", "Healthcheck", "Shell", "OnBuild", "ArgsEscaped"];
    for field in WHOLE {
        if config.get(field).is_some_and(|value| *value == image[field]) {
            config.remove(field);
        }
    }
    // An entry point of one's own never had the image's command behind it.
    let own = |field: &str| config.get(field).is_some_and(|value| *value != image[field]);
    let (entrypoint, command) = (own("Entrypoint"), own("Cmd"));
    if !entrypoint {
        config.remove("Entrypoint");
    }
    if !entrypoint && !command {
        config.remove("Cmd");
    }
    if let Some(Value::Array(env)) = config.get_mut("Env") {
        let of_image = list(image.get("Env"));
        env.retain(|entry| !of_image.contains(entry));
    }
    for field in ["ExposedPorts", "Volumes", "Labels"] {
        if let (Some(Value::Object(own)), Some(of_image)) = (config.get_mut(field), image[field].as_object()) {
            own.retain(|key, value| of_image.get(key) != Some(value));
        }
    }
}

/// Every volume and directory that is mounted now stays mounted: anonymous volumes, and those that came with
/// `--volumes-from`, are named nowhere but in the list of what is mounted.
fn keep_mounts(host: &mut Map<String, Value>, mounted: &Value) {
    host.remove("VolumesFrom");
    let mut binds = list(host.get("Binds"));
    let mut mounts = list(host.get("Mounts"));
    for point in list(Some(mounted)) {
        let text = |field: &str| point[field].as_str().unwrap_or_default();
        let (kind, destination) = (text("Type"), text("Destination"));
        let source = if kind == "volume" { text("Name") } else { text("Source") };
        if !matches!(kind, "volume" | "bind") || source.is_empty() || binds.iter().any(|b| bind_is_at(b, destination)) {
            continue;
        }
        match mounts.iter_mut().find(|m| same_path(m["Target"].as_str().unwrap_or_default(), destination)) {
            Some(mount) if mount["Source"].as_str().unwrap_or_default().is_empty() => mount["Source"] = json!(source),
            Some(_) => {}
            None => {
                let suffix = if point["RW"] == json!(false) { ":ro" } else { "" };
                binds.push(json!(format!("{source}:{destination}{suffix}")));
            }
        }
    }
    host.insert("Binds".into(), Value::Array(binds));
    host.insert("Mounts".into(), Value::Array(mounts));
}

/// Frees a destination, so that something else can be mounted there.
pub fn unmount(request: &mut Likeness, destination: &str) {
    if let Some(Value::Array(binds)) = request.host.get_mut("Binds") {
        binds.retain(|bind| !bind_is_at(bind, destination));
    }
    if let Some(Value::Array(mounts)) = request.host.get_mut("Mounts") {
        mounts.retain(|mount| !same_path(mount["Target"].as_str().unwrap_or_default(), destination));
    }
    for holder in [request.host.get_mut("Tmpfs"), request.body.get_mut("Volumes")] {
        if let Some(Value::Object(paths)) = holder {
            paths.retain(|path, _| !same_path(path, destination));
        }
    }
}

/// `source:destination[:options]`
fn bind_is_at(bind: &Value, destination: &str) -> bool {
    let mut parts = bind.as_str().unwrap_or_default().split(':').skip(1);
    parts.next().is_some_and(|path| same_path(path, destination))
}

fn same_path(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// The networks with what was wished for in each; the one of `NetworkMode` first.
fn networks(inspect: &Value, id: &str, mode: &str) -> Vec<(String, Value)> {
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return Vec::new();
    }
    let all: BTreeMap<_, _> = object(&inspect["NetworkSettings"]["Networks"]).into_iter().collect();
    let mut networks: Vec<_> = all
        .into_iter()
        .map(|(name, settings)| {
            let first = name == mode || settings["NetworkID"] == json!(mode) || (name == "bridge" && mode == "default");
            let wishes = if name == "bridge" { json!({}) } else { wishes(&settings, id) };
            (!first, name, wishes)
        })
        .collect();
    networks.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    networks.into_iter().map(|(_, name, wishes)| (name, wishes)).collect()
}

fn wishes(settings: &Value, id: &str) -> Value {
    let mut wishes = Map::new();
    for field in ["IPAMConfig", "Links", "DriverOpts", "GwPriority"] {
        if let Some(value) = settings.get(field).filter(|value| !is_nothing(value)) {
            wishes.insert(field.into(), value.clone());
        }
    }
    let text = |field: &str| settings[field].as_str().unwrap_or_default();
    let mac = text("MacAddress");
    if !mac.is_empty() && !is_made_of(mac, text("IPAddress")) {
        wishes.insert("MacAddress".into(), json!(mac));
    }
    let aliases = list(settings.get("Aliases"));
    let chosen: Vec<_> =
        aliases.into_iter().filter(|alias| !is_short_id(id, alias.as_str().unwrap_or_default())).collect();
    wishes.insert("Aliases".into(), Value::Array(chosen));
    Value::Object(wishes)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) => false,
    }
}

/// Whether the engine has made the MAC of the address, so that it must not outlive it: `02:42:` and the address's
/// bytes. Engines from 28 on make up any; such a one is nobody else's and may stay.
pub fn is_made_of(mac: &str, ip: &str) -> bool {
    let Ok(address) = ip.parse::<std::net::Ipv4Addr>() else { return false };
    let [a, b, c, d] = address.octets();
    mac.eq_ignore_ascii_case(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}

/// Whether a text is a container's short id, which the engine uses as host name and as alias.
pub fn is_short_id(id: &str, text: &str) -> bool {
    text.len() == 12 && id.starts_with(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected() -> Value {
        json!({
            "Id": "0123456789abcdef", "State": {"Running": true},
            "Config": {
                "Hostname": "0123456789ab", "Image": "postgres:13",
                "Env": ["PATH=/usr/lib/postgresql/13/bin:/bin", "PG_MAJOR=13", "POSTGRES_USER=primero"],
                "Cmd": ["postgres", "-c", "max_connections=50"], "Entrypoint": ["docker-entrypoint.sh"],
                "Labels": {"maintainer": "image", "com.docker.compose.project": "primero"},
                "Volumes": {"/var/lib/postgresql/data": {}, "/extra": {}}, "StopSignal": "SIGINT",
            },
            "HostConfig": {
                "Binds": ["data:/var/lib/postgresql/data:rw"], "Mounts": [{"Type": "volume", "Target": "/m"}],
                "NetworkMode": "z_first", "VolumesFrom": ["other"], "ShmSize": 1,
            },
            "Mounts": [
                {"Type": "volume", "Name": "data", "Destination": "/var/lib/postgresql/data", "RW": true},
                {"Type": "volume", "Name": "anon1", "Destination": "/extra", "RW": true},
                {"Type": "volume", "Name": "anon2", "Destination": "/m", "RW": true},
                {"Type": "bind", "Source": "/srv/x", "Destination": "/x", "RW": false},
                {"Type": "tmpfs", "Source": "", "Destination": "/t"},
            ],
            "NetworkSettings": {"Networks": {
                "a_second": {"Aliases": ["db", "0123456789ab"], "IPAMConfig": {"IPv4Address": "10.9.0.7"},
                    "MacAddress": "02:42:0a:09:00:07", "IPAddress": "10.9.0.7", "GwPriority": 0},
                "z_first": {"Aliases": ["postgres"], "IPAMConfig": {}, "Links": null},
            }},
        })
    }

    fn old_image() -> Value {
        json!({
            "Env": ["PATH=/usr/lib/postgresql/13/bin:/bin", "PG_MAJOR=13"], "Cmd": ["postgres"],
            "Entrypoint": ["docker-entrypoint.sh"], "Labels": {"maintainer": "image"},
            "Volumes": {"/var/lib/postgresql/data": {}}, "StopSignal": "SIGINT",
        })
    }

    #[test]
    fn what_the_old_image_set_is_left_to_the_new_one() {
        let body = likeness(&inspected(), Some(&old_image())).body;
        assert_eq!(body["Env"], json!(["POSTGRES_USER=primero"]));
        assert_eq!(body["Cmd"], json!(["postgres", "-c", "max_connections=50"]));
        assert_eq!(body["Labels"], json!({"com.docker.compose.project": "primero"}));
        assert_eq!(body["Volumes"], json!({"/extra": {}}));
        assert!(!body.contains_key("Entrypoint") && !body.contains_key("StopSignal"));
    }

    #[test]
    fn a_command_behind_an_own_entry_point_is_kept_even_if_the_image_has_the_same() {
        let mut inspect = inspected();
        inspect["Config"]["Entrypoint"] = json!(["/own.sh"]);
        inspect["Config"]["Cmd"] = json!(["postgres"]);
        let body = likeness(&inspect, Some(&old_image())).body;
        assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&json!(["/own.sh"]), &json!(["postgres"])));
    }

    #[test]
    fn the_id_is_no_host_name_and_a_chosen_name_stays() {
        assert!(!likeness(&inspected(), None).body.contains_key("Hostname"));
        let mut inspect = inspected();
        inspect["Config"]["Hostname"] = json!("db");
        assert_eq!(likeness(&inspect, None).body["Hostname"], json!("db"));
    }

    #[test]
    fn everything_mounted_stays_mounted_under_its_name() {
        let host = likeness(&inspected(), None).host;
        assert_eq!(host["Binds"], json!(["data:/var/lib/postgresql/data:rw", "anon1:/extra", "/srv/x:/x:ro"]));
        assert_eq!(host["Mounts"], json!([{"Type": "volume", "Target": "/m", "Source": "anon2"}]));
        assert!(!host.contains_key("VolumesFrom"));
    }

    #[test]
    fn the_network_of_the_mode_comes_first_and_only_wishes_are_kept() {
        let networks = likeness(&inspected(), None).networks;
        assert_eq!(networks[0], ("z_first".into(), json!({"Aliases": ["postgres"]})));
        let wishes = json!({"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.9.0.7"}});
        assert_eq!(networks[1], ("a_second".into(), wishes));
    }

    #[test]
    fn a_destination_is_freed_however_it_was_taken() {
        let mut request = likeness(&inspected(), None);
        for destination in ["/var/lib/postgresql/data/", "/m", "/extra"] {
            unmount(&mut request, destination);
        }
        assert_eq!(request.host["Binds"], json!(["/srv/x:/x:ro"]));
        assert_eq!(request.host["Mounts"], json!([]));
        assert_eq!(request.body["Volumes"], json!({}));
    }
}
