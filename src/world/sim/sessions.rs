//! Who is connected to a server: the application, as long as it runs, reaches the server and is let in.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::State;
use super::cluster::{Auth, Cluster, Password};
use super::state::{Container, ImageKind};
use crate::world::container::{LABEL_PROJECT, LABEL_SERVICE};

/// A session of somebody else on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub pid: u32,
    pub application_name: String,
    /// Address and port it comes from; the container that it is of.
    pub client: String,
    pub port: u16,
    pub container: String,
    /// The server's own address on that way.
    pub server: String,
    pub role: String,
    pub database: String,
    /// Milliseconds since 1970.
    pub since: u64,
}

/// Where an application says whom it calls; a name of the server in a network.
const HOSTS: [&str; 3] = ["POSTGRES_HOSTNAME", "POSTGRES_HOST", "PGHOST"];

impl State {
    /// The application's sessions on the server of a container: one of each container of an application that is of the
    /// same Compose project, shares a network with the server, and is let in.
    pub fn sessions(&self, container: &str) -> Vec<Session> {
        let Some(server) = self.container(container).filter(|c| self.runs_server(c)) else { return Vec::new() };
        let clients = self.containers().filter(|c| self.is_application(c));
        clients.filter_map(|client| self.session(client, server)).collect()
    }

    fn is_application(&self, container: &Container) -> bool {
        let is_its_image = |c: &Container| self.image(&c.image_id).is_some_and(|i| i.kind == ImageKind::Application);
        container.state == "running" && container.runs_own_script() && is_its_image(container)
    }

    fn session(&self, client: &Container, server: &Container) -> Option<Session> {
        let project = |c: &Container| c.labels.get(LABEL_PROJECT).cloned();
        if client.id == server.id || project(client).is_none() || project(client) != project(server) {
            return None;
        }
        let (from, to, aliases) = meeting(client, server)?;
        let host = HOSTS.iter().find_map(|name| client.variable(name));
        let is_called = |host: &str| host == server.name || host == to || aliases.iter().any(|alias| alias == host);
        if !host.is_none_or(is_called) {
            return None;
        }
        let value = |name| client.variable(name).or_else(|| server.variable(name));
        let role = value("POSTGRES_USER").unwrap_or("postgres");
        let database = value("POSTGRES_DB").or(value("POSTGRES_DATABASE")).unwrap_or(role);
        let cluster = self.cluster(&server.id)?;
        if !cluster.lets_in(role, value("POSTGRES_PASSWORD").unwrap_or_default(), database) || cluster.follows.is_some()
        {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (&client.id, client.started_at, server.started_at).hash(&mut hasher);
        let number = hasher.finish();
        Some(Session {
            pid: 100 + (number % 30_000) as u32,
            application_name: client.labels.get(LABEL_SERVICE).unwrap_or(&client.name).clone(),
            client: from.to_owned(),
            port: 32_768 + (number / 30_000 % 28_000) as u16,
            container: client.id.clone(),
            server: to.to_owned(),
            role: role.to_owned(),
            database: database.to_owned(),
            since: client.started_at.max(server.started_at),
        })
    }
}

/// The first network that both are in: the client's address there, the server's, and the server's names.
fn meeting<'c>(client: &'c Container, server: &'c Container) -> Option<(&'c str, &'c str, &'c [String])> {
    let pairs = server.networks.iter().flat_map(|to| client.networks.iter().map(move |from| (from, to)));
    let mut shared = pairs.filter(|(from, to)| from.network == to.network && !from.ip.is_empty() && !to.ip.is_empty());
    shared.next().map(|(from, to)| (from.ip.as_str(), to.ip.as_str(), to.aliases.as_slice()))
}

impl Container {
    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Cluster {
    /// Whether a role logs in over the network, from another address than 127.0.0.1.
    pub fn lets_in(&self, role: &str, password: &str, database: &str) -> bool {
        let Some(role) = self.roles.get(role).filter(|role| role.can_login) else { return false };
        let is_it = match (self.auth, &role.password) {
            (Auth::Trust, _) => true,
            (Auth::Md5, Some(Password::Md5(own) | Password::Scram(own))) => own == password,
            (Auth::Scram, Some(Password::Scram(own))) => own == password,
            _ => false,
        };
        is_it && self.databases.contains_key(database)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference;

    const SERVER: &str = "primero-postgres-1";

    #[test]
    fn a_session_is_the_same_as_long_as_both_run() {
        let mut state = reference(17);
        let first = state.sessions(SERVER);
        assert_eq!(first.iter().map(|s| s.role.as_str()).collect::<Vec<_>>(), ["primero"; 2]);
        assert!(first.iter().all(|s| s.database == "primero_production" && s.client.starts_with("172.18.0.")));
        state.pass(5000);
        assert_eq!(state.sessions(SERVER), first);
        state.stop(SERVER).unwrap();
        assert_eq!(state.sessions(SERVER), []);
        state.start(SERVER).unwrap();
        assert!(state.sessions(SERVER).iter().all(|s| !first.iter().any(|f| (f.pid, f.since) == (s.pid, s.since))));
    }

    #[test]
    fn whoever_has_another_password_or_none_that_serves_is_not_let_in() {
        use super::super::cluster::{Auth, Password};
        let mut state = reference(13);
        state.cluster_mut(SERVER).unwrap().auth = Auth::Scram;
        assert_eq!(state.sessions(SERVER), [], "an md5 hash is no SCRAM verifier");
        let set = |state: &mut super::State, password| {
            state.cluster_mut(SERVER).unwrap().roles.get_mut("primero").unwrap().password = Some(password);
        };
        set(&mut state, Password::Scram("primero-secret".into()));
        assert_eq!(state.sessions(SERVER).len(), 2);
        set(&mut state, Password::Scram("another".into()));
        assert_eq!(state.sessions(SERVER), []);
        state.cluster_mut(SERVER).unwrap().auth = Auth::Trust;
        assert_eq!(state.sessions(SERVER).len(), 2);
        state.cluster_mut(SERVER).unwrap().databases.remove("primero_production");
        assert_eq!(state.sessions(SERVER), []);
    }
}
