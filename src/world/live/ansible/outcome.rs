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
    let recap = if transcript.recap_seen { transcript.recap } else { of_tally(transcript.tally) };
    if !recap.is_empty() {
        return Ok(recap);
    }
    Err(if transcript.no_hosts_matched || !transcript.recap_seen { no_common_host() } else { no_tasks() })
}

/// For a playbook that has run, and for one that was only looked at.
pub fn no_common_host() -> Error {
    no_hosts_error("the playbook runs on no host: its hosts, the inventory and the limit have none in common")
}

/// As [`no_common_host`].
pub fn no_tasks() -> Error {
    Error::usage("ansible.no_tasks", "the playbook runs no task on any host")
        .hint("check the tags: Ansible takes a tag that no task has for granted")
}

/// The counts of a run that ended well: what failed in it was ignored or rescued.
fn of_tally(mut tally: Recap) -> Recap {
    for counts in tally.values_mut() {
        counts.ignored = std::mem::take(&mut counts.failed) + std::mem::take(&mut counts.unreachable);
    }
    tally
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
        (false, Some(place)) => {
            format!("{head} ({})", place.trim_start_matches("Origin: ").trim_end_matches(", but may"))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(exit_code: i64, stdout: &str, stderr: &str) -> Result<Recap> {
        let mut transcript = Transcript::default();
        stdout.lines().for_each(|line| transcript.feed(false, line));
        stderr.lines().for_each(|line| transcript.feed(true, line));
        judge(exit_code, transcript, &["last words".to_owned()])
    }

    #[test]
    fn the_error_names_each_host_with_its_last_task() {
        for output in [include_str!("captured/default.txt"), include_str!("captured/yaml.txt")] {
            let error = judged(2, output, "").unwrap_err();
            assert_eq!(error.code, "ansible.failed");
            assert_eq!(
                error.message,
                "host alpha failed in task \"deploy the app\": non-zero return code: err\n\
                 host beta failed in task \"items\": bad 2"
            );
        }
    }

    #[test]
    fn a_callback_without_recap_is_judged_by_the_exit_code() {
        let output = include_str!("captured/minimal.txt");
        assert!(judged(2, output, "").unwrap_err().message.contains("host beta failed: bad 1"));
        let recap = judged(0, output, "").unwrap();
        assert_eq!((recap["alpha"].failed, recap["alpha"].ignored), (0, 3));
    }

    #[test]
    fn ansibles_own_errors_have_codes() {
        let code = |exit, error| judged(exit, "", error).unwrap_err().code;
        assert_eq!(code(1, "ERROR! Attempting to decrypt but no vault secrets found"), "ansible.vault");
        assert_eq!(code(1, "ERROR! the playbook: m.yml could not be found"), "ansible.playbook");
        assert_eq!(code(1, "ERROR! Specified hosts and/or --limit does not match any hosts"), "ansible.no_hosts");
        assert_eq!(code(1, "[ERROR]: No inventory was parsed, please check"), "ansible.inventory");
        let syntax = "ERROR! no such module\n\nThe error appears to be in '/p/x.yml': line 3, column 7, but may\n";
        let error = judged(4, "", syntax).unwrap_err();
        assert_eq!(error.code, "ansible.syntax");
        assert_eq!(error.message, "no such module (The error appears to be in '/p/x.yml': line 3, column 7)");
        assert_eq!(judged(250, "", "").unwrap_err().message, "ansible-playbook ended with exit code 250: last words");
    }

    #[test]
    fn an_empty_recap_is_an_error() {
        assert_eq!(
            judged(0, "skipping: no hosts matched\n\nPLAY RECAP ***\n", "").unwrap_err().code,
            "ansible.no_hosts"
        );
        assert_eq!(judged(0, "PLAY [web] ***\n\nPLAY RECAP ***\n", "").unwrap_err().code, "ansible.no_tasks");
    }
}
