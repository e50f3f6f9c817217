//! A run as a durable thing: a directory with everything of it, a journal that survives any crash, and the ways on from
//! there.
//!
//! [`store`] knows the runs of this machine, [`journal`] their lines, [`history`] what the lines say. [`recorder`]
//! writes while a script runs and answers what earlier processes of the run have recorded. [`drive`] runs, resumes and
//! rolls back, [`session`] is for work by hand; [`status`] tells a person where a run stands, and [`copies`] where the
//! data is.

pub mod belonging;
pub mod copies;
pub mod drive;
pub mod frozen;
pub mod history;
pub mod instants;
pub mod journal;
pub mod last_word;
pub mod lock;
pub mod log;
pub mod recorder;
pub mod session;
pub mod status;
pub mod store;
pub mod told;
