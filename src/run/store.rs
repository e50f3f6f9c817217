//! Where the runs of this machine are kept, a private directory each.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::frozen;
use super::history::History;
use super::journal::{self, Damage};
use crate::script::handles::DEFINITIONS;
use crate::script::record::Command;
use crate::world::host::Exposed;
use crate::world::process::started;
use crate::world::{Cancel, Error, Result};

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";
/// How often a lock is tried before it counts as taken: `pgscript status` has it for a moment too.
const PATIENCE: u32 = 4;
/// Where root keeps runs; others have theirs below their own state directory.
const DEFAULT: &str = "/var/lib/pgscript";

/// The directory of runs.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    is_practice: bool,
}

/// A run on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `upgrade-7`
    pub id: String,
    /// Counts from 1 in a store, whatever the clock says.
    pub number: u64,
    pub dir: PathBuf,
    /// See [`Store::of_practice`].
    is_practice: bool,
}

/// Who drives a run, as the lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    pub pid: u32,
    /// Clock ticks from the start of the machine to that of the process.
    pub started: Option<u64>,
    pub command: Command,
    /// RFC 3339
    pub since: String,
}

/// A run's lock. The kernel gives it back when this process, and every child that it has left behind, has ended.
#[derive(Clone, Debug)]
pub struct Held {
    _file: Arc<File>,
}

impl Store {
    /// `root` as the operator named it; else the default of this user.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root: root.unwrap_or_else(default_root), is_practice: false }
    }

    /// Of runs in simulated worlds, which start no processes: another child of this process keeps none of them busy.
    pub fn of_practice(root: PathBuf) -> Self {
        Self { root, is_practice: true }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Result<Vec<Place>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", self.root.display(), &e).hint(self.hint())),
        };
        let mut runs: Vec<_> = entries.flatten().filter_map(|entry| self.place(&entry.path())).collect();
        runs.sort_by_key(|run| run.number);
        Ok(runs)
    }

    /// The run of this name, of this number, or the only one whose name begins so.
    pub fn find(&self, name: &str) -> Result<Place> {
        let runs = self.runs()?;
        if let Some(run) = runs.iter().find(|run| run.id == name || run.number.to_string() == name) {
            return Ok(run.clone());
        }
        let mut alike = runs.iter().filter(|run| run.id.starts_with(name));
        match (alike.next(), alike.next()) {
            (Some(run), None) => Ok(run.clone()),
            (None, _) => Err(Error::usage("run.not_found", format!("no run {name} in {}", self.root.display()))
                .hint("`pgscript runs` lists them; --store names another store")),
            _ => {
                let alike = runs.iter().filter(|run| run.id.starts_with(name)).map(|run| run.id.as_str());
                let message = format!("more than one run begins with {name}: {}", alike.collect::<Vec<_>>().join(", "));
                Err(Error::usage("run.ambiguous", message).hint("give one of these names, or its number alone"))
            }
        }
    }

    /// Makes the directory of a new run of a script; `stem` is the script's name without its extension.
    pub fn create(&self, stem: &str) -> Result<Place> {
        self.create_root()?;
        let stem: String =
            stem.chars().map(|c| if c.is_alphanumeric() || "_.".contains(c) { c } else { '_' }).collect();
        loop {
            let number = self.runs()?.last().map_or(1, |run| run.number + 1);
            let dir = self.root.join(format!("{stem}-{number}"));
            match DirBuilder::new().mode(0o700).create(&dir) {
                // Another process may have taken the number under another script's name meanwhile.
                Ok(()) if self.runs()?.iter().filter(|run| run.number == number).count() == 1 => {
                    sync(&self.root)?;
                    let place = self.place(&dir);
                    return place
                        .ok_or_else(|| Error::failed("run.bad_name", format!("{} names no run", dir.display())));
                }
                Ok(()) => _ = std::fs::remove_dir(&dir),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", dir.display(), &e).hint(self.hint())),
            }
        }
    }

    fn place(&self, dir: &Path) -> Option<Place> {
        let id = dir.file_name()?.to_str()?.to_owned();
        let number = id.rsplit_once('-')?.1.parse().ok()?;
        dir.is_dir().then(|| Place { id, number, dir: dir.to_owned(), is_practice: self.is_practice })
    }

    fn create_root(&self) -> Result<()> {
        let failed = |e: std::io::Error| Error::io("create", self.root.display(), &e).hint(self.hint());
        DirBuilder::new().mode(0o700).recursive(true).create(&self.root).map_err(failed)?;
        self.check_private()
    }

    /// Whoever can write here could plant a run, and with it a script that is run as us; whoever can read, reads
    /// people's records.
    pub fn check_private(&self) -> Result<()> {
        private("run store", &self.root)
    }

    fn hint(&self) -> String {
        format!("the run store is {}; choose another one with --store DIR or PGSCRIPT_STORE", self.root.display())
    }
}

/// Refuses a directory of runs, or of one run, that isn't ours alone.
fn private(what: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    let Some(exposed) = Exposed::of(path).map_err(|e| Error::io("look at", path.display(), &e))? else { return Ok(()) };
    let cure = match exposed {
        Exposed::Owner(owner) => format!("work as that user (sudo -u '#{owner}' pgscript …)"),
        Exposed::Link(_) => "name the directory itself".to_owned(),
        Exposed::Mode(_) => format!("chmod 700 {shown}"),
    };
    Err(Error::refused("host.not_private", format!("the {what} {shown} {}", exposed.why())).hint(format!(
        "nothing was done. It holds backups of people's records, and scripts that are run with your rights: {cure}\n\
         or name another store with --store DIR"
    )))
}

fn default_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return DEFAULT.into();
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/state");
    state.unwrap_or_else(home).join("pgscript")
}

impl Place {
    /// Removes the definitions of containers, which hold passwords: nobody will replay this run any more.
    pub fn remove_definitions(&self) -> Result<()> {
        let path = self.dir.join(DEFINITIONS);
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path.display(), &e)),
            _ => Ok(()),
        }
    }

    /// As [`Store::check_private`], of this run's directory.
    pub fn check_private(&self) -> Result<()> {
        private("run's directory", &self.dir)
    }

    pub fn journal(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }

    pub fn lock_file(&self) -> PathBuf {
        self.dir.join(LOCK)
    }

    /// Where the run's backup, dump and records are, if it was not told another place.
    pub fn artefacts(&self) -> PathBuf {
        self.dir.join("artefacts")
    }

    /// The command that brings the old server back from the run's artefacts alone, where there are some.
    pub fn rollback_without_journal(&self, is_there: impl FnOnce(&Path) -> bool) -> Option<String> {
        let artefacts = self.artefacts();
        is_there(&artefacts).then(|| format!("pgscript run rollback.rhai --set artefacts={}", artefacts.display()))
    }

    /// What the journal says, as far as it can be trusted.
    pub fn history(&self) -> Result<(History, Option<Damage>)> {
        let (reading, what) = match journal::read(&self.journal()) {
            Err(e) if e.code == "host.not_found" => (journal::Reading::default(), "the journal is missing"),
            other => (other?, "the journal is empty"),
        };
        // The scripts are kept once the journal has its first lines; without them the run was killed before that.
        let is_lost = reading.lines.is_empty() && self.dir.join(frozen::DIRECTORY).exists();
        let lost = is_lost.then(|| Damage { line: 1, what: format!("{what}, though the run had begun") });
        Ok((History::of(reading.lines), reading.damage.or(lost)))
    }

    /// [`Place::history`] of a journal without damage; else `journal.damaged`.
    pub fn sound_history(&self) -> Result<History> {
        match self.history()? {
            (history, None) => Ok(history),
            (_, Some(damage)) => Err(journal::damaged(self, &damage)),
        }
    }

    /// Takes the run for this process. Another living process is `run.driven`; what a dead one has left behind (a
    /// playbook that still runs) is waited for, `waiting` hears of it once.
    pub fn lock(&self, command: Command, cancel: &Cancel, waiting: &dyn Fn(&Driver)) -> Result<Held> {
        let path = self.lock_file();
        let failed = |e: std::io::Error| Error::io("lock", path.display(), &e);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(failed)?;
        for tries in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN) => {}
                Err(e) => return Err(failed(e.into())),
            }
            let driver = read_driver(&mut file);
            match driver.as_ref().filter(|driver| !driver.is_alive()) {
                _ if tries < PATIENCE => {}
                Some(driver) if tries == PATIENCE => waiting(driver),
                Some(_) => {}
                None => return Err(self.driven(driver.as_ref())),
            }
            cancel.check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        let pid = std::process::id();
        let since = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let driver = Driver { pid, started: started(pid), command, since };
        file.set_len(0).map_err(failed)?;
        let text = serde_json::to_string(&driver).unwrap_or_default();
        rustix::io::pwrite(&file, text.as_bytes(), 0).map_err(|e| failed(e.into()))?;
        // Children inherit it: the run is not free before they have ended too.
        if !self.is_practice {
            fcntl_setfd(&file, FdFlags::empty()).map_err(|e| failed(e.into()))?;
        }
        Ok(Held { _file: Arc::new(file) })
    }

    fn driven(&self, driver: Option<&Driver>) -> Error {
        let who = driver.map_or_else(|| "another process".into(), |d| format!("process {} (since {})", d.pid, d.since));
        let stop = driver.map_or_else(String::new, |d| format!("\nor end it, as Ctrl-C would: kill -INT {}", d.pid));
        Error::refused("run.driven", format!("run {} is being worked on by {who}", self.id))
            .hint(format!("nothing was done. Wait for it; where it stands: pgscript status {}{stop}", self.id))
    }

    /// The living process that drives the run, if there is one.
    pub fn driver(&self) -> Option<Driver> {
        let mut file = File::open(self.dir.join(LOCK)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            // One that has ended may have left a child behind that still has the lock.
            Err(Errno::AGAIN) => read_driver(&mut file).filter(Driver::is_alive),
            _ => None,
        }
    }
}

impl Driver {
    /// Whether this very process still runs: its number may have been given to another one by now.
    pub fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|started| self.started == Some(started))
    }
}

fn read_driver(file: &mut File) -> Option<Driver> {
    let mut text = String::new();
    std::io::Seek::rewind(file).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Writes a new private file and its name to disk.
pub fn write_new(path: &Path, text: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write", path.display(), &e);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all())).map_err(failed)?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes names in a directory durable.
pub fn sync(dir: &Path) -> Result<()> {
    // The parent of a bare name.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync", dir.display(), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(dir.path().join("runs")));
        (dir, store)
    }

    #[test]
    fn runs_are_numbered_whatever_the_clock_says_and_found_by_name_number_and_beginning() {
        let (_dir, store) = store();
        assert!(store.runs().unwrap().is_empty());
        let ids: Vec<_> = ["upgrade", "my site/x", "upgrade"].iter().map(|s| store.create(s).unwrap().id).collect();
        assert_eq!(ids, ["upgrade-1", "my_site_x-2", "upgrade-3"]);
        assert_eq!(store.find("3").unwrap().id, "upgrade-3");
        assert_eq!(store.find("my").unwrap().id, "my_site_x-2");
        assert_eq!(store.find("upgrade").unwrap_err().code, "run.ambiguous");
        assert_eq!(store.find("nothing").unwrap_err().code, "run.not_found");
    }

    #[test]
    fn a_run_has_one_driver_and_a_dead_one_is_recognised() {
        let (_dir, store) = store();
        let place = store.create("upgrade").unwrap();
        let take = || place.lock(Command::Run, &Cancel::default(), &|_| {});
        let held = take().unwrap();
        let error = take().unwrap_err();
        assert_eq!(error.code, "run.driven");
        assert!(error.message.contains(&std::process::id().to_string()), "{}", error.message);
        assert_eq!(place.driver().unwrap().pid, std::process::id());
        drop(held);
        // A child that another test has started meanwhile has inherited the lock, until it ends.
        let freed = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(if place.driver().is_none() { 0 } else { 100 }));
            place.driver().is_none()
        });
        assert!(freed);
        take().unwrap();
    }

    #[test]
    fn a_store_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, store) = store();
        store.create("upgrade").unwrap();
        std::fs::set_permissions(store.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(store.create("upgrade").unwrap_err().code, "host.not_private");
    }

    /// A user who isn't us. Only root can give something away.
    fn given_away(path: &Path) -> u32 {
        std::os::unix::fs::lchown(path, Some(65_534), None).unwrap();
        65_534
    }

    #[test]
    fn store_of_another_user() {
        let (dir, store) = store();
        let place = store.create("upgrade").unwrap();
        if !rustix::process::geteuid().is_root() {
            let error = Store::new(Some("/".into())).check_private().unwrap_err();
            assert!(error.message.contains("belongs to user 0"), "{error}");
            return;
        }
        let refused = |checked: Result<()>, words: &str| {
            let error = checked.unwrap_err();
            assert!(error.code == "host.not_private" && error.message.contains(words), "{error:?}");
        };
        given_away(&place.dir);
        refused(place.check_private(), "belongs to user 65534, not to us (0)");
        given_away(store.root());
        refused(store.create("upgrade").map(|_| ()), "belongs to user 65534");
        // Through a link of ours to what is somebody else's, and through somebody else's to what is ours.
        let (ours, foreign, link) = (dir.path().join("ours"), dir.path().join("runs"), dir.path().join("link"));
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        refused(Store::new(Some(link.clone())).create("upgrade").map(|_| ()), "belongs to user 65534");
        std::fs::remove_file(&link).unwrap();
        Store::new(Some(ours.clone())).create("upgrade").unwrap();
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        Store::new(Some(link.clone())).create("upgrade").unwrap();
        given_away(&link);
        refused(Store::new(Some(link)).create("upgrade").map(|_| ()), "is a symbolic link of user 65534");
    }
}
