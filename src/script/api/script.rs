//! Global functions: parameters, steps, and errors a script raises.

use rhai::Dynamic;

use super::Registrar;
use crate::script::record::Entry;
use crate::script::{parameters, steps};
use crate::world::Error;

/// Declares the functions that need no namespace, and the types every script meets.
pub fn register(registrar: &mut Registrar) {
    registrar.value::<Error>("Error");
    registrar.value::<crate::world::Secret>("Secret");
    properties(registrar);
    texts(registrar);
    registrar.namespace("", "Parameters, steps and errors; written without a namespace.", |namespace| {
        namespace.function(
            "param(name: string, options: Map = #{}) -> any",
            "Declares a parameter of the script and gives its value, the same one each time.\n\
             Options: `help`; `type` (`string`, `int`, `bool`, `path`, `list`, `secret` or `choice`; that of the \
             default when left out, else `string`); `choices` (for `choice`); `default` (none makes the parameter \
             required; `()` makes it optional).\n\
             The value comes from `--set name=value`, the parameters file, the environment (`PGSCRIPT_NAME`), the \
             default, or a question on the terminal, in that order. A secret is never taken from `--set`, which \
             other users could read.",
            |call| Ok(parameters::param(call)?),
        );
        namespace.function(
            "step(name: string, body: Fn, options: Map = #{}) -> any",
            "Runs `body` as a step and gives its value. What changes the outside world belongs in a step; \
             `return` in the body ends the step.\n\
             Options: `undo` (`|value| …` or `|| …`): puts back what the step did, when the run fails or is \
             cancelled before a `commit` step; it also runs when the step itself failed half way (`value` is then \
             `()`), and must do nothing where nothing was done; `undo: false` says that another step's undo takes \
             back what this one does. `commit: true`: from here on nothing is undone \
             automatically.\n\
             What is to become of a step that was cut off in its middle (a kill, a power cut) when the run is resumed: \
             `repeatable: true`: it runs again. `probe` (`|| …`): finds out; `()` says it has not happened and runs \
             again, anything else is its value. Without both the operator is asked.\n\
             `open_work: true`: where it fails the run goes on without it, and counts as done in the end; it is named \
             as left open, and a resume does it. Its value is `()` then.\n\
             The value is journalled: plain data and handles only. A step that is done is not run again when the run \
             is resumed; its recorded value is given.",
            steps::step,
        );
        namespace.function(
            "on_rollback(look: Fn)",
            "Calls `look` before a rollback puts anything back: to say what going back costs, and to keep what would \
             be lost. It may change the outside world as an undo may.",
            steps::on_rollback,
        );
        namespace.function(
            "after_rollback(look: Fn)",
            "Calls `look` after a rollback, also one that is automatic, has put everything back, and before that is \
             said: an error there says what is not as it was. Then the rollback is not complete, and the next one puts \
             back everything again. It must only look.",
            steps::after_rollback,
        );
        namespace.function(
            "no_rollback(reason: string)",
            "From here on this run can't be put back: `pgscript rollback` refuses with `reason`, and only says how to \
             bring it to its end. For what removes, and for what is a way back itself.",
            steps::no_rollback,
        );
        namespace.function(
            "on_failure(text: string)",
            "Says what the operator should type if the run fails from here on. Replaces what was said before.",
            |call| {
                let text = call.string("text")?;
                call.session.write(Entry::Recovery { text: text.clone() })?;
                call.session.steps().set_recovery(text);
                Ok(Dynamic::UNIT)
            },
        );
        raising(namespace);
    });
}

fn raising(namespace: &mut super::Namespace<'_>) {
    namespace.function(
        "fail(code: string, message: string, hint: string = \"\")",
        "Raises an error that a script can catch: what was tried did not work. The run ends with exit code 1.",
        |call| Err(raised(call, Error::failed)?.into()),
    );
    namespace.function(
        "refuse(code: string, message: string, hint: string = \"\")",
        "Raises an error that says: a check before the work refused. The run ends with exit code 3.",
        |call| Err(raised(call, Error::refused)?.into()),
    );
}

fn raised(call: &super::call::Call<'_>, make: fn(String, String) -> Error) -> crate::world::Result<Error> {
    let error = make(call.string("code")?, call.string("message")?);
    let hint = if call.has("hint") { call.string("hint")? } else { String::new() };
    Ok(if hint.is_empty() { error } else { error.hint(hint) })
}

/// How errors and secrets look in a text: the message, and dots.
fn texts(registrar: &mut Registrar) {
    use crate::world::Secret;
    registrar.text("to_string", |error: &Error| error.message.clone());
    registrar.text("to_debug", |error: &Error| format!("Error({}: {})", error.code, error.message));
    registrar.text("to_string", Secret::to_string);
    registrar.text("to_debug", Secret::to_string);
}

fn properties(registrar: &mut Registrar) {
    registrar.value_property::<Error>(
        "Error",
        "code",
        "string",
        "Stable name of what happened: `docker.not_found`.",
        |e| e.code.clone().into(),
    );
    registrar.value_property::<Error>("Error", "message", "string", "What happened, for people.", |e| {
        e.message.clone().into()
    });
    registrar.value_property::<Error>(
        "Error",
        "hint",
        "string",
        "What to type or check next; `()` when there is none.",
        |e| e.hint.clone().map_or(Dynamic::UNIT, Dynamic::from),
    );
}
