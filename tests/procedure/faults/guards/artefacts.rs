//! Backups and dumps are not removed or written over while they may be needed.

use super::{Scratch, filled};
use crate::stack::guarded::attacks_on_the_last_copy;
use crate::stack::sh;

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_last_copy_of_data_that_is_gone_is_neither_removed_nor_written_over() {
    let scratch = Scratch::new("last");
    filled(&scratch.name);
    let file = scratch.path("kept/b.tar.zst");
    let codes = ["guard.last_copy"; 6].map(|code| format!("\"{code}\"")).join(", ");
    scratch.step(&attacks_on_the_last_copy(), &[]).expect(0, &[&format!("codes: [{codes}]")]);
    sh(
        "sh",
        &[
            "-c",
            &format!(
                "test \"$(sha256sum < {file} | cut -d' ' -f1)\" = \"$(grep -o '[0-9a-f]\\{{64\\}}' {file}.json)\""
            ),
        ],
    );
}
