//! While the server is held nobody outside reaches it, and no write to it goes unseen.

use std::net::TcpListener;

use super::before::Before;
use super::{CONTENT_BEFORE, client, edited, go_on, pause, run_edited, run_edited_as};
use crate::procedure::upgrades::{BY_A_COPY, Held};
use crate::stack::{Run, Stack, Watched, docker, sh};

/// A stack whose compose file has something more, as YAML.
pub fn with_override(stack: &Stack, yaml: &str) {
    std::fs::write(stack.dir.join("docker-compose.override.yml"), yaml).unwrap();
    stack.deploy_by_command();
    sh(&stack.dir.join("deploy.sh").display().to_string(), &[]);
    stack.writes();
}

/// A port of this machine that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The command of a container that does something again and again, with its image before.
fn again_and_again(sql: &str, connection: &str) -> [String; 4] {
    let each =
        format!("n=$(psql '{connection} connect_timeout=2' -qAtXc \"{sql}\" 2>/dev/null) && echo \"acknowledged $n\"");
    ["pgscript-test/app:1".into(), "bash".into(), "-c".into(), format!("while :; do {each}; sleep 0.3; done")]
}

fn last_acknowledged(container: &str) -> u64 {
    let log = docker(&["logs", container]);
    log.lines().last().and_then(|line| line.strip_prefix("acknowledged ")?.parse().ok()).unwrap_or_default()
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let pause = || std::thread::sleep(std::time::Duration::from_millis(200));
    let met = (0..300).any(|_| {
        condition() || {
            pause();
            false
        }
    });
    assert!(met, "waited for a minute");
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn published_port_reaches_nobody_while_the_server_is_held_for_a_dump() {
    acknowledged_writes_are_kept(17, &["strategy=dump"], CONTENT_BEFORE, &[]);
}

#[test]
fn from_13_to_18_by_a_copy_published_port_reaches_nobody_while_the_server_is_held() {
    let line = "// The copy takes along whatever comes until the server has stopped";
    let set = ["strategy=auto", "compare=content"];
    acknowledged_writes_are_kept(18, &set, line, &[BY_A_COPY, "compared: catalogs and all rows"]);
}

/// A client outside counts in the database, again and again, through a published port. The upgrade pauses before a line
/// of the script, while the server is held: then the port reaches nobody, and what was acknowledged before is there
/// after the upgrade.
fn acknowledged_writes_are_kept(to: u32, set: &[&str], line: &str, said: &[&str]) {
    let stack = Stack::with(13, &["--password", "pw"]);
    let port = free_port();
    with_override(&stack, &format!("services: {{postgres: {{ports: ['127.0.0.1:{port}:5432']}}}}"));
    // Left out of what is compared before and after.
    let counter =
        "CREATE SCHEMA outside; CREATE TABLE outside.heartbeat (n int); INSERT INTO outside.heartbeat VALUES (0)";
    stack.sql("primero_production", counter);
    stack.inventory_version(to);
    let by_port = format!("host=127.0.0.1 port={port} user=primero dbname=primero_production");
    let (label, name) = (format!("pgscript.test.stack={}", stack.name), format!("{}-outside", stack.name));
    let outside = ["run", "-d", "--name", &name, "--label", &label, "--network", "host", "-e", "PGPASSWORD=pw"];
    let counts = again_and_again("UPDATE outside.heartbeat SET n = n + 1 RETURNING n", &by_port);
    docker(&[&outside[..], &counts.each_ref().map(String::as_str)].concat());
    wait_until(|| last_acknowledged(&name) >= 3);

    let script = edited(&stack, line, &format!("{}\n    {line}", pause(&stack)));
    let held_data = Held::by(&stack);
    let set: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
    let upgrade = stack.upgrade_command(to, &set);
    let mut watched = Watched::start(run_edited_as(&stack, &script, &upgrade));
    watched.until("paused");
    assert_eq!(stack.inspect("postgres", "{{.State.Running}}"), "true");
    let held = last_acknowledged(&name);
    for host in ["postgres".to_owned(), format!("{}-postgres-1", stack.name)] {
        let tried = client(&stack, &["--rm", "-e", &format!("PGHOST={host}")], "SELECT 1").output().unwrap();
        assert!(!tried.status.success(), "{host} answers: {}", String::from_utf8_lossy(&tried.stdout));
    }
    // Not by the address that it has in the fence either.
    let address = stack.inspect("postgres", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    for (host, port) in [(address.as_str(), 5432), ("127.0.0.1", port)] {
        let connection = format!("host={host} port={port} user=primero dbname=primero_production connect_timeout=3");
        let mut tried = std::process::Command::new("docker");
        tried.args([
            "run",
            "--rm",
            "--network",
            "host",
            "-e",
            "PGPASSWORD=pw",
            "pgscript-test/app:1",
            "psql",
            &connection,
        ]);
        let tried = tried.args(["-c", "SELECT 1"]).output().unwrap();
        assert!(!tried.status.success(), "{host}:{port} answers: {}", String::from_utf8_lossy(&tried.stdout));
    }
    assert_eq!(last_acknowledged(&name), held, "the held server was written to");
    go_on(&stack);
    let done = watched.end().expect(0, &[&format!("runs on PostgreSQL {to}")]).expect(0, said);
    wait_until(|| last_acknowledged(&name) > held);
    docker(&["kill", &name]);
    let count: u64 = stack.sql("primero_production", "SELECT n FROM outside.heartbeat").parse().unwrap();
    // The one that was under way may have come through.
    assert!([0, 1].contains(&(count - last_acknowledged(&name))), "{count}, acknowledged {}", last_acknowledged(&name));
    held_data.goes_on(13, to, done);
}

/// The upgrade by a script that stops after the dump, and again when the dump was looked at: `sql` is run meanwhile,
/// over the server's socket, as a job of the host would.
fn written_meanwhile(stack: &Stack, script: &std::path::Path, sql: &str) -> Run {
    let _ = std::fs::remove_file(stack.dir.join("go"));
    let mut watched = Watched::start(run_edited(stack, script));
    watched.until("paused");
    let database = stack.container("postgres");
    stack.docker(&["exec", &database, "psql", "-qU", "primero", "primero_production", "-c", sql]);
    go_on(stack);
    watched.end()
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn write_during_dump_puts_everything_back_and_is_named() {
    let stack = Stack::up(13);
    stack.sql("primero_production", "CREATE TABLE cronlog (id bigserial PRIMARY KEY, at timestamptz DEFAULT now())");
    let line = "        artefacts::note(dir, #{ stage: \"dumped\", dump: dump.path });";
    let script = edited(&stack, line, &format!("        {}\n{line}", pause(&stack)));
    let text = std::fs::read_to_string(&script).unwrap();
    let end = "// Documented step 4. Where ";
    assert!(text.contains(end));
    let ends = format!("fail(\"test.end\", \"no write was seen\");\n{end}");
    std::fs::write(&script, text.replace(end, &ends)).unwrap();

    // Transactions that write nothing of anybody's: what autovacuum does.
    written_meanwhile(&stack, &script, "SELECT txid_current(); ANALYZE")
        .expect(1, &["it is asked what was written", "no write was seen", "everything is back as it was"]);
    let before = Before::of(&stack);
    for (sql, named) in [
        ("INSERT INTO cronlog DEFAULT VALUES", "primero_production: public.cronlog (1 inserted)"),
        ("SELECT lo_create(0)", "primero_production: pg_catalog.pg_largeobject_metadata (1 inserted)"),
    ] {
        let said = ["error[postgres.written]", "was written to while it was held", named, "(docker exec): psql at "];
        written_meanwhile(&stack, &script, sql).expect(3, &said).expect(3, &["everything is back as it was"]);
    }
    assert_eq!(stack.sql("primero_production", "SELECT count(*) FROM cronlog"), "1", "what was acknowledged is there");
    stack.sql("primero_production", "TRUNCATE cronlog; SELECT lo_unlink(max(oid)) FROM pg_largeobject_metadata");
    before.is_back(&stack);
}
