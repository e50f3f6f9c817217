//! What goes wrong in the field, a test for each: the exit code, what the operator reads, and that nothing is lost.

mod after_the_commit;
mod booted;
mod cancelled;
mod crashes;
mod cut_off;
mod daily_cleanup;
mod deployments;
mod edited_between;
mod edited_scripts;
mod guards;
mod identity;
mod journals;
mod kept;
mod know_before;
mod leftovers;
mod locks;
mod objects;
mod preflight;
mod restarts;
mod sessions;
mod strategies;
mod wayback;

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::program::Run;
use crate::simulated::site::Site;

/// Somebody types the site's own deploy.
fn deploy(major: u32) -> Happening {
    Happening::Deed(Deed::ComposeUp { project: "primero".into(), version: Some(major) })
}

/// `docker rm` of containers that have ended.
fn removed(services: &[&str]) -> Vec<Happening> {
    services.iter().map(|service| Happening::Deed(Deed::RemoveContainer(format!("primero-{service}-1")))).collect()
}

/// An upgrade whose playbook has failed before it did anything: the old server is put aside.
fn failed_in_the_deploy() -> (Site, Run) {
    let site = Site::up();
    site.fail("ansible-playbook", "ansible.failed", "the registry does not answer");
    let failed = site.upgrade(&[]).expect(1, &["failed in step `deploy the new version`", "the registry does not"]);
    (site, failed)
}
