//! Writing to stdout and stderr without a panic when nobody reads any more.

use std::io::Write;

/// Writes a text to stdout. `pgscript list | head -1` ends it early, which is no error.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a message to stderr.
pub fn complain(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
