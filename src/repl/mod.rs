//! The recovery shell: an operator types the language of the scripts at a prompt.
//!
//! `editor` is the line editor: it knows the language and what a [`editor::Surroundings`] tells it, not runs or journals.

pub mod editor;
