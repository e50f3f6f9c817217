//! `pgscript list`

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{Exit, Format};
use crate::practice::testing;
use crate::script::loader::Places;
use crate::script::shipped::{self, Kind};
use crate::ui::output;
use crate::world::{Error, Result};

/// Lists the scripts there are to run, with where each comes from.
#[derive(Args, Debug)]
pub struct List {
    /// Lists the modules that scripts import too.
    #[arg(long)]
    modules: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A line of the list.
struct Entry {
    name: String,
    origin: String,
    doc: String,
}

impl List {
    pub fn execute(self, places: &Places) -> anyhow::Result<Exit> {
        let entries = self.entries(places)?;
        let text = match self.format {
            Format::Text => table(&entries),
            Format::Json => {
                let lines = entries.iter().map(|e| json!({"name": e.name, "origin": e.origin, "doc": e.doc}));
                lines.map(|line| format!("{line}\n")).collect()
            }
        };
        output::print(&text);
        Ok(Exit::Done)
    }

    /// The site's files first: they are what `run` takes.
    fn entries(&self, places: &Places) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for path in rhai_files(places.site())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_module = shipped::find(&name).is_some_and(|file| file.kind == Kind::Module);
            if is_module && !self.modules {
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", path.display(), &e))?;
            entries.push(Entry { name, origin: path.display().to_string(), doc: first_line(&text) });
        }
        let shipped = shipped::ALL.iter().filter(|file| self.modules || file.kind == Kind::Script);
        for file in shipped {
            if entries.iter().all(|entry| entry.name != file.name) {
                entries.push(Entry { name: file.name.into(), origin: "built in".into(), doc: first_line(file.text) });
            }
        }
        Ok(entries)
    }
}

fn rhai_files(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io("list", directory.display(), &e))?,
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let is_listed = |name: &str| name.ends_with(".rhai") && !name.ends_with(testing::ENDING);
    paths.retain(|path| path.file_name().is_some_and(|name| is_listed(&name.to_string_lossy())));
    paths.sort();
    Ok(paths)
}

/// The first line of the `//!` text.
fn first_line(text: &str) -> String {
    let doc = text.lines().find_map(|line| line.trim_start().strip_prefix("//!"));
    doc.map(str::trim).unwrap_or_default().to_owned()
}

fn table(entries: &[Entry]) -> String {
    let width = |text: fn(&Entry) -> &str| entries.iter().map(|e| text(e).chars().count()).max().unwrap_or_default();
    let (name, origin) = (width(|e| &e.name), width(|e| &e.origin));
    let lines = entries.iter().map(|e| format!("{:<name$}  {:<origin$}  {}", e.name, e.origin, e.doc));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}
