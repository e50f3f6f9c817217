//! A container's life: started, running, ended, started again by the engine, removed.

use std::sync::Arc;

use super::State;
use super::programs::{Main, name_of};
use super::state::{Container, Place};
use crate::world::container::{LABEL_HELPER, NAMESPACE_MODES, Output};
use crate::world::error::Result;
use crate::world::refusal::{checked_name, refused};

/// The engine waits so long before it starts a container again, twice as long each time, and no longer than a minute.
const BACKOFF: u64 = 100;
const LONGEST_BACKOFF: u64 = 60_000;
/// Exit codes of a process that was killed, and of one that never was.
pub(super) const KILLED: i64 = 137;
const NOT_FOUND: i64 = 127;
const NOT_STARTED: i64 = 128;

impl Container {
    /// It has processes, and its place in its networks.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused")
    }
}

impl State {
    pub(super) fn known_container(&self, container: &str, action: &str) -> Result<&Container> {
        checked_name("container", container)?;
        self.container(container).ok_or_else(|| refused(action, 404, &format!("No such container: {container}")))
    }

    /// Starts a container, as `docker start`. One that runs already goes on.
    ///
    /// Errors: `docker.not_found`, `docker.network_gone`, `docker.address_in_use`, `docker.half_started`,
    /// `docker.conflict` (paused; the container whose namespaces it shares does not run), `docker.failed`.
    pub fn start(&mut self, container: &str) -> Result<()> {
        self.launch(container).map(|_| ())
    }

    /// The same; gives what a program has printed that came to its end at once.
    pub(super) fn launch(&mut self, container: &str) -> Result<Option<Output>> {
        let action = format!("start container {container}");
        let found = self.known_container(container, &action)?;
        let id = found.id.clone();
        match found.state.as_str() {
            "running" | "restarting" => return Ok(None),
            "paused" => return Err(refused(&action, 409, "cannot start a paused container, try unpause instead")),
            "dead" => {
                let reason = "container is marked for removal and cannot be started";
                return Err(refused(&action, 409, reason));
            }
            _ => {}
        }
        self.change(&id, |container| {
            container.restart_count = 0;
            container.was_stopped = false;
        });
        self.begin(&id, &action)
    }

    /// Starts what does not run, for whatever reason.
    pub(super) fn begin(&mut self, id: &str, action: &str) -> Result<Option<Output>> {
        let begun = self.set_up(id, action).and_then(|()| self.main(id, action));
        let main = begun.inspect_err(|_| {
            self.leave(id);
            let was_there = |container: &mut Container| {
                container.exit_code = if container.exit_code == 0 { NOT_STARTED } else { container.exit_code };
                if container.state == "restarting" {
                    container.state = "exited".into();
                }
            };
            self.change(id, was_there);
        })?;
        let now = self.now;
        self.change(id, |container| {
            container.state = "running".into();
            container.started_at = now;
            container.exit_code = 0;
        });
        Ok(self.run_main(id, main))
    }

    fn run_main(&mut self, id: &str, main: Main) -> Option<Output> {
        let output = match main {
            Main::Server(arguments) => match self.serve(id, &arguments) {
                Ok(()) if self.container(id).is_some_and(|c| c.crashes) => crashed(),
                Ok(()) => return None,
                Err(output) => output,
            },
            Main::Forever if self.container(id).is_some_and(|c| c.crashes) => crashed(),
            Main::Forever => return None,
            Main::Program(argv) => {
                let container = self.container(id)?.clone();
                self.program(&container, &argv, &container.env, &container.user)
            }
        };
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.change(id, |container| {
            said.iter().flat_map(|text| text.lines()).for_each(|line| container.log.push(line.to_owned()));
        });
        self.ended(id, output.exit_code);
        Some(output)
    }

    /// What the container's process is, if there is such a program.
    fn main(&mut self, id: &str, action: &str) -> Result<Main> {
        let container = self.known_container(id, action)?;
        let main = self.main_of(container);
        main.map_err(|program| {
            self.change(id, |container| container.exit_code = NOT_FOUND);
            let reason = format!(
                "failed to create task for container: exec: \"{program}\": executable file not found in $PATH: unknown"
            );
            let error = refused(action, 400, &reason);
            error.hint(format!("{program}: not known to the simulated world; tell what it does with sim::program"))
        })
    }

    /// What the engine sets up before the process: namespaces, networks, published ports.
    fn set_up(&mut self, id: &str, action: &str) -> Result<()> {
        let container = self.known_container(id, action)?.clone();
        if container.is_half_started {
            return Err(refused(action, 500, &format!("task {id}: already exists")));
        }
        for other in shared(&container) {
            let found = self.container(&other);
            let gone = || refused(action, 404, &format!("No such container: {other}"));
            if !found.ok_or_else(gone)?.is_up() {
                return Err(refused(action, 409, &format!("cannot join network of a non running container: {other}")));
            }
        }
        if let Some(port) = self.taken_port(&container) {
            let reason = format!(
                "driver failed programming external connectivity: Bind for 0.0.0.0:{port} failed: \
                                  port is already allocated"
            );
            return Err(refused(action, 500, &reason));
        }
        self.join_networks(id, action)
    }

    /// A port of the engine's host that the container asks for and that another one has.
    fn taken_port(&self, container: &Container) -> Option<String> {
        let is_reached = |c: &Container| {
            c.networks.iter().any(|place| self.find_network(&place.network).is_some_and(|network| !network.internal))
        };
        let others = self.containers().filter(|c| c.id != container.id && c.is_up() && is_reached(c));
        let taken: Vec<_> = others.flat_map(published).collect();
        published(container).into_iter().find(|port| taken.contains(port)).filter(|_| is_reached(container))
    }

    /// Ends the process with TERM, as `docker stop`: a server writes its last checkpoint. One that does not run stays
    /// as it is.
    ///
    /// Errors: `docker.not_found`.
    pub fn stop(&mut self, container: &str) -> Result<()> {
        self.stop_by(container, Self::terminate)
    }

    /// The same without waiting: the process is killed.
    pub fn stop_at_once(&mut self, container: &str) -> Result<()> {
        self.stop_by(container, |_, _| KILLED)
    }

    fn stop_by(&mut self, container: &str, end: impl FnOnce(&mut Self, &str) -> i64) -> Result<()> {
        let found = self.known_container(container, &format!("stop container {container}"))?;
        let (id, is_up, exit_code) = (found.id.clone(), found.is_up(), found.exit_code);
        if !is_up && found.state != "restarting" {
            return Ok(());
        }
        self.change(&id, |container| container.was_stopped = true);
        let exit_code = if is_up { end(self, &id) } else { exit_code };
        self.ended(&id, exit_code);
        Ok(())
    }

    /// The process hears TERM; gives its exit code.
    fn terminate(&mut self, id: &str) -> i64 {
        let Some(container) = self.container(id) else { return KILLED };
        if self.runs_server(container) {
            if let Some(cluster) = self.cluster_mut(id) {
                cluster.close();
            }
            // Its standbys get the last of it before the connection ends.
            self.follow_primaries();
            return 0;
        }
        let argv: Vec<_> = container.entrypoint.iter().chain(&container.command).collect();
        // As the first process of its namespace a program without a handler is deaf to TERM.
        let is_deaf = argv.first().is_some_and(|word| ["sleep", "cat"].contains(&name_of(word)));
        if is_deaf { KILLED } else { 0 }
    }

    /// The process is killed, not by `docker stop`: a server's cluster stays as it is in the middle of its work.
    pub(super) fn kill(&mut self, container: &str) {
        if let Some(id) = self.container(container).filter(|c| c.is_up()).map(|c| c.id.clone()) {
            self.ended(&id, KILLED);
        }
    }

    /// The process has ended. By its policy the engine starts the container again after a while.
    pub(super) fn ended(&mut self, id: &str, exit_code: i64) {
        self.die(id, exit_code);
        let now = self.now;
        self.change(id, |container| {
            if container.is_wanted_again() {
                let backoff = BACKOFF.checked_shl(container.restart_count.clamp(0, 16) as u32);
                container.restart_at = now + backoff.unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF);
                container.restart_count += 1;
                container.state = "restarting".into();
            }
        });
    }

    /// The process is no more, and nobody starts it again.
    pub(super) fn die(&mut self, id: &str, exit_code: i64) {
        self.leave(id);
        self.change(id, |container| {
            container.exit_code = exit_code;
            container.state = "exited".into();
        });
    }

    /// Its addresses are free, and what it had in memory is gone.
    fn leave(&mut self, id: &str) {
        self.change(id, |container| {
            container.networks.iter_mut().for_each(|place| place.ip.clear());
            let memory = container.memory();
            let is_in = |path: &str| {
                memory
                    .iter()
                    .any(|at| path.strip_prefix(at.as_str()).is_some_and(|p| p.is_empty() || p.starts_with('/')))
            };
            container.layer.files.retain(|path, _| !is_in(path));
            container.layer.clusters.retain(|path, _| !is_in(path));
        });
    }

    /// Removes a container, not the volumes it mounts; of a helper also those that were made with it.
    ///
    /// Errors: `docker.not_found`; `docker.conflict` for one that runs, unless `force` ends it.
    pub fn remove(&mut self, container: &str, force: bool) -> Result<()> {
        let action = format!("remove container {container}");
        let found = self.known_container(container, &action)?;
        let id = found.id.clone();
        if ["running", "paused", "restarting"].contains(&found.state.as_str()) {
            if !force {
                let reason = format!(
                    "You cannot remove a {} container {id}. Stop the container before attempting removal or force \
                     remove",
                    found.state
                );
                return Err(refused(&action, 409, &reason));
            }
            self.kill(&id);
        }
        if let Some(removed) = self.containers.remove(&id).filter(|c| c.labels.contains_key(LABEL_HELPER)) {
            self.drop_anonymous(&removed);
        }
        Ok(())
    }

    /// Errors: `docker.not_found`; `docker.conflict` where the name is taken.
    pub(super) fn rename(&mut self, container: &str, name: &str) -> Result<()> {
        let action = format!("rename container {container} to {name}");
        let id = self.known_container(container, &action)?.id.clone();
        checked_name("container", name)?;
        if let Some(holder) = self.containers().find(|c| c.name == name && c.id != id) {
            let reason =
                format!("Conflict. The container name \"/{name}\" is already in use by container \"{}\".", holder.id);
            return Err(refused(&action, 409, &reason));
        }
        self.change(&id, |container| container.name = name.to_owned());
        Ok(())
    }

    /// Whether a container's process is a PostgreSQL server that is up.
    pub fn runs_server(&self, container: &Container) -> bool {
        container.state == "running" && container.server.is_some() && self.cluster(&container.id).is_some()
    }

    /// Containers whose servers are up on that cluster.
    pub(super) fn servers_on<'s>(&'s self, place: &'s Place) -> impl Iterator<Item = &'s Container> {
        let is_on = move |c: &&Container| place.volume.is_some() && c.server.as_ref() == Some(place);
        self.containers().filter(is_on).filter(|c| self.runs_server(c))
    }

    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(container) = self.containers.get_mut(id) {
            change(Arc::make_mut(container));
        }
    }
}

impl Container {
    fn is_wanted_again(&self) -> bool {
        match self.restart_policy.split_once(':').unwrap_or((&self.restart_policy, "0")) {
            _ if self.was_stopped => false,
            ("always" | "unless-stopped", _) => true,
            ("on-failure", most) => {
                let most = most.parse::<i64>().unwrap_or_default();
                self.exit_code != 0 && (most == 0 || self.restart_count < most)
            }
            _ => false,
        }
    }

    /// Paths in the layer that are in memory, without their leading slash.
    fn memory(&self) -> Vec<String> {
        let tmpfs = self.host_config.get("Tmpfs").and_then(|tmpfs| tmpfs.as_object());
        let mounts = self.mounts.iter().filter(|mount| mount.kind == "tmpfs").map(|mount| &mount.destination);
        tmpfs.into_iter().flat_map(|tmpfs| tmpfs.keys()).chain(mounts).map(|p| p.trim_matches('/').to_owned()).collect()
    }
}

/// What the process of a container says that somebody has broken.
fn crashed() -> Output {
    Output { exit_code: 1, stdout: Vec::new(), stderr: b"it has crashed\n".to_vec() }
}

/// The containers whose namespaces it shares.
fn shared(container: &Container) -> Vec<String> {
    let modes = NAMESPACE_MODES.iter().skip(1).filter_map(|field| container.host_config.get(*field)?.as_str());
    let all = modes.chain([container.network_mode.as_str()]);
    all.filter_map(|mode| Some(mode.strip_prefix("container:")?.to_owned())).collect()
}

/// Ports of the host that a container publishes.
pub(super) fn published(container: &Container) -> Vec<String> {
    let bindings = container.host_config.get("PortBindings").and_then(|ports| ports.as_object());
    let hosts = bindings.into_iter().flat_map(|ports| ports.values()).filter_map(|hosts| hosts.as_array()).flatten();
    hosts.filter_map(|host| host["HostPort"].as_str()).filter(|port| !port.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
