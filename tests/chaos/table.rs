//! Which action has ended how often in what.

use std::collections::BTreeMap;

use crate::chaos::history::{Outcome, Story};
use crate::chaos::plan::Action;

const COLUMNS: [(Outcome, &str); 5] = [
    (Outcome::Finished, "finished"),
    (Outcome::RolledBack, "rolled back"),
    (Outcome::PutBack, "put back by itself"),
    (Outcome::RefusedBefore, "refused before"),
    (Outcome::Fault, "fault"),
];

/// A line for each action that happened, one for histories in which none did, and the sum of histories.
pub fn render(stories: &[Story]) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<Outcome, usize>> = BTreeMap::new();
    for story in stories {
        let mut names: Vec<_> = story.actions.iter().map(|action| action.name()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            names.push("(over before anything broke)");
        }
        names.push("~ histories");
        for name in names {
            *counts.entry(name).or_default().entry(story.outcome).or_default() += 1;
        }
    }
    let width = Action::ALL.map(|action| action.name().len()).into_iter().max().unwrap_or_default();
    let heads: Vec<_> = COLUMNS.iter().map(|(_, head)| *head).collect();
    let mut text = format!("{:<width$}   {}\n", "action", heads.join("   "));
    for (name, outcomes) in counts {
        let cells = COLUMNS
            .iter()
            .map(|(outcome, head)| format!("{:>1$}", outcomes.get(outcome).copied().unwrap_or_default(), head.len()));
        let name = name.trim_start_matches("~ ");
        text += &format!("{name:<width$}   {}\n", cells.collect::<Vec<_>>().join("   "));
    }
    text
}
