//! What must hold in every world that a script is run in: looked at from outside, by what really is where.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::world::container::{
    Attachment, LABEL_HELPER, LABEL_ONE_OFF, LABEL_OWNER, LABEL_SERVICE, LOCK, OF_A_PROCESS,
};
use crate::world::sim::State;
use crate::world::sim::cluster::{Cluster, RowId};
use crate::world::sim::state::{Container, Content, Tree};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "broken", rename_all = "snake_case")]
pub enum Broken {
    /// Nowhere is everything that writers were told is kept.
    NoCompleteCopy,
    /// Rows that the server which runs in the end does not have.
    RowsLost { rows: usize },
    /// The stack is neither as the undisturbed run leaves it nor as it was.
    OtherEnd { differences: Vec<String> },
    /// The stack is in use again, but not all of it as it was kept up before.
    NotAsKeptUp { services: Vec<String> },
    /// Something of the program's own is left.
    LeftBehind { what: Vec<String> },
    /// Neither going on nor going back comes to its end.
    Stuck { code: String, message: String },
}

impl Broken {
    /// Whether it is that as well; of services the first one counts.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NotAsKeptUp { services: all }, Self::NotAsKeptUp { services }) => {
                services.first().is_some_and(|service| all.contains(service))
            }
            _ => self == other,
        }
    }
}

/// Rows that nobody may lose: those that were acknowledged, by all clusters or by one.
pub fn owed(world: &State, by: Option<u64>) -> BTreeSet<RowId> {
    let counts = |cluster: u64| by.is_none_or(|wanted| wanted == cluster);
    world.acknowledged.iter().filter(|(_, row)| counts(row.cluster)).map(|(id, _)| *id).collect()
}

/// Rows that the server has to have which is in use in the end: of a run that goes back, or has gone nowhere, the old
/// one, to which not everything was written.
pub fn owed_in_use(world: &State, original: u64) -> BTreeSet<RowId> {
    let is_old = running(world).any(|cluster| cluster.system_identifier == original);
    owed(world, Some(original).filter(|_| is_old))
}

/// Whether somewhere is everything that each cluster has acknowledged: in something that a power cut would leave. Two
/// clusters may have rows that the other one has not, when an old server is in use again.
pub fn is_complete(world: &State) -> bool {
    let clusters: BTreeSet<_> = world.acknowledged.values().map(|row| row.cluster).collect();
    clusters.iter().all(|cluster| copies(world, &owed(world, Some(*cluster))).next().is_some())
}

/// Where all of these rows are, in something that a power cut would leave.
pub fn complete_copies(world: &State, owed: &BTreeSet<RowId>) -> Vec<String> {
    copies(world, owed).collect()
}

fn copies(world: &State, owed: &BTreeSet<RowId>) -> impl Iterator<Item = String> {
    let has_rows = move |cluster: &Cluster| owed.iter().all(|row| cluster.has_row(*row));
    let has_all = move |tree: &Tree| {
        !tree.is_partial
            && !tree.is_unsynced
            && tree.clusters.values().any(|cluster| !cluster.is_damaged && has_rows(cluster))
    };
    let volumes =
        world.volumes.values().filter(move |volume| has_all(&volume.tree)).map(|v| format!("volume {}", v.name));
    let files = world.files.iter().filter(move |(_, file)| match &file.synced {
        Some(Content::Backup { tree, is_whole, .. }) => *is_whole && has_all(tree),
        Some(Content::Dump { cluster, is_whole, .. }) => *is_whole && has_rows(cluster),
        _ => false,
    });
    volumes.chain(files.map(|(path, _)| format!("file {}", path.display())))
}

/// The rows of all servers that run and are the stack's.
pub fn running_rows(world: &State) -> impl Iterator<Item = RowId> {
    running(world).flat_map(Cluster::rows)
}

/// The clusters of all servers that run and are the stack's.
fn running(world: &State) -> impl Iterator<Item = &Cluster> {
    let servers = world.containers().filter(|c| c.state == "running" && is_the_stacks(c));
    servers.filter_map(|c| world.cluster(&c.id))
}

/// Containers of a stack that ran before and do not run now, that nobody keeps up as before, or that had a session with
/// the stack's server and have none: by their service, which a deploy leaves, whatever becomes of the containers.
pub fn not_kept_up(before: &State, now: &State) -> Vec<String> {
    let (was_served, serves) = (served(before), served(now));
    let mut found = Vec::new();
    for was in before.containers().filter(is_kept_up) {
        let name = service(was);
        let Some(is) = now.containers().find(|c| is_kept_up(c) && service(c) == name) else {
            found.push(format!("{name} is not there"));
            continue;
        };
        if is.restart_policy != was.restart_policy {
            found.push(format!("{name} has restart policy {}, and had {}", is.restart_policy, was.restart_policy));
        }
        if was.state == "running" && is.state != "running" {
            found.push(format!("{name} is {}, and ran", is.state));
        } else if was_served.contains(&name) && !serves.contains(&name) {
            found.push(format!("{name} is not let in by the server, and was"));
        }
    }
    found
}

fn is_the_stacks(container: &&Container) -> bool {
    !container.labels.contains_key(LABEL_HELPER)
}

/// What `docker compose run` has left is named after a service, and not what keeps the service up.
fn is_kept_up(container: &&Container) -> bool {
    is_the_stacks(container) && container.labels.get(LABEL_ONE_OFF).is_none_or(|one_off| one_off != "True")
}

fn service(container: &Container) -> String {
    container.labels.get(LABEL_SERVICE).cloned().unwrap_or_else(|| container.name.clone())
}

/// Services that have sessions with a server of the stack.
pub fn served(world: &State) -> BTreeSet<String> {
    let servers = world.containers().filter(is_the_stacks);
    let sessions = servers.flat_map(|server| world.sessions(&server.id));
    sessions.filter_map(|session| world.container(&session.container)).map(service).collect()
}

/// What a stack looks like, without what is another each time (ids, times, numbers of clusters).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape(BTreeMap<String, String>);

impl Shape {
    /// `original` is the number of the cluster that the stack had.
    pub fn of(world: &State, original: u64) -> Self {
        let mut found = BTreeMap::new();
        for container in world.containers().filter(|c| !c.labels.contains_key(LABEL_HELPER)) {
            let place = |place: &Attachment| {
                let fixed = Some(&place.endpoint.ipv4_address).filter(|address| !address.is_empty());
                let fixed = fixed.map(|address| format!(" at {address}")).unwrap_or_default();
                format!("{} {:?}{fixed}", place.network, place.aliases)
            };
            let networks: Vec<_> = container.networks.iter().map(place).collect();
            let mounts: Vec<_> = container.mounts.iter().map(|m| format!("{} at {}", m.name, m.destination)).collect();
            let what = format!(
                "{} of {}, restart {}, in {}, with {}",
                container.state,
                container.image,
                container.restart_policy,
                networks.join(", "),
                mounts.join(", ")
            );
            found.insert(format!("container {}", container.name), what);
        }
        for volume in world.volumes.values() {
            let clusters = volume.tree.clusters.values().map(|cluster| {
                let which = if cluster.system_identifier == original { "the old" } else { "a new" };
                format!("{which} cluster of version {}", cluster.major)
            });
            let holds: Vec<_> = clusters.collect();
            found.insert(format!("volume {}", volume.name), holds.join(", "));
        }
        found.extend(world.networks.keys().map(|name| (format!("network {name}"), String::new())));
        Self(found)
    }

    /// What is otherwise here than there, each in words.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        let differs = |name: &&String| self.0.get(*name) != expected.0.get(*name);
        let say = |name: &String| match (self.0.get(name), expected.0.get(name)) {
            (Some(is), Some(was)) => format!("{name} is {is}; it should be {was}"),
            (Some(is), None) => format!("{name} is there ({is}), and should not be"),
            (None, _) => format!("{name} is missing"),
        };
        names.into_iter().filter(differs).map(say).collect()
    }
}

/// What of the program's own is still there and is of no use any more when a run has come to its end. `kept`: names of
/// what an undisturbed run leaves.
pub fn left_behind(world: &State, kept: &BTreeSet<String>) -> Vec<String> {
    own(world).into_iter().filter(|what| !kept.contains(what)).collect()
}

/// Whatever has left it: the next process that speaks to the engine takes it away, because it says whose it was.
fn goes_by_itself(container: &Container) -> bool {
    let purpose = container.labels.get(LABEL_HELPER).map(String::as_str).unwrap_or_default();
    container.labels.contains_key(LABEL_OWNER) && (OF_A_PROCESS.contains(&purpose) || purpose == LOCK)
}

/// Everything that the program has made for itself, and that does not go by itself.
pub fn own(world: &State) -> BTreeSet<String> {
    let containers = world.containers().filter(|c| c.labels.contains_key(LABEL_HELPER) && !goes_by_itself(c));
    let networks = world.networks.values().filter(|n| n.labels.contains_key(LABEL_HELPER));
    let volumes = world.volumes.values().filter(|v| v.labels.contains_key(LABEL_HELPER));
    let slots = world.volumes.values().flat_map(|v| v.tree.clusters.values()).flat_map(|c| c.slots.keys());
    let containers = containers.map(|c| format!("container {}", c.name));
    let networks = networks.map(|n| format!("network {}", n.name));
    let volumes = volumes.map(|v| format!("volume {}", v.name));
    containers.chain(networks).chain(volumes).chain(slots.map(|slot| format!("slot {slot}"))).collect()
}
