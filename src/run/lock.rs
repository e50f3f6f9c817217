//! One run per stack. Everybody who drives the same engine sees the lock: a container of a fixed name, created and
//! never started, because creating a name that exists is the one thing an engine refuses atomically.

use std::collections::BTreeMap;

use super::history::State;
use super::store::{Driver, Place, Store};
use crate::script::witness;
use crate::world::container::{Container, ContainerFilter, ContainerSpec, LABEL_HELPER, LABEL_OWNER, LOCK, of_image};
use crate::world::process::{self, Process};
use crate::world::{Error, Result, World};

const LABEL_STACK: &str = "pgscript.lock.stack";
const LABEL_RUN: &str = "pgscript.lock.run";
const LABEL_HOST: &str = "pgscript.lock.host";
const LABEL_MACHINE: &str = "pgscript.lock.machine";
const LABEL_STORE: &str = "pgscript.lock.store";
const LABEL_SINCE: &str = "pgscript.lock.since";

/// Who has the lock of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Id of the container that is the lock.
    pub container: String,
    pub stack: String,
    pub run: String,
    pub host: String,
    /// Tells machines of one name apart; empty where there is nothing to tell them by.
    machine: String,
    /// The run store of that machine.
    pub store: String,
    /// RFC 3339
    pub since: String,
    /// The process that took it.
    maker: Option<Process>,
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
        match create(world, stack, claim) {
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
    let lock = world.containers.existing(&name(stack))?;
    Ok(lock.map(|container| read(&container.id, &container.labels)))
}

/// Gives back every lock that a run has.
pub fn give_back(world: &World, claim: &Claim) -> Result<()> {
    let labels = [(LABEL_HELPER, LOCK), (LABEL_RUN, &claim.run)];
    let labels = labels.map(|(name, value)| format!("{name}={value}")).to_vec();
    let locks = world.containers.containers(&ContainerFilter { labels, ..ContainerFilter::default() })?;
    let holders = locks.iter().map(|lock| read(&lock.id, &lock.labels));
    holders.filter(|holder| holder.is(claim)).try_for_each(|holder| remove(world, &holder))
}

/// Why the lock with these labels is nobody's any more; see [`Holder::abandoned`].
pub fn abandoned(labels: &BTreeMap<String, String>) -> Option<String> {
    let is_lock = labels.get(LABEL_HELPER).is_some_and(|purpose| purpose == LOCK);
    is_lock.then(|| read("", labels).abandoned()).flatten()
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

    /// Whether it is a run of this machine: of its name, and, where both say so, of its identity.
    fn is_here(&self) -> bool {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.host == host && (self.machine.is_empty() || self.machine == process::machine())
    }

    /// Where the run stands, as its store on this machine tells; with its driver, if it has one.
    pub fn look(&self) -> Option<(Option<Driver>, State)> {
        self.place().ok()?.and_then(|place| look_at(&place))
    }

    /// Why it is nobody's any more: its run, on this machine, is over, or is not there and neither is the process that
    /// had begun it. `None` as long as it may be somebody's: where we can't look it is.
    pub fn abandoned(&self) -> Option<String> {
        let Self { stack, run, store, .. } = self;
        let why = match self.place().ok()? {
            // With a driver it is not over, whatever its journal says so far.
            Some(place) if place.driver().is_some() => return None,
            Some(place) => match look_at(&place)? {
                (None, state) if state.is_over() => format!("which is {}", state.as_str()),
                _ => return None,
            },
            None if self.maker.as_ref().is_some_and(Process::is_gone) => "which is not there any more".to_owned(),
            None => return None,
        };
        Some(format!("the lock of {stack} was taken over from run {run} of {store}, {why}"))
    }

    /// The run in its store; `None` inside where the store can be read and has no such run.
    fn place(&self) -> Result<Option<Place>> {
        if !self.is_here() {
            return Err(Error::failed("run.elsewhere", "it is another machine's"));
        }
        let runs = Store::new(Some(self.store.clone().into())).runs()?;
        Ok(runs.into_iter().find(|place| place.id == self.run))
    }
}

/// The driver is looked for last: one that has begun meanwhile has changed what the journal said.
fn look_at(place: &Place) -> Option<(Option<Driver>, State)> {
    let (history, damage) = place.history().ok()?;
    // Of one with a damaged journal nobody knows whether it is over.
    let state = if damage.is_some() && history.state().is_over() { State::Interrupted } else { history.state() };
    Some((place.driver(), state))
}

fn read(container: &str, labels: &BTreeMap<String, String>) -> Holder {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_else(|| "?".into());
    Holder {
        container: container.to_owned(),
        stack: label(LABEL_STACK),
        run: label(LABEL_RUN),
        host: label(LABEL_HOST),
        machine: labels.get(LABEL_MACHINE).cloned().unwrap_or_default(),
        store: label(LABEL_STORE),
        since: label(LABEL_SINCE),
        maker: labels.get(LABEL_OWNER).and_then(|label| Process::parse(label)),
    }
}

/// Makes the lock, of the database's image where there is one: that image is needed to go back, and a container holds
/// on to it. Any other will do where it can't be: the stack's containers may all have been tidied away since.
fn create(world: &World, stack: &str, claim: &Claim) -> Result<Container> {
    let spare = || {
        let filter = ContainerFilter { project: Some(stack.to_owned()), ..ContainerFilter::default() };
        let database = world.containers.containers(&filter)?.into_iter().find(witness::is_database);
        let spare = world.containers.spare_images(&[], Some(stack))?;
        Ok(database.into_iter().map(|database| database.image_id).chain(spare).collect())
    };
    of_image(None, spare, |image| world.containers.create(&spec(world, stack, claim, image)))
}

fn spec(world: &World, stack: &str, claim: &Claim, image: &str) -> ContainerSpec {
    let labels = [
        (LABEL_HELPER, LOCK.to_owned()),
        (LABEL_STACK, stack.to_owned()),
        (LABEL_RUN, claim.run.clone()),
        (LABEL_HOST, claim.host.clone()),
        (LABEL_MACHINE, process::machine()),
        (LABEL_STORE, claim.store.clone()),
        (LABEL_SINCE, world.host.now()),
    ];
    ContainerSpec {
        name: Some(name(stack)),
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/never-started".into()]),
        labels: Some(labels.map(|(label, value)| (label.to_owned(), value)).into()),
        network: Some("none".into()),
        ..ContainerSpec::default()
    }
}
