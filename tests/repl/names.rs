//! Names of containers, volumes and databases, as they are offered to whoever types, against a real engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgscript::event::{Event, Listener};
use pgscript::repl::names::Names;
use pgscript::world::container::{ContainerSpec, LABEL_HELPER};
use pgscript::world::live::{self, Context};
use pgscript::world::postgres::Server;
use pgscript::world::{Cancel, Owner, Redactor, World};

use crate::gate::Gate;
use crate::repl::engine::{ENGINE, IMAGE, LABEL, Things, docker};

/// Creating them takes its time.
const MANY: usize = if cfg!(feature = "full-matrix") { 200 } else { 24 };

/// A world of its own, and everything that a test makes in it.
struct Stage {
    things: Things,
    world: World,
    cancel: Cancel,
    heard: Arc<Heard>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Stage {
    fn new() -> Self {
        Self::at(ENGINE)
    }

    fn at(engine: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (cancel, heard) = (Cancel::default(), Arc::new(Heard::default()));
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: cancel.clone(),
            listener: heard.clone(),
            redactor: Redactor::default(),
            owner: Owner::default(),
        };
        let things = Things::new("names");
        Self { things, world: live::world(context, Some(engine.to_owned())), cancel, heard, _runtime: runtime }
    }

    /// A container that is only created.
    fn container(&self, suffix: &str, labels: &[&str]) -> String {
        let name = format!("{}-{suffix}", self.things.name);
        let labels = labels.iter().map(|label| (label.to_string(), String::new()));
        let labels = labels.chain([(LABEL.to_owned(), self.things.name.clone())]).collect();
        let spec = ContainerSpec {
            name: Some(name.clone()),
            image: Some(IMAGE.into()),
            entrypoint: Some(vec!["true".into()]),
            labels: Some(labels),
            ..ContainerSpec::default()
        };
        self.world.containers.create(&spec).unwrap();
        name
    }

    fn volume(&self, suffix: &str) -> String {
        let name = format!("{}-{suffix}", self.things.name);
        let labels = BTreeMap::from([(LABEL.to_owned(), self.things.name.clone())]);
        self.world.containers.create_volume(&name, "local", &labels, &BTreeMap::new()).unwrap();
        name
    }

    fn server(&self, more: &[&str]) -> Server {
        let (name, label) = (format!("{}-server", self.things.name), format!("{LABEL}={}", self.things.name));
        let run = ["run", "-d", "--name", &name, "--label", &label, "-e", "POSTGRES_PASSWORD=x"];
        let server = ["-e", "POSTGRES_INITDB_ARGS=--no-sync"];
        docker(&[&run, more, &server, &[IMAGE, "postgres", "-c", "fsync=off"][..]].concat());
        let server = Server::of(&self.world.containers.container(&name).unwrap(), None);
        self.world.postgres.wait_ready(&server, Duration::from_secs(60)).unwrap();
        server
    }

    /// Those of this stage's among many.
    fn own(&self, names: Vec<String>) -> Vec<String> {
        names.into_iter().filter(|name| name.starts_with(&self.things.name)).collect()
    }
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (call(), begun.elapsed())
}

/// Waits until it is so, at most ten seconds.
#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

// --- of the engine ------------------------------------------------------------------------------------------------

#[test]
fn the_names_of_many_containers_cost_two_requests() {
    let gate = Gate::opened();
    let stage = Stage::at(&gate.url());
    let wanted: Vec<_> = (0..MANY).map(|number| format!("many-{number:03}")).collect();
    std::thread::scope(|scope| {
        for some in wanted.chunks(MANY.div_ceil(4)) {
            scope.spawn(|| some.iter().for_each(|suffix| _ = stage.container(suffix, &[])));
        }
    });
    stage.container("helper", &[LABEL_HELPER]);
    let volumes = ["v2", "v1"].map(|suffix| stage.volume(suffix));
    gate.asked();
    let (names, took) = timed(|| stage.world.containers.names().unwrap());
    eprintln!("{} names of containers and {} of volumes in {took:?}", names.containers.len(), names.volumes.len());
    let asked = gate.asked();
    assert_eq!(asked.matches("GET /").count(), 2, "{asked}");
    let containers: Vec<_> = wanted.iter().map(|suffix| format!("{}-{suffix}", stage.things.name)).collect();
    assert_eq!(stage.own(names.containers), containers);
    assert_eq!(stage.own(names.volumes), [volumes[1].clone(), volumes[0].clone()]);
}

#[test]
fn a_linked_container_goes_by_its_own_name() {
    let stage = Stage::new();
    let target = stage.container("target", &[]);
    let (linked, label) = (format!("{}-linked", stage.things.name), format!("{LABEL}={}", stage.things.name));
    let link = format!("{target}:alias");
    docker(&["start", &target]);
    docker(&["create", "--name", &linked, "--label", &label, "--link", &link, "--entrypoint", "true", IMAGE]);
    assert_eq!(stage.own(stage.world.containers.names().unwrap().containers), [linked, target]);
}

// --- for whoever types --------------------------------------------------------------------------------------------

#[test]
fn containers_volumes_and_databases_are_offered_by_name() {
    let stage = Stage::new();
    let server = stage.server(&["-e", "POSTGRES_USER=primero", "-e", "POSTGRES_DB=primero_production"]);
    let odd = "Größe \"2\"; --";
    for name in ["gbv", odd, "two\nlines"] {
        let sql = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        stage.world.postgres.execute(&server, "postgres", &sql, &[]).unwrap();
    }
    let (container, helper) = (stage.container("c", &[]), stage.container("h", &[LABEL_HELPER]));
    let volume = stage.volume("v");
    let names = Names::new(stage.world.clone());
    let containers = until("names of containers", || Some(names.containers()).filter(|names| !names.is_empty()));
    assert_eq!(stage.own(containers), [container, server.container_name.clone()]);
    assert!(!names.containers().contains(&helper) && names.volumes().contains(&volume));
    // Each of these containers has a volume that nobody has named.
    assert!(names.volumes().iter().all(|name| name.len() != 64), "{:?}", names.volumes());
    let begun = Instant::now();
    let databases = until("names of databases", || Some(names.databases()).filter(|names| !names.is_empty()));
    eprintln!("databases in {:?}: {databases:?}", begun.elapsed());
    for name in ["gbv", odd, "postgres", "primero_production"] {
        assert!(databases.contains(&name.to_owned()), "{name} is not in {databases:?}");
    }
    assert!(
        databases.is_sorted() && databases.iter().all(|name| !name.starts_with("template") && *name != "two\nlines")
    );
    // What is new is offered as soon as the answer is old.
    let later = stage.volume("w");
    until("the new volume", || names.volumes().contains(&later).then_some(()));
    assert!(stage.heard.0.lock().unwrap().is_empty());
}

#[test]
fn a_server_that_asks_for_a_password_hides_no_other() {
    let stage = Stage::new();
    let closed = stage.server(&["-e", "POSTGRES_HOST_AUTH_METHOD=scram-sha-256", "-e", "POSTGRES_DB=closed"]);
    let hba = "sed -i 's/ trust$/ scram-sha-256/' \"$PGDATA\"/pg_hba.conf && kill -HUP 1";
    docker(&["exec", &closed.container, "sh", "-c", hba]);
    let open = Stage::new();
    open.server(&["-e", "POSTGRES_DB=open_to_all"]);
    let refused = docker(&["exec", &closed.container, "psql", "-w", "-U", "postgres", "-c", "SELECT 1"]);
    assert_eq!(refused, "");
    let names = Names::new(stage.world.clone());
    let databases = until("names of databases", || Some(names.databases()).filter(|names| !names.is_empty()));
    assert!(
        databases.contains(&"open_to_all".to_owned()) && !databases.contains(&"closed".to_owned()),
        "{databases:?}"
    );
    assert!(stage.heard.0.lock().unwrap().is_empty());
}

#[test]
fn a_run_that_is_cancelled_does_not_keep_names_from_being_offered() {
    let stage = Stage::new();
    let volume = stage.volume("v");
    stage.cancel.cancel();
    let names = Names::new(stage.world.clone());
    until("the names", || names.volumes().contains(&volume).then_some(()));
    stage.cancel.rearm();
}

#[test]
fn an_engine_that_is_away_silent_or_back_never_keeps_whoever_types_waiting() {
    const LONGEST: Duration = Duration::from_secs(3);
    let gate = Gate::new();
    let stage = Stage::at(&gate.url());
    let names = Names::new(stage.world.clone());
    let look = |what: &str| {
        let (found, took) = timed(|| (names.containers(), names.volumes()));
        eprintln!("{what}: {} and {} names in {took:?}", found.0.len(), found.1.len());
        assert!(took < LONGEST, "{what}: {took:?}");
        found
    };
    assert_eq!(look("away"), Default::default());
    assert!(timed(|| names.databases()).1 < LONGEST);
    gate.open();
    let volume = stage.volume("v");
    until("the names", || look("there").1.contains(&volume).then_some(()));
    std::thread::sleep(Duration::from_millis(2100));
    gate.be_silent(true);
    // The last that were known, and at once the second time.
    assert!(look("silent").1.contains(&volume));
    assert!(timed(|| names.volumes()).1 < Duration::from_millis(50));
    gate.close();
    until("that it is away", || look("away again").1.is_empty().then_some(()));
    gate.be_silent(false);
    gate.open();
    until("the names", || look("back").1.contains(&volume).then_some(()));
    assert!(stage.heard.0.lock().unwrap().is_empty());
}
