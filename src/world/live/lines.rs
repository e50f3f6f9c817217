//! A stream of bytes handed on line by line.

use std::io::{self, Write};

use crate::world::Redactor;

/// Calls back for each whole line, without its end; bytes that are no UTF-8 are replaced.
pub struct Lines<F: FnMut(&str)> {
    redactor: Redactor,
    partial: Vec<u8>,
    each: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// A line longer than this is handed on in pieces, but no secret is.
    const LONGEST: usize = 64 * 1024;

    pub fn new(redactor: &Redactor, each: F) -> Self {
        Self { redactor: redactor.clone(), partial: Vec::new(), each }
    }

    fn hand_on(&mut self, length: usize) {
        let rest = self.partial.split_off(length);
        let line = std::mem::replace(&mut self.partial, rest);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        (self.each)(&String::from_utf8_lossy(line));
    }

    /// Hands on a last line that has no end.
    pub fn finish(mut self) {
        if !self.partial.is_empty() {
            self.hand_on(self.partial.len());
        }
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        for piece in buf.split_inclusive(|b| *b == b'\n') {
            let whole = piece.last() == Some(&b'\n');
            self.partial.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            while self.partial.len() > Self::LONGEST {
                self.hand_on(self.redactor.cut(&self.partial, Self::LONGEST));
            }
            if whole {
                self.hand_on(self.partial.len());
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
            let mut lines = Lines::new(&Redactor::default(), |line: &str| seen.push(line.to_owned()));
            for piece in b"one\r\ntwo\n\nlast".chunks(cut) {
                lines.write_all(piece).unwrap();
            }
            lines.finish();
            assert_eq!(seen, ["one", "two", "", "last"]);
        }
    }
}
