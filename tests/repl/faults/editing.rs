//! Inputs that are not whole, not right, or not text.

use super::*;

/// Typed, and Enter: each waits for more.
const UNFINISHED: [&str; 9] = [
    "host::write(\"made\", \"x\"",
    "[1, 2,",
    "#{ a: 1,",
    "if true {",
    "fn wrong() {",
    "`begun",
    "`${",
    "host::write(\"made\", \"x\") /* begun",
    "host::write(\"made\", \"x\"); 1 +",
];

#[test]
fn an_unfinished_input_goes_on_and_ctrl_c_drops_all_of_it() {
    let place = Place::new("");
    let mut shell = open(&place);
    for text in UNFINISHED {
        shell.type_in(text);
        let is_further = |screen: &str| screen.lines().last().unwrap().trim_start().starts_with("2 + 3");
        shell.terminal.type_keys("2 + 3").see_when("a further line", is_further);
        shell.terminal.type_keys(CTRL_C);
        shell.until_prompt();
    }
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
    assert!(place.files().is_empty(), "nothing of it was evaluated");
    assert_eq!(history(&place), ["20 + 22", "exit"]);
}

#[test]
fn an_input_over_several_lines_is_evaluated_when_it_is_whole() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.write("if true {").terminal.type_keys("\r20 +\r22\r\x7f}\r");
    shell.answer(&["42\n"]);
    shell.write("let text = `two").terminal.type_keys("\rlines`;\r");
    shell.answer(&[]);
    shell.enter("text.len()", &["9\n"]);
    // A further line in what is whole already.
    shell.write("1").terminal.type_keys("\x1b\r+ 2\r");
    shell.answer(&["3\n"]);
    shell.leave();
    let expected = ["if true {\n    20 +\n    22\n}", "let text = `two\nlines`;", "text.len()", "1\n+ 2", "exit"];
    assert_eq!(history(&place), expected);
}

#[test]
fn a_wrong_closing_bracket_is_an_error_at_once() {
    let place = Place::new("");
    let mut shell = open(&place);
    for text in
        ["host::write(\"made\", [1)", "host::write(\"made\", \"x\"))", "if true { host::write(\"made\", \"x\") ]", "}"]
    {
        shell.enter(text, &["error[script.syntax]"]);
    }
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
    assert!(place.files().is_empty(), "nothing of it was evaluated");
}

#[test]
fn a_string_that_its_line_does_not_end_is_an_error_and_no_trap() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.write("host::write(\"made, 1)").terminal.type_keys("\r\r");
    shell.answer(&["error[script.syntax]"]);
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
    assert!(place.files().is_empty());
}

#[test]
fn ctrl_d_leaves_from_an_empty_line_only() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.write("let x = [").terminal.type_keys("\r1").type_keys(CTRL_D).type_keys("]\r");
    shell.answer(&[]);
    shell.enter("x", &["[1]\n"]);
    shell.terminal.type_keys(CTRL_D);
    assert_eq!(shell.terminal.wait(), 0);
}

/// 500 lines, of which one is this.
fn lines(number: usize, text: &str) -> String {
    let mut lines: Vec<_> = (1..=500).map(|line| format!("count += 1; // of line {line}")).collect();
    lines[number - 1] = text.to_owned();
    lines.join("\n")
}

/// Pastes it and waits until all of it is there.
fn paste(shell: &mut Shell, text: &str) {
    let last = text.lines().last().unwrap();
    shell.terminal.skip().paste(text).see(last);
    shell.terminal.type_keys("\r");
    shell.terminal.expect(last);
}

#[test]
fn a_paste_of_500_lines_is_one_input() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let count = 0;", &[]);
    let text = lines(250, "count += 2;");
    paste(&mut shell, &text);
    shell.answer(&[]);
    shell.enter("count", &["501\n"]);
    shell.leave();
    assert_eq!(history(&place), ["let count = 0;", &text, "count", "exit"]);
}

#[test]
fn a_paste_of_500_lines_that_does_not_parse_is_not_run_at_all() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let count = 0;", &[]);
    paste(&mut shell, &lines(251, "count += ;"));
    shell.answer(&["error[script.syntax]", "--> input 2:251:10", "251 | count += ;\n"]);
    shell.enter("count", &["0\n"]);
    shell.leave();
}

#[test]
fn a_paste_of_500_lines_that_fails_in_its_middle_goes_no_further() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let count = 0;", &[]);
    paste(&mut shell, &lines(251, "fail(\"a.b\", \"it broke\");"));
    shell.answer(&["error[a.b]: it broke", "--> input 2:251:1", "251 | fail("]);
    shell.enter("count", &["250\n"]);
    shell.leave();
}

#[test]
fn bytes_that_are_no_text_cost_only_themselves() {
    let place = Place::new("");
    let mut shell = Shell::open(seat(&place, &[]).locale("C"), PROMPT).0;
    shell.write("20").terminal.type_keys(b"\xe9x").expect("not UTF-8").expect("> 20");
    shell.terminal.type_keys(" + 22\r").expect("+ 22");
    shell.answer(&["42\n"]);
    shell.leave();
}

#[test]
fn what_is_typed_ahead_is_not_lost() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.until_prompt().terminal.type_keys("let a = 1;\rlet b = 2;\rhost::sleep(0.5)\r");
    shell.terminal.expect("host::sleep(0.5)\n").type_keys("let c = 39;\ra + b + c\r").expect("\n42\n");
    shell.leave();
    assert_eq!(history(&place).len(), 6);
}
