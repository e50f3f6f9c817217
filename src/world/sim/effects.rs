//! What commands and playbooks do to a simulated world.

use serde_json::{Map, Value};

use super::State;
use super::state::Effect;

/// What a deploy takes, in milliseconds.
pub(super) const DEPLOY: u64 = 20_000;

impl State {
    /// Does it, or gives why it fails. `variables`: those of the host that a playbook runs on.
    pub fn effect(&mut self, effect: &Effect, variables: &Map<String, Value>) -> Result<(), String> {
        match effect {
            Effect::Nothing => Ok(()),
            Effect::Fails { message } => Err(message.clone()),
            Effect::Deploy { project, version } => {
                let major = match version.is_empty() {
                    true => self.prepared(project),
                    false => Some(major(version, variables)?),
                };
                self.pass(DEPLOY);
                self.compose_up(project, major).map_err(|error| error.message)
            }
        }
    }
}

/// A major, or the value of the variable that is called so.
fn major(version: &str, variables: &Map<String, Value>) -> Result<u32, String> {
    let value = variables.get(version).map_or(version.to_owned(), |value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    value.parse().map_err(|_| format!("{version} is `{value}`, not a version of PostgreSQL"))
}
