//! A place to try the program in without an engine: scripts, what they change, a site's directory, a run store.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with scripts, what they change (`work`), a site's directory, and a run store.
pub struct Place {
    pub dir: TempDir,
}

/// What a process gave.
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    /// 128 and the signal where it was killed, as a shell has it.
    pub code: i32,
}

pub const KILLED: i32 = 128 + 9;

impl Place {
    pub fn new(script: &str) -> Self {
        // In memory, where there is some: every line of a journal is synced.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let place = Self { dir: dir.unwrap() };
        fs::create_dir(place.path("site")).unwrap();
        fs::create_dir(place.path("work")).unwrap();
        place.write("main.rhai", script);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Replaces the one place in a script where it says `from`.
    #[track_caller]
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}");
        self.write(name, &text.replace(from, to));
    }

    /// The program, working in `work`, with nothing of the tester's environment but the programs it may call.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.args(arguments).current_dir(self.path("work")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("PGSCRIPT_SITE", self.path("site")).env("PGSCRIPT_STORE", self.path("runs"));
        // No engine: whatever asks for one hears so at once.
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn pgscript(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    pub fn with_env(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        ran(self.command(arguments).envs(environment.iter().copied()).output().unwrap())
    }

    /// Runs `../main.rhai` and gives its events.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.pgscript(&[&["run", "../main.rhai", "--format", "json"], arguments].concat())
    }

    /// Has the process end itself at a line of the journal, `before:7` or `after:7`.
    pub fn killed_at(&self, arguments: &[&str], at: &str) -> Ran {
        self.with_env(arguments, &[("PGSCRIPT_KILL_AT", at)])
    }

    /// Runs the script up to where it is killed.
    #[track_caller]
    pub fn run_killed_at(&self, at: &str) {
        let ran = self.killed_at(&["run", "../main.rhai"], at);
        assert_eq!(ran.code, KILLED, "{at}: {}{}", ran.stdout, ran.stderr);
    }

    /// Runs the script and kills it right after the journal has announced this effect.
    #[track_caller]
    pub fn run_killed_in(&self, effect: &str) {
        let copy = self.state();
        self.run(&[]);
        let line = self.journal(1).iter().position(|l| l["entry"] == "effect" && starts(&l["command"], effect));
        let line = line.unwrap_or_else(|| panic!("{effect} is announced nowhere: {:#?}", self.journal(1)));
        self.restore(&copy);
        self.run_killed_at(&format!("after:{}", line + 1));
    }

    /// The directory of run number `number`.
    #[track_caller]
    pub fn run_dir(&self, number: u32) -> PathBuf {
        self.begun(number).unwrap_or_else(|| panic!("no run {number}"))
    }

    /// The same; `None` as long as the program has not begun it.
    fn begun(&self, number: u32) -> Option<PathBuf> {
        let entries = fs::read_dir(self.path("runs")).ok()?.map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path: &PathBuf| path.display().to_string().ends_with(&format!("-{number}")))
    }

    /// What the journal of a run has so far.
    pub fn journal(&self, number: u32) -> Vec<Value> {
        let journal = self.begun(number).map(|dir| dir.join("journal.jsonl"));
        let text = journal.and_then(|journal| fs::read_to_string(journal).ok()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The entries of one kind, such as `effect`.
    pub fn entries(&self, number: u32, kind: &str) -> Vec<Value> {
        self.journal(number).into_iter().filter(|line| line["entry"] == kind).collect()
    }

    pub fn status(&self, arguments: &[&str]) -> Value {
        let ran = self.pgscript(&[&["status", "--format", "json"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    #[track_caller]
    pub fn expect_state(&self, run: &str, state: &str) {
        assert_eq!(self.status(&[run])["state"], state);
    }

    /// Files of `work` with their contents.
    pub fn files(&self) -> BTreeMap<PathBuf, String> {
        texts(&self.path("work"))
    }

    /// Everything in `work` and in the store, to be returned to.
    pub fn state(&self) -> BTreeMap<PathBuf, String> {
        texts(&self.path("work")).into_iter().chain(texts(&self.path("runs"))).collect()
    }

    /// [`Place::state`] without what says who was the last to look.
    pub fn untouched(&self) -> BTreeMap<PathBuf, String> {
        let mut state = self.state();
        state.retain(|path, _| !path.ends_with("lock"));
        state
    }

    /// Back to a [`Place::state`]. Directories of the store stay private.
    pub fn restore(&self, state: &BTreeMap<PathBuf, String>) {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        for name in ["work", "runs"] {
            let _ = fs::remove_dir_all(self.path(name));
        }
        fs::create_dir(self.path("work")).unwrap();
        for (path, text) in state {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        }
    }
}

pub fn starts(value: &Value, with: &str) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(with))
}

/// All files below a directory with their texts.
pub fn texts(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(texts(&path)),
            false => _ = found.insert(path.clone(), fs::read_to_string(&path).unwrap()),
        }
    }
    found
}

pub fn ran(output: Output) -> Ran {
    let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal));
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: code.unwrap(),
    }
}

impl Ran {
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        for word in words {
            let all = format!("{}{}", self.stdout, self.stderr);
            assert!(all.contains(word), "{word:?} is not said in:\n{all}");
        }
        self
    }

    #[track_caller]
    pub fn expect_not(&self, words: &[&str]) -> &Self {
        for word in words {
            let all = format!("{}{}", self.stdout, self.stderr);
            assert!(!all.contains(word), "{word:?} is said in:\n{all}");
        }
        self
    }

    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// What the script said, a text each.
    pub fn says(&self) -> Vec<String> {
        let events = self.events();
        let said = events.iter().filter(|event| event["event"] == "say");
        said.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The rendered error: from `error[` to the summary.
    #[track_caller]
    pub fn error(&self) -> String {
        let from = self.stderr.find("error[").unwrap_or_else(|| panic!("no error in {}{}", self.stdout, self.stderr));
        let text = &self.stderr[from..];
        text[..text.find("\n\n").unwrap_or(text.len())].trim_end().to_owned()
    }
}

/// Waits until it is so, at most ten seconds.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As Ctrl-C does, but to this process alone.
pub fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
