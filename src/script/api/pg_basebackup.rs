//! `pg_basebackup::` a copy of a running server's cluster, which follows it until it stops.

use std::sync::Arc;

use rhai::Dynamic;

use super::call::Call;
use super::{Namespace, Registrar, ScriptResult, values};
use crate::script::evidence::Fact;
use crate::script::witness;
use crate::world::cluster::{ClusterCopy, CopyOptions, Stopped};
use crate::world::container::{Container, Volume};
use crate::world::control::{self, SHUT_DOWN};
use crate::world::postgres::Server;
use crate::world::{Error, Result};

/// Declares the handle type and functions.
pub fn register(registrar: &mut Registrar) {
    registrar.handle::<ClusterCopy>("ClusterCopy");
    let c = "ClusterCopy";
    registrar.property::<ClusterCopy>(c, "volume", "string", "The volume it is in.", |c| c.volume.clone().into());
    let doc = "Name of the container in which it follows its server.";
    registrar.property::<ClusterCopy>(c, "name", "string", doc, |c| c.name.clone().into());
    let doc = "The replication slot by which the server keeps what it has not got yet.";
    registrar.property::<ClusterCopy>(c, "slot", "string", doc, |c| c.slot().into());
    registrar.property::<ClusterCopy>(c, "major", "int", "Major of its server.", |c| i64::from(c.cluster.major).into());
    let doc = "Number of its cluster, which is that of its server's.";
    registrar
        .property::<ClusterCopy>(c, "system_identifier", "string", doc, |c| c.cluster.system_identifier.clone().into());
    registrar.property::<ClusterCopy>(c, "bytes", "int", "Size of all databases when it was taken.", |c| {
        (c.bytes as i64).into()
    });
    registrar.namespace(
        "pg_basebackup",
        "A copy of a cluster that is taken while its server runs, and follows it until it stops.",
        functions,
    );
}

fn functions(ns: &mut Namespace<'_>) {
    ns.function(
        "check(server: Server)",
        "Proves that the server lets itself be copied and followed: opens a session for replication from its own \
         network.\n\nErrors: `basebackup.refused`.",
        |call| {
            call.world().clusters.can_replicate(&*call.get::<Arc<Server>>("server")?)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "copy(server: Server, volume: Volume, options: Map = #{}) -> ClusterCopy",
        "Copies the cluster of a running server into a volume, with the programs of the server's own image, and holds \
         every file against the server's manifest. What the volume held goes, so its step may be `repeatable`. From \
         then on the server keeps its log for the copy, in a replication slot: `pg_basebackup::discard` ends that. \
         Options: name (of the container in which it is going to follow; the slot is called so, too), max_rate (as \
         `pg_basebackup --max-rate` takes it: `32M` a second; no limit when left out), cpu_shares (weight of its \
         containers for the processors, of which 1024 is usual).\n\n\
         Errors: `basebackup.failed`, `basebackup.damaged`, `host.disk_full`.",
        copy,
    );
    ns.effect(
        "follow(copy: ClusterCopy, server: Server) -> Server",
        "Starts the copy, read-only, in a container of the server's own image and network; from then on it follows. \
         One that is there is started again. Gives the copy as a server, which can be asked.\n\n\
         Errors: `basebackup.failed` with the end of its log.",
        |call| {
            let (copy, server): (Arc<ClusterCopy>, Arc<Server>) = (call.get("copy")?, call.get("server")?);
            call.effect(format!(
                "docker run -d --name {} --network container:{} -v {}:/copy {} postgres -D /copy/old",
                copy.name, copy.container_name, copy.volume, copy.image_id
            ))?;
            Ok(values::handle(call.world().clusters.follow(&copy, &server)?))
        },
    );
    ns.function("follows(copy: ClusterCopy) -> bool", "Whether the copy runs and follows.", |call| {
        Ok(call.world().clusters.follows(&*call.get::<Arc<ClusterCopy>>("copy")?)?.into())
    });
    ns.effect(
        "copy_stopped(copy: ClusterCopy, container: Container)",
        "Takes the copy anew, of the files of its server in `container`, which has stopped cleanly: where the copy \
         that followed is spent. It takes as long as copying takes.\n\n\
         Errors: `basebackup.not_stopped`, `basebackup.other_cluster`, `host.disk_full`.",
        |call| {
            let (copy, container): (Arc<ClusterCopy>, Arc<Container>) = (call.get("copy")?, call.get("container")?);
            call.effect(format!("cp -a the volume of {} to volume {}", container.name, copy.volume))?;
            let (stopped, _) = stopped(call, &copy, &container)?;
            written(call, &copy.volume)?;
            call.world().clusters.copy_stopped(&copy, &stopped)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "lag(copy: ClusterCopy, server: Server) -> int",
        "Bytes of the server's log that the copy has not got yet.",
        |call| {
            let (copy, server): (Arc<ClusterCopy>, Arc<Server>) = (call.get("copy")?, call.get("server")?);
            let lag = call.world().clusters.lag(&copy, &server)?;
            Ok(i64::try_from(lag).unwrap_or(i64::MAX).into())
        },
    );
    ns.effect(
        "caught_up(copy: ClusterCopy, container: Container) -> string",
        "Waits until the copy has everything that its server, in `container`, has written: it is past the last \
         checkpoint of the server, which has stopped cleanly. From then on the copy is proved to hold the same as the \
         server's volume. Gives how far it came, as the server's log counts.\n\n\
         Errors: `basebackup.not_stopped`, `basebackup.behind`, `basebackup.other_cluster`.",
        caught_up,
    );
    ns.effect(
        "part(copy: ClusterCopy, server: Server) -> Server",
        "Cuts a copy off from its server, which goes on and keeps nothing for it any more, and makes a cluster of its \
         own of it, to try with: in a network of its own, where nobody reaches it and it reaches nobody. It proves \
         nothing of what the server holds. Unlogged tables are empty in it. Gives it as a server.\n\n\
         Errors: `basebackup.failed` with the end of its log.",
        |call| {
            let (copy, server): (Arc<ClusterCopy>, Arc<Server>) = (call.get("copy")?, call.get("server")?);
            let name = &copy.name;
            call.effect(format!("docker rm -f {name}; docker run --network none … {name}; pg_ctl promote"))?;
            written(call, &copy.volume)?;
            Ok(values::handle(call.world().clusters.part(&copy, &server)?))
        },
    );
    ns.effect(
        "promote(copy: ClusterCopy, container: Container = ())",
        "Makes a cluster of its own of a copy that has caught up, and stops it cleanly. What no standby has, the rows \
         of unlogged tables, is taken from the files of the server in `container`, which has stopped; it is left out \
         for a copy that was parted.\n\nErrors: `basebackup.not_stopped`, `basebackup.other_cluster`.",
        promote,
    );
    ns.effect(
        "discard(name: string, server: Server = ())",
        "Ends the copy of that name: its containers go, and, where its server is given and runs, what that kept for \
         it. Its volume stays. Nothing happens where there is none.",
        |call| {
            let name = call.string("name")?;
            let server: Option<Arc<Server>> = call.has("server").then(|| call.get("server")).transpose()?;
            let slot = server.iter().map(|server| format!("; drop its replication slot on {}", server.container_name));
            call.effect(format!("docker rm -f {name}{}", slot.collect::<String>()))?;
            call.world().clusters.discard(&name, server.as_deref())?;
            Ok(Dynamic::UNIT)
        },
    );
}

fn copy(call: &mut Call<'_>) -> ScriptResult {
    let (server, volume): (Arc<Server>, Arc<Volume>) = (call.get("server")?, call.get("volume")?);
    let o = call.options("options", &["name", "max_rate", "cpu_shares"])?;
    let name = o.string("name")?.unwrap_or_else(|| format!("{}-pgscript-copy", server.container_name));
    let cpu_shares = o.int("cpu_shares")?.and_then(|shares| u64::try_from(shares).ok());
    let options = CopyOptions { name, max_rate: o.string("max_rate")?, cpu_shares };
    let rate = options.max_rate.iter().map(|rate| format!(" --max-rate={rate}")).collect::<String>();
    call.effect(format!("pg_basebackup -h {} -X stream{rate} -D {}", server.container_name, volume.mount_point))?;
    written(call, &volume.name)?;
    let copy = call.world().clusters.copy(&server, &volume.name, &options)?;
    Ok(values::handle(copy))
}

/// Whatever the volume held or followed is another content from now on.
pub fn written(call: &Call<'_>, volume: &str) -> Result<()> {
    call.session.prove(Fact::VolumeCreated { volume: volume.to_owned() })
}

fn caught_up(call: &mut Call<'_>) -> ScriptResult {
    let (copy, container): (Arc<ClusterCopy>, Arc<Container>) = (call.get("copy")?, call.get("container")?);
    let session = call.session;
    call.effect(format!("pg_controldata of {}; pg_last_wal_replay_lsn() of {}", container.name, copy.name))?;
    let (stopped, checkpoint) = stopped(call, &copy, &container)?;
    let lsn = call.world().clusters.caught_up(&copy, &checkpoint)?;
    session.prove(Fact::CopyCaughtUp { from: stopped.volume, to: copy.volume.clone(), lsn: lsn.clone() })?;
    Ok(lsn.into())
}

/// Where the files of the copy's server are, which has stopped cleanly, and its last checkpoint.
fn stopped(call: &Call<'_>, copy: &ClusterCopy, container: &Container) -> Result<(Stopped, String)> {
    let now = call.world().containers.container(&container.id)?;
    let mount = witness::data_mount(&now).filter(|mount| mount.kind == "volume").cloned().ok_or_else(|| {
        Error::failed("basebackup.not_stopped", format!("{} has no volume with a cluster", container.name))
    })?;
    witness::look_at_holders(call.session, &mount.name)?;
    let directory = witness::pgdata(&now).to_owned();
    let below = directory.strip_prefix(&mount.destination).unwrap_or_default().trim_start_matches('/');
    let control = call.world().volumes.control(&mount.name, below)?;
    let state = if now.is_running() { "running" } else { control::state_of(control.as_ref()) };
    let Some(control) = control.filter(|_| state == SHUT_DOWN) else {
        let message = format!("the cluster of {} is \"{state}\", not shut down", container.name);
        return Err(Error::failed("basebackup.not_stopped", message).hint("stop it cleanly first"));
    };
    if control.system_identifier.to_string() != copy.cluster.system_identifier {
        let message = format!("volume {} does not hold the cluster that {} follows", mount.name, copy.name);
        return Err(Error::failed("basebackup.other_cluster", message));
    }
    Ok((Stopped { volume: mount.name, mount: mount.destination, directory }, control::lsn(control.checkpoint)))
}

fn promote(call: &mut Call<'_>) -> ScriptResult {
    let copy: Arc<ClusterCopy> = call.get("copy")?;
    let container: Option<Arc<Container>> = call.has("container").then(|| call.get("container")).transpose()?;
    call.effect(format!("docker exec {} pg_ctl promote; docker stop {}", copy.name, copy.name))?;
    let stopped = container.map(|container| stopped(call, &copy, &container)).transpose()?;
    call.world().clusters.promote(&copy, stopped.as_ref().map(|(stopped, _)| stopped))?;
    Ok(Dynamic::UNIT)
}
