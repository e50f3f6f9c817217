//! Ctrl-C and its kin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::repl::watch::{Leave, Watch};
use crate::world::{Cancel, Error, Result};

/// The session that signals are meant for; without one they are meant for the run. A process hears its signals in one
/// place.
static SESSION: Mutex<Option<Watch>> = Mutex::new(None);
/// Signals to the run since the operator was asked last.
static HEARD: AtomicUsize = AtomicUsize::new(0);

/// Listens for SIGINT, SIGTERM and SIGHUP from now on. The first one cancels the run, the next one stops putting things
/// back, the third leaves at once. Started by `nohup` a hang-up is no signal: the run outlives the terminal.
pub fn listen(runtime: &Runtime, cancel: Cancel) -> Result<()> {
    let _guard = runtime.enter();
    let hear = |kind| signal(kind).map_err(|e| Error::io("listen for", "signals", &e));
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut terminate = hear(SignalKind::terminate())?;
    // Once heard, it kills nobody: at the limit of a file's size (`ulimit -f`) a write fails with words, and what was
    // done is put back. Programs that we start have the default again, as from the operator's shell.
    drop(hear(SignalKind::from_raw(libc::SIGXFSZ))?);
    let mut hang_up = if is_ignored(SignalKind::hangup()) { None } else { Some(hear(SignalKind::hangup())?) };
    let before = tcgetattr(std::io::stdin()).ok();
    runtime.spawn(async move {
        loop {
            let is_interrupt = tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => false,
                () = received(hang_up.as_mut()) => false,
            };
            heard(is_interrupt, &cancel, before.as_ref());
        }
    });
    Ok(())
}

/// Whether whoever has started us wants us deaf to a signal.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (kind.as_raw_value() - 1) != 0
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// As long as this lives, Ctrl-C cancels the input that is evaluated, never the session. SIGTERM and SIGHUP end it:
/// after the input that they cancel, or at once when there is none.
pub struct InSession(());

impl InSession {
    pub fn new(watch: &Watch) -> Self {
        *session() = Some(watch.clone());
        Self(())
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        *session() = None;
        forget();
    }
}

/// The operator was asked, and has answered: the next signal is the first one again.
pub fn forget() {
    HEARD.store(0, Ordering::SeqCst);
}

fn session() -> MutexGuard<'static, Option<Watch>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

fn heard(is_interrupt: bool, cancel: &Cancel, before: Option<&Termios>) {
    let session = session().clone();
    match session.map(|session| if is_interrupt { None } else { session.end() }) {
        Some(Some(leave)) => return end(leave, before),
        Some(None) => {}
        None if HEARD.fetch_add(1, Ordering::SeqCst) < 2 => {}
        None => {
            restore(before);
            std::process::exit(Exit::Killed.code().into());
        }
    }
    cancel.cancel();
}

/// Leaves a session that waits for an input.
fn end(leave: Leave, before: Option<&Termios>) {
    restore(before);
    // It may ask the engine, which this thread can't wait for.
    std::thread::spawn(move || {
        leave();
        std::process::exit(Exit::Cancelled.code().into());
    });
}

/// An editor has changed the terminal, and will not come to change it back.
fn restore(before: Option<&Termios>) {
    before.map(|before| tcsetattr(std::io::stdin(), OptionalActions::Now, before));
}
