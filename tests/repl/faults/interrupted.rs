//! Ctrl-C: it ends what runs, never the shell.

use std::time::{Duration, Instant};

use crate::place::wait_until;
use crate::repl::engine::{ENGINE, IMAGE, LABEL, Things, docker};
use crate::terminal::Signal;

use super::*;

/// What has to be soon; a machine that builds beside it is slow.
const SOON: Duration = Duration::from_secs(8);

/// Presses Ctrl-C; what ran must say so, and the prompt come soon.
#[track_caller]
fn interrupt(shell: &mut Shell) {
    let begun = Instant::now();
    shell.terminal.type_keys(CTRL_C).expect("error[cancelled]");
    shell.until_prompt();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Waits for a prompt that is the last one: a Ctrl-C that comes to one that was there before takes along what was typed
/// meanwhile.
#[track_caller]
fn settle(shell: &mut Shell) {
    let (clear, typed) = ("\x15", "settled");
    wait_until("a prompt that takes keys", || {
        shell.terminal.type_keys(clear).type_keys(typed).screen().ends_with(&format!("{PROMPT}{typed}"))
    });
    shell.terminal.type_keys(clear);
    shell.until_prompt();
}

/// Whether the process, whose number is in a file of `work`, is there.
fn is_there(place: &Place, file: &str) -> bool {
    let pid = place.read(&format!("work/{file}"));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn an_endless_loop_is_interrupted_and_what_was_before_is_there() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let kept = 6; fn twice(n) { n * 2 }", &[]);
    let loops = [
        "loop { }",
        "let n = 0; while true { n += 1; }",
        "fn f(n) { loop { } } f(1)",
        "[1, 2].map(|n| { loop { } })",
        "try { loop { } } catch { loop { } }",
        "let grown = []; loop { grown.push(1); if grown.len() > 1000 { grown.clear(); } }",
    ];
    for endless in loops {
        shell.type_in(&format!("ui::say(\"beg\" + \"un\"); {endless}")).terminal.expect("  begun\n");
        interrupt(&mut shell);
    }
    shell.enter("twice(kept) + 30", &["42\n"]);
    shell.leave();
}

#[test]
fn ten_times_ctrl_c_do_not_leave() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let kept = 42;", &[]);
    for _ in 0..10 {
        shell.write("kept + 1").terminal.type_keys(CTRL_C).expect("\n");
        // As `kill -INT` sends it.
        shell.write("kept + 2").terminal.signal(Signal::INT);
        shell.terminal.expect("\n");
    }
    for _ in 0..5 {
        shell.type_in("ui::say(\"beg\" + \"un\"); loop { }").terminal.expect("  begun\n");
        for _ in 0..10 {
            shell.terminal.type_keys(CTRL_C);
        }
        // The error may not be seen: each Ctrl-C has the terminal throw away what it has not shown yet.
        settle(&mut shell);
    }
    shell.enter("kept", &["42\n"]);
    shell.terminal.type_keys(CTRL_D);
    assert_eq!(shell.terminal.wait(), 0);
}

#[test]
fn ten_times_ctrl_c_do_not_leave_a_shell_that_a_failed_run_has_opened() {
    let place = Place::new(crate::repl::SCRIPT);
    let mut terminal = Seat::new(&place.command(&["run", "../main.rhai"])).start();
    terminal.expect("what now? ").type_line("shell").expect("main-1 (failed)> ");
    let mut shell = Shell::at(terminal, "main-1 (failed)> ");
    for _ in 0..5 {
        shell.type_in("ui::say(\"beg\" + \"un\"); loop { }").terminal.expect("  begun\n");
        interrupt(&mut shell);
    }
    shell.enter("first", &["42\n"]);
    shell.type_in("exit").terminal.expect("what now? ").type_line("quit");
    assert_eq!(shell.terminal.wait(), 1);
    place.expect_state("main-1", "failed");
}

#[test]
fn leaving_says_what_is_unfinished() {
    let place = crate::repl::failed();
    let (shell, greeting) = Shell::open(seat(&place, &[]), PROMPT);
    assert!(greeting.contains("main-1 is unfinished: .run main-1 goes there"), "{greeting}");
    let words = shell.leave();
    assert!(words.contains("main-1 is unfinished: pgscript resume main-1"), "{words}");
    let (mut shell, _) = Shell::open(seat(&place, &["--run", "1"]), "main-1 (failed)> ");
    shell.terminal.type_keys(CTRL_D).expect("main-1 is failed: pgscript resume main-1 | pgscript rollback main-1");
    assert_eq!(shell.terminal.wait(), 0);
}

#[test]
fn a_wait_is_interrupted() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.type_in("ui::say(\"beg\" + \"un\"); host::sleep(60)").terminal.expect("  begun\n");
    interrupt(&mut shell);
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
    assert!(!place.path("runs/repl-1").exists(), "it has changed nothing");
}

#[test]
fn a_command_is_interrupted_and_its_process_gone() {
    let place = Place::new("");
    let mut shell = open(&place);
    let text = "host::run([\"sh\", \"-c\", \"sleep 60 & echo $! >inner; echo $$ >outer; wait\"])";
    shell.type_in(text);
    wait_until("the command", || place.path("work/outer").exists());
    interrupt(&mut shell);
    assert!(!is_there(&place, "inner") && !is_there(&place, "outer"));
    // The journal is sound: it goes on.
    shell.enter("host::write(\"made\", \"x\")", &["$ write made"]);
    shell.leave();
    let inputs = crate::repl::acted(&place, "repl-1");
    let inputs: Vec<_> = inputs.iter().map(|input| (&input["text"], &input["state"])).collect();
    assert_eq!(
        inputs,
        [
            (&text.into(), &"failed: cancelled by the operator".into()),
            (&"host::write(\"made\", \"x\")".into(), &"done".into())
        ]
    );
    place.pgscript(&["status", "1"]).expect(0, &["failed", text]);
}

#[test]
fn a_command_in_a_container_is_interrupted_and_its_process_gone() {
    let (place, things) = (Place::new(""), Things::new("interrupted"));
    let label = format!("{LABEL}={}", things.name);
    docker(&["run", "-d", "--name", &things.name, "--label", &label, "--entrypoint", "sleep", IMAGE, "600"]);
    let mut shell = Shell::open(seat(&place, &[]).env("DOCKER_HOST", ENGINE), PROMPT).0;
    shell.enter(&format!("let c = docker::container(\"{}\");", things.name), &[]);
    shell.type_in("c.exec([\"sleep\", \"4711\"])");
    let sleeps = || docker(&["top", &things.name]).contains("sleep 4711");
    wait_until("the command", sleeps);
    interrupt(&mut shell);
    wait_until("its end", || !sleeps());
    shell.enter("c.exec([\"echo\", \"forty\" + \"-two\"]).stdout", &["forty-two"]);
    shell.leave();
    assert_eq!(crate::repl::acted(&place, "repl-1")[0]["state"], "failed: cancelled by the operator");
}

#[test]
fn a_question_is_interrupted() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.type_in("ui::confirm(\"go \" + \"on?\")").terminal.expect("go on?").until_keys();
    interrupt(&mut shell);
    shell.type_in("let p = param(\"p\", #{ type: \"secret\" });").terminal.expect("p: ").until_keys();
    interrupt(&mut shell);
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
}

#[test]
fn a_run_that_goes_on_is_interrupted_and_goes_on_again() {
    let place = Place::new(
        "step(\"one\", || { host::write(\"begun\", \"\", #{ overwrite: true }); \
         if !host::exists(\"mended\") { host::sleep(60); } }, \
         #{ repeatable: true, undo: || host::remove_file(\"begun\") });\nui::say(\"came to the \" + \"end\");",
    );
    place.run_killed_at("after:3");
    let mut shell = Shell::open(seat(&place, &["--run", "1"]), "main-1 (interrupted)> ").0;
    shell.type_in(".resume");
    wait_until("the step", || place.path("work/begun").exists());
    shell.prompt("main-1 (failed)> ");
    interrupt(&mut shell);
    assert_eq!(shell.terminal.text().matches("error[cancelled]").count(), 1, "{}", shell.terminal.text());
    shell.enter("host::write(\"mended\", \"\")", &["$ write mended"]);
    shell.goes_on(".resume", "main-1 (done)> ", &["came to the end", "main-1 is done now"]);
    shell.leave();
}
