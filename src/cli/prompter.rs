//! Answers to a script's questions: the operator's, or those of the command line.

use crate::script::parameters::variable;
use crate::script::session::Prompter;
use crate::ui::prompt::Terminal;
use crate::world::{Cancel, Error, Result};

/// Asks on the terminal, where there is one.
pub struct Operator {
    /// `--yes`: every `confirm` is answered with yes. What must be typed or done by hand still asks.
    pub yes: bool,
    pub cancel: Cancel,
    pub terminal: Terminal,
}

impl Prompter for Operator {
    fn confirm(&self, question: &str) -> Result<bool> {
        self.cancel.check()?;
        if self.yes {
            return Ok(true);
        }
        self.terminal.confirm(question).map_err(|e| match e.code.as_str() {
            "ui.no_terminal" => Error { message: format!("{}: {question}", e.message), ..e },
            _ => e,
        })
    }

    fn manual(&self, instruction: &str) -> Result<()> {
        self.cancel.check()?;
        self.terminal.manual(instruction).map_err(|e| match e.code.as_str() {
            "ui.no_terminal" => Error::new(e.kind, e.code, format!("{}: {instruction}", e.message))
                .hint("run it on a terminal; --yes does not answer this"),
            _ => e,
        })
    }

    fn ask(&self, name: &str, help: &str, secret: bool) -> Result<String> {
        self.cancel.check()?;
        self.terminal.ask(name, help, secret).map_err(|e| match e.code.as_str() {
            "ui.no_terminal" => missing(name, help, secret),
            _ => e,
        })
    }
}

fn missing(name: &str, help: &str, secret: bool) -> Error {
    let about = if help.is_empty() { String::new() } else { format!(" ({help})") };
    // A secret on the command line could be read by other users.
    let set = if secret { String::new() } else { format!("--set {name}=…, ") };
    Error::usage("params.missing", format!("parameter `{name}`{about} has no value"))
        .hint(format!("give it with {set}{}=… in the environment, or in a file with --params", variable(name)))
}
