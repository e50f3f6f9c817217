//! Work that takes its time: done in pieces, between which the program may be killed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Context, State};
use crate::event::Event;
use crate::world::error::Result;

/// Bytes that the machine reads and writes in a second.
pub const RATE: u64 = 100 << 20;
/// In how many pieces something large is done.
const PIECES: u64 = 4;
/// Apart from those of the live world.
static NEXT_ID: AtomicU64 = AtomicU64::new(1 << 32);

/// Some of the work: so much of it is done when this piece is.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub done: u64,
    pub of: u64,
}

impl Piece {
    pub fn is_last(self) -> bool {
        self.done == self.of
    }

    /// How much of an amount is done.
    pub fn part(self, amount: u64) -> u64 {
        amount / self.of * self.done + amount % self.of * self.done / self.of
    }
}

/// Works on so many bytes, each piece as one change of that name; tells how far it is under `label`.
///
/// Errors: `cancelled`, and those of `each`.
pub fn work(
    context: &Context,
    change: &str,
    label: &str,
    bytes: u64,
    mut each: impl FnMut(&mut State, Piece) -> Result<()>,
) -> Result<()> {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let tell = |done: u64, finished: bool| {
        let (label, unit, total) = (label.to_owned(), "bytes", Some(bytes));
        context.emit(Event::Progress { id, label, unit, done, total, finished });
    };
    tell(0, false);
    for done in 1..=PIECES {
        let piece = Piece { done, of: PIECES };
        let worked = context.cancel.check().and_then(|()| {
            context.sim.act(change, |state| {
                state.pass(bytes * 1000 / RATE / PIECES);
                each(state, piece)
            })
        });
        if worked.is_err() {
            tell(piece.part(bytes), true);
            return worked;
        }
        tell(piece.part(bytes), piece.is_last());
    }
    Ok(())
}

/// Lets time pass, in milliseconds: nothing is done meanwhile, but others may do something.
///
/// Errors: `cancelled`, `sim.killed`.
pub fn wait(context: &Context, milliseconds: u64) -> Result<()> {
    context.cancel.check()?;
    context.sim.wait(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, state};
    use super::*;

    #[test]
    fn work_takes_time_in_proportion_to_its_bytes_and_several_instants() {
        let context = context(state());
        let now = || context.sim.read(|state| Ok((state.now, state.instants))).unwrap();
        let before = now();
        let mut parts = Vec::new();
        work(&context, "copy", "copy", RATE * 10, |_, piece| {
            parts.push(piece.part(10));
            Ok(())
        })
        .unwrap();
        let after = now();
        assert_eq!(parts, [2, 5, 7, 10]);
        assert!((10_000..11_000).contains(&(after.0 - before.0)), "{}", after.0 - before.0);
        assert_eq!(after.1 - before.1, PIECES);
    }
}
