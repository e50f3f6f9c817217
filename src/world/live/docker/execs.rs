//! Commands that others have started in a container, as far as the engine remembers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;

use super::Docker;
use super::errors::{checked_name, during};
use crate::world::container::ExecEvent;
use crate::world::error::Result;

/// The stream ends when the engine's clock has come to where ours is.
const PATIENCE: Duration = Duration::from_secs(2);
const CREATED: &str = "exec_create: ";

/// The ids of what this process has started by itself.
#[derive(Clone, Default)]
pub(super) struct OwnExecs(Arc<Mutex<HashSet<String>>>);

impl OwnExecs {
    pub(super) fn add(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }

    fn has(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

impl Docker {
    pub(super) async fn foreign_execs(&self, container: &str, since: u64) -> Result<Vec<ExecEvent>> {
        let of = |value: &str| vec![value.to_owned()];
        let filters =
            HashMap::from([("container", of(checked_name("container", container)?)), ("event", of("exec_create"))]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (since, until) = (since.to_string(), format!("{}.{:09}", now.as_secs(), now.subsec_nanos()));
        let options = EventsOptionsBuilder::new().since(&since).until(&until).filters(&filters).build();
        let mut events = Box::pin(self.client().await?.events(Some(options)));
        let mut found = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(PATIENCE, events.next()).await {
            found.extend(command(event.map_err(during("list events"))?, |id| self.own_execs.has(id)));
        }
        Ok(found)
    }
}

/// Of the command only its name: its arguments may hold secrets, or people's records.
fn command(event: EventMessage, is_ours: impl Fn(&str) -> bool) -> Option<ExecEvent> {
    let attributes = event.actor.unwrap_or_default().attributes.unwrap_or_default();
    if attributes.get("execID").is_some_and(|id| is_ours(id)) {
        return None;
    }
    let action = event.action?;
    let word = action.strip_prefix(CREATED)?.split_whitespace().next()?;
    let program = word.rsplit('/').next().unwrap_or(word).to_owned();
    Some(ExecEvent { at: event.time.unwrap_or_default().max(0) as u64, program })
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, id: &str) -> EventMessage {
        let attributes = HashMap::from([("execID".to_owned(), id.to_owned())]);
        let actor = Some(EventActor { attributes: Some(attributes), ..EventActor::default() });
        EventMessage { action: Some(action.into()), time: Some(7), actor, ..EventMessage::default() }
    }

    #[test]
    fn a_writer_is_named_by_its_program_alone() {
        let found = |action: &str, id: &str| command(event(action, id), |id| id == "own").map(|e| (e.at, e.program));
        assert_eq!(found("exec_create: psql -c secret", "x"), Some((7, "psql".into())));
        assert_eq!(found("exec_create: /usr/bin/psql postgresql://u:secret@h/d", "x"), Some((7, "psql".into())));
        assert_eq!(found("exec_create: psql -X", "own"), None);
        assert_eq!(found("exec_start: psql", "x"), None);
        assert_eq!(found("exec_create: ", "x"), None);
    }
}
