//! Containers and what becomes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use pgscript::world::container::{ContainerFilter, ContainerSpec, LABEL_PROJECT, LABEL_SERVICE};

use crate::contract::site::{APP, Site, argv, code, mount, postgres};

pub fn the_life_of_a_container(site: &Site) {
    let engine = &site.world.containers;
    let made = engine.create(&site.spec("one")).unwrap();
    assert_eq!((made.state.as_str(), made.name), ("created", site.named("one")));
    engine.start(&made.id).unwrap();
    let running = engine.container(&site.named("one")).unwrap();
    assert_eq!((running.state.as_str(), running.restart_policy.as_str()), ("running", "no"));
    // Again: nothing happens.
    engine.start(&made.id).unwrap();
    assert_eq!(site.look(&running).started_at, running.started_at);
    engine.stop(&[&made.id], Duration::from_secs(1)).unwrap();
    engine.stop(&[&made.id], Duration::from_secs(1)).unwrap();
    assert_eq!(site.look(&running).state, "exited");
    site.world.host.sleep(Duration::from_millis(1100)).unwrap();
    engine.start(&made.id).unwrap();
    assert_ne!(site.look(&running).started_at, running.started_at);
    engine.rename(&made.id, &site.named("two")).unwrap();
    engine.set_restart_policy(&made.id, "unless-stopped").unwrap();
    let now = site.look(&running);
    assert_eq!((now.name, now.restart_policy.as_str()), (site.named("two"), "unless-stopped"));
    engine.remove(&made.id, true).unwrap();
    assert!(engine.existing(&made.id).unwrap().is_none());
}

pub fn a_name_that_is_taken(site: &Site) {
    let engine = &site.world.containers;
    let one = engine.create(&site.spec("one")).unwrap();
    engine.create(&site.spec("other")).unwrap();
    assert_eq!(code(engine.create(&site.spec("one"))), "docker.conflict");
    assert_eq!(code(engine.rename(&one.id, &site.named("other"))), "docker.conflict");
}

pub fn what_is_not_there_is_not_found(site: &Site) {
    let (engine, nothing) = (&site.world.containers, site.named("nothing"));
    assert_eq!(code(engine.container(&nothing)), "docker.not_found");
    assert_eq!(code(engine.start(&nothing)), "docker.not_found");
    assert_eq!(code(engine.stop(&[&nothing], Duration::ZERO)), "docker.not_found");
    assert_eq!(code(engine.remove(&nothing, true)), "docker.not_found");
    assert_eq!(code(engine.remove_volume(&nothing)), "docker.not_found");
    assert_eq!(code(engine.remove_network(&nothing)), "docker.network_gone");
    assert!(engine.volume(&nothing).unwrap().is_none());
    assert!(engine.network(&nothing).unwrap().is_none());
    assert!(engine.image(&nothing).unwrap().is_none());
}

pub fn an_image_that_is_not_there(site: &Site) {
    let image = Some("pgscript-test/nothing:9".to_owned());
    let error = site.world.containers.create(&ContainerSpec { image, ..site.spec("one") }).unwrap_err();
    assert_eq!(error.code, "docker.image_missing");
    assert!(error.message.contains("pgscript-test/nothing:9"), "{}", error.message);
}

pub fn a_running_container_goes_by_force_alone(site: &Site) {
    let engine = &site.world.containers;
    let one = site.running(&site.spec("one"));
    assert_eq!(code(engine.remove(&one.id, false)), "docker.conflict");
    engine.remove(&one.id, true).unwrap();
}

pub fn a_container_like_another(site: &Site) {
    let engine = &site.world.containers;
    let (network, volume) = (site.network("net"), site.volume("data"));
    let mut labels = site.labels();
    labels.insert("site".into(), "here".into());
    let spec = ContainerSpec {
        env: vec!["A=1".into()],
        labels: Some(labels),
        mounts: vec![mount(&volume, "/data")],
        network: Some(network.clone()),
        restart_policy: Some("on-failure:3".into()),
        ..site.spec("one")
    };
    let one = engine.create(&spec).unwrap();
    engine.disconnect_network(&network, &one.id).unwrap();
    let aliases = ["first".to_owned(), "second".to_owned()];
    engine.connect_network(&network, &one.id, &aliases, &Default::default()).unwrap();
    let one = site.look(&one);
    engine.remove(&one.id, false).unwrap();
    let name = Some(site.named("one"));
    let again =
        engine.create(&ContainerSpec { name, like: Some((*one.inspect).clone()), ..Default::default() }).unwrap();
    assert_ne!(again.id, one.id);
    let shown = |c: &pgscript::world::container::Container| {
        let networks: Vec<_> = c.networks.iter().map(|n| (n.network.clone(), n.aliases.clone())).collect();
        let argv: Vec<_> = c.argv().into_iter().map(str::to_owned).collect();
        (
            c.name.clone(),
            c.image_id.clone(),
            c.labels.clone(),
            c.mounts.clone(),
            networks,
            argv,
            c.restart_policy.clone(),
        )
    };
    assert_eq!(shown(&again), shown(&one));
    assert_eq!(again.variable("A"), Some("1"));
    let other = ContainerSpec {
        name: Some(site.named("other")),
        like: Some((*one.inspect).clone()),
        env: vec!["A=2".into()],
        unmount: vec!["/data".into()],
        network: Some("none".into()),
        ..Default::default()
    };
    let other = engine.create(&other).unwrap();
    assert_eq!((other.variable("A"), other.mounts.len(), other.network_mode()), (Some("2"), 0, "none"));
}

pub fn a_restart_policy_brings_back_who_fails(site: &Site) {
    let failing = |suffix: &str, policy: &str| ContainerSpec {
        entrypoint: Some(argv(&["false"])),
        restart_policy: Some(policy.into()),
        ..site.spec(suffix)
    };
    let given_up = site.running(&failing("no", "no"));
    let given_up = site.wait_until(&given_up, |c| c.state == "exited");
    assert_eq!((given_up.exit_code, given_up.restart_count), (1, 0));
    let tried = site.running(&failing("always", "always"));
    site.wait_until(&tried, |c| c.restart_count >= 2);
    // Held: nobody starts it any more.
    site.world.containers.set_restart_policy(&tried.id, "no").unwrap();
    site.world.containers.stop(&[&tried.id], Duration::from_secs(1)).unwrap();
    site.wait_until(&tried, |c| c.state == "exited");
}

pub fn a_run_gives_output_and_exit_code(site: &Site) {
    let spec = ContainerSpec {
        image: Some(postgres(17)),
        entrypoint: Some(argv(&["postgres"])),
        command: Some(argv(&["--version"])),
        network: Some("none".into()),
        labels: Some(site.labels()),
        ..ContainerSpec::default()
    };
    let engine = &site.world.containers;
    let output = engine.run(&spec).unwrap();
    assert_eq!(output.exit_code, 0);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("postgres (PostgreSQL) 17."));
    let failing = ContainerSpec { entrypoint: Some(argv(&["false"])), command: None, ..spec };
    assert_eq!(engine.run(&failing).unwrap().exit_code, 1);
    let filter = ContainerFilter { labels: vec![format!("pgscript.test={}", site.name)], ..Default::default() };
    assert!(engine.containers(&filter).unwrap().is_empty());
}

pub fn containers_are_found_by_what_they_have(site: &Site) {
    let (engine, volume) = (&site.world.containers, site.volume("data"));
    let mut labels = site.labels();
    labels.extend(BTreeMap::from([
        (LABEL_PROJECT.to_owned(), site.name.clone()),
        (LABEL_SERVICE.to_owned(), "database".to_owned()),
    ]));
    let mounts = vec![mount(&volume, "/data")];
    let one = site.running(&ContainerSpec { labels: Some(labels), mounts, ..site.spec("one") });
    engine.create(&site.spec("two")).unwrap();
    let found = |filter: ContainerFilter| {
        let found = engine.containers(&filter).unwrap();
        found.into_iter().map(|c| c.name).collect::<Vec<_>>()
    };
    let label = |text: &str| vec![format!("pgscript.test={}", site.name), text.to_owned()];
    assert_eq!(found(ContainerFilter { project: Some(site.name.clone()), ..Default::default() }), [one.name.as_str()]);
    assert_eq!(found(ContainerFilter { volume: Some(volume), ..Default::default() }), [one.name.as_str()]);
    let labels = label("com.docker.compose.service=database");
    assert_eq!(found(ContainerFilter { labels, ..Default::default() }), [one.name.as_str()]);
    let labels = vec![format!("pgscript.test={}", site.name)];
    assert_eq!(
        found(ContainerFilter { labels: labels.clone(), running: true, ..Default::default() }),
        [one.name.as_str()]
    );
    assert_eq!(found(ContainerFilter { labels, ..Default::default() }).len(), 2);
    assert_eq!((one.project, one.service.as_str(), one.image.as_str()), (site.name.clone(), "database", APP));
}
