//! Answers to a script's questions: the operator's, or those of the command line.

use std::io::IsTerminal;

use crate::script::parameters::variable;
use crate::script::session::Prompter;
use crate::world::{Error, Result};

/// Asks on the terminal, where there is one.
pub struct Operator {
    /// `--yes`: every `confirm` is answered with yes. What must be typed or done by hand still asks.
    pub yes: bool,
}

fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl Prompter for Operator {
    fn confirm(&self, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !has_terminal() {
            return Err(Error::refused("ui.no_terminal", format!("nobody to ask: {question}"))
                .hint("run it on a terminal, or answer every such question with --yes"));
        }
        Err(Error::refused("ui.no_terminal", format!("nobody to ask: {question}")))
    }

    fn manual(&self, instruction: &str) -> Result<()> {
        Err(Error::refused("ui.no_terminal", format!("nobody to do this by hand: {instruction}"))
            .hint("run it on a terminal; --yes does not answer this"))
    }

    fn ask(&self, name: &str, help: &str, secret: bool) -> Result<String> {
        let about = if help.is_empty() { String::new() } else { format!(" ({help})") };
        let set = if secret { String::new() } else { format!("--set {name}=…, ") };
        Err(Error::usage("params.missing", format!("parameter `{name}`{about} has no value"))
            .hint(format!("give it with {set}{}=… in the environment, or --params FILE", variable(name))))
    }
}
