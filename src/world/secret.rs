//! Passwords and what keeps them off the screen and out of files.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, RwLock};

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::forms;

/// A clear text that must never be printed, logged or put on a command line.
/// `Debug` and `Display` show dots; only [`Secret::reveal`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The clear text, for the one place that hands it to a server or a child's environment.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("••••••")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("••••••")
    }
}

/// Whether the value under this name is a secret, for all that its name tells: `POSTGRES_PASSWORD`, `api_key`.
pub fn is_named(name: &str) -> bool {
    let name = name.to_uppercase();
    ["PASS", "SECRET", "TOKEN", "KEY"].iter().any(|word| name.contains(word))
}

/// Replaces every known secret in a text. Everything shown, logged or written as an event passes here once.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<Known>>>);

/// A secret, or a line of one.
struct Known {
    text: Arc<str>,
    /// Its forms; `None` for a text so long that they make no expression.
    forms: Option<Regex>,
}

impl Redactor {
    /// Texts shorter than this would blank out half of every line; nobody protects records with them.
    const SHORTEST: usize = 4;
    /// A single line of a longer secret is one by itself only from here on: `EOF` and `}` are not.
    const SHORTEST_LINE: usize = 8;
    /// Of an expression in memory.
    const LARGEST: usize = 64 << 20;
    const DOTS: &'static str = "••••••";

    /// From now on `secret` is replaced wherever it turns up, in any of the forms in which programs print it. Output
    /// comes line by line, so the lines of a key are known one by one, too.
    pub fn learn(&self, secret: &Secret) {
        let text = secret.reveal();
        self.learn_text(text, Self::SHORTEST);
        // With the line break that a file ends with, too.
        self.learn_text(text.trim(), Self::SHORTEST);
        if text.trim().contains('\n') {
            text.lines().for_each(|line| self.learn_text(line.trim(), Self::SHORTEST_LINE));
        }
    }

    fn learn_text(&self, text: &str, shortest: usize) {
        let mut known = self.0.write().unwrap_or_else(|e| e.into_inner());
        if text.len() < shortest || known.iter().any(|k| &*k.text == text) {
            return;
        }
        let forms = RegexBuilder::new(&forms::expression(text)).size_limit(Self::LARGEST).build().ok();
        known.push(Known { text: text.into(), forms });
        known.sort_by_key(|k| std::cmp::Reverse(k.text.len()));
    }

    /// `text` with every known secret replaced by dots.
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(|e| e.into_inner());
        let mut out = text.to_owned();
        for secret in known.iter() {
            if out.contains(&*secret.text) {
                out = out.replace(&*secret.text, Self::DOTS);
            }
            let replaced = secret.forms.as_ref().map(|forms| forms.replace_all(out.as_bytes(), Self::DOTS.as_bytes()));
            if let Some(Cow::Owned(replaced)) = replaced {
                out = String::from_utf8_lossy(&replaced).into_owned();
            }
        }
        out
    }

    /// The same in every text of a value.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(items) => items.iter_mut().for_each(|value| self.redact_value(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.redact_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Where to cut a line that is too long to be handed on whole, so that no known secret is cut in two: in its first
    /// `longest` bytes, which it must have.
    pub fn cut(&self, line: &[u8], longest: usize) -> usize {
        let known = self.0.read().unwrap_or_else(|e| e.into_inner());
        let line = line.get(..longest).unwrap_or(line);
        let margin = known.iter().map(|k| forms::longest(k.text.len())).max().unwrap_or(0).min(longest / 2);
        let mut at = line.len().saturating_sub(margin);
        let across = |at: usize| {
            let forms = known.iter().filter_map(|k| k.forms.as_ref());
            forms.flat_map(|f| f.find_iter(line)).find(|m| m.start() < at && at < m.end()).map(|m| m.start())
        };
        while let Some(start) = across(at) {
            at = start;
        }
        if at == 0 { line.len() } else { at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_secret_is_replaced_in_plain_and_json_form() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("pa\"ss\\word"));
        assert_eq!(redactor.redact("login pa\"ss\\word ok"), "login •••••• ok");
        assert_eq!(redactor.redact(r#"{"p":"pa\"ss\\word"}"#), r#"{"p":"••••••"}"#);
    }

    #[test]
    fn secret_in_another_form() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("it's $ecret\n"));
        let printed =
            r"POSTGRES_PASSWORD='it'\''s $ecret' it\'s\ \$ecret it%27s%20%24ecret aXQncyAkZWNyZXQK it''s $$ecret";
        assert_eq!(redactor.redact(printed), "POSTGRES_PASSWORD='••••••' •••••• •••••• •••••• ••••••");
    }

    #[test]
    fn the_lines_of_a_key_are_known_one_by_one() {
        let redactor = Redactor::default();
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8c";
        redactor.learn(&Secret::new(format!("-----BEGIN KEY-----\n{line}\n}}\n")));
        assert_eq!(redactor.redact(&format!("stdout: {line} }}")), "stdout: •••••• }");
    }

    #[test]
    fn what_is_too_short_is_no_secret() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("abc"));
        assert_eq!(redactor.redact("abc YWJj"), "abc YWJj");
    }

    #[test]
    fn a_long_line_is_not_cut_within_a_secret() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("hunter22 \"x\""));
        for form in [r#"hunter22 "x""#, r#"hunter22%20%22x%22"#, "aHVudGVyMjIgIngi"] {
            for before in 900..1100 {
                let line = format!("{}{form}{}", ".".repeat(before), ".".repeat(500));
                let (first, second) = line.split_at(redactor.cut(line.as_bytes(), 1024));
                let shown = format!("{}{}", redactor.redact(first), redactor.redact(second));
                assert_eq!(shown, redactor.redact(&line), "{form} after {before}");
            }
        }
        assert_eq!(Redactor::default().cut(&[b'x'; 2000], 1024), 1024);
    }

    #[test]
    fn debug_output_never_shows_the_text() {
        assert_eq!(format!("{:?} {}", Secret::new("hunter22"), Secret::new("hunter22")), "•••••• ••••••");
    }
}
