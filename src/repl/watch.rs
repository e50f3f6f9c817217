//! What signals find of a session: whether an input is evaluated, and how to leave when none is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Lets go of what a session holds.
pub type Leave = Box<dyn FnOnce() + Send>;

/// One session, between its own thread and the signals'.
#[derive(Clone, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_busy: AtomicBool,
    is_ended: AtomicBool,
    leave: Mutex<Option<Leave>>,
}

impl Watch {
    /// Evaluates an input: a signal meanwhile ends that, not the shell.
    pub fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.is_busy.store(true, Ordering::SeqCst);
        let result = work();
        self.0.is_busy.store(false, Ordering::SeqCst);
        result
    }

    /// How to leave while the session's own thread waits for an input, and can't be woken.
    pub fn leaves_by(&self, leave: impl FnOnce() + Send + 'static) {
        *self.0.leave.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(leave));
    }

    /// The session is to end. Gives how, unless an input is evaluated: after that one it ends by itself.
    pub fn end(&self) -> Option<Leave> {
        self.0.is_ended.store(true, Ordering::SeqCst);
        let leave = || self.0.leave.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.0.is_busy.load(Ordering::SeqCst) { None } else { Some(leave().unwrap_or_else(|| Box::new(|| {}))) }
    }

    /// Whether a signal wants it to end.
    pub fn is_ended(&self) -> bool {
        self.0.is_ended.load(Ordering::SeqCst)
    }
}
