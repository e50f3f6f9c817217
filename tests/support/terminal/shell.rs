//! An operator in front of a shell: what is typed, and what comes of it.

use super::{Seat, Terminal};

/// A shell that says with a prompt when it waits for an input.
pub struct Shell {
    pub terminal: Terminal,
    prompt: String,
}

impl Shell {
    /// Starts it, and waits for its first prompt; gives what it said before that.
    #[track_caller]
    pub fn open(seat: Seat, prompt: &str) -> (Self, String) {
        let mut terminal = seat.start();
        let said = terminal.read(prompt);
        (Self::at(terminal, prompt), said)
    }

    /// One that something else has started, and whose prompt has come.
    pub fn at(terminal: Terminal, prompt: &str) -> Self {
        Self { terminal, prompt: prompt.to_owned() }
    }

    /// Types a line and waits for the next prompt. What came of it must have each of these words; gives all of it.
    #[track_caller]
    pub fn enter(&mut self, line: &str, words: &[&str]) -> String {
        self.type_in(line);
        self.answer(words)
    }

    /// As [`Shell::enter`], with another prompt from then on.
    #[track_caller]
    pub fn goes_on(&mut self, line: &str, prompt: &str, words: &[&str]) -> String {
        self.type_in(line).prompt(prompt).answer(words)
    }

    /// What the prompt is from now on.
    pub fn prompt(&mut self, prompt: &str) -> &mut Self {
        self.prompt = prompt.to_owned();
        self
    }

    /// Types a line, and Enter once it is seen.
    #[track_caller]
    pub fn type_in(&mut self, line: &str) -> &mut Self {
        self.write(line).terminal.type_keys("\r").expect("\n");
        self
    }

    /// Types what has no line's end in it, and waits until it is seen.
    #[track_caller]
    pub fn write(&mut self, text: &str) -> &mut Self {
        self.until_prompt().terminal.type_keys(text);
        self.until_shown(text);
        self
    }

    /// Waits until this stands behind the prompt, however many rows it takes.
    #[track_caller]
    pub fn until_shown(&mut self, text: &str) -> &mut Self {
        // A blank at the end of a row is not seen.
        let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
        let (prompt, typed) = (without_blanks(&self.prompt), without_blanks(text));
        self.terminal.see_when(&format!("{text:?} behind the prompt"), |screen| {
            let screen = without_blanks(screen);
            screen.rfind(&prompt).is_some_and(|at| screen[at + prompt.len()..].starts_with(&typed))
        });
        self.terminal.skip();
        self
    }

    /// Waits for the next prompt; what came before it must have each of these words. Gives all of it.
    #[track_caller]
    pub fn answer(&mut self, words: &[&str]) -> String {
        self.until_prompt();
        let text = self.terminal.rest();
        let text = text.strip_suffix(&self.prompt).unwrap_or(&text).to_owned();
        for word in words {
            assert!(
                text.contains(word),
                "{word:?} was not said:\n{text}\n=== on the screen\n{}",
                self.terminal.screen()
            );
        }
        text
    }

    /// Waits until the shell waits for an input, and nothing was typed yet.
    #[track_caller]
    pub fn until_prompt(&mut self) -> &mut Self {
        let prompt = self.prompt.trim_end().to_owned();
        let stands_alone = |screen: &str| screen.lines().last().is_some_and(|line| line.trim_end() == prompt);
        self.terminal.see_when("a prompt", stands_alone);
        self
    }

    /// Types `exit`; gives the last words.
    #[track_caller]
    pub fn leave(mut self) -> String {
        self.type_in("exit");
        let (text, code) = self.terminal.end();
        assert_eq!(code, 0, "{text}");
        text
    }
}
