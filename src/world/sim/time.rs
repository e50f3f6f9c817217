//! What happens by itself as time goes on: the engine starts again what has ended, the application writes, standbys
//! take what their primaries write. Whether a health check succeeds is asked when somebody looks.

use super::State;
use super::state::Container;

/// Each session of the application writes a row in so many milliseconds.
const BETWEEN_ROWS: u64 = 500;
/// Of a health check that says nothing else, as the engine has it.
const INTERVAL: u64 = 30_000;
const RETRIES: u64 = 3;

impl State {
    /// Lets time pass, in milliseconds.
    pub fn pass(&mut self, milliseconds: u64) {
        let before = self.now;
        self.now += milliseconds;
        self.restart_due();
        self.write_rows(self.now / BETWEEN_ROWS - before / BETWEEN_ROWS);
        self.follow_primaries();
    }

    /// Starts again what waits for it.
    fn restart_due(&mut self) {
        let is_due = |c: &&Container| c.state == "restarting" && c.restart_at <= self.now;
        let due: Vec<_> = self.containers().filter(is_due).map(|c| c.id.clone()).collect();
        for id in due {
            // What can't be started says so in its state.
            _ = self.begin(&id, "start container again");
        }
    }

    /// `each`: rows of each session that writes.
    fn write_rows(&mut self, each: u64) {
        if each == 0 {
            return;
        }
        let mut writing = Vec::new();
        for server in self.containers().filter(|c| self.runs_server(c)) {
            for session in self.sessions(&server.id) {
                let tables = self.cluster(&server.id).and_then(|cluster| cluster.databases.get(&session.database));
                let first = tables.and_then(|database| database.tables.keys().next());
                writing.extend(first.map(|table| (server.id.clone(), session.database, table.clone())));
            }
        }
        for _ in 0..each {
            for (server, database, table) in &writing {
                self.write_row(server, database, table);
            }
        }
    }

    /// Standbys that reach their primaries take all that those have written.
    pub(super) fn follow_primaries(&mut self) {
        let standbys: Vec<_> = self.containers().filter_map(|c| self.primary_of(c)).collect();
        for (standby, primary, name) in standbys {
            let Some(written) = self.cluster(&primary).cloned() else { continue };
            if let Some(cluster) = self.cluster_mut(&standby) {
                cluster.replay(&written);
            }
            let slot = crate::world::cluster::slot_of(&name);
            if let Some(kept) = self.cluster_mut(&primary).and_then(|cluster| cluster.slots.get_mut(&slot)) {
                *kept = written.lsn;
            }
        }
    }

    /// Ids of a standby and of the primary that it reaches, and the standby's name.
    fn primary_of(&self, standby: &Container) -> Option<(String, String, String)> {
        let follows = self.cluster(&standby.id).filter(|_| self.runs_server(standby))?.follows?;
        let primary = self.container(standby.network_mode.strip_prefix("container:")?)?;
        let is_it = self.runs_server(primary) && self.cluster(&primary.id)?.system_identifier == follows;
        is_it.then(|| (standby.id.clone(), primary.id.clone(), standby.name.clone()))
    }

    /// `starting`, `healthy` or `unhealthy`; empty without a check, and while nothing runs.
    pub(super) fn health(&self, container: &Container) -> &'static str {
        let Some(check) = container.health_check.as_ref().filter(|_| container.state == "running") else { return "" };
        let words: Vec<_> = check["Test"].as_array().into_iter().flatten().filter_map(|word| word.as_str()).collect();
        if words.first().is_none_or(|word| *word == "NONE") {
            return "";
        }
        let own = |field: &str| check[field].as_u64().filter(|n| *n > 0);
        let milliseconds = |field: &str| own(field).map(|nanoseconds| nanoseconds / 1_000_000);
        let interval = milliseconds("Interval").unwrap_or(INTERVAL);
        let since = self.now.saturating_sub(container.started_at);
        let tries = interval * own("Retries").unwrap_or(RETRIES);
        match self.is_healthy(container, &words.join(" ")) {
            true if since >= interval => "healthy",
            false if since >= milliseconds("StartPeriod").unwrap_or_default() + tries => "unhealthy",
            _ => "starting",
        }
    }

    /// What a check of that text finds.
    fn is_healthy(&self, container: &Container, check: &str) -> bool {
        let words: Vec<_> = check.split_whitespace().collect();
        if !words.iter().any(|word| word.contains("pg_isready") || word.contains("psql")) {
            return !["false", "exit 1"].iter().any(|fails| check.ends_with(fails));
        }
        let host = words.iter().position(|word| *word == "-h").and_then(|at| words.get(at + 1).copied());
        self.runs_server(container) && host.is_none_or(|host| container.is_called(host))
    }
}

impl Container {
    /// Whether a name leads to it from inside of it, or from its networks.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let is_near = ["localhost", "127.0.0.1", "::1"].contains(&name) || name.starts_with('/');
        let has = |c: &Self| c.networks.iter().any(|place| place.ip == name || place.aliases.iter().any(|a| a == name));
        is_near || self.name == name || self.id[..12] == *name || has(self)
    }
}

/// A moment in milliseconds since 1970, as the engine writes it: RFC 3339, UTC.
pub fn rfc3339(milliseconds: u64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds.cast_signed()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;
    use crate::world::container::{ContainerSpec, EndpointOptions, Mount, NetworkSpec};

    const SERVER: &str = "primero-postgres-1";

    fn rows(state: &State) -> usize {
        state.volumes["primero_database"].tree.clusters[""].rows().count()
    }

    #[test]
    fn writers_write_twice_a_second_and_stop_when_they_are_fenced_off() {
        let mut state = reference(13);
        let before = rows(&state);
        (0..100).for_each(|_| state.pass(10));
        assert_eq!(rows(&state), before + 4);
        state.stop("primero-worker-1").unwrap();
        state.pass(1000);
        assert_eq!(rows(&state), before + 6);
        let aliases = state.show(SERVER).unwrap().networks[0].aliases.clone();
        state.make_network("fence", &NetworkSpec { internal: true, ..NetworkSpec::default() }).unwrap();
        state.disconnect("primero_default", SERVER).unwrap();
        state.connect("fence", SERVER, &aliases, &EndpointOptions::default()).unwrap();
        state.pass(10_000);
        assert_eq!((rows(&state), state.sessions(SERVER).len()), (before + 6, 0));
        state.disconnect("fence", SERVER).unwrap();
        // Without its name there nobody finds it.
        state.connect("primero_default", SERVER, &[], &EndpointOptions::default()).unwrap();
        state.pass(1000);
        assert_eq!(rows(&state), before + 6);
        state.disconnect("primero_default", SERVER).unwrap();
        state.connect("primero_default", SERVER, &aliases, &EndpointOptions::default()).unwrap();
        state.pass(1000);
        assert_eq!(rows(&state), before + 8);
    }

    /// A copy of the server's cluster that follows it, as `pg_basebackup` and a standby are.
    fn with_standby(state: &mut State) {
        let id = state.container(SERVER).unwrap().id.clone();
        let mut copy = state.cluster(SERVER).unwrap().clone();
        copy.follows = Some(copy.system_identifier);
        state.cluster_mut(SERVER).unwrap().slots.insert("copy".into(), 0);
        let mount = Mount {
            kind: "volume".into(),
            name: "copy".into(),
            source: String::new(),
            destination: "/pgscript-cluster".into(),
            read_only: false,
        };
        let script = "exec postgres \"$@\"";
        let spec = ContainerSpec {
            name: Some("copy".into()),
            image: Some("pgscript-test/postgres:13".into()),
            entrypoint: Some(["sh", "-c", script, "sh", "-D", "/pgscript-cluster/old"].map(str::to_owned).into()),
            mounts: vec![mount],
            network: Some(format!("container:{id}")),
            ..ContainerSpec::default()
        };
        state.create(&spec).unwrap();
        state.volumes.get_mut("copy").unwrap().tree.clusters.insert("old".into(), copy);
        state.start("copy").unwrap();
    }

    #[test]
    fn a_standby_takes_what_its_primary_writes_to_the_last_record_of_its_clean_stop() {
        let mut state = reference(13);
        with_standby(&mut state);
        assert_eq!(state.cluster("copy").unwrap().control.state, "in archive recovery");
        state.pass(5000);
        let (primary, standby) = (state.cluster(SERVER).unwrap(), state.cluster("copy").unwrap());
        assert_eq!((standby.lsn, standby.rows().count()), (primary.lsn, primary.rows().count()));
        assert_eq!(primary.slots["copy"], primary.lsn);
        state.stop(SERVER).unwrap();
        let (primary, standby) = (state.cluster(SERVER).unwrap(), state.cluster("copy").unwrap());
        assert_eq!((standby.lsn, standby.control.checkpoint), (primary.lsn, primary.control.checkpoint));
        state.stop("copy").unwrap();
        assert_eq!(state.cluster("copy").unwrap().control.state, "shut down in recovery");
    }

    #[test]
    fn a_server_that_is_killed_leaves_its_standby_where_it_was() {
        let mut state = reference(13);
        with_standby(&mut state);
        state.pass(5000);
        let before = state.cluster("copy").unwrap().lsn;
        state.write_row(SERVER, "primero_production", "public.cases");
        state.kill(SERVER);
        state.follow_primaries();
        assert_eq!(state.cluster("copy").unwrap().lsn, before);
    }

    #[test]
    fn a_check_makes_healthy_after_a_while_and_only_while_the_server_answers() {
        let mut state = reference(13);
        let health = |state: &State| state.show(SERVER).unwrap().health;
        state.stop(SERVER).unwrap();
        assert_eq!(health(&state), "");
        state.start(SERVER).unwrap();
        assert_eq!(health(&state), "starting");
        state.pass(5000);
        assert_eq!(health(&state), "healthy");
        state.container_mut(SERVER).unwrap().health_check.as_mut().unwrap()["Test"] =
            serde_json::json!(["CMD-SHELL", "pg_isready -h elsewhere"]);
        state.pass(15_000);
        assert_eq!(health(&state), "unhealthy");
    }
}
