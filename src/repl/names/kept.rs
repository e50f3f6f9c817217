//! An answer that is asked for in the background and kept for a while.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::world::{Cancel, Result};

/// A question without an answer for so long is asked again: whoever was asked has lost it.
const LOST: Duration = Duration::from_secs(60);
/// How long the end of what is under way is waited for.
const ENDING: Duration = Duration::from_millis(300);

type Ask<T> = dyn Fn(Cancel) -> Result<T> + Send + Sync;

/// The last answer to one question, asked again when it is wanted and old.
pub struct Kept<T> {
    patience: Duration,
    keep: Duration,
    ask: Arc<Ask<T>>,
    desk: Arc<Desk<T>>,
}

/// Where the answer is put.
struct Desk<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

#[derive(Default)]
struct State<T> {
    answer: T,
    /// When it came; an error is no answer.
    came: Option<Instant>,
    /// Under way: since when, and what ends it.
    asked: Option<(Instant, Cancel)>,
}

impl<T> Desk<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is under way, at most until then.
    fn wait<'s>(&self, mut state: MutexGuard<'s, State<T>>, until: Instant) -> MutexGuard<'s, State<T>> {
        while state.asked.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

impl<T: Clone + Default + Send + 'static> Kept<T> {
    /// `ask` runs on a thread of its own. Whoever wants the answer waits for `patience` at most; for `keep` it is not
    /// asked again.
    pub fn new(patience: Duration, keep: Duration, ask: impl Fn(Cancel) -> Result<T> + Send + Sync + 'static) -> Self {
        let desk = Desk { state: Mutex::default(), answered: Condvar::new() };
        Self { patience, keep, ask: Arc::new(ask), desk: Arc::new(desk) }
    }

    /// The answer; the one before while the new one is late, and nothing when it cannot be had.
    pub fn get(&self) -> T {
        let mut state = self.desk.state();
        if state.came.is_some_and(|came| came.elapsed() < self.keep) {
            return state.answer.clone();
        }
        if state.asked.is_none() {
            self.begin(&mut state);
        }
        if let Some((since, cancel)) = &state.asked {
            if since.elapsed() > LOST {
                cancel.cancel();
            }
            // Counted from the question: nobody waits a second time for one that is late.
            let until = *since + self.patience;
            state = self.desk.wait(state, until);
        }
        state.answer.clone()
    }

    /// Whether there is no answer.
    pub fn is_missing(&self) -> bool {
        self.get();
        self.desk.state().came.is_none()
    }

    fn begin(&self, state: &mut State<T>) {
        let (ask, desk, cancel) = (self.ask.clone(), self.desk.clone(), Cancel::default());
        let ends = cancel.clone();
        let answering = move || {
            let answer = ask(cancel);
            let mut state = desk.state();
            state.came = answer.is_ok().then(Instant::now);
            state.answer = answer.unwrap_or_default();
            state.asked = None;
            desk.answered.notify_all();
        };
        if std::thread::Builder::new().name("names".into()).spawn(answering).is_ok() {
            state.asked = Some((Instant::now(), ends));
        }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        let state = self.desk.state();
        if let Some((_, cancel)) = &state.asked {
            cancel.cancel();
        }
        drop(self.desk.wait(state, Instant::now() + ENDING));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::world::Error;

    const PATIENCE: Duration = Duration::from_millis(100);
    const KEEP: Duration = Duration::from_millis(400);

    /// Answers with how often it was asked, after a time in ms; at 0 it fails at once.
    fn counting(takes: &Arc<AtomicU64>) -> (Arc<AtomicU64>, Kept<u64>) {
        let (asked, takes) = (Arc::new(AtomicU64::new(0)), takes.clone());
        let count = asked.clone();
        let kept = Kept::new(PATIENCE, KEEP, move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            match takes.load(Ordering::SeqCst) {
                0 => Err(Error::unavailable("docker.unreachable", "gone")),
                ms => {
                    std::thread::sleep(Duration::from_millis(ms));
                    Ok(number)
                }
            }
        });
        (asked, kept)
    }

    fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
        let begun = Instant::now();
        (call(), begun.elapsed())
    }

    #[test]
    fn an_answer_is_kept_for_a_while_and_then_asked_for_again() {
        let takes = Arc::new(AtomicU64::new(1));
        let (asked, kept) = counting(&takes);
        assert_eq!((kept.get(), kept.get(), asked.load(Ordering::SeqCst)), (1, 1, 1));
        std::thread::sleep(KEEP + Duration::from_millis(50));
        assert_eq!((kept.get(), kept.get()), (2, 2));
    }

    #[test]
    fn what_is_late_is_waited_for_once_and_given_the_next_time() {
        let takes = Arc::new(AtomicU64::new(300));
        let (asked, kept) = counting(&takes);
        let (answer, first) = timed(|| kept.get());
        assert!(answer == 0 && first >= PATIENCE && first < PATIENCE * 2, "{answer} {first:?}");
        let (answer, second) = timed(|| kept.get());
        assert!(answer == 0 && second < PATIENCE / 2, "{answer} {second:?}");
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!((kept.get(), asked.load(Ordering::SeqCst)), (1, 1));
        // Old by now, and the new one late again: better than nothing.
        std::thread::sleep(KEEP);
        assert_eq!((kept.get(), asked.load(Ordering::SeqCst)), (1, 2));
    }

    #[test]
    fn an_error_leaves_nothing_and_is_forgotten_as_soon_as_there_is_an_answer() {
        let takes = Arc::new(AtomicU64::new(1));
        let (_, kept) = counting(&takes);
        assert_eq!(kept.get(), 1);
        std::thread::sleep(KEEP + Duration::from_millis(50));
        takes.store(0, Ordering::SeqCst);
        assert_eq!((kept.get(), kept.get()), (0, 0));
        takes.store(1, Ordering::SeqCst);
        assert_eq!(kept.get(), 4);
    }

    #[test]
    fn dropped_it_ends_what_is_under_way() {
        let ended = Arc::new(AtomicU64::new(0));
        let end = ended.clone();
        let kept = Kept::new(PATIENCE, KEEP, move |cancel: Cancel| {
            while !cancel.is_cancelled() {
                std::thread::sleep(Duration::from_millis(5));
            }
            end.store(1, Ordering::SeqCst);
            cancel.check()
        });
        kept.get();
        drop(kept);
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }
}
