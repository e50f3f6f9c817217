//! What a seed stands for: the stack, what breaks the world and when, and whether the operator would rather go on or
//! back.

use std::fmt;
use std::time::Duration;

use crate::chaos::dice::Dice;

/// What breaks the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    DaemonKilled,
    DaemonRestarted,
    DaemonAway,
    DaemonSilent,
    DatabaseKilled,
    DatabaseStopped,
    BackendKilled,
    ProgramKilled,
    ProgramTerminated,
    ProgramHungUp,
    ProgramInterrupted,
    PowerCut,
    DeployOld,
    DeployNew,
    DailyCleanup,
    VolumePrune,
    ContainerPrune,
    ImagePrune,
    NetworkPrune,
    SecondRun,
    SecondResume,
    SecondRollback,
    DiskFull,
    StoreReadOnly,
    ClockBack,
    ClockForward,
    ClientByExec,
    ClientByPort,
}

impl Action {
    pub const ALL: [Self; 28] = [
        Self::PowerCut,
        Self::DaemonKilled,
        Self::DeployNew,
        Self::ProgramKilled,
        Self::DiskFull,
        Self::DatabaseKilled,
        Self::SecondRollback,
        Self::DailyCleanup,
        Self::ClientByPort,
        Self::DeployOld,
        Self::ProgramTerminated,
        Self::DaemonAway,
        Self::VolumePrune,
        Self::StoreReadOnly,
        Self::BackendKilled,
        Self::ClockBack,
        Self::SecondResume,
        Self::ClientByExec,
        Self::DatabaseStopped,
        Self::DaemonRestarted,
        Self::ContainerPrune,
        Self::ProgramInterrupted,
        Self::NetworkPrune,
        Self::SecondRun,
        Self::DaemonSilent,
        Self::ProgramHungUp,
        Self::ImagePrune,
        Self::ClockForward,
    ];

    /// As a person would say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DaemonKilled => "daemon killed",
            Self::DaemonRestarted => "daemon restarted",
            Self::DaemonAway => "daemon away for some seconds",
            Self::DaemonSilent => "daemon silent for some seconds",
            Self::DatabaseKilled => "database killed",
            Self::DatabaseStopped => "database stopped",
            Self::BackendKilled => "a server process killed",
            Self::ProgramKilled => "pgscript: kill -9",
            Self::ProgramTerminated => "pgscript: SIGTERM",
            Self::ProgramHungUp => "pgscript: SIGHUP",
            Self::ProgramInterrupted => "pgscript: Ctrl-C",
            Self::PowerCut => "power cut",
            Self::DeployOld => "foreign deploy, old version",
            Self::DeployNew => "foreign deploy, new version",
            Self::DailyCleanup => "daily cleanup",
            Self::VolumePrune => "docker volume prune",
            Self::ContainerPrune => "docker container prune",
            Self::ImagePrune => "docker image prune",
            Self::NetworkPrune => "docker network prune",
            Self::SecondRun => "second operator: run",
            Self::SecondResume => "second operator: resume",
            Self::SecondRollback => "second operator: rollback",
            Self::DiskFull => "disk full",
            Self::StoreReadOnly => "store read-only",
            Self::ClockBack => "clock set back",
            Self::ClockForward => "clock set forward",
            Self::ClientByExec => "client by docker exec",
            Self::ClientByPort => "client by published port",
        }
    }

    /// Together these lose what nobody can keep: a site that types both while its server is stopped has no volume any
    /// more, whatever this program does.
    fn excludes(self, other: Self) -> bool {
        let pair = [self, other];
        pair.contains(&Self::ContainerPrune) && pair.contains(&Self::VolumePrune)
    }
}

/// An action at an instant: a number of lines after the journal's length at the beginning of that attempt, and a moment
/// later.
#[derive(Clone, Copy, Debug)]
pub struct Break {
    pub action: Action,
    /// 0 is the upgrade itself, 1 the first resume or rollback …
    pub attempt: usize,
    pub line: u64,
    pub delay: Duration,
    /// Seconds, or kilobytes, of whatever the action has an amount of.
    pub amount: u64,
    /// How many attempts see it, where it lasts until somebody mends it. 0: it is mended within seconds.
    pub lasts: usize,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, attempt, line, delay, amount, lasts } = self;
        write!(f, "{} in attempt {attempt}, {line} lines + {} ms", action.name(), delay.as_millis())?;
        write!(f, " (amount {amount}, lasts {lasts})")
    }
}

/// A history before it happens.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub from: u32,
    pub keep_volume: &'static str,
    pub has_port: bool,
    pub has_second_network: bool,
    /// Would rather go on than back.
    pub goes_on: bool,
    /// As the parameter of the upgrade.
    pub strategy: &'static str,
    pub breaks: Vec<Break>,
}

/// About as many lines as the journal of an undisturbed upgrade has.
const LINES: u64 = 215;
/// The first lines hold parameters and the frozen script, and go by in a moment.
const PREAMBLE: u64 = 34;

impl Plan {
    pub const TO: u32 = 17;

    pub fn of(seed: u64) -> Self {
        // Seeds that follow one another have nothing in common.
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        // Every action comes first in its turn; the rest is drawn.
        let first = Action::ALL[seed as usize % Action::ALL.len()];
        let mut breaks = vec![breaking(first, 0, &mut dice)];
        let more = dice.one_of(&[0, 1, 1, 2]);
        while breaks.len() <= more {
            let action = dice.one_of(&Action::ALL);
            let attempt = dice.one_of(&[0, 1, 1, 2]);
            if !breaks.iter().any(|known: &Break| known.action.excludes(action)) {
                breaks.push(breaking(action, attempt, &mut dice));
            }
        }
        breaks.sort_by_key(|known| (known.attempt, known.line));
        Self {
            seed,
            from: dice.one_of(&[13, 15]),
            keep_volume: dice.one_of(&["auto", "yes", "no"]),
            has_port: dice.once_in(2) || breaks.iter().any(|known| known.action == Action::ClientByPort),
            has_second_network: dice.once_in(3),
            goes_on: dice.once_in(2),
            strategy: dice.one_of(&["auto", "dump"]),
            breaks,
        }
    }

    pub fn has(&self, actions: &[Action]) -> bool {
        self.breaks.iter().any(|known| actions.contains(&known.action))
    }
}

fn breaking(action: Action, attempt: usize, dice: &mut Dice) -> Break {
    let line = match attempt {
        0 if dice.once_in(12) => dice.between(1, PREAMBLE),
        0 => dice.between(PREAMBLE, LINES),
        _ => dice.between(1, 60),
    };
    let longest = dice.one_of(&[0, 300, 1500]);
    Break {
        action,
        attempt,
        line,
        delay: Duration::from_millis(dice.between(0, longest)),
        amount: dice.between(1, 6),
        lasts: dice.one_of(&[0, 1, 2, 4]),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.goes_on { "on" } else { "back" };
        writeln!(
            f,
            "seed {}: {} to {}, keep_volume={}, strategy={}",
            self.seed,
            self.from,
            Self::TO,
            self.keep_volume,
            self.strategy
        )?;
        let (port, network) = (self.has_port, self.has_second_network);
        writeln!(f, "  published port {port}, second network {network}, the operator would rather go {way}")?;
        self.breaks.iter().try_for_each(|known| writeln!(f, "  {known}"))
    }
}
