//! Helpers that a killed pgscript has left behind. Their programs go on: they would write into the next attempt's
//! directory and stay connected to the server.

use std::fs;

use super::Clients;
use crate::world::container::{Container, ContainerFilter, LABEL_HELPER};
use crate::world::error::{Error, Result};

/// On every helper: the process that made it.
pub const LABEL_OWNER: &str = "pgscript.owner";

/// Removes the helpers whose process is gone for certain; those of other runs and of other machines stay.
pub fn remove(clients: &Clients) -> Result<()> {
    let filter = ContainerFilter { labels: vec![format!("{LABEL_HELPER}=client")], ..ContainerFilter::default() };
    for helper in clients.containers.containers(&filter)?.iter().filter(|helper| is_left(helper)) {
        // Somebody else may be at it; if it really stays, what it blocks says so.
        let removed = clients.containers.remove(&helper.id, true);
        removed.or_else(|e| if e.code == "cancelled" { Err(e) } else { Ok(()) })?;
    }
    Ok(())
}

fn is_left(helper: &Container) -> bool {
    helper.labels.get(LABEL_OWNER).and_then(|owner| Process::parse(owner)).is_some_and(|owner| owner.is_gone())
}

/// A process among all of all machines: boot, process namespace, number and time of its start. A number alone is soon
/// given to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
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
        Ok(Self { boot: boot().map_err(failed)?, namespace: namespace().map_err(failed)?, pid, started })
    }

    pub fn to_label(&self) -> String {
        format!("{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.started)
    }

    fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split('/').map(str::to_owned);
        let (boot, namespace, pid, started) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self { boot, namespace, pid: pid.parse().ok()?, started })
    }

    /// Whether it ran here and does not run any more. Where we can't look, it may live.
    fn is_gone(&self) -> bool {
        let ours = |own: std::io::Result<String>, its: &str| own.is_ok_and(|own| own == its);
        if !ours(boot(), &self.boot) || !ours(namespace(), &self.namespace) {
            return false;
        }
        match state(self.pid) {
            // A zombie is what is left of a killed one until its parent looks.
            Ok((state, started)) => started != self.started || matches!(state, 'Z' | 'X'),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }
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
fn state(pid: u32) -> std::io::Result<(char, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let unknown = || std::io::Error::other("an unknown form");
    // The program's name stands in brackets and may hold anything.
    let (_, rest) = text.rsplit_once(')').ok_or_else(unknown)?;
    let mut fields = rest.split_whitespace();
    let state = fields.next().and_then(|state| state.chars().next()).ok_or_else(unknown)?;
    Ok((state, fields.nth(18).ok_or_else(unknown)?.to_owned()))
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
        let other = Process { pid: child.id(), started, ..own.clone() };
        assert!(!other.is_gone());
        // Another one with its number.
        assert!(Process { started: "1".into(), ..other.clone() }.is_gone());
        child.kill().unwrap();
        while !other.is_gone() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(other.is_gone());
        assert!(!Process { boot: "another".into(), ..other.clone() }.is_gone());
        assert!(!Process { namespace: "another".into(), ..other }.is_gone());
        assert_eq!(Process::parse("no process"), None);
    }
}
