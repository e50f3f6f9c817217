//! Looks at containers and volumes around what a primitive does, and states what that shows as facts.

use super::evidence::Fact;
use super::session::Session;
use crate::world::container::{Container, ContainerFilter, LABEL_HELPER, LABEL_PROJECT, Mount, Volume};
use crate::world::listening::DATA_DIRECTORY;
use crate::world::volume::LABEL_MOVED_FROM;
use crate::world::{Result, World};

/// Where the official images keep clusters: the old layout's volume, and that of 18 and later.
const CLUSTERS: &str = "/var/lib/postgresql";

fn is_within(path: &str, directory: &str) -> bool {
    std::path::Path::new(path).starts_with(directory)
}

/// Where a container's server looks for its cluster.
pub fn pgdata(container: &Container) -> &str {
    container.variable("PGDATA").filter(|path| !path.is_empty()).unwrap_or(DATA_DIRECTORY)
}

/// Whether a container is made to run a PostgreSQL server: by `PGDATA`, or by a mount where clusters are.
pub fn is_database(container: &Container) -> bool {
    let touches = |m: &Mount| {
        let near = |directory| is_within(&m.destination, directory) || is_within(directory, &m.destination);
        !m.read_only && (near(pgdata(container)) || near(CLUSTERS))
    };
    container.variable("PGDATA").is_some() || container.mounts.iter().any(touches)
}

/// The writable mount that holds a container's cluster; `None` when it is in the container's own layer.
pub fn data_mount(container: &Container) -> Option<&Mount> {
    let data = pgdata(container);
    let holds = |m: &&Mount| !m.read_only && is_within(data, &m.destination);
    container.mounts.iter().filter(holds).max_by_key(|m| m.destination.len())
}

/// The volume that holds a container's cluster.
pub fn data_volume(container: &Container) -> Option<&str> {
    data_mount(container).filter(|m| m.kind == "volume").map(|m| m.name.as_str())
}

/// Whether nobody has named a volume: it goes with its container, and holds nobody's database.
pub fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Volumes that a container can write to.
pub fn volumes_of(container: &Container) -> impl Iterator<Item = &str> {
    let writable = container.mounts.iter().filter(|m| m.kind == "volume" && !m.read_only);
    writable.map(|m| m.name.as_str())
}

/// Whether anybody but pgscript could speak to a server in the container. `network`: one more that it is going to be
/// in.
pub fn is_reachable(world: &World, container: &Container, network: Option<&str>) -> Result<bool> {
    let mode = container.network_mode();
    if mode == "host" || mode.starts_with("container:") {
        return Ok(true);
    }
    for name in container.networks.iter().map(|n| n.network.as_str()).chain(network) {
        if !is_fence(world, name, container)? {
            return Ok(true);
        }
    }
    // Who has its network reaches it on 127.0.0.1, where the image's rule trusts.
    let running = world.containers.containers(&ContainerFilter { running: true, ..ContainerFilter::default() })?;
    Ok(running.iter().any(|c| c.shares_network_of(container) && !c.labels.contains_key(LABEL_HELPER)))
}

/// Whether nobody outside can speak to the container by the network: it is none, or one that pgscript made to fence off
/// this very container, and through which no port is published.
pub fn is_fence(world: &World, network: &str, container: &Container) -> Result<bool> {
    if network == "none" {
        return Ok(true);
    }
    let Some(found) = world.containers.network(network)? else { return Ok(false) };
    let is_alone = found.containers.iter().all(|name| *name == container.name);
    let is_closed = found.internal || !container.publishes_ports();
    Ok(found.labels.contains_key(LABEL_HELPER) && is_alone && is_closed)
}

fn was_started(container: &Container) -> bool {
    !container.started_at.is_empty() && !container.started_at.starts_with("0001-")
}

/// States starts of the container that the run knows nothing of: somebody may have written to its volumes.
pub fn look(session: &Session, container: &Container) -> Result<()> {
    for volume in volumes_of(container) {
        let (knows, is_ours, known) = session.evidence.ask(|ledger| {
            let is_ours = ledger.is_starting(&container.id);
            (ledger.knows(volume), is_ours, ledger.start_of(&container.id, volume))
        });
        let is_known = known.as_ref() == Some(&container.started_at) || known.is_none() && !was_started(container);
        if !knows || is_known {
            continue;
        }
        if !is_ours {
            session.prove(Fact::VolumeInUse { volume: volume.to_owned() })?;
        }
        session.prove(holder(container, volume))?;
    }
    cluster(session, container)
}

/// Looks at all containers that can write to a volume; gives them.
pub fn look_at_holders(session: &Session, volume: &str) -> Result<Vec<Container>> {
    let filter = ContainerFilter { volume: Some(volume.to_owned()), ..ContainerFilter::default() };
    let holders = session.world.containers.containers(&filter)?;
    holders.iter().try_for_each(|container| look(session, container))?;
    Ok(holders)
}

fn holder(container: &Container, volume: &str) -> Fact {
    let (container, started_at) = (container.id.clone(), container.started_at.clone());
    Fact::Holder { container, volume: volume.to_owned(), started_at }
}

/// States from when on a start of the container is news.
pub fn remember(session: &Session, container: &Container) -> Result<()> {
    for volume in volumes_of(container) {
        let known = session.evidence.ask(|ledger| ledger.start_of(&container.id, volume));
        if known.as_ref() != Some(&container.started_at) || session.evidence.ask(|l| l.is_starting(&container.id)) {
            session.prove(holder(container, volume))?;
        }
    }
    cluster(session, container)
}

/// What stands for the Compose project of containers that have none: those that a run works on belong together. No
/// project can be called so, they are in lower case.
pub const NO_PROJECT: &str = "NO-PROJECT";

/// The stack that a container belongs to; `None` for one of pgscript's own.
pub fn stack_of(container: &Container) -> Option<&str> {
    match container.project.as_str() {
        "" if container.labels.contains_key(LABEL_HELPER) => None,
        "" => Some(NO_PROJECT),
        project => Some(project),
    }
}

/// States whose database the container holds.
fn cluster(session: &Session, container: &Container) -> Result<()> {
    let Some(volume) = data_volume(container).filter(|_| is_database(container)) else { return Ok(()) };
    match stack_of(container) {
        Some(stack) if !is_anonymous(volume) => state_cluster(session, volume, stack),
        _ => Ok(()),
    }
}

fn state_cluster(session: &Session, volume: &str, project: &str) -> Result<()> {
    if session.evidence.ask(|ledger| ledger.is_cluster_of(volume, project)) {
        return Ok(());
    }
    session.prove(Fact::ClusterOf { volume: volume.to_owned(), project: project.to_owned() })
}

/// Before a volume goes: whose database it holds, also when its containers are gone already.
pub fn cluster_in(session: &Session, volume: &Volume) -> Result<()> {
    let Some(project) = volume.labels.get(LABEL_PROJECT) else { return Ok(()) };
    if session.evidence.ask(|ledger| ledger.has_project(&volume.name))
        || session.world.volumes.pg_version(&volume.name)?.is_empty()
    {
        return Ok(());
    }
    state_cluster(session, &volume.name, project)
}

/// Before the run writes to the volumes of a container, as far as they are known.
pub fn written(session: &Session, container: &str) -> Result<()> {
    let volumes = session.evidence.ask(|ledger| ledger.volumes_of(container));
    written_to(session, volumes.iter().map(String::as_str))
}

/// Before the run writes to these volumes.
pub fn written_to<'v>(session: &Session, volumes: impl Iterator<Item = &'v str>) -> Result<()> {
    state_known(session, volumes, |volume| Fact::VolumeWritten { volume })
}

/// Before others can write to these volumes.
pub fn used<'v>(session: &Session, volumes: impl Iterator<Item = &'v str>) -> Result<()> {
    state_known(session, volumes, |volume| Fact::VolumeInUse { volume })
}

fn state_known<'v>(
    session: &Session,
    volumes: impl Iterator<Item = &'v str>,
    fact: impl Fn(String) -> Fact,
) -> Result<()> {
    for volume in volumes {
        if session.evidence.ask(|ledger| ledger.knows(volume)) {
            session.prove(fact(volume.to_owned()))?;
        }
    }
    Ok(())
}

/// After a stop or a change of its restart policy: whether the container is kept down now.
pub fn held(session: &Session, container: &Container) -> Result<()> {
    let now = session.world.containers.container(&container.id)?;
    let (is_held, was_held) =
        (now.state != "running" && now.restart_policy == "no", session.evidence.ask(|l| l.is_held(&now.id)));
    match (was_held, is_held) {
        (false, true) => session.prove(Fact::Held { container: now.id, name: now.name }),
        (true, false) => released(session, &now.id),
        _ => Ok(()),
    }
}

/// The container is not kept down any more.
pub fn released(session: &Session, container: &str) -> Result<()> {
    if session.evidence.ask(|ledger| ledger.is_held(container)) {
        session.prove(Fact::Released { container: container.to_owned() })?;
    }
    Ok(())
}

/// What was announced and not confirmed, because a process was killed in between or failed: the engine shows what
/// became of it.
pub fn settle(session: &Session) -> Result<()> {
    let engine = &session.world.containers;
    for volume in session.evidence.ask(super::ledger::Ledger::leaving) {
        let fact = match engine.volume(&volume)? {
            Some(_) => Fact::VolumeStays { volume },
            None => Fact::VolumeGone { volume },
        };
        session.prove(fact)?;
    }
    for (from, to) in session.evidence.ask(super::ledger::Ledger::moving) {
        let came_from = |v: &Volume| v.labels.get(LABEL_MOVED_FROM).is_some_and(|name| *name == from);
        let holds = |name: &str| Ok::<_, crate::world::Error>(session.world.volumes.size(name)?.1);
        if engine.volume(&to)?.is_some_and(|v| came_from(&v))
            && (engine.volume(&from)?.is_none() || !holds(&from)?)
            && holds(&to)?
        {
            session.prove(Fact::VolumeMoved { from, to })?;
        }
    }
    Ok(())
}
