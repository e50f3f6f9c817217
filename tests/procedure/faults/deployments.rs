//! What people's deployments have that once ended a night: each is upgraded, or refused before the outage.

use super::before::Before;
use super::fence::with_override;
use super::variations;
use crate::stack::{Run, Stack, Watched, docker, run};

/// Either of them, and both with the feature.
const BOTH: &[&str] = variations(&["strategy=dump", "strategy=pg_upgrade"]);

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
    for &strategy in BOTH {
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
fn is_refused(stack: &Stack, to: u32, check: &str, said: &[&str]) {
    let before = Before::containers_of(stack);
    run(&mut stack.checks(to, check, &["deploy=manual"])).expect(3, said);
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

/// The image's own advice: the password is asked for on 127.0.0.1, and, where a site wants that, on the socket.
#[test]
fn auth_host_scram_and_socket_password() {
    let stack = stack_with("services: {}", &["--password", "pw", "--initdb-args", "--auth-host=scram-sha-256"]);
    if cfg!(feature = "full-matrix") {
        is_upgraded_by_both(&stack, &[]);
    } else {
        stack.inventory_version(17);
    }
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
    for &strategy in BOTH {
        stack.upgrade(17, &["--set", strategy]).expect(0, &["is done"]);
        let count = ["psql", "-XqAtU", "primero", "-d", "primero_production", "-c", "SELECT count(*) FROM cases"];
        let database = stack.container("postgres");
        let answer = stack.docker(&[&password[..], &[database.as_str()], &count[..]].concat());
        assert_eq!(answer, "1000", "{strategy}");
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
    }
}

/// A scheduler inside the server neither counts as a stranger, nor runs while data is dumped and compared; afterwards
/// it is there again, on the old server as well.
#[test]
fn background_writer() {
    let available = ["run", "--rm", "--network=none", "pgscript-test/postgres:13", "sh", "-c", "pg_config --sharedir"];
    let control = format!("{}/extension/pg_cron.control", docker(&available));
    if docker(&[
        "run",
        "--rm",
        "--network=none",
        "pgscript-test/postgres:13",
        "sh",
        "-c",
        &format!("ls {control} || :"),
    ])
    .is_empty()
    {
        eprintln!("skipped: the registry's image has no pg_cron, which one built here has");
        return;
    }
    let settings = "-c, shared_preload_libraries=pg_cron, -c, cron.database_name=primero_production";
    let more = format!("services: {{postgres: {{command: [postgres, {settings}]}}}}");
    let stack = stack_with(&more, &[]);
    let before = Before::containers_of(&stack);
    stack.inventory_version(17);
    stack.sql(
        "primero_production",
        "CREATE EXTENSION pg_cron; SELECT cron.schedule('tick', '* * * * *', 'UPDATE cases SET i = i')",
    );
    // Nor is the one of the server on which the schema is tried in the way.
    run(&mut stack.checks(17, "schema", &[])).expect(0, &["ready"]);
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'";
    let anew = "starts no background workers (pg_cron launcher)";
    for text in variations(&["$ pg_dumpall", anew]) {
        let mut killed = Watched::start(stack.upgrade_command(17, &[]));
        killed.until(text);
        killed.kill();
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
        before.is_back(&stack);
        assert_eq!(stack.sql("postgres", workers), "1");
    }
    for &strategy in BOTH {
        let done = is_upgraded(&stack, strategy);
        assert_eq!(done.text.contains(anew), strategy == "strategy=dump", "{}", done.text);
        let most = "SELECT setting::int FROM pg_settings WHERE name = 'max_worker_processes'";
        assert_eq!(stack.sql("postgres", &format!("{workers} UNION ALL {most}")), "1\n8", "{strategy}");
        // Where it was, though a newer pg_cron is created elsewhere.
        let schema = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_cron'";
        assert_eq!(stack.sql("primero_production", schema), "public", "{strategy}");
        run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
        assert_eq!(stack.sql("postgres", workers), "1");
    }
}

/// An application that takes longer to be healthy than the run waits: going on goes on waiting, without starting it
/// again; a health check that says how long it may take is waited for.
#[test]
fn slow_start() {
    let slow = |start_period: &str| {
        format!(
            "services:\n  application:\n    command: [bash, -c, \"date +%s >/tmp/born; exec app.sh application\"]\n    \
             healthcheck: {{test: [CMD-SHELL, \"[ $$(( $$(date +%s) - $$(cat /tmp/born) )) -gt 25 ]\"], \
             interval: 1s, timeout: 1s, retries: 1{start_period}}}\n"
        )
    };
    let stack = stack_with(&slow(""), &[]);
    stack.inventory_version(17);
    let few = ["--set", "application_wait=5", "--set", "strategy=pg_upgrade"];
    let failed = stack.upgrade(17, &few).expect(1, &["error[docker.unhealthy]", "in step `start the application`"]);
    let application = || stack.inspect("application", "{{.Id}} {{.State.StartedAt}}");
    let started = application();
    std::thread::sleep(std::time::Duration::from_secs(25));
    stack.as_advised(&failed, "resume").expect(0, &["is done"]);
    assert_eq!(application(), started);
    if !cfg!(feature = "full-matrix") {
        return;
    }
    run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);

    stack.inventory_version_from(17, 13);
    with_override(&stack, &slow(", start_period: 60s"));
    stack.inventory_version(17);
    stack.upgrade(17, &few).expect(0, &["is done", "-application-1 is starting"]);
    stack.writes();
}

/// A health check of the database connects again and again, somebody else holds a session, and every login of the
/// application is refused: that is not done.
#[test]
fn false_done() {
    let check = "psql -U primero -d primero_production -c 'SELECT pg_sleep(0.4)'";
    let other =
        "trap 'exit 0' TERM; while :; do sleep 3600 | psql -h postgres -U other -d postgres -qX & wait $$!; done";
    let stack = stack_with("services: {}", &["--password", "pw"]);
    stack.sql("postgres", "CREATE ROLE other LOGIN PASSWORD 'other'");
    let more = format!(
        "services:\n  postgres: {{healthcheck: {{test: [CMD-SHELL, \"{check}\"], interval: 1s}}}}\n  \
         exporter:\n    image: pgscript-test/app:1\n    depends_on: [postgres]\n    \
         labels: {{pgscript.test.stack: {}}}\n    environment: {{PGPASSWORD: other}}\n    \
         command: [bash, -c, \"{other}\"]\n",
        stack.name
    );
    with_override(&stack, &more);
    stack.inventory_version(17);
    let file = stack.dir.join("docker-compose.override.yml");
    let wrong = "environment: {POSTGRES_PASSWORD: wrong}";
    for &strategy in BOTH {
        let few = ["--set", strategy, "--set", "application_wait=15"];
        let mut upgrade = Watched::start(stack.upgrade_command(17, &few));
        upgrade.until("put the old server aside");
        // Whoever deploys has given the application another password than the server has.
        let with_wrong = format!("{more}  application: {{{wrong}}}\n  worker: {{{wrong}}}\n");
        std::fs::write(&file, with_wrong).unwrap();
        let said = ["error[stack.application_not_connected]", "authentication failed for user \"primero\""];
        let failed = upgrade.end().expect(1, &said);
        std::fs::write(&file, &more).unwrap();
        stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
        stack.writes();
    }
}

/// Any deploy between the day on which the inventory is changed and the night starts the new version on the old volume.
/// So it may name the old one until all is done; what it names is said before and at each end.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn deploy_starts_new_on_old() {
    let stack = Stack::with(13, &["--seed", "none"]);
    let copy = ["--set", "strategy=pg_upgrade"];
    let done = stack.upgrade(17, &copy).expect(0, &["is done", "primero_postgres_version: '17'", "it names 13"]);
    assert!(!done.text.contains("is 17 already"), "{}", done.text);
    assert_eq!(stack.major(), "17");
    let back = run(&mut stack.pgscript(&["rollback", "--yes"])).expect(0, &["is rolled back"]);
    assert!(!back.text.contains("before the next deploy"), "{}", back.text);

    let put_back = |further: &[&str], said: &[&str]| {
        let mut run = Watched::start(stack.upgrade_command(17, &[&copy[..], further].concat()));
        run.until("4 stop the application");
        run.interrupt();
        run.end().expect(4, &["everything is back as it was"]).expect(4, said);
    };
    stack.inventory("primero_postgres_version: \"13\"", "primero_postgres_version: \"15\"");
    run(&mut stack.upgrade_command(17, &copy)).expect(3, &["[deploy.wrong_version]", "is 15, the target is 17"]);
    // A file of extra variables has the last word.
    std::fs::write(stack.dir.join("ansible/site.yml"), "primero_postgres_version: \"17\"\n").unwrap();
    let said = ["is 17 already", "primero_postgres_version: '13'", "it names 17"];
    put_back(&["--set", "ansible_extra_vars_files=site.yml"], &said);
    stack.inventory("primero_postgres_version: \"15\"", "primero_postgres_version: \"17\"");
    put_back(&[], &said);
    stack.writes();
}

/// What a cluster that is there does without, or the first start does not take, is known before the outage.
#[test]
fn mount_into_pgdata_no_password_given_other_user_and_time_zone() {
    let stack = Stack::with(13, &["--seed", "none"]);
    std::fs::write(stack.dir.join("site.conf"), "# the site's\n").unwrap();
    let cases = [
        ("volumes: ['./site.conf:/var/lib/postgresql/data/site.conf']", "is mounted into the data directory"),
        ("command: [postgres, -c, timezone=US/Eastern]", "is set by the service's command"),
    ];
    for (service, said) in cases {
        with_override(&stack, &format!("services: {{postgres: {{{service}}}}}"));
        is_refused(&stack, 17, "trial", &["error[preflight.trial_start]", said]);
    }
    let environment = stack.dir.join("postgres.env");
    let known = std::fs::read_to_string(&environment).unwrap();
    let without: String =
        known.lines().filter(|l| !l.starts_with("POSTGRES_PASSWORD")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&environment, without).unwrap();
    let file = stack.dir.join("docker-compose.override.yml");
    let application = format!("environment: {{POSTGRES_PASSWORD: {:?}}}", stack.password().replace('$', "$$"));
    let text = format!("services: {{application: {{{application}}}, worker: {{{application}}}}}");
    std::fs::write(&file, "").unwrap();
    with_override(&stack, &text);
    is_refused(&stack, 17, "trial", &["error[preflight.trial_start]", "POSTGRES_PASSWORD is not set (any more)"]);
    std::fs::write(&environment, known).unwrap();
    // As Debian's packages number it, and the files belong to it.
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c", "id -u postgres"]);
    with_override(&stack, "services: {postgres: {user: postgres}}");
    stack.sql("primero_production", "CREATE TABLE cases AS SELECT i FROM generate_series(1, 1000) i");
    is_upgraded_by_both(&stack, &[]);
}
