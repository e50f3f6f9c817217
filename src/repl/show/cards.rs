//! What a handle shows of itself. Names are those of its properties, so that what is read here can be typed next.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::Dynamic;

use crate::world::Error;
use crate::world::ansible::Site;
use crate::world::container::{Attachment, Container, Image, Mount, Volume};
use crate::world::content::Content;
use crate::world::postgres::{Dump, Format, Server};
use crate::world::volume::Backup;

/// A handle as labelled values, the most useful first.
pub struct Card {
    /// As `type_of` calls it.
    pub kind: &'static str,
    /// The property that tells it from others, and its value.
    pub name: (&'static str, String),
    pub fields: Vec<Field>,
}

/// One value of a handle.
pub struct Field {
    pub name: &'static str,
    pub value: Value,
    /// Whether it is a column where several handles make a table.
    pub is_column: bool,
}

pub enum Value {
    Text(String),
    /// RFC 3339
    Time(String),
    /// Bytes.
    Size(u64),
    Secret,
    /// A line each.
    List(Vec<String>),
}

impl Value {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Time(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Size(_) | Self::Secret => false,
        }
    }
}

/// The handle's card; `None` for what is no handle.
pub fn of(value: &Dynamic) -> Option<Card> {
    const KINDS: [fn(&Dynamic) -> Option<Card>; 9] = [
        |value| value.read_lock::<Arc<Container>>().map(|c| container(&c)),
        |value| value.read_lock::<Arc<Volume>>().map(|v| volume(&v)),
        |value| value.read_lock::<Arc<Backup>>().map(|b| backup(&b)),
        |value| value.read_lock::<Arc<Dump>>().map(|d| dump(&d)),
        |value| value.read_lock::<Arc<Image>>().map(|i| image(&i)),
        |value| value.read_lock::<Arc<Server>>().map(|s| server(&s)),
        |value| value.read_lock::<Arc<Site>>().map(|s| site(&s)),
        |value| value.read_lock::<Arc<Content>>().map(|c| content(&c)),
        |value| value.read_lock::<Error>().map(|e| error(&e)),
    ];
    KINDS.iter().find_map(|card| card(value))
}

fn column(name: &'static str, value: Value) -> Field {
    Field { name, value, is_column: true }
}

fn field(name: &'static str, value: Value) -> Field {
    Field { name, value, is_column: false }
}

fn text(text: impl ToString) -> Value {
    Value::Text(text.to_string())
}

fn optional(value: Option<impl ToString>) -> Value {
    text(value.map(|value| value.to_string()).unwrap_or_default())
}

fn time(text: &str) -> Value {
    Value::Time(text.to_owned())
}

/// The first 12 digits, as the docker CLI shows an id.
fn short(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect()
}

fn id(full: &str) -> Value {
    text(short(full))
}

fn container(c: &Container) -> Card {
    let state = match c.state.as_str() {
        "exited" | "dead" => format!("{} ({})", c.state, c.exit_code),
        _ if !c.health.is_empty() && c.health != "none" => format!("{} ({})", c.state, c.health),
        state => state.to_owned(),
    };
    let restarts = if c.restart_count > 0 { c.restart_count.to_string() } else { String::new() };
    Card {
        kind: "Container",
        name: ("name", c.name.clone()),
        fields: vec![
            column("image", text(&c.image)),
            column("state", text(state)),
            column("started_at", time(&c.started_at)),
            column("service", text(&c.service)),
            column("project", text(&c.project)),
            column("id", id(&c.id)),
            field("restart_policy", text(&c.restart_policy)),
            field("restart_count", text(restarts)),
            field("mounts", Value::List(c.mounts.iter().map(mount).collect())),
            field("networks", Value::List(c.networks.iter().map(attachment).collect())),
            field("env names", names_of(&c.env)),
            field("labels", labels(&c.labels)),
            field("image_id", id(&c.image_id)),
        ],
    }
}

fn mount(m: &Mount) -> String {
    let from = if m.name.is_empty() { &m.source } else { &m.name };
    let read_only = if m.read_only { ", read-only" } else { "" };
    match from.is_empty() {
        true => format!("{} {}{read_only}", m.destination, m.kind),
        false => format!("{} from {} {from}{read_only}", m.destination, m.kind),
    }
}

fn attachment(a: &Attachment) -> String {
    let ip = if a.ip.is_empty() { String::new() } else { format!(" {}", a.ip) };
    let aliases = if a.aliases.is_empty() { String::new() } else { format!(" as {}", a.aliases.join(", ")) };
    format!("{}{ip}{aliases}", a.network)
}

/// The variables' names: their values hold passwords, whatever they are called.
fn names_of(env: &[String]) -> Value {
    let mut names: Vec<_> = env.iter().map(|entry| entry.split('=').next().unwrap_or_default()).collect();
    names.sort_unstable();
    text(names.join(", "))
}

/// Compose's own labels say nothing that the card does not.
fn labels(labels: &BTreeMap<String, String>) -> Value {
    let (compose, own): (Vec<_>, Vec<_>) = labels.iter().partition(|(key, _)| key.starts_with("com.docker.compose."));
    let mut lines = pairs(own.into_iter());
    if !compose.is_empty() {
        lines.push(format!("{} of Compose", compose.len()));
    }
    Value::List(lines)
}

fn pairs<'m>(map: impl Iterator<Item = (&'m String, &'m String)>) -> Vec<String> {
    map.map(|(key, value)| format!("{key}={value}")).collect()
}

fn volume(v: &Volume) -> Card {
    Card {
        kind: "Volume",
        name: ("name", v.name.clone()),
        fields: vec![
            column("driver", text(&v.driver)),
            column("mount_point", text(&v.mount_point)),
            field("created_at", time(&v.created_at)),
            field("labels", labels(&v.labels)),
            field("options", Value::List(pairs(v.options.iter()))),
        ],
    }
}

fn backup(b: &Backup) -> Card {
    let m = &b.manifest;
    Card {
        kind: "Backup",
        name: ("path", b.path.display().to_string()),
        fields: vec![
            column("volume", text(&m.volume)),
            column("pg_version", text(&m.pg_version)),
            column("compressed_bytes", Value::Size(m.compressed_bytes)),
            column("bytes", Value::Size(m.bytes)),
            column("created_at", time(&m.created_at)),
            field("files", text(m.files)),
            field("sha256", text(&m.sha256)),
            field("owners", text(&m.owners)),
        ],
    }
}

fn dump(d: &Dump) -> Card {
    let databases = d.databases.iter().map(|database| match d.format {
        Format::Directory => format!("{}, {} tables", database.name, database.tables),
        Format::Plain => database.name.clone(),
    });
    let format = match d.format {
        Format::Directory => "directory",
        Format::Plain => "plain",
    };
    Card {
        kind: "Dump",
        name: ("path", d.path.display().to_string()),
        fields: vec![
            column("bytes", Value::Size(d.bytes)),
            column("server_major", text(d.server_major)),
            column("client_major", text(d.client_major)),
            column("format", text(format)),
            column("created_at", time(&d.created_at)),
            field("databases", Value::List(databases.collect())),
            field("superuser", text(&d.superuser)),
            field("system_identifier", text(&d.system_identifier)),
            field("files", text(d.files.len())),
        ],
    }
}

fn image(i: &Image) -> Card {
    Card {
        kind: "Image",
        name: ("tags", i.tags.first().cloned().unwrap_or_else(|| short(&i.id))),
        fields: vec![
            column("size", Value::Size(u64::try_from(i.size).unwrap_or_default())),
            column("id", id(&i.id)),
            field("tags", Value::List(i.tags.iter().skip(1).cloned().collect())),
            field("digests", Value::List(i.digests.clone())),
            field("volumes", Value::List(i.volumes.clone())),
            field("env names", names_of(&i.env)),
        ],
    }
}

fn server(s: &Server) -> Card {
    let password = s.password.as_ref().map_or_else(|| text(""), |_| Value::Secret);
    Card {
        kind: "Server",
        name: ("container_name", s.container_name.clone()),
        fields: vec![
            column("user", text(&s.user)),
            column("database", text(&s.database)),
            column("container", id(&s.container)),
            field("password", password),
        ],
    }
}

fn site(s: &Site) -> Card {
    let path = |path: &Option<std::path::PathBuf>| optional(path.as_ref().map(|path| path.display()));
    Card {
        kind: "AnsibleSite",
        name: ("dir", s.dir.display().to_string()),
        fields: vec![
            column("limit", optional(s.limit.as_ref())),
            column("inventory", path(&s.inventory)),
            field("virtualenv", path(&s.virtualenv)),
            field("vault_password_file", path(&s.vault_password_file)),
        ],
    }
}

fn content(c: &Content) -> Card {
    let databases = c.databases.iter().map(|(name, database)| {
        let rows: u64 = database.tables.values().sum();
        format!("{name}, {} tables, {rows} rows", database.tables.len())
    });
    let from_file = if c.from_file { "yes, so it proves nothing" } else { "" };
    Card {
        kind: "Content",
        name: ("system_identifier", c.system_identifier.clone()),
        fields: vec![
            column("server_major", text(c.server_major)),
            field("level", text(c.level.name())),
            column("tables", text(c.tables())),
            column("rows", text(c.rows())),
            field("databases", Value::List(databases.collect())),
            field("roles", text(c.roles.keys().cloned().collect::<Vec<_>>().join(", "))),
            column("container", id(&c.container)),
            field("from a file", text(from_file)),
        ],
    }
}

fn error(e: &Error) -> Card {
    Card {
        kind: "Error",
        name: ("code", e.code.clone()),
        fields: vec![column("message", text(&e.message)), field("hint", optional(e.hint.as_ref()))],
    }
}
