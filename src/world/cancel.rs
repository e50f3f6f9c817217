//! Cancellation: Ctrl-C reaches every primitive within a tenth of a second.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::error::{Error, Kind, Result};

/// A cancellation that can be armed again, so that what was begun can be put back after Ctrl-C.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<CancellationToken>>);

impl Cancel {
    /// The token in force now; hold it for one operation only.
    pub fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn cancel(&self) {
        self.token().cancel();
    }

    /// Arms again after a cancellation: operations begun from now on run.
    pub fn rearm(&self) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = CancellationToken::new();
    }

    /// Does what must be done after Ctrl-C as well, also when another one comes meanwhile; the cancellation stays in
    /// force.
    pub fn in_spite<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        let mut was_cancelled = false;
        loop {
            let is_cancelled = self.is_cancelled();
            was_cancelled |= is_cancelled;
            if is_cancelled {
                self.rearm();
            }
            match act() {
                // Signals are counted: the third one leaves at once.
                Err(error) if error.kind == Kind::Cancelled && self.is_cancelled() => {}
                done => {
                    if was_cancelled {
                        self.cancel();
                    }
                    return done;
                }
            }
        }
    }

    pub fn is_cancelled(&self) -> bool {
        // Asked at each operation of a script: without a token of its own.
        self.0.lock().unwrap_or_else(|e| e.into_inner()).is_cancelled()
    }

    /// An error once cancelled: the check for loops that copy bytes.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}
