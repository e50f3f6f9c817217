//! What tests of the shell make in the engine.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub const ENGINE: &str = "unix:///var/run/docker.sock";
pub const IMAGE: &str = "pgscript-test/postgres:17";
pub const LABEL: &str = "pgscript.test";

/// Everything that a test makes in the engine: gone again when dropped, also on panic.
pub struct Things {
    /// What names begin with, and the value of the label.
    pub name: String,
}

impl Things {
    pub fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { name: format!("pgscript-{test}-{}-{number}", std::process::id()) }
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        let (label, lock) = (format!("label={LABEL}={}", self.name), format!("name=pgscript-lock-{}", self.name));
        for (list, remove) in [
            (vec!["ps", "-aq", "--filter", &label], vec!["rm", "-fv"]),
            (vec!["ps", "-aq", "--filter", &lock], vec!["rm", "-fv"]),
            (vec!["volume", "ls", "-q", "--filter", &label], vec!["volume", "rm"]),
        ] {
            let found = docker(&list);
            let ids: Vec<_> = found.split_whitespace().collect();
            if !ids.is_empty() {
                docker(&[remove, ids].concat());
            }
        }
    }
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
