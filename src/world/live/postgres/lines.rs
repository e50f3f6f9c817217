//! A stream of bytes handed on line by line.

use std::io::{self, Write};

/// Calls back for each whole line, without its end; bytes that are no UTF-8 are replaced.
pub struct Lines<F: FnMut(&str)> {
    partial: Vec<u8>,
    each: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// A line longer than this is handed on in pieces.
    const LONGEST: usize = 64 * 1024;

    pub fn new(each: F) -> Self {
        Self { partial: Vec::new(), each }
    }

    fn hand_on(&mut self) {
        let line = std::mem::take(&mut self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        (self.each)(&String::from_utf8_lossy(line));
    }

    /// Hands on a last line that has no end.
    pub fn finish(mut self) {
        if !self.partial.is_empty() {
            self.hand_on();
        }
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        for piece in buf.split_inclusive(|b| *b == b'\n') {
            let whole = piece.last() == Some(&b'\n');
            self.partial.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if whole || self.partial.len() > Self::LONGEST {
                self.hand_on();
            }
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        for cut in 1..8 {
            let mut seen = Vec::new();
            let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
            for piece in b"one\r\ntwo\n\nlast".chunks(cut) {
                lines.write_all(piece).unwrap();
            }
            lines.finish();
            assert_eq!(seen, ["one", "two", "", "last"]);
        }
    }
}
