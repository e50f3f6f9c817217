//! What happens by itself as time goes on.

use super::State;

impl State {
    /// Lets time pass, in milliseconds.
    pub fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
    }
}
