//! Several things at once, of databases for instance: what the small ones wait for (a process, a connection) passes
//! while a large one works.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::Result;

/// A cluster seldom has two large databases, and each has parallel jobs of its own.
const AT_ONCE: usize = 2;

/// Does something with every item; gives the results in the items' order. After an error nothing new is begun.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], act: impl Fn(usize, &T) -> Result<R> + Sync) -> Result<Vec<R>> {
    up_to(AT_ONCE, items, act)
}

/// The same with so many at once.
pub fn up_to<T: Sync, R: Send, E: Send>(
    jobs: usize,
    items: &[T],
    act: impl Fn(usize, &T) -> std::result::Result<R, E> + Sync,
) -> std::result::Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = act(index, item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            ended.lock().unwrap_or_else(|e| e.into_inner()).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1).min(items.len()) {
            scope.spawn(work);
        }
    });
    let mut ended = ended.into_inner().unwrap_or_else(|e| e.into_inner());
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::error::Error;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..20).collect();
        let doubled = side_by_side(&items, |index, item| {
            std::thread::sleep(std::time::Duration::from_millis((20 - item) % 3));
            Ok(index as u64 + item)
        });
        assert_eq!(doubled.unwrap(), items.iter().map(|i| i * 2).collect::<Vec<_>>());
        assert!(side_by_side(&[] as &[u8], |_, _| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn no_jobs_at_all_do_not_pass_for_work_that_is_done() {
        assert_eq!(up_to(0, &[1, 2], |_, item| Ok::<_, Error>(*item)).unwrap(), [1, 2]);
    }

    #[test]
    fn an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..100).collect();
        let ended = side_by_side(&items, |index, _| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            if index == 3 { Err(Error::failed("x", "x")) } else { Ok(()) }
        });
        assert_eq!(ended.unwrap_err().code, "x");
        assert!(begun.into_inner() < 20);
    }
}
