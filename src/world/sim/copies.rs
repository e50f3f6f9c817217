//! Copies of simulated clusters that follow their servers, until those have stopped and the copies are clusters of
//! their own.

mod base_backup;

use std::collections::BTreeMap;
use std::io::Read;

use super::bulk::{wait, work};
use super::cluster::Cluster;
use super::state::{Container, Place, Tree};
use super::{Context, State, upgrade};
use crate::world::cluster::*;
use crate::world::container::{ContainerSpec, LABEL_HELPER, Mount};
use crate::world::control::{SHUT_DOWN, lsn};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;

/// Where a container of ours sees the volume with the copy.
pub const ROOT: &str = "/pgscript-cluster";
/// The copy of the old cluster in that volume.
pub const OLD: &str = "old";
/// How long a copy may take to take what is left when its server has stopped, and how often it is looked at, in
/// milliseconds.
const PATIENCE: u64 = 120_000;
const INTERVAL: u64 = 100;

/// The [`ClusterFiles`] of the simulated world.
pub struct Copies {
    pub(super) context: Context,
}

impl Copies {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    pub(super) fn act<T>(&self, verb: &str, what: &str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.context.cancel.check()?;
        self.context.sim.act(&format!("{verb} {what}"), act)
    }

    /// Removes the containers of a copy.
    fn end(&self, name: &str) -> Result<()> {
        for name in [name.to_owned(), tools_of(name)] {
            let is_ours = |state: &State| {
                let found = state.container(&name).filter(|c| c.labels.contains_key(LABEL_HELPER));
                Ok(found.is_some())
            };
            if self.context.sim.read(is_ours)? {
                self.act("remove", &name, |state| state.remove(&name, true))?;
            }
        }
        Ok(())
    }

    /// Has a server that runs keep no log any more for the copy of that name.
    fn drop_slot(&self, name: &str, server: &Server) -> Result<()> {
        let slot = slot_of(name);
        let is_kept = |state: &State| {
            let runs = state.container(&server.container).is_some_and(|container| state.runs_server(container));
            Ok(runs && state.cluster(&server.container).is_some_and(|cluster| cluster.slots.contains_key(&slot)))
        };
        if !self.context.sim.read(is_kept)? {
            return Ok(());
        }
        self.act("drop slot of", name, |state| {
            state.cluster_mut(&server.container).map(|cluster| cluster.slots.remove(&slot));
            Ok(())
        })
    }

    /// Starts the copy where it follows its server, in whose network it is, or, parted from it, in none.
    fn start(&self, copy: &ClusterCopy, is_parted: bool) -> Result<Server> {
        let id = self.act("start", &copy.name, |state| {
            let id = match state.container(&copy.name) {
                Some(container) => container.id.clone(),
                None => create(state, &self.context, copy, is_parted)?,
            };
            if state.container(&id).is_some_and(|container| container.state != "running") {
                // It begins as a standby each time, and those make unlogged tables empty.
                if let Some(cluster) = old_of(state, &copy.volume) {
                    cluster.follows = Some(cluster.system_identifier);
                    cluster.empty_unlogged();
                }
                state.start(&id)?;
                state.follow_primaries();
            }
            Ok(id)
        })?;
        self.context.sim.read(|state| {
            let found = state.container(&id).filter(|container| state.runs_server(container));
            found.map(|container| copy.server(&container.id, &container.name)).ok_or_else(|| {
                let log = state.container(&id).map(|container| container.log.join("\n")).unwrap_or_default();
                let message = format!("the copy of {} does not come up: \n{log}", copy.container_name);
                Error::failed("basebackup.failed", message)
            })
        })
    }

    /// Makes a cluster of its own of a standby.
    fn own(&self, copy: &ClusterCopy) -> Result<()> {
        self.act("promote", &copy.name, |state| {
            if let Some(cluster) = old_of(state, &copy.volume) {
                cluster.promote();
            }
            Ok(())
        })
    }
}

/// The copy's cluster in its volume.
fn old_of<'s>(state: &'s mut State, volume: &str) -> Option<&'s mut Cluster> {
    state.volumes.get_mut(volume)?.tree.clusters.get_mut(OLD)
}

/// The volume, writable, where our containers see it.
pub fn mounted(volume: &str) -> Mount {
    let (name, source, destination) = (volume.to_owned(), String::new(), ROOT.to_owned());
    Mount { kind: "volume".into(), name, source, destination, read_only: false }
}

fn create(state: &mut State, context: &Context, copy: &ClusterCopy, is_parted: bool) -> Result<String> {
    let runs = state.container(&copy.container).is_some_and(|server| server.state == "running");
    let network = if runs && !is_parted { format!("container:{}", copy.container) } else { "none".into() };
    let own = ["port=5432", "hot_standby=on", "archive_mode=off", "shared_buffers=128MB"].map(str::to_owned);
    let at_least = copy.cluster.at_least.iter().map(|(name, value)| format!("{name}={value}"));
    let settings = own.into_iter().chain(at_least).flat_map(|setting| ["-c".to_owned(), setting]);
    let spec = ContainerSpec {
        name: Some(copy.name.clone()),
        image: Some(copy.image_id.clone()),
        entrypoint: Some(["postgres", "-D", &format!("{ROOT}/{OLD}")].map(str::to_owned).to_vec()),
        command: Some(settings.collect()),
        labels: Some(BTreeMap::from([(LABEL_HELPER.to_owned(), COPY.to_owned())])),
        mounts: vec![mounted(&copy.volume)],
        log_driver: Some("json-file".into()),
        network: Some(network),
        user: Some(copy.owner.clone()),
        restart_policy: Some("no".into()),
        cpu_shares: copy.cpu_shares,
        ..ContainerSpec::default()
    };
    state.create_helper(context, spec)
}

impl Cluster {
    /// What a standby makes of tables that are not logged.
    fn empty_unlogged(&mut self) {
        let tables = self.databases.values_mut().flat_map(|database| database.tables.values_mut());
        tables.filter(|table| table.is_unlogged).for_each(|table| table.rows.clear());
    }

    fn has_unlogged(&self) -> bool {
        self.databases.values().flat_map(|database| database.tables.values()).any(|table| table.is_unlogged)
    }

    /// Takes the rows of unlogged tables from another one's files.
    fn take_unlogged(&mut self, other: &Self) {
        for (name, database) in &mut self.databases {
            for (table, held) in database.tables.iter_mut().filter(|(_, held)| held.is_unlogged) {
                let rows = other.databases.get(name).and_then(|database| database.tables.get(table));
                held.rows = rows.map(|table| table.rows.clone()).unwrap_or_default();
            }
        }
    }
}

/// A place in the log as the server writes it: `0/1000060`.
fn place_in_log(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

/// Where the files of a server that has stopped are.
fn place_of(stopped: &Stopped) -> Place {
    let directory = stopped.directory.strip_prefix(&stopped.mount).unwrap_or(&stopped.directory);
    Place { volume: Some(stopped.volume.clone()), directory: directory.trim_matches('/').to_owned() }
}

fn stopped_cluster<'s>(state: &'s State, stopped: &Stopped) -> Result<&'s Cluster> {
    let place = place_of(stopped);
    state.known_volume(&stopped.volume)?.tree.clusters.get(&place.directory).ok_or_else(|| {
        Error::failed("docker.failed", format!("cp: can't stat '{}/.': No such file or directory", stopped.directory))
    })
}

/// The container in which the copy runs.
fn running<'s>(state: &'s State, copy: &ClusterCopy) -> Result<&'s Container> {
    state.container(&copy.name).filter(|container| state.runs_server(container)).ok_or_else(|| {
        let message = format!("the copy of {} does not run: container {}", copy.container_name, copy.name);
        Error::failed("basebackup.failed", message).hint(format!("docker logs {}", copy.name))
    })
}

impl ClusterFiles for Copies {
    fn can_replicate(&self, server: &Server) -> Result<()> {
        match self.context.sim.read(|state| base_backup::why_not(state, server))? {
            None => Ok(()),
            Some(said) => {
                let message = format!("{} lets nobody replicate it: {said}", server.container_name);
                Err(Error::refused("basebackup.refused", message)
                    .hint("pg_hba.conf needs a line for `replication` from 127.0.0.1 (initdb writes one)"))
            }
        }
    }

    fn copy(&self, server: &Server, volume: &str, options: &CopyOptions) -> Result<ClusterCopy> {
        // What an earlier attempt has left would hold the log back, and the volume.
        self.discard(&options.name, Some(server))?;
        let copy = self.context.sim.read(|state| {
            let cluster = base_backup::facts(state, server)?;
            let (container, held) = state.serving(server)?;
            Ok(ClusterCopy {
                volume: volume.to_owned(),
                name: options.name.clone(),
                container: container.id.clone(),
                container_name: container.name.clone(),
                image_id: container.image_id.clone(),
                user: server.user.clone(),
                database: server.database.clone(),
                owner: held.owner.clone(),
                bytes: cluster.bytes,
                cpu_shares: options.cpu_shares,
                cluster,
            })
        })?;
        base_backup::take(&self.context, server, &copy)?;
        self.act("verify copy in", volume, |state| {
            let is_whole = old_of(state, volume).is_some_and(|cluster| !cluster.is_damaged);
            if !is_whole {
                let name = &copy.container_name;
                let message = format!("the copy of {name} in volume {volume} is not whole: checksum mismatch");
                return Err(
                    Error::failed("basebackup.damaged", message).hint(format!("look at {ROOT}: is its disk sound?"))
                );
            }
            state.volumes.get_mut(volume).into_iter().for_each(|volume| volume.tree.is_partial = false);
            Ok(())
        })?;
        Ok(copy)
    }

    fn follow(&self, copy: &ClusterCopy, _server: &Server) -> Result<Server> {
        self.start(copy, false)
    }

    fn follows(&self, copy: &ClusterCopy) -> Result<bool> {
        self.context.sim.read(|state| {
            let runs = running(state, copy).is_ok();
            Ok(runs && state.cluster(&copy.name).is_some_and(|cluster| cluster.follows.is_some()))
        })
    }

    fn copy_stopped(&self, copy: &ClusterCopy, stopped: &Stopped) -> Result<()> {
        self.end(&copy.name)?;
        let source = self.context.sim.read(|state| stopped_cluster(state, stopped).cloned())?;
        let (change, label) = (format!("copy stopped into {}", copy.volume), format!("copying {}", stopped.volume));
        work(&self.context, &change, &label, source.bytes(), |state, piece| {
            let bytes = source.bytes();
            state.need_room(piece.part(bytes), &format!("volume {}", copy.volume))?;
            state.known_volume(&copy.volume)?;
            let Some(volume) = state.volumes.get_mut(&copy.volume) else { return Ok(()) };
            let cluster = Cluster { owner: copy.owner.clone(), ..source.clone() };
            let clusters = BTreeMap::from([(OLD.to_owned(), cluster)]);
            let owner = volume.tree.owner.clone();
            volume.tree = Tree { clusters, owner, is_partial: !piece.is_last(), ..Tree::default() };
            Ok(())
        })
    }

    fn lag(&self, copy: &ClusterCopy, server: &Server) -> Result<u64> {
        self.context.sim.read(|state| {
            let written = state.serving(server)?.1.lsn;
            let standby = running(state, copy)?;
            let replayed = state.cluster(&standby.id).map_or(0, |cluster| cluster.lsn);
            Ok(written.saturating_sub(replayed))
        })
    }

    fn caught_up(&self, copy: &ClusterCopy, checkpoint: &str) -> Result<String> {
        let past = place_in_log(checkpoint).unwrap_or(u64::MAX);
        let mut waited = 0;
        loop {
            let place = self.context.sim.read(|state| {
                let standby = running(state, copy)?;
                Ok(state.cluster(&standby.id).map_or(0, |cluster| cluster.lsn))
            })?;
            if place > past {
                return Ok(lsn(place));
            }
            if waited >= PATIENCE {
                let message = format!(
                    "the copy of {} came to {}, and not past the last checkpoint of its server, {checkpoint}",
                    copy.container_name,
                    lsn(place)
                );
                return Err(Error::failed("basebackup.behind", message).hint(format!("docker logs {}", copy.name)));
            }
            wait(&self.context, INTERVAL)?;
            waited += INTERVAL;
        }
    }

    fn part(&self, copy: &ClusterCopy, server: &Server) -> Result<Server> {
        if self.context.sim.read(|state| Ok(state.container(&copy.name).is_some()))? {
            self.act("stop", &copy.name, |state| state.stop(&copy.name))?;
            self.act("remove", &copy.name, |state| state.remove(&copy.name, true))?;
        }
        self.drop_slot(&copy.name, server)?;
        let parted = self.start(copy, true)?;
        self.own(copy)?;
        Ok(parted)
    }

    fn promote(&self, copy: &ClusterCopy, stopped: Option<&Stopped>) -> Result<()> {
        let look = |state: &State| {
            let control = state.known_volume(&copy.volume)?.tree.clusters.get(OLD).map(Cluster::control_file);
            let is_running = state.container(&copy.name).map(|container| container.state == "running");
            Ok((is_running, control.map_or("not to be read", |control| control.state)))
        };
        let mut may_have_unlogged = true;
        let (is_running, state) = self.context.sim.read(look)?;
        if let Some(is_running) = is_running {
            if is_running || state != SHUT_DOWN {
                if !is_running {
                    self.start(copy, false)?;
                }
                self.own(copy)?;
                may_have_unlogged =
                    self.context.sim.read(|state| Ok(state.cluster(&copy.name).is_none_or(Cluster::has_unlogged)))?;
                self.act("stop", &copy.name, |state| state.stop(&copy.name))?;
            }
            self.act("remove", &copy.name, |state| state.remove(&copy.name, true))?;
        }
        let (_, state) = self.context.sim.read(look)?;
        if state != SHUT_DOWN {
            let message = format!("the copy of {} is \"{state}\", not shut down", copy.container_name);
            return Err(Error::failed("basebackup.not_stopped", message));
        }
        let Some(stopped) = stopped.filter(|_| may_have_unlogged) else { return Ok(()) };
        self.act("copy unlogged tables into", &copy.volume, |state| {
            let source = stopped_cluster(state, stopped)?.clone();
            old_of(state, &copy.volume).into_iter().for_each(|cluster| cluster.take_unlogged(&source));
            Ok(())
        })
    }

    fn discard(&self, name: &str, server: Option<&Server>) -> Result<()> {
        self.end(name)?;
        server.map_or(Ok(()), |server| self.drop_slot(name, server))
    }

    fn programs(&self, image: &str, volume: &str) -> Result<()> {
        upgrade::programs(self, image, volume)
    }

    fn initdb(&self, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()> {
        upgrade::initdb(self, copy, image, programs)
    }

    fn settings(&self, copy: &ClusterCopy, files: &mut (dyn Read + Send)) -> Result<()> {
        upgrade::settings(self, copy, files)
    }

    fn check_upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()> {
        upgrade::check(self, copy, options)
    }

    fn upgrade(&self, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Upgraded> {
        upgrade::run(self, copy, options)
    }

    fn made_anew(&self, server: &Server, files: &[String]) -> Result<Vec<String>> {
        upgrade::made_anew(self, server, files)
    }
}

#[cfg(test)]
mod tests;
