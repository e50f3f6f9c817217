//! What a script would do now: it is run in a simulated world that was captured from the live one, which is only looked
//! at.
//!
//! [`Plan`] is plain data, and can be kept; [`make`] makes it; [`course`] is who writes down what happens; [`moved`]
//! tells whether the world is still the one that a plan was made for; [`text`] puts it into words.

pub mod course;
pub mod make;
pub mod moved;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use make::make;

use crate::script::parameters::Given;
use crate::world::Kind;

/// Changes where a plan of an older program can't be read any more.
pub const VERSION: u32 = 1;

/// What a script would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    /// RFC 3339.
    pub made_at: String,
    /// As the operator named it.
    pub script: String,
    /// What the plan rests on.
    pub basis: Basis,
    /// Without secrets.
    pub given: Given,
    /// All parameters of the script; `None` for a secret.
    pub parameters: BTreeMap<String, Option<Value>>,
    /// In the order in which they begin.
    pub steps: Vec<Step>,
    /// From where on the application has no server, if it is without one at any time.
    pub outage: Option<Outage>,
    /// What runs now and does not run at some time.
    pub stopped: Vec<String>,
    /// What is left of the data of now when the script is done, beside what is in use.
    pub kept: Vec<String>,
    pub questions: Vec<Question>,
    pub warnings: Vec<String>,
    /// What could not be known, and is taken for granted: a sentence each.
    pub assumed: Vec<String>,
    /// By what the times are told.
    pub times_by: String,
    /// Why the script would not come to its end.
    pub failure: Option<Failure>,
}

/// A step, with the steps inside it each on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// As the journal names it: `back up the volume / copy`.
    pub path: String,
    pub seconds: f64,
    pub effects: Vec<Effect>,
}

/// A change of the outside world.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// What an operator would type for it.
    pub command: String,
    /// Where all of the data is before and after it, in a form that a power cut would leave.
    pub copies_before: Vec<String>,
    pub copies_after: Vec<String>,
    /// Bytes that are read, and by how many more is stored.
    pub reads: u64,
    pub writes: u64,
    pub seconds: f64,
    /// Containers that run before it and not after it, and the other way round.
    pub stops: Vec<String>,
    pub starts: Vec<String>,
}

/// The time without an application that reaches its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// Steps in which it begins and ends; the latter is `None` where it does not end.
    pub from: String,
    pub to: Option<String>,
    pub seconds: f64,
}

/// Something that the operator will be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The step in which it is asked; empty outside of all.
    pub step: String,
    pub text: String,
    /// Whether it is before the application is stopped.
    pub is_before_outage: bool,
}

/// Why a script does not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    /// Empty outside of all.
    pub step: String,
    /// By which the program ends; not kept.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

/// What a plan rests on: where any of it is otherwise, something else would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    pub engine: String,
    /// By name.
    pub containers: BTreeMap<String, Made>,
    /// Ids of images by the names that are used of them.
    pub images: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
    /// By the names of their servers' containers.
    pub clusters: BTreeMap<String, Cluster>,
    /// SHA-256 of the script (the empty name) and its modules.
    pub sources: BTreeMap<String, String>,
}

/// What a container was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub id: String,
    pub image_id: String,
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub system_identifier: String,
    pub major: u32,
}

impl Plan {
    /// The commands of all effects, in their order.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| &step.effects).map(|effect| effect.command.as_str())
    }
}

#[cfg(test)]
mod tests;
