//! Whether the world is still the one that a plan was made for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Basis, Plan};
use crate::world::{Error, Result};

/// Refuses where `now`, a plan of the same script that was made just now, rests on something else than `before`.
///
/// Errors: `plan.other_version`, `plan.other_script`, `plan.other_parameters`, `plan.world_moved`.
pub fn refuse_moved(before: &Plan, now: &Plan) -> Result<()> {
    let again = format!("nothing was done. Look at what is different, then plan again: pgscript plan {}", now.script);
    let refuse = |code: &str, what: &str, found: Vec<String>| match found.is_empty() {
        true => Ok(()),
        false => Err(Error::refused(code, format!("{what}:\n  {}", found.join("\n  "))).hint(again.clone())),
    };
    let sources = changed(&before.basis.sources, &now.basis.sources);
    let script = |name: String| if name.is_empty() { now.script.clone() } else { format!("module {name}") };
    let mut scripts: Vec<_> = sources.into_iter().map(script).collect();
    if before.script != now.script {
        scripts.insert(0, format!("the plan is of {}, not of {}", before.script, now.script));
    }
    refuse("plan.other_script", "the script is another one than was planned", scripts)?;
    let parameters = changed(&before.parameters, &now.parameters);
    let value = |plan: &Plan, name: &String| match plan.parameters.get(name) {
        Some(Some(value)) => value.to_string(),
        _ => "not given".to_owned(),
    };
    let parameters = parameters
        .into_iter()
        .map(|name| format!("{name} is {}, and was planned with {}", value(now, &name), value(before, &name)));
    refuse("plan.other_parameters", "the parameters are others than were planned", parameters.collect())?;
    refuse("plan.world_moved", "the world has moved since the plan was made", moves(&before.basis, &now.basis))
}

/// Names of what is otherwise, there or not there.
fn changed<V: PartialEq>(before: &BTreeMap<String, V>, now: &BTreeMap<String, V>) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

/// What has moved, each in words.
fn moves(before: &Basis, now: &Basis) -> Vec<String> {
    let mut found = Vec::new();
    if before.engine != now.engine {
        found.push("it is another Docker engine".to_owned());
    }
    for name in changed(&before.containers, &now.containers) {
        found.push(match (before.containers.get(&name), now.containers.get(&name)) {
            (Some(_), None) => format!("container {name} is gone"),
            (None, _) => format!("container {name} is new"),
            (Some(was), Some(is)) if was.image_id != is.image_id => format!("container {name} has another image"),
            (Some(was), Some(is)) if was.id != is.id => format!("container {name} was created again"),
            (Some(was), Some(is)) => format!("container {name} is {}, and was {}", is.state, was.state),
        });
    }
    let image = |name| format!("the tag {name} means another image");
    found.extend(changed(&before.images, &now.images).into_iter().map(image));
    let gone = before.volumes.difference(&now.volumes).map(|name| format!("volume {name} is not used any more"));
    let new = now.volumes.difference(&before.volumes).map(|name| format!("volume {name} is used now"));
    found.extend(gone.chain(new));
    let cluster = |name| format!("the server of {name} runs on another cluster, or another version");
    found.extend(changed(&before.clusters, &now.clusters).into_iter().map(cluster));
    found
}
