//! `sim::` and the asserts: what tests of scripts may call, and no other script.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Map};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::history::End;
use super::instants::{Act, When};
use super::invariants::{complete_copies, owed, running_rows};
use super::life::{self, Life, Stage, Way};
use crate::event::{Event, Listener};
use crate::script::api::call::Call;
use crate::script::api::{Namespace, Registrar, ScriptResult, values};
use crate::script::errors;
use crate::script::parameters::Given;
use crate::world::sim::state::{Answer, Effect, Fault, Printed};
use crate::world::sim::{self, Deed, Sim, State};
use crate::world::{Error, Result};

/// What a test and its functions share.
#[derive(Clone)]
pub struct Play(Arc<Inner>);

struct Inner {
    sim: Sim,
    stage: Stage,
    said: Arc<Said>,
    /// Where the test is.
    dir: PathBuf,
    /// What is to happen in the next life.
    acts: Mutex<Vec<(When, Act)>>,
    changes: Mutex<Vec<String>>,
}

/// What scripts say, as a person would read it.
#[derive(Default)]
pub struct Said(Mutex<Vec<String>>);

impl Said {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listener for Said {
    fn hear(&self, event: &Event) {
        let line = match event {
            Event::Say { text } => text.clone(),
            Event::Warn { text } => format!("warning: {text}"),
            Event::Effect { command } => format!("+ {command}"),
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Play {
    /// `stage`: where the scripts of the test are run; its listener is `said`. `dir`: the directory of the test's file.
    pub fn new(sim: Sim, stage: Stage, said: Arc<Said>, dir: PathBuf) -> Self {
        Self(Arc::new(Inner { sim, stage, said, dir, acts: Mutex::default(), changes: Mutex::default() }))
    }

    fn acts(&self) -> MutexGuard<'_, Vec<(When, Act)>> {
        self.0.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T> {
        self.0.sim.read(|state| Ok(look(state)))
    }

    fn arrange(&self, arrange: impl FnOnce(&mut State)) -> ScriptResult {
        self.0.sim.arrange(arrange)?;
        Ok(Dynamic::UNIT)
    }

    /// A process of the program lives in this world, and what it leaves is this world from then on.
    fn live(&self, way: Way, given: Given) -> ScriptResult {
        let stage = Stage { given, ..self.0.stage.clone() };
        let world = self.look(State::clone)?;
        let acts = std::mem::take(&mut *self.acts());
        self.0.said.take();
        let ended = Life::new(&stage, world, acts).live(way)?;
        let end = super::history::end_of(&stage, &ended)?;
        *self.0.changes.lock().unwrap_or_else(PoisonError::into_inner) =
            ended.moments.iter().filter_map(|moment| moment.change().map(str::to_owned)).collect();
        let step = match &ended.outcome {
            Ok(driven) => driven.outcome.failure.as_ref().and_then(|failure| failure.step.clone()),
            Err(_) => None,
        };
        let name = match end {
            End::Killed => "killed",
            End::Done => "done",
            End::PutBack => "put back",
            End::Nothing => "refused",
            End::Failed(_) => "failed",
        };
        let (code, message) = why(&ended, &end);
        self.0.sim.arrange(|state| *state = ended.world)?;
        let said = self.0.said.take();
        Ok(values::from_json(json!({ "end": name, "code": code, "message": message, "step": step, "said": said })))
    }
}

fn why(ended: &life::Ended, end: &End) -> (String, String) {
    match end {
        End::Failed(failed) => return (failed.code.clone(), failed.message.clone()),
        End::Killed => return Default::default(),
        _ => {}
    }
    match &ended.outcome {
        Ok(driven) => driven
            .outcome
            .failure
            .as_ref()
            .map_or_else(Default::default, |failure| (failure.report.code.clone(), failure.report.message.clone())),
        Err(error) => (error.code.clone(), error.message.clone()),
    }
}

/// Declares everything. Without a play the functions are known, but can't be called.
pub fn register(registrar: &mut Registrar, play: Option<&Play>) {
    let play = play.cloned();
    registrar.namespace("sim", "The simulated world of a test; in a script there is no such thing.", |ns| {
        worlds(ns, &play);
        lives(ns, &play);
        disturbances(ns, &play);
        looks(ns, &play);
    });
    registrar.namespace("", "", asserts);
}

/// Declares a function whose body gets the play as well.
fn declare(
    ns: &mut Namespace<'_>,
    play: &Option<Play>,
    declaration: &'static str,
    doc: &'static str,
    body: impl Fn(&Play, &mut Call<'_>) -> ScriptResult + Send + Sync + Clone + 'static,
) {
    let play = play.clone();
    ns.function(declaration, doc, move |call| match &play {
        Some(play) => body(play, call),
        None => Err(Error::usage("sim.no_test", "only tests have a simulated world").into()),
    });
}

/// A plain value of a script as what it stands for.
fn typed<T: DeserializeOwned>(value: &Dynamic, what: &str) -> Result<T> {
    let plain = values::to_json(value)?;
    serde_json::from_value(plain).map_err(|e| Error::usage("sim.malformed", format!("{what}: {e}")))
}

fn worlds(ns: &mut Namespace<'_>, play: &Option<Play>) {
    declare(
        ns,
        play,
        "stack(major: int = 13)",
        "Puts the reference deployment in place of whatever there was: project primero with a database of that major, \
         an application that writes to it, and an Ansible that deploys it.",
        |play, call| {
            let major = if call.has("major") { call.int("major")? } else { 13 };
            let major = u32::try_from(major).unwrap_or_default();
            play.arrange(|state| *state = sim::reference(major))
        },
    );
    declare(
        ns,
        play,
        "captured(file: string)",
        "Puts in place of whatever there was the deployment that `pgscript plan --capture FILE` has kept; the path \
         goes by the directory of the test.",
        |play, call| {
            let world = State::of_file(&play.0.dir.join(call.string("file")?))?;
            play.arrange(|state| *state = world)
        },
    );
    declare(ns, play, "disk(free: int)", "So many bytes are free on the machine's disk.", |play, call| {
        let free = u64::try_from(call.int("free")?).unwrap_or_default();
        play.arrange(|state| state.free = free)
    });
    declare(
        ns,
        play,
        "answer(sql: string, rows: Array)",
        "What servers answer to a query that has this text in it.",
        |play, call| {
            let (sql, rows) = (call.string("sql")?, typed(&call.value("rows"), "rows")?);
            play.arrange(|state| state.answers.insert(0, Answer { sql, rows }))
        },
    );
    declare(
        ns,
        play,
        "program(name: string, gives: Map)",
        "What a program in containers gives: #{ exit_code, stdout, stderr }.",
        |play, call| {
            let (name, gives) = (call.string("name")?, typed::<Printed>(&call.value("gives"), "gives")?);
            play.arrange(|state| _ = state.programs.insert(name, gives))
        },
    );
    declare(
        ns,
        play,
        "command(argv: string, effect: Map)",
        "What a command of this machine does: #{ does: \"nothing\" }, #{ does: \"fails\", message: … }, \
         #{ does: \"deploy\", project: …, version: … }. `argv`: all its words, or the program alone.",
        |play, call| {
            let (argv, effect) = (call.string("argv")?, typed::<Effect>(&call.value("effect"), "effect")?);
            play.arrange(|state| _ = state.commands.insert(argv, effect))
        },
    );
    declare(
        ns,
        play,
        "playbook(name: string, effect: Map)",
        "What a playbook does; see sim::command. The version may be the name of a variable.",
        |play, call| {
            let (name, effect) = (call.string("name")?, typed::<Effect>(&call.value("effect"), "effect")?);
            play.arrange(|state| _ = state.ansible.playbooks.insert(name, effect))
        },
    );
    declare(
        ns,
        play,
        "host(name: string, variables: Map)",
        "A host of Ansible's inventory, with its variables.",
        |play, call| {
            let (name, variables) = (call.string("name")?, typed(&call.value("variables"), "variables")?);
            play.arrange(|state| _ = state.ansible.hosts.insert(name, variables))
        },
    );
}

fn lives(ns: &mut Namespace<'_>, play: &Option<Play>) {
    declare(
        ns,
        play,
        "run(script: string, parameters: Map = #{}) -> Map",
        "Runs a script in this world: #{ end, code, message, step, said }. `end` is done, put back, failed, refused or \
         killed; `said` are the lines that an operator would read.",
        |play, call| {
            let source = play.0.stage.places.script(&call.string("script")?)?;
            let given = if call.has("parameters") { call.get::<Map>("parameters")? } else { Map::new() };
            let file = Some(("the test".into(), values::to_object(&given)?));
            play.live(Way::Run(source), Given { file, ..Given::default() })
        },
    );
    declare(
        ns,
        play,
        "resume() -> Map",
        "Resumes the newest run of this test; gives what sim::run gives.",
        |play, _| {
            let place = life::newest_run(&play.0.stage.store)?;
            play.live(Way::Resume(place), Given::default())
        },
    );
    declare(ns, play, "rollback() -> Map", "Rolls the newest run of this test back; see sim::resume.", |play, _| {
        let place = life::newest_run(&play.0.stage.store)?;
        play.live(Way::Rollback(place), Given::default())
    });
    declare(
        ns,
        play,
        "changes() -> Array",
        "All changes of the last run, as the functions below name them: `start primero-postgres-1`.",
        |play, _| Ok(values::from_serde(&*play.0.changes.lock().unwrap_or_else(PoisonError::into_inner))),
    );
}

fn disturbances(ns: &mut Namespace<'_>, play: &Option<Play>) {
    declare(
        ns,
        play,
        "kill_before(change: string)",
        "The next run is killed before the first change that begins so; sim::changes() shows what there is.",
        |play, call| {
            play.acts().push((When::Before(call.string("change")?), Act::Kill));
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        play,
        "kill_after(change: string)",
        "The next run is killed after the first change that begins so.",
        |play, call| {
            play.acts().push((When::After(call.string("change")?), Act::Kill));
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        play,
        "fail(change: string, options: Map = #{})",
        "Changes that begin so fail. Options: after (so many succeed first), times (so many fail; 0, the default, for \
         all), code, message.",
        |play, call| {
            let o = call.options("options", &["after", "times", "code", "message"])?;
            let number = |value: Option<i64>| u64::try_from(value.unwrap_or_default()).unwrap_or_default();
            let fault = Fault {
                change: call.string("change")?,
                after: number(o.int("after")?),
                times: number(o.int("times")?),
                code: o.string("code")?.unwrap_or_else(|| "sim.failed".into()),
                message: o.string("message")?.unwrap_or_else(|| "this fails here".into()),
            };
            play.arrange(|state| state.faults.push(fault))
        },
    );
    declare(
        ns,
        play,
        "before(change: string, deed: string, of: any = ())",
        "In the next run somebody else does something before the first change that begins so: prune_containers, \
         prune_volumes, prune_networks, compose_up (of #{ project, version }), start_container, stop_container, \
         remove_container, insert, insert_through_port, kill, crash_loop, mend (of a container's name), \
         restart_engine, power_cut.",
        |play, call| {
            let act = Act::Deed(deed(call)?);
            play.acts().push((When::Before(call.string("change")?), act));
            Ok(Dynamic::UNIT)
        },
    );
    declare(
        ns,
        play,
        "happens(deed: string, of: any = ())",
        "Somebody else does something now; see sim::before.",
        |play, call| {
            let deed = deed(call)?;
            play.arrange(|state| state.deed(&deed))
        },
    );
}

fn deed(call: &Call<'_>) -> Result<Deed> {
    let (name, of) = (call.string("deed")?, values::to_json(&call.value("of"))?);
    let told = if of == Value::Null { json!({ "deed": name }) } else { json!({ "deed": name, "of": of }) };
    serde_json::from_value(told).map_err(|e| Error::usage("sim.malformed", format!("{name}: {e}")))
}

fn looks(ns: &mut Namespace<'_>, play: &Option<Play>) {
    declare(
        ns,
        play,
        "rows(container: string) -> int",
        "Rows that the running server of a container holds, in all databases.",
        |play, call| {
            let name = call.string("container")?;
            let rows = play.look(|state| state.cluster(&name).map(|cluster| cluster.rows().count()))?;
            let missing = || Error::failed("sim.no_server", format!("no server runs in {name}"));
            Ok(Dynamic::from_int(i64::try_from(rows.ok_or_else(missing)?).unwrap_or(i64::MAX)))
        },
    );
    declare(
        ns,
        play,
        "lost() -> int",
        "Rows that a writer was told are kept, and that no running server of the stack has.",
        |play, _| {
            let lost = play.look(|state| {
                let has: std::collections::BTreeSet<_> = running_rows(state).collect();
                owed(state, None).difference(&has).count()
            })?;
            Ok(Dynamic::from_int(i64::try_from(lost).unwrap_or(i64::MAX)))
        },
    );
    declare(
        ns,
        play,
        "copies() -> Array",
        "Where everything is that writers were told is kept, in something that a power cut would leave.",
        |play, _| Ok(values::from_serde(&play.look(|state| complete_copies(state, &owed(state, None)))?)),
    );
}

fn asserts(ns: &mut Namespace<'_>) {
    ns.function("assert(condition: bool, message: string = \"\")", "The test fails unless this holds.", |call| {
        if call.get::<bool>("condition")? {
            return Ok(Dynamic::UNIT);
        }
        let message = if call.has("message") { call.string("message")? } else { "this does not hold".into() };
        Err(Error::failed("test.assert", message).into())
    });
    ns.function("assert_eq(is: any, should_be: any)", "The test fails unless both are the same.", |call| {
        let (is, should_be) = (shown(&call.value("is")), shown(&call.value("should_be")));
        if is == should_be {
            return Ok(Dynamic::UNIT);
        }
        Err(Error::failed("test.assert_eq", format!("these differ:\n  is         {is}\n  should be  {should_be}"))
            .into())
    });
    ns.function(
        "assert_fails(code: string, body: Fn)",
        "The test fails unless this raises an error of that code.",
        |call| {
            let (code, body) = (call.string("code")?, call.function("body")?);
            match body.call_within_context::<Dynamic>(&call.context, ()) {
                Ok(_) => Err(Error::failed("test.assert_fails", format!("no error came; it should be {code}")).into()),
                Err(error) => match errors::cause(&error) {
                    found if found.code == code => Ok(Dynamic::UNIT),
                    found => {
                        let message =
                            format!("another error came:\n  is         {found} [{}]\n  should be  {code}", found.code);
                        Err(Error::failed("test.assert_fails", message).into())
                    }
                },
            }
        },
    );
}

/// Plain data as JSON, which tells a text from a number; anything else as it is printed.
fn shown(value: &Dynamic) -> String {
    values::to_json(value).map_or_else(|_| value.to_string(), |plain| plain.to_string())
}
