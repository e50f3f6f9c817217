//! A run that fails in front of an operator: what is offered, and what each choice does.

use super::*;
use crate::terminal::{Seat, Terminal};

const SCRIPT: &str = r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || { if !host::exists("mended") { fail("a.b", "it broke"); } host::write("two", "2"); "ran" });
ui::say("came to the end");
"#;

/// The program as an operator sits at it, on a terminal where lines are typed.
fn at_terminal(place: &Place, arguments: &[&str]) -> Terminal {
    seat(place, arguments).kind("dumb").start()
}

fn seat(place: &Place, arguments: &[&str]) -> Seat {
    let mut command = place.command(arguments);
    command.env("SHELL", "/bin/sh").env("EDITOR", place.path("editor"));
    Seat::new(&command)
}

const ASKED: &str = "what now? ";

fn place() -> Place {
    let place = Place::new(SCRIPT);
    place.write(
        "editor",
        "#!/bin/sh\n# vi +7 FILE\nsed -i 's/fail(\"a.b\", \"it broke\");/ui::say(\"edited\");/' \"$2\"\n",
    );
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place.path("editor"), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

const RUN: &[&str] = &["run", "../main.rhai"];

#[test]
fn each_choice_is_explained_in_a_line_and_nothing_is_put_back_meanwhile() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    let asked = terminal.read(ASKED);
    for words in [
        "error[a.b]: it broke",
        "  retry  run step `two` again",
        "  skip   leave step `two` out, and go on with the next one",
        "  edit   open the script in your editor, then run step `two` again",
        "  shell  look around and do one thing by hand, with the script's variables",
        "  back   put everything back as it was",
        "  quit   leave everything as it is; `pgscript resume` or `rollback` go on later",
    ] {
        assert!(asked.contains(words), "{words:?} is not in {asked}");
    }
    assert_eq!(place.files().len(), 1);
    terminal.type_line("nonsense");
    terminal.expect("please type one of the words");
    terminal.expect(ASKED);
    terminal.type_line("quit");
    let (text, code) = terminal.end();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("pgscript resume main-1") && text.contains("nothing was put back"), "{text}");
    assert_eq!(place.files().len(), 1);
    place.expect_state("main-1", "failed");
}

#[test]
fn retry_runs_the_failed_step_again_as_often_as_it_takes() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("retry");
    terminal.expect("it broke");
    terminal.expect(ASKED);
    place.write("work/mended", "");
    terminal.type_line("r");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
    place.expect_state("main-1", "done");
}

#[test]
fn skip_leaves_the_failed_step_out() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("skip");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
    assert!(!place.path("work/two").exists());
    assert_eq!(place.entries(1, "decided")[0]["step"], "two");
}

#[test]
fn edit_opens_the_script_and_goes_on_with_what_was_changed() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("edit");
    terminal.expect("accepted change");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
    assert_eq!(place.read("work/two"), "2");
    assert!(place.read("main.rhai").contains("edited"));
}

#[test]
fn edit_writes_out_what_is_built_in_and_takes_it_back_where_nothing_was_changed() {
    let place = place();
    place.write(
        "main.rhai",
        "import \"postgres\" as postgres;
        step(\"one\", || host::write(\"one\", \"1\"), #{ undo: || host::remove_file(\"one\") });
        step(\"two\", || postgres::image_major(\"any\"), #{ repeatable: true });",
    );
    place.write("editor", "#!/bin/sh\necho \"$1 $2\" >> opened\n");
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect("docker.unreachable");
    terminal.expect(ASKED);
    terminal.type_line("edit");
    terminal.expect("docker.unreachable");
    terminal.expect(ASKED);
    assert_eq!(fs::read_dir(place.path("site")).unwrap().count(), 0);
    // What the error points to, not the script that has imported it.
    let module = place.path("site/postgres.rhai");
    let text = include_str!("../../stdlib/postgres.rhai");
    let line = text.lines().position(|line| line.contains("docker::run(#{ image: image")).unwrap() + 1;
    assert_eq!(place.read("work/opened"), format!("+{line} {}\n", module.display()));
    let mended = "let out = #{ exit_code: 0, stdout: \"postgres (PostgreSQL) 17.6\" };";
    place.write("editor", &format!("#!/bin/sh\nsed -i '{line}s/.*/{mended}/' \"$2\"\n"));
    terminal.type_line("edit");
    terminal.expect("postgres.rhai is built in; with your changes it is");
    terminal.expect("accepted change of");
    let (text, code) = terminal.end();
    assert_eq!(code, 0, "{text}");
    assert!(fs::read_to_string(module).unwrap().contains(mended));
    assert!(place.path("site/.pgscript-ejected/postgres.rhai").is_file(), "what it came from is noted");
    place.expect_state("main-1", "done");
}

#[test]
fn shell_opens_the_run_with_its_variables_and_leads_to_the_question_again() {
    let place = Place::new(&format!("let colour = \"green\";\n{SCRIPT}"));
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("shell");
    terminal.expect("main-1 (failed)> ");
    terminal.type_line("colour");
    terminal.expect("\"green\"");
    terminal.type_line("host::write(\"mended\", \"\")");
    terminal.expect("main-1 (failed)> ");
    terminal.type_line(".step");
    terminal.expect("came to the end");
    terminal.expect("main-1 (done)> ");
    terminal.type_line("exit");
    assert_eq!(terminal.end().1, 0);
    place.expect_state("main-1", "done");
    let typed: Vec<_> = place.entries(1, "input").iter().map(|input| input["text"].clone()).collect();
    assert_eq!(typed[..2], ["colour", "host::write(\"mended\", \"\")"]);

    let other = self::place();
    let mut terminal = at_terminal(&other, RUN);
    terminal.expect(ASKED);
    terminal.type_line("shell");
    terminal.expect("main-1 (failed)> ");
    terminal.type_line("exit");
    terminal.expect("error[a.b]: it broke");
    terminal.expect(ASKED);
    terminal.type_line("quit");
    assert_eq!(terminal.end().1, 1);
}

#[test]
fn an_editor_that_fails_or_breaks_the_script_leads_to_the_question_again() {
    let place = place();
    place.write("editor", "#!/bin/sh\nexit 3\n");
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("edit");
    terminal.expect("ended with exit status: 3");
    terminal.expect(ASKED);
    place.write("editor", "#!/bin/sh\necho 'let = 1;' >> \"$2\"\n");
    terminal.type_line("edit");
    terminal.expect("script.syntax");
    terminal.expect(ASKED);
    place.write("editor", "#!/bin/sh\nsed -i '/let = 1;/d; s/!host::exists(\"mended\")/false/' \"$2\"\n");
    terminal.type_line("edit");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn back_puts_everything_back_and_the_run_has_failed_all_the_same() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.type_line("back");
    let (text, code) = terminal.end();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("one  (undone)") && text.contains("everything is back as it was"), "{text}");
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
}

#[test]
fn leaving_the_question_with_ctrl_c_leaves_everything_as_it_is() {
    let place = place();
    let mut terminal = seat(&place, RUN).kind("xterm").start();
    terminal.expect(ASKED).until_keys().type_keys("\x03");
    let (text, code) = terminal.end();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("pgscript resume main-1"), "{text}");
    assert_eq!(place.files().len(), 1);
    place.expect_state("main-1", "failed");
}

#[test]
fn a_window_that_is_closed_puts_back_what_was_begun_before_the_commit_step() {
    let place = Place::new(
        r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("wait", || { host::write("waiting", ""); while true { host::sleep(0.05); } },
    #{ undo: || host::remove_file("waiting") });
"#,
    );
    let mut terminal = at_terminal(&place, RUN);
    wait_until("the second step", || place.path("work/waiting").exists());
    terminal.hang_up();
    assert_eq!(terminal.wait(), 4);
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
}

#[test]
fn a_window_that_is_closed_at_the_question_leaves_everything_as_it_is() {
    let place = place();
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    terminal.hang_up();
    terminal.wait();
    place.expect_state("main-1", "failed");
    assert_eq!(place.files().len(), 1);
    place.write("work/mended", "");
    place.pgscript(&["resume"]).expect(0, &["came to the end"]);
}

#[test]
fn a_program_that_the_failed_step_left_behind_does_not_keep_the_operator_from_going_on() {
    let place = place();
    place.edit("main.rhai", "fail(\"a.b\"", "host::run([\"sh\", \"-c\", \"sleep 8 >/dev/null 2>&1 &\"]); fail(\"a.b\"");
    let mut terminal = at_terminal(&place, RUN);
    terminal.expect(ASKED);
    place.write("work/mended", "");
    terminal.type_line("retry");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn the_question_about_a_step_that_was_cut_off_is_answered_at_the_terminal() {
    for (choice, runs) in [("retry", true), ("skip", false)] {
        let place = place();
        place.write("work/mended", "");
        place.run_killed_in("write two");
        let mut terminal = at_terminal(&place, &["resume"]);
        let asked = terminal.read(ASKED);
        assert!(asked.contains("run.unknown_step") && asked.contains("about to: write two"), "{asked}");
        assert!(asked.contains("  skip   leave step `two` out"), "{asked}");
        terminal.type_line(choice);
        terminal.expect("came to the end");
        assert_eq!(terminal.end().1, 0);
        assert_eq!(place.path("work/two").exists(), runs);
    }
}

#[test]
fn a_failure_outside_of_steps_offers_nothing_to_skip() {
    let place = place();
    place.edit(
        "main.rhai",
        "ui::say(\"came",
        "if !host::exists(\"ready\") { fail(\"c.d\", \"not ready\"); }\nui::say(\"came",
    );
    place.write("work/mended", "");
    let mut terminal = at_terminal(&place, RUN);
    let asked = terminal.read(ASKED);
    assert!(asked.contains("retry  go on from where it stopped") && !asked.contains("skip "), "{asked}");
    place.write("work/ready", "");
    terminal.type_line("retry");
    terminal.expect("came to the end");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn a_run_that_changed_nothing_has_nothing_to_choose() {
    let place = Place::new("step(\"check\", || refuse(\"a.b\", \"too old\"));");
    let (text, code) = at_terminal(&place, RUN).end();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("nothing was changed") && !text.contains(ASKED), "{text}");
}
