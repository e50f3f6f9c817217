//! Everything there is in a simulated world. Plain data: what happens to it is told in the other files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bytes;
use super::cluster::{Cluster, RowId};
use super::compose::Stack;
use super::deeds::Planned;
use crate::world::container::{Attachment, EngineInfo, ExecEvent, Image as Shown, Mount, Network};

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The clock: milliseconds since 1970.
    pub now: u64,
    /// The next number that something is called by.
    pub next: u64,
    /// How many changes there were.
    pub instants: u64,
    pub engine: EngineInfo,
    pub images: Vec<Image>,
    /// By id.
    pub containers: BTreeMap<String, Arc<Container>>,
    /// By name; `bridge`, `host` and `none` are always there.
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    /// Files and directories of the machine that pgscript runs on, by absolute path.
    pub files: BTreeMap<PathBuf, File>,
    /// Bytes free on the machine's one disk, on which the engine's root is, too.
    pub free: u64,
    pub total: u64,
    pub ansible: Ansible,
    /// What commands of this machine do, by the whole argv or, else, by its first word.
    pub commands: BTreeMap<String, Effect>,
    /// What commands inside containers print that no part of the simulation knows, by their first word.
    pub programs: BTreeMap<String, Printed>,
    /// What simulated servers answer to SQL that no part of the simulation knows: the first whose text is in it.
    pub answers: Vec<Answer>,
    /// Changes that fail.
    pub faults: Vec<Fault>,
    /// What else happens at a change.
    #[serde(default)]
    pub planned: Vec<Planned>,
    /// Rows that some writer was told are kept.
    pub acknowledged: BTreeMap<RowId, Acknowledged>,
    /// What `docker compose up` makes, by project.
    #[serde(default)]
    pub stacks: BTreeMap<String, Stack>,
}

/// An image the engine has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub shown: Shown,
    /// `uid:gid` of whom its files are made for.
    pub owner: String,
    pub kind: ImageKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ImageKind {
    /// As the official image.
    Postgres {
        major: u32,
        /// `17.6 (Debian 17.6-0+deb13u1)`
        version: String,
        /// Extensions that can be created.
        extensions: BTreeSet<String>,
        /// What orders text; the version of the C library's collations.
        collations: String,
    },
    /// Something that writes to the database as long as it runs and reaches it.
    Application,
    Other,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The reference it was created from.
    pub image: String,
    pub image_id: String,
    /// `Config` and `HostConfig` of an inspect answer, without what the other fields say.
    pub config: Map<String, Value>,
    pub host_config: Map<String, Value>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub user: String,
    /// The tests of its health; `None` where there is no check.
    pub health_check: Option<Value>,
    pub mounts: Vec<Mount>,
    pub networks: Vec<Attachment>,
    /// See [`network_mode`](crate::world::container::Container::network_mode).
    pub network_mode: String,
    pub restart_policy: String,
    /// See [`state`](crate::world::container::Container::state).
    pub state: String,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub created_at: u64,
    /// Milliseconds since 1970; 0 before the first start.
    pub started_at: u64,
    pub exit_code: i64,
    pub restart_count: i64,
    /// When the engine starts it again: milliseconds since 1970; of a `restarting` one.
    #[serde(default)]
    pub restart_at: u64,
    /// Its process ends with an error a moment after each start.
    #[serde(default)]
    pub crashes: bool,
    /// Somebody has stopped it: `unless-stopped` leaves it alone when the engine starts.
    pub was_stopped: bool,
    /// The engine was killed while it started it: it can't be started any more.
    pub is_half_started: bool,
    pub log: Vec<String>,
    pub execs: Vec<ExecEvent>,
    /// What is in its own layer and on its tmpfs: gone with it, or with its end.
    pub layer: Tree,
    /// Where the cluster is that its server runs on.
    pub server: Option<Place>,
}

/// Where a cluster, or a file, is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The volume; `None` for the container's own layer.
    pub volume: Option<String>,
    /// The directory in it, without a leading slash; empty for its root.
    pub directory: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub created_at: u64,
    pub tree: Tree,
}

/// What is in a volume or in a container's layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// By directory, as in [`Place::directory`].
    pub clusters: BTreeMap<String, Cluster>,
    /// Other files, by path without a leading slash.
    #[serde(with = "bytes::by_path")]
    pub files: BTreeMap<String, Vec<u8>>,
    /// `uid:gid` of its root.
    pub owner: String,
    /// Something was written that nobody has synced: a power cut takes it.
    pub is_unsynced: bool,
    /// Somebody works on it and has not come to the end.
    pub is_partial: bool,
}

impl Tree {
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.files.is_empty()
    }
}

/// A file or directory of the machine that pgscript runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub content: Content,
    pub mode: u32,
    /// Milliseconds since 1970.
    pub modified: u64,
    /// What a power cut leaves: `None` where the name itself was not synced.
    pub synced: Option<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Content {
    Directory,
    Bytes {
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// A volume's backup: what it would give back. `is_whole` until somebody damages it.
    Backup {
        tree: Tree,
        bytes: u64,
        is_whole: bool,
    },
    /// A dump of a cluster.
    Dump {
        cluster: Box<Cluster>,
        bytes: u64,
        is_whole: bool,
    },
}

/// What a site's Ansible is and does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ansible {
    /// Variables by host; no host, no Ansible.
    pub hosts: BTreeMap<String, Map<String, Value>>,
    /// Hosts by what else a limit may call them.
    #[serde(default)]
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// What a playbook does, by its file name.
    pub playbooks: BTreeMap<String, Effect>,
}

/// What a command or a playbook does to the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "snake_case")]
pub enum Effect {
    Nothing,
    /// Fails, and says why.
    Fails {
        message: String,
    },
    /// `docker compose up` of a project at a version: its containers are made anew where their image is another one,
    /// and all of its services run. `version` is a major, or the name of the extra variable that has it; where it is
    /// empty, that of the cluster which lies in the database's volume.
    Deploy {
        project: String,
        #[serde(default)]
        version: String,
    },
}

/// What a command inside a container gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    pub exit_code: i64,
    pub stdout: String,
    pub stderr: String,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// A part of the SQL, any white space as one space.
    pub sql: String,
    pub rows: Vec<Map<String, Value>>,
}

/// A change that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// How the change begins that fails: `start primero-postgres-1`, `backup`; see [`Sim::act`](super::Sim::act).
    pub change: String,
    /// How many of them still succeed.
    pub after: u64,
    /// How many then fail; 0 for all.
    pub times: u64,
    pub code: String,
    pub message: String,
}

/// A row that was promised to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub at: u64,
    /// Number of the cluster it was written to.
    pub cluster: u64,
    pub database: String,
    pub table: String,
}

impl Default for State {
    /// An engine without anything, on a machine with an empty disk.
    fn default() -> Self {
        const NOON: u64 = 1_790_000_000_000;
        const DISK: u64 = 1 << 40;
        let network = |name: &str| Network {
            id: format!("{name:0<64}"),
            name: name.to_owned(),
            driver: if name == "none" { "null" } else { name }.to_owned(),
            internal: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            attachable: false,
            ipv6: false,
            ipam: None,
            containers: Vec::new(),
        };
        Self {
            now: NOON,
            next: 1,
            instants: 0,
            engine: EngineInfo {
                id: "SIMU:LATE:D".into(),
                version: "20.10.24".into(),
                api_version: "1.41".into(),
                host: "simulated".into(),
                root_dir: "/var/lib/docker".into(),
                ..EngineInfo::default()
            },
            images: Vec::new(),
            containers: BTreeMap::new(),
            networks: ["bridge", "host", "none"].map(|name| (name.to_owned(), network(name))).into(),
            volumes: BTreeMap::new(),
            files: BTreeMap::new(),
            free: DISK,
            total: DISK,
            ansible: Ansible::default(),
            commands: BTreeMap::new(),
            programs: BTreeMap::new(),
            answers: Vec::new(),
            faults: Vec::new(),
            planned: Vec::new(),
            acknowledged: BTreeMap::new(),
            stacks: BTreeMap::new(),
        }
    }
}

impl State {
    /// A number that nothing else is called by.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// An id as the engine gives them: 64 hexadecimal digits.
    pub fn id(&mut self) -> String {
        // Ids of the engine differ in their first digits.
        let number = self.number().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!("{number:016x}{:048x}", self.next)
    }

    pub fn containers(&self) -> impl Iterator<Item = &Container> + Clone {
        self.containers.values().map(Arc::as_ref)
    }

    pub fn containers_mut(&mut self) -> impl Iterator<Item = &mut Container> {
        self.containers.values_mut().map(Arc::make_mut)
    }

    /// The container of that id, beginning of an id, or name.
    pub fn container(&self, known: &str) -> Option<&Container> {
        self.shared_container(known).map(Arc::as_ref)
    }

    pub fn shared_container(&self, known: &str) -> Option<&Arc<Container>> {
        self.containers.get(known).or_else(|| {
            let name = known.trim_start_matches('/');
            let mut all = self.containers.values();
            all.clone().find(|c| c.name == name).or_else(|| all.find(|c| known.len() >= 12 && c.id.starts_with(known)))
        })
    }

    pub fn container_mut(&mut self, known: &str) -> Option<&mut Container> {
        let id = self.container(known)?.id.clone();
        self.containers.get_mut(&id).map(Arc::make_mut)
    }

    /// The image of that id, tag, or name without a tag.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        let latest = format!("{reference}:latest");
        self.images.iter().find(|image| {
            let tags = &image.shown.tags;
            image.shown.id == reference || tags.iter().any(|tag| tag == reference || *tag == latest)
        })
    }

    /// What is in a volume, or in the layer of that container.
    pub fn tree(&self, container: &str, place: &Place) -> Option<&Tree> {
        match &place.volume {
            Some(volume) => self.volumes.get(volume).map(|volume| &volume.tree),
            None => self.container(container).map(|container| &container.layer),
        }
    }

    pub fn tree_mut(&mut self, container: &str, place: &Place) -> Option<&mut Tree> {
        match &place.volume {
            Some(volume) => self.volumes.get_mut(volume).map(|volume| &mut volume.tree),
            None => self.container_mut(container).map(|container| &mut container.layer),
        }
    }

    /// The cluster that a container's server runs on.
    pub fn cluster(&self, container: &str) -> Option<&Cluster> {
        let place = self.container(container)?.server.as_ref()?;
        self.tree(container, place)?.clusters.get(&place.directory)
    }

    pub fn cluster_mut(&mut self, container: &str) -> Option<&mut Cluster> {
        let place = self.container(container)?.server.clone()?;
        self.tree_mut(container, &place)?.clusters.get_mut(&place.directory)
    }

    /// The clusters of all volumes.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.volumes.values().flat_map(|volume| volume.tree.clusters.values())
    }

    /// Where a path of a container is: in one of its volumes, or in its layer.
    pub fn place(&self, container: &Container, path: &str) -> Place {
        let inside = |mount: &Mount| {
            let rest = path.strip_prefix(mount.destination.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        // The longest destination is the one that is seen.
        let found = container.mounts.iter().filter_map(|mount| Some((mount, inside(mount)?)));
        match found.max_by_key(|(mount, _)| mount.destination.len()) {
            Some((mount, directory)) if mount.kind == "volume" => Place { volume: Some(mount.name.clone()), directory },
            _ => Place { volume: None, directory: path.trim_start_matches('/').to_owned() },
        }
    }

    /// Bytes of all that is stored in volumes and files.
    pub fn stored(&self) -> u64 {
        let volumes = self.volumes.values().map(|volume| volume.tree.bytes());
        volumes.chain(self.files.values().map(|file| file.content.size())).sum()
    }

    /// Fails where somebody wants this change to fail.
    pub fn meet_fault(&mut self, change: &str) -> crate::world::Result<()> {
        for fault in self.faults.iter_mut().filter(|fault| change.starts_with(&fault.change)) {
            match (fault.after, fault.times) {
                (1.., _) => fault.after -= 1,
                (0, times) => {
                    let error = crate::world::Error::failed(fault.code.clone(), fault.message.clone());
                    if times == 1 {
                        // It never matches again.
                        fault.change = "\0".into();
                    } else {
                        fault.times = times.saturating_sub(1);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes a row, as somebody is told that it is kept.
    pub fn write_row(&mut self, container: &str, database: &str, table: &str) -> bool {
        let (row, at) = (self.number(), self.now);
        let Some(cluster) = self.cluster_mut(container) else { return false };
        if !cluster.insert(database, table, row) {
            return false;
        }
        let cluster = cluster.system_identifier;
        let (database, table) = (database.to_owned(), table.to_owned());
        self.acknowledged.insert(row, Acknowledged { at, cluster, database, table });
        true
    }
}
