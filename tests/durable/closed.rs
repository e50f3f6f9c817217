//! What ends nothing in the middle: a reader that goes away, a stream that is closed, a file that may not grow.

use super::*;

/// Says a lot, before and between its steps.
const TALKS: &str = r#"
for n in 0..200 { ui::say(`before ${n}`); }
step("one", || { for n in 0..200 { ui::say(`in ${n}`); } host::write("one", "1") }, #{ repeatable: true });
ui::warn("a warning");
step("two", || host::write("two", "2"), #{ repeatable: true });
for n in 0..200 { ui::say(`after ${n}`); }
"#;

/// The run by a shell, as `$0` in a command line.
fn by_shell(place: &Place, line: &str) -> Command {
    let run = place.command(&["run", "../main.rhai"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(run.get_program()).args(run.get_args()).env_clear();
    shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(place.path("work"));
    shell
}

#[test]
fn closed_pipe() {
    let lines = [
        // Its reader is content with the first line, or never reads; one or both of its streams are closed or full.
        r#"{ "$0" "$@"; echo $? >../code; } | head -n 1"#,
        r#"{ "$0" "$@"; echo $? >../code; } 2>&1 | true"#,
        r#"{ "$0" "$@" --format json; echo $? >../code; } | true"#,
        r#""$0" "$@" >&- 2>&-; echo $? >../code"#,
        r#""$0" "$@" >/dev/full 2>/dev/full; echo $? >../code"#,
    ];
    for line in lines {
        let place = Place::new(TALKS);
        by_shell(&place, line).output().unwrap();
        assert_eq!(place.read("code"), "0\n", "{line}");
        assert_eq!(place.files().len(), 2, "{line}");
        place.expect_state("main-1", "done");
    }
}

#[test]
fn closed_pipe_of_a_run_that_fails() {
    let script = TALKS.replace("ui::warn(", "fail(\"x.y\", ");
    let place = Place::new(&script.replace("#{ repeatable: true }", "#{ undo: || host::remove_file(\"one\") }"));
    by_shell(&place, r#"{ "$0" "$@"; echo $? >../code; } 2>&1 | true"#).output().unwrap();
    assert_eq!((place.read("code").as_str(), place.files().len()), ("1\n", 0));
    place.expect_state("main-1", "rolled back");
}

#[test]
fn file_size_signal() {
    let place = Place::new(
        r#"
        step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
        let text = "x"; while text.len() < 300000 { text += text; }
        step("large", || host::write("large", text), #{ undo: || () });
        "#,
    );
    // 64 or 128 KiB, as the shell counts: the journal has room.
    let ended = ran(by_shell(&place, r#"ulimit -f 128; exec "$0" "$@""#).output().unwrap());
    ended.expect(1, &["File too large", "large", "everything is back as it was"]);
    assert!(place.files().is_empty(), "{:?}", place.files());
    place.expect_state("main-1", "rolled back");
}
