//! Hands completion, hints, colours and completeness to rustyline, and keeps the scan of the text, which all of them
//! ask for at every key.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::config::CompletionType;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Cmd, ConditionalEventHandler, Context, Event, EventContext, Movement, RepeatCount, Result};

use super::complete::complete;
use super::cursor::Cursor;
use super::highlight::{Colours, matching};
use super::hint::{Hint, hint};
use super::known::Known;
use super::scan::{Kind, Scan, is_command};
use crate::ui::style::{Paint, Style};

/// Columns of one level of brackets.
pub const INDENT: u8 = 4;

/// What rustyline asks while a line is edited.
pub struct Helper {
    known: Known,
    colours: Colours,
    style: Style,
    /// Columns of the terminal, as it is now: a window may change while an input is typed.
    columns: Box<dyn Fn() -> usize>,
    /// Columns of the prompt.
    prompt: Cell<usize>,
    scanned: RefCell<Scanned>,
    /// The text and the cursor as they were last, for an input that is interrupted by what is not one.
    latest: RefCell<(String, usize)>,
    /// The brackets to mark, as the last movement of the cursor has found them.
    matching: Cell<Option<(usize, usize)>>,
}

#[derive(Default)]
struct Scanned {
    text: String,
    scan: Rc<Scan>,
}

impl Helper {
    pub fn new(known: Known, style: Style, columns: impl Fn() -> usize + 'static) -> Self {
        let colours = Colours::new(&known.reference, style);
        Self {
            known,
            colours,
            style,
            columns: Box::new(columns),
            prompt: Cell::default(),
            scanned: RefCell::default(),
            latest: RefCell::default(),
            matching: Cell::default(),
        }
    }

    /// A new input begins.
    pub fn begin(&self, prompt: &str) {
        self.prompt.set(prompt.chars().count());
        self.latest.take();
        self.matching.take();
    }

    pub fn latest(&self) -> (String, usize) {
        self.latest.borrow().clone()
    }

    /// The tokens of a text. While it grows at its end, which is what typing does, only the end is scanned.
    fn scan(&self, text: &str) -> Rc<Scan> {
        let mut scanned = self.scanned.borrow_mut();
        if scanned.text != text {
            if text.starts_with(&scanned.text) {
                Rc::make_mut(&mut scanned.scan).extend(text);
            } else {
                scanned.scan = Rc::new(Scan::new(text));
            }
            text.clone_into(&mut scanned.text);
        }
        scanned.scan.clone()
    }

    /// Columns that are left in the cursor's line, at the end of a text.
    fn room(&self, text: &str) -> usize {
        let width = (self.columns)().max(1);
        let (before, line) = text.rsplit_once('\n').map_or((self.prompt.get(), text), |(_, line)| (0, line));
        let column = (before + line.chars().count()) % width;
        // The last column stays free: terminals differ in what they do when it is written.
        (width - column).saturating_sub(1)
    }
}

impl rustyline::Helper for Helper {}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        Ok(complete(&self.known, Style { width: (self.columns)(), ..self.style }, line, position))
    }
}

impl Hinter for Helper {
    type Hint = Hint;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<Hint> {
        *self.latest.borrow_mut() = (line.to_owned(), position);
        if position < line.len() {
            return None;
        }
        hint(&self.known, &Cursor::at_end(line, self.scan(line)), self.room(line))
    }
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        let text = context.input();
        let is_complete = is_command(text) || self.scan(text).is_complete(text);
        Ok(if is_complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        self.colours.paint(line, &self.scan(line), self.matching.get()).into()
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        self.style.paint(Paint::Bold, prompt).into()
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        self.style.paint(Paint::Dim, hint).into()
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match candidate.split_once('(') {
            Some((name, list)) => format!("{name}{}", self.style.paint(Paint::Dim, &format!("({list}"))).into(),
            None => candidate.into(),
        }
    }

    /// Whether the text must be painted anew. After any change: a letter can make a keyword, a quote everything.
    fn highlight_char(&self, line: &str, position: usize, kind: CmdKind) -> bool {
        let is_over = kind == CmdKind::ForcedRefresh;
        let found = if is_over || is_command(line) { None } else { matching(&self.scan(line), position) };
        self.matching.set(found);
        kind != CmdKind::MoveCursor || found.is_some()
    }
}

/// Enter in an input that is not complete: a new line, indented by the brackets that are open. Inside a string nothing
/// is added, for it would become part of it.
pub struct Enter;

/// Tab at the beginning of a further line indents; elsewhere it completes.
pub struct Tab;

/// Backspace takes back one level of indentation.
pub struct Backspace;

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, count: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        if count != 1 {
            return None;
        }
        line_break(context.line(), context.pos()).map(|text| Cmd::Insert(1, text))
    }
}

impl ConditionalEventHandler for Tab {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let before = indentation(context.line(), context.pos())?;
        let missing = usize::from(INDENT) - before % usize::from(INDENT);
        Some(Cmd::Insert(1, " ".repeat(missing)))
    }
}

impl ConditionalEventHandler for Backspace {
    fn handle(&self, _: &Event, count: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let before = indentation(context.line(), context.pos())?;
        (count == 1 && before >= usize::from(INDENT)).then_some(Cmd::Dedent(Movement::WholeLine))
    }
}

/// What Enter inserts; `None` where the input is complete or a plain line break will do.
fn line_break(text: &str, position: usize) -> Option<String> {
    let is_complete = is_command(text) || Scan::new(text).is_complete(text);
    let scan = Scan::new(&text[..position]);
    let is_in_string = scan.unfinished().is_some_and(|token| token.kind != Kind::Comment);
    if is_complete || is_in_string || scan.open.is_empty() {
        return None;
    }
    Some(format!("\n{}", " ".repeat(scan.open.len() * usize::from(INDENT))))
}

/// How many blanks stand before the cursor in its line, where nothing else does and it is not the first line.
fn indentation(text: &str, position: usize) -> Option<usize> {
    let (_, line) = text[..position].rsplit_once('\n')?;
    line.bytes().all(|byte| byte == b' ').then_some(line.len())
}

#[cfg(test)]
mod tests {
    use rustyline::history::MemHistory;

    use super::*;
    use crate::repl::editor::testing::known;

    fn helper(width: usize) -> Helper {
        let helper = Helper::new(known().0, Style { colour: true, ..Style::plain(true) }, move || width);
        helper.begin("pgscript> ");
        helper
    }

    #[test]
    fn a_new_line_is_indented_by_what_is_open() {
        let cases = [
            ("if x {", Some("\n    ")),
            ("f([", Some("\n        ")),
            ("if x {\n    f(1);", Some("\n    ")),
            ("if x {\n    f(1);\n}", None),
            ("x", None),
            ("x =", None),
            ("f(`a", None),
            ("f(\"a", None),
            (".undo {", None),
        ];
        for (text, expected) in cases {
            assert_eq!(line_break(text, text.len()).as_deref(), expected, "{text}");
        }
        assert_eq!(line_break("f({})", 3), None, "complete as a whole");
        assert_eq!(line_break("f({}", 3).as_deref(), Some("\n        "));
    }

    #[test]
    fn blanks_before_the_cursor_are_indentation_in_further_lines_only() {
        assert_eq!(
            ["  ", "a\n", "a\n    ", "a\n  b"].map(|text| indentation(text, text.len())),
            [None, Some(0), Some(4), None]
        );
    }

    #[test]
    fn a_hint_stays_in_its_line() {
        let context = MemHistory::new();
        let shown = |text: &str, width| {
            let hint = helper(width).hint(text, text.len(), &Context::new(&context));
            hint.map(|hint| hint.0).unwrap_or_default()
        };
        assert_eq!(shown("docker::stop(", 80), "container: Container, options: Map = #{}) -> ()");
        assert_eq!(shown("docker::stop(", 60), "container, options)");
        assert_eq!(shown("docker::stop(", 40), "");
        assert_eq!(shown("x = [\ndocker::stop(", 40), "container, options)");
        assert_eq!(shown("docker::stop(", 0), "");
        assert_eq!(shown("", 80), "");
    }

    #[test]
    fn what_was_typed_last_is_remembered_until_the_next_input() {
        let (helper, history) = (helper(80), MemHistory::new());
        helper.hint("docker::st", 4, &Context::new(&history));
        assert_eq!(helper.latest(), ("docker::st".to_owned(), 4));
        helper.begin("> ");
        assert_eq!(helper.latest(), (String::new(), 0));
    }

    #[test]
    fn the_scan_follows_whatever_becomes_of_the_text() {
        let helper = helper(80);
        for text in ["f(", "f(`a", "f(`a${", "f(", "", "g()", "g()"] {
            assert_eq!(helper.scan(text).tokens, Scan::new(text).tokens, "{text}");
        }
    }

    #[test]
    fn brackets_are_marked_while_the_line_is_edited_only() {
        let helper = helper(80);
        assert!(helper.highlight_char("f(1)", 1, CmdKind::MoveCursor));
        assert!(helper.highlight("f(1)", 1).contains("\x1b[1;4m("));
        assert!(helper.highlight_char("f(1)", 1, CmdKind::ForcedRefresh));
        assert!(!helper.highlight("f(1)", 1).contains("\x1b[1;4m"));
        assert!(!helper.highlight_char("f + 1", 1, CmdKind::MoveCursor));
        assert!(helper.highlight_char("f + 1", 1, CmdKind::Other));
    }
}
