//! Ctrl-C and its kin: the first cancels the run, the next one stops putting things back, the third leaves at once.

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::world::live::terminal;
use crate::world::{Cancel, Error, Result};

/// Listens for SIGINT, SIGTERM and SIGHUP from now on.
pub fn listen(runtime: &Runtime, cancel: Cancel) -> Result<()> {
    let _guard = runtime.enter();
    let hear = |kind| signal(kind).map_err(|e| Error::io("listen for", "signals", &e));
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut terminate = hear(SignalKind::terminate())?;
    let mut hang_up = hear(SignalKind::hangup())?;
    runtime.spawn(async move {
        for heard in 1.. {
            tokio::select! {
                _ = interrupt.recv() => {},
                _ = terminate.recv() => {},
                _ = hang_up.recv() => {},
            }
            if heard >= 3 {
                terminal::restore();
                std::process::exit(Exit::Killed.code().into());
            }
            cancel.cancel();
        }
    });
    Ok(())
}
