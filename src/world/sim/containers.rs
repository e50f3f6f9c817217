//! The container engine of the simulated world.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::state::Container as Kept;
use super::{Context, State, tar_files};
use crate::event::{Event, Silent};
use crate::world::Cancel;
use crate::world::container::*;
use crate::world::error::{Error, Result};
use crate::world::helper_container::{Wanted, nearness};
use crate::world::refusal::{checked_name, checked_reference, image_missing, refused};
use crate::world::request::restart_policy;

/// How often it is looked whether a container that runs without end was cancelled.
const PAUSE: Duration = Duration::from_millis(5);
/// Value of [`LABEL_HELPER`] on a container that only runs one command.
const PURPOSE: &str = "run";

/// The [`ContainerEngine`] of a simulated world.
pub struct Containers {
    pub(super) context: Context,
    /// The last one to keep the door that has let it in.
    pub(super) admitted: Arc<Mutex<Option<u64>>>,
}

impl Containers {
    pub fn new(context: Context) -> Self {
        Self { context, admitted: Arc::default() }
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.admit()?;
        self.context.sim.read(look)
    }

    pub(super) fn act<T>(&self, change: &str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.admit()?;
        self.context.sim.act(change, act)
    }

    /// Changes a container; the change is called by its name, whatever it was asked for by.
    pub(super) fn act_on<T>(
        &self,
        verb: &str,
        container: &str,
        act: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        self.act(&format!("{verb} {}", self.name(container)?), act)
    }

    fn name(&self, container: &str) -> Result<String> {
        self.read(|state| Ok(state.container(container).map_or_else(|| container.to_owned(), |c| c.name.clone())))
    }

    /// Waits for the end of a container that runs without end: for the cancellation.
    fn wait(&self) -> Result<Output> {
        loop {
            self.context.cancel.check()?;
            self.read(|_| Ok(()))?;
            std::thread::sleep(PAUSE);
        }
    }
}

fn program(argv: &[String]) -> &str {
    argv.first().map_or("nothing", String::as_str)
}

fn shown(state: &State, container: &str) -> Result<Container> {
    let missing =
        || refused(&format!("inspect container {container}"), 404, &format!("No such container: {container}"));
    checked_name("container", container)?;
    state.show(container).ok_or_else(missing)
}

fn fits(container: &Kept, filter: &ContainerFilter) -> bool {
    let has = |name: &str, value: &Option<String>| value.is_none() || container.labels.get(name) == value.as_ref();
    let is_labelled = |label: &String| match label.split_once('=') {
        Some((name, value)) => container.labels.get(name).is_some_and(|own| own == value),
        None => container.labels.contains_key(label),
    };
    has(LABEL_PROJECT, &filter.project)
        && has(LABEL_SERVICE, &filter.service)
        && filter.volume.as_ref().is_none_or(|volume| container.mounts_volume(volume))
        && filter.labels.iter().all(is_labelled)
        && (!filter.running || container.state == "running")
}

fn is_of(labels: &BTreeMap<String, String>, project: Option<&str>) -> bool {
    project.is_none_or(|project| labels.get(LABEL_PROJECT).is_some_and(|label| label == project))
}

/// An error of the caller's own reader or writer; one that carries an [`Error`] is that.
fn of_stream(action: &str, target: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(carried) => carried,
        Err(error) => Error::io(action, target, &error),
    }
}

impl ContainerEngine for Containers {
    fn info(&self) -> Result<EngineInfo> {
        self.admit()?;
        self.context.sim.engine()
    }

    fn sweep(&self, volumes: &[&str]) -> Result<()> {
        self.sweep_leftovers(volumes)
    }

    fn beside(&self, cancel: Cancel) -> Arc<dyn ContainerEngine> {
        let context = Context { cancel, listener: Arc::new(Silent), ..self.context.clone() };
        Arc::new(Self { context, admitted: self.admitted.clone() })
    }

    fn names(&self) -> Result<Names> {
        self.read(|state| {
            let own = state.containers().filter(|c| !c.labels.contains_key(LABEL_HELPER));
            let mut containers: Vec<_> = own.map(|c| c.name.clone()).collect();
            containers.sort();
            Ok(Names { containers, volumes: state.volumes.keys().cloned().collect() })
        })
    }

    fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        self.read(|state| {
            let fitting = state.containers().filter(|c| fits(c, filter));
            let mut found: Vec<_> = fitting.filter_map(|c| state.show(&c.id)).collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    fn container(&self, container: &str) -> Result<Container> {
        self.read(|state| shown(state, container))
    }

    fn create(&self, spec: &ContainerSpec) -> Result<Container> {
        let spec = self.labelled(spec)?;
        let change = format!("create {}", spec.name.as_deref().unwrap_or("a container"));
        self.act(&change, |state| {
            let id = state.create(&spec)?;
            shown(state, &id)
        })
    }

    fn start(&self, container: &str) -> Result<()> {
        self.act_on("start", container, |state| state.start(container))
    }

    fn stop(&self, containers: &[&str], timeout: Duration) -> Result<()> {
        // Without any patience nothing comes to its own end.
        let stop = if timeout.is_zero() { State::stop_at_once } else { State::stop };
        let stops = containers.iter().map(|container| self.act_on("stop", container, |state| stop(state, container)));
        stops.collect::<Vec<_>>().into_iter().collect()
    }

    fn remove(&self, container: &str, force: bool) -> Result<()> {
        self.act_on("remove", container, |state| state.remove(container, force))
    }

    fn rename(&self, container: &str, name: &str) -> Result<()> {
        self.act_on("rename", container, |state| state.rename(container, name))
    }

    fn set_restart_policy(&self, container: &str, policy: &str) -> Result<()> {
        restart_policy(policy)?;
        let action = format!("set the restart policy of container {container} to {policy}");
        self.act_on("update", container, |state| {
            let id = state.known_container(container, &action)?.id.clone();
            state.change(&id, |container| container.restart_policy = policy.to_owned());
            Ok(())
        })
    }

    fn logs(&self, container: &str, tail: usize) -> Result<String> {
        let action = format!("read the logs of container {container}");
        self.read(|state| {
            let found = state.known_container(container, &action)?;
            let driver = found.host_config.get("LogConfig").and_then(|log| log["Type"].as_str());
            if driver.is_some_and(|driver| !["json-file", "local", "journald"].contains(&driver)) {
                let hint = format!(
                    "see `docker inspect -f '{{{{.HostConfig.LogConfig.Type}}}}' {container}` for where they go"
                );
                let reason = "configured logging driver does not support reading";
                return Err(refused(&action, 501, reason).hint(hint));
            }
            let first = found.log.len().saturating_sub(tail);
            Ok(found.log[first..].iter().map(|line| format!("{line}\n")).collect())
        })
    }

    fn exec(&self, container: &str, spec: &ExecSpec, streams: Streams<'_>) -> Result<i64> {
        let action = format!("run {} in container {container}", program(&spec.argv));
        let output = self.act_on("exec", container, |state| {
            let found = state.known_container(container, &action)?.clone();
            match found.state.as_str() {
                "running" => {}
                "paused" => {
                    let reason = format!("Container {container} is paused, unpause the container before exec");
                    return Err(refused(&action, 409, &reason));
                }
                _ => return Err(refused(&action, 409, &format!("Container {} is not running", found.id))),
            }
            let user = spec.user.as_deref().unwrap_or(&found.user);
            Ok(state.program(&found, &spec.argv, &spec.env, user))
        })?;
        // Without a file it gives back what it reads.
        let mut echoed = Vec::new();
        if let (Some(source), [cat]) = (streams.stdin, spec.argv.as_slice())
            && cat == "cat"
        {
            let read = source.read_to_end(&mut echoed);
            read.map_err(|e| of_stream("read", &format!("the input of {cat} in container {container}"), e))?;
        }
        let outputs = [(streams.stdout, [echoed, output.stdout].concat()), (streams.stderr, output.stderr)];
        for (sink, bytes) in outputs.into_iter().filter_map(|(sink, bytes)| Some((sink?, bytes))) {
            let target = format!("the output of {} in container {container}", program(&spec.argv));
            sink.write_all(&bytes).map_err(|e| of_stream("write", &target, e))?;
        }
        Ok(output.exit_code)
    }

    fn foreign_execs(&self, container: &str, since: u64) -> Result<Vec<ExecEvent>> {
        self.read(|state| {
            let found = state.known_container(container, "list events")?;
            Ok(found.execs.iter().filter(|exec| exec.at >= since).cloned().collect())
        })
    }

    fn terminal(&self, container: &str, spec: &ExecSpec) -> Result<i64> {
        let message = format!("there is no terminal to run {} in container {container} on", program(&spec.argv));
        Err(Error::usage("ui.no_terminal", message).hint("a simulated container has none"))
    }

    fn run(&self, spec: &ContainerSpec) -> Result<Output> {
        let mut spec = spec.clone();
        // Whatever it is for: who is killed before its removal has left a helper.
        spec.labels.get_or_insert_default().entry(LABEL_HELPER.into()).or_insert_with(|| PURPOSE.into());
        let spec = self.labelled(&spec)?;
        let argv = spec.entrypoint.iter().chain(&spec.command).flatten().next();
        let mut made = None;
        let outcome = self.act(&format!("run {}", argv.map_or("a container", String::as_str)), |state| {
            let id = made.insert(state.create(&spec)?);
            state.launch(id)
        });
        let outcome = outcome.and_then(|output| output.map_or_else(|| self.wait(), Ok));
        let Some(id) = made.filter(|_| !self.context.sim.is_killed()) else { return outcome };
        // Also when cancelled or failed.
        let change = format!("remove {}", spec.name.as_deref().unwrap_or(&id[..12]));
        let removed = self.context.sim.act(&change, |state| state.remove(&id, true));
        match (&outcome, removed) {
            (Ok(_), Err(e)) if e.code != "docker.not_found" => return Err(e),
            (Err(_), Err(e)) if e.code != "docker.not_found" => self.context.emit(Event::Warn { text: e.message }),
            _ => {}
        }
        outcome
    }

    fn image(&self, reference: &str) -> Result<Option<Image>> {
        checked_reference(reference)?;
        self.read(|state| Ok(state.image(reference).map(|image| image.shown.clone())))
    }

    fn spare_images(&self, volumes: &[&str], project: Option<&str>) -> Result<Vec<String>> {
        let run = self.context.owner.name();
        self.read(|state| {
            let wanted = Wanted { volumes, project, run: run.as_deref() };
            // On nobody's behalf there is no stack that would stay down for want of an image: then it is to be named.
            let most = if run.is_some() { u8::MAX } else { 0 };
            let rank = |c: &Kept| {
                let label = |name: &str| c.labels.get(name).map(String::as_str);
                nearness(label, c.mounts.iter().map(|mount| mount.name.as_str()), &wanted)
            };
            let mut ranked: Vec<_> = state.containers().map(|c| (rank(c), &c.image_id)).collect();
            ranked.retain(|(rank, _)| *rank <= most);
            ranked.sort_by_key(|(rank, _)| *rank);
            let others = state.images.iter().filter(|_| run.is_some()).map(|image| &image.shown.id);
            let mut found = Vec::new();
            for id in ranked.into_iter().map(|(_, id)| id).chain(others) {
                if !found.contains(id) {
                    found.push(id.clone());
                }
            }
            Ok(found)
        })
    }

    fn pull(&self, reference: &str) -> Result<Image> {
        checked_reference(reference)?;
        self.act(&format!("pull {reference}"), |state| {
            let missing = || {
                let message = format!("cannot pull image {reference}: manifest for {reference} not found");
                Error { message, ..image_missing("", reference) }.hint(
                    "check the name, and the engine's way and login to the registry; or bring it with `docker load`",
                )
            };
            state.image(reference).map(|image| image.shown.clone()).ok_or_else(missing)
        })
    }

    fn networks(&self, project: Option<&str>) -> Result<Vec<Network>> {
        self.read(|state| {
            let own = state.networks.values().filter(|network| is_of(&network.labels, project));
            Ok(own.map(|network| state.shown_network(network)).collect())
        })
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        checked_name("network", name)?;
        self.read(|state| Ok(state.find_network(name).map(|network| state.shown_network(network))))
    }

    fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<Network> {
        self.act(&format!("create network {name}"), |state| state.make_network(name, spec))
    }

    fn remove_network(&self, name: &str) -> Result<()> {
        self.act(&format!("remove network {name}"), |state| state.drop_network(name))
    }

    fn connect_network(
        &self,
        network: &str,
        container: &str,
        aliases: &[String],
        options: &EndpointOptions,
    ) -> Result<()> {
        self.act_on("connect", container, |state| state.connect(network, container, aliases, options))
    }

    fn disconnect_network(&self, network: &str, container: &str) -> Result<()> {
        self.act_on("disconnect", container, |state| state.disconnect(network, container))
    }

    fn volumes(&self, project: Option<&str>) -> Result<Vec<Volume>> {
        self.read(|state| {
            let own = state.volumes.values().filter(|volume| is_of(&volume.labels, project));
            Ok(own.map(|volume| state.shown_volume(volume)).collect())
        })
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        checked_name("volume", name)?;
        self.read(|state| Ok(state.volumes.get(name).map(|volume| state.shown_volume(volume))))
    }

    fn create_volume(
        &self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        self.act(&format!("create volume {name}"), |state| state.make_volume(name, driver, labels, options))
    }

    fn remove_volume(&self, name: &str) -> Result<()> {
        self.act(&format!("remove volume {name}"), |state| state.drop_volume(name))
    }

    fn copy_out(&self, container: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<u64> {
        let action = format!("copy {path} from container {container}");
        let bytes = self.read(|state| {
            let found = state.known_container(container, &action)?;
            let missing = || refused(&action, 404, &format!("Could not find the file {path} in container {container}"));
            tar_files::pack(state, found, path, &action)?.ok_or_else(missing)
        })?;
        let target = format!("the copy of {path} from container {container}");
        sink.write_all(&bytes).map_err(|e| of_stream("write", &target, e))?;
        Ok(bytes.len() as u64)
    }

    fn copy_in(&self, container: &str, directory: &str, source: &mut (dyn Read + Send)) -> Result<()> {
        let action = format!("copy into {directory} of container {container}");
        let mut bytes = Vec::new();
        let target = format!("what goes into container {container}");
        source.read_to_end(&mut bytes).map_err(|e| of_stream("read", &target, e))?;
        self.act_on("copy in", container, |state| {
            let found = state.known_container(container, &action)?.clone();
            tar_files::unpack(state, &found, directory, &bytes, &action)
        })
    }
}

#[cfg(test)]
mod tests;
