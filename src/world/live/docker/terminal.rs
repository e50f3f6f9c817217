//! A command in a running container on the operator's own terminal, as `docker exec -it` runs it.
//!
//! The engine gives the command a terminal of its own. Keys go there as they are, and what it writes comes to ours as
//! it is; the size of ours is told whenever it changes. See [`crate::world::live::terminal`] for our side.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, PipeReader};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::exec::ResizeExecOptions;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Docker;
use super::errors::during;
use super::exec::{Attached, Call, Lines, Plug};
use super::pipes::{self, Piece, joined};
use crate::world::container::ExecSpec;
use crate::world::error::{Error, Result};
use crate::world::live::terminal::{self, Raw, Screen};

/// As much is read of a paste at once.
const KEYS: usize = 4096;
/// The engine cannot set the size of what it is only starting: tried so often, with a pause that grows.
const RESIZES: u32 = 20;
const RESIZE_PAUSE: Duration = Duration::from_millis(10);
/// Keys cannot say that nobody takes them any more: so the engine is asked whether it is there, and given up after so
/// long without an answer.
const PULSE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);

impl Docker {
    pub(super) fn exec_terminal(&self, container: &str, spec: &ExecSpec) -> Result<i64> {
        let program = spec.argv.first().map_or("nothing", String::as_str);
        terminal::require(&format!("to run {program} in container {container} on"))?;
        let mut spec = spec.clone();
        spec.default_env(&format!("TERM={}", terminal::kind()));
        let call = Call::new(self, container, &spec)?.at_terminal();
        let id = self.wait(call.create(Plug::Terminal(terminal::size())))?;
        let raw = Raw::enter()?;
        // From here on the command may run, whatever happens to the answer.
        let (outcome, mut attached) = match self.wait(call.start(&id)) {
            Ok(mut attached) => (call.on_terminal(&id, &mut attached), Some(attached)),
            Err(error) => (Err(error), None),
        };
        // Whatever is told, or waited for, from here on: the terminal is the operator's again, and so is Ctrl-C.
        drop(raw);
        let outcome = outcome.inspect_err(|_| terminal::tidy()).and_then(|()| self.wait(call.exit_code(&id)));
        if outcome.is_err() {
            call.end(&id, attached.as_mut());
        }
        outcome
    }
}

impl Call<'_> {
    /// Keys in, screen out, until the command ends, or what carries them.
    fn on_terminal(&self, id: &str, attached: &mut Attached) -> Result<()> {
        let (ended, end) = io::pipe().map_err(|e| terminal::unusable(&e))?;
        std::thread::scope(|scope| {
            // Closed when this is over, come what may: the reader of the keys ends with it, and leaves the next one.
            let end = end;
            let (pieces, feed) = pipes::inbound();
            let (screen, chunks) = pipes::outbound();
            let reader = scope.spawn(move || read_keys(&ended, &pieces));
            let writer = scope.spawn(move || pipes::write_all(chunks, Some(&mut Screen)));
            // The receiver and the sender go into this call and end with it.
            let outcome = self.docker.wait(self.converse_on_terminal(id, attached, feed, screen));
            drop(end);
            let (read, written) = (joined(reader), joined(writer));
            match (outcome, written, read) {
                (Err(gone), Err(e), _) | (Err(gone), _, Err(e)) if gone.code == GONE => Err(terminal::unusable(&e)),
                (outcome, ..) => outcome,
            }
        })
    }

    async fn converse_on_terminal(
        &self,
        id: &str,
        attached: &mut Attached,
        feed: mpsc::Receiver<Piece>,
        screen: mpsc::Sender<Bytes>,
    ) -> Result<()> {
        let Attached { input, output } = attached;
        tokio::select! {
            Err(gone) = feed_keys(input, feed) => Err(gone),
            ended = self.show(output, &screen) => ended,
            Err(error) = self.follow_size(id) => Err(error),
            Err(error) = self.watch() => Err(error),
            () = screen.closed() => Err(gone()),
        }
    }

    /// Ends with the command's output, which is when the last has closed the command's terminal.
    async fn show(&self, output: &mut Lines, screen: &mpsc::Sender<Bytes>) -> Result<()> {
        while let Some(frame) = output.next().await {
            let message = match frame.map_err(during(self.action()))? {
                // The last is of an engine that puts no frames around it.
                LogOutput::StdOut { message } | LogOutput::StdErr { message } | LogOutput::Console { message } => {
                    message
                }
                LogOutput::StdIn { .. } => continue,
            };
            screen.send(message).await.map_err(|_| gone())?;
        }
        Ok(())
    }

    async fn follow_size(&self, id: &str) -> Result<Infallible> {
        let mut changes = signal(SignalKind::window_change()).map_err(|e| terminal::unusable(&e))?;
        loop {
            if let Some((width, height)) = terminal::size() {
                self.resize(id, ResizeExecOptions { height, width }).await?;
            }
            changes.recv().await;
        }
    }

    /// A wrong size is no reason to end: whoever sees it changes it.
    async fn resize(&self, id: &str, size: ResizeExecOptions) -> Result<()> {
        let client = self.docker.client().await?;
        for attempt in 1..=RESIZES {
            if client.resize_exec(id, size).await.is_ok() {
                break;
            }
            tokio::time::sleep(RESIZE_PAUSE * attempt).await;
        }
        Ok(())
    }

    /// Ends when the engine has been silent for too long. Where the connection closes, the output ends by itself.
    async fn watch(&self) -> Result<Infallible> {
        let client = self.docker.client().await?.clone();
        let mut heard = Instant::now();
        loop {
            tokio::time::sleep(PULSE).await;
            if let Ok(Ok(_)) = tokio::time::timeout(PULSE, client.ping()).await {
                heard = Instant::now();
            }
            if heard.elapsed() >= SILENCE {
                let seconds = heard.elapsed().as_secs();
                let reason = format!("the Docker engine has been silent for {seconds} s");
                let message = format!("cannot {}: {reason}", self.action());
                return Err(
                    Error::unavailable("docker.unreachable", message).hint("is the Docker daemon still running?")
                );
            }
        }
    }
}

/// Runs on a thread of its own, until the other end of `ended` is closed.
fn read_keys(ended: &PipeReader, pieces: &mpsc::Sender<Piece>) -> io::Result<()> {
    let mut buffer = [0; KEYS];
    loop {
        let piece = match terminal::keys(ended, &mut buffer)? {
            None => return Ok(()),
            Some(0) => Piece::End,
            Some(length) => Piece::Data(Bytes::copy_from_slice(&buffer[..length])),
        };
        let has_gone = matches!(piece, Piece::End);
        if pieces.blocking_send(piece).is_err() || has_gone {
            return Ok(());
        }
    }
}

/// Ends only when the terminal has gone. A command that takes no more keys shows its end in its output.
async fn feed_keys(input: &mut Pin<Box<dyn AsyncWrite + Send>>, mut feed: mpsc::Receiver<Piece>) -> Result<Infallible> {
    while let Some(Piece::Data(keys)) = feed.recv().await {
        let typed = async {
            input.write_all(&keys).await?;
            // A key is not held back until the next one comes.
            input.flush().await
        };
        if typed.await.is_err() {
            return pending().await;
        }
    }
    Err(gone())
}

const GONE: &str = "ui.terminal";

/// The operator's terminal was closed, or cannot be read or written.
fn gone() -> Error {
    Error::failed(GONE, "the terminal has gone away")
}
