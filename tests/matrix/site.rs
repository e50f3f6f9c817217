//! A stack whose upgrade is killed: small, deployed by a command, and looked at by other means than pgscript's own.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use serde_json::Value;

use crate::kills::chain::Upgrade;
use crate::kills::{self, Ended};
use crate::stack::{Stack, run};

pub struct Site {
    stack: Stack,
    strategy: &'static str,
    before: BTreeMap<String, String>,
    beats: u64,
}

const SERVICES: [&str; 4] = ["postgres", "application", "worker", "nginx"];

impl Site {
    pub fn up(strategy: &'static str) -> Self {
        let stack = Stack::up(13);
        stack.inventory_version(15);
        stack.deploy_by_command();
        Self { before: stack.content(), beats: stack.heartbeats(), stack, strategy }
    }

    fn run_name(&self) -> String {
        newest(&self.stack, "upgrade-")
    }

    fn upgrade_command(&self) -> Command {
        // That a start of the backup is killed has its own test.
        let boots = if cfg!(feature = "full-matrix") { "boot_backup=after" } else { "boot_backup=no" };
        self.stack.upgrade_command(15, &["--set", self.strategy, "--set", boots])
    }

    #[track_caller]
    pub fn upgrade(&self) {
        run(&mut self.upgrade_command()).expect(0, &["runs on PostgreSQL 15"]);
    }

    #[track_caller]
    pub fn resume(&self) {
        run(&mut self.stack.pgscript(&["resume", &self.run_name()])).expect(0, &["runs on PostgreSQL 15"]);
    }

    #[track_caller]
    pub fn roll_back(&self) {
        run(&mut self.stack.pgscript(&["rollback", &self.run_name(), "--yes"])).expect(0, &["is rolled back"]);
    }

    /// `status` of a killed run says where the data is and what to type.
    #[track_caller]
    pub fn status_answers(&self) {
        let said = ["Your data is safe", "pgscript resume upgrade-", "pgscript rollback upgrade-"];
        self.stack.status_of(&self.run_name()).expect(0, &said);
    }

    /// As after an undisturbed upgrade: the new server has every row, and the application writes.
    #[track_caller]
    pub fn is_upgraded(&self) {
        self.is_whole("15");
    }

    /// The old server has every row, everybody runs as before, nothing of pgscript's holds on to anything.
    #[track_caller]
    pub fn is_as_before(&self) {
        self.is_whole("13");
        let locks =
            self.stack.docker(&["ps", "-aq", "--filter", &format!("name=^/pgscript-lock-{}$", self.stack.name)]);
        assert!(locks.is_empty(), "the lock is left");
    }

    #[track_caller]
    fn is_whole(&self, major: &str) {
        self.stack.writes();
        assert_eq!(self.stack.major(), major);
        assert_eq!(self.stack.content(), self.before);
        assert!(self.stack.heartbeats() >= self.beats, "heartbeats were lost");
        for service in SERVICES {
            assert_eq!(self.stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), "always", "{service}");
            let networks =
                self.stack.inspect(service, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}");
            assert_eq!(networks.trim(), format!("{}_default", self.stack.name), "{service}");
        }
    }

    /// Removes what the rolled back run has kept, where it has kept anything.
    #[track_caller]
    pub fn clean_up(&self) {
        let run_name = self.run_name();
        if self.stack.base.join(&run_name).join("artefacts/upgrade.json").exists() {
            let set = format!("run={run_name}");
            run(&mut self.stack.pgscript(&["run", "cleanup.rhai", "--yes", "--set", &set])).expect(0, &["Removed"]);
        }
        self.stack.no_helpers_left();
        let volumes = self.stack.docker(&["volume", "ls", "-q", "--filter", &format!("name=^{}_", self.stack.name)]);
        assert_eq!(volumes, format!("{}_database", self.stack.name), "a volume is left");
    }
}

impl Upgrade for Site {
    #[track_caller]
    fn killed_at(&self, instant: &str) {
        kills::killed_at(&mut self.upgrade_command(), instant);
    }

    #[track_caller]
    fn go_on(&self, verb: &str, instant: &str) -> Ended {
        kills::gone_on(&mut self.stack.pgscript(&[verb, &self.run_name(), "--yes"]), instant)
    }

    fn journal(&self) -> Vec<Value> {
        kills::journal(&self.stack.base.join(self.run_name()))
    }
}

/// The newest run of a script, whose runs have that prefix.
pub fn newest(stack: &Stack, prefix: &str) -> String {
    let runs = stack.pgscript(&["runs", "--format", "json"]).output().unwrap();
    let runs: Value = serde_json::from_slice(&runs.stdout).unwrap();
    let mut names = runs["runs"].as_array().unwrap().iter().filter_map(|run| run["run"].as_str());
    names.rfind(|name| name.starts_with(prefix)).expect("a run of it").to_owned()
}

/// What a failed expectation said.
pub fn caught(work: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}
