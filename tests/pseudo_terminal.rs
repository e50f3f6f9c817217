//! The terminal that other tests sit at is one: what they rely on, held against programs of this machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use crate::terminal::{Seat, Signal, Terminal};

fn seat(script: &str) -> Seat {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("PATH", std::env::var_os("PATH").unwrap());
    Seat::new(&command)
}

fn sh(script: &str) -> Terminal {
    seat(script).start()
}

#[test]
fn the_program_has_a_terminal_of_its_own_and_nothing_of_the_testers_environment() {
    let mut terminal =
        sh("test -t 0 && test -t 1 && test -t 2 && : >/dev/tty && echo on $(tty) && env | sort && ps -o sid= $$");
    let text = terminal.expect("on /dev/pts/").read("TESTS_TERMINAL");
    let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(
        names.iter().all(|name| ["LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "TERM", "_"].contains(name)),
        "{text}"
    );
    assert!(text.contains("TERM=xterm-256color") && text.contains("LC_ALL=C.UTF-8"), "{text}");
    let leader = terminal.pid().as_raw_pid().to_string();
    let (rest, code) = terminal.end();
    assert_eq!((rest.lines().last().unwrap().trim(), code), (leader.as_str(), 0));
}

#[test]
fn its_size_is_what_was_asked_for_and_a_change_of_it_is_told() {
    let mut terminal =
        seat("trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done").size(40, 12).start();
    terminal.expect("12 40").resize(100, 30).expect("30 100");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn words_are_waited_for_in_their_order_and_the_text_between_is_given() {
    let mut terminal = sh("printf '\\033[1;31mone\\033[0m two\\r\\nthree\\n'; read line; echo \"four $line\"");
    assert_eq!(terminal.read("two"), "one two");
    assert_eq!(terminal.read("three"), "\nthree");
    // The echo of what is typed comes before what is made of it.
    terminal.type_line("typed");
    assert_eq!(terminal.read("four typed"), "\ntyped\nfour typed");
    assert_eq!(terminal.end(), ("\n".into(), 0));
}

#[test]
fn words_that_do_not_come_fail_with_everything_as_soon_as_the_program_has_ended() {
    let failed = catch_unwind(|| _ = sh("echo before; echo after").expect("before").expect("never")).unwrap_err();
    let message = failed.downcast::<String>().unwrap();
    for words in ["\"never\" did not come", "has ended", "=== waited for before\nbefore\n", "=== since\n\nafter"] {
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
    let mut terminal = seat("echo before; sleep 60").patience(Duration::from_millis(300)).start();
    let failed = catch_unwind(AssertUnwindSafe(|| _ = terminal.expect("never"))).unwrap_err();
    assert!(failed.downcast::<String>().unwrap().contains("(the program runs)"));
}

#[test]
fn the_screen_is_what_a_person_sees_of_it() {
    let text = "thirty-nine columns are just fine here.";
    let mut terminal =
        seat(&format!("clear; echo '{text}and a rest'; printf 'wrong\\rright\\n\\n> '; read x")).size(40, 8).start();
    let screen = terminal.see("> ");
    assert_eq!(screen, format!("{text}a\nnd a rest\nright\n\n>"));
    assert_eq!(terminal.cursor(), (2, 4));
    terminal.type_line("");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn a_program_that_asks_where_the_cursor_is_is_answered() {
    let mut terminal = sh("stty -icanon -echo; printf 'abc\\033[6n'; dd bs=1 count=6 2>/dev/null | od -c");
    terminal.expect("[   1   ;   4   R");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn a_paste_is_marked_where_the_program_has_asked_for_that() {
    let mut terminal = sh("stty -icanon -echo; printf 'go\\n'; dd bs=1 count=3 2>/dev/null | od -c; \
         printf '\\033[?2004hgo\\n'; dd bs=1 count=15 2>/dev/null | od -c");
    terminal.expect("go\n").until_keys().paste("a\nb").expect("a  \\n   b").expect("go\n");
    terminal.paste("a\nb").expect("033   [   2   0   0   ~   a  \\n   b 033   [   2   0   1   ~");
    assert_eq!(terminal.wait(), 0);
}

#[test]
fn ctrl_c_a_signal_and_a_closed_window_reach_the_program() {
    let mut terminal = sh("trap 'echo interrupted; exit 7' INT; sleep 60 & echo ready; wait");
    terminal.expect("ready").type_keys("\x03").expect("interrupted");
    assert_eq!(terminal.wait(), 7);
    let mut terminal = sh("echo ready; exec sleep 60");
    terminal.expect("ready").signal(Signal::TERM);
    assert_eq!(terminal.wait(), 128 + 15);
    let mut terminal = sh("echo ready; exec sleep 60");
    terminal.expect("ready").hang_up();
    assert_eq!(terminal.wait(), 128 + 1);
}

#[test]
fn nothing_that_was_started_stays_behind() {
    let sleepers = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let arguments = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        arguments.filter(|arguments| arguments == b"sleep\x004711\0").count()
    };
    let mut terminal = sh("setsid sleep 4711 & sleep 4711 & trap '' HUP TERM; while :; do echo more; done");
    terminal.see_when("both are there", |_| sleepers() == 2);
    let leader = terminal.pid();
    drop(terminal);
    assert_eq!(sleepers(), 0);
    assert!(!std::fs::exists(format!("/proc/{leader}")).unwrap());
}
