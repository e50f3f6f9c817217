//! Colours of a text while it is edited. What changes the outside world stands out from what only looks.

use std::collections::HashMap;

use super::scan::{Kind, Scan, is_command};
use crate::script::api::Reference;
use crate::ui::style::{Paint, Style};

/// The language's names by what becomes of them, so that a word is looked up at once.
pub struct Colours {
    style: Style,
    namespaces: Vec<&'static str>,
    /// By path, whether it changes the outside world.
    functions: HashMap<String, bool>,
    /// By name alone, for methods: their object's type is not worth asking for at every key.
    methods: HashMap<String, bool>,
}

impl Colours {
    pub fn new(reference: &Reference, style: Style) -> Self {
        let functions = reference.functions.iter().map(|function| (function.path(), function.has_effect));
        let methods = reference.functions.iter().filter(|function| function.signature.receiver().is_some());
        let mut by_name: HashMap<String, bool> = HashMap::new();
        for function in methods {
            *by_name.entry(function.signature.name.clone()).or_default() |= function.has_effect;
        }
        let namespaces = reference.namespaces.iter().map(|(name, _)| *name).collect();
        Self { style, namespaces, functions: functions.collect(), methods: by_name }
    }

    /// The text in colours. `matching` are the indexes of a pair of brackets to mark.
    pub fn paint(&self, text: &str, scan: &Scan, matching: Option<(usize, usize)>) -> String {
        if is_command(text) {
            return self.command(text);
        }
        let mut out = String::with_capacity(text.len() * 2);
        let mut at = 0;
        for (index, token) in scan.tokens.iter().enumerate() {
            out.push_str(&text[at..token.start]);
            let is_marked = matching.is_some_and(|(one, other)| index == one || index == other);
            let paint = if is_marked { Some(Paint::Underlined) } else { self.of(text, scan, index) };
            match paint {
                Some(paint) => out.push_str(&self.style.paint(paint, token.text(text))),
                None => out.push_str(token.text(text)),
            }
            at = token.end;
        }
        out.push_str(&text[at..]);
        out
    }

    /// A word to the shell; what follows it is not Rhai.
    fn command(&self, text: &str) -> String {
        let begin = text.len() - text.trim_start().len();
        let end = text[begin..].find(char::is_whitespace).map_or(text.len(), |length| begin + length);
        format!("{}{}{}", &text[..begin], self.style.paint(Paint::Bold, &text[begin..end]), &text[end..])
    }

    fn of(&self, text: &str, scan: &Scan, index: usize) -> Option<Paint> {
        match scan.tokens[index].kind {
            Kind::Comment => Some(Paint::Dim),
            Kind::Text | Kind::Rest => Some(Paint::Green),
            Kind::Number => Some(Paint::Magenta),
            Kind::Keyword => Some(Paint::Bold),
            Kind::Word => self.word(text, scan, index),
            _ => None,
        }
    }

    fn word(&self, text: &str, scan: &Scan, index: usize) -> Option<Paint> {
        let word = |index: Option<usize>| index.and_then(|i| scan.tokens.get(i)).map_or("", |token| token.text(text));
        let name = scan.tokens[index].text(text);
        let has_effect = match (word(index.checked_sub(1)), word(index.checked_add(1))) {
            (_, "::") => return self.namespaces.contains(&name).then_some(Paint::Cyan),
            ("::", _) => self.functions.get(&format!("{}::{name}", word(index.checked_sub(2)))),
            ("." | "?.", "(") => self.methods.get(name),
            (_, "(") => self.functions.get(name),
            _ => None,
        };
        has_effect.map(|has_effect| if *has_effect { Paint::Yellow } else { Paint::Cyan })
    }
}

/// The bracket under the cursor, else the one before it, and the one that belongs to it.
pub fn matching(scan: &Scan, position: usize) -> Option<(usize, usize)> {
    // Tokens are in order: the first that does not end before the cursor is the one that touches it from the left, if
    // any.
    let first = scan.tokens.partition_point(|token| token.end < position);
    let at = |test: fn(usize, usize, usize) -> bool| {
        let touching = scan.tokens.iter().enumerate().skip(first).take(3);
        let mut brackets = touching.filter(|(_, token)| matches!(token.kind, Kind::Open | Kind::Close));
        brackets.find(|(_, token)| test(token.start, token.end, position)).map(|(index, _)| index)
    };
    let under = at(|start, end, position| start <= position && position < end);
    let index = under.or_else(|| at(|_, end, position| end == position))?;
    scan.partners[index].map(|partner| (index, partner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::editor::testing::known;

    const COLOUR: Style = Style { colour: true, ..Style::plain(true) };

    /// Colours as letters in angle brackets: `<y:stop>`.
    fn painted(text: &str, position: Option<usize>) -> String {
        let (known, _) = known();
        let scan = Scan::new(text);
        let matching = position.and_then(|position| matching(&scan, position));
        let painted = Colours::new(&known.reference, COLOUR).paint(text, &scan, matching);
        let codes = [("2", "d"), ("1", "b"), ("32", "g"), ("33", "y"), ("35", "m"), ("36", "c"), ("1;4", "_")];
        let painted = codes
            .iter()
            .fold(painted, |text, (code, letter)| text.replace(&format!("\x1b[{code}m"), &format!("<{letter}:")));
        painted.replace("\x1b[0m", ">")
    }

    #[test]
    fn words_have_the_colour_of_what_they_are() {
        let cases = [
            ("let x = 1;", "<b:let> x = <m:1>;"),
            ("docker::stop(c)", "<c:docker>::<y:stop>(c)"),
            ("docker::info()", "<c:docker>::<c:info>()"),
            ("docker::nothing()", "<c:docker>::nothing()"),
            ("other::stop(c)", "other::stop(c)"),
            ("c.stop() // off", "c.<y:stop>() <d:// off>"),
            ("c.inspect().stop", "c.<c:inspect>().stop"),
            ("step(\"x\", || {})", "<c:step>(<g:\"x\">, || {})"),
            ("step + stop(1)", "step + stop(<m:1>)"),
            ("`a${b}c`", "<g:`a>${b}<g:c`>"),
            ("\"open", "<g:\"open>"),
            (".undo stop(\"x\")", "<b:.undo> stop(\"x\")"),
            ("  help docker::stop", "  <b:help> docker::stop"),
            ("é @", "é @"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(painted(text, None), expected, "{text}");
        }
    }

    #[test]
    fn the_partner_of_the_bracket_at_the_cursor_is_marked() {
        let text = "f(a[0])";
        let marked = |position| painted(text, Some(position)).replace("<m:0>", "0");
        assert_eq!(marked(0), text);
        assert_eq!(marked(1), "f<_:(>a[0]<_:)>");
        assert_eq!(marked(2), "f<_:(>a[0]<_:)>");
        assert_eq!(marked(3), "f(a<_:[>0<_:]>)");
        assert_eq!(marked(5), "f(a<_:[>0<_:]>)");
        assert_eq!(marked(6), "f<_:(>a[0]<_:)>", "the one under the cursor comes first");
        assert_eq!(marked(7), "f<_:(>a[0]<_:)>");
        assert_eq!(painted("f(\")\"", Some(2)), "f(<g:\")\">", "a bracket in a string is none");
        assert_eq!(painted("`${a}`", Some(4)), "<g:`><_:${>a<_:}><g:`>");
    }

    #[test]
    fn without_colour_the_text_stays_as_it_is() {
        let (known, _) = known();
        let text = "docker::stop(c) // é `${";
        let plain = Colours::new(&known.reference, Style::plain(false));
        assert_eq!(plain.paint(text, &Scan::new(text), Some((3, 5))), text);
    }

    #[test]
    fn a_long_text_is_painted_as_a_short_one() {
        let line = "    docker::stop(c, #{ timeout: 1 });\n";
        let (many, one) = (painted(&line.repeat(20_000), None), painted(line, None));
        assert!(many == one.repeat(20_000));
    }
}
