//! Archives through the engine's endpoint: streamed from and to a container that is never started.

use std::io::{self, Read};
use std::thread;

use super::access::{Helper, MOUNT_NAME, MOUNT_PARENT};
use super::copy::CopyError;
use super::member::{Kind, Member, Members, write_header};
use super::pipe::{BROKEN, PipeReader, PipeWriter, pipe, stream_error};
use super::tally::first_line;
use crate::world::Cancel;
use crate::world::error::{Error, Result};

/// The newest major whose own directory is looked for (`<major>/docker`, from 18 on).
const MAJORS: std::ops::RangeInclusive<u32> = 18..=40;

/// Reads the volume's archive with `consume`, which may stop early.
pub fn read<T>(
    helper: &Helper<'_>,
    cancel: &Cancel,
    consume: impl FnOnce(&mut Members<PipeReader>) -> Result<T, CopyError>,
) -> Result<T> {
    let (mut writer, reader) = pipe(cancel);
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let path = format!("{MOUNT_PARENT}{MOUNT_NAME}/.");
            helper.engine.copy_out(&helper.container, &path, &mut writer)?;
            writer.finish().map_err(|e| stream_error("read", "the volume", e))
        });
        let mut members = Members::new(reader);
        let consumed = consume(&mut members);
        // Lets a sender go that still has something to say.
        drop(members);
        let sent =
            sender.join().unwrap_or_else(|_| Err(Error::failed("docker.failed", "reading the volume broke off")));
        match (consumed.map_err(|e| e.into_error("the volume's archive")), sent) {
            (Err(error), Err(reason)) if error.code == BROKEN => Err(reason),
            (consumed, _) => consumed,
        }
    })
}

/// Sends an archive, whose members `produce` writes, into the volume.
pub fn write(
    helper: &Helper<'_>,
    cancel: &Cancel,
    produce: impl FnOnce(&mut PipeWriter) -> Result<()> + Send,
) -> Result<()> {
    let (mut writer, mut reader) = pipe(cancel);
    thread::scope(|scope| {
        let producer = scope.spawn(move || {
            produce(&mut writer)?;
            writer.finish().map_err(|e| stream_error("send", "the backup", e))
        });
        // One directory up: the engine leaves the owner and mode of the directory it unpacks into alone.
        let sent = helper.engine.copy_in(&helper.container, MOUNT_PARENT, &mut reader);
        drop(reader);
        let produced = producer.join().unwrap_or_else(|_| Err(Error::failed("docker.failed", "sending broke off")));
        match (sent, produced) {
            (Err(engine), Err(reason)) if reason.code == BROKEN => Err(engine),
            (_, Err(reason)) => Err(reason),
            (sent, Ok(())) => sent,
        }
    })
}

/// The first line of the cluster's `PG_VERSION`; empty when there is none.
pub fn pg_version(helper: &Helper<'_>, cancel: &Cancel) -> Result<String> {
    let candidates =
        std::iter::once("PG_VERSION".to_owned()).chain(MAJORS.rev().map(|m| format!("{m}/docker/PG_VERSION")));
    for candidate in candidates {
        cancel.check()?;
        if let Some(bytes) = file(helper, &candidate)? {
            return Ok(first_line(&bytes));
        }
    }
    Ok(String::new())
}

/// A small file of the volume; `None` where there is none.
pub fn file(helper: &Helper<'_>, path: &str) -> Result<Option<Vec<u8>>> {
    let path = format!("{MOUNT_PARENT}{MOUNT_NAME}/{path}");
    let mut archive = Vec::new();
    match helper.engine.copy_out(&helper.container, &path, &mut archive) {
        Ok(_) => lone_file(&archive).map_err(|e| Error::io("read", path, &e)),
        Err(e) if e.code == "docker.not_found" => Ok(None),
        Err(e) => Err(e),
    }
}

/// The content of an archive of one file alone.
fn lone_file(archive: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    write_header(&mut whole, "./", &Member::root())?;
    whole.extend_from_slice(archive);
    let mut members = Members::new(whole.as_slice());
    while let Some(member) = members.next()? {
        if member.kind == Kind::File {
            let mut bytes = Vec::new();
            members.read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
