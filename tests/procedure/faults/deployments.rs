//! What people's deployments have that once ended a night: each is upgraded, or refused before the outage.

use super::before::Before;
use super::comparison::Awkward;
use super::fence::with_override;
use super::misleading::misled;
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

/// The application's part where it opens a connection for each of its rare requests.
fn rare(service: &str, more: &str) -> String {
    format!(
        "  {service}:{more}\n    command: [bash, -c, \"export PGHOST=postgres PGUSER=$$POSTGRES_USER \
         PGDATABASE=$$POSTGRES_DB PGPASSWORD=$$POSTGRES_PASSWORD; trap 'exit 0' TERM; while :; do \
         psql -qXc \\\"INSERT INTO heartbeat (service) VALUES ('{service}')\\\"; sleep 3 & wait $$!; done\"]\n"
    )
}

/// What is in the compose file beside the rest; `application` is of each of its two services.
fn all_at_once(stack: &Stack, application: &str) -> String {
    let check = "PGPASSWORD=pw psql -p 5433 -U primero -d primero_live -c 'SELECT pg_sleep(0.4)'";
    let holds = "trap 'exit 0' TERM; while :; do sleep 3600 | psql -h postgres -p 5433 -U other -d postgres -qX & \
                 wait $$!; done";
    format!(
        "services:\n  postgres:\n    user: postgres\n    volumes: ['./initdb.d:/docker-entrypoint-initdb.d:ro']\n    \
         healthcheck: {{test: [CMD-SHELL, \"{check}\"], interval: 1s}}\n  \
         exporter:\n    image: pgscript-test/app:1\n    depends_on: [postgres]\n    \
         labels: {{pgscript.test.stack: {}}}\n    environment: {{PGPASSWORD: other}}\n    \
         command: [bash, -c, \"{holds}\"]\n{}{}",
        stack.name,
        rare("application", application),
        rare("worker", application)
    )
}

/// Empty where the image of the server has no pg_cron, as those of a registry.
fn scheduler() -> &'static str {
    let own = ["run", "--rm", "--network=none", "pgscript-test/postgres:13", "sh", "-c"];
    let found = docker(&[&own[..], &["ls $(pg_config --sharedir)/extension/pg_cron.control || :"]].concat());
    let settings = ", -c, shared_preload_libraries=pg_cron, -c, cron.database_name=primero_live, \
                    -c, cron.use_background_workers=on";
    if found.is_empty() { "" } else { settings }
}

/// One deployment has all of these:
/// - a scheduler inside the server: it neither counts as a stranger, nor runs while data is dumped and compared, and
///   afterwards it is there again, on the old server as well (background-writer);
/// - an application that opens a connection for each of its rare requests, beside a health check that opens one each
///   second, and somebody else who holds one: none is taken for the other (no-session, healthcheck-session), and the
///   upgrade is not done while each login of the application is refused (false-done);
/// - a password that is asked for on 127.0.0.1, as the image advises, and on the socket (auth-host-scram);
/// - a user who is not root, another port, a database renamed since, and names of Compose v1;
/// - what nothing brings along, what is no difference although it looks like one, and roles that the image makes
///   (silent-in-dump, keyword-name, stale-matview, role-made-by-image).
#[test]
fn background_writer_no_session_false_done_auth_host_scram_other_user_port_database_and_silent_in_dump() {
    let options = ["--seed", "none", "--password", "pw", "--names", "v1", "--initdb-args", "--auth-host=scram-sha-256"];
    let (scheduler, other) = (scheduler(), "CREATE ROLE other LOGIN PASSWORD 'other'");
    let stack = misled(&options, &format!("    command: [postgres, -p, \"5433\"{scheduler}]\n"), other);
    stack.sql("primero_production", "CREATE TABLE cases AS SELECT i FROM generate_series(1, 1000) i");
    let awkward = Awkward::in_cluster_of(&stack);
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'";
    if !scheduler.is_empty() {
        let tick = "CREATE EXTENSION pg_cron; SELECT cron.schedule('tick', '* * * * *', 'UPDATE cases SET i = i')";
        stack.sql("primero_production", tick);
    }
    let works = |is_so: &str| assert!(scheduler.is_empty() || stack.sql("postgres", workers) == "1", "{is_so}");
    let rules = "sed -i 's/^local \\(.*\\)trust/local \\1md5/' \"$PGDATA/pg_hba.conf\"";
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c", rules]);
    stack.notes("socket_password=pw");
    with_override(&stack, &all_at_once(&stack, ""));
    let name = format!("{}_postgres_1", stack.name);
    let before = Before::containers_of(&stack);
    stack.inventory_version(17);
    // Nor is the scheduler of the server on which the schema is tried in the way.
    run(&mut stack.checks(17, "schema", &[])).expect(0, &["ready"]);
    let anew = "starts no background workers (pg_cron launcher)";
    // At other instants: `tests/simulated`.
    let killed_at = if cfg!(feature = "full-matrix") { &["$ pg_dumpall", "compare old and new"][..] } else { &[] };
    for text in killed_at {
        let mut killed = Watched::start(stack.upgrade_command(17, &[]));
        killed.until(text);
        killed.kill();
        stack.rollback().expect(0, &["is rolled back"]);
        before.is_back(&stack);
        works("after a kill");
    }
    for &strategy in BOTH {
        is_refused_a_login(&stack, strategy);
        stack.writes();
        works("after a failure");
        let done = is_upgraded(&stack, strategy).expect(0, &[&name, "primero logs in with its password"]);
        assert_eq!(stack.inspect("postgres", "{{.Name}}"), format!("/{name}"), "{strategy}");
        awkward.is_told_and_kept(&stack, &done.text);
        works("on the new server");
        if !scheduler.is_empty() {
            assert_eq!(done.text.contains(anew), strategy == "strategy=dump", "{}", done.text);
            let most = "SELECT setting FROM pg_settings WHERE name = 'max_worker_processes'";
            assert_eq!(stack.sql("postgres", most), "8", "{strategy}");
            // Where it was, though a newer pg_cron is created elsewhere.
            let schema = "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
                          WHERE extname = 'pg_cron'";
            assert_eq!(stack.sql("primero_production", schema), "public", "{strategy}");
        }
        stack.rollback().expect(0, &["is rolled back"]);
        assert_eq!(stack.inspect("postgres", "{{.Name}}"), format!("/{name}"), "{strategy}");
        stack.writes();
        works("on the old server");
    }
}

/// Whoever deploys has given the application another password than the server has: that is not done.
#[track_caller]
fn is_refused_a_login(stack: &Stack, strategy: &str) {
    let mut upgrade = Watched::start(stack.upgrade_command(17, &["--set", strategy, "--set", "application_wait=15"]));
    upgrade.until("put the old server aside");
    let file = stack.dir.join("docker-compose.override.yml");
    std::fs::write(&file, all_at_once(stack, "\n    environment: {POSTGRES_PASSWORD: wrong}")).unwrap();
    let said = ["error[stack.application_not_connected]", "authentication failed for user \"primero\""];
    let failed = upgrade.end().expect(1, &said);
    std::fs::write(&file, all_at_once(stack, "")).unwrap();
    stack.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
}

/// An application that takes longer to be healthy than the run waits: going on goes on waiting, without starting it
/// again; a health check that says how long it may take is waited for.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
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
    stack.rollback().expect(0, &["is rolled back"]);

    stack.inventory_version_from(17, 13);
    with_override(&stack, &slow(", start_period: 60s"));
    stack.inventory_version(17);
    stack.upgrade(17, &few).expect(0, &["is done", "-application-1 is starting"]);
    stack.writes();
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
    let back = stack.rollback().expect(0, &["is rolled back"]);
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
fn mount_into_pgdata_no_password_given_and_time_zone() {
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
}
