//! Which process, of which machine, has made something: so that what a dead one left can be told from what a living one
//! still uses.

use std::fs;

use sha2::{Digest, Sha256};

use super::error::{Error, Result};

/// A process among all of all machines: machine, boot, process namespace, number and time of its start. A number alone
/// is soon given to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Empty where the machine has no identity of its own, as in a container.
    machine: String,
    boot: String,
    namespace: String,
    pid: u32,
    started: String,
}

impl Process {
    /// This one.
    pub fn own() -> Result<Self> {
        let pid = std::process::id();
        let failed = |e| Error::io("read", "/proc", &e);
        let (_, started) = state(pid).map_err(failed)?;
        let (boot, namespace) = (boot().map_err(failed)?, namespace().map_err(failed)?);
        Ok(Self { machine: machine(), boot, namespace, pid, started: started.to_string() })
    }

    pub fn to_label(&self) -> String {
        format!("{}/{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.started, self.machine)
    }

    pub fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split('/').map(str::to_owned);
        let (boot, namespace, pid, started) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Older versions did not write the machine.
        Some(Self { machine: parts.next().unwrap_or_default(), boot, namespace, pid: pid.parse().ok()?, started })
    }

    /// Whether it runs; `None` where we can't look.
    pub fn lives(&self) -> Option<bool> {
        let ours = |own: std::io::Result<String>, its: &str| own.is_ok_and(|own| own == its);
        if !ours(boot(), &self.boot) {
            // Unless this machine was started again since.
            return (!self.machine.is_empty() && self.machine == machine()).then_some(false);
        }
        if !ours(namespace(), &self.namespace) {
            return None;
        }
        match state(self.pid) {
            // A zombie is what is left of a killed one until its parent looks.
            Ok((state, started)) => Some(started.to_string() == self.started && !matches!(state, 'Z' | 'X')),
            Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then_some(false),
        }
    }

    /// Whether it ran here and does not run any more. Where we can't look, it may live.
    pub fn is_gone(&self) -> bool {
        self.lives() == Some(false)
    }
}

/// What tells this machine from others, also from one of the same name: of its name and the id that systemd gives it,
/// which itself is nobody else's business. Empty where there is no such id.
pub fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() {
        return String::new();
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let digest = Sha256::new().chain_update("pgscript ").chain_update(id).chain_update(name).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// When a process was started, in clock ticks since the machine was; `None` when there is no such process, or only what
/// waits to be noticed of it.
pub fn started(pid: u32) -> Option<u64> {
    state(pid).ok().filter(|(state, _)| !matches!(state, 'Z' | 'X')).map(|(_, started)| started)
}

/// Changes with each start of the machine.
fn boot() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Processes are numbered anew in each container.
fn namespace() -> std::io::Result<String> {
    Ok(fs::read_link("/proc/self/ns/pid")?.display().to_string())
}

/// A process's state, and when it started in ticks since the boot.
fn state(pid: u32) -> std::io::Result<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let unknown = || std::io::Error::other("an unknown form");
    // The program's name stands in brackets and may hold anything.
    let (_, rest) = text.rsplit_once(')').ok_or_else(unknown)?;
    let mut fields = rest.split_whitespace();
    let state = fields.next().and_then(|state| state.chars().next()).ok_or_else(unknown)?;
    Ok((state, fields.nth(18).and_then(|started| started.parse().ok()).ok_or_else(unknown)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_gone_for_certain_is_gone() {
        let own = Process::own().unwrap();
        assert_eq!(Process::parse(&own.to_label()), Some(own.clone()));
        assert!(!own.is_gone());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (_, started) = state(child.id()).unwrap();
        let other = Process { pid: child.id(), started: started.to_string(), ..own.clone() };
        assert!(!other.is_gone());
        // Another one with its number.
        assert!(Process { started: "1".into(), ..other.clone() }.is_gone());
        child.kill().unwrap();
        while !other.is_gone() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(other.is_gone());
        assert!(!Process { namespace: "another".into(), ..other }.is_gone());
        assert_eq!(Process::parse("no process"), None);
    }

    #[test]
    fn after_a_power_cut_what_this_machine_had_made_is_nobody_s_and_another_machine_s_may_live() {
        let before = Process { boot: "another".into(), machine: "m".into(), ..Process::own().unwrap() };
        assert!(!before.is_gone());
        assert!(!Process { machine: String::new(), ..before.clone() }.is_gone());
        let here = machine();
        assert_eq!(Process { machine: here.clone(), ..before }.is_gone(), !here.is_empty());
    }
}
