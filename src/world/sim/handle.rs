//! How the simulated world is looked at and changed, and where it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::State;
use super::planned;
use crate::world::container::EngineInfo;
use crate::world::error::{Error, Result};
use crate::world::postgres::{Binding, Row};

/// How an engine's address begins that is a simulated world in a file.
pub const SCHEME: &str = "sim://";
/// What a change takes, in milliseconds.
const CHANGE: u64 = 10;

/// Who is there at every change: may kill the program, break something, or do what other people do.
pub trait Watch: Send + Sync {
    /// Before a change. After an error nothing of it happens, and it fails with that.
    fn before(&self, change: &str, state: &mut State) -> Result<()>;
    /// After a change that has succeeded; an error as if it had failed after all.
    fn after(&self, change: &str, state: &mut State) -> Result<()>;
}

/// Who knows what a server answers to a question that the simulation does not know: the real one, of a world that was
/// captured. `None` where that does not know either.
pub trait Beyond: Send + Sync {
    /// Whether it is asked although the simulation has an answer: about what there is nothing of in simulated clusters.
    /// `question`: the SQL with single blanks, and without the name of the system's schema.
    fn knows_better(&self, question: &str) -> bool;
    /// `container`: its id.
    fn query(&self, container: &str, database: &str, sql: &str, bindings: &[Binding]) -> Option<Result<Vec<Row>>>;
}

/// A handle to a simulated world; all clones are of the same one.
#[derive(Clone)]
pub struct Sim(Arc<Shared>);

struct Shared {
    keep: Keep,
    watch: Mutex<Option<Arc<dyn Watch>>>,
    beyond: Mutex<Option<Arc<dyn Beyond>>>,
    is_killed: AtomicBool,
}

enum Keep {
    Memory(Mutex<State>),
    /// Another process may change the file, too.
    File {
        path: PathBuf,
        known: Mutex<Option<Known>>,
    },
}

/// What was last read of the file, so that it is read again only when it is another one.
struct Known {
    /// Open as long as it is known, so that no later file can get its inode; `None` while there is no file.
    file: Option<File>,
    state: State,
}

impl Known {
    fn is(&self, found: Option<&File>) -> Result<bool> {
        let inode = |file: &File| {
            file.metadata().map(|found| found.ino()).map_err(|e| Error::io("read", "a simulated world", &e))
        };
        match (&self.file, found) {
            (None, None) => Ok(true),
            (Some(known), Some(found)) => Ok(inode(known)? == inode(found)?),
            _ => Ok(false),
        }
    }
}

impl Sim {
    /// A world that ends with its last handle.
    pub fn in_memory(state: State) -> Self {
        Self::with(Keep::Memory(Mutex::new(state)))
    }

    /// A world that is kept in a file (0600), as processes come and go. A file that is not there is an engine without
    /// anything.
    pub fn in_file(path: &Path) -> Self {
        Self::with(Keep::File { path: path.to_owned(), known: Mutex::default() })
    }

    /// The world that an engine's address names, `sim://FILE`; `None` for any other engine.
    pub fn at(address: &str) -> Option<Self> {
        address.strip_prefix(SCHEME).map(|path| Self::in_file(Path::new(path)))
    }

    fn with(keep: Keep) -> Self {
        Self(Arc::new(Shared {
            keep,
            watch: Mutex::default(),
            beyond: Mutex::default(),
            is_killed: AtomicBool::new(false),
        }))
    }

    /// The engine as it answers; its address is that of the file, where there is one.
    pub fn engine(&self) -> Result<EngineInfo> {
        let mut engine = self.read(|state| Ok(state.engine.clone()))?;
        if let Keep::File { path, .. } = &self.0.keep {
            engine.named = format!("{SCHEME}{}", path.display());
            engine.endpoint = engine.named.clone();
        }
        Ok(engine)
    }

    /// What became of a world in memory, whatever has happened to the program.
    pub fn into_state(self) -> Result<State> {
        self.watched(None);
        self.0.keep.enter(|state| Ok((state.clone(), false)))
    }

    /// From now on this one is there at every change.
    pub fn watched(&self, watch: Option<Arc<dyn Watch>>) {
        *self.0.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// From now on this one is asked what the simulation does not know.
    pub fn asks(&self, beyond: Arc<dyn Beyond>) {
        *self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner) = Some(beyond);
    }

    pub(super) fn beyond(&self) -> Option<Arc<dyn Beyond>> {
        self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The program has been killed: it neither sees nor changes anything any more.
    pub fn kill(&self) {
        self.0.is_killed.store(true, Ordering::SeqCst);
    }

    pub fn is_killed(&self) -> bool {
        self.0.is_killed.load(Ordering::SeqCst)
    }

    /// Looks at the world.
    ///
    /// Errors: `sim.killed`; `sim.unreadable` for a file that holds no world.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.check()?;
        self.0.keep.enter(|state| Ok((look(state)?, false)))
    }

    /// Changes the world; `change` says what is done to what, as `start primero-postgres-1`. An error of `act` must
    /// leave what a real thing would leave. A little time passes.
    pub fn act<T>(&self, change: &str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.check()?;
        let watch = self.0.watch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut signal = None;
        let done = self.0.keep.enter(|state| {
            state.instants += 1;
            if let Some(watch) = &watch {
                watch.before(change, state)?;
            }
            signal = state.meet_planned(change, false);
            if signal == Some(Signal::KILL) {
                return Err(killed());
            }
            state.pass(CHANGE);
            state.meet_fault(change)?;
            let done = act(state)?;
            signal = signal.or(state.meet_planned(change, true));
            if let Some(watch) = &watch {
                watch.after(change, state)?;
            }
            Ok((done, true))
        });
        // The file has the world as it is now.
        signal.map_or(Ok(()), planned::strike)?;
        done
    }

    /// Lets time pass, in milliseconds: no instant of the program's, but others may be at work meanwhile.
    pub fn wait(&self, milliseconds: u64) -> Result<()> {
        self.check()?;
        self.arrange(|state| state.pass(milliseconds))
    }

    /// What somebody else does, and what is set up: no instant of the program's.
    pub fn arrange<T>(&self, arrange: impl FnOnce(&mut State) -> T) -> Result<T> {
        self.0.keep.enter(|state| Ok((arrange(state), true)))
    }

    fn check(&self) -> Result<()> {
        match self.is_killed() {
            true => Err(killed()),
            false => Ok(()),
        }
    }
}

fn killed() -> Error {
    Error::failed("sim.killed", "the program was killed here")
}

impl Keep {
    /// Lends the state; whether it was changed, the borrower says. After an error it counts as changed.
    fn enter<T>(&self, visit: impl FnOnce(&mut State) -> Result<(T, bool)>) -> Result<T> {
        match self {
            Self::Memory(state) => {
                visit(&mut state.lock().unwrap_or_else(PoisonError::into_inner)).map(|(done, _)| done)
            }
            Self::File { path, known } => {
                let mut known: MutexGuard<'_, _> = known.lock().unwrap_or_else(PoisonError::into_inner);
                let _locked = lock(path)?;
                let state = newest(path, &mut known)?;
                let visited = visit(state);
                if !matches!(visited, Ok((_, false))) {
                    let file = save(path, state)?;
                    if let Some(known) = known.as_mut() {
                        known.file = Some(file);
                    }
                }
                visited.map(|(done, _)| done)
            }
        }
    }
}

/// The file changes with each save; the lock is on one beside it, which stays.
fn lock(path: &Path) -> Result<File> {
    let beside = with_ending(path, "lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&beside);
    let file = file.map_err(|e| Error::io("open", beside.display(), &e))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| Error::io("lock", beside.display(), &e.into()))?;
    Ok(file)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn newest<'k>(path: &Path, known: &'k mut Option<Known>) -> Result<&'k mut State> {
    let file = match File::open(path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read", path.display(), &error)),
    };
    let known = match known.take() {
        Some(last) if last.is(file.as_ref())? => known.insert(last),
        _ => {
            let state = file.as_ref().map_or_else(|| Ok(State::default()), |file| load(path, file))?;
            known.insert(Known { file, state })
        }
    };
    Ok(&mut known.state)
}

fn load(path: &Path, mut file: &File) -> Result<State> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| Error::io("read", path.display(), &e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::failed("sim.unreadable", format!("{} holds no simulated world: {e}", path.display()))
            .hint("name another file: --docker sim://FILE; one that is not there is an engine without anything")
    })
}

impl State {
    /// The world that a file holds, which is left alone.
    ///
    /// Errors: `host.not_found`; `sim.unreadable` for a file that holds no world.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path.display(), &e))?;
        load(path, &file)
    }

    /// As a file holds it.
    ///
    /// Errors: `sim.unreadable`.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| Error::failed("sim.unreadable", format!("the simulated world can't be kept: {e}")))
    }
}

/// Gives the new file.
fn save(path: &Path, state: &State) -> Result<File> {
    let new = with_ending(path, "new");
    let failed = |e: std::io::Error| Error::io("write", new.display(), &e);
    let text = state.to_json()?;
    // Not synced: a simulated world outlives its program, not the machine.
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(failed)?;
    (&file).write_all(text.as_bytes()).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_in_a_file_is_the_same_for_all_who_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("world");
        let (one, other) = (Sim::in_file(&path), Sim::in_file(&path));
        one.act("first", |_| Ok(())).unwrap();
        other.act("second", |_| Ok(())).unwrap();
        assert_eq!(one.read(|state| Ok(state.instants)).unwrap(), 2);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // Each of its files is another one, although the inodes come again.
        for instants in 3..20 {
            one.act("further", |_| Ok(())).unwrap();
            assert_eq!(other.read(|state| Ok(state.instants)).unwrap(), instants);
            other.arrange(|state| state.now += 1).unwrap();
        }
        fs::write(&path, "{").unwrap();
        assert_eq!(Sim::in_file(&path).read(|_| Ok(())).unwrap_err().code, "sim.unreadable");
    }

    #[test]
    fn a_killed_program_neither_sees_nor_changes_anything() {
        let sim = Sim::in_memory(State::default());
        sim.kill();
        assert_eq!(sim.read(|_| Ok(())).unwrap_err().code, "sim.killed");
        assert_eq!(sim.act("start x", |_| Ok(())).unwrap_err().code, "sim.killed");
        assert_eq!(sim.arrange(|state| state.instants).unwrap(), 0);
    }

    #[test]
    fn a_fault_fails_the_changes_it_names_and_no_others() {
        let fault = super::super::state::Fault {
            change: "start db".into(),
            after: 1,
            times: 1,
            code: "docker.failed".into(),
            message: "no".into(),
        };
        let sim = Sim::in_memory(State { faults: vec![fault], ..State::default() });
        let mut codes = Vec::new();
        for change in ["start db", "stop db", "start db", "start db"] {
            codes.push(sim.act(change, |_| Ok(())).err().map(|error| error.code));
        }
        assert_eq!(codes, [None, None, Some("docker.failed".to_owned()), None]);
    }
}
