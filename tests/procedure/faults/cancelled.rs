//! Ctrl-C in each step before the old server is put aside: at its beginning, and in the middle of its work.

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

/// `FRESH` stands for the beginning of the new server's name.
fn put_back_after(moments: &[&str]) {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    let fresh = format!("{}-pgscript-new-", stack.name);
    for moment in moments {
        interrupt_at(&stack, &moment.replace("FRESH", &fresh), "everything is back as it was");
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
    put_back_after(&["4 stop the application", "$ docker stop"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_hold_the_server() {
    put_back_after(&["5 hold the server", "$ docker network disconnect"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_prepare_the_new_server() {
    put_back_after(&["3 prepare the new server", "$ docker start FRESH"]);
}

/// Where the site wants the backup before anything is given up.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_back_up_the_volume() {
    let stack = Stack::up(13);
    let before = Before::of(&stack);
    for moment in ["$ docker stop -t 300", "7 back up the volume", "$ tar -C"] {
        let mut watched = Watched::start(upgrade(&stack, &["--set", "backup=before"]));
        watched.until(moment);
        watched.interrupt();
        watched.end().expect(4, &["cancelled by the operator", "everything is back as it was"]);
        before.is_back(&stack);
    }
}

#[test]
fn in_the_step_dump_the_cluster() {
    put_back_after(&["6 dump the cluster", "$ pg_dumpall"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_verify_the_dump() {
    put_back_after(&["7 verify the dump", "$ docker stop -t 300"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_restore_the_dump() {
    put_back_after(&["8 restore the dump", "$ pg_restore"]);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_steps_that_prove_the_new_server() {
    put_back_after(&["9 compare old and new", "10 prove the login", "11 stop the new server"]);
}
