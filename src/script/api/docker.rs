//! `docker::` containers, images and networks of the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic, Map};

use super::call::{Call, Options};
use super::{Namespace, Registrar, ScriptResult, values};
use crate::event::Event;
use crate::script::evidence::Fact;
use crate::script::{guards, witness};
use crate::world::container::{
    Container, ContainerFilter, ContainerSpec, EndpointOptions, ExecSpec, Image, Mount, NO_HISTORY, Network,
    NetworkSpec, Output,
};
use crate::world::host::Host;
use crate::world::postgres::image_setting;
use crate::world::{Error, Result, Secret, secret, sockets};

const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Whoever waits for long is told now and then what for.
const TELL_EACH: Duration = Duration::from_secs(10);

/// Declares the handle types and functions.
pub fn register(registrar: &mut Registrar) {
    handles(registrar);
    registrar.namespace("docker", "Containers, images and networks of the Docker engine.", |ns| {
        find(ns);
        life(ns);
        create(ns);
        inside(ns);
        images(ns);
        networks(ns);
    });
}

fn handles(r: &mut Registrar) {
    r.handle::<Container>("Container");
    let c = "Container";
    r.property::<Container>(c, "id", "string", "Full id.", |c| c.id.clone().into());
    r.property::<Container>(c, "name", "string", "Name without the leading slash.", |c| c.name.clone().into());
    r.property::<Container>(c, "image", "string", "Image reference it was created from.", |c| c.image.clone().into());
    r.property::<Container>(c, "image_id", "string", "Id of that image.", |c| c.image_id.clone().into());
    let doc = "State when it was looked at: created, running, paused, restarting, exited or dead.";
    r.property::<Container>(c, "state", "string", doc, |c| c.state.clone().into());
    r.property::<Container>(c, "running", "bool", "Whether it ran when it was looked at.", |c| c.is_running().into());
    r.property::<Container>(c, "started_at", "string", "Time of the last start (RFC 3339).", |c| {
        c.started_at.clone().into()
    });
    r.property::<Container>(c, "exit_code", "int", "Exit code of the last run.", |c| c.exit_code.into());
    r.property::<Container>(c, "restart_count", "int", "Restarts by the engine.", |c| c.restart_count.into());
    r.property::<Container>(c, "one_off", "bool", "Made by `docker compose run`.", |c| c.is_one_off().into());
    r.property::<Container>(c, "health", "string", "starting, healthy, unhealthy, or empty without a check.", |c| {
        c.health.clone().into()
    });
    r.property::<Container>(c, "restart_policy", "string", "no, always, unless-stopped, on-failure[:n].", |c| {
        c.restart_policy.clone().into()
    });
    r.property::<Container>(c, "project", "string", "Compose project; empty without one.", |c| {
        c.project.clone().into()
    });
    r.property::<Container>(c, "service", "string", "Compose service; empty without one.", |c| {
        c.service.clone().into()
    });
    r.property::<Container>(c, "labels", "Map", "Labels.", |c| values::from_serde(&c.labels));
    let doc = "Mounts: #{ kind, name, source, destination, read_only } each.";
    r.property::<Container>(c, "mounts", "Array", doc, |c| values::from_serde(&c.mounts));
    let doc = "Networks: #{ network, ip, aliases, endpoint } each; `endpoint` is what was asked for there, as the \
               options of `docker::connect`.";
    r.property::<Container>(c, "networks", "Array", doc, |c| values::from_serde(&c.networks));
    let doc = "`none`, `host`, `container:<id>`, `default`, or the network it was created in.";
    r.property::<Container>(c, "network_mode", "string", doc, |c| c.network_mode().to_owned().into());
    r.property::<Container>(c, "argv", "Array", "Entry point and command.", |c| values::from_serde(&c.argv()));
    r.property::<Container>(c, "command", "Array", "Command, without the entry point.", |c| {
        values::from_serde(&c.command())
    });
    r.property::<Container>(c, "user", "string", "As whom it runs; empty for the image's default, root.", |c| {
        c.inspect["Config"]["User"].as_str().unwrap_or_default().into()
    });
    let doc = "Ids of the containers whose network, processes or IPC it shares (`network_mode: service:NAME`).";
    r.property::<Container>(c, "shares_with", "Array", doc, |c| values::from_serde(&c.shares_with()));

    r.handle::<Image>("Image");
    r.property::<Image>("Image", "id", "string", "Id.", |i| i.id.clone().into());
    r.property::<Image>("Image", "tags", "Array", "References it is known by.", |i| values::from_serde(&i.tags));
    r.property::<Image>("Image", "size", "int", "Bytes.", |i| i.size.into());
    r.property::<Image>("Image", "volumes", "Array", "Paths declared with VOLUME.", |i| values::from_serde(&i.volumes));
}

fn find(ns: &mut Namespace<'_>) {
    ns.function(
        "info() -> Map",
        "The engine: id, endpoint, named (what reaches it again as --docker), version, api_version, host, root_dir, \
         userns_remap, is_local.\n\n\
         Errors: `docker.unreachable`.",
        |call| Ok(values::from_serde(&call.world().containers.info()?)),
    );
    ns.function(
        "containers(filter: Map = #{}) -> Array",
        "Containers in any state that meet all conditions given: project, service (Compose labels), volume \
         (mounts it), labels (`\"key\"` or `\"key=value\"`, one or several).",
        |call| {
            let o = call.options("filter", &["project", "service", "volume", "labels"])?;
            let filter = ContainerFilter {
                project: o.string("project")?,
                service: o.string("service")?,
                volume: o.string("volume")?,
                labels: o.strings("labels")?,
                running: false,
            };
            let found = call.world().containers.containers(&filter)?;
            Ok(found.into_iter().map(values::handle).collect::<Array>().into())
        },
    );
    ns.function(
        "container(name: string) -> Container",
        "The container with this name or id.\n\nErrors: `docker.not_found`.",
        |call| Ok(values::handle(call.world().containers.container(&call.string("name")?)?)),
    );
    ns.function(
        "service(project: string, service: string) -> Container",
        "The one container of a Compose service, found by its labels, so that Compose v1 and v2 names both work; what \
         `docker compose run` has made of the same service is none.\n\n\
         Errors: `docker.not_found` (lists what the project has), `docker.ambiguous`.",
        service,
    );
    ns.function(
        "inspect(container: Container) -> Container",
        "The container as it is now; a handle keeps what was true when it was made.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            Ok(values::handle(call.world().containers.container(&c.id)?))
        },
    );
    ns.function(
        "exists(name: string) -> bool",
        "Whether a container with this name or id exists, in any state.",
        |call| Ok(call.world().containers.existing(&call.string("name")?)?.is_some().into()),
    );
    ns.function(
        "env(container: Container, name: string) -> any",
        "An environment variable of the container as configured, or, of a running one, the text of the file that \
         `NAME_FILE` names; `()` when neither is set. A variable whose name speaks of a password, secret, token or key \
         comes as a secret.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let name = call.string("name")?;
            let Some(value) = image_setting(&*call.world().containers, &c, &name)? else { return Ok(Dynamic::UNIT) };
            if !secret::is_named(&name) {
                return Ok(value.into());
            }
            let secret = Secret::new(value);
            call.world().redactor.learn(&secret);
            Ok(Dynamic::from(secret))
        },
    );
}

fn service(call: &mut Call<'_>) -> ScriptResult {
    let (project, service) = (call.string("project")?, call.string("service")?);
    let filter = ContainerFilter { project: Some(project.clone()), ..Default::default() };
    let all = call.world().containers.containers(&filter)?;
    let is_of_it = |c: &&Container| c.service == service && !c.is_one_off();
    let mut found: Vec<_> = all.iter().filter(is_of_it).cloned().collect();
    match (found.len(), found.pop()) {
        (1, Some(container)) => Ok(values::handle(container)),
        (0, _) => {
            let known: Vec<_> = all.iter().map(|c| c.service.as_str()).collect();
            let hint = match known.is_empty() {
                true => "no container carries this project's label; `docker ps -a --format '{{.Names}} {{.Label \
                         \"com.docker.compose.project\"}}'` shows the projects"
                    .to_owned(),
                false => format!("the project has: {}", known.join(", ")),
            };
            let message = format!("no container of service {service} in project {project}");
            Err(Error::refused("docker.not_found", message).hint(hint).into())
        }
        (n, _) => {
            let message = format!("{n} containers of service {service} in project {project}; one was expected");
            Err(Error::refused("docker.ambiguous", message).into())
        }
    }
}

fn life(ns: &mut Namespace<'_>) {
    ns.effect(
        "start(container: Container)",
        "Starts a container; a running one is left alone.\n\nErrors: `guard.fence` for the application of a database \
         that was put aside, until the data is back, or proved to be the same in the new server; \
         `docker.half_started` for one that the engine was killed at starting and can't start any more: create one \
         like it.",
        start,
    );
    ns.effect(
        "stop(container: Container, options: Map = #{})",
        "Stops a container with its image's stop signal and waits for its end; SIGKILL after `timeout` seconds \
         (60). A stopped one is left alone.",
        |call| {
            let container = call.get("container")?;
            stop(call, &[container])
        },
    );
    ns.effect(
        "halt(containers: Array, options: Map = #{})",
        "Stops containers, all at the same time, and waits until each has ended; SIGKILL after `timeout` seconds (60).",
        |call| {
            let all = containers(call)?;
            stop(call, &all)
        },
    );
    ns.effect(
        "remove(container: Container, options: Map = #{})",
        "Removes a container, not its named volumes. A running one only with `force: true`. One with a database, which \
         this run has not made itself: only stopped, with its data on a volume, and after \
         `docker::save_definitions`.\n\n\
         Errors: `guard.container_running`, `guard.container_data`, `guard.container_definition`.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let force = call.options("options", &["force"])?.bool("force")?.unwrap_or(false);
            let now = call.world().containers.container(&c.id)?;
            guards::container_removal(call.session, &now)?;
            call.effect(format!("docker rm {}{}", if force { "-f " } else { "" }, c.name))?;
            witness::look(call.session, &now)?;
            call.world().containers.remove(&c.id, force)?;
            witness::released(call.session, &c.id)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect("rename(container: Container, name: string) -> Container", "Renames a container.", |call| {
        let (c, name): (Arc<Container>, _) = (call.get("container")?, call.string("name")?);
        call.effect(format!("docker rename {} {name}", c.name))?;
        call.world().containers.rename(&c.id, &name)?;
        Ok(values::handle(call.world().containers.container(&c.id)?))
    });
    ns.effect(
        "set_restart_policy(container: Container, policy: string)",
        "Sets the restart policy: no, always, unless-stopped, on-failure or on-failure:3. With `no` a restart of \
         the daemon does not bring the container back.\n\nErrors: `guard.fence` as in `docker::start`.",
        |call| {
            let (c, policy): (Arc<Container>, _) = (call.get("container")?, call.string("policy")?);
            if policy != "no" {
                guards::release(call.session, &c)?;
            }
            call.effect(format!("docker update --restart {policy} {}", c.name))?;
            call.world().containers.set_restart_policy(&c.id, &policy)?;
            witness::held(call.session, &c)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "wait_healthy(containers: Array, options: Map = #{})",
        "Waits until all containers run, are healthy where they have a health check, and have not restarted for \
         `stable` seconds (3); gives up after `timeout` seconds (120), or later where a health check lets its \
         container take longer.\n\nErrors: `docker.unhealthy` names each.",
        wait_healthy,
    );
    ns.function(
        "connections(container: Container, image: string) -> Array",
        "TCP connections of a running container, those of the last minute included: #{ local, local_port, remote, \
         remote_port, is_over } each. They are looked at by a helper container of `image` in its network. Of a \
         connection that is over only the side that ended it knows, mostly the client's.",
        |call| {
            let (c, image): (Arc<Container>, _) = (call.get("container")?, call.string("image")?);
            let found = sockets::connections(&*call.world().containers, &c, &image)?;
            Ok(found.iter().map(values::from_serde).collect::<Array>().into())
        },
    );
    ns.function(
        "logs(container: Container, tail: int = 50) -> string",
        "The last lines of a container's log.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let tail = if call.has("tail") { call.int("tail")?.max(0) as usize } else { 50 };
            Ok(call.world().containers.logs(&c.id, tail)?.into())
        },
    );
}

fn start(call: &mut Call<'_>) -> ScriptResult {
    let (c, session): (Arc<Container>, _) = (call.get("container")?, call.session);
    let before = call.world().containers.container(&c.id)?;
    guards::release(session, &before)?;
    call.effect(format!("docker start {}", c.name))?;
    witness::look(session, &before)?;
    let is_watched = witness::volumes_of(&before).any(|volume| session.evidence.ask(|ledger| ledger.knows(volume)));
    if !is_watched {
        call.world().containers.start(&c.id)?;
        witness::released(session, &c.id)?;
        return Ok(Dynamic::UNIT);
    }
    if witness::is_reachable(call.world(), &before, None)? {
        witness::used(session, witness::volumes_of(&before))?;
    }
    if !before.is_running() {
        session.prove(Fact::Starting { container: c.id.clone() })?;
    }
    let started = call.world().containers.start(&c.id);
    // Also where it failed: a later start is not ours.
    if let (false, Ok(now)) = (before.is_running(), call.world().containers.container(&c.id)) {
        witness::remember(session, &now)?;
    }
    started?;
    witness::released(session, &c.id)?;
    Ok(Dynamic::UNIT)
}

fn stop(call: &mut Call<'_>, containers: &[Arc<Container>]) -> ScriptResult {
    let timeout = call.options("options", &["timeout"])?.seconds("timeout")?.unwrap_or(STOP_TIMEOUT);
    if containers.is_empty() {
        return Ok(Dynamic::UNIT);
    }
    let names: Vec<_> = containers.iter().map(|c| c.name.as_str()).collect();
    let ids: Vec<_> = containers.iter().map(|c| c.id.as_str()).collect();
    call.effect(format!("docker stop -t {} {}", timeout.as_secs(), names.join(" ")))?;
    call.world().containers.stop(&ids, timeout)?;
    for container in containers {
        witness::held(call.session, container)?;
    }
    Ok(Dynamic::UNIT)
}

/// The argument `containers`.
fn containers(call: &Call<'_>) -> Result<Vec<Arc<Container>>> {
    let all: Option<_> = call.get::<Array>("containers")?.into_iter().map(Dynamic::try_cast).collect();
    all.ok_or_else(|| Error::failed("script.wrong_type", "`containers` holds what is no container"))
}

fn wait_healthy(call: &mut Call<'_>) -> ScriptResult {
    let ids: Vec<_> = containers(call)?.iter().map(|c| c.id.clone()).collect();
    let o = call.options("options", &["timeout", "stable"])?;
    let timeout = o.seconds("timeout")?.unwrap_or(Duration::from_secs(120));
    let stable = o.seconds("stable")?.unwrap_or(Duration::from_secs(3));
    let world = call.world();
    let begun = world.host.clock();
    let (mut since, mut told) = (begun, begun);
    let mut starts = Vec::new();
    let mut limit = None;
    loop {
        let now = ids.iter().map(|id| world.containers.container(id)).collect::<Result<Vec<_>>>()?;
        let seen: Vec<_> = now.iter().map(|c| (c.started_at.clone(), c.restart_count)).collect();
        let troubles: Vec<_> = now.iter().filter_map(trouble).collect();
        if seen != starts || !troubles.is_empty() {
            (since, starts) = (world.host.clock(), seen);
        }
        let (waited, stood) = (world.host.clock() - begun, world.host.clock() - since);
        if stood >= stable {
            return Ok(Dynamic::UNIT);
        }
        // A container's health check is what it was made with.
        let to_health = || now.iter().filter_map(Container::time_to_health).fold(timeout, Duration::max);
        let timeout = *limit.get_or_insert_with(to_health);
        if waited >= timeout {
            return Err(unhealthy(&troubles, waited).into());
        }
        if world.host.clock() - told >= TELL_EACH && !troubles.is_empty() {
            told = world.host.clock();
            let text = format!("{} s: {}", waited.as_secs(), troubles.join("; "));
            call.session.emit(Event::Say { text });
        }
        world.host.sleep(Duration::from_millis(250))?;
    }
}

fn unhealthy(troubles: &[String], waited: Duration) -> Error {
    let what = if troubles.is_empty() { "containers keep restarting".into() } else { troubles.join("; ") };
    Error::failed("docker.unhealthy", format!("not healthy after {} s: {what}", waited.as_secs()))
        .hint("docker logs NAME shows why")
}

/// Why a container does not count as healthy.
fn trouble(c: &Container) -> Option<String> {
    if !c.is_running() {
        return Some(format!("{} is {} (exit code {})", c.name, c.state, c.exit_code));
    }
    (!matches!(c.health.as_str(), "" | "healthy" | "none")).then(|| format!("{} is {}", c.name, c.health))
}

const SPEC: &[&str] = &[
    "name",
    "image",
    "like",
    "entrypoint",
    "command",
    "env",
    "labels",
    "mounts",
    "network",
    "user",
    "host_user_namespace",
    "restart_policy",
    "replaced",
    "unmount",
    "tmpfs",
    "log_driver",
    "health_check",
    "cpu_shares",
];

fn create(ns: &mut Namespace<'_>) {
    ns.effect(
        "create(spec: Map) -> Container",
        "Creates a container without starting it: name, image, entrypoint, command (arrays), env (`KEY=value`), \
         labels, mounts (#{ kind, name or source, destination, read_only }), network (a name, `none`, `host` or \
         `container:<id>`), user, host_user_namespace, restart_policy. With `like: container` everything not \
         given is as in that container, networks, aliases and fixed addresses included; where it shares the network of \
         a container that has gone, `replaced` (ids of now by ids of then) says whose to take; \
         `unmount` (destinations) is left out, `tmpfs` (options by destination) is there instead. `log_driver`; \
         `health_check: false` has none; `cpu_shares: 64` leaves the processors to others (1024 is usual).\n\n\
         Errors: `docker.image_missing`, `docker.conflict`.",
        |call| {
            let spec = container_spec(&call.options("spec", SPEC)?)?;
            call.effect(format!("docker create {}", spec_text(&spec)))?;
            let created = call.world().containers.create(&spec)?;
            if witness::is_database(&created) {
                call.session.prove(Fact::ContainerCreated { container: created.id.clone() })?;
            }
            Ok(values::handle(created))
        },
    );
    ns.effect(
        "run(spec: Map) -> Map",
        "Runs a one-off container (spec as in `docker::create`), waits for its end and removes it. Gives \
         #{ exit_code, stdout, stderr }. Where it mounts a volume writable, that is a change: use it in a step.",
        |call| {
            let spec = container_spec(&call.options("spec", SPEC)?)?;
            if spec.like.is_some() || spec.mounts.iter().any(|m| !m.read_only) {
                call.effect(format!("docker run --rm {}", spec_text(&spec)))?;
                let written = spec.mounts.iter().filter(|m| !m.read_only).map(|m| m.name.as_str());
                witness::written_to(call.session, written)?;
                if let Some(like) = spec.like.as_ref().and_then(|like| like.pointer("/Id")?.as_str()) {
                    witness::written(call.session, like)?;
                }
            }
            Ok(output(&call.world().containers.run(&spec)?))
        },
    );
    ns.effect(
        "save_definitions(containers: Array, path: string)",
        "Writes the full definitions of containers into a new private file, so that they can be created again \
         after somebody has removed them. The file holds their environment, passwords included.",
        |call| {
            let containers = containers(call)?;
            let containers: Vec<_> = containers.iter().map(|c| &**c).collect();
            let path = call.path("path")?;
            let names: Vec<_> = containers.iter().map(|c| c.name.as_str()).collect();
            call.effect(format!("docker inspect {} > {}", names.join(" "), path.display()))?;
            let json = serde_json::to_vec_pretty(&containers)
                .map_err(|e| Error::failed("docker.failed", format!("cannot write definitions: {e}")))?;
            // Before: the file appears whole, and a step that is run again may find it there.
            note_definitions(call, &containers, &path)?;
            call.world().host.write(&path, &json, false)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "load_definitions(path: string) -> Array",
        "The containers a file of `docker::save_definitions` describes, for `docker::create(#{ like: … })`.",
        |call| {
            let path = call.path("path")?;
            let containers: Vec<Container> = serde_json::from_slice(&call.world().host.read(&path)?).map_err(|e| {
                Error::failed("docker.definitions", format!("{} holds no definitions: {e}", path.display()))
            })?;
            note_definitions(call, &containers.iter().collect::<Vec<_>>(), &path)?;
            Ok(containers.into_iter().map(values::handle).collect::<Array>().into())
        },
    );
}

/// States which containers' definitions are in a file.
fn note_definitions(call: &Call<'_>, containers: &[&Container], path: &std::path::Path) -> Result<()> {
    let path = guards::absolute(path);
    if call.session.evidence.ask(|ledger| ledger.definitions().contains(&path)) {
        return Ok(());
    }
    let saved = |c: &Container| Fact::DefinitionSaved { container: c.id.clone(), path: path.clone() };
    containers.iter().try_for_each(|container| call.session.prove(saved(container)))
}

fn container_spec(o: &Options) -> Result<ContainerSpec> {
    let like = o.value("like").and_then(|v| v.try_cast::<Arc<Container>>());
    let labels = o.map("labels")?.map(|m| m.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
    let list = |key| -> Result<Option<Vec<String>>> { o.value(key).map(|_| o.strings(key)).transpose() };
    Ok(ContainerSpec {
        name: o.string("name")?,
        image: o.string("image")?,
        like: like.map(|c| (*c.inspect).clone()),
        replaced: text_map(o.map("replaced")?),
        unmount: o.strings("unmount")?,
        tmpfs: text_map(o.map("tmpfs")?),
        log_driver: o.string("log_driver")?,
        without_health_check: o.bool("health_check")? == Some(false),
        entrypoint: list("entrypoint")?,
        command: list("command")?,
        env: o.strings("env")?,
        labels,
        mounts: mounts(o)?,
        network: o.string("network")?,
        user: o.string("user")?,
        host_user_namespace: o.bool("host_user_namespace")?.unwrap_or(false),
        restart_policy: o.string("restart_policy")?,
        cpu_shares: o.int("cpu_shares")?.and_then(|shares| u64::try_from(shares).ok()),
    })
}

fn mounts(o: &Options) -> Result<Vec<Mount>> {
    let given = o.value("mounts").and_then(|v| v.try_cast::<Array>()).unwrap_or_default();
    let text = |map: &Map, key: &str| map.get(key).map(ToString::to_string).unwrap_or_default();
    let convert = |value: Dynamic| {
        let map = value.try_cast::<Map>()?;
        let source = text(&map, "source");
        let kind =
            map.get("kind").map_or_else(|| if source.is_empty() { "volume" } else { "bind" }.into(), |k| k.to_string());
        let read_only = map.get("read_only").and_then(|v| v.as_bool().ok()).unwrap_or(false);
        Some(Mount { kind, name: text(&map, "name"), source, destination: text(&map, "destination"), read_only })
    };
    let wrong = || Error::failed("script.wrong_type", "each of `mounts` must be #{ name or source, destination }");
    given.into_iter().map(convert).collect::<Option<_>>().ok_or_else(wrong)
}

/// The spec as the options of `docker create`, without the environment, which may hold passwords.
fn spec_text(spec: &ContainerSpec) -> String {
    let mut words = Vec::new();
    let mut option = |flag: &str, value: &Option<String>| words.extend(value.as_ref().map(|v| format!("{flag} {v}")));
    option("--name", &spec.name);
    option("--network", &spec.network);
    option("--user", &spec.user);
    option("--restart", &spec.restart_policy);
    for m in &spec.mounts {
        let read_only = if m.read_only { ":ro" } else { "" };
        words.push(match m.kind.as_str() {
            "tmpfs" => format!("--tmpfs {}", m.destination),
            "volume" => format!("-v {}:{}{read_only}", m.name, m.destination),
            _ => format!("-v {}:{}{read_only}", m.source, m.destination),
        });
    }
    words.extend(spec.tmpfs.iter().map(|(destination, options)| format!("--tmpfs {destination}:{options}")));
    words.push(spec.image.clone().unwrap_or_else(|| "(the same image)".into()));
    words.extend(spec.entrypoint.iter().flatten().cloned());
    words.extend(spec.command.iter().flatten().cloned());
    words.join(" ")
}

fn inside(ns: &mut Namespace<'_>) {
    ns.effect(
        "exec(container: Container, argv: Array, options: Map = #{}) -> Map",
        "Runs a command in a running container, never with a terminal; argv, not a shell string. Options: env \
         (`KEY=value`), user, working_dir, check (an exit code other than 0 is an error, true). Gives \
         #{ exit_code, stdout, stderr }, at most 1 MiB each.\n\nErrors: `docker.exec_failed`.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let argv = call.strings("argv")?;
            let o = call.options("options", &["env", "user", "working_dir", "check"])?;
            call.effect(format!("docker exec {} {}", c.name, argv.join(" ")))?;
            witness::written(call.session, &c.id)?;
            let spec = ExecSpec {
                argv,
                env: o.strings("env")?,
                user: o.string("user")?,
                working_dir: o.string("working_dir")?,
            };
            let out = call.world().containers.exec_output(&c.id, &spec)?;
            if out.exit_code != 0 && o.bool("check")?.unwrap_or(true) {
                let what = spec.argv.first().cloned().unwrap_or_default();
                let stderr = String::from_utf8_lossy(&out.stderr);
                let message = format!("{what} in {} ended with {}: {}", c.name, out.exit_code, stderr.trim());
                return Err(Error::failed("docker.exec_failed", message).into());
            }
            Ok(output(&out))
        },
    );
    ns.function(
        "execs(container: Container, since: int) -> Array",
        "Commands that others have started in a container (`docker exec`) since a moment, in seconds since 1970 by the \
         engine's clock: #{ at, program } each, without arguments, which may hold secrets. An engine remembers its \
         last 256 events, so the oldest may be missing.",
        |call| {
            let c: Arc<Container> = call.get("container")?;
            let since = call.int("since")?.max(0) as u64;
            let found = call.world().containers.foreign_execs(&c.id, since)?;
            Ok(found.iter().map(values::from_serde).collect::<Array>().into())
        },
    );
    ns.effect(
        "terminal(container: Container, argv: Array = [], options: Map = #{}) -> int",
        "Runs a command in a running container on the operator's own terminal, a shell (bash, else sh) when none is \
         given; gives its exit code. All keys are the command's, Ctrl-C too, and what it shows is neither logged nor \
         journalled. Options: env (`KEY=value`), user, working_dir. Shells, psql and less keep no history of it \
         in the container.\n\n\
         Errors: `ui.no_terminal`.",
        terminal,
    );
    ns.effect(
        "copy_out(container: Container, path: string, file: string) -> int",
        "Streams a path of a container (running or not) as tar into a new private file; gives the bytes.",
        |call| {
            let (c, path, file): (Arc<Container>, _, _) =
                (call.get("container")?, call.string("path")?, call.path("file")?);
            call.effect(format!("docker cp {}:{path} - > {}", c.name, file.display()))?;
            let mut sink = call.world().host.create(&file)?;
            let bytes = call.world().containers.copy_out(&c.id, &path, &mut *sink)?;
            sink.flush().map_err(|e| Error::io("write", file.display(), &e))?;
            Ok((bytes as i64).into())
        },
    );
    ns.effect(
        "copy_in(container: Container, directory: string, file: string)",
        "Unpacks a tar file below a directory of a container, owners as in the file.",
        |call| {
            let (c, directory): (Arc<Container>, _) = (call.get("container")?, call.string("directory")?);
            let file = call.path("file")?;
            call.effect(format!("docker cp - {}:{directory} < {}", c.name, file.display()))?;
            witness::written(call.session, &c.id)?;
            let mut source = call.world().host.open(&file)?;
            call.world().containers.copy_in(&c.id, &directory, &mut *source)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "copy_file_in(container: Container, directory: string, file: string)",
        "Copies one file of this machine into a directory of a container, running or not, for its root alone.",
        |call| {
            let (c, directory, file): (Arc<Container>, _, _) =
                (call.get("container")?, call.string("directory")?, call.path("file")?);
            call.effect(format!("docker cp {} {}:{directory}", file.display(), c.name))?;
            witness::written(call.session, &c.id)?;
            let tar = archive_of(&[file], &*call.world().host)?;
            call.world().containers.copy_in(&c.id, &directory, &mut &*tar)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "copy_file_out(container: Container, path: string, file: string)",
        "Copies one file of a container, running or not, into a new private file of this machine.",
        |call| {
            let (c, path, file): (Arc<Container>, _, _) =
                (call.get("container")?, call.string("path")?, call.path("file")?);
            call.effect(format!("docker cp {}:{path} {}", c.name, file.display()))?;
            let mut tar = Vec::new();
            call.world().containers.copy_out(&c.id, &path, &mut tar)?;
            call.world().host.write(&file, &the_one_file(&tar, &path)?, false)?;
            Ok(Dynamic::UNIT)
        },
    );
}

/// The archive that the engine takes for files.
pub fn archive_of(files: &[PathBuf], host: &dyn Host) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let content = host.read(file)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let name = file.file_name().unwrap_or_default();
        archive
            .append_data(&mut header, name, content.as_slice())
            .map_err(|e| Error::io("pack", file.display(), &e))?;
    }
    archive.into_inner().map_err(|e| Error::io("pack", "files", &e))
}

/// What is in the archive that the engine makes of one file.
fn the_one_file(tar: &[u8], path: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = tar::Archive::new(tar).entries().and_then(|mut entries| {
        entries.next().transpose()?.map_or(Ok(0), |mut entry| std::io::Read::read_to_end(&mut entry, &mut text))
    });
    read.map_err(|e| Error::io("unpack", path, &e))?;
    Ok(text)
}

/// Better at editing lines than `sh`, but not in every image.
const SHELL: [&str; 3] = ["sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"];

fn terminal(call: &mut Call<'_>) -> ScriptResult {
    let c: Arc<Container> = call.get("container")?;
    let argv = if call.has("argv") { call.strings("argv")? } else { Vec::new() };
    let (argv, shown) = match argv.join(" ") {
        shown if shown.is_empty() => (SHELL.map(String::from).to_vec(), SHELL[0].to_owned()),
        shown => (argv, shown),
    };
    let o = call.options("options", &["env", "user", "working_dir"])?;
    let (env, user, working_dir) = (o.strings("env")?, o.string("user")?, o.string("working_dir")?);
    let mut spec = ExecSpec { argv, env, user, working_dir };
    NO_HISTORY.iter().for_each(|entry| spec.default_env(entry));
    call.require_terminal(&spec.argv[0], &c.name)?;
    call.effect(format!("docker exec -it {} {shown}", c.name))?;
    // Whatever is typed may write.
    witness::written(call.session, &c.id)?;
    Ok(call.world().containers.terminal(&c.id, &spec)?.into())
}

/// A small command's result as a map.
pub fn output(out: &Output) -> Dynamic {
    let text = |bytes: &[u8]| Dynamic::from(String::from_utf8_lossy(bytes).into_owned());
    Map::from([
        ("exit_code".into(), out.exit_code.into()),
        ("stdout".into(), text(&out.stdout)),
        ("stderr".into(), text(&out.stderr)),
    ])
    .into()
}

fn images(ns: &mut Namespace<'_>) {
    ns.function("image(reference: string) -> any", "The image if the engine has it, else `()`.", |call| {
        Ok(call.world().containers.image(&call.string("reference")?)?.map_or(Dynamic::UNIT, values::handle))
    });
    ns.effect(
        "pull(reference: string) -> Image",
        "Pulls an image.\n\nErrors: `docker.image_missing` with the registry's words.",
        |call| {
            let reference = call.string("reference")?;
            call.effect(format!("docker pull {reference}"))?;
            Ok(values::handle(call.world().containers.pull(&reference)?))
        },
    );
    ns.function(
        "image_env(image: Image, name: string) -> any",
        "An environment variable the image sets (`PG_MAJOR`), `()` when it does not.",
        |call| {
            let image: Arc<Image> = call.get("image")?;
            Ok(image.variable(&call.string("name")?).map_or(Dynamic::UNIT, |v| v.to_owned().into()))
        },
    );
}

fn networks(ns: &mut Namespace<'_>) {
    let describe = |n: &Network| values::from_serde(n);
    ns.function(
        "networks(project: string = \"\") -> Array",
        "Networks as #{ id, name, driver, internal, labels, options, attachable, ipv6, ipam, containers }; of a \
         Compose project, or all.",
        move |call| {
            let project = if call.has("project") { call.string("project")? } else { String::new() };
            let project = Some(project.as_str()).filter(|p| !p.is_empty());
            Ok(call.world().containers.networks(project)?.iter().map(describe).collect::<Array>().into())
        },
    );
    ns.function("network(name: string) -> any", "A network as a map, `()` when there is none.", move |call| {
        let found = call.world().containers.network(&call.string("name")?)?;
        Ok(found.as_ref().map_or(Dynamic::UNIT, describe))
    });
    ns.effect(
        "create_network(name: string, options: Map = #{}) -> Map",
        "Creates a network. Options: driver (bridge), internal (no port of who is in it is published, and it leads \
         nowhere; false), options (the driver's), labels, like (a network that `docker::network` gave, and that is \
         gone by now: all that is not given is as it was). Compose accepts a network only with its own labels.",
        move |call| {
            let name = call.string("name")?;
            let o = call.options("options", &["driver", "internal", "options", "labels", "like"])?;
            let mut spec = match o.map("like")? {
                Some(like) => serde_json::from_value(values::to_object(&like)?.into())
                    .map_err(|e| Error::usage("docker.failed", format!("`like` is no network: {e}")))?,
                None => NetworkSpec { driver: "bridge".into(), ..NetworkSpec::default() },
            };
            spec.driver = o.string("driver")?.unwrap_or(spec.driver);
            spec.internal = o.bool("internal")?.unwrap_or(spec.internal);
            if let Some(labels) = o.map("labels")? {
                spec.labels = text_map(Some(labels));
            }
            if let Some(options) = o.map("options")? {
                spec.options = text_map(Some(options));
            }
            let internal = if spec.internal { " --internal" } else { "" };
            let options: String = spec.options.iter().map(|(key, value)| format!(" -o {key}={value}")).collect();
            call.effect(format!("docker network create --driver {}{internal}{options} {name}", spec.driver))?;
            Ok(describe(&call.world().containers.create_network(&name, &spec)?))
        },
    );
    ns.effect("remove_network(name: string)", "Removes a network nobody is attached to.", |call| {
        let name = call.string("name")?;
        call.effect(format!("docker network rm {name}"))?;
        call.world().containers.remove_network(&name)?;
        Ok(Dynamic::UNIT)
    });
    ns.effect(
        "connect(network: string, container: Container, aliases: Array = [], options: Map = #{})",
        "Attaches a container to a network under further names. Options: ipv4_address, ipv6_address, link_local_ips, \
         mac_address, links (`container:alias`), driver_opts (all as a container's networks have them in \
         `endpoint`).\n\n\
         Errors: `guard.fence` for a server into which data was restored that was not compared yet; \
         `docker.address_in_use`.",
        connect,
    );
    ns.effect("disconnect(network: string, container: Container)", "Detaches a container from a network.", |call| {
        let (network, c): (_, Arc<Container>) = (call.string("network")?, call.get("container")?);
        call.effect(format!("docker network disconnect {network} {}", c.name))?;
        call.world().containers.disconnect_network(&network, &c.id)?;
        Ok(Dynamic::UNIT)
    });
}

const ENDPOINT: &[&str] = &["ipv4_address", "ipv6_address", "link_local_ips", "mac_address", "links", "driver_opts"];

fn connect(call: &mut Call<'_>) -> ScriptResult {
    let (network, c): (_, Arc<Container>) = (call.string("network")?, call.get("container")?);
    let aliases = if call.has("aliases") { call.strings("aliases")? } else { Vec::new() };
    let o = call.options("options", ENDPOINT)?;
    let options = EndpointOptions {
        ipv4_address: o.string("ipv4_address")?.unwrap_or_default(),
        ipv6_address: o.string("ipv6_address")?.unwrap_or_default(),
        link_local_ips: o.strings("link_local_ips")?,
        mac_address: o.string("mac_address")?.unwrap_or_default(),
        links: o.strings("links")?,
        driver_opts: text_map(o.map("driver_opts")?),
    };
    let now = call.world().containers.container(&c.id)?;
    guards::connection(call.session, &now, &network)?;
    call.effect(format!("docker network connect {}{network} {}", connect_text(&options), c.name))?;
    if now.is_running() && witness::is_reachable(call.world(), &now, Some(&network))? {
        witness::used(call.session, witness::volumes_of(&now))?;
    }
    call.world().containers.connect_network(&network, &c.id, &aliases, &options)?;
    Ok(Dynamic::UNIT)
}

/// The fixed addresses, as they are typed.
fn connect_text(options: &EndpointOptions) -> String {
    let flag = |name, value: &str| if value.is_empty() { String::new() } else { format!("--{name} {value} ") };
    [flag("ip", &options.ipv4_address), flag("ip6", &options.ipv6_address)].concat()
}

/// A map of texts, for labels and driver options.
pub fn text_map(map: Option<Map>) -> BTreeMap<String, String> {
    map.unwrap_or_default().iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}
