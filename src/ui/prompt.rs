//! Questions to the operator, at a terminal only.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{Behavior, Config, DefaultEditor};

use super::bars::{self, Hidden};
use super::output::fitting;
use super::style::{Style, clean};
use crate::world::error::{Error, Result};

/// Asks on the terminal. Ctrl-C and Ctrl-D are a cancellation; progress bars are away meanwhile.
/// Without a terminal every question is `ui.no_terminal`, with a hint of how to answer beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl Terminal {
    /// Asks until it is answered with yes or no in full: a slip of a finger decides nothing.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        self.confirm_or(question, None)
    }

    /// As [`Terminal::confirm`], with an answer that Enter alone gives.
    pub fn confirm_or(&self, question: &str, default: Option<bool>) -> Result<bool> {
        require_terminal("to confirm", "say --yes to answer every question with yes")?;
        let choices = match default {
            None => "yes/no",
            Some(true) => "YES/no",
            Some(false) => "yes/NO",
        };
        let prompt = above(question, &format!("({choices}) "));
        loop {
            match answer(&read_line(&prompt)?, default) {
                Some(answer) => return Ok(answer),
                None => bars::write(true, "please type yes or no\n"),
            }
        }
    }

    /// Shows what to do by hand and waits for Enter; `q` stops the run.
    pub fn manual(&self, instruction: &str) -> Result<()> {
        require_terminal("for a step by hand", "say --yes when it has been done already")?;
        let prompt = above(instruction, "do this, then press Enter (q to stop): ");
        loop {
            match read_line(&prompt)?.trim() {
                "" => return Ok(()),
                "q" | "quit" => return Err(Error::cancelled()),
                _ => bars::write(true, "press Enter alone to go on, or q and Enter to stop\n"),
            }
        }
    }

    /// Offers words to choose from, each with a line that explains it; gives the word. Beginnings of words count.
    pub fn choose(&self, text: &str, choices: &[(&str, &str)]) -> Result<String> {
        require_terminal("to choose at", "run it on a terminal")?;
        let width = choices.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
        let lines = choices.iter().map(|(word, meaning)| format!("  {word:<width$}  {meaning}\n"));
        let prompt = above(&format!("{text}\n{}", lines.collect::<String>().trim_end()), "what now? ");
        loop {
            let line = read_line(&prompt)?.trim().to_lowercase();
            let mut meant = choices.iter().filter(|(word, _)| !line.is_empty() && word.starts_with(&line));
            match (meant.next(), meant.next()) {
                (Some((word, _)), None) => return Ok((*word).to_owned()),
                _ => bars::write(true, "please type one of the words\n"),
            }
        }
    }

    /// Asks for a value; a secret one is not shown while it is typed.
    pub fn ask(&self, name: &str, help: &str, secret: bool) -> Result<String> {
        require_terminal(&format!("to ask for {name}"), &format!("give it with --set {name}=…"))?;
        let prompt = above(help, &format!("{name}: "));
        if secret { read_secret(&prompt) } else { read_line(&prompt) }
    }
}

/// Whether somebody could be asked.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn require_terminal(what_for: &str, hint: &str) -> Result<()> {
    if is_terminal() {
        return Ok(());
    }
    Err(Error::usage("ui.no_terminal", format!("there is no terminal {what_for}")).hint(hint))
}

/// A text's lines, then the prompt proper on a line of its own when the text is long.
fn above(text: &str, prompt: &str) -> String {
    let text = text.lines().map(clean).collect::<Vec<_>>().join("\n");
    match text.trim() {
        "" => prompt.to_owned(),
        text if text.contains('\n') || text.chars().count() > 60 => format!("{text}\n{prompt}"),
        text => format!("{text}  {prompt}"),
    }
}

fn answer(line: &str, default: Option<bool>) -> Option<bool> {
    match (line.trim().to_lowercase().as_str(), default) {
        ("yes" | "y", Some(_)) | ("yes", None) => Some(true),
        ("no" | "n", _) => Some(false),
        ("", default) => default,
        _ => None,
    }
}

pub(crate) fn terminal_error(error: impl std::fmt::Display) -> Error {
    Error::failed("ui.terminal", format!("cannot read from the terminal: {error}"))
}

/// A line with editing. Only its last line is the editor's prompt, which can't hold others.
fn read_line(prompt: &str) -> Result<String> {
    let _hidden = Hidden::new();
    let last = match prompt.rsplit_once('\n') {
        Some((text, last)) => {
            bars::write(true, &format!("{}\n", fitting(text, true)));
            last
        }
        None => prompt,
    };
    let last = Style::of_terminal().ascii(last.to_owned());
    let config = Config::builder().behavior(Behavior::PreferTerm).build();
    let mut editor = DefaultEditor::with_config(config).map_err(terminal_error)?;
    match editor.readline(&last) {
        Ok(line) => Ok(line),
        Err(ReadlineError::Interrupted | ReadlineError::Eof) => Err(Error::cancelled()),
        Err(error) => Err(terminal_error(error)),
    }
}

/// A line that isn't shown. Keys come one by one, so that Ctrl-C is a key and not a signal.
fn read_secret(prompt: &str) -> Result<String> {
    let _hidden = Hidden::new();
    let stdin = io::stdin();
    let _quiet = Changed::new(stdin.as_fd(), OptionalActions::Flush, |modes| {
        modes.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    })?;
    bars::write(true, &Style::of_terminal().ascii(prompt.to_owned()));
    let read = keys(&mut stdin.lock());
    let _ = io::stderr().write_all(b"\n");
    read
}

/// What is typed up to Enter: backspace and Ctrl-U correct it, Ctrl-C and Ctrl-D cancel.
fn keys(source: &mut dyn Read) -> Result<String> {
    let mut typed: Vec<u8> = Vec::new();
    let mut key = [0u8];
    loop {
        match source.read(&mut key) {
            Ok(0) => return Err(Error::cancelled()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(terminal_error(error)),
        }
        match key[0] {
            b'\r' | b'\n' => break,
            3 | 4 => return Err(Error::cancelled()),
            21 => typed.clear(),
            8 | 127 => {
                // One character may be several bytes.
                while typed.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            byte => typed.push(byte),
        }
    }
    String::from_utf8(typed).map_err(|_| terminal_error("what was typed is not UTF-8"))
}

/// A terminal whose ways are changed as long as this lives.
pub(crate) struct Changed<'a> {
    terminal: std::os::fd::BorrowedFd<'a>,
    before: Termios,
    when: OptionalActions,
}

impl<'a> Changed<'a> {
    /// `when` is what becomes of what was typed already, at the change and at its end.
    pub(crate) fn new(
        terminal: std::os::fd::BorrowedFd<'a>,
        when: OptionalActions,
        change: impl FnOnce(&mut Termios),
    ) -> Result<Self> {
        let before = tcgetattr(terminal).map_err(terminal_error)?;
        let mut changed = before.clone();
        change(&mut changed);
        tcsetattr(terminal, when, &changed).map_err(terminal_error)?;
        Ok(Self { terminal, before, when })
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, self.when, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_yes_confirms_where_there_is_no_default() {
        let asked = ["yes", " YES ", "y", "", "no", "n", "yess"].map(|line| answer(line, None));
        assert_eq!(asked, [Some(true), Some(true), None, None, Some(false), Some(false), None]);
        assert_eq!(
            (answer("", Some(true)), answer("", Some(false)), answer("y", Some(false))),
            (Some(true), Some(false), Some(true))
        );
    }

    #[test]
    fn keys_are_corrected_and_cancelled_as_on_a_terminal() {
        let typed = |bytes: &[u8]| keys(&mut &bytes[..]);
        assert_eq!(typed("aé\u{7f}b\n".as_bytes()).unwrap(), "ab");
        assert_eq!(typed(b"wrong\x15right\r").unwrap(), "right");
        for cancelled in [&b"x\x03"[..], b"x\x04", b"x"] {
            assert_eq!(typed(cancelled).unwrap_err().code, "cancelled");
        }
    }

    #[test]
    fn long_texts_stand_above_their_prompt() {
        assert_eq!(above("go on?", "(yes/no) "), "go on?  (yes/no) ");
        assert_eq!(above("one\ntwo", "? "), "one\ntwo\n? ");
        assert_eq!(above("", "name: "), "name: ");
    }
}
