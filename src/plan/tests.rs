use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::event::Silent;
use crate::practice::life::{self, Stage, newest_run};
use crate::practice::theatre::store_dir;
use crate::run::drive::{self, Setup};
use crate::run::instants::OfEnvironment;
use crate::run::journal;
use crate::run::store::Store;
use crate::script::loader::Places;
use crate::script::record::Entry;
use crate::script::source::Source;
use crate::world::Cancel;
use crate::world::sim::{self, Sim, State};

/// A simulated world that stands for the live one, and a store of its own.
struct Site {
    setup: Setup,
    sim: Sim,
    _dir: TempDir,
}

impl Site {
    fn new(world: State, set: &[&str]) -> Self {
        let dir = store_dir().unwrap();
        let mut given = Given::default();
        set.iter().for_each(|set| given.add_set(set).unwrap());
        let stage = Stage {
            places: Places::new(None).unwrap().read_once(),
            given,
            store: Store::of_practice(dir.path().to_owned()),
            listener: Arc::new(Silent),
            earlier: 0,
        };
        let sim = Sim::in_memory(world);
        let setup = life::setup(&stage, sim.clone(), Cancel::default(), Arc::new(OfEnvironment::default()));
        Self { setup, sim, _dir: dir }
    }

    fn script(&self) -> Source {
        self.setup.places.script("upgrade.rhai").unwrap()
    }

    fn plan(&self) -> Plan {
        make(&self.setup, &self.script()).unwrap().plan
    }

    /// Runs it here, and gives the commands of all effects.
    fn run(&self) -> Vec<String> {
        let driven = drive::run(&self.setup, self.script(), false).unwrap();
        assert!(driven.outcome.failure.is_none(), "{:?}", driven.outcome.failure);
        let lines = journal::read(&newest_run(&self.setup.store).unwrap().journal()).unwrap().lines;
        let command = |line: journal::Line| match line.entry {
            Entry::Effect { command, .. } => Some(command),
            _ => None,
        };
        lines.into_iter().filter_map(command).collect()
    }
}

fn settings(strategy: &str) -> [String; 3] {
    ["to=17", "ansible_dir=/srv/primero/ansible", strategy].map(str::to_owned)
}

/// The reference deployment, whose deploy makes all containers anew, as the documented one does.
fn site(strategy: &str) -> Site {
    let settings = settings(strategy);
    let mut world = sim::reference(13);
    let mut stack = world.stacks["primero"].clone();
    for service in &mut stack.services {
        service.like = Some((*world.show(&format!("primero-{}-1", service.name)).unwrap().inspect).clone());
    }
    world.stacks.insert("primero".into(), stack);
    Site::new(world, &settings.each_ref().map(String::as_str))
}

#[test]
fn a_plan_has_the_effects_of_the_run_in_their_order_and_changes_nothing() {
    for strategy in ["strategy=dump", "strategy=pg_upgrade"] {
        let site = site(strategy);
        let before = site.sim.read(|state| Ok(state.instants)).unwrap();
        let plan = site.plan();
        assert_eq!(plan.failure, None);
        assert_eq!(site.sim.read(|state| Ok(state.instants)).unwrap(), before, "the world was changed");
        assert!(site.setup.store.runs().unwrap().is_empty(), "a run was begun");
        let planned: Vec<_> = plan.commands().map(str::to_owned).collect();
        let done = site.run();
        let first = planned.iter().zip(&done).find(|(planned, done)| planned != done);
        assert_eq!((first, planned.len()), (None, done.len()), "{strategy}");
    }
}

#[test]
fn a_plan_tells_the_copies_the_outage_and_what_is_kept() {
    let plan = site("strategy=dump").plan();
    let all = || plan.steps.iter().flat_map(|step| &step.effects);
    assert!(all().all(|effect| !effect.copies_after.is_empty()), "no complete copy of the data is left");
    let outage = plan.outage.clone().unwrap();
    assert_eq!((outage.from.as_str(), outage.to.as_deref()), ("stop the application", Some("deploy the new version")));
    assert!(outage.seconds > 20.0, "{outage:?}");
    assert!(plan.stopped.contains(&"primero-postgres-1".to_owned()), "{:?}", plan.stopped);
    let dump = all().find(|effect| effect.command.starts_with("pg_dumpall -h primero-postgres-1 ")).unwrap();
    assert!(dump.reads > 0 && dump.writes > 0 && dump.copies_after.len() > dump.copies_before.len(), "{dump:?}");
    let kept = ["volume primero_database_pg13_upgrade-1", "artefacts/dump", "artefacts/volume.tar.zst"];
    assert!(kept.iter().all(|what| plan.kept.iter().any(|found| found.contains(what))), "{:?}", plan.kept);
    assert!(plan.questions.is_empty());
    let short = text::short(&plan, 80);
    assert!(short.contains("outage: about") && short.lines().all(|line| line.len() <= 80), "{short}");
    let text = text::full(&plan, 80);
    let outer = plan.steps.iter().filter(|step| !step.path.contains(" / ")).count();
    for line in ["    + docker stop -t 60 primero-application-1", &format!("{outer:>3}. gather statistics")] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_plan_says_why_the_script_would_be_refused() {
    let mut world = sim::reference(13);
    world.free = 1000;
    let plan = Site::new(world, &settings("strategy=dump").each_ref().map(String::as_str)).plan();
    assert_eq!(plan.failure.map(|failure| failure.code), Some("preflight.space".into()));
    assert_eq!((plan.outage, plan.stopped), (None, Vec::new()));
}

#[test]
fn what_the_simulation_does_not_know_the_real_server_answers_and_nothing_that_acts() {
    use crate::world::capture::{beside::Beside, capture};
    let site = site("strategy=dump");
    let told = sim::state::Answer {
        sql: "SELECT something".into(),
        rows: vec![serde_json::from_value(serde_json::json!({"it": "real"})).unwrap()],
    };
    site.sim.arrange(|state| state.answers.push(told)).unwrap();
    let world = &site.setup.world;
    let captured = capture(world, &["primero".to_owned()].into()).unwrap();
    let sim = Sim::in_memory(captured.state.clone());
    let beside = Beside {
        sim: sim.clone(),
        live: world.clone(),
        store: "/none".into(),
        stands_for: "/none".into(),
        free: captured.state.free,
        projects: Vec::new(),
        assumed: Arc::default(),
        asked: Arc::default(),
    };
    let stage = Stage {
        places: site.setup.places.clone(),
        given: Given::default(),
        store: site.setup.store.clone(),
        listener: Arc::new(Silent),
        earlier: 0,
    };
    let own = life::setup(&stage, sim, Cancel::default(), Arc::new(OfEnvironment::default())).world;
    let own = beside.world(own, captured.servers);
    let server = crate::world::postgres::Server::of(&own.containers.container("primero-postgres-1").unwrap(), None);
    let ask = |sql: &str| own.postgres.query(&server, "postgres", sql, &[]);
    assert_eq!(ask("SELECT something").unwrap()[0]["it"], "real");
    let acting = ask("SELECT something, pg_drop_replication_slot('x')");
    assert_eq!(acting.unwrap_err().code, "sim.unknown_sql");
}

#[test]
fn what_has_moved_since_is_named_by_the_kind_of_what_it_is() {
    let site = site("strategy=dump");
    let before = site.plan();
    assert_eq!(moved::refuse_moved(&before, &site.plan()), Ok(()));
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut now = before.clone();
        change(&mut now);
        moved::refuse_moved(&before, &now).unwrap_err().code
    };
    let to = |plan: &mut Plan| _ = plan.parameters.insert("to".into(), Some(16.into()));
    assert_eq!(refused(&to), "plan.other_parameters");
    assert_eq!(refused(&|plan| _ = plan.basis.sources.insert(String::new(), "x".into())), "plan.other_script");
    site.sim
        .arrange(|state| {
            let tagged =
                |image: &&mut sim::state::Image| image.shown.tags.contains(&"pgscript-test/postgres:17".into());
            state.images.iter_mut().find(tagged).unwrap().shown.id = format!("sha256:{:0>64}", 1);
        })
        .unwrap();
    let error = moved::refuse_moved(&before, &site.plan()).unwrap_err();
    assert!(error.message.contains("the tag pgscript-test/postgres:17 means another image"), "{}", error.message);
    site.sim.arrange(|state| state.stop("primero-worker-1")).unwrap().unwrap();
    let error = moved::refuse_moved(&before, &site.plan()).unwrap_err();
    assert_eq!(error.code, "plan.world_moved");
    assert!(error.message.contains("container primero-worker-1 is exited, and was running"), "{}", error.message);
}

#[test]
fn a_rehearsal_tells_how_long_the_steps_of_the_outage_take() {
    let plan = site("strategy=dump").plan();
    let seconds = |plan: &Plan, path: &str| plan.steps.iter().find(|step| step.path == path).unwrap().seconds;
    let phases = serde_json::json!({ "dump the cluster": 100.0, "cut the copy off": 7.0 });
    let told = make::measured(plan.clone(), "rehearse-3", &phases);
    assert!((seconds(&told, "dump the cluster") - 100.0).abs() < 0.01);
    assert_eq!(seconds(&told, "restore the dump"), seconds(&plan, "restore the dump"));
    let longer = told.outage.unwrap().seconds - plan.outage.clone().unwrap().seconds;
    assert!((longer + seconds(&plan, "dump the cluster") - 100.0).abs() < 0.01, "{longer}");
    assert!(told.times_by.starts_with("rehearsal rehearse-3"), "{}", told.times_by);
}
