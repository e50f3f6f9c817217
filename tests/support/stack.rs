//! A stack of the test's own (see `tests/stack/`), and pgscript run against it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::asked::Asked;
use crate::program::output;
pub use crate::program::{Run, Watched, guarded, looked::Looked, pgscript, run, sh};

static COUNTER: AtomicU32 = AtomicU32::new(0);
/// One of every kind of object, in several databases; a dump of it takes its time and room.
pub const SMALL: &[&str] = &["--seed", "small"];
/// Of an upgrade whose deploy is Ansible's where [`Stack::deploy_by_command`] was said.
pub const ANSIBLE: [&str; 2] = ["--set", "deploy=ansible"];

/// A stack under `pgt-<process>-<n>`; everything of it goes when the value does, also when the test fails.
pub struct Stack {
    pub name: String,
    pub dir: PathBuf,
    /// The run store: journals, and the artefacts of its upgrades.
    pub base: PathBuf,
    /// The database's.
    pub volume: String,
    pub engine: Option<String>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack").join(name)
}

/// What `status` says. It is asked again where the engine, which is busy with other tests, did not answer in time.
pub fn answered(ask: impl Fn() -> Run) -> Run {
    let mut looks = (0..5).map(|_| ask());
    looks.find(|look| !look.text.contains("engine did not answer")).unwrap_or_else(&ask)
}

#[track_caller]
pub fn docker(args: &[&str]) -> String {
    sh("docker", args).trim().to_owned()
}

impl Stack {
    /// A stack of PostgreSQL `major` with little data, and application and worker writing.
    #[track_caller]
    pub fn up(major: u32) -> Self {
        Self::with(major, &[])
    }

    /// The same, with further options of `stack.sh up`.
    #[track_caller]
    pub fn with(major: u32, options: &[&str]) -> Self {
        Self::on(None, major, options)
    }

    /// The same on another engine.
    #[track_caller]
    pub fn on(engine: Option<String>, major: u32, options: &[&str]) -> Self {
        let name = format!("pgt-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let base = dir.join("runs");
        let given = options.iter().skip_while(|option| **option != "--volume").nth(1);
        let volume = given.map_or_else(|| format!("{name}_database"), |volume| (*volume).to_owned());
        let stack = Self { name, dir, base, volume, engine };
        let dir = stack.dir.display().to_string();
        let major = major.to_string();
        let mut args = vec!["up", &stack.name, "--major", &major, "--dir", &dir];
        if !options.contains(&"--seed") {
            args.extend(["--seed", "little"]);
        }
        args.extend(options);
        let (code, stdout, stderr) = output(stack.command("stack.sh").args(&args));
        assert_eq!(code, 0, "stack.sh {args:?}: {stdout}{stderr}");
        stack
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(script(name));
        command.envs(self.engine.iter().map(|e| ("DOCKER_HOST", e)));
        command
    }

    /// A verb of `stack.sh`; must succeed.
    #[track_caller]
    pub fn stack(&self, verb: &str, args: &[&str]) -> String {
        let (code, stdout, stderr) = output(self.command("stack.sh").args([verb, &self.name]).args(args));
        assert_eq!(code, 0, "stack.sh {verb} {args:?}: {stdout}{stderr}");
        stdout.trim().to_owned()
    }

    /// `docker` on the stack's engine.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.envs(self.engine.iter().map(|e| ("DOCKER_HOST", e)));
        let (code, stdout, stderr) = output(command.args(args));
        assert_eq!(code, 0, "docker {args:?}: {stdout}{stderr}");
        stdout.trim().to_owned()
    }

    /// The id of a service's container; empty when there is none.
    pub fn container(&self, service: &str) -> String {
        let label = |name: &str, value: &str| format!("com.docker.compose.{name}={value}");
        let project = self.note("project").unwrap_or_default();
        let labels = [label("project", &project), label("service", service), label("oneoff", "False")];
        self.asked().container(&labels).unwrap_or_default()
    }

    fn asked(&self) -> Asked {
        Asked::of(self.engine.as_deref())
    }

    /// What the stack has noted of itself, and tests of what they have changed of it, in `stack.conf`: the last of it.
    fn note(&self, name: &str) -> Option<String> {
        let notes = std::fs::read_to_string(self.dir.join("stack.conf")).unwrap_or_default();
        let mut values = notes.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next_back().map(str::to_owned)
    }

    /// Notes what a test has changed of the running stack, for `stack.sh` to know.
    pub fn notes(&self, lines: &str) {
        use std::io::Write;
        let mut notes = std::fs::OpenOptions::new().append(true).open(self.dir.join("stack.conf")).unwrap();
        notes.write_all(format!("{lines}\n").as_bytes()).unwrap();
    }

    /// A value of `docker inspect`, `{{.State.Running}}` for one.
    #[track_caller]
    pub fn inspect(&self, service: &str, format: &str) -> String {
        self.docker(&["inspect", "--format", format, &self.container(service)])
    }

    /// SQL in a database, unaligned tuples. The user is the bootstrap superuser.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        // By the environment: an argument of a command could be read as an option.
        let psql = r#"printf %s "$SQL" | psql -X -q -At -w -v ON_ERROR_STOP=1 -p "$PGPORT" -U primero -d "$DATABASE""#;
        let renamed = self.note("database").filter(|_| database == "primero_production");
        let env = [
            format!("SQL={sql}"),
            format!("PGPORT={}", self.note("port").as_deref().unwrap_or("5432")),
            format!("DATABASE={}", renamed.as_deref().unwrap_or(database)),
            format!("PGPASSWORD={}", self.note("socket_password").unwrap_or_default()),
        ];
        let service = self.note("database_service");
        let container = self.container(service.as_deref().unwrap_or("postgres"));
        assert!(!container.is_empty(), "{} has no database container", self.name);
        let said = self.asked().exec(&container, &["sh", "-c", psql], &env);
        assert_eq!(said.code, 0, "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// The application's, as the deployment has it.
    pub fn password(&self) -> String {
        self.docker(&["exec", &self.container("application"), "printenv", "POSTGRES_PASSWORD"])
    }

    pub fn major(&self) -> String {
        self.sql("primero_production", "SELECT current_setting('server_version_num')::int / 10000")
    }

    /// Count and checksum of every table, and of the large objects, per database; heartbeats are left out, because
    /// they go on. Made by other means than pgscript's own comparison, which it checks.
    pub fn content(&self) -> BTreeMap<String, String> {
        let databases = self.sql("primero_production", "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1");
        let databases = databases.lines().filter(|d| !d.starts_with("template") && *d != "postgres");
        let mark = "-- another database --\n";
        let look = |database: &str| {
            let quoted = database.replace('"', "\"\"");
            format!("\\connect \"{quoted}\"\n\\echo {mark}{}", include_str!("content.sql"))
        };
        let said = self.sql("primero_production", &databases.clone().map(look).collect::<String>());
        let found = said.split(mark).skip(1).map(|content| content.trim().to_owned());
        let content: BTreeMap<_, _> = databases.map(str::to_owned).zip(found).collect();
        assert!(content.values().any(|c| c.lines().count() > 5), "the stack has no data to compare: {content:?}");
        content
    }

    /// Heartbeats written so far.
    pub fn heartbeats(&self) -> u64 {
        self.sql("primero_production", "SELECT count(*) FROM heartbeat").parse().unwrap()
    }

    /// Waits until application and worker have written again.
    #[track_caller]
    pub fn writes(&self) {
        self.stack("heartbeat", &[]);
    }

    /// Edits the inventory.
    #[track_caller]
    pub fn inventory(&self, from: &str, to: &str) {
        let path = self.dir.join("ansible/inventory.yml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in the inventory");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Makes the inventory deploy this major.
    pub fn inventory_version(&self, major: u32) {
        let now = self.major().parse().unwrap();
        self.inventory_version_from(now, major);
    }

    /// The same while no server answers.
    pub fn inventory_version_from(&self, now: u32, major: u32) {
        self.inventory(
            &format!("primero_postgres_version: \"{now}\""),
            &format!("primero_postgres_version: \"{major}\""),
        );
    }

    /// A command line of pgscript with this site's parameters.
    pub fn pgscript(&self, args: &[&str]) -> Command {
        let mut command = pgscript(args);
        command.envs(self.engine.iter().map(|e| ("DOCKER_HOST", e)));
        command.env("PGSCRIPT_STORE", &self.base);
        if args.first() == Some(&"run") {
            command.arg("--set").arg(format!("project={}", self.name));
        }
        command
    }

    /// From now on upgrades deploy what the inventory says by a command, without Ansible, which takes a third of an
    /// upgrade's time; [`ANSIBLE`] among the arguments of one asks for it.
    pub fn deploy_by_command(&self) {
        // A program on a terminal of its own has nothing of the tester's environment, where Compose's plugin is.
        let config =
            std::env::var("DOCKER_CONFIG").map_or(String::new(), |dir| format!("export DOCKER_CONFIG='{dir}'\n"));
        let text = format!(
            "#!/bin/sh -e\ncd '{}'\n{config}\
             major=$(sed -n 's/.*primero_postgres_version: \"\\([0-9]*\\)\".*/\\1/p' ansible/inventory.yml)\n\
             mount=/var/lib/postgresql/data; [ \"$major\" -lt 18 ] || mount=/var/lib/postgresql\n\
             sed -i -e \"s|^\\(PRIMERO_POSTGRES_VERSION=\\).*|\\1$major|\" \
             -e \"s|^\\(PRIMERO_POSTGRES_MOUNT=\\).*|\\1$mount|\" .env\n\
             exec docker compose up -d --force-recreate --no-build\n",
            self.dir.display(),
        );
        std::fs::write(self.deploy_script(), text).unwrap();
        std::fs::set_permissions(self.deploy_script(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn deploy_script(&self) -> PathBuf {
        self.dir.join("deploy.sh")
    }

    /// The upgrade by a dump, with Ansible from the stack's own directory; see [`Stack::deploy_by_command`].
    pub fn upgrade_command(&self, to: u32, args: &[&str]) -> Command {
        let mut command = self.command_of("upgrade.rhai", to, args);
        // Each of these is tried by itself, and takes its time in every upgrade.
        if !args.iter().any(|arg| arg.starts_with("without_checks=")) {
            let without = ["schema", "extensions", "names", "damage", "transactions", "md5", "memory", "bystanders"];
            let without: Vec<_> = without.iter().map(|id| format!("{id}=tested by itself")).collect();
            command.arg("--set").arg(format!("without_checks={}", without.join(",")));
        }
        command
    }

    /// These checks alone, with what they need, before an upgrade with these settings (`NAME=VALUE`): it takes a
    /// fraction of all of them.
    pub fn checks(&self, to: u32, ids: &str, settings: &[&str]) -> Command {
        let only = format!("only_checks={ids}");
        let set: Vec<_> = [only.as_str()].iter().chain(settings).flat_map(|set| ["--set", set]).collect();
        self.command_of("preflight.rhai", to, &set)
    }

    /// Another script with the parameters of the upgrade.
    pub fn command_of(&self, script: &str, to: u32, args: &[&str]) -> Command {
        let mut command = self.pgscript(&["run", script]);
        let ansible = self.dir.join("ansible");
        let script = self.deploy_script();
        let mut set = |name: &str, value: &str| {
            if !args.iter().any(|a| a.starts_with(&format!("{name}="))) {
                command.arg("--set").arg(format!("{name}={value}"));
            }
        };
        set("to", &to.to_string());
        // It has the more steps; those of the other strategy are tested where it is named.
        set("strategy", "dump");
        // A backup is started where that is tested, and by a cleanup.
        set("boot_backup", "no");
        if script.exists() {
            set("deploy", "command");
            set("deploy_command", &script.display().to_string());
        }
        set("ansible_dir", &ansible.display().to_string());
        set("ansible_inventory", "inventory.yml");
        set("ansible_limit", &self.name);
        set("ansible_virtualenv", "venv");
        command.args(args);
        command
    }

    pub fn upgrade(&self, to: u32, args: &[&str]) -> Run {
        run(&mut self.upgrade_command(to, args))
    }

    pub fn rollback(&self) -> Run {
        run(&mut self.pgscript(&["rollback", "--yes"]))
    }

    /// What `pgscript status` says of the upgrade.
    #[track_caller]
    pub fn status(&self) -> String {
        self.status_of("upgrade-1").text
    }

    /// Of any run.
    #[track_caller]
    pub fn status_of(&self, run_name: &str) -> Run {
        answered(|| run(&mut self.pgscript(&["status", run_name]))).expect(0, &[])
    }

    /// The cleanup of the upgrade.
    pub fn cleanup(&self) -> Run {
        self.cleanup_of("upgrade-1")
    }

    pub fn cleanup_of(&self, run_name: &str) -> Run {
        run(&mut self.pgscript(&["run", "cleanup.rhai", "--yes", "--set", &format!("run={run_name}")]))
    }

    /// `pgscript resume …` or `pgscript rollback …` as a failed run told the operator to type it; only the questions
    /// are answered beforehand.
    #[track_caller]
    pub fn as_advised(&self, failed: &Run, verb: &str) -> Run {
        run(&mut self.pgscript(&[verb, failed.advised(verb), "--yes"]))
    }

    /// The one artefact directory that upgrades have left.
    #[track_caller]
    pub fn artefacts(&self) -> PathBuf {
        let runs = std::fs::read_dir(&self.base).unwrap().map(|e| e.unwrap().path().join("artefacts"));
        let found: Vec<_> = runs.filter(|artefacts| artefacts.exists()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Names of the volumes that begin like the database's, without the one that is in use.
    pub fn kept_volumes(&self) -> Vec<String> {
        let all = self.docker(&["volume", "ls", "--quiet"]);
        all.lines().filter(|name| name.starts_with(&format!("{}_pg", self.volume))).map(str::to_owned).collect()
    }

    /// Whether an upgrade has left what a rollback needs: then its record is on the engine, too.
    fn keeps_an_upgrade(&self) -> bool {
        let found = sh("find", &[&self.dir.display().to_string(), "-name", "upgrade.json"]);
        found.lines().any(|path| !std::fs::read_to_string(path).unwrap().contains("\"rolled back\""))
    }

    /// Nothing of pgscript's own is left on the engine: known by its name, by what it mounts, or by whose network it is
    /// in. Only volumes that were put aside have their keepers.
    #[track_caller]
    pub fn no_helpers_left(&self) {
        let own =
            self.docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("label=pgscript.test.stack={}", self.name)]);
        let helpers = self.docker(&["ps", "-aq", "--filter", "label=pgscript.helper"]);
        for helper in helpers.lines() {
            let mut inspect = Command::new("docker");
            inspect.envs(self.engine.iter().map(|e| ("DOCKER_HOST", e)));
            // One of another stack may be gone by now.
            let (_, text, _) = output(inspect.args(["inspect", helper]));
            // The name is the beginning of other stacks' names.
            let is_named = ["/", "-", "_", "\""].iter().any(|end| text.contains(&format!("{}{end}", self.name)));
            let keeps = |volume: &String| text.contains(&format!("\"Name\": \"/{volume}-keeper\""));
            let has_record = text.contains("\"pgscript.record\"") && self.keeps_an_upgrade();
            if has_record || self.kept_volumes().iter().any(keeps) {
                continue;
            }
            let is_ours = is_named || own.lines().any(|id| text.contains(id));
            assert!(!is_ours, "a helper is left: {text}");
        }
        let networks = self.docker(&["network", "ls", "--filter", "label=pgscript.helper", "--format", "{{.Name}}"]);
        let is_ours = |network: &str| network.starts_with(&format!("{}_", self.name));
        assert!(!networks.lines().any(is_ours), "a network is left: {networks}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("PGSCRIPT_KEEP").is_some() {
            eprintln!("kept: stack.sh down {}", self.name);
            return;
        }
        let _ = self.command("stack.sh").args(["down", &self.name]).output();
    }
}
