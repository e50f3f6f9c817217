//! A simulated copy brought to a new version, as the new image's `pg_upgrade` does it.

use std::collections::BTreeMap;
use std::io::Read;

use super::Copies;
use super::State;
use super::bulk::work;
use super::cluster::{Auth, Cluster, Database, Table};
use super::copies::{OLD, mounted};
use super::dump::image_major;
use super::server::FIRST_IDENTIFIER;
use super::sql::image_has_extension;
use crate::event::Event;
use crate::world::cluster::*;
use crate::world::container::{ContainerSpec, LABEL_HELPER, Mount};
use crate::world::error::{Error, Result};
use crate::world::postgres::Server;

/// The new cluster beside the copy, and files that wait for it, in the copy's volume.
const NEW_CLUSTER: &str = "new";
const SETTINGS: &str = "settings/";
/// Where the old version's programs are seen, and what says that they are whole, and of which major.
const PROGRAMS: &str = "/old";
const COMPLETE: &str = "pgscript/complete";
/// Bytes of an image's programs, and what an upgrade writes whatever the size of the data.
const OF_PROGRAMS: u64 = 125 << 20;
const OF_CATALOGS: u64 = 100 << 20;
/// The first number of a relation of the site's.
const FIRST_RELATION: usize = 16_384;

pub fn programs(copies: &Copies, image: &str, volume: &str) -> Result<()> {
    let is_there = copies.context.sim.read(|state| {
        let major = image_major(state, image).map_err(|error| match error.code.as_str() {
            "postgres.no_client" => {
                let message = format!("the programs of image {image} can't be run from a copy of its files");
                Error::failed("pg_upgrade.no_programs", message).hint("the strategy `dump` needs no such programs")
            }
            _ => error,
        })?;
        Ok((state.volumes.get(volume).is_some_and(|v| v.tree.files.contains_key(COMPLETE)), major))
    })?;
    let (is_complete, major) = is_there;
    if is_complete {
        return Ok(());
    }
    work(&copies.context, &format!("copy programs into {volume}"), "programs", OF_PROGRAMS, |state, piece| {
        state.need_room(piece.part(OF_PROGRAMS), &format!("volume {volume}"))?;
        state.make_volume(volume, "local", &BTreeMap::new(), &BTreeMap::new())?;
        let Some(volume) = state.volumes.get_mut(volume) else { return Ok(()) };
        volume.tree.files.insert("usr".into(), Vec::new());
        if piece.is_last() {
            volume.tree.files.insert(COMPLETE.into(), major.to_string().into_bytes());
        }
        Ok(())
    })
}

/// The container with the programs of both versions, which sees the copy's volume.
fn tools(copies: &Copies, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()> {
    let name = copy.tools();
    let runs = |state: &State| Ok(state.container(&name).is_some_and(|container| container.state == "running"));
    if copies.context.sim.read(runs)? {
        return Ok(());
    }
    copies.act("start", &name, |state| {
        if state.container(&name).is_none() {
            let (kind, destination) = ("volume".into(), PROGRAMS.to_owned());
            let source = String::new();
            let old = Mount { kind, name: programs.to_owned(), source, destination, read_only: true };
            let spec = ContainerSpec {
                name: Some(name.clone()),
                image: Some(image.to_owned()),
                entrypoint: Some(["sleep", "infinity"].map(str::to_owned).to_vec()),
                labels: Some(BTreeMap::from([(LABEL_HELPER.to_owned(), COPY.to_owned())])),
                mounts: vec![mounted(&copy.volume), old],
                network: Some("none".into()),
                user: Some(copy.owner.clone()),
                cpu_shares: copy.cpu_shares,
                ..ContainerSpec::default()
            };
            state.create_helper(&copies.context, spec)?;
        }
        state.start(&name)
    })
}

pub fn initdb(copies: &Copies, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()> {
    let major = copies.context.sim.read(|state| image_major(state, image))?;
    tools(copies, copy, image, programs)?;
    copies.act("initdb in", &copy.volume, |state| {
        let number = FIRST_IDENTIFIER + state.number();
        let cluster = Cluster {
            auth: Auth::Trust,
            checksums: copy.cluster.data_checksums,
            owner: copy.owner.clone(),
            ..Cluster::new(number, major, &copy.cluster.bootstrap_user)
        };
        state.known_volume(&copy.volume)?;
        let volume = state.volumes.get_mut(&copy.volume);
        volume.map(|volume| volume.tree.clusters.insert(NEW_CLUSTER.into(), cluster));
        Ok(())
    })
}

pub fn settings(copies: &Copies, copy: &ClusterCopy, files: &mut (dyn Read + Send)) -> Result<()> {
    let name = copy.tools();
    if copies.context.sim.read(|state| Ok(state.container(&name).is_none()))? {
        return Err(Error::failed("docker.not_found", format!("there is no container {name}: call initdb first")));
    }
    let broken = |e: std::io::Error| Error::failed("docker.failed", format!("the files can't be read: {e}"));
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(files);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|_| entry.header().entry_type().is_file()) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            found.insert(format!("{SETTINGS}{name}"), bytes);
        }
    }
    copies.act("lay settings into", &copy.volume, |state| {
        state.known_volume(&copy.volume)?;
        let Some(volume) = state.volumes.get_mut(&copy.volume) else { return Ok(()) };
        volume.tree.files.retain(|path, _| !path.starts_with(SETTINGS));
        volume.tree.files.extend(found);
        Ok(())
    })
}

/// The two clusters; an error where one is not there.
fn both<'s>(state: &'s State, copy: &ClusterCopy) -> Result<(&'s Cluster, &'s Cluster), String> {
    let volume = state.volumes.get(&copy.volume).ok_or_else(|| format!("there is no volume {}", copy.volume))?;
    let cluster = |directory: &str, which: &str| {
        let found = volume.tree.clusters.get(directory).filter(|cluster| !cluster.is_damaged);
        found.ok_or_else(|| format!("could not open the {which} cluster's version file \"{directory}/PG_VERSION\""))
    };
    Ok((cluster(OLD, "old")?, cluster(NEW_CLUSTER, "new")?))
}

/// What is in the way of an upgrade; `None` where nothing is.
fn obstacle(state: &State, copy: &ClusterCopy, options: &UpgradeOptions) -> Option<String> {
    let (old, new) = match both(state, copy) {
        Ok(both) => both,
        Err(said) => return Some(said),
    };
    let programs = state.volumes.get(&options.programs).and_then(|volume| volume.tree.files.get(COMPLETE));
    let major = programs.and_then(|bytes| String::from_utf8_lossy(bytes).parse::<u32>().ok());
    if major != Some(old.major) {
        return Some("check for \"/old/pgscript/bin/postgres\" failed: No such file or directory".into());
    }
    if image_major(state, &options.image) != Ok(new.major) {
        return Some("New cluster data and binary directories are from different major versions.".into());
    }
    if old.major > new.major {
        return Some("This version can't downgrade to an older major version.".into());
    }
    if old.checksums != new.checksums {
        return Some("old cluster does not use data checksums but the new one does, or the other way round".into());
    }
    if options.transfer == Transfer::Swap && new.major < 18 {
        return Some("unrecognized option '--swap'".into());
    }
    let made = old.databases.values().flat_map(|database| database.extensions.keys());
    let mut lost = made.filter(|extension| !image_has_extension(state, &options.image, extension));
    lost.next().map(|name| format!("could not load library \"$libdir/{name}\": could not access file"))
}

fn failed(copy: &ClusterCopy, flag: &str, said: &str) -> Error {
    let message = format!("pg_upgrade {flag}of the copy of {} ended with exit code 1:\n  {said}", copy.container_name);
    Error::failed("pg_upgrade.failed", message)
}

fn say(copies: &Copies, line: &str) {
    copies.context.emit(Event::Output { source: "pg_upgrade".into(), line: line.to_owned() });
}

pub fn check(copies: &Copies, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()> {
    tools(copies, copy, &options.image, &options.programs)?;
    copies.act("check upgrade of", &copy.volume, |state| {
        state.pass(1000);
        match obstacle(state, copy, options) {
            None => Ok(()),
            Some(said) => Err(failed(copy, "--check ", &said)),
        }
    })?;
    say(copies, "Checking cluster versions");
    say(copies, "Checking for presence of required libraries");
    Ok(())
}

pub fn run(copies: &Copies, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Upgraded> {
    tools(copies, copy, &options.image, &options.programs)?;
    let (change, label) = (format!("upgrade {}", copy.volume), format!("upgrade of {}", copy.volume));
    let (old, new) = copies.act("begin upgrade of", &copy.volume, |state| {
        let said = obstacle(state, copy, options).or_else(|| why_not_stopped(state, copy));
        if let Some(said) = said {
            return Err(failed(copy, "", &said));
        }
        let (old, new) = both(state, copy).map_err(|said| failed(copy, "", &said))?;
        Ok((old.clone(), new.clone()))
    })?;
    let bytes = if options.transfer == Transfer::Copy { old.bytes() } else { OF_CATALOGS };
    work(&copies.context, &change, &label, bytes, |state, piece| {
        state.need_room(piece.part(bytes), &format!("volume {}", copy.volume))?;
        let Some(volume) = state.volumes.get_mut(&copy.volume) else { return Ok(()) };
        // From the first file on that both have, the old cluster is not to be started any more.
        volume.tree.is_partial = true;
        if let Some(old) = volume.tree.clusters.get_mut(OLD) {
            old.is_damaged = options.transfer != Transfer::Copy;
        }
        let share = |database: &Database| piece.part(database.tables.len() as u64) as usize;
        volume.tree.clusters.insert(NEW_CLUSTER.into(), upgraded(&old, &new, options.transfer, share));
        Ok(())
    })?;
    say(copies, "Restoring database schemas in the new cluster");
    say(copies, "Linking user relation files");
    place(copies, copy, options)?;
    let files = relation_files(&old);
    let others = |file: &&Relation| options.transfer == Transfer::Copy || file.is_sequence;
    let others: Vec<_> = files.iter().filter(others).map(|file| file.file.clone()).collect();
    let same = (files.len() - others.len()) as u64;
    Ok(Upgraded { same, others, system_identifier: new.system_identifier.to_string() })
}

/// A cluster that runs, or was not shut down cleanly and not as a standby, is not upgraded.
fn why_not_stopped(state: &State, copy: &ClusterCopy) -> Option<String> {
    let (old, _) = both(state, copy).ok()?;
    if state.container(&copy.name).is_some_and(|container| container.state == "running") {
        return Some("There seems to be a postmaster servicing the old cluster.".into());
    }
    if old.follows.is_some() {
        return Some("The source cluster was shut down while in recovery mode.".into());
    }
    (!old.is_clean()).then(|| "The source cluster was not shut down cleanly.".into())
}

/// The new cluster with so many tables of each database of the old one.
fn upgraded(old: &Cluster, new: &Cluster, transfer: Transfer, share: impl Fn(&Database) -> usize) -> Cluster {
    let table = |(name, table): (&String, &Table)| {
        // The server counts from nothing.
        (name.clone(), Table { inserted: 0, ..table.clone() })
    };
    let database = |(name, database): (&String, &Database)| {
        let tables = database.tables.iter().take(share(database)).map(table).collect();
        let counted_since = database.counted_since + 1;
        (name.clone(), Database { tables, counted_since, ..database.clone() })
    };
    let mut made = Cluster {
        roles: old.roles.clone(),
        databases: old.databases.iter().map(database).collect(),
        next_xid: old.next_xid,
        relations_of: if transfer == Transfer::Copy { new.system_identifier } else { old.relations_of },
        ..new.clone()
    };
    made.lsn = made.lsn.max(old.lsn);
    made.close();
    made
}

/// What of the copy is left goes; the new cluster gets what waits for it, and comes where its server looks for it.
fn place(copies: &Copies, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()> {
    copies.act("place cluster in", &copy.volume, |state| {
        let Some(volume) = state.volumes.get_mut(&copy.volume) else { return Ok(()) };
        let tree = &mut volume.tree;
        tree.clusters.remove(OLD);
        let Some(mut cluster) = tree.clusters.remove(NEW_CLUSTER) else { return Ok(()) };
        let (waiting, rest): (BTreeMap<_, _>, _) =
            std::mem::take(&mut tree.files).into_iter().partition(|(path, _)| path.starts_with(SETTINGS));
        tree.files = rest;
        tree.clusters.insert(options.place.trim_matches('/').to_owned(), {
            cluster.owner.clone_from(&copy.owner);
            cluster
        });
        for (path, bytes) in waiting {
            let name = path.trim_start_matches(SETTINGS);
            let target = format!("{}/{}", options.place.trim_matches('/'), name.trim_end_matches(".added"));
            let target = target.trim_start_matches('/');
            match name.ends_with(".added") {
                true => tree.append(target, &bytes),
                false => tree.write(target, bytes),
            }
        }
        (tree.is_partial, tree.is_unsynced) = (false, false);
        tree.owner.clone_from(&copy.owner);
        Ok(())
    })?;
    let tools = copy.tools();
    copies.act("remove", &tools, |state| state.remove(&tools, true))
}

/// A file of a relation of the site's, and what it is of.
struct Relation {
    /// Below the cluster's `base`: `16384/16397`.
    file: String,
    database: String,
    name: String,
    is_sequence: bool,
}

fn relation_files(cluster: &Cluster) -> Vec<Relation> {
    let of_database = |(at, (database, held)): (usize, (&String, &Database))| {
        let tables = held.tables.keys().map(|name| (name, false));
        let all = tables.chain(held.sequences.keys().map(|name| (name, true)));
        let number = FIRST_RELATION + at;
        let relation = move |(at, (name, is_sequence)): (usize, (&String, bool))| Relation {
            file: format!("{number}/{}", FIRST_RELATION + 100 + at),
            database: database.clone(),
            name: name.clone(),
            is_sequence,
        };
        all.enumerate().map(relation).collect::<Vec<_>>()
    };
    cluster.databases.iter().enumerate().flat_map(of_database).collect()
}

pub fn made_anew(copies: &Copies, server: &Server, files: &[String]) -> Result<Vec<String>> {
    copies.context.sim.read(|state| {
        let of_cluster = relation_files(state.serving(server)?.1);
        let is_anew = |relation: &&Relation| !relation.is_sequence && files.contains(&relation.file);
        Ok(of_cluster.iter().filter(is_anew).map(|found| format!("{}: {}", found.database, found.name)).collect())
    })
}

#[cfg(test)]
mod tests;
