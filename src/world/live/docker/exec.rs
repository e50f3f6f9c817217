//! A command in a running container, its three streams, and its certain end. On a terminal: see `terminal`.
//!
//! The engine has no call that ends such a command, and closing the connection only closes its standard
//! input: psql would take that for the end of the script and commit half of it. So a command that has to
//! stop is found by a mark in its environment and sent a signal, and only then its input is closed.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Docker;
use super::errors::{checked_name, during, is_missing, of_stream};
use super::pipes::{self, Piece, joined};
use crate::event::Event;
use crate::world::container::{ExecSpec, Streams};
use crate::world::error::{Error, Result};

/// In the environment of every command, so that it and its children can be found.
const MARK: &str = "PGSCRIPT_EXEC";
/// How long ending a command may take altogether; the signals' own grace is 1 s.
const ENDING: Duration = Duration::from_secs(20);
/// The engine sends frames of at most 32 KiB.
const FRAME: usize = 64 << 10;
/// How the engine's own words begin when it could not run the command; they come as its standard output.
const NOT_RUN: &[u8] = b"OCI runtime exec failed";

/// The keys that would leave a command to itself. By default the first is Ctrl-P, which the engine then holds back
/// until the next key, although it means "the line before" in every shell; and nobody wants to leave a command here.
const NEVER_TYPED: [&str; 12] = ["ctrl-@"; 12];

/// Sends the signals `$2` to all that carry the mark `$1`, waits up to 1 s, then sends KILL. All are stopped first,
/// lest a shell goes on with its next command when it sees the one before end. `grep` without `-F`, which in busybox
/// sees only the first variable; its own environment has no mark, the mark is only an argument here.
const END_MARKED: &str = r#"
marked() { grep -ls "$1" /proc/[0-9]*/environ 2>/dev/null; }
send() { for f in $(marked "$2"); do p=${f#/proc/}; kill -"$1" "${p%%/*}" 2>/dev/null; done; }
send STOP "$1"
send STOP "$1"
for signal in $2; do send "$signal" "$1"; done
send CONT "$1"
i=0
while [ $i -lt 20 ]; do
  [ -z "$(marked "$1")" ] && exit 0
  sleep 0.05
  i=$((i+1))
done
send KILL "$1"
"#;

pub(super) type Lines = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// A command that runs, and the ends of its streams.
pub(super) struct Attached {
    pub(super) input: Pin<Box<dyn AsyncWrite + Send>>,
    pub(super) output: Lines,
}

/// What the command has for standard input and output.
pub(super) enum Plug {
    /// Two outputs, and an input if it gets one.
    Streams { input: bool },
    /// A terminal of so many columns and rows at first, as far as they are known.
    Terminal(Option<(u16, u16)>),
}

/// Why the streams did not come to their natural end.
enum Broken {
    /// The caller's reader failed, its thread knows why.
    Source,
    /// One of the caller's writers failed, its thread knows why.
    Sink,
    Engine(Error),
}

/// One command: what to call it in messages, and how to find it.
pub(super) struct Call<'a> {
    pub(super) docker: &'a Docker,
    container: &'a str,
    spec: &'a ExecSpec,
    mark: String,
    /// The signals that end it politely.
    ending: &'static str,
}

impl Docker {
    pub(super) fn exec_streams(&self, container: &str, spec: &ExecSpec, streams: Streams<'_>) -> Result<i64> {
        let call = Call::new(self, container, spec)?;
        let id = self.wait(call.create(Plug::Streams { input: streams.stdin.is_some() }))?;
        // From here on the command may run, whatever happens to the answer.
        let mut attached = self.wait(call.start(&id)).inspect_err(|_| call.end(&id, None))?;
        std::thread::scope(|scope| {
            let (pieces, feed) = pipes::inbound();
            let (stdout, stdout_chunks) = pipes::outbound();
            let (stderr, stderr_chunks) = pipes::outbound();
            let reader = streams.stdin.map(|source| scope.spawn(move || pipes::read_all(source, pieces)));
            let out = scope.spawn(move || pipes::write_all(stdout_chunks, streams.stdout));
            let err = scope.spawn(move || pipes::write_all(stderr_chunks, streams.stderr));
            let feed = reader.is_some().then_some(feed);
            // The senders and the receiver go into this call and end with it; so do the threads.
            let outcome = call.converse(&id, &mut attached, feed, Sinks { stdout, stderr });
            let read = reader.map(joined).transpose();
            let written = joined(out).and(joined(err));
            call.verdict(outcome, read.map(|_| ()), written.map(|_| ()))
        })
    }
}

/// Where the command's output goes.
struct Sinks {
    stdout: mpsc::Sender<Bytes>,
    stderr: mpsc::Sender<Bytes>,
}

impl<'a> Call<'a> {
    pub(super) fn new(docker: &'a Docker, container: &'a str, spec: &'a ExecSpec) -> Result<Self> {
        Ok(Self { docker, container, spec, mark: fresh_mark()?, ending: "TERM" })
    }
}

impl Call<'_> {
    /// At a terminal a shell is deaf to TERM: it ends as when its window is closed.
    pub(super) fn at_terminal(self) -> Self {
        Self { ending: "HUP TERM", ..self }
    }

    /// `run pg_dump in container primero-postgres-1`; never the arguments, never the environment.
    pub(super) fn action(&self) -> String {
        let program = self.spec.argv.first().map_or("nothing", String::as_str);
        format!("run {program} in container {}", self.container)
    }

    pub(super) async fn create(&self, plug: Plug) -> Result<String> {
        let name = checked_name("container", self.container)?;
        let mut env = self.spec.env.clone();
        env.push(self.mark.clone());
        let (input, terminal) = match plug {
            Plug::Streams { input } => (input, None),
            Plug::Terminal(size) => (true, Some(size)),
        };
        let config = ExecConfig {
            attach_stdin: Some(input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(terminal.is_some()),
            // An older engine ignores the size, and is told it once the command runs.
            console_size: terminal.flatten().map(|(columns, rows)| vec![rows.into(), columns.into()]),
            detach_keys: terminal.map(|_| NEVER_TYPED.join(",")),
            env: Some(env),
            cmd: Some(self.spec.argv.clone()),
            user: self.spec.user.clone(),
            working_dir: self.spec.working_dir.clone(),
            ..Default::default()
        };
        let client = self.docker.client().await?;
        let id = client.create_exec(name, config).await.map_err(during(self.action()))?.id;
        self.docker.own_execs.add(&id);
        Ok(id)
    }

    /// With a terminal too the output comes in frames: `tty` in this request says no more than that, and without frames
    /// the library would take a NUL for the beginning of one.
    pub(super) async fn start(&self, id: &str) -> Result<Attached> {
        let options = StartExecOptions { detach: false, tty: false, output_capacity: Some(FRAME) };
        let client = self.docker.patient_client().await?;
        match client.start_exec(id, Some(options)).await.map_err(during(self.action()))? {
            StartExecResults::Attached { output, input } => Ok(Attached { input, output }),
            StartExecResults::Detached => Err(self.failed("the Docker engine detached it")),
        }
    }

    /// Carries the streams to their end, then asks for the exit code. Whatever goes wrong: on return
    /// the command has ended.
    fn converse(
        &self,
        id: &str,
        attached: &mut Attached,
        feed: Option<mpsc::Receiver<Piece>>,
        sinks: Sinks,
    ) -> Result<i64, Broken> {
        let context = &self.docker.context;
        let carried = context.wait(async { Ok(self.carry(attached, feed, sinks).await) });
        let outcome = match carried {
            Ok(Ok(())) => context.wait(self.exit_code(id)).map_err(Broken::Engine),
            Ok(Err(broken)) => Err(broken),
            Err(cancelled) => Err(Broken::Engine(cancelled)),
        };
        if outcome.is_err() {
            self.end(id, Some(attached));
        }
        outcome
    }

    async fn carry(
        &self,
        attached: &mut Attached,
        feed: Option<mpsc::Receiver<Piece>>,
        sinks: Sinks,
    ) -> Result<(), Broken> {
        let Attached { input, output } = attached;
        tokio::select! {
            Err(broken) = feed_all(input, feed) => Err(broken),
            ended = self.drain(output, &sinks) => ended,
            () = sinks.stdout.closed() => Err(Broken::Sink),
            () = sinks.stderr.closed() => Err(Broken::Sink),
        }
    }

    async fn drain(&self, output: &mut Lines, sinks: &Sinks) -> Result<(), Broken> {
        let mut first = true;
        while let Some(frame) = output.next().await {
            let frame = frame.map_err(during(self.action())).map_err(Broken::Engine)?;
            let (sink, chunk) = match frame {
                // The engine's reason why nothing ran must not end up in a dump.
                LogOutput::StdOut { message } if first && message.starts_with(NOT_RUN) => (&sinks.stderr, message),
                LogOutput::StdOut { message } => (&sinks.stdout, message),
                LogOutput::StdErr { message } => (&sinks.stderr, message),
                LogOutput::StdIn { .. } => continue,
                // Without a terminal every byte has a frame: what has none is half of one.
                LogOutput::Console { .. } => return Err(Broken::Engine(self.failed("its output was cut off"))),
            };
            first = false;
            sink.send(chunk).await.map_err(|_| Broken::Sink)?;
        }
        Ok(())
    }

    /// Both outputs are closed; the command itself may go on, so this waits as long as it takes.
    pub(super) async fn exit_code(&self, id: &str) -> Result<i64> {
        let mut pause = Duration::from_millis(5);
        loop {
            let state = self.state(id).await?;
            match (state.running, state.exit_code) {
                (Some(false), Some(code)) => return self.checked_code(code).await,
                // Neither running nor ended: the container went down before the command ever ran.
                (Some(false), None) => return Err(self.failed("it never started")),
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
            if pause.as_millis() >= 100 {
                self.alive().await?;
            }
        }
    }

    async fn state(&self, id: &str) -> Result<ExecInspectResponse> {
        match self.docker.client().await?.inspect_exec(id).await {
            // The engine forgets the commands of a container that has ended.
            Err(e) if is_missing(&e) => Err(self.gone().await),
            answer => answer.map_err(during(self.action())),
        }
    }

    /// 137 is what a killed command gives, and what is left when its container was killed: that shows
    /// in the container's state a moment later.
    async fn checked_code(&self, code: i64) -> Result<i64> {
        const KILLED: i64 = 137;
        for _ in 0..10 {
            if code != KILLED {
                break;
            }
            self.alive().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(code)
    }

    async fn alive(&self) -> Result<()> {
        match self.docker.inspect_container(self.container).await {
            Ok(container) if matches!(container.state.as_str(), "running" | "paused") => Ok(()),
            _ => Err(self.gone().await),
        }
    }

    async fn gone(&self) -> Error {
        match self.docker.inspect_container(self.container).await {
            Ok(container) if matches!(container.state.as_str(), "removing" | "dead") => self.removed(),
            Ok(container) => self.failed(&format!("the container ended meanwhile (it is {})", container.state)),
            Err(e) if e.code == "docker.not_found" => self.removed(),
            Err(e) => e,
        }
    }

    fn removed(&self) -> Error {
        Error::failed("docker.not_found", format!("cannot {}: the container was removed meanwhile", self.action()))
    }

    fn failed(&self, reason: &str) -> Error {
        Error::failed("docker.failed", format!("cannot {}: {reason}", self.action()))
    }

    /// The one error worth telling: what broke first explains the rest.
    fn verdict(&self, outcome: Result<i64, Broken>, read: io::Result<()>, written: io::Result<()>) -> Result<i64> {
        let target = |what: &str| {
            let program = self.spec.argv.first().map_or("", String::as_str);
            format!("the {what} of {program} in container {}", self.container)
        };
        match (outcome, read, written) {
            (Err(Broken::Engine(error)), _, _) => Err(self.docker.at_engine(error)),
            (_, _, Err(e)) => Err(of_stream("write", &target("output"), e)),
            // It ended by itself: what it says counts, not what it left unread.
            (Ok(code), _, _) => Ok(code),
            (Err(_), Err(e), _) => Err(of_stream("read", &target("input"), e)),
            (Err(_), _, _) => Err(self.failed("a stream closed early")),
        }
    }

    /// Ends the command in the container, cancelled or not. `attached` keeps its input open until it is dead
    /// and takes its output, without which the engine would not see it end.
    pub(super) fn end(&self, id: &str, attached: Option<&mut Attached>) {
        let ended = self.docker.context.wait_uncancelled(async {
            tokio::select! {
                ended = tokio::time::timeout(ENDING, self.end_marked(id)) => ended.unwrap_or(false),
                never = discard(attached) => match never {},
            }
        });
        if !ended {
            let program = self.spec.argv.first().map_or("", String::as_str);
            let text = format!("{program} may still run in container {}; it could not be ended", self.container);
            self.docker.context.emit(Event::Warn { text });
        }
    }

    /// Whether the command has ended. A start under way when we gave up may only show now: asked again.
    async fn end_marked(&self, id: &str) -> bool {
        for attempt in 0..5 {
            match self.docker.client().await {
                Err(_) => return false,
                Ok(client) => match client.inspect_exec(id).await {
                    Err(e) => return is_missing(&e),
                    Ok(state) if state.running == Some(false) && (state.exit_code.is_some() || attempt > 2) => {
                        return true;
                    }
                    Ok(state) if state.running == Some(false) => {}
                    Ok(_) => _ = self.signal().await,
                },
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// As the same user: nobody else may read the environment of a process, not even root without ptrace. So a
    /// command that has changed its user meanwhile is not found, and the operator is warned.
    async fn signal(&self) -> Result<()> {
        let argv = ["sh", "-c", END_MARKED, "sh", &self.mark, self.ending].map(String::from).to_vec();
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv),
            user: self.spec.user.clone(),
            ..Default::default()
        };
        let client = self.docker.patient_client().await?;
        let ender = client.create_exec(self.container, config).await.map_err(during("end a command"))?;
        let started = client.start_exec(&ender.id, None).await.map_err(during("end a command"))?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while output.next().await.is_some() {}
        }
        Ok(())
    }
}

/// Returns only when feeding must stop everything. A command that reads no further is not an error:
/// its exit code tells, so from then on this waits for the output to end.
async fn feed_all(
    input: &mut Pin<Box<dyn AsyncWrite + Send>>,
    feed: Option<mpsc::Receiver<Piece>>,
) -> Result<Infallible, Broken> {
    if let Some(mut feed) = feed {
        loop {
            match feed.recv().await {
                Some(Piece::Data(chunk)) if input.write_all(&chunk).await.is_ok() => {}
                Some(Piece::Data(_)) => break,
                Some(Piece::End) => {
                    _ = input.shutdown().await;
                    break;
                }
                None => return Err(Broken::Source),
            }
        }
    }
    pending().await
}

async fn discard(attached: Option<&mut Attached>) -> Infallible {
    if let Some(attached) = attached {
        while let Some(Ok(_)) = attached.output.next().await {}
    }
    pending().await
}

/// `PGSCRIPT_EXEC=` and 128 random bits.
fn fresh_mark() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| Error::failed("host.io", format!("cannot get random bytes: {e}")))?;
    let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{MARK}={hex}"))
}
