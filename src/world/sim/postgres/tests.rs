use super::super::testing::*;
use super::*;
use crate::world::content::{Beside, compare};
use crate::world::writes::writes_between;

fn servers(state: State) -> Servers {
    Servers::new(context(state))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[test]
fn a_server_answers_while_its_container_runs() {
    let timeout = Duration::from_secs(5);
    let version = servers(state()).wait_ready(&server(SERVER), timeout).unwrap();
    assert_eq!((version.major, version.text.as_str()), (15, "15.4"));
    let stopped = servers(stopped(state()));
    let error = stopped.wait_ready(&server(SERVER), timeout).unwrap_err();
    assert_eq!(error.code, "postgres.not_ready");
    assert_eq!(stopped.query(&server(SERVER), "", "SELECT 1 AS n", &[]).unwrap_err().code, "docker.conflict");
    let mut state = state();
    state.cluster_mut(SERVER).unwrap().is_damaged = true;
    let damaged = servers(state);
    let before = damaged.context.sim.read(|state| Ok(state.now)).unwrap();
    assert_eq!(damaged.wait_ready(&server(SERVER), timeout).unwrap_err().code, "postgres.not_ready");
    assert!(damaged.context.sim.read(|state| Ok(state.now)).unwrap() - before >= 5000);
}

#[test]
fn another_database_serves_where_the_own_one_is_gone_unless_it_was_chosen() {
    let mut world = state();
    let cluster = world.cluster_mut(SERVER).unwrap();
    let database = cluster.databases.remove(DATABASE).unwrap();
    cluster.databases.insert("renamed".into(), database);
    let servers = servers(world);
    let ask = |server: &Server| servers.query(server, "", "SELECT current_database() AS name", &[]);
    assert_eq!(ask(&server(SERVER)).unwrap()[0]["name"], "postgres");
    let chosen = Server { is_database_chosen: true, ..server(SERVER) };
    assert!(ask(&chosen).unwrap_err().message.contains("does not exist"));
    let other = Server { user: "reader".into(), ..server(SERVER) };
    assert_eq!(ask(&other).unwrap_err().code, "postgres.not_superuser");
}

#[test]
fn a_login_goes_by_rules_password_and_address() {
    let world = state();
    let login = |state: &State, role: &str, password: &str, database: &str| {
        let servers = servers(state.clone());
        servers.login(&server(SERVER), role, &secret(password), database).map_err(|error| error.code)
    };
    let refused = || Err("postgres.login_refused".to_owned());
    assert_eq!(login(&world, "primero", "secret", DATABASE), Ok(()));
    assert_eq!(login(&world, "primero", "wrong", DATABASE), refused());
    assert_eq!(login(&world, "primero", "secret", "gone"), refused());
    assert_eq!(login(&world, "nobody", "secret", DATABASE), refused());
    let mut scram = state();
    scram.cluster_mut(SERVER).unwrap().auth = Auth::Scram;
    assert_eq!(login(&scram, "primero", "secret", DATABASE), refused());
    let made = servers(scram);
    made.set_password(&server(SERVER), "primero", &secret("new")).unwrap();
    made.login(&server(SERVER), "primero", &secret("new"), DATABASE).unwrap();
    let mut alone = state();
    alone.container_mut(SERVER).unwrap().networks.clear();
    assert_eq!(login(&alone, "primero", "secret", DATABASE), Err("postgres.no_address".into()));
}

#[test]
fn writes_are_found_by_their_counters() {
    let servers = servers(state());
    let server = server(SERVER);
    let before = servers.write_counts(&server).unwrap();
    assert_eq!(writes_between(&before, &servers.write_counts(&server).unwrap()).written, Vec::<String>::new());
    servers.execute(&server, DATABASE, "INSERT INTO public.cases VALUES (1)", &[]).unwrap();
    let now = servers.write_counts(&server).unwrap();
    let expected =
        ["primero_production: public.cases (1 inserted)", "primero_production: sequence public.cases_id_seq"];
    assert_eq!(writes_between(&before, &now).written, expected);
    assert!(now.next_xid > before.next_xid);
}

#[test]
fn a_content_is_of_the_moment_at_which_it_was_asked_for() {
    let servers = servers(state());
    let before = servers.content(&server(SERVER), Level::Content, 2).unwrap();
    servers.execute(&server(SERVER), DATABASE, "INSERT INTO public.cases VALUES (1)", &[]).unwrap();
    let now = servers.content(&server(SERVER), Level::Content, 2).unwrap();
    let found = compare(&before, &now, Beside::default()).unwrap();
    let found: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(found[0], "primero_production: rows of public.cases: 3 before, 4 after");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_query_only_reads_and_a_script_prints_what_it_selects() {
    let servers = servers(state());
    let server = server(SERVER);
    let error = servers.query(&server, DATABASE, "DELETE FROM public.cases", &[]).unwrap_err();
    assert!(error.message.contains("25006") && error.hint.is_some());
    let error = servers.query(&server, DATABASE, "SELECT odd()", &[]).unwrap_err();
    assert_eq!(error.code, "sim.unknown_sql");
    assert!(error.hint.unwrap().contains("sim::answer("));
    let script = "INSERT INTO public.cases VALUES (1);\nSELECT count(*) FROM public.cases;";
    let mut output = Vec::new();
    servers.script(&server, DATABASE, &mut script.as_bytes(), &mut output).unwrap();
    assert_eq!(String::from_utf8(output).unwrap(), "4\n");
    assert_eq!(servers.terminal(&server, DATABASE).unwrap_err().code, "ui.no_terminal");
}

#[test]
fn a_server_takes_all_but_what_somebody_says() {
    let mut world = state();
    let answer = super::super::state::Answer {
        sql: UNTAKEN.into(),
        rows: vec![row(&[
            ("database", json!(DATABASE)),
            ("object", json!("VIEW v primero")),
            ("message", json!("no")),
            ("hint", json!("")),
            ("statement", json!("")),
        ])],
    };
    let ask = |world: State| servers(world).untaken(&server(SERVER), &server(NEW), "postgres:17").unwrap();
    assert!(ask(world.clone()).is_empty());
    world.answers.push(answer);
    assert_eq!(ask(world)[0].object, "VIEW v primero");
}
