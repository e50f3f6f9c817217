//! A simulated world that a file keeps, and pgscript as a process that works on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgscript::world::sim::deeds::{Happening, Planned};
use pgscript::world::sim::state::{Container, Content, Fault};
use pgscript::world::sim::{Deed, Sim, State};

use crate::program::{Run, pgscript, run};

/// In memory where the machine has such a directory: a journal is synced line by line, and no disk has a part in these
/// tests.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A world of its own, with a run store of its own on the real machine.
pub struct World {
    dir: tempfile::TempDir,
    sim: Sim,
}

impl World {
    pub fn of(mut state: State) -> Self {
        // Journals are written by the real clock, and records by this one: no run begins after its own record.
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
        state.now = u64::try_from(real.as_millis()).unwrap();
        let dir = tempfile::Builder::new().prefix("pgt-sim-").tempdir_in(memory()).unwrap();
        let sim = Sim::in_file(&dir.path().join("world"));
        sim.arrange(|kept| *kept = state).unwrap();
        Self { dir, sim }
    }

    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.sim.read(|state| Ok(look(state))).unwrap()
    }

    /// What is so beforehand, and what somebody does between two runs of the program.
    pub fn arrange<T>(&self, arrange: impl FnOnce(&mut State) -> T) -> T {
        self.sim.arrange(arrange).unwrap()
    }

    pub fn deed(&self, deed: Deed) {
        self.arrange(|state| state.deed(&deed));
    }

    /// This happens once, before the first change that begins so.
    pub fn before(&self, change: &str, happening: Happening) {
        self.plan(change, false, happening);
    }

    /// This happens once, after the first change that begins so.
    pub fn after(&self, change: &str, happening: Happening) {
        self.plan(change, true, happening);
    }

    fn plan(&self, change: &str, is_after: bool, happening: Happening) {
        let planned = Planned { change: change.into(), is_after, happening };
        self.arrange(|state| state.planned.push(planned));
    }

    /// The first change that begins so fails.
    pub fn fail(&self, change: &str, code: &str, message: &str) {
        let fault = Fault { change: change.into(), after: 0, times: 1, code: code.into(), message: message.into() };
        self.arrange(|state| state.faults.push(fault));
    }

    /// The engine's address.
    pub fn address(&self) -> String {
        format!("sim://{}", self.dir.path().join("world").display())
    }

    /// A command line of pgscript on this world.
    pub fn pgscript(&self, arguments: &[&str]) -> Command {
        let mut command = pgscript(arguments);
        command.env("DOCKER_HOST", self.address()).env("PGSCRIPT_STORE", self.store());
        command
    }

    /// Runs a script of the site's own, which need not come to a good end.
    pub fn own(&self, text: &str, arguments: &[&str]) -> Run {
        run(&mut self.own_command(text, arguments))
    }

    pub fn own_command(&self, text: &str, arguments: &[&str]) -> Command {
        let script = self.dir.path().join("own.rhai");
        std::fs::write(&script, text).unwrap();
        let mut command = self.pgscript(&["run", &script.display().to_string()]);
        command.args(arguments);
        command
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    /// The journals of all runs, one text.
    pub fn journals(&self) -> String {
        let runs = std::fs::read_dir(self.store()).unwrap();
        runs.filter_map(|run| std::fs::read_to_string(run.unwrap().path().join("journal.jsonl")).ok()).collect()
    }

    /// A directory of the real machine that ends with the world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Whether this world has a file or directory there.
    pub fn has_file(&self, path: impl AsRef<Path>) -> bool {
        self.look(|state| state.file(path.as_ref()).is_some())
    }

    pub fn has_volume(&self, name: &str) -> bool {
        self.look(|state| state.volumes.contains_key(name))
    }

    /// A value of a container; `None` where there is none of that name.
    pub fn of_container<T>(&self, name: &str, look: impl FnOnce(&Container) -> T) -> Option<T> {
        self.look(|state| state.container(name).map(look))
    }

    /// Text of a file of this world.
    #[track_caller]
    pub fn text(&self, path: &Path) -> String {
        self.look(|state| match &state.files.get(path).unwrap_or_else(|| panic!("no {}", path.display())).content {
            Content::Bytes { bytes } => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{} is no text: {other:?}", path.display()),
        })
    }
}
