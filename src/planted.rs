//! Faults that the program has only where a test plants them: a drill that finds them can find something.
//!
//! Without the feature `planted-faults` no fault is ever planted, and nothing of this is left in the program. With it
//! `PGSCRIPT_PLANTED` names the one that is.

/// A fault of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `journal-not-synced`: lines of the journal are written, and not brought onto the disk.
    JournalNotSynced,
    /// `guard-of-volumes`: a volume is removed without any proof.
    GuardOfVolumes,
    /// `label-of-helpers`: helper containers do not say who has made them.
    LabelOfHelpers,
    /// `undo-order`: what was done first is put back first.
    UndoOrder,
}

/// Whether the program has this fault now.
#[cfg(not(feature = "planted-faults"))]
pub const fn is_planted(_: Fault) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
pub use environment::is_planted;

#[cfg(feature = "planted-faults")]
mod environment {
    use std::sync::LazyLock;

    use super::Fault;

    #[cfg(not(debug_assertions))]
    compile_error!("a release has no planted faults");

    const VARIABLE: &str = "PGSCRIPT_PLANTED";

    /// Whether the environment asks for this fault.
    pub fn is_planted(fault: Fault) -> bool {
        static PLANTED: LazyLock<Option<Fault>> = LazyLock::new(|| named(&std::env::var(VARIABLE).ok()?));
        *PLANTED == Some(fault)
    }

    /// A name that is none ends the program: a test that plants nothing must not pass for one that found nothing.
    fn named(name: &str) -> Option<Fault> {
        Some(match name {
            "journal-not-synced" => Fault::JournalNotSynced,
            "guard-of-volumes" => Fault::GuardOfVolumes,
            "label-of-helpers" => Fault::LabelOfHelpers,
            "undo-order" => Fault::UndoOrder,
            _ => panic!("{VARIABLE}: there is no fault {name}"),
        })
    }
}
