//! `pgscript run SCRIPT`

use clap::Args;

use super::driving::Driving;
use super::{Exit, Global, choices};
use crate::run::drive;
use crate::run::history::History;
use crate::script::parameters::Given;

/// Runs a script: a path, or the name of a script of the site or of those built in.
#[derive(Args, Debug)]
pub struct Run {
    /// `upgrade.rhai`, `./my-upgrade.rhai`, …
    script: String,
    /// Gives a parameter; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Leaves everything as it is when the run fails, instead of putting back what was done.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    driving: Driving,
}

impl Run {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let source = global.places.script(&self.script)?;
        let mut given = Given::default();
        for set in &self.set {
            given.add_set(set)?;
        }
        self.driving.drive(global, given, &History::default(), |setup| {
            // At a terminal the operator is asked before anything is put back.
            let asks = choices::are_offered(&self.driving);
            let driven = drive::run(setup, source, self.keep || asks)?;
            if asks { choices::offer(setup, driven, self.keep) } else { Ok(driven) }
        })
    }
}
