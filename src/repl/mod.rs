pub mod help;
pub mod show;
