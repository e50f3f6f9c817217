//! The world is broken, and mended again.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::chaos::plan::{Action, Break, Plan};
use crate::chaos::process::Process;
use crate::chaos::site::Site;
use crate::stack::sh;

/// What lasts until somebody mends it.
pub struct Broken {
    what: Break,
    since: Instant,
}

impl Broken {
    /// Whether it is time that somebody mends it, at the beginning of this attempt.
    pub fn is_over(&self, attempt: usize) -> bool {
        attempt > self.what.attempt + self.what.lasts || self.is_short()
    }

    /// Whether somebody mends it in the very attempt in which it came.
    pub fn is_short(&self) -> bool {
        self.what.lasts == 0 && self.since.elapsed() > Duration::from_secs(self.what.amount)
    }

    pub fn mend(self, site: &Site) {
        site.note(&format!("mended: {}", self.what.action.name()));
        match self.what.action {
            Action::DiskFull => site.engine.free(),
            Action::StoreReadOnly => site.engine.write_enable(&site.stack.base),
            Action::ClockBack | Action::ClockForward => site.set_clock("+0"),
            _ => {}
        }
    }
}

/// Breaks it, and gives what somebody will have to mend. `program` is the operator's command.
pub fn act(site: &Site, what: &Break, program: &Process) -> Option<Broken> {
    let Break { action, amount, .. } = *what;
    let engine = site.engine;
    match action {
        Action::DaemonKilled => engine.restart(&["--kill"]),
        Action::DaemonRestarted => engine.restart(&[]),
        Action::DaemonAway => engine.restart(&[&format!("--after={amount}")]),
        Action::DaemonSilent => silence(engine.pid(), amount),
        Action::PowerCut => {
            let mut pids = vec![program.id()];
            pids.extend(site.others.borrow().iter().map(Process::id));
            engine.cut_power(&pids);
        }
        Action::DatabaseKilled => with_database(site, &["kill", "--signal", "KILL"]),
        Action::DatabaseStopped => with_database(site, &["stop"]),
        Action::BackendKilled => kill_backend(site, amount),
        Action::ProgramKilled => program.send_to_group("-KILL"),
        Action::ProgramTerminated => program.send("-TERM"),
        Action::ProgramHungUp => program.send("-HUP"),
        Action::ProgramInterrupted => program.send_to_group("-INT"),
        Action::DeployOld => site.deploy(site.plan.from),
        Action::DeployNew => site.deploy(Plan::TO),
        // As the field has it: whatever has ended and is not of the application's version.
        Action::DailyCleanup => site.housekeeping(
            "daily-cleanup",
            "docker ps -a --filter status=exited --format '{{.ID}} {{.Image}}' | grep -v app:1 | cut -d' ' -f1 \
             | xargs -r docker rm; docker images --quiet --filter dangling=true | xargs -r docker rmi",
        ),
        Action::VolumePrune => site.housekeeping("volume-prune", "docker volume prune -f"),
        Action::ContainerPrune => site.housekeeping("container-prune", "docker container prune -f"),
        Action::ImagePrune => site.housekeeping("image-prune", "docker image prune -f"),
        Action::NetworkPrune => site.housekeeping("network-prune", "docker network prune -f"),
        Action::SecondRun => site.second_operator("run"),
        Action::SecondResume => site.second_operator("resume"),
        Action::SecondRollback => site.second_operator("rollback"),
        Action::DiskFull => engine.fill(64 * (amount - 1)),
        Action::StoreReadOnly => engine.write_protect(&site.stack.base),
        Action::ClockBack => site.set_clock(&format!("-{}d", 20 * amount)),
        Action::ClockForward => site.set_clock(&format!("+{}d", 20 * amount)),
        Action::ClientByExec => site.client_by_exec(2 * amount),
        Action::ClientByPort => site.client_by_port(10 * amount),
    }
    let lasts = [Action::DiskFull, Action::StoreReadOnly, Action::ClockBack, Action::ClockForward];
    lasts.contains(&action).then(|| Broken { what: *what, since: Instant::now() })
}

fn silence(daemon: u32, seconds: u64) {
    sh("kill", &["-STOP", &daemon.to_string()]);
    std::thread::sleep(Duration::from_secs(seconds));
    sh("kill", &["-CONT", &daemon.to_string()]);
}

fn with_database(site: &Site, command: &[&str]) {
    let Some(id) = site.database().and_then(|database| database["Id"].as_str().map(str::to_owned)) else { return };
    if let Err(reason) = site.engine.docker(&[command, &[&id]].concat()) {
        site.note(&reason);
    }
    site.stopped_at.set(Some(Instant::now()));
}

/// Who stopped the database when the program had looked for the last time starts it again: it was not for the program.
pub fn undo_what_came_too_late(site: &Site) {
    let is_too_late = |at: Instant| at.elapsed() < Duration::from_millis(1500);
    if site.stopped_at.take().is_some_and(is_too_late) {
        site.note("the database was stopped after the program's last look: somebody starts it again");
        start_database(site);
    }
}

/// Somebody else than the program starts the database.
pub fn start_database(site: &Site) {
    with_database(site, &["start"]);
    site.stopped_at.take();
}

/// One of the server's processes goes as the kernel takes it when there is no memory left.
fn kill_backend(site: &Site, which: u64) {
    let server = site.database().and_then(|database| database["State"]["Pid"].as_u64()).filter(|pid| *pid > 0);
    let Some(server) = server else { return };
    let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    let children: Vec<_> = children.split_whitespace().collect();
    if let Some(child) = children.get(which as usize % children.len().max(1)) {
        _ = Command::new("kill").args(["-KILL", child]).output();
    }
}
