//! A backup or a dump that does not come to its end, or not to its place.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::{Content, File};

use crate::simulated::site::{SERVER, Site, VOLUME};

#[test]
fn disk_full_during_the_backup() {
    let site = Site::up();
    site.fail("backup primero_database", "host.disk_full", "write volume.tar.zst: No space left on device");
    site.upgrade(&["--set", "backup=before"])
        .expect(1, &["[host.disk_full]", "volume.tar.zst", "✗ failed in step `back up the volume / copy`"])
        .expect(1, &["everything is back as it was"]);
    site.is_untouched();
    assert!(!site.has_artefacts(), "a file with records is left");
}

/// The upgrade is done all the same, and says what is left open.
#[test]
fn disk_full_during_the_backup_afterwards() {
    let site = Site::up();
    site.fail("backup primero_database_pg13", "host.disk_full", "write volume.tar.zst: No space left on device");
    let kept = "Kept of version 13: dump, old volume (";
    let said = ["step `back up the volume` is left open", "volume.tar.zst", kept, "pgscript resume upgrade-1"];
    site.is_upgraded(site.upgrade(&[]).expect(0, &said));
    let status = site.status();
    assert!(status.contains("upgrade-1: done") && status.contains("left open    back up the volume"), "{status}");
    assert!(status.contains("does what is left open: `back up the volume`"), "{status}");
    site.resume().expect(0, &[]);
    let status = site.status();
    assert!(status.contains("backup of the volume") && !status.contains("left open"), "{status}");
    site.has_moved_on();
    site.rollback().expect(0, &["is rolled back"]);
    site.is_back();
}

#[test]
fn disk_full_during_the_dump_and_pg_dump_killed() {
    let ends = [("host.disk_full", "write toc.dat: No space left on device"), ("dump.failed", "pg_dump was killed")];
    for (code, message) in ends {
        let site = Site::up();
        site.fail("dump dump", code, message);
        site.upgrade(&[])
            .expect(1, &[code, message, "✗ failed in step `dump the cluster`", "everything is back as it was"]);
        site.is_untouched();
        assert!(!site.has_artefacts(), "a file with records is left");
    }
}

#[test]
fn killed_in_the_dump_and_rolled_back() {
    let site = Site::up();
    site.after("dump dump", Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    site.rollback().expect(0, &["is rolled back"]);
    site.is_untouched();
}

#[test]
fn artefact_exists_already() {
    let site = Site::up();
    let kept = || File {
        content: Content::Bytes { bytes: b"the only copy of something".to_vec() },
        mode: 0o600,
        modified: 0,
        synced: None,
    };
    site.arrange(|state| {
        state.make_directories("/srv/kept/directory".as_ref()).unwrap();
        for path in ["/srv/kept/file", "/srv/kept/directory/file"] {
            state.files.insert(path.into(), kept());
        }
    });
    let files = || site.look(|state| state.files.clone());
    let before = files();
    let own = |body: &str| {
        let find = "let database = docker::service(\"primero\", \"postgres\");\nlet server = psql::server(database);";
        site.own(&format!("{find}\nstep(\"own\", || {{ {body} }});\n"), &[])
    };
    let places = ["/srv/kept/file", "/srv/kept/directory"];
    for options in ["#{}", "#{format: \"plain\"}"] {
        for path in places {
            let body = format!("pg_dump::cluster(server, \"{path}\", {options})");
            own(&body).expect(3, &["[dump.exists]", path]);
        }
    }
    site.deed(Deed::StopContainer(SERVER.into()));
    for path in places {
        let body = format!("volume::backup(volume::inspect(\"{VOLUME}\"), \"{path}\")");
        own(&body).expect(3, &["[backup.exists]", path]);
    }
    assert_eq!(files(), before);
}
