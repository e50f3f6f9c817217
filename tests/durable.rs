//! Durable runs as an operator meets them, without an engine: the program is killed, its journal damaged, its scripts
//! edited, its disk filled; then it is resumed or rolled back. The scripts change files of a directory of their own.

mod back;
mod closed;
mod edited;
mod journal;
mod kept;
mod kills;
mod menu;
mod processes;
mod secrets;
mod told;
mod unknown;
mod verdicts;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::*;
