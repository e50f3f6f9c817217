//! `pgscript runs`

use clap::Args;
use serde_json::json;

use super::{Exit, Format, Global};
use crate::run::history::State;
use crate::run::store::Place;
use crate::ui::style::{self, Style};
use crate::ui::{human, output, table};
use crate::world::{Error, Result};

/// Lists the runs that are kept on this machine, oldest first.
#[derive(Args, Debug)]
pub struct Runs {
    /// Also those that were refused before they had changed anything.
    #[arg(long)]
    all: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Runs {
    pub fn execute(self, global: &Global) -> anyhow::Result<Exit> {
        // One that can't be read does not hide the others.
        let rows = global.store.runs()?.iter().map(|run| row(run).unwrap_or_else(|e| unreadable(run, &e))).collect();
        let (refused, rows): (Vec<_>, Vec<_>) = match self.all {
            true => (Vec::new(), rows),
            false => Vec::into_iter(rows).partition(|[_, state, ..]| state == State::Refused.as_str()),
        };
        let columns = ["run", "state", "begun", "last step", "script"].map(str::to_owned);
        match self.format {
            Format::Json => {
                let runs = rows.iter().map(|[run, state, begun, step, script]| {
                    json!({"run": run, "state": state, "begun_at": begun, "last_step": step, "script": script})
                });
                output::print(&format!("{:#}\n", json!({"runs": runs.collect::<Vec<_>>()})));
            }
            Format::Text if rows.is_empty() => {
                output::print(&format!("no runs in {}\n", global.store.root().display()));
            }
            Format::Text => {
                let style = Style::of_terminal();
                let rows: Vec<_> = rows.into_iter().map(shown).collect();
                let table = table::render(&columns, &rows, style::width(), style.unicode);
                output::print(&style.ascii(format!("{}\n", table.trim_end())));
            }
        }
        if !refused.is_empty() && self.format == Format::Text {
            output::print(&format!("refused before anything was changed: {} (--all shows them)\n", refused.len()));
        }
        Ok(Exit::Done)
    }
}

fn unreadable(place: &Place, error: &Error) -> [String; 5] {
    [place.id.clone(), "unreadable".into(), String::new(), String::new(), error.message.clone()]
}

fn row(place: &Place) -> Result<[String; 5]> {
    let (history, damage) = place.history()?;
    let state = match (place.driver(), damage) {
        (Some(_), _) => "running",
        (None, Some(_)) => "damaged",
        (None, None) => history.state().as_str(),
    };
    let cleaned = if history.cleaned { ", cleaned up" } else { "" };
    let step = history.order.last().cloned().unwrap_or_default();
    Ok([place.id.clone(), format!("{state}{cleaned}"), history.begun_at, step, history.script])
}

/// As people read it.
fn shown([run, state, begun, step, script]: [String; 5]) -> Vec<String> {
    vec![run, state, human::moment(&begun, jiff::Timestamp::now()), step, script]
}
