//! Values of steps as the journal keeps them: plain data as JSON, a handle as `{"$handle": "Volume", "value": …}`.
//!
//! A container's environment holds passwords, so it and the engine's full answer stay out of the journal: they are
//! kept in a private file of the run, from which a resumed run completes the handle without asking the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Array, Dynamic, Map};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::values;
use super::session::Session;
use crate::world::ansible::Site;
use crate::world::cluster::ClusterCopy;
use crate::world::container::{Container, Image, Volume};
use crate::world::content::Content;
use crate::world::postgres::{Dump, Server};
use crate::world::volume::Backup;
use crate::world::{Error, Result};

const HANDLE: &str = "$handle";
/// Not a handle: a single character, which JSON does not know from a text.
const CHAR: &str = "char";
/// Directory of the run for the containers' definitions.
pub const DEFINITIONS: &str = "definitions";

/// A step's value for the journal. What has no plain form, and a text that is a secret, is an error that names it.
pub fn encode(session: &Session, step: &str, value: &Dynamic) -> Result<Value> {
    let encoded = Encoder { session }.encode(value, "value").map_err(|error| {
        Error { message: format!("the value of step `{step}` can't be journalled: {}", error.message), ..error }.hint(
            "a step gives plain data (numbers, texts, arrays, maps) or handles (containers, volumes, backups, dumps)",
        )
    })?;
    let text = encoded.to_string();
    if session.world.redactor.redact(&text) != text {
        let message = format!("the value of step `{step}` holds a secret, which must not be written down");
        return Err(Error::failed("run.secret_value", message).hint("take the secret out of what the step returns"));
    }
    Ok(encoded)
}

/// The value as it was when it was journalled.
pub fn decode(session: &Session, value: Value) -> Result<Dynamic> {
    Ok(match value {
        Value::Array(items) => items.into_iter().map(|item| decode(session, item)).collect::<Result<Array>>()?.into(),
        Value::Object(mut object) => match object.get(HANDLE).and_then(Value::as_str).map(str::to_owned) {
            Some(kind) => handle(session, &kind, object.remove("value").unwrap_or_default())?,
            None => {
                let pairs = object.into_iter().map(|(key, item)| Ok((key.into(), decode(session, item)?)));
                pairs.collect::<Result<Map>>()?.into()
            }
        },
        plain => values::from_json(plain),
    })
}

struct Encoder<'s> {
    session: &'s Session,
}

impl Encoder<'_> {
    fn encode(&self, value: &Dynamic, place: &str) -> Result<Value> {
        if value.is_shared() {
            return self.encode(&value.flatten_clone(), place);
        }
        if let Some(items) = value.read_lock::<Array>() {
            let item = |(i, item): (usize, &Dynamic)| self.encode(item, &format!("{place}[{i}]"));
            return items.iter().enumerate().map(item).collect::<Result<Vec<_>>>().map(Value::Array);
        }
        if let Some(map) = value.read_lock::<Map>() {
            if map.contains_key(HANDLE) {
                let message = format!("{place} has the key `{HANDLE}`, which the journal uses itself");
                return Err(Error::failed("script.not_plain", message));
            }
            let pair = |(key, item): (&rhai::Identifier, &Dynamic)| {
                Ok((key.to_string(), self.encode(item, &format!("{place}.{key}"))?))
            };
            return map.iter().map(pair).collect::<Result<serde_json::Map<_, _>>>().map(Value::Object);
        }
        if value.is_char() {
            return Ok(json!({HANDLE: CHAR, "value": value.to_string()}));
        }
        if let Some(container) = value.read_lock::<Arc<Container>>() {
            return self.container(&container);
        }
        if let Some(server) = value.read_lock::<Arc<Server>>() {
            return server_value(&server, place);
        }
        let plain = plain::<Volume>("Volume", value)
            .or_else(|| plain::<Backup>("Backup", value))
            .or_else(|| plain::<Dump>("Dump", value))
            .or_else(|| plain::<Image>("Image", value))
            .or_else(|| plain::<Site>("AnsibleSite", value))
            .or_else(|| plain::<ClusterCopy>("ClusterCopy", value))
            .or_else(|| plain::<Content>("Content", value));
        match plain {
            Some(handle) => Ok(handle),
            None => values::to_json_at(value, place),
        }
    }

    /// The snapshot without environment and inspect answer, which go to a private file.
    fn container(&self, container: &Container) -> Result<Value> {
        let host = &self.session.world.host;
        let path = definition_path(self.session, &container.id)?;
        if let Some(parent) = path.parent() {
            host.create_private_dir(parent)?;
        }
        let hidden = json!({"env": container.env, "inspect": container.inspect});
        host.write(&path, hidden.to_string().as_bytes(), true)?;
        let shown = Container { env: Vec::new(), inspect: Value::Null.into(), ..container.clone() };
        Ok(as_handle("Container", &shown))
    }
}

fn as_handle(kind: &str, value: &impl Serialize) -> Value {
    json!({HANDLE: kind, "value": value})
}

fn plain<T: Serialize + Send + Sync + 'static>(kind: &str, value: &Dynamic) -> Option<Value> {
    value.read_lock::<Arc<T>>().map(|inner| as_handle(kind, &**inner))
}

fn server_value(server: &Server, place: &str) -> Result<Value> {
    if server.password.is_some() {
        let message = format!("{place} is a server with a password");
        return Err(Error::failed("script.not_plain", message).hint("make it with psql::server outside the step"));
    }
    let Server { container, container_name, user, database, is_database_chosen, .. } = server;
    let value = json!({"container": container, "container_name": container_name, "user": user, "database": database,
        "is_database_chosen": is_database_chosen});
    Ok(json!({HANDLE: "Server", "value": value}))
}

fn handle(session: &Session, kind: &str, value: Value) -> Result<Dynamic> {
    Ok(match kind {
        "Container" => {
            let mut container: Container = from(kind, value)?;
            let path = definition_path(session, &container.id)?;
            let hidden: Hidden =
                serde_json::from_slice(&session.world.host.read(&path)?).map_err(|e| unreadable(kind, &e))?;
            (container.env, container.inspect) = (hidden.env, hidden.inspect.into());
            values::handle(container)
        }
        "Server" => {
            let known: KnownServer = from(kind, value)?;
            let KnownServer { container, container_name, user, database, is_database_chosen } = known;
            values::handle(Server { container, container_name, user, password: None, database, is_database_chosen })
        }
        CHAR => Dynamic::from(from::<char>(kind, value)?),
        "Volume" => values::handle(from::<Volume>(kind, value)?),
        "Backup" => values::handle(from::<Backup>(kind, value)?),
        "Dump" => values::handle(from::<Dump>(kind, value)?),
        "Image" => values::handle(from::<Image>(kind, value)?),
        "AnsibleSite" => values::handle(from::<Site>(kind, value)?),
        "ClusterCopy" => values::handle(from::<ClusterCopy>(kind, value)?),
        "Content" => values::handle(from::<Content>(kind, value)?),
        other => return Err(unreadable(other, &"this version of pgscript does not know it")),
    })
}

#[derive(serde::Deserialize)]
struct Hidden {
    env: Vec<String>,
    inspect: Value,
}

#[derive(serde::Deserialize)]
struct KnownServer {
    container: String,
    container_name: String,
    user: String,
    database: String,
    // Journals of before do not have it.
    #[serde(default)]
    is_database_chosen: bool,
}

fn from<T: DeserializeOwned>(kind: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| unreadable(kind, &e))
}

fn unreadable(kind: &str, why: &impl std::fmt::Display) -> Error {
    Error::failed("journal.unreadable", format!("the journal holds a {kind} that can't be read: {why}"))
}

fn definition_path(session: &Session, id: &str) -> Result<PathBuf> {
    let (_, directory) = session.record.place()?;
    Ok(Path::new(&directory).join(DEFINITIONS).join(format!("{id}.json")))
}
