//! Faults around the moment at which the old server is put aside. Before it everything comes back by itself; after it
//! the run says what to type, `status` says where the data is, and typing it brings the old server back, or the new one
//! to its end.

use std::collections::BTreeMap;

use crate::stack::{ANSIBLE, Run, Stack, Watched, docker, run};

/// Enough to see a loss, and dumped in a moment. The whole variety of objects is `upgrades`' subject.
const LITTLE: &str = "
    CREATE TABLE cases (id int PRIMARY KEY, name text, data jsonb);
    INSERT INTO cases SELECT i, 'case ' || i, jsonb_build_object('n', i) FROM generate_series(1, 2000) i;
    CREATE TABLE \"Files\" (id serial PRIMARY KEY, content bytea);
    INSERT INTO \"Files\" (content) SELECT decode(md5(i::text), 'hex') FROM generate_series(1, 500) i;
    CREATE TABLE notes AS SELECT i, E'tab\\there\\r\\n' || i AS note FROM generate_series(1, 100) i;
    CREATE TABLE empty_one (x int);
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM cases;
    CREATE INDEX ON cases USING gin (data);
    SELECT lo_from_bytea(0, '\\x0102030405');
    CREATE ROLE reporting LOGIN PASSWORD 'secret';
    GRANT SELECT ON cases TO reporting;
    CREATE DATABASE solr_meta;
    CREATE EXTENSION pg_trgm;
    CREATE INDEX ON cases USING gin (name gin_trgm_ops);";

/// A stack of version 13 about to be upgraded to 17, and what it held.
pub struct Site {
    pub stack: Stack,
    pub before: BTreeMap<String, String>,
    beats: u64,
}

impl Site {
    pub fn up() -> Self {
        Self::on(None)
    }

    pub fn on(engine: Option<String>) -> Self {
        let stack = Stack::on(engine, 13, &["--seed", "none"]);
        stack.sql("primero_production", LITTLE);
        stack.inventory_version(17);
        stack.deploy_by_command();
        Self { before: stack.content(), beats: stack.heartbeats(), stack }
    }

    /// Starts the upgrade and waits for a line.
    #[track_caller]
    pub fn upgrade_until(&self, text: &str) -> Watched {
        self.upgrade_with_until(&[], text)
    }

    /// As [`Site::upgrade_until`], with further arguments.
    #[track_caller]
    pub fn upgrade_with_until(&self, args: &[&str], text: &str) -> Watched {
        let mut run = Watched::start(self.stack.upgrade_command(17, args));
        run.until(text);
        run
    }

    /// The failed run said what to type, and `status` that nothing is lost.
    #[track_caller]
    fn is_safe(&self, failed: &Run) {
        for said in ["next: pgscript resume upgrade-1 ", "or:   pgscript rollback upgrade-1 "] {
            assert!(failed.text.contains(said), "{said:?} was not said:\n{}", failed.text);
        }
        let status = self.stack.status();
        assert!(status.contains("upgrade-1: failed") && status.contains("Your data is safe"), "{status}");
        assert!(!status.contains("NOT THERE"), "{status}");
    }

    /// Typing what the failed run said brings everything back.
    #[track_caller]
    pub fn comes_back(&self, failed: &Run) {
        self.is_safe(failed);
        self.stack.as_advised(failed, "rollback").expect(0, &["is rolled back"]);
        self.is_back();
    }

    /// Typing what the failed run said brings the upgrade to its end.
    #[track_caller]
    pub fn goes_on(&self, failed: &Run) {
        self.is_safe(failed);
        let resumed = self.stack.as_advised(failed, "resume");
        self.is_upgraded(resumed.expect(0, &["7 verify the dump  (done before)"]));
    }

    /// The run came to its end: the new server has all data, and the application writes to it.
    #[track_caller]
    pub fn is_upgraded(&self, done: Run) {
        done.expect(0, &[&format!("{} runs on PostgreSQL 17", self.stack.name), "upgrade.rhai is done"]);
        self.has_moved_on();
    }

    /// The new server has all data, and the application writes to it.
    #[track_caller]
    pub fn has_moved_on(&self) {
        assert_eq!(self.stack.major(), "17");
        self.lives(&self.before);
    }

    /// The old server runs with all data, and the application writes to it.
    #[track_caller]
    pub fn is_back(&self) {
        assert_eq!(self.stack.major(), "13");
        self.lives(&self.before);
    }

    #[track_caller]
    fn lives(&self, content: &BTreeMap<String, String>) {
        assert_eq!(&self.stack.content(), content);
        assert!(self.stack.heartbeats() >= self.beats, "heartbeats were lost");
        self.stack.writes();
        for service in ["postgres", "application", "worker", "nginx"] {
            assert_eq!(self.stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), "always", "{service}");
        }
        self.stack.no_helpers_left();
    }

    /// Replaces text in a file of the deployment.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.stack.dir.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in {file}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// The container of the new server before it is in the old one's place.
    pub fn new_server(&self) -> String {
        format!("{}-pgscript-new-upgrade-1", self.stack.name)
    }

    /// Id and state of every container that is named after the stack.
    pub fn containers(&self) -> String {
        let filter = format!("name={}", self.stack.name);
        self.stack.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.ID}} {{.Names}} {{.State}}"])
    }

    /// An upgrade whose deploy fails `before` it does anything or `after` it has started the containers.
    fn upgrade_with_deploy_that_fails(&self, when: &str) -> Run {
        let file = self.stack.dir.join("ansible/secrets.yml");
        std::fs::write(&file, format!("deploy_fails: {when}\n")).unwrap();
        let extra_vars = format!("ansible_extra_vars_files={}", file.display());
        self.stack.upgrade(17, &[&ANSIBLE[..], &["--set", &extra_vars]].concat())
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn playbook_fails_after_it_has_started_the_containers() {
    let site = Site::up();
    let failed = site.upgrade_with_deploy_that_fails("after").expect(
        1,
        &["error[ansible.", "fail after the containers have been started", "failed in step `deploy the new version`"],
    );
    site.comes_back(&failed);
    // Compose owns what has come back: the next deploy takes it up as it is.
    site.stack.inventory("primero_postgres_version: \"17\"", "primero_postgres_version: \"13\"");
    site.stack.stack("deploy", &[]);
    site.is_back();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn host_unreachable_at_the_deploy() {
    let site = Site::up();
    let run = site.upgrade_with_until(&ANSIBLE, "hold the server");
    let unreachable = "ansible_connection: ssh\n          ansible_host: 127.0.0.1\n          ansible_port: 1";
    site.edit("ansible/inventory.yml", "ansible_connection: local", unreachable);
    let failed = run.end().expect(5, &["error[ansible.", &site.stack.name, "failed in step `deploy the new version`"]);
    site.comes_back(&failed);
}

/// An image of the test's own; goes with the value.
struct Image(String);

impl Image {
    /// PostgreSQL 17 without one extension.
    fn lacking(extension: &str) -> Self {
        let name = format!("pgscript-test/lacking-{}:17", std::process::id());
        let control = format!("/usr/share/postgresql/17/extension/{extension}.control");
        let container = docker(&["create", "--entrypoint", "rm", "pgscript-test/postgres:17", &control]);
        docker(&["start", "-a", &container]);
        let entrypoint = docker(&["inspect", "--format", "{{json .Config.Entrypoint}}", "pgscript-test/postgres:17"]);
        let command = docker(&["inspect", "--format", "{{json .Config.Cmd}}", "pgscript-test/postgres:17"]);
        let changes = [format!("ENTRYPOINT {entrypoint}"), format!("CMD {command}")];
        docker(&["commit", "--change", &changes[0], "--change", &changes[1], &container, &name]);
        docker(&["rm", "-v", &container]);
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

/// It may lack an extension, for instance: what was proved was another one.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn wrong_deploy_image() {
    let image = Image::lacking("pg_trgm");
    let site = Site::up();
    let run = site.upgrade_until("hold the server");
    // The preflight has looked at another image than the deploy brings.
    let used = "pgscript-test/postgres:${PRIMERO_POSTGRES_VERSION}";
    site.edit("docker-compose.yml", used, &image.0);
    let said = ["error[deploy.other_image]", &image.0, "not pgscript-test/postgres:17", "deploy from pgscript-test/"];
    let failed = run.end().expect(1, &said).expect(1, &["failed in step `deploy the new version`"]);
    for service in ["postgres", "application", "worker"] {
        assert_eq!(site.stack.inspect(service, "{{.State.Running}}"), "false", "{service}");
    }
    // Either way is open.
    site.edit("docker-compose.yml", &image.0, used);
    site.goes_on(&failed);
    site.stack.rollback().expect(0, &["is rolled back"]);
    site.is_back();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn the_new_server_is_killed_during_the_restore() {
    let mut site = Site::up();
    site.stack.sql("primero_production", SLOW_TO_RESTORE);
    site.before = site.stack.content();
    let run = site.upgrade_until("$ pg_restore");
    let new = site.new_server();
    let begun = std::time::Instant::now();
    while run_sql(&site.stack, &new, "SELECT to_regclass('slow') IS NOT NULL") != "t" {
        assert!(begun.elapsed().as_secs() < 60, "the restore never came to the slow table");
    }
    site.stack.docker(&["kill", &new]);
    let said = ["is not complete", "failed in step `restore the dump`", "everything is back as it was"];
    run.end().expect(1, &said);
    site.is_back();
}

/// Whose row takes long to be checked when it is loaded: a restore that can't be over before it is killed.
const SLOW_TO_RESTORE: &str = "
    CREATE FUNCTION public.check_slowly(n int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE TABLE slow (n int CHECK (public.check_slowly(n)));
    INSERT INTO slow VALUES (1);
    CREATE OR REPLACE FUNCTION public.check_slowly(n int) RETURNS boolean
        LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(120); RETURN true; END';";

/// An answer, or what went wrong: while a cluster is being filled a database may be missing.
fn run_sql(stack: &Stack, server: &str, sql: &str) -> String {
    let psql = ["exec", server, "psql", "-XAtU", "primero", "-d", "primero_production", "-c", sql];
    let mut docker = std::process::Command::new("docker");
    docker.envs(stack.engine.iter().map(|e| ("DOCKER_HOST", e)));
    String::from_utf8_lossy(&docker.args(psql).output().unwrap().stdout).trim().to_owned()
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn wrong_password_of_the_application_after_the_deploy() {
    let site = Site::up();
    let mut run = Watched::start(site.stack.upgrade_command(17, &["--set", "application_wait=5"]));
    run.until("hold the server");
    for service in ["application", "worker"] {
        let own = format!("command: [app.sh, {service}]");
        site.edit("docker-compose.yml", &own, &format!("{own}\n    environment: {{POSTGRES_PASSWORD: wrong}}"));
    }
    let failed = run.end().expect(
        1,
        &[
            "error[stack.application_not_connected]",
            "password authentication failed for user \"primero\"",
            "failed in step `start the application`",
        ],
    );
    site.comes_back(&failed);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn another_password_in_the_deployment_is_the_new_one() {
    let site = Site::up();
    let run = site.upgrade_until("hold the server");
    let path = site.stack.dir.join("postgres.env");
    let text = std::fs::read_to_string(&path).unwrap();
    let other = text.lines().map(|l| if l.starts_with("POSTGRES_PASSWORD=") { "POSTGRES_PASSWORD=other" } else { l });
    std::fs::write(&path, other.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    run.end().expect(0, &["primero logs in with its password"]);
    site.stack.writes();
    // The way back finds the application with the old password.
    site.stack.rollback().expect(0, &["is rolled back"]);
    site.is_back();
}

/// Ctrl-C as soon as `line` is said in that step, after the old server was put aside: the run is cancelled.
#[track_caller]
fn interrupted(args: &[&str], step: &str, line: &str) -> (Site, Run) {
    let site = Site::up();
    let mut run = site.upgrade_with_until(args, &format!(" {step}"));
    if !line.is_empty() {
        run.until(line);
    }
    run.interrupt();
    let failed = run.end().expect(4, &["cancelled", &format!("failed in step `{step}`")]);
    (site, failed)
}

/// What a cancelled run says to type goes on.
#[track_caller]
fn on_from((site, failed): (Site, Run)) {
    site.goes_on(&failed);
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn ctrl_c_while_the_new_volume_is_moved() {
    on_from(interrupted(&[], "put the new cluster in place", "; mv -T "));
}

#[test]
fn a_dump_with_carriage_returns_is_not_restored() {
    let stack = Stack::up(13);
    let dir = stack.dir.join("crlf");
    std::fs::create_dir(&dir).unwrap();
    let script = dir.join("dump.rhai");
    let text = r#"
        let service = docker::service(param("project"), "postgres");
        let server = psql::server(service);
        let path = param("path", #{ type: "path" });
        switch param("what") {
            "dump" => step("dump", || pg_dump::cluster(server, path, #{ format: "plain" })),
            "restore" => step("restore", || pg_dump::restore(pg_dump::open(path), server)),
        }"#;
    std::fs::write(&script, text).unwrap();
    let path = dir.join("dump.sql");
    let what = |what: &str| {
        let mut command = stack.pgscript(&[]);
        command.arg("run").arg(&script);
        let values = [("what", what), ("project", &stack.name), ("path", &path.display().to_string())];
        for (name, value) in values {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        run(&mut command)
    };
    what("dump").expect(0, &[]);
    // What a terminal does to it; the record that pgscript keeps beside a dump of its own is not there in the field.
    let sql = std::fs::read(&path).unwrap();
    let with_returns: Vec<u8> =
        sql.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
    std::fs::write(&path, with_returns).unwrap();
    std::fs::remove_file(dir.join("dump.sql.json")).unwrap();
    let before = stack.content();
    what("restore").expect(1, &["error[dump.damaged]", "dump.sql", "docker exec -t"]);
    assert_eq!(stack.content(), before);
    stack.writes();
    stack.no_helpers_left();
}
