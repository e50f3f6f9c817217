//! Files of the machine that pgscript runs on.

use crate::contract::site::{Site, code};

pub fn files_are_private_and_never_written_over(site: &Site) {
    let (host, path) = (&site.world.host, site.dir.join("a/b"));
    assert_eq!(code(host.write(&path, b"x", false)), "host.not_found");
    host.create_private_dir(path.parent().unwrap()).unwrap();
    assert_eq!(host.entry(path.parent().unwrap()).unwrap().unwrap().mode, 0o700);
    host.write(&path, b"one", false).unwrap();
    assert_eq!(host.entry(&path).unwrap().map(|entry| (entry.mode, entry.size)), Some((0o600, 3)));
    assert_eq!(code(host.write(&path, b"two", false)), "host.exists");
    host.write(&path, b"three", true).unwrap();
    assert_eq!(host.read(&path).unwrap(), b"three");
    assert_eq!(code(host.create(&path).map(|_| ())), "host.exists");
    std::io::Write::write_all(&mut host.create(&site.dir.join("c")).unwrap(), b"streamed").unwrap();
    assert_eq!(host.sha256(&site.dir.join("c")).unwrap().len(), 64);
    let names = |dir| host.list(dir).unwrap().into_iter().map(|entry| entry.path).collect::<Vec<_>>();
    assert_eq!(names(&site.dir), [site.dir.join("a"), site.dir.join("c")]);
    host.remove_file(&path).unwrap();
    assert_eq!(code(host.read(&path)), "host.not_found");
    assert_eq!(code(host.remove_file(&path)), "host.not_found");
}

pub fn a_directory_goes_with_all_in_it(site: &Site) {
    let (host, dir) = (&site.world.host, site.dir.join("a"));
    host.create_private_dir(&dir.join("b")).unwrap();
    host.write(&dir.join("b/c"), b"x", false).unwrap();
    assert_eq!(code(host.remove_dir(&dir.join("b/c"))), "host.not_a_directory");
    host.remove_dir(&dir).unwrap();
    assert!(host.entry(&dir.join("b/c")).unwrap().is_none());
    assert_eq!(code(host.remove_dir(&dir)), "host.not_found");
}
