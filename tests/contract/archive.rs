//! Backups of volumes, and volumes under other names.

use pgscript::world::container::Container;
use pgscript::world::content::Level;
use pgscript::world::postgres::Server;
use pgscript::world::volume::{BackupOptions, NewVolume};

use crate::contract::site::{Site, code, postgres};

fn options() -> BackupOptions {
    BackupOptions { image: Some(postgres(15)), ..BackupOptions::default() }
}

/// A stopped cluster with two rows in a volume of that name; gives its container.
fn stopped(site: &Site, volume: &str) -> Container {
    let (container, _) = site.filled(15, volume, 2);
    site.stop(&container);
    container
}

/// Rows of the cluster in a volume, as a server on it tells.
fn rows(site: &Site, volume: &str) -> u64 {
    let (container, server): (Container, Server) = site.server(15, volume);
    let content = site.world.postgres.content(&server, Level::Counts, 1).unwrap();
    site.stop(&container);
    site.world.containers.remove(&container.id, true).unwrap();
    content.rows()
}

pub fn a_backup_holds_what_the_volume_held(site: &Site) {
    let volumes = &site.world.volumes;
    let (volume, path) = (site.volume("data"), site.dir.join("v.tar.zst"));
    stopped(site, &volume);
    let backup = volumes.backup(&volume, &path, &options()).unwrap();
    assert_eq!((backup.manifest.pg_version.as_str(), backup.manifest.volume.as_str()), ("15", volume.as_str()));
    volumes.verify(&backup).unwrap();
    assert_eq!(volumes.open(&path).unwrap(), backup);
    assert_eq!(code(volumes.backup(&volume, &path, &options())), "backup.exists");
    let fresh = site.volume("fresh");
    assert_eq!(volumes.size(&fresh).unwrap(), (0, false));
    volumes.restore(&backup, &fresh, &options()).unwrap();
    assert_eq!(volumes.control(&fresh, "").unwrap(), volumes.control(&volume, "").unwrap());
    assert_eq!(rows(site, &fresh), 2);
}

pub fn a_volume_that_is_written_to_is_not_backed_up(site: &Site) {
    let volume = site.volume("data");
    site.filled(15, &volume, 1);
    let made = site.world.volumes.backup(&volume, &site.dir.join("v.tar.zst"), &options());
    assert_eq!(code(made), "volume.in_use");
    assert_eq!(
        code(site.world.volumes.backup("pgscript-no-volume", &site.dir.join("n"), &options())),
        "volume.not_found"
    );
}

pub fn a_damaged_backup_is_told(site: &Site) {
    let (volumes, volume, path) = (&site.world.volumes, site.volume("data"), site.dir.join("v.tar.zst"));
    stopped(site, &volume);
    let backup = volumes.backup(&volume, &path, &options()).unwrap();
    let mut bytes = site.world.host.read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    site.world.host.write(&path, &bytes, true).unwrap();
    // A byte that says how long a block is makes the real archive end too early.
    let told = code(volumes.verify(&backup));
    assert!(told == "backup.damaged" || told == "backup.cut_off", "{told}");
}

pub fn a_restore_wants_an_empty_volume(site: &Site) {
    let (volumes, volume) = (&site.world.volumes, site.volume("data"));
    stopped(site, &volume);
    let backup = volumes.backup(&volume, &site.dir.join("v.tar.zst"), &options()).unwrap();
    assert_eq!(code(volumes.restore(&backup, &volume, &options())), "volume.not_empty");
}

pub fn a_volume_moves_to_another_name(site: &Site) {
    let (volumes, engine) = (&site.world.volumes, &site.world.containers);
    let (volume, to) = (site.volume("data"), site.named("moved"));
    let container = stopped(site, &volume);
    let new = NewVolume { labels: site.labels(), image: Some(postgres(15)) };
    assert_eq!(code(volumes.rename(&volume, &to, &new)), "volume.in_use");
    engine.remove(&container.id, false).unwrap();
    let control = volumes.control(&volume, "").unwrap();
    volumes.keep(&volume, Some(&postgres(15))).unwrap();
    volumes.rename(&volume, &to, &new).unwrap();
    assert!(engine.volume(&volume).unwrap().is_none());
    assert_eq!(engine.volume(&to).unwrap().unwrap().labels["pgscript.moved-from"], volume);
    assert_eq!(volumes.control(&to, "").unwrap(), control);
    // Again: it is done.
    volumes.rename(&volume, &to, &new).unwrap();
    assert_eq!(code(engine.remove_volume(&to)), "docker.conflict");
    volumes.unkeep(&to).unwrap();
    assert_eq!(rows(site, &to), 2);
}

pub fn a_clone_holds_the_same(site: &Site) {
    let (volumes, volume, to) = (&site.world.volumes, site.volume("data"), site.named("clone"));
    let (container, _) = site.filled(15, &volume, 2);
    let new = NewVolume { labels: site.labels(), image: Some(postgres(15)) };
    assert_eq!(code(volumes.clone_to(&volume, &to, &new)), "volume.in_use");
    site.stop(&container);
    volumes.clone_to(&volume, &to, &new).unwrap();
    assert_eq!(volumes.control(&to, "").unwrap(), volumes.control(&volume, "").unwrap());
    assert_eq!(rows(site, &to), 2);
}

pub fn a_keeper_keeps_a_volume(site: &Site) {
    let (volumes, engine, volume) = (&site.world.volumes, &site.world.containers, site.volume("data"));
    let keeper = volumes.keep(&volume, Some(&postgres(15))).unwrap();
    assert_eq!(keeper.state, "created");
    assert_eq!(volumes.keep(&volume, None).unwrap().id, keeper.id);
    assert_eq!(code(engine.remove_volume(&volume)), "docker.conflict");
    volumes.unkeep(&volume).unwrap();
    volumes.unkeep(&volume).unwrap();
    engine.remove_volume(&volume).unwrap();
}
