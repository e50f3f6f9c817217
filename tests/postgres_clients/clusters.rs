//! Copies of running clusters, which follow them and are taken to the next major version.

use std::collections::BTreeMap;

use pgscript::world::cluster::*;
use pgscript::world::content::Content;
use pgscript::world::control::{ControlFile, SHUT_DOWN, STATES, lsn};

use super::*;

/// A copy's volumes; gone with the value.
struct Place<'a> {
    stage: &'a Stage,
    volume: String,
    programs: String,
}

impl<'a> Place<'a> {
    fn new(stage: &'a Stage) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = Self {
            stage,
            volume: format!("{}-copy-{number}", stage.name),
            programs: format!("{}-programs-{number}", stage.name),
        };
        for volume in [&place.volume, &place.programs] {
            docker(&["volume", "create", "--label", &format!("{LABEL}={}", stage.name), volume]);
        }
        place
    }

    fn clusters(&self) -> &dyn ClusterFiles {
        &*self.stage.world.clusters
    }

    fn copy(&self, server: &Server) -> ClusterCopy {
        let options =
            CopyOptions { name: format!("{}-follows", self.volume), max_rate: Some("200M".into()), cpu_shares: None };
        self.clusters().copy(server, &self.volume, &options).unwrap()
    }

    /// Until the copy has all that the server has written.
    fn waits_for(&self, copy: &ClusterCopy, server: &Server) {
        // What only reading has written is sent with the next commit, or within a quarter of a minute.
        self.stage.pg().execute(server, "postgres", "SELECT pg_catalog.txid_current()", &[]).unwrap();
        let begun = Instant::now();
        while self.clusters().lag(copy, server).unwrap() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the copy lags behind");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The server has stopped and the copy has all of it.
    fn caught_up(&self, copy: &ClusterCopy, server: &Server) -> Stopped {
        docker(&["stop", &server.container]);
        let volume = docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &server.container]);
        let data = &copy.cluster.data_directory;
        let control = self.stage.world.volumes.control(&volume, "").unwrap().unwrap();
        assert_eq!(control, told_by_pg_controldata(&copy.image_id, &volume, data));
        assert_eq!(control.state, SHUT_DOWN);
        assert_eq!(control.system_identifier.to_string(), copy.cluster.system_identifier);
        self.clusters().caught_up(copy, &lsn(control.checkpoint)).unwrap();
        Stopped { volume, mount: data.clone(), directory: data.clone() }
    }

    /// A server of the new version on what the copy has become.
    fn server(&self, major: u32) -> Server {
        let mount =
            format!("{}:{}", self.volume, if major < 18 { "/var/lib/postgresql/data" } else { "/var/lib/postgresql" });
        let server = self.stage.start(major, &["-v", &mount]);
        self.stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
        server
    }
}

/// What the image's own program reads off the control file.
fn told_by_pg_controldata(image: &str, volume: &str, data: &str) -> ControlFile {
    let mount = format!("{volume}:{data}:ro");
    let told = docker(&["run", "--rm", "--network=none", "-v", &mount, "--entrypoint=pg_controldata", image, data]);
    let lines: BTreeMap<_, _> = told.lines().filter_map(|line| line.split_once(':')).collect();
    let line = |label: &str| lines[label].trim();
    let place = |label: &str| {
        let (high, low) = line(label).split_once('/').unwrap();
        u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
    };
    let (epoch, xid) = line("Latest checkpoint's NextXID").split_once(':').unwrap();
    ControlFile {
        system_identifier: line("Database system identifier").parse().unwrap(),
        state: STATES.iter().find(|state| **state == line("Database cluster state")).unwrap(),
        checkpoint: place("Latest checkpoint location"),
        redo: place("Latest checkpoint's REDO location"),
        timeline: line("Latest checkpoint's TimeLineID").parse().unwrap(),
        next_xid: epoch.parse::<u64>().unwrap() << 32 | xid.parse::<u64>().unwrap(),
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        for volume in [&self.volume, &self.programs] {
            let holders = docker(&["ps", "-aq", "--filter", &format!("volume={volume}")]);
            for holder in holders.split_whitespace() {
                let _ = Command::new("docker").args(["rm", "-f", "-v", holder]).output();
            }
            let _ = Command::new("docker").args(["volume", "rm", "-f", volume]).output();
        }
    }
}

fn slots(stage: &Stage, server: &Server) -> String {
    let sql = "SELECT coalesce(string_agg(slot_name, ','), '') AS s FROM pg_replication_slots";
    stage.pg().query(server, "postgres", sql, &[]).unwrap()[0]["s"].as_str().unwrap().to_owned()
}

/// What has become of a copy.
struct Became {
    copy: ClusterCopy,
    /// What the copy held before.
    told: Content,
    done: Upgraded,
    new: Server,
}

/// Asked while the copy follows, whether it can be upgraded: an object that can't come along is named.
fn is_checked(place: &Place<'_>, server: &Server, copy: &ClusterCopy, options: &UpgradeOptions) {
    let stage = place.stage;
    let check = || {
        place.waits_for(copy, server);
        place.clusters().check_upgrade(copy, options)
    };
    stage.site(server, "primero_production", "CREATE TABLE by_number (f regproc)");
    let error = check().unwrap_err();
    assert_eq!(error.code, "pg_upgrade.failed");
    assert!(error.message.contains("by_number.f") && error.message.contains("--check"), "{}", error.message);
    stage.site(server, "primero_production", "DROP TABLE by_number");
    check().unwrap();
    assert!(place.clusters().follows(copy).unwrap());
}

/// Files that go along: one at the end of what initdb makes, one in its place.
fn settings() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [("postgresql.auto.conf.added", "work_mem = '7MB'\n"), ("pg_ident.conf", "m a primero\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Takes a server to a new major version by a copy that follows it; `meanwhile` is what happens then.
fn taken(place: &Place<'_>, server: &Server, to: u32, transfer: Transfer, meanwhile: impl FnOnce()) -> Became {
    let stage = place.stage;
    place.clusters().can_replicate(server).unwrap();
    let copy = place.copy(server);
    assert_eq!(slots(stage, server), copy.slot());
    let standby = place.clusters().follow(&copy, server).unwrap();
    meanwhile();
    place.waits_for(&copy, server);
    let told = stage.pg().content(&standby, Level::Files, 2).unwrap();
    place.clusters().programs(&copy.image_id, &place.programs).unwrap();
    place.clusters().programs(&copy.image_id, &place.programs).unwrap();
    place.clusters().initdb(&copy, &image(to), &place.programs).unwrap();
    place.clusters().settings(&copy, &mut settings().as_slice()).unwrap();
    let options = UpgradeOptions {
        image: image(to),
        programs: place.programs.clone(),
        transfer,
        jobs: 2,
        place: if to < 18 { String::new() } else { format!("{to}/docker") },
    };
    is_checked(place, server, &copy, &options);
    let stopped = place.caught_up(&copy, server);
    place.clusters().promote(&copy, Some(&stopped)).unwrap();
    place.clusters().promote(&copy, Some(&stopped)).unwrap();
    let done = place.clusters().upgrade(&copy, &options).unwrap();
    Became { copy, told, done, new: place.server(to) }
}

fn upgraded(from: u32, to: u32, transfer: Transfer) {
    let stage = Stage::new();
    stage.client.store(to, Ordering::Relaxed);
    let server = stage.seeded(from);
    let place = Place::new(&stage);
    let mut before = Vec::new();
    let Became { copy, told, done, new } = taken(&place, &server, to, transfer, || {
        // What is written meanwhile comes along.
        let sql = "CREATE TABLE late AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) i;
                   CREATE INDEX ON late (text); CREATE ROLE made_late; SELECT lo_from_bytea(0, '\\x0102');";
        stage.site(&server, "primero_production", sql);
        before = stage.content(&server);
    });
    assert!(if transfer == Transfer::Copy { done.same == 0 } else { done.same > 50 }, "{done:?}");
    let anew = place.clusters().made_anew(&new, &done.others).unwrap();
    assert_eq!(anew.is_empty(), transfer != Transfer::Copy, "{anew:?}");
    // From 18 on sequences are taken over, too.
    assert_eq!(done.others.is_empty(), transfer == Transfer::Swap, "{done:?}");
    let sql = "SELECT current_setting('work_mem') AS s, pg_read_file('pg_ident.conf') AS file";
    let row = &stage.pg().query(&new, "postgres", sql, &[]).unwrap()[0];
    assert_eq!((row["s"].as_str(), row["file"].as_str()), (Some("7MB"), Some("m a primero\n")));
    let content = stage.pg().content(&new, Level::Files, 2).unwrap();
    assert_eq!(content.system_identifier, done.system_identifier);
    assert_ne!(content.system_identifier, told.system_identifier);
    let found = stage.compared(&told, &content, &new);
    assert!(found.is_equal(), "{:?}", found.differences);
    stage.assert_same_content(&before, &new);
    // The old one is what it was.
    docker(&["start", &server.container]);
    stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
    stage.assert_same_content(&before, &server);
    place.clusters().discard(&copy.name, Some(&server)).unwrap();
    assert_eq!(slots(&stage, &server), "");
}

#[test]
fn a_copy_of_13_becomes_17_by_links() {
    upgraded(13, 17, Transfer::Link);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_copy_of_15_becomes_17_by_a_copy() {
    upgraded(15, 17, Transfer::Copy);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_copy_of_13_becomes_18_by_moved_files() {
    upgraded(13, 18, Transfer::Swap);
}

/// Nothing that the site has set or planted reaches the sessions of `pg_upgrade` and of what it calls.
#[test]
fn search_path_superuser_and_pg_upgrade() {
    let stage = Stage::new();
    for &(from, to) in if cfg!(feature = "full-matrix") { &[(15, 17), (13, 15)][..] } else { &[(15, 17)] } {
        let server = stage.server(from);
        stage.plant(&server, from);
        let place = Place::new(&stage);
        let Became { told, new, .. } = taken(&place, &server, to, Transfer::Link, || ());
        stage.assert_ours(&new);
        let found = stage.compared(&told, &stage.pg().content(&new, Level::Files, 2).unwrap(), &new);
        assert!(found.is_equal(), "{from} to {to}: {:?}", found.differences);
    }
}
