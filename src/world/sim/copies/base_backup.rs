//! A copy taken of a running server: what it says of itself, and whether it lets itself be copied.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::OLD;
use crate::world::cluster::{ClusterCopy, ClusterFacts};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;
use crate::world::sim::bulk::work;
use crate::world::sim::cluster::Cluster;
use crate::world::sim::{Context, State};

/// Settings that a standby may not have lower.
const AT_LEAST: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];

/// What a running server says of its cluster.
pub fn facts(state: &State, server: &Server) -> Result<ClusterFacts> {
    let (container, cluster) = state.serving(server)?;
    let value = |name: &str| state.setting(&container.id, name).map(|(value, _)| value).unwrap_or_default();
    let mut template = BTreeMap::from([
        ("datname".to_owned(), json!("template0")),
        ("encoding".to_owned(), json!("UTF8")),
        ("datcollate".to_owned(), json!("en_US.utf8")),
        ("datctype".to_owned(), json!("en_US.utf8")),
    ]);
    if cluster.major >= 15 {
        template.insert("datlocprovider".to_owned(), Value::from("c"));
    }
    Ok(ClusterFacts {
        major: cluster.major,
        system_identifier: cluster.system_identifier.to_string(),
        data_directory: value("data_directory"),
        port: value("port").parse().unwrap_or(5432),
        bootstrap_user: cluster.bootstrap_user.clone(),
        data_checksums: cluster.checksums,
        wal_segment_size: value("wal_segment_size").parse().unwrap_or(16 << 20),
        at_least: AT_LEAST.map(|name| (name.to_owned(), value(name))).into(),
        template,
        bytes: cluster.bytes(),
    })
}

/// Why the server lets nobody replicate it; `None` where it does.
pub fn why_not(state: &State, server: &Server) -> Result<Option<String>> {
    let (container, cluster) = state.serving(server)?;
    let room = state.number_setting(&container.id, "max_wal_senders") - state.standbys(&container.id) as i64;
    let level = state.setting(&container.id, "wal_level").map(|(value, _)| value).unwrap_or_default();
    let user = &server.user;
    Ok(match (cluster.lets_replicate, level.as_str(), room) {
        (false, ..) => {
            let said = "no pg_hba.conf entry for replication connection from host \"127.0.0.1\"";
            Some(format!("FATAL: {said}, user \"{user}\""))
        }
        (_, "minimal", _) => Some("FATAL: WAL level not sufficient for making an online backup".into()),
        (.., ..1) => Some("FATAL: number of requested standby connections exceeds max_wal_senders".into()),
        _ => None,
    })
}

/// What is copied of a running server: a cluster that goes on as a standby of that one.
fn standby_of(primary: &Cluster) -> Cluster {
    let mut copy = primary.clone();
    copy.follows = Some(primary.system_identifier);
    copy.slots.clear();
    copy.empty_unlogged();
    copy
}

/// The cluster as it is when the last of it is copied: the log of meanwhile comes along.
pub fn take(context: &Context, server: &Server, copy: &ClusterCopy) -> Result<()> {
    let label = format!("copying the cluster of {}", copy.container_name);
    let failed = |said: &str| {
        let message = format!("pg_basebackup of {} ended with exit code 1: {said}", copy.container_name);
        Error::failed("basebackup.failed", message)
    };
    let mut has_slot = false;
    work(context, &format!("copy cluster into {}", copy.volume), &label, copy.bytes, |state, piece| {
        if let Some(said) = why_not(state, server)? {
            return Err(failed(&said));
        }
        state.need_room(piece.part(copy.bytes), &format!("volume {}", copy.volume))?;
        let slot = copy.slot();
        let primary = state.serving(server)?.1.clone();
        if !has_slot && primary.slots.contains_key(&slot) {
            return Err(failed(&format!("replication slot \"{slot}\" already exists")));
        }
        has_slot = true;
        if let Some(cluster) = state.cluster_mut(&server.container) {
            cluster.slots.entry(slot).or_insert(primary.lsn);
        }
        state.make_volume(&copy.volume, "local", &BTreeMap::new(), &BTreeMap::new())?;
        let Some(volume) = state.volumes.get_mut(&copy.volume) else { return Ok(()) };
        volume.tree.is_partial = true;
        volume.tree.clusters.insert(OLD.to_owned(), standby_of(&primary));
        Ok(())
    })
}
