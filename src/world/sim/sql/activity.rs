//! Questions about who is connected, and who follows.

use serde_json::json;

use super::{Asked, Recogniser, rows};
use crate::world::error::Result;
use crate::world::postgres::Row;
use crate::world::sim::Session;
use crate::world::sim::artefact::time;
use crate::world::sim::state::State;

/// The more telling ones come first.
pub const TABLE: &[Recogniser] = &[
    (&["DISTINCT backend_type AS name FROM pg_stat_activity"], none),
    (&["xact_start <", "FROM pg_stat_activity"], none),
    (&["SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL"], from_the_network),
    (&["application_name", "FROM pg_stat_activity WHERE backend_type = 'client backend'"], clients),
    (&["pg_terminate_backend(pid)", "FROM pg_stat_activity"], none),
    (&["AS prepared", "AS subscriptions"], obstacles),
    (&["FROM pg_replication_slots"], slots),
    (&["FROM pg_stat_replication"], standbys),
    (&["FROM pg_prepared_xacts"], none),
];

/// What no simulated server ever has.
pub fn none(_: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(Vec::new())
}

fn from_the_network(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let count = asked.state.sessions(asked.container).iter().filter(|session| !session.client.is_empty()).count();
    Ok(rows([json!({ "count": count })]))
}

fn clients(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let session = |session: Session| {
        json!({
            "pid": session.pid, "role": session.role, "database": session.database,
            "application_name": session.application_name,
            "client": if session.client.is_empty() { "local socket".into() } else { session.client },
            "state": "idle", "since": time(session.since),
        })
    };
    Ok(rows(asked.state.sessions(asked.container).into_iter().map(session)))
}

fn obstacles(asked: &Asked<'_>) -> Result<Vec<Row>> {
    Ok(rows([json!({
        "prepared": 0, "slots": asked.cluster.slots.len(), "standbys": asked.state.standbys(asked.container),
        "standby": asked.cluster.follows.is_some(), "subscriptions": 0,
        "tablespaces": null, "closed": null, "invalid": null,
    })]))
}

fn slots(asked: &Asked<'_>) -> Result<Vec<Row>> {
    if asked.sql.contains("count(*)") {
        return Ok(rows([json!({ "n": asked.cluster.slots.len() })]));
    }
    Ok(rows(asked.cluster.slots.keys().map(|name| json!({ "slot_name": name }))))
}

fn standbys(asked: &Asked<'_>) -> Result<Vec<Row>> {
    let count = asked.state.standbys(asked.container);
    Ok(rows([json!({ "n": count })]))
}

impl State {
    /// How many servers follow the one of a container now.
    pub fn standbys(&self, container: &str) -> usize {
        let Some(primary) = self.container(container).filter(|found| found.state == "running") else { return 0 };
        let follows = |id: &String| {
            let number = self.cluster(container).map(|cluster| cluster.system_identifier);
            self.cluster(id).is_some_and(|cluster| cluster.follows.is_some() && cluster.follows == number)
        };
        let is_near =
            |mode: &str| mode.strip_prefix("container:").is_some_and(|of| of == primary.id || of == primary.name);
        self.containers().filter(|c| c.state == "running" && is_near(&c.network_mode) && follows(&c.id)).count()
    }
}
