//! All tests of the program from outside. Those of one subject: `cargo test --test all SUBJECT::`.
//!
//! Most want a Docker engine and images of PostgreSQL (`tests/stack`); `make test` sees to that. Those of `simulated`,
//! `drill`, `durable`, `repl` and `language` do without.

mod ansible_programs;
mod chaos;
mod contract;
mod docker_engine;
mod docker_terminal;
mod docker_transports;
mod drill;
mod durable;
mod language;
mod matrix;
mod postgres_clients;
mod procedure;
mod pseudo_terminal;
mod repl;
mod simulated;
mod support;
mod volume_archive;
mod volume_move;

use support::{asked, beside, disk, engine, gate, kept, kills, place, program, ssh, stack, terminal};

/// As the program has it: drills are played by these tests themselves.
#[global_allocator]
static ALLOCATOR: pgscript::allocator::Allocator = pgscript::allocator::Allocator;
