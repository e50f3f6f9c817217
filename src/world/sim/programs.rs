//! What programs in containers do, as far as scripts and the tool itself call them.

use super::State;
use super::files::joined;
use super::server::ServerArguments;
use super::sessions::Session;
use super::state::{Container, Image, ImageKind};
use crate::world::container::Output;

/// What a container's process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Main {
    Server(ServerArguments),
    /// It comes to its end at once.
    Program(Vec<String>),
    /// It waits, or does its work, until somebody ends it.
    Forever,
}

/// Programs of every image.
const COMMON: [&str; 10] = ["cat", "chown", "echo", "false", "id", "sh", "sleep", "stat", "touch", "true"];
/// Programs of PostgreSQL's images.
const OF_POSTGRES: [&str; 5] = ["initdb", "pg_isready", "pg_resetwal", "postgres", "psql"];
/// What only asks a server program about itself.
const QUESTIONS: [&str; 5] = ["--version", "-V", "--help", "-?", "--describe-config"];
/// Port of every simulated server.
const PORT: u16 = 5432;

/// The file's name: `/usr/bin/cat` is `cat`.
pub(super) fn name_of(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

impl Container {
    /// Whether its process is a script of its image, and not one that only waits.
    pub(super) fn runs_own_script(&self) -> bool {
        let first = self.entrypoint.iter().chain(&self.command).map(|word| name_of(word)).next().unwrap_or_default();
        !COMMON.contains(&first) && first != "idle.sh"
    }
}

impl State {
    /// What a container's process is; the name of the program where there is none of that name.
    pub(super) fn main_of(&self, container: &Container) -> Result<Main, String> {
        let argv: Vec<_> = container.entrypoint.iter().chain(&container.command).cloned().collect();
        let Some(image) = self.image(&container.image_id) else { return Err(argv.concat()) };
        let (by_entrypoint, argv) = match argv.split_first() {
            Some((first, rest)) if image.is_postgres() && name_of(first) == "docker-entrypoint.sh" => {
                let is_flag = rest.first().is_none_or(|word| word.starts_with('-'));
                (true, if is_flag { [&["postgres".to_owned()], rest].concat() } else { rest.to_vec() })
            }
            _ => (false, argv),
        };
        let first = argv.first().cloned().unwrap_or_default();
        if let Some(arguments) = server_arguments(&argv).filter(|_| image.is_postgres()) {
            return Ok(Main::Server(ServerArguments { by_entrypoint, arguments }));
        }
        match name_of(&first) {
            "sleep" => Ok(Main::Forever),
            "cat" if argv.len() == 1 => Ok(Main::Forever),
            "sh" if waits(&argv) => Ok(Main::Forever),
            program if self.has_program(image, program) => Ok(Main::Program(argv)),
            program if image.has_script(program) => Ok(Main::Forever),
            _ => Err(first),
        }
    }

    fn has_program(&self, image: &Image, program: &str) -> bool {
        let of_server = image.is_postgres() || image.kind == ImageKind::Application;
        COMMON.contains(&program) || of_server && OF_POSTGRES.contains(&program) || self.programs.contains_key(program)
    }

    /// Runs a program in a container to its end. One that the simulation does not know prints what
    /// [`State::programs`] says.
    pub fn program(&mut self, container: &Container, argv: &[String], env: &[String], user: &str) -> Output {
        let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(first, rest)| (name_of(first), rest));
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        let is_postgres = self.image(&container.image_id).is_some_and(Image::is_postgres);
        match (program, words.as_slice()) {
            ("true", _) => ok(""),
            ("false", _) => failed(1, ""),
            ("echo", words) => ok(&format!("{}\n", words.join(" "))),
            ("sleep", words) => self.sleep(words),
            ("cat", files) => self.cat(container, files),
            ("stat", ["-c", "%u:%g", path] | ["-L", "-c", "%u:%g", path]) => self.stat(container, path),
            ("chown", [owner, path]) => self.chown(container, owner, path),
            ("touch", [path]) => self.touch(container, path),
            ("id", ["-u"]) => ok(&format!("{}\n", self.ids(container, user).0)),
            ("id", ["-g"]) => ok(&format!("{}\n", self.ids(container, user).1)),
            ("sh", ["-c", script, rest @ ..]) => self.shell(container, script, rest, env, user),
            ("postgres", [question, ..]) if is_postgres && QUESTIONS.contains(question) => self.version(container),
            ("initdb", ["--sync-only", "-D", path]) if is_postgres => self.sync(container, path),
            ("pg_resetwal", ["-l", file, path]) if is_postgres => self.reset_log(container, file, path),
            ("pg_isready", _) => match self.reaches_server(container) {
                true => ok("/var/run/postgresql:5432 - accepting connections\n"),
                false => failed(2, "/var/run/postgresql:5432 - no response\n"),
            },
            ("psql", _) if self.reaches_server(container) => ok("1\n"),
            ("psql", _) => failed(2, "psql: error: connection to server failed: Connection refused\n"),
            _ => self.told(program),
        }
    }

    /// What somebody has told of a program.
    fn told(&self, program: &str) -> Output {
        match self.programs.get(program) {
            Some(told) => Output {
                exit_code: told.exit_code,
                stdout: told.stdout.clone().into_bytes(),
                stderr: told.stderr.clone().into_bytes(),
            },
            None => {
                let line = "not known to the simulated world; tell what it does with sim::program";
                failed(127, &format!("{program}: {line}\n"))
            }
        }
    }

    fn sleep(&mut self, words: &[&str]) -> Output {
        let seconds = words.first().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
        self.pass((seconds * 1000.0) as u64);
        ok("")
    }

    fn cat(&self, container: &Container, files: &[&str]) -> Output {
        let mut output = ok("");
        for path in files {
            let bytes = match *path {
                "/proc/net/tcp" => Some(self.connections(container).into_bytes()),
                "/proc/net/tcp6" => Some(HEAD.as_bytes().to_vec()),
                path => self.read_file(container, path).map(|found| found.bytes),
            };
            match bytes {
                Some(bytes) => output.stdout.extend(bytes),
                None => output = missing(output, "cat", path),
            }
        }
        output
    }

    fn stat(&self, container: &Container, path: &str) -> Output {
        match self.owner_of(container, path) {
            Some(owner) => ok(&format!("{owner}\n")),
            None => missing(ok(""), "stat", path),
        }
    }

    fn chown(&mut self, container: &Container, owner: &str, path: &str) -> Output {
        let place = self.place(container, path);
        let is_there = self.files_below(container, path.trim_end_matches('/')).is_some();
        match self.tree_mut(&container.id, &place).filter(|_| is_there) {
            Some(tree) => match tree.clusters.get_mut(&place.directory) {
                Some(cluster) => cluster.owner = owner.to_owned(),
                None => tree.owner = owner.to_owned(),
            },
            None => return missing(ok(""), "chown", path),
        }
        ok("")
    }

    fn touch(&mut self, container: &Container, path: &str) -> Output {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if self.files_below(container, directory).is_none() {
            return missing(ok(""), "touch", path);
        }
        if self.read_file(container, path).is_none() {
            self.write_file(container, path, Vec::new());
        }
        ok("")
    }

    /// Numbers of a user and its group.
    fn ids(&self, container: &Container, user: &str) -> (String, String) {
        let own = self.image(&container.image_id).map(|image| image.owner.clone()).unwrap_or_default();
        let ids = match user {
            "" | "root" => "0:0",
            "postgres" => &own,
            user => user,
        };
        let (uid, gid) = ids.split_once(':').unwrap_or((ids, "0"));
        (uid.to_owned(), gid.to_owned())
    }

    fn shell(&mut self, container: &Container, script: &str, rest: &[&str], env: &[String], user: &str) -> Output {
        let script = script.trim();
        if script == "id -u; id -g" {
            let (uid, gid) = self.ids(container, user);
            return ok(&format!("{uid}\n{gid}\n"));
        }
        // What gives settings to a cluster: its directory, and names of files that were laid down there.
        if let (true, [_, directory, files @ ..]) = (script.contains("${file%.added}"), rest) {
            return self.take_added(container, directory, files);
        }
        if let Some(code) = script.strip_prefix("exit ").and_then(|code| code.parse().ok()) {
            return failed(code, "");
        }
        if !script.contains(|c: char| "|&;<>$(){}\"'\\`*?\n".contains(c)) {
            let argv: Vec<_> = script.split_whitespace().map(str::to_owned).collect();
            return self.program(container, &argv, env, user);
        }
        let first = script.split_whitespace().next().unwrap_or_default();
        self.told(if self.programs.contains_key(first) { first } else { "sh" })
    }

    /// Files called `NAME.added` are added to `NAME`; all is synced.
    fn take_added(&mut self, container: &Container, directory: &str, files: &[&str]) -> Output {
        let place = self.place(container, directory);
        let Some(tree) = self.tree_mut(&container.id, &place) else { return missing(ok(""), "sh", directory) };
        for file in files {
            let path = joined(&place.directory, file);
            let Some(name) = path.strip_suffix(".added") else { continue };
            let Some(added) = tree.files.remove(&path) else { return missing(ok(""), "cat", file) };
            tree.append(name, &added);
        }
        tree.is_unsynced = false;
        ok("")
    }

    fn version(&self, container: &Container) -> Output {
        match self.image(&container.image_id).map(|image| &image.kind) {
            Some(ImageKind::Postgres { version, .. }) => ok(&format!("postgres (PostgreSQL) {version}\n")),
            _ => self.told("postgres"),
        }
    }

    fn sync(&mut self, container: &Container, path: &str) -> Output {
        let place = self.place(container, path);
        match self.tree_mut(&container.id, &place).filter(|tree| tree.clusters.contains_key(&place.directory)) {
            Some(tree) => {
                tree.is_unsynced = false;
                ok("syncing data to disk ... ok\n")
            }
            None => failed(1, &format!("initdb: error: could not access directory \"{path}\"\n")),
        }
    }

    /// The log goes on in the file of that name: timeline, and the number of the file in two parts.
    fn reset_log(&mut self, container: &Container, file: &str, path: &str) -> Output {
        const SEGMENT: u64 = 16 << 20;
        const HEADER: u64 = 0x28;
        let part = |at: usize| u64::from_str_radix(file.get(at..at + 8)?, 16).ok();
        let place = self.place(container, path);
        let tree = self.tree_mut(&container.id, &place);
        let cluster = tree.and_then(|tree| tree.clusters.get_mut(&place.directory));
        match (cluster, part(0), part(8), part(16)) {
            (Some(cluster), Some(timeline), Some(high), Some(low)) => {
                cluster.control.timeline = timeline as u32;
                cluster.control.checkpoint = (high << 32) + low * SEGMENT + HEADER;
                cluster.lsn = cluster.control.checkpoint + 0x70;
                ok("Write-ahead log reset\n")
            }
            _ => failed(1, &format!("pg_resetwal: error: could not read permissions of directory \"{path}\"\n")),
        }
    }

    /// Whether a server answers in the container's network.
    fn reaches_server(&self, container: &Container) -> bool {
        self.runs_server(self.network_of(container))
    }

    /// The container whose network it has.
    fn network_of<'s>(&'s self, container: &'s Container) -> &'s Container {
        let other = container.network_mode.strip_prefix("container:");
        other.and_then(|other| self.container(other)).unwrap_or(container)
    }

    /// `/proc/net/tcp` of the container's network.
    fn connections(&self, container: &Container) -> String {
        let own = self.network_of(container);
        let mut lines = HEAD.to_owned();
        if self.runs_server(own) {
            lines += &line(0, ("0.0.0.0", PORT), ("0.0.0.0", 0), "0A");
        }
        let all = self.containers.keys().flat_map(|id| self.sessions(id).into_iter().map(move |s| (id, s)));
        for (number, (server, session)) in all.enumerate() {
            let Session { client, port, server: address, .. } = &session;
            let (there, here) = ((address.as_str(), PORT), (client.as_str(), *port));
            if *server == own.id {
                lines += &line(number + 1, there, here, "01");
            } else if session.container == own.id {
                lines += &line(number + 1, here, there, "01");
            }
        }
        lines
    }
}

impl Image {
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.kind, ImageKind::Postgres { .. })
    }

    /// Whether it brings a script of that name.
    fn has_script(&self, program: &str) -> bool {
        let own = self.shown.entrypoint.iter().chain(&self.shown.command).any(|word| name_of(word) == program);
        !self.is_postgres() && (own || program.ends_with(".sh"))
    }
}

/// What follows `postgres`, where that is the server and no question about it; also behind a script that ends with it.
fn server_arguments(argv: &[String]) -> Option<Vec<String>> {
    let (first, rest) = argv.split_first()?;
    match (name_of(first), rest) {
        ("postgres", rest) if !rest.iter().any(|word| QUESTIONS.contains(&word.as_str())) => Some(rest.to_vec()),
        ("gosu" | "su-exec", [_, rest @ ..]) => server_arguments(rest),
        ("sh", [option, script, _, rest @ ..]) if option == "-c" && script.ends_with("exec postgres \"$@\"") => {
            Some(rest.to_vec())
        }
        _ => None,
    }
}

/// Whether a shell's script waits without end.
fn waits(argv: &[String]) -> bool {
    let script = argv.get(2).map(String::as_str).unwrap_or_default();
    let last = script.rsplit([';', '\n']).map(str::trim).find(|part| !part.is_empty()).unwrap_or_default();
    script.contains("while :") || last.trim_start_matches("exec ").starts_with("sleep ")
}

/// As the kernel heads its table.
const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/// A line of it.
fn line(number: usize, local: (&str, u16), remote: (&str, u16), state: &str) -> String {
    let end = |(address, port): (&str, u16)| {
        let octets = address.parse::<std::net::Ipv4Addr>().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED).octets();
        format!("{:08X}:{port:04X}", u32::from_le_bytes(octets))
    };
    let (local, remote) = (end(local), end(remote));
    format!("{number:4}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n")
}

pub(super) fn ok(stdout: &str) -> Output {
    Output { exit_code: 0, stdout: stdout.into(), stderr: Vec::new() }
}

fn failed(exit_code: i64, stderr: &str) -> Output {
    Output { exit_code, stdout: Vec::new(), stderr: stderr.into() }
}

fn missing(mut output: Output, program: &str, path: &str) -> Output {
    output.exit_code = 1;
    output.stderr.extend(format!("{program}: {path}: No such file or directory\n").into_bytes());
    output
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::super::state::Printed;
    use super::*;

    const SERVER: &str = "primero-postgres-1";
    const DATA: &str = "/var/lib/postgresql/data";

    fn run(state: &mut State, container: &str, argv: &[&str], user: &str) -> (i64, String, String) {
        let container = state.container(container).unwrap().clone();
        let argv: Vec<_> = argv.iter().map(|word| (*word).to_owned()).collect();
        let output = state.program(&container, &argv, &[], user);
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.exit_code, stdout, stderr)
    }

    #[test]
    fn an_image_says_its_version_and_whose_its_files_are() {
        let mut state = reference(13);
        let (code, version, _) = run(&mut state, SERVER, &["postgres", "--version"], "");
        assert_eq!((code, crate::world::session::major_of(&version)), (0, Some(13)));
        assert_eq!(run(&mut state, SERVER, &["sh", "-c", "id -u; id -g"], "postgres").1, "999\n999\n");
        assert_eq!(run(&mut state, SERVER, &["sh", "-c", "id -u; id -g"], "70:71").1, "70\n71\n");
        let path = format!("{DATA}/PG_VERSION");
        assert_eq!(run(&mut state, SERVER, &["stat", "-c", "%u:%g", &path], "0:0").1, "999:999\n");
        assert_eq!(run(&mut state, SERVER, &["cat", &path], "").1, "13\n");
        let (code, _, said) = run(&mut state, SERVER, &["cat", "/absent"], "");
        assert_eq!((code, said.as_str()), (1, "cat: /absent: No such file or directory\n"));
        assert_eq!(run(&mut state, SERVER, &["chown", "70:70", DATA], "0:0").0, 0);
        assert_eq!(run(&mut state, SERVER, &["stat", "-c", "%u:%g", DATA], "0:0").1, "70:70\n");
    }

    #[test]
    fn an_unknown_program_prints_what_was_told_of_it_or_that_nobody_knows_it() {
        let mut state = reference(13);
        let (code, _, said) = run(&mut state, SERVER, &["pgbench", "-i"], "");
        assert_eq!(code, 127);
        assert_eq!(said, "pgbench: not known to the simulated world; tell what it does with sim::program\n");
        let told = Printed { exit_code: 3, stdout: "out\n".into(), stderr: String::new() };
        state.programs.insert("pgbench".into(), told);
        assert_eq!(run(&mut state, SERVER, &["/usr/bin/pgbench"], "").0, 3);
        assert_eq!(run(&mut state, SERVER, &["sh", "-c", "pgbench | cat"], "").1, "out\n");
    }

    #[test]
    fn the_tables_of_the_kernel_show_who_is_connected() {
        let mut state = reference(13);
        let table = run(&mut state, SERVER, &["cat", "/proc/net/tcp", "/proc/net/tcp6"], "").1;
        let sessions = state.sessions(SERVER);
        let [address, client] = [&sessions[0].server, &sessions[0].client]
            .map(|ip| format!("{:08X}", u32::from_le_bytes(ip.parse::<std::net::Ipv4Addr>().unwrap().octets())));
        let expected = format!(" {address}:1538 {client}:{:04X} 01 ", sessions[0].port);
        assert!(table.contains(&expected), "{expected}: {table}");
        let client = state.container(&sessions[0].container).unwrap().name.clone();
        assert!(run(&mut state, &client, &["cat", "/proc/net/tcp"], "").1.contains(&format!("{address}:1538 01")));
        assert_eq!(run(&mut state, "primero-solr-1", &["cat", "/proc/net/tcp"], "").1.lines().count(), 1);
    }

    #[test]
    fn settings_that_were_laid_down_are_added_to_the_cluster() {
        let mut state = reference(13);
        let container = state.container(SERVER).unwrap().clone();
        state.write_file(&container, &format!("{DATA}/postgresql.conf.added"), b"work_mem = '8MB'\n".to_vec());
        let script = "set -e; cd \"$1\"; shift; for file in \"$@\"; do case $file in *.added) cat \"$file\" \
                      >>\"${file%.added}\"; rm \"$file\" ;; esac; done; sync";
        let argv = ["sh", "-c", script, "sh", DATA, "postgresql.conf.added", "pg_hba.conf"];
        assert_eq!(run(&mut state, SERVER, &argv, "0:0").0, 0);
        let tree = &state.volumes["primero_database"].tree;
        assert_eq!(tree.clusters[""].settings["work_mem"], "8MB");
        assert!(tree.files.is_empty() && !tree.is_unsynced);
    }

    #[test]
    fn a_log_goes_on_where_it_is_told_to() {
        let mut state = reference(13);
        let argv = ["pg_resetwal", "-l", "000000010000000A000000FE", DATA];
        assert_eq!(run(&mut state, SERVER, &argv, "").0, 0);
        let cluster = state.cluster(SERVER).unwrap();
        assert_eq!(crate::world::control::lsn(cluster.control.checkpoint), "A/FE000028");
        assert!(cluster.lsn > cluster.control.checkpoint);
    }
}
