//! Without a terminal: what is piped in, and `eval`.

use super::*;

fn nowhere() -> Place {
    Place::new("")
}

#[test]
fn what_an_input_defines_the_next_ones_see() {
    let inputs = "let x = 20;\nfn double(n) { n * 2 }\ndouble(x) + 2\n\
                  const K = 3;\nfn with_k() { global::K + 1 }\nwith_k()\n\
                  fn double(n) { n * 20 }\ndouble(x)\n\
                  import \"verify\" as v;\nfn uses() { v::same }\nlet x = \"again\";\nx\n";
    type_in(&nowhere(), &[], inputs).expect(0, &["42\n4\n400\n\"again\"\n"]);
}

#[test]
fn an_input_goes_on_until_its_brackets_are_closed() {
    let inputs = "let m = #{\n  a: [1,\n    2],\n  b: \"x\ny\"\n};\nm.a.len()\nif true {\n  7\n}\nelse { 8 }\n";
    type_in(&nowhere(), &[], "fn f(a) {\n    // a } in a comment\n    a + 1\n}\nf(\n  1\n)\n").expect(0, &["2\n"]);
    // A text over two lines, as back-ticks allow it.
    type_in(&nowhere(), &[], &inputs.replace("\"x\ny\"", "`x\ny`")).expect(1, &["2\n7\n"]);
}

#[test]
fn an_error_points_into_its_input_and_ends_it() {
    let ran = type_in(&nowhere(), &[], "let x = 1;\nx +\n  nothing\nui::say(\"never\")\n");
    ran.expect(1, &["there is no variable `nothing`", "--> input 2:2:3"]).expect_not(&["never"]);
    let ran = type_in(&nowhere(), &[], "fn f() { fail(\"a.b\", \"deep\") }\nlet y = 2;\nf()\n");
    ran.expect(1, &["error[a.b]: deep", "--> input 1:1:10", "= in f, called at input 3:1:1"]);
    type_in(&nowhere(), &[], "let x = ;\n").expect(1, &["--> input 1:1:9"]);
    type_in(&nowhere(), &[], "refuse(\"a.b\", \"no\")\n").expect(3, &["error[a.b]: no"]);
}

#[test]
fn what_a_block_declared_when_it_failed_is_gone() {
    let inputs = "let kept = 1; if true { let inner = 2; throw \"out\"; }\n";
    let place = nowhere();
    type_in(&place, &[], inputs).expect(1, &["error[script.thrown]: out"]);
    type_in(&place, &[], "try { if true { let inner = 2; throw \"out\"; } } catch { }\ninner\n")
        .expect(1, &["there is no variable `inner`"]);
}

#[test]
fn a_namespace_is_not_imported_over_and_a_primitive_not_defined() {
    type_in(&nowhere(), &[], "import \"verify\" as docker;\n").expect(1, &["`docker` is a namespace of the language"]);
    type_in(&nowhere(), &[], "fn step(a, b) { }\n").expect(1, &["`step` is a function of the language", "input 1:1:4"]);
}

#[test]
fn a_function_that_wants_a_variable_is_told_how_to_get_it() {
    type_in(&nowhere(), &[], "let x = 1;\nfn f() { x }\nf()\n")
        .expect(1, &["a function sees no variables from outside"]);
}

#[test]
fn one_expression_is_evaluated_for_people_and_for_programs() {
    let place = nowhere();
    place.pgscript(&["eval", "[1, 2].map(|x| x * 2)"]).expect(0, &["[2, 4]"]);
    let ran = place.pgscript(&["eval", "--format", "json", "#{ a: [1, \"x\"], b: () }"]);
    assert_eq!(ran.expect(0, &[]).stdout, "{\"a\":[1,\"x\"],\"b\":null}\n");
    place.pgscript(&["eval", "nothing"]).expect(1, &["there is no variable `nothing`"]);
    place.pgscript(&["eval", "docker::containers()"]).expect(5, &["docker.unreachable"]);
    assert!(!place.path("runs").exists(), "nothing was changed, so nothing is kept");
}

#[test]
fn what_only_looks_leaves_nothing_behind_and_what_acts_is_kept() {
    let place = nowhere();
    place.pgscript(&["eval", "host::write(\"made\", \"x\")"]).expect(0, &["repl-1"]);
    let inputs = place.entries(1, "input");
    assert_eq!(
        (inputs.len(), &inputs[0]["step"], &inputs[0]["text"]),
        (1, &"#1".into(), &"host::write(\"made\", \"x\")".into())
    );
    assert_eq!(place.entries(1, "effect")[0]["command"], "write made");
    place.pgscript(&["status", "repl-1"]).expect(0, &["Done by hand:", "$ write made", "pgscript repl --run repl-1"]);
    place.pgscript(&["resume", "repl-1"]).expect(3, &["repl-1 is a session", "nothing was done"]);
    place.pgscript(&["rollback", "repl-1"]).expect(3, &["repl-1 is a session"]);
    let inputs = "host::write(\"again\", \"y\")\nlet only = 1;\nstep(\"inner\", || host::write(\"more\", \"z\"))\n";
    type_in(&place, &["--run", "1"], inputs).expect(0, &[]);
    let steps: Vec<_> = place.entries(1, "input").iter().map(|line| line["step"].clone()).collect();
    assert_eq!(steps, ["#1", "#2", "#3", "#4"]);
    assert_eq!(place.entries(1, "started")[0]["step"], "#4 / inner");
}

#[test]
fn inputs_that_only_look_are_journalled_where_there_is_a_journal() {
    let place = crate::repl::failed();
    let before = place.untouched();
    type_in(&nowhere(), &[], "20 + 22\n").expect(0, &["42"]);
    type_in(&place, &["--run", "1"], "first + 1\n.next\nnothing\n").expect(1, &["43", "two"]);
    let typed: Vec<_> = place.entries(1, "input").iter().map(|line| line["text"].clone()).collect();
    assert_eq!(typed, ["first + 1", ".next", "nothing"]);
    place.expect_state("main-1", "failed");
    let ran = place.pgscript(&["status", "main-1"]);
    ran.expect(0, &["Done by hand:", "and 3 that only looked"]).expect_not(&["first + 1"]);
    // Nothing but the journal was written.
    let mut after = place.untouched();
    after.retain(|path, _| !path.ends_with("journal.jsonl"));
    assert!(after.iter().all(|(path, text)| before.get(path) == Some(text)), "{after:#?}");
    // A session of its own begins with what was typed before it acted.
    let alone = nowhere();
    type_in(&alone, &[], "let name = \"made\";\nhost::write(name, \"x\")\n").expect(0, &["repl-1"]);
    let typed: Vec<_> =
        alone.entries(1, "input").iter().map(|line| (line["step"].clone(), line["text"].clone())).collect();
    assert_eq!(typed, [("#1".into(), "let name = \"made\";".into()), ("#2".into(), "host::write(name, \"x\")".into())]);
}

#[test]
fn a_secret_reaches_neither_the_journal_nor_the_screen() {
    let place = nowhere();
    let inputs = "let p = param(\"p\", #{ type: \"secret\" });\np\nhost::write(\"made\", \"hunter2hunter2\")\n\
                  \"hunter2hunter2\"\nlet hunter2hunter2 = ;\n";
    let mut command = place.command(&["repl"]);
    let mut child = command.env("PGSCRIPT_P", "hunter2hunter2").stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(inputs.as_bytes()).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(place.entries(1, "input").len(), 5, "{}{}", ran.stdout, ran.stderr);
    let kept = place.state().into_iter().filter(|(path, _)| path.starts_with(place.path("runs")));
    for (path, text) in kept {
        assert!(!text.contains("hunter2hunter2"), "{} holds it", path.display());
    }
    ran.expect_not(&["hunter2hunter2"]);
}
