//! Opening a dump, and reading it to its end.

use std::path::Path;

use super::client::Client;
use super::{Clients, archive, dump, plain, record};
use crate::world::error::{Error, Result};
use crate::world::postgres::{Dump, Format};
use crate::world::side_by_side::side_by_side;

/// The record of a dump. A plain file without one is read, to say what is in it.
pub fn open(clients: &Clients, path: &Path) -> Result<Dump> {
    let found = std::fs::metadata(path).map_err(|e| Error::io("open", path.display(), &e))?;
    let path = std::fs::canonicalize(path).map_err(|e| Error::io("open", path.display(), &e))?;
    if found.is_dir() {
        let record = path.join(record::NAME);
        if !record.exists() {
            let message =
                format!("{} has no {}: it is no dump, or one that was never finished", path.display(), record::NAME);
            return Err(Error::failed("dump.incomplete", message));
        }
        return record::read(&record, &path);
    }
    let record = record::beside(&path);
    if record.exists() { record::read(&record, &path) } else { plain::open_foreign(clients, &path) }
}

/// Every checksum, every byte.
pub fn verify(clients: &Clients, dump: &Dump, image: Option<&str>) -> Result<()> {
    compare_files(clients, dump)?;
    match dump.format {
        Format::Plain => plain_whole(clients, dump),
        Format::Directory => directory_whole(clients, dump, image),
    }
}

/// The files are those of the record, none missing, none more, none changed.
pub fn compare_files(clients: &Clients, dump: &Dump) -> Result<()> {
    let root = match dump.format {
        Format::Directory => dump.path.as_path(),
        Format::Plain => dump.path.parent().unwrap_or(Path::new("/")),
    };
    let names: Vec<String> = match dump.format {
        Format::Directory => record::files(root)?,
        Format::Plain => dump.path.file_name().map(|name| name.to_string_lossy().into_owned()).into_iter().collect(),
    };
    let (found, _) = record::checksums(&clients.context, root, &names)?;
    // A plain dump may have been renamed together with its record.
    let same = |a: &(String, String), b: &(String, String)| a.1 == b.1 && (a.0 == b.0 || dump.format == Format::Plain);
    let wrong = |why: &str, name: &str| {
        Err(Error::failed("dump.damaged", format!("{} of the dump {} {why}", name, dump.path.display())))
    };
    if let Some((name, _)) = dump.files.iter().find(|file| !found.iter().any(|other| same(file, other))) {
        let missing = !found.iter().any(|(other, _)| other == name);
        return wrong(if missing && dump.format == Format::Directory { "is missing" } else { "was changed" }, name);
    }
    match found.iter().find(|file| !dump.files.iter().any(|other| same(file, other))) {
        Some((name, _)) => wrong("does not belong to it", name),
        None => Ok(()),
    }
}

fn plain_whole(clients: &Clients, dump: &Dump) -> Result<()> {
    let facts = plain::scan(clients, &dump.path)?;
    if facts.databases != dump.databases {
        let message = format!("{} holds other databases or tables than its record says", dump.path.display());
        return Err(Error::failed("dump.damaged", message));
    }
    Ok(())
}

fn directory_whole(clients: &Clients, dump: &Dump, image: Option<&str>) -> Result<()> {
    plain::scan(clients, &dump.path.join(dump::GLOBALS))?;
    // Without an image the checksums stand for it: every member was read to its end when they were recorded.
    let Some(image) = image else { return Ok(()) };
    let client = Client::alone(clients, image, &dump.path)?;
    require_reader(&client, dump)?;
    side_by_side(&dump.databases, |_, database| archive::check(&client, &dump.path, database)).map(|_| ())
}

/// An older `pg_restore` or `psql` may not understand what a newer client wrote.
pub fn require_reader(client: &Client<'_>, dump: &Dump) -> Result<u32> {
    let major = client.major("pg_restore")?;
    if major >= dump.client_major {
        return Ok(major);
    }
    let message = format!("pg_restore {major} of {} cannot read a dump of pg_dump {}", client.label, dump.client_major);
    Err(Error::refused("postgres.client_too_old", message)
        .hint(format!("take a client image of PostgreSQL {} or newer", dump.client_major)))
}
