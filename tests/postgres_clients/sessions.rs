//! Our sessions are ours, whatever a role, a database or the whole cluster sets, and whoever plants something.

use super::*;
use crate::asked::Asked;

const PRODUCTION: &str = "primero_production";

/// What an ordinary role can plant where names without a schema would find it, and what it does when it is called.
const PLANTED: &str = r#"
    CREATE ROLE app LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO app;
    SET ROLE app;
    CREATE FUNCTION public.gain() RETURNS void LANGUAGE plpgsql AS
        $f$ BEGIN EXECUTE 'SET LOCAL transaction_read_only = off'; EXECUTE 'ALTER ROLE app SUPERUSER'; END $f$;
    CREATE FUNCTION public.format(t text, a name, b name) RETURNS text LANGUAGE plpgsql AS
        $f$ BEGIN PERFORM public.gain(); RETURN 'planted'; END $f$;
    CREATE FUNCTION public.concat_ws(a text, b text, c text) RETURNS text LANGUAGE plpgsql AS
        $f$ BEGIN PERFORM public.gain(); RETURN 'planted'; END $f$;
    CREATE FUNCTION public.like_name(a name, b text) RETURNS bool LANGUAGE plpgsql AS
        $f$ BEGIN PERFORM public.gain(); RETURN true; END $f$;
    CREATE OPERATOR public.!~~ (FUNCTION = public.like_name, LEFTARG = name, RIGHTARG = text);
    CREATE TABLE public.pg_class (oid int); CREATE TABLE public.pg_database (datname text);
    CREATE TABLE public."not of latin1: —" (a int);
    RESET ROLE;
    COMMENT ON ROLE app IS 'nor is this: —';
    CREATE TABLE public.t AS SELECT i, 'x'::text AS v FROM generate_series(1, 200000) i;
    CREATE MATERIALIZED VIEW public.m AS SELECT count(*) FROM public.t;
    CREATE TABLE public.noted (tag text);
    CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS
        $f$ BEGIN INSERT INTO public.noted VALUES (tg_tag); END $f$;
    CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION public.note();"#;

/// Each of these has broken a session of a superuser, or changes what it sees.
const SET: [&str; 18] = [
    "role = app",
    "search_path = public, pg_catalog",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = serializable",
    "standard_conforming_strings = off",
    "session_replication_role = replica",
    "quote_all_identifiers = on",
    "row_security = on",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = sql_standard",
    "TimeZone = 'Asia/Tokyo'",
    "bytea_output = escape",
    "extra_float_digits = -10",
    "client_encoding = latin1",
    "zero_damaged_pages = on",
];

/// From 14 and 17 on.
const NEWER: [(&str, u32); 2] = [("idle_session_timeout = '1ms'", 14), ("transaction_timeout = '1ms'", 17)];

/// An event trigger on logins, which writes and then shuts everybody out.
const LOGIN_TRIGGER: &str = r#"
    CREATE TABLE public.logins (who name);
    CREATE FUNCTION public.on_login() RETURNS event_trigger LANGUAGE plpgsql AS
        $f$ BEGIN INSERT INTO public.logins VALUES (session_user); END $f$;
    CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION public.on_login();"#;

impl Stage {
    /// Everything that an ordinary role, or a site's settings, can do to sessions of ours.
    pub fn plant(&self, server: &Server, major: u32) {
        self.site(server, PRODUCTION, PLANTED);
        if major >= 17 {
            self.site(server, PRODUCTION, LOGIN_TRIGGER);
        }
        self.set_everything(server, major);
    }

    /// Settings of the database, of the superuser, and of the whole cluster.
    fn set_everything(&self, server: &Server, major: u32) {
        let newer = NEWER.iter().filter(|(_, since)| *since <= major).map(|(setting, _)| *setting);
        let settings: Vec<_> = SET.into_iter().chain(newer).collect();
        let mut sql = String::new();
        for setting in &settings {
            sql += &format!("ALTER DATABASE {PRODUCTION} SET {setting}; ALTER ROLE {USER} SET {setting};\n");
        }
        // No file can set a role. What the cluster sets is there before a client can say anything: not too short.
        for setting in settings.iter().filter(|setting| !setting.starts_with("role")) {
            sql += &format!("ALTER SYSTEM SET {};\n", setting.replace("1ms", "500ms"));
        }
        self.site(server, "postgres", &(sql + "SELECT pg_reload_conf();"));
        std::thread::sleep(Duration::from_millis(300));
    }

    fn value(&self, server: &Server, sql: &str) -> serde_json::Value {
        self.pg().query(server, PRODUCTION, sql, &[]).unwrap()[0].values().next().unwrap().clone()
    }

    pub fn assert_ours(&self, server: &Server) {
        let odd = "SELECT coalesce(string_agg(name || '=' || setting, ' ' ORDER BY name), '') AS odd FROM pg_settings
            WHERE source <> 'client' AND name IN ('search_path', 'statement_timeout', 'lock_timeout',
              'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout',
              'default_transaction_read_only', 'default_transaction_isolation', 'standard_conforming_strings',
              'session_replication_role', 'quote_all_identifiers', 'row_security', 'DateStyle', 'IntervalStyle',
              'TimeZone', 'bytea_output', 'extra_float_digits', 'client_encoding', 'zero_damaged_pages',
              'event_triggers')";
        assert_eq!(self.value(server, odd), "");
        assert_eq!(self.value(server, "SELECT current_user::text || pg_sleep(0.6)"), USER);
        assert_eq!(self.value(server, "SELECT current_setting('search_path')"), "pg_catalog,pg_temp");
        assert_eq!(self.value(server, r"SELECT '\x41'::bytea::text || '\n'"), r"\x41\n");
        assert_eq!(self.value(server, "SELECT timestamptz 'epoch'::text"), "1970-01-01 00:00:00+00");
        let gained = "SELECT rolsuper FROM pg_roles WHERE rolname = 'app'";
        assert_eq!(self.value(server, gained), false);
    }
}

#[test]
#[cfg_attr(not(feature = "full-matrix"), ignore = "in make test-full")]
fn search_path_superuser() {
    let stage = Stage::new();
    for (from, to) in [(13, 15), (17, 17)] {
        let (source, target) = (stage.server(from), stage.server(to));
        stage.plant(&source, from);
        stage.assert_ours(&source);
        let before = stage.pg().content(&source, Level::Content, 2).unwrap();
        assert_eq!(before.databases[PRODUCTION].tables["public.t"], 200_000);

        for format in [Format::Directory, Format::Plain] {
            let path = stage.path(&format!("dump-{from}-{format:?}"));
            let dump = stage.pg().dump(&source, &path, &options(format, Some(to))).unwrap();
            stage.pg().restore(&dump, &target, &restore_options(Some(to))).unwrap();
            // What the dump brings along acts on the sessions that restore it.
            stage.assert_ours(&target);
            let after = stage.pg().content(&target, Level::Content, 2).unwrap();
            // Settings of a cluster's files are not what a dump brings along.
            let found = stage.compared(&before, &after, &target).differences.into_iter();
            assert_eq!(found.filter(|d| d.kind != "setting").collect::<Vec<_>>(), [], "{from} to {to}, {format:?}");
        }
        stage.pg().set_password(&source, "app", &Secret::new("another")).unwrap();
        assert_eq!(
            stage.pg().content(&source, Level::Content, 2).unwrap().databases[PRODUCTION]
                .tables
                .get("public.logins")
                .unwrap_or(&0),
            &0
        );
    }
}

/// An image whose `postgres` is not in the path: the server tells its version when psql connects.
#[test]
fn a_server_whose_program_is_not_in_the_path_has_our_settings() {
    let stage = Stage::new();
    let server = stage.server(17);
    stage.site(&server, PRODUCTION, &format!("ALTER DATABASE {PRODUCTION} SET transaction_timeout = '1ms'"));
    docker(&["exec", &server.container, "sh", "-c", "p=$(command -v postgres); mv $p $p.away"]);
    let (asked_anew, sql) = (Stage::new(), "SELECT current_setting('event_triggers') || pg_sleep(0.1)");
    assert_eq!(asked_anew.value(&server, sql), "off");
}

#[test]
fn names_without_a_schema_are_explained() {
    let stage = Stage::new();
    let server = stage.server(18);
    stage.site(&server, PRODUCTION, "CREATE TABLE public.cases (a int)");
    for sql in ["SELECT * FROM cases", "SELECT f(1)", "SELECT 'x'::mood"] {
        let error = stage.pg().query(&server, PRODUCTION, sql, &[]).unwrap_err();
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("public.NAME")), "{error:?}");
    }
    let error = stage.pg().execute(&server, PRODUCTION, "CREATE TABLE more (a int)", &[]).unwrap_err();
    assert!(error.hint.is_some_and(|hint| hint.contains("public.NAME")));
    let tags = stage.pg().execute(&server, PRODUCTION, "SET search_path = public; CREATE TABLE more (a int)", &[]);
    assert_eq!(tags.unwrap(), ["SET", "CREATE TABLE"]);
}

/// Questions in a row are asked in one session; nobody of ours is connected when something else is done, and a moment
/// after the last question.
#[test]
fn questions_in_a_row_are_of_one_session_that_is_in_nobodys_way() {
    let stage = Stage::new();
    let server = stage.server(15);
    let session = || stage.value(&server, "SELECT pg_backend_pid()");
    // On a machine that is busy with something else a moment may pass between two questions.
    let often = |is_so: &dyn Fn() -> bool| (0..20).any(|_| is_so());
    assert!(often(&|| session() == session()));
    let value = Binding { name: "value".into(), value: "it's $1".into() };
    let asked = stage.pg().query(&server, "postgres", "SELECT :'value' AS value", &[value]).unwrap();
    assert_eq!(asked[0]["value"], "it's $1");
    // Of a value nothing stays; what is wrong with a question is told with its line.
    let error = stage.pg().query(&server, "postgres", "SELECT\n:'value' AS value", &[]).unwrap_err();
    assert!(error.message.contains("SQLSTATE 42601, line"), "{error}");
    // These would not be at their end for psql.
    for unfinished in ["SELECT 'a", "SELECT (1", "SELECT $$a", "SELECT 1 /* a"] {
        stage.pg().query(&server, "postgres", unfinished, &[]).unwrap_err();
    }
    let before = session();

    stage.pg().execute(&server, "postgres", "CREATE DATABASE other", &[]).unwrap();
    stage.pg().query(&server, "other", "SELECT 1 AS one", &[]).unwrap();
    stage.pg().execute(&server, "postgres", "DROP DATABASE other", &[]).unwrap();
    assert_ne!(session(), before);

    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgscript'";
    let argv = ["psql", "-XqAtU", USER, "-d", "postgres", "-c", count];
    let ours = || Asked::of(None).exec(&server.container, &argv, &[]).stdout;
    let open = || session().is_i64() && ours() == b"1\n";
    assert!(often(&open));
    let closed = || {
        std::thread::sleep(Duration::from_secs(1));
        ours() == b"0\n"
    };
    assert!(often(&closed));
}
