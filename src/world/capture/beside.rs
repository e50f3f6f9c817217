//! What of the real world is looked up only when a script asks for it, while it runs in a captured one: the machine's
//! files and programs, the inventory, answers to a site's own SQL. What the script changes, it changes in the captured
//! world alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::Seen;
use crate::world::World;
use crate::world::ansible::{Ansible, HostRecap, PlaybookSpec, Recap, Site};
use crate::world::container::Output;
use crate::world::error::{Error, Result};
use crate::world::host::{Command, Entry, Host, Space};
use crate::world::postgres::{Binding, Row, Server};
use crate::world::sim::state::{Answer, Effect};
use crate::world::sim::{self, Beyond, Sim};

/// What both worlds have to do with a script that is only tried.
#[derive(Clone)]
pub struct Beside {
    pub sim: Sim,
    /// The real one: only looked at.
    pub live: World,
    /// The directory of runs that the script is tried in, and the one that it stands for.
    pub store: PathBuf,
    pub stands_for: PathBuf,
    /// Free bytes of the captured world's disk at first.
    pub free: u64,
    /// Names of the projects that a deploy may be of.
    pub projects: Vec<String>,
    /// What was taken for granted: a sentence each.
    pub assumed: Arc<Mutex<BTreeSet<String>>>,
    pub asked: Arc<Mutex<Asked>>,
}

/// What the script has asked of the real world beside the captured one, and what it was told.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub answers: Vec<Answer>,
    pub ansible: sim::state::Ansible,
    /// By argv, or by the program's name.
    pub commands: BTreeMap<String, Effect>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Beside {
    fn assume(&self, what: String) {
        self.assumed.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A program of the site's, or a playbook, which is not run: a deploy, where something is prepared to be deployed.
    /// Gives what it was taken for.
    ///
    /// Errors: what the engine refuses of it.
    pub fn deploy(&self, change: &str) -> Result<Effect> {
        let deployed = self.sim.act(change, |state| {
            let mut deployed = None;
            for project in &self.projects {
                if state.deploy_prepared(project)? {
                    deployed = Some(project.clone());
                }
            }
            Ok(deployed)
        })?;
        let what = if deployed.is_some() { "the deploy" } else { "something that changes nothing here" };
        self.assume(format!("`{change}` is not run by a plan; it is taken for {what}"));
        let version = String::new();
        Ok(deployed.map_or(Effect::Nothing, |project| Effect::Deploy { project, version }))
    }

    /// The same path in the store that is stood for.
    fn real(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.store).map_or_else(|_| path.to_owned(), |rest| self.stands_for.join(rest))
    }

    /// The captured world, with what stands beside it.
    pub fn world(self, captured: World, servers: Vec<Seen>) -> World {
        let beyond = Servers { beside: self.clone(), servers };
        self.sim.asks(Arc::new(beyond));
        let hidden = Mutex::default();
        World {
            host: Arc::new(Machine { beside: self.clone(), own: captured.host.clone(), hidden }),
            ansible: Arc::new(Playbooks { beside: self }),
            ..captured
        }
    }
}

/// Servers that were captured answer what the simulation does not know.
struct Servers {
    beside: Beside,
    servers: Vec<Seen>,
}

/// What simulated clusters have nothing of, and a script asks of the old server alone: locales, what is set for roles
/// and databases, further files, obstacles, damage, workers, views that depend on others, odd options of columns.
const BETTER: [&[&str]; 10] = [
    &["DISTINCT pg_encoding_to_char(encoding) AS encoding"],
    &["FROM pg_db_role_setting s CROSS JOIN"],
    &["FROM pg_db_role_setting CROSS JOIN", "setrole = 0 AND setdatabase = 0 ORDER BY"],
    &["pg_stat_file(setting", "hba_file"],
    &["AS prepared", "AS subscriptions"],
    &["FROM pg_stat_database WHERE checksum_failures > 0"],
    &["xact_start <", "FROM pg_stat_activity"],
    &["DISTINCT backend_type AS name FROM pg_stat_activity"],
    &["WITH RECURSIVE reads AS (", "relkind = 'm'"],
    &["FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver=%'"],
];

/// Functions that act although a transaction only reads: a question that calls one is not handed on.
const ACTS: [&str; 12] = [
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_create_",
    "pg_drop_",
    "pg_stat_reset",
    "pg_promote",
    "pg_advisory",
    "pg_replication_",
    "dblink",
];

impl Beyond for Servers {
    fn knows_better(&self, question: &str) -> bool {
        BETTER.iter().any(|parts| parts.iter().all(|part| question.contains(part)))
    }

    fn query(&self, container: &str, database: &str, sql: &str, bindings: &[Binding]) -> Option<Result<Vec<Row>>> {
        let seen = self.servers.iter().find(|seen| seen.container == container)?;
        let lower = sql.to_lowercase();
        if ACTS.iter().any(|function| lower.contains(function)) {
            return None;
        }
        let server = Server {
            container: seen.container.clone(),
            container_name: seen.name.clone(),
            user: seen.user.clone(),
            password: None,
            database: seen.database.clone(),
            is_database_chosen: false,
        };
        let answer = self.beside.live.postgres.query(&server, database, sql, bindings);
        let question = sim::sql::text(sql, bindings);
        // What the simulation has an answer to, if a worse one, it must have of other servers as well.
        if let (Ok(rows), false) = (&answer, self.knows_better(&sim::sql::without_schema(&question))) {
            self.beside.note(|asked| asked.answers.push(Answer { sql: question, rows: rows.clone() }));
        }
        Some(answer)
    }
}

/// The real machine, over which lies what the script has written.
struct Machine {
    beside: Beside,
    /// The captured world's.
    own: Arc<dyn Host>,
    /// Real files that the script has removed.
    hidden: Mutex<BTreeSet<PathBuf>>,
}

impl Machine {
    fn live(&self) -> &dyn Host {
        &*self.beside.live.host
    }

    fn is_own(&self, path: &Path) -> Result<bool> {
        Ok(self.is_hidden(path) || self.beside.sim.read(|state| Ok(state.files.contains_key(path)))?)
    }

    fn is_hidden(&self, path: &Path) -> bool {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        path.ancestors().any(|part| hidden.contains(part))
    }

    /// What is there in the real world only is gone from now on.
    fn remove(&self, path: &Path, remove: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_own(path)? {
            return remove();
        }
        self.live().entry(path)?.ok_or_else(|| Error::io("remove", path.display(), &missing()))?;
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Ok(())
    }
}

fn missing() -> std::io::Error {
    std::io::ErrorKind::NotFound.into()
}

impl Host for Machine {
    fn entry(&self, path: &Path) -> Result<Option<Entry>> {
        match self.own.entry(path)? {
            None if !self.is_hidden(path) => self.live().entry(path),
            own => Ok(own),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        let own = self.own.list(dir);
        let real =
            if self.is_hidden(dir) { Err(Error::io("list", dir.display(), &missing())) } else { self.live().list(dir) };
        let (mut all, more) = match (own, real) {
            (Ok(own), Ok(real)) => (own, real),
            (Ok(all), Err(_)) | (Err(_), Ok(all)) => (all, Vec::new()),
            (Err(error), Err(_)) => return Err(error),
        };
        let is_new = |entry: &Entry| !self.is_hidden(&entry.path) && all.iter().all(|own| own.path != entry.path);
        let more: Vec<_> = more.into_iter().filter(is_new).collect();
        all.extend(more);
        Ok(all)
    }

    fn create_private_dir(&self, path: &Path) -> Result<()> {
        self.own.create_private_dir(path)
    }

    fn check_private(&self, path: &Path) -> Result<()> {
        if self.is_own(path)? {
            self.own.check_private(path)
        } else {
            self.live().check_private(&self.beside.real(path))
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        if self.is_own(path)? {
            return self.own.read(path);
        }
        let content = self.live().read(path)?;
        self.beside.note(|asked| _ = asked.files.insert(path.to_owned(), content.clone()));
        Ok(content)
    }

    fn write(&self, path: &Path, content: &[u8], overwrite: bool) -> Result<()> {
        if !overwrite && !self.is_own(path)? && self.live().entry(path)?.is_some() {
            return Err(Error::refused("host.exists", format!("{} exists already", path.display())));
        }
        self.own.write(path, content, overwrite)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Write + Send>> {
        self.own.create(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.read(path)?)))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.remove(path, || self.own.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.remove(path, || self.own.remove_dir(path))
    }

    /// What is free there, less what the script has filled until now.
    fn space(&self, path: &Path) -> Result<Space> {
        let real = self.live().space(&self.beside.real(path))?;
        let filled = self.beside.sim.read(|state| Ok(self.beside.free.saturating_sub(state.free)))?;
        Ok(Space { free: real.free.saturating_sub(filled), ..real })
    }

    fn sha256(&self, path: &Path) -> Result<String> {
        if self.is_own(path)? { self.own.sha256(path) } else { self.live().sha256(path) }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let found = self.live().program(name)?;
        self.beside.note(|asked| _ = asked.commands.entry(name.to_owned()).or_insert(Effect::Nothing));
        Some(found)
    }

    fn run(&self, command: &Command) -> Result<Output> {
        let program = command.argv.first().cloned().unwrap_or_default();
        if self.live().program(&program).is_none() {
            return Err(Error::failed("host.no_program", format!("there is no program {program}")));
        }
        let line = command.argv.join(" ");
        let effect = self.beside.deploy(&line)?;
        self.beside.note(|asked| _ = asked.commands.insert(line, effect));
        Ok(Output::default())
    }

    fn hostname(&self) -> Result<String> {
        self.own.hostname()
    }

    fn now(&self) -> String {
        self.own.now()
    }

    fn clock(&self) -> Duration {
        self.own.clock()
    }

    fn require_terminal(&self, what_for: &str) -> Result<()> {
        self.live().require_terminal(what_for)
    }

    fn sleep(&self, duration: Duration) -> Result<()> {
        self.own.sleep(duration)
    }
}

/// The real inventory, and playbooks that are not run.
struct Playbooks {
    beside: Beside,
}

impl Playbooks {
    /// Notes whom the site's limit means.
    fn note(&self, site: &Site, hosts: &[String]) {
        self.beside.note(|asked| {
            hosts.iter().for_each(|host| _ = asked.ansible.hosts.entry(host.clone()).or_default());
            if let Some(limit) = &site.limit {
                asked.ansible.groups.insert(limit.clone(), hosts.iter().cloned().collect());
            }
        });
    }
}

impl Ansible for Playbooks {
    fn playbook(&self, spec: &PlaybookSpec) -> Result<Recap> {
        let hosts = self.playbook_hosts(spec)?;
        let name = spec.playbook.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let effect = self.beside.deploy(&format!("ansible-playbook {name}"))?;
        self.beside.note(|asked| _ = asked.ansible.playbooks.insert(name, effect));
        Ok(hosts.into_iter().map(|host| (host, HostRecap { ok: 1, changed: 1, ..HostRecap::default() })).collect())
    }

    fn playbook_hosts(&self, spec: &PlaybookSpec) -> Result<Vec<String>> {
        let hosts = self.beside.live.ansible.playbook_hosts(spec)?;
        self.note(&spec.site, &hosts);
        let name = spec.playbook.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.beside.note(|asked| _ = asked.ansible.playbooks.entry(name).or_insert(Effect::Nothing));
        Ok(hosts)
    }

    fn hosts(&self, site: &Site) -> Result<Vec<String>> {
        let hosts = self.beside.live.ansible.hosts(site)?;
        self.note(site, &hosts);
        Ok(hosts)
    }

    fn host_variables(&self, site: &Site, host: &str, files: &[PathBuf]) -> Result<Map<String, Value>> {
        let variables = self.beside.live.ansible.host_variables(site, host, files)?;
        self.beside.note(|asked| _ = asked.ansible.hosts.insert(host.to_owned(), variables.clone()));
        Ok(variables)
    }

    /// Nothing is logged in to.
    fn ping(&self, site: &Site) -> Result<()> {
        let hosts = self.hosts(site)?;
        self.beside.assume(format!("Ansible reaches {}", hosts.join(", ")));
        Ok(())
    }

    fn version(&self, site: &Site) -> Result<String> {
        self.beside.live.ansible.version(site)
    }
}
