//! How objects, facts and rights are said to people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::objects::Name;

/// Most characters of a value that are shown; what is longer is a definition, to be looked up.
const SHOWN: usize = 160;

/// A name as SQL writes it: quoted where it is anything but a lower-case word, whatever a version's keywords are.
pub fn plain_name(part: &str) -> String {
    let is_start = part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    match is_start && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        true => part.to_owned(),
        false => super::definition::quoted(part),
    }
}

/// `public.item`
pub fn dotted(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(|part| plain_name(part)).collect::<Vec<_>>().join(".")
}

/// An object with its kind: `column label of public.item`.
pub fn object(kind: &str, name: &Name) -> String {
    let part = |index: usize| name.get(index).map(String::as_str).unwrap_or_default();
    match kind {
        "column" | "constraint" | "trigger" | "policy" | "rule" | "domain constraint" => {
            format!("{kind} {} of {}", plain_name(part(2)), dotted(name.get(..2).unwrap_or_default()))
        }
        "table of publication" => format!("table {} of publication {}", dotted(&name[1..]), plain_name(part(0))),
        "function" => format!("function {}({})", dotted(&name[..2]), part(2)),
        "operator" => {
            let types: Vec<_> = name.iter().skip(2).filter(|of| !of.is_empty()).map(String::as_str).collect();
            format!("operator {}.{} ({})", plain_name(part(0)), part(1), types.join(", "))
        }
        "operator class" | "operator family" => format!("{kind} {} for {}", dotted(&name[..2]), part(2)),
        "cast" => format!("cast {} as {}", part(0), part(1)),
        "transform" => format!("transform for {} of language {}", part(0), part(1)),
        "user mapping" => format!("user mapping of {} on server {}", part(0), plain_name(part(1))),
        "membership" => format!("membership of {} in {}", plain_name(part(1)), plain_name(part(0))),
        "setting of a role or database" => format!("setting {}{}", part(0), of_whom(part(1), part(2))),
        "default rights" => {
            let within = if part(1).is_empty() { String::new() } else { format!(" in schema {}", plain_name(part(1))) };
            format!("default rights of role {} on {}{within}", plain_name(part(0)), part(2))
        }
        "rights on a system object" => format!("rights on {} {}", part(0), part(1)),
        "security label" => format!("security label {} on {} {}", part(0), part(1), part(2)),
        "client authentication" | "user name map" => format!("{kind} ({})", part(0)),
        "setting" | "large object" | "content of large object" => format!("{kind} {}", part(0)),
        _ => format!("{kind} {}", dotted(name)),
    }
}

fn of_whom(role: &str, database: &str) -> String {
    match (role, database) {
        ("", "") => " of all roles".into(),
        ("", database) => format!(" of database {}", plain_name(database)),
        (role, "") => format!(" of role {}", plain_name(role)),
        (role, database) => format!(" of role {} in database {}", plain_name(role), plain_name(database)),
    }
}

/// A fact's value in one line; secrets are not in it.
pub fn value(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "none".into(),
        Some(Value::Bool(true)) => "yes".into(),
        Some(Value::Bool(false)) => "no".into(),
        Some(Value::String(text)) if text.is_empty() => return "empty".into(),
        Some(Value::Array(items)) if items.is_empty() => return "none".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(item).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    };
    shortened(&without_secrets(&text))
}

/// Two values; of lists only what the other one does not have.
pub fn values(before: Option<&Value>, after: Option<&Value>) -> (String, String) {
    let (Some(Value::Array(old)), Some(Value::Array(now))) = (before, after) else {
        return (value(before), value(after));
    };
    let only = |some: &[Value], others: &[Value]| {
        let own = some.iter().filter(|item| !others.contains(item)).cloned().collect();
        value(Some(&Value::Array(own)))
    };
    let order = || (value(before), value(after));
    let is_all_there = old.iter().all(|item| now.contains(item)) && now.iter().all(|item| old.contains(item));
    if is_all_there { order() } else { (only(old, now), only(now, old)) }
}

fn item(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter(|part| !part.is_null()).map(item).collect::<Vec<_>>().join("."),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// The mark that stands for a secret: enough of its hash to see a change.
const SECRET: &str = "{secret ";

fn without_secrets(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(SECRET) {
        shown.push_str(before);
        shown.push_str("(not shown)");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    shown + rest
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// Privileges by whom they are given to.
pub type Rights = BTreeMap<String, BTreeSet<String>>;

/// The letters of an ACL, and the privileges that they are.
const PRIVILEGES: [(char, &str); 15] = [
    ('r', "SELECT"),
    ('w', "UPDATE"),
    ('a', "INSERT"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('c', "CONNECT"),
    ('T', "TEMPORARY"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
    ('m', MAINTAIN),
];

/// The privilege that 17 has brought, which it gives to whoever had all of them.
pub const MAINTAIN: &str = "MAINTAIN";

/// The privileges that a list of ACL items (`app=r*w/primero`) gives, without those in `unknown`.
pub fn rights(acl: Option<&Value>, unknown: &[&str]) -> Rights {
    let items = acl.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut rights = Rights::new();
    for item in items {
        let Some((grantee, given)) = split_grantee(item) else { continue };
        let letters = given.split('/').next().unwrap_or_default();
        let privileges = rights.entry(grantee).or_default();
        for (index, letter) in letters.char_indices().filter(|(_, letter)| *letter != '*') {
            let name = PRIVILEGES.iter().find(|(known, _)| *known == letter).map(|(_, name)| *name);
            let name = name.map_or_else(|| letter.to_string(), str::to_owned);
            if unknown.contains(&name.as_str()) {
                continue;
            }
            let may_grant = letters[index + 1..].starts_with('*');
            privileges.insert(if may_grant { format!("{name} (may grant it on)") } else { name });
        }
    }
    rights.retain(|_, privileges| !privileges.is_empty());
    rights
}

/// The role before `=`, which is quoted where it is no word; nobody is everybody.
fn split_grantee(item: &str) -> Option<(String, &str)> {
    if let Some(rest) = item.strip_prefix('"') {
        let mut end = 0;
        while let Some(found) = rest[end..].find('"') {
            end += found + 1;
            if !rest[end..].starts_with('"') {
                return Some((rest[..end - 1].replace("\"\"", "\""), rest[end..].strip_prefix('=')?));
            }
            end += 1;
        }
        return None;
    }
    let (grantee, given) = item.split_once('=')?;
    Some((if grantee.is_empty() { "PUBLIC".into() } else { grantee.to_owned() }, given))
}

/// Privileges in one line.
pub fn privileges(rights: Option<&BTreeSet<String>>) -> String {
    rights.map_or("none".into(), |rights| rights.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(parts: &[&str]) -> Name {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn objects_are_called_as_a_person_would() {
        let said = [
            ("column", &["public", "item", "label"] as &[&str], "column label of public.item"),
            ("function", &["public", "Total", "integer"], "function public.\"Total\"(integer)"),
            ("setting of a role or database", &["work_mem", "", "sample"], "setting work_mem of database sample"),
            ("setting of a role or database", &["timezone", "", ""], "setting timezone of all roles"),
            ("membership", &["team", "colleague"], "membership of colleague in team"),
            ("large object", &["5000"], "large object 5000"),
            ("table", &["public", "system_user"], "table public.system_user"),
        ];
        for (kind, name, words) in said {
            assert_eq!(object(kind, &named(name)), words);
        }
    }

    #[test]
    fn secrets_and_long_texts_are_not_shown() {
        assert_eq!(value(Some(&json!(["user=app", "password={secret 1a2b}"]))), "user=app, password=(not shown)");
        assert_eq!(value(Some(&json!("a\n  b"))), "a b");
        assert!(value(Some(&json!("x".repeat(500)))).chars().count() < 170);
        assert_eq!((value(None), value(Some(&json!(true)))), ("none".into(), "yes".into()));
    }

    #[test]
    fn rights_are_read_from_acls() {
        let acl = json!(["primero=arwdDxtm/primero", "=r/primero", "\"odd \"\"role\"\"\"=r*w/primero"]);
        let rights = rights(Some(&acl), &[MAINTAIN]);
        assert_eq!(rights.keys().collect::<Vec<_>>(), ["PUBLIC", "odd \"role\"", "primero"]);
        assert_eq!(privileges(rights.get("odd \"role\"")), "SELECT (may grant it on), UPDATE");
        assert!(!rights["primero"].contains(MAINTAIN));
        assert_eq!(privileges(None), "none");
    }
}
