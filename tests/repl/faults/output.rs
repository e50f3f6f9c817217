//! More than anybody reads.

use std::time::{Duration, Instant};

use super::*;

/// Far more than it takes, far less than an operator waits.
const SOON: Duration = Duration::from_secs(20);

/// What is shown of a value.
fn shown(shell: &mut Shell, input: &str) -> String {
    let begun = Instant::now();
    let said = shell.enter(input, &[]);
    assert!(begun.elapsed() < SOON, "{input}: {:?}", begun.elapsed());
    assert!(said.len() < 100_000 && said.lines().count() < 1000, "{input}: {} bytes", said.len());
    said
}

#[test]
fn a_text_of_a_megabyte_is_shown_in_part() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let text = \"x\"; text.pad(1000000, 'x'); text.len()", &["1000000\n"]);
    let said = shown(&mut shell, "text");
    assert!(said.contains("980 000 more characters; all of it: ui::say(VALUE)"), "{}", &said[said.len() - 200..]);
    let said = shown(&mut shell, "#{ inner: text, list: [text, text] }");
    assert!(said.contains("more; all of it"), "{said}");
    let lines = "let lines = \"\"; for n in 0..50000 { lines += \"line \" + n + \"\\n\"; } lines";
    let said = shown(&mut shell, lines);
    assert!(said.contains("line 100\n") && said.contains("49 800 more lines"), "{}", &said[said.len() - 200..]);
    shell.enter("text.len() / 1000000 * 42", &["42\n"]);
    shell.leave();
}

#[test]
fn an_array_of_100_000_rows_is_shown_in_part() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let rows = []; rows.pad(100000, #{ id: 7, name: \"a name\" }); rows.len()", &["100000\n"]);
    let said = shown(&mut shell, "rows");
    assert!(said.contains("a name") && said.contains("99 8"), "{}", &said[said.len() - 300..]);
    shown(&mut shell, "rows.map(|row| row.id)");
    shown(&mut shell, "rows.map(|row| [row, row])");
    shown(&mut shell, "let map = #{}; for n in 0..10000 { map.set(`key${n}`, n); } map");
    shell.enter("rows[99999].id * 6", &["42\n"]);
    shell.leave();
}

#[test]
fn a_command_that_writes_a_megabyte_does_not_stop_the_shell() {
    let place = Place::new("");
    let mut shell = open(&place);
    let begun = Instant::now();
    shell.type_in("let ran = host::run([\"sh\", \"-c\", \"seq 150000\"], #{ stream: true }); ran.exit_code");
    shell.answer(&["│ 150000\n", "\n0\n"]);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    shell.enter("ran.stdout.len()", &["938895\n"]);
    shell.leave();
}

#[test]
fn an_error_of_a_megabyte_is_shown_in_part() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let text = \"x\"; text.pad(1000000, 'x');", &[]);
    let said = shown(&mut shell, "fail(\"a.b\", text)");
    assert!(said.contains("x...\n  (990000 more characters)\n --> input 2:1:1"), "{said}");
    shown(&mut shell, "throw text");
    shell.enter("20 + 22", &["42\n"]);
    shell.leave();
}
