//! Scripts in a simulated world: the program lives there as it lives in the real one, is killed, and is taken up again.
//!
//! A [`Life`] is one process of it, from its start to its end. [`instants`] numbers all moments of a life at which
//! something can happen to it: around each change of the world, and around each line of the journal.

pub mod api;
pub mod drill;
pub mod finding;
pub mod history;
pub mod instants;
pub mod invariants;
pub mod life;
pub mod others;
pub mod random;
pub mod testing;
pub mod theatre;

pub use history::{Aim, End, Expected, Failed, History, Planned, Played, Scene};
pub use instants::{Act, At, Course, Moment, When};
pub use invariants::{Broken, Shape};
pub use life::{Ended, Life, Stage, Way};
pub use theatre::Theatre;
