//! Where a run stands, in plain words: is the data safe, where is it, and what to type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::copies::{self, Copy};
use super::history::{History, Input, State, StepState};
use super::journal::Damage;
use super::last_word;
use super::store::{Driver, Place};
use crate::script::evidence::Fact;
use crate::script::record::Verdict;
use crate::ui::human;
use crate::world::World;
use crate::world::container::ContainerFilter;

/// Everything there is to say about a run.
#[derive(Debug, Serialize)]
pub struct Status {
    pub run: String,
    pub directory: String,
    pub script: String,
    /// `running`, `done`, `failed`, `interrupted`, `rolling back`, `rolled back`, `refused`, or `damaged`.
    pub state: String,
    pub begun_at: String,
    pub last_at: String,
    pub driver: Option<Driver>,
    pub steps: Vec<StepStatus>,
    pub error: Option<String>,
    /// What the script has come to, where it says so.
    pub verdict: Option<Verdict>,
    /// What was under way when the process ended, as an operator would type it.
    pub cut_off_in: Vec<String>,
    /// Whether a complete copy of the data is known to exist; `None` when the engine could not be asked, and of a run
    /// that has no copies to tell of.
    pub is_safe: Option<bool>,
    /// Those that are there first.
    pub copies: Vec<Copy>,
    /// A cleanup has removed the copies that the run had kept.
    pub is_cleaned: bool,
    /// Containers that the run keeps down, and what they are now.
    pub held: Vec<Held>,
    pub overrides: Vec<String>,
    /// What was done by hand in sessions, in its order.
    pub by_hand: Vec<ByHand>,
    pub damage: Option<String>,
    pub next: Vec<Next>,
}

#[derive(Debug, Serialize)]
pub struct StepStatus {
    pub path: String,
    /// `done`, `failed`, `cut off`, `under way`, `put back`, or `not put back`.
    pub state: &'static str,
    pub seconds: Option<f64>,
}

/// What an operator typed, and what it did.
#[derive(Debug, Serialize)]
pub struct ByHand {
    pub text: String,
    /// RFC 3339
    pub at: String,
    /// `done`, `failed: …`, `cut off`, or `under way`.
    pub state: String,
    pub commands: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Held {
    pub name: String,
    /// As the engine shows it; `None` when it could not be asked, `gone` when there is no such container.
    pub state: Option<String>,
}

/// A command, and what it does.
#[derive(Debug, Serialize)]
pub struct Next {
    pub command: String,
    pub meaning: String,
}

/// What the engine shows now, `None` where it did not answer; and what is on this machine's disk.
#[derive(Debug, Default)]
pub struct Seen {
    pub volumes: Option<BTreeSet<String>>,
    /// Name (or id) to state.
    pub containers: Option<BTreeMap<String, String>>,
    /// Of the run's backups and dumps and the directory they are in, those that are there.
    pub files: BTreeSet<PathBuf>,
}

/// Of a step, or an input, that its process did not bring to an end.
const CUT_OFF: &str = "cut off";

/// A frightened operator gets the answer that the journal has, rather than wait for an engine that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Seen {
    /// What the engine shows, if it shows it soon; and what is there of the run's files.
    pub fn now(world: &World, place: &Place, history: &History) -> Self {
        let (sender, receiver) = mpsc::channel();
        let asking = world.clone();
        std::thread::spawn(move || sender.send(Self::ask(&asking)));
        let taken = history.facts.iter().filter_map(|fact| match fact {
            Fact::BackupTaken { path, .. } | Fact::DumpTaken { path, .. } => Some(path.clone()),
            _ => None,
        });
        let is_there = |path: &PathBuf| world.host.entry(path).is_ok_and(|found| found.is_some());
        let files = taken.chain([place.artefacts()]).filter(is_there).collect();
        Self { files, ..receiver.recv_timeout(PATIENCE).unwrap_or_default() }
    }

    fn ask(world: &World) -> Self {
        let volumes = world.containers.volumes(None).ok().map(|all| all.into_iter().map(|v| v.name).collect());
        let containers = world.containers.containers(&ContainerFilter::default()).ok();
        let containers = containers.map(|all| all.into_iter().map(|c| (c.id, c.state)).collect());
        Self { volumes, containers, files: BTreeSet::new() }
    }
}

impl Status {
    pub fn new(place: &Place, history: &History, damage: Option<&Damage>, seen: &Seen) -> Self {
        // Who asks from within a session is no process that one would have to wait for.
        let driver = place.driver().filter(|driver| driver.pid != std::process::id());
        let state = match (&driver, damage) {
            (Some(_), _) => "running",
            (None, Some(_)) => "damaged",
            (None, None) => history.state().as_str(),
        };
        let mut copies = copies::copies(history, seen);
        if damage.is_some() {
            // Nobody knows what the run has touched after its last sound line.
            copies.retain(|copy| copy.place != copies::UNTOUCHED);
        }
        if history.cleaned {
            copies.retain(|copy| copy.is_there != Some(false));
        }
        copies.sort_by_key(|copy| (!copy.is_complete, copy.is_there == Some(false)));
        // The guards let nothing go without a copy, be it of another run; only the operator can.
        let has_none = copies.is_empty() && history.overrides.is_empty();
        Self {
            run: place.id.clone(),
            directory: place.dir.display().to_string(),
            script: history.script.clone(),
            state: state.to_owned(),
            begun_at: history.begun_at.clone(),
            last_at: history.last_at.clone(),
            steps: steps(history, driver.is_some()),
            error: history.error.as_ref().map(|error| {
                let place = error.place.as_ref().map(|(file, line)| format!("\nat {file}:{line}"));
                format!("[{}] {}{}", error.code, error.message, place.unwrap_or_default())
            }),
            verdict: history.verdict.clone(),
            cut_off_in: match &driver {
                None => history.open_effects.values().map(|(_, command)| command.clone()).collect(),
                Some(_) => Vec::new(),
            },
            is_safe: if damage.is_some() || has_none { None } else { copies::is_safe(&copies) },
            copies,
            is_cleaned: history.cleaned,
            held: held(history, seen),
            overrides: history.overrides.clone(),
            by_hand: history.by_hand.iter().map(|input| ByHand::of(input, driver.is_some())).collect(),
            damage: damage
                .map(|damage| format!("line {} of the journal can't be trusted: {}", damage.line, damage.what)),
            next: next(place, history, damage, driver.as_ref(), seen),
            driver,
        }
    }
}

impl ByHand {
    fn of(input: &Input, is_running: bool) -> Self {
        let state = match &input.state {
            StepState::Done(_) => "done".to_owned(),
            StepState::Failed(error) => format!("failed: {}", error.message),
            StepState::Begun if is_running => "under way".to_owned(),
            StepState::Begun => CUT_OFF.to_owned(),
        };
        Self { text: input.text.clone(), at: input.at.clone(), state, commands: input.commands.clone() }
    }
}

fn steps(history: &History, is_running: bool) -> Vec<StepStatus> {
    let each = history.order.iter().map(|path| {
        let step = &history.steps[path];
        let (state, seconds) = match &step.state {
            _ if history.is_put_back(path) => ("put back", None),
            _ if history.not_undone.contains_key(path) => ("not put back", None),
            StepState::Done(_) => ("done", Some(step.seconds)),
            StepState::Failed(_) if history.left_open.contains(path) => ("left open", None),
            StepState::Failed(_) => ("failed", None),
            StepState::Begun if is_running => ("under way", None),
            StepState::Begun => (CUT_OFF, None),
        };
        StepStatus { path: path.clone(), state, seconds }
    });
    each.collect()
}

/// How to do what a run that is done has left open.
fn left_open(run: &str, history: &History) -> Vec<Next> {
    let steps: Vec<_> = history.left_open.iter().map(|step| format!("`{step}`")).collect();
    let meaning = format!("does what is left open: {}", steps.join(", "));
    let next = Next { command: format!("pgscript resume {run}"), meaning };
    if steps.is_empty() { Vec::new() } else { vec![next] }
}

fn held(history: &History, seen: &Seen) -> Vec<Held> {
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for fact in &history.facts {
        match fact {
            Fact::Held { container, name } => _ = held.insert(container, name),
            Fact::Released { container } => _ = held.remove(container.as_str()),
            _ => {}
        }
    }
    let state =
        |id: &str| seen.containers.as_ref().map(|known| known.get(id).cloned().unwrap_or_else(|| "gone".to_owned()));
    let held = held.into_iter().map(|(id, name)| Held { name: name.to_owned(), state: state(id) });
    // What a deploy has started or replaced since is not kept down any more.
    let is_free = |held: &Held| matches!(held.state.as_deref(), Some("running" | "gone"));
    let mut held: Vec<_> = held.filter(|held| !history.state().is_over() || !is_free(held)).collect();
    // A deploy makes another container of the same name: one line tells where that stands.
    held.sort_by_key(|held| (held.name.clone(), held.state.as_deref() == Some("gone")));
    held.dedup_by(|next, before| next.name == before.name);
    held
}

fn next(place: &Place, history: &History, damage: Option<&Damage>, driver: Option<&Driver>, seen: &Seen) -> Vec<Next> {
    let id = &place.id;
    let say = |command: String, meaning: &str| Next { command, meaning: meaning.to_owned() };
    let resume = || say(format!("pgscript resume {id}"), "goes on where it stopped; what is done is not done again");
    let rollback = |meaning: &str| say(format!("pgscript rollback {id}"), meaning);
    if let Some(driver) = driver {
        return vec![
            say(format!("pgscript status {id}"), "look again: a process is working on it"),
            say(format!("kill -INT {}", driver.pid), "stop it as Ctrl-C would"),
        ];
    }
    if damage.is_some() {
        let meaning = "brings the old server back without the journal, from the artefacts";
        return place
            .rollback_without_journal(|path| seen.files.contains(path))
            .map(|command| say(command, meaning))
            .into_iter()
            .collect();
    }
    let by_hand = |meaning| say(format!("pgscript repl --run {id}"), meaning);
    let can_go_back = history.no_rollback.is_none();
    let (mut next, back) = match history.state() {
        State::NotBegun | State::RolledBack | State::Refused => (Vec::new(), None),
        State::Session => (vec![by_hand("goes on by hand")], None),
        State::Failed | State::Interrupted => (vec![resume()], Some("puts everything back as it was")),
        State::RollingBack => (Vec::new(), Some("goes on putting back")),
        State::Done if history.cleaned || history.effects == 0 => (Vec::new(), None),
        State::Done => (left_open(id, history), Some("goes back to what was before; says first what that costs")),
    };
    next.extend(back.filter(|_| can_go_back).map(rollback));
    if history.state() == State::RollingBack {
        next.extend(last_word::skips(id, history).map(|(command, meaning)| say(command, meaning)));
    }
    if !history.state().is_over() {
        next.push(by_hand("a shell in it: one thing at a time"));
    }
    next
}

impl Status {
    /// The three answers first, then the rest.
    pub fn render(&self) -> String {
        let moment = |text: &str| human::moment(text, jiff::Timestamp::now());
        let mut out = format!("{}: {}", self.run, self.state);
        if let Some(driver) = &self.driver {
            let _ = write!(out, " (process {}, since {})", driver.pid, moment(&driver.since));
        }
        out.push('\n');
        if !self.script.is_empty() {
            let (begun, last) = (moment(&self.begun_at), moment(&self.last_at));
            let _ = writeln!(out, "{}, begun {begun}, last heard of {last}", self.script);
        }
        if self.state == State::NotBegun.as_str() {
            out.push_str("\nIts process ended before the first step: nothing was changed. Run the script again.\n");
        }
        if let Some(verdict) = &self.verdict {
            let _ = writeln!(out, "\n{}", verdict.says);
        }
        self.render_damage(&mut out);
        self.render_copies(&mut out);
        self.render_where(&mut out);
        if !self.next.is_empty() {
            out.push_str("\nWhat to type:\n");
            let width = self.next.iter().map(|next| next.command.len()).max().unwrap_or_default();
            for Next { command, meaning } in &self.next {
                let _ = writeln!(out, "  {command:<width$}   {meaning}");
            }
        }
        out
    }

    fn render_damage(&self, out: &mut String) {
        if let Some(damage) = &self.damage {
            let _ = writeln!(
                out,
                "\nThe journal is damaged: {damage}.\nThe run can't be resumed or rolled back by itself. What follows \
                 is what its sound lines say; what was done after them is in {}/log.jsonl",
                self.directory
            );
        }
    }

    fn render_copies(&self, out: &mut String) {
        let there = self.copies.iter().filter(|copy| copy.is_complete && copy.is_there == Some(true)).count();
        let is_looked_at = self.copies.iter().all(|copy| copy.is_there.is_some());
        let _ = match (self.is_safe, there) {
            _ if self.damage.is_some() && self.copies.is_empty() => writeln!(out, "\nThey name no copy of the data."),
            _ if self.damage.is_some() => writeln!(out, "\nCopies of the data that they name:"),
            (None, _) if self.copies.is_empty() => writeln!(out, "\nThis run keeps no copy of the data."),
            (Some(true), _) if !is_looked_at => writeln!(
                out,
                "\nYour data is safe, in at least {there} complete {}; the engine did not answer, so these could not \
                 all be looked at:",
                if there == 1 { "copy" } else { "copies" },
            ),
            (Some(true), 1) => writeln!(out, "\nYour data is safe. It is here:"),
            (Some(true), n) => writeln!(out, "\nYour data is safe, in {n} complete copies:"),
            (None, _) => writeln!(out, "\nThe engine did not answer, so these could not all be looked at:"),
            (Some(false), _) => writeln!(out, "\nNO COMPLETE COPY OF THE DATA WAS FOUND where this run has left them:"),
        };
        for copy in &self.copies {
            let there = match copy.is_there {
                Some(true) => "",
                Some(false) => "  NOT THERE",
                None => "  (not looked at)",
            };
            let _ = writeln!(out, "  {} {}: {}{there}", copy.what, copy.place, copy.proof);
        }
        if self.is_cleaned {
            out.push_str("What it had kept for the way back was removed by a cleanup.\n");
        }
    }

    fn render_where(&self, out: &mut String) {
        if !self.steps.is_empty() {
            out.push_str("\nSteps:\n");
        }
        for step in &self.steps {
            let seconds = step.seconds.map(|s| format!("  {s:.1} s")).unwrap_or_default();
            let _ = writeln!(out, "  {:<12} {}{seconds}", step.state, step.path);
        }
        for command in &self.cut_off_in {
            let _ = writeln!(out, "  cut off while it was about to: {command}");
        }
        if let Some(error) = &self.error {
            let _ = writeln!(out, "  error {}", error.replace('\n', "\n    "));
        }
        if !self.held.is_empty() {
            out.push_str("\nKept down by this run:\n");
        }
        for Held { name, state } in &self.held {
            let _ = writeln!(out, "  {name}{}", state.as_ref().map(|s| format!(" ({s})")).unwrap_or_default());
        }
        self.render_by_hand(out);
        for loss in &self.overrides {
            let _ = writeln!(out, "\nThe operator allowed to lose {loss}.");
        }
        let _ = writeln!(out, "\nEverything of this run is in {}", self.directory);
    }

    /// What was done, and how often somebody has looked.
    fn render_by_hand(&self, out: &mut String) {
        let has_acted = |input: &&ByHand| !input.commands.is_empty() || input.state == CUT_OFF;
        let (acted, looked): (Vec<_>, Vec<_>) = self.by_hand.iter().partition(has_acted);
        if !self.by_hand.is_empty() {
            out.push_str("\nDone by hand:\n");
        }
        for input in acted {
            let at = human::moment(&input.at, jiff::Timestamp::now());
            let _ = writeln!(out, "  {:<9} {at}  {}", input.state, input.text.replace('\n', "\n    "));
            for command in &input.commands {
                let _ = writeln!(out, "            $ {command}");
            }
        }
        if let Some(last) = looked.last() {
            let at = human::moment(&last.at, jiff::Timestamp::now());
            let _ = writeln!(out, "  and {} that only looked, the last one {at}", looked.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::store::Store;

    #[test]
    fn what_an_engine_that_does_not_answer_could_not_show_is_not_said_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let place = Store::of_practice(dir.path().join("runs")).create("upgrade").unwrap();
        let moved = Fact::VolumeMoved { from: "db".into(), to: "db-kept".into() };
        let backup = place.artefacts().join("volume.tar.zst");
        let taken = Fact::BackupTaken { path: backup.clone(), volume: "db".into(), sha256: "7".into() };
        let read = Fact::BackupVerified { path: backup.clone() };
        let history = History { facts: vec![taken, read, moved], ..History::default() };
        let said = |seen: Seen| Status::new(&place, &history, None, &seen).render();

        let files = BTreeSet::from([backup]);
        let volumes = Some(BTreeSet::from(["db-kept".to_owned()]));
        let answered = said(Seen { volumes, files: files.clone(), ..Seen::default() });
        assert!(answered.contains("Your data is safe, in 2 complete copies:"), "{answered}");
        let silent = said(Seen { files, ..Seen::default() });
        assert!(silent.contains("in at least 1 complete copy; the engine did not answer"), "{silent}");
        assert!(silent.contains("db-kept: the original data itself  (not looked at)"), "{silent}");
        let neither = said(Seen::default());
        assert!(neither.contains("The engine did not answer, so these could not all be looked at:"), "{neither}");
    }
}
