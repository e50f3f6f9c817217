//! A small world for unit tests: one server of version 15 with two databases, images of 15 and 17, and a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Map, json};

use super::cluster::{Cluster, Database, Password, Role, Table};
use super::state::{Container, Content, File, Image, ImageKind, Place, State, Tree, Volume};
use super::{Context, Sim, Watch};
use crate::event::Silent;
use crate::world::container::{Attachment, EndpointOptions, Image as Shown, Mount};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;
use crate::world::{Cancel, Owner, Redactor};

/// Id of the container in which the server runs.
pub const SERVER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// The volume that it keeps its cluster in, and that of the new server.
pub const VOLUME: &str = "primero_database";
/// Id of the container of a server of version 17 on an empty cluster.
pub const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";
pub const NEW_VOLUME: &str = "primero_database_new";
pub const DATABASE: &str = "primero_production";
pub const TABLE: &str = "public.cases";

pub fn context(state: State) -> Context {
    Context {
        sim: Sim::in_memory(state),
        cancel: Cancel::default(),
        listener: Arc::new(Silent),
        redactor: Redactor::default(),
        owner: Owner::default(),
    }
}

/// Kills the program at the change of that number, before it or after it.
pub struct KillAt {
    pub sim: Sim,
    pub left: Mutex<u64>,
    pub is_after: bool,
}

impl KillAt {
    pub fn install(sim: &Sim, change: u64, is_after: bool) {
        sim.watched(Some(Arc::new(Self { sim: sim.clone(), left: Mutex::new(change), is_after })));
    }

    fn meet(&self, is_after: bool) -> Result<()> {
        let mut left = self.left.lock().unwrap();
        if is_after != self.is_after {
            return Ok(());
        }
        if *left == 0 {
            self.sim.kill();
            return Err(Error::failed("sim.killed", "the program was killed here"));
        }
        *left -= 1;
        Ok(())
    }
}

impl Watch for KillAt {
    fn before(&self, _change: &str, _state: &mut State) -> Result<()> {
        self.meet(false)
    }

    fn after(&self, _change: &str, _state: &mut State) -> Result<()> {
        self.meet(true)
    }
}

/// The same world as the next process finds it.
pub fn after_kill(context: &Context) -> Context {
    let state = context.sim.arrange(|state| state.clone()).unwrap();
    self::context(state)
}

/// What something makes of the world when it is killed at each of its changes in turn; `act` gets each world.
pub fn killed_at_each(
    state: &State,
    act: impl Fn(&Context) -> Result<()>,
    mut check: impl FnMut(u64, &Context),
) -> u64 {
    for change in 0.. {
        for is_after in [false, true] {
            let context = context(state.clone());
            KillAt::install(&context.sim, change, is_after);
            if act(&context).is_ok() {
                return change;
            }
            assert!(context.sim.is_killed(), "it failed by itself at {change}: {:?}", act(&context));
            check(change, &after_kill(&context));
        }
    }
    0
}

pub fn server(container: &str) -> Server {
    Server {
        container: container.into(),
        container_name: if container == NEW { "primero-new" } else { "primero-postgres-1" }.into(),
        user: "primero".into(),
        password: None,
        database: DATABASE.into(),
        is_database_chosen: false,
    }
}

fn image(major: u32, collations: &str) -> Image {
    let shown = Shown {
        id: format!("sha256:{major:0>64}"),
        tags: vec![format!("postgres:{major}")],
        digests: Vec::new(),
        env: vec![format!("PG_MAJOR={major}")],
        volumes: vec!["/var/lib/postgresql/data".into()],
        size: 200 << 20,
        entrypoint: vec!["docker-entrypoint.sh".into()],
        command: vec!["postgres".into()],
    };
    let kind = ImageKind::Postgres {
        major,
        version: format!("{major}.4"),
        extensions: BTreeSet::from(["pg_trgm".into(), "ltree".into()]),
        collations: collations.into(),
    };
    Image { shown, owner: "999:999".into(), kind }
}

pub fn volume(name: &str, tree: Tree) -> Volume {
    let (labels, options) = (BTreeMap::new(), BTreeMap::new());
    Volume { name: name.into(), driver: "local".into(), labels, options, created_at: 0, tree }
}

fn container(id: &str, name: &str, major: u32, volume: &str) -> Container {
    let mount = Mount {
        kind: "volume".into(),
        name: volume.into(),
        source: format!("/var/lib/docker/volumes/{volume}/_data"),
        destination: "/var/lib/postgresql/data".into(),
        read_only: false,
    };
    let attachment = Attachment {
        network: "bridge".into(),
        network_id: String::new(),
        ip: "172.17.0.2".into(),
        aliases: Vec::new(),
        endpoint: EndpointOptions::default(),
    };
    Container {
        id: id.into(),
        name: name.into(),
        image: format!("postgres:{major}"),
        image_id: format!("sha256:{major:0>64}"),
        config: Map::new(),
        host_config: Map::new(),
        entrypoint: vec!["docker-entrypoint.sh".into()],
        command: vec!["postgres".into()],
        env: vec!["POSTGRES_USER=primero".into(), "PGDATA=/var/lib/postgresql/data".into()],
        labels: BTreeMap::new(),
        user: String::new(),
        health_check: None,
        mounts: vec![mount],
        networks: vec![attachment],
        network_mode: "bridge".into(),
        restart_policy: "no".into(),
        state: "running".into(),
        created_at: 0,
        started_at: 1,
        exit_code: 0,
        restart_count: 0,
        restart_at: 0,
        crashes: false,
        was_stopped: false,
        is_half_started: false,
        log: Vec::new(),
        execs: Vec::new(),
        layer: Tree::default(),
        server: Some(Place { volume: Some(volume.into()), directory: String::new() }),
    }
}

pub fn root(cluster: Cluster) -> Tree {
    Tree { clusters: BTreeMap::from([(String::new(), cluster)]), owner: "999:999".into(), ..Tree::default() }
}

fn directory() -> File {
    File { content: Content::Directory, mode: 0o700, modified: 0, synced: Some(Content::Directory) }
}

/// The old cluster, with rows 1 to 5; one table is unlogged.
pub fn old_cluster() -> Cluster {
    let mut cluster = Cluster::new(7_001, 15, "primero");
    cluster.auth = super::cluster::Auth::Md5;
    let password = Some(Password::Md5("secret".into()));
    cluster.roles.insert("primero".into(), Role { is_superuser: true, can_login: true, password });
    cluster.roles.insert("reader".into(), Role { can_login: true, ..Role::default() });
    let mut database = Database { large_objects: 2, ..Database::default() };
    database.tables.insert(TABLE.into(), Table::default());
    database.tables.insert("public.\"Odd One\"".into(), Table::default());
    database.tables.insert("public.cache".into(), Table { is_unlogged: true, ..Table::default() });
    database.sequences.insert("public.cases_id_seq".into(), 4);
    database.extensions.insert("pg_trgm".into(), "1.6".into());
    cluster.databases.insert(DATABASE.into(), database);
    for row in 1..=3 {
        cluster.insert(DATABASE, TABLE, row);
    }
    cluster.insert(DATABASE, "public.\"Odd One\"", 4);
    cluster.insert(DATABASE, "public.cache", 5);
    cluster
}

/// The old server runs, and so does one of the new version, on an empty cluster.
pub fn state() -> State {
    let mut state = State { next: 100, ..State::default() };
    state.images = vec![image(15, "2.36"), image(17, "2.41")];
    let mut old = old_cluster();
    old.open();
    let mut new = Cluster::new(7_002, 17, "primero");
    new.open();
    state.volumes.insert(VOLUME.into(), volume(VOLUME, root(old)));
    state.volumes.insert(NEW_VOLUME.into(), volume(NEW_VOLUME, root(new)));
    state.containers.insert(SERVER.into(), container(SERVER, "primero-postgres-1", 15, VOLUME).into());
    state.containers.insert(NEW.into(), container(NEW, "primero-new", 17, NEW_VOLUME).into());
    state.files.insert(PathBuf::from("/"), directory());
    state.files.insert(PathBuf::from("/base"), directory());
    state
}

/// The old server has stopped cleanly.
pub fn stopped(mut state: State) -> State {
    state.cluster_mut(SERVER).unwrap().close();
    state.container_mut(SERVER).unwrap().state = "exited".into();
    state
}

/// A change that fails once, after so many that succeed.
pub fn fault(state: &mut State, change: &str, after: u64) {
    let (code, message) = ("docker.failed".into(), "no".into());
    state.faults.push(super::state::Fault { change: change.into(), after, times: 1, code, message });
}

/// A row of SQL's answer.
pub fn row(pairs: &[(&str, serde_json::Value)]) -> Map<String, serde_json::Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn the_small_world_is_whole() {
    let state = state();
    assert_eq!(state.cluster(SERVER).unwrap().rows().count(), 5);
    assert_eq!(state.cluster(NEW).unwrap().rows().count(), 0);
    assert_eq!(row(&[("a", json!(1))])["a"], 1);
}
