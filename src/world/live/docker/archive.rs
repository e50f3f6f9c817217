//! Files into and out of a container, running or not, as tar streams of the engine's archive endpoint.

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

use super::Docker;
use super::errors::{checked_name, during, of_stream};
use super::pipes::{self, Piece, joined};
use crate::world::error::{Error, Result};

/// Two empty blocks end a tar archive.
const TRAILER: usize = 1024;

impl Docker {
    pub(super) fn download(&self, container: &str, path: &str, sink: &mut (dyn Write + Send)) -> Result<u64> {
        std::thread::scope(|scope| {
            let (chunks, waiting) = pipes::outbound();
            let writer = scope.spawn(move || pipes::write_all(waiting, Some(sink)));
            let outcome = self.wait(self.download_into(container, path, chunks));
            match (outcome, joined(writer)) {
                (_, Err(e)) => Err(of_stream("write", &format!("the copy of {path} from container {container}"), e)),
                (Err(e), Ok(_)) => Err(e),
                (Ok(()), Ok(bytes)) => Ok(bytes),
            }
        })
    }

    async fn download_into(&self, container: &str, path: &str, sink: mpsc::Sender<Bytes>) -> Result<()> {
        let action = format!("copy {path} from container {container}");
        let name = checked_name("container", container)?;
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut chunks = Box::pin(self.patient_client().await?.download_from_container(name, Some(options)));
        let mut trailer = Trailer::default();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(during(action.as_str()))?;
            trailer.pass(&chunk);
            if sink.send(chunk).await.is_err() {
                // The writer has failed and says why.
                return Ok(());
            }
        }
        // An engine that fails midway can only stop sending: without the trailer the copy is not whole.
        if trailer.is_whole() {
            return Ok(());
        }
        let message = format!("cannot {action}: the Docker engine's stream ended in the middle");
        Err(Error::failed("docker.failed", message).hint("the engine's log says why (journalctl -u docker)"))
    }

    pub(super) fn upload(&self, container: &str, directory: &str, source: &mut (dyn Read + Send)) -> Result<()> {
        std::thread::scope(|scope| {
            let (pieces, feed) = pipes::inbound();
            let reader = scope.spawn(move || pipes::read_all(source, pieces));
            let outcome = self.wait(self.upload_from(container, directory, feed));
            match (outcome, joined(reader)) {
                (_, Err(e)) => Err(of_stream("read", &format!("what goes into container {container}"), e)),
                (outcome, Ok(())) => outcome,
            }
        })
    }

    async fn upload_from(&self, container: &str, directory: &str, feed: mpsc::Receiver<Piece>) -> Result<()> {
        let action = format!("copy into {directory} of container {container}");
        let name = checked_name("container", container)?;
        let options = UploadToContainerOptionsBuilder::new().path(directory).build();
        let body = stream::unfold(Some(feed), next_piece);
        let client = self.patient_client().await?;
        client.upload_to_container(name, Some(options), bollard::body_try_stream(body)).await.map_err(during(action))
    }
}

/// A source that fails breaks the request off, so that the engine never takes the half for the whole.
async fn next_piece(feed: Option<mpsc::Receiver<Piece>>) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Piece>>)> {
    let mut feed = feed?;
    match feed.recv().await {
        Some(Piece::Data(chunk)) => Some((Ok(chunk), Some(feed))),
        Some(Piece::End) => None,
        None => Some((Err(io::Error::other("the source of the copy failed")), None)),
    }
}

/// Watches a tar stream pass for its end mark.
#[derive(Default)]
struct Trailer {
    length: u64,
    zeros: usize,
}

impl Trailer {
    fn pass(&mut self, chunk: &[u8]) {
        self.length += chunk.len() as u64;
        let zeros = chunk.iter().rev().take(TRAILER).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == chunk.len() { self.zeros + zeros } else { zeros };
    }

    fn is_whole(&self) -> bool {
        self.length.is_multiple_of(512) && self.zeros >= TRAILER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_archive_with_its_trailer_is_whole() {
        let passed = |chunks: &[&[u8]]| {
            let mut trailer = Trailer::default();
            chunks.iter().for_each(|chunk| trailer.pass(chunk));
            trailer.is_whole()
        };
        assert!(!passed(&[]));
        assert!(passed(&[&[7; 512], &[0; 1024]]));
        assert!(passed(&[&[7; 512], &[0; 1000], &[0; 24]]));
        assert!(passed(&[&[[7; 512], [0; 512], [0; 512], [0; 512]].concat()]));
        assert!(!passed(&[&[7; 512], &[0; 512]]));
        assert!(!passed(&[&[7; 512], &[0; 1023]]));
        assert!(!passed(&[&[0; 1024], &[7; 512]]));
    }
}
