//! What tests of several subjects have in common.

pub mod asked;
pub mod beside;
pub mod disk;
pub mod engine;
pub mod gate;
pub mod kept;
pub mod kills;
pub mod place;
pub mod program;
pub mod ssh;
pub mod stack;
pub mod terminal;
