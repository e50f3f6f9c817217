//! One run per stack: a second one is told who is at work, from this machine or from another that drives the same
//! engine.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::program::{Run, Watched, run};
use crate::simulated::site::Site;

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

#[track_caller]
fn refused_elsewhere(site: &Site) {
    let since = format!("worked on by run upgrade-1 of {} since 20", host());
    from_elsewhere(site)
        .expect(3, &["error[run.locked]", &since, "nothing was changed"])
        .expect(3, &[&format!("is kept on {} in {}", host(), site.store().display()), "pgscript status upgrade-1"])
        .expect(3, &[&format!("docker rm {LOCK}")]);
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn a_second_run_is_told_who_is_at_work() {
    let site = Site::up();
    site.before("stop primero-application-1", Happening::Halted);
    let first = Watched::start(site.script("upgrade.rhai", &[]));
    first.until_halted();
    let (since, process) = (format!("worked on by run upgrade-1 of {} since 20", host()), first.id());
    site.upgrade(&[])
        .expect(3, &["error[run.locked]", &since, &format!("is running (process {process})")])
        .expect(3, &["pgscript status upgrade-1", "nothing was changed"]);
    refused_elsewhere(&site);
    first.go_on();
    site.is_upgraded(first.end());
}
