//! The container engine: containers, images, networks and volumes as the Docker API names them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::cancel::Cancel;
use super::error::{Error, Result};

/// Labels that Compose puts on what it creates; how a stack is found, never by a container's name.
pub const LABEL_PROJECT: &str = "com.docker.compose.project";
pub const LABEL_SERVICE: &str = "com.docker.compose.service";
pub const LABEL_NETWORK: &str = "com.docker.compose.network";
pub const LABEL_VOLUME: &str = "com.docker.compose.volume";
/// `True` of a container of `docker compose run`.
pub const LABEL_ONE_OFF: &str = "com.docker.compose.oneoff";
/// On every container that pgscript makes for itself; its value names the purpose.
pub const LABEL_HELPER: &str = "pgscript.helper";
/// Values of [`LABEL_HELPER`] on containers that are of no use without the process that made them: what a dead one has
/// left is removed. Of any other purpose a container stays.
pub const OF_A_PROCESS: [&str; 7] =
    ["client", "connections", "run", "throw-away", "volume-archive", "volume-clone", "volume-move"];
/// Value of [`LABEL_HELPER`] on a container that is there to hold on to a volume, or to an image.
pub const KEEPER: &str = "keep";
/// Value of [`LABEL_HELPER`] on a container that is the lock of a stack.
pub const LOCK: &str = "lock";
/// On a helper container: the run that made it, unique among all runs that drive the engine.
pub const LABEL_RUN: &str = "pgscript.run";
/// On a helper container: the [process](super::process) that made it.
pub const LABEL_OWNER: &str = "pgscript.owner";

/// The engine that answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// What tells this engine from every other one, wherever it is reached: of its own id, its host's name and its root
    /// directory.
    #[serde(default)]
    pub id: String,
    /// Where it was reached, as the operator would write it: `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// What reaches it again as `--docker`, wherever the environment points to then.
    #[serde(default)]
    pub named: String,
    /// `20.10.24`
    pub version: String,
    /// The negotiated API version, `1.41`.
    pub api_version: String,
    /// The host name the engine reports.
    pub host: String,
    /// The engine's root directory on its host; below `<uid>.<gid>` with `userns-remap`.
    pub root_dir: String,
    /// Whether containers run in a remapped user namespace.
    pub userns_remap: bool,
    /// Whether the engine's files can be read at the paths it names: same machine, reached by its socket.
    pub is_local: bool,
}

/// A mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `volume`, `bind` or `tmpfs`.
    pub kind: String,
    /// The volume's name; empty for a bind.
    pub name: String,
    /// The path on the engine's host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    pub read_only: bool,
}

/// A container's place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub network: String,
    /// Of the network that it has joined, which may be gone; empty before its first start, and in older journals.
    #[serde(default)]
    pub network_id: String,
    pub ip: String,
    pub aliases: Vec<String>,
    /// What was asked for there, beside the aliases.
    #[serde(default)]
    pub endpoint: EndpointOptions,
}

/// What can be asked for when a container joins a network, as `docker network connect` and Compose call it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointOptions {
    /// A fixed address; empty where the network gives one.
    pub ipv4_address: String,
    pub ipv6_address: String,
    pub link_local_ips: Vec<String>,
    /// Empty where the engine makes one.
    pub mac_address: String,
    /// `container:alias`
    pub links: Vec<String>,
    pub driver_opts: BTreeMap<String, String>,
}

/// A container as `docker inspect` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// The full 64-digit id.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// The image reference it was created from, `postgres:15`.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// `created`, `running`, `paused`, `restarting`, `exited` or `dead`.
    pub state: String,
    /// RFC 3339; changes at each start, so a restart behind our back can be seen.
    pub started_at: String,
    pub exit_code: i64,
    pub restart_count: i64,
    /// `starting`, `healthy`, `unhealthy`; empty without a health check.
    pub health: String,
    /// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
    pub restart_policy: String,
    /// From the Compose labels; empty where there are none.
    pub project: String,
    pub service: String,
    pub labels: BTreeMap<String, String>,
    /// `KEY=value`, as configured.
    pub env: Vec<String>,
    pub mounts: Vec<Mount>,
    pub networks: Vec<Attachment>,
    /// The whole answer of the engine: what is needed to create the same container again.
    pub inspect: Inspect,
}

/// The whole answer of the engine to `docker inspect`. One that is made up is put together when somebody looks.
#[derive(Clone)]
pub struct Inspect(Arc<LazyLock<Value, Make>>);

type Make = Box<dyn FnOnce() -> Value + Send>;

impl Inspect {
    pub fn later(make: impl FnOnce() -> Value + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl From<Value> for Inspect {
    fn from(answer: Value) -> Self {
        Self::later(|| answer)
    }
}

impl Deref for Inspect {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::fmt(self, f)
    }
}

impl Serialize for Inspect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Inspect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// Fields of `HostConfig` that may name another container: `container:<id>`.
pub const NAMESPACE_MODES: [&str; 3] = ["NetworkMode", "PidMode", "IpcMode"];

impl Container {
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Made by `docker compose run`: of a service, and yet none of its containers.
    pub fn is_one_off(&self) -> bool {
        self.labels.get(LABEL_ONE_OFF).is_some_and(|value| value == "True")
    }

    /// The containers, as the engine names them (ids), whose network, processes or IPC this one shares
    /// (`--network container:ID`, Compose's `network_mode: service:NAME`): it can't be started without them.
    pub fn shares_with(&self) -> Vec<&str> {
        let mode = |field: &&str| self.inspect["HostConfig"][*field].as_str()?.strip_prefix("container:");
        let mut found: Vec<_> = NAMESPACE_MODES.iter().filter_map(mode).collect();
        found.dedup();
        found
    }

    /// Entry point and command, the image's where nothing else was said.
    pub fn argv(&self) -> Vec<&str> {
        self.words("Entrypoint").chain(self.words("Cmd")).collect()
    }

    /// The command alone, the image's where nothing else was said.
    pub fn command(&self) -> Vec<&str> {
        self.words("Cmd").collect()
    }

    fn words(&self, field: &str) -> impl Iterator<Item = &str> {
        self.inspect["Config"][field].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str)
    }

    /// How long after its start the engine may take until it calls the container unhealthy: start period, and each try
    /// of its health check, of which the engine's own defaults hold. `None` where there is no check.
    pub fn time_to_health(&self) -> Option<Duration> {
        let check = &self.inspect["Config"]["Healthcheck"];
        let own = |field: &str| check[field].as_u64().filter(|n| *n > 0);
        let nanoseconds = |field: &str| own(field).map(Duration::from_nanos);
        let default = Duration::from_secs(30);
        check["Test"].as_array().filter(|test| test.first().is_some_and(|word| word != "NONE"))?;
        let each = nanoseconds("Interval").unwrap_or(default) + nanoseconds("Timeout").unwrap_or(default);
        let tries = u32::try_from(own("Retries").unwrap_or(3)).unwrap_or(u32::MAX);
        Some(nanoseconds("StartPeriod").unwrap_or_default() + each.saturating_mul(tries))
    }

    /// The value of an environment variable as configured.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('='))
    }

    /// `none`, `host`, `container:<id>`, `default`, or the name of the network it was created in.
    pub fn network_mode(&self) -> &str {
        self.inspect.pointer("/HostConfig/NetworkMode").and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// Whether it has the network of another container: ports of either are ports of both, on 127.0.0.1 too.
    pub fn shares_network_of(&self, other: &Self) -> bool {
        self.network_mode().strip_prefix("container:").is_some_and(|of| of == other.id || of == other.name)
    }

    /// Whether the engine publishes ports of it on its host, in whatever network it is that is not an internal one.
    pub fn publishes_ports(&self) -> bool {
        let host = |field: &str| self.inspect.pointer(&format!("/HostConfig/{field}"));
        let bound = host("PortBindings").and_then(serde_json::Value::as_object).is_some_and(|ports| !ports.is_empty());
        bound || host("PublishAllPorts").and_then(serde_json::Value::as_bool) == Some(true)
    }
}

/// Which containers: all conditions given must hold. Without `running` every state counts, also `created` and `exited`.
#[derive(Clone, Debug, Default)]
pub struct ContainerFilter {
    pub project: Option<String>,
    pub service: Option<String>,
    /// Mounts this volume.
    pub volume: Option<String>,
    /// `label` or `label=value`.
    pub labels: Vec<String>,
    /// Only those that run.
    pub running: bool,
}

/// What there is by name, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub containers: Vec<String>,
    pub volumes: Vec<String>,
}

/// What to create. With `like`, an inspect answer, everything not set here is taken from it
/// (command, environment, labels, mounts, networks with aliases, limits, health check …).
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    pub name: Option<String>,
    pub image: Option<String>,
    pub like: Option<serde_json::Value>,
    /// Which container has taken the place of one whose namespaces `like` shared: new ids by old ones.
    pub replaced: BTreeMap<String, String>,
    /// As `docker run --entrypoint`: without a `command` it gets no arguments, neither `like`'s nor the image's.
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    /// `KEY=value`; added to or replacing those of `like`.
    pub env: Vec<String>,
    /// Replace those of `like` when given.
    pub labels: Option<BTreeMap<String, String>>,
    /// Added to those of `like`; same destination replaces. `kind` "volume" uses `name`, "bind" uses `source`.
    pub mounts: Vec<Mount>,
    /// Destinations at which nothing of `like` is mounted.
    pub unmount: Vec<String>,
    /// Options by destination, as `docker run --tmpfs` takes them (`uid=999,gid=999`).
    pub tmpfs: BTreeMap<String, String>,
    /// Where its log goes; that of `like` may be one that the engine can't read.
    pub log_driver: Option<String>,
    /// Whether that of `like`, or of the image, is left out.
    pub without_health_check: bool,
    /// `none`, `container:<id>`, `host` or a network's name; replaces the networks and published ports of `like`.
    pub network: Option<String>,
    pub user: Option<String>,
    /// Its weight where processors are scarce; others have 1024.
    pub cpu_shares: Option<u64>,
    /// Out of the engine's user namespace remapping (`--userns=host`).
    pub host_user_namespace: bool,
    pub restart_policy: Option<String>,
}

/// A command in a running container: argv, never a shell string.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    pub argv: Vec<String>,
    /// `KEY=value`; the place for a password.
    pub env: Vec<String>,
    /// As in `docker exec --user`; the container's own user when `None`.
    pub user: Option<String>,
    pub working_dir: Option<String>,
}

/// The ends of a command's streams. Bytes pass as they are; both directions have back-pressure.
/// A reader or writer that blocks holds up the call's return, a cancelled one's too. An error of theirs that
/// carries an [`Error`](super::error::Error) is returned as that error.
#[derive(Default)]
pub struct Streams<'a> {
    pub stdin: Option<&'a mut (dyn Read + Send)>,
    pub stdout: Option<&'a mut (dyn Write + Send)>,
    pub stderr: Option<&'a mut (dyn Write + Send)>,
}

/// In the environment of what is used at a terminal: neither a shell nor psql nor a pager keeps what was typed, which
/// may name people, in a file of the container.
pub const NO_HISTORY: [&str; 3] = ["HISTFILE=", "PSQL_HISTORY=/dev/null", "LESSHISTFILE=/dev/null"];

impl ExecSpec {
    /// Adds `KEY=value` unless the key is there.
    pub fn default_env(&mut self, entry: &str) {
        let key = entry.split_inclusive('=').next().unwrap_or_default();
        if !self.env.iter().any(|given| given.starts_with(key)) {
            self.env.push(entry.to_owned());
        }
    }
}

/// A command that somebody else has started in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEvent {
    /// Seconds since 1970, by the engine's clock.
    pub at: u64,
    /// Without its arguments.
    pub program: String,
}

/// What a small command gave; for large outputs use [`Streams`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub exit_code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// An image the engine has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub id: String,
    pub tags: Vec<String>,
    /// `repo@sha256:…` where it came from a registry.
    pub digests: Vec<String>,
    pub env: Vec<String>,
    /// Destinations the image declares with `VOLUME`.
    pub volumes: Vec<String>,
    pub size: i64,
    /// What its containers run where nothing else is asked for.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    #[serde(default)]
    pub command: Vec<String>,
}

impl Image {
    /// The value of an environment variable the image sets, `PG_MAJOR` for one.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('='))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub driver: String,
    /// It leads nowhere: the engine publishes no port of who is in it, and gives no way out.
    #[serde(default)]
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Containers that are not of a stack may join it, where the engines are a swarm.
    #[serde(default)]
    pub attachable: bool,
    #[serde(default)]
    pub ipv6: bool,
    /// Which addresses it gives, in the engine's own words (IPAM).
    #[serde(default)]
    pub ipam: Option<serde_json::Value>,
    /// Names of the containers attached now.
    #[serde(default)]
    pub containers: Vec<String>,
}

/// A network to create.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// The engine's own default (`bridge`) when empty.
    pub driver: String,
    /// See [`Network::internal`].
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
    /// Driver options, `com.docker.network.bridge.inhibit_ipv4=true` and the like.
    pub options: BTreeMap<String, String>,
    /// See [`Network::attachable`].
    pub attachable: bool,
    pub ipv6: bool,
    /// See [`Network::ipam`].
    pub ipam: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    /// Where the engine keeps it on its host.
    pub mount_point: String,
    pub labels: BTreeMap<String, String>,
    /// Driver options, `type=nfs` and the like.
    pub options: BTreeMap<String, String>,
    /// RFC 3339. Engine 20.10 shows the last change of the directory here: it identifies nothing.
    pub created_at: String,
}

/// A Docker engine. Ids and names are both accepted where a parameter is called `container`.
///
/// Errors carry the codes `docker.unreachable`, `docker.not_found`, `docker.conflict`,
/// `docker.image_missing`, `docker.timeout`, `docker.failed`, and name the object.
pub trait ContainerEngine: Send + Sync {
    fn info(&self) -> Result<EngineInfo>;
    /// Removes what processes that are gone have left of their helper containers. Done by itself before anything else
    /// is asked of an engine; for whoever must not meet what was left since. Of `volumes` also those go of which nobody
    /// knows the process: older versions did not say.
    fn sweep(&self, volumes: &[&str]) -> Result<()>;
    /// The same engine over the same connection, for what is asked beside a run: nobody hears of it, and `cancel` ends
    /// it, not the run's.
    fn beside(&self, cancel: Cancel) -> Arc<dyn ContainerEngine>;

    /// The names of all containers, whatever their state, and of all volumes, at the cost of two requests. pgscript's
    /// helper containers are left out.
    fn names(&self) -> Result<Names>;
    fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>>;
    fn container(&self, container: &str) -> Result<Container>;
    /// The same; `None` where there is none.
    fn existing(&self, name: &str) -> Result<Option<Container>> {
        match self.container(name) {
            Ok(container) => Ok(Some(container)),
            Err(error) if error.code == "docker.not_found" => Ok(None),
            Err(error) => Err(error),
        }
    }
    fn create(&self, spec: &ContainerSpec) -> Result<Container>;
    fn start(&self, container: &str) -> Result<()>;
    /// Sends each, at the same time, its image's stop signal, then SIGKILL after `timeout`. Stopped already: nothing
    /// happens. The first error, when all have come to an end.
    fn stop(&self, containers: &[&str], timeout: Duration) -> Result<()>;
    /// Removes the container, not its named volumes. `force` ends a running one.
    fn remove(&self, container: &str, force: bool) -> Result<()>;
    fn rename(&self, container: &str, name: &str) -> Result<()>;
    fn set_restart_policy(&self, container: &str, policy: &str) -> Result<()>;
    /// The last `tail` lines of stdout and stderr.
    fn logs(&self, container: &str, tail: usize) -> Result<String>;

    /// Runs a command in a running container, never with a terminal; gives its exit code. Cancelled: the command is
    /// ended, too.
    fn exec(&self, container: &str, spec: &ExecSpec, streams: Streams<'_>) -> Result<i64>;

    /// [`ContainerEngine::exec`] with small outputs collected (1 MiB of each stream at most, the rest is an error).
    fn exec_output(&self, container: &str, spec: &ExecSpec) -> Result<Output> {
        let mut stdout = Bounded::default();
        let mut stderr = Bounded::default();
        let streams = Streams { stdin: None, stdout: Some(&mut stdout), stderr: Some(&mut stderr) };
        let exit_code = self.exec(container, spec, streams)?;
        Ok(Output { exit_code, stdout: stdout.0, stderr: stderr.0 })
    }

    /// Commands that others have started in a container (`docker exec`) since a moment, in seconds since 1970 by the
    /// engine's clock: all that is left of them among the few events that an engine remembers (256).
    fn foreign_execs(&self, container: &str, since: u64) -> Result<Vec<ExecEvent>>;

    /// Runs a command in a running container on this process's own terminal, as `docker exec -it` does; gives its exit
    /// code. Its `TERM` is the operator's. All keys are the command's, Ctrl-C too, and nobody else may use the terminal
    /// meanwhile. Cancelled, or when the terminal goes away: the command is ended, too. However it ends, the terminal
    /// is set as it was, and keys that were typed after the end are left to be read.
    ///
    /// Further codes: `ui.no_terminal` (standard input or output is none), `ui.terminal` (it failed).
    fn terminal(&self, container: &str, spec: &ExecSpec) -> Result<i64>;

    /// Creates a container, waits for its end, removes it (also when cancelled), gives output and exit code.
    fn run(&self, spec: &ContainerSpec) -> Result<Output>;

    fn image(&self, reference: &str) -> Result<Option<Image>>;
    /// Ids of all images, for a helper container: those of the containers that mount one of `volumes` first, then those
    /// that the run holds on to by containers of its own, then the stack's (`project`), then the others. Only the first
    /// where nobody is named on whose behalf it is (see [`Owner`](super::Owner)).
    fn spare_images(&self, volumes: &[&str], project: Option<&str>) -> Result<Vec<String>>;
    fn pull(&self, reference: &str) -> Result<Image>;

    fn networks(&self, project: Option<&str>) -> Result<Vec<Network>>;
    fn network(&self, name: &str) -> Result<Option<Network>>;
    fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<Network>;
    fn remove_network(&self, name: &str) -> Result<()>;
    /// Errors: `docker.address_in_use` where a running container can't have the fixed address it asks for.
    fn connect_network(
        &self,
        network: &str,
        container: &str,
        aliases: &[String],
        options: &EndpointOptions,
    ) -> Result<()>;
    fn disconnect_network(&self, network: &str, container: &str) -> Result<()>;

    fn volumes(&self, project: Option<&str>) -> Result<Vec<Volume>>;
    fn volume(&self, name: &str) -> Result<Option<Volume>>;
    fn create_volume(
        &self,
        name: &str,
        driver: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume>;
    fn remove_volume(&self, name: &str) -> Result<()>;

    /// Streams a path of a container (running or not) as tar into `sink`; gives the bytes written.
    fn copy_out(&self, container: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<u64>;
    /// Unpacks a tar stream below a directory of a container (running or not), owners as in the stream.
    fn copy_in(&self, container: &str, directory: &str, source: &mut (dyn Read + Send)) -> Result<()>;
}

/// Makes something of an image: of the one that is `wished` for, else of the first of `spare` that is still there.
/// Somebody else may remove an image at any time; no work may be stuck because of one that any other can stand in for.
pub fn of_image<T>(
    wished: Option<&str>,
    spare: impl FnOnce() -> Result<Vec<String>>,
    mut make: impl FnMut(&str) -> Result<T>,
) -> Result<T> {
    if let Some(image) = wished {
        return make(image);
    }
    for image in spare()? {
        match make(&image) {
            Err(error) if error.code == "docker.image_missing" => {}
            made => return made,
        }
    }
    Err(Error::refused("docker.image_missing", "the engine has no image that a helper container could be made of")
        .hint("name one that the engine has (docker image ls), or pull or load one; is this the right engine?"))
}

/// Collects at most [`Bounded::LIMIT`] bytes, then refuses.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Bounded {
    const LIMIT: usize = 1 << 20;
}

impl Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + buf.len() > Self::LIMIT {
            return Err(std::io::Error::other("more than 1 MiB of output; use a stream"));
        }
        self.0.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_has_gone_meanwhile_is_replaced_by_the_next_and_a_wished_one_is_not() {
        let spare = || Ok(["gone", "here", "too"].map(str::to_owned).to_vec());
        let make = |image: &str| match image {
            "gone" => Err(Error::failed("docker.image_missing", "no image gone")),
            image => Ok(image.to_owned()),
        };
        assert_eq!(of_image(None, spare, make).unwrap(), "here");
        assert_eq!(of_image(Some("gone"), spare, make).unwrap_err().message, "no image gone");
        assert_eq!(of_image(None, || Ok(Vec::new()), make).unwrap_err().code, "docker.image_missing");
        let conflict = |_: &str| Err::<(), _>(Error::failed("docker.conflict", "taken"));
        assert_eq!(of_image(None, spare, conflict).unwrap_err().code, "docker.conflict");
    }
}
