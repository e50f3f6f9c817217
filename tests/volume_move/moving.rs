//! A volume under another name: nothing copied, nothing lost, wherever it is broken off.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgscript::world::volume::{LABEL_MOVED_FROM, NewVolume};

use crate::volume_move::bench::*;

#[test]
fn the_very_same_files_are_under_the_new_name() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, true));
        let moved = bench.rename(&from, &to).unwrap();
        assert_eq!(moved.name, to);
        assert_eq!(listing(Path::new(&moved.mount_point), true), before, "{way:?}");
        assert!(!bench.exists(&from) && !own(&root).exists(), "{way:?}");
        let labels = bench.labels(&to);
        assert_eq!((labels["site"].as_str(), labels[LABEL_MOVED_FROM].as_str()), ("kept", from.as_str()));
        // The engine sees it as well, and takes the old name for a new volume.
        let seen =
            bench.docker(&["run", "--rm", "-v", &format!("{to}:/v"), "--entrypoint", "cat", IMAGE, "/v/PG_VERSION"]);
        assert_eq!(seen, "15");
        assert!(is_empty(&bench.volume("from", &[]).1));
        bench.no_helpers_left();
    }
}

/// What a process that is killed leaves, made by hand: `prepare` gets the bench, both names and the old mount point.
type Prepare = fn(&Bench, &str, &str, &Path);

fn made(bench: &Bench, from: &str, _: &str) -> PathBuf {
    bench.volume("to", &["--label", &format!("{LABEL_MOVED_FROM}={from}"), "--label", "site=kept"]).1
}

fn renamed(bench: &Bench, from: &str, to: &str, root: &Path) {
    fs::rename(root, made(bench, from, to)).unwrap();
}

const HALF_DONE: &[(&str, Prepare)] = &[
    ("nothing was done", |_, _, _, _| {}),
    ("the new volume was made", |bench, from, to, _| _ = made(bench, from, to)),
    ("the new volume's directory was removed", |bench, from, to, _| fs::remove_dir(made(bench, from, to)).unwrap()),
    ("a probe was left", |bench, from, to, root| {
        let there = made(bench, from, to);
        // The mount point of this machine has no use for one: there it counts as something nobody knows.
        if bench.world.containers.info().unwrap().is_local {
            return;
        }
        fs::write(own(root).join(".pgscript-probe"), "").unwrap();
        fs::hard_link(own(root).join(".pgscript-probe"), own(&there).join(".pgscript-probe")).unwrap();
    }),
    ("a helper was left", |bench, from, to, _| {
        made(bench, from, to);
        let labels = ["--label", "pgscript.helper=volume-move", "--label", &format!("pgscript.volume={to}")];
        bench.container(&[&["run", "-d"][..], &labels].concat(), "helper", &format!("{from}:/v"));
    }),
    ("a helper of a backup was left", |bench, from, _, _| {
        let labels = ["create", "--label", "pgscript.helper=volume-archive"];
        bench.container(&labels, "backup-helper", &format!("{from}:/v"));
    }),
    ("the content was renamed", renamed),
    ("the old directory came back empty", |bench, from, to, root| {
        renamed(bench, from, to, root);
        fs::create_dir(root).unwrap();
    }),
    ("the old volume was removed", |bench, from, to, root| {
        renamed(bench, from, to, root);
        bench.docker(&["volume", "rm", from]);
    }),
];

#[test]
fn what_was_broken_off_is_completed() {
    for (way, (state, prepare)) in BOTH.into_iter().flat_map(|way| HALF_DONE.iter().map(move |state| (way, state))) {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, false));
        prepare(&bench, &from, &to, &root);
        for time in ["first", "again"] {
            let moved = bench.rename(&from, &to);
            assert!(moved.is_ok(), "{way:?}, {state}, {time}: {moved:?}");
            assert_eq!(listing(&bench.mount_point(&to), false), before, "{way:?}, {state}, {time}");
            assert!(!bench.exists(&from), "{way:?}, {state}, {time}");
        }
        assert_eq!(bench.labels(&to)["site"], "kept");
        bench.no_helpers_left();
    }
}

/// Kills the program itself, each time a little later after it has made the new volume.
#[test]
fn killed_at_any_instant_it_loses_nothing_and_is_completed() {
    let Some(bench) = Bench::new(Way::Here) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut before_the_rename, mut after_it) = (0, 0);
    for round in 0..24 {
        let (from, root) = bench.filled(&format!("from-{round}"));
        let (to, before) = (bench.name(&format!("to-{round}")), listing(&root, true));
        let file = dir.path().join("move.rhai");
        fs::write(&file, format!("step(\"x\", || volume::inspect(\"{from}\").move(\"{to}\"));")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.arg("run").arg(&file).env("PGSCRIPT_STORE", dir.path().join("runs"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let made = own(own(&root)).join(&to);
        while !made.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_micros(250 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        if bench.exists(&from) {
            *(if root.exists() { &mut before_the_rename } else { &mut after_it }) += 1;
        }
        bench.rename(&from, &to).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(listing(&bench.mount_point(&to), true), before, "round {round}");
        assert!(!bench.exists(&from), "round {round}");
    }
    eprintln!("of 24, {before_the_rename} were killed before the rename and {after_it} after it");
    assert!(before_the_rename + after_it > 0, "none was killed half way");
    bench.no_helpers_left();
}

#[test]
fn what_mounts_the_volume_is_named_and_stays_as_it_is() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, true));
        let user = bench.container(&["run", "-d"], "user", &format!("{from}:/v"));
        for state in ["running", "stopped"] {
            let error = bench.rename(&from, &to).unwrap_err();
            assert_eq!(error.code, "volume.in_use", "{way:?}, {state}");
            assert!(error.message.contains(&user) && error.hint.is_some(), "{way:?}, {state}: {error}");
            assert!(!bench.exists(&to), "{way:?}, {state}");
            bench.docker(&["stop", "-t", "0", &user]);
        }
        assert_eq!(listing(&root, true), before);
    }
}

/// Each refusal leaves both volumes as they were, and none that was made for nothing.
#[test]
fn what_cannot_be_moved_is_refused_by_code() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, true));
        let refuses = |from: &str, to: &str, code: &str| {
            let error = bench.rename(from, to).unwrap_err();
            assert_eq!(error.code, code, "{way:?}: {error}");
            assert!(error.hint.is_some() || from == to, "{way:?}: {error}");
        };
        refuses(&bench.name("none"), &to, "volume.not_found");
        refuses(&from, &from, "volume.exists");

        let (foreign, foreign_root) = bench.volume("foreign", &[]);
        refuses(&from, &foreign, "volume.exists");
        assert!(is_empty(&foreign_root));

        let (ours, ours_root) = bench.volume("ours", &["--label", &format!("{LABEL_MOVED_FROM}={from}")]);
        fs::write(ours_root.join("file"), "precious").unwrap();
        refuses(&from, &ours, "volume.not_empty");
        assert_eq!(fs::read(ours_root.join("file")).unwrap(), b"precious");
        fs::remove_file(ours_root.join("file")).unwrap();
        // The old volume gone otherwise than by a move: nothing says that all is well.
        let lost = bench.name("lost");
        bench.docker(&["volume", "create", "--label", &format!("{LABEL_MOVED_FROM}={}", bench.name("none")), &lost]);
        refuses(&bench.name("none"), &lost, "volume.not_found");

        let (odd, _) = bench.volume("odd", &["-o", "type=tmpfs", "-o", "device=tmpfs"]);
        refuses(&odd, &to, "volume.cannot_move");
        let (beside, beside_root) = bench.filled("beside");
        fs::write(own(&beside_root).join("_data.old"), "precious").unwrap();
        refuses(&beside, &to, "volume.cannot_move");
        assert!(own(&beside_root).join("_data.old").exists() && beside_root.join("PG_VERSION").exists());
        let (linked, linked_root) = bench.volume("linked", &[]);
        fs::remove_dir(&linked_root).unwrap();
        symlink(&root, &linked_root).unwrap();
        refuses(&linked, &to, "volume.cannot_move");
        let (mounted, mounted_root) = bench.volume("mounted", &[]);
        bench.mount_tmpfs(&mounted_root);
        fs::write(mounted_root.join("file"), "precious").unwrap();
        refuses(&mounted, &to, "volume.cannot_move");
        assert_eq!(fs::read(mounted_root.join("file")).unwrap(), b"precious");
        let (apart, apart_root) = bench.volume("apart", &[]);
        bench.mount_tmpfs(own(&apart_root));
        fs::create_dir(&apart_root).unwrap();
        fs::write(apart_root.join("file"), "precious").unwrap();
        refuses(&apart, &to, "volume.cannot_move");
        assert_eq!(fs::read(apart_root.join("file")).unwrap(), b"precious");

        assert!(!bench.exists(&to), "{way:?}: {to} was made and left");
        assert_eq!(listing(&root, true), before);
        bench.no_helpers_left();
    }
}

#[test]
fn elsewhere_an_image_must_be_known_and_have_a_shell() {
    let Some(bench) = Bench::new(Way::Elsewhere) else { return };
    let (from, root) = bench.filled("from");
    let (to, before) = (bench.name("to"), listing(&root, true));
    let error = bench.world.volumes.rename(&from, &to, &NewVolume::default()).unwrap_err();
    assert_eq!(error.code, "docker.image_missing", "{error}");
    let bare = bench.name("bare");
    // An archive's end mark alone.
    let (dir, nothing) = (tempfile::tempdir().unwrap(), "nothing.tar");
    fs::write(dir.path().join(nothing), [0; 1024]).unwrap();
    run(Command::new("docker").args(["import", nothing, &bare]).current_dir(dir.path()));
    let image = Some(bare.clone());
    let error = bench.world.volumes.rename(&from, &to, &NewVolume { image, ..NewVolume::default() }).unwrap_err();
    bench.docker(&["image", "rm", &bare]);
    assert_eq!(error.code, "volume.cannot_move", "{error}");
    assert!(!bench.exists(&to));
    assert_eq!(listing(&root, true), before);
    // The keeper's image will do, and the keeper goes along.
    bench.world.volumes.keep(&from, Some(IMAGE)).unwrap();
    bench.world.volumes.rename(&from, &to, &NewVolume::default()).unwrap();
    bench.no_helpers_left();
}

#[test]
fn a_keeper_goes_along_with_the_content() {
    for way in BOTH {
        let Some(bench) = Bench::new(way) else { return };
        let (from, root) = bench.filled("from");
        let (to, before) = (bench.name("to"), listing(&root, false));
        bench.world.volumes.keep(&from, Some(IMAGE)).unwrap();
        bench.rename(&from, &to).unwrap();
        assert_eq!(listing(&bench.mount_point(&to), false), before, "{way:?}");
        let holder = |volume: &str| {
            bench.docker(&["ps", "-a", "--filter", &format!("volume={volume}"), "--format", "{{.Names}} {{.State}}"])
        };
        assert_eq!(holder(&to), format!("{to}-keeper created"));
        assert_eq!(holder(&from), "");
        assert!(!bench.exists(&from));
    }
}
