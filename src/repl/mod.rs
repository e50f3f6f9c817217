//! The recovery shell: every primitive at hand, inside a half-finished run or beside one, one safe thing at a time.
//!
//! [`shell`] reads inputs, evaluates and shows them; [`bench`] is what an input acts upon; [`api`] are the functions
//! that only a session has, [`commands`] their short forms; [`watch`] is what signals see. Nothing here decides what is
//! safe: the guards do.

pub mod api;
pub mod bench;
pub mod commands;
pub mod edit;
pub mod editor;
pub mod help;
pub mod names;
pub mod save;
pub mod shell;
pub mod show;
mod surroundings;
pub mod watch;
