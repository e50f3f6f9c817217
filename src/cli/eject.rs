//! `pgscript eject [--merged] SCRIPT|--all DIR`

use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use crate::script::ejected;
use crate::script::errors::did_you_mean;
use crate::script::shipped::{self, Shipped};
use crate::ui::output;
use crate::world::{Error, Result};

/// Writes a shipped script or module out, to be edited; never over an existing file.
///
/// Put it beside the script that imports it or into the site's directory, and it is taken instead of the shipped one.
/// What it came from is noted in `.pgscript-ejected` beside it, for `pgscript diff`.
#[derive(Args, Debug)]
pub struct Eject {
    /// Everything that is shipped.
    #[arg(long)]
    all: bool,
    /// Writes no script, only the note: what is there now has all that is shipped today, merged by hand.
    #[arg(long)]
    merged: bool,
    /// A script or module (`upgrade.rhai`, `primero`), then the directory; only the directory with --all.
    #[arg(required = true, num_args = 1..=2, value_names = ["SCRIPT", "DIR"])]
    names: Vec<String>,
}

impl Eject {
    pub fn execute(self) -> anyhow::Result<Exit> {
        let (files, directory) = self.selected()?;
        // All or nothing: half a set of modules would be mixed with the shipped other half.
        let paths = files.iter().map(|file| directory.join(file.name));
        let existing: Vec<_> = paths.filter(|path| ejected::is_taken(path)).collect();
        if self.merged {
            return note(&files, &directory, existing.is_empty());
        }
        if !existing.is_empty() {
            return Err(ejected::taken(&existing).into());
        }
        for file in files {
            output::print(&format!("{}\n", ejected::eject(file, &directory)?.display()));
        }
        Ok(Exit::Done)
    }

    fn selected(&self) -> Result<(Vec<&'static Shipped>, PathBuf)> {
        match (self.all, self.names.as_slice()) {
            (true, [directory]) => Ok((shipped::ALL.iter().collect(), directory.into())),
            (false, [name, directory]) => Ok((vec![find(name)?], directory.into())),
            (true, _) => Err(Error::usage("eject.arguments", "--all takes a directory and no script")),
            (false, _) => Err(Error::usage("eject.arguments", "a script and a directory are needed")
                .hint("for example pgscript eject upgrade.rhai .")),
        }
    }
}

fn find(name: &str) -> Result<&'static Shipped> {
    shipped::find(name).ok_or_else(|| {
        let names = shipped::ALL.iter().map(|file| file.name);
        let hint = did_you_mean(name, names).unwrap_or_else(|| "`pgscript list --modules` shows what there is".into());
        Error::usage("eject.not_found", format!("nothing called {name} is shipped")).hint(hint)
    })
}

/// Notes of the files that are there that they have what is shipped now.
fn note(files: &[&'static Shipped], directory: &Path, is_none_there: bool) -> anyhow::Result<Exit> {
    if is_none_there {
        let message = format!("nothing in {} takes the place of what is shipped", directory.display());
        return Err(Error::usage("eject.not_found", message).hint("nothing was noted; see `pgscript diff`").into());
    }
    for (file, path) in files.iter().map(|file| (file, directory.join(file.name))) {
        if path.is_file() {
            ejected::note(directory, file)?;
            output::print(&format!("{}: has what is shipped with {}\n", path.display(), ejected::VERSION));
        }
    }
    Ok(Exit::Done)
}
