//! What a run tells whoever listens. The rooms below emit events; `ui` shows them and decides nothing.

use serde::Serialize;

/// The origin of what the program itself carries; anything else is a path.
pub const BUILT_IN: &str = "built in";

/// One thing that happened. Serialised as one JSON line under `--format json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins: the script, where it was found, and its parameters (secrets as dots).
    RunStarted {
        script: String,
        origin: String,
        parameters: serde_json::Value,
    },
    /// What happens from here on is kept in this directory; `run` is the name to give to `status`, `resume`,
    /// `rollback`.
    RunKept {
        run: String,
        directory: String,
    },
    /// A run ended well; `seconds` of wall time.
    RunDone {
        script: String,
        seconds: f64,
    },
    /// A rollback ended well: everything is as it was before the run.
    RunPutBack {
        script: String,
        seconds: f64,
    },
    /// A run ended badly. `failure` holds the error (`code`, `message`, `hint`, `file`, `line`, `column`, `chain`),
    /// the `step` it happened in, the `aftermath` (what was put back) and the `recovery` to type next.
    RunFailed {
        script: String,
        seconds: f64,
        exit_code: u8,
        failure: serde_json::Value,
    },
    /// A module or script was taken from `origin` ("built in" or a path).
    Loaded {
        module: String,
        origin: String,
    },
    StepStarted {
        path: String,
    },
    StepDone {
        path: String,
        seconds: f64,
    },
    /// The step was finished by an earlier process of this run; it does not run again.
    StepReplayed {
        path: String,
    },
    StepFailed {
        path: String,
        seconds: f64,
        code: String,
        message: String,
    },
    UndoStarted {
        path: String,
    },
    UndoDone {
        path: String,
    },
    UndoFailed {
        path: String,
        message: String,
    },
    /// A mutating primitive is about to act; `command` is what an operator would type for it.
    Effect {
        command: String,
    },
    Say {
        text: String,
    },
    Warn {
        text: String,
    },
    /// A table for people; the same rows for machines.
    Table {
        title: String,
        columns: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// What the script has come to: whether all is ready, the line that says so, and more for machines.
    Verdict {
        ready: bool,
        says: String,
        details: serde_json::Value,
    },
    /// One line of a child's or container's output, as it comes.
    Output {
        source: String,
        line: String,
    },
    /// A long stream moves on; `done` and `total` in `unit` ("bytes", "tables"). `finished` closes it.
    Progress {
        id: u64,
        label: String,
        unit: &'static str,
        done: u64,
        total: Option<u64>,
        finished: bool,
    },
}

/// Hears events; must not block for long.
pub trait Listener: Send + Sync {
    fn hear(&self, event: &Event);
}

/// Nobody listens (tests, `check`).
pub struct Silent;

impl Listener for Silent {
    fn hear(&self, _: &Event) {}
}
