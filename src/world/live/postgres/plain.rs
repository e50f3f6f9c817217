//! Plain SQL dumps: written as a stream that is checked while it passes, and read the same way.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::client::{Call, Client};
use super::databases::{self, Database};
use super::dump::{Scanned, require_new_client};
use super::plain_scan::{Origin, PlainFacts, PlainScan};
use super::staging::{self, Staging};
use super::watch::Watch;
use super::{Clients, ready, record, replace};
use crate::world::error::{Error, Result};
use crate::world::live::compress::compressor;
use crate::world::live::progress::Progress;
use crate::world::postgres::{Dump, DumpOptions, Format, Server, require_tables};

/// `pg_dumpall` into a new file, compressed when its name ends in `.zst`.
pub fn cluster(clients: &Clients, server: &Server, path: &Path, options: &DumpOptions) -> Result<Dump> {
    let record_path = record::beside(path);
    if !options.replace && std::fs::symlink_metadata(&record_path).is_ok() {
        let message = format!("{} exists already", record_path.display());
        return Err(Error::refused("dump.exists", message).hint("take another name, or say `replace: true`"));
    }
    let server_major = ready::version(clients, server)?.major;
    let system_identifier = databases::system_identifier(clients, server)?;
    let older = replace::older(path, options, server, &system_identifier)?;
    let chosen = databases::to_dump(clients, server, &options.databases)?;
    let client = programs(clients, server, options.client_image.as_deref())?;
    let client_major = require_new_client(&client, server, server_major)?;
    let mut call = Call::new(&["pg_dumpall", "--quote-all-identifiers", "--no-password"], None);
    call.argv.extend(exclusions(clients, server, options, &chosen)?);
    // Where all have the same encoding it is the dump's. Where they have not, only the server can tell each its own.
    if let [first, others @ ..] = &chosen[..]
        && others.iter().all(|other| other.encoding == first.encoding)
    {
        call = call.encoding(&first.encoding);
    }
    let written = write(&client, call, path, Origin::Cluster, options.replace)?;
    client.close();
    let dump = Dump {
        path: written.staging.path().to_owned(),
        system_identifier,
        format: Format::Plain,
        server_major,
        client_major,
        superuser: server.user.clone(),
        databases: written.facts.databases,
        bytes: written.bytes,
        files: vec![(file_name(path), written.checksum)],
        created_at: record::now(),
    };
    require_tables(older.as_ref(), &dump, server)?;
    keep(written.staging, &dump, older.as_ref())?;
    Ok(dump)
}

/// Gives a dump and its record their names. Whatever cuts this off, what is at the dump's path is whole, and no record
/// stands beside a dump that it isn't of.
fn keep(staging: Staging, dump: &Dump, older: Option<&Dump>) -> Result<()> {
    let record_path = record::beside(staging.path());
    let (record, mut file) = Staging::file(&record_path, true)?;
    serde_json::to_writer_pretty(&mut file, dump).map_err(|e| Error::io("write", record_path.display(), &e.into()))?;
    file.sync_all().map_err(|e| Error::io("sync", record_path.display(), &e))?;
    staging::remove(&record_path).map_err(|e| Error::io("remove", record_path.display(), &e))?;
    if let Err(error) = staging.finish() {
        // The older one stays, and is to be known.
        older.map(|older| record::write(&record_path, older)).transpose()?;
        return Err(error);
    }
    record.finish().map(|_| ())
}

/// One database as SQL into a new file.
pub fn database(client: &Client<'_>, database: &Database, path: &Path) -> Result<()> {
    let call = database.dumping(&["pg_dump", "--format=plain", "--no-password"]);
    write(client, call, path, Origin::Database, false)?.staging.finish().map(|_| ())
}

/// The programs that dump as a stream. Never in the server's own container: `pg_dumpall` has children, and when they
/// are ended, the container's first process inherits them. That is the postmaster, which takes an orphan ended by a
/// signal for a crashed backend and restarts the whole server (seen with 15.20).
pub fn programs<'a>(clients: &'a Clients, server: &Server, image: Option<&str>) -> Result<Client<'a>> {
    Client::beside(clients, server, image, None)
}

/// `pg_dumpall` dumps all databases; those not asked for are excluded, by patterns that match one name only.
fn exclusions(clients: &Clients, server: &Server, options: &DumpOptions, chosen: &[Database]) -> Result<Vec<String>> {
    if options.databases.is_empty() {
        return Ok(Vec::new());
    }
    let mut excluded = databases::list(clients, server)?;
    excluded.retain(|database| chosen.iter().all(|chosen| chosen.name != database.name));
    Ok(excluded.iter().map(|d| format!("--exclude-database=\"{}\"", d.name.replace('"', "\"\""))).collect())
}

/// A dump that is written and checked, but has not got its name yet.
struct Written {
    staging: Staging,
    facts: PlainFacts,
    /// On disk.
    bytes: u64,
    checksum: String,
}

fn write(client: &Client<'_>, call: Call<'_>, path: &Path, origin: Origin, replace: bool) -> Result<Written> {
    let context = &client.clients.context;
    let (staging, file) = Staging::file(path, replace)?;
    let failed = |e: io::Error| Error::io("write", staging.partial().display(), &e);
    let compressed = path.extension().is_some_and(|extension| extension == "zst");
    let out = Output::new(BufWriter::with_capacity(1 << 18, Hashed::new(file)), compressed).map_err(failed)?;
    let progress = Progress::bytes(context, format!("dump to {}", path.display()), None);
    let mut sink = Scanned { scan: PlainScan::default(), out: Counted { out, progress }, trouble: None };
    let mut watch = Watch::new(context, "dump.failed", None);
    let ended = client.tool(call, None, Some(&mut sink), &mut watch);
    if let Some(trouble) = sink.trouble.take() {
        return Err(trouble.into_error(path));
    }
    ended?;
    let facts = sink.scan.finish()?;
    if facts.origin != origin {
        return Err(Error::failed("dump.damaged", "the dump begins like one of another program"));
    }
    let hashed = sink.out.out.finish().map_err(failed)?;
    hashed.file.sync_all().map_err(failed)?;
    let (bytes, checksum) = (hashed.bytes, record::hex(&hashed.hash.finalize()));
    Ok(Written { staging, facts, bytes, checksum })
}

/// Plain or compressed.
enum Output {
    Plain(BufWriter<Hashed>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<Hashed>>),
}

impl Output {
    fn new(out: BufWriter<Hashed>, compressed: bool) -> io::Result<Self> {
        if !compressed {
            return Ok(Self::Plain(out));
        }
        Ok(Self::Zstd(compressor(out, 1)?))
    }

    fn finish(self) -> io::Result<Hashed> {
        let out = match self {
            Self::Plain(out) => out,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        out.into_inner().map_err(|e| e.into_error())
    }
}

/// Counts what goes into an [`Output`].
struct Counted {
    out: Output,
    progress: Progress,
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Output::Plain(out) => out.write_all(buf)?,
            Output::Zstd(encoder) => encoder.write_all(buf)?,
        }
        self.progress.advance(buf.len() as u64);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file whose checksum is computed while it is written.
struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn new(file: File) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0 }
    }
}

impl Write for Hashed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf)?;
        self.hash.update(&buf[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The SQL of a plain dump, decompressed.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let failed = |e: io::Error| Error::io("open", path.display(), &e);
    let file = File::open(path).map_err(failed)?;
    match path.extension().is_some_and(|extension| extension == "zst") {
        true => Ok(Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?)),
        false => Ok(Box::new(BufReader::with_capacity(1 << 18, file))),
    }
}

/// Reads a plain dump to its end.
pub fn scan(clients: &Clients, path: &Path) -> Result<PlainFacts> {
    let mut progress = Progress::bytes(&clients.context, format!("reading {}", path.display()), None);
    let mut input = open(path)?;
    let mut scan = PlainScan::default();
    let mut buffer = vec![0; 1 << 18];
    loop {
        clients.context.cancel.check()?;
        let count = input.read(&mut buffer).map_err(|e| unreadable(path, &e))?;
        if count == 0 {
            return scan.finish();
        }
        scan.feed(&buffer[..count])?;
        progress.advance(count as u64);
    }
}

/// A compressed file that was cut or changed does not decompress.
pub fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::io("read", path.display(), error),
        None => Error::failed("dump.damaged", format!("{} is damaged: {error}", path.display())),
    }
}

/// A plain dump without a record, made by hand or by something else.
pub fn open_foreign(clients: &Clients, path: &Path) -> Result<Dump> {
    let facts = scan(clients, path)?;
    if facts.origin != Origin::Cluster {
        let message = format!("{} is pg_dump's dump of one database, not pg_dumpall's of a cluster", path.display());
        return Err(Error::failed("dump.incomplete", message)
            .hint("roles are not in it; psql::file runs it in a database that was made for it"));
    }
    let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (files, bytes) = record::checksums(&clients.context, root, &[file_name(path)])?;
    Ok(Dump {
        path: path.to_owned(),
        system_identifier: String::new(),
        format: Format::Plain,
        server_major: facts.server_major.unwrap_or(0),
        client_major: facts.client_major.unwrap_or(0),
        superuser: String::new(),
        databases: facts.databases,
        bytes,
        files,
        created_at: record::now(),
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Globals alone, into a new file.
pub fn globals(client: &Client<'_>, path: &Path) -> Result<()> {
    let (staging, file) = Staging::file(path, false)?;
    super::dump::globals(client, file, path)?;
    staging.finish().map(|_| ())
}
