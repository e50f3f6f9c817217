//! Client programs of the live world against real servers. Without an engine or the images these tests fail: they are
//! about PostgreSQL, and nothing stands in for it. See `tests/stack/README.md` for how both come about.

mod clusters;
mod content;
mod differences;
mod replace;
mod sessions;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgscript::event::{Event, Listener};
use pgscript::world::content::Level;
use pgscript::world::live::{self, Context};
use pgscript::world::postgres::*;
use pgscript::world::{Cancel, Error, Kind, Redactor, Secret, World};

use crate::beside::{bytes_below, kill_beside};
use crate::disk::SmallDisk;
use crate::kept::Kept;

const LABEL: &str = "pgscript.test";
const USER: &str = "primero";
const PASSWORD: &str = "it's a $ecret \"pass\\word\" ü";
const ODD: &str = "Öther \"Db\"";
static NEXT: AtomicU32 = AtomicU32::new(1);

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    /// Whether a progress bar of this label was shown.
    fn begun(&self, wanted: &str) -> bool {
        self.0.lock().unwrap().iter().any(|e| matches!(e, Event::Progress { label, .. } if label == wanted))
    }

    fn warnings(&self) -> Vec<String> {
        let texts = self.0.lock().unwrap();
        texts.iter().filter_map(|e| if let Event::Warn { text } = e { Some(text.clone()) } else { None }).collect()
    }
}

/// Dumps the roles and each database of a server, each part after a line with its name.
const CONTENT: &str = r#"
    echo "-- part: globals"
    pg_dumpall --globals-only --quote-all-identifiers
    names=$(psql -XAtd postgres -c "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY datname")
    echo "$names" | while read -r name; do
        echo "-- part: $name"
        PGDATABASE="$name" pg_dump
    done
"#;

/// A world of its own, a directory, and servers: gone again when dropped, also on panic.
struct Stage {
    name: String,
    world: World,
    cancel: Cancel,
    heard: Arc<Heard>,
    dir: tempfile::TempDir,
    /// Major of the client that writes contents: at least that of each server.
    client: AtomicU32,
    /// Majors of the servers with a cluster that was made before.
    clusters: Mutex<Vec<u32>>,
    _runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new() -> Self {
        Self::at(std::env::var("DOCKER_HOST").ok())
    }

    fn at(docker_host: Option<String>) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let heard = Arc::new(Heard::default());
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: Cancel::default(),
            listener: heard.clone(),
            redactor: Redactor::default(),
            owner: pgscript::world::Owner::default(),
        };
        let cancel = context.cancel.clone();
        let name = format!("pgscript-clients-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            name,
            world: live::world(context, docker_host),
            cancel,
            heard,
            dir,
            client: AtomicU32::new(17),
            clusters: Mutex::default(),
            _runtime: runtime,
        }
    }

    fn pg(&self) -> &dyn Postgres {
        &*self.world.postgres
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server that is starting, and makes its cluster where it is given none.
    fn start(&self, major: u32, more: &[&str]) -> Server {
        let server = self.create(major, more);
        docker(&["start", &server.container]);
        server
    }

    fn create(&self, major: u32, more: &[&str]) -> Server {
        let name = format!("{}-{major}-{}", self.name, NEXT.fetch_add(1, Ordering::Relaxed));
        let label = format!("{LABEL}={}", self.name);
        let password = format!("POSTGRES_PASSWORD={PASSWORD}");
        let image = format!("pgscript-test/postgres:{major}");
        let mut argv = vec!["create", "--name", &name, "--label", &label, "-e", &password];
        argv.extend(["-e", "POSTGRES_USER=primero", "-e", "POSTGRES_DB=primero_production"]);
        argv.extend(["-e", "POSTGRES_INITDB_ARGS=--no-sync"]);
        argv.extend(more);
        argv.extend([image.as_str(), "postgres", "-c", "fsync=off"]);
        let container = docker(&argv);
        Server {
            container,
            container_name: name,
            user: USER.into(),
            password: None,
            database: "postgres".into(),
            is_database_chosen: false,
        }
    }

    /// A server with what the first start makes. That is done once: it takes longer than all that most tests then do.
    /// No two servers of a stage have the same cluster.
    fn server(&self, major: u32) -> Server {
        let server = self.create(major, &[]);
        let number = self.clusters.lock().unwrap().iter().filter(|made| **made == major).count();
        self.clusters.lock().unwrap().push(major);
        let missing = Kept::of(&server.container, "clients", major, number).filter(|kept| !kept.put());
        docker(&["start", &server.container]);
        let ready = || self.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
        ready();
        if let Some(missing) = missing {
            missing.take(&server.container);
            ready();
        }
        server
    }

    /// Statements of the site, whose names are in the schema public.
    fn site(&self, server: &Server, database: &str, sql: &str) {
        let sql = format!("SET search_path = public; {sql}");
        self.pg().execute(server, database, &sql, &[]).unwrap();
    }

    /// A server with one of every kind of object in it.
    fn seeded(&self, major: u32) -> Server {
        let server = self.server(major);
        let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack/seed");
        for file in ["10-cluster.sql", "20-primero.sql", "30-solr_meta.sql", "40-other.sql", "50-latin1.sql"] {
            let sql = fs::read_to_string(seed.join(file)).unwrap();
            let database = sql.lines().next().unwrap().strip_prefix("-- database: ").unwrap().to_owned();
            let sql = format!("SET search_path = public;\n{sql}");
            self.pg().script(&server, &database, &mut sql.as_bytes(), &mut std::io::sink()).unwrap();
        }
        server
    }

    /// Everything a server holds, as the newest client writes it: the same content gives the same text. All in one
    /// container, by the programs themselves.
    fn content(&self, server: &Server) -> Vec<(String, String)> {
        let (beside, image) =
            (format!("--network=container:{}", server.container), image(self.client.load(Ordering::Relaxed)));
        let (user, password) = (format!("PGUSER={USER}"), format!("PGPASSWORD={PASSWORD}"));
        let mut command = Command::new("docker");
        command.args(["run", "--rm", &beside, "-e", "PGHOST=127.0.0.1", "-e", &user, "-e", &password]);
        let said = command.args(["--entrypoint", "sh", &image, "-ec", CONTENT]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let kept = |line: &&str| {
            let others = ["\\restrict", "\\unrestrict", "-- Dumped from", "    multirange_type_name"];
            !line.is_empty() && !others.iter().any(|other| line.starts_with(other))
        };
        let parts = text.split("-- part: ").skip(1).map(|part| part.split_once('\n').unwrap());
        let mut content: Vec<_> =
            parts.map(|(name, dump)| (name.to_owned(), without_views(dump.lines().filter(kept)).join("\n"))).collect();
        assert!(content.len() > 3, "{content:?}");
        let properties =
            "SELECT d.datname, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
            datcollate, datctype, datconnlimit, datistemplate, datallowconn,
            (SELECT json_agg(a::text ORDER BY a::text) FROM unnest(datacl) a) AS acl, s.description,
            (SELECT json_agg(row_to_json(x) ORDER BY x::text)
             FROM (SELECT setconfig, pg_get_userbyid(nullif(setrole, 0)) AS role
                   FROM pg_db_role_setting WHERE setdatabase = d.oid) x) AS settings
            FROM pg_database d LEFT JOIN pg_shdescription s ON s.objoid = d.oid ORDER BY 1";
        let rows = self.pg().query(server, "postgres", properties, &[]).unwrap();
        content.extend(rows.iter().map(|row| {
            let text = serde_json::to_string_pretty(row).unwrap();
            (format!("properties of {}", row["datname"]), text)
        }));
        content
    }

    fn assert_same_content(&self, before: &[(String, String)], server: &Server) {
        self.assert_same_content_but(before, server, &[]);
    }

    fn assert_same_content_but(&self, before: &[(String, String)], server: &Server, ignored: &[&str]) {
        let after = self.content(server);
        let names = |content: &[(String, String)]| content.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(before), names(&after));
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            // Objects of equal rank come in the order of their creation.
            let sorted = |text: &str| {
                let mut lines: Vec<_> =
                    text.lines().filter(|line| !ignored.contains(line)).map(str::to_owned).collect();
                lines.sort();
                lines
            };
            let (before, after) = (sorted(before), sorted(after));
            let only = |these: &[String], others: &[String]| {
                these.iter().filter(|line| others.binary_search(line).is_err()).cloned().collect::<Vec<_>>()
            };
            let (lost, new) = (only(&before, &after), only(&after, &before));
            assert!(before == after, "{name} differs: lost {lost:#?}, new {new:#?}");
        }
    }

    /// What the server was told beyond its defaults, by whom, and every line of its configuration files.
    fn settings(&self, server: &Server) -> Vec<String> {
        let sql = "SELECT name || ' = ' || setting || ' by ' || source AS line FROM pg_settings
                   WHERE source NOT IN ('default', 'client', 'session', 'database', 'user', 'database user')
                   UNION ALL SELECT concat_ws(' ', sourcefile, sourceline, name, setting, applied, error)
                   FROM pg_file_settings
                   ORDER BY 1";
        let rows = self.pg().query(server, "template1", sql, &[]).unwrap();
        let lines: Vec<_> = rows.iter().map(|row| row["line"].as_str().unwrap().to_owned()).collect();
        assert!(lines.iter().any(|line| line.starts_with("fsync = off by command line")), "{lines:?}");
        lines
    }

    /// Nothing of ours is left in the engine, and only `expected` in the directory.
    fn assert_left(&self, expected: &[&str]) {
        let mut names: Vec<String> =
            fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, expected);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let ids = docker(&["ps", "-aq", "--filter", &format!("label={LABEL}={}", self.name)]);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            docker(&[vec!["rm", "-fv"], ids].concat());
        }
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Definitions of views differ between majors: 16 and later leave out table names that are not needed.
fn without_views<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut in_view = false;
    let mut kept = Vec::new();
    for line in lines {
        in_view |= line.starts_with("CREATE VIEW") || line.starts_with("CREATE MATERIALIZED VIEW");
        if !in_view {
            kept.push(membership(line));
        }
        in_view &= !line.ends_with(';');
    }
    kept
}

/// From 16 on a membership says who granted it and whether it is inherited.
fn membership(line: &str) -> String {
    let Some((grant, more)) = line.split_once(" WITH ").filter(|_| line.starts_with("GRANT \"")) else {
        return line.to_owned();
    };
    let admin = if more.starts_with("ADMIN OPTION") { " WITH ADMIN OPTION" } else { "" };
    format!("{}{admin};", grant.trim_end_matches(';'))
}

fn image(major: u32) -> String {
    format!("pgscript-test/postgres:{major}")
}

fn options(format: Format, client: Option<u32>) -> DumpOptions {
    DumpOptions {
        format,
        client_image: client.map(image),
        jobs: 2,
        compress: None,
        databases: Vec::new(),
        replace: false,
    }
}

fn restore_options(client: Option<u32>) -> RestoreOptions {
    RestoreOptions { client_image: client.map(image), jobs: 2 }
}

fn bind(name: &str, value: &str) -> Binding {
    Binding { name: name.into(), value: value.into() }
}

fn helpers_beside(server: &Server) -> String {
    let all = docker(&["ps", "-aq", "--no-trunc", "--filter", "label=pgscript.helper=client"]);
    let mode = format!("container:{}", server.container);
    all.split_whitespace().filter(|id| docker_mode(id) == mode).collect::<Vec<_>>().join(" ")
}

fn docker_mode(id: &str) -> String {
    // Helpers of other tests may vanish meanwhile.
    let output = Command::new("docker").args(["inspect", "-f", "{{.HostConfig.NetworkMode}}", id]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn psql_takes_values_and_gives_rows_tags_and_errors() {
    let stage = Stage::new();
    let server = stage.server(17);
    let pg = stage.pg();
    let odd = "a'b\"c\\d\n\r\te $1 :x `id` ü😀 --";
    let rows =
        pg.query(&server, "postgres", "SELECT :'v' AS z, 1 AS a, NULL AS n -- end\n;", &[bind("v", odd)]).unwrap();
    assert_eq!(rows[0]["z"], odd);
    assert_eq!(rows[0].keys().collect::<Vec<_>>(), ["z", "a", "n"]);

    let sql = "CREATE TABLE public.t (a int PRIMARY KEY, b text);
               INSERT INTO public.t VALUES (1, :'v'), (2, 'UPDATE 9') RETURNING b;
               SELECT b FROM public.t; UPDATE public.t SET b = 'x'";
    let tags = pg.execute(&server, "postgres", sql, &[bind("v", odd)]).unwrap();
    assert_eq!(tags, ["CREATE TABLE", "INSERT 0 2", "UPDATE 2"]);

    let name = "we\"ird = 'db' \\ ü";
    pg.execute(&server, "postgres", "CREATE DATABASE :\"name\"", &[bind("name", name)]).unwrap();
    assert_eq!(pg.query(&server, name, "SELECT current_database() AS d", &[]).unwrap()[0]["d"], name);

    let error = pg.execute(&server, "postgres", "SELECT 1;\nINSERT INTO public.t VALUES (1)\n;", &[]).unwrap_err();
    assert_eq!(error.code, "psql.failed");
    assert!(error.message.ends_with("(SQLSTATE 23505, line 3)\nDETAIL: Key (a) already exists."), "{error}");
    let error = pg.query(&server, "postgres", "UPDATE public.t SET b = 'y' RETURNING b", &[]).unwrap_err();
    assert_eq!(error.code, "psql.failed");
    let error = pg.query(&server, "postgres", "SELECT nextval('s'), lo_creat(-1)", &[]).unwrap_err();
    assert_eq!(error.code, "psql.failed");
    let error = pg.query(&server, "postgres", "SELECT lo_creat(-1) AS a", &[]).unwrap_err();
    assert!(error.message.contains("25006") && error.hint.is_some(), "{error:?}");
    let error = pg.query(&server, "postgres", "SELECT 1, 2", &[]).unwrap_err();
    assert!(error.message.contains("?column?"), "{error}");
    let error = pg.execute(&server, "postgres", "SELEC :'v'", &[bind("v", "hunter22")]).unwrap_err();
    assert!(!error.message.contains("hunter22"), "{error}");
    assert_eq!(pg.query(&server, "no such", "SELECT 1 AS a", &[]).unwrap_err().code, "psql.failed");
}

#[test]
fn a_script_streams_and_stops_at_the_first_error() {
    let stage = Stage::new();
    let server = stage.server(17);
    let mut output = Vec::new();
    let mut script =
        std::io::Cursor::new("CREATE TABLE public.t (a text);\nCOPY public.t FROM stdin;\n".to_owned().into_bytes())
            .chain(std::io::repeat(b'x').take(20_000_000))
            .chain(std::io::Cursor::new(b"\n\\.\nCOPY public.t TO stdout;\n".to_vec()));
    stage.pg().script(&server, "postgres", &mut script, &mut output).unwrap();
    assert_eq!(output.len(), 20_000_001);

    let mut endless = std::io::Cursor::new(b"SELECT 1;\nbad;\n".to_vec()).chain(std::io::repeat(b'\n').take(1 << 30));
    let begun = Instant::now();
    let error = stage.pg().script(&server, "postgres", &mut endless, &mut output).unwrap_err();
    assert!(error.message.contains("42601, line 2"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn readiness_is_over_tcp_and_a_server_that_ends_is_named_at_once() {
    let stage = Stage::new();
    let server = stage.start(15, &["--mount", &format!("type=volume,src={},dst=/var/lib/postgresql/data", stage.name)]);
    let version = stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
    assert_eq!(version.major, 15);
    assert!(version.text.starts_with("15."), "{}", version.text);
    docker(&["rm", "-f", &server.container]);
    let begun = Instant::now();
    let server = stage.start(17, &["--mount", &format!("type=volume,src={},dst=/var/lib/postgresql/data", stage.name)]);
    let error = stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap_err();
    docker(&["rm", "-f", &server.container]);
    docker(&["volume", "rm", &stage.name]);
    assert_eq!(error.code, "postgres.not_ready");
    assert!(error.message.contains("database files are incompatible with server"), "{error}");
    assert!(error.hint.unwrap().contains("another major"));
    assert!(begun.elapsed() < Duration::from_secs(15));

    let label = format!("{LABEL}={}", stage.name);
    let container = docker(&["run", "-d", "--label", &label, "--entrypoint", "sleep", &image(17), "60"]);
    let server = Server { container, ..server };
    let error = stage.pg().wait_ready(&server, Duration::from_millis(700)).unwrap_err();
    assert_eq!(error.code, "postgres.not_ready");
}

#[test]
fn a_server_on_another_port_and_without_its_database_is_met_all_the_same() {
    let stage = Stage::new();
    let pg = stage.pg();
    let server = Server { database: "primero_production".into(), ..stage.server(17) };
    let sql = "ALTER SYSTEM SET port = 5433; ALTER DATABASE primero_production RENAME TO live";
    pg.execute(&server, "postgres", sql, &[]).unwrap();
    docker(&["restart", &server.container]);
    let place = "SELECT current_setting('port') AS port, current_database() AS database";
    // Without waiting for it, as somebody does who finds it running.
    let rows = pg.query(&server, ANY_DATABASE, place, &[]).unwrap();
    assert_eq!((&rows[0]["port"], &rows[0]["database"]), (&"5433".into(), &"postgres".into()));
    pg.wait_ready(&server, Duration::from_secs(60)).unwrap();
    let chosen = Server { is_database_chosen: true, ..server.clone() };
    let named = pg.query(&server, "primero_production", place, &[]);
    for missing in [named, pg.query(&chosen, ANY_DATABASE, place, &[])] {
        assert!(missing.unwrap_err().message.contains("database \"primero_production\" does not exist"));
    }
}

fn round_trip(source: u32, format: Format, path: &str, client: Option<u32>) {
    let stage = Stage::new();
    let (from, into) = (stage.seeded(source), stage.server(17));
    let before = stage.content(&from);
    let path = stage.path(path);
    let dump = stage.pg().dump(&from, &path, &options(format, client)).unwrap();
    assert_eq!(helpers_beside(&from), "");
    assert_eq!((dump.server_major, dump.client_major), (source, client.unwrap_or(source)));
    let tables: u64 = dump.databases.iter().map(|database| database.tables).sum();
    assert!(dump.databases.len() >= 6 && tables >= 5 && dump.bytes > 1000, "{dump:?}");
    // Written in parallel through the mount, also where the engine remaps users.
    assert!(format == Format::Plain || dump.databases.iter().all(|database| path.join(&database.path).is_dir()));
    assert_private(&path);
    assert_eq!(stage.pg().dump(&from, &path, &options(format, client)).unwrap_err().code, "dump.exists");
    let opened = stage.pg().open_dump(&path).unwrap();
    assert_eq!(opened, dump);
    stage.pg().verify_dump(&opened, Some(&image(17))).unwrap();

    // What the application wrote meanwhile is replaced; what an earlier attempt left is no obstacle.
    stage.pg().execute(&into, "primero_production", "CREATE TABLE public.cases (written bool)", &[]).unwrap();
    stage.pg().execute(&into, "postgres", "CREATE TABLE public.left_over (a int)", &[]).unwrap();
    let settings = stage.settings(&into);
    for attempt in 0..2 {
        let report = stage.pg().restore(&opened, &into, &restore_options(Some(17))).unwrap();
        assert_eq!(stage.settings(&into), settings);
        assert_eq!(report.databases.len(), dump.databases.len());
        let roles = report.expected.iter().filter(|error| error.sqlstate == "42710").count();
        assert!(if attempt == 0 { roles == 1 } else { roles > 5 }, "{:?}", report.expected);
    }
    assert_eq!(helpers_beside(&into), "");
    stage.assert_same_content(&before, &into);
    damage_is_found(&stage, &dump);
}

/// Every change of any file is found; the one that was changed is named.
fn damage_is_found(stage: &Stage, dump: &Dump) {
    let file = match dump.format {
        Format::Directory => dump.path.join(&dump.files.iter().max_by_key(|f| f.0.len()).unwrap().0),
        Format::Plain => dump.path.clone(),
    };
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = stage.pg().verify_dump(dump, None).unwrap_err();
    assert_eq!(error.code, "dump.damaged");
    assert!(error.message.contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
}

fn assert_private(path: &Path) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn directory_13_to_17() {
    round_trip(13, Format::Directory, "dump", Some(17));
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn directory_15_to_17_with_the_servers_own_client() {
    round_trip(15, Format::Directory, "dump", None);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn plain_13_to_17() {
    round_trip(13, Format::Plain, "dump.sql", Some(17));
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn plain_15_to_17_compressed() {
    round_trip(15, Format::Plain, "dump.sql.zst", None);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn transfer_13_to_17_without_a_file() {
    let stage = Stage::new();
    let (from, into) = (stage.seeded(13), stage.server(17));
    let before = stage.content(&from);
    let report = stage.pg().transfer(&from, &into, &options(Format::Directory, None)).unwrap();
    assert_eq!(report.expected.len(), 1, "{:?}", report.expected);
    stage.assert_same_content(&before, &into);
    assert_eq!(helpers_beside(&from), "");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_transfer_whose_target_ends_is_an_error() {
    let stage = Stage::new();
    let (from, into) = (stage.server(15), stage.server(17));
    big_table(&stage, &from);
    let error = std::thread::scope(|scope| {
        let moving = scope.spawn(|| stage.pg().transfer(&from, &into, &options(Format::Directory, None)));
        // Until rows are on their way; that database is made anew meanwhile.
        let copies = "SELECT count(*) AS n FROM pg_stat_progress_copy";
        while !stage.pg().query(&into, "postgres", copies, &[]).is_ok_and(|rows| rows[0]["n"] == 1) {
            assert!(!moving.is_finished(), "the transfer has ended by itself");
        }
        docker(&["kill", &into.container]);
        moving.join().unwrap().unwrap_err()
    });
    assert!(error.message.contains("not complete"), "{error}");
    assert_eq!(helpers_beside(&from), "");
}

/// The documented way: `docker exec … pg_dumpall -c`, with and without a terminal.
#[test]
fn dumps_made_by_hand_are_opened_and_a_terminals_damage_is_refused() {
    let stage = Stage::new();
    let (from, into) = (stage.seeded(13), stage.server(17));
    let before = stage.content(&from);
    let path = stage.path("by-hand.sql");
    let sql =
        Command::new("docker").args(["exec", &from.container, "pg_dumpall", "-c", "-U", USER]).output().unwrap().stdout;
    fs::write(&path, &sql).unwrap();
    let dump = stage.pg().open_dump(&path).unwrap();
    assert_eq!((dump.server_major, dump.format), (13, Format::Plain));
    assert!(dump.databases.iter().any(|database| database.name == ODD), "{:?}", dump.databases);
    stage.pg().verify_dump(&dump, None).unwrap();
    for _ in 0..2 {
        let report = stage.pg().restore(&dump, &into, &restore_options(None)).unwrap();
        assert!(report.expected.iter().any(|error| error.message == "current user cannot be dropped"));
    }
    // What pg_dump 13 leaves out, see the warning.
    let left_out = [
        "-- Name: SEQUENCE locations_id_seq; Type: ACL; Schema: public; Owner: primero",
        "-- Name: SEQUENCE users_id_seq; Type: ACL; Schema: public; Owner: primero",
        "GRANT USAGE ON SEQUENCE public.locations_id_seq TO editors;",
        "GRANT USAGE ON SEQUENCE public.users_id_seq TO editors;",
        "--",
        "-- Name: public; Type: SCHEMA; Schema: -; Owner: primero",
        "-- *not* creating schema, since initdb creates it",
        "ALTER SCHEMA public OWNER TO primero;",
        "-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: primero",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC;",
        "GRANT ALL ON SCHEMA public TO PUBLIC;",
    ];
    stage.assert_same_content_but(&before, &into, &left_out);
    assert!(stage.heard.warnings().iter().any(|text| text.contains("schema public")));

    let crlf = String::from_utf8_lossy(&sql).replace('\n', "\r\n");
    fs::write(&path, crlf).unwrap();
    let error = stage.pg().open_dump(&path).unwrap_err();
    assert_eq!(error.code, "dump.damaged");
    assert!(error.hint.unwrap().contains("docker exec -t"));
    let error = stage.pg().restore(&dump, &into, &restore_options(None)).unwrap_err();
    assert_eq!(error.code, "dump.damaged");

    fs::write(&path, &sql[..sql.len() * 2 / 3]).unwrap();
    assert_eq!(stage.pg().open_dump(&path).unwrap_err().code, "dump.incomplete");
    let error = stage.pg().restore(&dump, &into, &restore_options(None)).unwrap_err();
    assert_eq!(error.code, "dump.damaged");
    // Neither has touched the target.
    stage.assert_same_content_but(&before, &into, &left_out);

    // Cut or changed without the record's knowledge, they are found on the way.
    let sum = Command::new("sha256sum").arg(&path).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    let files = vec![(dump.files[0].0.clone(), sum)];
    let cut = Dump { bytes: fs::metadata(&path).unwrap().len(), files, ..dump.clone() };
    let error = stage.pg().restore(&cut, &into, &restore_options(None)).unwrap_err();
    assert_eq!(error.code, "dump.incomplete", "{error}");
    assert!(error.message.contains("not complete"), "{error}");
}

/// What is open to others below a directory, and how many files there are.
fn open_to_others(at: &Path) -> (Vec<PathBuf>, usize) {
    let (mut open, mut files) = (Vec::new(), 0);
    // What is there now may be gone, or have another name, a moment later.
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push(entry.path());
        }
        files += usize::from(metadata.is_file());
        let (more, below) = open_to_others(&entry.path());
        open.extend(more);
        files += below;
    }
    (open, files)
}

#[test]
fn partial_mode() {
    let stage = Stage::new();
    let server = stage.server(17);
    let sql = "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 300000) g; CREATE TABLE u AS TABLE t";
    stage.site(&server, "primero_production", sql);
    for (format, name) in [(Format::Directory, "d"), (Format::Plain, "d.sql")] {
        let seen = std::thread::scope(|scope| {
            let dumping = scope.spawn(|| stage.pg().dump(&server, &stage.path(name), &options(format, None)).unwrap());
            let mut seen = 0;
            while !dumping.is_finished() {
                let (open, files) = open_to_others(stage.dir.path());
                assert!(open.is_empty(), "{open:?}");
                seen = seen.max(files);
            }
            seen
        });
        assert!(seen > 0, "nothing was seen while {name} was written");
    }
    let (open, files) = open_to_others(stage.dir.path());
    assert!(open.is_empty() && files > 5, "{open:?} of {files}");
}

/// A server that comes back from a power cut answers whoever asks, after it has recovered.
#[test]
fn still_starting() {
    let stage = Stage::new();
    let server = stage.server(17);
    let rows = "CREATE TABLE public.big AS SELECT i, repeat('x', 200) AS text FROM generate_series(1, 150000) i";
    stage.pg().execute(&server, "postgres", rows, &[]).unwrap();
    let count = |database: &str| stage.pg().query(&server, database, "SELECT count(*) AS n FROM public.big", &[]);
    let again = || {
        docker(&["kill", &server.container]);
        docker(&["start", &server.container]);
    };
    again();
    assert_eq!(count("postgres").unwrap()[0]["n"], 150_000);
    again();
    assert_eq!(
        stage.pg().content(&server, Level::Content, 2).unwrap().databases["postgres"].tables["public.big"],
        150_000
    );
    again();
    stage.pg().execute(&server, "postgres", "DROP TABLE public.big", &[]).unwrap();
    docker(&["kill", &server.container]);
    let begun = Instant::now();
    count("postgres").unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "one that does not run is not waited for");
}

/// Kills a program of the helper beside a server when it has written a part of the rows.
#[track_caller]
fn kill_when_it_writes(stage: &Stage, server: &Server, program: &str) {
    kill_beside(&server.container, program, || bytes_below(stage.dir.path()) > 1 << 20);
}

fn big_table(stage: &Stage, server: &Server) {
    let sql = "CREATE TABLE public.big AS
               SELECT g AS a, md5(g::text) || md5((g + 1)::text) AS b FROM generate_series(1, 1000000) g";
    stage.pg().execute(server, "primero_production", sql, &[]).unwrap();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_killed_dump_leaves_no_file() {
    let stage = Stage::new();
    let server = stage.server(15);
    big_table(&stage, &server);
    for program in ["pg_dumpall", "pg_dump"] {
        let error = std::thread::scope(|scope| {
            let dumping = scope.spawn(|| stage.pg().dump(&server, &stage.path("d.sql"), &options(Format::Plain, None)));
            kill_when_it_writes(&stage, &server, program);
            dumping.join().unwrap().unwrap_err()
        });
        assert!(matches!(error.code.as_str(), "dump.failed" | "dump.incomplete"), "{program}: {error:?}");
        stage.assert_left(&[]);
    }
    let error = std::thread::scope(|scope| {
        let dumping = scope.spawn(|| stage.pg().dump(&server, &stage.path("d"), &options(Format::Directory, None)));
        std::thread::sleep(Duration::from_millis(1200));
        let pids = "SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
                    WHERE application_name = 'pg_dump' OR query ~ '^COPY'";
        while stage.pg().query(&server, "postgres", pids, &[]).unwrap().is_empty() {}
        dumping.join().unwrap().unwrap_err()
    });
    assert_eq!(error.code, "dump.failed", "{error:?}");
    assert_eq!(helpers_beside(&server), "");
    stage.assert_left(&[]);
}

#[test]
fn cancelled_midway_nothing_is_left() {
    let stage = Stage::new();
    let (server, target) = (stage.server(15), stage.server(17));
    big_table(&stage, &server);
    for (format, name) in [(Format::Plain, "d.sql"), (Format::Directory, "d")] {
        let (error, took) = std::thread::scope(|scope| {
            let dumping = scope.spawn(|| stage.pg().dump(&server, &stage.path(name), &options(format, None)));
            while !dumping.is_finished() && bytes_below(stage.dir.path()) < 1 << 20 {
                std::thread::sleep(Duration::from_millis(10));
            }
            let begun = Instant::now();
            stage.cancel.cancel();
            (dumping.join().unwrap().unwrap_err(), begun.elapsed())
        });
        stage.cancel.rearm();
        assert_eq!(error.kind, Kind::Cancelled, "{error:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(helpers_beside(&server), "");
        stage.assert_left(&[]);
    }
    let dump = stage.pg().dump(&server, &stage.path("d"), &options(Format::Directory, None)).unwrap();
    let settings = stage.settings(&target);
    let error = std::thread::scope(|scope| {
        let restoring = scope.spawn(|| stage.pg().restore(&dump, &target, &restore_options(None)));
        while !restoring.is_finished() && !stage.heard.begun("restore of primero_production") {
            std::thread::sleep(Duration::from_millis(10));
        }
        stage.cancel.cancel();
        restoring.join().unwrap().unwrap_err()
    });
    stage.cancel.rearm();
    assert_eq!(error.kind, Kind::Cancelled);
    assert!(error.message.contains("not complete"), "{error}");
    assert_eq!(helpers_beside(&target), "");
    // Wherever it was cut off, there is a database left to begin again from.
    let left = stage.pg().wait_ready(&target, Duration::from_secs(10)).unwrap();
    assert_eq!(left.major, 17);
    // The same restore again brings everything.
    stage.pg().restore(&dump, &target, &restore_options(None)).unwrap();
    let rows = stage.pg().query(&target, "primero_production", "SELECT count(*) AS n FROM public.big", &[]).unwrap();
    assert_eq!(rows[0]["n"], 1_000_000);
    assert_eq!(stage.settings(&target), settings);
}

/// A restore that was cut off while it made `postgres` anew: only `template1` is left, and that is to be replaced too.
#[test]
fn a_target_with_nothing_but_template1_takes_a_dump() {
    let stage = Stage::new();
    let (from, into) = (stage.server(15), stage.server(17));
    stage.pg().execute(&from, "template1", "CREATE TABLE public.in_template (a int)", &[]).unwrap();
    stage.pg().execute(&from, "postgres", "CREATE TABLE public.in_postgres (a int)", &[]).unwrap();
    let sql = "CREATE DATABASE aaa; CREATE TABLE public.large AS SELECT g FROM generate_series(1, 200000) g";
    stage.pg().execute(&from, "primero_production", sql, &[]).unwrap();
    let dump = stage.pg().dump(&from, &stage.path("d"), &options(Format::Directory, Some(17))).unwrap();
    let paths: Vec<_> = dump.databases.iter().map(|d| (d.name.as_str(), d.path.as_str())).collect();
    assert_eq!(paths.iter().map(|p| p.0).collect::<Vec<_>>(), ["aaa", "postgres", "primero_production", "template1"]);
    assert_eq!(paths[2].1, "db-0", "the largest is dumped first: {paths:?}");

    stage.pg().execute(&into, "template1", "DROP DATABASE postgres; DROP DATABASE primero_production", &[]).unwrap();
    stage.pg().restore(&dump, &into, &restore_options(Some(17))).unwrap();
    let sql = "SELECT datname, row_number() OVER (ORDER BY oid::bigint) AS place FROM pg_database
               WHERE datname <> 'template0' ORDER BY datname";
    let rows = stage.pg().query(&into, "postgres", sql, &[]).unwrap();
    let place = |name: &str| rows.iter().find(|row| row["datname"] == name).unwrap()["place"].as_u64().unwrap();
    assert_eq!((rows.len(), place("postgres"), place("template1")), (4, 1, 2), "{rows:?}");
    for (database, table) in
        [("template1", "in_template"), ("postgres", "in_postgres"), ("primero_production", "large")]
    {
        let sql = "SELECT to_regclass('public.' || :'table') IS NOT NULL AS there";
        assert_eq!(stage.pg().query(&into, database, sql, &[bind("table", table)]).unwrap()[0]["there"], true);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_full_disk_is_an_error_and_leaves_no_file() {
    let stage = Stage::new();
    let server = stage.server(15);
    big_table(&stage, &server);
    let disk = SmallDisk::at(stage.path("disk"), 16 << 10);
    for (format, name) in [(Format::Plain, "d.sql"), (Format::Plain, "d.sql.zst"), (Format::Directory, "d")] {
        let error = stage.pg().dump(&server, &disk.0.join(name), &options(format, None)).unwrap_err();
        assert_eq!(error.code, "host.disk_full", "{error:?}");
        assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0);
    }
    let error = stage.pg().dump_database(&server, "primero_production", &disk.0.join("x"), "custom", None).unwrap_err();
    assert_eq!(error.code, "host.disk_full", "{error:?}");
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0);
}

#[test]
fn an_extension_that_the_target_lacks_is_named() {
    let stage = Stage::new();
    let (from, into) = (stage.server(15), stage.server(17));
    let script = "d=/usr/share/postgresql/15/extension; echo \"default_version = '1'\" >$d/onlyhere.control; \
                  echo 'SELECT 1;' >$d/onlyhere--1.sql";
    docker(&["exec", &from.container, "sh", "-c", script]);
    stage.pg().execute(&from, "primero_production", "CREATE EXTENSION onlyhere SCHEMA public", &[]).unwrap();
    let settings = stage.settings(&into);
    for (format, name) in [(Format::Plain, "d.sql"), (Format::Directory, "d")] {
        let dump = stage.pg().dump(&from, &stage.path(name), &options(format, Some(17))).unwrap();
        let error = stage.pg().restore(&dump, &into, &restore_options(None)).unwrap_err();
        assert_eq!(error.code, "restore.unexpected_error");
        assert_eq!(stage.settings(&into), settings);
        assert!(error.hint.as_ref().unwrap().contains("lacks the extension onlyhere"), "{error:?}");
        assert!(error.message.contains("not complete"), "{error}");
    }
    let error = stage.pg().transfer(&from, &into, &options(Format::Directory, None)).unwrap_err();
    assert!(error.hint.unwrap().contains("onlyhere"));
}

#[test]
fn nothing_is_restored_while_others_are_connected() {
    let stage = Stage::new();
    let (from, into) = (stage.server(15), stage.server(17));
    let dump = stage.pg().dump(&from, &stage.path("d"), &options(Format::Directory, Some(17))).unwrap();
    let mut session = Command::new("docker")
        .args(["exec", "-i", "-e", "PGAPPNAME=puma worker", &into.container, "psql", "-U", USER, "primero_production"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    session.stdin.as_mut().unwrap().write_all(b"SELECT 1;\n").unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let error = stage.pg().restore(&dump, &into, &restore_options(None)).unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("restore.sessions_connected", Kind::Refused));
    assert!(error.message.contains("puma worker") && error.message.contains("primero_production"), "{error}");
    drop(session.stdin.take());
    session.wait().unwrap();
    stage.pg().restore(&dump, &into, &restore_options(None)).unwrap();
    let older = stage.pg().dump(&into, &stage.path("newer"), &options(Format::Directory, None)).unwrap();
    let error = stage.pg().restore(&older, &from, &restore_options(None)).unwrap_err();
    assert_eq!(error.code, "restore.target_older");
    let error = stage.pg().dump(&into, &stage.path("x"), &options(Format::Directory, Some(15))).unwrap_err();
    assert_eq!(error.code, "postgres.client_too_old");
}

#[test]
fn any_password_logs_in_where_md5_no_longer_does() {
    let stage = Stage::new();
    let server = stage.server(17);
    let pg = stage.pg();
    let role = "Case \"Wörker\" 'x' \\";
    pg.login(&server, USER, &Secret::new(PASSWORD), "postgres").unwrap();
    let sql = "SET password_encryption = 'md5'; CREATE ROLE :\"role\" LOGIN PASSWORD 'legacy'";
    pg.execute(&server, "postgres", sql, &[bind("role", role)]).unwrap();
    let refused = |error: Error| {
        assert_eq!(error.code, "postgres.login_refused", "{error:?}");
        error.hint.unwrap()
    };
    assert!(refused(pg.login(&server, role, &Secret::new("legacy"), "postgres").unwrap_err()).contains("md5"));
    for password in [PASSWORD, "$HOME `id` $(id) \\' ; --", "пароль 密码 😀", " leading and trailing ", ":x :'x'"]
    {
        pg.set_password(&server, role, &Secret::new(password)).unwrap();
        pg.login(&server, role, &Secret::new(password), "postgres").unwrap();
        refused(pg.login(&server, role, &Secret::new(format!("{password}x")), "postgres").unwrap_err());
    }
    let error = pg.login(&server, role, &Secret::new(":x :'x'"), "no such").unwrap_err();
    assert!(error.message.contains("no such"), "{error}");
    assert_eq!(pg.set_password(&server, "no such", &Secret::new("x")).unwrap_err().code, "psql.failed");
    let log = docker(&["logs", &server.container]);
    assert!(!log.contains("пароль") && !log.contains("SCRAM-SHA-256$"));
}

#[test]
fn a_server_that_asks_everyone_for_a_password_gets_it() {
    let stage = Stage::new();
    let mut server = stage.server(17);
    let script = "sed -i 's/trust$/scram-sha-256/' $PGDATA/pg_hba.conf; kill -HUP 1";
    docker(&["exec", &server.container, "sh", "-c", script]);
    std::thread::sleep(Duration::from_millis(500));
    // The image's own, until it is another one.
    stage.pg().wait_ready(&server, Duration::from_secs(5)).unwrap();
    stage.pg().execute(&server, "postgres", "ALTER ROLE primero PASSWORD 'another'", &[]).unwrap();
    assert_eq!(stage.pg().wait_ready(&server, Duration::from_secs(5)).unwrap_err().code, "postgres.login_refused");
    server.password = Some(Secret::new("another"));
    stage.pg().wait_ready(&server, Duration::from_secs(5)).unwrap();
    let dump = stage.pg().dump(&server, &stage.path("d"), &options(Format::Directory, None)).unwrap();
    stage.pg().restore(&dump, &server, &restore_options(None)).unwrap();
}

#[test]
fn a_database_that_cannot_be_dumped_is_an_error_not_a_gap() {
    let stage = Stage::new();
    let server = stage.server(15);
    stage
        .pg()
        .execute(&server, "postgres", "CREATE DATABASE closed; ALTER DATABASE closed ALLOW_CONNECTIONS false", &[])
        .unwrap();
    for (format, name) in [(Format::Plain, "d.sql"), (Format::Directory, "d")] {
        let error = stage.pg().dump(&server, &stage.path(name), &options(format, None)).unwrap_err();
        assert_eq!(error.code, "dump.incomplete");
        assert!(error.message.contains("closed"), "{error}");
        let mut some = options(format, None);
        some.databases = vec!["primero_production".into()];
        let dump = stage.pg().dump(&server, &stage.path(name), &some).unwrap();
        let user: Vec<_> = dump.databases.iter().map(|d| d.name.as_str()).filter(|n| *n != "template1").collect();
        assert_eq!(user, ["primero_production"]);
    }
    let dump = stage.pg().dump_database(&server, "primero_production", &stage.path("x"), "custom", Some(&image(17)));
    dump.unwrap();
    stage.pg().dump_database(&server, "primero_production", &stage.path("y"), "directory", None).unwrap();
    assert!(stage.path("y").join("toc.dat").exists());
    stage.pg().dump_database(&server, "primero_production", &stage.path("z"), "plain", None).unwrap();
    assert!(fs::read_to_string(stage.path("z")).unwrap().contains("PostgreSQL database dump complete"));
    stage.pg().dump_globals(&server, &stage.path("globals"), None).unwrap();
    assert!(fs::read_to_string(stage.path("globals")).unwrap().contains("CREATE ROLE \"primero\""));
    ["x", "y", "z", "globals"].iter().for_each(|name| assert_private(&stage.path(name)));
}

/// Passes connections to the engine's socket on: an engine that is not local.
fn remote_engine() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let to = std::os::unix::net::UnixStream::connect("/var/run/docker.sock").unwrap();
            let (mut from_reader, mut to_writer) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (mut from_writer, mut to_reader) = (from, to);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_reader, &mut to_writer);
                let _ = to_writer.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut to_reader, &mut from_writer);
                let _ = from_writer.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

#[test]
fn an_engine_elsewhere_streams_instead() {
    let stage = Stage::at(Some(remote_engine()));
    assert!(!stage.world.containers.info().unwrap().is_local);
    let (from, into) = (stage.seeded(13), stage.server(17));
    let before = stage.content(&from);
    let dump = stage.pg().dump(&from, &stage.path("d"), &options(Format::Directory, Some(17))).unwrap();
    assert!(dump.databases.iter().all(|database| database.path.ends_with(".dump")));
    assert_private(&stage.path("d"));
    stage.pg().verify_dump(&dump, Some(&image(17))).unwrap();
    stage.pg().restore(&dump, &into, &restore_options(None)).unwrap();
    stage.assert_same_content(&before, &into);
    assert_eq!(stage.heard.warnings(), Vec::<String>::new());
}
