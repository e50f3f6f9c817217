//! A plan in words, for 80 columns and more.

use super::{Effect, Outage, Plan, Step};
use crate::ui::{human, wrap};

/// What is told before an outage begins: what is stopped, what is kept, and how long it takes.
pub fn short(plan: &Plan, columns: usize) -> String {
    let mut lines = vec![format!("Plan of {}:", plan.script)];
    let list = |items: &[String]| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
    lines.push(format!("  stopped meanwhile: {}", list(&plan.stopped)));
    lines.push(format!("  kept of the data of now: {}", list(&plan.kept)));
    lines.push(format!("  {}", outage(plan.outage.as_ref())));
    if plan.outage.is_some() {
        lines.push(format!("  times by {}", plan.times_by));
    }
    lines.iter().map(|line| folded(line, columns)).collect()
}

/// All of it.
pub fn full(plan: &Plan, columns: usize) -> String {
    let mut text = String::new();
    let mut copies: Option<&[String]> = None;
    let mut number = 0;
    for step in &plan.steps {
        // As a run counts them: those within others have no number of their own.
        let is_within = step.path.contains(" / ");
        number += usize::from(!is_within);
        text += &head(Some(number).filter(|_| !is_within), step, columns);
        for effect in &step.effects {
            text += &folded(&format!("    + {}", effect.command), columns);
            for line in about(effect, &mut copies) {
                text += &folded(&format!("        {line}"), columns);
            }
        }
    }
    text.push('\n');
    text += &short(plan, columns);
    text += &list("Questions", plan.questions.iter().map(|question| question.text.as_str()), columns);
    text += &list("Warnings", plan.warnings.iter().map(String::as_str), columns);
    text += &list("Assumed", plan.assumed.iter().map(String::as_str), columns);
    if let Some(failure) = &plan.failure {
        let place = if failure.step.is_empty() { String::new() } else { format!(" in step `{}`", failure.step) };
        text +=
            &folded(&format!("It would not come to its end{place} [{}]: {}", failure.code, failure.message), columns);
        text += &failure.hint.as_ref().map(|hint| folded(hint, columns)).unwrap_or_default();
    }
    text
}

fn head(number: Option<usize>, step: &Step, columns: usize) -> String {
    let number = number.map(|number| format!("{number}.")).unwrap_or_default();
    let seconds = if step.seconds >= 0.1 { format!(", {}", human::seconds(step.seconds)) } else { String::new() };
    let indent = "  ".repeat(step.path.matches(" / ").count());
    folded(&format!("{number:>4} {indent}{}{seconds}", step.path.rsplit(" / ").next().unwrap_or_default()), columns)
}

/// What there is to say of an effect beside its command; the copies only where they are others than before.
fn about<'p>(effect: &'p Effect, copies: &mut Option<&'p [String]>) -> Vec<String> {
    let mut lines = Vec::new();
    let amounts = [(effect.reads, "reads"), (effect.writes, "writes")];
    let amounts = amounts.iter().filter(|(bytes, _)| *bytes > 0);
    let mut facts: Vec<_> = amounts.map(|(bytes, verb)| format!("{verb} {}", human::size(*bytes))).collect();
    if effect.seconds >= 0.5 {
        facts.push(human::seconds(effect.seconds));
    }
    let moved = [(&effect.stops, "stops"), (&effect.starts, "starts")];
    let moved = moved.iter().filter(|(names, _)| !names.is_empty());
    facts.extend(moved.map(|(names, verb)| format!("{verb} {}", names.join(", "))));
    if !facts.is_empty() {
        lines.push(facts.join("; "));
    }
    if copies.is_none_or(|known| known != effect.copies_after) {
        let now = if effect.copies_after.is_empty() { "NONE".to_owned() } else { effect.copies_after.join(", ") };
        lines.push(format!("complete copies of the data after it: {now}"));
        *copies = Some(&effect.copies_after);
    }
    lines
}

fn outage(outage: Option<&Outage>) -> String {
    match outage {
        None => "no outage: the application keeps its server".to_owned(),
        Some(Outage { from, to: Some(to), seconds }) => {
            format!("outage: about {}, from `{from}` to `{to}`", human::estimate(*seconds))
        }
        Some(Outage { from, to: None, .. }) => format!("outage: from `{from}`, and it does not end in this plan"),
    }
}

fn list<'t>(title: &str, items: impl Iterator<Item = &'t str>, columns: usize) -> String {
    let lines: Vec<_> = items.map(|item| folded(&format!("  - {}", item.replace('\n', "\n    ")), columns)).collect();
    if lines.is_empty() { String::new() } else { format!("\n{title}:\n{}", lines.concat()) }
}

/// Each line folded with what it is indented by.
fn folded(text: &str, columns: usize) -> String {
    wrap::fold(text, columns).trim_end().to_owned() + "\n"
}
