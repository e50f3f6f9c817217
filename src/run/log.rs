//! The run's log: every event as a JSON line, kept beside the journal. It decides nothing, so it is not synced.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Event, Listener};
use crate::world::{Error, Result};

/// Where the log goes: to memory until the run has a directory, and to nowhere once that can't be written.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Sink>>);

enum Sink {
    Waiting(Vec<u8>),
    File(std::fs::File),
}

impl Default for Sink {
    fn default() -> Self {
        Self::Waiting(Vec::new())
    }
}

/// Waiting for a directory, at most this much is kept.
const LONGEST_WAIT: usize = 1 << 20;

impl Log {
    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the log is the end of this file (0600).
    pub fn open(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |e: io::Error| Error::io("write", path.display(), &e);
        let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let mut file = file.map_err(failed)?;
        let mut sink = self.sink();
        if let Sink::Waiting(bytes) = &*sink {
            file.write_all(bytes).map_err(failed)?;
        }
        *sink = Sink::File(file);
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.sink() {
            Sink::Waiting(kept) if kept.len() < LONGEST_WAIT => kept.extend_from_slice(bytes),
            Sink::Waiting(_) => {}
            // What the log can't take is no reason to stop an upgrade.
            Sink::File(file) => _ = file.write_all(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands each event to two listeners.
pub struct Both(pub Arc<dyn Listener>, pub Arc<dyn Listener>);

impl Listener for Both {
    fn hear(&self, event: &Event) {
        self.0.hear(event);
        self.1.hear(event);
    }
}
