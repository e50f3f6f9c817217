//! What a completion offers, how it is chosen by what was typed, and how it is listed.

use rustyline::completion::Pair;

use super::known::name_of;
use crate::ui::style::Style;

/// So many signatures can be read at a glance; of more only the names are listed.
const FEW: usize = 16;
/// More names than anybody reads; the editor's own limit is far above.
const MOST: usize = 1000;

/// Something that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is inserted.
    pub text: String,
    /// What is listed.
    pub shown: String,
    /// What is listed instead where there is room.
    pub signature: Option<String>,
}

impl Candidate {
    /// Listed as it is inserted.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), text, signature: None }
    }

    pub fn shown(mut self, shown: impl Into<String>) -> Self {
        self.shown = shown.into();
        self
    }

    /// A function or method; `suffix` is what its name is inserted with.
    pub fn function(signature: String, suffix: &str) -> Self {
        let name = name_of(&signature).to_owned();
        Self { text: format!("{name}{suffix}"), shown: name, signature: Some(signature) }
    }
}

/// Those that begin with what was typed, sorted, each once.
pub fn beginning_with(typed: &str, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let matching = candidates.into_iter().filter(|candidate| candidate.text.starts_with(typed));
    sorted(matching.collect())
}

/// Those that begin with what was typed; where none does, those that contain it. For names that nobody remembers from
/// their beginning: `postgres` finds `primero-postgres-1`.
pub fn containing(typed: &str, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let (begin, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| c.text.starts_with(typed));
    match begin.is_empty() {
        true => sorted(others.into_iter().filter(|candidate| candidate.text.contains(typed)).collect()),
        false => sorted(begin),
    }
}

fn sorted(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(|a, b| a.text.cmp(&b.text));
    candidates.dedup_by(|a, b| a.text == b.text);
    candidates.truncate(MOST);
    candidates
}

/// As the editor lists them, in lines that fit the terminal.
pub fn listed(candidates: Vec<Candidate>, style: Style) -> Vec<Pair> {
    let room = style.width.saturating_sub(2).max(8);
    let fits = |candidate: &Candidate| candidate.signature.as_ref().is_none_or(|s| s.chars().count() <= room);
    let with_signatures = candidates.len() <= FEW && candidates.iter().all(fits);
    let pair = |candidate: Candidate| Pair {
        display: cut(candidate.signature.filter(|_| with_signatures).unwrap_or(candidate.shown), room, style),
        replacement: candidate.text,
    };
    candidates.into_iter().map(pair).collect()
}

fn cut(text: String, room: usize, style: Style) -> String {
    if text.chars().count() <= room {
        return text;
    }
    let mark = if style.unicode { "…" } else { "..." };
    let kept: String = text.chars().take(room - mark.chars().count()).collect();
    kept + mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(texts: &[&str]) -> Vec<Candidate> {
        texts.iter().map(|text| Candidate::new(*text)).collect()
    }

    fn texts(candidates: Vec<Candidate>) -> String {
        candidates.into_iter().map(|c| c.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_typed_chooses() {
        let all = ["b-app", "a-app", "ax", "b-app"];
        assert_eq!(texts(beginning_with("a", offered(&all))), "a-app ax");
        assert_eq!(texts(beginning_with("", offered(&all))), "a-app ax b-app");
        assert_eq!(texts(beginning_with("app", offered(&all))), "");
        assert_eq!(texts(containing("app", offered(&all))), "a-app b-app");
        assert_eq!(texts(containing("a", offered(&all))), "a-app ax");
    }

    #[test]
    fn signatures_are_listed_where_they_fit() {
        let function = || Candidate::function("stop(container: Container, options: Map = #{})".into(), "(");
        let shown = |candidates, width| {
            let pairs = listed(candidates, Style { width, ..Style::plain(false) });
            pairs.into_iter().map(|pair| pair.display).collect::<Vec<_>>()
        };
        assert_eq!(shown(vec![function()], 80), ["stop(container: Container, options: Map = #{})"]);
        assert_eq!(shown(vec![function()], 40), ["stop"]);
        assert_eq!(shown(vec![function(); 17], 80)[16], "stop");
        assert_eq!(shown(vec![Candidate::new("a-name-that-is-long")], 12), ["a-name-..."]);
    }
}
