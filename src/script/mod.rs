//! The language: Rhai with the namespaces of [`api`], parameters, steps, and errors that point into the source.
//!
//! A script runs on a thread of its own ([`engine`]) and reaches the outside only through [`session::Session`].

pub mod api;
pub mod evidence;
pub mod parameters;
pub mod session;
pub mod steps;
