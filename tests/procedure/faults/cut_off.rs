//! A backup or a dump that does not come to its end, or that would take another one's place.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::before::walk;
use crate::beside::kill_beside;
use crate::disk::SmallDisk;
use crate::stack::{SMALL, Stack, Watched, run};

/// Kills the first process of this name that runs in a helper beside the stack's database.
#[track_caller]
fn kill_in_helper(stack: &Stack, program: &str) {
    kill_beside(&stack.inspect("postgres", "{{.Id}}"), program, || true);
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
