//! Ansible through the programs of the site's own installation.
//!
//! `programs` finds them, `vars` hands values over in a private file, `output` reads what a playbook
//! prints (with `recap` and `message` for its parts), `outcome` judges it, and `listing` reads what one would do.

mod listing;
mod message;
mod outcome;
mod output;
mod programs;
mod recap;
mod vars;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Context;
use super::process::{self, Child, Ended};
use crate::event::Event;
use crate::world::ansible::*;
use crate::world::error::{Error, Result};
use output::Transcript;
use programs::Programs;
use vars::PrivateVars;

/// Runs `ansible-playbook`, `ansible` and `ansible-inventory` in a site's directory. Nothing is ever asked:
/// the children have no standard input.
pub struct AnsiblePrograms {
    context: Context,
}

impl AnsiblePrograms {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// Starts a program of the site with `arguments`; every line goes to `line` (whether from stderr, text).
    fn run(
        &self,
        site: &Site,
        program: &str,
        arguments: Vec<String>,
        line: &mut dyn FnMut(bool, &str),
    ) -> Result<Ended> {
        let programs = Programs::find(site)?;
        let argv: Vec<String> = [programs.path(program)?].into_iter().chain(arguments).collect();
        let mut env = programs.environment();
        if site.inventory.is_some() {
            // Ansible only warns about an inventory it can't read, and goes on with no hosts.
            env.push(("ANSIBLE_INVENTORY_UNPARSED_FAILED".into(), "true".into()));
        }
        process::run(&self.context, &Child { argv: &argv, dir: Some(&site.dir), env: &env, stdin: None }, line)
    }

    /// The lines a short program printed, or the error it stopped with.
    fn ask(&self, site: &Site, program: &str, arguments: Vec<String>) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut transcript = Transcript::default();
        let mut tail = Tail::default();
        let ended = self.run(site, program, arguments, &mut |stderr, line| {
            transcript.feed(stderr, line);
            if stderr {
                tail.push(line);
            } else {
                lines.push(line.trim_end().to_owned());
            }
        })?;
        if ended.exit_code == 0 {
            return Ok(lines);
        }
        let error = match outcome::judge(ended.exit_code, transcript, &tail.lines()) {
            Err(error) => error,
            Ok(_) => Error::failed("ansible.failed", format!("{program} ended with exit code {}", ended.exit_code)),
        };
        Err(self.redacted(error))
    }

    /// Errors are written down and shown elsewhere than events are, and carry what Ansible printed.
    fn redacted(&self, mut error: Error) -> Error {
        error.message = self.context.redactor.redact(&error.message);
        error
    }

    /// Says which hosts there are, where the limit or the playbook selected none.
    fn with_hosts_hint(&self, site: &Site, error: Error) -> Error {
        if error.code != "ansible.no_hosts" {
            return error;
        }
        let everyone = Site { limit: None, ..site.clone() };
        match self.hosts(&everyone) {
            Ok(hosts) => {
                let more = if hosts.len() > 10 { format!(" and {} more", hosts.len() - 10) } else { String::new() };
                error.hint(format!("the inventory has: {}{more}", hosts[..hosts.len().min(10)].join(", ")))
            }
            Err(_) => error.hint("the inventory has no hosts: name it, or set `inventory` in ansible.cfg"),
        }
    }

    fn list_hosts(&self, site: &Site) -> Result<Vec<String>> {
        // Unlike a limit, a pattern can't name a file of hosts: then it limits all.
        let mut arguments = match site.limit.as_deref().filter(|l| !l.trim().is_empty()) {
            Some(limit) if limit.contains('@') => vec!["all".to_owned(), "--limit".to_owned(), limit.to_owned()],
            Some(limit) => vec![limit.to_owned()],
            None => vec!["all".to_owned()],
        };
        arguments.push("--list-hosts".into());
        arguments.extend(common_arguments(site)?);
        let lines = self.ask(site, "ansible", arguments)?;
        // "  hosts (2):" and a host a line.
        let hosts = lines.iter().skip_while(|l| !l.trim_start().starts_with("hosts (")).skip(1);
        let hosts: Vec<String> = hosts.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        if hosts.is_empty() {
            let what = match &site.limit {
                Some(limit) => format!("the limit {limit} matches no host of the inventory"),
                None => "the inventory has no hosts".to_owned(),
            };
            return Err(outcome::no_hosts_error(what));
        }
        Ok(hosts)
    }

    /// A part of the limit that matches nothing is likely misspelt, and Ansible goes on without it.
    fn warn_of_unmatched(&self, site: &Site, transcript: &Transcript) {
        let limit = site.limit.as_deref().unwrap_or_default();
        for pattern in &transcript.unmatched {
            if limit.split([',', ':']).any(|part| part.trim_start_matches(['!', '&']) == pattern) {
                let text = format!("the limit names {pattern}, which the inventory doesn't have");
                self.context.emit(Event::Warn { text });
            }
        }
    }
}

impl Ansible for AnsiblePrograms {
    fn playbook(&self, spec: &PlaybookSpec) -> Result<Recap> {
        let vars = private_vars(spec)?;
        let arguments = playbook_arguments(spec, vars.as_ref())?;
        let mut transcript = Transcript::default();
        let mut tail = Tail::default();
        let ended = self.run(&spec.site, "ansible-playbook", arguments, &mut |stderr, line| {
            transcript.feed(stderr, line);
            tail.push(line);
            self.context.emit(Event::Output { source: "ansible".into(), line: line.to_owned() });
        })?;
        self.warn_of_unmatched(&spec.site, &transcript);
        outcome::judge(ended.exit_code, transcript, &tail.lines())
            .map_err(|error| self.redacted(self.with_hosts_hint(&spec.site, error)))
    }

    fn playbook_hosts(&self, spec: &PlaybookSpec) -> Result<Vec<String>> {
        let vars = private_vars(spec)?;
        let mut arguments = playbook_arguments(spec, vars.as_ref())?;
        // Either of the two keeps Ansible from running anything.
        arguments.extend(["--list-hosts".into(), "--list-tasks".into()]);
        self.ask(&spec.site, "ansible-playbook", arguments)
            .and_then(|lines| listing::hosts(&lines))
            .map_err(|error| self.with_hosts_hint(&spec.site, error))
    }

    fn hosts(&self, site: &Site) -> Result<Vec<String>> {
        self.list_hosts(site).map_err(|error| {
            // With no limit there is no wider question to ask for the hint.
            if site.limit.is_some() { self.with_hosts_hint(site, error) } else { error }
        })
    }

    fn host_variables(&self, site: &Site, host: &str, extra_vars_files: &[PathBuf]) -> Result<Map<String, Value>> {
        let mut arguments = vec!["--host".to_owned(), host.to_owned()];
        // Group and host variables beside the playbooks count too.
        arguments.extend(["--playbook-dir".to_owned(), absolute(&site.dir).to_string_lossy().into_owned()]);
        arguments.extend(common_arguments(site)?);
        arguments.extend(extra_vars(site, extra_vars_files)?);
        let lines = self.ask(site, "ansible-inventory", arguments).map_err(|error| {
            if error.message.contains("single valid host") || error.code == "ansible.no_hosts" {
                let error = outcome::no_hosts_error(format!("the inventory has no host {host}"));
                self.with_hosts_hint(site, error)
            } else {
                error
            }
        })?;
        serde_json::from_str(&lines.join("\n")).map_err(|e| {
            Error::failed("ansible.failed", format!("cannot read what ansible-inventory says of {host}: {e}"))
        })
    }

    fn ping(&self, site: &Site) -> Result<()> {
        let pattern = site.limit.clone().filter(|l| !l.trim().is_empty()).unwrap_or_else(|| "all".into());
        let mut arguments = vec![pattern, "-m".into(), "ping".into()];
        arguments.extend(common_arguments(site)?);
        self.ask(site, "ansible", arguments).map(|_| ())
    }

    fn version(&self, site: &Site) -> Result<String> {
        check_dir(site)?;
        let lines = self.ask(site, "ansible-playbook", vec!["--version".into()])?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }
}

/// The last lines of output, for errors that Ansible gives no words for.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    const LINES: usize = 5;

    fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.trim().to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn check_dir(site: &Site) -> Result<()> {
    if site.dir.is_dir() {
        return Ok(());
    }
    let message = format!("the directory of the playbooks, {}, does not exist", site.dir.display());
    Err(Error::usage("ansible.playbook", message))
}

fn check_playbook(spec: &PlaybookSpec) -> Result<()> {
    check_dir(&spec.site)?;
    let path = spec.site.dir.join(&spec.playbook);
    // A playbook of a collection is named `namespace.collection.playbook`, without a file to look at.
    let name = spec.playbook.to_string_lossy();
    let of_collection = !name.contains('/') && !name.ends_with(".yml") && name.split('.').count() >= 3;
    if !path.exists() && !of_collection {
        return Err(Error::usage("ansible.playbook", format!("there is no playbook {}", path.display())));
    }
    Ok(())
}

/// Inventory and vault of any Ansible program. Both are checked first: about a missing inventory Ansible only warns.
fn common_arguments(site: &Site) -> Result<Vec<String>> {
    check_dir(site)?;
    let mut arguments = Vec::new();
    if let Some(inventory) = &site.inventory {
        let text = inventory.to_string_lossy().into_owned();
        // "host," is a list of hosts, not a path.
        if !text.contains(',') && !site.dir.join(inventory).exists() {
            let path = site.dir.join(inventory);
            return Err(Error::usage("ansible.inventory", format!("there is no inventory {}", path.display())));
        }
        arguments.extend(["-i".into(), text]);
    }
    if let Some(file) = &site.vault_password_file {
        let path = site.dir.join(file);
        if !path.exists() {
            return Err(Error::usage("ansible.vault", format!("there is no vault password file {}", path.display())));
        }
        arguments.extend(["--vault-password-file".into(), file.to_string_lossy().into_owned()]);
    }
    Ok(arguments)
}

/// `-e @file` of each file, which must be there.
fn extra_vars(site: &Site, files: &[PathBuf]) -> Result<Vec<String>> {
    let missing = files.iter().map(|file| site.dir.join(file)).find(|path| !path.exists());
    if let Some(path) = missing {
        let message = format!("there is no file of extra vars {}", path.display());
        return Err(Error::usage("ansible.extra_vars", message));
    }
    Ok(files.iter().flat_map(|file| ["-e".to_owned(), format!("@{}", file.display())]).collect())
}

/// The file of the values that are given; `None` where there are none.
fn private_vars(spec: &PlaybookSpec) -> Result<Option<PrivateVars>> {
    if spec.extra_vars.is_empty() { Ok(None) } else { PrivateVars::write(&spec.extra_vars).map(Some) }
}

fn playbook_arguments(spec: &PlaybookSpec, vars: Option<&PrivateVars>) -> Result<Vec<String>> {
    check_playbook(spec)?;
    let mut arguments = common_arguments(&spec.site)?;
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if let Some(limit) = spec.site.limit.as_deref().filter(|l| !l.trim().is_empty()) {
        option("--limit", limit.to_owned());
    }
    if !spec.tags.is_empty() {
        option("--tags", spec.tags.join(","));
    }
    if !spec.skip_tags.is_empty() {
        option("--skip-tags", spec.skip_tags.join(","));
    }
    arguments.extend(extra_vars(&spec.site, &spec.extra_vars_files)?);
    // Last, so that values given here win over those of the files.
    if let Some(vars) = vars {
        arguments.extend(["-e".into(), format!("@{}", vars.path().display())]);
    }
    if spec.check_mode {
        arguments.push("--check".into());
    }
    arguments.push(spec.playbook.to_string_lossy().into_owned());
    Ok(arguments)
}
