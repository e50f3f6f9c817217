//! Reports a long stream's bytes a few times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Context;
use crate::event::Event;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One bar: counts up, tells the listener at most five times a second, and closes itself when dropped.
pub struct Progress {
    context: Context,
    id: u64,
    label: String,
    unit: &'static str,
    done: u64,
    total: Option<u64>,
    told: Instant,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_millis(200);

    pub fn bytes(context: &Context, label: impl Into<String>, total: Option<u64>) -> Self {
        Self::new(context, label, "bytes", total)
    }

    pub fn new(context: &Context, label: impl Into<String>, unit: &'static str, total: Option<u64>) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let bar =
            Self { context: context.clone(), id, label: label.into(), unit, done: 0, total, told: Instant::now() };
        bar.tell(false);
        bar
    }

    /// Makes the total known, when it is only known after the start.
    pub fn expect(&mut self, total: u64) {
        self.total = Some(total);
        self.tell(false);
    }

    pub fn advance(&mut self, amount: u64) {
        self.set(self.done + amount);
    }

    pub fn set(&mut self, done: u64) {
        self.done = done;
        if self.told.elapsed() >= Self::INTERVAL {
            self.told = Instant::now();
            self.tell(false);
        }
    }

    fn tell(&self, finished: bool) {
        let (id, label, unit) = (self.id, self.label.clone(), self.unit);
        self.context.emit(Event::Progress { id, label, unit, done: self.done, total: self.total, finished });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.tell(true);
    }
}
