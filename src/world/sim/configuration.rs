//! What settings are in a simulated server: by whom they are told, and what they are where nobody says anything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::settings::is_known;
use super::state::{Container, State};

/// One line each: name, and default as `pg_settings` shows it; settings whose default is empty are left out.
const TABLE: &str = include_str!("configuration.txt");

static DEFAULTS: LazyLock<BTreeMap<&'static str, &'static str>> =
    LazyLock::new(|| TABLE.lines().filter_map(|line| line.split_once(' ')).collect());

/// What a setting is where nobody has said anything else, as `pg_settings` shows it; `None` for one that this major
/// does not know by itself.
pub fn default_of(major: u32, setting: &str) -> Option<&'static str> {
    let name = setting.to_lowercase();
    if name.contains('.') || !is_known(&name, major) {
        return None;
    }
    Some(match (name.as_str(), major) {
        ("data_checksums", 18..) | ("log_checkpoints", 15..) => "on",
        ("password_encryption", ..14) => "md5",
        ("hash_mem_multiplier", 15..) => "2",
        ("checkpoint_completion_target", ..14) => "0.5",
        ("effective_io_concurrency" | "maintenance_io_concurrency", 18..) => "16",
        (name, _) => DEFAULTS.get(name).copied().unwrap_or_default(),
    })
}

/// Settings of a server's command line as they are written, one after the other: `-c name=value`, `-cname=value` or
/// `--name=value`.
fn told(container: &Container) -> impl Iterator<Item = (&str, &str)> {
    let words = || container.entrypoint.iter().chain(&container.command).map(String::as_str);
    words().zip(words().skip(1).chain([""])).filter_map(|(word, next)| {
        let told = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c").filter(|rest| !rest.is_empty())) {
            Some(told) => told,
            None => Some(next).filter(|_| word == "-c")?,
        };
        told.split_once('=')
    })
}

/// Whether a name on a command line is that of a setting, which is in lower case.
fn is_named(written: &str, setting: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.to_ascii_lowercase() == b || (a == b'-' && b == b'_');
    written.len() == setting.len() && written.bytes().zip(setting.bytes()).all(same)
}

/// Who says what a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    CommandLine,
    File,
    Nobody,
}

impl Source {
    /// As the content of a cluster has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::File => "file",
            Self::Nobody => "nobody",
        }
    }
}

impl State {
    /// What a setting is in the server of a container, as `pg_settings` shows it, and who says so; `None` for one that
    /// it does not know.
    pub fn setting(&self, container: &str, name: &str) -> Option<(String, Source)> {
        let (found, cluster) = (self.container(container)?, self.cluster(container)?);
        let name = name.to_lowercase();
        let of_file =
            || cluster.settings.iter().find(|(key, _)| key.eq_ignore_ascii_case(&name)).map(|(_, value)| value);
        if let Some((_, value)) = told(found).filter(|(written, _)| is_named(written, &name)).last() {
            return Some((in_units(&name, value), Source::CommandLine));
        }
        if let Some(value) = of_file() {
            return Some((in_units(&name, value), Source::File));
        }
        let default = default_of(cluster.major, &name)?;
        let data = || self.data_directory(container);
        let value = match name.as_str() {
            "data_directory" => data()?,
            "config_file" => data()? + "/postgresql.conf",
            "hba_file" => data()? + "/pg_hba.conf",
            "ident_file" => data()? + "/pg_ident.conf",
            "data_checksums" => if cluster.checksums { "on" } else { "off" }.to_owned(),
            "server_version_num" => (cluster.major * 10_000).to_string(),
            "server_version" => self.server_version(container)?,
            _ => default.to_owned(),
        };
        Some((value, Source::Nobody))
    }

    /// The same as a number; 0 where it is none.
    pub fn number_setting(&self, container: &str, name: &str) -> i64 {
        self.setting(container, name).and_then(|(value, _)| value.parse().ok()).unwrap_or_default()
    }

    /// What its server writes may never reach the disk.
    pub fn is_without_fsync(&self, container: &str) -> bool {
        self.setting(container, "fsync").is_some_and(|(value, _)| ["off", "false", "no", "0"].contains(&value.as_str()))
    }

    /// Its server writes: without fsync what it writes is not on the disk.
    pub fn note_write(&mut self, container: &str) {
        if !self.is_without_fsync(container) {
            return;
        }
        let place = self.container(container).and_then(|container| container.server.clone());
        if let Some(tree) = place.and_then(|place| self.tree_mut(container, &place)) {
            tree.is_unsynced = true;
        }
    }

    /// Where the server of a container sees its cluster.
    pub fn data_directory(&self, container: &str) -> Option<String> {
        let found = self.container(container)?;
        let place = found.server.as_ref()?;
        let root = match &place.volume {
            Some(name) => {
                let mount = found.mounts.iter().find(|mount| mount.kind == "volume" && mount.name == *name)?;
                mount.destination.trim_end_matches('/')
            }
            None => "",
        };
        Some(if place.directory.is_empty() { root.to_owned() } else { format!("{root}/{}", place.directory) })
    }

    /// `17.6 (Debian 17.6-0+deb13u1)`, as the image of a container has it.
    pub fn server_version(&self, container: &str) -> Option<String> {
        let found = self.container(container)?;
        let image = self.image(&found.image_id).or_else(|| self.image(&found.image));
        match image.map(|image| &image.kind) {
            Some(super::state::ImageKind::Postgres { version, .. }) => Some(version.clone()),
            _ => self.cluster(container).map(|cluster| format!("{}.0", cluster.major)),
        }
    }
}

/// A size with a unit in the unit of the setting, as `pg_settings` shows it.
fn in_units(name: &str, value: &str) -> String {
    let (digits, unit) = value.split_at(value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len()));
    let each: u64 = match unit {
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return value.to_owned(),
    };
    let in_pages = ["shared_buffers", "effective_cache_size", "temp_buffers", "wal_buffers"];
    let own = match name {
        "max_wal_size" | "min_wal_size" | "wal_keep_size" | "max_slot_wal_keep_size" => 1 << 20,
        name if in_pages.contains(&name) => 8192,
        _ => 1 << 10,
    };
    digits.trim().parse::<u64>().map_or_else(|_| value.to_owned(), |number| (number * each / own).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_the_default_of_its_major() {
        assert_eq!(default_of(13, "password_encryption"), Some("md5"));
        assert_eq!(default_of(17, "TimeZone"), Some("GMT"));
        assert_eq!(default_of(17, "default_transaction_isolation"), Some("read committed"));
        assert_eq!(default_of(17, "max_slot_wal_keep_size"), Some("-1"));
        assert_eq!((default_of(16, "summarize_wal"), default_of(17, "summarize_wal")), (None, Some("off")));
        assert_eq!(default_of(17, "archive_command"), Some(""));
        assert!(DEFAULTS.keys().all(|name| (13..=18).any(|major| is_known(name, major))));
    }

    #[test]
    fn sizes_are_shown_in_the_units_of_their_setting() {
        assert_eq!(in_units("shared_buffers", "128MB"), "16384");
        assert_eq!(in_units("work_mem", "64MB"), "65536");
        assert_eq!(in_units("max_wal_size", "2GB"), "2048");
        assert_eq!(in_units("port", "5433"), "5433");
    }
}
