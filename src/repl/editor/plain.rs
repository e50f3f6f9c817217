//! Reading without an editor: from a pipe, and on terminals that understand no control sequences, where the kernel's
//! own line editing has to do.

use std::io::{self, BufRead};
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, SpecialCodeIndex};

use super::Read;
use super::scan::{Scan, is_command};
use crate::ui::bars;
use crate::ui::prompt::{Changed, terminal_error};
use crate::world::error::{Error, Result};

/// Ctrl-C as a byte of the line.
const INTERRUPT: u8 = 3;
/// A special character of the terminal that is none.
const DISABLED: u8 = 0;

/// The next input of a pipe. One that the pipe's end cuts off comes as it is: evaluating it says what is missing.
pub fn from_pipe() -> Result<Read> {
    read(&mut io::stdin().lock(), b"\n", &mut |_| {})
}

/// The next input of a terminal, with a prompt before each of its lines.
pub fn from_terminal(prompt: &str) -> Result<Read> {
    let stdin = io::stdin();
    // Ctrl-C ends the line and comes with it, instead of ending the process.
    let _changed = Changed::new(stdin.as_fd(), OptionalActions::Now, |modes| {
        modes.special_codes[SpecialCodeIndex::VINTR] = DISABLED;
        modes.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    })?;
    let continued = format!("{:>width$}", "> ", width = prompt.chars().count());
    let mut ask = |is_first: bool| bars::write(true, if is_first { prompt } else { &continued });
    loop {
        match read(&mut stdin.lock(), &[b'\n', INTERRUPT], &mut ask) {
            Err(error) if error.code == NOT_TEXT => bars::write(true, &format!("{error}; it was not taken\n")),
            Ok(Read::Interrupted) => {
                bars::write(true, "\n");
                return Ok(Read::Interrupted);
            }
            other => return other,
        }
    }
}

const NOT_TEXT: &str = "ui.not_text";

/// Reads lines, which end with one of these bytes, until they are a complete input. `ask` is called before each, with
/// whether it is the first.
fn read(source: &mut dyn BufRead, ends: &[u8], ask: &mut dyn FnMut(bool)) -> Result<Read> {
    let (mut text, mut scan) = (String::new(), Scan::default());
    let mut is_first = true;
    loop {
        ask(is_first);
        let line = line(source, ends).map_err(terminal_error)?;
        match line.last() {
            None if is_first => return Ok(Read::End),
            None => return Ok(Read::Input(text)),
            Some(&INTERRUPT) if ends.contains(&INTERRUPT) => return Ok(Read::Interrupted),
            Some(_) => {}
        }
        let line = String::from_utf8(line).map_err(|_| not_text())?;
        if !is_first {
            text.push('\n');
        }
        text.push_str(line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)));
        is_first = false;
        scan.extend(&text);
        if is_command(&text) || scan.is_complete(&text) {
            return Ok(Read::Input(text));
        }
    }
}

/// Bytes up to one of `ends`, that one included, or to the end of the source.
fn line(source: &mut dyn BufRead, ends: &[u8]) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let bytes = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let end = bytes.iter().position(|byte| ends.contains(byte)).map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        line.extend_from_slice(&bytes[..taken]);
        source.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(line);
        }
    }
}

fn not_text() -> Error {
    Error::failed(NOT_TEXT, "what was entered is not UTF-8").hint("check the terminal's character set, or the file's")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: &[u8] = &[b'\n', INTERRUPT];

    /// All inputs, and how often a line was asked for.
    fn inputs(mut source: &[u8]) -> (Vec<String>, usize) {
        let (mut inputs, mut asked) = (Vec::new(), 0);
        loop {
            match read(&mut source, TERMINAL, &mut |_| asked += 1).unwrap() {
                Read::Input(text) => inputs.push(text),
                Read::Interrupted => inputs.push("^C".into()),
                Read::End => return (inputs, asked),
            }
        }
    }

    #[test]
    fn lines_are_taken_together_until_they_are_complete() {
        let text = b"let x = 1\n\nif x == 1 {\n    f(\"a\n    b\")\n.undo (\r\nf(`two\nlines`)\nlast";
        let expected = ["let x = 1", "", "if x == 1 {\n    f(\"a\n    b\")", ".undo (", "f(`two\nlines`)", "last"];
        assert_eq!(inputs(text).0, expected);
        let (found, asked) = inputs(b"f(\n1\n)");
        assert_eq!((found, asked), (vec!["f(\n1\n)".to_owned()], 4));
    }

    #[test]
    fn an_input_that_the_end_cuts_off_comes_as_it_is() {
        assert_eq!(inputs(b"f(\n1,\n").0, ["f(\n1,"]);
        assert_eq!(inputs(b"").0, [""; 0]);
    }

    #[test]
    fn an_interrupt_drops_what_was_entered() {
        assert_eq!(inputs(b"f(\nx\x03y\n\x03").0, ["^C", "y", "^C"]);
        let mut pipe = &b"a\x03b\n"[..];
        assert_eq!(read(&mut pipe, b"\n", &mut |_| {}).unwrap(), Read::Input("a\x03b".into()));
    }

    #[test]
    fn what_is_no_text_is_refused_and_what_follows_is_read() {
        let mut source = &b"let x = \"\xe9\"\nnext\n"[..];
        let error = read(&mut source, b"\n", &mut |_| {}).unwrap_err();
        assert_eq!(error.code, NOT_TEXT);
        assert_eq!(read(&mut source, b"\n", &mut |_| {}).unwrap(), Read::Input("next".into()));
    }
}
