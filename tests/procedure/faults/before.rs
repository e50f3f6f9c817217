//! A stack as it was before a run, to be compared with what the run left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stack::Stack;

/// The containers of a stack, and what its databases hold.
pub struct Before {
    /// Identity and start of each container by service.
    lives: BTreeMap<String, String>,
    /// What an operator would see of each.
    looks: BTreeMap<String, Value>,
    /// `None` where the data does not matter.
    content: Option<BTreeMap<String, String>>,
    heartbeats: u64,
}

impl Before {
    /// Of a stack with data.
    pub fn of(stack: &Stack) -> Self {
        let (lives, looks) = containers(stack);
        Self { lives, looks, content: Some(stack.content()), heartbeats: stack.heartbeats() }
    }

    /// Of a stack whose data the fault does not come near.
    pub fn containers_of(stack: &Stack) -> Self {
        let (lives, looks) = containers(stack);
        Self { lives, looks, content: None, heartbeats: 0 }
    }

    /// No container was stopped, started, removed or changed, and nothing was left.
    #[track_caller]
    pub fn is_untouched(&self, stack: &Stack) {
        let (lives, looks) = containers(stack);
        assert_eq!(looks, self.looks);
        assert_eq!(lives, self.lives, "a container was restarted or replaced");
        nothing_left(stack);
    }

    /// The same after a rehearsal, which makes volumes of its own and follows the server for a while.
    #[track_caller]
    pub fn is_without_a_trace(&self, stack: &Stack) {
        self.is_untouched(stack);
        assert_eq!(stack.kept_volumes(), Vec::<String>::new());
        assert_eq!(stack.sql("primero_production", "SELECT count(*) FROM pg_replication_slots"), "0");
    }

    /// The old server runs with all its data, everybody who ran does so again, and the application writes.
    #[track_caller]
    pub fn is_back(&self, stack: &Stack) {
        assert_eq!(containers(stack).1, self.looks);
        if self.looks.values().all(|c| c["running"] == true) {
            stack.writes();
        }
        if let Some(content) = &self.content {
            assert_eq!(&stack.content(), content);
        }
        assert!(stack.heartbeats() >= self.heartbeats, "heartbeats were lost");
        nothing_left(stack);
    }
}

/// No helper, no lock, and no file with records.
#[track_caller]
fn nothing_left(stack: &Stack) {
    stack.no_helpers_left();
    // Journal, log and scripts of a run hold nothing of the data, nor do catalogs that a rehearsal has seen.
    let is_harmless = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        ["journal.jsonl", "log.jsonl", "lock", "seen.json"].contains(&name) || name.ends_with(".rhai")
    };
    let left: Vec<_> = walk(&stack.base).into_iter().filter(|path| !is_harmless(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Files at any depth.
pub fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn containers(stack: &Stack) -> (BTreeMap<String, String>, BTreeMap<String, Value>) {
    let ids = stack.docker(&["ps", "-aq", "--filter", &format!("label=com.docker.compose.project={}", stack.name)]);
    let arguments: Vec<_> = ["inspect"].into_iter().chain(ids.lines()).collect();
    let all: Vec<Value> = serde_json::from_str(&stack.docker(&arguments)).unwrap();
    let service = |c: &Value| c["Config"]["Labels"]["com.docker.compose.service"].as_str().unwrap().to_owned();
    let life = |c: &Value| format!("{} {}", c["Id"], c["State"]["StartedAt"]);
    (all.iter().map(|c| (service(c), life(c))).collect(), all.iter().map(|c| (service(c), looks(c))).collect())
}

fn looks(container: &Value) -> Value {
    let networks: BTreeMap<_, Vec<_>> = container["NetworkSettings"]["Networks"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, network)| (name, aliases(network)))
        .collect();
    let config = &container["Config"];
    let mut mounts: Vec<_> = container["Mounts"].as_array().into_iter().flatten().map(mount).collect();
    // The engine's order changes from one look to the next.
    mounts.sort_by_key(Value::to_string);
    json!({
        "name": container["Name"],
        "image": config["Image"],
        "labels": config["Labels"],
        "environment": config["Env"],
        "command": config["Cmd"],
        "running": container["State"]["Running"],
        "restart policy": container["HostConfig"]["RestartPolicy"],
        "logs": container["HostConfig"]["LogConfig"],
        "mounts": mounts,
        "networks": networks,
    })
}

fn mount(mount: &Value) -> Value {
    json!([mount["Type"], mount["Name"], mount["Destination"], mount["RW"]])
}

/// Without the id's beginning, which the engine adds and a new container has anew.
fn aliases(network: &Value) -> Vec<String> {
    let is_id = |alias: &str| alias.len() == 12 && alias.bytes().all(|b| b.is_ascii_hexdigit());
    let all = network["Aliases"].as_array().cloned().unwrap_or_default();
    let mut named: Vec<_> = all.iter().filter_map(|a| a.as_str()).filter(|a| !is_id(a)).map(str::to_owned).collect();
    named.sort();
    named.dedup();
    named
}
