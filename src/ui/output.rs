//! Writing to stdout and stderr without a panic when nobody reads any more.

use std::io::{IsTerminal, Write};

use super::style::{self, Style, clean};
use super::wrap::fold;

/// Writes a text to stdout as it is. `pgscript list | head -1` ends it early, which is no error.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes words for people to stdout, as [`fitting`] makes them.
pub fn tell(text: &str) {
    print(&fitting(text, std::io::stdout().is_terminal()));
}

/// Writes a message to stderr, as [`fitting`] makes it.
pub fn complain(text: &str) {
    let text = fitting(text, std::io::stderr().is_terminal());
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Lines without control sequences, in characters that the locale has; on a terminal also in its width.
pub fn fitting(text: &str, is_terminal: bool) -> String {
    let text = text.split('\n').map(clean).collect::<Vec<_>>().join("\n");
    let text = Style::of_terminal().ascii(text);
    match style::width().filter(|_| is_terminal) {
        Some(width) => fold(&text, width),
        None => text,
    }
}
