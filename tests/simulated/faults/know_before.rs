//! What the preflight finds, days before the outage: all checks are made, each with a verdict of its own, in one table.

use std::process::Command;

use serde_json::Value;

use crate::program::looked::Looked;
use crate::program::run;
use crate::simulated::site::Site;

/// These checks alone, and what they need.
fn command(site: &Site, checks: &str, further: &[&str]) -> Command {
    let only = format!("only_checks={checks}");
    let settings = [&[only.as_str()], further].concat();
    let mut command = site.script("preflight.rhai", &["--format", "json"]);
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command
}

/// A check of the site's own, and one that it does without: the reason is shown, and kept with the run.
#[test]
fn a_site_adds_a_check_and_does_without_one() {
    let site = Site::up();
    let first = "fn of_surroundings() {\n    [\n";
    let own = "checks::check(\"ours\", \"nobody works at night\", [\"server\"], |at| #{ \
               warns: [checks::warning(\"the night shift is at work\", \"ask them\")] }),\n";
    let path = site.edited("readiness.rhai", first, &format!("{first}{own}"));
    let without = "without_checks=md5=we are going to set them anew";
    let looked = Looked::by(command(&site, "ours,md5", &[without]).env("PGSCRIPT_SITE", path.parent().unwrap()));
    looked.finds("ours", "warned", &["the night shift is at work", "ask them"]);
    looked.finds("md5", "not looked at", &["switched off: we are going to set them anew"]);
    let kept = run(&mut site.pgscript(&["status", "--format", "json"]));
    let kept: Value = serde_json::from_str(&kept.expect(0, &[]).text).unwrap();
    assert_eq!(kept["verdict"]["says"], looked.verdict["says"]);
    assert_eq!(kept["verdict"]["details"], looked.verdict["details"]);
    let no_reason = run(&mut command(&site, "md5", &["without_checks=md5"]));
    no_reason.expect(3, &["checks.no_reason", "without_checks=md5=REASON"]);
    run(&mut command(&site, "", &["without_checks=server=never"])).expect(3, &["checks.needed"]);
}

/// N faults were N runs, each of which was left "rolled back": now they are one table, and no run is left that could be
/// resumed or rolled back, or that hides another one.
#[test]
fn first_finding_only() {
    let site = Site::up();
    site.arrange(|state| state.volumes.get_mut(crate::simulated::site::VOLUME).unwrap().labels.clear());
    let wrong = ["backup=no", "keep_volume=no", "deploy=command", "deploy_command=not-there"];
    let wrong: Vec<_> = wrong.iter().flat_map(|set| ["--set", set]).collect();
    let before = site.containers();
    let refused = site.upgrade(&wrong).expect(
        3,
        &[
            "error[preflight.blocked]: 3 things are in the way",
            "[preflight.no_way_back]",
            "[deploy.command_not_found]",
            "[preflight.unlabelled]",
            "nothing was changed",
        ],
    );
    assert!(!refused.text.contains("pgscript resume"), "{}", refused.text);
    assert_eq!(site.containers(), before);
    site.is_untouched();
    let runs = run(&mut site.pgscript(&["runs"])).expect(0, &["refused before anything was changed: 1"]);
    assert!(!runs.text.contains("upgrade-1"), "{}", runs.text);
    run(&mut site.pgscript(&["runs", "--all"])).expect(0, &["upgrade-1", "refused"]);
    run(&mut site.pgscript(&["rollback", "--yes"])).expect(2, &["has changed anything"]);
    run(&mut site.pgscript(&["resume", "upgrade-1"])).expect(3, &["was refused, and has changed nothing"]);
    run(&mut site.pgscript(&["rollback", "upgrade-1"])).expect(3, &["was refused, and has changed nothing"]);
}
