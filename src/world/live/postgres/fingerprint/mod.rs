//! Looking at everything a cluster holds: its catalogs by [`catalogs`], its rows by [`tables`]; [`definitions`] has
//! SQL text read and written by a server. All of a database is of one snapshot, however many sessions look at it.

mod catalogs;
mod damage;
mod definitions;
mod gathered;
mod tables;

pub use definitions::written;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::{Clients, ready};
use crate::world::content::{Content, Facts, Level, Name, Objects};
use crate::world::error::{Error, Result};
use crate::world::live::postgres::talk::Talk;
use crate::world::postgres::Server;
use tables::Round;

/// From here on a server has all that the catalogs and hashes are read with. Of older ones rows are counted.
const READABLE: u32 = 12;

/// Everything in the cluster at this level, asked over the server's own socket; `jobs` sessions read a large database.
pub fn collect(clients: &Clients, server: &Server, level: Level, jobs: usize) -> Result<Content> {
    let begun = Instant::now();
    let (version, reachable) = ready::reach(clients, server)?;
    let client = Client::inside(clients, server);
    let level = if version.major >= READABLE { level } else { level.min(Level::Counts) };
    let round = Round { client: &client, server_major: version.major, level, jobs: jobs.max(1), begun };
    let mut database = None;
    let looked = std::thread::scope(|scope| {
        // One psql goes from database to database: what most of them cost is a process.
        let talk = Talk::open(scope, round.session(&reachable));
        let mut look = || {
            let cluster = Cluster::ask(&talk, &round, &reachable)?;
            let mut databases = Vec::new();
            for name in &cluster.names {
                database = Some(name.clone());
                databases.push(round.database(&talk, name)?);
            }
            Ok((cluster, databases))
        };
        let outcome = look();
        talk.end(outcome)
    });
    let (cluster, databases) = looked.map_err(|error| match &database {
        Some(database) if level > Level::Files => damage::named(&round, database, error),
        _ => error,
    })?;
    Ok(Content {
        system_identifier: cluster.system_identifier,
        server_major: version.major,
        container: server.container.clone(),
        user: server.user.clone(),
        roles: cluster.roles,
        objects: cluster.objects,
        is_standby: cluster.is_standby,
        keywords: cluster.keywords,
        databases: cluster.names.into_iter().zip(databases).collect(),
        from_file: false,
        level,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn unreadable(client: &Client<'_>, database: &str, why: &str) -> Error {
    let message = format!("what psql in {} says of database {database:?} cannot be read: {why}", client.label);
    Error::failed("psql.failed", message)
}

/// What is not in one of the databases.
struct Cluster {
    system_identifier: String,
    names: Vec<String>,
    is_standby: bool,
    keywords: BTreeSet<String>,
    objects: Objects,
    roles: BTreeMap<String, String>,
}

/// The cluster's number, the databases that hold something of the site (all but `template0`), and the words that the
/// server quotes where they are names.
const CLUSTER: &str = "
    SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
        (SELECT json_agg(datname ORDER BY datname) FROM pg_database
          WHERE datname <> 'template0' AND datallowconn AND datconnlimit <> -2) AS names,
        pg_is_in_recovery() AS is_standby,
        (SELECT json_agg(word) FROM pg_get_keywords() WHERE catcode <> 'U') AS keywords";

#[derive(Deserialize)]
struct Head {
    system_identifier: String,
    names: Vec<String>,
    is_standby: bool,
    keywords: BTreeSet<String>,
}

impl Cluster {
    fn ask(talk: &Talk<'_>, round: &Round<'_>, database: &str) -> Result<Self> {
        let mut script = format!("SELECT row_to_json(q)::jsonb FROM ({CLUSTER}) AS q;\n");
        script.extend(round.known(catalogs::of_cluster()).map(|statement| statement.sql(0, 1)));
        let bad = |e: serde_json::Error| unreadable(round.client, database, &e.to_string());
        let (mut head, mut found) = (None, Found::default());
        talk.ask(&script, |line| match head {
            None => {
                head = Some(serde_json::from_str::<Head>(line).map_err(bad)?);
                Ok(())
            }
            Some(_) => found.object(line).map_err(bad),
        })?;
        let head = head.ok_or_else(|| unreadable(round.client, database, "it is empty"))?;
        let roles = found.0.get("role").into_iter().flatten().map(|(name, facts)| (name.join("."), in_words(facts)));
        let roles = roles.collect();
        let objects = found.packed()?;
        let Head { system_identifier, names, is_standby, keywords } = head;
        Ok(Self { system_identifier, names, is_standby, keywords, objects, roles })
    }
}

/// What kind of role it is: `superuser inherit login`.
fn in_words(facts: &Facts) -> String {
    let attributes = facts.iter().filter(|(_, value)| **value == Value::Bool(true)).map(|(name, _)| name.as_str());
    attributes.collect::<Vec<_>>().join(" ")
}

/// Objects as they are told, by kind.
#[derive(Default)]
struct Found(BTreeMap<String, BTreeMap<Name, Facts>>);

impl Found {
    /// Takes a line of kind, name and facts.
    fn object(&mut self, line: &str) -> serde_json::Result<()> {
        let (kind, name, facts): (String, Vec<Option<String>>, Facts) = serde_json::from_str(line)?;
        let name = name.into_iter().map(Option::unwrap_or_default).collect();
        self.0.entry(kind).or_default().insert(name, facts);
        Ok(())
    }

    fn packed(self) -> Result<Objects> {
        let mut packed = Objects::default();
        self.0.iter().try_for_each(|(kind, objects)| packed.put(kind, objects))?;
        Ok(packed)
    }
}
