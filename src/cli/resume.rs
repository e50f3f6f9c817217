//! `pgscript resume [RUN]`

use clap::Args;

use super::driving::Driving;
use super::{Exit, Global, choices};
use crate::run::drive::{self, Changes};
use crate::run::history::State;
use crate::script::execute::Way;
use crate::script::parameters::Given;

/// Goes on with a run that failed or was cut off: finished steps are not run again, the first other one is.
#[derive(Args, Debug)]
pub struct Resume {
    /// The run, `upgrade-7` or `7`; the newest unfinished one when left out.
    run: Option<String>,
    /// Runs this step again, which was cut off in its middle; may be repeated.
    #[arg(long, value_name = "STEP")]
    retry: Vec<String>,
    /// Leaves this step out.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Takes this step for done, with this value (JSON).
    #[arg(long, value_name = "STEP=VALUE")]
    accept: Vec<String>,
    /// Goes on with scripts that were changed since.
    #[arg(long, conflicts_with = "as_recorded")]
    accept_changes: bool,
    /// Goes on with the scripts as they were when the run began.
    #[arg(long)]
    as_recorded: bool,
    /// Leaves everything as it is when the run fails, instead of putting back what was done.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    driving: Driving,
}

/// What the two options about changed scripts mean.
pub fn changes(accept: bool, as_recorded: bool) -> Changes {
    match (accept, as_recorded) {
        (true, _) => Changes::Accept,
        (_, true) => Changes::AsRecorded,
        _ => Changes::Refuse,
    }
}

impl Resume {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let place = match &self.run {
            Some(name) => global.store.find(name)?,
            None => drive::newest(
                &global.store,
                |h| {
                    let is_open = matches!(h.state(), State::NotBegun | State::Failed | State::Interrupted);
                    is_open || h.state() == State::Done && !h.left_open.is_empty() && !h.cleaned
                },
                "is unfinished",
            )?,
        };
        let (history, _) = place.history()?;
        let global = global.of_run(&history)?;
        let decisions = drive::decisions(&self.retry, &self.skip, &self.accept)?;
        let changes = changes(self.accept_changes, self.as_recorded);
        self.driving.drive(global, Given::default(), &history, |setup| {
            let asks = choices::are_offered(&self.driving);
            let driven =
                drive::resume(setup, &place, None, decisions, changes, Way::Forward { keep: self.keep || asks })?;
            if asks { choices::offer(setup, driven, self.keep) } else { Ok(driven) }
        })
    }
}
