//! The operator's editor.

use std::path::{Path, PathBuf};
use std::process::Command;

use rhai::Dynamic;

use super::bench::Shared;
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

/// Opens a script; one that is built in can't be edited. `name` is what the operator calls it.
pub fn script(file: &Path, line: usize, name: &str) -> Result<()> {
    if !file.is_file() {
        let message = format!("{} is no file that could be edited: it is built into pgscript", file.display());
        return Err(Error::refused("ui.built_in", message).hint(format!(
            "write it out into the site's directory: pgscript eject {name} DIRECTORY\n\
             edit it there, then choose edit again"
        )));
    }
    open(file, line)
}

/// `session::edit()`
pub fn edit(shared: &Shared) -> Result<Dynamic> {
    let desk = shared.state().desk.clone();
    if desk.place.is_some() && !desk.now().sources.is_empty() {
        let history = desk.now();
        let name = Path::new(&history.script).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A script of the site has the place of the built-in one that it overrides.
        let site = shared.state().setup.places.site().join(&history.script);
        let file = if site.is_file() { site } else { PathBuf::from(&history.script) };
        script(&file, 1, &name)?;
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
