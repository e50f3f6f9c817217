//! What happens by itself as time goes on.

use super::State;

impl State {
    /// Lets time pass, in milliseconds.
    pub fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
    }
}

/// A moment in milliseconds since 1970, as the engine writes it: RFC 3339, UTC.
pub fn rfc3339(milliseconds: u64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds.cast_signed()).unwrap_or_default().to_string()
}
