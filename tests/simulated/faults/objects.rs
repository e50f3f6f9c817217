//! What the stack has that Compose can't take: found before the outage.

use pgscript::world::sim::State;

use crate::program::run;
use crate::simulated::site::{Site, VOLUME};

#[track_caller]
fn refused(change: impl FnOnce(&mut State), said: &str) {
    let mut state = pgscript::world::sim::reference(13);
    change(&mut state);
    let site = Site::of(state);
    let looked = run(&mut site.script("preflight.rhai", &["--set", "only_checks=labels"]));
    looked.expect(3, &["[preflight.unlabelled]", said, "Compose", "nothing was changed"]);
    site.is_untouched();
}

#[test]
fn network_recreated_without_its_labels() {
    let recreated = |state: &mut State| state.networks.get_mut("primero_default").unwrap().labels.clear();
    refused(recreated, "network primero_default");
}

#[test]
fn volume_recreated_without_its_labels() {
    refused(|state| state.volumes.get_mut(VOLUME).unwrap().labels.clear(), &format!("volume {VOLUME}"));
}
