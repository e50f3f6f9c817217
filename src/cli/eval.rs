//! `pgscript eval 'EXPR'`

use clap::Args;

use super::driving::Driving;
use super::{Exit, Format, Global, repl};
use crate::repl::shell::{self, Form};

/// Evaluates one expression (or several statements) and prints what it gives, without a shell.
#[derive(Args, Debug)]
pub struct Eval {
    /// `docker::containers()`, `psql::query(…)`, …
    text: String,
    /// The run to work in, `upgrade-7` or `7`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    driving: Driving,
}

impl Eval {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let form = if self.driving.format == Format::Json { Form::Json } else { Form::People };
        repl::session(&self.driving, global, self.run.as_deref(), |start| {
            let ended = shell::once(start, self.text.clone(), form)?;
            Ok(ended.map_or(Exit::Done, Exit::from))
        })
    }
}
