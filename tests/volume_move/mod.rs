//! Volumes as a whole against a real engine: moved, cloned, kept; as the machine's own engine and as one elsewhere.
//!
//! Needs a Docker engine on this machine, root, and an image of PostgreSQL; without them the tests say so and pass.

mod bench;
mod cloning;
mod engines;
mod moving;
mod scripts;
