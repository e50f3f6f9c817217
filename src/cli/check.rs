//! `pgscript check SCRIPT…`

use std::mem::ManuallyDrop;
use std::sync::Arc;

use clap::Args;

use super::{Exit, Format};
use crate::event::Silent;
use crate::practice::{api, testing};
use crate::script::check::Checker;
use crate::script::engine::Language;
use crate::script::errors::Finding;
use crate::script::loader::Places;
use crate::ui::output;

/// Reads scripts, and the modules they import, for what would fail when they run.
///
/// Finds syntax errors, undefined variables, unknown functions and modules, wrong argument counts, and functions
/// that would hide one of the language. Warns of steps that a rollback can't put back, of steps that a kill would leave
/// to the operator, and of variables that a resumed run would not have. Nothing is run and nothing outside is asked.
#[derive(Args, Debug)]
pub struct Check {
    /// Paths, or names of scripts of the site or of those built in.
    #[arg(required = true)]
    scripts: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Check {
    pub fn execute(self, places: Places) -> anyhow::Result<Exit> {
        let mut findings = Vec::new();
        for script in &self.scripts {
            let source = places.script(script)?;
            // The end of the program is near: taking all this apart would only take time.
            // Tests may call what no other script may.
            let is_test = script.ends_with(testing::ENDING);
            let language = Language::with(places.clone(), Arc::new(Silent), None, |registrar| {
                if is_test {
                    api::register(registrar, None);
                }
            });
            let language = ManuallyDrop::new(language);
            let mut checker = ManuallyDrop::new(Checker::new(&language));
            findings.extend(checker.check(&source));
        }
        // Two scripts may import the same module.
        let mut known = Vec::new();
        findings.retain(|finding| {
            let is_new = !known.contains(&finding.report);
            known.push(finding.report.clone());
            is_new
        });
        match self.format {
            Format::Text => output::print(&text(&findings, &self.scripts)),
            Format::Json => output::print(&json(&findings)),
        }
        let is_clean = findings.iter().all(|finding| finding.is_warning);
        Ok(if is_clean { Exit::Done } else { Exit::Failed })
    }
}

fn text(findings: &[Finding], scripts: &[String]) -> String {
    let reports = findings.iter().map(|finding| match finding.is_warning {
        true => finding.report.render_as("warning", usize::MAX),
        false => finding.report.render(),
    });
    let reports: Vec<_> = reports.collect();
    match reports.is_empty() {
        true => format!("{}: nothing found\n", scripts.join(", ")),
        false => reports.join("\n"),
    }
}

/// One finding a line.
fn json(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let mut object = finding.report.to_json();
        object["severity"] = if finding.is_warning { "warning" } else { "error" }.into();
        format!("{object}\n")
    });
    lines.collect()
}
