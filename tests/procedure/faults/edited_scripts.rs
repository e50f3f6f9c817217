//! A site's copy of the upgrade with a mistake in it: found before anything is stopped where it can be, and put back
//! where it shows only in the middle.

use super::before::Before;
use super::{edited, pgscript, run_edited};
use crate::stack::{Stack, run};

#[test]
fn unknown_function() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let before = Before::containers_of(&stack);
    let script = edited(&stack, "docker::inspect(held).started_at\n    },", "docker::inspcet(held).started_at\n    },");
    let text = std::fs::read_to_string(&script).unwrap();
    let line = text.lines().position(|l| l.contains("inspcet")).unwrap() + 1;
    let place = format!("{}:{line}:", script.display());
    let said = ["docker::inspcet", &place, "^", "docker::inspect"];
    run(&mut pgscript(&["check", &script.display().to_string()])).expect(1, &said);
    run(&mut run_edited(&stack, &script)).expect(1, &said).expect(1, &["nothing was changed"]);
    before.is_untouched(&stack);
}

#[test]
fn wrong_number_of_arguments() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let before = Before::containers_of(&stack);
    let script = edited(&stack, "docker::remove(plan.held);", "docker::remove();");
    let said = ["docker::remove", "upgrade.rhai:"];
    run(&mut pgscript(&["check", &script.display().to_string()])).expect(1, &said);
    run(&mut run_edited(&stack, &script)).expect(1, &said).expect(1, &["nothing was changed"]);
    before.is_untouched(&stack);
}

#[test]
fn syntax_error() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let before = Before::containers_of(&stack);
    let script = edited(&stack, "let project = site.project;", "let project = [;");
    let said = ["upgrade.rhai:", "let project = [;"];
    run(&mut pgscript(&["check", &script.display().to_string()])).expect(1, &said);
    run(&mut run_edited(&stack, &script)).expect(1, &said).expect(1, &["nothing was changed"]);
    before.is_untouched(&stack);
}

#[test]
fn wrong_type_in_the_middle_of_a_step() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let script = edited(&stack, "pg_dump::cluster(source, dir", "pg_dump::cluster(plan.database, dir");
    run(&mut run_edited(&stack, &script))
        .expect(1, &["pg_dump::cluster", "`server` must be Server, not Container", "site/upgrade.rhai:", "hint: "])
        .expect(1, &["✗ failed in step `dump the cluster`", "everything is back as it was"]);
    before.is_back(&stack);
}
