//! One run per stack: a second one is told who is at work, from this machine or from another that drives the same
//! engine.

use pgscript::world::sim::Deed;
use pgscript::world::sim::planned::Happening;

use crate::program::{Run, run};
use crate::site::Site;

const LOCK: &str = "pgscript-lock-primero";

/// An upgrade of the same stack by somebody whose runs are kept elsewhere: another machine, to the engine.
fn from_elsewhere(site: &Site) -> Run {
    run(site.script("upgrade.rhai", &[]).env("PGSCRIPT_STORE", site.dir().join("another-machine")))
}

#[test]
fn a_killed_run_keeps_its_lock_and_is_gone_on_with() {
    let site = Site::up();
    site.before("dump ", Happening::Killed);
    site.upgrade(&[]).expect(-1, &[]);
    site.upgrade(&[])
        .expect(3, &["error[run.locked]", "run upgrade-1 of", "is interrupted and was not brought to an end"])
        .expect(3, &["pgscript resume upgrade-1", "pgscript rollback upgrade-1", "nothing was changed"]);
    from_elsewhere(&site)
        .expect(3, &["error[run.locked]", "worked on by run upgrade-1 of", "nothing was changed"])
        .expect(3, &[&format!("in {}", site.store().display()), "pgscript status upgrade-1"])
        .expect(3, &[&format!("docker rm {LOCK}")]);
    // Who overrides the lock finds the half-done upgrade all the same.
    site.deed(Deed::RemoveContainer(LOCK.into()));
    from_elsewhere(&site).expect(3, &["error[preflight.unfinished]", "still fenced off", "nothing was changed"]);
    site.is_upgraded(site.resume());
}
