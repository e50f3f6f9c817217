//! Ctrl-C in each step before the old volume is put aside: at its beginning, and in the middle of its work.

use super::before::Before;
use super::upgrade;
use crate::stack::{Stack, Watched};

/// Interrupts as soon as this is said.
#[track_caller]
fn interrupt_at(stack: &Stack, said: &str, outcome: &str) {
    let mut watched = Watched::start(upgrade(stack, &[]));
    watched.until(said);
    watched.interrupt();
    watched.end().expect(4, &["cancelled by the operator", outcome]);
}

fn put_back_after(moments: &[&str]) {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    for moment in moments {
        interrupt_at(&stack, moment, "everything is back as it was");
        before.is_back(&stack);
    }
}

#[test]
fn in_the_preflight() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let before = Before::containers_of(&stack);
    interrupt_at(&stack, "1 preflight", "nothing was changed");
    before.is_untouched(&stack);
    for moment in ["$ docker create", "$ docker start"] {
        interrupt_at(&stack, moment, "everything is back as it was");
        before.is_untouched(&stack);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_make_the_artefact_directory() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let before = Before::containers_of(&stack);
    // The step is over in a moment, so the interruption may come when the application stops already.
    for moment in ["2 make the artefact directory", "$ mkdir"] {
        interrupt_at(&stack, moment, "✗ failed in step");
        before.is_back(&stack);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_stop_the_application() {
    put_back_after(&["3 stop the application", "$ docker stop"]);
}

#[test]
fn in_the_step_back_up_the_volume() {
    put_back_after(&["4 back up the volume", "$ docker stop -t 300", "$ docker network disconnect", "$ tar -C"]);
}

#[test]
fn in_the_step_dump_the_cluster() {
    put_back_after(&["5 dump the cluster", "$ pg_dumpall"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_verify_the_dump() {
    put_back_after(&["6 verify the dump"]);
}
