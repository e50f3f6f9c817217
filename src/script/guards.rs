//! What must not be done without proof. Each guard is asked by the primitive itself, so no script gets around it; only
//! the operator does, on the command line, by naming the one thing to lose.

use std::path::{Path, PathBuf};

use super::artefacts;
use super::evidence::Fact;
use super::ledger::{Ledger, Place};
use super::record::Owner;
use super::session::Session;
use super::witness;
use crate::planted::{Fault, is_planted};
use crate::world::container::{Container, LABEL_HELPER, Volume};
use crate::world::{Error, Result, World};

/// A refusal: `what` and why, what is safe and what to do first, and how to lose it all the same.
fn refusal(code: &str, what: impl Into<String>, instead: impl Into<String>, kind: &str, name: &str) -> Error {
    let hint = format!("{}\nif it may be lost, name it: --allow-data-loss {kind}:{name}", instead.into());
    Error::refused(code, what).hint(hint)
}

/// Before a volume is removed: its content must be somewhere else, or be nobody's.
pub fn volume_removal(session: &Session, volume: &Volume) -> Result<()> {
    if is_planted(Fault::GuardOfVolumes) {
        return Ok(());
    }
    witness::settle(session)?;
    let name = volume.name.as_str();
    let holders = witness::look_at_holders(session, name)?;
    if let Some(first) = holders.first() {
        let names: Vec<_> = holders.iter().map(|c| c.name.as_str()).collect();
        let message = format!("volume {name} is not removed: mounted by {}", names.join(", "));
        let hint = format!("docker::remove them first; on the command line: docker rm {}", first.name);
        return Err(Error::failed("docker.conflict", message).hint(hint));
    }
    witness::cluster_in(session, volume)?;
    // A new cluster that has not taken anybody's place yet is a copy of what is elsewhere.
    if volume.labels.contains_key(LABEL_HELPER)
        || session.evidence.allows_loss("volume", name)
        || session.evidence.ask(|ledger| ledger.is_ours(name))
    {
        return Ok(());
    }
    if !session.world.volumes.size(name)?.1 {
        return Ok(());
    }
    if let Some(from) = session.evidence.ask(|ledger| ledger.put_aside_from(name)) {
        let run = session.record.place()?.0;
        let what = format!("volume {name} is what run {run} has put aside of {from}: the original itself");
        let instead = format!("it can go once {run} is over, done or rolled back: cleanup.rhai does that");
        return Err(refusal("guard.volume_kept", what, instead, "volume", name));
    }
    let owner = session.record.keeper(name)?;
    if let Some(owner) = owner.as_ref().filter(|owner| has_served(owner)) {
        return match unstarted_of(session, name, owner)? {
            Some(why) => Err(not_started(name, owner, &why)),
            None => Ok(()),
        };
    }
    for place in session.evidence.ask(|ledger| ledger.copies_of(name)) {
        if is_there(&session.world, &place)? {
            return Ok(());
        }
    }
    Err(unproven(session, name, owner.as_ref()))
}

/// Why the old data that a finished run has put aside in a volume must not go yet: no backup of it has been started.
/// `None` where that is not asked for: the run was rolled back, the operator has named the volume, the volume is
/// nothing that a run has put aside, or it is refused for another reason.
pub fn unstarted(session: &Session, volume: &str) -> Result<Option<String>> {
    if session.evidence.allows_loss("volume", volume) {
        return Ok(None);
    }
    match session.record.keeper(volume)? {
        Some(owner) if has_served(&owner) => unstarted_of(session, volume, &owner),
        _ => Ok(None),
    }
}

/// As [`unstarted`], for the run that keeps the volume. A file is read to its end: it may have been damaged since.
fn unstarted_of(session: &Session, volume: &str, owner: &Owner) -> Result<Option<String>> {
    let facts = Ledger::of(&owner.facts);
    if owner.is_rolled_back || !facts.is_replaced(volume) {
        return Ok(None);
    }
    let mut backups = facts.backups_of(volume);
    backups.extend(session.evidence.ask(|ledger| ledger.backups_of(volume)));
    let mut why = format!("run {} has no backup of it that was read to its end", owner.run);
    for (path, sha256) in backups {
        let shown = path.display();
        let is_booted = facts.is_booted(&path, &sha256) || session.evidence.ask(|l| l.is_booted(&path, &sha256));
        why = match (session.world.host.entry(&path)?, is_booted) {
            (None, _) => format!("its backup {shown} is not there"),
            (Some(_), false) => format!("its backup {shown} was never started"),
            (Some(_), true) if session.world.host.sha256(&path)? != sha256 => {
                format!("its backup {shown} was started, but is not the same file any more")
            }
            _ => return Ok(None),
        };
    }
    Ok(Some(why))
}

fn not_started(volume: &str, owner: &Owner, why: &str) -> Error {
    let what = format!("volume {volume} is the old data itself, which run {} has put aside, and {why}", owner.run);
    let instead = format!(
        "the volume stays as it is; do what the run has left open (pgscript resume {}), \
         or start the backup with cleanup.rhai, which does so before it removes anything",
        owner.run
    );
    refusal("guard.backup_not_started", what, instead, "volume", volume)
}

fn unproven(session: &Session, name: &str, keeper: Option<&Owner>) -> Error {
    let why = session.evidence.ask(|ledger| ledger.insufficient_copies_of(name));
    let mut what = format!("no verified backup of volume {name} in this run");
    for (path, why) in why {
        what += &format!("; {} {why}", path.display());
    }
    let instead = match keeper {
        Some(Owner { run, state, is_over: false, .. }) => {
            what += &format!("; it is the original that run {run} has put aside, and that run is {state}");
            format!("bring that run to an end first: pgscript resume {run}, or pgscript rollback {run}")
        }
        Some(Owner { run, .. }) => {
            what += &format!("; run {run}, which has put it aside, never compared what came in its place");
            "take volume::backup and volume::verify first".into()
        }
        None => "the volume is as it was; take volume::backup and volume::verify first".into(),
    };
    refusal("volume.unproven", what, instead, "volume", name)
}

/// Whether a copy that was proved is still where it was.
fn is_there(world: &World, place: &Place) -> Result<bool> {
    match place {
        Place::Backup { path, sha256 } => {
            let is_it = |sum: String| sha256.is_empty() || sum == *sha256;
            match world.volumes.open(path) {
                Ok(backup) => Ok(is_it(backup.manifest.sha256) && world.host.entry(path)?.is_some()),
                Err(_) => Ok(false),
            }
        }
        Place::Dump { path } => Ok(world.host.entry(path)?.is_some() && world.postgres.open_dump(path).is_ok()),
        Place::Volume { name } => Ok(world.containers.volume(name)?.is_some()),
        Place::Server => Ok(true),
    }
}

/// Whether what a run has put aside or copied has done its service: the run is over, or another one has brought its
/// stack to an end, and its data is either back in its place or proved to be in another one.
fn has_served(owner: &Owner) -> bool {
    (owner.is_over || owner.is_superseded) && (owner.is_rolled_back || Ledger::of(&owner.facts).is_settled())
}

/// Before a container is removed. One with a database must be stopped, its data must not go with it, and it must be
/// possible to create it again.
pub fn container_removal(session: &Session, container: &Container) -> Result<()> {
    let (name, evidence) = (container.name.as_str(), &session.evidence);
    let is_free = !witness::is_database(container)
        || container.labels.contains_key(LABEL_HELPER)
        || evidence.ask(|ledger| ledger.is_created(&container.id))
        || evidence.allows_loss("container", name);
    if is_free {
        return Ok(());
    }
    if matches!(container.state.as_str(), "running" | "paused" | "restarting") {
        let what = format!("container {name} has a database and is {}: it would be killed", container.state);
        return Err(refusal("guard.container_running", what, "docker::stop it first", "container", name));
    }
    if witness::data_mount(container).is_none() {
        let what = format!("the database of container {name} is in the container itself, and would go with it");
        let instead = "take pg_dump::cluster of it, or docker::copy_out of its data directory, and keep that";
        return Err(refusal("guard.container_data", what, instead, "container", name));
    }
    for file in evidence.ask(|ledger| ledger.definitions().clone()) {
        let text = session.world.host.read(&file).unwrap_or_default();
        let saved: Vec<Container> = serde_json::from_slice(&text).unwrap_or_default();
        if saved.iter().any(|definition| is_of(definition, container)) {
            return Ok(());
        }
    }
    let what = format!("container {name} has a database, and this run has not saved how to create it again");
    let instead = "docker::save_definitions([container], path) first; its data is on its volume";
    Err(refusal("guard.container_definition", what, instead, "container", name))
}

/// Whether a definition is that of the container, or of the one that it came in the place of.
fn is_of(definition: &Container, container: &Container) -> bool {
    let service = |c: &Container| (c.project.clone(), c.service.clone());
    definition.id == container.id
        || definition.name == container.name
        || !container.project.is_empty() && service(definition) == service(container)
}

/// Before a file or directory is removed or written over: gives the backups and dumps that go with it.
pub fn artefact_loss(session: &Session, path: &Path) -> Result<Vec<PathBuf>> {
    let path = absolute(path);
    let found = artefacts::find(&*session.world.host, &path)?;
    for artefact in &found {
        let is_allowed = |path: &Path| session.evidence.allows_loss("artefact", &path.display().to_string());
        if !is_allowed(artefact) && !is_allowed(&path) {
            artefact_may_go(session, artefact, &found)?;
        }
    }
    Ok(found)
}

/// As facts and the run store name it.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn artefact_may_go(session: &Session, artefact: &Path, gone: &[PathBuf]) -> Result<()> {
    let (shown, refuse) = (artefact.display().to_string(), |code: &str, what: String, instead: String| {
        Err(refusal(code, what, instead, "artefact", &artefact.display().to_string()))
    });
    let owner = session.record.owner(artefact)?;
    let others = match &owner {
        _ if session.evidence.ask(|ledger| ledger.has_written(artefact)) => {
            let mut others = session.evidence.ask(|ledger| ledger.other_copies(artefact, gone));
            // The way back of a run that is not over leads to what was before.
            others.iter_mut().for_each(|places| places.retain(|place| *place != Place::Server));
            others
        }
        None => {
            let what = format!("{shown} is a backup or dump that no run of this store has made: nobody knows of what");
            return refuse("guard.artefact_unknown", what, "look at it, and move it away by hand".into());
        }
        Some(Owner { run, state, is_over: false, is_this: false, .. }) => {
            let what = format!("{shown} is of run {run}, which is {state}: it may be the only copy of its data");
            let instead = match state.as_str() {
                "damaged" => format!("nothing goes by that run's journal any more: look at pgscript status {run}"),
                _ => format!("bring that run to an end: pgscript resume {run}, or pgscript rollback {run}"),
            };
            return refuse("guard.artefact_in_use", what, instead);
        }
        Some(owner) if has_served(owner) => return Ok(()),
        Some(owner) => Ledger::of(&owner.facts).other_copies(artefact, gone),
    };
    // Written down by nobody: it never came to its end, and nothing rests on it.
    let Some(others) = others else { return Ok(()) };
    for place in &others {
        if is_there(&session.world, place)? {
            return Ok(());
        }
    }
    let what =
        format!("{shown} is the last complete copy of its data: the volume that it was taken of is not there any more");
    refuse("guard.last_copy", what, "bring the data back first, or prove another copy of it".into())
}

/// Refuses, unless the operator has named the project; from then on it is not fenced.
fn fence(session: &Session, project: &str, what: &str) -> Result<()> {
    let evidence = &session.evidence;
    if evidence.allows_loss("fence", project) {
        return session.prove(Fact::FenceLifted { project: project.to_owned() });
    }
    let restored = evidence.ask(|ledger| ledger.uncompared().iter().any(|p| p == project));
    let state = if restored { "its data was restored and not compared yet" } else { "its data is not in place" };
    let instead = "the old data is safe: psql::compare the new server with the content of before, or bring the old \
                   data back (pgscript rollback)";
    let whose = if project == witness::NO_PROJECT { "the containers without a Compose project" } else { project };
    let what = format!("{what}: the database of {whose} was put aside, and {state}");
    Err(refusal("guard.fence", what, instead, "fence", project))
}

/// Before a container may run: the application of a database that is not proved to be whole stays down.
pub fn release(session: &Session, container: &Container) -> Result<()> {
    witness::settle(session)?;
    let Some(project) = witness::stack_of(container) else { return Ok(()) };
    let (is_fenced, is_cluster) = session.evidence.ask(|ledger| {
        let holds = |volume| ledger.is_cluster_of(volume, project);
        (ledger.is_fenced(project), witness::data_volume(container).is_some_and(holds))
    });
    if !is_fenced || is_cluster || is_named_cluster(container) {
        return Ok(());
    }
    fence(session, project, &format!("{} is not started", container.name))
}

/// The server that a deploy brought in the place of the old one, maybe on a volume of another name.
fn is_named_cluster(container: &Container) -> bool {
    witness::is_database(container) && witness::data_volume(container).is_some_and(|v| !witness::is_anonymous(v))
}

/// Before a container joins a network: nobody may reach a restored server before it was compared.
pub fn connection(session: &Session, container: &Container, network: &str) -> Result<()> {
    witness::settle(session)?;
    for project in session.evidence.ask(Ledger::uncompared) {
        let is_its = session.evidence.ask(|ledger| {
            let mut volumes = witness::volumes_of(container);
            volumes.any(|volume| ledger.is_cluster_of(volume, &project))
        });
        if is_its && !witness::is_fence(&session.world, network, container)? {
            fence(session, &project, &format!("{} is not connected to {network}", container.name))?;
        }
    }
    Ok(())
}

/// Before a playbook runs, which starts what it deploys.
pub fn deploy(session: &Session) -> Result<()> {
    witness::settle(session)?;
    let uncompared = session.evidence.ask(Ledger::uncompared);
    uncompared.iter().try_for_each(|project| fence(session, project, "the playbook is not run"))
}

/// Before backups and dumps go: what they proved is proved no more.
pub fn lose(session: &Session, artefacts: &[PathBuf]) -> Result<()> {
    artefacts.iter().try_for_each(|path| session.prove(Fact::ArtefactRemoved { path: path.clone() }))
}
