//! What is remembered of the inputs, and what must not be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::terminal::Signal;

use super::*;

const SECRET: &str = "hunter2hunter2";

fn mode(place: &Place, name: &str) -> u32 {
    fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777
}

#[test]
fn inputs_come_back_whole_in_the_next_session_and_are_private() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.write("let text = `two").terminal.type_keys("\rlines`;\r");
    shell.answer(&[]);
    shell.enter("text.len()", &["9\n"]);
    shell.enter("text.len()", &["9\n"]);
    shell.enter(" \"kept out\".len()", &["8\n"]);
    shell.leave();
    assert_eq!(history(&place), ["let text = `two\nlines`;", "text.len()", "exit"]);
    assert_eq!((mode(&place, "runs"), mode(&place, "runs/history")), (0o700, 0o600));
    let mut shell = open(&place);
    for entry in ["exit", "text.len()", "let text = `two lines`;"] {
        shell.terminal.type_keys(UP);
        shell.until_shown(entry);
    }
    shell.terminal.type_keys("\r");
    shell.answer(&[]);
    shell.enter("text", &["two\nlines\n"]);
    shell.leave();
}

#[test]
fn what_was_entered_before_a_kill_is_remembered() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let first = 1;", &[]);
    shell.enter("fail(\"a.b\", \"wrong\")", &["error[a.b]"]);
    shell.terminal.signal(Signal::KILL);
    shell.terminal.wait();
    assert_eq!(history(&place), ["let first = 1;", "fail(\"a.b\", \"wrong\")"]);
}

#[test]
fn an_input_that_holds_a_known_secret_is_not_remembered() {
    let place = Place::new("");
    let mut shell = Shell::open(seat(&place, &[]).env("PGSCRIPT_P", SECRET), PROMPT).0;
    shell.enter("let p = param(\"p\", #{ type: \"secret\" });", &[]);
    shell.enter(&format!("\"{SECRET}\".len()"), &["14\n"]);
    shell.enter(&format!("let x = [\"{SECRET}\"]];"), &["error[script.syntax]"]);
    shell.terminal.type_keys(UP);
    shell.until_shown("let p = param");
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
    shell.enter(&format!("host::write(\"made\", \"{SECRET}\")"), &["$ write made"]);
    shell.leave();
    assert_eq!(history(&place), ["let p = param(\"p\", #{ type: \"secret\" });", "exit"]);
    for (path, text) in crate::place::texts(&place.path("runs")) {
        assert!(!text.contains(SECRET), "{} holds it", path.display());
    }
}

#[test]
fn a_secret_that_is_typed_where_it_is_asked_for_is_nowhere() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.type_in("let p = param(\"p\", #{ type: \"secret\" });").terminal.expect("p: ").until_keys().type_line(SECRET);
    shell.answer(&[]);
    shell.enter("p", &["\u{2022}\u{2022}"]);
    let all = shell.terminal.text();
    shell.leave();
    assert!(!all.contains(SECRET), "{all}");
    assert!(!place.read("runs/history").contains(SECRET));
}

#[test]
fn a_corrupted_history_is_put_aside_and_the_session_goes_on() {
    let place = Place::new("");
    fs::create_dir(place.path("runs")).unwrap();
    fs::set_permissions(place.path("runs"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(place.path("runs/history"), b"#V2\nfine\n\xff\xff\n").unwrap();
    let (mut shell, greeting) = Shell::open(seat(&place, &[]), PROMPT);
    let greeting = greeting.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(greeting.contains("is damaged (not UTF-8); it was moved to"), "{greeting}");
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
    assert_eq!(history(&place), ["20 + 22", "exit"]);
    assert_eq!(fs::read(place.path("runs/history.damaged")).unwrap(), b"#V2\nfine\n\xff\xff\n");
}

#[test]
fn a_history_that_can_not_be_written_is_said_once_and_kept_in_memory() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let first = 1;", &[]);
    fs::remove_dir_all(place.path("runs")).unwrap();
    fs::write(place.path("runs"), "in the way").unwrap();
    shell.enter("let second = 2;", &["it is kept in memory only"]);
    let said = shell.enter("first + second", &["3\n"]);
    assert!(!said.contains("in memory"), "{said}");
    shell.terminal.type_keys(UP).type_keys(UP);
    shell.until_shown("let second = 2;");
    shell.terminal.type_keys(CTRL_C);
    fs::remove_file(place.path("runs")).unwrap();
    shell.leave();
}
