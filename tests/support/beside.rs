//! Programs that run in a helper beside a database, and are killed there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Kills the first process of this name that runs in a helper beside a database's container; `is_time` has come.
#[track_caller]
pub fn kill_beside(database: &str, program: &str, is_time: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        for helper in output(&["ps", "-q", "--filter", "label=pgscript.helper"]).lines() {
            let found = output(&["inspect", "--format", "{{.HostConfig.NetworkMode}} {{.State.Pid}}", helper]);
            let Some((network, pid)) = found.trim().split_once(' ') else { continue };
            if network == format!("container:{database}") && kill_with(pid, program, &is_time) {
                return;
            }
        }
    }
    panic!("no {program} was seen beside {database}");
}

/// Of a helper that may be gone meanwhile.
fn output(docker: &[&str]) -> String {
    let output = Command::new("docker").args(docker).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Kills a process in the same container as `pid`, if one comes within ten seconds. From outside: a command in the
/// container would come too late.
fn kill_with(pid: &str, program: &str, is_time: impl Fn() -> bool) -> bool {
    let container = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let ours = container(pid);
    let deadline = Instant::now() + Duration::from_secs(10);
    while ours.is_some() && container(pid) == ours && Instant::now() < deadline {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if comm.trim() != program {
                continue;
            }
            // Those that only tell their version, or whether they can compress, are not meant.
            let argv = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let asks = argv.contains("--version") || argv.contains("--format=custom");
            if argv.contains("--") && !asks && container(&name) == ours && is_time() {
                return Command::new("kill").args(["-KILL", &name]).status().is_ok_and(|s| s.success());
            }
        }
    }
    false
}

/// Of the largest file below a directory: a dump's is when it has come to the rows.
pub fn bytes_below(at: &Path) -> u64 {
    let entries = std::fs::read_dir(at).into_iter().flatten().flatten().map(|entry| entry.path());
    let bytes = |path: PathBuf| if path.is_dir() { bytes_below(&path) } else { path.metadata().map_or(0, |m| m.len()) };
    entries.map(bytes).max().unwrap_or_default()
}
