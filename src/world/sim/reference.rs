//! A stack as the field runs it: the reference deployment, brought up and in use.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::State;
use super::cluster::Table;
use super::compose::{Service, Stack};
use super::state::{Effect, Image, ImageKind};
use crate::world::container as world;

/// Majors there are images of, and their latest releases.
const MAJORS: [(u32, &str); 6] =
    [(13, "13.22"), (14, "14.19"), (15, "15.14"), (16, "16.10"), (17, "17.6"), (18, "18.0")];
const PROJECT: &str = "primero";
/// The inventory's variable that names the version.
const VARIABLE: &str = "primero_postgres_version";
/// Rows of each table at first.
const ROWS: usize = 5;

/// An engine with images of all versions and of the application, on which the project `primero` is up with a database
/// of that major; the application and its worker write to it.
pub fn reference(major: u32) -> State {
    let mut state = with_images();
    let variables = Map::from_iter([(VARIABLE.to_owned(), json!(major.to_string()))]);
    state.ansible.hosts.insert("primero".into(), variables);
    let deploy = Effect::Deploy { project: PROJECT.into(), version: VARIABLE.into() };
    state.ansible.playbooks.insert("application-primero.yml".into(), deploy);
    state.stacks.insert(PROJECT.into(), stack(major));
    // Nothing of it is refused by an engine that has nothing else.
    _ = state.compose_up(PROJECT, None);
    seed(&mut state);
    state
}

/// An engine with images of all versions and of the application, and nothing else.
pub fn with_images() -> State {
    let mut state = State::default();
    state.images.extend(MAJORS.map(|(major, version)| postgres(major, version)));
    state.images.push(image("pgscript-test/app:1", &[], &["app.sh"], ImageKind::Application));
    state.images.push(image("pgscript-test/solr:1", &["solr-entrypoint.sh"], &["solr"], ImageKind::Other));
    state.images.push(image("pgscript-test/nginx:1", &["nginx-entrypoint.sh"], &["nginx"], ImageKind::Other));
    state
}

/// As the official images are.
fn postgres(major: u32, version: &str) -> Image {
    let (volume, data) = match major >= 18 {
        true => ("/var/lib/postgresql".to_owned(), format!("/var/lib/postgresql/{major}/docker")),
        false => ("/var/lib/postgresql/data".to_owned(), "/var/lib/postgresql/data".to_owned()),
    };
    let extensions = ["dblink", "ltree", "pg_trgm", "pgcrypto", "plpgsql", "postgres_fdw", "uuid-ossp"];
    let kind = ImageKind::Postgres {
        major,
        version: format!("{version} (Debian {version}-1.pgdg12+1)"),
        extensions: extensions.map(str::to_owned).into(),
        collations: "2.36".into(),
    };
    let reference = format!("pgscript-test/postgres:{major}");
    let mut image = image(&reference, &["docker-entrypoint.sh"], &["postgres"], kind);
    let path = format!("PATH=/usr/local/bin:/usr/bin:/bin:/usr/lib/postgresql/{major}/bin");
    image.shown.env = vec![path, "LANG=en_US.utf8".into(), format!("PG_MAJOR={major}"), format!("PGDATA={data}")];
    image.shown.volumes = vec![volume];
    image.owner = "999:999".into();
    image
}

fn image(reference: &str, entrypoint: &[&str], command: &[&str], kind: ImageKind) -> Image {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(reference);
    let id = format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Image {
        shown: world::Image {
            id,
            tags: vec![reference.into()],
            digests: Vec::new(),
            env: vec!["PATH=/usr/local/bin:/usr/bin:/bin".into()],
            volumes: Vec::new(),
            size: 400 << 20,
            entrypoint: words(entrypoint),
            command: words(command),
        },
        owner: "0:0".into(),
        kind,
    }
}

fn stack(major: u32) -> Stack {
    let credentials = ["POSTGRES_USER=primero", "POSTGRES_PASSWORD=primero-secret", "POSTGRES_DB=primero_production"];
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let client = || [strings(&credentials), strings(&["POSTGRES_HOSTNAME=postgres"])].concat();
    let service = |name: &str, image: &str, command: &[&str], env: Vec<String>| Service {
        name: name.into(),
        image: image.into(),
        command: strings(command),
        env,
        restart: "unless-stopped".into(),
        ..Service::default()
    };
    let volumes = BTreeMap::from([("/var/lib/postgresql/data".into(), "primero_database".into())]);
    let test = json!(["CMD-SHELL", "pg_isready -h 127.0.0.1 -q"]);
    let database = Service {
        volumes,
        mount_since: BTreeMap::from([(18, "/var/lib/postgresql".into())]),
        health_check: Some(json!({"Test": test, "Interval": 5_000_000_000_u64, "Retries": 3})),
        ..service("postgres", "", &[], strings(&credentials))
    };
    let app = "pgscript-test/app:1";
    Stack {
        config_files: "/srv/primero/docker-compose.yml".into(),
        services: vec![
            database,
            service("application", app, &["app.sh", "application"], client()),
            service("worker", app, &["app.sh", "worker"], client()),
            service("solr", "pgscript-test/solr:1", &[], Vec::new()),
            service("nginx", "pgscript-test/nginx:1", &[], Vec::new()),
        ],
        database_service: "postgres".into(),
        images: MAJORS.map(|(major, _)| (major, format!("pgscript-test/postgres:{major}"))).into(),
        version: major,
    }
}

/// The application's tables, with rows that it was told are kept.
fn seed(state: &mut State) {
    const SERVER: &str = "primero-postgres-1";
    const TABLES: [(&str, &str); 4] = [
        ("primero_production", "public.cases"),
        ("primero_production", "public.heartbeat"),
        ("primero_production", "public.incidents"),
        ("solr_meta", "public.cores"),
    ];
    let Some(cluster) = state.cluster_mut(SERVER) else { return };
    for (database, table) in TABLES {
        let database = cluster.databases.entry(database.into()).or_default();
        database.tables.insert(table.into(), Table::default());
        database.sequences.insert(format!("{table}_id_seq"), ROWS as u64);
        database.extensions.insert("plpgsql".into(), "1.0".into());
    }
    for (database, table) in TABLES {
        for _ in 0..ROWS {
            state.write_row(SERVER, database, table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_the_reference_stack_is_up_and_in_use() {
        for (major, _) in MAJORS {
            let mut state = reference(major);
            let is_up = |c: &super::super::state::Container| c.state == "running";
            assert!(state.containers().all(is_up), "{major}: {:?}", state.containers);
            let server = state.show("primero-postgres-1").unwrap();
            let cluster = state.cluster(&server.id).unwrap();
            assert_eq!((cluster.major, cluster.rows().count()), (major, 4 * ROWS));
            assert_eq!(server.mounts[0].name, "primero_database");
            let names: Vec<_> = state.sessions(&server.id).into_iter().map(|s| s.application_name).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            state.pass(1000);
            let cluster = state.cluster(&server.id).unwrap();
            assert_eq!(cluster.rows().count(), 4 * ROWS + 2 * names.len());
            assert!(cluster.rows().all(|row| state.acknowledged.contains_key(&row)));
        }
    }
}
