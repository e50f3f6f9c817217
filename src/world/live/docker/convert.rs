//! The engine's answers as the world's types.

use std::collections::{BTreeMap, HashMap};

use bollard::models;

use crate::world::container::*;
use crate::world::error::{Error, Result};
use crate::world::like::{is_made_of, is_short_id};
use crate::world::request;

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
        inspect: inspect.into(),
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
        endpoint: endpoint_options(&settings),
        network_id: text(settings.network_id),
        ip: text(settings.ip_address),
        aliases: chosen_aliases(id, settings.aliases.unwrap_or_default()),
    };
    networks.into_iter().map(attachment).collect()
}

/// What was asked for, without what the engine gave.
fn endpoint_options(settings: &models::EndpointSettings) -> EndpointOptions {
    let wished = settings.ipam_config.clone().unwrap_or_default();
    let mac = settings.mac_address.as_deref().unwrap_or_default();
    EndpointOptions {
        ipv4_address: text(wished.ipv4_address),
        ipv6_address: text(wished.ipv6_address),
        link_local_ips: wished.link_local_ips.unwrap_or_default(),
        mac_address: Some(mac)
            .filter(|mac| !is_made_of(mac, &text(settings.ip_address.as_ref())))
            .unwrap_or_default()
            .into(),
        links: settings.links.clone().unwrap_or_default(),
        driver_opts: sorted(settings.driver_opts.clone()),
    }
}

pub(super) fn endpoint_settings(aliases: &[String], options: &EndpointOptions) -> models::EndpointSettings {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let wished = models::EndpointIpamConfig {
        ipv4_address: given(&options.ipv4_address),
        ipv6_address: given(&options.ipv6_address),
        link_local_ips: Some(options.link_local_ips.clone()).filter(|ips| !ips.is_empty()),
    };
    models::EndpointSettings {
        aliases: Some(aliases.to_vec()),
        ipam_config: Some(wished).filter(|wished| *wished != models::EndpointIpamConfig::default()),
        mac_address: given(&options.mac_address),
        links: Some(options.links.clone()).filter(|links| !links.is_empty()),
        driver_opts: Some(options.driver_opts.clone().into_iter().collect()).filter(|o: &HashMap<_, _>| !o.is_empty()),
        ..Default::default()
    }
}

/// Without the one the engine adds by itself, the short id: it belongs to this container only.
pub(super) fn chosen_aliases(id: &str, aliases: Vec<String>) -> Vec<String> {
    aliases.into_iter().filter(|alias| !is_short_id(id, alias)).collect()
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

/// See [`request::restart_policy`].
pub(super) fn restart_policy(text: &str) -> Result<models::RestartPolicy> {
    let policy = serde_json::from_value(request::restart_policy(text)?);
    policy.map_err(|e| Error::failed("docker.failed", format!("restart policy {text}: {e}")))
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
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
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
        options: sorted(answer.options),
        attachable: answer.attachable.unwrap_or_default(),
        ipv6: answer.enable_ipv6.unwrap_or_default(),
        ipam: answer.ipam.and_then(|ipam| serde_json::to_value(ipam).ok()),
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
    fn what_was_asked_for_in_a_network_survives_the_round_trip() {
        let asked = EndpointOptions {
            ipv4_address: "10.9.0.7".into(),
            ipv6_address: "fd00::7".into(),
            link_local_ips: vec!["169.254.8.8".into()],
            mac_address: "02:42:0a:09:00:08".into(),
            links: vec!["app:web".into()],
            driver_opts: BTreeMap::from([("a".into(), "b".into())]),
        };
        let aliases = ["db".to_owned()];
        let mut settings = endpoint_settings(&aliases, &asked);
        settings.ip_address = Some("10.9.0.7".into());
        assert_eq!(endpoint_options(&settings), asked);
        settings.mac_address = Some("02:42:0A:09:00:07".into());
        assert_eq!(endpoint_options(&settings).mac_address, "", "the engine has made it of the address");
        assert_eq!(endpoint_settings(&aliases, &EndpointOptions::default()).ipam_config, None);
    }

    #[test]
    fn a_place_in_an_older_journal_asked_for_nothing() {
        let old = r#"{"network": "primero_default", "ip": "172.18.0.2", "aliases": ["db"]}"#;
        assert_eq!(serde_json::from_str::<Attachment>(old).unwrap().endpoint, EndpointOptions::default());
    }

    #[test]
    fn only_the_short_id_is_dropped_from_the_aliases() {
        let id = "0123456789abcdef";
        let aliases = ["postgres", "0123456789ab", "0123"].map(String::from).to_vec();
        assert_eq!(chosen_aliases(id, aliases), ["postgres", "0123"]);
    }
}
