//! The scripts of a run as they were when it ran them, and what was changed in them since.

use std::path::PathBuf;
use std::sync::Arc;

use similar::TextDiff;

use super::history::{Frozen, History};
use super::store::Place;
use crate::event::BUILT_IN;
use crate::script::source::{Origin, Source, sha256, unified};
use crate::world::{Error, Result};

/// Directory of a run with the frozen texts.
pub const DIRECTORY: &str = "scripts";

/// The source as it was run.
pub fn thaw(place: &Place, frozen: &Frozen) -> Result<Source> {
    let path = place.dir.join(&frozen.file);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", path.display(), &e))?;
    if sha256(&text) != frozen.sha256 {
        return Err(Error::refused("run.frozen_changed", format!("{} is not what the run has run", path.display()))
            .hint(
                "the run's own copies are not for editing: edit the script itself, then resume with --accept-changes",
            ));
    }
    let origin = match frozen.origin.as_str() {
        BUILT_IN => Origin::BuiltIn,
        path => Origin::File(PathBuf::from(path)),
    };
    Ok(Source { id: frozen.id.clone(), name: frozen.key.clone(), origin, text: text.into() })
}

/// All sources of a run as they were run, by their key.
pub fn all(place: &Place, history: &History) -> Result<Arc<Vec<Source>>> {
    history.sources.iter().map(|frozen| thaw(place, frozen)).collect::<Result<Vec<_>>>().map(Arc::new)
}

/// What was changed, line by line, as `diff -u` shows it.
pub fn diff(name: &str, before: &str, now: &str) -> String {
    unified((&format!("{name} (as it was run)"), before), (&format!("{name} (now)"), now))
}

/// The steps as they are recorded against those the script now wants to run.
pub fn diff_steps(recorded: &[String], now: &[String]) -> String {
    let lines = |steps: &[String]| steps.iter().map(|step| format!("{step}\n")).collect::<String>();
    let (recorded, now) = (lines(recorded), lines(now));
    let diff = TextDiff::from_lines(&recorded, &now);
    let shown = diff.unified_diff().context_radius(2).to_string();
    shown.lines().filter(|line| !line.starts_with("@@")).collect::<Vec<_>>().join("\n")
}
