//! The interactive shell: a script that is typed a line at a time.

pub mod names;
