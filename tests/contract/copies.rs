//! Copies of clusters, which follow them and are upgraded.

use std::time::Duration;

use pgscript::world::cluster::{CopyOptions, Stopped, Transfer, UpgradeOptions};
use pgscript::world::content::{Beside, Level, compare};
use pgscript::world::control::lsn;

use crate::contract::site::{DATA, Site, code, postgres};

fn options(site: &Site) -> CopyOptions {
    CopyOptions { name: site.named("follows"), max_rate: None, cpu_shares: None }
}

pub fn a_copy_follows_and_is_upgraded(site: &Site) {
    let (clusters, pg) = (&site.world.clusters, &site.world.postgres);
    let (data, copied, programs) = (site.volume("data"), site.volume("copied"), site.volume("programs"));
    let (container, server) = site.filled(13, &data, 2);
    clusters.can_replicate(&server).unwrap();
    let copy = clusters.copy(&server, &copied, &options(site)).unwrap();
    let standby = clusters.follow(&copy, &server).unwrap();
    site.insert(&server);
    assert!(clusters.follows(&copy).unwrap());
    clusters.programs(&container.image_id, &programs).unwrap();
    clusters.initdb(&copy, &postgres(17), &programs).unwrap();
    let upgrade =
        UpgradeOptions { image: postgres(17), programs, transfer: Transfer::Link, jobs: 1, place: String::new() };
    clusters.check_upgrade(&copy, &upgrade).unwrap();
    for _ in 0..100 {
        if clusters.lag(&copy, &server).unwrap() == 0 {
            break;
        }
        site.world.host.sleep(Duration::from_millis(100)).unwrap();
    }
    assert_eq!(clusters.lag(&copy, &server).unwrap(), 0);
    site.insert(&server);
    site.stop(&container);
    let control = site.world.volumes.control(&data, "").unwrap().unwrap();
    clusters.caught_up(&copy, &lsn(control.checkpoint)).unwrap();
    let before = pg.content(&standby, Level::Counts, 1).unwrap();
    assert_eq!((before.rows(), before.is_standby), (4, true));
    assert_eq!(before.system_identifier, control.system_identifier.to_string());
    let stopped = Stopped { volume: data.clone(), mount: DATA.into(), directory: DATA.into() };
    clusters.promote(&copy, Some(&stopped)).unwrap();
    let upgraded = clusters.upgrade(&copy, &upgrade).unwrap();
    assert_ne!(upgraded.system_identifier, before.system_identifier);
    // The old cluster is what it was.
    assert_eq!(site.world.volumes.control(&data, "").unwrap().unwrap(), control);
    clusters.discard(&copy.name, None).unwrap();
    let (_, new) = site.server(17, &copied);
    let after = pg.content(&new, Level::Counts, 1).unwrap();
    assert_eq!((after.server_major, &after.system_identifier), (17, &upgraded.system_identifier));
    let found = compare(&before, &after, Beside::default()).unwrap();
    assert!(found.differences.is_empty(), "{:?}", found.differences);
}

pub fn a_server_that_lets_nobody_follow(site: &Site) {
    let (_, server) = site.server_with(15, &site.volume("data"), &["wal_level=minimal", "max_wal_senders=0"]);
    let clusters = &site.world.clusters;
    assert_eq!(code(clusters.can_replicate(&server)), "basebackup.refused");
}

pub fn a_copy_is_cut_off(site: &Site) {
    let clusters = &site.world.clusters;
    let (data, copied) = (site.volume("data"), site.volume("copied"));
    let (_, server) = site.filled(15, &data, 2);
    let copy = clusters.copy(&server, &copied, &options(site)).unwrap();
    clusters.follow(&copy, &server).unwrap();
    let parted = clusters.part(&copy, &server).unwrap();
    assert!(!clusters.follows(&copy).unwrap());
    site.insert(&server);
    site.world.host.sleep(Duration::from_secs(1)).unwrap();
    let rows = |server| site.world.postgres.content(server, Level::Counts, 1).unwrap().rows();
    assert_eq!((rows(&parted), rows(&server)), (2, 3));
    clusters.discard(&copy.name, Some(&server)).unwrap();
    assert!(site.world.containers.existing(&copy.name).unwrap().is_none());
}
