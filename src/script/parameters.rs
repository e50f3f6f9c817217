//! Parameters of a script.
/// To be filled by the language part.
#[derive(Default)]
pub struct Parameters;
