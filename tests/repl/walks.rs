//! Walks through the states of a run: forward, one step, one step back, killed anywhere, in an order that nobody has
//! thought of. From wherever a walk ends, the run can be brought to its end, and be put back.

use std::io::Write;
use std::process::Stdio;

use crate::place::{KILLED, Place, ran};

/// Steps as a procedure has them: steps inside another one, one that is put back by the undo of another one, and one
/// from which on nothing is put back by itself.
const SCRIPT: &str = r#"
fn put(file) { host::write(file, file, #{ overwrite: true }); }
fn gone(file) { if host::exists(file) { host::remove_file(file); } }
step("look", || host::exists("a"));
step("a", || put("a"), #{ repeatable: true, undo: || gone("a") });
let b = step("b", || {
    step("first", || put("b1"), #{ repeatable: true, undo: || gone("b1") });
    let second = step("second", || { put("b2"); 7 }, #{ repeatable: true });
    second + 1
}, #{ repeatable: true, undo: || { gone("b1"); gone("b2"); } });
step("c", || put("c"), #{ commit: true, repeatable: true, undo: || { gone("c"); gone("d"); gone("e"); } });
step("d", || { put("d"); put("e"); b }, #{ repeatable: true, undo: false });
step("e", || put("e"), #{ repeatable: true, undo: false });
step("f", || put("f"), #{ repeatable: true, undo: || gone("f") });
"#;

const FILES: [&str; 7] = ["a", "b1", "b2", "c", "d", "e", "f"];
/// How many walks, and of how many stages each.
const WALKS: u64 = if cfg!(feature = "full-matrix") { 400 } else { 40 };
const STAGES: u64 = 7;

/// Numbers that are the same in each run of the tests.
struct Dice(u64);

impl Dice {
    /// From 0 to `sides` - 1. Knuth's MMIX generator; its upper bits are the better ones.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Walk {
    place: Place,
    dice: Dice,
    /// What was done, for whoever looks why it went wrong.
    stages: Vec<String>,
}

impl Walk {
    fn new(number: u64) -> Self {
        Self { place: Place::new(SCRIPT), dice: Dice(number), stages: Vec::new() }
    }

    /// One process of the run, which ends itself at some line of the journal; gives its exit code.
    fn stage(&mut self, arguments: &[&str], typed: &str, soonest: u64) -> i32 {
        let line = soonest + self.dice.roll(24);
        let at = format!("{}:{line}", ["before", "after"][self.dice.roll(2) as usize]);
        let mut command = self.place.command(arguments);
        let mut child = command.env("PGSCRIPT_KILL_AT", &at).stdin(Stdio::piped()).spawn().unwrap();
        // It may end itself before it reads.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let ended = ran(child.wait_with_output().unwrap());
        self.stages.push(format!("{arguments:?} {typed:?} to be killed {at}: {}", ended.code));
        ended.code
    }

    fn go(&mut self) {
        // Not before there is something to go on with.
        self.stage(&["run", "../main.rhai"], "", 8);
        for _ in 0..STAGES {
            let soonest = self.place.journal(1).len() as u64 + 2;
            let (arguments, typed) = match self.dice.roll(6) {
                0 => (&["resume", "1"][..], ""),
                1 => (&["repl", "--run", "1"][..], ".step\n"),
                2 => (&["repl", "--run", "1"][..], ".undo\n.undo\n"),
                3 => (&["repl", "--run", "1"][..], ".undo\n.step\n.step\n"),
                4 => (&["repl", "--run", "1"][..], ".retry\n.undo\n"),
                _ => (&["repl", "--run", "1"][..], ".undo\n"),
            };
            let code = self.stage(arguments, typed, soonest);
            // 1 and 3: there was nothing to do, and it said so.
            assert!([0, 1, 3, KILLED].contains(&code), "{:#?}", self.stages);
        }
    }

    #[track_caller]
    fn expect(&self, arguments: &[&str], is_there: bool) {
        let ran = self.place.pgscript(arguments);
        let said = format!("{:#?}\n{arguments:?}: {}{}", self.stages, ran.stdout, ran.stderr);
        // A run that is done already has nothing to resume.
        let is_over = ran.code == 3 && ran.stderr.contains("[run.over]");
        assert!(ran.code == 0 || is_over, "{said}");
        for file in FILES {
            assert_eq!(self.place.path("work").join(file).exists(), is_there, "{file}\n{said}");
        }
    }
}

#[test]
fn wherever_a_walk_ends_the_run_comes_to_its_end_and_is_put_back() {
    for number in 0..WALKS {
        let mut walk = Walk::new(number);
        walk.go();
        let end = walk.place.state();
        walk.expect(&["resume", "1"], true);
        walk.expect(&["rollback", "1"], false);
        walk.place.restore(&end);
        walk.expect(&["rollback", "1"], false);
    }
}
