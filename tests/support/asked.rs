//! What tests ask an engine for most, without a program: `docker` takes longer to start than most answers take.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

const PATIENCE: Duration = Duration::from_secs(600);

/// An engine, by its address.
#[derive(Clone)]
pub struct Asked(Docker);

/// What a command in a container came to.
pub struct Said {
    pub code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Asked {
    /// That of the environment, or another one as in `DOCKER_HOST`; by a socket of this machine.
    pub fn of(host: Option<&str>) -> Self {
        static KNOWN: Mutex<BTreeMap<String, Asked>> = Mutex::new(BTreeMap::new());
        let host = host.map_or_else(|| std::env::var("DOCKER_HOST").unwrap_or_default(), str::to_owned);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(host).or_insert_with_key(|host| Self::connect(host)).clone()
    }

    fn connect(host: &str) -> Self {
        let default = || host.is_empty().then_some("/var/run/docker.sock");
        let socket = host.strip_prefix("unix://").or_else(default);
        let socket = socket.unwrap_or_else(|| panic!("{host} is no socket of this machine"));
        let connected = Docker::connect_with_unix(socket, PATIENCE.as_secs(), API_DEFAULT_VERSION);
        Self(RUNTIME.block_on(async { connected.unwrap().negotiate_version().await }).unwrap())
    }

    /// The id of the newest container with these labels, running or not.
    pub fn container(&self, labels: &[String]) -> Option<String> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = RUNTIME.block_on(self.0.list_containers(Some(options))).unwrap();
        found.into_iter().next()?.id
    }

    /// Runs a command in a container to its end.
    pub fn exec(&self, container: &str, argv: &[&str], env: &[String]) -> Said {
        RUNTIME.block_on(async {
            let config = ExecConfig {
                cmd: Some(argv.iter().map(|&word| word.to_owned()).collect()),
                env: Some(env.to_vec()),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..Default::default()
            };
            let id = self.0.create_exec(container, config).await.unwrap().id;
            let mut said = Said { code: -1, stdout: Vec::new(), stderr: Vec::new() };
            let StartExecResults::Attached { mut output, .. } = self.0.start_exec(&id, None).await.unwrap() else {
                panic!("{argv:?} was detached");
            };
            while let Some(frame) = output.next().await {
                match frame.unwrap() {
                    LogOutput::StdErr { message } => said.stderr.extend_from_slice(&message),
                    frame => said.stdout.extend_from_slice(&frame.into_bytes()),
                }
            }
            said.code = self.0.inspect_exec(&id).await.unwrap().exit_code.unwrap_or(-1);
            said
        })
    }
}
