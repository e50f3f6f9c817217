//! A world for one test, and everything that the test makes in it: gone again when dropped, also on panic.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgscript::event::Silent;
use pgscript::world::container::{Container, ContainerSpec, Mount, NetworkSpec};
use pgscript::world::postgres::{Server, ServerVersion};
use pgscript::world::sim::{self, Sim};
use pgscript::world::{Cancel, Owner, Redactor, Result, World, live};

use crate::kept::Kept;

const LABEL: &str = "pgscript.test";
static NEXT: AtomicU32 = AtomicU32::new(1);

pub const APP: &str = "pgscript-test/app:1";
pub const PASSWORD: &str = "it's a $ecret";
/// As the image of a version calls the mount of its cluster.
pub const DATA: &str = "/var/lib/postgresql/data";

pub fn postgres(major: u32) -> String {
    format!("pgscript-test/postgres:{major}")
}

pub struct Site {
    pub world: World,
    pub name: String,
    pub dir: PathBuf,
    live: Option<Live>,
}

struct Live {
    /// Majors of the servers that there are.
    made: Mutex<Vec<u32>>,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Site {
    pub fn live() -> Self {
        let (runtime, name) = (tokio::runtime::Runtime::new().unwrap(), name());
        let context = live::Context {
            runtime: runtime.handle().clone(),
            cancel: Cancel::default(),
            listener: Arc::new(Silent),
            redactor: Redactor::default(),
            owner: Owner::default(),
        };
        let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let world = live::world(context, std::env::var("DOCKER_HOST").ok());
        let at = dir.path().to_owned();
        let live = Live { made: Mutex::default(), _runtime: runtime, _dir: dir };
        Self { world, name, dir: at, live: Some(live) }
    }

    pub fn simulated() -> Self {
        let context = sim::Context {
            sim: Sim::in_memory(sim::with_images()),
            cancel: Cancel::default(),
            listener: Arc::new(Silent),
            redactor: Redactor::default(),
            owner: Owner::default(),
        };
        let (world, name) = (sim::world(context), name());
        let dir = PathBuf::from("/tmp").join(&name);
        world.host.create_private_dir(&dir).unwrap();
        Self { world, name, dir, live: None }
    }

    pub fn named(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.into(), self.name.clone())])
    }

    pub fn network(&self, suffix: &str) -> String {
        let name = self.named(suffix);
        let spec = NetworkSpec { driver: "bridge".into(), labels: self.labels(), ..NetworkSpec::default() };
        self.world.containers.create_network(&name, &spec).unwrap();
        name
    }

    pub fn volume(&self, suffix: &str) -> String {
        let name = self.named(suffix);
        self.world.containers.create_volume(&name, "local", &self.labels(), &BTreeMap::new()).unwrap();
        name
    }

    /// A container that would wait for long, if it were started.
    pub fn spec(&self, suffix: &str) -> ContainerSpec {
        ContainerSpec {
            name: Some(self.named(suffix)),
            image: Some(APP.into()),
            entrypoint: Some(argv(&["sleep", "600"])),
            labels: Some(self.labels()),
            ..ContainerSpec::default()
        }
    }

    pub fn running(&self, spec: &ContainerSpec) -> Container {
        let container = self.world.containers.create(spec).unwrap();
        self.world.containers.start(&container.id).unwrap();
        self.look(&container)
    }

    pub fn look(&self, container: &Container) -> Container {
        self.world.containers.container(&container.id).unwrap()
    }

    /// Looks again and again until it is so, for half a minute.
    #[track_caller]
    pub fn wait_until(&self, container: &Container, is_so: impl Fn(&Container) -> bool) -> Container {
        for _ in 0..150 {
            let now = self.look(container);
            if is_so(&now) {
                return now;
            }
            self.world.host.sleep(Duration::from_millis(200)).unwrap();
        }
        panic!("{:#?}", self.look(container));
    }

    /// What a server of that version would be, on a volume; its settings are further arguments.
    pub fn server_spec(&self, major: u32, volume: &str, settings: &[&str]) -> ContainerSpec {
        let destination = if major < 18 { DATA } else { "/var/lib/postgresql" };
        let env = ["POSTGRES_USER=primero", "POSTGRES_DB=records"].map(str::to_owned);
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        ContainerSpec {
            name: Some(format!("{volume}-server-{}", NEXT.fetch_add(1, Ordering::Relaxed))),
            image: Some(postgres(major)),
            command: Some(["postgres"].into_iter().chain(settings).map(str::to_owned).collect()),
            env: env.into_iter().chain([format!("POSTGRES_PASSWORD={PASSWORD}")]).collect(),
            labels: Some(self.labels()),
            mounts: vec![mount(volume, destination)],
            ..ContainerSpec::default()
        }
    }

    /// A server on that volume that answers. In a volume that is empty it finds what a first start makes, which is made
    /// once for all tests.
    pub fn server(&self, major: u32, volume: &str) -> (Container, Server) {
        self.server_with(major, volume, &[])
    }

    pub fn server_with(&self, major: u32, volume: &str, settings: &[&str]) -> (Container, Server) {
        let container = self.world.containers.create(&self.server_spec(major, volume, settings)).unwrap();
        let missing = self.kept(&container, major).filter(|kept| !kept.put());
        let started = self.started(&container);
        if let Some(missing) = missing {
            missing.take(&container.id);
            return self.started(&container);
        }
        started
    }

    /// A server that makes a cluster in that volume.
    pub fn first_start(&self, major: u32, volume: &str) -> (Container, Server) {
        let container = self.world.containers.create(&self.server_spec(major, volume, &[])).unwrap();
        self.started(&container)
    }

    fn started(&self, container: &Container) -> (Container, Server) {
        self.world.containers.start(&container.id).unwrap();
        let server = Server::of(container, None);
        self.ready(&server).unwrap();
        (self.look(container), server)
    }

    /// No two servers of a site have the same cluster. `None` in the simulated world.
    fn kept(&self, container: &Container, major: u32) -> Option<Kept> {
        let live = self.live.as_ref()?;
        let mut made = live.made.lock().unwrap();
        made.push(major);
        let number = made.iter().filter(|one| **one == major).count();
        Kept::of(&container.id, "contract", major, number)
    }

    pub fn ready(&self, server: &Server) -> Result<ServerVersion> {
        self.world.postgres.wait_ready(server, Duration::from_secs(60))
    }

    pub fn sql(&self, server: &Server, database: &str, sql: &str) {
        self.world.postgres.execute(server, database, sql, &[]).unwrap();
    }

    pub fn stop(&self, container: &Container) {
        self.world.containers.stop(&[&container.id], Duration::from_secs(60)).unwrap();
    }

    /// Ends what minds no signal.
    pub fn end(&self, container: &Container) {
        self.world.containers.stop(&[&container.id], Duration::from_secs(1)).unwrap();
    }

    /// A cluster with a table of so many rows; gives its server.
    pub fn filled(&self, major: u32, volume: &str, rows: u32) -> (Container, Server) {
        let (container, server) = self.server(major, volume);
        self.sql(&server, "records", "CREATE TABLE public.cases (id serial PRIMARY KEY, name text)");
        for _ in 0..rows {
            self.insert(&server);
        }
        (container, server)
    }

    pub fn insert(&self, server: &Server) {
        self.sql(server, "records", "INSERT INTO public.cases (name) VALUES ('a')");
    }
}

pub fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub fn mount(volume: &str, destination: &str) -> Mount {
    Mount {
        kind: "volume".into(),
        name: volume.to_owned(),
        source: String::new(),
        destination: destination.to_owned(),
        read_only: false,
    }
}

#[track_caller]
pub fn code<T>(result: Result<T>) -> String {
    result.err().expect("this fails").code
}

fn name() -> String {
    format!("pgscript-contract-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.live.is_none() {
            return;
        }
        let docker = |arguments: &[&str]| {
            let output = Command::new("docker").args(arguments).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        // By name as well: a helper has labels of its own. With the dash: the engine finds parts of names, and another
        // test has this one's number with a digit after it.
        for filter in [format!("label={LABEL}={}", self.name), format!("name={}-", self.name)] {
            let kinds: [(&[&str], &[&str]); 3] = [
                (&["ps", "-aq", "--filter"], &["rm", "-fv"]),
                (&["network", "ls", "-q", "--filter"], &["network", "rm"]),
                (&["volume", "ls", "-q", "--filter"], &["volume", "rm", "-f"]),
            ];
            for (list, remove) in kinds {
                let found = docker(&[list, &[&filter]].concat());
                let ids: Vec<_> = found.split_whitespace().collect();
                if !ids.is_empty() {
                    docker(&[remove, &ids].concat());
                }
            }
        }
    }
}
