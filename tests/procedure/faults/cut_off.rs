//! A backup or a dump that does not come to its end, or that would take another one's place.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::before::walk;
use crate::disk::SmallDisk;
use crate::stack::{SMALL, Stack, Watched, run};

/// Kills the first process of this name that runs in a helper beside the stack's database.
#[track_caller]
fn kill_in_helper(stack: &Stack, program: &str) {
    let database = stack.inspect("postgres", "{{.Id}}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let helpers = stack.docker(&["ps", "-q", "--filter", "label=pgscript.helper"]);
        for helper in helpers.lines() {
            let network = ["inspect", "--format", "{{.HostConfig.NetworkMode}} {{.State.Pid}}", helper];
            let Ok(found) = Command::new("docker").args(network).output() else { continue };
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            let Some((network, pid)) = found.trim().split_once(' ') else { continue };
            if network == format!("container:{database}") && kill_beside(pid, program) {
                return;
            }
        }
    }
    panic!("no {program} was seen beside {database}");
}

/// Kills a process in the same container as `pid`, if one comes within ten seconds.
fn kill_beside(pid: &str, program: &str) -> bool {
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
            if argv.contains("--") && !asks && container(&name) == ours {
                return Command::new("kill").args(["-KILL", &name]).status().is_ok_and(|s| s.success());
            }
        }
    }
    false
}

/// A script of its own against the stack's database.
fn script(stack: &Stack, body: &str) -> Command {
    let path = stack.dir.join("own.rhai");
    let find = format!("let database = docker::service(\"{}\", \"postgres\");", stack.name);
    std::fs::write(&path, format!("{find}\nlet server = psql::server(database);\nstep(\"own\", || {{ {body} }});\n"))
        .unwrap();
    let mut command = stack.pgscript(&[]);
    command.arg("run").arg(path);
    command
}

fn of_stopped_volume(stack: &Stack, path: &Path) -> String {
    stack.docker(&["stop", &stack.container("postgres")]);
    format!("volume::backup(volume::inspect(\"{}_database\"), \"{}\")", stack.name, path.display())
}

/// What the upgrade then does: `tests/simulated`.
#[test]
fn pg_dump_killed_and_pg_dumpall_killed() {
    let stack = Stack::with(13, SMALL);
    let path = stack.dir.join("dump");
    for (program, options) in [("pg_dump", "#{}"), ("pg_dumpall", "#{format: \"plain\"}")] {
        let body = format!("pg_dump::cluster(server, \"{}\", {options})", path.display());
        let mut watched = Watched::start(script(&stack, &body));
        watched.until("$ pg_dumpall");
        kill_in_helper(&stack, program);
        watched.end().expect(1, &["[dump.failed]", program, "✗ failed in step `own`"]);
        assert!(!path.exists(), "{program}");
    }
    stack.no_helpers_left();
    stack.writes();
}

#[test]
fn what_was_cut_off_never_has_its_final_name() {
    let stack = Stack::with(13, SMALL);
    let disk = SmallDisk::at(stack.dir.join("disk"), 16 << 10);
    let (dump, plain) = (disk.0.join("dump"), disk.0.join("dump.sql"));
    let left = || walk(&disk.0).into_iter().filter(|p| !p.ends_with("somebody-else's.log")).collect::<Vec<PathBuf>>();
    disk.fill(64 << 10);
    for (path, options) in [(&dump, "#{}"), (&plain, "#{format: \"plain\"}")] {
        let body = format!("pg_dump::cluster(server, \"{}\", {options})", path.display());
        run(&mut script(&stack, &body)).expect(1, &["No space left on device"]);
        assert_eq!(left(), Vec::<PathBuf>::new(), "{options}");
    }
    let body = of_stopped_volume(&stack, &disk.0.join("volume.tar.zst"));
    run(&mut script(&stack, &body)).expect(1, &["[host.disk_full]", "volume.tar.zst"]);
    assert_eq!(left(), Vec::<PathBuf>::new());
    stack.docker(&["start", &stack.container("postgres")]);
    stack.no_helpers_left();
}
