//! What a cluster holds, asked of real servers: compared, and what was written since.

use pgscript::world::content::{
    Beside, Comparison, Content, Definition, Level, Reader, WrittenTable, compare, written_since,
};

use super::*;

const PRODUCTION: &str = "primero_production";

/// Has definitions read by a server.
struct ReadBy<'a>(&'a Stage, &'a Server);

impl Reader for ReadBy<'_> {
    fn written(
        &self,
        database: &str,
        definitions: &[Definition],
    ) -> Result<Vec<Option<String>>, pgscript::world::Error> {
        self.0.pg().written(self.1, database, definitions)
    }
}

impl Stage {
    pub fn look(&self, server: &Server) -> Content {
        self.pg().content(server, Level::Content, 2).unwrap()
    }

    /// What differs, as the newer server reads the definitions.
    pub fn compared(&self, before: &Content, after: &Content, server: &Server) -> Comparison {
        let beside = Beside { reader: Some(&ReadBy(self, server)), ..Beside::default() };
        compare(before, after, beside).unwrap()
    }

    fn differences(&self, before: &Content, server: &Server) -> Vec<String> {
        let found = self.compared(before, &self.look(server), server);
        found.differences.iter().map(ToString::to_string).collect()
    }
}

/// A session in the application's database that stays.
struct Session {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Session {
    fn open(server: &Server) -> Self {
        let mut child = Command::new("docker")
            .args(["exec", "-i", &server.container, "psql", "-XqAtU", USER, PRODUCTION])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let answers = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// Runs statements that give no rows.
    fn run(&mut self, sql: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{sql}\n\\echo done").unwrap();
        let mut answer = String::new();
        std::io::BufRead::read_line(&mut self.answers, &mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What counting must heed: rows of a parent are not those of its children, those of a materialized view are others',
/// and what belongs to one session goes with it.
const AWKWARD: &str = r#"
    CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);
    CREATE TABLE split (a int) PARTITION BY RANGE (a);
    CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (10);
    INSERT INTO split VALUES (1), (2);
    CREATE MATERIALIZED VIEW filled AS SELECT * FROM parent;
    CREATE MATERIALIZED VIEW empty AS SELECT * FROM parent WITH NO DATA;
    CREATE SCHEMA "it's"; CREATE TABLE "it's"."a :'b' %L \gexec" (a int);
    CREATE SEQUENCE never_called;
    SELECT lo_create(0);"#;

#[test]
fn all_that_a_cluster_holds_is_counted() {
    let stage = Stage::new();
    for major in [13, 17] {
        let server = stage.server(major);
        stage.site(&server, PRODUCTION, AWKWARD);
        let mut session = Session::open(&server);
        session.run("CREATE TEMP SEQUENCE passing; CREATE TEMP TABLE passed AS SELECT 1;");
        let content = stage.look(&server);
        assert_eq!((content.server_major, &content.container), (major, &server.container));
        let number = "SELECT system_identifier::text AS n FROM pg_control_system()";
        let rows = stage.pg().query(&server, "postgres", number, &[]).unwrap();
        assert_eq!(rows[0]["n"], content.system_identifier);
        assert_eq!(content.databases.keys().collect::<Vec<_>>(), ["postgres", PRODUCTION, "template1"]);
        let production = &content.databases[PRODUCTION];
        let tables: Vec<(&str, u64)> = production.tables.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        let expected =
            [(r#""it's"."a :'b' %L \gexec""#, 0), ("public.child", 2), ("public.parent", 1), ("public.split", 2)];
        assert_eq!(tables, expected);
        assert_eq!((content.tables(), content.rows()), (4, 5));
        let sequences: Vec<_> = production.sequences.iter().collect();
        assert_eq!(sequences, [(&"public.never_called".to_owned(), &"not called, begins with 1".to_owned())]);
        assert_eq!(production.extensions.keys().collect::<Vec<_>>(), ["plpgsql"]);
        assert_eq!(production.large_objects, 1);
        assert!(content.roles["primero"].contains("superuser"), "{:?}", content.roles);
    }
}

/// Where texts are bytes of no encoding, so are names.
#[test]
fn names_of_sql_ascii_stay_apart() {
    let stage = Stage::new();
    let server = stage.server(15);
    stage.site(&server, PRODUCTION, "CREATE DATABASE legacy TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    let sql = r#"DO $$ BEGIN EXECUTE E'CREATE TABLE "caf\xe9" ()'; EXECUTE E'CREATE TABLE "caf\xe8" ()'; END $$"#;
    stage.site(&server, "legacy", sql);
    let content = stage.look(&server);
    let tables: Vec<_> = content.databases["legacy"].tables.keys().collect();
    assert_eq!(tables, ["public.\"caf\u{e8}\"", "public.\"caf\u{e9}\""]);
    let sql = "SELECT relname FROM pg_class WHERE relname ~ '^caf' ORDER BY 1";
    let rows = stage.pg().query(&server, "legacy", sql, &[]).unwrap();
    assert_eq!((&rows[0]["relname"], &rows[1]["relname"]), (&"caf\u{e8}".into(), &"caf\u{e9}".into()));
}

/// Rights on what initdb has made are its superuser's, whatever the name.
#[test]
fn postgres_user_renamed_since() {
    let stage = Stage::new();
    let server = stage.server(15);
    let rights = "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC;
        REVOKE CREATE ON SCHEMA information_schema FROM CURRENT_USER;";
    stage.site(&server, PRODUCTION, rights);
    let before = stage.look(&server);
    stage.site(&server, PRODUCTION, "CREATE ROLE second SUPERUSER LOGIN");
    let renamed = |by: &str, from: &str, to: &str| {
        let sql = format!("ALTER ROLE \"{from}\" RENAME TO \"{to}\"");
        docker(&["exec", &server.container, "psql", "-XqU", by, PRODUCTION, "-c", &sql]);
    };
    renamed("second", USER, "the first");
    renamed("the first", "second", USER);
    let rights = |found: Vec<String>| found.into_iter().filter(|text| text.contains("rights on")).collect::<Vec<_>>();
    assert_eq!(rights(stage.differences(&before, &server)), [""; 0]);
    stage.site(&server, PRODUCTION, "REVOKE USAGE ON SCHEMA information_schema FROM PUBLIC");
    let found = rights(stage.differences(&before, &server));
    let expected = "rights on schema information_schema";
    assert!(found.len() == 1 && found[0].contains(expected) && found[0].contains("(owner)"), "{found:?}");
}

#[test]
fn a_restored_cluster_is_equal_but_for_what_was_recomputed_and_every_loss_is_found() {
    let stage = Stage::new();
    let (from, into) = (stage.seeded(13), stage.server(17));
    // A restore computes what is stored, by a function that was replaced since.
    let computed = "CREATE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.10';
        CREATE TABLE orders (id int PRIMARY KEY, a numeric, f numeric GENERATED ALWAYS AS (fee(a)) STORED);
        INSERT INTO orders (id, a) SELECT i, i FROM generate_series(1, 100) i;
        CREATE OR REPLACE FUNCTION fee(a numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT a * 0.19';";
    stage.site(&from, "solr_meta", computed);
    let before = stage.look(&from);
    assert!(before.tables() >= 5 && before.rows() > 10 && before.roles.len() > 5, "{before:?}");
    let dump = stage.pg().dump(&from, &stage.path("dump"), &options(Format::Directory, Some(17))).unwrap();
    stage.pg().restore(&dump, &into, &restore_options(Some(17))).unwrap();
    let found = stage.compared(&before, &stage.look(&into), &into);
    let found: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    let recomputed = "solr_meta: content of public.orders: not the same (100 rows before and after)";
    assert_eq!(found, [recomputed]);
    // Looking again finds the same, and looking has changed nothing.
    assert_eq!(stage.differences(&before, &from), [""; 0]);

    let mut known = Vec::new();
    let mut loses = |database: &str, sql: &str, words: &str| {
        stage.site(&into, database, sql);
        let found = stage.differences(&before, &into);
        let is_new = |difference: &&String| difference.contains(words) && !known.contains(*difference);
        assert!(found.iter().any(|d| is_new(&d)), "{words}: {found:?}");
        known = found;
    };
    let sql = "DELETE FROM \"Täble\" WHERE id = 3";
    loses(ODD, sql, "Öther \"Db\": rows of public.\"Täble\": 3 before, 2 after");
    loses(ODD, "DROP TABLE \"Täble\"", "Öther \"Db\": table public.\"Täble\": missing");
    let sql = "DROP SEQUENCE seq_called";
    loses(PRODUCTION, sql, "primero_production: sequence public.seq_called: missing");
    let sql = "SELECT setval('seq_not_called', 4)";
    loses(PRODUCTION, sql, "sequence public.seq_not_called: not called, begins with ");
    loses(PRODUCTION, "DROP EXTENSION pg_trgm CASCADE", "primero_production: extension pg_trgm: missing");
    loses(PRODUCTION, "SELECT lo_unlink(70003)", "primero_production: large object 70003: missing");
    loses("postgres", "ALTER ROLE reporting RESET search_path", "setting search_path of role reporting: missing");
    loses("postgres", "REVOKE readers FROM editors", "membership of editors in readers: missing");
    loses("postgres", "DROP ROLE expired", "role expired: missing");
    loses("postgres", "DROP DATABASE nothing_in_it", "database nothing_in_it: missing");
    assert_eq!(stage.differences(&before, &from), [""; 0]);
}

/// From 16 on a locale is spelt otherwise than it was told; what the upgrade does after its restore brings it back.
#[test]
fn locales_of_icu_are_those_of_the_restored_cluster() {
    let stage = Stage::new();
    let (from, into) = (stage.server(15), stage.server(17));
    let database = "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C'";
    stage.site(&from, "postgres", database);
    let collation = "CREATE COLLATION \"Num's\" (PROVIDER = icu, LOCALE = 'en-u-kn-true', DETERMINISTIC = false);
        CREATE TABLE t AS SELECT 1 AS a";
    stage.site(&from, "icu", collation);
    let before = stage.look(&from);
    let dump = stage.pg().dump(&from, &stage.path("dump"), &options(Format::Directory, Some(17))).unwrap();
    stage.pg().restore(&dump, &into, &restore_options(Some(17))).unwrap();
    let spelt_otherwise = stage.differences(&before, &into);
    assert!(spelt_otherwise.len() == 2 && spelt_otherwise[0].contains("de-u-kn-true"), "{spelt_otherwise:?}");
    let script = r#"
        import "postgres" as postgres;
        let server = |name| psql::server(docker::container(param(name)));
        let source = server.call("from");
        let target = server.call("into");
        step("keep", || postgres::keep_as_created(target, postgres::as_created(source), 17));"#;
    fs::write(stage.path("main.rhai"), script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
    command.arg("run").arg(stage.path("main.rhai")).env("PGSCRIPT_STORE", stage.path("store"));
    for (name, server) in [("from", &from), ("into", &into)] {
        command.args(["--set", &format!("{name}={}", server.container_name)]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stage.differences(&before, &into), [""; 0]);
}

#[test]
fn what_was_written_since_is_counted_by_table() {
    let stage = Stage::new();
    for major in [13, 17] {
        let server = stage.server(major);
        let sql = "CREATE TABLE cases AS SELECT g AS id, 0 AS v FROM generate_series(1, 100) g;
                   CREATE TABLE untouched AS SELECT 1 AS a; CREATE TABLE gone AS SELECT 1 AS a;
                   CREATE TABLE cut AS SELECT 1 AS a";
        stage.site(&server, PRODUCTION, sql);
        let before = stage.look(&server);
        assert_eq!(written_since(&before, &stage.look(&server)).tables, []);

        let sql =
            "INSERT INTO cases SELECT g, 0 FROM generate_series(101, 107) g; UPDATE cases SET v = 1 WHERE id <= 5;
                   DELETE FROM cases WHERE id <= 3; CREATE TABLE fresh AS SELECT 1 AS a; DROP TABLE gone;
                   TRUNCATE cut;";
        Session::open(&server).run(sql);
        stage.site(&server, "postgres", "CREATE TABLE elsewhere AS SELECT 1 AS a");
        let written = written_since(&before, &stage.look(&server));
        assert_eq!(written.uncounted, [""; 0]);
        let table = |database: &str, table: &str, rows: [Option<u64>; 2], counted: Option<[u64; 3]>| WrittenTable {
            database: database.into(),
            table: table.into(),
            before: rows[0],
            now: rows[1],
            inserted: counted.map(|c| c[0]),
            updated: counted.map(|c| c[1]),
            deleted: counted.map(|c| c[2]),
        };
        let expected = [
            table("postgres", "public.elsewhere", [None, Some(1)], Some([1, 0, 0])),
            table(PRODUCTION, "public.cases", [Some(100), Some(104)], Some([7, 5, 3])),
            table(PRODUCTION, "public.cut", [Some(1), Some(0)], Some([0, 0, 0])),
            table(PRODUCTION, "public.fresh", [None, Some(1)], Some([1, 0, 0])),
            table(PRODUCTION, "public.gone", [Some(1), None], None),
        ];
        assert_eq!(written.tables, expected, "{major}");
        assert!(!stage.compared(&before, &stage.look(&server), &server).is_equal());
    }
}

#[test]
fn counters_that_a_reset_or_a_crash_took_are_not_believed() {
    let stage = Stage::new();
    for major in [13, 17] {
        let server = stage.server(major);
        stage.site(&server, PRODUCTION, "CREATE TABLE cases AS SELECT 1 AS id");
        let before = stage.look(&server);
        // More than there were before, so that the counters seem to have grown.
        let more = "UPDATE cases SET id = id; UPDATE cases SET id = id; INSERT INTO cases VALUES (2), (3)";
        stage.site(&server, PRODUCTION, "SELECT pg_stat_reset()");
        stage.site(&server, PRODUCTION, more);
        let only_rows = |before: &Content| {
            let written = written_since(before, &stage.look(&server));
            assert!(written.uncounted.contains(&PRODUCTION.to_owned()), "{major}: {written:?}");
            assert_eq!(written.tables.len(), 1, "{major}: {written:?}");
            assert_eq!(written.tables[0].inserted, None);
            (written.tables[0].before, written.tables[0].now)
        };
        assert_eq!(only_rows(&before), (Some(1), Some(3)));

        let before = stage.look(&server);
        docker(&["kill", &server.container]);
        docker(&["start", &server.container]);
        stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
        stage.site(&server, PRODUCTION, &more.repeat(3).replace(")UPDATE", "); UPDATE"));
        assert_eq!(only_rows(&before), (Some(3), Some(9)));

        // A clean stop keeps them.
        let before = stage.look(&server);
        docker(&["restart", &server.container]);
        stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
        stage.site(&server, PRODUCTION, "UPDATE cases SET id = 0");
        let written = written_since(&before, &stage.look(&server));
        assert_eq!((written.tables[0].updated, written.uncounted.len()), (Some(9), 0), "{major}: {written:?}");
    }
}

/// The functions of the language that an operator's script calls.
#[test]
fn a_script_compares_keeps_and_asks_what_was_written() {
    let stage = Stage::new();
    let server = stage.server(17);
    stage.site(&server, PRODUCTION, "CREATE TABLE cases AS SELECT 1 AS id");
    let script = r#"
        import "verify" as verify;
        let name = param("name");
        let dir = param("dir");
        let server = psql::server(docker::container(name));
        let before = psql::content(server);
        ui::say(`tables ${before.tables}, rows ${before.rows}, `
            + `${before.databases.primero_production.tables}, ${before.roles.keys()}`);
        verify::same("the same", before, server.content());
        ui::say(`proven ${psql::compare(before, psql::content(server)).proven}`);
        step("keep", || psql::save_content(before, dir + "/before.json"));
        let kept = psql::load_content(dir + "/before.json");
        // Over a resume both are what they were.
        let found = step("find",
            || #{ asked: psql::content(server), loaded: psql::load_content(dir + "/before.json") });
        step("go on", || if !host::exists(dir + "/go-on") { fail("test.wait", "not yet") });
        ui::say(`asked ${psql::compare(before, found.asked).proven}, `
            + `loaded ${psql::compare(found.loaded, before).proven}`);
        let found = psql::compare(kept, before);
        ui::say(`from a file: ${found.differences}, proven ${found.proven}`);
        step("write", || psql::execute(server, "INSERT INTO public.cases VALUES (2); UPDATE public.cases SET id = 0",
            #{ database: "primero_production" }));
        for w in server.written_since(kept) {
            ui::say(`${w.table}: ${w.before} ${w.now} ${w.inserted} ${w.updated} ${w.deleted}`);
        }
        try { verify::same("another", kept, psql::content(server)); } catch (e) { ui::say(`${e.code}: ${e.message}`); }
        step("empty", || psql::execute(server, "DROP TABLE public.cases", #{ database: "primero_production" }));
        let empty = psql::content(server);
        try { verify::same("nothing", empty, empty); } catch (e) { ui::say(e.code); }
    "#;
    fs::write(stage.path("main.rhai"), script).unwrap();
    let pgscript = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.args(arguments).args(["--format", "json"]).env("PGSCRIPT_STORE", stage.path("store"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let (name, dir) = (format!("name={}", server.container_name), format!("dir={}", stage.dir.path().display()));
    let (_, failed) = pgscript(&["run", stage.path("main.rhai").to_str().unwrap(), "--set", &name, "--set", &dir]);
    assert!(failed.contains("test.wait"), "{failed}");
    fs::write(stage.path("go-on"), "").unwrap();
    let (succeeded, resumed) = pgscript(&["resume"]);
    assert!(succeeded, "{resumed}");
    let said = failed + resumed.as_str();
    for words in [
        r#"tables 1, rows 1, #{\"public.cases\": 1}, [\"primero\"]"#,
        "1 = 1",
        "proven true",
        "from a file: [], proven false",
        "asked true, loaded false",
        "public.cases: 1 2 1 2 0",
        r"verify.different: old and new cluster differ:\n  primero_production: rows of public.cases: 1 before, 2 after",
        "verify.nothing_compared",
    ] {
        assert!(said.contains(words), "{words:?} was not said:\n{said}");
    }
    assert_private(&stage.path("before.json"));
}

/// More relations than a server can lock in one transaction: of tables with their indexes, of views, and of sequences.
#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn many_tables() {
    let stage = Stage::new();
    let server = stage.server(15);
    let few = "ALTER SYSTEM SET max_locks_per_transaction = 10";
    stage.pg().execute(&server, "postgres", few, &[]).unwrap();
    stage.pg().execute(&server, "postgres", "ALTER SYSTEM SET max_connections = 20", &[]).unwrap();
    docker(&["restart", &server.container]);
    stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
    let make = |what: &str| format!("SELECT format('{what}', i) FROM generate_series(1, 1500) i \\gexec\n");
    let sql = [
        "SET search_path = public;\n".to_owned(),
        make("CREATE TABLE t%1$s (id int PRIMARY KEY, v text UNIQUE)"),
        make("INSERT INTO t%1$s VALUES (%1$s)"),
        make("CREATE VIEW v%1$s AS SELECT * FROM t%1$s"),
        make("CREATE SEQUENCE s%1$s"),
    ];
    stage.pg().script(&server, PRODUCTION, &mut sql.concat().as_bytes(), &mut std::io::sink()).unwrap();
    let refused = format!("BEGIN; {}", make("SELECT count(*) FROM public.t%1$s"));
    let error = stage.pg().script(&server, PRODUCTION, &mut refused.as_bytes(), &mut std::io::sink()).unwrap_err();
    assert!(error.message.contains("out of shared memory"), "{error}");
    let content = stage.look(&server);
    let production = &content.databases[PRODUCTION];
    let views = production.objects.of("view").unwrap().len();
    let numbers = [content.tables() as usize, content.rows() as usize, production.hashes.len(), views];
    assert_eq!((numbers, production.sequences.len()), ([1500; 4], 1500));
    assert_eq!(stage.differences(&content, &server), [""; 0]);
}

/// All tables with rows that can't be read are named at once: with the rows, or with the reason, which has the page.
#[test]
fn damaged_page() {
    let stage = Stage::new();
    let server = stage.server(15);
    stage.site(
        &server,
        PRODUCTION,
        "CREATE TABLE holed AS SELECT i AS id, repeat('x', 500) AS v FROM generate_series(1, 1000) i;
         CREATE TABLE scanned_doc (id int, \"v $do$ w\" text);
         ALTER TABLE scanned_doc ALTER \"v $do$ w\" SET STORAGE EXTERNAL;
         INSERT INTO scanned_doc SELECT i, repeat('x', 5000) FROM generate_series(1, 5) i;
         CREATE EXTENSION pg_surgery;
         SELECT heap_force_kill((SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'scanned_doc'),
             ARRAY['(0,1)'::tid]);
         CHECKPOINT;",
    );
    let file = stage.pg().query(&server, PRODUCTION, "SELECT pg_relation_filepath('public.holed') AS path", &[]);
    let file = file.unwrap()[0]["path"].as_str().unwrap().to_owned();
    let damage = format!("dd if=/dev/urandom of=\"$PGDATA/{file}\" bs=8192 seek=10 count=1 conv=notrunc status=none");
    docker(&["exec", &server.container, "sh", "-ec", &damage]);
    docker(&["restart", &server.container]);
    stage.pg().wait_ready(&server, Duration::from_secs(60)).unwrap();
    let error = stage.pg().content(&server, Level::Content, 2).unwrap_err();
    assert_eq!(error.code, "postgres.damaged", "{error}");
    for said in ["public.scanned_doc: rows at ctid (0,1): ", "public.holed: invalid page in block 10 of"] {
        assert!(error.message.contains(said), "{said}: {error}");
    }
    assert!(!error.message.contains("xxx"), "{error}");
    assert!(error.hint.unwrap().contains("FROM public.scanned_doc WHERE ctid = '(0,1)';"));
}
