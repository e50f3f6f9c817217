//! The ways to an engine elsewhere, against real ones on loopback: an SSH server of the test's own in front of this
//! machine's engine, and a second engine that asks for certificates. They need root, and Debian's `openssh-server` and
//! `openssl`, which are installed when missing.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use pgscript::event::{Event, Listener};
use pgscript::world::container::{ExecSpec, Streams};
use pgscript::world::live::{self, Context};
use pgscript::world::{Cancel, Error, Owner, Redactor};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::ssh::{ALIAS, Ssh, free_port, ready, run};
use crate::terminal::Seat;

const IMAGE: &str = "pgscript-test/postgres:17";
const TARGET: &str = "PGSCRIPT_TRANSPORTS_TARGET";

// --- what the tests stand on --------------------------------------------------------------------------------------

/// A container that only waits, and volumes; gone again when dropped.
struct Things {
    host: String,
    container: String,
    volumes: Vec<String>,
}

impl Things {
    /// On this machine's engine.
    fn new(test: &str, volumes: &[&str]) -> Self {
        Self::on("unix:///var/run/docker.sock", test, volumes)
    }

    fn on(host: &str, test: &str, volumes: &[&str]) -> Self {
        let container = format!("pgscript-transports-{test}-{}", std::process::id());
        let volumes = volumes.iter().map(|suffix| format!("{container}-{suffix}")).collect();
        let things = Self { host: host.to_owned(), container, volumes };
        things.docker(&["run", "-d", "--name", &things.container, "--entrypoint", "sleep", IMAGE, "120"]);
        things
    }

    #[track_caller]
    fn docker(&self, arguments: &[&str]) -> String {
        run("docker", &[&["-H", &self.host], arguments].concat())
    }

    /// How many processes run in the container beside its first.
    fn running(&self) -> usize {
        self.docker(&["top", &self.container]).lines().count() - 2
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        let quiet = |arguments: &[&str]| _ = Command::new("docker").args(["-H", &self.host]).args(arguments).output();
        quiet(&["rm", "-f", "-v", &self.container]);
        self.volumes.iter().for_each(|volume| quiet(&["volume", "rm", volume]));
    }
}

// --- SSH ----------------------------------------------------------------------------------------------------------

impl Ssh {
    fn pgscript(&self, url: &str, script: &str) -> Command {
        let file = self.dir.path().join("probe.rhai");
        fs::write(&file, script).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.arg("run").arg(file).args(["--docker", url]).stdin(Stdio::null());
        self.dress(&mut command);
        command
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn over_ssh_a_script_asks_lists_runs_backs_up_and_restores() {
    let Some(ssh) = Ssh::start() else { return };
    let things = Things::new("script", &["a", "b"]);
    let (container, [from, to]) = (&things.container, &things.volumes[..]) else { unreachable!() };
    let dir = ssh.dir.path().display();
    let script = format!(
        r#"
        let info = docker::info();
        print(`local ${{info.is_local}} at ${{info.endpoint}}`);
        print(`listed ${{docker::containers().filter(|c| c.name == "{container}").len()}}`);
        step("all of it", || {{
            let c = docker::container("{container}");
            print("ran " + docker::exec(c, ["sh", "-c", "echo in; echo beside >&2; exit 3"], #{{ check: false }}));
            let fill = "echo 17 > /v/PG_VERSION; head -c 3000000 /dev/urandom > /v/data; chown 70:71 /v/data; "
                + "cd /v; sha256sum data";
            let look = "cd /v; stat -c %u:%g data; sha256sum data";
            let using = |name, script| docker::run(#{{ image: "{IMAGE}", entrypoint: ["sh", "-c", script],
                mounts: [#{{ kind: "volume", name: name, destination: "/v" }}] }}).stdout;
            let written = using.call(volume::create("{from}").name, fill);
            let backup = volume::backup(volume::inspect("{from}"), "{dir}/volume.tar.zst", #{{ image: "{IMAGE}" }});
            volume::verify(backup);
            volume::restore(backup, volume::create("{to}"), #{{ image: "{IMAGE}" }});
            print("restored " + (using.call("{to}", look) == "70:71\n" + written));
        }});
        "#
    );
    let output = ssh.pgscript(ALIAS, &script).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in [
        &format!("local false at {ALIAS}"),
        "listed 1",
        r#"ran #{"exit_code": 3, "stderr": "beside\n", "stdout": "in\n"}"#,
        "restored true",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    ssh.assert_nothing_is_left();
}

#[test]
fn over_ssh_streams_pass_both_ways_and_each_ends_by_itself() {
    if let Ok(container) = std::env::var(TARGET) {
        return streams_pass_both_ways(ALIAS, &container);
    }
    let Some(ssh) = Ssh::start() else { return };
    let things = Things::new("ssh", &[]);
    in_a_child("over_ssh_streams_pass_both_ways_and_each_ends_by_itself", &things, |child| _ = ssh.dress(child));
    ssh.assert_nothing_is_left();
}

#[test]
fn over_ssh_a_shell_is_used_as_at_a_terminal() {
    let Some(ssh) = Ssh::start() else { return };
    let things = Things::new("ssh-shell", &[]);
    shell_is_used(&ssh.pgscript(ALIAS, &shell_script(&things)), &things);
    ssh.assert_nothing_is_left();
}

#[test]
fn what_ssh_complains_of_is_the_error_and_nothing_is_asked() {
    let Some(ssh) = Ssh::start() else { return };
    for (host, words) in [
        ("pgscript-test-unknown", "Host key verification failed"),
        ("pgscript-test-key", "Permission denied"),
        ("pgscript-test-refused", "Connection refused"),
        ("127.0.0.1", "port 1: Connection refused"),
        ("pgscript-no-such-host.invalid", "Could not resolve hostname"),
    ] {
        let begun = Instant::now();
        let mut command = ssh.pgscript(&format!("ssh://{host}"), "docker::info();");
        let output = command.output().unwrap();
        // On a terminal a question could be asked.
        let mut terminal = Seat::new(&command).start();
        let code = terminal.wait();
        for (said, code) in [(text(&output), output.status.code()), (terminal.text(), Some(code))] {
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(code, Some(5), "{said}");
            for expected in ["docker.unreachable", words, "hint", &format!("ssh {host} docker version")] {
                assert!(said.contains(expected), "no `{expected}` in {said}");
            }
            assert!(!said.contains("password:") && !said.contains("(yes/no"), "{said}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{host}: {:?}", begun.elapsed());
    }
    assert_eq!(fs::read_to_string(ssh.dir.path().join("known-none")).unwrap(), "", "a host was trusted unasked");
    ssh.assert_nothing_is_left();
}

#[test]
fn a_docker_that_is_missing_over_there_is_told_in_the_shells_words() {
    let Some(ssh) = Ssh::start() else { return };
    // The command that a key is bound to takes the place of ours.
    let key = fs::read_to_string(ssh.dir.path().join("key.pub")).unwrap();
    fs::write(ssh.dir.path().join("authorized"), format!("command=\"sleep 1 & no-such-docker; wait\" {key}")).unwrap();
    let output = ssh.pgscript(ALIAS, "docker::info();").output().unwrap();
    let said = text(&output);
    assert!(said.contains("docker.unreachable") && said.contains("no-such-docker: command not found"), "{said}");
    ssh.assert_nothing_is_left();
}

#[test]
fn ctrl_c_over_ssh_ends_the_command_over_there_and_leaves_no_ssh_behind() {
    let Some(ssh) = Ssh::start() else { return };
    let things = Things::new("interrupt", &[]);
    let script = format!(
        r#"step("x", || docker::exec(docker::container("{}"),
               ["sh", "-c", "sleep 66; touch /tmp/went-on; sleep 66"]));"#,
        things.container
    );
    // A group of its own, and the signal to all of it: what a terminal does.
    let mut run = ssh.pgscript(ALIAS, &script).process_group(0).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while things.running() < 2 {
        assert!(Instant::now() < until, "the command never ran");
        std::thread::sleep(Duration::from_millis(50));
    }
    let group = rustix::process::Pid::from_raw(run.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    let begun = Instant::now();
    let status = run.wait().unwrap();
    let took = begun.elapsed();
    eprintln!("ended {took:?} after Ctrl-C");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(status.code(), Some(4));
    assert_eq!(things.running(), 0);
    let went_on = Command::new("docker").args(["exec", &things.container, "ls", "/tmp/went-on"]).output().unwrap();
    assert!(!went_on.status.success(), "the command went on");
    ssh.assert_nothing_is_left();
}

#[test]
fn a_killed_run_leaves_no_ssh_behind() {
    let Some(ssh) = Ssh::start() else { return };
    let mut run = ssh.pgscript(ALIAS, "docker::info(); sleep(60);").stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    // The master, and what is made ahead of time.
    while ssh.processes().len() < 3 {
        assert!(Instant::now() < until, "no connection: {:?}", ssh.processes());
        std::thread::sleep(Duration::from_millis(50));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(3);
    while !ssh.processes().is_empty() {
        assert!(Instant::now() < until, "left behind: {:#?}", ssh.processes());
        std::thread::sleep(Duration::from_millis(20));
    }
}

// --- TLS ----------------------------------------------------------------------------------------------------------

/// An engine that asks for a client's certificate, and directories with certificates for clients.
struct Tls {
    url: String,
    engine: Engine,
    dir: TempDir,
}

impl Tls {
    /// One for all tests that want it at the same time.
    fn start() -> Option<Arc<Self>> {
        static RUNNING: Mutex<Weak<Tls>> = Mutex::new(Weak::new());
        if !ready(&["/usr/bin/openssl"]) {
            return None;
        }
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = running.upgrade() {
            return Some(tls);
        }
        let tls = Arc::new(Self::new());
        *running = Arc::downgrade(&tls);
        Some(tls)
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, port) = (dir.path().display().to_string(), free_port());
        for authority in ["ca", "foreign"] {
            let (key, cert, subject) =
                (format!("{path}/{authority}.key"), format!("{path}/{authority}.pem"), format!("/CN={authority}"));
            run(
                "openssl",
                &[
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    &subject,
                    "-keyout",
                    &key,
                    "-out",
                    &cert,
                ],
            );
        }
        issue(&path, "server", "ca", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
        // As `docker` wants them: ca.pem, cert.pem, key.pem.
        for (client, authority, trusted) in [
            ("client", "ca", "ca"),
            ("stranger", "foreign", "ca"),
            ("mistrusts", "ca", "foreign"),
            ("bare", "ca", "ca"),
        ] {
            issue(&path, client, authority, "extendedKeyUsage=clientAuth\n");
            let home = dir.path().join(format!("{client}.d"));
            fs::create_dir(&home).unwrap();
            fs::copy(format!("{path}/{trusted}.pem"), home.join("ca.pem")).unwrap();
            if client != "bare" {
                fs::copy(format!("{path}/{client}.pem"), home.join("cert.pem")).unwrap();
                fs::copy(format!("{path}/{client}.key"), home.join("key.pem")).unwrap();
            }
        }
        let engine = Engine::start(format!("tls-{}", std::process::id()), &[&format!("--tls={port}:{path}")]);
        engine.load(&[IMAGE]);
        Self { url: format!("tcp://127.0.0.1:{port}"), engine, dir }
    }

    /// On that engine, made past TLS.
    fn things(&self, test: &str) -> Things {
        Things::on(&self.engine.host, test, &[])
    }

    fn dress<'a>(&self, command: &'a mut Command, client: &str) -> &'a mut Command {
        let certificates = self.dir.path().join(format!("{client}.d"));
        command.env("DOCKER_HOST", &self.url).env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", certificates)
    }

    fn probe(&self, client: &str) -> Output {
        let file = self.dir.path().join("probe.rhai");
        fs::write(&file, "print(docker::info());").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        self.dress(command.arg("run").arg(file), client).output().unwrap()
    }
}

/// A key, and its certificate by `authority`.
fn issue(path: &str, name: &str, authority: &str, extensions: &str) {
    let file = |suffix: &str| format!("{path}/{name}.{suffix}");
    fs::write(file("ext"), extensions).unwrap();
    let subject = format!("/CN={name}");
    run("openssl", &["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", &file("sec1")]);
    run("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", &file("sec1"), "-out", &file("key")]);
    run("openssl", &["req", "-new", "-key", &file("key"), "-subj", &subject, "-out", &file("csr")]);
    let (ca, key) = (format!("{path}/{authority}.pem"), format!("{path}/{authority}.key"));
    let (csr, ext, cert) = (file("csr"), file("ext"), file("pem"));
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &ext,
            "-out",
            &cert,
        ],
    );
}

#[test]
fn over_tls_streams_pass_both_ways_and_each_ends_by_itself() {
    if let Ok(container) = std::env::var(TARGET) {
        return streams_pass_both_ways(&std::env::var("DOCKER_HOST").unwrap(), &container);
    }
    let Some(tls) = Tls::start() else { return };
    let things = tls.things("tls");
    let name = "over_tls_streams_pass_both_ways_and_each_ends_by_itself";
    in_a_child(name, &things, |child| _ = tls.dress(child, "client"));
}

#[test]
fn over_tls_a_shell_is_used_as_at_a_terminal() {
    let Some(tls) = Tls::start() else { return };
    let things = tls.things("tls-shell");
    let file = tls.dir.path().join("shell.rhai");
    fs::write(&file, shell_script(&things)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
    command.arg("run").arg(file).env("PATH", std::env::var("PATH").unwrap());
    command.env("PGSCRIPT_STORE", tls.dir.path().join("runs"));
    shell_is_used(tls.dress(&mut command, "client"), &things);
}

#[test]
fn over_tls_a_wrong_or_missing_certificate_is_named() {
    let Some(tls) = Tls::start() else { return };
    let output = tls.probe("client");
    assert!(output.status.success(), "{}", text(&output));
    for (client, words) in [
        // A certificate that the server does not accept, a server that we do not accept, and no certificate.
        ("stranger", "the engine does not accept the certificate"),
        ("mistrusts", "the engine's certificate is not valid"),
        ("bare", "cert.pem"),
    ] {
        let begun = Instant::now();
        let said = text(&tls.probe(client));
        eprintln!("{said}");
        for expected in ["docker.unreachable", words, "hint", &format!("{client}.d")] {
            assert!(said.contains(expected), "{client}: no `{expected}` in {said}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

// --- a process with another environment ---------------------------------------------------------------------------

/// Runs one test of this file again, as a child: where `ssh` is found and which certificates are shown is the
/// environment's to say, and this process has one for all tests.
fn in_a_child(test: &str, things: &Things, dress: impl Fn(&mut Command)) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(TARGET, &things.container);
    dress(&mut child);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(things.running(), 0);
}

fn shell_script(things: &Things) -> String {
    format!(r#"step("x", || print(`code ${{docker::container("{}").terminal()}}`));"#, things.container)
}

fn shell_is_used(command: &Command, things: &Things) {
    const PROMPT: &str = ":/# ";
    let mut terminal = Seat::new(command).size(90, 20).start();
    terminal.expect("docker exec -it").expect(PROMPT);
    // This engine is told the size only once the command runs.
    let size = ["exec", &things.container, "stty", "-F", "/dev/pts/0", "size"];
    terminal.see_when("its size over there", |_| things.docker(&size) == "20 90");
    terminal.type_line("stty size").expect("20 90").expect(PROMPT);
    terminal.resize(70, 10).see_when("its size over there", |_| things.docker(&size) == "10 70");
    // What is typed is shown at once, a key at a time.
    terminal.type_keys("e").expect("e").type_keys("c").expect("c").type_line("ho; sleep 4242");
    terminal.see_when("that it sleeps", |_| things.running() == 2);
    terminal.type_keys("\x03").expect("^C").expect(PROMPT).type_line("exit 7").expect("code 7");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(things.running(), 0);
}

struct Silent;

impl Listener for Silent {
    fn hear(&self, _: &Event) {}
}

fn streams_pass_both_ways(url: &str, container: &str) {
    const LENGTH: usize = 20 << 20;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = Context {
        runtime: runtime.handle().clone(),
        cancel: Cancel::default(),
        listener: Arc::new(Silent),
        redactor: Redactor::default(),
        owner: Owner::default(),
    };
    let engine = live::world(context, Some(url.into())).containers;
    let info = engine.info().unwrap();
    assert_eq!((info.endpoint.as_str(), info.is_local), (url, false));
    let sent: Vec<u8> = (0..LENGTH as u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
    let (mut input, mut back) = (sent.as_slice(), Vec::new());
    let streams = Streams { stdin: Some(&mut input), stdout: Some(&mut back), stderr: None };
    assert_eq!(engine.exec(container, &shell("cat"), streams), Ok(0));
    assert!(back == sent, "{} bytes came back, or others", back.len());
    // The answer to an input that has ended comes only after it has ended.
    let (mut input, mut out, mut err) = (&b"abc"[..], Vec::new(), Vec::new());
    let streams = Streams { stdin: Some(&mut input), stdout: Some(&mut out), stderr: Some(&mut err) };
    assert_eq!(engine.exec(container, &shell("n=$(wc -c); sleep 0.5; echo $n; echo e >&2; exit 5"), streams), Ok(5));
    assert_eq!((out.as_slice(), err.as_slice()), (&b"3\n"[..], &b"e\n"[..]));
    // Neither does a reader who fails leave a command behind.
    let mut broken = (&b"abc"[..]).chain(Failing);
    let streams = Streams { stdin: Some(&mut broken), stdout: None, stderr: None };
    let error: Error = engine.exec(container, &shell("cat; sleep 60"), streams).unwrap_err();
    assert!(error.message.contains("damaged"), "{error}");
    io::stdout().flush().unwrap();
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the source is damaged"))
    }
}

fn shell(script: &str) -> ExecSpec {
    ExecSpec { argv: ["sh", "-c", script].map(String::from).to_vec(), ..Default::default() }
}
