//! Who may be spoken to, what others have left on the engine, and what helpers say of themselves.

use std::sync::PoisonError;

use super::containers::Containers;
use super::state::Container;
use crate::event::Event;
use crate::world::container::{ContainerEngine, ContainerSpec, LABEL_HELPER};
use crate::world::error::Result;
use crate::world::helper_container::{is_helper, labelled, why_left};

impl Containers {
    /// Before anything else is asked of the engine: whoever keeps the door has its say about it, and what is left of
    /// others is removed. Once for each that comes to keep the door.
    pub(super) fn admit(&self) -> Result<()> {
        self.context.cancel.check()?;
        let (turn, doorkeeper) = self.context.owner.doorkeeper();
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if *admitted == Some(turn) {
            return Ok(());
        }
        if let Some(doorkeeper) = doorkeeper {
            doorkeeper.meets(&self.context.sim.engine()?)?;
        }
        *admitted = Some(turn);
        drop(admitted);
        // What can't be removed now is found by the next one; what it blocks says so.
        _ = self.sweep_leftovers(&[]);
        Ok(())
    }

    /// Why a helper is left over, with its id.
    fn left(&self, volumes: &[&str]) -> Result<Vec<(String, String)>> {
        let (_, doorkeeper) = self.context.owner.doorkeeper();
        let helpers = self.read(|state| {
            let is_helper = |c: &&Container| c.labels.contains_key(LABEL_HELPER);
            Ok(state.containers().filter(is_helper).cloned().collect::<Vec<_>>())
        })?;
        let why = |helper: Container| {
            let is_in_the_way = volumes.iter().any(|volume| helper.mounts_volume(volume));
            let why = why_left(&self.context.owner, &helper.labels, is_in_the_way, doorkeeper.as_deref())?;
            Some((helper.id, why))
        };
        Ok(helpers.into_iter().filter_map(why).collect())
    }

    /// Removes the containers of pgscript's own that are nobody's any more, also those that mount one of `volumes` and
    /// of which nobody knows the process.
    pub(super) fn sweep_leftovers(&self, volumes: &[&str]) -> Result<()> {
        if self.context.owner.only_looks() {
            return Ok(());
        }
        for (id, why) in self.left(volumes)? {
            let removed = self.act_on("remove", &id, |state| state.remove(&id, true));
            if removed.is_ok() && !why.is_empty() {
                self.context.emit(Event::Warn { text: why });
            }
        }
        Ok(())
    }

    /// A helper gets its labels.
    pub(super) fn labelled(&self, spec: &ContainerSpec) -> Result<ContainerSpec> {
        if !is_helper(spec) {
            return Ok(spec.clone());
        }
        let image = match &spec.image {
            Some(image) => self.image(image)?,
            None => None,
        };
        labelled(spec.clone(), &self.context.owner, &image.map(|image| image.volumes).unwrap_or_default())
    }
}
