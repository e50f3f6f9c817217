//! Whether whom we connect as may do what we do: set what a session of ours has, and read all of a cluster.

use super::Clients;
use super::client::{Call, Client};
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Server};
use crate::world::session::Purpose;

/// What a server says to a role that is no superuser when it begins a session of ours.
const FORBIDDEN: &str = "permission denied to set parameter";

/// Names the cause of an error that comes of a role's missing rights; another one stays as it is.
pub fn explain(clients: &Clients, server: &Server, error: Error) -> Error {
    if error.code != "psql.failed" || !error.message.contains(FORBIDDEN) {
        return error;
    }
    match superusers(clients, server) {
        // Then a statement is about another role.
        Ok(names) if names.contains(&server.user) => error,
        names => refusal(server, &names.unwrap_or_default()),
    }
}

/// The role is no superuser.
pub fn is_none(clients: &Clients, server: &Server) -> Error {
    refusal(server, &superusers(clients, server).unwrap_or_default())
}

fn refusal(server: &Server, superusers: &[String]) -> Error {
    let message = format!(
        "role {} is no superuser of {}, and pgscript must read all of the cluster, which only a superuser may",
        server.user, server.container_name
    );
    let known = if superusers.is_empty() { String::new() } else { format!(" ({})", superusers.join(", ")) };
    Error::refused("postgres.not_superuser", message).hint(format!("name a superuser{known}: --set user=ROLE"))
}

/// The superusers that can log in, asked by a session in which nothing is set that needs one.
fn superusers(clients: &Clients, server: &Server) -> Result<Vec<String>> {
    let sql = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin ORDER BY rolname";
    let argv = ["psql", "-X", "-q", "-A", "-t", "--no-password", "-c", sql];
    let call = Call::new(&argv, Some(ANY_DATABASE)).purpose(Purpose::Application);
    let answer = Client::inside(clients, server).output(call)?;
    Ok(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superusers_are_named_where_they_are_known() {
        let server = Server {
            container: "c".into(),
            container_name: "primero-postgres-1".into(),
            user: "primero".into(),
            password: None,
            database: "primero".into(),
            is_database_chosen: false,
        };
        let hint = |names: &[String]| refusal(&server, names).hint.unwrap();
        assert_eq!(hint(&[]), "name a superuser: --set user=ROLE");
        assert_eq!(hint(&["dba".into(), "postgres".into()]), "name a superuser (dba, postgres): --set user=ROLE");
        assert!(refusal(&server, &[]).message.starts_with("role primero is no superuser of primero-postgres-1"));
    }
}
