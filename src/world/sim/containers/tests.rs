//! What the engine does for the rest of the program.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Weak};

use super::super::state::Fault;
use super::super::{Sim, Watch, reference};
use super::*;
use crate::event::Listener;
use crate::world::{Doorkeeper, Owner, Redactor};

const SERVER: &str = "primero-postgres-1";

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        if let Event::Warn { text } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

fn engine() -> (Containers, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let context = Context {
        sim: Sim::in_memory(reference(13)),
        cancel: Cancel::default(),
        listener: heard.clone(),
        redactor: Redactor::default(),
        owner: Owner::default(),
    };
    (Containers::new(context), heard)
}

fn app(argv: &[&str]) -> ContainerSpec {
    let entrypoint = Some(argv.iter().map(|word| (*word).to_owned()).collect());
    ContainerSpec { image: Some("pgscript-test/app:1".into()), entrypoint, ..ContainerSpec::default() }
}

fn helper(name: &str, purpose: &str) -> ContainerSpec {
    let labels = Some(BTreeMap::from([(LABEL_HELPER.to_owned(), purpose.to_owned())]));
    ContainerSpec { name: Some(name.into()), labels, ..app(&["sleep", "600"]) }
}

/// Counts what it meets; knows of everything why it is left.
#[derive(Default)]
struct Door(AtomicUsize);

impl Doorkeeper for Door {
    fn meets(&self, engine: &EngineInfo) -> Result<()> {
        assert_eq!(engine.host, "simulated");
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn abandoned(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        Some(format!("{} is left over", labels[LABEL_HELPER]))
    }
}

#[test]
fn the_doorkeeper_meets_the_engine_before_anything_is_asked_and_what_is_left_goes() {
    let (engine, heard) = engine();
    let made = engine.create(&helper("old", KEEPER)).unwrap();
    assert_eq!(made.labels[LABEL_OWNER], crate::world::process::Process::own().unwrap().to_label());
    engine.context.owner.set("here:/run");
    let keeper = engine.create(&helper("mine", "client")).unwrap();
    assert_eq!(keeper.labels[LABEL_RUN], "here:/run");
    let door: Arc<dyn Doorkeeper> = Arc::new(Door::default());
    let weak: Weak<dyn Doorkeeper> = Arc::downgrade(&door);
    engine.context.owner.keeps_door(weak);
    assert!(engine.existing("old").unwrap().is_none());
    assert!(engine.existing("mine").unwrap().is_some(), "its process lives");
    assert_eq!(*heard.0.lock().unwrap(), ["keep is left over"]);
    assert_eq!(engine.names().unwrap().containers.len(), 5, "helpers are left out");
}

#[test]
fn a_doorkeeper_that_refuses_lets_nothing_be_asked() {
    struct Closed;
    impl Doorkeeper for Closed {
        fn meets(&self, _: &EngineInfo) -> Result<()> {
            Err(Error::refused("engine.other", "another engine"))
        }
        fn abandoned(&self, _: &BTreeMap<String, String>) -> Option<String> {
            None
        }
    }
    let (engine, _) = engine();
    let door: Arc<dyn Doorkeeper> = Arc::new(Closed);
    engine.context.owner.keeps_door(Arc::downgrade(&door));
    for _ in 0..2 {
        assert_eq!(engine.container(SERVER).unwrap_err().code, "engine.other");
    }
}

#[test]
fn exit_codes_and_both_outputs_come_apart() {
    let (engine, _) = engine();
    let spec = |argv: &[&str]| ExecSpec { argv: argv.iter().map(|w| (*w).into()).collect(), ..ExecSpec::default() };
    let version = engine.exec_output(SERVER, &spec(&["postgres", "--version"])).unwrap();
    assert!(version.stdout.starts_with(b"postgres (PostgreSQL) 13."));
    let missing = engine.exec_output(SERVER, &spec(&["no-such-program"])).unwrap();
    assert_eq!((missing.exit_code, missing.stdout.len()), (127, 0));
    let (mut source, mut sink) = (&b"a\r\n\0b"[..], Vec::new());
    let streams = Streams { stdin: Some(&mut source), stdout: Some(&mut sink), stderr: None };
    assert_eq!(engine.exec(SERVER, &spec(&["cat"]), streams).unwrap(), 0);
    assert_eq!(sink, b"a\r\n\0b");
    assert_eq!(engine.exec_output("absent", &spec(&["true"])).unwrap_err().code, "docker.not_found");
    engine.stop(&[SERVER], Duration::from_secs(60)).unwrap();
    assert_eq!(engine.exec_output(SERVER, &spec(&["true"])).unwrap_err().code, "docker.conflict");
    assert_eq!(engine.terminal(SERVER, &spec(&["psql"])).unwrap_err().code, "ui.no_terminal");
}

#[test]
fn a_run_container_leaves_its_output_and_nothing_else() {
    let (engine, _) = engine();
    let all = |engine: &Containers| engine.containers(&ContainerFilter::default()).unwrap().len();
    let before = (all(&engine), engine.volumes(None).unwrap().len());
    let spec = ContainerSpec { image: Some("pgscript-test/postgres:17".into()), ..app(&["postgres", "--version"]) };
    assert!(engine.run(&spec).unwrap().stdout.starts_with(b"postgres (PostgreSQL) 17."));
    assert_eq!(engine.run(&app(&["sh", "-c", "exit 5"])).unwrap().exit_code, 5);
    assert!(engine.run(&app(&["no-such-program"])).unwrap_err().message.contains("no-such-program"));
    assert_eq!((all(&engine), engine.volumes(None).unwrap().len()), before);
}

#[test]
fn a_run_container_is_removed_when_cancelled_and_stays_when_the_program_is_killed() {
    struct KillAfterRun(Sim);
    impl Watch for KillAfterRun {
        fn before(&self, _: &str, _: &mut State) -> Result<()> {
            Ok(())
        }
        fn after(&self, change: &str, _: &mut State) -> Result<()> {
            if change.starts_with("run ") {
                self.0.kill();
                return Err(Error::failed("sim.killed", "the program was killed here"));
            }
            Ok(())
        }
    }
    let (engine, heard) = engine();
    engine.context.owner.live_as("one life");
    let before = engine.containers(&ContainerFilter::default()).unwrap().len();
    let cancel = engine.context.cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        cancel.cancel();
    });
    assert_eq!(engine.run(&app(&["sleep", "600"])).unwrap_err().code, "cancelled");
    canceller.join().unwrap();
    assert_eq!(engine.container(SERVER).unwrap_err().code, "cancelled");
    let beside = engine.beside(Cancel::default());
    assert_eq!(beside.containers(&ContainerFilter::default()).unwrap().len(), before);
    engine.context.cancel.rearm();
    let sim = engine.context.sim.clone();
    sim.watched(Some(Arc::new(KillAfterRun(sim.clone()))));
    assert_eq!(engine.run(&app(&["true"])).unwrap_err().code, "sim.killed");
    assert_eq!(sim.arrange(|state| state.containers.len()).unwrap(), before + 1);
    assert!(heard.0.lock().unwrap().is_empty());
    // The program that comes after it finds what it has left.
    let (sim, owner) = (Sim::in_memory(sim.into_state().unwrap()), Owner::default());
    owner.live_as("another life");
    let context = Context { sim, owner, ..engine.context };
    let next = Containers::new(context);
    assert_eq!(next.containers(&ContainerFilter::default()).unwrap().len(), before);
}

#[test]
fn a_change_is_called_by_the_container_s_name_whatever_it_was_asked_for_by() {
    let (engine, _) = engine();
    let id = engine.container(SERVER).unwrap().id;
    let fault = Fault {
        change: format!("stop {SERVER}"),
        after: 0,
        times: 1,
        code: "docker.timeout".into(),
        message: "no".into(),
    };
    engine.context.sim.arrange(|state| state.faults.push(fault)).unwrap();
    let both = [id.as_str(), "primero-worker-1"];
    assert_eq!(engine.stop(&both, Duration::ZERO).unwrap_err().code, "docker.timeout");
    assert!(engine.container(&id).unwrap().is_running());
    assert_eq!(engine.container("primero-worker-1").unwrap().state, "exited", "all come to an end");
}

#[test]
fn containers_are_found_by_what_they_are_of() {
    let (engine, _) = engine();
    let found =
        |filter: ContainerFilter| engine.containers(&filter).unwrap().into_iter().map(|c| c.name).collect::<Vec<_>>();
    let project = Some("primero".to_owned());
    assert_eq!(found(ContainerFilter { project: project.clone(), ..Default::default() }).len(), 5);
    let service = Some("worker".to_owned());
    assert_eq!(found(ContainerFilter { project, service, ..Default::default() }), ["primero-worker-1"]);
    assert_eq!(found(ContainerFilter { volume: Some("primero_database".into()), ..Default::default() }), [SERVER]);
    let labels = vec!["com.docker.compose.oneoff=False".to_owned()];
    engine.stop(&["primero-solr-1"], Duration::ZERO).unwrap();
    assert_eq!(found(ContainerFilter { labels, running: true, ..Default::default() }).len(), 4);
    assert_eq!(engine.networks(Some("primero")).unwrap()[0].containers.len(), 4);
    assert_eq!(engine.volumes(Some("primero")).unwrap().len(), 1);
    assert_eq!(engine.volumes(Some("other")).unwrap().len(), 0);
}

#[test]
fn an_image_that_is_not_there_is_not_pulled() {
    let (engine, _) = engine();
    assert!(engine.image("pgscript-test/absent:9").unwrap().is_none());
    let error = engine.pull("pgscript-test/absent:9").unwrap_err();
    assert!(error.code == "docker.image_missing" && error.hint.is_some(), "{error}");
    assert_eq!(engine.pull("pgscript-test/app:1").unwrap().tags, ["pgscript-test/app:1"]);
    assert_eq!(engine.spare_images(&["primero_database"], None).unwrap().len(), 1, "on nobody's behalf");
    engine.context.owner.set("here:/run");
    let server = engine.container(SERVER).unwrap().image_id;
    let spare = engine.spare_images(&["primero_database"], None).unwrap();
    assert_eq!((spare.len(), &spare[0]), (9, &server));
}

#[test]
fn the_last_lines_of_a_log_are_given_and_a_policy_is_checked() {
    let (engine, _) = engine();
    let last = engine.logs(SERVER, 1).unwrap();
    assert_eq!(last, "LOG:  database system is ready to accept connections\n");
    engine.set_restart_policy(SERVER, "on-failure:3").unwrap();
    assert_eq!(engine.container(SERVER).unwrap().restart_policy, "on-failure:3");
    let wrong = engine.set_restart_policy(SERVER, "sometimes").unwrap_err();
    assert_eq!(wrong.kind, crate::world::Kind::Usage);
    let spec = ContainerSpec { name: Some("quiet".into()), log_driver: Some("none".into()), ..app(&["true"]) };
    engine.create(&spec).unwrap();
    let error = engine.logs("quiet", 10).unwrap_err();
    assert!(error.message.contains("logging driver") && error.hint.is_some(), "{error}");
    engine.rename(SERVER, "aside").unwrap();
    assert_eq!(engine.rename("quiet", "aside").unwrap_err().code, "docker.conflict");
}
