//! Who may be spoken to, and what processes that are gone have left on the engine. Their programs go on: they would
//! write into the next attempt's directory, stay connected to the server, and hold on to its volume.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::Docker;
use super::connection::Connection;
use super::errors::during;
use crate::event::Event;
use crate::world::container::LABEL_HELPER;
use crate::world::error::Result;
use crate::world::helper_container::why_left;

impl Docker {
    /// Before anything else is asked of an engine: whoever keeps the door has its say about it, and what is left of
    /// others is removed. Once for each that comes to keep the door.
    pub(super) async fn admit(&self, connection: &Connection) -> Result<()> {
        let (turn, doorkeeper) = self.context.owner.doorkeeper();
        let mut admitted = connection.admitted.lock().await;
        if *admitted == Some(turn) {
            return Ok(());
        }
        if let Some(doorkeeper) = doorkeeper {
            doorkeeper.meets(&connection.info().await?)?;
        }
        *admitted = Some(turn);
        drop(admitted);
        // What can't be removed now is found by the next one; what it blocks says so.
        _ = self.sweep_leftovers(&[]).await;
        Ok(())
    }

    /// Removes the containers of pgscript's own that are nobody's any more; those of living processes, of other
    /// machines and of unfinished runs stay. Boxed, because its requests pass [`Docker::admit`] themselves.
    pub(super) fn sweep_leftovers<'a>(
        &'a self,
        volumes: &'a [&'a str],
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            if self.context.owner.only_looks() {
                return Ok(());
            }
            let filter = HashMap::from([("label", vec![LABEL_HELPER.to_owned()])]);
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
            let found = self.client().await?.list_containers(Some(options)).await.map_err(during("list containers"))?;
            let (_, doorkeeper) = self.context.owner.doorkeeper();
            for helper in found {
                let labels: BTreeMap<_, _> = helper.labels.unwrap_or_default().into_iter().collect();
                let mounts = helper.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name);
                let is_in_the_way = mounts.into_iter().any(|name| volumes.contains(&name.as_str()));
                let why = why_left(&self.context.owner, &labels, is_in_the_way, doorkeeper.as_deref());
                let (Some(id), Some(why)) = (helper.id, why) else { continue };
                let removed = self.remove_container(&id, true, true).await;
                if removed.is_ok() && !why.is_empty() {
                    self.context.emit(Event::Warn { text: why });
                }
            }
            Ok(())
        })
    }
}
