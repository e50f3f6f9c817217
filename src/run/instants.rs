//! The instants of a run: around each line of its journal somebody may be there who ends the program. It makes drills
//! and the matrix of `tests/matrix` exact: every instant between two effects can be met.

use rustix::process::{Signal, getpid, kill_process};

use crate::script::record::Entry;
use crate::world::Result;

/// Who is there when a line of the journal is written. After an error the line counts as not written: the program has
/// been killed, and nobody hears of the error.
pub trait Instants: Send + Sync {
    /// What line `number` says has happened, but nothing of the line is written.
    fn before(&self, number: u64, entry: &Entry) -> Result<()>;
    /// The journal has so many bytes: a kill leaves them.
    fn written(&self, bytes: u64);
    /// The journal is on the disk up to so many bytes: a power cut leaves them.
    fn synced(&self, bytes: u64);
    /// The line is on disk, and nothing has happened since.
    fn after(&self, number: u64) -> Result<()>;
}

/// Ends the process as `kill -9` does, where the environment asks for it: a hook for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfEnvironment(Option<StopAt>);

impl OfEnvironment {
    pub fn new() -> Self {
        Self(StopAt::of_environment())
    }
}

impl Instants for OfEnvironment {
    fn before(&self, number: u64, _: &Entry) -> Result<()> {
        self.0.iter().for_each(|stop| stop.before(number));
        Ok(())
    }

    fn written(&self, _: u64) {}

    fn synced(&self, _: u64) {}

    fn after(&self, number: u64) -> Result<()> {
        self.0.iter().for_each(|stop| stop.after(number));
        Ok(())
    }
}

/// `before:12` or `after:12`: at which line of the journal to end.
const VARIABLE: &str = "PGSCRIPT_KILL_AT";

/// Where to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAt {
    /// What the line says has happened, but the line is not written.
    Before(u64),
    /// The line is on disk, and nothing has happened since.
    After(u64),
}

impl StopAt {
    /// As the environment asks for; `None` outside of tests.
    pub fn of_environment() -> Option<Self> {
        Self::parse(&std::env::var(VARIABLE).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (when, line) = text.split_once(':')?;
        let line = line.parse().ok()?;
        match when {
            "before" => Some(Self::Before(line)),
            "after" => Some(Self::After(line)),
            _ => None,
        }
    }

    pub fn before(self, line: u64) {
        if self == Self::Before(line) {
            end();
        }
    }

    pub fn after(self, line: u64) {
        if self == Self::After(line) {
            end();
        }
    }
}

/// No destructor runs, no buffer is flushed, nobody is told.
fn end() {
    let _ = kill_process(getpid(), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_place_stops() {
        assert_eq!(StopAt::parse("before:12"), Some(StopAt::Before(12)));
        assert_eq!(StopAt::parse("after:1"), Some(StopAt::After(1)));
        assert_eq!(StopAt::parse("12"), None);
        StopAt::Before(12).before(11);
        StopAt::Before(12).after(12);
    }
}
