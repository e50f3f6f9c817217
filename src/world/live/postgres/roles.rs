//! Passwords and logins of roles.

use postgres_protocol::password::scram_sha_256;

use super::client::{Call, Client};
use super::messages::login_refused;
use super::{Clients, rows};
use crate::world::container::Streams;
use crate::world::error::{Error, Result};
use crate::world::live::lines::Lines;
use crate::world::postgres::{ANY_DATABASE, Binding, Server};
use crate::world::secret::Secret;
use crate::world::session::Purpose;

/// The verifier is computed here: the clear text never leaves this process. Even the verifier is kept out of the
/// server's log and of `pg_stat_activity` as far as a session can.
pub fn set_password(clients: &Clients, server: &Server, role: &str, password: &Secret) -> Result<()> {
    if password.reveal().is_empty() || password.reveal().contains('\0') {
        return Err(Error::usage("psql.bad_value", format!("the password of {role} is empty or has a NUL character")));
    }
    let verifier = scram_sha_256(password.reveal().as_bytes());
    let bindings = [binding("role", role), binding("verifier", &verifier)];
    let sql = "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
               SET log_min_error_statement = 'panic';\n\
               ALTER ROLE :\"role\" PASSWORD :'verifier';";
    rows::execute(&Client::inside(clients, server), ANY_DATABASE, sql, &bindings).map(|_| ())
}

/// A login as the application does it: by the container's own address, so that the rule for other hosts applies and
/// not the one that trusts 127.0.0.1.
pub fn login(clients: &Clients, server: &Server, role: &str, password: &Secret, database: &str) -> Result<()> {
    let container = clients.containers.container(&server.container)?;
    let Some(address) = container.networks.iter().map(|n| n.ip.as_str()).find(|ip| !ip.is_empty()) else {
        let message = format!("{} has no address of its own in a network, so a login proves nothing", container.name);
        return Err(Error::failed("postgres.no_address", message).hint("connect the container to a network first"));
    };
    let client = Client::inside(clients, server);
    let argv = ["psql", "-X", "-q", "-A", "-t", "--no-password", "-c", "SELECT 1"];
    let mut call = Call::new(&argv, Some(database)).purpose(Purpose::Application);
    let password = format!("PGPASSWORD={}", password.reveal());
    call.env.extend([format!("PGHOST={address}"), format!("PGUSER={role}"), password]);
    let (mut answer, mut said) = (rows::Collected::default(), String::new());
    let mut stderr = Lines::new(&clients.context.redactor, |line: &str| said = format!("{said}{line}\n"));
    let streams = Streams { stdin: None, stdout: Some(&mut answer), stderr: Some(&mut stderr) };
    let ended = client.exec(call, streams);
    stderr.finish();
    if ended? == 0 && answer.0.starts_with(b"1") {
        return Ok(());
    }
    let refused = login_refused(&said).is_some();
    let message = format!("{role} cannot log in to {} by {address}: {}", container.name, said.trim());
    let error = Error::failed("postgres.login_refused", message);
    Err(match refused.then(|| md5_only(clients, server, role)).flatten() {
        Some(hint) => error.hint(hint),
        None => error.hint("check the role, its password, the database and the rules in pg_hba.conf"),
    })
}

/// The trap of dumps from before 14: the md5 hash came along, and `scram-sha-256` refuses it.
fn md5_only(clients: &Clients, server: &Server, role: &str) -> Option<String> {
    let sql = "SELECT rolpassword LIKE 'md5%' AS md5 FROM pg_catalog.pg_authid WHERE rolname = :'role'";
    let rows = rows::query(&Client::inside(clients, server), ANY_DATABASE, sql, &[binding("role", role)]).ok()?;
    let md5 = rows.first()?.get("md5")?.as_bool()?;
    md5.then(|| {
        format!(
            "{role} has an md5 password hash, which a scram-sha-256 rule refuses: set the password anew \
             (psql::set_password)"
        )
    })
}

pub fn binding(name: &str, value: &str) -> Binding {
    Binding { name: name.into(), value: value.into() }
}
