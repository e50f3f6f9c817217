//! What people's deployments have that once ended a night: each is upgraded, or refused before the outage.

use super::before::Before;
use super::fence::with_override;
use crate::stack::{Run, Stack, run};

const BOTH: [&str; 2] = ["strategy=dump", "strategy=pg_upgrade"];

/// A stack with more in its compose file.
fn stack_with(more: &str, options: &[&str]) -> Stack {
    let stack = Stack::with(13, &[&["--seed", "none"], options].concat());
    stack.sql("primero_production", "CREATE TABLE cases AS SELECT i FROM generate_series(1, 1000) i");
    with_override(&stack, more);
    stack
}

/// Upgraded, and rolled back, by each strategy.
#[track_caller]
fn is_upgraded_by_both(stack: &Stack, said: &[&str]) {
    stack.inventory_version(17);
    for strategy in BOTH {
        is_upgraded(stack, strategy).expect(0, said);
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
        assert_eq!(stack.major(), "13", "{strategy}");
    }
}

#[track_caller]
fn is_upgraded(stack: &Stack, strategy: &str) -> Run {
    let done = stack.upgrade(17, &["--set", strategy]).expect(0, &["is done"]);
    assert_eq!(stack.major(), "17", "{strategy}");
    assert_eq!(stack.sql("primero_production", "SELECT count(*) FROM cases"), "1000");
    stack.writes();
    done
}

#[track_caller]
fn is_refused(stack: &Stack, to: u32, said: &[&str]) {
    let before = Before::containers_of(stack);
    run(&mut stack.upgrade_command(to, &["--set", "deploy=manual"])).expect(3, said);
    before.is_untouched(stack);
}

/// An application that opens a connection for each of its rare requests, beside a health check that opens one each
/// second: neither is taken for the other.
#[test]
fn no_session_and_healthcheck_session() {
    let rare = |service: &str| {
        format!(
            "command: [bash, -c, \"export PGHOST=postgres PGUSER=$$POSTGRES_USER PGDATABASE=$$POSTGRES_DB \
             PGPASSWORD=$$POSTGRES_PASSWORD; trap 'exit 0' TERM; while :; do \
             psql -qXc \\\"INSERT INTO heartbeat (service) VALUES ('{service}')\\\"; sleep 5 & wait $$!; done\"]"
        )
    };
    let check = "psql -U primero -d primero_production -c 'SELECT pg_sleep(0.4)'";
    let more = format!(
        "services:\n  postgres: {{healthcheck: {{test: [CMD-SHELL, \"{check}\"], interval: 1s}}}}\n  \
         application: {{{}}}\n  worker: {{{}}}\n",
        rare("application"),
        rare("worker")
    );
    let stack = stack_with(&more, &["--password", "pw"]);
    is_upgraded_by_both(&stack, &[]);
}

/// A service that has done its work, and containers of `compose run` that nobody has removed, one of them of the
/// database: it holds the volume.
#[test]
fn one_shot() {
    let stack = stack_with("services: {migrate: {image: 'pgscript-test/app:1', command: ['true']}}", &[]);
    for service in ["postgres", "application"] {
        let label = |key: &str, value: &str| format!("--label=com.docker.compose.{key}={value}");
        let labels = [label("project", &stack.name), label("service", service), label("oneoff", "True")];
        let own = format!("--label=pgscript.test.stack={}", stack.name);
        let volume = format!("{}:/var/lib/postgresql/data", stack.volume);
        let mount: &[&str] = if service == "postgres" { &["-v", &volume] } else { &[] };
        let labels = labels.each_ref().map(String::as_str);
        let run = [&["run", "--entrypoint", "true", &own], &labels[..], mount, &["pgscript-test/postgres:13"]];
        stack.docker(&run.concat());
    }
    stack.inventory_version(17);
    is_upgraded(&stack, "strategy=pg_upgrade").expect(0, &["left over from a compose run, is removed"]);
}

/// The image's own advice: the password is asked for on 127.0.0.1, and, where a site wants that, on the socket.
#[test]
fn auth_host_scram_and_socket_password() {
    let stack = stack_with("services: {}", &["--password", "pw", "--initdb-args", "--auth-host=scram-sha-256"]);
    is_upgraded_by_both(&stack, &[]);
    let rules = "sed -i 's/^local \\(.*\\)trust/local \\1md5/' \"$PGDATA/pg_hba.conf\"";
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c", rules]);
    stack.docker(&[
        "exec",
        "--env",
        "PGPASSWORD=pw",
        &stack.container("postgres"),
        "sh",
        "-c",
        "psql -XqU primero -d primero_production -c 'SELECT pg_reload_conf()'",
    ]);
    let password = ["exec", "--env", "PGPASSWORD=pw"];
    for strategy in BOTH {
        stack.upgrade(17, &["--set", strategy]).expect(0, &["is done"]);
        let count = ["psql", "-XqAtU", "primero", "-d", "primero_production", "-c", "SELECT count(*) FROM cases"];
        let database = stack.container("postgres");
        let answer = stack.docker(&[&password[..], &[database.as_str()], &count[..]].concat());
        assert_eq!(answer, "1000", "{strategy}");
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
    }
}

/// The volume lies on a directory of the host: removing or renaming it leaves the files.
#[test]
fn driver_opts_volume() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let directory = stack.dir.join("pg");
    std::fs::create_dir(&directory).unwrap();
    let compose = stack.dir.join("docker-compose.yml");
    let text = std::fs::read_to_string(&compose).unwrap();
    let name = format!("    name: \"{}\"\n", stack.volume);
    let options = format!(
        "{name}    driver: local\n    driver_opts: {{type: none, o: bind, device: \"{}\"}}\n",
        directory.display()
    );
    assert!(text.contains(&name));
    std::fs::write(&compose, text.replace(&name, &options)).unwrap();
    stack.docker(&["rm", "--force", &stack.container("postgres")]);
    stack.docker(&["volume", "rm", &stack.volume]);
    with_override(&stack, "services: {}");
    is_refused(&stack, 17, &["error[preflight.device]", &stack.volume, "device"]);
}

/// 18 wants its volume one level up: the compose file that mounts it as before is named before the outage.
#[test]
fn mount_of_18() {
    let more = "services: {postgres: {volumes: ['database:/var/lib/postgresql/data']}}";
    let stack = stack_with(more, &[]);
    let said = ["error[preflight.mount]", "at /var/lib/postgresql/data, where nobody looks", "at /var/lib/postgresql:"];
    is_refused(&stack, 18, &said);
}
