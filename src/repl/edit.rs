//! The operator's editor.

use std::path::{Path, PathBuf};
use std::process::Command;

use rhai::Dynamic;

use super::bench::Shared;
use crate::script::ejected;
use crate::script::loader::Places;
use crate::script::shipped::{self, Shipped};
use crate::script::source::{BUILT_IN_PREFIX, Origin};
use crate::ui::output;
use crate::world::{Error, Result};

/// Opens a file at a line in `$VISUAL`, `$EDITOR` or vi, and waits until it is closed.
pub fn open(file: &Path, line: usize) -> Result<()> {
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(format!("+{line}")).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::failed("ui.editor", format!("{editor} ended with {status}")).hint("nothing was run")),
        Err(error) => {
            Err(Error::failed("ui.editor", format!("cannot start {editor}: {error}"))
                .hint("name your editor in EDITOR"))
        }
    }
}

/// Opens a script or module at a line: `source` is its id, or what the operator calls a script. One that is built in is
/// written out first, into the site's directory.
pub fn script(places: &Places, source: &str, line: usize) -> Result<()> {
    let shipped = shipped::find(source.strip_prefix(BUILT_IN_PREFIX).unwrap_or(source));
    let found = match shipped {
        Some(file) if file.kind == shipped::Kind::Module => places.module(None, file.name)?,
        Some(file) => places.script(file.name)?,
        None => places.script(source)?,
    };
    match (&found.origin, shipped) {
        (Origin::File(path), _) => open(path, line),
        (_, Some(file)) => built_in(places.site(), file, line),
        _ => Err(Error::refused("ui.built_in", format!("{source} is no file that could be edited"))),
    }
}

/// A copy in the site's directory is taken instead of what is built in; one that was not changed goes again.
fn built_in(site: &Path, file: &Shipped, line: usize) -> Result<()> {
    let path = ejected::eject(file, site).map_err(|error| {
        let hint = format!("{} is built in; to be edited it has to be written there. Nothing was run", file.name);
        Error { hint: Some(hint), ..error }
    })?;
    let opened = open(&path, line);
    if std::fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
        std::fs::remove_file(&path).map_err(|e| Error::io("remove", path.display(), &e))?;
        ejected::forget(site, file)?;
        return opened;
    }
    output::tell(&format!(
        "{} is built in; with your changes it is {}, which is taken instead from now on, in other runs too\n",
        file.name,
        path.display()
    ));
    opened
}

/// `session::edit()`
pub fn edit(shared: &Shared) -> Result<Dynamic> {
    let desk = shared.state().desk.clone();
    if desk.place.is_some() && !desk.now().sources.is_empty() {
        let (history, places) = (desk.now(), shared.state().setup.places.clone());
        let place = history.error.and_then(|error| error.place);
        let (source, line) = place.unwrap_or((history.script, 1));
        script(&places, &source, line)?;
        shared.state().is_edited = true;
        return Ok(Dynamic::UNIT);
    }
    let last = shared.state().typed.iter().rev().find(|typed| !typed.is_command).map(|typed| typed.text.clone());
    let edited = edit_text(&last.unwrap_or_default())?;
    shared.state().next_input = Some(edited);
    Ok(Dynamic::UNIT)
}

fn edit_text(text: &str) -> Result<String> {
    let failed = |e: std::io::Error| Error::io("write", "a file for your editor", &e);
    let path = private_file(text).map_err(failed)?;
    let edited = open(&path, 1).and_then(|()| std::fs::read_to_string(&path).map_err(failed));
    let _ = std::fs::remove_file(&path);
    edited
}

fn private_file(text: &str) -> std::io::Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = std::env::temp_dir().join(format!("pgscript-{}.rhai", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}
