//! Where the engine is: the command line, the environment, Docker's own contexts, the default socket.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::world::error::{Error, Result};

/// The socket `docker` itself uses when told nothing.
const DEFAULT: &str = "unix:///var/run/docker.sock";

/// Which engine is meant, before the environment is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    #[default]
    Nothing,
    /// As the operator has just named it.
    Named(String),
    /// As an earlier command of the same run had reached it.
    OfRun(String),
}

impl Wish {
    /// The engine's address, as far as it is known before anything is asked.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Named(url) | Self::OfRun(url) => Some(url.clone()),
            Self::Nothing => std::env::var("DOCKER_HOST").ok(),
        }
    }
}

impl From<Option<String>> for Wish {
    fn from(named: Option<String>) -> Self {
        named.map_or(Self::Nothing, Self::Named)
    }
}

/// What a Docker context is called as `--docker`.
const CONTEXT: &str = "context:";

/// Where the engine is, and how the operator's wish was expressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As an operator would write it: `unix:///var/run/docker.sock`.
    pub url: String,
    /// What decided it: `--docker`, `DOCKER_HOST`, `the Docker context prod`, `the default`.
    pub origin: String,
    /// The Docker context that it is of.
    pub context: Option<String>,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The path of the socket.
    Unix(PathBuf),
    Tcp,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`.
    Tls(PathBuf),
    /// The program `ssh` takes the URL as it is, port included.
    Ssh,
}

/// The parts of the environment that `docker` heeds.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub docker_host: Option<String>,
    pub tls_verify: bool,
    pub cert_path: Option<PathBuf>,
    pub docker_context: Option<String>,
    /// `$DOCKER_CONFIG`, else `~/.docker`.
    pub config_dir: Option<PathBuf>,
}

impl Environment {
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let home = text("HOME").map(|home| PathBuf::from(home).join(".docker"));
        Self {
            docker_host: text("DOCKER_HOST"),
            // As in Docker: any value but the empty one counts, also "0".
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            cert_path: text("DOCKER_CERT_PATH").map(PathBuf::from),
            docker_context: text("DOCKER_CONTEXT"),
            config_dir: text("DOCKER_CONFIG").map(PathBuf::from).or(home),
        }
    }
}

impl Endpoint {
    /// The same choice that `docker` makes, with `--docker`, or what the run's journal says, before everything else.
    pub fn choose(wish: &Wish, environment: &Environment) -> Result<Self> {
        let wished = match wish {
            Wish::Nothing => None,
            Wish::Named(url) => Some((url, "--docker")),
            Wish::OfRun(url) => Some((url, "the run's own engine")),
        };
        if let Some((url, origin)) = wished {
            return match url.strip_prefix(CONTEXT) {
                Some(name) => Self::of_context(name, environment),
                None => Self::parse(url, origin, environment),
            };
        }
        if let Some(url) = &environment.docker_host {
            return Self::parse(url, "DOCKER_HOST", environment);
        }
        match context_name(environment) {
            Some(name) => Self::of_context(&name, environment),
            None => Self::parse(DEFAULT, "the default", environment),
        }
    }

    /// What reaches it again as `--docker`, whatever the environment says then; only where certificates are is
    /// the environment's to say.
    pub fn named(&self) -> String {
        match (&self.context, &self.transport) {
            (Some(name), _) => format!("{CONTEXT}{name}"),
            (None, Transport::Tls(_)) => self.url.replace("tcp://", "https://"),
            (None, _) => self.url.clone(),
        }
    }

    fn parse(url: &str, origin: &str, environment: &Environment) -> Result<Self> {
        let certificates = || environment.cert_path.clone().or(environment.config_dir.clone()).unwrap_or_default();
        let transport = match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Transport::Unix(path.into()),
            Some(("https", address)) if !address.is_empty() => Transport::Tls(certificates()),
            Some(("tcp" | "http", address)) if !address.is_empty() => {
                if environment.tls_verify {
                    Transport::Tls(certificates())
                } else {
                    Transport::Tcp
                }
            }
            Some(("ssh", address)) if has_path_or_password(address) => return Err(not_for_ssh(url, origin)),
            Some(("ssh", address)) if !address.is_empty() => Transport::Ssh,
            _ => return Err(unusable(url, origin)),
        };
        Ok(Self { url: url.to_owned(), origin: origin.to_owned(), context: None, transport })
    }

    /// What `docker context use` chose: without this, pgscript and the operator's `docker ps` could
    /// look at two different engines.
    fn of_context(name: &str, environment: &Environment) -> Result<Self> {
        let origin = format!("the Docker context {name}");
        let dir = environment.config_dir.clone().unwrap_or_default().join("contexts");
        let id: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = dir.join("meta").join(&id).join("meta.json");
        let host = read_json(&meta)
            .and_then(|meta| Some(meta["Endpoints"]["docker"]["Host"].as_str()?.to_owned()))
            .ok_or_else(|| {
                let message = format!("cannot read where {origin} points to: {}", meta.display());
                Error::unavailable("docker.unreachable", message)
                    .hint("check `docker context ls`, or name the engine with --docker")
            })?;
        let certificates = dir.join("tls").join(&id).join("docker");
        let tls_verify = certificates.join("ca.pem").exists();
        let of_context = Environment { tls_verify, cert_path: Some(certificates), ..Default::default() };
        Ok(Self { context: Some(name.to_owned()), ..Self::parse(&host, &origin, &of_context)? })
    }
}

fn context_name(environment: &Environment) -> Option<String> {
    let configured = || {
        let config = read_json(&environment.config_dir.as_ref()?.join("config.json"))?;
        Some(config["currentContext"].as_str()?.to_owned())
    };
    environment.docker_context.clone().or_else(configured).filter(|name| !name.is_empty() && name != "default")
}

fn read_json(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn has_path_or_password(address: &str) -> bool {
    address.contains('/') || address.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn not_for_ssh(url: &str, origin: &str) -> Error {
    // A password must not be repeated.
    let shown = match url.rsplit_once('@') {
        Some((_, host)) => format!("ssh://…@{host}"),
        None => url.to_owned(),
    };
    let message = format!("`{shown}` ({origin}) has a path or a password, which can't be used here");
    Error::unavailable("docker.unreachable", message)
        .hint("write ssh://user@host or ssh://user@host:port; ssh has to log in with a key")
}

fn unusable(url: &str, origin: &str) -> Error {
    let message = format!("`{url}` ({origin}) is not the address of a Docker engine");
    Error::unavailable("docker.unreachable", message)
        .hint("write unix:///path, tcp://host:port, https://host:port or ssh://user@host")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str) -> Wish {
        Wish::Named(url.to_owned())
    }

    #[test]
    fn what_reached_an_engine_reaches_it_again_whatever_the_environment_says_then() {
        let (dir, environment) = context("tcp://there:2376");
        let endpoint = Endpoint::choose(&Wish::Nothing, &environment).unwrap();
        assert_eq!(endpoint.named(), "context:prod");
        let later = Environment { docker_host: Some("tcp://another:1".into()), docker_context: None, ..environment };
        let again = Endpoint::choose(&Wish::OfRun(endpoint.named()), &later).unwrap();
        assert_eq!((again.url, again.transport), (endpoint.url, endpoint.transport));
        drop(dir);
        let secured = Environment { tls_verify: true, cert_path: Some("/certs".into()), ..Default::default() };
        let endpoint = Endpoint::choose(&named("tcp://h:2376"), &secured).unwrap();
        assert_eq!(endpoint.named(), "https://h:2376");
        let endpoint = Endpoint::choose(&Wish::Nothing, &Environment::default()).unwrap();
        assert_eq!(endpoint.named(), DEFAULT);
    }

    /// The directory of a Docker configuration whose current context is `prod`.
    fn context(host: &str) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"prod"}"#).unwrap();
        // The name of a context's directory is the SHA-256 of the context's name.
        let id: String = Sha256::digest("prod").iter().map(|b| format!("{b:02x}")).collect();
        let meta = dir.path().join("contexts/meta").join(&id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = serde_json::json!({"Endpoints": {"docker": {"Host": host}}}).to_string();
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let environment = Environment { config_dir: Some(dir.path().into()), ..Default::default() };
        (dir, environment)
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = Environment { docker_host: Some("tcp://there:2375".into()), ..Default::default() };
        let endpoint = Endpoint::choose(&named("ssh://root@here"), &environment).unwrap();
        assert_eq!((endpoint.origin.as_str(), endpoint.transport), ("--docker", Transport::Ssh));
        let endpoint = Endpoint::choose(&Wish::Nothing, &environment).unwrap();
        assert_eq!((endpoint.origin.as_str(), endpoint.transport), ("DOCKER_HOST", Transport::Tcp));
    }

    #[test]
    fn told_nothing_it_is_the_default_socket() {
        let endpoint = Endpoint::choose(&Wish::Nothing, &Environment::default()).unwrap();
        assert_eq!(endpoint.transport, Transport::Unix("/var/run/docker.sock".into()));
    }

    #[test]
    fn tls_comes_from_the_environment_or_the_scheme() {
        let environment = Environment { tls_verify: true, cert_path: Some("/certs".into()), ..Default::default() };
        let endpoint = Endpoint::choose(&named("tcp://h:2376"), &environment).unwrap();
        assert_eq!(endpoint.transport, Transport::Tls("/certs".into()));
        let environment = Environment { config_dir: Some("/home/op/.docker".into()), ..Default::default() };
        let endpoint = Endpoint::choose(&named("https://h:2376"), &environment).unwrap();
        assert_eq!(endpoint.transport, Transport::Tls("/home/op/.docker".into()));
    }

    #[test]
    fn an_address_without_scheme_is_refused_with_the_forms_to_use() {
        for url in ["localhost:2375", "unix://relative.sock", "tcp://", "npipe:////./pipe/docker"] {
            let error = Endpoint::choose(&named(url), &Environment::default()).unwrap_err();
            assert_eq!(error.code, "docker.unreachable");
            assert!(error.message.contains(url), "{error}");
        }
    }

    #[test]
    fn ssh_takes_a_port_but_no_path_and_no_password() {
        for url in ["ssh://prod", "ssh://op@prod:2222", "ssh://op@[::1]:2222"] {
            assert_eq!(Endpoint::choose(&named(url), &Environment::default()).unwrap().transport, Transport::Ssh);
        }
        for url in ["ssh://op@prod/run/docker.sock", "ssh://op:secret@prod"] {
            let error = Endpoint::choose(&named(url), &Environment::default()).unwrap_err();
            assert_eq!(error.code, "docker.unreachable");
            assert!(!error.message.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_context_chosen_in_docker_is_followed() {
        let (_dir, environment) = context("ssh://op@prod");
        let endpoint = Endpoint::choose(&Wish::Nothing, &environment).unwrap();
        assert_eq!((endpoint.url.as_str(), endpoint.transport), ("ssh://op@prod", Transport::Ssh));
        let environment = Environment { docker_context: Some("gone".into()), ..environment };
        assert!(Endpoint::choose(&Wish::Nothing, &environment).unwrap_err().message.contains("context gone"));
    }
}
