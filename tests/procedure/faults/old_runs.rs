//! Runs that the program made when it still gave the old server up before the new one was proved: they are shown,
//! rolled back and cleaned up all the same. `tests/fixtures/old_store` says what they are.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::stack::{Stack, run, sh};

/// The first lines of the journal are those of a run that was killed in the restore.
const KILLED_IN_THE_RESTORE: usize = 195;
const ALL: usize = usize::MAX;
const SERVICES: [&str; 4] = ["postgres", "application", "worker", "nginx"];

/// A stack where such a run has left it, and the content of before.
struct Old {
    stack: Stack,
    before: BTreeMap<String, String>,
}

impl Old {
    fn after(lines: usize) -> Self {
        let stack = Stack::up(13);
        stack.deploy_by_command();
        let before = stack.content();
        let mut written = Written::new(&stack);
        written.containers(&stack, "before");
        let kept = put_aside(&stack);
        written.backup(&stack, &kept);
        stack.inventory_version_from(13, 17);
        sh("sh", &["-e", &stack.dir.join("deploy.sh").display().to_string()]);
        stack.writes();
        written.containers(&stack, "after");
        if lines != ALL {
            for service in SERVICES.into_iter().filter(|service| *service != "postgres") {
                stack.docker(&["update", "--restart", "no", &stack.container(service)]);
                stack.docker(&["stop", "--time", "1", &stack.container(service)]);
            }
        }
        written.into_store(&stack, lines);
        assert_eq!(stack.kept_volumes(), [kept]);
        Self { stack, before }
    }

    #[track_caller]
    fn is_back(&self) {
        assert_eq!((self.stack.major().as_str(), self.stack.content()), ("13", self.before.clone()));
        self.stack.writes();
        for service in SERVICES {
            assert_eq!(self.stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), "always", "{service}");
        }
    }
}

/// What that program did: the container goes, the data is kept under another name with a keeper.
fn put_aside(stack: &Stack) -> String {
    let (volume, kept) = (stack.volume.clone(), format!("{}_pg13_upgrade-1", stack.volume));
    let image = stack.inspect("postgres", "{{.Image}}");
    let database = stack.container("postgres");
    for service in ["application", "worker"] {
        stack.docker(&["stop", "--time", "1", &stack.container(service)]);
    }
    // As many heartbeats as that run has counted.
    let heartbeats = "TRUNCATE heartbeat RESTART IDENTITY; \
                      INSERT INTO heartbeat (service) SELECT 'worker' FROM generate_series(1, 8)";
    stack.sql("primero_production", heartbeats);
    stack.docker(&["stop", &database]);
    stack.docker(&["rm", &database]);
    let project = format!("pgscript.test.stack={}", stack.name);
    let moved = format!("pgscript.moved-from={volume}");
    stack.docker(&["volume", "create", "--label", &moved, "--label", &project, &kept]);
    let place = |name: &str| stack.docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", name]);
    sh("mv", &["-T", &place(&volume), &place(&kept)]);
    stack.docker(&["volume", "rm", "--force", &volume]);
    let keeper = ["create", "--label", "pgscript.helper=keep", "--name", &format!("{kept}-keeper")];
    let mount = format!("{kept}:/pgscript-volume");
    stack.docker(&[&keeper[..], &["-v", &mount, "--entrypoint", "/never-started", &image]].concat());
    kept
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/old_store")
}

/// What stands in the store, by what is to stand there instead.
struct Written {
    places: Vec<(String, String)>,
    ids: Value,
}

impl Written {
    fn new(stack: &Stack) -> Self {
        let ids = serde_json::from_str(&std::fs::read_to_string(fixture().join("ids.json")).unwrap()).unwrap();
        let cluster = stack.sql("postgres", "SELECT system_identifier FROM pg_control_system()");
        let engine = run(&mut stack.pgscript(&["eval", "docker::info().id"])).expect(0, &[]);
        let root = stack.docker(&["info", "--format", "{{.DockerRootDir}}"]);
        let host = stack.docker(&["info", "--format", "{{.Name}}"]);
        let pair = |was: &str, is: &str| (was.to_owned(), is.to_owned());
        let places = vec![
            pair("@STORE@", &stack.base.display().to_string()),
            pair("@STACK@", &stack.dir.display().to_string()),
            pair("@SITE@", &Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-site").display().to_string()),
            pair("@NAME@", &stack.name),
            pair("7713214494143778848", &cluster),
            pair("af72a93cc6e4eb63", engine.text.trim().trim_matches('"')),
            pair("\"host\":\"vm\"", &format!("\"host\":\"{host}\"")),
            pair("\"root\":\"/var/lib/docker\"", &format!("\"root\":\"{root}\"")),
        ];
        Self { places, ids }
    }

    /// The containers as they are now stand for those of then.
    fn containers(&mut self, stack: &Stack, when: &str) {
        for service in SERVICES {
            let known = self.ids[when][&format!("@NAME@-{service}-1")].clone();
            for (key, format) in [("id", "{{.Id}}"), ("image", "{{.Image}}")] {
                let was = known[key].as_str().unwrap().to_owned();
                self.places.push((was, stack.inspect(service, format)));
            }
        }
    }

    /// The backup that the run has made, of the volume as it is now.
    fn backup(&mut self, stack: &Stack, volume: &str) {
        let artefacts = stack.base.join("upgrade-1/artefacts");
        std::fs::create_dir_all(&artefacts).unwrap();
        let (path, script) = (artefacts.join("volume.tar.zst"), stack.dir.join("backup.rhai"));
        let text = format!("volume::backup(volume::inspect({volume:?}), {:?})", path.display().to_string());
        std::fs::write(&script, format!("step(\"back up\", || {text});")).unwrap();
        // None of the store's runs.
        let mut command = crate::stack::pgscript(&["run"]);
        run(command.arg(&script).env("PGSCRIPT_STORE", stack.dir.join("another-store"))).expect(0, &[]);
        let sum = sh("sha256sum", &[&path.display().to_string()]);
        let was = "ef59b28bf4108203b0b8b8c7606782a11af616dc973f6f11538d44fcf2f2a853";
        self.places.push((was.to_owned(), sum.split_whitespace().next().unwrap().to_owned()));
    }

    fn of(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (was, is)| text.replace(was, is))
    }

    fn into_store(self, stack: &Stack, lines: usize) {
        let dir = stack.base.join("upgrade-1");
        for path in super::before::walk(&fixture()) {
            let inner = path.strip_prefix(fixture()).unwrap().display().to_string();
            if ["ids.json", "README.md"].contains(&inner.as_str()) {
                continue;
            }
            let text = self.of(&std::fs::read_to_string(&path).unwrap());
            let text = if inner == "journal.jsonl" { with_sums(&text, lines) } else { text };
            let place = dir.join(self.of(&inner));
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, text).unwrap();
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let directories = ["-type", "d", "-exec", "chmod", "0700", "{}", "+"];
        sh("find", &[&[stack.base.to_str().unwrap()], &directories[..]].concat());
    }
}

/// The first lines, each with its checksum over itself and those before.
fn with_sums(text: &str, lines: usize) -> String {
    let mut sum = String::new();
    let mut journal = String::new();
    for line in text.lines().take(lines) {
        let (body, _) = line.rsplit_once(",\"sum\":\"").unwrap();
        let digest = Sha256::new().chain_update(&sum).chain_update(body).finalize();
        sum = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        journal += &format!("{body},\"sum\":\"{sum}\"}}\n");
    }
    journal
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_finished_run_of_before_is_shown_rolled_back_and_cleaned_up() {
    let old = Old::after(ALL);
    let status = old.stack.status();
    for said in ["upgrade-1: done", "Your data is safe", "the original data itself", "pgscript rollback upgrade-1"] {
        assert!(status.contains(said), "{said}:\n{status}");
    }
    let back = ["rollback", "upgrade-1", "--yes", "--as-recorded"];
    run(&mut old.stack.pgscript(&back)).expect(0, &["is rolled back"]);
    old.is_back();
    old.stack.cleanup().expect(0, &["Removed"]);
    old.stack.no_helpers_left();
}

/// That of a run of now whose backup was not started: `tests/simulated/faults/booted.rs`.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn a_finished_run_of_before_has_its_cleanup() {
    let old = Old::after(ALL);
    // That program has not started the backup.
    old.stack.cleanup().expect(0, &["was never started", "volume.tar.zst was started", "Removed"]);
    assert_eq!(old.stack.kept_volumes(), Vec::<String>::new());
    assert_eq!(old.stack.major(), "17");
    old.stack.writes();
    old.stack.no_helpers_left();
}

#[test]
fn a_run_of_before_that_was_killed_in_the_restore_is_rolled_back() {
    let old = Old::after(KILLED_IN_THE_RESTORE);
    let status = old.stack.status();
    assert!(status.contains("upgrade-1: interrupted") && status.contains("the original data itself"), "{status}");
    let back = ["rollback", "upgrade-1", "--yes", "--as-recorded"];
    run(&mut old.stack.pgscript(&back)).expect(0, &["is rolled back"]);
    old.is_back();
    if !cfg!(feature = "full-matrix") {
        return;
    }
    // Without the journal, too: by the scripts of now.
    let old = Old::after(KILLED_IN_THE_RESTORE);
    run(&mut old.stack.pgscript(&["run", "rollback.rhai", "--yes"])).expect(0, &["runs on PostgreSQL 13 again"]);
    old.is_back();
}
