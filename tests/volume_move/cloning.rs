//! A second volume with the content of another.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use pgscript::world::volume::LABEL_CLONED_FROM;

use crate::volume_move::bench::*;

#[test]
fn a_clone_is_the_same_and_independent() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, false));
        let cloned = bench.clone_to(&from, &to).unwrap();
        let copy = bench.mount_point(&to);
        assert_eq!((cloned.name.as_str(), listing(&copy, false)), (to.as_str(), before.clone()), "{way:?}");
        let labels = bench.labels(&to);
        assert_eq!((labels["site"].as_str(), labels[LABEL_CLONED_FROM].as_str()), ("kept", from.as_str()));
        // Holes stay holes.
        assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 100, "{way:?}");

        // Once more: it is there, and the same.
        bench.clone_to(&from, &to).unwrap();
        fs::write(copy.join("PG_VERSION"), "17\n").unwrap();
        fs::write(copy.join("more"), "").unwrap();
        assert_eq!(listing(&root, false), before, "{way:?}: the original");
        let changed = listing(&copy, false);
        assert_eq!(bench.clone_to(&from, &to).unwrap_err().code, "volume.exists", "{way:?}");
        fs::write(root.join("base/row"), "other").unwrap();
        assert_eq!(listing(&copy, false), changed, "{way:?}: the copy");
        bench.no_helpers_left();
    }
}

#[test]
fn what_was_broken_off_starts_over() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let before = listing(&root, false);
        for (state, has_data) in [("empty", true), ("without directory", false)] {
            let suffix = format!("to-{}", state.replace(' ', "-"));
            let (to, copy) = bench.volume(&suffix, &["--label", &format!("{LABEL_CLONED_FROM}={from}")]);
            // Half a copy, and a helper that is still at it.
            fs::create_dir(own(&copy).join(".pgscript-clone")).unwrap();
            fs::write(own(&copy).join(".pgscript-clone/junk"), "half").unwrap();
            let labels = ["--label", "pgscript.helper=volume-clone", "--label", &format!("pgscript.volume={to}")];
            let helper = [&["run", "-d"][..], &labels].concat();
            bench.container(&helper, &format!("{suffix}-helper"), &format!("{from}:/v"));
            if !has_data {
                fs::remove_dir(&copy).unwrap();
            }
            bench.clone_to(&from, &to).unwrap_or_else(|e| panic!("{way:?}, {state}: {e}"));
            assert_eq!(listing(&copy, false), before, "{way:?}, {state}");
            let entries: Vec<_> = fs::read_dir(own(&copy)).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(entries, ["_data"], "{way:?}, {state}");
        }
        bench.no_helpers_left();
    }
}

#[test]
fn what_cannot_be_cloned_is_refused_by_code() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, true));
        let code = |from: &str, to: &str| bench.clone_to(from, to).unwrap_err().code;
        assert_eq!(code(&bench.name("none"), &to), "volume.not_found");
        assert_eq!(code(&from, &from), "volume.exists");
        let (foreign, foreign_root) = bench.filled("foreign");
        let foreign_before = listing(&foreign_root, true);
        assert_eq!(code(&from, &foreign), "volume.exists");
        assert_eq!(listing(&foreign_root, true), foreign_before);

        // A reader does no harm, a writer does.
        let reader = bench.container(&["run", "-d"], "reader", &format!("{from}:/v:ro"));
        bench.clone_to(&from, &bench.name("read")).unwrap();
        let writer = bench.container(&["run", "-d"], "writer", &format!("{from}:/v"));
        let error = bench.clone_to(&from, &to).unwrap_err();
        assert!(error.code == "volume.in_use" && error.message.contains(&writer), "{way:?}: {error}");
        assert!(!error.message.contains(&reader), "{way:?}: {error}");
        assert!(!bench.exists(&to), "{way:?}");
        assert_eq!(listing(&root, true), before);
    }
}

/// A volume of another driver's making is only mounted for a container: the copy is made in one.
#[test]
fn a_volume_that_is_mounted_for_containers_only_is_cloned() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let device = tempfile::tempdir().unwrap();
        fill(device.path());
        let bound = format!("device={}", device.path().display());
        let (from, _) = bench.volume("from", &["-o", "type=none", "-o", "o=bind", "-o", &bound]);
        bench.clone_to(&from, &bench.name("to")).unwrap();
        assert_eq!(listing(&bench.mount_point(&bench.name("to")), false), listing(device.path(), false), "{way:?}");
        bench.no_helpers_left();
    }
}

#[test]
fn cancelled_it_leaves_no_volume() {
    let Some(bench) = Bench::cancelling() else { return };
    let (from, root) = bench.filled("from");
    run(Command::new("head").args(["-c", "300M", "/dev/zero"]).stdout(fs::File::create(root.join("big")).unwrap()));
    let (to, before) = (bench.name("to"), listing(&root, true));
    let error = bench.clone_to(&from, &to).unwrap_err();
    assert_eq!(error.code, "cancelled");
    assert!(bench.world.cancel.is_cancelled(), "the run must still see it");
    bench.world.cancel.rearm();
    assert!(!bench.exists(&to));
    assert_eq!(listing(&root, true), before);
}
