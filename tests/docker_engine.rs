//! The Docker engine of the live world against a real one. Without a daemon or the test images these tests fail:
//! they are about the engine, and nothing stands in for it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgscript::event::{Event, Listener};
use pgscript::world::container::*;
use pgscript::world::live::{self, Context};
use pgscript::world::{Cancel, Error, Kind, Redactor, Result};

/// Debian with PostgreSQL 15; any image with a shell would do.
/// Declares no volume: what is removed leaves none behind.
const IMAGE: &str = "pgscript-test/app:1";
const OTHER_IMAGE: &str = "pgscript-test/postgres:17";
const LABEL: &str = "pgscript.test";

/// A world of its own, and everything that a test makes in it: gone again when dropped, also on panic.
struct Stage {
    name: String,
    engine: Arc<dyn ContainerEngine>,
    cancel: Cancel,
    warnings: Arc<Warnings>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Listener for Warnings {
    fn hear(&self, event: &Event) {
        if let Event::Warn { text } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

impl Stage {
    fn new(test: &str) -> Self {
        Self::at(test, None)
    }

    fn at(test: &str, docker_host: Option<&str>) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let warnings = Arc::new(Warnings::default());
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: Cancel::default(),
            listener: warnings.clone(),
            redactor: Redactor::default(),
            owner: pgscript::world::Owner::default(),
        };
        let cancel = context.cancel.clone();
        let engine = live::world(context, docker_host.map(String::from)).containers;
        let name = format!("pgscript-engine-{test}-{}", std::process::id());
        Self { name, engine, cancel, warnings, _runtime: runtime }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.into(), self.name.clone())])
    }

    fn network(&self) -> NetworkSpec {
        NetworkSpec { driver: "bridge".into(), labels: self.labels(), ..NetworkSpec::default() }
    }

    fn named(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    fn spec(&self, suffix: &str, argv: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: Some(self.named(suffix)),
            image: Some(IMAGE.into()),
            entrypoint: Some(strings(argv)),
            labels: Some(self.labels()),
            user: Some("root".into()),
            ..Default::default()
        }
    }

    /// A container that only waits, to run commands in.
    fn sleeper(&self, suffix: &str) -> Container {
        let container = self.engine.create(&self.spec(suffix, &["sleep", "600"])).unwrap();
        self.engine.start(&container.id).unwrap();
        container
    }

    fn volume(&self, suffix: &str) -> String {
        let name = self.named(suffix);
        self.engine.create_volume(&name, "local", &self.labels(), &BTreeMap::new()).unwrap();
        name
    }

    fn shell(&self, container: &str, script: &str) -> Output {
        self.engine.exec_output(container, &shell(script)).unwrap()
    }

    /// Cancels after a while; gives the moment of cancellation.
    fn cancel_after(&self, delay: Duration) -> std::thread::JoinHandle<Instant> {
        let cancel = self.cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            cancel.cancel();
            Instant::now()
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let label = format!("label={LABEL}={}", self.name);
        let each = |command: &[&str], of: &str| match of.split_whitespace().collect::<Vec<_>>() {
            names if names.is_empty() => String::new(),
            names => docker(&[command, &names].concat()),
        };
        let containers = docker(&["ps", "-aq", "--filter", &label]);
        // Where a second container has it by name, an anonymous volume does not go with the first.
        let mounted = each(&["inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}"], &containers);
        each(&["rm", "-fv"], &containers);
        each(&["network", "rm"], &docker(&["network", "ls", "-q", "--filter", &label]));
        each(&["volume", "rm", "-f"], &format!("{mounted} {}", docker(&["volume", "ls", "-q", "--filter", &label])));
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn shell(script: &str) -> ExecSpec {
    ExecSpec { argv: strings(&["sh", "-c", script]), ..Default::default() }
}

/// Bytes that no compression and no line discipline would leave alone, without keeping them.
struct Pattern {
    left: u64,
    state: u32,
}

impl Pattern {
    fn new(length: u64) -> Self {
        Self { left: length, state: 1 }
    }
}

impl Read for Pattern {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = (buf.len() as u64).min(self.left) as usize;
        for byte in &mut buf[..length] {
            self.state = self.state.wrapping_mul(1664525).wrapping_add(1013904223);
            *byte = (self.state >> 24) as u8;
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// Compares what comes with the pattern.
struct Compare {
    expected: Pattern,
    seen: u64,
}

impl Write for Compare {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut expected = vec![0; buf.len()];
        self.expected.read_exact(&mut expected)?;
        assert!(expected == buf, "different bytes near {}", self.seen);
        self.seen += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a number of bytes, then the disk is full.
struct FullAfter(usize);

impl Write for FullAfter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(buf.len()) {
            Some(left) => self.0 = left,
            None => return Err(io::ErrorKind::StorageFull.into()),
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct FailsAfter(u64);

impl Read for FailsAfter {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the backup is damaged"));
        }
        let length = (buf.len() as u64).min(self.0) as usize;
        buf[..length].fill(b'x');
        self.0 -= length as u64;
        Ok(length)
    }
}

/// `VmHWM` of this process in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().code
}

#[test]
fn the_engine_says_who_it_is() {
    let info = Stage::new("info").engine.info().unwrap();
    assert_eq!(info.endpoint, "unix:///var/run/docker.sock");
    assert_eq!(info.version, docker(&["version", "-f", "{{.Server.Version}}"]));
    assert_eq!(info.root_dir, docker(&["info", "-f", "{{.DockerRootDir}}"]));
    assert_eq!(info.host, docker(&["info", "-f", "{{.Name}}"]));
    assert!(info.api_version.starts_with("1."));
    assert!(info.is_local);
}

#[test]
fn an_engine_that_cannot_be_reached_is_named_with_what_to_check() {
    let denied = tempfile::tempdir().unwrap();
    let plain = denied.path().join("file.sock");
    std::fs::write(&plain, "").unwrap();
    let plain = format!("unix://{}", plain.display());
    for (url, cause) in [
        ("unix:///nowhere/docker.sock", "there is no socket /nowhere/docker.sock"),
        (plain.as_str(), "refused"),
        ("tcp://127.0.0.1:1", "refused"),
        ("https://127.0.0.1:1", "ca.pem"),
        ("tcp://no-such-host.invalid:2375", "no-such-host.invalid"),
        ("ssh://nobody@no-such-host.invalid", "no-such-host.invalid"),
        ("ssh://nobody@127.0.0.1:22", "port"),
        ("localhost:2375", "not the address"),
    ] {
        let error = Stage::at("unreachable", Some(url)).engine.info().unwrap_err();
        eprintln!("{}\n  {}", error.message, error.hint.as_deref().unwrap_or("-"));
        assert_eq!((error.kind, error.code.as_str()), (Kind::Unavailable, "docker.unreachable"));
        assert!(error.message.contains(url) && error.message.contains(cause), "{error}");
        assert!(!error.message.contains("hyper") && error.hint.is_some(), "{error}");
    }
}

#[test]
fn a_tcp_address_reaches_the_engine_but_is_not_local() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", proxy.local_addr().unwrap());
    std::thread::spawn(move || proxy.incoming().flatten().for_each(forward));
    let stage = Stage::at("tcp", Some(&url));
    let info = stage.engine.info().unwrap();
    assert_eq!((info.endpoint.as_str(), info.is_local), (url.as_str(), false));
    let container = stage.sleeper("c");
    let mut input = Pattern::new(5 << 20);
    let mut output = Compare { expected: Pattern::new(5 << 20), seen: 0 };
    let streams = Streams { stdin: Some(&mut input), stdout: Some(&mut output), stderr: None };
    assert_eq!(stage.engine.exec(&container.id, &shell("cat"), streams), Ok(0));
    assert_eq!(output.seen, 5 << 20);
}

/// Both directions between a TCP client and the engine's socket, each closed by itself.
fn forward(client: std::net::TcpStream) {
    let engine = std::os::unix::net::UnixStream::connect("/var/run/docker.sock").unwrap();
    let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn(move || {
        _ = io::copy(&mut from_client, &mut to_engine);
        _ = to_engine.shutdown(std::net::Shutdown::Write);
    });
    std::thread::spawn(move || {
        let (mut engine, mut client) = (engine, client);
        _ = io::copy(&mut engine, &mut client);
        _ = client.shutdown(std::net::Shutdown::Write);
    });
}

#[test]
fn exit_codes_and_both_outputs_come_apart() {
    let stage = Stage::new("codes");
    let container = stage.sleeper("c");
    let output = stage.shell(&container.id, "printf 'a\\r\\n\\000b'; printf err >&2; exit 7");
    assert_eq!(output, Output { exit_code: 7, stdout: b"a\r\n\0b".to_vec(), stderr: b"err".to_vec() });
    let spec = ExecSpec {
        argv: strings(&["sh", "-c", "id -un; pwd; echo $GREETING"]),
        env: strings(&["GREETING=it's $HOME \"here\""]),
        user: Some("postgres".into()),
        working_dir: Some("/tmp".into()),
    };
    let output = stage.engine.exec_output(&container.name, &spec).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "postgres\n/tmp\nit's $HOME \"here\"\n");
    let missing = ExecSpec { argv: strings(&["no-such-program"]), ..Default::default() };
    let output = stage.engine.exec_output(&container.id, &missing).unwrap();
    assert!(matches!(output.exit_code, 126 | 127) && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-program"), "{output:?}");
    assert_eq!(code(stage.engine.exec_output(&stage.named("absent"), &missing)), "docker.not_found");
    let too_much = stage.engine.exec_output(&container.id, &shell("head -c 3000000 /dev/zero")).unwrap_err();
    assert!(too_much.message.contains("more than 1 MiB"), "{too_much}");
}

#[test]
fn a_large_stream_passes_both_ways_byte_for_byte_in_little_memory() {
    const LENGTH: u64 = 300 << 20;
    let stage = Stage::new("large");
    let container = stage.sleeper("c");
    stage.shell(&container.id, "true");
    let (before, started) = (peak_memory(), Instant::now());
    let mut input = Pattern::new(LENGTH);
    let mut output = Compare { expected: Pattern::new(LENGTH), seen: 0 };
    let streams = Streams { stdin: Some(&mut input), stdout: Some(&mut output), stderr: None };
    assert_eq!(stage.engine.exec(&container.id, &shell("cat"), streams), Ok(0));
    assert_eq!(output.seen, LENGTH);
    let grown = peak_memory() - before;
    eprintln!("300 MiB both ways in {:?}, peak memory grew by {grown} MiB", started.elapsed());
    // Other tests run in this process at the same time.
    assert!(grown < 200, "{grown} MiB");
}

#[test]
fn a_command_that_does_not_read_its_input_ends_normally() {
    let stage = Stage::new("early");
    let container = stage.sleeper("c");
    for (script, expected) in [("exit 3", 3), ("head -c 10 >/dev/null; exec <&-; sleep 0.3; exit 4", 4)] {
        let mut input = Pattern::new(1 << 40);
        let streams = Streams { stdin: Some(&mut input), ..Default::default() };
        assert_eq!(stage.engine.exec(&container.id, &shell(script), streams), Ok(expected), "{script}");
    }
}

/// How many processes of a marked kind there are: `sleep 4242` and the like.
fn running(container: &str, what: &str) -> usize {
    let top = docker(&["top", container, "-eo", "pid,args"]);
    top.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn cancelled_the_command_and_its_children_are_gone() {
    let stage = Stage::new("cancel");
    let container = stage.sleeper("c");
    for (user, script) in [
        (None, "sleep 4242 & sleep 4242; true"),
        (Some("postgres"), "trap '' TERM; sleep 4242; sleep 4242"),
        (None, "cat /dev/zero; sleep 4242"),
    ] {
        let mut spec = shell(script);
        spec.user = user.map(String::from);
        let canceller = stage.cancel_after(Duration::from_millis(400));
        let mut sink = io::sink();
        let mut input = Pattern::new(1 << 40);
        let streams = Streams { stdin: Some(&mut input), stdout: Some(&mut sink), stderr: None };
        let error = stage.engine.exec(&container.id, &spec, streams).unwrap_err();
        eprintln!("{script}: back {:?} after the cancellation", canceller.join().unwrap().elapsed());
        assert_eq!(error, Error::cancelled());
        assert_eq!(running(&container.id, "4242") + running(&container.id, "cat /dev/zero"), 0, "{script}");
        stage.cancel.rearm();
    }
    assert_eq!(stage.shell(&container.id, "echo alive").stdout, b"alive\n");
    assert!(stage.warnings.0.lock().unwrap().is_empty());
}

#[test]
fn a_command_that_cannot_be_ended_is_told() {
    let stage = Stage::new("changed");
    let container = stage.sleeper("c");
    let canceller = stage.cancel_after(Duration::from_millis(300));
    let spec = shell("exec setpriv --reuid 4321 --clear-groups sleep 4242");
    assert_eq!(code(stage.engine.exec_output(&container.id, &spec)), "cancelled");
    canceller.join().unwrap();
    let warnings = stage.warnings.0.lock().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("may still run in container"), "{warnings:?}");
}

#[test]
fn cancelled_an_input_is_not_taken_for_its_end() {
    let stage = Stage::new("half");
    let container = stage.sleeper("c");
    let canceller = stage.cancel_after(Duration::from_millis(300));
    let mut input = Pattern::new(1 << 40);
    let streams = Streams { stdin: Some(&mut input), ..Default::default() };
    let script = "cat >/dev/null; echo the input ended >/tmp/committed";
    assert_eq!(code(stage.engine.exec(&container.id, &shell(script), streams)), "cancelled");
    canceller.join().unwrap();
    stage.cancel.rearm();
    let mut input = FailsAfter(100_000);
    let streams = Streams { stdin: Some(&mut input), ..Default::default() };
    let error = stage.engine.exec(&container.id, &shell(script), streams).unwrap_err();
    assert!(error.message.contains("the backup is damaged"), "{error}");
    assert_eq!(stage.shell(&container.id, "test -e /tmp/committed").exit_code, 1);
}

#[test]
fn a_full_disk_ends_the_command_and_says_so() {
    let stage = Stage::new("full");
    let container = stage.sleeper("c");
    let mut sink = FullAfter(1 << 20);
    let streams = Streams { stdout: Some(&mut sink), ..Default::default() };
    let error = stage.engine.exec(&container.id, &shell("cat /dev/zero"), streams).unwrap_err();
    eprintln!("{error}");
    assert_eq!(error.code, "host.disk_full");
    assert!(error.message.contains(&container.id) && error.message.contains("output of sh"), "{error}");
    assert_eq!(running(&container.id, "/dev/zero"), 0);
}

#[test]
fn a_container_that_goes_away_under_a_command_is_an_error() {
    let stage = Stage::new("away");
    for (suffix, argv, expected) in
        [("killed", vec!["kill"], "docker.failed"), ("removed", vec!["rm", "-fv"], "docker.not_found")]
    {
        let container = stage.sleeper(suffix);
        let killer = std::thread::spawn({
            let id = container.id.clone();
            move || {
                std::thread::sleep(Duration::from_millis(400));
                docker(&[argv, vec![&id]].concat());
            }
        });
        let started = Instant::now();
        let error = stage.engine.exec_output(&container.name, &shell("sleep 60")).unwrap_err();
        killer.join().unwrap();
        eprintln!("{error}");
        assert_eq!(error.code, expected);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    let stopped = stage.engine.create(&stage.spec("stopped", &["true"])).unwrap();
    assert_eq!(code(stage.engine.exec_output(&stopped.id, &shell("true"))), "docker.conflict");
}

#[test]
fn a_run_container_leaves_its_output_and_nothing_else() {
    let stage = Stage::new("run");
    let volume = stage.volume("v");
    let mut spec = stage.spec("r", &["sh", "-c", "echo out; echo err >&2; echo kept >/v/file; exit 5"]);
    spec.mounts = vec![mount(&volume, "/v")];
    let output = stage.engine.run(&spec).unwrap();
    assert_eq!(output, Output { exit_code: 5, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
    assert_eq!(code(stage.engine.container(&stage.named("r"))), "docker.not_found");
    assert!(stage.engine.volume(&volume).unwrap().is_some());
    spec.entrypoint = Some(strings(&["cat", "/v/file"]));
    assert_eq!(stage.engine.run(&spec).unwrap().stdout, b"kept\n");
    spec.entrypoint = Some(strings(&["no-such-program"]));
    assert!(stage.engine.run(&spec).unwrap_err().message.contains("no-such-program"));
    assert_eq!(code(stage.engine.container(&stage.named("r"))), "docker.not_found");
}

#[test]
fn a_run_container_is_removed_when_cancelled_at_any_moment() {
    let stage = Stage::new("runcancel");
    for delay in [0, 5, 20, 40, 80, 120, 200, 400, 800] {
        let canceller = stage.cancel_after(Duration::from_millis(delay));
        let result = stage.engine.run(&stage.spec("r", &["sleep", "600"]));
        eprintln!("after {delay} ms: back in {:?}", canceller.join().unwrap().elapsed());
        assert_eq!(code(result), "cancelled");
        assert_eq!(code_after(&stage, || stage.engine.container(&stage.named("r"))), "docker.not_found");
    }
}

fn code_after<T: std::fmt::Debug>(stage: &Stage, call: impl Fn() -> Result<T>) -> String {
    stage.cancel.rearm();
    code(call())
}

#[test]
fn waiting_ends_at_once_when_cancelled() {
    let stage = Stage::new("wait");
    let container = stage.engine.create(&stage.spec("c", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]));
    let container = container.unwrap();
    stage.engine.start(&container.id).unwrap();
    let canceller = stage.cancel_after(Duration::from_millis(300));
    assert_eq!(code(stage.engine.stop(&[&container.id], Duration::from_secs(60))), "cancelled");
    let late = canceller.join().unwrap().elapsed();
    assert!(late < Duration::from_secs(2), "{late:?}");
}

fn mount(volume: &str, destination: &str) -> Mount {
    Mount {
        kind: "volume".into(),
        name: volume.into(),
        source: String::new(),
        destination: destination.into(),
        read_only: false,
    }
}

#[test]
fn the_life_of_a_container() {
    let stage = Stage::new("life");
    let mut spec = stage.spec("a", &["sh", "-c", "echo to stdout; echo to stderr >&2; exec sleep 600"]);
    spec.labels = Some(
        [stage.labels(), BTreeMap::from([(LABEL_PROJECT.into(), stage.name.clone())])].into_iter().flatten().collect(),
    );
    spec.env = strings(&["COLOUR=blue", "EMPTY="]);
    spec.restart_policy = Some("on-failure:3".into());
    let created = stage.engine.create(&spec).unwrap();
    assert_eq!((created.state.as_str(), created.restart_policy.as_str()), ("created", "on-failure:3"));
    assert_eq!((created.project.as_str(), created.variable("COLOUR")), (stage.name.as_str(), Some("blue")));
    assert_eq!(created.name, stage.named("a"));
    assert_eq!(code(stage.engine.create(&spec)), "docker.conflict");

    stage.engine.start(&created.id).unwrap();
    stage.engine.start(&created.id).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let running = stage.engine.container(&created.name).unwrap();
    assert!(running.is_running() && running.started_at > created.started_at);
    let logs = stage.engine.logs(&created.id, 10).unwrap();
    assert!(logs.contains("to stdout\n") && logs.contains("to stderr\n"), "{logs:?}");
    assert_eq!(stage.engine.logs(&created.id, 1).unwrap().lines().count(), 1);

    for policy in ["no", "always", "unless-stopped", "on-failure", "on-failure:7"] {
        stage.engine.set_restart_policy(&created.id, policy).unwrap();
        assert_eq!(stage.engine.container(&created.id).unwrap().restart_policy, policy);
    }
    assert_eq!(stage.engine.set_restart_policy(&created.id, "sometimes").unwrap_err().kind, Kind::Usage);

    assert_eq!(code(stage.engine.remove(&created.id, false)), "docker.conflict");
    stage.engine.stop(&[&created.id], Duration::from_secs(1)).unwrap();
    stage.engine.stop(&[&created.id], Duration::from_secs(1)).unwrap();
    assert_eq!(stage.engine.container(&created.id).unwrap().state, "exited");
    stage.engine.rename(&created.id, &stage.named("b")).unwrap();
    assert_eq!(code(stage.engine.container(&stage.named("a"))), "docker.not_found");

    let mut filter = ContainerFilter { project: Some(stage.name.clone()), ..Default::default() };
    assert_eq!(stage.engine.containers(&filter).unwrap().len(), 1);
    filter.service = Some("postgres".into());
    assert!(stage.engine.containers(&filter).unwrap().is_empty());
    let filter = ContainerFilter { labels: vec![format!("{LABEL}={}", stage.name)], ..Default::default() };
    assert_eq!(stage.engine.containers(&filter).unwrap()[0].name, stage.named("b"));

    stage.engine.remove(&stage.named("b"), false).unwrap();
    assert_eq!(code(stage.engine.remove(&created.id, false)), "docker.not_found");
    let error = stage.engine.stop(&[&created.name], Duration::from_secs(1)).unwrap_err();
    assert!(error.message.starts_with(&format!("cannot stop container {}: ", created.name)), "{error}");
}

#[test]
fn an_image_that_is_not_there_is_named_with_the_way_to_get_it() {
    let stage = Stage::new("image");
    let image = stage.engine.image(IMAGE).unwrap().unwrap();
    assert!(image.id.starts_with("sha256:") && image.tags.contains(&IMAGE.to_string()) && image.size > 0);
    assert_eq!(stage.engine.image(&image.id).unwrap().unwrap().id, image.id);
    let absent = "pgscript-test/absent:9";
    assert!(stage.engine.image(absent).unwrap().is_none());
    let mut spec = stage.spec("c", &["true"]);
    spec.image = Some(absent.into());
    let error = stage.engine.create(&spec).unwrap_err();
    assert_eq!(error.code, "docker.image_missing");
    assert!(error.message.contains(absent) && error.hint.unwrap().contains("docker pull"));
    let error = stage.engine.pull("127.0.0.1:1/absent:9").unwrap_err();
    eprintln!("{error}");
    assert_eq!(error.code, "docker.image_missing");
}

#[test]
fn a_container_like_another_is_like_it() {
    let stage = Stage::new("like");
    let (front, back) = (stage.named("front"), stage.named("back"));
    for network in [&front, &back] {
        stage.engine.create_network(network, &stage.network()).unwrap();
    }
    let (volume, name) = (stage.volume("v"), stage.named("old"));
    let label = format!("{LABEL}={}", stage.name);
    docker(&[
        "create",
        "--name",
        &name,
        "--label",
        &label,
        "--network",
        &front,
        "--network-alias",
        "postgres",
        "-e",
        "POSTGRES_USER=primero",
        "-v",
        &format!("{volume}:/var/lib/postgresql/data"),
        "-v",
        "/anonymous",
        "-p",
        "127.0.0.1::5432",
        "--shm-size",
        "128m",
        "--memory",
        "300m",
        "--restart",
        "unless-stopped",
        "--stop-timeout",
        "33",
        "--tmpfs",
        "/scratch",
        "--add-host",
        "friend:10.1.2.3",
        "--ulimit",
        "nofile=1000:2000",
        "--health-cmd",
        "true",
        "--health-interval",
        "7s",
        "--log-opt",
        "max-size=1m",
        "--entrypoint",
        "sleep",
        IMAGE,
        "600",
    ]);
    docker(&["network", "connect", "--alias", "db", "--alias", "store", &back, &name]);
    docker(&["start", &name]);
    let old = stage.engine.container(&name).unwrap();
    let as_root = ExecSpec { user: Some("root".into()), ..shell("echo kept >/anonymous/file") };
    assert_eq!(stage.engine.exec_output(&old.id, &as_root).unwrap().exit_code, 0);
    stage.engine.stop(&[&old.id], Duration::from_secs(0)).unwrap();
    stage.engine.rename(&old.id, &stage.named("moved")).unwrap();

    let spec = ContainerSpec { name: Some(name.clone()), like: Some((*old.inspect).clone()), ..Default::default() };
    let new = stage.engine.create(&spec).unwrap();
    stage.engine.start(&new.id).unwrap();
    let new = stage.engine.container(&new.id).unwrap();
    assert_ne!(new.id, old.id);
    assert_eq!((&new.name, &new.image, &new.image_id), (&old.name, &old.image, &old.image_id));
    assert_eq!((&new.env, &new.labels, &new.restart_policy), (&old.env, &old.labels, &old.restart_policy));
    assert_eq!(by_destination(&new), by_destination(&old));
    let aliases = |c: &Container| c.networks.iter().map(|n| (n.network.clone(), n.aliases.clone())).collect::<Vec<_>>();
    assert_eq!(aliases(&new), aliases(&old));
    assert_eq!(aliases(&new), [(back.clone(), strings(&["db", "store"])), (front.clone(), strings(&["postgres"]))]);
    let keep = |value: &serde_json::Value| {
        let mut host = value["HostConfig"].clone();
        // The same mounts, said in another way.
        host["Binds"] = serde_json::Value::Null;
        host["Mounts"] = serde_json::Value::Null;
        host
    };
    assert_eq!(keep(&new.inspect), keep(&old.inspect));
    for field in ["Cmd", "Entrypoint", "Healthcheck", "StopTimeout", "User", "WorkingDir", "ExposedPorts"] {
        assert_eq!(new.inspect["Config"][field], old.inspect["Config"][field], "{field}");
    }
    assert_eq!(new.inspect["Config"]["Hostname"].as_str().unwrap(), &new.id[..12]);
    assert_eq!(stage.shell(&new.id, "cat /anonymous/file").stdout, b"kept\n");

    let spec = ContainerSpec {
        name: Some(stage.named("apart")),
        image: Some(OTHER_IMAGE.into()),
        like: Some((*old.inspect).clone()),
        env: strings(&["POSTGRES_USER=other"]),
        mounts: vec![mount(&stage.volume("w"), "/var/lib/postgresql/data")],
        network: Some("none".into()),
        restart_policy: Some("no".into()),
        ..Default::default()
    };
    let apart = stage.engine.create(&spec).unwrap();
    stage.engine.start(&apart.id).unwrap();
    let apart = stage.engine.container(&apart.id).unwrap();
    assert_eq!(apart.variable("POSTGRES_USER"), Some("other"));
    assert_eq!(apart.networks.iter().map(|n| n.network.as_str()).collect::<Vec<_>>(), ["none"]);
    assert_eq!(apart.inspect["HostConfig"]["PortBindings"].as_object().map_or(0, |ports| ports.len()), 0);
    let data = apart.mounts.iter().find(|m| m.destination == "/var/lib/postgresql/data").unwrap();
    assert_eq!(data.name, stage.named("w"));
    let other = stage.engine.image(OTHER_IMAGE).unwrap().unwrap();
    for entry in &other.env {
        assert!(apart.env.contains(entry), "{entry} of the new image is missing: {:?}", apart.env);
    }
    // Nothing of the volumes is there: in the place of one is memory, of the other nothing.
    let spec = ContainerSpec {
        name: Some(stage.named("trial")),
        like: Some((*old.inspect).clone()),
        unmount: strings(&["/anonymous"]),
        tmpfs: BTreeMap::from([("/var/lib/postgresql/data".into(), "uid=33,gid=33".into())]),
        log_driver: Some("json-file".into()),
        ..Default::default()
    };
    let trial = stage.engine.create(&spec).unwrap();
    assert_eq!(trial.mounts, []);
    stage.engine.stop(&[&new.id], Duration::from_secs(0)).unwrap();
    stage.engine.start(&trial.id).unwrap();
    let seen = stage.shell(&trial.id, "stat -f -c %T /var/lib/postgresql/data; stat -c %u /var/lib/postgresql/data");
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "tmpfs\n33\n");
    let in_its_network = ContainerSpec {
        name: Some(stage.named("inside")),
        like: Some((*old.inspect).clone()),
        network: Some(format!("container:{}", apart.id)),
        ..Default::default()
    };
    let inside = stage.engine.create(&in_its_network).unwrap();
    stage.engine.start(&inside.id).unwrap();
}

fn by_destination(container: &Container) -> Vec<Mount> {
    let mut mounts = container.mounts.clone();
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    mounts
}

#[test]
fn networks_are_made_joined_left_and_removed() {
    let stage = Stage::new("net");
    let name = stage.named("n");
    let labels = [stage.labels(), BTreeMap::from([(LABEL_PROJECT.into(), stage.name.clone())])].into_iter().flatten();
    let labels: BTreeMap<_, _> = labels.collect();
    assert!(stage.engine.network(&name).unwrap().is_none());
    let spec = NetworkSpec { labels: labels.clone(), ..stage.network() };
    let network = stage.engine.create_network(&name, &spec).unwrap();
    assert_eq!((&network.name, network.driver.as_str(), &network.labels), (&name, "bridge", &labels));
    assert_eq!(code(stage.engine.create_network(&name, &spec)), "docker.conflict");
    assert_eq!(stage.engine.networks(Some(&stage.name)).unwrap().len(), 1);
    let container = stage.sleeper("c");
    stage.engine.connect_network(&name, &container.name, &strings(&["postgres"]), &EndpointOptions::default()).unwrap();
    let joined = stage.engine.container(&container.id).unwrap();
    let place = joined.networks.iter().find(|n| n.network == name).unwrap();
    assert_eq!(place.aliases, ["postgres"]);
    assert!(!place.ip.is_empty());
    assert_eq!(stage.engine.network(&name).unwrap().unwrap().containers, [container.name.as_str()]);
    let error = stage.engine.remove_network(&name).unwrap_err();
    assert_eq!(error.code, "docker.conflict", "{error}");
    stage.engine.disconnect_network(&name, &container.name).unwrap();
    stage.engine.remove_network(&name).unwrap();
    assert_eq!(code(stage.engine.remove_network(&name)), "docker.network_gone");
}

#[test]
fn static_address_is_asked_for_again_and_one_that_is_taken_is_told() {
    let stage = Stage::new("fixed");
    let (name, container, other) = (stage.named("n"), stage.sleeper("c"), stage.sleeper("o"));
    let number = std::process::id();
    let subnet = format!("10.{}.{}", 20 + number % 100, number / 100 % 250);
    let label = format!("{LABEL}={}", stage.name);
    docker(&["network", "create", "--label", &label, "--subnet", &format!("{subnet}.0/24"), &name]);
    let address = format!("{subnet}.77");
    docker(&[
        "network",
        "connect",
        "--ip",
        &address,
        "--alias",
        "db",
        "--link-local-ip",
        "169.254.8.8",
        &name,
        &container.name,
    ]);
    let place = |c: &Container| {
        let now = stage.engine.container(&c.id).unwrap();
        now.networks.into_iter().find(|n| n.network == name).unwrap()
    };
    let before = place(&container);
    assert_eq!((&before.endpoint.ipv4_address, &before.ip), (&address, &address));
    assert_eq!(before.endpoint.link_local_ips, ["169.254.8.8"]);
    let connect =
        |c: &Container, at: &Attachment| stage.engine.connect_network(&name, &c.id, &at.aliases, &at.endpoint);
    stage.engine.disconnect_network(&name, &container.id).unwrap();
    connect(&container, &before).unwrap();
    assert_eq!(place(&container), before);

    // A running container is told at once, a stopped one when it is started.
    assert_eq!(code(connect(&other, &before)), "docker.address_in_use");
    stage.engine.stop(&[&other.id], Duration::from_secs(0)).unwrap();
    connect(&other, &before).unwrap();
    assert_eq!(code(stage.engine.start(&other.id)), "docker.address_in_use");
}

#[test]
fn sidecar_network_is_that_of_the_container_in_its_place() {
    let stage = Stage::new("beside");
    let (gone, now) = (stage.sleeper("gone"), stage.sleeper("now"));
    let mut beside = stage.spec("beside", &["sleep", "600"]);
    beside.network = Some(format!("container:{}", gone.id));
    let beside = stage.engine.create(&beside).unwrap();
    assert_eq!(beside.shares_with(), [gone.id.as_str()]);
    stage.engine.remove(&gone.id, true).unwrap();
    let again = ContainerSpec {
        like: Some((*beside.inspect).clone()),
        replaced: BTreeMap::from([(gone.id, now.id.clone())]),
        ..Default::default()
    };
    let again = stage.engine.create(&again).unwrap();
    stage.engine.start(&again.id).unwrap();
    assert_eq!(again.shares_with(), [now.id.as_str()]);
}

#[test]
fn a_volume_in_use_names_its_holders() {
    let stage = Stage::new("vol");
    let name = stage.volume("v");
    let volume = stage.engine.volume(&name).unwrap().unwrap();
    assert!(volume.mount_point.contains(&name) && !volume.created_at.is_empty());
    assert_eq!(volume.labels, stage.labels());
    assert!(stage.engine.volumes(None).unwrap().iter().any(|v| v.name == name));
    assert!(stage.engine.volumes(Some(&stage.name)).unwrap().is_empty());
    let mut spec = stage.spec("holder", &["true"]);
    spec.mounts = vec![mount(&name, "/v")];
    let holder = stage.engine.create(&spec).unwrap();
    let filter = ContainerFilter { volume: Some(name.clone()), ..Default::default() };
    assert_eq!(stage.engine.containers(&filter).unwrap()[0].id, holder.id);
    let filter = ContainerFilter { volume: Some("/v".into()), ..Default::default() };
    assert!(stage.engine.containers(&filter).unwrap().is_empty());
    let error = stage.engine.remove_volume(&name).unwrap_err();
    assert_eq!(error.code, "docker.conflict");
    assert!(error.message.contains(&holder.name), "{error}");
    stage.engine.remove(&holder.id, false).unwrap();
    stage.engine.remove_volume(&name).unwrap();
    assert!(stage.engine.volume(&name).unwrap().is_none());
    assert_eq!(code(stage.engine.remove_volume(&name)), "docker.not_found");
}

#[test]
fn files_pass_out_of_and_into_a_container_that_never_ran() {
    let stage = Stage::new("copy");
    let writer = stage.sleeper("c");
    let make = "mkdir /d && cd /d && head -c 30000000 /dev/urandom >big && ln -s big link && \
                install -o 70 -g 71 -m 640 /dev/null empty && sha256sum big";
    let sum = stage.shell(&writer.id, make).stdout;
    let mut archive = Vec::new();
    let bytes = stage.engine.copy_out(&writer.id, "/d/.", &mut archive).unwrap();
    assert_eq!(bytes, archive.len() as u64);

    let volume = stage.volume("v");
    let mut spec = stage.spec("created", &["sh", "-c", "cd /v && sha256sum big && stat -c '%n %u %g %a %F' *"]);
    spec.mounts = vec![mount(&volume, "/v")];
    let created = stage.engine.create(&spec).unwrap();
    stage.engine.copy_in(&created.id, "/v", &mut archive.as_slice()).unwrap();
    let mut again = Vec::new();
    stage.engine.copy_out(&created.id, "/v/.", &mut again).unwrap();
    assert!(again.len() > 30_000_000);
    stage.engine.start(&created.id).unwrap();
    std::thread::sleep(Duration::from_millis(800));
    let logs = stage.engine.logs(&created.id, 100).unwrap();
    assert!(logs.starts_with(std::str::from_utf8(&sum).unwrap()), "{logs}");
    assert!(logs.contains("empty 70 71 640 regular empty file") && logs.contains("symbolic link"), "{logs}");

    assert_eq!(code(stage.engine.copy_out(&writer.id, "/absent", &mut Vec::new())), "docker.not_found");
    assert_eq!(code(stage.engine.copy_in(&writer.id, "/absent", &mut archive.as_slice())), "docker.not_found");
    assert_eq!(code(stage.engine.copy_out(&writer.id, "/d", &mut FullAfter(1 << 20))), "host.disk_full");
    let error = stage.engine.copy_in(&writer.id, "/tmp", &mut FailsAfter(1 << 20)).unwrap_err();
    assert!(error.message.contains("the backup is damaged"), "{error}");
    let cut = &archive[..archive.len() / 2];
    let error = stage.engine.copy_in(&writer.id, "/tmp", &mut { cut }).unwrap_err();
    assert_eq!(error.code, "docker.failed", "{error}");
}

#[test]
fn copies_end_at_once_when_cancelled() {
    let stage = Stage::new("copycancel");
    let container = stage.sleeper("c");
    stage.shell(&container.id, "head -c 2000000000 /dev/zero >/big");
    let canceller = stage.cancel_after(Duration::from_millis(300));
    assert_eq!(code(stage.engine.copy_out(&container.id, "/big", &mut io::sink())), "cancelled");
    let late = canceller.join().unwrap().elapsed();
    assert!(late < Duration::from_secs(2), "{late:?}");
    stage.cancel.rearm();
    let mut header = [0u8; 512];
    header[..3].copy_from_slice(b"big");
    let mut endless = Endless(header.to_vec());
    let canceller = stage.cancel_after(Duration::from_millis(300));
    assert_eq!(code(stage.engine.copy_in(&container.id, "/tmp", &mut endless)), "cancelled");
    let late = canceller.join().unwrap().elapsed();
    assert!(late < Duration::from_secs(2), "{late:?}");
}

/// A tar stream that never ends: an entry of 8 GiB less one byte, all zeros.
struct Endless(Vec<u8>);

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.len() == 512 {
            self.0[100..108].copy_from_slice(b"0000644\0");
            self.0[124..136].copy_from_slice(b"77777777777\0");
            self.0[156] = b'0';
            self.0[257..265].copy_from_slice(b"ustar\x0000");
            self.0[148..156].fill(b' ');
            let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
            self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            buf[..512].copy_from_slice(&self.0);
            self.0.clear();
            return Ok(512);
        }
        buf.fill(0);
        Ok(buf.len())
    }
}

#[test]
fn logs_that_the_engine_cannot_read_are_an_error_that_says_so() {
    let stage = Stage::new("logs");
    let name = stage.named("c");
    let label = format!("{LABEL}={}", stage.name);
    docker(&["run", "-d", "--name", &name, "--label", &label, "--log-driver", "none", "--entrypoint", "true", IMAGE]);
    let error = stage.engine.logs(&name, 10).unwrap_err();
    eprintln!("{error}");
    assert!(error.message.contains("logging driver") && error.hint.is_some(), "{error}");
    // A container like it, run to its end, gives its output nevertheless.
    let like = (*stage.engine.container(&name).unwrap().inspect).clone();
    let spec = ContainerSpec { like: Some(like), entrypoint: Some(strings(&["echo", "heard"])), ..Default::default() };
    assert_eq!(stage.engine.run(&spec).unwrap().stdout, b"heard\n");
}
