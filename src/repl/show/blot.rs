//! Passwords in texts that nobody has declared a secret: an inventory's variables, a service's log, a driver's options.

use crate::world::secret;

/// Whether the value under this name is not to be shown. Of columns and settings more is known than of environment
/// variables: a `primary_key` is none.
pub fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let is_plain = lower == "key"
        || ["keys", "primary_key", "foreign_key", "public_key", "passed", "bypass"]
            .iter()
            .any(|end| lower.ends_with(end));
    !is_plain && secret::is_named(name)
}

/// A text in which what looks like a password has given way to `dots`: `PASSWORD=…`, `password: …` as YAML and JSON
/// have it, `postgres://app:…@host`, and SQL's `PASSWORD '…'`.
pub fn blot(text: &str, dots: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| matches!(c, '=' | ':' | '\'')) {
        if at < done {
            continue;
        }
        let found = match c {
            '=' => assigned(text, at),
            ':' if text[at..].starts_with("://") => in_address(text, at),
            ':' => keyed(text, at),
            _ => in_sql(text, at),
        };
        if let Some((from, to)) = found.filter(|(from, to)| from < to) {
            out.push_str(&text[done..from]);
            out.push_str(dots);
            done = to;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// From where to where in a text.
type Span = (usize, usize);

fn assigned(text: &str, at: usize) -> Option<Span> {
    let is_comparison = text[at + 1..].starts_with(['=', '>', '~']) || text[..at].ends_with(['=', '!', '<', '>', '~']);
    (!is_comparison && is_secret(name_before(text, at).0)).then(|| value_after(text, at + 1))
}

/// `password: x` at the begin of a line, or `"password": "x"` anywhere: in prose a colon means nothing.
fn keyed(text: &str, at: usize) -> Option<Span> {
    let (name, from) = name_before(text, at);
    let after = &text[at + 1..];
    let is_quoted = text[..at].ends_with(['"', '\'']);
    let line = text[..from].rsplit('\n').next().unwrap_or_default();
    let is_first = line.chars().all(|c| matches!(c, ' ' | '-' | '\t')) && after.starts_with(' ');
    ((is_quoted || is_first) && is_secret(name)).then(|| value_after(text, at + 1))
}

/// `://user:password@host`
fn in_address(text: &str, at: usize) -> Option<Span> {
    let from = at + "://".len();
    let end = text[from..].find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '"' | '\'' | '<' | '>'));
    let authority = &text[from..from + end.unwrap_or(text.len() - from)];
    let user = &authority[..authority.rfind('@')?];
    Some((from + user.find(':')? + 1, from + user.len()))
}

/// `ALTER ROLE app PASSWORD '…'`
fn in_sql(text: &str, at: usize) -> Option<Span> {
    let before = text[..at].trim_end_matches(' ');
    let is_password = before.len() < at && name_before(before, before.len()).0.eq_ignore_ascii_case("password");
    is_password.then(|| value_after(text, at))
}

/// The word before a place, its quotes left out, and where it begins.
fn name_before(text: &str, at: usize) -> (&str, usize) {
    let before = text[..at].trim_end_matches([' ', '"', '\'', '\\']);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let from = before.len() - before.chars().rev().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>();
    (&before[from..], from)
}

/// A value in quotes, or up to what ends one without.
fn value_after(text: &str, at: usize) -> Span {
    let from = at + text[at..].len() - text[at..].trim_start_matches([' ', '\\']).len();
    let value = &text[from..];
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&' | ')' | '}' | ']' | '"' | '\'' | '`');
    match value.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => {
            let value = &value[1..];
            // In a text that is quoted itself, the quotes are written `\"`.
            let end = match text[at..from].ends_with('\\') {
                true => value.find(&format!("\\{quote}")),
                false => closing(value, quote),
            };
            (from + 1, from + 1 + end.unwrap_or(value.len()))
        }
        _ => (from, from + value.find(is_end).unwrap_or(value.len())),
    }
}

/// The first quote without a backslash before it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|c| {
        let is_end = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_password_is_blotted_out() {
        let cases = [
            ("POSTGRES_PASSWORD=hunter2 PGDATA=/data", "POSTGRES_PASSWORD=* PGDATA=/data"),
            ("addr=10.0.0.1,username=u,password=hunter2,rw", "addr=10.0.0.1,username=u,password=*,rw"),
            ("password = 'hun ter2'  # the", "password = '*'  # the"),
            ("db:\n  - password: hunter2\n    port: 5432", "db:\n  - password: *\n    port: 5432"),
            (r#"{"user": "a", "password": "hun\"ter2", "n": 1}"#, r#"{"user": "a", "password": "*", "n": 1}"#),
            (r#"{\"api_key\":\"hunter2\"}"#, r#"{\"api_key\":\"*\"}"#),
            ("postgres://app:hunt@er2@db:5432/x?y=1", "postgres://app:*@db:5432/x?y=1"),
            ("statement: ALTER ROLE app PASSWORD 'hunter2';", "statement: ALTER ROLE app PASSWORD '*';"),
            ("TOKEN=", "TOKEN="),
            ("kennwort=ä; secret=äö", "kennwort=ä; secret=*"),
        ];
        for (text, blotted) in cases {
            assert_eq!(blot(text, "*"), blotted);
        }
    }

    #[test]
    fn what_only_speaks_of_one_stays() {
        let texts = [
            "FATAL:  password authentication failed for user \"app\"",
            "unexpected token: }",
            "if password == other { }",
            "key=1, http://db:5432/path",
            "Key (id)=(5) already exists",
        ];
        for text in texts {
            assert_eq!(blot(text, "*"), text);
        }
    }
}
