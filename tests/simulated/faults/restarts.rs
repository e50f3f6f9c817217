//! The engine's daemon restarts after pgscript was killed: what has `restart: always` still comes up in the middle.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::State;

use crate::program::run;
use crate::simulated::site::Site;

/// All services have the policy.
fn site() -> Site {
    let mut state = pgscript::world::sim::reference(13);
    for service in &mut state.stacks.get_mut("primero").unwrap().services {
        service.restart = "always".into();
    }
    state.containers_mut().for_each(|container| container.restart_policy = "always".into());
    Site::of(state)
}

/// A new upgrade is killed before a change, and then the engine's daemon restarts. Gives what runs of the stack
/// thereafter.
fn killed_and_restarted(site: &Site, change: &str) -> Vec<String> {
    site.before(change, Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    site.deed(Deed::RestartEngine);
    let runs = |state: &State| {
        let of_it = state.containers().filter(|c| c.state == "running" && c.name.starts_with("primero-"));
        of_it.map(|container| container.name.clone()).collect()
    };
    site.look(runs)
}

#[test]
fn the_engine_restarts_after_a_kill_between_the_fence_and_the_commit() {
    let site = site();
    // All is fenced off and stays down.
    assert_eq!(killed_and_restarted(&site, "dump dump"), Vec::<String>::new());
    site.rollback().expect(0, &["is rolled back"]);
    site.is_back();

    // The database, which is not held yet, comes up; then, as if another deploy had been at it, the application does.
    assert_eq!(killed_and_restarted(&site, "stop primero-application-1"), ["primero-postgres-1"]);
    for service in ["application", "worker"] {
        let name = format!("primero-{service}-1");
        site.arrange(|state| state.container_mut(&name).unwrap().restart_policy = "always".into());
        site.deed(Deed::StartContainer(name));
    }
    site.deed(Deed::RestartEngine);
    let resumed = run(&mut site.pgscript(&["resume", "upgrade-2"]));
    site.is_upgraded(resumed);
}
