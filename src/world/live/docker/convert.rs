//! The engine's answers as the world's types.

use std::collections::{BTreeMap, HashMap};

use bollard::models;

use crate::world::container::*;
use crate::world::error::{Error, Result};

pub(super) fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

/// `None` where the world's type says "empty".
fn text(value: Option<impl ToString>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

pub(super) fn container(answer: models::ContainerInspectResponse) -> Result<Container> {
    let inspect = serde_json::to_value(&answer)
        .map_err(|e| Error::failed("docker.failed", format!("cannot keep the answer of an inspection: {e}")))?;
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let labels = sorted(config.labels);
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let id = text(answer.id);
    Ok(Container {
        name: text(answer.name).trim_start_matches('/').to_owned(),
        image: text(config.image),
        image_id: text(answer.image),
        state: text(state.status),
        started_at: text(state.started_at),
        exit_code: state.exit_code.unwrap_or_default(),
        restart_count: answer.restart_count.unwrap_or_default(),
        health: text(state.health.and_then(|h| h.status)).replace("none", ""),
        restart_policy: policy_text(host.restart_policy),
        project: label(LABEL_PROJECT),
        service: label(LABEL_SERVICE),
        env: config.env.unwrap_or_default(),
        mounts: answer.mounts.unwrap_or_default().into_iter().map(mount).collect(),
        networks: attachments(&id, answer.network_settings.and_then(|n| n.networks)),
        labels,
        id,
        inspect,
    })
}

fn mount(point: models::MountPoint) -> Mount {
    Mount {
        kind: text(point.typ),
        name: text(point.name),
        source: text(point.source),
        destination: text(point.destination),
        read_only: point.rw == Some(false),
    }
}

fn attachments(id: &str, networks: Option<HashMap<String, models::EndpointSettings>>) -> Vec<Attachment> {
    let networks: BTreeMap<_, _> = networks.unwrap_or_default().into_iter().collect();
    let attachment = |(network, settings): (String, models::EndpointSettings)| Attachment {
        network,
        ip: text(settings.ip_address),
        aliases: chosen_aliases(id, settings.aliases.unwrap_or_default()),
    };
    networks.into_iter().map(attachment).collect()
}

/// Without the one the engine adds by itself, the short id: it belongs to this container only.
pub(super) fn chosen_aliases(id: &str, aliases: Vec<String>) -> Vec<String> {
    aliases.into_iter().filter(|alias| !is_short_id(id, alias)).collect()
}

pub(super) fn is_short_id(id: &str, text: &str) -> bool {
    text.len() == 12 && id.starts_with(text)
}

fn policy_text(policy: Option<models::RestartPolicy>) -> String {
    let policy = policy.unwrap_or_default();
    let name = text(policy.name);
    match (name.as_str(), policy.maximum_retry_count) {
        ("", _) => "no".into(),
        ("on-failure", Some(count)) if count > 0 => format!("on-failure:{count}"),
        _ => name,
    }
}

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`, as `docker update --restart` takes it.
pub(super) fn restart_policy(text: &str) -> Result<models::RestartPolicy> {
    use models::RestartPolicyNameEnum as Name;
    let wrong = || {
        Error::usage("docker.failed", format!("`{text}` is not a restart policy"))
            .hint("no, always, unless-stopped, on-failure or on-failure:3")
    };
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count.parse::<u32>().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let name = match name {
        "no" => Name::NO,
        "always" => Name::ALWAYS,
        "unless-stopped" => Name::UNLESS_STOPPED,
        "on-failure" => Name::ON_FAILURE,
        _ => return Err(wrong()),
    };
    if count.is_some() && name != Name::ON_FAILURE {
        return Err(wrong());
    }
    Ok(models::RestartPolicy { name: Some(name), maximum_retry_count: count.map(i64::from) })
}

pub(super) fn image(answer: models::ImageInspect) -> Image {
    let config = answer.config.unwrap_or_default();
    Image {
        id: text(answer.id),
        tags: answer.repo_tags.unwrap_or_default(),
        digests: answer.repo_digests.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        volumes: config.volumes.unwrap_or_default(),
        size: answer.size.unwrap_or_default(),
    }
}

pub(super) fn network(answer: models::NetworkInspect) -> Network {
    let mut containers: Vec<_> =
        answer.containers.unwrap_or_default().into_values().filter_map(|endpoint| endpoint.name).collect();
    containers.sort();
    Network {
        id: text(answer.id),
        name: text(answer.name),
        driver: text(answer.driver),
        internal: answer.internal.unwrap_or_default(),
        labels: sorted(answer.labels),
        containers,
    }
}

pub(super) fn volume(answer: models::Volume) -> Volume {
    Volume {
        name: answer.name,
        driver: answer.driver,
        mount_point: answer.mountpoint,
        labels: sorted(Some(answer.labels)),
        options: sorted(Some(answer.options)),
        created_at: text(answer.created_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_policy_survives_the_round_trip() {
        for policy in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(policy_text(Some(restart_policy(policy).unwrap())), policy);
        }
        for wrong in ["", "sometimes", "always:3", "on-failure:x", "on-failure:-1"] {
            assert!(restart_policy(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_short_id_is_dropped_from_the_aliases() {
        let id = "0123456789abcdef";
        let aliases = ["postgres", "0123456789ab", "0123"].map(String::from).to_vec();
        assert_eq!(chosen_aliases(id, aliases), ["postgres", "0123"]);
    }
}
