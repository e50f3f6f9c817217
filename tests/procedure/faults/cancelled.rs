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
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn in_the_step_dump_the_cluster() {
    put_back_after(&["6 dump the cluster", "$ pg_dumpall"]);
}
