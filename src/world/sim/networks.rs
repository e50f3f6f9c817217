//! Networks, who is in them, and which addresses they give.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::State;
use super::state::Container;
use crate::world::container::{Attachment, EndpointOptions, Network, NetworkSpec};
use crate::world::error::{Error, Result};
use crate::world::refusal::{checked_name, refused};

/// Networks that every engine has, and nobody removes.
pub(super) const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];
/// Subnet of the engine's own `bridge`.
const BRIDGE: &str = "172.17.0.0/16";

impl State {
    /// Whether ports of a container are published: none are through an internal network.
    pub(super) fn is_reached(&self, container: &Container) -> bool {
        let is_open = |place: &Attachment| self.find_network(&place.network).is_some_and(|network| !network.internal);
        container.networks.iter().any(|place| !place.ip.is_empty() && is_open(place))
    }

    pub(super) fn find_network(&self, name: &str) -> Option<&Network> {
        self.networks.get(name).or_else(|| self.networks.values().find(|network| network.id == name))
    }

    pub(super) fn known_network(&self, name: &str, action: &str) -> Result<&Network> {
        checked_name("network", name)?;
        self.find_network(name).ok_or_else(|| refused(action, 404, &format!("network {name} not found")))
    }

    /// With the names of the containers that are in it now.
    pub(super) fn shown_network(&self, network: &Network) -> Network {
        let mut containers: Vec<_> = self.members(&network.name).map(|c| c.name.clone()).collect();
        containers.sort();
        Network { containers, ..network.clone() }
    }

    /// Containers that run in a network.
    pub(super) fn members<'s>(&'s self, network: &'s str) -> impl Iterator<Item = &'s Container> {
        let is_in = move |c: &&Container| c.is_up() && c.networks.iter().any(|place| place.network == network);
        self.containers().filter(is_in)
    }

    /// Errors: `docker.conflict` where there is one of that name.
    pub fn make_network(&mut self, name: &str, spec: &NetworkSpec) -> Result<Network> {
        let action = format!("create network {name}");
        checked_name("network", name)?;
        if self.find_network(name).is_some() {
            return Err(Error::failed("docker.conflict", format!("cannot {action}: it exists already")));
        }
        let given = spec.ipam.clone().filter(|ipam| subnet(ipam).is_some());
        let network = Network {
            id: self.id(),
            name: name.to_owned(),
            driver: if spec.driver.is_empty() { "bridge".into() } else { spec.driver.clone() },
            internal: spec.internal,
            labels: spec.labels.clone(),
            options: spec.options.clone(),
            attachable: spec.attachable,
            ipv6: spec.ipv6,
            ipam: Some(given.unwrap_or_else(|| self.free_subnet())),
            containers: Vec::new(),
        };
        self.networks.insert(name.to_owned(), network.clone());
        Ok(network)
    }

    /// The first of the engine's own pool that no network has.
    fn free_subnet(&self) -> Value {
        let taken: Vec<_> = self.networks.values().filter_map(|network| subnet(network.ipam.as_ref()?)).collect();
        let pool = (18..32).map(|n| (Ipv4Addr::new(172, n, 0, 0), 16_u8));
        let pool = pool.chain((0..=240).step_by(16).map(|n| (Ipv4Addr::new(192, 168, n, 0), 20)));
        let (base, prefix) =
            pool.into_iter().find(|own| !taken.contains(own)).unwrap_or((Ipv4Addr::new(10, 0, 0, 0), 8));
        let config = json!([{"Subnet": format!("{base}/{prefix}"), "Gateway": first(base)}]);
        json!({"Driver": "default", "Options": null, "Config": config})
    }

    /// Errors: `docker.network_gone`; `docker.conflict` while somebody runs in it.
    pub fn drop_network(&mut self, name: &str) -> Result<()> {
        let action = format!("remove network {name}");
        let network = self.known_network(name, &action)?.clone();
        if PREDEFINED.contains(&network.name.as_str()) {
            return Err(refused(&action, 403, &format!("{name} is a pre-defined network and cannot be removed")));
        }
        if self.members(&network.name).next().is_some() {
            let reason = format!("error while removing network: network {name} id {} has active endpoints", network.id);
            return Err(Error::failed("docker.conflict", format!("cannot {action}: {reason}"))
                .hint("disconnect or stop the containers that are in it first"));
        }
        self.networks.remove(&network.name);
        Ok(())
    }

    /// Errors: `docker.address_in_use` where a running container can't have the fixed address it asks for.
    pub fn connect(
        &mut self,
        network: &str,
        container: &str,
        aliases: &[String],
        options: &EndpointOptions,
    ) -> Result<()> {
        let action = format!("connect container {container} to network {network}");
        let found = self.known_container(container, &action)?.clone();
        let network = self.known_network(network, &action)?.clone();
        let mode = found.network_mode.as_str();
        if mode == "host" || mode.starts_with("container:") {
            let reason = "container sharing network namespace with another container or host cannot be connected to \
                          any other network";
            return Err(refused(&action, 403, reason));
        }
        let is_in = found.networks.iter().any(|place| place.network == network.name);
        if is_in && found.is_up() {
            let reason = format!("endpoint with name {} already exists in network {}", found.name, network.name);
            return Err(refused(&action, 403, &reason));
        }
        let (ip, network_id, aliases) = (String::new(), String::new(), aliases.to_vec());
        let endpoint = options.clone();
        let mut place = Attachment { network: network.name.clone(), network_id, ip, aliases, endpoint };
        if found.is_up() {
            place.ip = self.address(&network, &found, &place, &action)?;
            place.network_id = network.id.clone();
        }
        let Some(container) = self.container_mut(&found.id) else { return Ok(()) };
        container.networks.retain(|place| place.network != network.name && place.network != "none");
        container.networks.push(place);
        container.networks.sort_by(|a, b| a.network.cmp(&b.network));
        Ok(())
    }

    /// Also out of a network that is not there any more.
    pub fn disconnect(&mut self, network: &str, container: &str) -> Result<()> {
        let action = format!("disconnect container {container} from network {network}");
        let id = self.known_container(container, &action)?.id.clone();
        let known = self.find_network(network).map_or(network, |network| network.name.as_str()).to_owned();
        let is_gone = self.find_network(&known).is_none();
        let Some(container) = self.container_mut(&id) else { return Ok(()) };
        let before = container.networks.len();
        container.networks.retain(|place| place.network != known);
        match before == container.networks.len() {
            false => Ok(()),
            true if is_gone => Err(refused(&action, 404, &format!("network {network} not found"))),
            true => Err(refused(&action, 403, &format!("container {id} is not connected to network {known}"))),
        }
    }

    /// A container that starts gets its place in each of its networks.
    ///
    /// Errors: `docker.network_gone`, `docker.address_in_use`; then it has none.
    pub(super) fn join_networks(&mut self, id: &str, action: &str) -> Result<()> {
        let Some(container) = self.container(id).cloned() else { return Ok(()) };
        let mut joined = Vec::new();
        for place in &container.networks {
            let known = if place.network_id.is_empty() { &place.network } else { &place.network_id };
            let network = self.known_network(known, action)?.clone();
            let ip = self.address(&network, &container, place, action)?;
            joined.push((ip, network));
        }
        let Some(container) = self.container_mut(id) else { return Ok(()) };
        for (place, (ip, network)) in container.networks.iter_mut().zip(joined) {
            place.ip = ip;
            if !PREDEFINED.contains(&network.name.as_str()) {
                place.network_id = network.id;
            }
        }
        Ok(())
    }

    fn address(&self, network: &Network, who: &Container, place: &Attachment, action: &str) -> Result<String> {
        if ["host", "none"].contains(&network.name.as_str()) {
            return Ok(String::new());
        }
        let given = network.ipam.as_ref().and_then(subnet);
        let (base, prefix) = given.or_else(|| parsed(BRIDGE)).unwrap_or((Ipv4Addr::UNSPECIFIED, 8));
        let others = self.members(&network.name).filter(|c| c.id != who.id).flat_map(|c| &c.networks);
        let mut taken: Vec<_> = others.filter(|p| p.network == network.name).map(|p| p.ip.as_str()).collect();
        let gateway = network.ipam.as_ref().and_then(|ipam| ipam["Config"][0]["Gateway"].as_str());
        let first = first(base).to_string();
        taken.push(gateway.unwrap_or(&first));
        let wished = place.endpoint.ipv4_address.as_str();
        if !wished.is_empty() {
            return match taken.contains(&wished) {
                true => Err(refused(action, 403, "Address already in use")),
                false => Ok(wished.to_owned()),
            };
        }
        let last = 1_u32.checked_shl(32 - u32::from(prefix)).unwrap_or(u32::MAX) - 1;
        let mut hosts = (2..last).map(|n| Ipv4Addr::from(u32::from(base) + n).to_string());
        let full = || refused(action, 500, "no available IPv4 addresses on this network's address pools");
        hosts.find(|ip| !taken.contains(&ip.as_str())).ok_or_else(full)
    }
}

fn subnet(ipam: &Value) -> Option<(Ipv4Addr, u8)> {
    ipam["Config"].as_array()?.iter().find_map(|config| parsed(config["Subnet"].as_str()?))
}

fn parsed(subnet: &str) -> Option<(Ipv4Addr, u8)> {
    let (base, prefix) = subnet.split_once('/')?;
    Some((base.parse().ok()?, prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix))?))
}

fn first(base: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base) + 1)
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    const SERVER: &str = "primero-postgres-1";
    const NETWORK: &str = "primero_default";

    fn fixed(address: &str) -> EndpointOptions {
        EndpointOptions { ipv4_address: address.into(), ..EndpointOptions::default() }
    }

    fn place(state: &State, container: &str, network: &str) -> Attachment {
        let shown = state.show(container).unwrap();
        shown.networks.into_iter().find(|place| place.network == network).unwrap()
    }

    #[test]
    fn a_network_in_which_somebody_runs_is_not_removed() {
        let mut state = reference(13);
        assert_eq!(state.drop_network(NETWORK).unwrap_err().code, "docker.conflict");
        assert_eq!(state.drop_network("bridge").unwrap_err().code, "docker.failed");
        assert_eq!(state.drop_network("absent").unwrap_err().code, "docker.network_gone");
        let again = state.make_network(NETWORK, &NetworkSpec::default()).unwrap_err();
        assert_eq!(again.code, "docker.conflict");
    }

    #[test]
    fn a_container_is_not_started_in_another_network_of_that_name() {
        let mut state = reference(13);
        for name in state.members(NETWORK).map(|c| c.name.clone()).collect::<Vec<_>>() {
            state.stop(&name).unwrap();
        }
        state.drop_network(NETWORK).unwrap();
        assert_eq!(state.start(SERVER).unwrap_err().code, "docker.network_gone");
        state.make_network(NETWORK, &NetworkSpec::default()).unwrap();
        assert_eq!(state.start(SERVER).unwrap_err().code, "docker.network_gone");
        let aliases = place(&state, SERVER, NETWORK).aliases;
        state.disconnect(NETWORK, SERVER).unwrap();
        state.connect(NETWORK, SERVER, &aliases, &EndpointOptions::default()).unwrap();
        state.start(SERVER).unwrap();
        assert_eq!(place(&state, SERVER, NETWORK).aliases, ["postgres"]);
    }

    #[test]
    fn a_container_leaves_also_a_network_that_is_gone() {
        let mut state = reference(13);
        state.make_network("n", &NetworkSpec::default()).unwrap();
        state.stop(SERVER).unwrap();
        state.connect("n", SERVER, &[], &EndpointOptions::default()).unwrap();
        state.drop_network("n").unwrap();
        state.disconnect("n", SERVER).unwrap();
        assert_eq!(state.disconnect("n", SERVER).unwrap_err().code, "docker.network_gone");
        state.disconnect(NETWORK, SERVER).unwrap();
        assert_eq!(state.disconnect(NETWORK, SERVER).unwrap_err().code, "docker.failed");
    }

    #[test]
    fn a_fixed_address_is_given_once_and_told_when_it_is_taken() {
        let mut state = reference(13);
        let ipam = json!({"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]});
        state.make_network("n", &NetworkSpec { ipam: Some(ipam), ..NetworkSpec::default() }).unwrap();
        state.connect("n", SERVER, &["db".into()], &fixed("10.9.0.77")).unwrap();
        assert_eq!(place(&state, SERVER, "n").ip, "10.9.0.77");
        assert_eq!(
            state.show(SERVER).unwrap().inspect["NetworkSettings"]["Networks"]["n"]["IPAMConfig"],
            json!({"IPv4Address": "10.9.0.77"})
        );
        let other = "primero-worker-1";
        assert_eq!(state.connect("n", other, &[], &fixed("10.9.0.77")).unwrap_err().code, "docker.address_in_use");
        state.stop(other).unwrap();
        state.connect("n", other, &[], &fixed("10.9.0.77")).unwrap();
        assert_eq!(state.start(other).unwrap_err().code, "docker.address_in_use");
        state.stop(SERVER).unwrap();
        state.start(other).unwrap();
    }

    #[test]
    fn everybody_in_a_network_has_an_address_of_its_own() {
        let state = reference(13);
        let mut addresses: Vec<_> = state.members(NETWORK).map(|c| c.networks[0].ip.clone()).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), state.containers.len());
        assert!(addresses.iter().all(|ip| ip.starts_with("172.18.0.")), "{addresses:?}");
        let shown = state.shown_network(&state.networks[NETWORK]);
        assert_eq!(shown.containers.len(), state.containers.len());
    }
}
