//! Nothing of pgscript's own is left, and nothing left is in the way: locks and helpers of processes that are gone.

use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::Container;
use pgscript::world::sim::with_images;

use crate::program::{Run, Watched, run};
use crate::simulated::world::World;

/// The lock of a stack that needs no containers.
const LOCK: &str = "pgscript-lock-own";

fn has_lock(world: &World) -> bool {
    world.of_container(LOCK, |_| ()).is_some()
}

/// Any other command that speaks to the engine, from another store.
fn anything(world: &World) -> Run {
    let store = world.dir().join("elsewhere");
    run(world.pgscript(&["eval", "docker::info().version"]).env("PGSCRIPT_STORE", store)).expect(0, &[])
}

/// Killed between its making and the journal's line about it, or with its store gone since: nobody's.
#[test]
fn a_lock_that_is_nobody_s_is_taken_over_by_the_next_command_of_any_kind() {
    let script = r#"step("lock", || run::lock("own"), #{ undo: || () });"#;
    let world = World::of(with_images());
    let change = format!("create {LOCK}");
    world.after(&change, Happening::Halted);
    let killed = Watched::start(world.own_command(script, &["--yes"]));
    killed.until_halted();
    // Somebody's, while the process lives and while its run is unfinished.
    anything(&world);
    assert!(has_lock(&world));
    killed.kill();
    anything(&world);
    assert!(has_lock(&world), "its run can be gone on with");
    std::fs::remove_dir_all(world.store()).unwrap();
    let runs = world.store().display().to_string();
    anything(&world).expect(0, &[&format!("the lock of own was taken over from run own-1 of {runs}")]);
    assert!(!has_lock(&world));
    // Its run is over, but it was killed before it gave the lock back: found by its labels, not by the journal.
    world.after(&change, Happening::Killed);
    world.own(script, &["--yes"]).expect(-1, &[]);
    assert!(has_lock(&world));
    run(&mut world.pgscript(&["rollback", "own-1", "--yes"])).expect(0, &["is rolled back"]);
    assert!(!has_lock(&world));
}

/// Each line of the journal around the making of the lock.
#[test]
fn killed_around_the_lock_a_run_is_rolled_back_without_leaving_one() {
    let script = r#"step("lock", || run::lock("own"), #{ repeatable: true, undo: || () }); step("x", || (), #{});"#;
    let world = World::of(with_images());
    for line in 3..9 {
        for at in ["before", "after"] {
            let killed = run(world.own_command(script, &["--yes"]).env("PGSCRIPT_KILL_AT", format!("{at}:{line}")));
            assert_eq!(killed.code, -1, "{at}:{line}: {}", killed.text);
            run(&mut world.pgscript(&["rollback", "--yes"]));
            world.own(script, &["--yes"]).expect(0, &["is done"]);
            assert!(!has_lock(&world), "{at}:{line}");
        }
    }
}

#[test]
fn helper_without_a_name_is_swept_by_the_next_command() {
    let script = r#"
step("make", || if !volume::exists("own") { volume::create("own") }, #{ repeatable: true });
step("look", || docker::run(#{ image: "pgscript-test/postgres:17", entrypoint: ["sleep"], command: ["600"],
    network: "none", mounts: [#{ kind: "volume", name: "own", destination: "/data" }] }), #{ repeatable: true });
"#;
    let world = World::of(with_images());
    world.after("run sleep", Happening::Halted);
    let running = Watched::start(world.own_command(script, &["--yes"]));
    running.until_halted();
    // Whoever lives keeps it.
    anything(&world);
    let helpers = world.look(|state| state.holders("own").cloned().collect::<Vec<Container>>());
    let [helper] = &helpers[..] else { panic!("one helper, and not {helpers:?}") };
    let volumes: Vec<_> = helper.mounts.iter().filter(|mount| mount.kind == "volume").collect();
    let places: Vec<_> = volumes.iter().map(|mount| (mount.name.as_str(), mount.destination.as_str())).collect();
    assert_eq!(places, [("own", "/data")], "no anonymous volume of the image");
    for label in ["pgscript.helper", "pgscript.owner", "pgscript.run"] {
        assert!(helper.labels.contains_key(label), "{label}: {:?}", helper.labels);
    }
    running.kill();
    anything(&world);
    assert_eq!(world.look(|state| state.holders("own").count()), 0);
}

/// What a user has made, and keeps, is nobody's helper.
#[test]
fn a_script_s_own_container_is_not_swept() {
    let script = r#"step("make", || docker::create(#{ name: "own", image: "pgscript-test/postgres:17" }), #{});"#;
    let world = World::of(with_images());
    world.after("create own", Happening::Killed);
    world.own(script, &["--yes"]).expect(-1, &[]);
    anything(&world);
    assert!(world.of_container("own", |_| ()).is_some());
}
