//! What there is now, as a simulated world in which a script can be run to see what it would do. Only looked at: lists,
//! inspections, the ends of logs, and questions to servers in transactions that only read.
//!
//! [`engine`] turns the engine's answers into the simulation's types, [`cluster`] asks a server what its cluster is
//! like, [`stack`] tells what a deploy would bring. [`beside`] is what is looked up in the real world only when the
//! script asks for it: files of the machine, the inventory, SQL of a site's own. [`kept`] makes of both a world that
//! stands alone.

pub mod beside;
mod cluster;
mod engine;
pub mod kept;
mod stack;

use std::collections::BTreeSet;

use super::World;
use super::container::{Container, ContainerFilter, LABEL_HELPER};
use super::error::Result;
use super::sim::State;
use super::sim::state::Acknowledged;

/// A world that was captured.
#[derive(Clone, Debug)]
pub struct Captured {
    pub state: State,
    /// The servers whose clusters were looked at.
    pub servers: Vec<Seen>,
    /// What could not be known, and what is taken for it: a sentence each.
    pub assumed: BTreeSet<String>,
}

/// A server whose cluster was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Id and name of its container, and the role that it was asked as.
    pub container: String,
    pub name: String,
    pub user: String,
    /// Database to connect to where none is named.
    pub database: String,
    pub system_identifier: u64,
    pub major: u32,
}

/// Captures the engine's containers that have to do with what is called by one of `names`: a container, a Compose
/// project or a service. Where nothing is called so, it is about all of them.
///
/// Errors: those of the engine, and of the servers.
pub fn capture(world: &World, names: &BTreeSet<String>) -> Result<Captured> {
    let engine = &world.containers;
    let all = engine.containers(&ContainerFilter::default())?;
    let meant = meant(&all, names);
    let concerned = concerned(&all, &meant);
    // What the script makes is numbered from here on: apart from all that is there.
    let now = engine::now();
    let mut state = State { engine: engine.info()?, now, next: now, ..State::default() };
    engine::networks(&mut state, engine.networks(None)?);
    engine::volumes(&mut state, engine.volumes(None)?);
    let mut captured = Captured { state, servers: Vec::new(), assumed: BTreeSet::new() };
    let mut looks = Vec::new();
    for container in concerned.iter().filter(|container| meant.contains(&container.id) && container.is_running()) {
        if engine::major(world, &container.image_id)?.is_some() {
            looks.push((container.id.clone(), cluster::look(world, container, names)?));
        }
    }
    engine::images(world, &mut captured.state, &concerned, &looks, names)?;
    for container in &concerned {
        let log = match engine.logs(&container.id, engine::LOG_LINES) {
            // Somebody else's, which is gone by now.
            Err(error) if error.code == "docker.not_found" && !meant.contains(&container.id) => continue,
            log => log?,
        };
        let container = engine::container(container, &log);
        captured.state.containers.insert(container.id.clone(), container.into());
    }
    for (id, look) in &looks {
        captured.put(id, look);
    }
    stack::define(&mut captured, &concerned, names);
    captured.assume();
    let space = world.host.space(captured.state.engine.root_dir.as_ref())?;
    (captured.state.free, captured.state.total) = (space.free, space.total);
    Ok(captured)
}

/// Ids of the containers that are called by one of these names, or are of a project or service that is; of all where
/// none is.
fn meant(all: &[Container], names: &BTreeSet<String>) -> BTreeSet<String> {
    let ids = |of: &dyn Fn(&&Container) -> bool| all.iter().filter(of).map(|c| c.id.clone()).collect::<BTreeSet<_>>();
    let by_project = ids(&|c| names.contains(&c.project) || names.contains(&c.name));
    match by_project.is_empty() {
        true => ids(&|_| true),
        false => by_project,
    }
}

/// Those, and whoever has a network or a volume with one of them, and our own, which tell of other runs.
fn concerned(all: &[Container], meant: &BTreeSet<String>) -> Vec<Container> {
    let networks = |c: &Container| {
        let own = c.networks.iter().map(|place| place.network.clone());
        own.filter(|name| !["bridge", "host", "none"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    let volumes = |c: &Container| {
        c.mounts.iter().map(|mount| mount.name.clone()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    let things = |c: &Container| [networks(c), volumes(c)].concat();
    let shared: BTreeSet<_> = all.iter().filter(|c| meant.contains(&c.id)).flat_map(&things).collect();
    let is_concerned = |c: &&Container| {
        meant.contains(&c.id)
            || c.labels.contains_key(LABEL_HELPER)
            || things(c).iter().any(|thing| shared.contains(thing))
    };
    all.iter().filter(is_concerned).cloned().collect()
}

impl Captured {
    /// Puts a cluster where its server has it. Of each table that there is one row stands for all: whoever holds it
    /// holds the table.
    fn put(&mut self, id: &str, look: &cluster::Look) {
        let state = &mut self.state;
        let Some(container) = state.containers.get(id).cloned() else { return };
        let place = state.place(&container, &look.directory);
        let mut cluster = look.cluster.clone();
        let number = cluster.system_identifier;
        for (database, held) in &mut cluster.databases {
            for (table, rows) in &mut held.tables {
                let row = state.number();
                rows.rows.insert(row);
                let (database, table) = (database.clone(), table.clone());
                let row_of = Acknowledged { at: state.now, cluster: number, database, table };
                state.acknowledged.insert(row, row_of);
            }
        }
        self.servers.push(Seen {
            container: id.to_owned(),
            name: container.name.clone(),
            user: look.user.clone(),
            database: look.database.clone(),
            system_identifier: number,
            major: cluster.major,
        });
        if let Some(tree) = state.tree_mut(id, &place) {
            tree.owner.clone_from(&cluster.owner);
            for name in &look.files {
                let path = format!("{}/{name}", place.directory);
                let path = path.trim_start_matches('/');
                if !["pg_hba.conf", "pg_ident.conf"].contains(&name.as_str()) {
                    tree.files.insert(path.to_owned(), Vec::new());
                }
            }
            tree.clusters.insert(place.directory.clone(), cluster);
        }
        if let Some(container) = state.container_mut(id) {
            container.server = Some(place);
        }
    }

    fn assume(&mut self) {
        let assumed = [
            "images of PostgreSQL have the extensions and the order of text that the running server has",
            "the new version takes every object of the schema, and every setting that it knows",
            "whoever is connected now connects again, with the password that it has now",
        ];
        self.assumed.extend(assumed.map(str::to_owned));
    }
}
