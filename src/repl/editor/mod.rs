//! The line editor of the recovery shell.

pub mod scan;
