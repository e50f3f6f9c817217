//! What a PostgreSQL image's server does when it starts: finds its cluster or makes one, refuses what it does not take.

use super::cluster::{Auth, Cluster, Password};
use super::files::{below, joined};
use super::state::{Container, ImageKind, Place};
use super::{State, settings};
use crate::world::container::Output;

/// Where the images before 18 have their cluster.
const OLD_DIRECTORY: &str = "/var/lib/postgresql/data";
/// Any number of today's clusters is above it.
pub(super) const FIRST_IDENTIFIER: u64 = 7_500_000_000_000_000_000;

/// A start that fails: an exit code, and what the log says.
type Refused = (i64, Vec<String>);

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerArguments {
    /// The image's own entry point, which makes a cluster where there is none.
    pub by_entrypoint: bool,
    /// What follows `postgres`.
    pub arguments: Vec<String>,
}

/// What a start needs to know.
struct Start {
    container: Container,
    major: u32,
    version: String,
    /// The data directory, and where that is.
    directory: String,
    place: Place,
    arguments: ServerArguments,
}

impl State {
    /// Starts the server; gives what a program that ends at once gives where it does not start.
    pub(super) fn serve(&mut self, id: &str, arguments: &ServerArguments) -> Result<(), Output> {
        let Some(start) = self.start_of(id, arguments) else { return Err(failed(1, &[])) };
        let served = self.serve_on(&start);
        served.map_err(|(code, lines)| failed(code, &lines))
    }

    fn start_of(&self, id: &str, arguments: &ServerArguments) -> Option<Start> {
        let container = self.container(id)?.clone();
        let ImageKind::Postgres { major, version, .. } = &self.image(&container.image_id)?.kind else { return None };
        let directory = directory(&container, &arguments.arguments);
        let place = self.place(&container, &directory);
        let (major, version, arguments) = (*major, version.clone(), arguments.clone());
        Some(Start { container, major, version, directory, place, arguments })
    }

    fn serve_on(&mut self, start: &Start) -> Result<(), Refused> {
        if start.is_read_only() {
            return Err(start.refuses(1, "could not create lock file \"postmaster.pid\": Read-only file system"));
        }
        if self.cluster_at(start).is_none() {
            if !start.arguments.by_entrypoint {
                let what = "could not access the server configuration file";
                let line =
                    format!("postgres: {what} \"{}/postgresql.conf\": No such file or directory", start.directory);
                return Err((2, vec![line]));
            }
            self.make_cluster(start)?;
        }
        self.check_start(start)?;
        self.open_cluster(start);
        Ok(())
    }

    fn cluster_at(&self, start: &Start) -> Option<&Cluster> {
        self.tree(&start.container.id, &start.place)?.clusters.get(&start.place.directory)
    }

    /// In the order in which a server looks.
    fn check_start(&self, start: &Start) -> Result<(), Refused> {
        let told = options(&start.arguments.arguments);
        if let Some((name, _)) = told.iter().find(|(name, _)| !settings::is_known(name, start.major)) {
            return Err(start.refuses(1, &format!("unrecognized configuration parameter \"{name}\"")));
        }
        let Some(cluster) = self.cluster_at(start) else { return Ok(()) };
        if let Some(name) = cluster.settings.keys().find(|name| !settings::is_known(name, start.major)) {
            let file = format!("{}/postgresql.conf", start.directory);
            let line = format!("LOG:  unrecognized configuration parameter \"{name}\" in file \"{file}\" line 1");
            let fatal = format!("FATAL:  configuration file \"{file}\" contains errors");
            return Err((1, vec![line, fatal]));
        }
        if cluster.major != start.major {
            let detail = format!(
                "DETAIL:  The data directory was initialized by PostgreSQL version {}, which is not compatible with \
                 this version {}.",
                cluster.major, start.version
            );
            let fatal = "FATAL:  database files are incompatible with server".to_owned();
            return Err((1, vec![fatal, detail]));
        }
        let is_partial = self.tree(&start.container.id, &start.place).is_some_and(|tree| tree.is_partial);
        if cluster.is_damaged || is_partial {
            let panic = "PANIC:  could not locate a valid checkpoint record".to_owned();
            let end = "LOG:  startup process (PID 27) was terminated by signal 6: Aborted".to_owned();
            return Err((1, vec![panic, end]));
        }
        let set = |name: &str| {
            let last = told.iter().rev().find(|(told, _)| told == name).map(|(_, value)| value.as_str());
            last.or(cluster.settings.get(name).map(String::as_str)).map(str::to_owned)
        };
        if set("wal_level").as_deref() == Some("minimal") && set("max_wal_senders").as_deref() != Some("0") {
            let fatal = "WAL streaming (max_wal_senders > 0) requires wal_level \"replica\" or \"logical\"";
            return Err(start.refuses(1, fatal));
        }
        Ok(())
    }

    fn open_cluster(&mut self, start: &Start) {
        let is_shared = self.servers_on(&start.place).any(|other| other.id != start.container.id);
        let does_sync = !options(&start.arguments.arguments).iter().any(|(name, to)| name == "fsync" && to == "off");
        let Some(tree) = self.tree_mut(&start.container.id, &start.place) else { return };
        tree.is_unsynced |= !does_sync;
        let Some(cluster) = tree.clusters.get_mut(&start.place.directory) else { return };
        let mut lines = vec![format!("LOG:  starting PostgreSQL {}", start.version)];
        if !cluster.is_clean() {
            lines.push("LOG:  database system was not properly shut down; automatic recovery in progress".into());
        }
        // The lock file names process 1, which each of them is: nothing keeps the second one away.
        cluster.is_damaged |= is_shared;
        cluster.open();
        lines.push("LOG:  database system is ready to accept connections".into());
        self.change(&start.container.id, |container| {
            container.server = Some(start.place.clone());
            container.log.extend(lines);
        });
    }

    /// As the official image's entry point: initdb, the rules for others, the database.
    fn make_cluster(&mut self, start: &Start) -> Result<(), Refused> {
        self.check_place(start)?;
        let value = |name: &str| self.image_value(&start.container, name).filter(|value| !value.is_empty());
        let (password, method) = (value("POSTGRES_PASSWORD"), value("POSTGRES_HOST_AUTH_METHOD"));
        if password.is_none() && method.as_deref() != Some("trust") {
            let lines = [
                "Error: Database is uninitialized and superuser password is not specified.",
                "       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.",
            ];
            return Err((1, lines.map(str::to_owned).to_vec()));
        }
        let user = value("POSTGRES_USER").unwrap_or_else(|| "postgres".into());
        let database = value("POSTGRES_DB").unwrap_or_else(|| user.clone());
        let arguments = value("POSTGRES_INITDB_ARGS").unwrap_or_default();
        let identifier = FIRST_IDENTIFIER + self.number();
        let mut cluster = Cluster::new(identifier, start.major, &user);
        let encryption = options(&start.arguments.arguments).into_iter().rev();
        let mut encryption = encryption.filter(|(name, _)| name == "password_encryption").map(|(_, value)| value);
        let by_default = if start.major >= 14 { "scram-sha-256" } else { "md5" };
        let kept_as = encryption.next().unwrap_or_else(|| by_default.into());
        // initdb does not see the server's command line.
        let keep = if start.major >= 14 { Password::Scram } else { Password::Md5 };
        if let Some(role) = cluster.roles.get_mut(&user) {
            role.password = password.map(keep);
        }
        cluster.auth = match method.as_deref().unwrap_or(&kept_as) {
            "trust" => Auth::Trust,
            "scram-sha-256" => Auth::Scram,
            _ => Auth::Md5,
        };
        cluster.checksums = match &arguments {
            given if given.contains("--no-data-checksums") => false,
            given => cluster.checksums || given.contains("--data-checksums") || given.split(' ').any(|a| a == "-k"),
        };
        cluster.databases.entry(database).or_default();
        self.put_cluster(start, cluster);
        Ok(())
    }

    fn put_cluster(&mut self, start: &Start, mut cluster: Cluster) {
        let own = self.image(&start.container.image_id).map(|image| image.owner.clone()).unwrap_or_default();
        let user = &start.container.user;
        let is_numbers = user.contains(':') && !user.starts_with('0');
        cluster.owner = if is_numbers { user.clone() } else { own };
        let Some(tree) = self.tree_mut(&start.container.id, &start.place) else { return };
        tree.owner.clone_from(&cluster.owner);
        tree.clusters.insert(start.place.directory.clone(), cluster);
        let line = "PostgreSQL init process complete; ready for start up.".to_owned();
        self.change(&start.container.id, |container| container.log.push(line));
    }

    /// Whether a cluster can be made there.
    fn check_place(&self, start: &Start) -> Result<(), Refused> {
        if start.directory == format!("/var/lib/postgresql/{}/docker", start.major) {
            self.check_layout(start)?;
        }
        let tree = self.tree(&start.container.id, &start.place);
        let is_there = |path: &String| below(path, &start.place.directory).is_some();
        let occupied = tree.is_some_and(|tree| tree.files.keys().chain(tree.clusters.keys()).any(is_there));
        let nested = start
            .container
            .mounts
            .iter()
            .any(|mount| below(&mount.destination, &start.directory).is_some_and(|rest| !rest.is_empty()));
        if !occupied && !nested {
            return Ok(());
        }
        Err((1, vec![format!("initdb: error: directory \"{}\" exists but is not empty", start.directory)]))
    }

    /// From 18 on the images refuse to begin anew beside a cluster of the old layout, or with a mount of that.
    fn check_layout(&self, start: &Start) -> Result<(), Refused> {
        let container = &start.container;
        let majors = (9..=start.major).map(|major| format!("/var/lib/postgresql/{major}/docker"));
        let places = ["/var/lib/postgresql", OLD_DIRECTORY].map(str::to_owned).into_iter().chain(majors);
        let has_cluster = |path: &String| self.read_file(container, &joined(path, "PG_VERSION")).is_some();
        let mut old: Vec<_> = places.filter(has_cluster).collect();
        if old.is_empty() && container.mounts.iter().any(|mount| mount.destination == OLD_DIRECTORY) {
            old.push(format!("{OLD_DIRECTORY} (unused mount/volume)"));
        }
        if old.is_empty() {
            return Ok(());
        }
        let lines = [
            "Error: in 18+, these Docker images are configured to store database data in a".to_owned(),
            "       format which is compatible with \"pg_ctlcluster\" (specifically, using".to_owned(),
            "       major-version-specific directory names).".to_owned(),
            format!("       Counter to that, there appears to be PostgreSQL data in: {}", old.join(", ")),
        ];
        Err((1, lines.to_vec()))
    }

    /// A setting of the official image: the variable itself, or the text of the file that `NAME_FILE` names.
    fn image_value(&self, container: &Container, name: &str) -> Option<String> {
        if let Some(value) = container.variable(name) {
            return Some(value.to_owned());
        }
        let file = self.read_file(container, container.variable(&format!("{name}_FILE"))?)?;
        Some(String::from_utf8_lossy(&file.bytes).trim_end_matches('\n').to_owned())
    }
}

impl Start {
    fn refuses(&self, code: i64, reason: &str) -> Refused {
        (code, vec![format!("FATAL:  {reason}")])
    }

    /// Whether its cluster is in a volume that it sees read-only.
    fn is_read_only(&self) -> bool {
        let Some(volume) = &self.place.volume else { return false };
        self.container.mounts.iter().any(|mount| mount.name == *volume && mount.read_only)
    }
}

/// Where a server looks for its cluster.
fn directory(container: &Container, arguments: &[String]) -> String {
    let told = arguments.iter().position(|word| word == "-D").and_then(|at| arguments.get(at + 1));
    let own = container.variable("PGDATA").filter(|path| !path.is_empty()).unwrap_or(OLD_DIRECTORY);
    told.map_or(own, String::as_str).trim_end_matches('/').to_owned()
}

/// What a command line sets: `-c name=value`, `-cname=value`, `--name=value`.
fn options(arguments: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            "-D" => {
                words.next();
                None
            }
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")),
        };
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
            found.push((name.replace('-', "_").to_lowercase(), value.to_owned()));
        }
    }
    found
}

fn failed(exit_code: i64, lines: &[String]) -> Output {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Output { exit_code, stdout: Vec::new(), stderr: text.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;
    use crate::world::container::{ContainerSpec, Mount};

    const SERVER: &str = "primero-postgres-1";

    fn server(major: u32, volume: &str, destination: &str, command: &[&str]) -> ContainerSpec {
        let mount = Mount {
            kind: "volume".into(),
            name: volume.into(),
            source: String::new(),
            destination: destination.into(),
            read_only: false,
        };
        ContainerSpec {
            name: Some("s".into()),
            image: Some(format!("pgscript-test/postgres:{major}")),
            command: Some(command.iter().map(|word| (*word).to_owned()).collect()).filter(|c: &Vec<_>| !c.is_empty()),
            env: vec!["POSTGRES_USER=primero".into(), "POSTGRES_PASSWORD=secret".into(), "POSTGRES_DB=d".into()],
            mounts: vec![mount],
            ..ContainerSpec::default()
        }
    }

    /// Starts it, and gives its state, exit code and log.
    fn started(state: &mut State, spec: &ContainerSpec) -> (String, i64, String) {
        let id = state.create(spec).unwrap();
        state.start(&id).unwrap();
        let container = state.container(&id).unwrap();
        (container.state.clone(), container.exit_code, container.log.join("\n"))
    }

    #[test]
    fn the_first_start_makes_a_cluster_as_the_environment_says() {
        for (major, auth) in [(13, Auth::Md5), (14, Auth::Scram), (17, Auth::Scram)] {
            let mut state = reference(13);
            assert_eq!(started(&mut state, &server(major, "v", OLD_DIRECTORY, &[])).0, "running");
            let cluster = state.cluster("s").unwrap();
            assert_eq!((cluster.major, cluster.auth, cluster.bootstrap_user.as_str()), (major, auth, "primero"));
            assert!(cluster.lets_in("primero", "secret", "d") && !cluster.lets_in("primero", "wrong", "d"));
            assert!(!cluster.lets_in("primero", "secret", "absent"));
            assert_eq!((state.volumes["v"].tree.owner.as_str(), cluster.owner.as_str()), ("999:999", "999:999"));
        }
    }

    #[test]
    fn without_a_password_there_is_no_cluster() {
        let mut state = reference(13);
        let spec = ContainerSpec { env: Vec::new(), ..server(17, "v", OLD_DIRECTORY, &[]) };
        let (now, code, log) = started(&mut state, &spec);
        assert_eq!((now.as_str(), code), ("exited", 1));
        assert!(log.contains("superuser password is not specified"), "{log}");
        let trust = vec!["POSTGRES_HOST_AUTH_METHOD=trust".into()];
        let spec = ContainerSpec { name: None, env: trust, ..server(17, "v", OLD_DIRECTORY, &[]) };
        assert_eq!(started(&mut state, &spec).0, "running");
    }

    #[test]
    fn another_major_does_not_start_on_a_cluster() {
        let mut state = reference(13);
        state.stop(SERVER).unwrap();
        let (now, code, log) = started(&mut state, &server(15, "primero_database", OLD_DIRECTORY, &[]));
        assert_eq!((now.as_str(), code), ("exited", 1));
        assert!(log.contains("FATAL:  database files are incompatible with server\nDETAIL:  "), "{log}");
        assert!(log.contains("initialized by PostgreSQL version 13"), "{log}");
        assert!(state.volumes["primero_database"].tree.clusters[""].is_clean());
    }

    #[test]
    fn from_18_on_the_old_mount_is_refused() {
        let mut state = reference(13);
        let (now, code, log) = started(&mut state, &server(18, "v", OLD_DIRECTORY, &[]));
        assert_eq!((now.as_str(), code), ("exited", 1));
        assert!(log.contains("/var/lib/postgresql/data (unused mount/volume)"), "{log}");
        state.stop(SERVER).unwrap();
        let spec = ContainerSpec { name: None, ..server(18, "primero_database", "/var/lib/postgresql", &[]) };
        assert!(started(&mut state, &spec).2.contains("PostgreSQL data in: /var/lib/postgresql"));
        let spec = ContainerSpec { name: None, ..server(18, "w", "/var/lib/postgresql", &[]) };
        assert_eq!(started(&mut state, &spec).0, "running");
        assert_eq!(state.volumes["w"].tree.clusters.keys().collect::<Vec<_>>(), ["18/docker"]);
    }

    #[test]
    fn a_setting_that_the_version_does_not_know_is_fatal_wherever_it_stands() {
        let command = ["postgres", "-c", "max_connections=50", "-c", "promote_trigger_file=/x"];
        let mut state = reference(13);
        assert_eq!(started(&mut state, &server(15, "v", OLD_DIRECTORY, &command)).0, "running");
        let spec = ContainerSpec { name: None, ..server(16, "w", OLD_DIRECTORY, &command) };
        let (now, _, log) = started(&mut state, &spec);
        let fatal = "FATAL:  unrecognized configuration parameter \"promote_trigger_file\"";
        assert!(now == "exited" && log.contains(fatal), "{now}: {log}");
        state.cluster_mut("s").unwrap().settings.insert("no_such".into(), "1".into());
        state.stop("s").unwrap();
        state.start("s").unwrap();
        let log = state.container("s").unwrap().log.join("\n");
        assert!(log.contains("parameter \"no_such\" in file \"/var/lib/postgresql/data/postgresql.conf\""), "{log}");
    }

    #[test]
    fn two_servers_on_one_volume_damage_it_and_none_starts_again() {
        let mut state = reference(13);
        let spec = server(13, "primero_database", OLD_DIRECTORY, &[]);
        assert_eq!(started(&mut state, &spec).0, "running");
        assert!(state.cluster(SERVER).unwrap().is_damaged);
        state.stop("s").unwrap();
        state.start("s").unwrap();
        assert_eq!(state.container("s").unwrap().state, "exited");
        assert!(state.container("s").unwrap().log.join("\n").contains("PANIC:  could not locate a valid checkpoint"));
    }

    #[test]
    fn a_server_without_fsync_leaves_what_nobody_has_synced() {
        let mut state = reference(13);
        started(&mut state, &server(17, "v", OLD_DIRECTORY, &["-c", "fsync=off"]));
        assert!(state.volumes["v"].tree.is_unsynced && !state.volumes["primero_database"].tree.is_unsynced);
        state.stop("s").unwrap();
        let container = state.container("s").unwrap().clone();
        let argv = ["initdb", "--sync-only", "-D", OLD_DIRECTORY].map(str::to_owned);
        assert_eq!(state.program(&container, &argv, &[], "").exit_code, 0);
        assert!(!state.volumes["v"].tree.is_unsynced);
    }

    #[test]
    fn minimal_wal_wants_no_senders() {
        let mut state = reference(13);
        let (now, _, log) = started(&mut state, &server(17, "v", OLD_DIRECTORY, &["-c", "wal_level=minimal"]));
        assert!(now == "exited" && log.contains("WAL streaming"), "{log}");
        let command = ["-c", "wal_level=minimal", "-c", "max_wal_senders=0"];
        let spec = ContainerSpec { name: None, ..server(17, "v", OLD_DIRECTORY, &command) };
        assert_eq!(started(&mut state, &spec).0, "running");
    }
}
