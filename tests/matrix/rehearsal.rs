//! A stack on which an upgrade is rehearsed, once to its end.

use std::process::Command;

use serde_json::Value;

use crate::kills;
use crate::matrix::site;
use crate::procedure::faults::before::Before;
use crate::stack::{Stack, run};

pub struct Rehearsed {
    stack: Stack,
    strategy: &'static str,
    before: Before,
}

/// Said of every rehearsal that went well.
const TOLD: &str = "the application is going to be down for";

impl Rehearsed {
    pub fn up(strategy: &'static str) -> Self {
        let stack = Stack::with(13, &["--seed", "little"]);
        stack.deploy_by_command();
        let rehearsed = Self { before: Before::containers_of(&stack), stack, strategy };
        run(&mut rehearsed.command()).expect(0, &[TOLD]);
        rehearsed.is_without_a_trace();
        rehearsed
    }

    fn command(&self) -> Command {
        self.stack.command_of("rehearse.rhai", 15, &["--set", self.strategy])
    }

    fn run_name(&self) -> String {
        site::newest(&self.stack, "rehearse-")
    }

    pub fn journal(&self) -> Vec<Value> {
        kills::journal(&self.stack.base.join(self.run_name()))
    }

    #[track_caller]
    pub fn killed_at(&self, instant: &str) {
        kills::killed_at(&mut self.command(), instant);
    }

    #[track_caller]
    pub fn resume(&self) {
        run(&mut self.stack.pgscript(&["resume", &self.run_name()])).expect(0, &[TOLD]);
    }

    #[track_caller]
    pub fn roll_back(&self) {
        run(&mut self.stack.pgscript(&["rollback", &self.run_name(), "--yes"])).expect(0, &["is rolled back"]);
    }

    #[track_caller]
    pub fn is_without_a_trace(&self) {
        self.before.is_without_a_trace(&self.stack);
        self.stack.writes();
    }
}
