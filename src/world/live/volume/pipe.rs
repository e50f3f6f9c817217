//! A bounded pipe between two threads that tells an end from a failure.
//!
//! An operating system's pipe ends the same way in both cases; a tar stream that ends early must never look whole.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::world::Cancel;
use crate::world::error::Error;

/// Bytes handed over at a time.
const PIECE: usize = 128 << 10;
/// Pieces under way at most: 2 MiB.
const PIECES: usize = 16;

enum Message {
    Bytes(Vec<u8>),
    End,
}

pub fn pipe(cancel: &Cancel) -> (PipeWriter, PipeReader) {
    let (sender, receiver) = sync_channel(PIECES);
    let writer = PipeWriter { sender, cancel: cancel.clone(), gathered: Vec::with_capacity(PIECE) };
    (writer, PipeReader { receiver, current: Vec::new(), at: 0, ended: false })
}

/// The end that is written to; dropped without [`PipeWriter::finish`], the reader gets an error.
pub struct PipeWriter {
    sender: SyncSender<Message>,
    cancel: Cancel,
    gathered: Vec<u8>,
}

impl PipeWriter {
    pub fn finish(mut self) -> io::Result<()> {
        self.hand_over()?;
        self.send(Message::End)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE));
        self.send(Message::Bytes(piece))
    }

    /// Waits for room, but not beyond a cancellation: the reader may be inside a slow fsync.
    fn send(&self, mut message: Message) -> io::Result<()> {
        loop {
            message = match self.sender.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(broken(ErrorKind::BrokenPipe)),
                Err(TrySendError::Full(message)) => message,
            };
            self.cancel.check().map_err(io::Error::other)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        if self.gathered.len() == PIECE {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that is read from. Dropped early, the writer gets `BrokenPipe`.
pub struct PipeReader {
    receiver: Receiver<Message>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl PipeReader {
    /// The next bytes as they were handed over; `None` at the end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        match self.receiver.recv() {
            Ok(Message::Bytes(bytes)) => Ok(Some(bytes)),
            Ok(Message::End) => {
                self.ended = true;
                Ok(None)
            }
            Err(_) => Err(broken(ErrorKind::ConnectionAborted)),
        }
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let Some(piece) = self.piece()? else { return Ok(0) };
            (self.current, self.at) = (piece, 0);
        }
        let taken = buffer.len().min(self.current.len() - self.at);
        buffer[..taken].copy_from_slice(&self.current[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// Code of a stream's error that only says that its other end gave up; that end knows the reason.
pub const BROKEN: &str = "stream.broken";

fn broken(kind: ErrorKind) -> io::Error {
    io::Error::new(kind, Error::failed(BROKEN, "the other end of a stream gave up"))
}

/// The error behind an [`io::Error`]: one of ours that passed through a stream, or a new one.
pub fn stream_error(action: &str, target: impl std::fmt::Display, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::io(action, target, &error),
    }
}
