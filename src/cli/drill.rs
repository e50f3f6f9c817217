//! `pgscript drill SCRIPT`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{Exit, Format, Global};
use crate::event::Silent;
use crate::practice::drill::{self, Drilled, Plan};
use crate::practice::finding::{Finding, judge};
use crate::practice::{Broken, Expected, History, Moment, Scene, Theatre};
use crate::script::parameters::Given;
use crate::script::source::Source;
use crate::ui::{self, output};
use crate::world::{Error, Redactor, sim};

/// Kills a script at each of its moments, lets each of its changes fail, and takes it up again: in a simulated world.
///
/// After each history everything must be as an undisturbed run leaves it, or as it was before; at every moment there
/// must be a complete copy of the data. Nothing real is touched. Exit code 3 where a promise is broken.
#[derive(Args, Debug)]
pub struct Drill {
    /// A path, or the name of a script of the site or of one built in.
    script: String,
    /// A parameter: NAME=VALUE; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A file with parameters: TOML (`to = 17`), or JSON where the name ends in `.json`.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Version of the server in the simulated deployment.
    #[arg(long, value_name = "MAJOR", default_value_t = 13)]
    from: u32,
    /// The deployment, as `pgscript plan --capture FILE` has kept it; else the simulated one of docs/testing.md.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    world: Option<PathBuf>,
    /// A script that was run before, undisturbed: `cleanup.rhai` is drilled `--after upgrade.rhai`.
    #[arg(long, value_name = "SCRIPT")]
    after: Option<String>,
    /// A parameter of that script: NAME=VALUE; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", requires = "after")]
    after_set: Vec<String>,
    /// Only what happens in steps whose names begin so.
    #[arg(long, value_name = "NAME", default_value = "")]
    step: String,
    /// In place of kills: at every instant others deploy, clean up, restart the engine, write, or the power goes. With
    /// a DEED only that: compose_up, prune_containers, prune_volumes, prune_networks, restart_engine, crash_loop,
    /// stop_container, insert, insert_through_port, power_cut.
    #[arg(long, value_name = "DEED", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(conflicts_with_all = ["histories", "twice"])]
    others: Option<String>,
    /// In place of kills: two in a row, the first in each step, the second at every moment after it was taken up.
    #[arg(long, conflicts_with = "histories")]
    twice: bool,
    /// Of the histories of --others or --twice only one in so many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    one_in: usize,
    /// So many histories at random in place of every moment: two things happen in a row, and others are at work.
    #[arg(long, value_name = "N")]
    histories: Option<usize>,
    /// What they are drawn from: the same seed draws the same ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only this history, as `--format json` tells it; what is said in it is shown.
    #[arg(long, value_name = "JSON")]
    history: Option<String>,
    /// How many histories at once; as many as there are processors when left out.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Drill {
    pub fn execute(self, global: &Global) -> anyhow::Result<Exit> {
        let mut given = Given::default();
        self.set.iter().try_for_each(|text| given.add_set(text))?;
        if let Some(path) = &self.params {
            given.read_file(path)?;
        }
        let world = self.world.as_deref().map_or_else(|| Ok(sim::reference(self.from)), sim::State::of_file)?;
        let original = world.clusters().next().map_or(0, |cluster| cluster.system_identifier);
        let scene = Scene {
            places: global.places.read_once(),
            given,
            source: global.places.script(&self.script)?,
            original,
            world,
            listener: Arc::new(Silent),
            earlier: None,
        };
        let scene = match &self.after {
            Some(script) => {
                let mut given = Given::default();
                self.after_set.iter().try_for_each(|text| given.add_set(text))?;
                scene.after(global.places.script(script)?, given)?
            }
            None => scene,
        };
        if let Some(text) = &self.history {
            return replay(scene, text);
        }
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let drilled = drill::drill(&scene, jobs, self.plan())?;
        output::print(&match self.format {
            Format::Text => text(&drilled, &scene.source),
            Format::Json => drilled.findings.iter().map(|finding| format!("{}\n", object(finding))).collect(),
        });
        Ok(if drilled.findings.is_empty() { Exit::Done } else { Exit::Refused })
    }
}

impl Drill {
    fn plan(&self) -> Plan<'_> {
        let (step, one_in) = (self.step.as_str(), self.one_in);
        match self.histories {
            Some(histories) => Plan::Random { seed: self.seed, histories },
            None => match &self.others {
                Some(only) => Plan::Others { step, only, one_in },
                None if self.twice => Plan::Twice { step, one_in },
                None => Plan::EveryMoment { step },
            },
        }
    }
}

fn replay(scene: Scene, text: &str) -> anyhow::Result<Exit> {
    let history: History =
        serde_json::from_str(text).map_err(|e| Error::usage("drill.malformed", format!("--history {text}: {e}")))?;
    let (_, run, back) = Theatre::new(&scene)?;
    let expected = Expected::of(&scene, &run, &back);
    let scene = Scene { listener: ui::listener(ui::Format::Text, Redactor::default()), ..scene };
    let (mut theatre, ..) = Theatre::new(&scene)?;
    let findings = judge(&scene, &expected, &mut theatre, &history)?;
    output::print(&findings.iter().map(|finding| told(finding, &scene.source)).collect::<String>());
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Refused })
}

fn text(drilled: &Drilled, script: &Source) -> String {
    let Drilled { histories, moments: [forward, back], findings } = drilled;
    let mut text: String = findings.iter().map(|finding| told(finding, script)).collect();
    text.push_str(&format!(
        "{histories} histories of {forward} moments forward and {back} back: {} findings\n",
        findings.len()
    ));
    text
}

/// A finding, with the place of its step, where that is in the script itself.
fn told(finding: &Finding, script: &Source) -> String {
    let Finding { moment: Moment { step, at }, history, .. } = finding;
    let line = line_of(step, &script.text).map(|line| format!("  --> {}:{line}\n", script.name)).unwrap_or_default();
    let place = if step.is_empty() { "outside of all steps".to_owned() } else { format!("step `{step}`") };
    format!("{place}, {at}: {}\n{line}  {history}\n", words(&finding.broken))
}

/// The line on which the innermost step of a path begins.
fn line_of(step: &str, text: &str) -> Option<usize> {
    let name = step.rsplit(" / ").next().filter(|name| !name.is_empty())?;
    let begins = format!("step(\"{name}\"");
    text.lines().position(|line| line.contains(&begins)).map(|index| index + 1)
}

/// What is broken, for people.
fn words(broken: &Broken) -> String {
    match broken {
        Broken::NoCompleteCopy => "no complete copy of the data is left".to_owned(),
        Broken::RowsLost { rows } => format!("{rows} rows are lost that a writer was told are kept"),
        Broken::OtherEnd { differences } => {
            format!("neither done nor as before:\n    {}", differences.join("\n    "))
        }
        Broken::NotAsKeptUp { services } => format!("not as before: {}", services.join("; ")),
        Broken::LeftBehind { what } => format!("left behind: {}", what.join(", ")),
        Broken::Stuck { code, message } => format!("stuck: {message} [{code}]"),
    }
}

fn object(finding: &Finding) -> serde_json::Value {
    json!({ "broken": finding.broken, "history": finding.history, "moment": finding.moment })
}
