//! Copying members from one archive into another.

use std::io::{self, Read, Write};

use super::member::{END_MARK, Member, padding, write_header};
use super::pipe::stream_error;
use crate::world::Cancel;
use crate::world::error::{Error, Result};

/// Which side of a copy failed: the archive that is read, whose error tells how it is damaged, or the target.
pub enum CopyError {
    Source(io::Error),
    Target(Error),
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        Self::Target(error)
    }
}

impl CopyError {
    pub fn into_error(self, source: &str) -> Error {
        match self {
            Self::Source(error) => stream_error("read", source, error),
            Self::Target(error) => error,
        }
    }
}

/// Writes members and their content into an archive, below the directory `root` (`./`, `data/`).
pub struct Copier<'a> {
    out: &'a mut dyn Write,
    root: String,
    buffer: Vec<u8>,
    cancel: Cancel,
}

impl<'a> Copier<'a> {
    pub fn new(out: &'a mut dyn Write, root: impl Into<String>, cancel: &Cancel) -> Self {
        Self { out, root: root.into(), buffer: vec![0; 256 << 10], cancel: cancel.clone() }
    }

    pub fn add(
        &mut self,
        member: &Member,
        content: &mut dyn Read,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), CopyError> {
        write_header(self.out, &self.root, member).map_err(target)?;
        loop {
            self.cancel.check()?;
            let read = content.read(&mut self.buffer).map_err(CopyError::Source)?;
            if read == 0 {
                self.out.write_all(padding(member.size)).map_err(target)?;
                return Ok(());
            }
            self.out.write_all(&self.buffer[..read]).map_err(target)?;
            advance(read as u64);
        }
    }

    /// Writes the end mark.
    pub fn finish(self) -> Result<()> {
        self.out.write_all(&END_MARK).map_err(target)
    }
}

fn target(error: io::Error) -> Error {
    stream_error("write", "the archive", error)
}
