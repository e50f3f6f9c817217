//! What a run writes down while it goes on, and what it asks of what was written before. The journal of
//! [`run`](crate::run) implements [`Record`]; the language knows only this.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evidence::Fact;
use super::parameters::Given;
use super::source::Source;
use crate::world::{Error, Result, World};

/// One thing worth knowing after a crash. A journal line is one of these with a number, a time and a checksum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The first entry: what is run. `docker` is the engine as the operator named it, if at all; `given` what
    /// parameters were given, secrets left out, whether or not the script has asked for them yet.
    Run {
        id: String,
        script: String,
        version: String,
        docker: Option<String>,
        site: PathBuf,
        #[serde(default)]
        given: Given,
    },
    /// An engine has answered, before anything was asked of it: the run belongs to it. `named` is what reaches it as
    /// `--docker`.
    Engine(Engine),
    /// A process takes the run up.
    Process {
        command: Command,
        pid: u32,
        host: String,
    },
    /// A script or module as it is run; its text is the file `frozen` of the run's directory.
    Source {
        id: String,
        name: String,
        origin: String,
        sha256: String,
        frozen: PathBuf,
    },
    /// A parameter's value, the same for the whole run; `None` for a secret.
    Parameter {
        name: String,
        value: Option<Value>,
    },
    /// An answer to a question asked outside a step.
    Answer {
        question: String,
        yes: bool,
    },
    /// A step's body is about to run.
    Started {
        step: String,
    },
    /// What an operator typed in a session: written when it is about to act, or once it has only looked. The step's
    /// name is that of [`by_hand`].
    Input {
        step: String,
        text: String,
        /// RFC 3339.
        typed_at: String,
    },
    /// A primitive is about to act; `command` is what an operator would type for it.
    Effect {
        step: String,
        command: String,
    },
    /// What entry `effect` announced has happened, or failed with `error`.
    Settled {
        effect: u64,
        error: Option<Reason>,
    },
    /// Something was proved, or a proof was lost.
    Fact(Fact),
    /// A step came to its end with this value.
    Done {
        step: String,
        value: Value,
        seconds: f64,
    },
    /// A step's body raised an error.
    Failed {
        step: String,
        error: Reason,
    },
    /// A step failed that may be done later: the run goes on without it.
    LeftOpen {
        step: String,
    },
    /// The operator decided what is to become of a step that was cut off.
    Decided {
        step: String,
        decision: Decision,
    },
    /// The operator allowed one thing to be lost.
    Override {
        loss: String,
    },
    /// What the script tells the operator to type if it fails.
    Recovery {
        text: String,
    },
    /// The run can't be put back from here on, but only brought to its end.
    NoRollback {
        reason: String,
    },
    /// What the script has come to.
    Verdict(Verdict),
    /// From here on steps are put back; `automatic` because a step failed before the commit step.
    GoingBack {
        automatic: bool,
    },
    UndoStarted {
        step: String,
    },
    UndoDone {
        step: String,
    },
    UndoFailed {
        step: String,
        error: Reason,
    },
    /// A process is done with the run.
    Ended {
        outcome: Ending,
        error: Option<Reason>,
        journal_seconds: f64,
    },
    /// The stack is this run's until it is over.
    Locked {
        stack: String,
    },
    /// Run `by` has put back what this one did.
    PutBack {
        by: String,
    },
    /// Run `by` has removed what a rollback needs.
    Cleaned {
        by: String,
    },
}

/// What a script that has looked at a stack says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub ready: bool,
    /// One line that a person can act on.
    pub says: String,
    /// For a monitor, and for later runs: what else the script gives.
    pub details: Value,
}

/// The engine that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub id: String,
    pub host: String,
    /// Its directory there.
    pub root: String,
    pub named: String,
}

/// What a process came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Run,
    Resume,
    Rollback,
    /// An operator works by hand.
    Repl,
}

/// How a process left a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The script came to its end.
    Done,
    /// An error or a cancellation; nothing was put back.
    Failed,
    /// All steps were put back.
    PutBack,
    /// Some steps could not be put back.
    PartlyPutBack,
    /// It was to run one step, and has.
    Stopped,
    /// Its first step was refused: nothing was changed, or is any more.
    Refused,
}

/// An error as far as it is worth keeping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub message: String,
    /// Where a script raised it: the source's id, and the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(String, usize)>,
}

impl From<&Error> for Reason {
    fn from(error: &Error) -> Self {
        Self { code: error.code.clone(), message: error.message.clone(), place: None }
    }
}

/// What the operator says about a step that was cut off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Run it again.
    Retry,
    /// It need not happen; its value is `()`.
    Skip,
    /// It has happened; this is its value.
    Accept(Value),
}

/// What is known of a step from before.
#[derive(Clone, Debug, PartialEq)]
pub enum Past {
    /// Nothing: it is new.
    New,
    /// It came to its end with this value; `changed` when it announced an effect.
    Done { value: Value, changed: bool },
    /// It has to run again: it failed, or was cut off before it announced an effect, or the operator says so.
    Again { changed: bool },
    /// It failed with this error, which the script caught: it went on to other steps.
    Failed { error: Reason, changed: bool },
    /// It was cut off after it had announced an effect, `last`: what became of that is not known.
    Unknown { last: String },
}

impl Past {
    /// Whether the step may have changed something outside.
    pub fn changed(&self) -> bool {
        match self {
            Self::New => false,
            Self::Done { changed, .. } | Self::Again { changed } | Self::Failed { changed, .. } => *changed,
            Self::Unknown { .. } => true,
        }
    }
}

/// What the journal calls the `number`th input of a session. No script's step can be called so.
pub fn by_hand(number: usize) -> String {
    format!("#{number}")
}

/// Whether a step, or the one it stands in, is an input of a session.
pub fn is_by_hand(path: &str) -> bool {
    path.starts_with('#')
}

/// What the journal calls the undo of a step where it says who announced an effect.
pub fn undo_of(step: &str) -> String {
    format!("undo of {step}")
}

/// Keeps what happens, durably: when a method returns, a crash does not take back what it was told.
pub trait Record: Send + Sync {
    /// Writes an entry; gives its number.
    fn write(&self, entry: Entry) -> Result<u64>;

    /// A script (`key` is empty) or module is about to be used. One that was changed since the run has used it is
    /// `run.edited_script`, unless the operator accepts that.
    fn source(&self, key: &str, source: &Source) -> Result<()>;

    /// What is known of the step that is about to begin. A sequence of steps that differs from the recorded one is
    /// `run.changed_sequence`.
    fn past(&self, path: &str) -> Result<Past>;

    /// Whether recorded steps are still to come.
    fn is_behind(&self) -> bool;

    /// The script is at its end: recorded steps that it did not come by are `run.changed_sequence`.
    fn finish(&self) -> Result<()>;

    /// Whether the step has begun steps inside it.
    fn has_inner(&self, path: &str) -> bool;

    /// Whether an earlier process has begun to put steps back.
    fn is_going_back(&self) -> bool;

    /// Whether the step was put back before.
    fn is_undone(&self, path: &str) -> bool;

    /// A script is going to run that was given this. What counts is what was given when the run began, and is on disk
    /// before anything is done: for one that goes on nothing changes.
    fn give(&self, given: Given);

    /// What the operator gave when the run began.
    fn given(&self) -> Given;

    /// The value a parameter had when the run started.
    fn parameter(&self, name: &str) -> Option<Value>;

    /// The answer that was given to this question, once per time it was given.
    fn answer(&self, question: &str) -> Option<bool>;

    /// The run's name, `upgrade-7`, and its private directory; both are made when they are first asked for.
    fn place(&self) -> Result<(String, PathBuf)>;

    /// How many seconds a step of this run took, once it is done.
    fn seconds(&self, path: &str) -> Option<f64>;

    /// Nobody else may work on this stack (a Compose project) until the run is over: on this machine or another one.
    /// `take_over`: a run of this machine that nobody drives any more gives way.
    fn lock(&self, world: &World, stack: &str, take_over: bool) -> Result<()>;

    /// The runs of this machine, oldest first.
    fn runs(&self) -> Result<Vec<Known>>;

    /// All that another run did was put back by this one, so that it is over; `cluster` is the system identifier of
    /// what its database is now, which must be the one that it has dumped.
    fn put_back(&self, run: &str, cluster: &str) -> Result<()>;

    /// The copies that a finished run has made are about to be removed: from now on it can't be rolled back.
    fn forget(&self, run: &str) -> Result<()>;

    /// The newest run that has made the backup or dump at this absolute path.
    fn owner(&self, artefact: &std::path::Path) -> Result<Option<Owner>>;

    /// The newest run that keeps, under this name, a volume that it has put aside.
    fn keeper(&self, volume: &str) -> Result<Option<Owner>>;
}

/// A run of this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Known {
    pub id: String,
    pub script: String,
    /// `running`, `not begun`, `done`, `failed`, `interrupted`, `rolling back`, `rolled back`, `refused`
    /// or `damaged`.
    pub state: String,
    pub directory: PathBuf,
    /// RFC 3339
    pub begun_at: String,
    pub verdict: Option<Verdict>,
}

/// The run that made something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub run: String,
    /// Whether it is this very run.
    pub is_this: bool,
    /// Whether it is over, with nothing to go on with: done, or all put back.
    pub is_over: bool,
    /// Whether another run has brought the stack that it had locked to an end since.
    pub is_superseded: bool,
    /// Whether all of it was put back.
    pub is_rolled_back: bool,
    /// For people: `done`, `failed`, `interrupted` …
    pub state: String,
    /// What it has proved.
    pub facts: Vec<Fact>,
}
