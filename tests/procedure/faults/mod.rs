//! What goes wrong in the field, a test for each: the exit code, what the operator reads, and that nothing is lost.
//!
//! Before the old volume is put aside, a failed run puts everything back by itself ([`before`] looks at that).

pub mod after;
mod as_before;
pub mod before;
mod booted;
mod cancelled;
mod clock;
pub mod comparison;
mod crashes;
mod cut_off;
mod deployments;
mod engines;
mod fence;
mod guards;
mod identity;
mod kept;
mod know_before;
mod leftovers;
mod misleading;
mod objects;
mod old_runs;
mod preflight;
mod remote;
mod sessions;
mod sites;
mod strategies;
mod trial;
pub mod wayback;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stack::{Stack, pgscript, run};

/// The line of the upgrade by dump that looks at the old server, which is held just then.
const CONTENT_BEFORE: &str = "let before = psql::content(source, #{ level: plan.level, jobs: jobs });";

/// Variations of one fault, of which the first is tried always and the others in `make test-full`.
const fn variations<T, const N: usize>(all: &[T; N]) -> &[T] {
    if cfg!(feature = "full-matrix") { all } else { all.split_at(1).0 }
}

/// The upgrade to 17, deployed by hand: what fails before the deploy needs no Ansible.
fn upgrade(stack: &Stack, further: &[&str]) -> Command {
    let mut command = stack.upgrade_command(17, &["--set", "deploy=manual", "--set", "session_wait=1"]);
    command.args(further);
    command
}

/// A site's copy of the upgrade with one change, in a directory of its own.
#[track_caller]
fn edited(stack: &Stack, from: &str, to: &str) -> PathBuf {
    let dir = stack.dir.join("site");
    let path = dir.join("upgrade.rhai");
    let _ = std::fs::remove_file(&path);
    run(&mut pgscript(&["eject", "upgrade.rhai", &dir.display().to_string()])).expect(0, &[]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in upgrade.rhai");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path
}

/// The upgrade as [`upgrade`], from a site's copy.
fn run_edited(stack: &Stack, script: &Path) -> Command {
    run_edited_as(stack, script, &upgrade(stack, &[]))
}

/// The run of another script with the arguments that `shipped`, a run of the shipped one, has.
fn run_edited_as(stack: &Stack, script: &Path, shipped: &Command) -> Command {
    let mut command = stack.pgscript(&[]);
    command.arg("run").arg(script).args(shipped.get_args().skip(2));
    command
}

/// Script text that says `paused` and goes on when [`go_on`] is called.
fn pause(stack: &Stack) -> String {
    format!("ui::say(\"paused\"); while !host::exists(\"{}/go\") {{ host::sleep(0.1); }}", stack.dir.display())
}

fn go_on(stack: &Stack) {
    std::fs::write(stack.dir.join("go"), "").unwrap();
}

/// A container with a client's session in the stack's network; the stack takes it along when it goes.
fn client(stack: &Stack, arguments: &[&str], sql: &str) -> Command {
    let variable = |name: &str| {
        let env = stack.inspect("postgres", "{{range .Config.Env}}{{println .}}{{end}}");
        env.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    };
    let label = format!("pgscript.test.stack={}", stack.name);
    let network = format!("{}_default", stack.name);
    let mut command = Command::new("docker");
    command.args(["run", "--label", &label, "--network", &network, "--entrypoint", "psql", "-e", "PGPASSWORD"]);
    command
        .env("PGPASSWORD", variable("POSTGRES_PASSWORD"))
        .args(["-e", "PGHOST=postgres", "-e", "PGCONNECT_TIMEOUT=3"])
        .args(arguments);
    command.args(["pgscript-test/postgres:17", "-U", "primero", "primero_production", "-c", sql]);
    command
}
