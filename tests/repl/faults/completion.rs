//! What Tab offers, and what is shown of a signature.

use super::*;

/// Types a beginning and Tab; gives what stands behind the prompt then, once it is this.
#[track_caller]
fn completes(shell: &mut Shell, typed: &str, completed: &str) {
    shell.write(typed).terminal.type_keys("\t");
    shell.until_shown(completed);
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
}

/// Types a beginning and Tab; each of these must be listed.
#[track_caller]
fn lists(shell: &mut Shell, typed: &str, names: &[&str]) {
    shell.write(typed).terminal.type_keys("\t");
    let all = |screen: &str| {
        let (before, list) = screen.rsplit_once(&format!("{typed}\n")).unwrap_or_default();
        let _ = before;
        names.iter().all(|name| list.contains(name))
    };
    shell.terminal.see_when(&format!("a list of {names:?}"), all);
    shell.terminal.type_keys(CTRL_C);
    shell.until_prompt();
}

#[test]
fn namespaces_functions_and_options_are_completed() {
    let place = Place::new("");
    let mut shell = open(&place);
    completes(&mut shell, "dock", "docker::");
    completes(&mut shell, "docker::set_r", "docker::set_restart_policy(");
    lists(&mut shell, "docker::st", &["start(container: Container)", "stop(container: Container, options: Map = #{})"]);
    lists(&mut shell, "pg_dump::", &["cluster", "restore", "verify"]);
    completes(&mut shell, "host::write(\"x\", \"y\", #{ over", "host::write(\"x\", \"y\", #{ overwrite: ");
    completes(&mut shell, "whi", "while");
    shell.leave();
}

#[test]
fn what_the_session_has_defined_is_completed() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.enter("let something = #{ of_one: 1, of_two: 2 }; fn do_something(times) { times }", &[]);
    shell.enter("let site = ansible::site(#{ dir: \".\" });", &[]);
    completes(&mut shell, "someth", "something");
    completes(&mut shell, "do_s", "do_something(");
    lists(&mut shell, "something.of_", &["of_one", "of_two"]);
    shell.enter("import \"verify\" as checks;", &[]);
    completes(&mut shell, "chec", "checks::");
    // A handle has its properties and methods, and stands where one of its kind is wanted.
    lists(&mut shell, "site.", &["hosts", "playbook", "dir"]);
    completes(&mut shell, "ansible::ping(", "ansible::ping(site");
    shell.leave();
}

#[test]
fn steps_and_variables_of_the_run_are_completed() {
    let place = crate::repl::failed();
    let mut shell = Shell::open(seat(&place, &["--run", "1"]), "main-1 (failed)> ").0;
    completes(&mut shell, ".und", ".undo ");
    completes(&mut shell, ".undo o", ".undo one");
    completes(&mut shell, ".retry tw", ".retry two");
    completes(&mut shell, "whe", "where");
    completes(&mut shell, "fir", "first");
    completes(&mut shell, "step", "step");
    lists(&mut shell, "steps.", &["one"]);
    completes(&mut shell, "help docker::set", "help docker::set_restart_policy");
    shell.leave();
}

#[test]
fn files_are_completed_in_strings_and_after_commands() {
    let place = Place::new("");
    std::fs::create_dir(place.path("work/backups")).unwrap();
    std::fs::write(place.path("work/backups/one.tar"), "").unwrap();
    let mut shell = open(&place);
    completes(&mut shell, "host::sha256(\"back", "host::sha256(\"backups/");
    completes(&mut shell, "host::sha256(\"backups/o", "host::sha256(\"backups/one.tar\"");
    completes(&mut shell, ".save back", ".save backups/");
    shell.leave();
}

#[test]
fn the_rest_of_a_signature_is_shown_and_not_entered() {
    let place = Place::new("");
    let mut shell = open(&place);
    shell.write("host::write(").terminal.see("host::write(path: string, text: string, options: Map = #{}) -> ()");
    shell.terminal.type_keys("\"made\", ").see("host::write(\"made\", text: string, options: Map = #{}) -> ()");
    shell.terminal.type_keys("\"x\")\r");
    shell.answer(&["$ write made"]);
    shell.leave();
    assert_eq!(history(&place), ["host::write(\"made\", \"x\")", "exit"]);
}

#[test]
fn what_is_offered_nowhere_is_left_as_it_is() {
    let place = Place::new("");
    let mut shell = open(&place);
    for text in ["nothing_of_this_na", "\"in a text doc", "20 + 2", ".nonsense x"] {
        shell.write(text).terminal.type_keys("\t#").expect("#");
        shell.until_shown(&format!("{text}#"));
        shell.terminal.type_keys(CTRL_C);
        shell.until_prompt();
    }
    shell.leave();
}
