//! Streams that are compressed on their way into a file, in zstd's format.

use std::io::{self, Write};
use std::thread;

use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// Each worker holds some megabytes; more than these never waited for a disk to deliver.
const MOST_WORKERS: usize = 8;
/// Bytes that a worker is given at a time: half of what it would take by itself, which it holds several times over.
const JOB: u32 = 1 << 20;

/// What is written to it comes out compressed, with a checksum at the end.
///
/// Errors: what zstd says of the level.
pub fn compressor<W: Write>(out: W, level: i32) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(out, level)?;
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
    encoder.multithread(workers as u32)?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}
