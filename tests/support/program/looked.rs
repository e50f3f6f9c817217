//! What `preflight.rhai` found, as a monitor reads it.

use std::process::Command;

use serde_json::Value;

use super::{Run, run};

pub struct Looked {
    pub run: Run,
    pub verdict: Value,
}

impl Looked {
    /// Made by a command whose format is `json`.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let run = run(command);
        let events = run.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let verdict = events.rev().find(|event| event["event"] == "verdict");
        let verdict = verdict.unwrap_or_else(|| panic!("no verdict:\n{}", run.text));
        Self { run, verdict }
    }

    /// Each finding: its check, its verdict, and all that it says.
    pub fn findings(&self) -> Vec<(&str, &str, String)> {
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let all = self.verdict["details"]["checks"].as_array().unwrap();
        let said = |one: &Value| format!("[{}] {}\n{}", text(one, "code"), text(one, "what"), text(one, "cure"));
        all.iter().map(|one| (one["id"].as_str().unwrap(), one["verdict"].as_str().unwrap(), said(one))).collect()
    }

    /// The check has this verdict, and says each of these.
    #[track_caller]
    pub fn finds(&self, id: &str, verdict: &str, words: &[&str]) -> &Self {
        let findings = self.findings();
        let of_it: String = findings.iter().filter(|one| one.0 == id && one.1 == verdict).map(|one| &*one.2).collect();
        assert!(!of_it.is_empty(), "{id} is not {verdict}: {findings:#?}");
        for word in words {
            assert!(of_it.contains(word), "{id} does not say {word:?}: {of_it}");
        }
        let is_ready = self.verdict["ready"].as_bool().unwrap();
        let is_blocked = findings.iter().any(|one| one.1 == "blocked");
        assert_eq!((is_ready, self.run.code), (!is_blocked, if is_blocked { 3 } else { 0 }), "{}", self.run.text);
        self
    }
}
