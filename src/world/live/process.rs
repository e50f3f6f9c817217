//! Child processes: streamed lines, ended as a group when cancelled.

use std::collections::VecDeque;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group, setsid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::time::{Instant, sleep_until};

use super::Context;
use crate::world::Redactor;
use crate::world::error::{Error, Result};

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// 128 + n for a child ended by signal n.
    pub exit_code: i64,
    /// At most the last 1 MiB.
    pub stdout: Vec<u8>,
    /// At most the last 1 MiB.
    pub stderr: Vec<u8>,
}

/// What to run: argv (never a shell string), looked up in `PATH`; `env` is added to our own environment.
pub struct Child<'a> {
    pub argv: &'a [String],
    pub dir: Option<&'a Path>,
    pub env: &'a [(String, String)],
    /// Nothing to read when `None`.
    pub stdin: Option<&'a [u8]>,
}

/// Bytes kept of each stream.
const TAIL: usize = 1 << 20;
/// A line longer than this (bytes) is handed on in pieces, but no secret is.
const LONGEST_LINE: usize = 64 << 10;
/// After Ctrl-C: when to become more insistent than SIGINT.
const TERMINATE_AFTER: Duration = Duration::from_secs(2);
const KILL_AFTER: Duration = Duration::from_secs(5);
/// A background process (ssh's ControlPersist master for one) may keep our pipes open after the child's end:
/// how long its silence is waited for, and how long it may go on talking.
const SILENCE: Duration = Duration::from_millis(200);
const SILENCE_CANCELLED: Duration = Duration::from_millis(50);
const AFTERMATH: Duration = Duration::from_secs(5);

/// The program that a name means to [`run`], as an absolute path: a name with a slash is a path itself, any other is
/// looked up in `PATH`. `None` where there is none that we may run.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![name.into()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join(name)).collect()
    };
    let found = candidates.into_iter().find(|path| is_program(path))?;
    std::path::absolute(found).ok()
}

/// Whether a path is a file that we may run. The kernel is asked: it also knows of owners, and of file systems from
/// which nothing may be run.
pub fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Runs a child in its own session and process group, without a terminal, so that nothing below it can ask
/// questions. Each line of both streams goes to `line` as it comes (lossy UTF-8, without newline; the flag says
/// whether it is stderr's). Cancelled: SIGINT to the group, SIGTERM after 2 s, SIGKILL after 5 s; the child is
/// reaped before this returns. An exit code other than 0 is no error here.
///
/// Codes: `host.command_not_found`, `host.not_found` (the directory), `host.permission`, `cancelled`.
pub fn run(context: &Context, child: &Child<'_>, line: &mut dyn FnMut(bool, &str)) -> Result<Ended> {
    context.cancel.check()?;
    context.runtime.block_on(drive(context, child, line))
}

async fn drive(context: &Context, child: &Child<'_>, line: &mut dyn FnMut(bool, &str)) -> Result<Ended> {
    let token = context.cancel.token();
    let mut process = spawn(child)?;
    let group = process.id().and_then(|id| Pid::from_raw(id as i32));
    let mut stdout = Lines::new(process.stdout.take(), false, &context.redactor);
    let mut stderr = Lines::new(process.stderr.take(), true, &context.redactor);
    let mut feed = Box::pin(feed(process.stdin.take(), child.stdin.unwrap_or_default()));
    let mut fed = false;
    let mut ending = Ending::default();
    let mut exit: Option<ExitStatus> = None;
    // Once the child has ended: when to stop listening to what it left behind.
    let (mut quiet_at, mut last_word) = (Instant::now(), Instant::now());
    while exit.is_none() || stdout.is_open() || stderr.is_open() {
        let silence = if ending.begun() { SILENCE_CANCELLED } else { SILENCE };
        tokio::select! {
            () = token.cancelled(), if !ending.begun() => ending.begin(group),
            () = sleep_until(ending.next), if ending.begun() && exit.is_none() => ending.insist(group),
            status = process.wait(), if exit.is_none() => {
                exit = Some(status.map_err(|e| Error::io("wait for", program(child), &e))?);
                if ending.begun() {
                    signal(group, Signal::KILL);
                }
                (quiet_at, last_word) = (Instant::now() + silence, Instant::now() + AFTERMATH);
            }
            () = &mut feed, if !fed => fed = true,
            () = stdout.fill() => { stdout.hand_on(line); quiet_at = Instant::now() + silence }
            () = stderr.fill() => { stderr.hand_on(line); quiet_at = Instant::now() + silence }
            () = sleep_until(quiet_at.min(last_word)), if exit.is_some() => break,
        }
    }
    stdout.hand_on_rest(line);
    stderr.hand_on_rest(line);
    // A child that ended well just before Ctrl-C has done its work; the caller's next check sees the cancellation.
    match exit {
        Some(status) if !ending.begun() => {
            Ok(Ended { exit_code: exit_code(status), stdout: stdout.tail.into(), stderr: stderr.tail.into() })
        }
        _ => Err(Error::cancelled()),
    }
}

fn program<'a>(child: &Child<'a>) -> &'a str {
    child.argv.first().map_or("", String::as_str)
}

fn spawn(child: &Child<'_>) -> Result<tokio::process::Child> {
    let [name, arguments @ ..] = child.argv else {
        return Err(Error::usage("host.command_empty", "a command needs at least the name of a program"));
    };
    let mut command = Command::new(name);
    command.args(arguments).envs(child.env.iter().map(|(k, v)| (k, v)));
    command.stdin(if child.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(dir) = child.dir {
        if !dir.is_dir() {
            return Err(Error::failed("host.not_found", format!("no directory {} to run {name} in", dir.display())));
        }
        command.current_dir(dir);
    }
    // SAFETY: between fork and exec only setsid(2) and signal(2) are called, which are async-signal-safe and touch no
    // memory.
    unsafe { command.pre_exec(detach) };
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::failed("host.command_not_found", format!("no program {name} found"))
            .hint("install it, or give its full path"),
        _ => Error::io("run", name, &e),
    })
}

/// In a session of its own: a process group alone would leave the terminal, and ssh would ask there, be stopped by
/// SIGTTIN, and wait for ever. Whoever starts us with `nohup` or `&` in a script has SIGINT ignored, and what we start
/// would be deaf to a cancellation.
fn detach() -> std::io::Result<()> {
    // SAFETY: as above; no handler is installed.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    setsid().map(drop).map_err(Into::into)
}

fn exit_code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
    code.unwrap_or(-1).into()
}

/// Writes all of `bytes`, then closes; a child that doesn't read to the end is no error.
async fn feed(stdin: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(bytes).await;
        let _ = stdin.shutdown().await;
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended already.
        let _ = kill_process_group(group, signal);
    }
}

/// The end of a cancelled child, more insistent as time goes by.
struct Ending {
    since: Option<Instant>,
    next: Instant,
}

impl Default for Ending {
    fn default() -> Self {
        Self { since: None, next: Instant::now() }
    }
}

impl Ending {
    fn begun(&self) -> bool {
        self.since.is_some()
    }

    fn begin(&mut self, group: Option<Pid>) {
        let now = Instant::now();
        self.since = Some(now);
        self.next = now + TERMINATE_AFTER;
        signal(group, Signal::INT);
    }

    fn insist(&mut self, group: Option<Pid>) {
        let Some(since) = self.since else { return };
        let now = Instant::now();
        if now < since + KILL_AFTER {
            self.next = since + KILL_AFTER;
            signal(group, Signal::TERM);
        } else {
            self.next = now + Duration::from_secs(1);
            signal(group, Signal::KILL);
        }
    }
}

/// One stream of a child: cut into lines, its tail kept.
struct Lines<R> {
    source: Option<R>,
    is_stderr: bool,
    redactor: Redactor,
    fresh: Vec<u8>,
    unfinished: Vec<u8>,
    tail: VecDeque<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(source: Option<R>, is_stderr: bool, redactor: &Redactor) -> Self {
        let (fresh, redactor) = (Vec::with_capacity(LONGEST_LINE), redactor.clone());
        Self { source, is_stderr, redactor, fresh, unfinished: Vec::new(), tail: VecDeque::new() }
    }

    fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Reads what there is; never ready again once the stream has ended. Losing the race in `select!` loses no bytes.
    async fn fill(&mut self) {
        let Some(source) = &mut self.source else { return pending().await };
        if !matches!(source.read_buf(&mut self.fresh).await, Ok(n) if n > 0) {
            self.source = None;
        }
    }

    /// Hands on the lines that are whole.
    fn hand_on(&mut self, line: &mut dyn FnMut(bool, &str)) {
        self.tail.extend(&self.fresh);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        self.unfinished.append(&mut self.fresh);
        let mut start = 0;
        while let Some(end) = line_end(&self.unfinished[start..], &self.redactor) {
            self.tell(&self.unfinished[start..start + end], line);
            start += end;
        }
        self.unfinished.drain(..start);
    }

    /// Hands on a last line without newline.
    fn hand_on_rest(&mut self, line: &mut dyn FnMut(bool, &str)) {
        self.hand_on(line);
        if !self.unfinished.is_empty() {
            self.tell(&self.unfinished, line);
        }
    }

    fn tell(&self, bytes: &[u8], line: &mut dyn FnMut(bool, &str)) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        line(self.is_stderr, &String::from_utf8_lossy(bytes));
    }
}

/// Length of the first line with its newline, or of a piece of a line that is too long.
fn line_end(bytes: &[u8], redactor: &Redactor) -> Option<usize> {
    let window = &bytes[..bytes.len().min(LONGEST_LINE)];
    match window.iter().position(|b| *b == b'\n') {
        Some(newline) => Some(newline + 1),
        None if bytes.len() >= LONGEST_LINE => Some(redactor.cut(bytes, LONGEST_LINE)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::live::host::testing::context;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| w.to_string()).collect()
    }

    fn shell(script: &str) -> Vec<String> {
        argv(&["sh", "-c", script])
    }

    fn run_simply(argv: &[String], stdin: Option<&[u8]>) -> (Ended, Vec<(bool, String)>) {
        let mut lines = Vec::new();
        let child = Child { argv, dir: None, env: &[], stdin };
        let ended = run(&context(), &child, &mut |e, l| lines.push((e, l.to_owned()))).unwrap();
        (ended, lines)
    }

    /// Cancels after `delay`; gives how long `run` took in all.
    fn run_cancelled(script: &str, delay: Duration) -> Duration {
        let context = context();
        let cancel = context.cancel.clone();
        let begun = std::time::Instant::now();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(delay);
            cancel.cancel();
        });
        let child = Child { argv: &shell(script), dir: None, env: &[], stdin: None };
        let error = run(&context, &child, &mut |_, _| ()).unwrap_err();
        canceller.join().unwrap();
        assert_eq!(error.code, "cancelled");
        begun.elapsed()
    }

    #[test]
    fn lines_of_both_streams_arrive_and_the_exit_code_is_kept() {
        let (ended, mut lines) = run_simply(&shell("echo one; echo two >&2; printf 'no newline'; exit 3"), None);
        lines.sort();
        assert_eq!(lines, [(false, "no newline".into()), (false, "one".into()), (true, "two".into())]);
        assert_eq!((ended.exit_code, &*ended.stdout, &*ended.stderr), (3, &b"one\nno newline"[..], &b"two\n"[..]));
        assert_eq!(run_simply(&shell("kill -9 $$"), None).0.exit_code, 137);
    }

    #[test]
    fn stdin_is_fed_while_output_is_read_and_is_empty_otherwise() {
        let input = b"line of text\n".repeat(100_000);
        let (ended, lines) = run_simply(&argv(&["cat"]), Some(&input));
        assert_eq!((ended.exit_code, lines.len()), (0, 100_000));
        assert_eq!(ended.stdout, input[input.len() - TAIL..]);
        assert_eq!(run_simply(&argv(&["cat"]), None).0.exit_code, 0);
        assert_eq!(run_simply(&argv(&["true"]), Some(&input)).0.exit_code, 0);
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let (_, lines) = run_simply(&shell("head -c 200000 /dev/zero | tr '\\0' x"), None);
        assert_eq!(lines.iter().map(|(_, l)| l.len()).sum::<usize>(), 200_000);
        assert!(lines.iter().all(|(_, l)| l.len() <= LONGEST_LINE) && lines.len() <= 5);
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let start = |argv: &[String], dir: Option<&Path>| {
            run(&context(), &Child { argv, dir, env: &[], stdin: None }, &mut |_, _| ()).unwrap_err()
        };
        let error = start(&argv(&["no-such-program"]), None);
        assert_eq!(error.code, "host.command_not_found");
        assert!(error.message.contains("no-such-program"));
        assert_eq!(start(&argv(&["true"]), Some(Path::new("/no/such/dir"))).code, "host.not_found");
        assert_eq!(start(&argv(&["/etc/passwd"]), None).code, "host.permission");
        assert_eq!(start(&[], None).code, "host.command_empty");
    }

    #[test]
    fn a_program_is_looked_up_in_path_unless_its_name_is_a_path() {
        let found = find_program("sh").unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"), "{}", found.display());
        assert_eq!(find_program("/bin/sh"), Some("/bin/sh".into()));
        let dir = tempfile::tempdir_in(".").unwrap();
        let relative = format!("./{}", dir.path().file_name().unwrap().to_str().unwrap());
        std::fs::write(dir.path().join("notes"), "").unwrap();
        for name in ["no-such-program", "/no/such/program", "", "/etc", &format!("{relative}/notes")] {
            assert_eq!(find_program(name), None, "{name:?}");
        }
        let program = dir.path().join("program");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(find_program(&format!("{relative}/program")).unwrap().is_absolute());
    }

    #[test]
    fn there_is_no_terminal_to_ask_on() {
        let (ended, _) = run_simply(&shell("exec 2>/dev/null; : </dev/tty"), None);
        assert_ne!(ended.exit_code, 0);
    }

    #[test]
    fn cancel_ends_the_child_at_once() {
        assert!(run_cancelled("sleep 30", Duration::from_millis(200)) < TERMINATE_AFTER);
    }

    #[test]
    fn cancel_ends_children_of_the_child_that_ignore_the_signal() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("(trap '' INT TERM; echo $$; exec sleep 31) & echo $! > {}; wait", pid_file.display());
        assert!(run_cancelled(&script, Duration::from_millis(300)) < KILL_AFTER);
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        assert!(status.is_err() || status.unwrap().contains(") Z "), "the grandchild lives on");
    }

    #[test]
    fn a_child_that_ignores_polite_signals_is_killed_after_five_seconds() {
        let took = run_cancelled("trap '' INT TERM; while :; do sleep 1; done", Duration::from_millis(100));
        assert!(took > KILL_AFTER, "{took:?}");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_open_is_not_waited_for() {
        let begun = std::time::Instant::now();
        let (ended, lines) = run_simply(&shell("echo done; setsid sleep 10 &"), None);
        assert_eq!((ended.exit_code, lines.len()), (0, 1));
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}
