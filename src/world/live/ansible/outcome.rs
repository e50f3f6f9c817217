//! What a playbook's output and exit code amount to: a recap, or an error that names host and task.

use super::output::{Failure, Transcript};
use crate::world::ansible::Recap;
use crate::world::error::{Error, Kind, Result};

/// Hosts named in one message; more are counted.
const MOST_HOSTS: usize = 5;

/// The recap of a run in which no host failed, else the error. `tail` are the last lines of output.
pub fn judge(exit_code: i64, mut transcript: Transcript, tail: &[String]) -> Result<Recap> {
    transcript.finish();
    if let Some(error) = no_hosts(&transcript) {
        return Err(error);
    }
    if let Some(error) = failed_hosts(&transcript, exit_code) {
        return Err(error);
    }
    if exit_code != 0 {
        return Err(stopped(exit_code, &transcript.error, tail));
    }
    let recap = if transcript.recap_seen { transcript.recap } else { transcript.tally };
    if !recap.is_empty() {
        return Ok(recap);
    }
    Err(if transcript.no_hosts_matched || !transcript.recap_seen {
        no_hosts_error("the playbook ran on no host: its hosts, the inventory and the limit have none in common")
    } else {
        Error::usage("ansible.no_tasks", "the playbook ran no task on any host")
            .hint("check the tags: Ansible takes a tag that no task has for granted")
    })
}

pub fn no_hosts_error(message: impl Into<String>) -> Error {
    Error::usage("ansible.no_hosts", message)
}

fn no_hosts(transcript: &Transcript) -> Option<Error> {
    let error = &transcript.error;
    let said = error.contains("no hosts to target") || error.contains("does not match any hosts");
    said.then(|| {
        let pattern = transcript.unmatched.join(", ");
        let which = if pattern.is_empty() { String::new() } else { format!(" ({pattern})") };
        no_hosts_error(format!("the limit{which} matches no host of the inventory"))
    })
}

/// One error for all hosts that failed or were unreachable, or `None` when none was.
fn failed_hosts(transcript: &Transcript, exit_code: i64) -> Option<Error> {
    let mut failures = Vec::new();
    for (host, counts) in &transcript.recap {
        if counts.failed == 0 && counts.unreachable == 0 {
            continue;
        }
        // The last one stopped the host: an earlier one was rescued.
        let mine = |f: &&Failure| f.host == *host && !f.ignored;
        failures.push(transcript.failures.iter().rev().find(mine).cloned().unwrap_or_else(|| Failure {
            host: host.clone(),
            task: String::new(),
            unreachable: counts.failed == 0,
            ignored: false,
            message: String::new(),
        }));
    }
    // Without a recap the exit code alone tells failed from ignored.
    if !transcript.recap_seen && exit_code != 0 {
        for failure in transcript.failures.iter().rev().filter(|f| !f.ignored) {
            if !failures.iter().any(|f| f.host == failure.host) {
                failures.push(failure.clone());
            }
        }
        failures.sort_by(|a, b| a.host.cmp(&b.host));
    }
    (!failures.is_empty()).then(|| error_of(&failures))
}

fn error_of(failures: &[Failure]) -> Error {
    let mut parts: Vec<String> = failures.iter().take(MOST_HOSTS).map(describe).collect();
    if failures.len() > MOST_HOSTS {
        parts.push(format!("and {} more hosts", failures.len() - MOST_HOSTS));
    }
    let message = parts.join("\n");
    if failures.iter().all(|f| f.unreachable) {
        let host = &failures[0].host;
        Error::new(Kind::Unavailable, "ansible.unreachable", message)
            .hint(format!("try: ansible {host} -m ping, with the same inventory, in the playbook's directory"))
    } else {
        Error::failed("ansible.failed", message)
    }
}

fn describe(failure: &Failure) -> String {
    let Failure { host, task, message, .. } = failure;
    let task = if task.is_empty() { String::new() } else { format!(" in task \"{task}\"") };
    let what = if failure.unreachable { "is unreachable" } else { "failed" };
    let message = if message.is_empty() { "Ansible gave no message" } else { message };
    format!("host {host} {what}{task}: {message}")
}

/// Ansible stopped on its own, before or between the hosts.
fn stopped(exit_code: i64, error: &str, tail: &[String]) -> Error {
    let head = first_paragraph(error);
    let place = error.lines().find(|l| l.starts_with("The error appears to be in") || l.starts_with("Origin: "));
    let lower = error.to_lowercase();
    let (kind, code) = if lower.contains("vault") {
        (Kind::Usage, "ansible.vault")
    } else if error.contains("the playbook: ") && error.contains("could not be found") {
        (Kind::Usage, "ansible.playbook")
    } else if error.contains("o inventory was parsed") {
        (Kind::Usage, "ansible.inventory")
    } else if place.is_some() && exit_code == 4 {
        (Kind::Usage, "ansible.syntax")
    } else {
        (Kind::Failed, "ansible.failed")
    };
    let message = match (head.is_empty(), place) {
        (true, _) => format!("ansible-playbook ended with exit code {exit_code}: {}", tail.join(" / ")),
        (false, Some(place)) => format!("{head} ({})", place.trim_start_matches("Origin: ").trim_end_matches(", but may")),
        (false, None) => head,
    };
    let error = Error::new(kind, code, message);
    match code {
        "ansible.vault" => error.hint("check the vault password file"),
        _ => error,
    }
}

fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().take_while(|l| !l.trim().is_empty() && !l.starts_with("Origin: ")).collect();
    lines.join(" ").trim().to_owned()
}
