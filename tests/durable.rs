//! Durable runs as an operator meets them, without an engine: the program is killed, its journal damaged, its scripts
//! edited, its disk filled; then it is resumed or rolled back. The scripts change files of a directory of their own.

#[path = "durable/back.rs"]
mod back;
#[path = "durable/closed.rs"]
mod closed;
#[path = "durable/edited.rs"]
mod edited;
#[path = "durable/journal.rs"]
mod journal;
#[path = "durable/kept.rs"]
mod kept;
#[path = "durable/kills.rs"]
mod kills;
#[path = "durable/menu.rs"]
mod menu;
#[path = "place/mod.rs"]
mod place;
#[path = "durable/processes.rs"]
mod processes;
#[path = "durable/secrets.rs"]
mod secrets;
#[path = "terminal/mod.rs"]
mod terminal;
#[path = "durable/told.rs"]
mod told;
#[path = "durable/unknown.rs"]
mod unknown;
#[path = "durable/verdicts.rs"]
mod verdicts;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use place::*;
