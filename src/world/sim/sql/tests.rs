use std::fs;

use super::words::statements;
use super::*;
use crate::world::sim::testing::{DATABASE, NEW, SERVER, TABLE, state};

fn ask(state: &State, sql: &str) -> Vec<Row> {
    answer(state, SERVER, DATABASE, sql, &[]).expect(sql).unwrap()
}

fn run(state: &mut State, sql: &str) -> Result<Vec<String>> {
    execute(state, SERVER, DATABASE, sql, &[])
}

/// Where a literal of Rhai begins, and what it holds; what it interpolates is a 1.
fn literals_of(text: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['"', '`', '\'', '/']) {
        let c = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match c {
            b'/' if rest.starts_with('/') => rest = rest.split_once('\n').map_or("", |(_, rest)| rest),
            b'/' => {}
            // A character.
            b'\'' => rest = rest.get(if rest.starts_with('\\') { 3 } else { 2 }..).unwrap_or_default(),
            b'"' => {
                let mut text = String::new();
                let mut chars = rest.char_indices();
                while let Some((_, c)) = chars.next().filter(|(_, c)| *c != '"') {
                    text.push(c);
                    if c == '\\' {
                        text.extend(chars.next().map(|(_, c)| c));
                    }
                }
                rest = chars.as_str();
                found.push(text.replace("\\\"", "\""));
            }
            _ => {
                let (text, after) = interpolated(rest);
                found.push(text);
                rest = after;
            }
        }
    }
    found
}

fn interpolated(text: &str) -> (String, &str) {
    let (mut found, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('`').unwrap_or(rest.len());
        let Some(at) = rest.find("${").filter(|at| *at < end) else {
            found.push_str(&rest[..end]);
            return (found, rest.get(end + 1..).unwrap_or_default());
        };
        found.push_str(&rest[..at]);
        found.push('1');
        let mut depth = 0;
        let close = rest[at + 1..].find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        rest = &rest[at + 2 + close.unwrap_or_default()..];
    }
}

/// Every text of the shipped scripts in which there is SQL.
fn sql_of_scripts() -> Vec<String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let files = ["scripts", "stdlib"].into_iter().flat_map(|dir| fs::read_dir(format!("{root}/{dir}")).unwrap());
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let is_sql = |text: &String| text.contains("SELECT") || text.contains("pg_catalog");
    texts.flat_map(|text| literals_of(&text)).filter(is_sql).collect()
}

/// Pieces that are put together, and what is said to people.
const PIECES: [&str; 7] = [
    "FROM pg_catalog.pg_stat_activity WHERE client_addr IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() ",
    "EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attoptions::text LIKE '%pg_attver=%')",
    "SELECT ",
    "SELECT 1 AS it WHERE ",
    "SELECT count(*) 1",
    "find out what it is; it would be lost with its session: SELECT pg_terminate_backend(1)",
    "SELECT pg_stat_reset() in that database",
];

fn is_known(sql: &str) -> bool {
    let mut state = state();
    let is_question = |sql: &str| ["SELECT", "WITH"].contains(&sql.split_whitespace().next().unwrap_or_default());
    match statements(sql).as_slice() {
        [one] if is_question(&one.text) && !one.is_gexec => {
            answer(&state, SERVER, DATABASE, sql, &[]).is_some_and(|answer| answer.is_ok())
                || run(&mut state, sql).is_ok()
        }
        _ => !matches!(run(&mut state, sql), Err(error) if error.code == "sim.unknown_sql"),
    }
}

#[test]
fn every_sql_of_the_shipped_scripts_is_known() {
    let texts = sql_of_scripts();
    assert!(texts.len() > 50, "{}", texts.len());
    let is_piece = |text: &String| {
        let text = text.trim_start();
        PIECES.iter().any(|piece| text == *piece || text.len() > 70 && piece.starts_with(text) || text.ends_with(piece))
    };
    let unknown: Vec<_> = texts.into_iter().filter(|text| !is_piece(text) && !is_known(text)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    // Put together.
    for sql in ["SELECT count(*) 1", "SELECT pg_catalog.pg_terminate_backend(pid) 1"] {
        let whole = format!("{}{}", sql.trim_end_matches('1'), PIECES[0]);
        assert!(is_known(&whole), "{whole}");
    }
    for sql in ["SELECT ", "SELECT 1 AS it WHERE "] {
        assert!(answer(&state(), SERVER, DATABASE, &format!("{sql}{}", PIECES[1]), &[]).is_some());
    }
}

#[test]
fn literals_of_scripts_are_found_whole() {
    let text = "let a = \"SELECT \\\"x\\\"\"; // \"no\"\nlet b = `SELECT ${f(\"}\", |x| { x })} 'a'`; let c = 'x'; `y`";
    assert_eq!(literals_of("let a = \"x\\\"y\"; // \"no\"\n`b ${1}`"), ["x\"y", "b 1"]);
    assert_eq!(literals_of(text).len(), 3);
}

#[test]
fn what_nobody_knows_is_an_answer_that_can_be_told() {
    let mut state = state();
    assert!(answer(&state, SERVER, DATABASE, "SELECT odd FROM public.cases", &[]).is_none());
    let rows = vec![row(serde_json::json!({ "odd": 3 }))];
    state.answers.push(crate::world::sim::state::Answer { sql: "odd FROM  public.cases".into(), rows: rows.clone() });
    assert_eq!(ask(&state, "SELECT odd\n FROM public.cases"), rows);
    let error = run(&mut state, "FROBNICATE x").unwrap_err();
    assert_eq!(error.code, "sim.unknown_sql");
}

#[test]
fn questions_are_answered_by_what_the_cluster_is_like() {
    let state = state();
    let one = |sql: &str| ask(&state, sql)[0].values().next().unwrap().clone();
    assert_eq!(one("SELECT count(*) AS n FROM public.cases"), 3);
    assert_eq!(one("SELECT pg_catalog.current_setting('port')::int"), 5432);
    assert_eq!(one("SELECT pg_catalog.current_setting('data_directory')"), "/var/lib/postgresql/data");
    assert_eq!(one("SELECT pg_catalog.current_setting('archive_mode') <> 'off'"), false);
    assert_eq!(one("SELECT system_identifier::text FROM pg_control_system()"), "7001");
    assert_eq!(one("SELECT pg_catalog.pg_is_in_recovery() AS r"), false);
    assert_eq!(ask(&state, "SELECT 1 AS it, 'x''y' AS \"that\"")[0]["that"], "x'y");
    let missing = answer(&state, SERVER, DATABASE, "SELECT count(*) FROM public.gone", &[]).unwrap().unwrap_err();
    assert_eq!(missing.message, "ERROR: relation \"public.gone\" does not exist (SQLSTATE 42P01)");
    let shared = "SELECT setting::bigint * pg_catalog.current_setting('block_size')::bigint
        FROM pg_catalog.pg_settings WHERE name = 'shared_buffers'";
    assert_eq!(one(shared), 134_217_728);
}

#[test]
fn statements_change_the_cluster_and_give_tags_as_psql_does() {
    let mut state = state();
    let sql = "CREATE TABLE public.t (id serial); INSERT INTO public.t VALUES (1, 'a'), (2, 'b');
        INSERT INTO public.t SELECT generate_series(1, 10); UPDATE public.t SET a = 1 WHERE id = 1;
        DELETE FROM public.t WHERE id = 1; SELECT 1; VACUUM; CREATE ROLE app LOGIN PASSWORD 'x';
        CREATE DATABASE other; ALTER SYSTEM SET work_mem = '8MB'";
    let tags = run(&mut state, sql).unwrap();
    let expected = [
        "CREATE TABLE",
        "INSERT 0 2",
        "INSERT 0 10",
        "UPDATE 1",
        "DELETE 1",
        "VACUUM",
        "CREATE ROLE",
        "CREATE DATABASE",
        "ALTER SYSTEM",
    ];
    assert_eq!(tags, expected);
    let cluster = state.cluster(SERVER).unwrap();
    assert_eq!(cluster.databases[DATABASE].tables["public.t"].rows.len(), 11);
    assert_eq!(state.acknowledged.len(), 11);
    assert!(cluster.roles["app"].password.as_ref().unwrap().is("x"));
    assert_eq!(cluster.settings["work_mem"], "8MB");
    assert!(cluster.databases.contains_key("other"));
}

#[test]
fn a_statement_fails_as_the_server_says_it_and_what_was_before_stays() {
    let mut state = state();
    let code = |state: &mut State, sql: &str| run(state, sql).unwrap_err().message;
    assert!(code(&mut state, "DELETE FROM public.cases; INSERT INTO public.gone VALUES (1)").contains("42P01"));
    assert!(state.cluster(SERVER).unwrap().databases[DATABASE].tables[TABLE].rows.is_empty());
    assert!(code(&mut state, "CREATE TABLE bare (x int)").contains("3F000"));
    assert!(run(&mut state, "SET search_path = public; CREATE TABLE bare (x int)").is_ok());
    assert!(code(&mut state, "ALTER SYSTEM SET nonsense = 1").contains("42704"));
    assert!(code(&mut state, "CREATE EXTENSION postgis").contains("not available"));
    assert!(code(&mut state, "DROP DATABASE gone").contains("3D000"));
    assert!(code(&mut state, "LOAD 'gone'").contains("could not access file"));
    state.cluster_mut(SERVER).unwrap().follows = Some(7001);
    assert!(code(&mut state, "INSERT INTO public.cases VALUES (1)").contains("25006"));
}

#[test]
fn what_a_server_without_fsync_is_told_is_not_on_the_disk() {
    let mut state = state();
    run(&mut state, "INSERT INTO public.cases VALUES (1)").unwrap();
    let is_unsynced = |state: &State, volume: &str| state.volumes[volume].tree.is_unsynced;
    assert!(!is_unsynced(&state, crate::world::sim::testing::VOLUME));
    state.container_mut(NEW).unwrap().command.extend(["-c".into(), "fsync=off".into()]);
    execute(&mut state, NEW, "postgres", "CREATE DATABASE x", &[]).unwrap();
    assert!(is_unsynced(&state, crate::world::sim::testing::NEW_VOLUME));
}
