//! Networks, and who is in them.

use pgscript::world::container::{ContainerSpec, EndpointOptions, NetworkSpec};
use serde_json::json;

use crate::contract::site::{Site, code};

pub fn networks_are_joined_and_left(site: &Site) {
    let engine = &site.world.containers;
    let (first, second) = (site.network("a"), site.network("b"));
    let one = site.running(&ContainerSpec { network: Some(first.clone()), ..site.spec("one") });
    engine.connect_network(&second, &one.id, &["alias".into()], &EndpointOptions::default()).unwrap();
    let now = site.look(&one);
    assert_eq!(now.networks.iter().map(|n| n.network.as_str()).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!(now.networks[1].aliases, ["alias"]);
    assert!(now.networks.iter().all(|n| !n.ip.is_empty()), "{:?}", now.networks);
    assert_eq!(engine.network(&second).unwrap().unwrap().containers, [one.name.as_str()]);
    engine.disconnect_network(&first, &one.id).unwrap();
    assert_eq!(site.look(&one).networks.len(), 1);
    site.end(&one);
    assert_eq!(site.look(&one).networks[0].ip, "");
}

pub fn a_network_in_use_stays(site: &Site) {
    let (engine, network) = (&site.world.containers, site.network("a"));
    let one = site.running(&ContainerSpec { network: Some(network.clone()), ..site.spec("one") });
    assert_eq!(code(engine.remove_network(&network)), "docker.conflict");
    let spec = NetworkSpec { driver: "bridge".into(), ..NetworkSpec::default() };
    assert_eq!(code(engine.create_network(&network, &spec)), "docker.conflict");
    site.end(&one);
    engine.remove_network(&network).unwrap();
}

pub fn a_network_that_is_gone_is_told_at_the_start(site: &Site) {
    let (engine, network) = (&site.world.containers, site.network("a"));
    let one = engine.create(&ContainerSpec { network: Some(network.clone()), ..site.spec("one") }).unwrap();
    engine.remove_network(&network).unwrap();
    assert_eq!(code(engine.start(&one.id)), "docker.network_gone");
}

pub fn a_fixed_address_that_is_taken(site: &Site) {
    let (engine, network) = (&site.world.containers, site.named("a"));
    // Such that no two tests of one time meet, nor anybody's own networks.
    let third = std::process::id() % 250;
    let subnet = format!("10.213.{third}.0/24");
    let ipam = Some(json!({"Config": [{"Subnet": subnet}]}));
    let spec = NetworkSpec { driver: "bridge".into(), labels: site.labels(), ipam, ..NetworkSpec::default() };
    engine.create_network(&network, &spec).unwrap();
    let address = EndpointOptions { ipv4_address: format!("10.213.{third}.40"), ..EndpointOptions::default() };
    let bare = |suffix: &str| ContainerSpec { network: Some("none".into()), ..site.spec(suffix) };
    let (one, other) = (engine.create(&bare("one")).unwrap(), engine.create(&bare("other")).unwrap());
    for container in [&one, &other] {
        engine.disconnect_network("none", &container.id).unwrap();
        engine.connect_network(&network, &container.id, &[], &address).unwrap();
    }
    engine.start(&one.id).unwrap();
    assert_eq!(site.look(&one).networks[0].ip, address.ipv4_address);
    assert_eq!(code(engine.start(&other.id)), "docker.address_in_use");
    site.end(&one);
    engine.start(&other.id).unwrap();
}

pub fn a_shared_network_is_told_by_its_container_s_id(site: &Site) {
    let one = site.running(&site.spec("one"));
    let beside = ContainerSpec { network: Some(format!("container:{}", one.name)), ..site.spec("beside") };
    let beside = site.running(&beside);
    assert_eq!(beside.network_mode(), format!("container:{}", one.id));
    assert_eq!(beside.shares_with(), [one.id.as_str()]);
    site.end(&beside);
}
