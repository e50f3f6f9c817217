//! Says what went wrong in a script: message, hint, the line with a caret, and how the script got there.

use std::fmt::Write as _;

use rhai::{Dynamic, EvalAltResult, Map, ParseErrorType};
use serde::Serialize;

use super::api::{Reference, nearest};
use super::hints;
use super::source::{Place, Sources};
use crate::world::{Error, Kind, Redactor};

/// A call on the way to the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `primero::stop`'s name as defined, `closure`, or `module primero`.
    pub function: String,
    /// Where it was called.
    pub place: Option<Place>,
}

/// Everything there is to say about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub kind: Kind,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub place: Option<Place>,
    /// Innermost call first.
    pub chain: Vec<Frame>,
}

/// One thing that `check` has found.
#[derive(Debug)]
pub struct Finding {
    pub report: Report,
    /// The module in which something is not as the place of the finding has it.
    pub module: Option<String>,
    /// A warning does not make the check fail.
    pub is_warning: bool,
}

/// A report as one JSON object.
#[derive(Serialize)]
struct Flat<'r> {
    code: &'r str,
    message: &'r str,
    hint: Option<&'r str>,
    file: Option<&'r str>,
    line: Option<usize>,
    column: Option<usize>,
    chain: Vec<FlatFrame<'r>>,
}

#[derive(Serialize)]
struct FlatFrame<'r> {
    function: &'r str,
    file: Option<&'r str>,
    line: Option<usize>,
    column: Option<usize>,
}

/// Takes an error of the engine apart. `main` is the id of the source that was run.
pub fn report(error: &EvalAltResult, main: &str, sources: &Sources, reference: &Reference) -> Report {
    let mut chain = Vec::new();
    let mut source = main.to_owned();
    let mut current = error;
    // A position belongs to the frame around it, so the source changes from one level to the next.
    loop {
        let (function, inner, next, position) = match current {
            EvalAltResult::ErrorInFunctionCall(name, reported, inner, position) => {
                let next = sources.of_function(name, reported);
                let shown = if name.starts_with("anon$") { "closure" } else { name };
                // Native functions that call back (`map`, `filter`) have no source of their own.
                let known = next.is_some();
                (known.then(|| shown.to_owned()), inner, next, *position)
            }
            EvalAltResult::ErrorInModule(id, inner, position) => {
                (Some(format!("import of {id}")), inner, Some(id.clone()), *position)
            }
            _ => break,
        };
        if let Some(function) = function {
            chain.insert(0, Frame { function, place: sources.place(&source, position) });
        }
        source = next.unwrap_or(source);
        current = inner;
    }
    let cause = cause(current);
    let hint = cause.hint.clone().or_else(|| hints::hint(current, &source, sources, reference));
    let message = hints::message(current, sources, reference).unwrap_or(cause.message);
    let mut place = sources.place(&source, current.position());
    if place.is_none() {
        place = chain.iter().find_map(|frame| frame.place.clone());
    }
    Report { kind: cause.kind, code: cause.code, message, hint, place, chain }
}

/// A report of an error that has no place in a script: a script that is not there, a wrong option.
impl From<&Error> for Report {
    fn from(error: &Error) -> Self {
        let Error { kind, code, message, hint } = error.clone();
        Self { kind, code, message, hint, place: None, chain: Vec::new() }
    }
}

/// Any error of a script in the one form that has a code: what a primitive raised, as it is; else what the script
/// threw, or the engine's own words.
pub fn cause(error: &EvalAltResult) -> Error {
    match root(error) {
        EvalAltResult::ErrorRuntime(value, _) => thrown(value),
        EvalAltResult::ErrorTerminated(value, _) => {
            value.read_lock::<Error>().map_or_else(Error::cancelled, |error| error.clone())
        }
        EvalAltResult::ErrorParsing(..) => Error::failed("script.syntax", words(root(error))),
        EvalAltResult::ErrorStackOverflow(..) => {
            Error::failed("script.too_deep", "functions call each other too deeply")
        }
        other => Error::failed("script.error", hints::plain(other).unwrap_or_else(|| words(other))),
    }
}

fn root(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => root(inner),
        other => other,
    }
}

/// What `throw` was given.
fn thrown(value: &Dynamic) -> Error {
    if let Some(error) = value.read_lock::<Error>() {
        return error.clone();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return thrown_map(&map);
    }
    Error::failed("script.thrown", if value.is_unit() { "the script gave up".to_owned() } else { value.to_string() })
}

/// `throw #{code: …, message: …, hint: …}`, or an error of the engine that was caught and thrown again.
fn thrown_map(map: &Map) -> Error {
    let text = |key: &str| map.get(key).filter(|value| !value.is_unit()).map(ToString::to_string);
    let message = text("message").unwrap_or_else(|| format!("{map:?}"));
    let error = Error::failed(text("code").unwrap_or_else(|| "script.thrown".into()), message);
    match text("hint") {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The engine's message without the position it appends.
fn words(error: &EvalAltResult) -> String {
    let text = match error {
        EvalAltResult::ErrorParsing(error, _) => return syntax(error),
        error => error.to_string(),
    };
    let position = error.position();
    let text = text.strip_suffix(&format!(" ({position})")).unwrap_or(&text);
    let text = text.strip_prefix("Runtime error: ").unwrap_or(text);
    text.to_owned()
}

fn syntax(error: &ParseErrorType) -> String {
    match error {
        ParseErrorType::VariableUndefined(name) => format!("there is no variable `{name}`"),
        ParseErrorType::ModuleUndefined(name) => format!("there is no module or namespace `{name}`"),
        ParseErrorType::Reserved(name) if name == "eval" => "`eval` is not part of the language".into(),
        other => other.to_string(),
    }
}

impl Report {
    /// For a terminal or a log:
    ///
    /// ```text
    /// error[docker.not_found]: no container `db`
    ///   --> upgrade.rhai:12:5
    ///    |
    /// 12 |     docker::container("db");
    ///    |     ^^^^^^^^^^^^^^^^^
    ///    = hint: …
    ///    = called: closure at upgrade.rhai:10:3
    /// ```
    pub fn render(&self) -> String {
        self.render_as("error", usize::MAX)
    }

    /// As [`Report::render`], with what the redactor knows replaced, and with at most so many columns of the script's
    /// line: those around the place.
    pub fn render_within(&self, width: usize, redactor: &Redactor) -> String {
        // Before anything of it is cut: what is left of a secret would not be known any more.
        let place = self.place.as_ref().map(|place| Place { text: redactor.redact(&place.text), ..place.clone() });
        let (message, hint) = (redactor.redact(&self.message), self.hint.as_ref().map(|hint| redactor.redact(hint)));
        redactor.redact(&Self { message, hint, place, ..self.clone() }.render_as("error", width))
    }

    /// As [`Report::render`], called something else than an error, with at most `width` columns of the script's line.
    pub fn render_as(&self, severity: &str, width: usize) -> String {
        let mut out = format!("{severity}[{}]: {}\n", self.code, readable(self.message.trim_end()));
        let digits = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        let margin = " ".repeat(digits);
        if let Some(place) = &self.place {
            let _ = writeln!(out, "{margin}--> {place}");
            let _ = write!(out, "{}", excerpt(place, width));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{margin} = hint: {}", readable(hint).replace('\n', &format!("\n{margin}         ")));
        }
        for frame in &self.chain {
            let at = frame.place.as_ref().map(|place| format!(", called at {place}")).unwrap_or_default();
            let _ = writeln!(out, "{margin} = in {}{at}", frame.function);
        }
        out
    }

    /// As one JSON object: `code`, `message`, `hint`, `file`, `line`, `column`, `chain`.
    pub fn to_json(&self) -> serde_json::Value {
        let flat = Flat {
            code: &self.code,
            message: &self.message,
            hint: self.hint.as_deref(),
            file: self.place.as_ref().map(|p| p.file.as_str()),
            line: self.place.as_ref().map(|p| p.line),
            column: self.place.as_ref().map(|p| p.column),
            chain: self.chain.iter().map(FlatFrame::from).collect(),
        };
        serde_json::to_value(flat).unwrap_or_default()
    }
}

impl<'r> From<&'r Frame> for FlatFrame<'r> {
    fn from(frame: &'r Frame) -> Self {
        let place = frame.place.as_ref();
        Self {
            function: &frame.function,
            file: place.map(|p| p.file.as_str()),
            line: place.map(|p| p.line),
            column: place.map(|p| p.column),
        }
    }
}

/// As much of a text as somebody may read; a database's or a program's words can be of any length.
fn readable(text: &str) -> String {
    const LONGEST: usize = 10_000;
    let count = text.chars().count().saturating_sub(LONGEST);
    let shown: String = text.chars().take(LONGEST).collect();
    if count > 0 { format!("{shown}... ({count} more characters)") } else { shown }
}

/// The line and, below it, carets under the name the place points to. Tabs are kept, so that both lines agree.
fn excerpt(place: &Place, width: usize) -> String {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let (text, before, carets) = around(place, width.saturating_sub(number.len() + 3));
    let indent: String = text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!("{margin} |\n{number} | {text}\n{margin} | {indent}{}\n", "^".repeat(carets))
}

/// At most `room` columns of the place's line; how many of them are before the carets, and how many carets there are.
fn around(place: &Place, room: usize) -> (String, usize, usize) {
    const CUT: &str = "...";
    let (text, at, carets) = (place.text.trim_end(), place.column.saturating_sub(1), place.width());
    let (room, length) = (room.max(20), text.chars().count());
    if length <= room {
        return (text.to_owned(), at, carets);
    }
    let carets = carets.min(room - 4 * CUT.len());
    let from = at.saturating_sub((room - carets) / 2).min(length - room);
    let is_cut_after = from + room < length;
    let kept = room - if from > 0 { CUT.len() } else { 0 } - if is_cut_after { CUT.len() } else { 0 };
    let skipped = if from > 0 { from + CUT.len() } else { 0 };
    let shown: String = text.chars().skip(skipped).take(kept).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let (begin, end) = (if from > 0 { CUT } else { "" }, if is_cut_after { CUT } else { "" });
    (format!("{begin}{shown}{end}"), at - from, carets)
}

/// The best candidate, as a hint.
pub fn did_you_mean<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Secret;

    fn report(text: &str, name: &str) -> Report {
        let column = text[..text.find(name).unwrap()].chars().count() + 1;
        let place = Place { file: "a.rhai".into(), line: 12, column, text: text.into() };
        Report { place: Some(place), ..Report::from(&Error::failed("a.b", "broken")) }
    }

    /// The line and the carets.
    fn excerpt(text: &str, name: &str, width: usize) -> String {
        let rendered = report(text, name).render_within(width, &Redactor::default());
        let lines: Vec<_> = rendered.lines().skip(3).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= width), "{rendered}");
        lines.join("\n")
    }

    #[test]
    fn of_a_long_line_what_is_around_the_place_is_shown() {
        let text = "let first = 1; let second = \u{e4}(first) + 2; let third = 3;";
        assert_eq!(excerpt(text, "second", 100), format!("12 | {text}\n   | {}^^^^^^", " ".repeat(19)));
        assert_eq!(excerpt(text, "first", 25), "12 | let first = 1; le...\n   |     ^^^^^");
        assert_eq!(excerpt(text, "second", 25), "12 | ...let second = \u{e4}...\n   |        ^^^^^^");
        assert_eq!(excerpt(text, "3;", 25), "12 | ...2; let third = 3;\n   |                   ^");
        let text = format!("{}\tname{}", "x ".repeat(20), "_of_something_long".repeat(4));
        assert_eq!(excerpt(&text, "name", 25), "12 | ...x  name_of_som...\n   |       ^^^^^^^^");
    }

    #[test]
    fn a_secret_is_replaced_before_a_line_is_cut() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("hunter2hunter2"));
        let text = report("let p = \"hunter2hunter2\"; nothing", "nothing").render_within(20, &redactor);
        assert!(!text.contains("hunter") && !text.contains("ter2"), "{text}");
    }
}
