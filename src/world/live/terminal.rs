//! The operator's own terminal, while a program elsewhere has it.

use std::io::{self, IsTerminal, PipeReader, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::world::error::{Error, Result};

/// How the terminal was set before a program elsewhere got it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a program that was cut off may have left: colours, a hidden cursor, application keys, marked pastes, the
/// mouse's reports, the other screen. Leaving that restores the cursor; saved before, it stays where it is when there
/// was nothing to leave.
const TIDY: &[u8] =
    b"\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b7\x1b[?1049l";

/// `ui.no_terminal` unless somebody sits at standard input and sees standard output.
pub fn require(what_for: &str) -> Result<()> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    let message = format!("there is no terminal {what_for}");
    Err(Error::usage("ui.no_terminal", message)
        .hint("run it on a terminal, with neither input nor output redirected (over ssh: ssh -t)"))
}

/// As `TERM` has it; `dumb` when nothing is said.
pub fn kind() -> String {
    std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "dumb".into())
}

/// Columns and rows; `None` when the terminal does not tell.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Every key as it is, and nothing shown of it, as long as this lives: Ctrl-C is a key and no signal.
pub struct Raw(());

impl Raw {
    pub fn enter() -> Result<Self> {
        // What was said before is seen before.
        _ = io::stdout().flush();
        let was = tcgetattr(io::stdin()).map_err(|e| unusable(&e.into()))?;
        let mut raw = was.clone();
        raw.make_raw();
        *before() = Some(was);
        let entered = Self(());
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(|e| unusable(&e.into()))?;
        Ok(entered)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Sets the terminal as it was. Keys that nobody has read stay to be read. Does nothing when nobody has it; for a way
/// out on which nothing is dropped.
pub fn restore() {
    if let Some(was) = before().take() {
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &was);
    }
}

/// Takes back what a program that was cut off has asked of the terminal.
pub fn tidy() {
    if kind() != "dumb" {
        _ = io::stdout().write_all(TIDY).and_then(|()| io::stdout().flush());
    }
}

/// Standard output, each piece at once: a prompt is no whole line.
pub struct Screen;

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match write(io::stdout(), bytes) {
                // Somebody who had the terminal before us does not wait for it, and left it so.
                Err(Errno::AGAIN) => _ = poll(&mut [PollFd::new(&io::stdout(), PollFlags::OUT)], None)?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The keys that were typed; none when the terminal has gone, and `None` when `ended` is closed. Keys that come after
/// that are not read: they are for whoever reads next.
pub fn keys(ended: &PipeReader, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let stdin = io::stdin();
    loop {
        let (keys, end) = (stdin.as_fd(), ended.as_fd());
        let mut both = [PollFd::new(&keys, PollFlags::IN), PollFd::new(&end, PollFlags::IN)];
        match poll(&mut both, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if !both[1].revents().is_empty() {
            return Ok(None);
        }
        match read(keys, &mut *buffer) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            read => return Ok(Some(read?)),
        }
    }
}

/// The terminal itself failed.
pub fn unusable(error: &io::Error) -> Error {
    Error::failed("ui.terminal", format!("cannot use the terminal: {error}"))
}
