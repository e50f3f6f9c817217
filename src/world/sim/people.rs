//! What other people do to an engine, and what happens to its machine.

use std::path::Path;
use std::sync::Arc;

use super::State;
use super::cluster::Database;
use super::deeds::Deed;
use super::life::{KILLED, published};
use super::networks::PREDEFINED;
use super::state::{Container, Content, Tree};
use super::volumes::is_anonymous;

/// From this major on an engine's `volume prune` spares volumes that have a name.
const SPARES_NAMED: u32 = 23;
/// The machine is away so long, in milliseconds.
const OUTAGE: u64 = 60_000;

impl State {
    /// Does it; what is refused to whoever does it, does not happen.
    pub fn deed(&mut self, deed: &Deed) {
        match deed {
            Deed::PruneContainers => self.containers.retain(|_, c| !["created", "exited"].contains(&c.state.as_str())),
            Deed::PruneVolumes => self.prune_volumes(),
            Deed::PruneNetworks => self.prune_networks(),
            Deed::ComposeUp { project, version } => _ = self.compose_up(project, *version),
            Deed::StartContainer(name) => _ = self.start(name),
            Deed::StopContainer(name) => _ = self.stop(name),
            Deed::RemoveContainer(name) => _ = self.remove(name, true),
            Deed::Insert(name) => self.insert_row(name),
            Deed::InsertThroughPort(name) => {
                if self.container(name).is_some_and(|c| self.is_reached(c) && !published(c).is_empty()) {
                    self.insert_row(name);
                }
            }
            Deed::Kill(name) => self.kill(name),
            Deed::CrashLoop(name) => {
                self.mark(name, |container| container.crashes = true);
                self.kill(name);
            }
            Deed::Mend(name) => self.mark(name, |container| container.crashes = false),
            Deed::HalfStart(name) => {
                self.engine_ends();
                self.mark(name, |container| container.is_half_started = true);
                self.engine_begins();
            }
            Deed::DamageFile(path) => self.damage(path),
            Deed::RemoveFiles(path) => self.files.retain(|file, _| !file.starts_with(path)),
            Deed::RestartEngine => {
                self.engine_ends();
                self.engine_begins();
            }
            Deed::PowerCut => self.power_cut(),
        }
    }

    fn mark(&mut self, container: &str, mark: impl FnOnce(&mut Container)) {
        if let Some(container) = self.container_mut(container) {
            mark(container);
        }
    }

    fn damage(&mut self, path: &Path) {
        for (_, file) in self.files.iter_mut().filter(|(file, _)| file.starts_with(path)) {
            match &mut file.content {
                Content::Directory => {}
                Content::Bytes { bytes } => bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
                Content::Backup { is_whole, .. } | Content::Dump { is_whole, .. } => *is_whole = false,
            }
            file.synced = Some(file.content.clone());
        }
    }

    /// Into the first table that there is; where no server runs, nobody is told that it is kept.
    fn insert_row(&mut self, name: &str) {
        let server = self.container(name).filter(|c| self.runs_server(c)).map(|c| c.id.clone());
        let Some((server, cluster)) = server.and_then(|id| Some((id.clone(), self.cluster(&id)?))) else { return };
        let first = |(name, database): (&String, &Database)| {
            database.tables.keys().next().map(|table| (name.clone(), table.clone()))
        };
        let table = cluster.databases.iter().find_map(first).filter(|_| cluster.follows.is_none());
        if let Some((database, table)) = table {
            self.write_row(&server, &database, &table);
        }
    }

    fn prune_volumes(&mut self) {
        let major = self.engine.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let spares_named = major.is_some_and(|major| major >= SPARES_NAMED);
        let is_unused = |name: &&String| self.holders(name).next().is_none();
        let unused = self.volumes.keys().filter(is_unused).filter(|name| !spares_named || is_anonymous(name));
        for name in unused.cloned().collect::<Vec<_>>() {
            self.volumes.remove(&name);
        }
    }

    fn prune_networks(&mut self) {
        let is_unused = |name: &&String| !PREDEFINED.contains(&name.as_str()) && self.members(name).next().is_none();
        for name in self.networks.keys().filter(is_unused).cloned().collect::<Vec<_>>() {
            self.networks.remove(&name);
        }
    }

    /// Everything that runs is killed.
    fn engine_ends(&mut self) {
        let runs = |c: &&Container| c.is_up() || c.state == "restarting";
        for id in self.containers().filter(runs).map(|c| c.id.clone()).collect::<Vec<_>>() {
            self.die(&id, KILLED);
        }
    }

    /// By their policies containers start again; those whose namespaces others share come first.
    fn engine_begins(&mut self) {
        let wanted = self.containers().filter(|c| c.comes_back());
        let mut wanted: Vec<_> = wanted.map(|c| (c.network_mode.starts_with("container:"), c.id.clone())).collect();
        wanted.sort();
        for (_, id) in wanted {
            // What can't be started says so in its state.
            _ = self.begin(&id, "start container again");
        }
    }

    fn power_cut(&mut self) {
        self.engine_ends();
        let layers = self.containers.values_mut().map(|container| &mut Arc::make_mut(container).layer);
        layers.chain(self.volumes.values_mut().map(|volume| &mut volume.tree)).for_each(Tree::lose_unsynced);
        self.files.retain(|_, file| match &file.synced {
            Some(synced) => {
                file.content = synced.clone();
                true
            }
            None => false,
        });
        self.now += OUTAGE;
        self.engine_begins();
    }
}

impl Container {
    /// Whether an engine that comes up starts it.
    fn comes_back(&self) -> bool {
        let policy = self.restart_policy.split(':').next().unwrap_or_default();
        // What was never started is not started now, either.
        self.started_at > 0
            && match policy {
                "always" => true,
                "unless-stopped" => !self.was_stopped,
                "on-failure" => !self.was_stopped && self.exit_code != 0,
                _ => false,
            }
    }
}

impl Tree {
    /// What a power cut does to what nobody has synced.
    fn lose_unsynced(&mut self) {
        if self.is_unsynced || self.is_partial {
            self.clusters.values_mut().for_each(|cluster| cluster.is_damaged = true);
            self.files.clear();
            self.is_unsynced = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::reference;
    use super::super::state::File;
    use super::*;
    use crate::world::container::ContainerSpec;

    const SERVER: &str = "primero-postgres-1";
    const VOLUME: &str = "primero_database";

    fn state_of(state: &State, container: &str) -> String {
        state.show(container).map_or("gone".into(), |shown| shown.state)
    }

    #[test]
    fn a_prune_takes_containers_that_do_not_run_created_ones_too() {
        let mut state = reference(13);
        let image = Some("pgscript-test/app:1".to_owned());
        state.create(&ContainerSpec { name: Some("c".into()), image, ..ContainerSpec::default() }).unwrap();
        state.stop("primero-solr-1").unwrap();
        state.deed(&Deed::PruneContainers);
        assert_eq!(["c", "primero-solr-1", SERVER].map(|name| state_of(&state, name)), ["gone", "gone", "running"]);
    }

    #[test]
    fn a_prune_takes_volumes_that_nobody_mounts_and_from_23_on_spares_those_with_a_name() {
        for (version, is_spared) in [("20.10.24", false), ("23.0.1", true), ("28.2.2", true)] {
            let mut state = reference(13);
            state.engine.version = version.into();
            state.ensure_volume("named");
            state.ensure_volume(&"a".repeat(64));
            state.stop(SERVER).unwrap();
            state.deed(&Deed::PruneVolumes);
            assert!(state.volumes.contains_key(VOLUME), "a stopped container mounts it");
            assert_eq!(state.volumes.contains_key("named"), is_spared, "{version}");
            assert!(!state.volumes.contains_key(&"a".repeat(64)));
        }
    }

    #[test]
    fn a_prune_takes_networks_in_which_nobody_runs() {
        let mut state = reference(13);
        state.deed(&Deed::PruneNetworks);
        assert!(state.networks.contains_key("primero_default"));
        for name in state.containers().map(|c| c.name.clone()).collect::<Vec<_>>() {
            state.stop(&name).unwrap();
        }
        state.deed(&Deed::PruneNetworks);
        assert_eq!(state.networks.keys().collect::<Vec<_>>(), ["bridge", "host", "none"]);
        assert_eq!(state.start(SERVER).unwrap_err().code, "docker.network_gone");
    }

    #[test]
    fn an_engine_that_starts_again_minds_who_was_stopped_and_each_policy() {
        let mut state = reference(13);
        state.change(&state.container("primero-solr-1").unwrap().id.clone(), |c| c.restart_policy = "always".into());
        state.change(&state.container("primero-nginx-1").unwrap().id.clone(), |c| c.restart_policy = "no".into());
        state.stop("primero-worker-1").unwrap();
        state.stop("primero-solr-1").unwrap();
        state.deed(&Deed::RestartEngine);
        let now = ["postgres", "application", "worker", "solr", "nginx"];
        let now = now.map(|service| state_of(&state, &format!("primero-{service}-1")));
        assert_eq!(now, ["running", "running", "exited", "running", "exited"]);
        assert!(state.container(SERVER).unwrap().log.iter().any(|line| line.contains("not properly shut down")));
    }

    #[test]
    fn a_power_cut_takes_what_nobody_has_synced() {
        let mut state = reference(13);
        let file =
            |synced| File { content: Content::Bytes { bytes: b"new".to_vec() }, mode: 0o600, modified: 0, synced };
        let old = Content::Bytes { bytes: b"old".to_vec() };
        state.files.insert(PathBuf::from("/a"), file(Some(old.clone())));
        state.files.insert(PathBuf::from("/b"), file(None));
        let tree = state.volumes[VOLUME].tree.clone();
        state.ensure_volume("w");
        state.volumes.get_mut("w").unwrap().tree = Tree { is_unsynced: true, ..tree };
        state.deed(&Deed::PowerCut);
        assert_eq!(state.files[&PathBuf::from("/a")].content, old);
        assert!(!state.files.contains_key(&PathBuf::from("/b")));
        assert!(state.volumes["w"].tree.clusters[""].is_damaged);
        assert!(state.runs_server(state.container(SERVER).unwrap()));
        assert!(state.cluster(SERVER).unwrap().rows().all(|row| state.acknowledged.contains_key(&row)));
    }

    #[test]
    fn a_container_that_was_half_started_has_to_be_made_again() {
        let mut state = reference(13);
        state.deed(&Deed::HalfStart(SERVER.into()));
        assert_eq!(state_of(&state, SERVER), "exited");
        assert_eq!(state.start(SERVER).unwrap_err().code, "docker.half_started");
        state.remove(SERVER, false).unwrap();
        state.deed(&Deed::ComposeUp { project: "primero".into(), version: None });
        assert_eq!(state_of(&state, SERVER), "running");
    }

    #[test]
    fn a_crash_loop_ends_when_somebody_stops_it() {
        let mut state = reference(13);
        state.deed(&Deed::CrashLoop("primero-worker-1".into()));
        (0..10).for_each(|_| state.pass(1000));
        let worker = state.show("primero-worker-1").unwrap();
        assert!(worker.state == "restarting" && worker.restart_count > 2, "{worker:?}");
        assert_eq!(state.sessions(SERVER).len(), 1);
        state.deed(&Deed::Mend("primero-worker-1".into()));
        state.pass(100_000);
        assert_eq!(state_of(&state, "primero-worker-1"), "running");
        state.deed(&Deed::CrashLoop("primero-worker-1".into()));
        state.deed(&Deed::StopContainer("primero-worker-1".into()));
        state.pass(100_000);
        assert_eq!(state_of(&state, "primero-worker-1"), "exited");
    }

    #[test]
    fn a_row_comes_in_over_the_socket_and_through_a_port_that_leads_somewhere() {
        let mut state = reference(13);
        let rows = |state: &State| state.cluster(SERVER).map_or(0, |cluster| cluster.rows().count());
        let before = rows(&state);
        state.deed(&Deed::InsertThroughPort(SERVER.into()));
        assert_eq!(rows(&state), before, "it publishes no port");
        state.deed(&Deed::Insert(SERVER.into()));
        assert_eq!(rows(&state), before + 1);
        state.stacks.get_mut("primero").unwrap().services[0].ports.push("127.0.0.1:15432:5432".into());
        state.deed(&Deed::ComposeUp { project: "primero".into(), version: None });
        let before = rows(&state);
        state.deed(&Deed::InsertThroughPort(SERVER.into()));
        assert_eq!(rows(&state), before + 1);
        state.networks.get_mut("primero_default").unwrap().internal = true;
        state.deed(&Deed::InsertThroughPort(SERVER.into()));
        assert_eq!(rows(&state), before + 1, "an internal network publishes nothing");
        state.stop(SERVER).unwrap();
        state.deed(&Deed::Insert(SERVER.into()));
        assert_eq!(state.volumes[VOLUME].tree.clusters[""].rows().count(), before + 1);
    }

    #[test]
    fn deeds_survive_their_file() {
        let deeds =
            [Deed::PowerCut, Deed::Kill("x".into()), Deed::ComposeUp { project: "p".into(), version: Some(17) }];
        for deed in deeds {
            let text = serde_json::to_string(&deed).unwrap();
            assert_eq!(serde_json::from_str::<Deed>(&text).unwrap(), deed, "{text}");
        }
        assert_eq!(serde_json::from_str::<Deed>(r#"{"deed": "prune_volumes"}"#).unwrap(), Deed::PruneVolumes);
    }
}
