//! Who is connected to a simulated server.

use super::State;

/// A session of somebody else on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub pid: u32,
    pub application_name: String,
    pub client: String,
    pub role: String,
    pub database: String,
    /// Milliseconds since 1970.
    pub since: u64,
}

impl State {
    pub fn sessions(&self, _container: &str) -> Vec<Session> {
        Vec::new()
    }
}
