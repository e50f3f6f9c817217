//! `pgscript test [PATHS]`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Exit, Format};
use crate::practice::testing::{self, Outcome, Test as OneTest};
use crate::script::errors::Report;
use crate::script::loader::Places;
use crate::ui::{human, output};

/// Runs the tests of scripts: each in a simulated world of its own, without Docker.
///
/// A test is a function without parameters whose name begins with `test_`, in a file `*_test.rhai`. `sim::` makes its
/// world and runs scripts in it; see docs/testing.md.
#[derive(Args, Debug)]
pub struct Test {
    /// Files, or directories in which to look for `*_test.rhai`.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Only tests whose names have this in them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// How many at once; as many as there are processors when left out.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Test {
    pub fn execute(self, places: &Places) -> anyhow::Result<Exit> {
        let (mut tests, mut unread) = (Vec::new(), Vec::new());
        for file in testing::files(&self.paths)? {
            match testing::tests(places, &file) {
                Ok(found) => tests.extend(found.into_iter().filter(|test| test.name.contains(&self.only))),
                Err(report) => unread.push(*report),
            }
        }
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let outcomes = testing::run(places, &tests, jobs, |outcome| self.tell(outcome))?;
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        unread.iter().for_each(|report| self.complain(report));
        if self.format == Format::Text {
            let passed = outcomes.len() - failed;
            let files = if unread.is_empty() { String::new() } else { format!(", {} files unreadable", unread.len()) };
            output::print(&format!("{passed} passed, {failed} failed{files}\n"));
        }
        Ok(if failed == 0 && unread.is_empty() { Exit::Done } else { Exit::Failed })
    }

    fn complain(&self, report: &Report) {
        match self.format {
            Format::Text => output::print(&report.render()),
            Format::Json => {
                output::print(&format!("{}\n", json!({ "file": "unreadable", "failure": report.to_json() })))
            }
        }
    }

    fn tell(&self, outcome: &Outcome) {
        let Outcome { test: OneTest { file, name }, seconds, failure } = outcome;
        match (self.format, failure) {
            (Format::Json, failure) => {
                let failure = failure.as_ref().map(Report::to_json);
                let line = json!({ "file": file.name, "test": name, "seconds": seconds, "failure": failure });
                output::print(&format!("{line}\n"));
            }
            (Format::Text, None) => output::print(&format!("ok      {name} ({})\n", human::seconds(*seconds))),
            (Format::Text, Some(report)) => output::print(&format!("FAILED  {name}\n{}", report.render())),
        }
    }
}
