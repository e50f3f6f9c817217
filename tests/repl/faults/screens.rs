//! Terminals that are narrow, old, plain, or change their size.

use super::*;

const FAILED: &str = "main-1 (failed)> ";
/// Longer than a narrow line, so that a part of it could be left over where lines are broken.
const SECRET: &str = "hunter2 hunter2 hunter2hunter2hunter2 hunter2hunter2";

/// What says something of every kind: pages, tables, cards, errors, a run that goes on and fails, secrets, warnings.
const INPUTS: [&str; 19] = [
    "help",
    "help topics",
    "help strings",
    "help docker",
    "help Container",
    "help run",
    "help nonsense of any kind",
    ".status",
    ".steps",
    ".plan",
    ".next",
    ".copies",
    "#{ text: \"some words, more than one line of a narrow terminal takes\", list: [1, 2, 3], inner: #{ a: () } }",
    "let wrong = 1 + docker::container(\"some container\").name + nothing_of_this_name + something_else",
    "host::read(\"nothing.here\")",
    ".resume",
    "let p = param(\"p\", #{ type: \"secret\" }); p",
    "let text = host::read(\"../secret\"); ui::say(text); ui::warn(text); [text, #{ a: text }]",
    "fail(\"a.b\", `${text} -- \u{201e}\u{e4}\u{201c} was said`)",
];

/// A failed run, and a file with what a parameter's value is.
fn place() -> Place {
    let place = crate::repl::failed();
    place.write("secret", &format!("it says {SECRET} somewhere"));
    place
}

fn in_the_run(place: &Place) -> Seat {
    seat(place, &["--run", "1"]).env("PGSCRIPT_P", SECRET)
}

/// Enters all of them; gives what was said to each, and before.
fn say_everything(shell: &mut Shell, greeting: String) -> Vec<(&'static str, String)> {
    let said: Vec<_> = INPUTS.into_iter().map(|line| (line, shell.enter(line, &[]))).collect();
    let all = shell.terminal.text();
    assert!(all.contains("error[run.") || all.contains("error[a.b]: it broke"), "{all}");
    assert!(!all.contains("hunter") && all.contains("it says "), "{all}");
    [("", greeting)].into_iter().chain(said).collect()
}

/// Whether a line fits, but for one long word in it.
fn fits(line: &str, columns: usize) -> bool {
    let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
    line.chars().count() <= columns || longest > columns / 2 && line.split_whitespace().count() <= 2
}

#[test]
fn in_forty_columns_everything_can_be_read() {
    let place = place();
    let (mut shell, greeting) = Shell::open(in_the_run(&place).size(40, 24), FAILED);
    for (line, said) in say_everything(&mut shell, greeting) {
        // What a run says is as wide as it is.
        let said = if line == ".resume" { said.split("error[").nth(1).unwrap() } else { &said };
        for row in said.lines() {
            assert!(fits(row, 40), "{line}: {row:?} in\n{said}");
        }
    }
    let said = shell.enter("let wrong = 1 + docker::container(\"c\").name + nothing_of_this_name + 2", &[]);
    let expected = "error[script.syntax]: there is no\n  variable `nothing_of_this_name`\n --> input 20:1:47\n  |\n\
                    1 | ...).name + nothing_of_this_name + 2\n  |             ^^^^^^^^^^^^^^^^^^^^\n";
    assert_eq!(said, expected);
    shell.leave();
}

#[test]
fn in_forty_columns_the_completion_and_the_prompt_are_whole() {
    let place = place();
    let mut shell = Shell::open(in_the_run(&place).size(40, 24), FAILED).0;
    shell.write("docker::co").terminal.type_keys("\t");
    let screen = shell.terminal.see_when("a list, and the line again", |screen| {
        let mut last = screen.lines().rev();
        last.next() == Some("main-1 (failed)> docker::co") && last.next().is_some_and(|row| row.contains("cont"))
    });
    assert!(screen.contains("connect ") && screen.contains("container ") && screen.contains("containers"), "{screen}");
    // The rest of a signature has no room: nothing of it is broken over the lines.
    shell.terminal.type_keys("ntainer(").see("docker::container(");
    assert_eq!(shell.terminal.screen().lines().last(), Some("main-1 (failed)> docker::container("));
    shell.terminal.type_keys(CTRL_C);
    let long = "[\"a text that is longer than two lines of so narrow a terminal\", 42].len()";
    shell.write(long);
    let rows: Vec<_> = shell.terminal.screen().lines().rev().take(3).map(str::to_owned).collect();
    assert_eq!(rows.into_iter().rev().collect::<String>(), format!("{FAILED}{long}"));
    shell.terminal.type_keys("\r");
    shell.answer(&["2\n"]);
    shell.leave();
}

#[test]
fn a_window_that_is_resized_in_the_middle_of_an_input() {
    let place = place();
    let mut shell = Shell::open(in_the_run(&place), FAILED).0;
    let text = "let sum = 0; for n in [1, 2, 3, 4, 5, 6] { sum += n; }";
    shell.write(text);
    for columns in [40, 30, 120, 50] {
        let whole = format!("{FAILED}{text}");
        let rows = whole.len().div_ceil(columns.into());
        shell.terminal.resize(columns, 24).see_when(&format!("the input in {columns} columns"), |screen| {
            let mut last: Vec<_> = screen.lines().rev().take(rows).collect();
            last.reverse();
            // A blank at the end of a row is not seen.
            last.concat().replace(' ', "") == whole.replace(' ', "")
        });
    }
    shell.terminal.type_keys(" sum * 2\r");
    shell.answer(&["42\n"]);
    // A hint too has the new width.
    shell.terminal.resize(80, 24);
    shell.write("docker::stop(").terminal.see("docker::stop(container: Container, options: Map = #{}) -> ()");
    shell.terminal.resize(60, 24).see("docker::stop(container, options)");
    shell.terminal.type_keys(CTRL_C);
    // Also while nothing is read; and pages are laid out anew.
    shell.type_in("ui::say(\"beg\" + \"un\"); host::sleep(1)").terminal.expect("  begun\n").resize(40, 24);
    shell.answer(&[]);
    let said = shell.enter("help docker::create", &["Creates a container without starting\n"]);
    assert!(said.lines().all(|row| fits(row, 40)), "{said}");
    shell.leave();
}

#[test]
fn without_unicode_every_byte_is_ascii() {
    let place = place();
    let (mut shell, greeting) = Shell::open(in_the_run(&place).locale("C"), FAILED);
    let said = say_everything(&mut shell, greeting);
    let of = |input: &str| &said.iter().find(|(line, _)| line.starts_with(input)).unwrap().1;
    assert!(of(".resume").contains("x failed in step `two`"), "{}", of(".resume"));
    assert!(of("let p").contains("******") && of("let text").contains("it says ****** somewhere"));
    shell.write("docker::").terminal.type_keys("\t").expect("containers");
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
    for byte in shell.terminal.raw() {
        // What the tester typed comes back as it is.
        assert!(byte.is_ascii() || INPUTS[18].as_bytes().contains(&byte), "{byte:x}");
    }
    shell.leave();
}

#[test]
fn a_dumb_terminal_gets_no_control_sequence() {
    let place = place();
    let (mut shell, greeting) = Shell::open(in_the_run(&place).kind("dumb").env("VISUAL", "true"), FAILED);
    say_everything(&mut shell, greeting);
    // Lines are put together here too, and Ctrl-C drops them.
    shell.type_in("[1,").terminal.expect(" > ").type_keys("2\r").expect(" > ").type_keys("x").type_keys(CTRL_C);
    shell.until_prompt();
    shell.type_in("[1,").terminal.expect(" > ").type_keys("41].reduce(|sum, n| sum + n, 0)\r");
    shell.answer(&["42\n"]);
    shell.type_in("ui::confirm(\"go on?\")").terminal.expect("(yes/no) ").type_keys("yes\r");
    shell.answer(&["true\n"]);
    shell
        .type_in("ui::say(\"beg\" + \"un\"); loop { }")
        .terminal
        .expect("begun\n")
        .type_keys(CTRL_C)
        .expect("error[cancelled]");
    shell.until_prompt();
    shell.write("x").terminal.type_keys(b"\xe9\r").expect("not UTF-8");
    shell.until_prompt();
    shell.enter("20 + 22", &["42\n"]);
    assert!(!shell.terminal.raw().contains(&0x1b), "{:?}", String::from_utf8_lossy(&shell.terminal.raw()));
    shell.leave();
}

#[test]
fn without_colours_there_are_none() {
    let place = place();
    let (mut shell, greeting) = Shell::open(in_the_run(&place).env("NO_COLOR", "1"), FAILED);
    say_everything(&mut shell, greeting);
    shell.write("docker::st").terminal.type_keys("\t").expect("stop(");
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
    let raw = String::from_utf8(shell.terminal.raw()).unwrap();
    assert!(!raw.split("\x1b[").skip(1).any(is_colour), "{raw:?}");
    shell.leave();
}

/// Whether a control sequence, without its beginning, sets colours.
fn is_colour(sequence: &str) -> bool {
    sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}
