//! A simulated volume under another name, twice, and held on to.

use std::collections::BTreeMap;

use super::bulk::work;
use super::state::{Container, Tree, Volume};
use super::{Context, State};
use crate::world::container::{self as world, ContainerSpec, KEEPER, LABEL_HELPER, Mount, of_image};
use crate::world::error::{Error, Result};
use crate::world::helper_container::labelled;
use crate::world::volume::*;

/// Where a keeper mounts its volume.
const KEPT_AT: &str = "/pgscript-volume";

impl State {
    /// Makes a container of pgscript's own, which says by whom it was made.
    pub(super) fn create_helper(&mut self, context: &Context, spec: ContainerSpec) -> Result<String> {
        let image = spec.image.as_deref().and_then(|image| self.image(image));
        let declared = image.map(|image| image.shown.volumes.clone()).unwrap_or_default();
        self.create(&labelled(spec, &context.owner, &declared)?)
    }

    /// The volume to fill, and whether it is new: an earlier call for the same purpose may have made it.
    fn target(&mut self, to: &str, label: &str, from: &str, options: &NewVolume) -> Result<bool> {
        let is_new = !self.volumes.contains_key(to);
        if is_new {
            let mut labels = options.labels.clone();
            labels.insert(label.into(), from.into());
            self.make_volume(to, "local", &labels, &BTreeMap::new())?;
        }
        if self.known_volume(to)?.labels.get(label).is_some_and(|name| name == from) {
            return Ok(is_new);
        }
        Err(Error::refused("volume.exists", format!("volume {to} exists already, and was not made of {from}"))
            .hint(format!("name another volume; docker volume inspect {to} shows what this one is")))
    }

    fn keepers(&self, volume: &str) -> Vec<Container> {
        self.holders(volume).filter(|c| is_keeper(c)).cloned().collect()
    }

    fn shown(&self, volume: &str) -> Result<world::Volume> {
        self.known_volume(volume).map(|volume| self.shown_volume(volume))
    }
}

fn is_keeper(container: &Container) -> bool {
    container.labels.get(LABEL_HELPER).is_some_and(|purpose| purpose == KEEPER)
}

fn different(from: &str, to: &str) -> Result<()> {
    if from == to {
        return Err(Error::usage("volume.exists", format!("{from} is the name the volume has already")));
    }
    Ok(())
}

/// Only a directory of the engine's own can be renamed, or have one beside it.
fn check_driver(volume: &Volume, code: &str, verb: &str) -> Result<()> {
    let why = match (volume.driver.as_str(), volume.options.is_empty()) {
        ("local", true) => return Ok(()),
        ("local", false) => {
            let options: Vec<_> = volume.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("its driver has options ({})", options.join(", "))
        }
        (driver, _) => format!("its driver is {driver}, not local"),
    };
    Err(Error::refused(code, format!("volume {} can't be {verb}: {why}", volume.name))
        .hint("back it up and restore it into a new volume instead: volume::backup, volume::restore"))
}

pub fn rename(context: &Context, from: &str, to: &str, options: &NewVolume) -> Result<world::Volume> {
    different(from, to)?;
    let act = |verb: &str, what: &str, act: &mut dyn FnMut(&mut State) -> Result<()>| {
        context.cancel.check()?;
        context.sim.act(&format!("{verb} {what}"), act)
    };
    if context.sim.read(|state| Ok(!state.volumes.contains_key(from)))? {
        return context.sim.read(|state| moved_before(state, from, to));
    }
    let (keepers, is_moved) = context.sim.read(|state| look(state, from, to))?;
    if !is_moved {
        let mut is_new = false;
        let mut make = |state: &mut State| {
            is_new = state.target(to, LABEL_MOVED_FROM, from, options)?;
            Ok(())
        };
        act("create volume", to, &mut make)?;
        let image = keepers.first().map(|keeper| keeper.image_id.clone());
        // Before the content comes, so that it is never without one.
        let kept = image.map_or(Ok(()), |image| keep(context, to, Some(&image)).map(|_| ()));
        let handed = kept.and_then(|()| act("move volume", from, &mut |state| shift(state, from, to)));
        if let (Err(error), true) = (&handed, is_new) {
            take_back(context, to);
            return Err(error.clone());
        }
        handed?;
    }
    for keeper in &keepers {
        act("remove", &keeper.name, &mut |state| state.remove(&keeper.id, true))?;
    }
    act("remove volume", from, &mut |state| {
        if !state.known_volume(from)?.tree.is_empty() {
            let message = format!("volume {from} is not removed, for it is not empty");
            return Err(Error::refused("volume.not_empty", message)
                .hint("something was written to it meanwhile: look at it, and move or remove that first"));
        }
        state.drop_volume(from)
    })?;
    context.sim.read(|state| state.shown(to))
}

/// Where `from` is gone: `to`, when an earlier call made it of `from`.
fn moved_before(state: &State, from: &str, to: &str) -> Result<world::Volume> {
    let missing = |why: String| Error::failed("volume.not_found", why).hint("docker volume ls");
    let target = state.volumes.get(to).filter(|v| v.labels.get(LABEL_MOVED_FROM).is_some_and(|name| name == from));
    let target = target.ok_or_else(|| missing(format!("there is no volume {from}")))?;
    if target.tree.is_empty() {
        let why = format!("there is no volume {from}, and {to}, which was made for its content, is empty");
        return Err(missing(why));
    }
    Ok(state.shown_volume(target))
}

/// The keepers of `from`, and whether its content has been moved already.
fn look(state: &State, from: &str, to: &str) -> Result<(Vec<Container>, bool)> {
    let source = state.known_volume(from)?;
    check_driver(source, "volume.cannot_move", "moved")?;
    state.check_unused(from)?;
    let others: Vec<_> = state.holders(from).filter(|c| !is_keeper(c)).collect();
    if !others.is_empty() {
        let named: Vec<_> = others.iter().map(|c| format!("{} ({})", c.name, c.state)).collect();
        let names: Vec<_> = others.iter().map(|c| c.name.as_str()).collect();
        let message = format!("volume {from} can't be moved: containers mount it: {}", named.join(", "));
        return Err(Error::refused("volume.in_use", message)
            .hint(format!("remove them first: docker container rm {}", names.join(" "))));
    }
    let is_waiting_filled = match state.volumes.get(to) {
        None => false,
        Some(target) if target.labels.get(LABEL_MOVED_FROM).is_none_or(|name| name != from) => {
            let message = format!("volume {to} exists already, and was not made of {from}");
            return Err(Error::refused("volume.exists", message)
                .hint(format!("name another volume; docker volume inspect {to} shows what this one is")));
        }
        Some(target) => {
            state.check_unused(to)?;
            !target.tree.is_empty()
        }
    };
    if is_waiting_filled && !source.tree.is_empty() {
        return Err(both_filled(from, to));
    }
    Ok((state.keepers(from), is_waiting_filled))
}

fn both_filled(from: &str, to: &str) -> Error {
    Error::refused("volume.not_empty", format!("volume {from} can't be moved to {to}: both hold something"))
        .hint("look at both: something filled one of them again after an earlier move that did not come to its end")
}

fn shift(state: &mut State, from: &str, to: &str) -> Result<()> {
    if !state.known_volume(to)?.tree.is_empty() {
        return Err(both_filled(from, to));
    }
    let tree = match state.volumes.get_mut(from) {
        Some(volume) => std::mem::take(&mut volume.tree),
        None => return state.known_volume(from).map(|_| ()),
    };
    if let Some(volume) = state.volumes.get_mut(to) {
        volume.tree = tree;
    }
    Ok(())
}

/// Removes a volume that a call has made and that has stayed empty.
fn take_back(context: &Context, volume: &str) {
    // The failure that led here is what the caller hears of; what is left is found by the next call.
    let _ = context.sim.act(&format!("remove volume {volume}"), |state| {
        if state.known_volume(volume)?.tree.is_empty() {
            state.keepers(volume).iter().try_for_each(|keeper| state.remove(&keeper.id, true))?;
            state.drop_volume(volume)?;
        }
        Ok(())
    });
}

pub fn clone_to(context: &Context, from: &str, to: &str, options: &NewVolume) -> Result<world::Volume> {
    different(from, to)?;
    context.sim.read(|state| {
        state.known_volume(from)?;
        state.check_unwritten(from)
    })?;
    context.cancel.check()?;
    let is_new =
        context.sim.act(&format!("create volume {to}"), |state| state.target(to, LABEL_CLONED_FROM, from, options))?;
    let filled = fill_clone(context, from, to);
    if is_new && filled.is_err() {
        // It may fill a disk.
        let _ = context.sim.act(&format!("remove volume {to}"), |state| {
            state.keepers(to).iter().try_for_each(|keeper| state.remove(&keeper.id, true))?;
            state.drop_volume(to)
        });
    }
    filled?;
    context.sim.read(|state| state.shown(to))
}

/// The copy grows beside the new volume's content: until it is whole, that is empty.
fn fill_clone(context: &Context, from: &str, to: &str) -> Result<()> {
    let (keeper, source, target) = context.sim.read(|state| {
        state.check_unused(to)?;
        let target = state.known_volume(to)?;
        check_driver(target, "volume.cannot_clone", "cloned")?;
        let keeper = state.keepers(from).into_iter().next();
        Ok((keeper, state.known_volume(from)?.tree.clone(), target.tree.clone()))
    })?;
    if let Some(keeper) = keeper {
        keep(context, to, Some(&keeper.image_id))?;
    }
    if !target.is_empty() {
        if target.is_same(&source) {
            return Ok(());
        }
        let message = format!("volume {to} holds a copy of {from}, and one of them has changed since");
        return Err(Error::refused("volume.exists", message).hint("name another volume, or remove that copy"));
    }
    let (change, label) = (format!("clone volume {from}"), format!("clone {from}"));
    work(context, &change, &label, source.bytes(), |state, piece| {
        state.need_room(piece.part(source.bytes()), &format!("volume {to}"))?;
        if !piece.is_last() {
            return Ok(());
        }
        state.check_unwritten(from)?;
        if !state.known_volume(from)?.tree.is_same(&source) {
            let message = format!("the copy of volume {from} is not the same as the volume");
            return Err(Error::failed("volume.changed", message)
                .hint("something writes to the volume: stop it, then try again"));
        }
        if let Some(volume) = state.volumes.get_mut(to) {
            volume.tree = Tree { is_unsynced: false, ..source.clone() };
        }
        Ok(())
    })
}

pub fn keep(context: &Context, volume: &str, image: Option<&str>) -> Result<world::Container> {
    context.cancel.check()?;
    context.sim.act(&format!("keep volume {volume}"), |state| {
        state.known_volume(volume)?;
        // One that somebody has started has ended, and counts as exited.
        let (good, ended): (Vec<_>, Vec<_>) = state.keepers(volume).into_iter().partition(|c| c.state == "created");
        let id = match good.into_iter().next() {
            Some(keeper) => keeper.id,
            None => {
                let spare = spare_images(state, volume);
                ended.iter().try_for_each(|keeper| state.remove(&keeper.id, true))?;
                of_image(image, || Ok(spare), |image| make_keeper(state, context, volume, image))?
            }
        };
        let missing = || Error::failed("docker.not_found", format!("No such container: {id}"));
        state.show(&id).ok_or_else(missing)
    })
}

/// Images of the volume's containers first, then all others.
fn spare_images(state: &State, volume: &str) -> Vec<String> {
    let mut near: Vec<_> = state.holders(volume).map(|c| c.image_id.clone()).collect();
    near.extend(state.containers().map(|c| c.image_id.clone()));
    near.extend(state.images.iter().map(|image| image.shown.id.clone()));
    near
}

fn make_keeper(state: &mut State, context: &Context, volume: &str, image: &str) -> Result<String> {
    let mount = Mount {
        kind: "volume".into(),
        name: volume.to_owned(),
        source: String::new(),
        destination: KEPT_AT.into(),
        read_only: false,
    };
    let spec = ContainerSpec {
        name: Some(format!("{volume}-keeper")),
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/never-started".into()]),
        labels: Some(BTreeMap::from([(LABEL_HELPER.into(), KEEPER.into())])),
        mounts: vec![mount],
        network: Some("none".into()),
        ..ContainerSpec::default()
    };
    state.create_helper(context, spec)
}

pub fn unkeep(context: &Context, volume: &str) -> Result<()> {
    for keeper in context.sim.read(|state| Ok(state.keepers(volume)))? {
        context.sim.act(&format!("remove {}", keeper.name), |state| state.remove(&keeper.id, true))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
