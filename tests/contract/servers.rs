//! PostgreSQL servers: their start, their answers, dump and restore.

use std::time::Duration;

use pgscript::world::Secret;
use pgscript::world::container::ContainerSpec;
use pgscript::world::content::{Beside, Level, compare};
use pgscript::world::postgres::{DumpOptions, Format, RestoreOptions, Server};
use pgscript::world::writes::writes_between;

use crate::contract::site::{DATA, PASSWORD, Site, code, mount, postgres};

pub fn a_first_start_makes_a_cluster(site: &Site) {
    let volume = site.volume("data");
    let (container, server) = site.first_start(13, &volume);
    let pg = &site.world.postgres;
    assert_eq!(site.ready(&server).unwrap().major, 13);
    let rows = pg
        .query(
            &server,
            "",
            "SELECT datname FROM pg_catalog.pg_database WHERE datname <> 'template0' AND \
        datallowconn AND datconnlimit <> -2 ORDER BY datname",
            &[],
        )
        .unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["datname"].as_str().unwrap()).collect();
    assert_eq!(names, ["postgres", "records", "template1"]);
    assert_eq!((server.user.as_str(), server.database.as_str()), ("primero", "records"));
    assert_eq!(site.world.volumes.pg_version(&volume).unwrap(), "13");
    let before = identifier(site, &server);
    site.stop(&container);
    site.world.containers.start(&container.id).unwrap();
    site.ready(&server).unwrap();
    assert_eq!(identifier(site, &server), before);
}

fn identifier(site: &Site, server: &Server) -> String {
    site.world.postgres.content(server, Level::Files, 1).unwrap().system_identifier
}

/// Starts a server that ends by itself; gives its exit code and log.
fn ends(site: &Site, spec: &ContainerSpec) -> (i64, String) {
    let container = site.running(spec);
    let ended = site.wait_until(&container, |c| c.state == "exited");
    (ended.exit_code, site.world.containers.logs(&container.id, 50).unwrap())
}

pub fn another_major_on_a_volume(site: &Site) {
    let volume = site.volume("data");
    let (container, _) = site.server(13, &volume);
    site.stop(&container);
    let (exit_code, log) = ends(site, &site.server_spec(15, &volume, &[]));
    assert_eq!(exit_code, 1);
    assert!(log.contains("database files are incompatible with server"), "{log}");
    assert_eq!(site.world.volumes.pg_version(&volume).unwrap(), "13");
}

pub fn an_old_mount_under_18(site: &Site) {
    let volume = site.volume("data");
    let (container, _) = site.server(17, &volume);
    site.stop(&container);
    let spec = ContainerSpec { mounts: vec![mount(&volume, DATA)], ..site.server_spec(18, &volume, &[]) };
    let (exit_code, log) = ends(site, &spec);
    assert_eq!(exit_code, 1, "{log}");
    assert_eq!(site.world.volumes.pg_version(&volume).unwrap(), "17");
}

pub fn an_unknown_setting(site: &Site) {
    let volume = site.volume("data");
    let (exit_code, log) = ends(site, &site.server_spec(17, &volume, &["operator_precedence_warning=on"]));
    assert_ne!(exit_code, 0);
    assert!(log.contains("unrecognized configuration parameter \"operator_precedence_warning\""), "{log}");
}

pub fn a_login_by_its_password(site: &Site) {
    let (_, server) = site.server(15, &site.volume("data"));
    let login =
        |password: &str| site.world.postgres.login(&server, "primero", &Secret::new(password.to_owned()), "records");
    login(PASSWORD).unwrap();
    assert_eq!(code(login("another")), "postgres.login_refused");
}

pub fn an_md5_hash_where_scram_is_asked_for(site: &Site) {
    let (_, server) = site.server(15, &site.volume("data"));
    // That of `secret` for this role.
    let hash = "md5e1b6ba0ef2bc5c2a6d2ab4b4bd9bb5b5";
    site.sql(&server, "postgres", &format!("ALTER ROLE primero PASSWORD '{hash}'"));
    let secret = Secret::new("secret".to_owned());
    let login = || site.world.postgres.login(&server, "primero", &secret, "records");
    assert_eq!(code(login()), "postgres.login_refused");
    site.world.postgres.set_password(&server, "primero", &secret).unwrap();
    login().unwrap();
}

pub fn a_server_that_does_not_run(site: &Site) {
    let (container, server) = site.server(15, &site.volume("data"));
    site.stop(&container);
    let pg = &site.world.postgres;
    let asked = pg.query(&server, "", "SELECT system_identifier::text FROM pg_catalog.pg_control_system()", &[]);
    let waited = pg.wait_ready(&server, Duration::from_secs(1));
    // Whoever asks is told that the container does not run.
    assert_eq!((code(asked), code(waited)), ("docker.conflict".to_owned(), "postgres.not_ready".to_owned()));
}

pub fn the_control_file_tells_a_clean_stop_from_a_crash(site: &Site) {
    let volume = site.volume("data");
    let (container, server) = site.server(15, &volume);
    let control = || site.world.volumes.control(&volume, "").unwrap().unwrap();
    assert_eq!(control().state, "in production");
    site.stop(&container);
    let stopped = control();
    assert_eq!(stopped.state, "shut down");
    site.world.containers.start(&container.id).unwrap();
    site.ready(&server).unwrap();
    assert_eq!(identifier(site, &server), stopped.system_identifier.to_string());
    site.world.containers.stop(&[&container.id], Duration::ZERO).unwrap();
    assert!(control().checkpoint >= stopped.checkpoint);
}

fn options() -> DumpOptions {
    DumpOptions {
        format: Format::Directory,
        client_image: Some(postgres(17)),
        jobs: 1,
        compress: None,
        databases: Vec::new(),
        replace: false,
    }
}

pub fn a_restored_dump_is_the_same(site: &Site) {
    let pg = &site.world.postgres;
    let (_, old) = site.filled(13, &site.volume("old"), 3);
    let before = pg.content(&old, Level::Content, 1).unwrap();
    let dump = pg.dump(&old, &site.dir.join("dump"), &options()).unwrap();
    pg.verify_dump(&dump, None).unwrap();
    assert_eq!(pg.open_dump(&site.dir.join("dump")).unwrap(), dump);
    assert_eq!((dump.server_major, dump.system_identifier.clone()), (13, before.system_identifier.clone()));
    let (_, new) = site.server(17, &site.volume("new"));
    let made = pg.content(&new, Level::Files, 1).unwrap();
    pg.restore(&dump, &new, &RestoreOptions { client_image: Some(postgres(17)), jobs: 1 }).unwrap();
    let difference = || {
        let after = pg.content(&new, Level::Content, 1).unwrap();
        assert_ne!(after.system_identifier, before.system_identifier);
        let beside = Beside { made: Some(&made), ..Beside::default() };
        compare(&before, &after, beside).unwrap().differences.len()
    };
    assert_eq!(difference(), 0);
    site.insert(&new);
    assert_ne!(difference(), 0);
}

pub fn a_dump_is_not_written_over(site: &Site) {
    let pg = &site.world.postgres;
    let (_, server) = site.filled(15, &site.volume("data"), 1);
    let path = site.dir.join("dump");
    pg.dump(&server, &path, &options()).unwrap();
    assert_eq!(code(pg.dump(&server, &path, &options())), "dump.exists");
    pg.dump(&server, &path, &DumpOptions { replace: true, ..options() }).unwrap();
    let (_, other) = site.filled(15, &site.volume("other"), 1);
    assert_eq!(code(pg.dump(&other, &path, &DumpOptions { replace: true, ..options() })), "dump.other_cluster");
}

pub fn an_older_server_takes_no_dump(site: &Site) {
    let pg = &site.world.postgres;
    let (_, new) = site.filled(17, &site.volume("new"), 1);
    let dump = pg.dump(&new, &site.dir.join("dump"), &options()).unwrap();
    let (_, old) = site.server(15, &site.volume("old"));
    let options = RestoreOptions { client_image: Some(postgres(17)), jobs: 1 };
    assert_eq!(code(pg.restore(&dump, &old, &options)), "restore.target_older");
}

pub fn a_write_is_counted(site: &Site) {
    let (_, server) = site.filled(15, &site.volume("data"), 1);
    let counts = || site.world.postgres.write_counts(&server).unwrap();
    let before = counts();
    assert!(writes_between(&before, &counts()).written.is_empty());
    site.insert(&server);
    // What a session has counted is told when it ends.
    site.world.host.sleep(Duration::from_secs(2)).unwrap();
    let now = counts();
    assert!(now.next_xid > before.next_xid);
    let written = writes_between(&before, &now).written;
    assert!(written.iter().any(|what| what == "records: public.cases (1 inserted)"), "{written:?}");
}
