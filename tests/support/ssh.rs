//! A throw-away SSH server in front of this machine's engine, on loopback. Needs root and Debian's `openssh-server`,
//! which is installed when missing.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Reaches this machine's engine, where [`Ssh::dress`] was called.
pub const ALIAS: &str = "ssh://pgscript-test-alias";

/// Whether all programs are there, after installing what is missing.
pub fn ready(programs: &[&str]) -> bool {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap();
    let there = || programs.iter().all(|program| Path::new(program).exists());
    if !there() {
        _ = Command::new("tests/stack/engine.sh").arg("ensure").status();
    }
    if !there() {
        eprintln!("\n*** SKIPPED: {programs:?} cannot be installed: this way to an engine is NOT tested ***\n");
    }
    there()
}

/// A server of the test, ended with it.
pub struct Server(Child);

impl Server {
    pub fn start(command: &mut Command, port: u16) -> Self {
        let server = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "no server on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An SSH server, and a client's configuration for it. `ssh` looks for its configuration in the home of the passwd
/// database, whatever `HOME` says: so a wrapper, first in `PATH`, names the file.
pub struct Ssh {
    pub dir: TempDir,
    _server: Server,
}

impl Ssh {
    pub fn start() -> Option<Self> {
        if !ready(&["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen"]) {
            return None;
        }
        // The package's service would make it.
        fs::create_dir_all("/run/sshd").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (path, port) = (dir.path().display(), free_port());
        for key in ["host", "key", "other"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &format!("{path}/{key}")]);
        }
        fs::copy(dir.path().join("key.pub"), dir.path().join("authorized")).unwrap();
        let host_key = fs::read_to_string(dir.path().join("host.pub")).unwrap();
        fs::write(dir.path().join("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        fs::write(dir.path().join("known-none"), "").unwrap();
        // HOME: the shells over there shall not read this machine's dot files. No rate limit, no PAM of this machine.
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {path}/host\nAuthorizedKeysFile {path}/authorized\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication yes\n\
             SetEnv HOME={path}\nLogLevel FATAL\n"
        );
        fs::write(dir.path().join("sshd_config"), server).unwrap();
        let alias = |name: &str, port: u16, key: &str, known: &str| {
            format!(
                "Host {name}\n HostName 127.0.0.1\n Port {port}\n IdentityFile {path}/{key}\n IdentitiesOnly yes\n \
                 UserKnownHostsFile {path}/{known}\n GlobalKnownHostsFile none\n StrictHostKeyChecking ask\n"
            )
        };
        let client = [
            alias("pgscript-test-alias", port, "key", "known"),
            alias("pgscript-test-unknown", port, "key", "known-none"),
            alias("pgscript-test-key", port, "other", "known"),
            alias("pgscript-test-refused", free_port(), "key", "known"),
            alias("127.0.0.1", 1, "key", "known"),
        ];
        fs::write(dir.path().join("config"), client.concat()).unwrap();
        let wrapper = dir.path().join("bin/ssh");
        fs::create_dir_all(wrapper.parent().unwrap()).unwrap();
        fs::write(&wrapper, format!("#!/bin/sh\nexec /usr/bin/ssh -F {path}/config \"$@\"\n")).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(dir.path().join("sshd_config"));
        let server = Server::start(&mut sshd, port);
        Some(Self { dir, _server: server })
    }

    /// `command` with this configuration, and sockets below a directory that can be looked into.
    pub fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap();
        fs::create_dir_all(self.sockets()).unwrap();
        command
            .env("PATH", format!("{}/bin:{path}", self.dir.path().display()))
            .env("TMPDIR", self.sockets())
            .env("PGSCRIPT_STORE", self.dir.path().join("runs"))
    }

    pub fn sockets(&self) -> std::path::PathBuf {
        self.dir.path().join("t")
    }

    /// The `ssh` processes that use this configuration.
    pub fn processes(&self) -> Vec<String> {
        let config = self.dir.path().join("config").display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(&config)).map(|line| line.replace('\0', " ")).collect()
    }

    pub fn assert_nothing_is_left(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.processes().is_empty() {
            assert!(Instant::now() < until, "left behind: {:#?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read_dir(self.sockets()).unwrap().count(), 0, "a directory of sockets is left");
    }
}
