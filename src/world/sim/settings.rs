//! Which settings a server of a major version knows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Names by versions, as `postgres --describe-config` and the sample files of 13, 15, 17 and 18 give them: below
/// `[14-]` those that came with 14, below `[-15]` those that went after 15.
const KNOWN: &str = include_str!("settings.txt");

/// In which versions there is a setting: since the first, until the second of each pair.
static SPANS: LazyLock<BTreeMap<&str, Vec<(u32, u32)>>> = LazyLock::new(|| {
    let (mut spans, mut span): (BTreeMap<_, Vec<_>>, _) = (BTreeMap::new(), (0, u32::MAX));
    for line in KNOWN.lines() {
        match line.strip_prefix('[').and_then(|head| head.strip_suffix(']')) {
            Some(versions) => {
                let (since, until) = versions.split_once('-').unwrap_or_default();
                span = (since.parse().unwrap_or(0), until.parse().unwrap_or(u32::MAX));
            }
            None => line.split(' ').for_each(|name| spans.entry(name).or_default().push(span)),
        }
    }
    spans
});

fn has(spans: &[(u32, u32)], major: u32) -> bool {
    spans.iter().any(|(since, until)| (since..=until).contains(&&major))
}

/// Whether a server of that major version takes a setting of that name. Names with a dot belong to extensions: any
/// server takes them.
pub fn is_known(name: &str, major: u32) -> bool {
    let name = name.to_lowercase();
    name.contains('.') || SPANS.get(name.as_str()).is_some_and(|spans| has(spans, major))
}

/// Every setting that a server of that major version has by itself.
pub fn names(major: u32) -> impl Iterator<Item = &'static str> {
    SPANS.iter().filter(move |(_, spans)| has(spans, major)).map(|(name, _)| *name)
}

/// Settings of a configuration file, in its order: `name = 'value'`.
pub fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(setting).collect()
}

fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '=' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let value = match rest.strip_prefix('\'') {
        // A quote inside is written twice.
        Some(quoted) => {
            let mut value = String::new();
            let mut characters = quoted.chars().peekable();
            while let Some(c) = characters.next() {
                if c == '\'' && characters.next_if_eq(&'\'').is_none() {
                    break;
                }
                value.push(c);
            }
            value
        }
        None => rest.split(['#', ' ', '\t']).next().unwrap_or_default().to_owned(),
    };
    Some((name.to_lowercase(), value))
}

/// The same as a file's lines.
pub fn render<'s>(settings: impl IntoIterator<Item = (&'s String, &'s String)>) -> String {
    let line = |(name, value): (&String, &String)| format!("{name} = '{}'\n", value.replace('\'', "''"));
    settings.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_has_removed_or_brought_is_known_by_the_others_alone() {
        let known = |name| [13, 14, 15, 16, 17, 18].map(|major| is_known(name, major));
        assert_eq!(known("operator_precedence_warning"), [true, false, false, false, false, false]);
        assert_eq!(known("stats_temp_directory"), [true, true, false, false, false, false]);
        assert_eq!(known("promote_trigger_file"), [true, true, true, false, false, false]);
        assert_eq!(known("old_snapshot_threshold"), [true, true, true, true, false, false]);
        assert_eq!(known("idle_session_timeout"), [false, true, true, true, true, true]);
        assert_eq!(known("transaction_timeout"), [false, false, false, false, true, true]);
        assert_eq!(known("io_method"), [false, false, false, false, false, true]);
        assert_eq!(known("DateStyle"), [true; 6]);
        assert_eq!(known("auto_explain.log_min_duration"), [true; 6]);
        assert_eq!(known("no_such_setting"), [false; 6]);
    }

    #[test]
    fn settings_survive_their_file() {
        let text = "# a comment\nwork_mem = 4MB # more\nSearch_Path='a, ''b'''\n  port 5433\n\nlistening\n";
        let expected = [("work_mem", "4MB"), ("search_path", "a, 'b'"), ("port", "5433")];
        let settings = parse(text);
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let again = render(settings.iter().map(|(name, value)| (name, value)));
        assert_eq!(parse(&again), settings);
    }
}
