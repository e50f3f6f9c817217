//! The keys that a primitive's map of options takes, as its docstring lists them.
//!
//! Docstrings are for people: most say `Options: a, b (…)`, some name an option where it matters (`force: true`), some
//! point to another function. A test holds them against all functions that take a map.

use crate::script::api::{Function, Reference};

/// How often one docstring may point to another.
const HOPS: usize = 3;

/// The keys of a function's map, in the order of its docstring.
pub fn keys(reference: &Reference, function: &Function) -> Vec<String> {
    let mut keys = Vec::new();
    collect(reference, function, HOPS, &mut keys);
    keys
}

fn collect(reference: &Reference, function: &Function, hops: usize, keys: &mut Vec<String>) {
    let doc = function.doc.split("\n\nErrors").next().unwrap_or_default();
    let mut add = |found: Vec<&str>| {
        for key in found {
            if !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
    };
    let listed = doc.split_once("ptions:").map(|(_, list)| list.trim_start());
    match listed {
        Some(list) if list.starts_with('`') => return add(quoted(list, |_| true)),
        Some(list) => add(sentence(list)),
        None => {}
    }
    if let Some(other) = pointed_at(doc).and_then(|path| reference.function(path)).filter(|_| hops > 0) {
        let (mut theirs, but) = (Vec::new(), excepted(doc));
        collect(reference, other, hops - 1, &mut theirs);
        return add(theirs.iter().map(String::as_str).filter(|key| Some(*key) != but).collect());
    }
    let is_required =
        function.signature.parameters.iter().any(|p| p.type_name == "Map" && p.default != Some("#{}".into()));
    if let (None, true, Some((_, list))) = (listed, is_required || is_filter(function), doc.split_once(": ")) {
        add(sentence(list));
    }
    add(quoted(doc, |rest| rest.starts_with(": ")));
    if keys.is_empty() {
        let found = quoted(doc, |rest| rest.is_empty());
        keys.extend(found.into_iter().map(str::to_owned));
    }
}

/// A map that is not of options: what is asked for.
fn is_filter(function: &Function) -> bool {
    function.signature.position("filter").is_some()
}

/// `psql::query` in "options as in `psql::query`".
fn pointed_at(doc: &str) -> Option<&str> {
    let (_, rest) = doc.split_once(" as in `").or_else(|| doc.split_once(" as `"))?;
    rest.split_once('`').map(|(path, _)| path)
}

/// `replace` in "Options (but `replace`)".
fn excepted(doc: &str) -> Option<&str> {
    doc.split_once("(but `")?.1.split_once('`').map(|(key, _)| key)
}

/// The words that begin the items of a list, which ends with its sentence: `a, b (c, d), or ``e: 1`` for all`.
fn sentence(list: &str) -> Vec<&str> {
    let (mut items, mut begin, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[begin..at]);
                begin = at + 1;
            }
            '.' if depth == 0 && list[at + 1..].chars().next().is_none_or(char::is_whitespace) => {
                items.push(&list[begin..at]);
                return items.into_iter().filter_map(item).collect();
            }
            _ => {}
        }
    }
    items.push(&list[begin..]);
    items.into_iter().filter_map(item).collect()
}

/// The key of `labels`, `level (1)`, ``or `like: volume` for those of another``; prose has none.
fn item(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_prefix("and ").or_else(|| text.strip_prefix("or ")).unwrap_or(text);
    if text.starts_with('`') {
        return quoted(text, |_| true).first().copied();
    }
    let (key, rest) = text.split_at(identifier(text));
    (!key.is_empty() && (rest.is_empty() || rest.starts_with(" ("))).then_some(key)
}

/// The identifiers that begin what stands in back-ticks outside of parentheses, where the test takes what follows them.
fn quoted(text: &str, test: fn(&str) -> bool) -> Vec<&str> {
    let mut found = Vec::new();
    let mut depth = 0i32;
    for (number, part) in text.split('`').enumerate() {
        if number % 2 == 0 {
            let count = |c: char| part.matches(c).count() as i32;
            depth += count('(') - count(')');
        } else if depth == 0 {
            let (key, rest) = part.split_at(identifier(part));
            if !key.is_empty() && (rest.is_empty() || rest.starts_with(": ")) && test(rest) {
                found.push(key);
            }
        }
    }
    found
}

/// How long the identifier is that begins the text.
fn identifier(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::api;

    const KEYS: &[(&str, &str)] = &[
        ("param", "help type choices default"),
        ("step", "undo commit repeatable probe open_work"),
        ("docker::containers", "project service volume labels"),
        ("docker::stop", "timeout"),
        ("docker::halt", "timeout"),
        ("docker::remove", "force"),
        ("docker::wait_healthy", "stable timeout"),
        (
            "docker::create",
            "name image entrypoint command env labels mounts network user host_user_namespace restart_policy like \
             health_check cpu_shares",
        ),
        (
            "docker::run",
            "name image entrypoint command env labels mounts network user host_user_namespace restart_policy like \
             health_check cpu_shares",
        ),
        ("docker::exec", "env user working_dir check"),
        ("docker::terminal", "env user working_dir"),
        ("docker::create_network", "driver internal options labels like"),
        ("docker::connect", "ipv4_address ipv6_address link_local_ips mac_address links driver_opts"),
        ("volume::create", "driver labels options like"),
        ("volume::move", "labels image"),
        ("volume::clone", "labels image"),
        ("volume::keep", "image"),
        ("volume::backup", "access level image replace"),
        ("volume::restore", "access image"),
        ("pg_dump::cluster", "format client jobs compress databases replace"),
        ("pg_dump::globals", "client"),
        ("pg_dump::database", "format client"),
        ("pg_dump::verify", "client"),
        ("pg_dump::restore", "client jobs"),
        ("pg_dump::transfer", "format client jobs compress databases"),
        ("pg_basebackup::copy", "name max_rate cpu_shares"),
        ("pg_upgrade::check", "transfer jobs place"),
        ("pg_upgrade::upgrade", "transfer jobs place"),
        ("psql::server", "user database password"),
        ("psql::wait_ready", "timeout"),
        ("psql::query", "database values"),
        ("psql::value", "database values"),
        ("psql::content", "level jobs"),
        ("psql::compare", "made settings"),
        ("psql::save_content", "overwrite"),
        ("psql::save_write_counts", "overwrite"),
        ("psql::execute", "database values"),
        ("psql::execute_all", "jobs"),
        ("psql::file", "database"),
        ("psql::terminal", "database"),
        ("ansible::site", "dir virtualenv inventory limit vault_password_file"),
        ("ansible::playbook", "tags skip_tags extra_vars extra_vars_files check_mode"),
        ("ansible::playbook_hosts", "tags skip_tags extra_vars extra_vars_files"),
        ("ansible::host_variables", "extra_vars_files"),
        ("host::write", "overwrite"),
        ("host::write_json", "overwrite"),
        ("host::run", "dir env stream check"),
        ("run::lock", "take_over"),
        ("run::judges", ""),
        ("run::verdict", ""),
    ];

    #[test]
    fn every_option_that_a_docstring_lists_is_known() {
        let reference = &api::vocabulary().reference;
        let takes_map = |f: &&Function| f.signature.parameters.iter().any(|p| p.type_name == "Map");
        let found: Vec<_> = (reference.functions.iter().filter(takes_map))
            .map(|function| (function.path(), keys(reference, function).join(" ")))
            .collect();
        let expected: Vec<_> = KEYS.iter().map(|(path, keys)| ((*path).to_owned(), (*keys).to_owned())).collect();
        assert_eq!(found, expected);
    }
}
