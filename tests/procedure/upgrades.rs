//! The whole way, between majors. From 13 to 15 goes `plan`, from 15 to 17 by a copy goes `rehearsal`, from 13 to 18 by
//! a copy goes `faults::fence`.

use std::collections::BTreeMap;

use crate::stack::{Run, SMALL, Stack, run};

const AUTO: &str = "strategy=auto";
pub const BY_A_COPY: &str = "pg_upgrade: a copy can follow the server";

/// A stack that is about to be upgraded, deployed by a command. `plan` and `recovery` have Ansible.
fn prepared(from: u32, to: u32) -> Stack {
    let stack = Stack::with(from, SMALL);
    stack.inventory_version(to);
    stack.deploy_by_command();
    stack
}

/// By a copy that follows and is upgraded; old and new server are compared at that level.
fn upgrade_by_copy(stack: &Stack, from: u32, to: u32, level: &str, said: &str) {
    let compare = format!("compare={level}");
    upgrade_stack(stack, from, to, &["--set", AUTO, "--set", &compare]).expect(0, &[BY_A_COPY, said]);
}

fn upgrade_stack(stack: &Stack, from: u32, to: u32, args: &[&str]) -> Run {
    Held::by(stack).goes_on(from, to, stack.upgrade(to, args))
}

/// What a stack holds before its upgrade, and how it is kept up.
pub struct Held<'s> {
    stack: &'s Stack,
    content: BTreeMap<String, String>,
    beats: u64,
    policy: String,
}

impl<'s> Held<'s> {
    pub fn by(stack: &'s Stack) -> Self {
        let policy = stack.inspect("postgres", "{{.HostConfig.RestartPolicy.Name}}");
        Self { stack, content: stack.content(), beats: stack.heartbeats(), policy }
    }

    /// The upgrade is done: all is there, the application writes, what is kept is private, and is cleaned up.
    #[track_caller]
    pub fn goes_on(&self, from: u32, to: u32, said: Run) -> Run {
        let Self { stack, content, beats, policy } = self;
        let said = said.expect(0, &["= ", "logs in with its password"]);
        assert_eq!(stack.major(), to.to_string());
        assert_eq!(&stack.content(), content);
        assert!(stack.heartbeats() >= *beats, "heartbeats were lost");
        stack.writes();
        for service in ["postgres", "application", "worker", "nginx"] {
            assert_eq!(&stack.inspect(service, "{{.HostConfig.RestartPolicy.Name}}"), policy, "{service}");
        }
        stack.no_helpers_left();
        let artefacts = stack.artefacts();
        private(&artefacts);
        let kept = stack.kept_volumes();
        assert!(kept.len() == 1 && kept[0].starts_with(&format!("{}_pg{from}_upgrade-", stack.volume)), "{kept:?}");
        let newest = kept[0].rsplit_once('_').unwrap().1;
        stack.cleanup_of(newest).expect(0, &["Removed"]);
        assert!(!artefacts.exists());
        assert_eq!(stack.kept_volumes(), Vec::<String>::new());
        stack.no_helpers_left();
        said
    }
}

/// Everything below is 0600 or, a directory, 0700.
pub fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::symlink_metadata(path).unwrap();
    let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(meta.permissions().mode() & 0o777, wanted, "{}", path.display());
    if meta.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|e| private(&e.unwrap().path()));
    }
}

/// Settings, rules and files of a cluster, which come along by either strategy; what the new version does not know is
/// named.
struct Configured<'s> {
    stack: &'s Stack,
    before: [String; 2],
}

impl<'s> Configured<'s> {
    const QUESTIONS: [&'static str; 2] = [
        "SELECT string_agg(setting, '|' ORDER BY name) FROM pg_settings
         WHERE name IN ('max_connections', 'log_line_prefix', 'track_activity_query_size')",
        "SELECT string_agg(concat_ws(' ', type, address, auth_method), '|') FROM pg_hba_file_rules",
    ];

    fn cluster_of(stack: &'s Stack) -> Self {
        stack.sql("postgres", "ALTER SYSTEM SET max_connections = 123");
        stack.sql("postgres", "ALTER SYSTEM SET operator_precedence_warning = on");
        stack.sql("postgres", "ALTER SYSTEM SET log_line_prefix = '%m it''s %u '");
        let files = "cd \"$PGDATA\" && echo 'track_activity_query_size = 4096' >> postgresql.conf && \
                     { echo 'host all all 10.9.0.0/16 reject'; cat pg_hba.conf; } > /tmp/hba && \
                     cat /tmp/hba > pg_hba.conf && \
                     echo 'map root primero' >> pg_ident.conf";
        stack.docker(&["exec", &stack.container("postgres"), "sh", "-ec", files]);
        stack.docker(&["restart", &stack.container("postgres")]);
        stack.writes();
        // And a time zone that the new image lacks.
        stack.sql("primero_production", "CREATE VIEW office_time AS SELECT now() AT TIME ZONE 'US/Eastern' AS t");
        let before = Self::QUESTIONS.map(|sql| stack.sql("postgres", sql));
        assert!(before[0].contains("it's") && before[1].contains("10.9.0.0 reject"), "{before:?}");
        Self { stack, before }
    }

    #[track_caller]
    fn came_along(&self, said: &str) {
        for words in [
            "does not know, and that are left out",
            "operator_precedence_warning = on",
            "primero_production: view public.office_time names 'US/Eastern'",
        ] {
            assert!(said.contains(words), "{words:?} was not said:\n{said}");
        }
        assert_eq!(Self::QUESTIONS.map(|sql| self.stack.sql("postgres", sql)), self.before);
        let map = "SELECT count(*) FROM pg_ls_dir(current_setting('data_directory')) f WHERE f = 'pg_ident.conf'";
        assert_eq!(self.stack.sql("postgres", map), "1");
    }
}

#[test]
fn from_13_to_17_without_config_lost_and_analyze_one_by_one() {
    let stack = prepared(13, 17);
    let configured = Configured::cluster_of(&stack);
    let said = upgrade_stack(&stack, 13, 17, &[]).text;
    configured.came_along(&said);
    assert!(!said.contains("<<< \"ANALYZE"), "{said}");
    // A first, coarse stage before the application starts, the rest while it runs: of all databases at the same time.
    let (outage, after) = said.split_once(" start the application").unwrap();
    for part in [outage, after] {
        let gathered: Vec<_> = part.lines().filter(|line| line.ends_with(" sessions)")).collect();
        let is_of_all = |line: &&str| line.contains("primero_production") && line.contains("template1");
        assert!(gathered.len() == 1 && gathered.iter().all(is_of_all), "{gathered:?}");
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn from_15_to_17_with_locales_of_icu() {
    let stack = prepared(15, 17);
    let database = "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C'";
    stack.sql("postgres", database);
    stack.sql("icu", "CREATE COLLATION \"Num's\" (PROVIDER = icu, LOCALE = 'en-u-kn-true', DETERMINISTIC = false)");
    upgrade_stack(&stack, 15, 17, &[]);
    let spelt = "SELECT datlocale FROM pg_database WHERE datname = 'icu'
                 UNION ALL SELECT colllocale FROM pg_collation WHERE oid >= 16384";
    assert_eq!(stack.sql("icu", spelt), "de-u-kn-true\nen-u-kn-true");
}

#[test]
fn from_13_to_17_by_a_copy_with_removed_setting_and_back() {
    let stack = prepared(13, 17);
    let configured = Configured::cluster_of(&stack);
    // So would a role's setting be unknown, which a restore would stumble over.
    stack.sql("postgres", "ALTER ROLE primero SET operator_precedence_warning = on");
    let mend = "ALTER ROLE primero RESET operator_precedence_warning;";
    let settings = ["ROLE primero: operator_precedence_warning", mend];
    run(&mut stack.checks(17, "role_settings", &[])).expect(3, &settings);
    stack.sql("postgres", mend);
    let before = stack.content();
    let unseen = "not looked at: what is in the rows, and in large objects";
    let said = stack.upgrade(17, &["--set", AUTO, "--set", "compare=counts"]).expect(0, &[BY_A_COPY, unseen]);
    assert_eq!((stack.major(), stack.content()), ("17".to_owned(), before.clone()));
    configured.came_along(&said.text);
    stack.sql("postgres", "ALTER SYSTEM RESET max_connections");
    stack.writes();
    stack.rollback().expect(0, &["is rolled back"]);
    assert_eq!((stack.major(), stack.content()), ("13".to_owned(), before));
    assert_eq!(stack.sql("postgres", "SELECT count(*) FROM pg_replication_slots"), "0");
    if cfg!(feature = "full-matrix") {
        // The look at its settings was a run as well.
        stack.cleanup_of("upgrade-2").expect(0, &["Removed"]);
        upgrade_by_copy(&stack, 13, 17, "auto", "compared: catalogs and all rows");
    }
}

/// By its name the log is left out of a comparison of these tests, whose own sessions write to it.
const LOGIN_TRIGGER: &str = "
    CREATE SCHEMA logins; CREATE TABLE logins.heartbeat (at timestamptz, app text);
    CREATE FUNCTION on_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO logins.heartbeat VALUES (now(), current_setting('application_name')); END $$;
    CREATE EVENT TRIGGER logins ON login EXECUTE FUNCTION on_login();
    ALTER EVENT TRIGGER logins ENABLE ALWAYS;";

/// A limit of the database that a dump can't keep to. Where the old minor release stores `pg_attver`, which 18 does not
/// know, its own pg_dump leaves it out. Sessions of ours wake no trigger; those of others are shut out when the servers
/// are looked at.
#[test]
fn transaction_timeout_of_a_database_pg_attver_and_login_trigger_writes() {
    let stack = prepared(17, 18);
    let stored = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver=%')";
    let stored = stack.sql("postgres", stored);
    // Not the application's own, which a busy machine would shut out.
    stack.sql("postgres", "CREATE DATABASE limited");
    stack.sql("limited", "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 3) AS v FROM generate_series(1, 200000) i");
    stack.sql("postgres", "ALTER DATABASE limited SET transaction_timeout = '200ms'");
    stack.sql("primero_production", LOGIN_TRIGGER);
    let said = upgrade_stack(&stack, 17, 18, &[]);
    assert_eq!(said.text.contains("would write the column option pg_attver"), stored == "t", "{}", said.text);
}

/// The image of 18 keeps its cluster in a directory of its major, one level below the mount.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn from_13_to_18() {
    upgrade_stack(&prepared(13, 18), 13, 18, &[]);
}
