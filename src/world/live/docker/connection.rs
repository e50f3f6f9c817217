//! Reaches the engine once, agrees on an API version, and says in plain words when that fails.

use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion};

use super::Docker;
use super::endpoint::{Endpoint, Environment, Transport};
use super::errors::{self, root_cause};
use crate::world::container::EngineInfo;
use crate::world::error::{Error, Result};

/// For an ordinary request; an engine under load may take its time for a removal.
const ORDINARY: Duration = Duration::from_secs(120);
/// For what may take as long as the data is large; cancellation ends these, not the clock.
const PATIENT: Duration = Duration::from_secs(30 * 24 * 3600);
/// For the first answer; an ssh login with a slow name service takes longer than one would like.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// Docker 20.10: the oldest engine that pgscript was tried with.
const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// An engine that has answered.
pub(super) struct Connection {
    endpoint: Endpoint,
    ordinary: bollard::Docker,
    patient: bollard::Docker,
}

impl Docker {
    /// For short requests: the engine has to answer within two minutes.
    pub(super) async fn client(&self) -> Result<&bollard::Docker> {
        Ok(&self.connected().await?.ordinary)
    }

    /// For requests that last: stop, wait, pull, streams.
    pub(super) async fn patient_client(&self) -> Result<&bollard::Docker> {
        Ok(&self.connected().await?.patient)
    }

    async fn connected(&self) -> Result<&Connection> {
        self.connection.get_or_try_init(|| connect(self.docker_host.as_deref())).await
    }

    pub(super) async fn engine_info(&self) -> Result<EngineInfo> {
        let Connection { endpoint, ordinary: client, .. } = self.connected().await?;
        let info = client.info().await.map_err(errors::during("ask the Docker engine about itself"))?;
        let host = info.name.unwrap_or_default();
        let root_dir = info.docker_root_dir.unwrap_or_default();
        let options = info.security_options.unwrap_or_default();
        let by_socket = matches!(endpoint.transport, Transport::Unix(_));
        let this_host = rustix::system::uname();
        // A socket can be forwarded from elsewhere, or belong to a virtual machine: the name and the directory tell.
        let is_local = by_socket && this_host.nodename().to_bytes() == host.as_bytes() && Path::new(&root_dir).exists();
        Ok(EngineInfo {
            endpoint: endpoint.url.clone(),
            version: info.server_version.unwrap_or_default(),
            api_version: api_text(&client.client_version()),
            userns_remap: options.iter().any(|o| o == "name=userns" || o.starts_with("name=userns,")),
            host,
            root_dir,
            is_local,
        })
    }
}

fn api_text(version: &ClientVersion) -> String {
    format!("{}.{}", version.major_version, version.minor_version)
}

async fn connect(wished: Option<&str>) -> Result<Connection> {
    let endpoint = Endpoint::choose(wished, &Environment::of_process())?;
    let client = open(&endpoint).map_err(|e| unreachable(&endpoint, &e))?;
    let client = match tokio::time::timeout(FIRST_ANSWER, client.negotiate_version()).await {
        Ok(answer) => answer.map_err(|e| unreachable(&endpoint, &e))?,
        Err(_) => return Err(silent(&endpoint)),
    };
    let version = client.client_version();
    if version < OLDEST_API {
        let (found, needed) = (api_text(&version), api_text(&OLDEST_API));
        let message = format!("the Docker engine at {} speaks API {found}; {needed} is needed", endpoint.url);
        return Err(Error::unavailable("docker.unreachable", message).hint("Docker 20.10 or newer is needed"));
    }
    let patient = client.clone().with_timeout(PATIENT);
    Ok(Connection { endpoint, ordinary: client, patient })
}

fn open(endpoint: &Endpoint) -> Result<bollard::Docker, bollard::errors::Error> {
    let (url, timeout) = (endpoint.url.as_str(), ORDINARY.as_secs());
    match &endpoint.transport {
        Transport::Unix(_) => bollard::Docker::connect_with_unix(url, timeout, API_DEFAULT_VERSION),
        Transport::Tcp => bollard::Docker::connect_with_http(url, timeout, API_DEFAULT_VERSION),
        Transport::Tls(dir) => {
            // Read here as well: bollard reads key and certificate later, and then only says "no certificate".
            for file in ["ca.pem", "cert.pem", "key.pem"] {
                std::fs::File::open(dir.join(file))
                    .map_err(|_| bollard::errors::Error::CertPathError { path: dir.join(file) })?;
            }
            let (ca, cert, key) = (dir.join("ca.pem"), dir.join("cert.pem"), dir.join("key.pem"));
            bollard::Docker::connect_with_ssl(url, &key, &cert, &ca, timeout, API_DEFAULT_VERSION)
        }
        Transport::Ssh => bollard::Docker::connect_with_ssh(url, timeout, API_DEFAULT_VERSION, None),
    }
}

fn unreachable(endpoint: &Endpoint, error: &bollard::errors::Error) -> Error {
    let cause = match error {
        bollard::errors::Error::SocketNotFoundError(path) => format!("there is no socket {path}"),
        bollard::errors::Error::CertPathError { path } => format!("cannot read {}", path.display()),
        other => root_cause(other),
    };
    let message = format!("cannot reach the Docker engine at {} ({}): {cause}", endpoint.url, endpoint.origin);
    Error::unavailable("docker.unreachable", message).hint(hint(endpoint, error))
}

fn silent(endpoint: &Endpoint) -> Error {
    let seconds = FIRST_ANSWER.as_secs();
    let message = format!("the Docker engine at {} ({}) gave no answer in {seconds} s", endpoint.url, endpoint.origin);
    Error::unavailable("docker.unreachable", message).hint("is the address right, and the engine alive?")
}

fn hint(endpoint: &Endpoint, error: &bollard::errors::Error) -> String {
    let denied = errors::io_kind(error) == Some(std::io::ErrorKind::PermissionDenied);
    match &endpoint.transport {
        Transport::Unix(_) if denied => "run as root or as a member of the group docker".into(),
        Transport::Unix(_) => "is the Docker daemon running (systemctl status docker)? Is another engine meant: \
             --docker ssh://user@host, or DOCKER_HOST?"
            .into(),
        Transport::Tcp => "is the daemon running and listening on that address? With TLS: set DOCKER_TLS_VERIFY=1 \
             and DOCKER_CERT_PATH"
            .into(),
        Transport::Tls(dir) => {
            format!(
                "is the daemon listening on that address, and do ca.pem, cert.pem and key.pem in {} fit it?",
                dir.display()
            )
        }
        Transport::Ssh => format!(
            "try `ssh {} docker version`: it must work without a question",
            endpoint.url.trim_start_matches("ssh://")
        ),
    }
}
