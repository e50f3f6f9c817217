//! A history: an upgrade whose world breaks, an operator who goes on or back until it is over, and how it has ended.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chaos::breaking::{self, Broken};
use crate::chaos::engine::Engine;
use crate::chaos::outside;
use crate::chaos::plan::{Action, Break, Plan};
use crate::chaos::process::{self, Ended};
use crate::chaos::site::{PATIENCE, Site};

/// More than this many commands nobody types to get out.
const ATTEMPTS: usize = 8;
/// From this attempt on the world is whole again: space is freed, the store can be written to.
const MENDED: usize = 5;
/// The step with which the outage begins.
const FIRST_OUTAGE: &str = "stop the application";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Finished,
    RolledBack,
    PutBack,
    RefusedBefore,
    Fault,
}

/// What came of a seed.
pub struct Story {
    pub outcome: Outcome,
    /// What happened of what was planned.
    pub actions: Vec<Action>,
    pub faults: Vec<String>,
    pub took: Duration,
}

/// Where the run stands, as `status` tells.
struct Standing {
    run: String,
    state: String,
    ways: Vec<String>,
}

struct History<'a> {
    site: Site<'a>,
    broken: Vec<Broken>,
    to_come: Vec<Break>,
    happened: Vec<Action>,
    faults: Vec<String>,
}

/// Plays the seed's history on this engine; everything that was said is in `dir`.
pub fn play(plan: &Plan, engine: &Engine, dir: &Path) -> Story {
    let begun = Instant::now();
    _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("plan.txt"), plan.to_string()).unwrap();
    let mut happened = Vec::new();
    let mut faults = Vec::new();
    let outcome = caught(|| {
        let mut history = History {
            site: Site::up(engine, plan, dir),
            broken: Vec::new(),
            to_come: plan.breaks.clone(),
            happened: Vec::new(),
            faults: Vec::new(),
        };
        let outcome = caught(|| history.play());
        happened.append(&mut history.happened);
        faults.append(&mut history.faults);
        if outcome.is_err() || !faults.is_empty() {
            history.keep();
        }
        outcome
    });
    let outcome = outcome.and_then(|outcome| outcome).unwrap_or_else(|reason| {
        faults.push(reason);
        Outcome::Fault
    });
    faults.extend(left_on(engine).err());
    let outcome = if faults.is_empty() { outcome } else { Outcome::Fault };
    fs::write(dir.join("faults.txt"), faults.join("\n\n")).unwrap();
    Story { outcome, actions: happened, faults, took: begun.elapsed() }
}

/// The stack is gone; what is still there was nobody's.
fn left_on(engine: &Engine) -> Result<(), String> {
    let left = caught(|| engine.things())?;
    let left: Vec<_> =
        left.iter().filter(|thing| !["bridge", "host", "none"].iter().any(|name| thing.ends_with(name))).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left on the engine: {left:?}")) }
}

/// What a failed expectation said.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}

impl History<'_> {
    fn play(&mut self) -> Outcome {
        let upgrade = self.site.upgrade();
        let mut last = "run".to_owned();
        let mut ended = self.attempt(0, &last, upgrade);
        for attempt in 1.. {
            self.mend(attempt);
            let standing = self.look();
            self.agrees(&last, &ended, standing.as_ref());
            let Some(line) = self.next(attempt, standing.as_ref()) else { break };
            assert!(attempt < ATTEMPTS, "dead end: after {attempt} commands {:?} is advised", line);
            last = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            ended = self.attempt(attempt, &last, self.site.typed(&format!("{line} --yes")));
        }
        self.mend(ATTEMPTS);
        self.judge(&last)
    }

    /// One command, while the world breaks.
    fn attempt(&mut self, number: usize, name: &str, mut command: Command) -> Ended {
        let begun_at = self.site.journal_lines();
        let mut program = self.site.start(name, &mut command);
        self.site.note(&format!("attempt {number}: {name}, the journal has {begun_at} lines"));
        while program.runs() && program.age() < PATIENCE {
            process::go_on();
            for broken in self.broken.extract_if(.., |broken| broken.is_short()) {
                broken.mend(&self.site);
            }
            let next = self.to_come.first().filter(|next| next.attempt == number).copied();
            if let Some(next) = next.filter(|next| self.site.journal_lines() >= begun_at + next.line) {
                self.to_come.remove(0);
                std::thread::sleep(next.delay);
                if program.runs() {
                    self.site.note(&format!("{next}: at line {}", self.site.journal_lines()));
                    self.happened.push(next.action);
                    self.broken.extend(breaking::act(&self.site, &next, &program));
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        self.to_come.retain(|next| next.attempt > number);
        let ended = program.end(PATIENCE);
        breaking::undo_what_came_too_late(&self.site);
        self.site.note(&format!("{name} ended with {:?}", ended.code));
        assert!(ended.code.is_some(), "hang: {name} did not end:\n{}", ended.text);
        let is_deploying = self
            .site
            .others
            .borrow_mut()
            .iter_mut()
            .any(|other| other.said.to_string_lossy().contains("deploy-") && other.runs());
        self.site.was_deployed_over.set(is_deploying);
        self.site.wait_for_others();
        ended
    }

    fn mend(&mut self, attempt: usize) {
        for broken in self.broken.extract_if(.., |broken| attempt >= MENDED || broken.is_over(attempt)) {
            broken.mend(&self.site);
        }
    }

    /// As an operator looks before typing anything. `None` where there is no run that has begun.
    fn look(&mut self) -> Option<Standing> {
        let listed = self.site.ask("runs", "pgscript runs --format json");
        let runs = json(&listed.text)["runs"].as_array().cloned().unwrap_or_default();
        let begun = |run: &&Value| run["state"] != "not begun";
        let unfinished = |run: &&Value| run["state"].as_str().is_some_and(|state| !is_over(state));
        // One that was refused, a second operator's, says nothing about the stack.
        let acted = |run: &&Value| self.has_begun(run["run"].as_str().unwrap_or_default(), FIRST_OUTAGE);
        let run = runs.iter().filter(begun).rfind(unfinished);
        let run = run.or_else(|| runs.iter().filter(begun).rfind(acted)).or_else(|| runs.iter().rfind(begun))?;
        let run = run["run"].as_str().unwrap().to_owned();
        self.site.ask("status-for-people", &format!("pgscript status {run}"));
        let told = self.site.ask("status", &format!("pgscript status {run} --format json"));
        let status = json(&told.text);
        if told.code != Some(0) && self.broken.is_empty() {
            self.faults.push(format!("status ended with {:?}:\n{}", told.code, told.text));
        }
        if status["is_safe"] == false {
            self.faults.push(format!("status finds no complete copy of the data:\n{}", told.text));
        }
        let ways = status["next"].as_array().into_iter().flatten().filter_map(|next| next["command"].as_str());
        let ways = ways.filter(|way| !way.contains(" repl") && !way.contains("--skip")).map(str::to_owned).collect();
        Some(Standing { run, state: status["state"].as_str().unwrap_or_default().to_owned(), ways })
    }

    /// What the last command said of itself, and what the journal says.
    fn agrees(&mut self, verb: &str, ended: &Ended, standing: Option<&Standing>) {
        let state = standing.map_or("not begun", |standing| standing.state.as_str());
        let expected = match verb {
            "run" | "resume" => "done",
            _ => "rolled back",
        };
        if ended.code == Some(0) && state != expected && !ended.text.contains("[run.over]") {
            self.faults.push(format!("{verb} ended with 0, and yet the run is {state}:\n{}", ended.text));
        }
        if ended.code == Some(70) || ended.text.contains("panicked at") {
            self.faults.push(format!("{verb} failed in itself:\n{}", ended.text));
        }
    }

    /// The command that the operator types next; `None` when it is over.
    fn next(&self, attempt: usize, standing: Option<&Standing>) -> Option<String> {
        let standing = standing?;
        if is_over(&standing.state) {
            // The upgrade went well, and the operator wants the old server back all the same.
            let goes_back = standing.state == "done" && !self.site.plan.goes_on && attempt < MENDED;
            return goes_back.then(|| format!("pgscript rollback {}", standing.run));
        }
        // One that failed is followed by the other one, where there is another.
        let wants = if self.site.plan.goes_on == (attempt % 2 == 1) { "resume" } else { "rollback" };
        let typed: Vec<_> = standing.ways.iter().filter(|way| way.starts_with("pgscript ")).collect();
        let way = typed.iter().find(|way| way.contains(&format!(" {wants} "))).or_else(|| typed.first());
        let way = way.unwrap_or_else(|| panic!("dead end: nothing is advised for a run that is {}", standing.state));
        Some((*way).clone())
    }

    /// Looks at everything from outside.
    fn judge(&mut self, last: &str) -> Outcome {
        let standing = self.look();
        let state = standing.as_ref().map_or("not begun", |standing| standing.state.as_str());
        let outcome = match state {
            "done" => Outcome::Finished,
            _ if standing.as_ref().is_none_or(|standing| !self.has_begun(&standing.run, FIRST_OUTAGE)) => {
                Outcome::RefusedBefore
            }
            _ if last == "rollback" => Outcome::RolledBack,
            _ => Outcome::PutBack,
        };
        let major = if outcome == Outcome::Finished { Plan::TO } else { self.site.plan.from };
        let by_deploy = self.happened.iter().any(|action| [Action::DeployOld, Action::DeployNew].contains(action));
        if self.site.was_deployed_over.get() || by_deploy && outcome == Outcome::RefusedBefore {
            self.site.note("a foreign deploy had the last word: its people deploy the version that is there");
            self.site.deploy(major);
            self.site.wait_for_others();
        }
        let is_theirs = [Action::DatabaseKilled, Action::DatabaseStopped].iter().any(|a| self.happened.contains(a));
        if is_theirs && outcome == Outcome::RefusedBefore {
            self.site.note("the database was ended before anything was stopped: whoever did that starts it again");
            breaking::start_database(&self.site);
        }
        self.site.note(&format!("{outcome:?}, so {major} is expected"));
        self.faults.append(&mut outside::faults(&self.site, major));
        self.clean_up();
        outcome
    }

    fn has_begun(&self, run: &str, step: &str) -> bool {
        let journal = fs::read_to_string(self.site.stack.base.join(run).join("journal.jsonl")).unwrap_or_default();
        journal.contains(&format!("\"{step}\""))
    }

    /// Every end has its cleanup, and nothing is left then.
    fn clean_up(&mut self) {
        let runs = fs::read_dir(&self.site.stack.base).into_iter().flatten().flatten();
        let kept = runs.filter(|run| run.path().join("artefacts/upgrade.json").exists());
        let names: Vec<_> = kept.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
        for name in names {
            let project = &self.site.stack.name;
            let line = format!("pgscript run cleanup.rhai --yes --set project={project} --set run={name}");
            let mut ended = self.site.ask("cleanup", &line);
            if ended.text.contains("[cleanup.backup_not_started]") {
                // What was left open is done first, as it says.
                self.site.ask("resume", &format!("pgscript resume {name} --yes"));
                ended = self.site.ask("cleanup", &line);
            }
            if ended.code != Some(0) {
                self.faults.push(format!("cleanup of {name} ended with {:?}:\n{}", ended.code, ended.text));
            }
        }
        self.faults.append(&mut outside::faults_after_cleanup(&self.site));
    }

    /// What somebody needs who looks for the reason of a fault.
    fn keep(&self) {
        let (dir, store) = (&self.site.dir, &self.site.stack.base);
        _ = Command::new("cp").arg("-r").arg(store).arg(dir.join("runs")).output();
        for run in fs::read_dir(dir.join("runs")).into_iter().flatten().flatten() {
            // Data: large, and of no use.
            for name in ["dump", "volume.tar.zst"] {
                let path = run.path().join("artefacts").join(name);
                _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
        let script = "docker ps -a --no-trunc; docker volume ls; docker network ls; docker inspect $(docker ps -aq); \
                      for id in $(docker ps -aq); do echo \"== $id\"; docker logs --timestamps --tail 200 $id; done";
        self.site.housekeeping("engine", script);
        _ = caught(|| self.site.wait_for_others());
    }
}

fn is_over(state: &str) -> bool {
    ["done", "rolled back", "not begun"].iter().any(|over| state.starts_with(over))
}

/// The text after the head that the driver writes into each file.
fn json(text: &str) -> Value {
    let begin = text.find("\n\n").map_or(0, |head| head + 2);
    serde_json::from_str(&text[begin..]).unwrap_or_default()
}
