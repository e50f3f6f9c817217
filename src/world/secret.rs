//! Passwords and what keeps them off the screen and out of files.

use std::fmt;
use std::sync::{Arc, RwLock};

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
pub struct Redactor(Arc<RwLock<Vec<Arc<str>>>>);

impl Redactor {
    /// Texts shorter than this would blank out half of every line; nobody protects records with them.
    const SHORTEST: usize = 4;

    /// From now on `secret` is replaced wherever it turns up, also as JSON or a shell would escape it.
    pub fn learn(&self, secret: &Secret) {
        let text = secret.reveal();
        if text.len() < Self::SHORTEST {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(|e| e.into_inner());
        let json = serde_json::Value::from(text).to_string();
        let escaped = json.trim_matches('"');
        for form in [text, escaped] {
            if !known.iter().any(|k| &**k == form) {
                known.push(form.into());
            }
        }
        known.sort_by_key(|k| std::cmp::Reverse(k.len()));
    }

    /// `text` with every known secret replaced by dots.
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(|e| e.into_inner());
        let mut out = text.to_owned();
        for secret in known.iter() {
            if out.contains(&**secret) {
                out = out.replace(&**secret, "••••••");
            }
        }
        out
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
    fn debug_output_never_shows_the_text() {
        assert_eq!(format!("{:?} {}", Secret::new("hunter22"), Secret::new("hunter22")), "•••••• ••••••");
    }
}
