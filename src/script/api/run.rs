//! `run::` the durable run this script is part of.

use std::sync::Arc;

use rhai::Dynamic;

use super::{Registrar, values};
use crate::script::record::Verdict;
use crate::script::verdict;
use crate::world::postgres::{ANY_DATABASE, Server};

pub fn register(registrar: &mut Registrar) {
    registrar.namespace("run", "The durable run this script is part of.", |ns| {
        ns.function("id() -> string", "The run's name, as `pgscript resume` takes it: `upgrade-7`.", |call| {
            Ok(call.session.record.place()?.0.into())
        });
        ns.function(
            "directory() -> string",
            "The run's private directory (0700), with journal, log and frozen scripts; the place for its artefacts.",
            |call| Ok(call.session.record.place()?.1.display().to_string().into()),
        );
        ns.function(
            "lock(stack: string, options: Map = #{})",
            "From here on nobody else can run a procedure on this Compose project, from this machine or another one \
             that drives the same engine, until this run is over. Options: take_over (a run of this machine that \
             failed or was cut off gives way).\n\nErrors: `run.locked` says who holds it since when.",
            |call| {
                let take_over = call.options("options", &["take_over"])?.bool("take_over")?.unwrap_or(false);
                call.session.record.lock(call.world(), &call.string("stack")?, take_over)?;
                Ok(Dynamic::UNIT)
            },
        );
        ns.function(
            "is_going_back() -> bool",
            "Whether the script is only read for what puts its steps back. What it refuses then outside of steps, \
             after a step that had begun, would stand in the way back.",
            |call| Ok(call.session.steps().is_going_back().into()),
        );
        ns.function(
            "seconds(step: string) -> float",
            "How long a step of this run took that is done; () of one that is not.",
            |call| Ok(call.session.record.seconds(&call.string("step")?).map_or(Dynamic::UNIT, Dynamic::from)),
        );
        ns.function(
            "judges(subject: string, details: Map)",
            "The script is going to give its verdict on the subject. Where it fails instead, that is the verdict: not \
             ready, because of the error, whose code and message go with the details (as code and why).",
            |call| {
                let details = values::to_json(&call.value("details"))?;
                call.session.steps().judges(call.string("subject")?, details);
                Ok(Dynamic::UNIT)
            },
        );
        ns.function(
            "verdict(ready: bool, says: string, details: Map)",
            "What the script has come to, in one line that a person can act on, and in details for machines and later \
             runs: kept with the run, and shown by `pgscript status`.",
            |call| {
                let (ready, says) = (call.get("ready")?, call.string("says")?);
                let details = values::to_json(&call.value("details"))?;
                verdict::give(call.session, Verdict { ready, says, details })?;
                Ok(Dynamic::UNIT)
            },
        );
        ns.function(
            "list() -> Array",
            "The runs of this machine, oldest first: #{ id, script, state, directory, begun_at, verdict } each; the \
             last is () or #{ ready, says, details }.",
            |call| Ok(values::from_serde(&call.session.record.runs()?)),
        );
        ns.effect(
            "put_back(run: string, server: Server)",
            "Notes in another run's journal that all it did was put back by this one: it is over, as after `pgscript \
             rollback`. `server` is what the stack runs on now. A damaged journal is kept beside the mended one.\n\n\
             Errors: `run.unproven` unless the run has dumped the cluster that the server runs, or put none aside.",
            |call| {
                let (run, server): (_, Arc<Server>) = (call.string("run")?, call.get("server")?);
                let sql = "SELECT system_identifier::text AS identifier FROM pg_catalog.pg_control_system()";
                let rows = call.world().postgres.query(&server, ANY_DATABASE, sql, &[])?;
                let found = rows.first().and_then(|row| row.get("identifier")?.as_str()).unwrap_or_default();
                call.effect(format!("note in the journal of {run} that it was put back"))?;
                call.session.record.put_back(&run, found)?;
                Ok(Dynamic::UNIT)
            },
        );
        ns.effect(
            "forget(run: string)",
            "Notes in a run's journal that the copies it has made are removed: it can't be rolled back any more. \
             Before they are removed.\n\nErrors: `run.unfinished` unless it is done or rolled back.",
            |call| {
                let run = call.string("run")?;
                call.effect(format!("note in the journal of {run} that its copies are removed"))?;
                call.session.record.forget(&run)?;
                Ok(Dynamic::UNIT)
            },
        );
    });
}
