//! One database's archive as `pg_dump` writes it, directory or custom format, read through `pg_restore`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use super::client::{ARTEFACTS, Call, Client};
use super::rows::Collected;
use super::watch::Watch;
use crate::world::error::{Error, Result};
use crate::world::postgres::DumpedDatabase;
use crate::world::session::Purpose;

/// What an archive's table of contents says.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub entries: u64,
    /// Tables with data.
    pub tables: u64,
}

/// Where `pg_restore` finds an archive: by path in the helper's mount, or on its stdin.
pub struct Source {
    path: Option<String>,
    file: Option<File>,
}

impl Source {
    pub fn open(client: &Client<'_>, root: &Path, relative: &str) -> Result<Self> {
        let here = root.join(relative);
        if client.mounted() {
            return Ok(Self { path: Some(format!("{ARTEFACTS}/{relative}")), file: None });
        }
        if here.is_dir() {
            let message = format!("{} is a directory, which an engine on another machine cannot read", here.display());
            return Err(Error::failed("dump.failed", message)
                .hint("run pgscript on the engine's machine, or take the dump through the remote engine"));
        }
        let file = File::open(&here).map_err(|e| Error::io("open", here.display(), &e))?;
        Ok(Self { path: None, file: Some(file) })
    }

    /// Whether parallel jobs can read it.
    pub fn is_seekable(&self) -> bool {
        self.path.is_some()
    }

    /// Runs `pg_restore` over it.
    pub fn pg_restore(
        mut self,
        client: &Client<'_>,
        argv: &[&str],
        stdout: Option<&mut (dyn Write + Send)>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let stdin = self.file.as_mut().map(|file| file as &mut (dyn Read + Send));
        client.tool(call(argv, self.path), stdin, stdout, watch)
    }

    /// Runs `pg_restore` over those of its entries that the list on its stdin names, which argv tells it to read. The
    /// archive can't come that way, too.
    pub fn pg_restore_of(
        self,
        client: &Client<'_>,
        argv: &[&str],
        list: &mut (dyn Read + Send),
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        if self.path.is_none() {
            let message = "an extension has to be created first, which needs the archive on the engine's machine";
            return Err(Error::failed("restore.unexpected_error", message).hint("run pgscript there"));
        }
        client.tool(call(argv, self.path), Some(list), None, watch)
    }
}

/// How an archive is restored.
pub const RESTORE: [&str; 4] = ["--create", "--exit-on-error", "--verbose", "--no-password"];

fn call(argv: &[&str], archive: Option<String>) -> Call<'static> {
    let mut call = Call::new(&["pg_restore"], None).purpose(Purpose::Loading);
    call.argv.extend(argv.iter().map(|word| (*word).to_owned()));
    call.argv.extend(archive);
    call
}

/// Size on disk of one database's archive, a directory or a file; what cannot be read counts as nothing.
pub fn bytes(root: &Path, relative: &str) -> u64 {
    let path = root.join(relative);
    match fs::read_dir(&path) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum(),
        Err(_) => fs::metadata(&path).map_or(0, |found| found.len()),
    }
}

/// Reads the table of contents.
pub fn list(client: &Client<'_>, root: &Path, relative: &str) -> Result<Contents> {
    let contents = parse(&listing(client, root, relative)?);
    if contents.entries == 0 {
        return Err(Error::failed("dump.damaged", format!("{relative} has an empty table of contents")));
    }
    Ok(contents)
}

/// The table of contents as `pg_restore` writes it.
pub fn listing(client: &Client<'_>, root: &Path, relative: &str) -> Result<String> {
    let mut listing = Collected::default();
    let mut watch = Watch::new(&client.clients.context, "dump.damaged", None);
    // With --create the database itself is an entry, so that there is one even when it is empty.
    Source::open(client, root, relative)?.pg_restore(
        client,
        &["--list", "--create"],
        Some(&mut listing),
        &mut watch,
    )?;
    Ok(String::from_utf8_lossy(&listing.0).into_owned())
}

/// Holds the table of contents against the record, and reads every data member to its end.
pub fn check(client: &Client<'_>, root: &Path, database: &DumpedDatabase) -> Result<()> {
    let found = list(client, root, &database.path)?;
    if (found.entries, found.tables) != (database.entries, database.tables) {
        let message = format!(
            "{} of database {:?} has {} entries with {} tables, its record says {} with {}",
            database.path, database.name, found.entries, found.tables, database.entries, database.tables
        );
        return Err(Error::failed("dump.damaged", message));
    }
    read_to_end(client, root, &database.path)
}

/// Reads every data member.
pub fn read_to_end(client: &Client<'_>, root: &Path, relative: &str) -> Result<()> {
    let mut watch = Watch::new(&client.clients.context, "dump.damaged", None);
    let source = Source::open(client, root, relative)?;
    source.pg_restore(client, &["--file", "/dev/null"], None, &mut watch)
}

fn parse(listing: &str) -> Contents {
    let entries = listing.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let (mut count, mut tables) = (0, 0);
    for entry in entries {
        count += 1;
        // `3458; 0 16387 TABLE DATA public orders primero`
        let kind: Vec<&str> = entry.splitn(6, ' ').skip(3).take(2).collect();
        tables += u64::from(kind == ["TABLE", "DATA"]);
    }
    Contents { entries: count, tables }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_tables_are_counted() {
        let listing = ";\n; Archive created at 2026-01-01\n;     TOC Entries: 4\n;\n\
            3; 3079 16385 EXTENSION - ltree \n219; 1259 16387 TABLE public TABLE DATA primero\n\
            3458; 0 16387 TABLE DATA public orders primero\n3459; 0 16390 BLOB DATA - BLOBS primero\n";
        assert_eq!(parse(listing), Contents { entries: 4, tables: 1 });
    }
}
