//! A whole cluster into a directory: `globals.sql`, one archive per database, `dump.json` last.

use std::cmp::Reverse;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::client::{ARTEFACTS, Call, Client};
use super::databases::{self, Database};
use super::plain_scan::PlainScan;
use super::staging::{self, Staging};
use super::watch::Watch;
use super::{Clients, archive, globals, ready, record, replace, rows};
use crate::world::error::{Error, Result};
use crate::world::live::progress::Progress;
use crate::world::postgres::{Dump, DumpOptions, DumpedDatabase, Format, Server, require_tables};
use crate::world::side_by_side::side_by_side;

/// Name of the roles, memberships, role settings and tablespaces in a dump's directory.
pub const GLOBALS: &str = "globals.sql";

/// Dumps into a new directory.
pub fn directory(clients: &Clients, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
    // Declared first, so that the helper is gone before its directory is removed.
    let staging = Staging::directory(path, options.replace)?;
    let server_major = ready::version(clients, server)?.major;
    let system_identifier = databases::system_identifier(clients, server)?;
    let older = replace::older(path, options, server, &system_identifier)?;
    let mut chosen = databases::to_dump(clients, server, &options.databases)?;
    // The largest takes the longest: begun first, it leaves the others time to pass beside it.
    chosen.sort_by_key(|database| Reverse(database.bytes));
    let client = Client::beside(clients, server, options.client_image.as_deref(), Some((staging.partial(), false)))?;
    let client_major = require_new_client(&client, server, server_major)?;
    let compress = compression(&client, client_major, options.compress.as_deref())?;
    let globals_path = staging.partial().join(GLOBALS);
    globals(&client, staging::create(&globals_path)?, &globals_path)?;
    let job = Job { client: &client, server, compress: &compress, jobs: options.jobs.max(1) };
    let mut dumped = side_by_side(&chosen, |index, database| {
        let path = job.dump(staging.partial(), index, database)?;
        let contents = archive::list(&client, staging.partial(), &path)?;
        archive::read_to_end(&client, staging.partial(), &path)?;
        let (name, entries, tables) = (database.name.clone(), contents.entries, contents.tables);
        Ok(DumpedDatabase { name, path, entries, tables })
    })?;
    dumped.sort_by(|a, b| a.name.cmp(&b.name));
    let files = record::files(staging.partial())?;
    let (files, bytes) = record::checksums(&clients.context, staging.partial(), &files)?;
    client.close();
    let dump = Dump {
        path: staging.path().to_owned(),
        system_identifier,
        format: Format::Directory,
        server_major,
        client_major,
        superuser: server.user.clone(),
        databases: dumped,
        bytes,
        files,
        created_at: record::now(),
    };
    require_tables(older.as_ref(), &dump, server)?;
    record::write(&staging.partial().join(record::NAME), &dump)?;
    staging.finish()?;
    Ok(dump)
}

/// A client at least as new as the server knows all that the server has.
pub fn require_new_client(client: &Client<'_>, server: &Server, server_major: u32) -> Result<u32> {
    let client_major = client.major("pg_dump")?;
    if client_major >= server_major {
        return Ok(client_major);
    }
    let name = &server.container_name;
    let message = format!("pg_dump {client_major} of {} cannot dump {name}, which is {server_major}", client.label);
    Err(Error::refused("postgres.client_too_old", message)
        .hint(format!("take a client image of PostgreSQL {server_major} or newer")))
}

/// The argument of `--compress`: as asked, else the fastest that this client was built with.
pub fn compression(client: &Client<'_>, client_major: u32, asked: Option<&str>) -> Result<String> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    if client_major < 16 {
        return Ok("1".into());
    }
    for method in ["zstd:1", "lz4"] {
        // A client without the method says so before it connects to anything.
        let mut call =
            Call::new(&["pg_dump", "--format=custom", "--compress", method, "--no-password"], Some("postgres"));
        call.env.push("PGHOST=/nonexistent".into());
        let mut watch = Watch::new(&client.clients.context, "dump.failed", None);
        match client.tool(call, None, None, &mut watch) {
            Err(error) if error.code == "cancelled" => return Err(error),
            _ if !watch.text().contains("compression") => return Ok(method.into()),
            _ => {}
        }
    }
    Ok("1".into())
}

/// Roles, memberships, settings and tablespaces into a new file, checked to be whole.
pub fn globals(client: &Client<'_>, file: fs::File, path: &Path) -> Result<()> {
    let mut sink = Scanned { scan: PlainScan::default(), out: BufWriter::new(file), trouble: None };
    let mut watch = Watch::new(&client.clients.context, "dump.failed", None);
    let ended = client.tool(globals::dumping(&[]), None, Some(&mut sink), &mut watch);
    if let Some(trouble) = sink.trouble.take() {
        return Err(trouble.into_error(path));
    }
    ended?;
    sink.scan.finish()?;
    let file = sink.out.into_inner().map_err(|e| Error::io("write", path.display(), e.error()))?;
    file.sync_all().map_err(|e| Error::io("sync", path.display(), &e))
}

/// Passes bytes on while [`PlainScan`] reads along. What goes wrong here is kept: the engine only sees a closed pipe.
pub struct Scanned<W: Write> {
    pub scan: PlainScan,
    pub out: W,
    pub trouble: Option<Trouble>,
}

/// Why a stream was given up at our end.
pub enum Trouble {
    Damaged(Error),
    Write(std::io::Error),
}

impl Trouble {
    pub fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Damaged(error) => error,
            Self::Write(error) => Error::io("write", path.display(), &error),
        }
    }
}

impl<W: Write> Write for Scanned<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let trouble = match self.scan.feed(buf) {
            Err(error) => Trouble::Damaged(error),
            Ok(()) => match self.out.write_all(buf) {
                Ok(()) => return Ok(buf.len()),
                Err(error) => Trouble::Write(error),
            },
        };
        self.trouble.get_or_insert(trouble);
        Err(std::io::Error::other("the dump was given up"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// How the databases are dumped.
struct Job<'a> {
    client: &'a Client<'a>,
    server: &'a Server,
    compress: &'a str,
    jobs: u32,
}

impl Job<'_> {
    /// One database; gives its path in the dump. Into a directory, in parallel, where the helper can write it; else as
    /// one stream.
    fn dump(&self, root: &Path, index: usize, database: &Database) -> Result<String> {
        let clients = self.client.clients;
        let mut progress = self.progress(&database.name);
        let mut watch = Watch::new(&clients.context, "dump.failed", Some(&mut progress));
        let mut argv =
            vec!["pg_dump", "--verbose", "--no-password", "--quote-all-identifiers", "--compress", self.compress];
        let path = if self.client.mounted() { format!("db-{index}") } else { format!("db-{index}.dump") };
        if self.client.mounted() {
            let (target, jobs) = (format!("{ARTEFACTS}/{path}"), self.jobs.to_string());
            argv.extend(["--format=directory", "--jobs", &jobs, "--file", &target]);
            self.client.tool(database.dumping(&argv).writing_files(), None, None, &mut watch)?;
        } else {
            argv.push("--format=custom");
            stream_to_file(self.client, database.dumping(&argv), &root.join(&path), &mut watch)?;
        }
        Ok(path)
    }

    fn progress(&self, database: &str) -> Progress {
        let clients = self.client.clients;
        let sql = "SELECT pg_catalog.count(*) AS n
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
        let total = rows::query(&Client::inside(clients, self.server), database, sql, &[])
            .ok()
            .and_then(|rows| rows.first()?.get("n")?.as_u64());
        Progress::new(&clients.context, format!("dump of {database}"), "tables", total)
    }
}

/// Runs a program whose stdout becomes a new file.
pub fn stream_to_file(client: &Client<'_>, call: Call<'_>, path: &Path, watch: &mut Watch<'_>) -> Result<()> {
    let mut sink = ToFile { out: BufWriter::with_capacity(1 << 18, staging::create(path)?), trouble: None };
    let ended = client.tool(call, None, Some(&mut sink), watch);
    if let Some(error) = sink.trouble {
        return Err(Error::io("write", path.display(), &error));
    }
    ended?;
    let file = sink.out.into_inner().map_err(|e| Error::io("write", path.display(), e.error()))?;
    file.sync_all().map_err(|e| Error::io("sync", path.display(), &e))
}

/// A file that keeps why it could not be written.
struct ToFile {
    out: BufWriter<fs::File>,
    trouble: Option<std::io::Error>,
}

impl Write for ToFile {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self.out.write_all(buf) {
            Ok(()) => Ok(buf.len()),
            Err(error) => {
                self.trouble.get_or_insert(error);
                Err(std::io::Error::other("the dump was given up"))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// One database into a directory of pg_dump's own format.
pub fn one_directory(
    clients: &Clients,
    server: &Server,
    server_major: u32,
    database: &Database,
    path: &Path,
    image: Option<&str>,
) -> Result<()> {
    let staging = Staging::directory(path, false)?;
    let client = Client::beside(clients, server, image, Some((staging.partial(), false)))?;
    if !client.mounted() {
        let message = "a directory dump needs the engine on this machine";
        return Err(Error::failed("dump.failed", message).hint("take the custom format"));
    }
    let client_major = require_new_client(&client, server, server_major)?;
    let compress = compression(&client, client_major, None)?;
    let made = Job { client: &client, server, compress: &compress, jobs: 1 }.dump(staging.partial(), 0, database)?;
    whole(&client, staging.partial(), &made)?;
    client.close();
    // pg_dump wants to make its directory itself: it moves up.
    let inner = staging.partial().join(made);
    for name in record::files(&inner)? {
        let failed = |e| Error::io("rename", inner.join(&name).display(), &e);
        fs::rename(inner.join(&name), staging.partial().join(&name)).map_err(failed)?;
    }
    fs::remove_dir(&inner).map_err(|e| Error::io("remove", inner.display(), &e))?;
    staging.finish().map(|_| ())
}

/// One database into a file of pg_dump's custom format.
pub fn one_custom(client: &Client<'_>, database: &Database, path: &Path) -> Result<()> {
    let staging = Staging::directory(path, false)?;
    let compress = compression(client, client.major("pg_dump")?, None)?;
    let mut watch = Watch::new(&client.clients.context, "dump.failed", None);
    let argv = ["pg_dump", "--format=custom", "--no-password", "--compress", &compress];
    let name = "database.dump";
    stream_to_file(client, database.dumping(&argv), &staging.partial().join(name), &mut watch)?;
    whole(client, staging.partial(), name)?;
    staging.finish_as_file(name)
}

/// Reads an archive to its end.
fn whole(client: &Client<'_>, root: &Path, relative: &str) -> Result<()> {
    archive::list(client, root, relative)?;
    archive::read_to_end(client, root, relative)
}
