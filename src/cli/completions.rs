//! `pgscript completions SHELL`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Exit};
use crate::ui::output;

/// Writes completions for a shell to standard output.
#[derive(Args, Debug)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn execute(self) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "pgscript", &mut text);
        output::print(&String::from_utf8_lossy(&text));
        Exit::Done
    }
}
