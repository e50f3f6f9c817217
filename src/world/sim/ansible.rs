//! Ansible in a simulated world: hosts with their variables, and playbooks that do what is told of them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Context, State};
use crate::event::Event;
use crate::world::ansible::{Ansible, HostRecap, PlaybookSpec, Recap, Site};
use crate::world::error::{Error, Kind, Result};

pub struct Playbooks {
    context: Context,
}

impl Playbooks {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    fn ask<T>(&self, look: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.context.cancel.check()?;
        self.context.sim.read(|state| {
            if state.ansible.hosts.is_empty() {
                let message = "there is no ansible-playbook in this simulated world";
                return Err(Error::new(Kind::Unavailable, "ansible.not_installed", message)
                    .hint("sim::host tells of a host of the inventory"));
            }
            look(state)
        })
    }
}

impl Ansible for Playbooks {
    fn playbook(&self, spec: &PlaybookSpec) -> Result<Recap> {
        let hosts = self.playbook_hosts(spec)?;
        if spec.check_mode {
            return Ok(recap(&hosts, 0));
        }
        let name = file_name(&spec.playbook);
        let done = self.context.sim.act(&format!("ansible-playbook {name}"), |state| {
            let mut done = Ok(());
            for host in &hosts {
                let mut variables = state.ansible.hosts.get(host).cloned().unwrap_or_default();
                variables.extend(spec.extra_vars.clone());
                let effect = state.ansible.playbooks.get(&name).cloned();
                done = effect.map_or(Ok(()), |effect| state.effect(&effect, &variables));
                if let Err(why) = &done {
                    return Ok(Err(format!("{host}: {why}")));
                }
            }
            Ok(done)
        })?;
        match done {
            Ok(()) => {
                let line = hosts.iter().map(|host| format!("{host} : ok=1 changed=1")).collect::<Vec<_>>().join("\n");
                self.context.emit(Event::Output { source: "ansible".into(), line });
                Ok(recap(&hosts, 1))
            }
            Err(why) => Err(Error::failed("ansible.failed", self.context.redactor.redact(&why))),
        }
    }

    fn playbook_hosts(&self, spec: &PlaybookSpec) -> Result<Vec<String>> {
        let name = file_name(&spec.playbook);
        self.ask(|state| {
            if !state.ansible.playbooks.contains_key(&name) {
                let path = spec.site.dir.join(&spec.playbook);
                return Err(Error::usage("ansible.playbook", format!("there is no playbook {}", path.display())));
            }
            hosts(state, spec.site.limit.as_deref())
        })
    }

    fn hosts(&self, site: &Site) -> Result<Vec<String>> {
        self.ask(|state| hosts(state, site.limit.as_deref()))
    }

    fn host_variables(&self, _: &Site, host: &str, _: &[PathBuf]) -> Result<Map<String, Value>> {
        self.ask(|state| {
            state.ansible.hosts.get(host).cloned().ok_or_else(|| no_hosts(format!("the inventory has no host {host}")))
        })
    }

    fn ping(&self, site: &Site) -> Result<()> {
        self.hosts(site).map(|_| ())
    }

    fn version(&self, _: &Site) -> Result<String> {
        self.ask(|_| Ok("ansible-playbook [core 2.19.0]".into()))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn recap(hosts: &[String], changed: u64) -> Recap {
    let line = HostRecap { ok: 1, changed, ..HostRecap::default() };
    hosts.iter().map(|host| (host.clone(), line.clone())).collect()
}

fn no_hosts(message: String) -> Error {
    Error::usage("ansible.no_hosts", message)
}

/// Those of a limit: names of hosts and groups, separated by commas.
fn hosts(state: &State, limit: Option<&str>) -> Result<Vec<String>> {
    let wanted: Vec<_> = limit.unwrap_or_default().split([',', ':']).filter(|name| !name.is_empty()).collect();
    let has = |group: &str, host: &String| state.ansible.groups.get(group).is_some_and(|hosts| hosts.contains(host));
    let is_it = |name: &str, host: &String| name == "all" || name == host || has(name, host);
    let is_wanted = |host: &&String| wanted.is_empty() || wanted.iter().any(|name| is_it(name, host));
    let found: Vec<_> = state.ansible.hosts.keys().filter(is_wanted).cloned().collect();
    if found.is_empty() {
        let all = state.ansible.hosts.keys().cloned().collect::<Vec<_>>().join(", ");
        let message = format!("the limit {} matches no host of the inventory", limit.unwrap_or_default());
        return Err(no_hosts(message).hint(format!("the inventory has: {all}")));
    }
    Ok(found)
}
