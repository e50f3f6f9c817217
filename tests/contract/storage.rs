//! Volumes, and files in containers.

use std::collections::BTreeMap;

use pgscript::world::container::ContainerSpec;

use crate::contract::site::{Site, argv, code, mount};

pub fn a_volume_in_use_stays(site: &Site) {
    let (engine, volume) = (&site.world.containers, site.volume("data"));
    let one = engine.create(&ContainerSpec { mounts: vec![mount(&volume, "/data")], ..site.spec("one") }).unwrap();
    let error = engine.remove_volume(&volume).unwrap_err();
    assert_eq!(error.code, "docker.conflict");
    assert!(error.message.contains(&one.name), "{}", error.message);
    engine.remove(&one.id, false).unwrap();
    engine.remove_volume(&volume).unwrap();
}

pub fn a_volume_that_is_there_is_given_again(site: &Site) {
    let (engine, volume) = (&site.world.containers, site.volume("data"));
    let again = engine.create_volume(&volume, "local", &BTreeMap::new(), &BTreeMap::new()).unwrap();
    assert_eq!(again.labels, site.labels());
    assert!(engine.names().unwrap().volumes.contains(&volume));
    // A container makes the one it mounts.
    let made = site.named("made");
    engine.create(&ContainerSpec { mounts: vec![mount(&made, "/data")], ..site.spec("one") }).unwrap();
    assert!(engine.volume(&made).unwrap().is_some());
}

pub fn files_pass_in_and_out(site: &Site) {
    let (engine, volume) = (&site.world.containers, site.volume("data"));
    let one = engine.create(&ContainerSpec { mounts: vec![mount(&volume, "/data")], ..site.spec("one") }).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o600);
    archive.append_data(&mut header, "note", &b"hello"[..]).unwrap();
    let packed = archive.into_inner().unwrap();
    engine.copy_in(&one.id, "/data", &mut &packed[..]).unwrap();
    let mut out = Vec::new();
    engine.copy_out(&one.id, "/data/note", &mut out).unwrap();
    let mut unpacked = tar::Archive::new(&out[..]);
    let mut entry = unpacked.entries().unwrap().next().unwrap().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
    assert_eq!(text, "hello");
    assert_eq!(code(engine.copy_out(&one.id, "/data/nothing", &mut Vec::new())), "docker.not_found");
    // What is in the volume is not in the container.
    engine.remove(&one.id, false).unwrap();
    let (bytes, has_any) = site.world.volumes.size(&volume).unwrap();
    assert_eq!((bytes, has_any), (5, true));
}

pub fn an_empty_file_is_made_once(site: &Site) {
    let (engine, volume) = (&site.world.containers, site.volume("data"));
    let touch = |path: &str| ContainerSpec {
        entrypoint: Some(argv(&["touch", path])),
        user: Some("0".into()),
        mounts: vec![mount(&volume, "/data")],
        ..ContainerSpec { name: None, ..site.spec("touch") }
    };
    for _ in 0..2 {
        assert_eq!(engine.run(&touch("/data/note")).unwrap().exit_code, 0);
        assert_eq!(site.world.volumes.size(&volume).unwrap(), (0, true));
    }
    let failed = engine.run(&touch("/data/nothing/note")).unwrap();
    assert_eq!(failed.exit_code, 1);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("No such file or directory"));
}
