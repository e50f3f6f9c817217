//! Files of a container: in its volumes, in its layer, in what is mounted from the host; those of a cluster, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cluster::{Auth, Cluster};
use super::state::{Container, Content, Place, Tree};
use super::{State, settings};

/// Directories that every image has.
const OF_IMAGES: [&str; 12] =
    ["", "tmp", "etc", "usr", "var", "var/lib", "var/run", "run", "opt", "srv", "root", "var/lib/postgresql"];

/// Files of a cluster that can be read, and, but for the first, be written.
const OF_CLUSTER: [&str; 5] = ["PG_VERSION", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"];

/// A file, and `uid:gid` of whom it belongs to.
pub(super) struct Found {
    pub bytes: Vec<u8>,
    pub owner: String,
}

impl State {
    /// The file at a path of a container.
    pub(super) fn read_file(&self, container: &Container, path: &str) -> Option<Found> {
        if let Some(path) = host_path(container, path) {
            return match &self.files.get(&path)?.content {
                Content::Bytes { bytes } => Some(Found { bytes: bytes.clone(), owner: "0:0".into() }),
                _ => None,
            };
        }
        let place = self.place(container, path);
        let tree = self.tree(&container.id, &place)?;
        tree.file(&place.directory)
    }

    /// All files below a directory of a container, by their paths from there; `None` where there is no such directory.
    pub(super) fn files_below(&self, container: &Container, path: &str) -> Option<BTreeMap<String, Found>> {
        let place = self.place(container, path);
        let is_mounted = container.mounts.iter().any(|m| m.destination.trim_end_matches('/') == path);
        let tree = self.tree(&container.id, &place)?;
        let found = tree.below(&place.directory);
        let is_known = place.volume.is_none() && OF_IMAGES.contains(&place.directory.as_str());
        (is_mounted || is_known || !found.is_empty()).then_some(found)
    }

    /// Writes a file at a path of a container; nobody has synced it.
    pub(super) fn write_file(&mut self, container: &Container, path: &str, bytes: Vec<u8>) {
        let place = self.place(container, path);
        let Some(tree) = self.tree_mut(&container.id, &place) else { return };
        tree.write(&place.directory, bytes);
        tree.is_unsynced = true;
    }

    /// Whose a path is, `uid:gid`; `None` where there is nothing.
    pub(super) fn owner_of(&self, container: &Container, path: &str) -> Option<String> {
        if let Some(file) = self.read_file(container, path) {
            return Some(file.owner);
        }
        let Place { directory, .. } = &self.place(container, path);
        self.files_below(container, path.trim_end_matches('/'))?;
        let tree = self.tree(&container.id, &self.place(container, path))?;
        Some(tree.clusters.get(directory).map_or_else(|| or_root(&tree.owner), |cluster| cluster.owner.clone()))
    }
}

impl Tree {
    fn file(&self, path: &str) -> Option<Found> {
        let own = self.files.get(path).map(|bytes| Found { bytes: bytes.clone(), owner: or_root(&self.owner) });
        own.or_else(|| {
            let (cluster, name) = self.cluster_of(path)?;
            Some(Found { bytes: cluster.file(name)?, owner: cluster.owner.clone() })
        })
    }

    /// The cluster in whose directory a path is, and the rest of the path.
    fn cluster_of<'p>(&self, path: &'p str) -> Option<(&Cluster, &'p str)> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some((self.clusters.get(directory)?, name))
    }

    fn below(&self, directory: &str) -> BTreeMap<String, Found> {
        let rendered = self.clusters.keys().flat_map(|at| OF_CLUSTER.map(|name| joined(at, name)));
        let all = self.files.keys().cloned().chain(rendered);
        all.filter_map(|path| Some((below(&path, directory)?.to_owned(), self.file(&path)?))).collect()
    }

    pub(super) fn write(&mut self, path: &str, bytes: Vec<u8>) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.clusters.get_mut(directory) {
            Some(cluster) if OF_CLUSTER.contains(&name) => cluster.take_file(name, &String::from_utf8_lossy(&bytes)),
            _ => _ = self.files.insert(path.to_owned(), bytes),
        }
    }

    /// Adds to the end of a file.
    pub(super) fn append(&mut self, path: &str, more: &[u8]) {
        let mut bytes = self.file(path).map(|found| found.bytes).unwrap_or_default();
        bytes.extend_from_slice(more);
        self.write(path, bytes);
    }
}

impl Cluster {
    /// A file of its directory, as it would stand there: all settings are in `postgresql.conf`.
    fn file(&self, name: &str) -> Option<Vec<u8>> {
        let text = match name {
            "PG_VERSION" => format!("{}\n", self.major),
            "postgresql.conf" => settings::render(&self.settings),
            "postgresql.auto.conf" => "# Do not edit this file manually!\n".to_owned(),
            "pg_hba.conf" => self.rules(),
            "pg_ident.conf" => String::new(),
            _ => return None,
        };
        Some(text.into_bytes())
    }

    /// The rules of its `pg_hba.conf`.
    pub(super) fn rules(&self) -> String {
        let method = match self.auth {
            Auth::Md5 => "md5",
            Auth::Scram => "scram-sha-256",
            Auth::Trust => "trust",
        };
        let mut rules =
            String::from("local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n");
        if self.lets_replicate {
            rules += "local replication all trust\nhost replication all 127.0.0.1/32 trust\n";
        }
        rules + format!("\nhost all all all {method}\n").as_str()
    }

    /// Takes what was written in the place of a file.
    pub fn take_file(&mut self, name: &str, text: &str) {
        match name {
            "postgresql.conf" => self.settings = settings::parse(text).into_iter().collect(),
            "postgresql.auto.conf" => self.settings.extend(settings::parse(text)),
            "pg_hba.conf" => self.take_rules(text),
            _ => {}
        }
    }

    fn take_rules(&mut self, text: &str) {
        let rules = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        self.lets_replicate = rules().any(|rule| rule.get(1) == Some(&"replication"));
        let is_wide = |rule: &Vec<&str>| {
            rule.len() >= 5
                && rule[0].starts_with("host")
                && rule[1] == "all"
                && ["all", "0.0.0.0/0"].contains(&rule[3])
        };
        // The first that fits decides.
        match rules().find(is_wide).and_then(|rule| rule.last().copied()) {
            Some("trust") => self.auth = Auth::Trust,
            Some("md5") => self.auth = Auth::Md5,
            Some("scram-sha-256") => self.auth = Auth::Scram,
            _ => {}
        }
    }
}

/// The path on the engine's host that is mounted at a path of a container.
fn host_path(container: &Container, path: &str) -> Option<PathBuf> {
    let inside = |destination: &str| Path::new(path).strip_prefix(destination).ok().map(Path::to_owned);
    let found = container.mounts.iter().filter_map(|mount| Some((mount, inside(&mount.destination)?)));
    let (mount, rest) = found.max_by_key(|(mount, _)| mount.destination.len())?;
    let whole =
        if rest.as_os_str().is_empty() { PathBuf::from(&mount.source) } else { Path::new(&mount.source).join(rest) };
    (mount.kind == "bind").then_some(whole)
}

pub(super) fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The rest of a path that is in a directory, or is it.
pub(super) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory)?;
    if directory.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn or_root(owner: &str) -> String {
    if owner.is_empty() { "0:0".into() } else { owner.to_owned() }
}
