//! The language: Rhai with the namespaces of [`api`], parameters, steps, and errors that point into the source.
//!
//! A script runs on a thread of its own ([`execute`]) and reaches the outside only through [`session::Session`].

pub mod api;
pub mod artefacts;
pub mod captured;
pub mod changes;
pub mod check;
pub mod describe;
pub mod durability;
pub mod ejected;
pub mod engine;
pub mod errors;
pub mod evidence;
pub mod execute;
pub mod flow;
pub mod guards;
pub mod handles;
pub mod hints;
pub mod interactive;
pub mod ledger;
pub mod loader;
pub mod mutation;
pub mod outdated;
pub mod parameters;
pub mod record;
pub mod session;
pub mod shipped;
pub mod source;
pub mod steps;
pub mod tree;
pub mod verdict;
pub mod witness;
