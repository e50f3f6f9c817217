//! Cancellation: Ctrl-C reaches every primitive within a tenth of a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

use super::error::{Error, Kind, Result};

/// A cancellation that can be armed again, so that what was begun can be put back after Ctrl-C.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    token: Mutex<CancellationToken>,
    /// As the token in force has it: asked at each operation of a script, where a lock would cost more than the
    /// operation. Changed with the token locked.
    is_cancelled: AtomicBool,
}

impl Cancel {
    /// The token in force now; hold it for one operation only.
    pub fn token(&self) -> CancellationToken {
        self.in_force().clone()
    }

    fn in_force(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.token.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn cancel(&self) {
        let token = self.in_force();
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        token.cancel();
    }

    /// Arms again after a cancellation: operations begun from now on run.
    pub fn rearm(&self) {
        let mut token = self.in_force();
        self.0.is_cancelled.store(false, Ordering::SeqCst);
        *token = CancellationToken::new();
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
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// An error once cancelled: the check for loops that copy bytes.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}
