//! Programs that run while the world breaks: all they say goes into a file, and none of them is waited for without end.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Somebody has typed Ctrl-C at the driver: every history ends where it is.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Fails where the driver was interrupted, so that everything is removed on the way out.
pub fn go_on() {
    assert!(!INTERRUPTED.load(Ordering::SeqCst), "the driver was interrupted");
}

pub struct Process {
    child: Child,
    pub said: PathBuf,
    begun: Instant,
}

/// How it ended.
pub struct Ended {
    /// 128 and the signal where it was killed, as a shell has it; `None` when it had to be killed for taking too long.
    pub code: Option<i32>,
    pub text: String,
}

impl Process {
    /// In a process group of its own, so that a Ctrl-C can be for it and its children.
    pub fn start(command: &mut Command, said: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(said).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        let child = command.spawn().unwrap();
        Self { child, said: said.to_owned(), begun: Instant::now() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn send(&self, signal: &str) {
        _ = Command::new("kill").args([signal, &self.id().to_string()]).output();
    }

    pub fn send_to_group(&self, signal: &str) {
        _ = Command::new("kill").args([signal, "--", &format!("-{}", self.id())]).output();
    }

    /// Waits until it is this old at most, and kills it then.
    pub fn end(mut self, age: Duration) -> Ended {
        let mut is_late = false;
        while self.runs() {
            go_on();
            if self.age() > age {
                is_late = true;
                self.send_to_group("-KILL");
                _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().unwrap();
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        let text = String::from_utf8_lossy(&std::fs::read(&self.said).unwrap_or_default()).into_owned();
        Ended { code: code.filter(|_| !is_late), text }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            self.send_to_group("-KILL");
            _ = self.child.wait();
        }
    }
}
