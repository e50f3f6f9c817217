//! `pgscript rollback [RUN]`

use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::driving::Driving;
use super::resume::changes;
use super::{Exit, Global};
use crate::run::drive;
use crate::run::history::{History, State};
use crate::run::store::{Driver, Place};
use crate::script::parameters::Given;
use crate::ui::output;
use crate::ui::prompt::Terminal;
use crate::world::{Error, Result};

/// Puts back the steps of a run, the last one first: of one that failed, was cut off, still runs, or is done.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The run, `upgrade-7` or `7`; the newest one that has changed something when left out.
    run: Option<String>,
    /// Goes by scripts that were changed since.
    #[arg(long, conflicts_with = "as_recorded")]
    accept_changes: bool,
    /// Goes by the scripts as they were when the run began.
    #[arg(long)]
    as_recorded: bool,
    /// Takes this step, which could not be put back, for put back by hand; may be repeated.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    #[command(flatten)]
    driving: Driving,
}

/// How long a run that was told to stop may take.
const STOPPING: Duration = Duration::from_secs(120);

impl Rollback {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let place = match &self.run {
            Some(name) => global.store.find(name)?,
            // Never one before it: who types this after a run that has put itself back does not mean an older one.
            None => {
                let wanted = |h: &History| {
                    h.effects > 0 && !h.is_session() && h.state() != State::Refused && h.verdict.is_none()
                        || matches!(h.state(), State::Failed | State::Interrupted)
                };
                drive::newest(&global.store, wanted, "has changed anything")?
            }
        };
        if let Some(driver) = place.driver() {
            self.stop(&place, &driver)?;
        }
        let (history, _) = place.history()?;
        if history.state() == State::RolledBack && place.driver().is_none() {
            let id = &place.id;
            place.remove_definitions()?;
            output::tell(&format!("run {id} has been put back: everything is as it was before it\n"));
            if self.run.is_none() {
                output::tell("to go back further, name the run: `pgscript runs` lists them\n");
            }
            return Ok(Exit::Done);
        }
        let global = global.of_run(&history)?;
        let changes = changes(self.accept_changes, self.as_recorded);
        self.driving.drive(global, Given::default(), &history, |setup| {
            drive::rollback(setup, &place, None, &self.skip, changes)
        })
    }

    /// A run under way is ended first, as Ctrl-C would end it; before its commit step that puts it back already.
    fn stop(&self, place: &Place, driver: &Driver) -> Result<()> {
        let question = format!("run {} is under way (process {}). Stop it, and put it back?", place.id, driver.pid);
        let id = &place.id;
        let goes_on = |why: &str| {
            let message = format!("run {id} is under way (process {}, since {}){why}", driver.pid, driver.since);
            Err(Error::refused("run.driven", message).hint(format!(
                "nothing was done. To stop it and put it back: pgscript rollback {id} --yes\n\
                 what it does: pgscript status {id}"
            )))
        };
        match if self.driving.yes { Ok(true) } else { Terminal.confirm(&question) } {
            Ok(true) => {}
            Ok(false) => return goes_on(" and goes on"),
            Err(error) if error.code == "ui.no_terminal" => {
                return goes_on(", and nobody is there to be asked about it");
            }
            Err(error) => return Err(error),
        }
        if let Some(pid) = i32::try_from(driver.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        let begun = Instant::now();
        while place.driver().is_some() {
            if begun.elapsed() > STOPPING {
                let message = format!("process {} did not end within {} s", driver.pid, STOPPING.as_secs());
                return Err(Error::failed("run.driven", message).hint("look what it does, end it, then try again"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
