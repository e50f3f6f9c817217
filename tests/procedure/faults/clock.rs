//! A clock that is set back in the middle of the procedure: nothing is decided by a time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::after::Site;
use crate::stack::{Watched, run, sh};

/// The clock of the programs that run by it.
struct Clock(PathBuf);

impl Clock {
    /// Shows the time as it is.
    fn new(directory: &Path) -> Self {
        let clock = Self(directory.join("clock"));
        clock.set("+0");
        clock
    }

    /// By how much it is wrong from now on.
    fn set(&self, offset: &str) {
        std::fs::write(&self.0, format!("{offset}\n")).unwrap();
    }

    fn seen_by(&self, mut command: Command) -> Command {
        let library = sh("sh", &["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]);
        command.env("LD_PRELOAD", library.trim()).env("FAKETIME_TIMESTAMP_FILE", &self.0);
        // Looked at each time; how long something takes is measured as ever.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_clock_is_set_back_during_the_run_before_the_resume_and_before_the_rollback() {
    let site = Site::up();
    let clock = Clock::new(&site.stack.dir);
    let mut killed = Watched::start(clock.seen_by(site.stack.upgrade_command(17, &[])));
    killed.until("6 dump the cluster");
    clock.set("-40d");
    killed.until("8 restore the dump");
    killed.kill();
    clock.set("-80d");
    site.is_upgraded(run(&mut clock.seen_by(site.stack.pgscript(&["resume", "upgrade-1"]))));
    clock.set("-120d");
    run(&mut clock.seen_by(site.stack.pgscript(&["rollback", "upgrade-1", "--yes"]))).expect(0, &["is rolled back"]);
    site.is_back();

    // The clock has been wrong: the journal's lines go back in time, and count on.
    let journal = std::fs::read_to_string(site.stack.base.join("upgrade-1/journal.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let set_back = lines.windows(2).filter(|pair| pair[1]["at"].as_str() < pair[0]["at"].as_str());
    assert!(set_back.count() >= 3, "{journal}");
    assert!(lines.windows(2).all(|pair| pair[1]["n"].as_u64() > pair[0]["n"].as_u64()), "{journal}");
}
