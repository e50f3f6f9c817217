//! One server straight into another, without a file.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Mutex;

use super::client::{Call, Client};
use super::watch::Watch;
use super::{Clients, databases, dump, globals, ready, restore};
use crate::world::error::{Error, Result};
use crate::world::live::progress::Progress;
use crate::world::postgres::{DumpOptions, RestoreReport, Server};
use crate::world::session::Purpose;

/// `pg_dump` of the source into `pg_restore` of the target, database by database.
pub fn transfer(clients: &Clients, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport> {
    let source_major = ready::version(clients, source)?.major;
    let chosen = databases::to_dump(clients, source, &options.databases)?;
    let filled = restore::Target::prepare(clients, target, source_major)?;
    // The target's programs are as new as both ends; they dump as well, unless an image is named.
    let image = match &options.client_image {
        Some(image) => image.clone(),
        None => clients.containers.container(&target.container)?.image_id,
    };
    let from = Client::beside(clients, source, Some(&image), None)?;
    let into = restore::programs(clients, target, options.client_image.as_deref())?;
    let client_major = dump::require_new_client(&from, source, source_major)?;
    let compress = dump::compression(&from, client_major, options.compress.as_deref())?;
    let expected = roles(&from, &into, &filled)?;
    for database in &chosen {
        let maintenance = filled.make_room(&database.name).map_err(|error| filled.half_done(error))?;
        let argv = ["pg_dump", "--format=custom", "--no-password", "--quote-all-identifiers", "--compress", &compress];
        let dumping = database.dumping(&argv);
        let progress = Progress::bytes(&clients.context, format!("transfer of {}", database.name), None);
        let moved = pipe((&from, dumping), Some(progress), |stdin| {
            let mut watch = Watch::new(&clients.context, "restore.unexpected_error", None);
            into.tool(restore::from_stdin(&maintenance), Some(stdin), None, &mut watch)
        });
        moved.map_err(|error| filled.half_done(error))?;
    }
    Ok(RestoreReport { databases: chosen.into_iter().map(|database| database.name).collect(), expected })
}

fn roles(
    from: &Client<'_>,
    into: &Client<'_>,
    target: &restore::Target<'_>,
) -> Result<Vec<crate::world::postgres::ExpectedError>> {
    let sql = globals::dumped(from, &[])?;
    let maintenance = target.maintenance("")?;
    globals::run(into, &maintenance, &target.known, Purpose::Loading, &mut sql.as_slice(), None)
        .map_err(|e| target.half_done(e))
}

/// A program whose output `into` reads; each end's failure ends the other, and the first cause is the error.
pub fn pipe(
    from: (&Client<'_>, Call<'_>),
    progress: Option<Progress>,
    into: impl FnOnce(&mut (dyn Read + Send)) -> Result<()>,
) -> Result<()> {
    let context = &from.0.clients.context;
    let (reader, writer) = io::pipe().map_err(|e| Error::io("create", "a pipe", &e))?;
    let first: Mutex<Option<Error>> = Mutex::new(None);
    let note = |error: Error| {
        first.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Both ends of the pipe belong to the programs' closures: an end that returns closes its side.
            let mut sink = Counted { out: BufWriter::with_capacity(1 << 16, writer), progress };
            let mut watch = Watch::new(context, "dump.failed", None);
            let dumped = from.0.tool(from.1, None, Some(&mut sink), &mut watch);
            let dumped = dumped.and_then(|()| sink.out.flush().map_err(|e| Error::io("write", "the pipe", &e)));
            if let Err(error) = dumped {
                note(error);
            }
        });
        let mut reader = reader;
        if let Err(error) = into(&mut reader) {
            note(error);
        }
        drop(reader);
    });
    first.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), Err)
}

/// Counts the bytes on their way.
struct Counted<W: Write> {
    out: W,
    progress: Option<Progress>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write_all(buf)?;
        if let Some(progress) = self.progress.as_mut() {
            progress.advance(buf.len() as u64);
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
