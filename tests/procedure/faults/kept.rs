//! What an upgrade keeps beside the new server survives, and comes back as it is. What a rollback says before it uses
//! it: `recovery`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::after::Site;
use super::engines::Engine;

/// An upgraded stack.
fn upgraded(site: &Site, args: &[&str]) {
    site.is_upgraded(site.stack.upgrade(17, args));
}

/// The file system object that holds a cluster's version: another one after any copy.
fn identity(site: &Site, volume: &str) -> u64 {
    let mount_point = site.stack.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]);
    std::fs::metadata(Path::new(&mount_point).join("PG_VERSION")).unwrap().ino()
}

/// What the site does every day: the playbook's tag `prune`, and the job that removes exited containers.
fn tidied_up(site: &Site) {
    let nobodys = format!("{}-nobodys", site.stack.name);
    site.stack.docker(&["volume", "create", &nobodys]);
    let exited = site.stack.docker(&["run", "--detach", "--entrypoint", "true", "pgscript-test/app:1"]);
    site.stack.docker(&["wait", &exited]);
    // From engine 23 on named volumes are only pruned with --all.
    let version = site.stack.docker(&["version", "--format", "{{.Server.Version}}"]);
    let is_old = version.split('.').next().unwrap().parse::<u32>().unwrap() < 23;
    let prune: &[&str] = &["volume", "prune", "--force", "--all"];
    site.stack.docker(if is_old { &prune[..3] } else { prune });
    assert!(!site.stack.docker(&["volume", "ls", "--quiet"]).contains(&nobodys), "nothing was pruned");
    let found = site.stack.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", "status=exited"]);
    assert!(found.contains(&exited));
    found.lines().for_each(|id| _ = site.stack.docker(&["rm", id]));
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_kept_volume_survives_the_daily_tidying_and_comes_back_without_a_copy() {
    let engine = Engine::start(&[]);
    let site = engine.site();
    let volume = &site.stack.volume;
    let before = identity(&site, volume);
    upgraded(&site, &[]);
    let kept = format!("{volume}_pg13_upgrade-1");
    tidied_up(&site);
    assert_eq!(site.stack.kept_volumes(), [kept]);
    let back = site.stack.rollback().expect(0, &["; mv -T ", "is rolled back"]);
    for copy in ["zstd", "cp -a"] {
        assert!(!back.text.contains(copy), "{}", back.text);
    }
    assert_eq!(identity(&site, volume), before);
    site.is_back();
    // What the new server held is kept the same way.
    tidied_up(&site);
    assert_eq!(site.stack.kept_volumes(), [format!("{volume}_pg17_upgrade-1")]);
    site.stack.cleanup().expect(0, &["Removed"]);
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());
    site.is_back();
    drop(site);
    drop(engine);
}
