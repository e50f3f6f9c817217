//! What the preflight finds, days before the outage: all checks are made, each with a verdict of its own, in one table.

use std::collections::BTreeSet;
use std::process::Command;

use super::before::Before;
use super::objects::Variant;
use crate::disk::SmallDisk;
use crate::stack::{Looked, Stack};

/// What it found with these checks alone (all of them where none is named), and what they need.
#[track_caller]
fn look(stack: &Stack, to: u32, checks: &str, further: &[&str]) -> Looked {
    Looked::by(&mut command(stack, to, checks, further))
}

fn command(stack: &Stack, to: u32, checks: &str, further: &[&str]) -> Command {
    let mut command = stack.checks(to, checks, further);
    command.args(["--format", "json"]);
    command
}

/// The checks that were seen to find something.
#[derive(Default)]
struct Fired(BTreeSet<String>);

impl Fired {
    #[track_caller]
    fn by(&mut self, looked: &Looked, id: &str, verdict: &str, words: &[&str]) {
        looked.finds(id, verdict, words);
        self.0.insert(id.to_owned());
    }

    /// One check alone, with these parameters.
    #[track_caller]
    fn alone(&mut self, stack: &Stack, to: u32, id: &str, set: &[&str], verdict: &str, words: &[&str]) {
        self.all(&look(stack, to, id, set), &[(id, verdict, words)]);
    }

    /// Checks that were made in one look.
    #[track_caller]
    fn all(&mut self, looked: &Looked, findings: &[Finding<'_>]) {
        findings.iter().for_each(|(id, verdict, words)| self.by(looked, id, verdict, words));
    }
}

/// A check, its verdict, and what it says among other things.
type Finding<'a> = (&'a str, &'a str, &'a [&'a str]);

/// A container of nobody's project; it goes with the stack.
fn stranger(stack: &Stack, name: &str, options: &[&str]) -> String {
    let (name, label) = (format!("{}-{name}", stack.name), format!("pgscript.test.stack={}", stack.name));
    let begin = ["run", "--detach", "--name", &name, "--label", &label];
    let end = ["pgscript-test/app:1", "idle.sh"];
    stack.docker(&[&begin, options, &end].concat());
    name
}

/// Every check finds what it is there for, and nothing where there is nothing.
#[test]
fn each_check_fires_and_does_not() {
    let mut fired = Fired::default();
    let calm = Stack::with(17, &["--seed", "none"]);
    calm.deploy_by_command();
    let before = Before::containers_of(&calm);
    calm.inventory_version(18);
    let looked = look(&calm, 18, "", &[]);
    let findings = looked.findings();
    let all: BTreeSet<_> = findings.iter().map(|one| one.0.to_owned()).collect();
    // The compose file mounts the volume where 17 has its cluster, which has no checksums.
    let of_18 = ["mount", "checksums"];
    let odd: Vec<_> = findings.iter().filter(|one| one.1 != "fine" && !of_18.contains(&one.0)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    fired.by(
        &looked,
        "mount",
        "warned",
        &["keeps its cluster in /var/lib/postgresql/18/docker", "in the compose file"],
    );
    fired.by(&looked, "checksums", "warned", &["will have data checksums"]);
    before.is_untouched(&calm);

    let stack = Stack::with(13, &["--seed", "none"]);
    stack.deploy_by_command();
    let before = Before::containers_of(&stack);
    by_parameters(&stack, &mut fired);
    by_neighbours(&stack, &mut fired);
    by_what_the_cluster_holds(&stack, &mut fired);
    before.is_untouched(&stack);
    by_the_server(&stack, &mut fired);
    let missing: Vec<_> = all.difference(&fired.0).collect();
    assert!(missing.is_empty(), "not seen to find anything: {missing:?}");
    if let Ok(path) = std::env::var("PGSCRIPT_TEST_CHECKS") {
        std::fs::write(path, all.len().to_string()).unwrap();
    }
}

fn by_parameters(stack: &Stack, fired: &mut Fired) {
    fired.alone(stack, 13, "version", &[], "blocked", &["[preflight.not_newer]", "PostgreSQL 13 already"]);
    fired.alone(stack, 17, "outage", &["outage_minutes=0"], "warned", &["and may be for 0 min", "rehearse.rhai"]);
    fired.alone(stack, 17, "stack", &["project=elsewhere"], "blocked", &["[stack.not_found]", "elsewhere"]);
    let open = stack.dir.join("open");
    std::fs::create_dir(&open).unwrap();
    std::os::unix::fs::chown(&open, Some(1234), None).unwrap();
    let base = format!("base={}", open.display());
    let set = [
        "backup=no",
        "keep_volume=no",
        "deploy=ansible",
        "ansible_limit=nobody",
        "strategy=dump",
        "compare=files",
        &base,
    ];
    let ids = "mount,checksums,way_back,deploy,comparison,password,artefacts";
    let mut with_password = command(stack, 17, ids, &set);
    let looked = Looked::by(with_password.env("PGSCRIPT_PASSWORD", "surely-not-this-one"));
    looked.finds("mount", "fine", &[]).finds("checksums", "fine", &[]);
    fired.all(
        &looked,
        &[
            ("way_back", "blocked", &["no way back"]),
            ("deploy", "blocked", &["[ansible.no_hosts]"]),
            ("comparison", "blocked", &["[verify.level]", "--set compare=counts"]),
            ("password", "blocked", &["[primero.wrong_password]"]),
            ("artefacts", "blocked", &["[host.not_private]", "chown"]),
        ],
    );
    let disk = SmallDisk::at(stack.dir.join("disk"), 16 << 10);
    let base = format!("base={}", disk.0.join("artefacts").display());
    let looked = look(stack, 17, "image,room", &["image=pgscript-test/postgres:15", &base]);
    fired.by(&looked, "image", "blocked", &["has PostgreSQL 15, not 17"]);
    fired.by(&looked, "room", "blocked", &["[preflight.space]", "MB free at"]);

    let broken = Variant::of(stack, "broken", "ENTRYPOINT [\"sh\", \"-c\", \"echo FATAL: no; exit 1\"]");
    // What asks the image for its version comes past its entry point.
    let image = format!("image={}", broken.0);
    fired.alone(stack, 17, "trial", &[&image], "blocked", &["[preflight.trial_start]", "FATAL: no"]);
    stack.sql("primero_production", "CREATE EXTENSION pg_trgm");
    let without = Variant::of(stack, "without-pg-trgm", "RUN find / -xdev -name pg_trgm.control -delete");
    let image = format!("image={}", without.0);
    let said = ["[preflight.missing_on_target]", "extension pg_trgm (database primero_production)"];
    fired.alone(stack, 17, "extensions", &[&image], "blocked", &said);
}

fn by_neighbours(stack: &Stack, fired: &mut Fired) {
    let database = stack.container("postgres");
    let updater = stranger(stack, "watchtower", &[]);
    let inside = stranger(stack, "inside", &["--network", &format!("container:{database}")]);
    let holder = stranger(stack, "holder", &["--volume", &format!("{}:/data:ro", stack.volume)]);
    let near = stranger(stack, "near", &["--network", &format!("{}_default", stack.name)]);
    let by_hand = format!("{}_byhand", stack.name);
    let label = format!("pgscript.test.stack={}", stack.name);
    stack.docker(&["network", "create", "--label", &label, &by_hand]);
    stack.docker(&["network", "connect", &by_hand, &database]);
    fired.all(
        &look(stack, 17, "bystanders,network,ownership,clients,labels", &[]),
        &[
            ("bystanders", "warned", &[&updater, "docker stop"]),
            ("network", "blocked", &["[preflight.shared_network]", &inside]),
            ("ownership", "blocked", &["[preflight.shared_volume]", &holder]),
            ("clients", "warned", &[&near, "No connection within the last minute"]),
            ("labels", "blocked", &["[preflight.unlabelled]", &by_hand, "external: true"]),
        ],
    );
    stack.docker(&["rm", "--force", &updater, &inside, &holder, &near]);
    stack.docker(&["network", "disconnect", &by_hand, &database]);
    let fence = format!("{}_pgscript_fence", stack.name);
    stack.docker(&["network", "create", "--label", &label, &fence]);
    fired.alone(stack, 17, "unfinished", &[], "blocked", &["[preflight.unfinished]"]);
    stack.docker(&["network", "rm", &by_hand, &fence]);

    let (project, data) = (format!("{}-odd", stack.name), stack.dir.join("bind"));
    let mount = format!("{}:/var/lib/postgresql/data", data.display());
    let label = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
    let (of_project, of_service) = (label("project", &project), label("service", "postgres"));
    let odd = stranger(stack, "odd", &["--label", &of_project, "--label", &of_service, "--volume", &mount]);
    let set = format!("project={project}");
    fired.alone(stack, 17, "volume", &[&set], "blocked", &["[postgres.no_volume]", "bind mount"]);
    stack.docker(&["rm", "--force", &odd]);
}

fn by_what_the_cluster_holds(stack: &Stack, fired: &mut Fired) {
    stack.sql(
        "primero_production",
        "CREATE TABLE notes (note text PRIMARY KEY);
         CREATE VIEW night AS SELECT '2026-01-01'::timestamptz AT TIME ZONE 'US/Eastern' AS it;
         CREATE FUNCTION pf(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
         CREATE OPERATOR !# (LEFTARG = int, PROCEDURE = pf);
         ALTER ROLE primero SET operator_precedence_warning = on;
         ALTER SYSTEM SET vacuum_cleanup_index_scale_factor = 0.2;
         SELECT pg_reload_conf(), pg_replication_origin_create('elsewhere');",
    );
    let ids = "md5,transactions,objects,settings,role_settings,collations,time_zones,schema";
    let held = "BEGIN; SELECT 1; SELECT pg_sleep(60);";
    let mut holder = super::client(stack, &["--rm", "--detach"], held);
    assert!(holder.status().unwrap().success());
    let looked = look(stack, 17, ids, &["strategy=auto", "transaction_minutes=0"]);
    let of_role =
        ["ROLE primero: operator_precedence_warning", "ALTER ROLE primero RESET operator_precedence_warning;"];
    fired.all(
        &looked,
        &[
            ("md5", "warned", &["primero", "\\password"]),
            ("transactions", "warned", &["has been open for", "pg_terminate_backend"]),
            ("objects", "warned", &["replication origin"]),
            ("settings", "warned", &["vacuum_cleanup_index_scale_factor"]),
            ("role_settings", "blocked", &of_role),
            ("collations", "warned", &["public.notes_pkey"]),
            ("time_zones", "warned", &["view public.night names 'US/Eastern'"]),
            ("schema", "blocked", &["[preflight.schema]", "OPERATOR !#"]),
        ],
    );
    looked.run.expect(3, &["preflight.blocked", "2 things are in the way"]);
    with_a_foreign_table(stack, fired);
}

/// mv-foreign: through a view and a partition; one of a file can be read anywhere.
fn with_a_foreign_table(stack: &Stack, fired: &mut Fired) {
    stack.sql(
        "primero_production",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE line (line text) SERVER files OPTIONS (filename '/etc/hostname');
         CREATE MATERIALIZED VIEW lines AS SELECT * FROM line;",
    );
    look(stack, 17, "matviews", &["strategy=dump"]).finds("matviews", "fine", &[]);
    stack.sql(
        "primero_production",
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'elsewhere');
         CREATE TABLE of_all (n int) PARTITION BY RANGE (n);
         CREATE FOREIGN TABLE of_far PARTITION OF of_all FOR VALUES FROM (0) TO (9) SERVER far;
         CREATE VIEW in_between AS SELECT n FROM of_all;
         CREATE MATERIALIZED VIEW \"all of it\" AS SELECT n FROM in_between WITH NO DATA;
         CREATE EXTENSION dblink; CREATE VIEW linked AS
             SELECT n FROM dblink('host=also-elsewhere password=' || 'a', 'SELECT 1') AS t (n int);
         CREATE MATERIALIZED VIEW of_linked AS SELECT n FROM linked WITH NO DATA;
         CREATE MATERIALIZED VIEW nearby AS
             SELECT n FROM dblink('user=primero dbname=' || current_database(), 'SELECT 1') AS t (n int);
         UPDATE pg_class SET relispopulated = true WHERE relname IN ('all of it', 'of_linked');",
    );
    look(stack, 17, "matviews", &["strategy=pg_upgrade"]).finds("matviews", "fine", &[]);
    stack.sql("primero_production", "CREATE DATABASE \"two\nlines\"");
    stack.sql(
        "primero_production",
        "SELECT pg_create_physical_replication_slot('s' || n) FROM generate_series(1, 10) n",
    );
    let foreign = [
        "[preflight.matviews]",
        "reads elsewhere (server far)",
        r#"REFRESH MATERIALIZED VIEW public."all of it" WITH NO DATA;"#,
        "public.of_linked of database primero_production reads also-elsewhere (dblink)",
    ];
    let name = ["[preflight.names]", r#""two\nlines""#, r#"ALTER DATABASE U&"two\000alines" RENAME TO newname;"#];
    fired.all(
        &look(stack, 17, "names,obstacles,matviews", &["strategy=dump"]),
        &[
            ("names", "blocked", &name),
            ("obstacles", "blocked", &["[preflight.obstacles]", "10 replication slot(s)"]),
            ("matviews", "blocked", &foreign),
        ],
    );
    let said = ["[preflight.strategy]", "max_replication_slots leaves none"];
    fired.alone(stack, 17, "strategy", &["strategy=pg_upgrade"], "blocked", &said);
    stack.sql("primero_production", r#"DROP DATABASE U&"two\000alines""#);
}

/// What takes the server down for a moment.
fn by_the_server(stack: &Stack, fired: &mut Fired) {
    let database = stack.container("postgres");
    stack.sql(
        "primero_production",
        "CREATE TABLE damaged AS SELECT n, repeat('x', 500) AS t FROM generate_series(1, 100) n; CHECKPOINT;",
    );
    let path = stack.sql("primero_production", "SELECT pg_relation_filepath('damaged')");
    // As much as there is: nothing of it is taken before it is used.
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap().trim().replace(' ', "");
    stack.sql("primero_production", &format!("ALTER SYSTEM SET shared_buffers = '{available}'"));
    stack.docker(&["stop", &database]);
    fired.alone(stack, 17, "server", &[], "blocked", &["[preflight.not_running]", "docker start"]);
    let break_page = format!(
        "pg_checksums --enable -D $PGDATA >/dev/null && printf broken | \
         dd of=$PGDATA/{path} bs=1 seek=12000 conv=notrunc status=none"
    );
    let image = "pgscript-test/postgres:13";
    let own = ["run", "--rm", "--user", "postgres", "--volumes-from", &database, "--entrypoint", "sh", image];
    stack.docker(&[&own[..], &["-c", &break_page]].concat());
    stack.docker(&["start", &database]);
    stack.writes();
    let read = "DO $$ BEGIN PERFORM count(t) FROM public.damaged; EXCEPTION WHEN OTHERS THEN END $$";
    stack.sql("primero_production", read);
    // The statistics collector tells of it a moment later.
    stack.sql("primero_production", "SELECT pg_sleep(1)");
    let looked = look(stack, 17, "damage,memory", &[]);
    fired.by(&looked, "damage", "blocked", &["[preflight.damaged]", "primero_production: 1 pages"]);
    fired.by(&looked, "memory", "warned", &["shared_buffers of"]);
}

/// A stack of the version with what the test makes, and what the checks say of it.
#[track_caller]
fn says(major: u32, sql: &str, checks: &str, further: &[&str], findings: &[(&str, &str, &[&str])]) {
    let stack = Stack::with(major, &["--seed", "none"]);
    stack.deploy_by_command();
    stack.sql("primero_production", sql);
    let before = Before::containers_of(&stack);
    let looked = look(&stack, 17, checks, further);
    for (id, verdict, words) in findings {
        looked.finds(id, verdict, words);
    }
    before.is_untouched(&stack);
}

/// What the new version has no more is named with the object that needs it, and with what to type. In the same way a C
/// function of a library that the new image lacks (preload).
#[test]
fn gone_functions() {
    let sql = "
        CREATE ROLE backup; GRANT EXECUTE ON FUNCTION pg_start_backup(text, bool, bool) TO backup;
        CREATE EXTENSION adminpack;
        CREATE EXTENSION pg_stat_statements; CREATE ROLE monitoring;
        GRANT EXECUTE ON FUNCTION pg_stat_statements_reset(oid, oid, bigint) TO monitoring;
        CREATE AGGREGATE array_accum(anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}');
        CREATE FUNCTION pf(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
        CREATE OPERATOR !# (LEFTARG = int, PROCEDURE = pf);
        CREATE VIEW five_factorial AS SELECT 5 ! AS f;
        CREATE FUNCTION gone(text) RETURNS bool LANGUAGE c STRICT AS '$libdir/adminpack', 'pg_file_unlink_v1_1';";
    let words: &[&str] = &[
        "ACL FUNCTION \"pg_start_backup\"",
        "REVOKE ALL ON FUNCTION",
        "backup",
        "monitoring",
        "AGGREGATE array_accum(",
        "OPERATOR !#",
        "VIEW five_factorial",
        "in database primero_production: change or drop VIEW five_factorial",
        "FUNCTION gone(",
    ];
    let missing: &[&str] = &["extension adminpack (database primero_production)", "DROP EXTENSION adminpack;"];
    let findings = [("schema", "blocked", words), ("extensions", "blocked", missing)];
    says(13, sql, "schema,extensions", &[], &findings);
}

/// A library that sessions of a role or a database load and the new image lacks, also where today's lacks it, too; a
/// collation of a locale that the new image lacks; a role that no UTF8 database can spell.
#[test]
fn preload_and_missing_collation() {
    let sql = "
        CREATE ROLE reporting LOGIN; ALTER ROLE reporting SET session_preload_libraries = 'adminpack';
        CREATE COLLATION site_german (LOCALE = 'en_US.utf8');
        UPDATE pg_collation SET collcollate = 'de_DE.utf8', collctype = 'de_DE.utf8' WHERE collname = 'site_german';";
    let library: &[&str] = &["ROLE reporting", "session_preload_libraries", "adminpack", "RESET"];
    let collation: &[&str] = &["COLLATION site_german", "de_DE.utf8"];
    let findings = [("role_settings", "blocked", library), ("schema", "blocked", collation)];
    says(15, sql, "schema,role_settings", &[], &findings);

    let sql = "
        CREATE DATABASE site_two; ALTER DATABASE site_two SET session_preload_libraries = 'nonexistent';
        CREATE DATABASE legacy TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
        \\connect legacy
        DO $$ BEGIN EXECUTE E'CREATE ROLE \"andr\\xe9\" LOGIN'; END $$;";
    let library: &[&str] = &["DATABASE site_two", "session_preload_libraries", "nonexistent"];
    let name: &[&str] = &["[preflight.names]", "andr"];
    let findings = [("role_settings", "blocked", library), ("names", "blocked", name)];
    says(15, sql, "names,role_settings", &[], &findings);
}

/// A database of which a DROP DATABASE was cut off is named, with the cure.
#[test]
fn invalid_database() {
    let sql = "CREATE DATABASE half; UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half';";
    says(15, sql, "obstacles", &[], &[("obstacles", "blocked", &["half", "DROP DATABASE"])]);
}
