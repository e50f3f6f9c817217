//! pgscript as a program: started, watched, at a terminal; and what it said.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::terminal::Seat;

pub mod guarded;
pub mod looked;

/// How a run of pgscript ended.
pub struct Run {
    pub code: i32,
    /// Standard output and standard error, in that order.
    pub text: String,
}

impl Run {
    /// The run ended with this exit code, and said each of these; otherwise the test fails with all it said.
    #[track_caller]
    pub fn expect(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, code, "exit code of a run that said:\n{}", self.text);
        for part in said {
            let is_said = self.text.contains(part) || unfolded(&self.text).contains(&unfolded(part));
            assert!(is_said, "{part:?} was not said:\n{}", self.text);
        }
        self
    }

    /// The run that it told the operator to go on with: `pgscript resume RUN` or `pgscript rollback RUN`.
    #[track_caller]
    pub fn advised(&self, verb: &str) -> &str {
        let Some((_, line)) = self.text.split_once(&format!(" pgscript {verb} ")) else {
            panic!("no {verb} was advised:\n{}", self.text);
        };
        line.split_whitespace().next().unwrap_or_default()
    }
}

/// In one line, without the time of day that each one begins with: where a table is folded depends on a stack's name.
fn unfolded(text: &str) -> String {
    let is_time = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte == b':' || byte.is_ascii_digit());
    text.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ")
}

pub fn output(command: &mut Command) -> (i32, String, String) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// Runs a command that must succeed; gives its standard output.
#[track_caller]
pub fn sh(program: &str, args: &[&str]) -> String {
    let (code, stdout, stderr) = output(Command::new(program).args(args));
    assert_eq!(code, 0, "{program} {args:?}: {stdout}{stderr}");
    stdout
}

/// pgscript with a cleared environment: no site, no parameters, no terminal.
pub fn pgscript(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
    for (name, _) in std::env::vars() {
        if name.starts_with("PGSCRIPT_") {
            command.env_remove(name);
        }
    }
    // The site must be a directory; this one has no scripts of its own.
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-site");
    std::fs::create_dir_all(&site).unwrap();
    // A run without a stack must not get among those of this machine.
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("runs-{}", std::process::id()));
    command.env("PGSCRIPT_SITE", site).env("PGSCRIPT_STORE", store);
    command.env("NO_COLOR", "1").stdin(Stdio::null()).args(args);
    command
}

pub fn run(command: &mut Command) -> Run {
    let (code, stdout, stderr) = output(command);
    Run { code, text: stdout + stderr.as_str() }
}

/// A run at a terminal of its own: as soon as each question is on the screen, its answer is typed.
#[track_caller]
pub fn at_terminal(command: &Command, answers: &[(&str, &str)]) -> Run {
    let mut own = Command::new(command.get_program());
    own.args(command.get_args()).envs(std::env::vars_os());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => own.env(name, value),
            None => own.env_remove(name),
        };
    }
    let mut terminal = Seat::new(&own).patience(Duration::from_secs(180)).start();
    for (question, answer) in answers {
        terminal.expect(question).expect("(yes/no)").type_line(answer);
    }
    let code = terminal.wait();
    Run { code, text: terminal.text() }
}

/// A run that is watched while it goes on.
pub struct Watched {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    said: String,
}

impl Watched {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, said: String::new() }
    }

    /// Waits until a line with this text comes; fails after three minutes or at the end of the run.
    #[track_caller]
    pub fn until(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(180);
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.said += &line;
            self.said.push('\n');
            if line.contains(text) {
                return;
            }
        }
        panic!("{text:?} was not said:\n{}", self.said);
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and what it said until then.
    pub fn kill(mut self) -> Run {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits until the process stands still, as after `kill -STOP`; fails after three minutes.
    #[track_caller]
    pub fn until_halted(&self) {
        let deadline = Instant::now() + Duration::from_secs(180);
        let stat = format!("/proc/{}/stat", self.child.id());
        let is_halted = |stat: &str| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"));
        while !std::fs::read_to_string(&stat).is_ok_and(|stat| is_halted(&stat)) {
            assert!(Instant::now() < deadline, "it does not stand still");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets a process that stands still go on.
    pub fn go_on(&self) {
        sh("kill", &["-CONT", &self.child.id().to_string()]);
    }

    /// What Ctrl-C sends.
    pub fn interrupt(&self) {
        sh("kill", &["-INT", &self.child.id().to_string()]);
    }

    pub fn end(mut self) -> Run {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        for line in self.lines.iter() {
            self.said += &line;
            self.said.push('\n');
        }
        Run { code, text: std::mem::take(&mut self.said) }
    }
}

impl Drop for Watched {
    /// A failed test leaves no run behind: it is told to stop, and gets the time to.
    fn drop(&mut self) {
        for _ in 0..300 {
            match self.child.try_wait() {
                Ok(None) => {}
                _ => return,
            }
            for signal in ["-INT", "-CONT"] {
                let _ = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
