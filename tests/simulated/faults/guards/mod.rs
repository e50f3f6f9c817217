//! What a script can't do, however it is edited.

mod artefacts;
mod containers;
mod fence;
mod volumes;

use std::ops::Deref;

use pgscript::world::container::{ContainerSpec, Mount};
use pgscript::world::sim::State;
use pgscript::world::sim::cluster::Table;
use pgscript::world::sim::with_images;

use crate::program::Run;
use crate::simulated::world::World;

/// What scripts of these tests get as `name`: that of the volume, the server and the Compose project.
const NAME: &str = "own";
/// What they get as `dir`, in the simulated world.
const DIR: &str = "/srv/own";
const APP: &str = "pgscript-test/app:1";

/// Lines that scripts of these tests begin with.
const GIVEN: &str = r#"
let name = param("name");
let dir = param("dir", #{ type: "path" });
"#;

/// An engine with images and nothing else, on which scripts of a site run.
struct Scratch(World);

impl Deref for Scratch {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Scratch {
    fn new() -> Self {
        let scratch = Self(World::of(with_images()));
        scratch.arrange(|state| state.make_directories(DIR.as_ref()).unwrap());
        scratch
    }

    /// With a volume of the usual name that has a file in it.
    fn filled() -> Self {
        let scratch = Self::new();
        scratch.fill(NAME);
        scratch
    }

    /// With a server in a network of nobody, of the Compose project [`NAME`], on the volume of that name. Its database
    /// has a table with a row in it.
    fn server() -> Self {
        let scratch = Self::plain_server();
        scratch.arrange(|state| {
            let labels = &mut state.container_mut(NAME).unwrap().labels;
            for (key, value) in [("project", NAME), ("service", "db")] {
                labels.insert(format!("com.docker.compose.{key}"), value.into());
            }
        });
        scratch
    }

    /// The same without Compose.
    fn plain_server() -> Self {
        let scratch = Self::bare_server();
        scratch.arrange(|state| {
            let database = state.cluster_mut(NAME).unwrap().databases.get_mut("postgres").unwrap();
            database.tables.insert("public.t".into(), Table::default());
            assert!(state.write_row(NAME, "postgres", "public.t"));
        });
        scratch
    }

    /// The same without a table.
    fn bare_server() -> Self {
        let scratch = Self::new();
        scratch.arrange(|state| {
            let spec = ContainerSpec {
                env: vec!["POSTGRES_HOST_AUTH_METHOD=trust".into()],
                mounts: vec![volume(NAME, "/var/lib/postgresql/data")],
                ..spec(NAME, "pgscript-test/postgres:15")
            };
            start(state, &spec);
        });
        scratch
    }

    /// A volume with a file in it.
    fn fill(&self, volume: &str) {
        self.arrange(|state| {
            state.make_volume(volume, "local", &Default::default(), &Default::default()).unwrap();
            state.volumes.get_mut(volume).unwrap().tree.files.insert("record".into(), Vec::new());
        });
    }

    /// Runs a script of the site's own.
    fn run(&self, text: &str, arguments: &[&str]) -> Run {
        let (name, dir) = (format!("name={NAME}"), format!("dir={DIR}"));
        self.own(text, &[&["--set", &name, "--set", &dir], arguments].concat())
    }

    /// Runs statements in a step, after [`GIVEN`].
    fn step(&self, statements: &str, arguments: &[&str]) -> Run {
        let step = format!("step(\"act\", || {{\n{statements}\n}}, #{{ undo: false, repeatable: true }});");
        self.run(&format!("{GIVEN}\n{step}"), arguments)
    }

    /// The operator's word is in the journal.
    #[track_caller]
    fn is_journalled(&self, loss: &str) {
        let line = format!("\"entry\":\"override\",\"loss\":\"{loss}\"");
        assert!(self.journals().contains(&line), "{line} is not in:\n{}", self.journals());
    }

    fn has_container(&self, name: &str) -> bool {
        self.of_container(name, |_| ()).is_some()
    }
}

/// A file or directory of the simulated world.
fn path(name: &str) -> String {
    format!("{DIR}/{name}")
}

/// A container in no network.
fn spec(name: &str, image: &str) -> ContainerSpec {
    ContainerSpec {
        name: Some(name.into()),
        image: Some(image.into()),
        network: Some("none".into()),
        ..ContainerSpec::default()
    }
}

/// One whose program ends at once.
fn short_lived(name: &str) -> ContainerSpec {
    ContainerSpec { entrypoint: Some(vec!["true".into()]), ..spec(name, APP) }
}

fn volume(name: &str, destination: &str) -> Mount {
    Mount {
        kind: "volume".into(),
        name: name.into(),
        source: String::new(),
        destination: destination.into(),
        read_only: false,
    }
}

fn start(state: &mut State, spec: &ContainerSpec) {
    let id = state.create(spec).unwrap();
    state.start(&id).unwrap();
}

/// What a script says that has collected codes.
fn said(codes: &[&str]) -> String {
    let quoted: Vec<_> = codes.iter().map(|code| format!("\"{code}\"")).collect();
    format!("codes: [{}]", quoted.join(", "))
}
