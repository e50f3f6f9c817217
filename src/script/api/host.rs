//! `host::` files, space, commands and clock of this machine.

use std::time::Duration;

use rhai::{Array, Dynamic, Map};

use super::{Namespace, Registrar, values};
use crate::script::guards;
use crate::world::host::{Command, Entry};
use crate::world::{Error, Secret};

/// Declares the functions.
pub fn register(registrar: &mut Registrar) {
    registrar.namespace("host", "Files (private by default), space, commands and clock of this machine.", |ns| {
        look(ns);
        files(ns);
        machine(ns);
    });
}

fn look(ns: &mut Namespace<'_>) {
    ns.function("exists(path: string) -> bool", "Whether a file or directory exists.", |call| {
        Ok(call.world().host.entry(&call.path("path")?)?.is_some().into())
    });
    ns.function(
        "list(dir: string) -> Array",
        "Entries of a directory, by name: #{ path, name, is_dir, size, mode, modified } each.",
        |call| {
            let entries = call.world().host.list(&call.path("dir")?)?;
            Ok(entries.iter().map(entry).collect::<Array>().into())
        },
    );
    ns.function(
        "free_space(path: string) -> int",
        "Bytes free to us on the file system of a path, which need not exist yet.",
        |call| Ok((call.world().host.space(&call.path("path")?)?.free as i64).into()),
    );
    ns.function(
        "same_file_system(one: string, other: string) -> bool",
        "Whether two paths share one file system, and so its free space.",
        |call| {
            let host = &call.world().host;
            let (one, other) = (host.space(&call.path("one")?)?, host.space(&call.path("other")?)?);
            Ok((one.device == other.device).into())
        },
    );
    ns.function(
        "check_private(path: string)",
        "Proves that a directory which is there is private and ours, and that we can write to it; one that is not \
         there yet is fine.\n\nErrors: `host.not_private`, `host.not_writable`.",
        |call| {
            call.world().host.check_private(&call.path("path")?)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function("sha256(path: string) -> string", "Checksum of a file, as sha256sum prints it.", |call| {
        Ok(call.world().host.sha256(&call.path("path")?)?.into())
    });
}

fn entry(e: &Entry) -> Dynamic {
    let name = e.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Map::from([
        ("path".into(), e.path.display().to_string().into()),
        ("name".into(), name.into()),
        ("is_dir".into(), e.is_dir.into()),
        ("size".into(), (e.size as i64).into()),
        ("mode".into(), i64::from(e.mode).into()),
        ("modified".into(), e.modified.into()),
    ])
    .into()
}

fn files(ns: &mut Namespace<'_>) {
    ns.effect(
        "create_private_dir(path: string)",
        "Creates a directory and missing parents as 0700; an existing one must be private and ours.\n\n\
         Errors: `host.not_private`.",
        |call| {
            let path = call.path("path")?;
            call.effect(format!("mkdir -m 700 -p {}", path.display()))?;
            call.world().host.create_private_dir(&path)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function("read(path: string) -> string", "A text file.", |call| {
        let path = call.path("path")?;
        let text = String::from_utf8(call.world().host.read(&path)?)
            .map_err(|_| Error::failed("host.not_text", format!("{} is not UTF-8 text", path.display())))?;
        Ok(text.into())
    });
    ns.effect(
        "write(path: string, text: string, options: Map = #{})",
        "Writes a private file whole or not at all. An existing one only with `overwrite: true`, and a backup or dump \
         only where `host::remove_file` would remove it.\n\nErrors: `host.exists`, and those of `host::remove_file`.",
        |call| {
            let (path, text) = (call.path("path")?, call.string("text")?);
            let overwrite = call.options("options", &["overwrite"])?.bool("overwrite")?.unwrap_or(false);
            let lost = if overwrite { guards::artefact_loss(call.session, &path)? } else { Vec::new() };
            call.effect(format!("write {}", path.display()))?;
            guards::lose(call.session, &lost)?;
            call.world().host.write(&path, text.as_bytes(), overwrite)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function("read_json(path: string) -> any", "A JSON file as maps and arrays.", |call| {
        let path = call.path("path")?;
        let value = serde_json::from_slice(&call.world().host.read(&path)?)
            .map_err(|e| Error::failed("host.not_json", format!("{}: {e}", path.display())))?;
        Ok(values::from_json(value))
    });
    ns.function("read_yaml(path: string) -> any", "A YAML file as maps and arrays: a compose file, for one.", |call| {
        let path = call.path("path")?;
        let value = serde_saphyr::from_slice(&call.world().host.read(&path)?)
            .map_err(|e| Error::failed("host.not_yaml", format!("{}: {e}", path.display())))?;
        Ok(values::from_json(value))
    });
    ns.effect(
        "write_json(path: string, value: any, options: Map = #{})",
        "Writes plain data as a private JSON file, as `host::write`.",
        |call| {
            let path = call.path("path")?;
            let json = serde_json::to_vec_pretty(&values::to_json(&call.value("value"))?)
                .map_err(|e| Error::failed("host.not_json", format!("{}: {e}", path.display())))?;
            let overwrite = call.options("options", &["overwrite"])?.bool("overwrite")?.unwrap_or(false);
            let lost = if overwrite { guards::artefact_loss(call.session, &path)? } else { Vec::new() };
            call.effect(format!("write {}", path.display()))?;
            guards::lose(call.session, &lost)?;
            call.world().host.write(&path, &json, overwrite)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "remove_file(path: string)",
        "Removes a file. A backup or dump, or a part of one: only one of this run or of one that is over, and not the \
         last copy of its data.\n\n\
         Errors: `guard.last_copy`, `guard.artefact_in_use`, `guard.artefact_unknown` (no run has made it).",
        |call| {
            let path = call.path("path")?;
            let lost = guards::artefact_loss(call.session, &path)?;
            call.effect(format!("rm {}", path.display()))?;
            guards::lose(call.session, &lost)?;
            call.world().host.remove_file(&path)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "remove_dir(path: string)",
        "Removes a directory with everything in it; follows no links. With backups and dumps in it as \
         `host::remove_file`.\n\nErrors: those of `host::remove_file`.",
        |call| {
            let path = call.path("path")?;
            let lost = guards::artefact_loss(call.session, &path)?;
            call.effect(format!("rm -r {}", path.display()))?;
            guards::lose(call.session, &lost)?;
            call.world().host.remove_dir(&path)?;
            Ok(Dynamic::UNIT)
        },
    );
}

/// A value for a child's environment, where a secret may be.
fn clear_text(value: Dynamic) -> String {
    match value.try_cast_result::<Secret>() {
        Ok(secret) => secret.reveal().to_owned(),
        Err(value) => value.to_string(),
    }
}

fn machine(ns: &mut Namespace<'_>) {
    ns.function(
        "program(name: string) -> any",
        "The program that `host::run` would start by this name, as an absolute path: a name with a slash is a path \
         itself, any other is looked up in PATH. `()` where there is none that may be run.",
        |call| {
            let found = call.world().host.program(&call.string("name")?);
            Ok(found.map_or(Dynamic::UNIT, |path| path.display().to_string().into()))
        },
    );
    ns.effect(
        "run(argv: Array, options: Map = #{}) -> Map",
        "Runs a command of this machine; argv, not a shell string. Options: dir, env (a map; a secret in it is handed \
         on), stream (show its lines as they come), check (an exit code other than 0 is an error, true). Gives \
         #{ exit_code, stdout, stderr }.\n\n\
         Errors: `host.command_not_found`, `host.command_failed`.",
        |call| {
            let argv = call.strings("argv")?;
            let o = call.options("options", &["dir", "env", "stream", "check"])?;
            let env = o.map("env")?.unwrap_or_default();
            let env = env.into_iter().map(|(name, value)| (name.to_string(), clear_text(value))).collect();
            let command = Command { argv, dir: o.path("dir")?, env, stream: o.bool("stream")?.unwrap_or(false) };
            call.effect(command.argv.join(" "))?;
            let out = call.world().host.run(&command)?;
            if out.exit_code != 0 && o.bool("check")?.unwrap_or(true) {
                let stderr = String::from_utf8_lossy(&out.stderr);
                let message = format!("`{}` ended with {}: {}", command.argv.join(" "), out.exit_code, stderr.trim());
                return Err(Error::failed("host.command_failed", message).into());
            }
            Ok(super::docker::output(&out))
        },
    );
    ns.function("hostname() -> string", "This machine's name.", |call| Ok(call.world().host.hostname()?.into()));
    ns.function("now() -> string", "The time in UTC, RFC 3339 with seconds.", |call| {
        Ok(call.world().host.now().into())
    });
    ns.function(
        "seconds_since(time: string) -> int",
        "How many seconds ago a time was that `host::now` gave.",
        |call| {
            let read = |text: &str| {
                let moment = text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second);
                moment.map_err(|e| Error::failed("script.wrong_type", format!("{text:?} is no time: {e}")))
            };
            Ok((read(&call.world().host.now())? - read(&call.string("time")?)?).into())
        },
    );
    ns.function("sleep(seconds: number)", "Waits; Ctrl-C ends it.", |call| {
        call.session.check_reading()?;
        let value = call.value("seconds");
        let seconds = value.as_float().or_else(|_| value.as_int().map(|i| i as f64)).unwrap_or(0.0).max(0.0);
        call.world().host.sleep(Duration::from_secs_f64(seconds))?;
        Ok(Dynamic::UNIT)
    });
}
