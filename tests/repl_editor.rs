//! The line editor on a real terminal: this program again, in one that `script` (util-linux) makes.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pgscript::repl::editor::{ArgumentKind, CommandShape, Editor, Read, Surroundings, Variable};
use pgscript::script::api;
use pgscript::ui::style::Style;

const PROMPT: &str = "prompt> ";
const HISTORY: &str = "PGSCRIPT_TEST_HISTORY";
/// Set for the program that runs in the terminal.
const INNER: &str = "PGSCRIPT_TEST_INNER";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session with one container and one step.
struct Session;

impl Surroundings for Session {
    fn variables(&self) -> Vec<Variable> {
        vec![Variable { name: "c".into(), type_name: "Container".into() }]
    }

    fn keys(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn modules(&self) -> Vec<(String, Vec<String>)> {
        Vec::new()
    }

    fn steps(&self) -> Vec<String> {
        vec!["stop the application".into()]
    }

    fn containers(&self) -> Vec<String> {
        vec!["primero-app-1".into()]
    }

    fn volumes(&self) -> Vec<String> {
        Vec::new()
    }

    fn databases(&self) -> Vec<String> {
        Vec::new()
    }

    fn commands(&self) -> Vec<CommandShape> {
        vec![CommandShape { name: ".undo", arguments: vec![ArgumentKind::Step] }]
    }
}

/// What runs in the terminal: says what was entered, as Rust writes it.
#[test]
#[ignore = "run by the other tests, in a terminal"]
fn inner() {
    if std::env::var_os(INNER).is_none() {
        return;
    }
    let reference = Arc::new(api::register(&mut rhai::Engine::new(), None));
    let history = std::env::var_os(HISTORY).map(PathBuf::from);
    let mut editor = Editor::new(reference, Rc::new(Session), Style::of_terminal(), history).unwrap();
    println!("WARNING {:?} PID {} ", editor.warning(), std::process::id());
    loop {
        match editor.read(PROMPT).unwrap() {
            Read::Input(text) => {
                editor.remember(&text);
                println!("INPUT {text:?}");
            }
            Read::Interrupted => println!("INTERRUPTED"),
            Read::End => break println!("END"),
        }
    }
}

/// The editor in a terminal of its own.
struct Terminal {
    script: Child,
    keys: Option<ChildStdin>,
    shown: Receiver<Vec<u8>>,
    /// Everything the terminal was sent so far.
    all: String,
    /// How much of it was waited for.
    seen: usize,
}

impl Terminal {
    /// Begins, and waits for the first prompt.
    fn new(columns: u16, variables: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().unwrap();
        let inner =
            format!("stty cols {columns} rows 24; exec {} --ignored --exact inner --nocapture", program.display());
        let mut command = Command::new("script");
        command.args(["-qefc", &inner, "/dev/null"]).env_remove("NO_COLOR").env_remove(HISTORY);
        command.env(INNER, "1").env("TERM", "xterm").env("LC_ALL", "C.UTF-8").envs(variables.iter().copied());
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut out, (sender, shown)) = (script.stdout.take().unwrap(), channel());
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Some(length) = out.read(&mut buffer).ok().filter(|length| *length > 0) {
                let _ = sender.send(buffer[..length].to_vec());
            }
        });
        let keys = script.stdin.take();
        let mut terminal = Self { script, keys, shown, all: String::new(), seen: 0 };
        terminal.wait(PROMPT);
        terminal
    }

    fn type_in(&mut self, keys: impl AsRef<[u8]>) {
        let pipe = self.keys.as_mut().unwrap();
        pipe.write_all(keys.as_ref()).and_then(|()| pipe.flush()).unwrap();
    }

    /// Waits for a text after all that was waited for before; gives what came up to its end.
    fn wait(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.all[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let came = self.all[self.seen..end].to_owned();
                self.seen = end;
                return came;
            }
            let left = PATIENCE.checked_sub(begun.elapsed());
            let bytes = left.and_then(|left| self.shown.recv_timeout(left).ok());
            let bytes = bytes.unwrap_or_else(|| panic!("no {text:?} after {:?}", &self.all[self.seen..]));
            self.all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Types and waits for what was entered by it, and for the next prompt.
    fn enters(&mut self, keys: impl AsRef<[u8]>, input: &str) {
        self.type_in(keys);
        self.wait(&format!("INPUT {input:?}"));
        self.wait(PROMPT);
    }

    fn ends(mut self) -> String {
        self.type_in([4]);
        self.wait("END");
        std::mem::take(&mut self.all)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Without its input the terminal hangs up.
        drop(self.keys.take());
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn an_input_is_completed_and_taken_when_it_is_whole() {
    let mut terminal = Terminal::new(80, &[]);
    terminal.type_in("docker::st\t");
    terminal.wait("stop\x1b[2m(container: Container, options: Map = #{})");
    terminal.enters("op(\t)\r", "docker::stop(c)");
    terminal.enters("docker::container(\"app\t)\r", "docker::container(\"primero-app-1\")");
    terminal.enters(".un\tapp\t\r", ".undo stop the application");
    terminal.enters("if true {\rf(1)\r\x7f}\r", "if true {\n    f(1)\n}");
    terminal.enters("x =\r\ty\r", "x =\n    y");
    terminal.enters("a\x1b\rb\r", "a\nb");
    terminal.ends();
}

#[test]
fn ctrl_c_drops_what_was_typed() {
    let mut terminal = Terminal::new(80, &[]);
    terminal.type_in("f(\r1,\x03");
    terminal.wait("INTERRUPTED");
    terminal.enters("x\r", "x");
    terminal.ends();
}

#[test]
fn a_long_paste_is_one_input() {
    let mut terminal = Terminal::new(80, &[]);
    let lines: Vec<_> = (0..500).map(|line| format!("docker::stop(c, #{{ timeout: {line} }});")).collect();
    let pasted = lines.join("\r\n");
    terminal.type_in(format!("\x1b[200~{pasted}\x1b[201~"));
    terminal.wait("499");
    terminal.enters("\r", &lines.join("\n"));
    terminal.ends();
}

#[test]
fn bytes_that_are_no_text_cost_only_themselves() {
    let mut terminal = Terminal::new(80, &[("LC_ALL", "C")]);
    terminal.type_in("ab");
    terminal.wait("ab");
    terminal.type_in(b"\xe9x");
    terminal.wait("not UTF-8");
    terminal.wait(PROMPT);
    terminal.enters("cd\r", "abcd");
    terminal.ends();
}

#[test]
fn nothing_breaks_in_forty_columns_without_colour() {
    let mut terminal = Terminal::new(40, &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    terminal.type_in("docker::st\t");
    terminal.wait("start");
    terminal.enters("op(c, #{ timeout: 1234567890123456 })\r", "docker::stop(c, #{ timeout: 1234567890123456 })");
    let shown = terminal.ends();
    assert!(!shown.split("\x1b[").skip(1).any(is_colour), "{shown:?}");
}

/// Whether a control sequence, without its beginning, sets colours.
fn is_colour(sequence: &str) -> bool {
    sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

#[test]
fn a_dumb_terminal_gets_no_control_sequences() {
    let mut terminal = Terminal::new(80, &[("TERM", "dumb")]);
    terminal.enters("docker::stop(\nc)\n", "docker::stop(\nc)");
    terminal.type_in("f(\n");
    terminal.type_in("x\x03");
    terminal.wait("INTERRUPTED");
    terminal.wait(PROMPT);
    terminal.type_in(b"\xe9\n");
    terminal.wait("not UTF-8");
    terminal.wait(PROMPT);
    terminal.enters("x\n", "x");
    assert!(!terminal.ends().contains('\x1b'));
}

#[test]
fn what_was_entered_before_a_kill_is_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join("state/history").display().to_string();
    let variables = [(HISTORY, history.as_str())];
    let mut terminal = Terminal::new(80, &variables);
    terminal.enters("f(`two\rlines`)\r", "f(`two\nlines`)");
    terminal.enters("last\r", "last");
    terminal.enters("last\r", "last");
    terminal.enters(" secret\r", " secret");
    let (_, pid) = terminal.all.split_once("PID ").unwrap();
    let pid = pid.split(' ').next().unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    drop(terminal);
    let mut terminal = Terminal::new(80, &variables);
    terminal.type_in("\x1b[A");
    terminal.wait("last");
    terminal.type_in("\x1b[A");
    terminal.wait("lines");
    terminal.enters("\r", "f(`two\nlines`)");
    terminal.ends();
}

#[test]
fn a_corrupted_history_does_not_prevent_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join("history");
    std::fs::write(&history, b"#V2\n\xff\xff\n").unwrap();
    let mut terminal = Terminal::new(80, &[(HISTORY, &history.display().to_string())]);
    assert!(terminal.all.contains("history.damaged"), "{}", terminal.all);
    terminal.enters("x\r", "x");
    terminal.ends();
    assert_eq!(std::fs::read_to_string(&history).unwrap(), "#V2\nx\n");
}
