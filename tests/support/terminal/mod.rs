//! A person at a terminal: a program on a pseudo terminal of its own, what is typed to it, and what is seen of it.
//!
//! What the program writes can be waited for as text ([`Terminal::read`], without escape sequences) and looked at as a
//! screen ([`Terminal::screen`]).

mod shell;
mod shown;

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::blocking::{self, Pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

pub use shell::Shell;
use shown::Shown;

/// A machine that builds and tests at the same time is slow now and then.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the program's end and the ends of waits are looked for.
const PULSE: Duration = Duration::from_millis(20);
/// In the environment of the program and all that it starts, so that nothing of it stays behind.
const MARK: &str = "TESTS_TERMINAL";

/// What to start, and the terminal to start it on.
pub struct Seat {
    command: Command,
    columns: u16,
    rows: u16,
    patience: Duration,
}

impl Seat {
    /// The program of `command` with its arguments, its directory and the variables that were set in it, but nothing of
    /// the tester's environment. On a terminal of 80 columns and 24 rows, `xterm-256color`, `C.UTF-8`.
    pub fn new(command: &Command) -> Self {
        let mut own = Command::new(command.get_program());
        own.args(command.get_args()).env_clear().env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            own.current_dir(dir);
        }
        Self { command: own, columns: 80, rows: 24, patience: PATIENCE }
    }

    pub fn size(mut self, columns: u16, rows: u16) -> Self {
        (self.columns, self.rows) = (columns, rows);
        self
    }

    /// As `TERM` names it. Where it is `dumb`, lines are edited by the terminal and not by the program.
    pub fn kind(self, term: &str) -> Self {
        self.env("TERM", term)
    }

    /// `C` for one without Unicode.
    pub fn locale(self, name: &str) -> Self {
        self.env("LC_ALL", name)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// How long words may take to come; 30 s otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    #[track_caller]
    pub fn start(mut self) -> Terminal {
        static STARTED: Mutex<u32> = Mutex::new(0);
        // One at a time: a terminal that is just being made would be inherited by another test's program.
        let mut started = STARTED.lock().unwrap_or_else(|e| e.into_inner());
        *started += 1;
        let number = format!("{}-{started}", std::process::id());
        let mark = format!("{MARK}={number}");
        self.command.env(MARK, number);
        let (pty, inside) = blocking::open().expect("a pseudo terminal");
        pty.resize(pty_process::Size::new(self.rows, self.columns)).unwrap();
        let program = self.command.get_program().to_owned();
        let child = blocking::Command::from(self.command).spawn(inside);
        let child = child.unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        drop(started);
        let shared = Arc::new(Shared {
            shown: Mutex::new(Shown::new(size(self.columns), size(self.rows))),
            changed: Condvar::new(),
            is_left: AtomicBool::new(false),
        });
        let pty = Arc::new(pty);
        let reader = std::thread::spawn({
            let (pty, shared) = (pty.clone(), shared.clone());
            move || shared.listen(&pty)
        });
        Terminal { child, pty: Some(pty), shared, reader: Some(reader), read: 0, mark, patience: self.patience }
    }
}

fn size(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a terminal has columns and rows")
}

/// Between the reader of what the program writes, and the test.
struct Shared {
    shown: Mutex<Shown>,
    changed: Condvar,
    /// The test is over; nobody looks any more.
    is_left: AtomicBool,
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes all that the program writes, so that it never has to wait, and answers what a terminal answers.
    fn listen(&self, mut pty: &Pty) {
        let mut bytes = [0; 4096];
        while !self.is_left.load(Ordering::Relaxed) {
            if !is_ready(pty, PollFlags::IN, PULSE) {
                self.shown().pulses += 1;
                self.changed.notify_all();
                continue;
            }
            // EIO is how a terminal ends that no process has open any more.
            let length = pty.read(&mut bytes).unwrap_or(0);
            let mut shown = self.shown();
            shown.has_ended = length == 0;
            let answer = shown.take(&bytes[..length]);
            let has_ended = shown.has_ended;
            drop(shown);
            self.changed.notify_all();
            let _ = pty.write_all(&answer);
            if has_ended {
                return;
            }
        }
    }
}

fn is_ready(pty: &Pty, for_what: PollFlags, at_most: Duration) -> bool {
    let timeout = Timespec::try_from(at_most).unwrap();
    poll(&mut [PollFd::new(pty, for_what)], Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// A program at its terminal. Dropped, it is killed with all that it has started.
pub struct Terminal {
    child: Child,
    pty: Option<Arc<Pty>>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    /// How much of the text was waited for.
    read: usize,
    mark: String,
    patience: Duration,
}

impl Terminal {
    /// Waits for these words after those that were waited for before.
    #[track_caller]
    pub fn expect(&mut self, words: &str) -> &mut Self {
        self.read(words);
        self
    }

    /// Waits for these words after those that were waited for before; gives all that came since, and them.
    #[track_caller]
    pub fn read(&mut self, words: &str) -> String {
        let from = self.read;
        let end = |shown: &Shown| Some(from + shown.text()[from..].find(words)? + words.len());
        let end = self.until(&format!("{words:?} did not come"), end);
        self.read = end;
        self.shared.shown().text()[from..end].to_owned()
    }

    /// All that came so far counts as waited for.
    pub fn skip(&mut self) -> &mut Self {
        self.read = self.shared.shown().text().len();
        self
    }

    /// What came after all that was waited for.
    pub fn rest(&self) -> String {
        self.shared.shown().text()[self.read..].to_owned()
    }

    /// All that came, without escape sequences and carriage returns.
    pub fn text(&self) -> String {
        self.shared.shown().text().to_owned()
    }

    /// Every byte the program has written, escape sequences and all.
    pub fn raw(&self) -> Vec<u8> {
        self.shared.shown().raw().to_owned()
    }

    /// What a person sees now: the rows without what is blank at their ends, and without the blank ones below.
    pub fn screen(&self) -> String {
        self.shared.shown().screen()
    }

    /// Waits until these words are seen in one row; gives the screen.
    #[track_caller]
    pub fn see(&mut self, words: &str) -> String {
        // A blank at the end of a row is not seen.
        self.see_when(&format!("{words:?}"), |screen| screen.contains(words.trim_end()))
    }

    /// Waits until the screen is as it should be; gives it.
    #[track_caller]
    pub fn see_when(&mut self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        self.until(&format!("{what} is not seen"), |shown| Some(shown.screen()).filter(|screen| is_right(screen)))
    }

    /// Where the cursor stands: column and row, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        self.shared.shown().cursor()
    }

    /// Types these keys: Enter is `\r`, Tab `\t`, Ctrl-C `\x03`, Up `\x1b[A`.
    #[track_caller]
    pub fn type_keys(&mut self, keys: impl AsRef<[u8]>) -> &mut Self {
        for piece in keys.as_ref().chunks(256) {
            let shown = String::from_utf8_lossy(piece);
            assert!(is_ready(self.pty(), PollFlags::OUT, PATIENCE), "{shown:?} is not taken{}", self.everything());
            let mut pty: &Pty = self.pty();
            pty.write_all(piece).unwrap_or_else(|e| panic!("cannot type: {e}{}", self.everything()));
        }
        self
    }

    /// Types a line, and Enter.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) -> &mut Self {
        self.type_keys(format!("{line}\r"))
    }

    /// Pastes a text as a terminal does: marked as pasted where the program has asked for that.
    #[track_caller]
    pub fn paste(&mut self, text: &str) -> &mut Self {
        let keys = text.replace('\n', "\r");
        let is_marked = self.marks_pastes();
        self.type_keys(if is_marked { format!("\x1b[200~{keys}\x1b[201~") } else { keys })
    }

    /// Waits until the program reads keys one by one. What is typed before may be taken as a line, Ctrl-C as a signal.
    #[track_caller]
    pub fn until_keys(&mut self) -> &mut Self {
        let pty = self.pty().clone();
        let reads_keys = |_: &Shown| (!modes(&pty).local_modes.contains(LocalModes::ICANON)).then_some(());
        self.until("keys are not read one by one", reads_keys);
        self
    }

    /// How the terminal is set, to be compared with how it was.
    pub fn modes(&self) -> Termios {
        modes(self.pty())
    }

    /// Whether the program wants pastes to be marked.
    pub fn marks_pastes(&self) -> bool {
        self.shared.shown().brackets_pastes()
    }

    /// The person changes the window.
    pub fn resize(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.shared.shown().resize(size(columns), size(rows));
        self.pty().resize(pty_process::Size::new(rows, columns)).unwrap();
        self
    }

    /// Sends a signal to the program alone.
    pub fn signal(&mut self, signal: Signal) -> &mut Self {
        kill_process(self.pid(), signal).unwrap();
        self
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The person closes the window.
    pub fn hang_up(&mut self) {
        self.leave();
        self.pty = None;
    }

    /// Waits for the program's end and for the last it has written; gives its exit code, 128 and the signal where it
    /// was killed.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > self.patience => panic!("the program does not end{}", self.everything()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        self.drain();
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
    }

    /// The exit code, and what came after all that was waited for.
    #[track_caller]
    pub fn end(mut self) -> (String, i32) {
        let code = self.wait();
        (self.rest(), code)
    }

    /// All is read when the terminal has ended, or nothing came for a while: what the program has left behind may keep
    /// it open.
    fn drain(&self) {
        let mut shown = self.shared.shown();
        let enough = shown.pulses + 3;
        while self.pty.is_some() && !shown.has_ended && shown.pulses < enough {
            shown = self.shared.changed.wait_timeout(shown, PATIENCE).unwrap().0;
        }
    }

    #[track_caller]
    fn until<T>(&mut self, failure: &str, found: impl Fn(&Shown) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let has_ended = self.child.try_wait().unwrap().is_some();
            if has_ended {
                self.drain();
            }
            let shown = self.shared.shown();
            if let Some(value) = found(&shown) {
                return value;
            }
            if has_ended || begun.elapsed() > self.patience {
                drop(shown);
                panic!("{failure}{}", self.everything());
            }
            let _ = self.shared.changed.wait_timeout(shown, PULSE).unwrap();
        }
    }

    /// For the message of a failure.
    fn everything(&self) -> String {
        let (shown, pid) = (self.shared.shown(), self.child.id());
        let state = if fs::read_link(format!("/proc/{pid}/exe")).is_ok() { "runs" } else { "has ended" };
        let (before, after) = shown.text().split_at(self.read);
        format!(
            "\n(the program {state})\n=== waited for before\n{before}\n=== since\n{after}\n=== on the screen\n{}\n===",
            shown.screen()
        )
    }

    #[track_caller]
    fn pty(&self) -> &Arc<Pty> {
        self.pty.as_ref().expect("the window was closed")
    }

    /// The reader lets go of the terminal.
    fn leave(&mut self) {
        self.shared.is_left.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn modes(pty: &Pty) -> Termios {
    tcgetattr(pty).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let begun = Instant::now();
        // The reader still takes what is written: a process that waits for that could not be ended.
        loop {
            let left = marked(&self.mark);
            if left.is_empty() || begun.elapsed() > PATIENCE {
                break;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.wait();
        self.leave();
    }
}

/// The processes that have this in their environment.
fn marked(mark: &str) -> Vec<Pid> {
    let is_marked = |environment: Vec<u8>| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let ours = numbers.filter(|pid| fs::read(format!("/proc/{pid}/environ")).is_ok_and(is_marked));
    ours.filter_map(Pid::from_raw).collect()
}
