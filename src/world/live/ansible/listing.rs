//! What a playbook would do, as `ansible-playbook --list-hosts --list-tasks` prints it.
//!
//! ```text
//! playbook: play.yml
//!
//!   play #1 (web): the application TAGS: []
//!     pattern: ['web']
//!     hosts (1):
//!       alpha
//!     tasks:
//!       start the containers  TAGS: [start]
//! ```

use std::collections::BTreeSet;

use super::outcome;
use crate::world::error::{Error, Result};

/// One play of the list.
#[derive(Debug, Default)]
struct Play {
    hosts: Vec<String>,
    /// The tags select one at least.
    has_tasks: bool,
}

/// The hosts that any play has tasks for, sorted, each once.
pub fn hosts(lines: &[String]) -> Result<Vec<String>> {
    let mut plays = plays(lines);
    if plays.is_empty() {
        return Err(Error::failed("ansible.failed", "ansible-playbook lists no play of the playbook"));
    }
    plays.retain(|play| !play.hosts.is_empty());
    if plays.is_empty() {
        return Err(outcome::no_common_host());
    }
    plays.retain(|play| play.has_tasks);
    if plays.is_empty() {
        return Err(outcome::no_tasks());
    }
    let hosts: BTreeSet<String> = plays.into_iter().flat_map(|play| play.hosts).collect();
    Ok(hosts.into_iter().collect())
}

/// The list's parts differ by their indentation: a task's name may look like anything else.
fn plays(lines: &[String]) -> Vec<Play> {
    let mut plays: Vec<Play> = Vec::new();
    let mut in_tasks = false;
    for line in lines {
        if line.starts_with("  play #") {
            plays.push(Play::default());
            in_tasks = false;
        } else if line == "    tasks:" {
            in_tasks = true;
        } else if let (Some(item), Some(play)) = (line.strip_prefix("      "), plays.last_mut()) {
            if in_tasks {
                play.has_tasks = true;
            } else {
                play.hosts.push(item.to_owned());
            }
        }
    }
    plays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>> {
        hosts(&text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_of_all_plays_with_tasks_are_named_once() {
        assert_eq!(read(include_str!("captured/list.txt")).unwrap(), ["alpha", "beta", "localhost"]);
    }

    #[test]
    fn a_playbook_without_hosts_or_tasks_is_an_error() {
        let play = |hosts: &str, tasks: &str| {
            let text =
                format!("\nplaybook: p.yml\n\n  play #1 (web): web\tTAGS: []\n    pattern: ['web']\n{hosts}{tasks}");
            read(&text).unwrap_err().code
        };
        let task = "    tasks:\n      ping\tTAGS: []\n";
        assert_eq!(play("    hosts (0):\n", task), "ansible.no_hosts");
        assert_eq!(play("    hosts (1):\n      alpha\n", "    tasks:\n"), "ansible.no_tasks");
        assert_eq!(read("\nplaybook: p.yml\n").unwrap_err().code, "ansible.failed");
    }
}
