//! A command in a container on the operator's own terminal, as `docker exec -it` runs it: a person at a pseudo
//! terminal, pgscript, and a real engine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::termios::Termios;
use serde_json::Value;

use crate::gate::Gate;
use crate::terminal::{Seat, Signal, Terminal};

const IMAGE: &str = "pgscript-test/postgres:17";
const LABEL: &str = "pgscript.test";
const ENGINE: &str = "/var/run/docker.sock";
const PROMPT: &str = ":/# ";

/// A container, a directory with a script and a run store; they go with the value, also on panic.
struct Stage {
    dir: tempfile::TempDir,
    /// Of the container, its volume and the label they carry.
    name: String,
}

impl Stage {
    fn new(create: &[&str], argv: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgscript-terminal-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let label = format!("{LABEL}={name}");
        let run = ["run", "-d", "--name", &name, "--label", &label, "-e", "TZ=UTC"];
        docker(&[&run, create, &[IMAGE][..], argv].concat());
        Self { dir: tempfile::tempdir().unwrap(), name }
    }

    /// A container that only waits.
    fn sleeper() -> Self {
        Self::new(&["--entrypoint", "sleep"], &["600"])
    }

    fn server(hba: &str) -> Self {
        let local = format!("POSTGRES_INITDB_ARGS=--no-sync --auth-local={hba}");
        let role =
            ["-e", "POSTGRES_USER=primero", "-e", "POSTGRES_DB=primero_production", "-e", "POSTGRES_PASSWORD=secret"];
        let stage = Self::new(&[&role[..], &["-e", &local]].concat(), &["postgres", "-c", "fsync=off"]);
        let ready = ["exec", &stage.name, "pg_isready", "-h", "127.0.0.1"];
        until("the server", || Command::new("docker").args(ready).output().unwrap().status.success());
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs statements in a step; `c` is the container.
    fn command(&self, statements: &str, engine: &str) -> Command {
        let script = format!("let c = docker::container(\"{}\");\nstep(\"look\", || {{ {statements} }});", self.name);
        fs::write(self.path("own.rhai"), script).unwrap();
        fs::create_dir_all(self.path("site")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.arg("run").arg(self.path("own.rhai")).args(["--docker", engine]);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("PGSCRIPT_SITE", self.path("site")).env("PGSCRIPT_STORE", self.path("runs"));
        command
    }

    fn seat(&self, statements: &str) -> Seat {
        Seat::new(&self.command(statements, &format!("unix://{ENGINE}")))
    }

    fn sit(&self, statements: &str) -> Terminal {
        self.seat(statements).start()
    }

    /// A shell of the container, as soon as it takes keys, and how the terminal was set before.
    fn shell(&self, seat: Seat) -> Terminal {
        let mut terminal = seat.start();
        terminal.expect("docker exec -it").expect(PROMPT).until_keys();
        terminal
    }

    /// What the command in the container gives.
    fn inside(&self, script: &str) -> String {
        docker(&["exec", &self.name, "sh", "-c", script])
    }

    /// How many processes run in the container beside its first.
    fn running(&self) -> usize {
        docker(&["top", &self.name]).lines().count().saturating_sub(2)
    }

    /// All that the run has written down.
    fn kept(&self) -> String {
        let run = fs::read_dir(self.path("runs")).unwrap().next().unwrap().unwrap().path();
        ["journal.jsonl", "log.jsonl"].map(|file| fs::read_to_string(run.join(file)).unwrap()).concat()
    }

    fn facts(&self) -> Vec<Value> {
        let lines = self.kept();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["entry"] == "fact").collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let label = format!("label={LABEL}={}", self.name);
        let containers = docker(&["ps", "-aq", "--filter", &label]);
        docker(&[vec!["rm", "-fv"], containers.split_whitespace().collect()].concat());
        docker(&["volume", "rm", &self.name]);
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until it is so, at most 30 seconds.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a terminal of a program that has set nothing is set.
fn untouched() -> Termios {
    let mut command = Command::new("sleep");
    Seat::new(command.arg("60").env("PATH", std::env::var_os("PATH").unwrap())).start().modes()
}

/// The step has failed: everything is left as it is. Gives the exit code.
#[track_caller]
fn quit(terminal: &mut Terminal) -> i32 {
    terminal.expect("what now? ").type_line("quit").wait()
}

#[track_caller]
fn assert_restored(terminal: &Terminal) {
    let (is, was) = (terminal.modes(), untouched());
    assert_eq!(
        (is.input_modes, is.output_modes, is.local_modes, is.control_modes),
        (was.input_modes, was.output_modes, was.local_modes, was.control_modes)
    );
}

const SHELL: &str = "print(`code ${docker::terminal(c)}`);";

#[test]
fn a_shell_is_used_as_at_a_terminal_and_gives_its_exit_code() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL).size(97, 31).kind("xterm"));
    terminal.type_line("echo $TERM; tty; echo $0").expect("xterm\n").expect("/dev/pts/").expect("bash");
    for (columns, rows, size) in [(97, 31, "31 97"), (40, 12, "12 40"), (120, 50, "50 120")] {
        terminal.expect(PROMPT).resize(columns, rows);
        // Keys can be faster than the window.
        terminal.see_when("its size over there", |_| stage.inside("stty -F /dev/pts/0 size") == size);
        terminal.type_line("stty size").expect(size);
    }
    terminal.expect(PROMPT);
    // Editing is the shell's: a typing error, and the line before, which the engine would keep for itself.
    terminal.type_line("ecko\x7f\x7fho wo\x01\x05rked").expect("\nworked").expect(PROMPT);
    terminal.type_keys("\x10").expect("echo worked").type_keys("\r").expect("\nworked").expect(PROMPT);
    terminal.type_line("cat").see_when("that it reads", |_| stage.running() == 2);
    terminal.type_keys("Grüße\x04").expect("GrüßeGrüße").type_keys("\x04").expect(PROMPT);
    terminal.type_line("exit 7").expect("code 7");
    assert_eq!(terminal.wait(), 0);
    assert_restored(&terminal);
}

#[test]
fn ctrl_c_is_the_commands() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL));
    terminal.type_line("sleep 4242").see_when("that it sleeps", |_| stage.running() == 2);
    terminal.type_keys("\x03").expect("^C").expect(PROMPT);
    terminal.type_keys("\x04").expect("code 130");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn nothing_that_was_typed_or_shown_is_kept() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL));
    terminal.type_line("echo Amina Yusuf | tr a-z A-Z").expect("AMINA YUSUF").type_line("exit").expect("code 0");
    assert_eq!(terminal.wait(), 0);
    let kept = stage.kept();
    assert!(kept.contains(&format!("docker exec -it {} sh\"", stage.name)), "{kept}");
    assert!(!kept.to_lowercase().contains("amina"), "{kept}");
    assert_eq!(stage.inside("grep -rl 'Amina Yusuf' /root /home /var/lib/postgresql /tmp 2>/dev/null"), "");
}

#[test]
fn a_command_gets_its_options_and_gives_its_code() {
    let stage = Stage::sleeper();
    let options = r#"#{ user: "postgres", working_dir: "/tmp",
        env: ["GREETING=it's here", "TERM=vt100", "HISTFILE=/tmp/mine"] }"#;
    let statements = format!(
        r#"let code = c.terminal(["sh", "-c", "id -un; pwd; echo $GREETING; echo $TERM; echo $HISTFILE; exit 3"],
               {options});
           print(`code ${{code}}`);"#
    );
    let mut terminal = stage.sit(&statements);
    let text = terminal.read("code 3");
    assert!(text.contains("postgres\n/tmp\nit's here\nvt100\n/tmp/mine\n"), "{text}");
    assert_eq!(terminal.wait(), 0);
    let mut terminal = stage.sit(r#"print(`code ${docker::terminal(c, ["no-such-program"])}`);"#);
    let text = terminal.read("code 12");
    assert!(text.contains("no-such-program"), "{text}");
}

#[test]
fn every_byte_passes_as_it_is() {
    let stage = Stage::sleeper();
    let bytes = r"printf '\000'; sleep 0.2; printf '\001\000'; sleep 0.2; printf '\002begin\377end'";
    let mut terminal = stage.sit(&format!(r#"docker::terminal(c, ["sh", "-c", `{bytes}; sleep 0.2; echo over`]);"#));
    terminal.expect("over");
    assert_eq!(terminal.wait(), 0);
    let raw = terminal.raw();
    let wanted = b"\x00\x01\x00\x02begin\xffend";
    assert!(raw.windows(wanted.len()).any(|window| window == wanted), "{}", String::from_utf8_lossy(&raw));
    // What is pasted comes whole, however slow the command is.
    let read = r#"docker::terminal(c, ["sh", "-c",
        "stty raw -echo; printf %s-bytes go; sleep 1; head -c 200000 | sha256sum"]);"#;
    let mut terminal = stage.sit(read);
    let keys: String =
        (0..200_000u32).map(|i| char::from(b'!' + (i.wrapping_mul(2654435761) >> 24) as u8 % 90)).collect();
    fs::write(stage.path("keys"), &keys).unwrap();
    let sum = Command::new("sha256sum").arg(stage.path("keys")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned();
    terminal.expect("go-bytes").type_keys(&keys).expect(&sum);
}

#[test]
fn keys_that_are_typed_after_the_end_are_for_whoever_reads_next() {
    let stage = Stage::sleeper();
    let statements =
        r#"docker::terminal(c, ["echo", "that was it"]); print("over"); sleep(1.0); print(ui::confirm("go on?"));"#;
    let mut terminal = stage.sit(statements);
    terminal.expect("that was it").expect("over").type_line("yes").expect("go on?").expect("true");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn without_a_terminal_it_is_refused_with_what_to_do() {
    let stage = Stage::sleeper();
    let output = stage.command(SHELL, &format!("unix://{ENGINE}")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let asked = format!("there is no terminal to run sh in container {} on", stage.name);
    for words in ["ui.no_terminal", &asked, "ssh -t", "nothing was changed"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert_eq!(stage.running(), 0);
}

#[test]
fn a_container_that_does_not_run_leaves_the_terminal_as_it_was() {
    let stage = Stage::sleeper();
    docker(&["stop", "-t", "0", &stage.name]);
    let mut terminal = stage.sit(SHELL);
    terminal.expect("is not running").expect("error[docker.conflict]");
    assert_eq!(quit(&mut terminal), 1);
    assert_restored(&terminal);
}

#[test]
fn a_container_that_is_removed_meanwhile_is_an_error_and_the_terminal_is_as_it_was() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL));
    docker(&["rm", "-fv", &stage.name]);
    terminal.expect("error[docker.not_found]").expect("removed meanwhile");
    assert_eq!(quit(&mut terminal), 1);
    assert_restored(&terminal);
}

#[test]
fn stopped_from_elsewhere_it_ends_the_command_and_leaves_the_terminal_as_it_was() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL));
    // The other screen, no cursor, marked pastes: what an editor would leave.
    terminal.type_line("printf '\\033[?1049h\\033[?25l\\033[?2004hedited'; sleep 4242").see("edited");
    terminal.signal(Signal::TERM).expect("error[cancelled]");
    assert_eq!(terminal.wait(), 4);
    assert_eq!(stage.running(), 0);
    assert_restored(&terminal);
    let screen = terminal.screen();
    assert!(screen.contains("$ docker exec -it") && !screen.contains("\nedited"), "{screen}");
    assert!(terminal.raw().windows(6).any(|window| window == b"\x1b[?25h"), "the cursor stays hidden");
}

#[test]
fn left_at_once_the_terminal_is_as_it_was() {
    let stage = Stage::sleeper();
    let gate = Gate::opened();
    let mut terminal = stage.shell(Seat::new(&stage.command(SHELL, &gate.url())));
    // The engine does not answer: the command cannot be ended.
    gate.be_silent(true);
    for _ in 0..3 {
        terminal.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(terminal.wait(), 130);
    assert_restored(&terminal);
}

#[test]
fn a_window_that_is_closed_ends_the_command() {
    let stage = Stage::sleeper();
    let mut terminal = stage.shell(stage.seat(SHELL));
    terminal.type_line("sleep 4242").see_when("that it sleeps", |_| stage.running() == 2);
    terminal.hang_up();
    let begun = Instant::now();
    terminal.wait();
    eprintln!("ended {:?} after the window", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(stage.running(), 0);
    // Whatever is seen first: the signal, or that there is nobody.
    let kept = stage.kept();
    assert!(kept.contains("cancelled by the operator") || kept.contains("the terminal has gone away"), "{kept}");
}

#[test]
fn an_engine_that_goes_away_gives_the_terminal_back_at_once() {
    let stage = Stage::sleeper();
    let gate = Gate::opened();
    let mut terminal = stage.shell(Seat::new(&stage.command(SHELL, &gate.url())));
    terminal.type_line("sleep 4242").see_when("that it sleeps", |_| stage.running() == 2);
    let begun = Instant::now();
    gate.close();
    terminal
        .expect("may still run in container")
        .expect("error[docker.unreachable]")
        .expect(&format!("the engine is {}", gate.url()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(quit(&mut terminal), 5);
    assert_restored(&terminal);
}

/// It takes the time after which an engine is given up.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn an_engine_that_falls_silent_is_given_up_after_a_while() {
    let stage = Stage::sleeper();
    let gate = Gate::opened();
    let seat = Seat::new(&stage.command(SHELL, &gate.url())).patience(Duration::from_secs(150));
    let mut terminal = stage.shell(seat);
    gate.be_silent(true);
    let begun = Instant::now();
    terminal.expect("error[docker.unreachable]").expect("has been silent for");
    assert!(begun.elapsed() > Duration::from_secs(50), "{:?}", begun.elapsed());
    assert_eq!(quit(&mut terminal), 5);
    assert_restored(&terminal);
}

// --- psql ---------------------------------------------------------------------------------------------------------

const PSQL: &str = "print(`code ${psql::terminal(psql::server(c))}`);";

#[test]
fn psql_is_used_as_at_a_terminal() {
    let stage = Stage::server("trust");
    stage.inside("echo '\\set PROMPT1 wrong' >/root/.psqlrc");
    let mut terminal = stage.sit(PSQL);
    terminal.expect(&format!("docker exec -it {} psql -X -U primero -d 'primero_production'", stage.name));
    terminal.expect("primero_production=# ");
    // A terminal without rows is too small for any answer: psql would call its pager.
    terminal.see_when("that it has a size", |_| stage.inside("stty -F /dev/pts/0 size") != "0 0");
    terminal.type_line("SELECT current_user || ' ' || 'Größe'").expect("primero_production-# ");
    terminal.type_line(";").expect("primero Größe").expect("=# ").type_line("SELECT pg_sleep(60);");
    let sleeps = "psql -U primero primero_production -Atc \
                  \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'\"";
    terminal.see_when("that it sleeps", |_| stage.inside(sleeps) == "1");
    terminal.type_keys("\x03").expect("canceling statement due to user request").expect("=# ");
    // What a program leaves out, a person wants to see; nothing of what was typed before.
    terminal.type_line("DROP TABLE IF EXISTS amina;").expect("NOTICE:").expect("=# ").type_line("\\q").expect("code 0");
    assert_eq!(terminal.wait(), 0);
    assert_restored(&terminal);
    assert_eq!(
        stage.inside("find / -xdev -name '.*history' -newer /root/.psqlrc 2>/dev/null; grep -rl amina /root /tmp"),
        ""
    );
    let kept = stage.kept();
    assert!(kept.contains("docker exec -it") && !kept.contains("amina") && !kept.contains("pg_sleep"), "{kept}");
}

#[test]
fn psql_takes_another_database_and_a_password_that_nobody_sees() {
    let stage = Stage::server("scram-sha-256");
    let open = |options: &str| {
        format!("print(`code ${{psql::terminal(psql::server(c, {options}), #{{ database: \"postgres\" }})}}`);")
    };
    let mut terminal = stage.sit(&open("#{ password: \"secret\" }"));
    terminal.expect("postgres=# ");
    let arguments = docker(&["top", &stage.name, "-eo", "pid,args"]);
    assert!(arguments.contains("psql -X") && !arguments.contains("secret"), "{arguments}");
    terminal.type_keys("\x04").expect("code 0");
    assert!(!terminal.text().contains("secret"), "{}", terminal.text());
    assert!(!stage.kept().contains("secret"), "{}", stage.kept());
    // Without one it is the image's own.
    let mut terminal = stage.sit(&open("#{}"));
    terminal.expect("postgres=# ").type_keys("\x04").expect("code 0");
    assert!(!terminal.text().contains("secret"), "{}", terminal.text());
    let mut terminal = stage.sit(&open("#{ password: \"wrong\" }"));
    terminal.expect("password authentication failed").expect("code 2");
}

#[test]
fn a_container_without_psql_is_said_to_have_none() {
    let stage = Stage::new(&["--entrypoint", "sleep", "-e", "PATH=/none:/bin"], &["600"]);
    stage.inside("mv /usr/bin/psql /usr/bin/psql.gone");
    let mut terminal = stage.sit("psql::terminal(psql::server(c));");
    terminal.expect("error[postgres.no_client]");
    assert_eq!(quit(&mut terminal), 1);
}

#[test]
fn whatever_is_typed_may_have_been_written() {
    let volume = format!("pgscript-terminal-{}-facts", std::process::id());
    let mount = format!("{volume}:/var/lib/postgresql/data");
    docker(&["volume", "create", &volume]);
    let stage = Stage::new(&["--network", "none", "-v", &mount, "--entrypoint", "sleep"], &["600"]);
    stage.inside("mkdir -p /var/lib/postgresql/data && echo 17 >/var/lib/postgresql/data/PG_VERSION");
    let backup = format!(
        "docker::stop(c, #{{ timeout: 0 }}); volume::backup(volume::inspect(\"{volume}\"), \"{}\"); docker::start(c);",
        stage.path("backup.tar.zst").display()
    );
    for (act, is_written) in
        [("", false), ("docker::terminal(c, [\"true\"]);", true), ("psql::terminal(psql::server(c));", true)]
    {
        _ = fs::remove_dir_all(stage.path("runs"));
        _ = fs::remove_file(stage.path("backup.tar.zst"));
        _ = fs::remove_file(stage.path("backup.tar.zst.json"));
        let mut terminal = stage.sit(&format!("{backup} {act}"));
        assert_eq!(terminal.wait(), 0, "{}", terminal.text());
        let written = stage
            .facts()
            .iter()
            .filter(|fact| fact["fact"] == "volume_written" && fact["volume"] == volume.as_str())
            .count();
        assert_eq!(written > 0, is_written, "{act}: {:#?}", stage.facts());
    }
    drop(stage);
    docker(&["volume", "rm", &volume]);
}
