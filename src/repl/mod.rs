pub mod help;
pub mod save;
pub mod show;
