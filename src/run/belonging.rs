//! The engine that a run belongs to: the one that has answered it first. Names of containers and volumes mean something
//! there only; what has the same names on another one is not the run's.

use std::collections::BTreeMap;

use super::lock;
use crate::script::record::Engine;
use crate::world::container::EngineInfo;
use crate::world::{Doorkeeper, Error, Result};

/// The engine to be noted, if that is news; another one than the known one is `run.other_engine`, unless the operator
/// has named it among `losses`. `again` is this command, as it is typed again.
pub fn meets(
    known: Option<&Engine>,
    found: &EngineInfo,
    losses: &[String],
    run: &str,
    again: &str,
) -> Result<Option<Engine>> {
    let EngineInfo { id, host, named, root_dir: root, .. } = found.clone();
    match known {
        Some(known) if known.id == id => Ok(None),
        Some(known) if !losses.contains(&format!("engine:{id}")) => Err(other(run, again, known, found)),
        _ => Ok(Some(Engine { id, host, root, named })),
    }
}

fn other(run: &str, again: &str, known: &Engine, found: &EngineInfo) -> Error {
    let Engine { id, host, root, named } = known;
    let message = format!(
        "run {run} belongs to the Docker engine of {host} with {root} ({named}, id {id}); what answers at {} is \
         another one, of {} with {} (id {})",
        found.endpoint, found.host, found.root_dir, found.id
    );
    Error::refused("run.other_engine", message).hint(format!(
        "nothing was done: what has the same names there is not this run's\n\
         with the run's own engine:  {again} --docker {named}\n\
         only if it is the same engine, which has got another id since (set up anew, or restored):\n  \
         {again} --docker {} --allow-data-loss engine:{}",
        found.named, found.id
    ))
}

/// Who only looks where a run stands.
pub struct Onlooker {
    pub engine: Option<Engine>,
    pub run: String,
}

impl Doorkeeper for Onlooker {
    fn meets(&self, engine: &EngineInfo) -> Result<()> {
        let again = format!("pgscript status {}", self.run);
        meets(self.engine.as_ref(), engine, &[], &self.run, &again).map(|_| ())
    }

    fn abandoned(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        lock::abandoned(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_engine_of_before_or_one_that_the_operator_names_is_the_run_s() {
        let info =
            |id: &str| EngineInfo { id: id.into(), host: "h".into(), named: "ssh://h".into(), ..Default::default() };
        let found = info("A:B");
        let known = meets(None, &found, &[], "", "").unwrap().unwrap();
        assert_eq!((known.id.as_str(), known.named.as_str()), ("A:B", "ssh://h"));
        let again =
            |id: &str, losses: &[String]| meets(Some(&known), &info(id), losses, "upgrade-1", "pgscript resume");
        assert_eq!(again("A:B", &[]).unwrap(), None);
        let error = again("C:D", &["engine:A:B".into()]).unwrap_err();
        assert_eq!(error.code, "run.other_engine");
        let hint = error.hint.unwrap();
        assert!(hint.contains("pgscript resume --docker ssh://h --allow-data-loss engine:C:D"), "{hint}");
        assert_eq!(again("C:D", &["engine:C:D".into()]).unwrap().unwrap().id, "C:D");
    }
}
