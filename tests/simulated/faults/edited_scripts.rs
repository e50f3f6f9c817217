//! A site's copy of the upgrade with a mistake in it: found before anything is stopped where it can be, and put back
//! where it shows only in the middle.

use crate::program::{pgscript, run};
use crate::simulated::site::Site;

/// `check` finds it, and a run does nothing.
#[track_caller]
fn is_found(from: &str, to: &str, said: &[&str]) {
    let site = Site::up();
    let script = site.edited("upgrade.rhai", from, to).display().to_string();
    run(&mut pgscript(&["check", &script])).expect(1, said);
    run(&mut site.script(&script, &[])).expect(1, said).expect(1, &["nothing was changed"]);
    site.is_untouched();
}

#[test]
fn unknown_function() {
    let (from, to) = ("docker::inspect(held).started_at\n    },", "docker::inspcet(held).started_at\n    },");
    is_found(from, to, &["docker::inspcet", "upgrade.rhai:", "^", "docker::inspect"]);
}

#[test]
fn wrong_number_of_arguments() {
    is_found("docker::remove(plan.held);", "docker::remove();", &["docker::remove", "upgrade.rhai:"]);
}

#[test]
fn syntax_error() {
    is_found("let project = site.project;", "let project = [;", &["upgrade.rhai:", "let project = [;"]);
}

#[test]
fn wrong_type_in_the_middle_of_a_step() {
    let site = Site::up();
    let (from, to) = ("pg_dump::cluster(source, dir", "pg_dump::cluster(plan.database, dir");
    let script = site.edited("upgrade.rhai", from, to).display().to_string();
    run(&mut site.script(&script, &[]))
        .expect(1, &["pg_dump::cluster", "`server` must be Server, not Container", "site/upgrade.rhai:", "hint: "])
        .expect(1, &["✗ failed in step `dump the cluster`", "everything is back as it was"]);
    site.is_untouched();
}
