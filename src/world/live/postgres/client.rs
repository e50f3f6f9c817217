//! Where client programs run: in the server's own container, or in a helper container beside it.

use std::path::Path;

use super::Clients;
use super::staging;
use super::watch::Watch;
use crate::world::container::{ContainerSpec, ExecSpec, Mount, NO_HISTORY, Output, Streams};
use crate::world::error::{Error, Result};
use crate::world::live::helper::Helper;
use crate::world::live::lines::Lines;
use crate::world::postgres::{ANY_DATABASE, Server};
use crate::world::secret::Secret;
use crate::world::session::{self, Purpose};

/// Where a helper sees the artefact directory.
pub const ARTEFACTS: &str = "/pgscript-artefacts";

/// Client programs, and the environment that leads them to a server. Names, users and passwords go by environment:
/// argv is seen by everyone on the machine, and a database called `a=b` would be read as connection parameters.
pub struct Client<'a> {
    pub clients: &'a Clients,
    container: String,
    /// For messages: the server's container, or the image of the helper.
    pub label: String,
    env: Vec<String>,
    /// The server that its sessions are on; none where it opens no session.
    server: Option<Server>,
    mounted: bool,
    helper: Option<Helper>,
}

/// One call of a client program.
pub struct Call<'a> {
    pub argv: Vec<String>,
    /// The database to connect to, unless argv names it.
    pub database: Option<&'a str>,
    /// What the program's sessions are for; it decides what is set in them.
    pub purpose: Purpose,
    pub env: Vec<String>,
    /// Whether it writes files itself.
    writes_files: bool,
}

/// Before a program that writes files itself: they are their owner's alone from the first byte.
const PRIVATE: [&str; 4] = ["sh", "-c", r#"umask 077; exec "$@""#, "sh"];

impl<'a> Call<'a> {
    pub fn new(argv: &[&str], database: Option<&'a str>) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Self { argv, database, purpose: Purpose::default(), env: Vec::new(), writes_files: false }
    }

    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// What its session sends and gets is in this encoding, whatever is set for sessions of the role or the database.
    pub fn encoding(mut self, name: &str) -> Self {
        self.env.push(format!("PGCLIENTENCODING={name}"));
        self
    }

    /// The program writes files into the artefact directory.
    pub fn writing_files(mut self) -> Self {
        self.writes_files = true;
        self
    }
}

impl<'a> Client<'a> {
    /// The programs of the server's own container, over its local socket.
    pub fn inside(clients: &'a Clients, server: &Server) -> Self {
        let (container, label) = (server.container.clone(), server.container_name.clone());
        // An empty PGHOST is the socket, whatever an environment file shared with the application says.
        Self {
            clients,
            container,
            label,
            env: environment(server, clients.password(server), ""),
            server: Some(server.clone()),
            mounted: false,
            helper: None,
        }
    }

    /// The server, where this is in its own container.
    pub fn own_server(&self) -> Option<&Server> {
        self.server.as_ref().filter(|server| server.container == self.container)
    }

    /// What leads its sessions to the server, and the name of a database there.
    pub fn place_in(&self, database: &str) -> Result<(Vec<String>, String)> {
        let mut place = self.env.clone();
        place.extend(self.place(None)?);
        Ok((place, self.named(database)))
    }

    /// The programs of `image` (the server's own when `None`) in a helper in the server's network, over 127.0.0.1.
    /// `artefacts` appears as [`ARTEFACTS`] where the engine can mount it; see [`Client::mounted`].
    pub fn beside(
        clients: &'a Clients,
        server: &Server,
        image: Option<&str>,
        artefacts: Option<(&Path, bool)>,
    ) -> Result<Self> {
        let container = clients.containers.container(&server.container)?;
        let image = image.unwrap_or(&container.image_id);
        let env = environment(server, clients.password(server), "127.0.0.1");
        let mut client = Self::helper(clients, image, &format!("container:{}", container.id), artefacts)?;
        client.env = env;
        client.server = Some(server.clone());
        Ok(client)
    }

    /// The programs of `image` in a helper without a network: for reading dumps.
    pub fn alone(clients: &'a Clients, image: &str, artefacts: &Path) -> Result<Self> {
        let mut client = Self::helper(clients, image, "none", Some((artefacts, true)))?;
        client.env = vec!["LC_ALL=C".into()];
        Ok(client)
    }

    fn helper(clients: &'a Clients, image: &str, network: &str, artefacts: Option<(&Path, bool)>) -> Result<Self> {
        let info = clients.containers.info()?;
        let mount = artefacts.filter(|_| info.is_local);
        let start = |mount, in_host| {
            Helper::start(&clients.context, &clients.containers, holder(image, network, mount, in_host))
        };
        let first = start(mount, info.userns_remap);
        let (helper, mount) = match first {
            // An engine that remaps users may refuse its own namespace for a helper: then without the mount.
            Err(error) if info.userns_remap && error.code != "cancelled" => (start(None, false)?, None),
            other => (other?, mount),
        };
        let mut client = Self {
            clients,
            container: helper.id.clone(),
            label: image.to_owned(),
            env: Vec::new(),
            server: None,
            mounted: false,
            helper: Some(helper),
        };
        client.mounted = match mount {
            Some((directory, read_only)) => client.sees(directory, read_only)?,
            None => false,
        };
        Ok(client)
    }

    /// Whether the artefact directory is at [`ARTEFACTS`]. Not so with an engine on another machine.
    pub fn mounted(&self) -> bool {
        self.mounted
    }

    /// A bind mount shows the engine's file system, which need not be ours (pgscript in a container of its own): the
    /// directory counts only when a file that is here is there, and when it can be written where that is needed.
    fn sees(&self, directory: &Path, read_only: bool) -> Result<bool> {
        let probe = directory.join(".pgscript-probe");
        let test = if read_only {
            let name = std::fs::read_dir(directory)
                .ok()
                .and_then(|mut entries| entries.find_map(|entry| entry.ok()?.file_name().into_string().ok()));
            let Some(name) = name else { return Ok(false) };
            ["test".to_owned(), "-r".to_owned(), format!("{ARTEFACTS}/{name}")]
        } else {
            staging::create(&probe)?;
            ["test".to_owned(), "-w".to_owned(), format!("{ARTEFACTS}/.pgscript-probe")]
        };
        let spec = ExecSpec { argv: test.to_vec(), ..ExecSpec::default() };
        let seen = self.clients.containers.exec_output(&self.container, &spec);
        if !read_only {
            let _ = std::fs::remove_file(&probe);
        }
        Ok(seen?.exit_code == 0)
    }

    /// Runs a program to its end and gives its exit code.
    pub fn exec(&self, call: Call<'_>, streams: Streams<'_>) -> Result<i64> {
        self.close_before(&call);
        self.clients.containers.exec(&self.container, &self.spec(call)?, streams)
    }

    /// Runs a program on the operator's terminal and gives its exit code: with text as a terminal shows it.
    pub fn terminal(&self, call: Call<'_>) -> Result<i64> {
        let call = call.purpose(Purpose::Person);
        self.close_before(&call);
        let mut spec = self.spec(call)?;
        spec.env.retain(|entry| !entry.starts_with("LC_ALL="));
        spec.env.push("LC_ALL=C.UTF-8".into());
        NO_HISTORY.iter().for_each(|entry| spec.default_env(entry));
        self.clients.containers.terminal(&self.container, &spec)
    }

    /// Runs a program to its end and gives what it has said.
    pub fn output(&self, call: Call<'_>) -> Result<Output> {
        self.close_before(&call);
        self.clients.containers.exec_output(&self.container, &self.spec(call)?)
    }

    /// Whatever is more than a question finds no session of ours at the server.
    fn close_before(&self, call: &Call<'_>) {
        if let Some(server) = self.server.as_ref().filter(|_| call.purpose != Purpose::Reading) {
            self.clients.standing.close(&server.container);
        }
    }

    fn spec(&self, call: Call<'_>) -> Result<ExecSpec> {
        let mut env = self.env.clone();
        env.extend(self.place(call.database)?);
        if let Some(server) = &self.server {
            let major = self.server_major(server, call.database)?;
            env.push(format!("PGOPTIONS={}", session::options(call.purpose, major)));
        }
        env.extend(call.env);
        let wrapped = PRIVATE.iter().filter(|_| call.writes_files).map(|word| (*word).to_owned());
        Ok(ExecSpec { argv: wrapped.chain(call.argv).collect(), env, ..ExecSpec::default() })
    }

    /// The server's port, which may have been found out meanwhile, and the database to connect to.
    fn place(&self, database: Option<&str>) -> Result<Vec<String>> {
        let database = database.map(|database| self.named(database));
        let port = self.server.as_ref().map(|server| self.clients.port(&server.container)).transpose()?;
        let port = port.map(|port| format!("PGPORT={port}"));
        Ok(port.into_iter().chain(database.map(|database| format!("PGDATABASE={database}"))).collect())
    }

    /// The name of a database to connect to.
    fn named(&self, database: &str) -> String {
        let any = self.server.as_ref().filter(|_| database == ANY_DATABASE);
        any.map_or_else(|| database.to_owned(), |server| self.clients.own_database(server))
    }

    /// The major version of the server, as far as it tells without a session; else as psql learns it from the server
    /// when it connects, without asking anything.
    fn server_major(&self, server: &Server, database: Option<&str>) -> Result<Option<u32>> {
        let mut known = self.clients.majors.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(major) = known.get(&server.container) {
            return Ok(Some(*major));
        }
        let engine = &*self.clients.containers;
        let major = match session::major(engine, &server.container)? {
            Some(major) => Some(major),
            None => self.major_by_connecting(database)?,
        };
        known.extend(major.map(|major| (server.container.clone(), major)));
        Ok(major)
    }

    fn major_by_connecting(&self, database: Option<&str>) -> Result<Option<u32>> {
        let argv = ["psql", "-X", "-q", "-A", "-t", "--no-password", "-c", r"\echo :SERVER_VERSION_NUM"];
        let mut env = self.env.clone();
        env.extend(self.place(database)?);
        env.push(format!("PGOPTIONS={}", session::options(Purpose::Reading, None)));
        let spec = ExecSpec { argv: argv.map(str::to_owned).to_vec(), env, ..ExecSpec::default() };
        let answer = self.clients.containers.exec_output(&self.container, &spec)?;
        // Where it does not connect, what is to be done says why.
        Ok(String::from_utf8_lossy(&answer.stdout).trim().parse::<u32>().ok().map(|number| number / 10_000))
    }

    /// Runs `pg_dump`, `pg_dumpall` or `pg_restore`: anything but exit code 0 without an error line is an error.
    pub fn tool(
        &self,
        call: Call<'_>,
        stdin: Option<&mut (dyn std::io::Read + Send)>,
        stdout: Option<&mut (dyn std::io::Write + Send)>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let program = call.argv.first().cloned().unwrap_or_default();
        let ended = self.listened(call, stdin, stdout, |line| watch.line(line));
        watch.judge(&program, &self.label, ended?)
    }

    /// Runs a program and hands on what it says on stderr, line by line; gives its exit code.
    pub fn listened(
        &self,
        call: Call<'_>,
        stdin: Option<&mut (dyn std::io::Read + Send)>,
        stdout: Option<&mut (dyn std::io::Write + Send)>,
        line: impl FnMut(&str) + Send,
    ) -> Result<i64> {
        let mut stderr = Lines::new(&self.clients.context.redactor, line);
        let mut streams = Streams { stderr: Some(&mut stderr), ..Streams::default() };
        // Inside an Option a trait object's lifetime does not shorten by itself.
        if let Some(stdin) = stdin {
            streams.stdin = Some(stdin);
        }
        if let Some(stdout) = stdout {
            streams.stdout = Some(stdout);
        }
        let ended = self.exec(call, streams);
        stderr.finish();
        ended
    }

    /// The major version of a client program.
    pub fn major(&self, program: &str) -> Result<u32> {
        let spec = ExecSpec { argv: vec![program.into(), "--version".into()], ..ExecSpec::default() };
        let output = self.clients.containers.exec_output(&self.container, &spec)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        session::major_of(&text).filter(|_| output.exit_code == 0).ok_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let message = format!("{program} in {} does not tell its version: {stderr}{}", self.label, text.trim());
            Error::failed("postgres.no_client", message).hint("name an image with PostgreSQL's client programs")
        })
    }

    /// Ends the helper now, and says so when that fails.
    pub fn close(mut self) {
        drop(self.helper.take());
    }
}

/// What leads a client program to a server. Names and passwords go by environment.
pub fn environment(server: &Server, password: Option<Secret>, host: &str) -> Vec<String> {
    let mut env = vec![
        format!("PGHOST={host}"),
        format!("PGUSER={}", server.user),
        "PGAPPNAME=pgscript".into(),
        "PGCONNECT_TIMEOUT=10".into(),
        "LC_ALL=C".into(),
    ];
    env.extend(session::VARIABLES.map(str::to_owned));
    env.extend(password.map(|password| format!("PGPASSWORD={}", password.reveal())));
    env
}

/// Any name may be a database's; alone, one with `=` in it would be read as connection parameters.
pub fn connection_string(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What a helper with client programs is made of.
fn holder(image: &str, network: &str, mount: Option<(&Path, bool)>, host_user_namespace: bool) -> ContainerSpec {
    ContainerSpec {
        image: Some(image.to_owned()),
        mounts: mount.iter().map(|(directory, read_only)| bind(directory, *read_only)).collect(),
        network: Some(network.to_owned()),
        // As whoever runs pgscript: what the programs write belongs to the operator.
        user: Some(format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())),
        host_user_namespace,
        ..ContainerSpec::default()
    }
}

fn bind(directory: &Path, read_only: bool) -> Mount {
    Mount {
        kind: "bind".into(),
        name: String::new(),
        source: directory.display().to_string(),
        destination: ARTEFACTS.into(),
        read_only,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_cannot_become_connection_parameters() {
        assert_eq!(connection_string("a=b 'c' \\d"), "dbname='a=b \\'c\\' \\\\d'");
    }

    #[test]
    fn the_password_is_in_the_environment_only_when_there_is_one() {
        let server = Server {
            container: "c".into(),
            container_name: "c".into(),
            user: "primero".into(),
            password: None,
            database: "postgres".into(),
            is_database_chosen: false,
        };
        assert!(!environment(&server, None, "").iter().any(|e| e.starts_with("PGPASSWORD")));
        assert!(environment(&server, Some(Secret::new("a b")), "").contains(&"PGPASSWORD=a b".to_owned()));
    }
}
