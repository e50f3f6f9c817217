//! pgscript: takes a Dockerised PostgreSQL across a major version, by a script you can read and edit.
//!
//! `cli` is what the operator types, `repl` the recovery shell; they use `run` (a run as a durable thing), which uses
//! `script` (the language), which uses `world` (everything outside the process). `event` carries what happens to `ui`,
//! which shows it. `practice` and `plan` run scripts in simulated worlds. See `docs/architecture.md`.

pub mod allocator;
pub mod cli;
pub mod event;
pub mod plan;
pub mod planted;
pub mod practice;
pub mod repl;
pub mod run;
pub mod script;
pub mod ui;
pub mod world;
