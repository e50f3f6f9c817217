//! The rest of a function's signature, shown after the cursor while its arguments are typed.

use super::cursor::Cursor;
use super::known::{Declared, Known};
use super::scan::{Kind, is_command};

/// Shown, never inserted: it holds types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(pub String);

impl rustyline::hint::Hint for Hint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

/// What is still to come of the call in which the text ends; `room` is the columns left in the line. Where there are
/// too few, the names alone, else nothing.
pub fn hint(known: &Known, cursor: &Cursor<'_>, room: usize) -> Option<Hint> {
    if !cursor.after.is_empty() || is_command(cursor.text) || cursor.scan.unfinished().is_some() {
        return None;
    }
    let (callee, index) = cursor.call()?;
    let open = cursor.scan.open.last().copied()?;
    let last = cursor.scan.tokens.last()?;
    let is_begun = cursor.scan.tokens.len() > open + 1 && !(last.kind == Kind::Operator && cursor.of(last) == ",");
    let first = if is_begun { index + 1 } else { index };
    let before = match (is_begun, cursor.text.ends_with(',')) {
        (true, _) => ", ",
        (false, true) => " ",
        (false, false) => "",
    };
    // Of several functions of this name the first that takes so many arguments. After a comma there must be one more.
    let taken = first + usize::from(!is_begun && index > 0);
    let declared = known.declared(cursor, callee).into_iter().find(|declared| taken <= declared.shown().len())?;
    let whole = shown(&declared, first, before, true);
    let fitting = if whole.chars().count() <= room { whole } else { shown(&declared, first, before, false) };
    (fitting.chars().count() <= room).then_some(Hint(fitting))
}

fn shown(declared: &Declared<'_>, first: usize, before: &str, with_types: bool) -> String {
    let parameters = declared.shown().into_iter().skip(first);
    let list: Vec<_> = parameters.map(|p| if with_types { p.whole } else { p.name }).collect();
    let before = if list.is_empty() { "" } else { before };
    match declared.returns().filter(|_| with_types) {
        Some(returns) => format!("{before}{}) -> {returns}", list.join(", ")),
        None => format!("{before}{})", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::editor::testing::known;

    fn shown(line: &str, room: usize) -> String {
        let (known, _) = known();
        hint(&known, &Cursor::new(line, line.len()), room).map(|hint| hint.0).unwrap_or_default()
    }

    #[test]
    fn the_rest_of_a_signature_is_shown() {
        let cases = [
            ("docker::stop(", "container: Container, options: Map = #{}) -> ()"),
            ("docker::stop(c", ", options: Map = #{}) -> ()"),
            ("docker::stop(c,", " options: Map = #{}) -> ()"),
            ("docker::stop(c, ", "options: Map = #{}) -> ()"),
            ("docker::stop(c, x", ") -> ()"),
            ("docker::stop(c, x, ", ""),
            ("docker::stop(c, #{ timeout: 1 }", ") -> ()"),
            ("docker::stop(docker::container(", "name: string) -> Container"),
            ("docker::stop(docker::container(\"x\")", ", options: Map = #{}) -> ()"),
            ("docker::info(", ") -> Map"),
            ("docker::info(1", ""),
            ("c.stop(", "options: Map = #{}) -> ()"),
            ("unknown.stop(", "options: Map = #{}) -> ()"),
            ("unknown.inspect(", ") -> Container"),
            ("unknown.nothing(", ""),
            ("check(", "site, to)"),
            ("check(1", ", to)"),
            ("clean(", ")"),
            ("primero::stop(", "project)"),
            ("step(\"x\", ", "body: Fn, options: Map = #{}) -> any"),
            ("step(\"x\", || { docker::stop(", "container: Container, options: Map = #{}) -> ()"),
            ("step(\"x\", || {", ""),
            ("docker::stop(c, #{ ", ""),
            ("docker::container(\"ab", ""),
            ("docker::stop(c)", ""),
            ("docker::stop(c // x", ""),
            ("fn f(", ""),
            ("(", ""),
            ("help docker::stop(", ""),
            (".undo f(", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line, 200), expected, "{line}");
        }
    }

    #[test]
    fn a_hint_is_shorter_or_absent_where_the_line_is_full() {
        assert_eq!(shown("docker::stop(", 47), "container: Container, options: Map = #{}) -> ()");
        assert_eq!(shown("docker::stop(", 46), "container, options)");
        assert_eq!(shown("docker::stop(", 18), "");
        assert_eq!(shown("docker::stop(", 0), "");
    }

    #[test]
    fn a_hint_is_not_inserted_and_not_shown_inside_of_a_line() {
        use rustyline::hint::Hint as _;
        let (known, _) = known();
        let line = "docker::stop(c)";
        assert_eq!(hint(&known, &Cursor::new(line, 14), 80), None);
        assert_eq!(Hint("x".into()).completion(), None);
    }
}
