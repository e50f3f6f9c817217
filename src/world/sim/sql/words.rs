//! SQL text: values in it, white space, statements.

use std::iter::Peekable;
use std::str::Chars;

use crate::world::postgres::Binding;

/// Puts values in the place of psql's variables: `:'name'` as a literal, `:"name"` as an identifier, `:name` as it is.
pub fn bound(sql: &str, bindings: &[Binding]) -> String {
    let mut text = sql.to_owned();
    for Binding { name, value } in bindings {
        text = text.replace(&format!(":'{name}'"), &format!("'{}'", value.replace('\'', "''")));
        text = text.replace(&format!(":\"{name}\""), &format!("\"{}\"", value.replace('"', "\"\"")));
    }
    for Binding { name, value } in bindings {
        text = with_bare(&text, name, value);
    }
    text
}

/// `:name`, which is no cast (`::name`) and no longer name.
fn with_bare(text: &str, name: &str, value: &str) -> String {
    let variable = format!(":{name}");
    let mut pieces = text.split(&variable);
    let mut done = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_longer = piece.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        done += if done.ends_with(':') || is_longer { &variable } else { value };
        done += piece;
    }
    done
}

/// A statement, and whether what it gives is run in turn (`\gexec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Without comments; any white space is one space.
    pub text: String,
    pub is_gexec: bool,
}

/// The statements of a script, in their order. psql's own commands are left out but for `\gexec`.
pub fn statements(sql: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut text, mut rest) = (String::new(), sql.chars().peekable());
    let end = |text: &mut String, is_gexec: bool, found: &mut Vec<Statement>| {
        let whole = std::mem::take(text).trim().to_owned();
        if !whole.is_empty() {
            found.push(Statement { text: whole, is_gexec });
        }
    };
    while let Some(c) = rest.next() {
        match c {
            ';' => end(&mut text, false, &mut found),
            '\\' => {
                let line: String = std::iter::from_fn(|| rest.next_if(|c| *c != '\n')).collect();
                end(&mut text, line.starts_with("gexec"), &mut found);
            }
            '-' if rest.peek() == Some(&'-') => while rest.next_if(|c| *c != '\n').is_some() {},
            '\'' | '"' => quoted(c, &mut rest, &mut text),
            '$' if is_dollar_quote(&rest) => dollar_quoted(&mut rest, &mut text),
            c if c.is_whitespace() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            c => text.push(c),
        }
    }
    end(&mut text, false, &mut found);
    found
}

fn quoted(quote: char, rest: &mut Peekable<Chars<'_>>, text: &mut String) {
    text.push(quote);
    for c in rest.by_ref() {
        text.push(c);
        if c == quote {
            return;
        }
    }
}

/// `$$` or `$tag$`, and not `$1`.
fn is_dollar_quote(rest: &Peekable<Chars<'_>>) -> bool {
    let tag: String = rest.clone().take_while(|c| *c != '$').collect();
    rest.clone().any(|c| c == '$') && tag.chars().all(|c| c.is_alphabetic() || c == '_')
}

fn dollar_quoted(rest: &mut Peekable<Chars<'_>>, text: &mut String) {
    let tag: String = rest.by_ref().take_while(|c| *c != '$').collect();
    let mark = format!("${tag}$");
    let mut body = String::new();
    while !body.ends_with(&mark) {
        let Some(c) = rest.next() else { break };
        body.push(c);
    }
    text.push_str(&mark);
    text.push_str(&body);
}

/// The one statement of a question, as it is recognised.
pub fn question(sql: &str) -> String {
    statements(sql).into_iter().next().map(|statement| statement.text).unwrap_or_default()
}

/// Names of the system's schema are known without it.
pub fn without_schema(sql: &str) -> String {
    sql.replace("pg_catalog.", "")
}

/// Parts of a text between separators that are neither quoted nor in parentheses.
pub fn apart(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_i32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            (None, c) if c == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// The text of a literal, `'it''s'`.
pub fn literal(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

/// The literals in a text, in their order.
pub fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\'' {
            continue;
        }
        let mut value = String::new();
        while let Some(c) = rest.next() {
            if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                break;
            }
            value.push(c);
        }
        found.push(value);
    }
    found
}

/// A name as SQL writes it, as it is: `"Odd One"` without its quotes, any other in small letters.
pub fn name(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_as_psql_does() {
        let binding = |name: &str, value: &str| Binding { name: name.into(), value: value.into() };
        let bindings = [binding("a", "it's"), binding("b", "x\"y"), binding("n", "3")];
        let sql = "SELECT :'a'::text, :\"b\", :n, ::n, :nn";
        assert_eq!(bound(sql, &bindings), "SELECT 'it''s'::text, \"x\"\"y\", 3, ::n, :nn");
    }

    #[test]
    fn statements_end_where_they_end() {
        let sql = "SET a = ';'; -- no; \nCREATE FUNCTION f() AS $x$ BEGIN; $y$ END; $x$;\n SELECT 'x' \\gexec\n\
                   SELECT 1 AS v \\gset\n\\if :v\nDROP\n TABLE \"a;b\"\n\\endif\n";
        let found = statements(sql);
        let texts: Vec<_> = found.iter().map(|statement| statement.text.as_str()).collect();
        let expected = [
            "SET a = ';'",
            "CREATE FUNCTION f() AS $x$ BEGIN; $y$ END; $x$",
            "SELECT 'x'",
            "SELECT 1 AS v",
            "DROP TABLE \"a;b\"",
        ];
        assert_eq!(texts, expected);
        assert_eq!(found.iter().map(|s| s.is_gexec).collect::<Vec<_>>(), [false, false, true, false, false]);
    }

    #[test]
    fn a_list_is_taken_apart_at_its_own_commas() {
        assert_eq!(apart("a, f(b, c), 'd, e', \"g,h\"", ','), ["a", "f(b, c)", "'d, e'", "\"g,h\""]);
        assert_eq!(literals("IN ('a', 'b''c')"), ["a", "b'c"]);
        assert_eq!((name("\"Odd\"\"One\""), name("Cases")), ("Odd\"One".into(), "cases".into()));
    }
}
