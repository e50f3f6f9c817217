//! A stack that upgrades, on an engine that breaks; and the people around it who are not its operator.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chaos::engine::Engine;
use crate::chaos::outside::Before;
use crate::chaos::plan::{Action, Plan};
use crate::chaos::process::{Ended, Process};
use crate::stack::{Stack, sh};

pub const DATABASE: &str = "primero_production";
/// Longer than this nobody may take for one command.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub struct Site<'a> {
    pub stack: Stack,
    pub engine: &'a Engine,
    pub plan: &'a Plan,
    /// Where everything is kept that was said.
    pub dir: PathBuf,
    pub before: Before,
    port: Option<u16>,
    /// Whoever else is at work.
    pub others: RefCell<Vec<Process>>,
    /// Where clients have noted what was acknowledged.
    pub clients: RefCell<Vec<PathBuf>>,
    /// A foreign deploy was the last word: its version may be the wrong one, and that is its own affair.
    pub was_deployed_over: Cell<bool>,
    /// When somebody has stopped the database.
    pub stopped_at: Cell<Option<Instant>>,
    numbered: Cell<usize>,
}

impl<'a> Site<'a> {
    pub fn up(engine: &'a Engine, plan: &'a Plan, dir: &Path) -> Self {
        let mut stack = Stack::on(Some(engine.host.clone()), plan.from, &[]);
        stack.base = engine.disk.join("runs").join(&stack.name);
        stack.inventory_version(Plan::TO);
        stack.deploy_by_command();
        // What is typed is typed as the program writes it down.
        fs::create_dir(stack.dir.join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_pgscript"), stack.dir.join("bin/pgscript")).unwrap();
        fs::create_dir_all(engine.disk.join("runs")).unwrap();
        let mut site = Self {
            stack,
            engine,
            plan,
            dir: dir.to_owned(),
            before: Before::default(),
            port: None,
            others: RefCell::default(),
            clients: RefCell::default(),
            was_deployed_over: Cell::new(false),
            stopped_at: Cell::new(None),
            numbered: Cell::new(0),
        };
        site.dress();
        site.set_clock("+0");
        site.stack.writes();
        site.before = Before::of(&site);
        // The stack has been there for long.
        engine.sync();
        site
    }

    /// The port and the network that the plan wants.
    fn dress(&mut self) {
        let mut database = String::new();
        if self.plan.has_port {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            self.port = Some(port);
            database += &format!("    ports: [\"127.0.0.1:{port}:5432\"]\n");
        }
        let mut networks = String::new();
        if self.plan.has_second_network {
            database += "    networks:\n      default: {aliases: [primero-db]}\n      reports: {}\n";
            networks = format!("networks:\n  reports:\n    name: \"{}_reports\"\n", self.stack.name);
        }
        if database.is_empty() {
            return;
        }
        let text = format!("services:\n  postgres:\n{database}{networks}");
        fs::write(self.stack.dir.join("docker-compose.override.yml"), text).unwrap();
        let up = ["-c", "exec docker compose up -d --no-build"];
        let ended = self.start("up", self.in_stack("sh").args(up)).end(PATIENCE);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }

    /// A note for whoever reads the history.
    pub fn note(&self, text: &str) {
        let path = self.dir.join("history.txt");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{} {text}", sh("date", &["+%T.%3N"]).trim()).unwrap();
    }

    /// A program in the stack's directory, with the engine and Compose at hand.
    fn in_stack(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.stack.dir).env("DOCKER_HOST", &self.engine.host);
        command
    }

    pub fn start(&self, name: &str, command: &mut Command) -> Process {
        let number = self.numbered.replace(self.numbered.get() + 1);
        let said = self.dir.join(format!("{number:02}-{name}.txt"));
        fs::write(&said, format!("{command:?}\n\n")).unwrap();
        Process::start(command, &said)
    }

    fn start_beside(&self, name: &str, command: &mut Command) {
        let process = self.start(name, command);
        self.others.borrow_mut().push(process);
    }

    /// The upgrade, as the operator starts it.
    pub fn upgrade(&self) -> Command {
        let keep_volume = format!("keep_volume={}", self.plan.keep_volume);
        let strategy = format!("strategy={}", self.plan.strategy);
        let set = ["--set", &keep_volume, "--set", &strategy];
        let set = [&set[..], &["--set", "session_wait=5", "--set", "application_wait=60"]].concat();
        self.by_clock(self.stack.upgrade_command(Plan::TO, &set))
    }

    /// A command line as the program has written it down.
    pub fn typed(&self, line: &str) -> Command {
        let mut command = self.stack.pgscript(&[]);
        let mut shell = Command::new("sh");
        for (name, value) in command.env("PATH", self.path()).get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.args(["-c", &format!("exec {line}")]);
        self.by_clock(shell)
    }

    fn path(&self) -> String {
        format!("{}/bin:{}", self.stack.dir.display(), std::env::var("PATH").unwrap())
    }

    /// Ended within the patience, whatever came of it; what it said is kept.
    pub fn ask(&self, name: &str, line: &str) -> Ended {
        self.start(name, &mut self.typed(line)).end(PATIENCE)
    }

    /// The time that the program sees, where the plan has a clock that is wrong.
    fn by_clock(&self, mut command: Command) -> Command {
        if self.plan.has(&[Action::ClockBack, Action::ClockForward]) {
            let library = sh("sh", &["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]);
            command.env("LD_PRELOAD", library.trim()).env("FAKETIME_TIMESTAMP_FILE", self.clock());
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }

    fn clock(&self) -> PathBuf {
        self.stack.dir.join("clock")
    }

    pub fn set_clock(&self, offset: &str) {
        fs::write(self.clock(), format!("{offset}\n")).unwrap();
    }

    /// Lines of all journals.
    pub fn journal_lines(&self) -> u64 {
        let runs = fs::read_dir(&self.stack.base).into_iter().flatten().flatten();
        let journals = runs.filter_map(|run| fs::read(run.path().join("journal.jsonl")).ok());
        journals.map(|text| text.iter().filter(|byte| **byte == b'\n').count() as u64).sum()
    }

    /// The database's container, whatever it is at the moment.
    pub fn database(&self) -> Option<Value> {
        let project = format!("label=com.docker.compose.project={}", self.stack.name);
        let service = "label=com.docker.compose.service=postgres";
        let id = self.engine.docker(&["ps", "-aq", "--filter", &project, "--filter", service]).ok()?;
        let text = self.engine.docker(&["inspect", id.lines().next()?]).ok()?;
        serde_json::from_str::<Value>(&text).ok()?.get(0).cloned()
    }

    /// Somebody deploys this version, as the site's playbook would.
    pub fn deploy(&self, major: u32) {
        let mut command = self.in_stack("docker");
        command.args(["compose", "up", "-d", "--force-recreate", "--no-build"]);
        command.env("PRIMERO_POSTGRES_VERSION", major.to_string());
        command.env("PRIMERO_POSTGRES_MOUNT", "/var/lib/postgresql/data");
        self.start_beside(&format!("deploy-{major}"), &mut command);
    }

    /// Commands of somebody who cares for the machine.
    pub fn housekeeping(&self, name: &str, script: &str) {
        self.start_beside(name, self.in_stack("sh").args(["-xc", script]));
    }

    pub fn second_operator(&self, verb: &str) {
        let mut command = match verb {
            "run" => self.upgrade(),
            _ => self.typed(&format!("pgscript {verb} upgrade-1 --yes")),
        };
        self.start_beside(&format!("second-{verb}"), &mut command);
    }

    /// Writes again and again for so many seconds, and prints what was acknowledged: number and server.
    fn client(&self, name: &str, seconds: u64, client: &str, command: &mut Command) {
        let first = 1000 * (1 + self.clients.borrow().len());
        let script = format!(
            "n={first}; end=$((SECONDS + {seconds})); while [ $SECONDS -lt $end ]; do n=$((n + 1)); {client} \
             -U primero -d {DATABASE} -Atqc \"INSERT INTO acknowledged VALUES ($n) RETURNING n || ' acknowledged by ' \
             || current_setting('server_version_num')::int / 10000\"; sleep 0.2; done"
        );
        let process = self.start(name, command.args(["-c", &script]));
        self.clients.borrow_mut().push(process.said.clone());
        self.others.borrow_mut().push(process);
    }

    pub fn client_by_exec(&self, seconds: u64) {
        let name = &self.stack.name;
        let client = format!(
            "docker exec $(docker ps -q --filter label=com.docker.compose.project={name} \
             --filter label=com.docker.compose.service=postgres) psql"
        );
        self.client("client-by-exec", seconds, &client, &mut self.in_stack("bash"));
    }

    /// From a container that is in this machine's own network; of the first engine, which nobody breaks.
    pub fn client_by_port(&self, seconds: u64) {
        let port = self.port.expect("a plan with such a client has a port");
        let mut command = Command::new("docker");
        command.env("PGPASSWORD", self.password()).args(["run", "--rm", "--init", "--network", "host"]);
        command.args(["-e", "PGPASSWORD", "-e", "PGCONNECT_TIMEOUT=2", "--entrypoint", "bash"]);
        command.args(["--name", &format!("{}-client-{}", self.stack.name, self.numbered.get())]);
        command.arg("pgscript-test/postgres:17");
        self.client("client-by-port", seconds, &format!("psql -h 127.0.0.1 -p {port}"), &mut command);
    }

    fn password(&self) -> String {
        let env = fs::read_to_string(self.stack.dir.join("postgres.env")).unwrap();
        let quoted = env.lines().find_map(|line| line.strip_prefix("POSTGRES_PASSWORD=")).unwrap();
        // As `stack.sh` quotes it.
        quoted[1..quoted.len() - 1].replace("\\$", "$").replace("\\\"", "\"").replace("\\\\", "\\")
    }

    /// What was acknowledged: number, and major of the server.
    pub fn acknowledged(&self) -> Vec<(u64, u32)> {
        let line = |line: &str| {
            let (number, major) = line.split_once(" acknowledged by ")?;
            Some((number.parse().ok()?, major.parse().ok()?))
        };
        let texts: Vec<_> = self.clients.borrow().iter().map(|said| fs::read_to_string(said).unwrap()).collect();
        texts.iter().flat_map(|text| text.lines().filter_map(line)).collect()
    }

    /// Removes clients that a failed history has left.
    fn remove_clients(&self) {
        let name = format!("name=^/{}-client-", self.stack.name);
        let ids = Command::new("docker").args(["ps", "-aq", "--filter", &name]).output().unwrap();
        for id in String::from_utf8_lossy(&ids.stdout).lines() {
            _ = Command::new("docker").args(["rm", "-f", id]).output();
        }
    }

    /// Whoever else is at work comes to an end.
    pub fn wait_for_others(&self) {
        for process in self.others.take() {
            let said = process.said.clone();
            let ended = process.end(PATIENCE);
            let name = said.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.note(&format!("{name} ended with {:?}", ended.code));
            assert!(ended.code.is_some(), "hang: {name} did not end:\n{}", ended.text);
        }
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        self.others.take();
        self.remove_clients();
    }
}
