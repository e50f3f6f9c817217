//! Faults: each a test of its own, on real containers. The outcome is a clear message, an exit code, and nothing lost.

mod after;
mod engines;
mod guards;
