//! Faults around the moment at which the old server is put aside. Before it everything comes back by itself; after it
//! the run says what to type, `status` says where the data is, and typing it brings the old server back, or the new one
//! to its end.

use pgscript::world::sim::Deed;
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::Effect;

use super::{failed_in_the_deploy, removed};
use crate::program::{Run, Watched};
use crate::simulated::site::{SERVER, Site};

/// Typing what the failed run said brings everything back.
#[track_caller]
fn comes_back(site: &Site, failed: &Run) {
    site.is_safe(failed);
    site.as_advised(failed, "rollback").expect(0, &["is rolled back"]);
    site.is_back();
}

/// Typing what the failed run said brings the upgrade to its end.
#[track_caller]
fn goes_on(site: &Site, failed: &Run) {
    site.is_safe(failed);
    let resumed = site.as_advised(failed, "resume");
    site.is_upgraded(resumed.expect(0, &["7 verify the dump  (done before)"]));
}

/// Nothing is lost by it, by a cleanup before the end, or by a second rollback.
#[test]
fn playbook_fails_before_it_deploys_and_what_is_typed_then_is_harmless() {
    let (site, failed) = failed_in_the_deploy();
    let (before, files) = (site.containers(), site.look(|state| state.files.len()));
    site.cleanup().expect(3, &["error[cleanup.not_verified]", "may be the only copy of the data", "pgscript status"]);
    assert_eq!((site.containers(), site.look(|state| state.files.len())), (before, files));
    comes_back(&site, &failed);
    let started = || site.look(|state| state.container(SERVER).unwrap().started_at);
    let was = started();
    site.as_advised(&failed, "rollback").expect(0, &["run upgrade-1 has been put back"]);
    assert_eq!(started(), was);
    site.is_back();
}

#[test]
fn the_deploy_brings_another_version() {
    let site = Site::up();
    let wrong = Effect::Deploy { project: "primero".into(), version: "15".into() };
    site.arrange(|state| _ = state.ansible.playbooks.insert("application-primero.yml".into(), wrong));
    let said = ["error[deploy.wrong_version]", "the deploy brought PostgreSQL 15, not 17"];
    let failed = site.upgrade(&[]).expect(1, &said);
    comes_back(&site, &failed);
}

/// It may lack an extension, for instance: what was proved was another one.
#[test]
fn wrong_deploy_image() {
    const USED: &str = "pgscript-test/postgres:17";
    const OTHER: &str = "pgscript-test/lacking:17";
    let site = Site::up();
    let deploys = |image: &str| {
        site.arrange(|state| state.stacks.get_mut("primero").unwrap().images.insert(17, image.to_owned()));
    };
    site.after("disconnect primero-postgres-1", Happening::Halted);
    let run = Watched::start(site.script("upgrade.rhai", &[]));
    run.until_halted();
    // The preflight has looked at another image than the deploy brings.
    site.arrange(|state| {
        let mut other = state.image(USED).unwrap().clone();
        (other.shown.id, other.shown.tags) = (format!("sha256:{}", "5a".repeat(32)), vec![OTHER.into()]);
        state.images.push(other);
    });
    deploys(OTHER);
    run.go_on();
    let said = ["error[deploy.other_image]", OTHER, "not pgscript-test/postgres:17", "deploy from pgscript-test/"];
    let failed = run.end().expect(1, &said).expect(1, &["failed in step `deploy the new version`"]);
    for service in ["postgres", "application", "worker"] {
        assert_eq!(site.of_container(&format!("primero-{service}-1"), |c| c.is_up()), Some(false), "{service}");
    }
    // Either way is open.
    deploys(USED);
    goes_on(&site, &failed);
    site.rollback().expect(0, &["is rolled back"]);
    site.is_back();
}

#[test]
fn the_dump_is_damaged_before_the_restore() {
    let site = Site::up();
    site.before("stop primero-postgres-1", Happening::Deed(Deed::DamageFile(site.artefacts().join("dump"))));
    site.upgrade(&[])
        .expect(1, &["error[dump.damaged]", "failed in step `restore the dump`", "everything is back as it was"]);
    site.is_back();
}

/// Ctrl-C at a change that belongs to that step, after the old server was put aside: the run is cancelled.
#[track_caller]
fn interrupted(change: &str, step: &str) -> (Site, Run) {
    let site = Site::up();
    site.before(change, Happening::Interrupted);
    let failed = site.upgrade(&[]).expect(4, &["cancelled", &format!("failed in step `{step}`")]);
    (site, failed)
}

#[test]
fn ctrl_c_in_each_step_after_the_commit_and_either_way_is_open() {
    for (change, step) in [
        ("move volume primero_database", "put the old server aside"),
        ("move volume primero_database_pg17", "put the new cluster in place"),
        ("ansible-playbook", "deploy the new version"),
        ("write application.json", "start the application"),
        ("backup primero_database_pg13", "back up the volume / copy"),
    ] {
        let (site, failed) = interrupted(change, step);
        comes_back(&site, &failed);
        let (site, failed) = interrupted(change, step);
        goes_on(&site, &failed);
    }
}

#[test]
fn ctrl_c_in_the_rollback() {
    let (site, _) = failed_in_the_deploy();
    site.before("start primero-postgres-1", Happening::Interrupted);
    let cancelled = site.rollback().expect(4, &["cancelled", "next: pgscript rollback upgrade-1 "]);
    assert!(!cancelled.text.contains("pgscript resume"), "{}", cancelled.text);
    let status = site.status();
    assert!(status.contains("upgrade-1: rolling back") && status.contains("Your data is safe"), "{status}");
    site.as_advised(&cancelled, "rollback").expect(0, &["is rolled back"]);
    site.is_back();
}

#[test]
fn the_daily_cleanup_removed_the_application_before_the_rollback() {
    let site = Site::up();
    for removed in removed(&["application", "worker", "nginx"]) {
        site.before("restore ", removed);
    }
    site.before("restore solr_meta", Happening::Interrupted);
    let said = ["cancelled", "is created again, from its definition", "everything is back as it was"];
    site.upgrade(&[]).expect(4, &said);
    site.is_back();
}

/// The database's was removed by the upgrade, the others had exited: nothing is left that is labelled with the project.
#[test]
fn the_daily_cleanup_removed_every_container_before_the_rollback() {
    let (site, failed) = failed_in_the_deploy();
    // Somebody has taken the lock for a leftover, too.
    for name in ["primero-application-1", "primero-worker-1", "primero-nginx-1", "pgscript-lock-primero"] {
        site.deed(Deed::RemoveContainer(name.into()));
    }
    comes_back(&site, &failed);
}
