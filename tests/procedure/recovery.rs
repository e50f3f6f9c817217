//! Nights that went wrong, and an operator at the shell: each story ends with the application writing and all data
//! there. `docs/recovery.md` walks through the same five.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::procedure::faults::after::Site;
use crate::procedure::faults::before::walk;
use crate::procedure::faults::wayback::is_cleaned_up;
use crate::procedure::upgrades::private;
use crate::stack::{ANSIBLE, Stack, Watched, sh};
use crate::terminal::{Seat, Shell};

/// Long enough for a restore on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The terminal of an operator who runs this.
fn seat(command: &Command) -> Seat {
    Seat::new(command).env("PATH", &std::env::var("PATH").unwrap()).size(120, 40).patience(PATIENCE)
}

/// The shell in the run of the upgrade; gives what it says first, too.
#[track_caller]
fn open(stack: &Stack, prompt: &str) -> (Shell, String) {
    Shell::open(seat(&stack.pgscript(&["repl", "--run", "upgrade-1"])), prompt)
}

const INTERRUPTED: &str = "upgrade-1 (interrupted)> ";
const FAILED: &str = "upgrade-1 (failed)> ";
const DONE: &str = "upgrade-1 (done)> ";

#[test]
fn after_the_volume_was_removed() {
    let site = Site::up();
    let mut run = Watched::start(site.stack.upgrade_command(17, &["--set", "keep_volume=no"]));
    run.until("deploy the new version");
    run.kill();
    assert_eq!(site.stack.kept_volumes(), Vec::<String>::new());

    let (mut shell, greeting) = open(&site.stack, INTERRUPTED);
    for said in [
        "Your data is safe, in ",
        "complete copies",
        "backup of the volume",
        "dump of the cluster",
        "volume of the new server",
        ".resume",
    ] {
        assert!(greeting.contains(said), "{said:?} was not said:\n{greeting}");
    }
    shell.enter(".copies", &["volume.tar.zst", "read to its end, checksum", "not started yet"]);
    // The last copies of the data are not for a slip of the finger, at the shell neither.
    shell.enter("host::remove_dir(dir)", &["error[guard.", "--allow-data-loss"]);
    shell.enter("volume::verify(volume::open(dir + \"/volume.tar.zst\")); \"it is whole\"", &["it is whole"]);
    shell.enter(".next", &["deploy the new version", "steps after it: 4"]);
    shell.enter(".step", &["✓ 16 deploy the new version", "stopped before the next step"]);
    shell.enter(".next", &["step `start the application` begins"]);
    shell.goes_on(".resume", DONE, &["upgrade-1 is done now"]);
    shell.leave();
    site.has_moved_on();
}

#[test]
fn in_the_middle_of_the_restore() {
    let site = Site::up();
    let mut run = site.upgrade_until("restore the dump");
    run.until("pg_restore");
    run.kill();

    let (mut shell, greeting) = open(&site.stack, INTERRUPTED);
    assert!(greeting.contains("Your data is safe") && greeting.contains("cut off"), "{greeting}");
    let next = ["step `restore the dump` was cut off", "it runs again; it can be run twice", "steps after it: 10"];
    shell.enter(".next", &next);
    shell.enter("source.database", &["primero"]);
    shell.type_in(&format!(".sql {}", site.new_server()));
    shell.terminal.expect("=#");
    // The size of the terminal may not be known yet: then all is too long for it.
    shell.terminal.type_line("\\pset pager off");
    shell.terminal.expect("Pager usage is off");
    shell.terminal.type_line("SELECT 6 * 7 AS answer;");
    shell.terminal.expect("42");
    shell.terminal.type_line("\\q");
    shell.until_prompt();
    shell.enter(".retry restore", &["✓  8 restore the dump", "stopped before the next step"]);
    shell.goes_on(".resume", DONE, &["compare old and new", "upgrade-1 is done now"]);
    let text = shell.leave();
    assert!(!text.contains("unfinished"), "{text}");
    site.has_moved_on();
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn deploy_failed_because_of_a_wrong_inventory() {
    let site = Site::up();
    let command = site.stack.upgrade_command(17, &ANSIBLE);
    let mut terminal = seat(&command).start();
    terminal.expect("hold the server");
    site.stack.inventory("primero_postgres_version: \"17\"", "primero_postgres_version: \"15\"");
    let asked = terminal.read("what now? ");
    assert!(asked.contains("shell  look around"), "{asked}");
    terminal.until_keys().type_line("shell");
    terminal.expect(FAILED);
    let mut shell = Shell::at(terminal, FAILED);
    // The script's own variables, at the point where it failed.
    shell.enter("site.to", &["17"]);
    shell.enter(".next", &["step `deploy the new version` runs again; it had failed"]);
    site.stack.inventory("primero_postgres_version: \"15\"", "primero_postgres_version: \"17\"");
    shell.goes_on(".retry", INTERRUPTED, &["✓ 14 deploy the new version", "stopped before the next step"]);
    shell.goes_on(".resume", DONE, &["upgrade-1 is done now"]);
    shell.leave();
    site.has_moved_on();
}

/// Somebody has changed the password of the application's role: the operator finds it in the log, and sets it back.
fn password_wrong_after_the_upgrade(site: &Site) {
    let password = site.stack.password();
    site.stack.sql("primero_production", "ALTER ROLE primero PASSWORD 'of somebody else'");
    site.stack.docker(&["restart", "--time", "1", &format!("{}-application-1", site.stack.name)]);

    let (mut shell, _) = open(&site.stack, DONE);
    shell.enter(&format!(".logs {}-application-1 5", site.stack.name), &["password authentication failed"]);
    shell.enter("let now = docker::containers(#{ project: project, service: \"postgres\" })[0];", &[]);
    shell.enter("let server = psql::server(now, #{ user: \"primero\" });", &[]);
    shell.type_in("let password = param(\"password\", #{ type: \"secret\" });");
    shell.terminal.expect("a secret  password: ");
    shell.terminal.type_line(&password);
    shell.until_prompt();
    shell.enter(
        "psql::login(server, \"primero\", password, \"primero_production\")",
        &["password authentication failed"],
    );
    shell.enter("psql::set_password(server, \"primero\", password)", &[]);
    shell.enter("psql::login(server, \"primero\", password, \"primero_production\")", &[]);
    let all = shell.terminal.text();
    shell.leave();
    assert!(!all.contains(&password), "the password was shown");
    site.stack.writes();
    site.has_moved_on();
    let status = site.stack.status();
    assert!(status.contains("Done by hand") && status.contains("psql::set_password"), "{status}");
    let kept = ["journal.jsonl", "log.jsonl"].map(|file| site.stack.base.join("upgrade-1").join(file));
    for file in kept.into_iter().chain([site.stack.base.join("history")]) {
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&password), "{} holds the password", file.display());
    }
}

/// The rest of the line that a table shows of a database's table.
#[track_caller]
fn row<'t>(text: &'t str, table: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.contains(&format!(" {table} "))).unwrap_or_else(|| panic!("{text}"));
    line.split_once(table).unwrap().1.split_whitespace().collect()
}

/// An image without a shell, and a container of it: the newest on the engine, and none of the stack.
struct Stranger {
    image: String,
    container: String,
}

impl Stranger {
    fn new(site: &Site) -> Self {
        let file = site.stack.dir.join("stranger.tar").display().to_string();
        sh("tar", &["-cf", &file, "-C", &site.stack.dir.display().to_string(), "postgres.env"]);
        let image = site.stack.docker(&["import", &file, &format!("pgscript-test/stranger-{}:1", site.stack.name)]);
        let label = format!("pgscript.test.stack={}", site.stack.name);
        let container = site.stack.docker(&["create", "--label", &label, &image, "/nothing"]);
        Self { image, container }
    }

    #[track_caller]
    fn has_made_no_helper(&self, site: &Site) {
        let helpers = site.stack.docker(&["ps", "-aq", "--filter", "label=pgscript.helper"]);
        for helper in helpers.lines() {
            // One of another stack may be gone by now.
            let image = ["inspect", "--format", "{{.Image}}", helper];
            let found = std::process::Command::new("docker").args(image).output().unwrap();
            assert_ne!(String::from_utf8_lossy(&found.stdout).trim(), self.image);
        }
    }

    /// As a tidying-up at night does.
    fn remove(&self, site: &Site) {
        site.stack.docker(&["rm", &self.container]);
        site.stack.docker(&["image", "rm", "--force", &self.image]);
    }
}

/// What a dump restores of the database that has this table, as SQL.
fn restored_text(dump: &Path, table: &str) -> String {
    let names = |file: &PathBuf| {
        file.ends_with("toc.dat") && String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains(table)
    };
    let toc = walk(dump).into_iter().find(names).unwrap();
    let mount = format!("{}:/dump:ro", toc.parent().unwrap().display());
    let restore = ["--entrypoint", "pg_restore", "pgscript-test/postgres:17", "-f", "-", "/dump"];
    sh("docker", &[["run", "--rm", "--user", "0", "--network", "none", "-v", &mount].as_slice(), &restore].concat())
}

/// Two nights after a completed upgrade. What was written since is told, and dumped before the way back. And no helper
/// is made of an image that is no business of the run's, and that may be gone the next moment.
#[test]
fn password_wrong_after_the_upgrade_and_roll_back_with_what_was_written_since_and_somebody_elses_image() {
    let site = Site::up();
    let stranger = Stranger::new(&site);
    site.is_upgraded(site.stack.upgrade(17, &[]));
    stranger.has_made_no_helper(&site);
    password_wrong_after_the_upgrade(&site);
    for sql in [
        "INSERT INTO cases SELECT i, 'late case ' || i FROM generate_series(2001, 2003) i",
        "UPDATE notes SET note = 'changed late' WHERE i <= 2",
        "DELETE FROM notes WHERE i = 100",
        "CREATE TABLE made_late AS SELECT 1 AS x",
    ] {
        site.stack.sql("primero_production", sql);
    }

    let (mut shell, greeting) = open(&site.stack, DONE);
    assert!(greeting.contains(".rollback"), "{greeting}");
    shell.type_in(".rollback");
    let cost = shell.terminal.read("Dump the new server first");
    assert!(cost.contains("written since the cutover, and not in the old server"), "{cost}");
    assert_eq!(row(&cost, "public.cases"), ["2000", "2003", "3", "0", "0"]);
    assert_eq!(row(&cost, "public.notes"), ["100", "99", "0", "2", "1"]);
    assert_eq!(row(&cost, "public.made_late"), ["1", "1", "0", "0"]);
    assert!(!cost.contains("public.counted"), "{cost}");
    shell.terminal.until_keys().type_line("yes");
    shell.terminal.expect("Bring back PostgreSQL 13");
    stranger.remove(&site);
    shell.terminal.until_keys().type_line("yes");
    shell.terminal.expect("upgrade-1 is rolled back now");
    shell.prompt("upgrade-1 (rolled back)> ").until_prompt();
    shell.enter(".next", &["everything is as it was"]);
    shell.leave();
    site.is_back();
    private(&site.stack.artefacts());
    let late = restored_text(&site.stack.artefacts().join("written-since"), "made_late");
    for row in ["2003\tlate case 2003", "1\tchanged late", "CREATE TABLE \"public\".\"made_late\""] {
        assert!(late.contains(row), "{row:?} is not in the dump");
    }
    is_cleaned_up(&site);
}
