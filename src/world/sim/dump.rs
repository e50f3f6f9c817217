//! Dumps of simulated clusters: files of the simulated machine, whole under their names or not there.

use std::path::{Path, PathBuf};

use super::artefact::{beside, called, partial, time};
use super::bulk::work;
use super::cluster::Cluster;
use super::state::{Content, ImageKind};
use super::{Context, State};
use crate::world::error::{Error, Result};
use crate::world::postgres::*;

/// The record in a dump's directory, and what holds its data there.
const RECORD: &str = "dump.json";
const DATA: &str = "databases.dump";
/// How much smaller a dump is than the databases.
const PACKED: u64 = 4;

/// The major of the client programs: of that image, or of the server's own.
///
/// Errors: `docker.image_missing`, `postgres.no_client`, `postgres.client_too_old`.
pub fn client_major(state: &State, server: &Server, image: Option<&str>) -> Result<u32> {
    let (container, cluster) = state.serving(server)?;
    let major = match image {
        Some(image) => image_major(state, image)?,
        None => image_major(state, &container.image_id).unwrap_or(cluster.major),
    };
    if major >= cluster.major {
        return Ok(major);
    }
    let (name, label) = (&server.container_name, image.unwrap_or(&container.name));
    let message = format!("pg_dump {major} of {label} cannot dump {name}, which is {}", cluster.major);
    Err(Error::refused("postgres.client_too_old", message)
        .hint(format!("take a client image of PostgreSQL {} or newer", cluster.major)))
}

/// The major of an image of PostgreSQL.
pub fn image_major(state: &State, image: &str) -> Result<u32> {
    match state.image(image).map(|found| &found.kind) {
        Some(ImageKind::Postgres { major, .. }) => Ok(*major),
        Some(_) => {
            let message = format!("image {image} has no client programs of PostgreSQL");
            Err(Error::failed("postgres.no_client", message))
        }
        None => Err(Error::failed("docker.image_missing", format!("the Docker engine has no image {image}"))
            .hint(format!("`docker pull {image}`, or build it, then go on"))),
    }
}

/// An artefact that grows under a temporary name; it goes where it is dropped before it has its own.
struct Staging<'c> {
    context: &'c Context,
    path: PathBuf,
    partial: PathBuf,
    is_done: bool,
}

impl<'c> Staging<'c> {
    /// What an earlier, killed run has left under the temporary name goes.
    fn begin(
        context: &'c Context,
        path: &Path,
        content: Content,
        check: impl Fn(&State) -> Result<()>,
    ) -> Result<Self> {
        let (path, partial) = (path.to_owned(), partial(path));
        context.cancel.check()?;
        context.sim.act(&format!("dump {}", called(&path)), |state| {
            check(state)?;
            state.remove_files(&partial);
            let mode = if content == Content::Directory { 0o700 } else { 0o600 };
            state.put_file(&partial, content, mode)
        })?;
        Ok(Self { context, path, partial, is_done: false })
    }

    fn act(&self, verb: &str, act: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        self.context.cancel.check()?;
        self.context.sim.act(&format!("{verb} {}", called(&self.path)), act)
    }

    /// Writes a cluster as the data of the artefact, in `file` of its directory, or as the artefact itself.
    fn fill(&self, label: &str, cluster: &Cluster, file: &str) -> Result<()> {
        let bytes = size(cluster);
        let path = if file.is_empty() { self.partial.clone() } else { self.partial.join(file) };
        let change = format!("dump {}", called(&self.path));
        work(self.context, &change, label, bytes, |state, piece| {
            let (cluster, is_whole) = (Box::new(cluster.clone()), piece.is_last());
            state.put_file(&path, Content::Dump { cluster, bytes: piece.part(bytes), is_whole }, 0o600)
        })
    }

    /// Makes it durable, and gives it its name.
    fn finish(mut self) -> Result<()> {
        self.act("sync", |state| {
            state.sync_files(&self.partial);
            Ok(())
        })?;
        self.act("rename", |state| {
            state.rename_files(&self.partial, &self.path);
            Ok(())
        })?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            // What led here is what the caller hears of.
            let _ = self.context.sim.act(&format!("remove {}", called(&self.partial)), |state| {
                state.remove_files(&self.partial);
                Ok(())
            });
        }
    }
}

/// What a dump of a cluster takes on the disk.
fn size(cluster: &Cluster) -> u64 {
    (cluster.bytes() / PACKED).max(1000)
}

fn exists(path: &Path) -> Error {
    let message = format!("{} exists already", path.display());
    Error::refused("dump.exists", message).hint("take another name, or say `replace: true`")
}

fn check_free(state: &State, path: &Path, options: &DumpOptions) -> Result<()> {
    let is_taken = |path: &Path| !options.replace && state.files.contains_key(path);
    match options.format {
        Format::Plain if is_taken(&beside(path)) => Err(exists(&beside(path))),
        _ if is_taken(path) => Err(exists(path)),
        _ => Ok(()),
    }
}

/// The dump that a new one of this cluster is going to replace.
fn older(state: &State, path: &Path, options: &DumpOptions, server: &Server) -> Result<Option<Dump>> {
    if !options.replace || !state.files.contains_key(path) {
        return Ok(None);
    }
    let (shown, own) = (path.display(), state.serving(server)?.1.system_identifier.to_string());
    let away = "take another name, or move it away";
    let Some(old) = recorded(state, path)? else {
        let message = format!("{shown} says nowhere which cluster it is of, so it is not replaced");
        return Err(Error::refused("dump.other_cluster", message).hint(away));
    };
    if old.format != options.format {
        let message = format!("{shown} is a dump in another format, so it is not replaced");
        return Err(Error::refused("dump.exists", message).hint(away));
    }
    if old.system_identifier != own {
        let message = format!(
            "the dump {shown} is of cluster {}; {} is cluster {own}",
            if old.system_identifier.is_empty() { "unknown" } else { &old.system_identifier },
            server.container_name
        );
        return Err(Error::refused("dump.other_cluster", message)
            .hint("one cluster's dump does not replace another's: take another name, or move it away"));
    }
    Ok(Some(old))
}

/// The record of what is at a path; a plain dump that was cut off between its two files has it under a temporary name.
fn recorded(state: &State, path: &Path) -> Result<Option<Dump>> {
    let places = [path.join(RECORD), beside(path), partial(&beside(path))];
    places.iter().find_map(|place| read_record(state, place, path)).transpose()
}

fn read_record(state: &State, record: &Path, path: &Path) -> Option<Result<Dump>> {
    let Content::Bytes { bytes } = &state.files.get(record)?.content else { return None };
    let read = serde_json::from_slice::<Dump>(bytes)
        .map_err(|e| Error::failed("dump.damaged", format!("{} is not the record of a dump: {e}", record.display())));
    Some(read.map(|dump| Dump { path: path.to_owned(), ..dump }))
}

/// What is dumped: the cluster as it is now, with those databases alone.
fn snapshot(state: &State, server: &Server, databases: &[String]) -> Result<Cluster> {
    let mut cluster = state.serving(server)?.1.clone();
    if let Some(missing) = databases.iter().find(|name| !cluster.databases.contains_key(*name)) {
        let message = format!("{} has no database {missing:?}", server.container_name);
        return Err(Error::failed("dump.failed", message));
    }
    cluster.databases.retain(|name, _| databases.is_empty() || databases.contains(name));
    Ok(cluster)
}

/// The whole cluster, in either layout.
pub fn cluster(context: &Context, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
    let is_directory = options.format == Format::Directory;
    let empty = if is_directory { Content::Directory } else { Content::Bytes { bytes: Vec::new() } };
    context.sim.read(|state| check_free(state, path, options))?;
    let staging = Staging::begin(context, path, empty, |state| check_free(state, path, options))?;
    let (older, client_major, dumped) = context.sim.read(|state| {
        let older = older(state, path, options, server)?;
        let client = client_major(state, server, options.client_image.as_deref())?;
        Ok((older, client, snapshot(state, server, &options.databases)?))
    })?;
    let data = if is_directory { DATA } else { "" };
    staging.fill(&format!("dump to {}", path.display()), &dumped, data)?;
    let dump = context.sim.read(|state| {
        let file = if is_directory { staging.partial.join(DATA) } else { staging.partial.clone() };
        let missing = || Error::failed("dump.failed", format!("{} has gone", file.display()));
        let written = state.files.get(&file).ok_or_else(missing)?;
        let name = if is_directory { DATA.to_owned() } else { file_name(path) };
        let files = vec![(name, written.content.sha256())];
        Ok(Dump { client_major, files, ..described(state, path, server, options.format, &dumped) })
    })?;
    require_tables(older.as_ref(), &dump, server)?;
    if is_directory {
        let record = staging.partial.join(RECORD);
        staging.act("record", |state| state.put_file(&record, text_of(&dump)?, 0o600))?;
        staging.finish()?;
    } else {
        keep(context, staging, &dump)?;
    }
    Ok(dump)
}

/// Gives a plain dump and its record their names: no record ever stands beside a dump that it isn't of.
fn keep(context: &Context, staging: Staging<'_>, dump: &Dump) -> Result<()> {
    let record = beside(&staging.path);
    let kept = Staging::begin(context, &record, text_of(dump)?, |_| Ok(()))?;
    staging.act("unrecord", |state| {
        state.remove_files(&record);
        Ok(())
    })?;
    staging.finish()?;
    kept.finish()
}

fn described(state: &State, path: &Path, server: &Server, format: Format, cluster: &Cluster) -> Dump {
    let path_in = if format == Format::Directory { DATA } else { "" };
    let database = |(name, database): (&String, &super::cluster::Database)| DumpedDatabase {
        name: name.clone(),
        path: path_in.into(),
        entries: if path_in.is_empty() { 0 } else { 4 + (database.tables.len() + database.sequences.len()) as u64 },
        tables: database.tables.len() as u64,
    };
    Dump {
        path: path.to_owned(),
        system_identifier: cluster.system_identifier.to_string(),
        format,
        server_major: cluster.major,
        client_major: cluster.major,
        superuser: server.user.clone(),
        databases: cluster.databases.iter().map(database).collect(),
        bytes: size(cluster),
        files: Vec::new(),
        created_at: time(state.now),
    }
}

fn text_of(dump: &Dump) -> Result<Content> {
    let bytes = serde_json::to_vec_pretty(dump)
        .map_err(|e| Error::failed("dump.failed", format!("the dump's record cannot be written: {e}")))?;
    Ok(Content::Bytes { bytes })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Roles and settings as SQL.
pub fn globals(context: &Context, server: &Server, path: &Path, image: Option<&str>) -> Result<()> {
    let text = context.sim.read(|state| {
        client_major(state, server, image)?;
        let cluster = state.serving(server)?.1;
        let role = |(name, role): (&String, &super::cluster::Role)| {
            let login = if role.can_login { "LOGIN" } else { "NOLOGIN" };
            let superuser = if role.is_superuser { "SUPERUSER" } else { "NOSUPERUSER" };
            format!("CREATE ROLE \"{name}\" {superuser} {login};\n")
        };
        Ok(cluster.roles.iter().map(role).collect::<String>())
    })?;
    let check = |state: &State| if state.files.contains_key(path) { Err(exists(path)) } else { Ok(()) };
    Staging::begin(context, path, Content::Bytes { bytes: text.into() }, check)?.finish()
}

/// One database, without roles.
pub fn database(
    context: &Context,
    server: &Server,
    database: &str,
    path: &Path,
    format: &str,
    image: Option<&str>,
) -> Result<()> {
    let data = match format {
        "directory" => DATA,
        "plain" | "custom" => "",
        other => {
            let message = format!("a dump of one database cannot have the format {other:?}");
            return Err(Error::usage("dump.failed", message).hint("plain, custom or directory"));
        }
    };
    let dumped = context.sim.read(|state| {
        client_major(state, server, image)?;
        snapshot(state, server, &[database.to_owned()])
    })?;
    let dumped = Cluster { roles: Default::default(), ..dumped };
    let check = |state: &State| if state.files.contains_key(path) { Err(exists(path)) } else { Ok(()) };
    let empty = if data.is_empty() { Content::Bytes { bytes: Vec::new() } } else { Content::Directory };
    let staging = Staging::begin(context, path, empty, check)?;
    staging.fill(&format!("dump of {database}"), &dumped, data)?;
    staging.finish()
}

/// The record of a dump; a plain file without one is looked at itself.
pub fn open(state: &State, path: &Path) -> Result<Dump> {
    let missing = || {
        let message = format!("cannot open {}: No such file or directory (os error 2)", path.display());
        Error::failed("host.not_found", message)
    };
    let file = state.files.get(path).ok_or_else(missing)?;
    let shown = path.display();
    if file.content == Content::Directory {
        return read_record(state, &path.join(RECORD), path).unwrap_or_else(|| {
            let message = format!("{shown} has no {RECORD}: it is no dump, or one that was never finished");
            Err(Error::failed("dump.incomplete", message))
        });
    }
    if let Some(read) = read_record(state, &beside(path), path) {
        return read;
    }
    match file.content.artefact().as_deref() {
        Some(Content::Dump { cluster, is_whole: true, .. }) => {
            let server = Server {
                container: String::new(),
                container_name: String::new(),
                user: String::new(),
                password: None,
                database: String::new(),
                is_database_chosen: false,
            };
            let files = vec![(file_name(path), file.content.sha256())];
            let described = described(state, path, &server, Format::Plain, cluster);
            Ok(Dump { files, system_identifier: String::new(), ..described })
        }
        Some(Content::Dump { .. }) => Err(Error::failed("dump.incomplete", format!("{shown} ends early"))),
        _ => Err(Error::failed("dump.damaged", format!("{shown} does not begin like a dump"))),
    }
}

/// The files are those of the record, none missing, none more, none changed.
pub fn compare_files(state: &State, dump: &Dump) -> Result<()> {
    let is_directory = dump.format == Format::Directory;
    let is_of_it = |path: &Path| match is_directory {
        true => path.starts_with(&dump.path) && path != dump.path && !path.ends_with(RECORD),
        false => path == dump.path,
    };
    let found: Vec<_> = state.files.iter().filter(|(path, _)| is_of_it(path)).collect();
    let name = |path: &Path| if is_directory { shown_in(path, &dump.path) } else { file_name(path) };
    let found: Vec<_> = found.into_iter().map(|(path, file)| (name(path), file.content.sha256())).collect();
    let wrong = |why: &str, name: &str| {
        Err(Error::failed("dump.damaged", format!("{name} of the dump {} {why}", dump.path.display())))
    };
    let is_same = |a: &(String, String), b: &(String, String)| a.1 == b.1 && (a.0 == b.0 || !is_directory);
    if let Some((name, _)) = dump.files.iter().find(|file| !found.iter().any(|other| is_same(file, other))) {
        let is_missing = !found.iter().any(|(other, _)| other == name);
        return wrong(if is_missing { "is missing" } else { "was changed" }, name);
    }
    match found.iter().find(|file| !dump.files.iter().any(|other| is_same(file, other))) {
        Some((name, _)) => wrong("does not belong to it", name),
        None => Ok(()),
    }
}

fn shown_in(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).unwrap_or(path).display().to_string()
}

/// Reads a dump to its end.
pub fn verify(context: &Context, dump: &Dump, image: Option<&str>) -> Result<()> {
    let change = format!("verify dump {}", called(&dump.path));
    work(context, &change, "checksum of the dump", dump.bytes, |state, piece| {
        if !piece.is_last() {
            return Ok(());
        }
        compare_files(state, dump)?;
        require_reader(state, dump, image)?;
        data(state, dump).map(|_| ())
    })
}

/// An older client may not understand what a newer one wrote.
pub fn require_reader(state: &State, dump: &Dump, image: Option<&str>) -> Result<()> {
    let Some(image) = image.filter(|_| dump.format == Format::Directory) else { return Ok(()) };
    let major = image_major(state, image)?;
    if major >= dump.client_major {
        return Ok(());
    }
    let message = format!("pg_restore {major} of {image} cannot read a dump of pg_dump {}", dump.client_major);
    Err(Error::refused("postgres.client_too_old", message)
        .hint(format!("take a client image of PostgreSQL {} or newer", dump.client_major)))
}

/// What a dump holds.
pub fn data(state: &State, dump: &Dump) -> Result<Cluster> {
    let path = if dump.format == Format::Directory { dump.path.join(DATA) } else { dump.path.clone() };
    let missing = || Error::failed("dump.damaged", format!("{} is missing", path.display()));
    match state.files.get(&path).ok_or_else(missing)?.content.artefact().as_deref() {
        Some(Content::Dump { cluster, is_whole: true, .. }) => Ok((**cluster).clone()),
        _ => Err(Error::failed("dump.damaged", format!("{} is damaged", path.display()))),
    }
}

#[cfg(test)]
mod tests;
