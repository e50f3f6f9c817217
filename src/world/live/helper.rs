//! A running container that does nothing but hold programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use crate::event::Event;
use crate::world::container::{ContainerEngine, ContainerSpec, LABEL_HELPER};
use crate::world::error::Result;

/// See the module; removed when dropped.
pub struct Helper {
    context: Context,
    pub engine: Arc<dyn ContainerEngine>,
    pub id: String,
}

impl Helper {
    /// Starts one of the image, user, mounts and network of `spec`.
    pub fn start(context: &Context, engine: &Arc<dyn ContainerEngine>, spec: ContainerSpec) -> Result<Self> {
        let id = engine.create(&sleeping("client", spec))?.id;
        let helper = Self { context: context.clone(), engine: engine.clone(), id };
        helper.engine.start(&helper.id)?;
        Ok(helper)
    }
}

/// A container that does nothing but hold the programs of its image; `purpose` is the value of its label.
pub fn sleeping(purpose: &str, spec: ContainerSpec) -> ContainerSpec {
    ContainerSpec {
        entrypoint: Some(vec!["sleep".into()]),
        command: Some(vec!["2147483647".into()]),
        labels: Some(BTreeMap::from([(LABEL_HELPER.to_owned(), purpose.to_owned())])),
        restart_policy: Some("no".into()),
        ..spec
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Removed after Ctrl-C as well: left behind, it would hold networks, volumes and files.
        let removed = self.context.cancel.in_spite(|| self.engine.remove(&self.id, true));
        if let Err(error) = removed {
            let id = self.id.get(..12).unwrap_or(&self.id);
            let text = format!("the helper container {id} was not removed ({error}); type: docker rm -f {id}");
            self.context.emit(Event::Warn { text });
        }
    }
}
