//! What `pgscript plan` says beforehand is what the run then does; it only looks; and what has moved is seen.

use std::process::Command;

use serde_json::Value;

use crate::gate::Gate;
use crate::procedure::faults::before::Before;
use crate::procedure::upgrades::Held;
use crate::stack::{Run, SMALL, Stack, run};

/// A plan as the last line of `--format json` gives it.
fn plan_of(stack: &Stack, run_command: &Command) -> Value {
    let said = planned(stack, run_command, &[]).expect(0, &[]);
    let line = said.text.lines().rfind(|line| line.starts_with("{\"event\":\"plan\"")).unwrap().to_owned();
    serde_json::from_str(&line).unwrap()
}

/// `pgscript plan` of what a command line of `run` would run.
fn planned(stack: &Stack, run_command: &Command, args: &[&str]) -> Run {
    let given = run_command.get_args().skip(1).map(|arg| arg.to_str().unwrap());
    let mut plan = stack.pgscript(&["plan"]);
    plan.args(given).args(args).args(["--format", "json"]);
    for (name, value) in run_command.get_envs() {
        match value {
            Some(value) => plan.env(name, value),
            None => plan.env_remove(name),
        };
    }
    run(&mut plan)
}

/// The upgrade as `tests/stack/demo.sh` runs it: Ansible, every check, and what a parameter is by default.
fn demonstrated(stack: &Stack, strategy: &str) -> Command {
    let mut command = stack.pgscript(&["run", "upgrade.rhai"]);
    let ansible = format!("ansible_dir={}/ansible", stack.dir.display());
    let limit = format!("ansible_limit={}", stack.name);
    for set in ["to=15", strategy, &ansible, "ansible_inventory=inventory.yml", &limit, "ansible_virtualenv=venv"] {
        command.args(["--set", set]);
    }
    command
}

fn commands(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    let effects = steps.flat_map(|step| step["effects"].as_array().unwrap());
    effects.map(|effect| alike(effect["command"].as_str().unwrap())).collect()
}

/// The effects of the run, as its journal has them.
fn effects(stack: &Stack) -> Vec<String> {
    let journal = std::fs::read_to_string(stack.base.join("upgrade-1/journal.jsonl")).unwrap();
    let entries = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let effects = entries.filter(|entry| entry["entry"] == "effect");
    effects.map(|effect| alike(effect["command"].as_str().unwrap())).collect()
}

/// Databases are gone through by their sizes on the new server, which nobody knows before.
fn alike(command: &str) -> String {
    let Some((head, databases)) = command.split_once(" psql -X -d ").filter(|_| command.ends_with(" sessions)")) else {
        return command.to_owned();
    };
    let (list, end) = databases.rsplit_once(" (").unwrap();
    let mut names: Vec<_> = list.split(", ").collect();
    names.sort_unstable();
    format!("{head} psql -X -d {} ({end}", names.join(", "))
}

/// As much data as the demo has, where there is time for it.
const SEED: &[&str] = if cfg!(feature = "full-matrix") { &["--seed", "gb:4"] } else { SMALL };

fn is_what_the_run_does(strategy: &str) {
    let stack = Stack::with(13, SEED);
    // Where it has been at work while the server was held, that server is asked what it did; nobody knows beforehand.
    stack.sql("postgres", "ALTER SYSTEM SET autovacuum = off");
    stack.sql("postgres", "SELECT pg_reload_conf()");
    let before = Held::by(&stack);
    let mut command = demonstrated(&stack, strategy);
    let plan = plan_of(&stack, &command);
    assert_eq!(plan["failure"], Value::Null);
    let steps: Vec<_> = plan["steps"].as_array().unwrap().iter().map(|step| step["path"].as_str().unwrap()).collect();
    assert!(steps.iter().any(|path| path.starts_with("start the backup")), "{steps:?}");
    let done = run(&mut command);
    let effects = effects(&stack);
    let done = before.goes_on(13, 15, done);
    assert!(!done.text.contains("switched off"), "a check was left out:\n{}", done.text);
    let (planned, done) = (commands(&plan), effects);
    let first = planned.iter().zip(&done).position(|(planned, done)| planned != done);
    let shown = first.map(|at| (&planned[at], &done[at]));
    assert_eq!((shown, planned.len()), (None, done.len()), "{planned:#?}\n{done:#?}");
}

#[test]
fn from_13_to_15_by_a_dump_the_run_has_the_effects_of_its_plan_in_their_order() {
    is_what_the_run_does("strategy=dump");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn from_13_to_15_by_a_copy_the_run_has_the_effects_of_its_plan_in_their_order() {
    is_what_the_run_does("strategy=pg_upgrade");
}

/// Methods and paths of all requests; a body ends where the next one begins.
fn requests(asked: &str) -> Vec<(&str, &str)> {
    const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    let heads = asked.split(" HTTP/1.1\r\n").filter_map(|before| before.rsplit_once(' '));
    heads
        .filter_map(|(before, path)| Some((METHODS.into_iter().find(|method| before.ends_with(method))?, path)))
        .filter(|(_, path)| path.starts_with('/'))
        .collect()
}

#[test]
fn a_plan_asks_and_changes_nothing() {
    let gate = Gate::opened();
    let mut stack = Stack::up(13);
    let before = Before::containers_of(&stack);
    stack.engine = Some(gate.url());
    gate.asked();
    plan_of(&stack, &stack.upgrade_command(15, &[]));
    let asked = gate.asked();
    stack.engine = None;
    let requests = requests(&asked);
    assert!(requests.len() > 10 && asked.matches(" HTTP/1.1\r\n").count() == requests.len(), "{requests:?}");
    for (method, path) in requests {
        let is_exec = path.ends_with("/exec") || path.contains("/exec/") && path.ends_with("/start");
        assert!(["GET", "HEAD"].contains(&method) || method == "POST" && is_exec, "{method} {path}");
    }
    let programs: Vec<_> = asked.split("\"Cmd\":[").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    assert!(!programs.is_empty());
    for program in programs {
        let is_question = ["\"psql\",", "\"postgres\",\"--version\"", "\"cat\","].iter().any(|q| program.contains(q));
        assert!(is_question, "{program}");
    }
    for session in asked.split("PGOPTIONS=").skip(1) {
        let options = session.split('"').next().unwrap();
        assert!(options.contains("default_transaction_read_only=on"), "{options}");
    }
    assert!(!asked.to_uppercase().contains("READ WRITE"), "a transaction writes");
    before.is_untouched(&stack);
    assert!(!stack.base.exists() || std::fs::read_dir(&stack.base).unwrap().count() == 0, "a run was begun");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_kept_plan_is_run_only_while_the_world_is_as_it_was() {
    let stack = Stack::up(13);
    let file = stack.dir.join("plan.json").display().to_string();
    planned(&stack, &stack.upgrade_command(15, &[]), &["--out", &file]).expect(0, &[]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = |args: &[&str]| run(&mut stack.upgrade_command(15, &[&["--plan", &file], args].concat()));
    again(&["--set", "jobs=1"]).expect(3, &["error[plan.other_parameters]", "jobs is 1, and was planned with 2"]);
    let worker = stack.container("worker");
    let name = stack.docker(&["inspect", "--format", "{{.Name}}", &worker]);
    stack.docker(&["stop", &worker]);
    again(&[])
        .expect(3, &["error[plan.world_moved]", &format!("container {} is exited", name.trim_start_matches('/'))]);
    stack.docker(&["start", &worker]);
    let database = stack.container("postgres");
    stack.stack("deploy", &[]);
    assert_ne!(stack.container("postgres"), database);
    again(&[]).expect(3, &["error[plan.world_moved]", "-postgres-1 was created again"]);
    assert_eq!(stack.major(), "13");
    planned(&stack, &stack.upgrade_command(15, &[]), &["--out", &format!("{file}.new")]).expect(0, &[]);
    let mut run_it = stack.pgscript(&["run", "--plan", &format!("{file}.new")]);
    run(&mut run_it).expect(0, &["runs on PostgreSQL 15"]);
}
