//! What the tests stand on: two ways to one engine, volumes that go away again, and a look at them by other programs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use pgscript::event::{Event, Listener};
use pgscript::world::container::{ContainerFilter, LABEL_HELPER, Volume};
use pgscript::world::live::{Context, world};
use pgscript::world::volume::NewVolume;
use pgscript::world::{Cancel, Owner, Redactor, World};
use rustix::fs::XattrFlags;
use tokio::runtime::Runtime;

pub const IMAGE: &str = "pgscript-test/postgres:15";
const SOCKET: &str = "/var/run/docker.sock";

/// Whether the engine's files are taken for this machine's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Here,
    Elsewhere,
}

pub const BOTH: [Way; 2] = [Way::Here, Way::Elsewhere];

/// A world, and what a test made; gone again when dropped.
pub struct Bench {
    pub world: World,
    docker_host: String,
    prefix: String,
    mounts: Mutex<Vec<PathBuf>>,
    _runtime: Runtime,
}

/// Cancels at the first sign of progress.
struct CancelAtProgress(Cancel, bool);

impl Listener for CancelAtProgress {
    fn hear(&self, event: &Event) {
        if self.1 && matches!(event, Event::Progress { .. }) {
            self.0.cancel();
        }
    }
}

impl Bench {
    pub fn new(way: Way) -> Option<Self> {
        Self::at(way, SOCKET, false)
    }

    pub fn cancelling() -> Option<Self> {
        Self::at(Way::Here, SOCKET, true)
    }

    /// On the engine behind a socket.
    pub fn at(way: Way, socket: &str, cancel_at_progress: bool) -> Option<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let runtime = Runtime::new().unwrap();
        let cancel = Cancel::default();
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: cancel.clone(),
            listener: Arc::new(CancelAtProgress(cancel, cancel_at_progress)),
            redactor: Redactor::default(),
            owner: Owner::default(),
        };
        let docker_host = match way {
            Way::Here => format!("unix://{socket}"),
            Way::Elsewhere => format!("tcp://127.0.0.1:{}", forward(socket)),
        };
        let world = world(context, Some(docker_host.clone()));
        if world.containers.image(IMAGE).ok().flatten().is_none() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: no Docker engine with {IMAGE}, or not root");
            return None;
        }
        assert_eq!(world.containers.info().unwrap().is_local, way == Way::Here);
        let prefix = format!("pgscript-move-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        Some(Self { world, docker_host, prefix, mounts: Mutex::default(), _runtime: runtime })
    }

    /// A name that nothing has yet.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }

    /// A volume with a cluster's worth of oddities, made by `docker` itself, and its mount point.
    pub fn filled(&self, suffix: &str) -> (String, PathBuf) {
        let (name, root) = self.volume(suffix, &[]);
        fill(&root);
        (name, root)
    }

    pub fn volume(&self, suffix: &str, options: &[&str]) -> (String, PathBuf) {
        let name = self.name(suffix);
        self.docker(&[&["volume", "create"], options, &[&name]].concat());
        let root = self.mount_point(&name);
        (name, root)
    }

    pub fn mount_point(&self, volume: &str) -> PathBuf {
        self.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]).into()
    }

    pub fn labels(&self, volume: &str) -> BTreeMap<String, String> {
        self.world.containers.volume(volume).unwrap().unwrap().labels
    }

    pub fn exists(&self, volume: &str) -> bool {
        self.world.containers.volume(volume).unwrap().is_some()
    }

    /// `docker` with this engine; gives what it prints.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        run(Command::new("docker").args(["-H", &self.docker_host]).args(arguments))
    }

    /// A container from the image that the tests have; gives its name.
    pub fn container(&self, verb: &[&str], suffix: &str, volume: &str) -> String {
        let name = self.name(suffix);
        // The image's own volume would be one more.
        let fixed = ["--name", &name, "--network", "none", "--tmpfs", "/var/lib/postgresql/data", "-v", volume];
        self.docker(&[verb, &fixed, &["--entrypoint", "sleep", IMAGE, "600"]].concat());
        name
    }

    pub fn rename(&self, from: &str, to: &str) -> pgscript::world::Result<Volume> {
        self.world.volumes.rename(from, to, &wishes())
    }

    pub fn clone_to(&self, from: &str, to: &str) -> pgscript::world::Result<Volume> {
        self.world.volumes.clone_to(from, to, &wishes())
    }

    /// Mounts a file system of its own over a directory until the end of the test.
    pub fn mount_tmpfs(&self, at: &Path) {
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at));
        self.mounts.lock().unwrap().push(at.to_owned());
    }

    /// Helper containers of this test's volumes that are not keepers.
    #[track_caller]
    pub fn no_helpers_left(&self) {
        let filter = ContainerFilter { labels: vec![LABEL_HELPER.into()], ..ContainerFilter::default() };
        for helper in self.world.containers.containers(&filter).unwrap() {
            let is_ours = helper.inspect.to_string().contains(&format!("{}-", self.prefix));
            assert!(!is_ours || helper.labels[LABEL_HELPER] == "keep", "{} is left: {:?}", helper.name, helper.labels);
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for mount in self.mounts.lock().unwrap().iter() {
            _ = Command::new("umount").arg(mount).status();
        }
        let docker = |arguments: &[&str]| {
            let output = Command::new("docker").args(["-H", &self.docker_host]).args(arguments).output().unwrap();
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let named = format!("name={}-", self.prefix);
        for container in docker(&["ps", "-aq", "--filter", &named]) {
            docker(&["rm", "-f", "-v", &container]);
        }
        for volume in docker(&["volume", "ls", "-q", "--filter", &named]) {
            docker(&["volume", "rm", &volume]);
        }
    }
}

pub fn wishes() -> NewVolume {
    NewVolume { labels: BTreeMap::from([("site".into(), "kept".into())]), image: Some(IMAGE.into()) }
}

#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a socket reachable by TCP, as an engine elsewhere is; gives the port.
fn forward(socket: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), socket.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&socket).unwrap();
            let (there, back) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            thread::spawn(move || pass(client, engine, |e: &UnixStream| e.shutdown(Shutdown::Write)));
            thread::spawn(move || pass(back, there, |c: &TcpStream| c.shutdown(Shutdown::Write)));
        }
    });
    port
}

fn pass<R: io::Read, W: io::Write>(mut from: R, mut to: W, end: impl Fn(&W) -> io::Result<()>) {
    _ = io::copy(&mut from, &mut to);
    _ = end(&to);
}

/// One of everything that a volume may hold, with owners, modes, times and attributes of its own.
pub fn fill(root: &Path) {
    let script = r#"
        set -eu
        mkdir -p "base/$(printf 'n%.0s' $(seq 200))" empty
        head -c 300000 /dev/urandom > base/row
        echo 15 > PG_VERSION
        echo x > 'new
line'
        echo suid > suid; ln suid 'other name'
        ln -s /etc/passwd absolute; ln -s nowhere dangling
        mkfifo fifo
        truncate -s 5000000 sparse
        chown -hR 999:998 .; chown 3000000:5 suid
        chmod 4711 suid; chmod 1777 empty; chmod 700 .
        find . -exec touch -h -d @1500000000.123456789 {} +
    "#;
    run(Command::new("sh").args(["-c", script]).current_dir(root));
    for path in [root.to_owned(), root.join("PG_VERSION")] {
        rustix::fs::setxattr(&path, "user.pgscript", b"kept", XattrFlags::empty()).unwrap();
    }
}

/// What `find` and `sha256sum` say of a tree, one line an entry; `identity` adds the inodes, which no copy has.
#[track_caller]
pub fn listing(root: &Path, identity: bool) -> String {
    let script = r#"
        set -eu
        find . -type d -printf "%P %y %m %U %G %T@$1\n" | sort
        find . ! -type d -printf "%P %y %m %U %G %T@$1 %s %n %l\n" | sort
        find . -type f -exec sha256sum {} + | sort
    "#;
    let inode = if identity { " %i" } else { "" };
    let mut listed = run(Command::new("sh").args(["-c", script, "sh", inode]).current_dir(root));
    for path in [root.to_owned(), root.join("PG_VERSION")] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&path, "user.pgscript", &mut value[..]).unwrap_or_default();
        listed.push_str(&format!("\nattribute {:?}", &value[..length]));
    }
    listed
}

/// The directory that the engine keeps a volume in, beside others.
pub fn own(mount_point: &Path) -> &Path {
    mount_point.parent().unwrap()
}

/// Whether there is nothing in a directory.
pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}
