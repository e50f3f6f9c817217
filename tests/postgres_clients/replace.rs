//! Dumps in the place of older ones, and after attempts that were killed.

use super::*;

const PRODUCTION: &str = "primero_production";

fn replacing(format: Format) -> DumpOptions {
    DumpOptions { replace: true, ..options(format, Some(17)) }
}

const BOTH: [(Format, &str); 2] = [(Format::Directory, "dump"), (Format::Plain, "dump.sql")];

impl Stage {
    fn sql(&self, server: &Server, sql: &str) {
        self.site(server, PRODUCTION, sql);
    }

    /// The dump at its path is whole and is that one.
    #[track_caller]
    fn is_there(&self, dump: &Dump) {
        let opened = self.pg().open_dump(&dump.path).unwrap();
        assert_eq!(opened, *dump);
        self.pg().verify_dump(&opened, Some(&image(17))).unwrap();
        assert_private(&dump.path);
    }

    #[track_caller]
    fn refuses(&self, server: &Server, path: &Path, options: &DumpOptions, code: &str, words: &str) {
        let error = self.pg().dump(server, path, options).unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), (code, Kind::Refused), "{error:?}");
        assert!(error.message.contains(words) && error.hint.is_some(), "{error:?}");
        assert_eq!(helpers_beside(server), "");
    }
}

/// What is in the stage's directory.
fn names(stage: &Stage) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(stage.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dump_gives_way_to_a_newer_one_of_the_same_cluster_only() {
    let stage = Stage::new();
    let (server, other) = (stage.server(13), stage.server(13));
    stage.sql(&server, "CREATE TABLE cases AS SELECT 1 AS id");
    stage.sql(&other, "CREATE TABLE cases AS SELECT 2 AS id");
    for (format, name) in BOTH {
        let path = stage.path(name);
        let replacing = replacing(format);
        // Nothing to replace is no obstacle.
        let first = stage.pg().dump(&server, &path, &replacing).unwrap();
        stage.refuses(&server, &path, &options(format, Some(17)), "dump.exists", name);
        stage.sql(&server, "INSERT INTO cases SELECT generate_series(1, 1000)");
        let second = stage.pg().dump(&server, &path, &replacing).unwrap();
        assert_ne!(first.files, second.files);
        stage.is_there(&second);

        stage.refuses(&other, &path, &replacing, "dump.other_cluster", &second.system_identifier);
        let other_format = if format == Format::Plain { Format::Directory } else { Format::Plain };
        stage.refuses(&server, &path, &DumpOptions { format: other_format, ..replacing }, "dump.exists", "format");
        stage.is_there(&second);
    }
    assert_eq!(names(&stage), ["dump", "dump.sql", "dump.sql.json"]);

    // What is no dump, and a dump that nobody knows the cluster of.
    fs::create_dir(stage.path("precious")).unwrap();
    fs::write(stage.path("precious/a"), b"x").unwrap();
    let precious = stage.path("precious");
    stage.refuses(&server, &precious, &replacing(Format::Directory), "dump.other_cluster", "precious");
    assert_eq!(fs::read(stage.path("precious/a")).unwrap(), b"x");
    fs::remove_file(stage.path("dump.sql.json")).unwrap();
    let foreign = stage.path("dump.sql");
    stage.refuses(&server, &foreign, &replacing(Format::Plain), "dump.other_cluster", "dump.sql");
    stage.pg().open_dump(&foreign).unwrap();
}

#[test]
fn a_dump_with_tables_does_not_give_way_to_an_empty_one() {
    let stage = Stage::new();
    let server = stage.server(17);
    let dumps = BOTH.map(|(format, name)| {
        // An empty one replaces an empty one, and is replaced by a full one.
        for _ in 0..2 {
            stage.pg().dump(&server, &stage.path(name), &replacing(format)).unwrap();
        }
        stage.sql(&server, "CREATE TABLE IF NOT EXISTS cases AS SELECT 1 AS id");
        let full = stage.pg().dump(&server, &stage.path(name), &replacing(format)).unwrap();
        stage.sql(&server, "DROP TABLE cases");
        full
    });
    for dump in dumps {
        stage.refuses(&server, &dump.path, &replacing(dump.format), "dump.empty_cluster", "holds no table");
        stage.is_there(&dump);
    }
    assert_eq!(names(&stage), ["dump", "dump.sql", "dump.sql.json"]);
}

#[test]
fn the_old_dump_stays_whole_when_the_new_one_fails() {
    let stage = Stage::new();
    let server = stage.server(15);
    stage.sql(&server, "CREATE TABLE cases AS SELECT 1 AS id");
    let dumps = BOTH.map(|(format, name)| stage.pg().dump(&server, &stage.path(name), &replacing(format)).unwrap());
    big_table(&stage, &server);
    for dump in dumps {
        let failed = std::thread::scope(|scope| {
            let dumping = scope.spawn(|| stage.pg().dump(&server, &dump.path, &replacing(dump.format)));
            kill_when_it_writes(&stage, &server, "pg_dump");
            dumping.join().unwrap()
        });
        assert!(failed.is_err());
        stage.is_there(&dump);
    }
    assert_eq!(names(&stage), ["dump", "dump.sql", "dump.sql.json"]);
}

/// A plain dump has two files, and a kill may come between.
#[test]
fn a_plain_dump_whose_record_was_not_yet_beside_it_is_known() {
    let stage = Stage::new();
    let (server, other) = (stage.server(17), stage.server(17));
    let path = stage.path("dump.sql");
    let replacing = replacing(Format::Plain);
    stage.pg().dump(&server, &path, &replacing).unwrap();
    fs::rename(stage.path("dump.sql.json"), stage.path(".dump.sql.json.partial")).unwrap();
    stage.pg().open_dump(&path).unwrap();
    stage.refuses(&other, &path, &replacing, "dump.other_cluster", "is of cluster");
    let dump = stage.pg().dump(&server, &path, &replacing).unwrap();
    stage.is_there(&dump);
    assert_eq!(names(&stage), ["dump.sql", "dump.sql.json"]);
}

/// Ends the program without a chance to clean up; its helper and what runs in it go on.
#[test]
fn what_a_killed_run_left_is_no_obstacle() {
    let stage = Stage::new();
    let server = stage.server(15);
    big_table(&stage, &server);
    let script = r#"
        let server = psql::server(docker::container(param("name")));
        step("dump", || pg_dump::cluster(server, param("path"), #{ format: param("layout"), replace: true }));"#;
    fs::write(stage.path("main.rhai"), script).unwrap();
    for (format, name) in BOTH {
        let path = stage.path(name);
        let word = if format == Format::Plain { "plain" } else { "directory" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.arg("run").arg(stage.path("main.rhai")).env("PGSCRIPT_STORE", stage.path("store"));
        for value in [format!("name={}", server.container_name), format!("path={}", path.display())] {
            command.args(["--set", &value]);
        }
        command.args(["--set", &format!("layout={word}")]).stdout(std::process::Stdio::null());
        let mut run = command.spawn().unwrap();
        let dumping = "SELECT pid FROM pg_stat_activity WHERE query ~ '^COPY.*big'";
        while stage.pg().query(&server, "postgres", dumping, &[]).unwrap().is_empty() {
            assert!(run.try_wait().unwrap().is_none(), "the dump was too fast");
        }
        run.kill().unwrap();
        run.wait().unwrap();
        assert_ne!(helpers_beside(&server), "", "nothing was left");
        assert!(names(&stage).contains(&format!(".{name}.partial")), "{:?}", names(&stage));

        let dump = stage.pg().dump(&server, &path, &replacing(format)).unwrap();
        stage.is_there(&dump);
        assert_eq!(helpers_beside(&server), "");
    }
    assert_eq!(names(&stage), ["dump", "dump.sql", "dump.sql.json", "main.rhai", "store"]);
}
