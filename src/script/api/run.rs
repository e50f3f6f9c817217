//! `run::` the durable run this script is part of.

use rhai::Dynamic;

use super::Registrar;

pub fn register(registrar: &mut Registrar<'_>) {
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
            "lock(stack: string)",
            "From here on nobody else can run a procedure on this Compose project, from this machine or another one that \
             drives the same engine, until this run is over.\n\nErrors: `run.locked` says who holds it since when.",
            |call| {
                call.session.record.lock(call.world(), &call.string("stack")?)?;
                Ok(Dynamic::UNIT)
            },
        );
    });
}
