//! One run per stack: a second one is told who is at work, from this machine or from another that drives the same
//! engine.

use super::after::Site;
use crate::stack::{Run, run};

/// An upgrade of the same stack by somebody whose runs are kept elsewhere: another machine, to the engine.
fn from_elsewhere(site: &Site) -> Run {
    let store = site.stack.dir.join("another-machine");
    run(site.stack.upgrade_command(17, &[]).env("PGSCRIPT_STORE", store))
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[track_caller]
fn refused_elsewhere(site: &Site) {
    let (stack, since) = (&site.stack, format!("worked on by run upgrade-1 of {} since 20", host()));
    from_elsewhere(site)
        .expect(3, &["error[run.locked]", &since, "nothing was changed"])
        .expect(3, &[&format!("is kept on {} in {}", host(), stack.base.display()), "pgscript status upgrade-1"])
        .expect(3, &[&format!("docker rm pgscript-lock-{}", stack.name)]);
}

#[test]
fn a_second_run_is_told_who_is_at_work() {
    let site = Site::up();
    let first = site.upgrade_until("4 stop the application");
    let (since, process) = (format!("worked on by run upgrade-1 of {} since 20", host()), first.id());
    site.stack
        .upgrade(17, &[])
        .expect(3, &["error[run.locked]", &since, &format!("is running (process {process})")])
        .expect(3, &["pgscript status upgrade-1", "nothing was changed"]);
    refused_elsewhere(&site);
    site.is_upgraded(first.end());
}
