//! Cancellation: Ctrl-C reaches every primitive within a tenth of a second.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};

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

    pub fn is_cancelled(&self) -> bool {
        self.token().is_cancelled()
    }

    /// An error once cancelled: the check for loops that copy bytes.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}
