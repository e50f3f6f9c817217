//! The files in a data directory that tell a cluster what to do: as text, and back.

use std::collections::BTreeMap;

use super::cluster::{Auth, Cluster};

/// The settings that a `postgresql.conf` sets, by name; of one that is set twice, the last.
pub fn settings_in(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(setting_in).collect()
}

fn setting_in(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, rest) = line.split_once(|c: char| c == '=' || c.is_whitespace())?;
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => unquoted(quoted),
        None => rest.split(['#', ' ', '\t']).next().unwrap_or_default().to_owned(),
    };
    Some((name.to_owned(), value))
}

/// Up to the closing quote; two of them are one.
fn unquoted(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' && rest.next_if_eq(&'\'').is_none() {
            break;
        }
        value.push(c);
    }
    value
}

/// Settings as a `postgresql.conf` has them.
pub fn settings_text(settings: &BTreeMap<String, String>) -> String {
    settings.iter().map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect()
}

/// The rules of `pg_hba.conf`: for the local socket and 127.0.0.1, for replication from there, for everybody else.
pub fn rules_of(cluster: &Cluster) -> String {
    let mut rules = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n".to_owned();
    if cluster.lets_replicate {
        rules += "local replication all trust\nhost replication all 127.0.0.1/32 trust\n";
    }
    let method = match cluster.auth {
        Auth::Md5 => "md5",
        Auth::Scram => "scram-sha-256",
        Auth::Trust => "trust",
    };
    format!("{rules}host all all all {method}\n")
}

/// Gives a cluster the rules of a `pg_hba.conf`.
pub fn take_rules(cluster: &mut Cluster, text: &str) {
    let lines = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    cluster.lets_replicate = lines().any(|words| words.get(1) == Some(&"replication"));
    let is_for_all = |words: &Vec<&str>| {
        words.first().is_some_and(|kind| kind.starts_with("host"))
            && words.get(1) == Some(&"all")
            && words.get(3).is_some_and(|address| ["all", "0.0.0.0/0"].contains(address))
    };
    let method = lines().find(is_for_all).and_then(|words| words.get(4).map(|method| (*method).to_owned()));
    match method.as_deref() {
        Some("scram-sha-256") => cluster.auth = Auth::Scram,
        Some("md5") => cluster.auth = Auth::Md5,
        Some("trust") => cluster.auth = Auth::Trust,
        _ => {}
    }
}

/// Gives a cluster a file of its data directory, or, of one called `NAME.added`, what comes to the end of `NAME`.
pub fn take_file(cluster: &mut Cluster, name: &str, text: &str) {
    match name {
        "postgresql.conf" | "postgresql.auto.conf" => cluster.settings = settings_in(text),
        "postgresql.conf.added" | "postgresql.auto.conf.added" => cluster.settings.extend(settings_in(text)),
        "pg_hba.conf" => take_rules(cluster, text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_being_written_and_read() {
        let settings =
            settings_in("# no\nshared_buffers = '256MB'\nwork_mem=4MB # why\n\nx.y 'it''s'\nport = 1\nport=2");
        let expected = [("port", "2"), ("shared_buffers", "256MB"), ("work_mem", "4MB"), ("x.y", "it's")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(settings_in(&settings_text(&settings)), settings);
    }

    #[test]
    fn rules_survive_being_written_and_read() {
        for (auth, lets_replicate) in [(Auth::Md5, true), (Auth::Scram, false), (Auth::Trust, true)] {
            let cluster = Cluster { auth, lets_replicate, ..Cluster::new(1, 17, "postgres") };
            let mut other = Cluster::new(2, 13, "postgres");
            take_rules(&mut other, &rules_of(&cluster));
            assert_eq!((other.auth, other.lets_replicate), (auth, lets_replicate));
        }
    }
}
