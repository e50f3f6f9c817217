//! One run per stack. Everybody who drives the same engine sees the lock: a container of a fixed name, created and never
//! started, because creating a name that exists is the one thing an engine refuses atomically.

use std::collections::BTreeMap;

use crate::world::container::{Container, ContainerFilter, ContainerSpec, LABEL_HELPER};
use crate::world::{Error, Result, World};

/// Value of [`LABEL_HELPER`] on a lock.
pub const PURPOSE: &str = "lock";
const LABEL_STACK: &str = "pgscript.lock.stack";
const LABEL_RUN: &str = "pgscript.lock.run";
const LABEL_HOST: &str = "pgscript.lock.host";
const LABEL_STORE: &str = "pgscript.lock.store";
const LABEL_SINCE: &str = "pgscript.lock.since";

/// Who has the lock of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Id of the container that is the lock.
    pub container: String,
    pub run: String,
    pub host: String,
    /// The run store of that machine.
    pub store: String,
    /// RFC 3339
    pub since: String,
}

/// What identifies us as a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub run: String,
    pub host: String,
    pub store: String,
}

/// The lock's container.
pub fn name(stack: &str) -> String {
    format!("pgscript-lock-{stack}")
}

/// Takes the lock; gives its holder when that is somebody else.
pub fn take(world: &World, stack: &str, claim: &Claim) -> Result<Option<Holder>> {
    // Twice, for one that is given back at this moment.
    for _ in 0..2 {
        match world.containers.create(&spec(world, stack, claim)?) {
            Ok(_) => return Ok(None),
            Err(error) if error.code == "docker.conflict" => {}
            Err(error) => return Err(error),
        }
        match holder(world, stack)? {
            Some(holder) if holder.is(claim) => return Ok(None),
            Some(holder) => return Ok(Some(holder)),
            None => {}
        }
    }
    Err(Error::failed("run.locked", format!("the lock of {stack} changes hands; try again")))
}

/// Who has the lock.
pub fn holder(world: &World, stack: &str) -> Result<Option<Holder>> {
    match world.containers.container(&name(stack)) {
        Ok(container) => Ok(Some(read(&container))),
        Err(error) if error.code == "docker.not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives back the lock of a run. One that is not ours, or is gone, is left alone.
pub fn give_back(world: &World, stack: &str, claim: &Claim) -> Result<()> {
    match holder(world, stack)? {
        Some(holder) if holder.is(claim) => remove(world, &holder),
        _ => Ok(()),
    }
}

/// Removes the lock that `holder` had.
pub fn remove(world: &World, holder: &Holder) -> Result<()> {
    match world.containers.remove(&holder.container, false) {
        Err(error) if error.code != "docker.not_found" => Err(error),
        _ => Ok(()),
    }
}

impl Holder {
    fn is(&self, claim: &Claim) -> bool {
        (&self.run, &self.host, &self.store) == (&claim.run, &claim.host, &claim.store)
    }
}

fn read(container: &Container) -> Holder {
    let label = |name: &str| container.labels.get(name).cloned().unwrap_or_else(|| "?".into());
    Holder {
        container: container.id.clone(),
        run: label(LABEL_RUN),
        host: label(LABEL_HOST),
        store: label(LABEL_STORE),
        since: label(LABEL_SINCE),
    }
}

/// A container needs an image, whichever; those of the stack are not pruned. Its containers may all have been tidied away
/// since the run put the database aside.
fn spec(world: &World, stack: &str, claim: &Claim) -> Result<ContainerSpec> {
    let filter = ContainerFilter { project: Some(stack.to_owned()), ..ContainerFilter::default() };
    let containers = world.containers.containers(&filter)?;
    let image = match containers.first() {
        Some(container) => Some(container.image_id.clone()),
        None => world.containers.any_image()?,
    };
    let image = image.ok_or_else(|| {
        Error::refused("docker.image_missing", "the engine has no image at all")
            .hint("the lock is a container that is never started, and needs some image; is this the right engine?")
    })?;
    Ok(ContainerSpec {
        name: Some(name(stack)),
        image: Some(image),
        entrypoint: Some(vec!["/never-started".into()]),
        labels: Some(BTreeMap::from([
            (LABEL_HELPER.to_owned(), PURPOSE.to_owned()),
            (LABEL_STACK.to_owned(), stack.to_owned()),
            (LABEL_RUN.to_owned(), claim.run.clone()),
            (LABEL_HOST.to_owned(), claim.host.clone()),
            (LABEL_STORE.to_owned(), claim.store.clone()),
            (LABEL_SINCE.to_owned(), world.host.now()),
        ])),
        network: Some("none".into()),
        ..ContainerSpec::default()
    })
}
