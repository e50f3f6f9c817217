//! What is set in each session of ours, whatever a role, a database or the whole cluster sets.
//!
//! The settings go into the startup packet (`PGOPTIONS`), which wins over `ALTER ROLE`, `ALTER DATABASE`,
//! `ALTER SYSTEM` and configuration files from the session's first instant, and again whenever a program connects anew.
//! A server that does not know a setting refuses the session, so the server's major version is asked first.

use super::container::{ContainerEngine, ExecSpec};
use super::error::Result;

/// What a session is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Questions: a transaction only reads.
    Reading,
    /// Statements and dumps.
    #[default]
    Writing,
    /// Statements of which nothing stays: no event trigger acts on them.
    Trying,
    /// A restore. What is computed in it (rows of materialized views, checks) is computed under the site's own time
    /// zone and styles, as its sessions compute it.
    Loading,
    /// As [`Purpose::Loading`], from a dump that something else has made: amounts of money are in the form of its
    /// cluster.
    LoadingForeign,
    /// A person at a terminal: the server's own settings, but the rights of the role that was asked for, and no time
    /// limit.
    Person,
    /// A login as the application's. An ordinary role may not set what we set for ourselves.
    Application,
}

/// A setting, its value, and the major version that brought it (0: older than any that is still in use).
type Setting = (&'static str, &'static str, u32);

/// The rights of the role that logs in, and no time limit.
const RIGHTS: [Setting; 6] = [
    ("role", "none", 0),
    ("statement_timeout", "0", 0),
    ("lock_timeout", "0", 0),
    ("idle_in_transaction_session_timeout", "0", 0),
    ("idle_session_timeout", "0", 14),
    ("transaction_timeout", "0", 17),
];

/// Names without a schema are those of `pg_catalog`. Temporary objects come last; unnamed they would come first.
const LOOKING: [Setting; 2] = [("search_path", "pg_catalog,pg_temp", 0), ("default_transaction_read_only", "on", 0)];

/// Also those of `pg_catalog` alone, which an empty path means; named in it, objects that are created without a schema
/// would become part of it, and be in no dump.
const CHANGING: [Setting; 2] = [("search_path", "", 0), ("default_transaction_read_only", "off", 0)];

/// What statements mean, and that nothing of the site's acts or is left out.
const MEANING: [Setting; 23] = [
    ("event_triggers", "off", EVENT_TRIGGERS),
    ("session_replication_role", "origin", 0),
    // Rows that a policy hides are an error, not a gap.
    ("row_security", "off", 0),
    ("default_transaction_isolation", "read committed", 0),
    ("default_transaction_deferrable", "off", 0),
    ("standard_conforming_strings", "on", 0),
    ("backslash_quote", "safe_encoding", 0),
    ("quote_all_identifiers", "off", 0),
    ("array_nulls", "on", 0),
    ("transform_null_equals", "off", 0),
    ("check_function_bodies", "on", 0),
    ("xmloption", "content", 0),
    ("client_min_messages", "warning", 0),
    ("lc_messages", "C", 0),
    ("exit_on_error", "off", 0),
    // Somebody may have left these on when a disk was damaged: a dump would have gaps.
    ("zero_damaged_pages", "off", 0),
    ("ignore_checksum_failure", "off", 0),
    ("allow_system_table_mods", "off", 13),
    ("temp_file_limit", "-1", 0),
    // Durable here; a standby that is away is not waited for.
    ("synchronous_commit", "local", 0),
    ("default_tablespace", "", 0),
    ("temp_tablespaces", "", 0),
    ("default_table_access_method", "heap", 12),
];

/// A restore brings event triggers along, and refreshes materialized views after that. Until 16 they can be kept from
/// acting only so; no other trigger is there yet.
const AS_REPLICA: Setting = ("session_replication_role", "replica", 0);
/// From here on event triggers can be switched off.
const EVENT_TRIGGERS: u32 = 17;

/// Amounts of money are read in the form in which they were printed, in clusters of whatever locale.
const MONEY: [Setting; 1] = [("lc_monetary", "C", 0)];

/// How values are printed and read.
const STYLES: [Setting; 8] = [
    ("DateStyle", "ISO,MDY", 0),
    ("IntervalStyle", "postgres", 0),
    ("TimeZone", "UTC", 0),
    ("extra_float_digits", "3", 0),
    ("bytea_output", "hex", 0),
    ("xmlbinary", "base64", 0),
    ("lc_numeric", "C", 0),
    ("lc_time", "C", 0),
];

/// Variables of libpq that would come after `PGOPTIONS` or lead elsewhere, from an environment file that the server's
/// container shares with others. `default` means: as if not set.
pub const VARIABLES: [&str; 4] = ["PGTZ=default", "PGDATESTYLE=default", "PGGEQO=default", "PGHOSTADDR="];

/// What is only tried is no error of the server's.
const QUIET: [Setting; 2] = [("log_min_messages", "fatal", 0), ("log_min_error_statement", "panic", 0)];

/// `PGOPTIONS` for a session on a server of this major version; without one only what every server knows.
pub fn options(purpose: Purpose, major: Option<u32>) -> String {
    let groups: &[&[Setting]] = match purpose {
        Purpose::Reading => &[&RIGHTS, &LOOKING, &MEANING, &MONEY, &STYLES],
        Purpose::Trying => &[&RIGHTS, &CHANGING, &MEANING, &MONEY, &STYLES, &QUIET],
        Purpose::Writing => &[&RIGHTS, &CHANGING, &MEANING, &MONEY, &STYLES],
        Purpose::Loading => &[&RIGHTS, &CHANGING, &MEANING, &MONEY],
        Purpose::LoadingForeign => &[&RIGHTS, &CHANGING, &MEANING],
        Purpose::Person | Purpose::Application => &[&RIGHTS],
    };
    let is_known = |setting: &&Setting| setting.2 <= major.unwrap_or(0);
    let mut words: Vec<_> = groups.iter().flat_map(|group| group.iter()).filter(is_known).map(word).collect();
    let is_without_triggers = matches!(purpose, Purpose::Trying | Purpose::Loading | Purpose::LoadingForeign);
    if is_without_triggers && major.is_some_and(|major| major < EVENT_TRIGGERS) {
        words.push(word(&AS_REPLICA));
    }
    words.join(" ")
}

/// `-c name=value`, with what would end the word escaped.
fn word((name, value, _): &Setting) -> String {
    format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))
}

/// The major version of the server in a container, as its own program says; no session is opened, since one could wake
/// an event trigger on logins. `None` where the image has no such program in its path.
pub fn major(engine: &dyn ContainerEngine, container: &str) -> Result<Option<u32>> {
    let argv = ["postgres", "--version"].map(str::to_owned).to_vec();
    let output = engine.exec_output(container, &ExecSpec { argv, ..ExecSpec::default() })?;
    Ok(major_of(&String::from_utf8_lossy(&output.stdout)).filter(|_| output.exit_code == 0))
}

/// `pg_dump (PostgreSQL) 17.6 (Debian …)` gives 17.
pub fn major_of(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_is_read_from_releases_and_betas() {
        assert_eq!(major_of("pg_dump (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)\n"), Some(17));
        assert_eq!(major_of("psql (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("busybox"), None);
    }

    #[test]
    fn a_server_is_not_asked_for_settings_that_it_does_not_know() {
        let newer = ["idle_session_timeout", "transaction_timeout", "event_triggers"];
        let has = |major, name: &str| options(Purpose::Writing, major).contains(name);
        assert_eq!(newer.map(|name| has(Some(13), name)), [false; 3]);
        assert_eq!(newer.map(|name| has(Some(16), name)), [true, false, false]);
        assert_eq!(newer.map(|name| has(Some(17), name)), [true; 3]);
        assert!(!has(None, "allow_system_table_mods") && has(None, "search_path= -c"));
    }

    #[test]
    fn a_value_stays_one_word() {
        assert!(options(Purpose::Reading, Some(17)).contains(r"-c default_transaction_isolation=read\ committed -c"));
    }

    #[test]
    fn a_restore_keeps_the_sites_styles_and_a_persons_session_its_settings() {
        assert!(!options(Purpose::Loading, Some(17)).contains("TimeZone"));
        assert!(!options(Purpose::LoadingForeign, Some(17)).contains("lc_monetary"));
        for purpose in [Purpose::Person, Purpose::Application] {
            let options = options(purpose, Some(17));
            assert!(options.contains("role=none") && !options.contains("search_path"), "{options}");
        }
    }
}
