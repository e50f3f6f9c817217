//! Reaches the engine once, agrees on an API version, and says in plain words when that fails.
//!
//! Over SSH it is the program `ssh` that connects, with the operator's own configuration, as `docker` does it: each
//! connection is a `docker system dial-stdio` on the other side. bollard's own way accepts every unknown host,
//! whatever the configuration says, logs in again for each connection, and loses them all to the terminal's Ctrl-C
//! just when they are needed to end what runs over there. See [`Tunnel`].

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion};
use rustix::process::setsid;
use sha2::Digest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::{JoinHandle, JoinSet};

use super::Docker;
use super::endpoint::{Endpoint, Environment, Transport, Wish};
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
    /// The last one to keep the door that has let it in; see [`Docker::admit`].
    pub(super) admitted: tokio::sync::Mutex<Option<u64>>,
    _tunnel: Option<Tunnel>,
}

impl Connection {
    /// An error of the connection, with where the engine is.
    pub(super) fn named(&self, error: Error) -> Error {
        let Endpoint { url, origin, .. } = &self.endpoint;
        let is_named = error.message.contains(url.as_str());
        let hint = format!("the engine is {url} ({origin}): is its daemon still running?");
        if is_named { error } else { error.hint(hint) }
    }

    /// What the engine says of itself.
    pub(super) async fn info(&self) -> Result<EngineInfo> {
        let (endpoint, client) = (&self.endpoint, &self.ordinary);
        let info = client.info().await.map_err(errors::during("ask the Docker engine about itself"))?;
        let host = info.name.unwrap_or_default();
        let root_dir = info.docker_root_dir.unwrap_or_default();
        let options = info.security_options.unwrap_or_default();
        let by_socket = matches!(endpoint.transport, Transport::Unix(_));
        let this_host = rustix::system::uname();
        // A socket can be forwarded from elsewhere, or belong to a virtual machine: the name and the directory tell.
        let is_local = by_socket && this_host.nodename().to_bytes() == host.as_bytes() && Path::new(&root_dir).exists();
        Ok(EngineInfo {
            id: identity(&[&info.id.unwrap_or_default(), &host, &root_dir]),
            endpoint: endpoint.url.clone(),
            named: endpoint.named(),
            version: info.server_version.unwrap_or_default(),
            api_version: api_text(&client.client_version()),
            userns_remap: options.iter().any(|o| o == "name=userns" || o.starts_with("name=userns,")),
            host,
            root_dir,
            is_local,
        })
    }
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
        self.settled().await;
        let connection = self.connection.get_or_try_init(|| connect(&self.wish)).await?;
        self.admit(connection).await?;
        Ok(connection)
    }

    pub(super) async fn engine_info(&self) -> Result<EngineInfo> {
        self.connected().await?.info().await
    }
}

/// The id that an engine gives itself is not enough: up to Docker 23 all daemons of a machine share it, and copies of a
/// machine have it in common.
fn identity(parts: &[&str]) -> String {
    let digest = sha2::Sha256::digest(parts.join("\n"));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn api_text(version: &ClientVersion) -> String {
    format!("{}.{}", version.major_version, version.minor_version)
}

async fn connect(wish: &Wish) -> Result<Connection> {
    let endpoint = Endpoint::choose(wish, &Environment::of_process())?;
    let (client, tunnel) = match tokio::time::timeout(FIRST_ANSWER, reach(&endpoint)).await {
        Ok(reached) => reached?,
        Err(_) => return Err(silent(&endpoint)),
    };
    let version = client.client_version();
    if version < OLDEST_API {
        let (found, needed) = (api_text(&version), api_text(&OLDEST_API));
        let message = format!("the Docker engine at {} speaks API {found}; {needed} is needed", endpoint.url);
        return Err(Error::unavailable("docker.unreachable", message).hint("Docker 20.10 or newer is needed"));
    }
    let patient = client.clone().with_timeout(PATIENT);
    Ok(Connection { endpoint, ordinary: client, patient, admitted: tokio::sync::Mutex::default(), _tunnel: tunnel })
}

async fn reach(endpoint: &Endpoint) -> Result<(bollard::Docker, Option<Tunnel>)> {
    let tunnel = match endpoint.transport {
        Transport::Ssh => Some(Tunnel::open(&endpoint.url).await.map_err(|cause| no_way(endpoint, &cause, false))?),
        _ => None,
    };
    let client = open(endpoint, tunnel.as_ref()).map_err(|e| unreachable(endpoint, &e))?;
    match client.negotiate_version().await {
        Ok(client) => Ok((client, tunnel)),
        // What ssh or the other side's docker said is the reason; here only a connection closed.
        Err(e) => match tunnel.map(|tunnel| tunnel.words.last()).filter(|words| !words.is_empty()) {
            Some(words) => Err(no_way(endpoint, &words, false)),
            None => Err(unreachable(endpoint, &e)),
        },
    }
}

fn open(endpoint: &Endpoint, tunnel: Option<&Tunnel>) -> Result<bollard::Docker, bollard::errors::Error> {
    let (url, timeout) = (endpoint.url.as_str(), ORDINARY.as_secs());
    if let Some(tunnel) = tunnel {
        let socket = tunnel.dir.socket();
        return bollard::Docker::connect_with_unix(&socket.to_string_lossy(), timeout, API_DEFAULT_VERSION);
    }
    match &endpoint.transport {
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
        Transport::Unix(_) | Transport::Ssh => bollard::Docker::connect_with_unix(url, timeout, API_DEFAULT_VERSION),
    }
}

fn unreachable(endpoint: &Endpoint, error: &bollard::errors::Error) -> Error {
    let cause = match error {
        bollard::errors::Error::SocketNotFoundError(path) => format!("there is no socket {path}"),
        bollard::errors::Error::CertPathError { path } => format!("cannot read {}", path.display()),
        other => {
            let reason = root_cause(other);
            match &endpoint.transport {
                Transport::Tls(dir) => errors::in_tls(&reason, dir).unwrap_or(reason),
                _ => reason,
            }
        }
    };
    no_way(endpoint, &cause, errors::io_kind(error) == Some(io::ErrorKind::PermissionDenied))
}

fn no_way(endpoint: &Endpoint, cause: &str, denied: bool) -> Error {
    let message = format!("cannot reach the Docker engine at {} ({}): {cause}", endpoint.url, endpoint.origin);
    Error::unavailable("docker.unreachable", message).hint(hint(endpoint, denied))
}

fn silent(endpoint: &Endpoint) -> Error {
    let seconds = FIRST_ANSWER.as_secs();
    let message = format!("the Docker engine at {} ({}) gave no answer in {seconds} s", endpoint.url, endpoint.origin);
    Error::unavailable("docker.unreachable", message).hint("is the address right, and the engine alive?")
}

fn hint(endpoint: &Endpoint, denied: bool) -> String {
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
        Transport::Ssh => {
            let address = endpoint.url.trim_start_matches("ssh://");
            // Only as a URL can a port stand beside the name.
            let host = if address.contains(':') { &endpoint.url } else { address };
            format!("try `ssh {host} docker version`: it must work without a question")
        }
    }
}

/// How long the last words of an ssh that has ended may take; what it started itself can keep them open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// As much is copied at once.
const BUFFER: usize = 64 << 10;
/// Channels made ahead of time: the start of a shell over there (its `.bashrc`) is not waited for each time.
const SPARE: usize = 2;
/// Longer than this, the names of the sockets would not fit (107 bytes, and ssh adds 17 to its own at first).
const LONGEST_BASE: usize = 50;

/// A socket of our own, each connection of which is a channel of one login at the other host.
///
/// bollard connects to the socket; for each connection an `ssh` runs `docker system dial-stdio` through the master, the
/// one that has logged in. Should the master be lost, or the server allow no more channels, ssh logs in anew by itself.
struct Tunnel {
    relay: JoinHandle<()>,
    _master: Child,
    /// Kept apart from the child: waiting for that would close it.
    _lifeline: Option<ChildStdin>,
    words: Words,
    dir: SocketDir,
}

impl Tunnel {
    /// Logs in. The error is in ssh's own words.
    async fn open(url: &str) -> Result<Self, String> {
        let dir = SocketDir::create().map_err(|e| format!("cannot make a directory for its socket: {e}"))?;
        let listener = UnixListener::bind(dir.socket()).map_err(|e| format!("cannot listen on its socket: {e}"))?;
        let ssh = Ssh { url: url.to_owned(), control: dir.control() };
        // `cat` ends when its input closes: the master does not outlive us, however we end.
        let mut master = ssh.spawn("yes", &["cat"]).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => "no program ssh found".to_owned(),
            _ => format!("cannot run ssh: {e}"),
        })?;
        let lifeline = master.stdin.take();
        let words = Words::default();
        let hearing = tokio::spawn(words.clone().hear(master.stderr.take()));
        // ssh makes its control socket once it has logged in.
        while !dir.control().exists() {
            tokio::select! {
                ended = master.wait() => {
                    _ = tokio::time::timeout(LAST_WORDS, hearing).await;
                    let status = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                    let words = words.last();
                    return Err(if words.is_empty() { format!("ssh ended ({status}) without a word") } else { words });
                }
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        let relay = tokio::spawn(relay(listener, ssh, words.clone()));
        Ok(Self { relay, _master: master, _lifeline: lifeline, words, dir })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// A directory that only we may enter, gone again when dropped.
struct SocketDir(PathBuf);

impl SocketDir {
    fn create() -> io::Result<Self> {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(io::Error::other)?;
        let base = std::env::temp_dir();
        let base = if base.as_os_str().len() > LONGEST_BASE { Path::new("/tmp") } else { &base };
        let dir = base.join(format!("pgscript-{:016x}", u64::from_ne_bytes(bits)));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("docker")
    }

    fn control(&self) -> PathBuf {
        self.0.join("ssh")
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How `ssh` is called.
struct Ssh {
    url: String,
    control: PathBuf,
}

impl Ssh {
    fn spawn(&self, master: &str, remote: &[&str]) -> io::Result<Child> {
        let mut command = Command::new("ssh");
        command.args(["-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"]);
        command.args(["-o", "ServerAliveInterval=30", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none"]);
        command.args(["-o", "ControlPersist=no", "-o", &format!("ControlMaster={master}")]);
        command.arg("-S").arg(self.control.to_string_lossy().replace('%', "%%"));
        command.arg("--").arg(&self.url).args(remote);
        command.env("SSH_ASKPASS_REQUIRE", "never");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and touches no memory.
        // In a session of its own ssh has no terminal to ask on, a jump host's neither, and the terminal's Ctrl-C does
        // not reach it: what runs over there is ended through it.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        command.spawn()
    }
}

/// The last thing that ssh, or docker on the other side, complained of.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<String>>);

impl Words {
    /// Takes all that comes, lest its writer has to wait.
    async fn hear(self, stderr: Option<impl AsyncRead + Unpin>) {
        let Some(mut stderr) = stderr else { return };
        let (mut tail, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = stderr.read(&mut piece).await {
            tail.extend_from_slice(&piece[..length]);
            tail.drain(..tail.len().saturating_sub(piece.len()));
            let text = condensed(&String::from_utf8_lossy(&tail));
            *self.0.lock().unwrap_or_else(|e| e.into_inner()) = text;
        }
    }

    fn last(&self) -> String {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

/// The last three lines in one, without control characters: what comes from another host shall not paint ours.
fn condensed(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric)).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" ");
    last.chars().filter(|c| !c.is_control()).collect()
}

async fn relay(listener: UnixListener, ssh: Ssh, words: Words) {
    let dial = || ssh.spawn("no", &["docker", "system", "dial-stdio"]);
    let mut spare: VecDeque<Child> = std::iter::repeat_with(dial).take(SPARE).flatten().collect();
    // Ended with this task.
    let mut channels = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while channels.try_join_next().is_some() {}
        // The engine may have closed one that has waited for long.
        spare.retain_mut(|channel| matches!(channel.try_wait(), Ok(None)));
        // Without a process the connection closes, and the request says so.
        if let Some(channel) = spare.pop_front().or_else(|| dial().ok()) {
            channels.spawn(carry(client, channel, words.clone()));
        }
        spare.extend(std::iter::repeat_with(dial).take(SPARE - spare.len()).flatten());
    }
}

/// Both directions, each closed by itself: a command in a container sees the end of its input while its output goes on.
async fn carry(client: UnixStream, mut channel: Child, words: Words) {
    let (Some(mut stdin), Some(stdout)) = (channel.stdin.take(), channel.stdout.take()) else { return };
    let mut hearing = tokio::spawn(words.hear(channel.stderr.take()));
    let (from_client, mut to_client) = client.into_split();
    let up = async move {
        _ = copy_buf(&mut BufReader::with_capacity(BUFFER, from_client), &mut stdin).await;
        drop(stdin);
        std::future::pending::<()>().await
    };
    let down = async move {
        let copied = copy_buf(&mut BufReader::with_capacity(BUFFER, stdout), &mut to_client).await;
        if copied.is_ok_and(|bytes| bytes == 0) {
            // No answer at all: whoever asked will want to know why.
            _ = tokio::time::timeout(LAST_WORDS, &mut hearing).await;
        }
        _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_one_line_without_banner_and_control_characters() {
        let text = "@@@@@@@\r\n@ WARNING! @\r\n\r\nIt is \x1b[31mpossible\r\nHost key has changed.\r\nfailed.\r\n";
        assert_eq!(condensed(text), "It is [31mpossible Host key has changed. failed.");
        assert_eq!(condensed(""), "");
    }
}
