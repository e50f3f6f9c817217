//! What people's deployments have that once ended a night: each is upgraded, or refused before the outage.

use pgscript::world::container::{ContainerSpec, Mount};
use pgscript::world::sim::deeds::Happening;
use pgscript::world::sim::state::{Content, File};
use pgscript::world::sim::{State, reference};
use serde_json::json;

use crate::program::{Run, Watched, run};
use crate::simulated::site::{APPLICATION, SERVER, Site, VOLUME};

const BOTH: [&str; 2] = ["strategy=dump", "strategy=pg_upgrade"];
const VARIABLE: &str = "primero_postgres_version";

/// A deployment that differs in this, deployed anew.
fn site(differs: impl FnOnce(&mut State)) -> Site {
    let mut state = reference(13);
    differs(&mut state);
    state.compose_up("primero", None).unwrap();
    state.pass(10_000);
    Site::of(state)
}

#[track_caller]
fn is_refused(site: &Site, to: &str, check: &str, said: &[&str]) {
    let (to, only) = (format!("to={to}"), format!("only_checks={check}"));
    let mut looked = site.script("preflight.rhai", &["--set", &to, "--set", &only]);
    run(&mut looked).expect(3, said).expect(3, &["nothing was changed"]);
    site.is_untouched();
}

/// A service that has done its work, and containers of `compose run` that nobody has removed, one of them of the
/// database: it holds the volume.
#[test]
fn one_shot() {
    let left_over = |state: &mut State, service: &str, mounts: Vec<Mount>| {
        let labels = [("project", "primero"), ("service", service), ("oneoff", "True")];
        let labels = labels.map(|(key, value)| (format!("com.docker.compose.{key}"), value.to_owned()));
        let id = state.create(&ContainerSpec {
            image: Some("pgscript-test/postgres:13".into()),
            entrypoint: Some(vec!["true".into()]),
            labels: Some(labels.into()),
            mounts,
            ..ContainerSpec::default()
        });
        state.start(&id.unwrap()).unwrap();
    };
    for strategy in BOTH {
        let site = site(|state| {
            let data = Mount {
                kind: "volume".into(),
                name: VOLUME.into(),
                source: String::new(),
                destination: "/var/lib/postgresql/data".into(),
                read_only: false,
            };
            left_over(state, "postgres", vec![data]);
            left_over(state, "application", Vec::new());
        });
        let done = site.upgrade(&["--set", strategy]);
        site.is_upgraded(done.expect(0, &["left over from a compose run, is removed"]));
    }
}

/// The volume lies on a directory of the host: removing or renaming it leaves the files.
#[test]
fn driver_opts_volume() {
    let site = site(|state| {
        let options = [("type", "none"), ("o", "bind"), ("device", "/srv/pg")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        state.volumes.get_mut(VOLUME).unwrap().options = options.into();
    });
    is_refused(&site, "17", "volume", &["error[preflight.device]", VOLUME, "device"]);
}

/// Any deploy between the day on which the inventory is changed and the night starts the new version on the old volume.
/// So it may name the old one until all is done; what it names is said before and at each end.
#[test]
fn deploy_starts_new_on_old() {
    let named = |site: &Site, version: &str| {
        let version = json!(version);
        site.arrange(|state| state.ansible.hosts.get_mut("primero").unwrap().insert(VARIABLE.into(), version));
    };
    let site = Site::up();
    let copy = ["--set", "strategy=pg_upgrade"];
    let done = site.is_upgraded(site.upgrade(&copy).expect(0, &["primero_postgres_version: '17'", "it names 13"]));
    assert!(!done.text.contains("is 17 already"), "{}", done.text);
    let back = site.rollback().expect(0, &["is rolled back"]);
    assert!(!back.text.contains("before the next deploy"), "{}", back.text);

    named(&site, "15");
    site.upgrade(&copy).expect(3, &["[deploy.wrong_version]", "is 15, the target is 17"]);
    named(&site, "17");
    site.before("stop primero-application-1", Happening::Interrupted);
    let ended: Run = site.upgrade(&copy).expect(4, &["everything is back as it was"]);
    ended.expect(4, &["is 17 already", "primero_postgres_version: '13'", "it names 17"]);
    site.is_back();
}

/// An application that takes longer to be healthy than the run waits: going on goes on waiting, without starting it
/// again.
#[test]
fn slow_start() {
    let site = Site::up();
    let check = |test: &str| json!({"Test": ["CMD-SHELL", test], "Interval": 1_000_000_000, "Retries": 1});
    site.arrange(|state| {
        let services = &mut state.stacks.get_mut("primero").unwrap().services;
        services.iter_mut().find(|s| s.name == "application").unwrap().health_check = Some(check("false"));
    });
    let failed = site.upgrade(&["--set", "application_wait=5"]);
    let failed = failed.expect(1, &["error[docker.unhealthy]", "in step `start the application`"]);
    let started = || site.of_container(APPLICATION, |c| (c.id.clone(), c.started_at)).unwrap();
    let before = started();
    site.arrange(|state| state.container_mut(APPLICATION).unwrap().health_check = Some(check("true")));
    site.is_upgraded(site.as_advised(&failed, "resume"));
    assert_eq!(started(), before);
}

/// Whoever deploys has given the application another password than the server has: that is not done.
#[test]
fn false_done() {
    let deployed_with = |state: &mut State, password: &str| {
        let services = &mut state.stacks.get_mut("primero").unwrap().services;
        let variables = services.iter_mut().filter(|s| s.name != "postgres").flat_map(|s| &mut s.env);
        let passwords = variables.filter(|variable| variable.starts_with("POSTGRES_PASSWORD="));
        passwords.for_each(|variable| *variable = format!("POSTGRES_PASSWORD={password}"));
    };
    for strategy in BOTH {
        let site = Site::up();
        site.after(&format!("stop {SERVER}"), Happening::Halted);
        let run = Watched::start(site.script("upgrade.rhai", &["--set", strategy, "--set", "application_wait=15"]));
        run.until_halted();
        site.arrange(|state| deployed_with(state, "wrong"));
        run.go_on();
        let failed = run.end().expect(1, &["error[stack.application_not_connected]"]);
        site.arrange(|state| deployed_with(state, "primero-secret"));
        site.as_advised(&failed, "rollback").expect(0, &["is rolled back"]);
        site.is_back();
    }
}

/// 18 wants its volume one level up: the compose file that mounts it as before is named before the outage.
#[test]
fn mount_of_18() {
    let site = site(|state| {
        // Only what is on the engine's own machine can be read.
        state.engine.is_local = true;
        let text = "services: {postgres: {volumes: ['database:/var/lib/postgresql/data']}}";
        let content = Content::Bytes { bytes: text.into() };
        let file = File { content: content.clone(), mode: 0o600, modified: 0, synced: Some(content) };
        state.files.insert("/srv/primero/docker-compose.yml".into(), file);
    });
    let said = ["error[preflight.mount]", "at /var/lib/postgresql/data, where nobody looks", "at /var/lib/postgresql:"];
    is_refused(&site, "18", "mount", &said);
}
