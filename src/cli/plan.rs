//! `pgscript plan SCRIPT`

use std::path::{Path, PathBuf};

use clap::Args;

use super::driving::Driving;
use super::{Exit, Format, Global};
use crate::plan::{self, text};
use crate::run::history::History;
use crate::run::store::write_new;
use crate::script::parameters::Given;
use crate::ui::{output, style};
use crate::world::{Error, Result};

/// Shows what a script would do now, without doing it: the script runs in a simulated world that is filled with what
/// there is now, which is only looked at.
///
/// Each step with its effects, the complete copies of the data after each, bytes and time to expect, what is stopped,
/// every question. Exit code as of a run that ends so.
#[derive(Args, Debug)]
pub struct Plan {
    /// A path, or the name of a script of the site or of one built in.
    script: String,
    /// Gives a parameter; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Keeps the plan in a new file, for `pgscript run --plan FILE`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keeps the world that the plan was made in, in a new file, for `pgscript drill --world FILE` and
    /// `sim::captured(FILE)`. Without passwords; but look through it before you hand it on.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Only what is stopped, what is kept, and the outage.
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    driving: Driving,
}

impl Plan {
    pub fn execute(self, global: Global) -> anyhow::Result<Exit> {
        let source = global.places.script(&self.script)?;
        let mut given = Given::default();
        self.set.iter().try_for_each(|set| given.add_set(set))?;
        let (short, out, capture, format) = (self.short, self.out.clone(), self.capture.clone(), self.driving.format);
        self.driving.with_setup(global, given, &History::default(), |setup| {
            [&out, &capture].into_iter().flatten().try_for_each(|path| refuse_existing(path))?;
            let plan::make::Planned { plan, world, .. } = plan::make(setup, &source)?;
            if let Some(path) = &out {
                write_new(path, json(&plan)?.as_bytes())?;
            }
            if let Some(path) = &capture {
                write_new(path, world.to_json()?.as_bytes())?;
            }
            output::print(&match (format, short) {
                (Format::Json, _) => format!("{}\n", event(&plan)?),
                (Format::Text, true) => text::short(&plan, style::columns()),
                (Format::Text, false) => text::full(&plan, style::columns()),
            });
            Ok(plan.failure.and_then(|failure| failure.kind).map_or(Exit::Done, Exit::from))
        })
    }
}

fn json(plan: &plan::Plan) -> Result<String> {
    serde_json::to_string(plan).map_err(|e| Error::failed("plan.unreadable", format!("the plan can't be written: {e}")))
}

/// A line like those of the events before it.
fn event(plan: &plan::Plan) -> Result<String> {
    json(plan).map(|text| text.replacen('{', "{\"event\":\"plan\",", 1))
}

fn refuse_existing(path: &Path) -> Result<()> {
    match path.exists() {
        true => Err(Error::usage("host.exists", format!("{} exists already and is not overwritten", path.display()))),
        false => Ok(()),
    }
}

/// Reads a plan that was kept.
///
/// Errors: `host.not_found`, `plan.unreadable`.
pub fn read(path: &Path) -> Result<plan::Plan> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path.display(), &e))?;
    let plan = serde_json::from_slice::<plan::Plan>(&bytes).ok().filter(|plan| plan.version == plan::VERSION);
    plan.ok_or_else(|| {
        Error::usage("plan.unreadable", format!("{} holds no plan of this version of pgscript", path.display()))
            .hint("make it again: pgscript plan SCRIPT --out FILE")
    })
}
