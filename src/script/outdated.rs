//! What `check` and `run` say of files of a site that take the place of shipped ones, and came from another version of
//! the program.

use std::collections::BTreeMap;

use super::changes;
use super::ejected::{Standing, VERSION};
use super::errors::{Finding, Report};
use super::shipped;
use super::source::Source;
use crate::world::Error;

/// Before the names of all findings of this kind.
const PREFIX: &str = "ejected.";

/// What a call finds where it was written for another version.
const MISFITS: [&str; 3] = ["check.unknown", "check.arguments", "module.not_found"];

/// Whether a run has to say this finding, though it does not keep the script from running.
pub fn is_to_be_said(finding: &Finding) -> bool {
    finding.is_warning && finding.report.code.starts_with(PREFIX)
}

/// The findings of sources, with one for each file that does not fit this version in the place of all that come from
/// that, and a warning of the other files that came from another version.
pub fn told<'s>(sources: impl Iterator<Item = &'s Source>, mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut told = Vec::new();
    let mut warned = Vec::new();
    for source in sources {
        match Standing::of(source) {
            Ok(Some(standing)) if !standing.is_shipped() && standing.has_moved_on() != Some(false) => {
                let (misfits, others) = findings.into_iter().partition(|finding| is_misfit(finding, &standing));
                findings = others;
                match misfits.is_empty() {
                    true => warned.push(standing),
                    false => told.push(finding(&does_not_fit(&standing, &misfits), false)),
                }
            }
            Ok(_) => {}
            Err(error) => told.push(finding(&error, true)),
        }
    }
    let (known, unknown): (Vec<_>, Vec<_>) = warned.iter().partition(|standing| standing.base.is_some());
    told.extend(moved_on(&known).map(|error| finding(&error, true)));
    told.extend(unnoted(&unknown).map(|error| finding(&error, true)));
    told.into_iter().chain(findings).collect()
}

fn finding(error: &Error, is_warning: bool) -> Finding {
    Finding { report: Report::from(error), module: None, is_warning }
}

/// Whether a finding is there because a file came from another version: it is in the file, in a line that the site has
/// not written, or in a shipped line that calls something in the file.
fn is_misfit(finding: &Finding, standing: &Standing) -> bool {
    let Some(place) = &finding.report.place else { return false };
    if finding.is_warning || !MISFITS.contains(&finding.report.code.as_str()) {
        return false;
    }
    let has_line = |text: &str| text.lines().any(|line| line == place.text);
    if place.file == standing.source.id {
        // Where nobody knows which lines are the site's, none of them counts as that.
        return standing.base.as_ref().and_then(|base| base.text()).is_none_or(has_line);
    }
    let caller = shipped::find(place.file.rsplit(['/', ':']).next().unwrap_or_default());
    finding.module.as_ref() == Some(&standing.source.id) && caller.is_some_and(|caller| has_line(caller.text))
}

fn does_not_fit(standing: &Standing, misfits: &[Finding]) -> Error {
    let (id, name) = (&standing.source.id, standing.shipped.name);
    let from = match &standing.base {
        Some(base) => format!("it was ejected from version {}", base.version()),
        None => "it seems to come from another one, and nothing notes which".into(),
    };
    let message = format!("{id} does not fit this version of pgscript, {VERSION}: {from}");
    let head = match misfits.iter().all(|misfit| misfit.module.as_deref() == Some(id)) {
        true => "it lacks what is called in it, or takes other arguments",
        false => "it calls what is not there, or takes other arguments",
    };
    let hint = format!(
        "{head}:\n{}\n{}\
         what is different:  pgscript diff {id}\n\
         to begin anew:  pgscript eject {name} NEW-DIRECTORY, and carry your changes over\n\
         to keep it as it is:  put the rest of its version beside it, by `eject --all` of that pgscript",
        lines(standing, misfits),
        mended(&[standing])
    );
    Error::failed(format!("{PREFIX}outdated"), message).hint(hint)
}

/// Each thing that does not fit, with the lines in which it is met.
fn lines(standing: &Standing, misfits: &[Finding]) -> String {
    let mut met: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for report in misfits.iter().map(|misfit| &misfit.report) {
        let Some(place) = &report.place else { continue };
        // What was there once is no typing error: "did you mean" would only mislead.
        let hint = report.hint.as_ref().filter(|_| standing.base.is_none() || report.code == "check.arguments");
        let hint = hint.map(|hint| format!(": {}", hint.replace('\n', " or "))).unwrap_or_default();
        met.entry((&place.file, format!("{}{hint}", report.message))).or_default().push(place.line.to_string());
    }
    let line = |((file, what), lines): (&(&str, String), &Vec<String>)| {
        let file = if *file == standing.source.id { String::new() } else { format!("{file}, ") };
        let word = if lines.len() == 1 { "line" } else { "lines" };
        format!("  {file}{word} {}: {what}", lines.join(", "))
    };
    met.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn moved_on(standings: &[&Standing]) -> Option<Error> {
    let files = standings.iter().map(|standing| {
        let version = standing.base.as_ref().map(|base| base.version()).unwrap_or_default();
        format!("{} (from version {version})", standing.source.id)
    });
    let message = "ejected, and the shipped one has changed since";
    (!standings.is_empty()).then(|| warning("moved_on", message, files.collect(), standings))
}

fn unnoted(standings: &[&Standing]) -> Option<Error> {
    let files = standings.iter().map(|standing| standing.source.id.clone());
    let message = "not as it is shipped, and nothing notes which version of pgscript it came from";
    (!standings.is_empty()).then(|| warning("unnoted", message, files.collect(), standings))
}

fn warning(code: &str, message: &str, files: Vec<String>, standings: &[&Standing]) -> Error {
    let (file, place) = match standings {
        [one] => (one.source.id.as_str(), format!("{} {}", one.shipped.name, one.directory())),
        _ => ("FILE", "NAME DIRECTORY".into()),
    };
    let hint = format!(
        "{}what is different:  pgscript diff {file}\n\
         when it has what you want of that, and this is not to be said any more:  pgscript eject --merged {place}",
        mended(standings)
    );
    Error::failed(format!("{PREFIX}{code}"), format!("{message}: {}", files.join(", "))).hint(hint)
}

/// What the shipped files mend that these may lack, as lines; nothing where nothing is known.
pub fn mended(standings: &[&Standing]) -> String {
    let changes = changes::since(&standings.iter().map(|standing| standing.copy()).collect::<Vec<_>>());
    let is_certain = standings.iter().all(|standing| standing.base.is_some());
    let head = if is_certain { "the shipped one mends:\n" } else { "the shipped one mends, and this may lack:\n" };
    let lines: String = changes.iter().map(|change| format!("  - {change}\n")).collect();
    if lines.is_empty() { lines } else { format!("{head}{lines}") }
}
