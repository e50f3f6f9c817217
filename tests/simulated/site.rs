//! The reference stack in a simulated world, its upgrade, and what must be so afterwards.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use pgscript::practice::Shape;
use pgscript::practice::invariants::{left_behind, not_kept_up, owed, own, running_rows};
use pgscript::world::container::LABEL_HELPER;
use pgscript::world::sim::state::Container;
use pgscript::world::sim::{self, State};

use crate::program::{Run, run};
use crate::simulated::world::World;

pub const SERVER: &str = "primero-postgres-1";
pub const VOLUME: &str = "primero_database";
pub const APPLICATION: &str = "primero-application-1";
/// Where the site's Ansible is, as far as the parameters know.
const ANSIBLE: &str = "/srv/primero/ansible";

/// The reference stack in a world of its own, with a run store of its own on the real machine.
pub struct Site {
    world: World,
    /// As the stack was at first.
    before: State,
}

impl Deref for Site {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Site {
    /// Of version 13, about to be upgraded to 17.
    pub fn up() -> Self {
        Self::of(sim::reference(13))
    }

    /// A deployment that is another one than the reference, also about to be upgraded.
    pub fn of(state: State) -> Self {
        let world = World::of(state);
        let before = world.look(State::clone);
        Self { world, before }
    }

    /// A run of a script with the parameters of the night, where `arguments` do not give others.
    pub fn script(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.pgscript(&["run", script]);
        let ansible = format!("ansible_dir={ANSIBLE}");
        for set in ["to=17", "strategy=dump", "boot_backup=no", &ansible] {
            let (name, _) = set.split_once('=').unwrap();
            if !arguments.iter().any(|argument| argument.starts_with(&format!("{name}="))) {
                command.args(["--set", set]);
            }
        }
        command.args(arguments);
        command
    }

    pub fn upgrade(&self, arguments: &[&str]) -> Run {
        run(&mut self.script("upgrade.rhai", arguments))
    }

    /// A site's copy of a shipped script or module, with a change; it is what `import` finds from then on, beside the
    /// upgrade's own copy. Gives the copy's path.
    #[track_caller]
    pub fn edited(&self, file: &str, from: &str, to: &str) -> PathBuf {
        let dir = self.dir().join("site");
        let path = dir.join(file);
        if !path.exists() {
            run(&mut self.pgscript(&["eject", file, &dir.display().to_string()])).expect(0, &[]);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        path
    }

    pub fn resume(&self) -> Run {
        run(&mut self.pgscript(&["resume", "upgrade-1", "--yes"]))
    }

    pub fn rollback(&self) -> Run {
        run(&mut self.pgscript(&["rollback", "upgrade-1", "--yes"]))
    }

    pub fn cleanup(&self) -> Run {
        self.cleanup_of("upgrade-1")
    }

    pub fn cleanup_of(&self, run_name: &str) -> Run {
        run(&mut self.pgscript(&["run", "cleanup.rhai", "--yes", "--set", &format!("run={run_name}")]))
    }

    #[track_caller]
    pub fn status(&self) -> String {
        run(&mut self.pgscript(&["status", "upgrade-1"])).expect(0, &[]).text
    }

    /// `pgscript resume …` or `pgscript rollback …` as a failed run told the operator to type it; only the questions
    /// are answered beforehand.
    #[track_caller]
    pub fn as_advised(&self, failed: &Run, verb: &str) -> Run {
        run(&mut self.pgscript(&[verb, failed.advised(verb), "--yes"]))
    }

    pub fn journal(&self) -> PathBuf {
        self.store().join("upgrade-1/journal.jsonl")
    }

    /// Where the files of the run are in this world.
    pub fn artefacts(&self) -> PathBuf {
        self.store().join("upgrade-1/artefacts")
    }

    pub fn has_artefacts(&self) -> bool {
        self.look(|state| state.files.keys().any(|path| path.starts_with(self.artefacts())))
    }

    /// Containers, volumes and their states: the same where nothing was done.
    pub fn containers(&self) -> Vec<String> {
        self.look(|state| {
            let containers = state.containers().map(|c| format!("{} {} {}", c.id, c.name, c.state));
            containers.chain(state.volumes.keys().cloned()).collect()
        })
    }

    /// Names of the volumes that were put aside.
    pub fn kept_volumes(&self) -> Vec<String> {
        let aside = format!("{VOLUME}_pg");
        self.look(|state| state.volumes.keys().filter(|name| name.starts_with(&aside)).cloned().collect())
    }

    /// The version of the server that runs in the database's place.
    #[track_caller]
    pub fn major(&self) -> u32 {
        self.look(|state| state.cluster(SERVER).unwrap_or_else(|| panic!("no server runs")).major)
    }

    /// The failed run said what to type, and `status` that nothing is lost.
    #[track_caller]
    pub fn is_safe(&self, failed: &Run) {
        for said in ["next: pgscript resume upgrade-1 ", "or:   pgscript rollback upgrade-1 "] {
            assert!(failed.text.contains(said), "{said:?} was not said:\n{}", failed.text);
        }
        let status = self.status();
        assert!(status.contains("upgrade-1: failed") && status.contains("Your data is safe"), "{status}");
        assert!(!status.contains("NOT THERE"), "{status}");
    }

    /// The old server runs with all its rows, everybody who ran does so again and is kept up as before, and nothing of
    /// pgscript's own is left but what keeps the volumes that were put aside.
    #[track_caller]
    pub fn is_back(&self) {
        self.is_in_use(13);
        self.look(|state| {
            let original = self.before.cluster(SERVER).unwrap().system_identifier;
            assert_eq!(state.cluster(SERVER).unwrap().system_identifier, original, "another cluster runs");
        });
    }

    /// The same, and no trace is left: neither a volume nor a container more.
    #[track_caller]
    pub fn is_untouched(&self) {
        self.is_back();
        let shape = |state: &State| Shape::of(state, self.before.cluster(SERVER).unwrap().system_identifier);
        self.look(|state| assert_eq!(shape(state).differences(&shape(&self.before)), Vec::<String>::new()));
    }

    /// The new server runs with all rows, and the application writes to it.
    #[track_caller]
    pub fn has_moved_on(&self) {
        self.is_in_use(17);
    }

    /// The run came to its end, and the new server is in use.
    #[track_caller]
    pub fn is_upgraded(&self, done: Run) -> Run {
        let done = done.expect(0, &["primero runs on PostgreSQL 17", "upgrade.rhai is done"]);
        self.has_moved_on();
        done
    }

    /// What a run that is over has kept goes, and its record with it.
    #[track_caller]
    pub fn is_cleaned_up(&self) {
        if self.has_artefacts() {
            self.cleanup().expect(0, &["Removed"]);
        }
        assert_eq!(self.look(|state| state.volumes.keys().cloned().collect::<Vec<_>>()), [VOLUME]);
        assert_eq!(self.look(own), BTreeSet::new());
        self.is_untouched();
    }

    #[track_caller]
    fn is_in_use(&self, major: u32) {
        // Long enough for a health check and a write.
        self.arrange(|state| state.pass(10_000));
        assert_eq!(self.major(), major);
        self.look(|state| {
            assert_eq!(not_kept_up(&self.before, state), Vec::<String>::new());
            // What was acknowledged by the first cluster; each of the two goes its own way when both have been in use.
            let owed = owed(&self.before, None);
            let has: BTreeSet<_> = running_rows(state).collect();
            assert!(owed.is_subset(&has), "{} rows are lost", owed.difference(&has).count());
            // What an upgrade keeps beside the new server, and what holds on to it.
            let keeps = |container: &Container| {
                let purpose = container.labels.get(LABEL_HELPER).map(String::as_str);
                matches!(purpose, Some("keep" | "record"))
            };
            let kept = state.containers().filter(|c| keeps(c)).map(|c| format!("container {}", c.name));
            // The old cluster is as it was held; its slot goes when it comes back.
            let slots = state.volumes.values().filter(|volume| volume.name != VOLUME);
            let slots = slots.flat_map(|volume| volume.tree.clusters.values()).flat_map(|cluster| cluster.slots.keys());
            let left = left_behind(state, &kept.chain(slots.map(|slot| format!("slot {slot}"))).collect());
            assert!(left.is_empty(), "left behind: {left:?}");
        });
    }
}
