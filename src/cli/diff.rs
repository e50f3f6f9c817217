//! `pgscript diff [SCRIPT]`

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Format};
use crate::script::changes;
use crate::script::ejected::{self, Standing, VERSION};
use crate::script::loader::Places;
use crate::script::outdated::mended;
use crate::script::shipped;
use crate::script::source::{Origin, Source, unified};
use crate::ui::output;
use crate::world::{Error, Result};

/// Shows scripts and modules of the site against the shipped ones: what the site has changed, and what has been
/// changed in the shipped ones since they were ejected.
///
/// Ends with exit code 0 where nothing differs from what is shipped today, with 1 where something does.
#[derive(Args, Debug)]
pub struct Diff {
    /// A script or module, by path or by name; else all that are taken instead of shipped ones, here and in the site's
    /// directory.
    script: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Diff {
    pub fn execute(self, places: &Places) -> anyhow::Result<Exit> {
        let sources = match &self.script {
            Some(script) => vec![named(places, script)?],
            None => shipped::ALL.iter().map(|file| places.instead_of(file)).collect::<Result<Vec<_>>>()?.concat(),
        };
        let standings = sources.iter().map(Standing::of).collect::<Result<Vec<_>>>()?;
        let standings: Vec<_> = standings.into_iter().flatten().collect();
        output::print(&match self.format {
            Format::Json => standings.iter().map(|standing| format!("{}\n", json(standing))).collect(),
            Format::Text if standings.is_empty() => nothing(self.script.as_deref(), places),
            Format::Text => standings.iter().map(text).collect::<Vec<_>>().join("\n"),
        });
        Ok(if standings.iter().all(Standing::is_shipped) { Exit::Done } else { Exit::Failed })
    }
}

/// The script or module that is taken for a name; an error where nothing of that name is shipped.
fn named(places: &Places, script: &str) -> Result<Source> {
    let source = places.script(script)?;
    match &source.origin {
        Origin::File(path) if shipped::ALL.iter().all(|file| path.file_name() != Some(file.name.as_ref())) => {
            Err(Error::usage("diff.not_shipped", format!("nothing called {script} is shipped to compare it with"))
                .hint("`pgscript list --modules` shows what there is"))
        }
        _ => Ok(source),
    }
}

fn nothing(script: Option<&str>, places: &Places) -> String {
    let what = script.map_or_else(|| "what is shipped".into(), |script| format!("the shipped {script}"));
    format!("nothing here or in {} takes the place of {what}\n", places.site().display())
}

/// The differences that there are to show, each as `diff -u` has it.
struct Differences {
    /// From what it came from to what it is; `None` where what it came from is not known.
    yours: Option<String>,
    /// From what it came from to what is shipped today.
    shipped: Option<String>,
    /// From what is shipped today to what it is.
    both: String,
}

impl Differences {
    fn of(standing: &Standing) -> Self {
        let name = standing.shipped.name;
        let yours = (standing.source.id.as_str(), &*standing.source.text);
        let title = format!("{name} (shipped with {VERSION})");
        let shipped = (title.as_str(), standing.shipped.text);
        let base = standing.base.as_ref().and_then(|base| Some((base.version(), base.text()?)));
        let from = |now| {
            let (version, text) = base?;
            Some(unified((&format!("{name} (ejected from {version})"), text), now))
        };
        Self { yours: from(yours), shipped: from(shipped), both: unified(shipped, yours) }
    }
}

fn text(standing: &Standing) -> String {
    let mut text = format!("{}: {}\n", standing.source.id, summary(standing));
    if standing.is_shipped() {
        return text;
    }
    text += &mended(&[standing]);
    let differences = Differences::of(standing);
    let mut show = |title: &str, difference: &str| {
        if !difference.is_empty() {
            text += &format!("\n{title}:\n{difference}\n");
        }
    };
    match (&differences.yours, &differences.shipped) {
        (Some(yours), Some(shipped)) => {
            show("what you have changed", yours);
            show("what is shipped otherwise since", shipped);
        }
        _ => show("your file against the shipped one of today", &differences.both),
    }
    if standing.has_moved_on() != Some(false) {
        text.push_str(&ways(standing));
    }
    text
}

fn summary(standing: &Standing) -> String {
    let Some(base) = &standing.base else {
        return match standing.is_shipped() {
            true => format!("is what is shipped with {VERSION}"),
            false => "nothing notes which version of pgscript it came from".into(),
        };
    };
    let version = base.version();
    let lost = if base.text().is_none() { "; its copy of then was changed or is gone" } else { "" };
    match (standing.is_shipped(), standing.is_edited(), standing.has_moved_on()) {
        (true, ..) => format!("is what is shipped with {VERSION}"),
        (_, Some(false), _) => format!("not edited, but the shipped one has changed since {version}{lost}"),
        (_, _, Some(true)) => format!("edited, and the shipped one has changed since {version}{lost}"),
        _ => format!("edited; the shipped one is still that of {version}{lost}"),
    }
}

/// What to type to have what is shipped.
fn ways(standing: &Standing) -> String {
    let (name, directory, id) = (standing.shipped.name, standing.directory(), &standing.source.id);
    if standing.is_edited() == Some(false) {
        return format!("\nnothing in it is yours: remove it, and the shipped one is taken:  rm {id}\n");
    }
    let has_base = standing.base.as_ref().is_some_and(|base| base.text().is_some());
    let merge = match has_base {
        true => format!("git merge-file {id} {directory}/{}/{name} NEW-DIRECTORY/{name}", ejected::DIRECTORY),
        false => format!("carry over what you want to keep:  diff -u NEW-DIRECTORY/{name} {id}"),
    };
    format!(
        "\nto have what is shipped today, and your changes:\n  \
         pgscript eject {name} NEW-DIRECTORY\n  {merge}\n  pgscript eject --merged {name} {directory}\n"
    )
}

fn json(standing: &Standing) -> Value {
    let differences = Differences::of(standing);
    let mends = changes::since(&[standing.copy()]);
    let mends = mends.iter().map(|change| json!({"version": change.version, "mends": change.mends}));
    json!({
        "name": standing.shipped.name,
        "origin": standing.source.id,
        "ejected_from": standing.base.as_ref().map(|base| base.version()),
        "shipped_with": VERSION,
        "is_shipped": standing.is_shipped(),
        "is_edited": standing.is_edited(),
        "has_moved_on": standing.has_moved_on(),
        "mends": mends.collect::<Vec<_>>(),
        "changed_here": differences.yours,
        "changed_in_shipped": differences.shipped,
        "against_shipped": differences.both,
    })
}
