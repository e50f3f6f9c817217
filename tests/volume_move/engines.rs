//! Engines of the tests' own: where everything unused may be removed, and where user ids are remapped.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine;
use crate::volume_move::bench::*;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A second engine with the image.
struct Engine {
    socket: String,
    _engine: engine::Engine,
    _turn: MutexGuard<'static, ()>,
}

impl Engine {
    /// Nothing where the first engine isn't either.
    fn start(options: &[&str]) -> Option<Self> {
        drop(Bench::new(Way::Here)?);
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = engine::Engine::start(format!("pgv-{}", std::process::id()), options);
        engine.load(&[IMAGE]);
        Some(Self { socket: engine.host.trim_start_matches("unix://").to_owned(), _engine: engine, _turn: turn })
    }
}

/// The site's daily cleaning, to the letter.
fn clean(socket: &str) {
    let line = "docker container ls -aq --filter status=exited | xargs -r docker rm; docker volume prune -f; \
                docker image prune -f";
    run(Command::new("sh").args(["-ec", line]).env("DOCKER_HOST", format!("unix://{socket}")));
}

#[test]
fn a_kept_volume_outlives_the_daily_cleaning() {
    let Some(engine) = Engine::start(&[]) else { return };
    let bench = Bench::at(Way::Here, &engine.socket, false).unwrap();
    let (kept, root) = bench.filled("kept");
    let (unkept, _) = bench.filled("unkept");
    assert_eq!(bench.world.volumes.keep(&kept, None).unwrap_err().code, "docker.image_missing");
    let keeper = bench.world.volumes.keep(&kept, Some(IMAGE)).unwrap();
    assert_eq!((keeper.name, keeper.state.as_str()), (format!("{kept}-keeper"), "created"));
    assert_eq!(keeper.labels["pgscript.helper"], "keep");
    // Found again, and the image of whatever is there will do for the next.
    assert_eq!(bench.world.volumes.keep(&kept, None).unwrap().id, keeper.id);
    let before = listing(&root, true);
    clean(&engine.socket);
    clean(&engine.socket);
    assert!(!bench.exists(&unkept), "the cleaning removes what is not kept: else this test says nothing");
    assert_eq!(listing(&root, true), before);

    // A move and a clone take a keeper along.
    let (moved, cloned) = (bench.name("moved"), bench.name("cloned"));
    bench.rename(&kept, &moved).unwrap();
    bench.clone_to(&moved, &cloned).unwrap();
    clean(&engine.socket);
    let content = listing(&bench.mount_point(&moved), false);
    assert_eq!(listing(&bench.mount_point(&cloned), false), content);

    // Started by mistake, it can't run; one that counts as exited is replaced.
    _ = Command::new("docker")
        .args(["-H", &format!("unix://{}", engine.socket), "start", &format!("{moved}-keeper")])
        .stderr(Stdio::null())
        .status();
    bench.world.volumes.keep(&moved, None).unwrap();
    clean(&engine.socket);
    assert_eq!(listing(&bench.mount_point(&moved), false), content);

    bench.world.volumes.unkeep(&moved).unwrap();
    bench.world.volumes.unkeep(&moved).unwrap();
    clean(&engine.socket);
    assert!(!bench.exists(&moved) && bench.exists(&cloned));
}

#[test]
fn owners_stay_where_user_ids_are_remapped() {
    let Some(engine) = Engine::start(&["--userns-remap=default"]) else { return };
    for way in BOTH {
        let bench = Bench::at(way, &engine.socket, false).unwrap();
        let (from, root) = bench.filled("from");
        assert!(fs::read_to_string("/etc/subuid").unwrap().contains("dockremap"));
        // As a container sees its own: within the mapping.
        let inside = |volume: &str| {
            let (mount, see) = (format!("{volume}:/v"), ["stat", IMAGE, "-c", "%u:%g", "/v/mine"]);
            bench.docker(&[&["run", "--rm", "--network", "none", "-v", &mount, "--entrypoint"], &see[..]].concat())
        };
        let owner = fs::read_to_string("/etc/subuid").unwrap();
        let first: u32 =
            owner.lines().find_map(|l| l.strip_prefix("dockremap:")?.split(':').next()?.parse().ok()).unwrap();
        fs::write(root.join("mine"), "").unwrap();
        std::os::unix::fs::chown(root.join("mine"), Some(first + 999), Some(first + 998)).unwrap();
        std::os::unix::fs::chown(&root, Some(first + 999), Some(first + 998)).unwrap();
        fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(inside(&from), "999:998", "{way:?}");

        let (to, copy, before) = (bench.name("to"), bench.name("copy"), listing(&root, false));
        bench.rename(&from, &to).unwrap();
        assert_eq!(
            (listing(&bench.mount_point(&to), false), inside(&to).as_str()),
            (before.clone(), "999:998"),
            "{way:?}"
        );
        bench.clone_to(&to, &copy).unwrap();
        assert_eq!((listing(&bench.mount_point(&copy), false), inside(&copy).as_str()), (before, "999:998"), "{way:?}");
        bench.no_helpers_left();
    }
}
