//! The shipped procedures on real stacks: a Docker engine, PostgreSQL servers, a real playbook.
//!
//! `tests/stack/engine.sh ensure` and `tests/stack/images.sh 13 15 17 18` must have run; `make test` does that.
//! What is left to `make test-full` has a twin in `make test`: in the simulated world (`tests/simulated`,
//! `tests/drill`), or of the one function that it is about (`tests/postgres_clients`, `tests/docker_engine`,
//! `tests/volume_move`).

mod adapting;
pub mod faults;
mod plan;
mod recovery;
mod rehearsal;
mod upgrades;
