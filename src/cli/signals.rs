//! Ctrl-C and its kin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::world::live::terminal;
use crate::world::{Cancel, Error, Result};

/// What signals mean.
pub enum Handling {
    /// The first one cancels the run, the next one stops putting things back, the third leaves at once.
    Run,
    /// Ctrl-C cancels the input that is evaluated, never the session. SIGTERM and SIGHUP end it: after the input that
    /// they cancel, or at once when there is none.
    Session { is_busy: Arc<AtomicBool>, is_ended: Arc<AtomicBool> },
}

impl Handling {
    /// `heard` counts the signals from 1.
    fn act(&self, heard: usize, is_interrupt: bool, cancel: &Cancel, before: Option<&Termios>) {
        match self {
            Self::Run if heard >= 3 => {
                terminal::restore();
                std::process::exit(Exit::Killed.code().into());
            }
            Self::Session { is_busy, is_ended } if !is_interrupt => {
                is_ended.store(true, Ordering::SeqCst);
                if !is_busy.load(Ordering::SeqCst) {
                    // The editor has changed the terminal, and will not come to change it back.
                    before.map(|before| tcsetattr(std::io::stdin(), OptionalActions::Now, before));
                    std::process::exit(Exit::Cancelled.code().into());
                }
            }
            _ => {}
        }
        cancel.cancel();
    }
}

/// Listens for SIGINT, SIGTERM and SIGHUP from now on.
pub fn listen(runtime: &Runtime, cancel: Cancel, handling: Handling) -> Result<()> {
    let _guard = runtime.enter();
    let hear = |kind| signal(kind).map_err(|e| Error::io("listen for", "signals", &e));
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut terminate = hear(SignalKind::terminate())?;
    let mut hang_up = hear(SignalKind::hangup())?;
    let before = tcgetattr(std::io::stdin()).ok();
    runtime.spawn(async move {
        for heard in 1.. {
            let is_interrupt = tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => false,
                _ = hang_up.recv() => false,
            };
            handling.act(heard, is_interrupt, &cancel, before.as_ref());
        }
    });
    Ok(())
}
