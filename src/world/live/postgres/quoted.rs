//! What messages of a server quote of rows is left out: they reach logs, journals and screens, and rows are people's
//! data.

/// Beginnings of messages that end in the value they are about, in quotes.
const OF_A_VALUE: [&str; 5] = [
    "invalid input syntax for ",
    "invalid input value for enum ",
    "malformed ",
    "date/time field value out of range",
    "invalid value ",
];

/// Beginnings of details that tell a whole row, or a part of a value.
const OF_A_ROW: [&str; 3] = ["Failing row contains", "Partition key of the failing row contains", "Token \""];

/// The message itself: `invalid input syntax for type date: "…"`.
pub fn text(text: &str) -> String {
    let before_value = text.split_once(": \"").map(|(before, _)| before);
    match before_value.filter(|before| OF_A_VALUE.iter().any(|words| before.starts_with(words))) {
        Some(before) => format!("{before}: \"…\""),
        None => out_of_range(text).unwrap_or_else(|| text.to_owned()),
    }
}

/// `value "12345" is out of range for type smallint`, `"1e400" is out of range for type real`.
fn out_of_range(text: &str) -> Option<String> {
    let (_, after) = text.rsplit_once("\" is out of range for type ")?;
    let is_it = text.starts_with("value \"") || text.starts_with('"');
    is_it.then(|| format!("a value is out of range for type {after}"))
}

/// A detail: of `Key (mail)=(a@b.org) is duplicated.` the columns. `None` where nothing is left.
pub fn detail(text: &str) -> Option<String> {
    if text.is_empty() || OF_A_ROW.iter().any(|words| text.starts_with(words)) {
        return None;
    }
    let key = text.strip_prefix("Key (").and_then(|rest| rest.split_once(")=("));
    let Some((columns, rest)) = key else { return Some(text.to_owned()) };
    // A value may have any sign in it, and lines that are not here.
    let after = rest.rfind(')').map_or(" …", |end| &rest[end + 1..]);
    Some(format!("Key ({columns}){after}"))
}

/// Where it happened: `COPY cases, line 3, column born`. `None` for what may quote a statement or a value.
pub fn context(text: &str) -> Option<&str> {
    let is_function = ["PL/pgSQL function ", "SQL function "].iter().any(|words| text.starts_with(words));
    let is_place = is_function || text.starts_with("COPY ");
    is_place.then(|| text.split_once(": ").map_or(text, |(place, _)| place))
}

/// The check constraint that a row breaks, by what a program has said.
pub fn broken_constraint(said: &str) -> Option<String> {
    let (_, rest) = said.split_once(" violates check constraint \"")?;
    let line = rest.lines().next()?;
    line.strip_suffix('"').map(str::to_owned)
}

/// Whether a context says that the message is what a function has raised.
pub fn is_raised(context: &str) -> bool {
    context.starts_with("PL/pgSQL function ") && context.ends_with(" at RAISE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_does_not_repeat_the_value_it_is_about() {
        assert_eq!(text("invalid input syntax for type date: \"secret\""), "invalid input syntax for type date: \"…\"");
        assert_eq!(text("invalid input value for enum sex: \"a: \"b\""), "invalid input value for enum sex: \"…\"");
        let smallint = "a value is out of range for type smallint";
        assert_eq!(text("value \"4242424242\" is out of range for type smallint"), smallint);
        assert_eq!(text("\"1e400\" is out of range for type real"), "a value is out of range for type real");
        let about_names = "new row for relation \"cases\" violates check constraint \"born\"";
        assert_eq!(text(about_names), about_names);
    }

    #[test]
    fn a_detail_names_columns_without_what_is_in_them() {
        assert_eq!(detail("Key (mail)=(a@b.org) is duplicated.").unwrap(), "Key (mail) is duplicated.");
        let missing = "Key (a, lower(b))=(1, x) y) is not present in table \"t\".";
        assert_eq!(detail(missing).unwrap(), "Key (a, lower(b)) is not present in table \"t\".");
        assert_eq!(detail("Key (a)=(1) conflicts with existing key (a)=(1).").unwrap(), "Key (a).");
        assert_eq!(detail("Key (note)=(of several").unwrap(), "Key (note) …");
        assert_eq!(detail("Failing row contains (1, Anna, null)."), None);
        assert_eq!(detail("Token \"Anna\" is invalid."), None);
        let other = "Could not open extension control file.";
        assert_eq!(detail(other).unwrap(), other);
    }

    #[test]
    fn a_context_is_a_place() {
        assert_eq!(context("COPY cases, line 3, column born: \"secret\""), Some("COPY cases, line 3, column born"));
        assert_eq!(context("COPY cases, line 3: \"1\tsecret\""), Some("COPY cases, line 3"));
        assert_eq!(context("SQL function \"f\" during inlining"), Some("SQL function \"f\" during inlining"));
        assert_eq!(context("JSON data, line 1: {\"name\": secret"), None);
        assert_eq!(context("SQL statement \"SELECT 'secret'\""), None);
    }
}
