//! The application in the middle of the procedure.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;

use crate::simulated::site::{APPLICATION, Site};

#[test]
fn application_restarts_during_the_dump() {
    let site = Site::up();
    site.before("dump dump", Happening::Deed(Deed::StartContainer(APPLICATION.into())));
    site.upgrade(&[])
        .expect(3, &["[stack.fence_broken]", &format!("{APPLICATION} was started during the procedure")])
        .expect(3, &["find out who starts it", "✗ failed in step `dump the cluster`", "everything is back as it was"]);
    site.is_untouched();
}

#[test]
fn application_container_already_stopped_stays_stopped() {
    let site = Site::up();
    site.deed(Deed::StopContainer(APPLICATION.into()));
    site.before("dump dump", Happening::Interrupted);
    site.upgrade(&[]).expect(4, &["everything is back as it was"]);
    assert_eq!(site.look(|state| state.container(APPLICATION).unwrap().state.clone()), "exited");
    site.deed(Deed::StartContainer(APPLICATION.into()));
    site.is_back();
}
