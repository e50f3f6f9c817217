//! Between the caller's synchronous streams and the engine's asynchronous ones: bounded channels, so
//! that memory stays the same whatever the size, and the slower side sets the pace.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

const CHUNK: usize = 64 << 10;
/// With [`CHUNK`]: at most 1 MiB waits in each direction.
const DEPTH: usize = 16;

/// What comes out of the caller's reader. The end is a message of its own: a channel that merely
/// closes means that the reader failed, and must not look like the end of the data.
pub(super) enum Piece {
    Data(Bytes),
    End,
}

pub(super) fn inbound() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(DEPTH)
}

pub(super) fn outbound() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(DEPTH)
}

/// Reads to the end, or until nobody takes the pieces any more. Runs on a thread of its own.
pub(super) fn read_all(source: &mut dyn Read, pieces: mpsc::Sender<Piece>) -> io::Result<()> {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let piece = match source.read(&mut chunk) {
            Ok(0) => Piece::End,
            Ok(length) => {
                chunk.truncate(length);
                Piece::Data(chunk.freeze())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let ended = matches!(piece, Piece::End);
        if pieces.blocking_send(piece).is_err() || ended {
            return Ok(());
        }
    }
}

/// Writes all that comes; without a sink it is dropped. Gives the bytes taken. Runs on a thread of its own.
pub(super) fn write_all(mut chunks: mpsc::Receiver<Bytes>, sink: Option<&mut (dyn Write + Send)>) -> io::Result<u64> {
    let mut nowhere = io::sink();
    let sink: &mut dyn Write = match sink {
        Some(sink) => sink,
        None => &mut nowhere,
    };
    let mut written = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        sink.write_all(&chunk)?;
        written += chunk.len() as u64;
    }
    sink.flush()?;
    Ok(written)
}

/// The value of a scoped thread; its panic goes on in the caller.
pub(super) fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
