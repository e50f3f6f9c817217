//! The language as an operator meets it: the program is run on scripts in a directory of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod ejected;

/// A directory with scripts, and a site's directory beside it.
struct Place {
    dir: TempDir,
}

/// What a run of the program gave.
#[derive(Debug)]
struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("site")).unwrap();
        Self { dir }
    }

    fn with(self, name: &str, text: &str) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program in this place, with nothing of the tester's environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgscript"));
        command.args(arguments).current_dir(self.path()).env_clear().env("PGSCRIPT_SITE", self.path().join("site"));
        command.env("PGSCRIPT_STORE", self.path().join("runs")).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn pgscript(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// Runs `main.rhai` and gives what it said, a line each.
    fn said(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.pgscript(&[&["run", "main.rhai", "--format", "json"], arguments].concat());
        says(&ran)
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

fn events(ran: &Ran) -> Vec<serde_json::Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn says(ran: &Ran) -> Vec<String> {
    let events = events(ran);
    let said = events.iter().filter(|e| e["event"] == "say");
    said.map(|e| e["text"].as_str().unwrap().to_owned()).collect()
}

/// The rendered error: from `error[` to the summary.
fn error(ran: &Ran) -> String {
    let from = ran.stderr.find("error[").unwrap_or_else(|| panic!("no error in {}", ran.stderr));
    let text = &ran.stderr[from..];
    text[..text.find("\n\n").unwrap_or(text.len())].trim_end().to_owned()
}

fn failing(script: &str) -> String {
    error(&Place::new().with("main.rhai", script).pgscript(&["run", "main.rhai"]))
}

// Errors

#[test]
fn an_error_in_a_closure_that_a_module_runs_points_into_the_script_that_wrote_it() {
    let place = Place::new().with("lib.rhai", "fn twice(f) {\n    f.call();\n    f.call();\n}\n").with(
        "main.rhai",
        "import \"lib\" as lib;\nlib::twice(|| {\n    let m = #{};\n    /* äöü */ m.size_of_it;\n});\n",
    );
    insta::assert_snapshot!(error(&place.pgscript(&["run", "main.rhai"])), @r#"
    error[script.error]: the map has no `size_of_it`
     --> main.rhai:4:17
      |
    4 |     /* äöü */ m.size_of_it;
      |                 ^^^^^^^^^^
      = hint: where it may be missing: `map.get("size_of_it") ?? default`, or `"size_of_it" in map`
      = in closure, called at lib.rhai:2:7
      = in twice, called at main.rhai:2:6
    "#);
}

#[test]
fn a_misspelt_primitive_is_recognised() {
    insta::assert_snapshot!(failing("let c = 1;\ndocker::stopp(c);"), @r"
    error[check.unknown]: there is no function `docker::stopp`
     --> main.rhai:2:1
      |
    2 | docker::stopp(c);
      | ^^^^^^^^^^^^^
      = hint: did you mean `docker::stop`?
    ");
}

#[test]
fn a_wrong_number_of_arguments_shows_the_signature() {
    insta::assert_snapshot!(failing("ui::confirm(\"a\", \"b\");"), @r#"
    error[check.arguments]: `ui::confirm` does not take 2 arguments
     --> main.rhai:1:1
      |
    1 | ui::confirm("a", "b");
      | ^^^^^^^^^^^
      = hint: ui::confirm(question: string) -> bool
    "#);
}

#[test]
fn unknown_variables_and_modules_are_found_before_anything_runs() {
    insta::assert_snapshot!(failing("ui::say(\"first\");\nlet project = 1;\nui::say(projct);"), @r#"
    error[script.syntax]: there is no variable `projct`
     --> main.rhai:3:9
      |
    3 | ui::say(projct);
      |         ^^^^^^
      = hint: did you mean `project`?
    "#);
    insta::assert_snapshot!(failing("postgres::roles();"), @r#"
    error[script.syntax]: there is no module or namespace `postgres`
     --> main.rhai:1:1
      |
    1 | postgres::roles();
      | ^^^^^^^^^^^^^^^
      = hint: import "postgres" as postgres;
    "#);
    let misspelt = failing("import \"primro\" as p;");
    insta::assert_snapshot!(misspelt.lines().next().unwrap(), @"error[module.not_found]: no module `primro`");
}

#[test]
fn a_wrong_type_names_the_argument() {
    insta::assert_snapshot!(failing("ui::confirm(17);"), @r"
    error[script.wrong_type]: ui::confirm: `question` must be string, not int
     --> main.rhai:1:5
      |
    1 | ui::confirm(17);
      |     ^^^^^^^
      = hint: confirm(question: string) -> bool
    ");
}

#[test]
fn what_a_script_raises_can_be_caught_by_its_code_and_ends_the_run_by_its_kind() {
    let place = Place::new().with(
        "main.rhai",
        r#"
        fn attempt(f) { try { f.call(); } catch (e) { ui::say(`${e.code}|${e.message}|${e.hint}`); } }
        attempt(|| fail("a.b", "broken", "mend it"));
        attempt(|| refuse("c.d", "no"));
        attempt(|| throw "plain");
        attempt(|| { let m = #{}; m.x });
        attempt(|| Fn("sto" + "pp").call(1));
        refuse("e.f", "not today", "tomorrow");
        "#,
    );
    let ran = place.pgscript(&["run", "main.rhai", "--format", "json"]);
    assert_eq!(
        says(&ran),
        [
            "a.b|broken|mend it",
            "c.d|no|",
            "script.thrown|plain|",
            "script.error|Property not found: x|see main.rhai, line 6",
            "script.error|Function not found: stopp (i64)|see main.rhai, line 7"
        ]
    );
    assert_eq!(ran.code, 3);
    let failure = events(&ran).pop().unwrap()["failure"].take();
    assert_eq!((failure["code"].as_str(), failure["hint"].as_str()), (Some("e.f"), Some("tomorrow")));
    assert_eq!((failure["file"].as_str(), failure["line"].as_u64()), (Some("main.rhai"), Some(8)));
}

#[test]
fn exit_codes_follow_what_happened() {
    let code = |script: &str| Place::new().with("main.rhai", script).pgscript(&["run", "main.rhai"]).code;
    assert_eq!(code("1"), 0);
    assert_eq!(code("throw \"x\""), 1);
    assert_eq!(code("let"), 1);
    assert_eq!(code("param(\"needed\")"), 2);
    assert_eq!(code("refuse(\"a\", \"b\")"), 3);
    let place = Place::new();
    assert_eq!(place.pgscript(&["run", "missing.rhai"]).code, 2);
    assert_eq!(place.pgscript(&["nonsense"]).code, 2);
    assert_eq!(place.pgscript(&["--version"]).code, 0);
}

#[test]
fn a_script_can_not_replace_a_primitive() {
    let ran = failing("fn step(name, body) { body.call() }");
    assert!(ran.contains("main.rhai:1:4") && ran.contains("[script.shadowed]"), "{ran}");
}

// Loader

#[test]
fn modules_come_from_beside_the_script_then_the_site_then_the_binary() {
    let place = Place::new()
        .with("main.rhai", "import \"where\" as w; ui::say(w::at()); import \"primero\" as p;")
        .with("site/where.rhai", "fn at() { \"site\" }");
    assert_eq!(place.said(&[]), ["site"]);
    let place = place.with("where.rhai", "fn at() { \"beside\" }");
    assert_eq!(place.said(&[]), ["beside"]);
    let ran = place.pgscript(&["run", "main.rhai", "--format", "json"]);
    let loaded: Vec<_> = events(&ran).into_iter().filter(|e| e["event"] == "loaded").collect();
    assert!(loaded.iter().any(|e| e["module"] == "primero" && e["origin"] == "built in"), "{loaded:?}");
    assert!(loaded.iter().any(|e| e["module"] == "where" && e["origin"] == "where.rhai"), "{loaded:?}");
}

#[test]
fn scripts_are_found_by_name_and_extension_is_optional() {
    let place = Place::new().with("site/nightly.rhai", "ui::say(\"from the site\");");
    assert_eq!(says(&place.pgscript(&["run", "nightly", "--format", "json"])), ["from the site"]);
    let place = place.with("nightly.rhai", "ui::say(\"from here\");");
    assert_eq!(says(&place.pgscript(&["run", "nightly.rhai", "--format", "json"])), ["from here"]);
    let near = place.pgscript(&["run", "upgade.rhai"]);
    assert!(near.stderr.contains("did you mean `upgrade.rhai`?"), "{}", near.stderr);
}

#[test]
fn an_override_that_can_not_be_read_is_an_error_that_names_it() {
    let place = Place::new().with("main.rhai", "import \"primero\" as p;");
    fs::create_dir(place.path().join("primero.rhai")).unwrap();
    let directory = place.pgscript(&["run", "main.rhai"]);
    assert!(directory.code == 1 && directory.stderr.contains("cannot read primero.rhai"), "{}", directory.stderr);
    fs::remove_dir(place.path().join("primero.rhai")).unwrap();
    symlink("/nowhere", place.path().join("site/primero.rhai")).unwrap();
    let broken = place.pgscript(&["run", "main.rhai"]);
    assert!(broken.code == 1 && broken.stderr.contains("site/primero.rhai"), "{}", broken.stderr);
    symlink("/nowhere", place.path().join("site/upgrade.rhai")).unwrap();
    let script = place.pgscript(&["show", "upgrade.rhai"]);
    assert!(script.code == 1 && script.stderr.contains("site/upgrade.rhai"), "{}", script.stderr);
}

#[test]
fn imports_stay_below_their_directories_and_do_not_run_in_circles() {
    for name in ["../main", "/etc/passwd", "a/../../b", ""] {
        let ran = failing(&format!("import \"{name}\" as x;"));
        assert!(ran.contains("[module.bad_name]"), "{ran}");
    }
    let place = Place::new()
        .with("main.rhai", "import \"a\" as a;")
        .with("a.rhai", "import \"b\" as b;")
        .with("b.rhai", "import \"a\" as a;");
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(error(&ran).contains("circular import: a.rhai → b.rhai → a.rhai"), "{}", ran.stderr);
}

#[test]
fn one_alias_can_not_mean_two_modules() {
    let place = Place::new()
        .with("main.rhai", "import \"one\" as x; import \"runs\" as r; r::run(|| ui::say(x::name()));")
        .with("runs.rhai", "import \"two\" as x; fn run(f) { f.call() }")
        .with("one.rhai", "fn name() { 1 }")
        .with("two.rhai", "fn name() { 2 }");
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(error(&ran).contains("`x` means two.rhai here, and one.rhai in main.rhai"), "{}", ran.stderr);
    assert_eq!(place.pgscript(&["check", "main.rhai"]).code, 1);
}

// Parameters

const PARAMETERS: &str = r#"
    let to = param("to", #{ type: "int", help: "major version" });
    let image = param("image", #{ default: () });
    let jobs = param("jobs", #{ default: 2 });
    let hosts = param("hosts", #{ type: "list", default: ["a"] });
    let mode = param("mode", #{ type: "choice", choices: ["fast", "safe"], default: "safe" });
    let word = param("word", #{ type: "secret", default: () });
    ui::say(`${to} ${image} ${jobs} ${hosts} ${mode} ${word}`);
"#;

#[test]
fn a_parameter_is_taken_from_the_first_place_that_has_it() {
    let place =
        Place::new().with("main.rhai", PARAMETERS).with("p.toml", "to = 15\njobs = 8\nhosts = [\"x\", \"y\"]\n");
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let all = [&["run", "main.rhai", "--format", "json"], arguments].concat();
        let output = place.command(&all).envs(environment.iter().copied()).output().unwrap();
        says(&ran(output))
    };
    assert_eq!(run(&["--set", "to=17"], &[]), ["17  2 [\"a\"] safe "]);
    assert_eq!(run(&["--params", "p.toml"], &[("PGSCRIPT_TO", "13")]), ["15  8 [\"x\", \"y\"] safe "]);
    assert_eq!(run(&["--params", "p.toml", "--set", "to=17"], &[]), ["17  8 [\"x\", \"y\"] safe "]);
    assert_eq!(run(&[], &[("PGSCRIPT_TO", "13"), ("PGSCRIPT_MODE", "fast")]), ["13  2 [\"a\"] fast "]);
    assert_eq!(run(&["--set", "to=17", "--set", "hosts=p, q"], &[]), ["17  2 [\"p\", \"q\"] safe "]);
}

#[test]
fn a_parameter_that_is_wrong_or_missing_is_named_with_its_source() {
    let place = Place::new().with("main.rhai", PARAMETERS).with("p.json", "{\"to\": true}");
    let usage = |arguments: &[&str]| {
        let ran = place.pgscript(&[&["run", "main.rhai"], arguments].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        error(&ran).lines().next().unwrap().to_owned()
    };
    assert_eq!(usage(&[]), "error[params.missing]: parameter `to` (major version) has no value");
    assert_eq!(
        usage(&["--set", "to=x"]),
        "error[params.wrong_type]: parameter `to` must be a whole number, not x (from --set)"
    );
    assert_eq!(
        usage(&["--params", "p.json"]),
        "error[params.wrong_type]: parameter `to` must be a whole number, not true (from p.json)"
    );
    assert_eq!(
        usage(&["--set", "to=1", "--set", "mode=slow"]),
        "error[params.wrong_type]: parameter `mode` must be one of fast, safe, not slow (from --set)"
    );
    assert_eq!(usage(&["--set", "jbos=1"]), "error[params.unknown]: main.rhai has no parameter `jbos` (from --set)");
    assert_eq!(usage(&["--set", "jobs"]), "error[params.malformed]: --set jobs: not name=value");
    assert!(usage(&["--set", "to=1", "--set", "word=x"]).contains("params.secret_in_argv"));
}

#[test]
fn a_secret_never_shows() {
    let script = "let word = param(\"word\", #{ type: \"secret\" });\nui::say(`<${word}> ${type_of(word)}`);\n\
                  print(word);\ndebug(word);\nui::say(\"hunter\" + \"22\");\nword.reveal;";
    let place = Place::new().with("main.rhai", script);
    for format in ["text", "json"] {
        let mut command = place.command(&["run", "main.rhai", "--format", format]);
        let ran = ran(command.env("PGSCRIPT_WORD", "hunter22").output().unwrap());
        assert!(!ran.stdout.contains("hunter22") && !ran.stderr.contains("hunter22"), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("<••••••> Secret"), "{}", ran.stdout);
        assert_eq!(ran.code, 1);
    }
}

// Steps

fn steps(ran: &Ran) -> Vec<String> {
    let events = events(ran);
    let told = events.iter().filter_map(|e| Some((e["event"].as_str()?, e["path"].as_str()?)));
    told.map(|(event, path)| format!("{} {path}", event.replace('_', " "))).collect()
}

#[test]
fn steps_nest_count_and_give_their_value() {
    let place = Place::new().with(
        "main.rhai",
        "let v = step(\"a\", || { step(\"b\", || 1); step(\"b\", || 2); return 40; 41 }) + 2; ui::say(v);",
    );
    let ran = place.pgscript(&["run", "main.rhai", "--format", "json"]);
    assert_eq!(says(&ran), ["42"]);
    assert_eq!(
        steps(&ran),
        [
            "step started a",
            "step started a / b",
            "step done a / b",
            "step started a / b#2",
            "step done a / b#2",
            "step done a"
        ]
    );
}

const UNDONE: &str = r#"
    import "lib" as lib;
    step("one", || { lib::change(); 1 }, #{ undo: |v| ui::say(`undo one ${v}`) });
    lib::two();
    step("three", || { step("inner", || lib::change(), #{ undo: || ui::say("undo inner") }); throw "stop"; },
        #{ undo: |v| ui::say(`undo three ${v}`) });
"#;
const UNDONE_LIB: &str = r#"
    const WHERE = "lib";
    fn helper() { ui::say(`undo two in ${global::WHERE}`) }
    fn change() { host::write("changed", "", #{ overwrite: true }) }
    fn two() {
        step("two", || { change(); 2 }, #{ undo: || helper() });
        step("changes nothing", || 3, #{ undo: || ui::say("has nothing to put back") });
    }
"#;

#[test]
fn what_was_begun_is_put_back_in_reverse_order() {
    let place = Place::new().with("main.rhai", UNDONE).with("lib.rhai", UNDONE_LIB);
    let ran = place.pgscript(&["run", "main.rhai", "--format", "json"]);
    assert_eq!(says(&ran), ["undo inner", "undo three ", "undo two in lib", "undo one 1"]);
    let failure = events(&ran).pop().unwrap();
    assert_eq!(failure["exit_code"], 1);
    assert_eq!(failure["failure"]["step"], "three");
    assert_eq!(failure["failure"]["aftermath"]["state"], "put_back");
    let text = place.pgscript(&["run", "main.rhai"]);
    assert!(text.stderr.contains("✗ failed in step `three`") && text.stderr.contains("everything is back as it was"));
    let kept = place.pgscript(&["run", "main.rhai", "--keep", "--format", "json"]);
    assert_eq!(
        (says(&kept).len(), &events(&kept).pop().unwrap()["failure"]["aftermath"]["state"]),
        (0, &"kept".into())
    );
}

#[test]
fn an_undo_that_fails_stops_those_that_rest_on_it() {
    let place = Place::new().with(
        "main.rhai",
        "on_failure(\"look at the server\");\n\
         step(\"one\", || host::write(\"a\", \"\"), #{ undo: || ui::say(\"undo one\") });\n\
         step(\"two\", || { host::write(\"b\", \"\"); throw \"x\" }, #{ undo: || fail(\"a\", \"stuck\") });",
    );
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(!ran.stdout.contains("undo one"), "{}", ran.stdout);
    assert!(ran.stderr.contains("could not put back `two`: stuck"), "{}", ran.stderr);
    assert!(ran.stderr.contains("not put back yet, because it rests on that: `one`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("next: look at the server"), "{}", ran.stderr);
}

#[test]
fn after_a_commit_nothing_is_undone_and_the_way_back_is_told() {
    let place = Place::new().with(
        "main.rhai",
        "step(\"one\", || 1, #{ undo: || ui::say(\"undo one\") });\non_failure(\"pgscript run rollback.rhai\");\n\
         step(\"burn\", || throw \"x\", #{ commit: true });",
    );
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(!ran.stdout.contains("undo one"), "{}", ran.stdout);
    assert!(ran.stderr.contains("step `burn` had begun, so nothing was put back by itself"), "{}", ran.stderr);
    assert!(ran.stderr.contains("next: pgscript run rollback.rhai"), "{}", ran.stderr);
}

#[test]
fn options_of_a_step_are_checked() {
    assert!(failing("step(\"a\", || 1, #{ undo: 1 });").contains("step: option `undo` must be a function"));
    assert!(failing("step(\"a\", || 1, #{ probe: 1 });").contains("step: option `probe` must be a function"));
    assert!(failing("step(\"a\", || 1, #{ repeatable: 1 });").contains("step: option `repeatable` must be bool"));
    assert!(failing("step(\"a\", || 1, #{ undoo: || 1 });").contains("did you mean `undo`?"));
    assert!(failing("step(\"a/b\", || 1);").contains("[script.bad_step_name]"));
    assert!(failing("host::create_private_dir(\"x\");").contains("[script.outside_step]"));
}

// Cancelling

/// Starts a script and waits until it has said "ready".
fn started(place: &Place) -> Child {
    use std::io::{BufRead, BufReader};
    let mut child = place.command(&["run", "main.rhai", "--format", "json"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "ended early");
    }
    // Read on, so that the child can write.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn ends_within(child: &mut Child, limit: Duration) -> i32 {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("still running after {limit:?}");
}

#[test]
fn ctrl_c_ends_an_endless_loop_and_a_sleep_at_once_and_can_not_be_caught() {
    let bodies = ["loop { }", "host::sleep(60)", "try { host::sleep(60) } catch { loop { } }"];
    for (body, name) in bodies.iter().zip(["INT", "TERM", "HUP"]) {
        let script = format!("step(\"x\", || {{ ui::say(\"ready\"); {body}; }});");
        let mut child = started(&Place::new().with("main.rhai", &script));
        signal(&child, name);
        // Two tenths of a second are promised; a busy machine is given more.
        assert_eq!(ends_within(&mut child, Duration::from_millis(800)), 4, "{body}");
    }
}

#[test]
fn after_ctrl_c_steps_are_put_back_and_a_second_one_stops_that() {
    let script = "step(\"x\", || { host::write(\"begun\", \"\"); ui::say(\"ready\"); loop { } }, \
                  #{ undo: || host::write(\"undone\", \"\") });";
    let place = Place::new().with("main.rhai", script);
    let mut child = started(&place);
    signal(&child, "INT");
    assert_eq!(ends_within(&mut child, Duration::from_secs(2)), 4);
    assert!(place.path().join("undone").exists());

    let script = "step(\"x\", || { host::write(\"begun\", \"\"); throw \"x\" }, \
                  #{ undo: || { ui::say(\"ready\"); loop { } } });";
    let mut child = started(&Place::new().with("main.rhai", script));
    signal(&child, "INT");
    assert_eq!(ends_within(&mut child, Duration::from_secs(2)), 1);
}

#[test]
fn a_parameters_file_serves_all_procedures_of_a_site() {
    let place = Place::new()
        .with("s.rhai", "param(\"project\", #{});\n")
        .with("site.toml", "project = \"x\"\nansible_dir = \"/y\"\n")
        .with("misspelt.toml", "project = \"x\"\nansible_dirr = \"/y\"\n");
    assert_eq!(place.pgscript(&["run", "s.rhai", "--params", "site.toml"]).code, 0);
    let ran = place.pgscript(&["run", "s.rhai", "--params", "misspelt.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("s.rhai has no parameter `ansible_dirr` (from misspelt.toml)"), "{}", ran.stderr);
}

// Reading without running

#[test]
fn check_finds_each_kind_of_mistake() {
    let place = Place::new().with("lib.rhai", "fn work(f) { f.call() }\nprivate fn hidden() {}\n").with(
        "main.rhai",
        r#"import "nope" as nope;
import "lib" as lib;
const LIMIT = 1;
fn own(a, b) { a + b }
own(1);
onw(1, 2);
lib::work();
lib::wrok(|| 1);
lib::hidden();
docker::stopp(1);
docker::stop();
[1].mapp(|x| x);
[1].push();
lib::PORT;
lib::work(|| { if true { deep(1); } global::LIMIT });
Fn("onw");
fn param(x) { x }
step("a", || 1);
step("a", || 2);
fn twice(list) { let own = 1; list.map(|x| x + own) }
"#,
    );
    let ran = place.pgscript(&["check", "main.rhai", "--format", "json"]);
    let found: Vec<_> = events(&ran)
        .iter()
        .map(|f| {
            format!(
                "{}:{} {} {}",
                f["line"],
                f["column"],
                f["severity"].as_str().unwrap(),
                f["message"].as_str().unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    1:8 error no module `nope`
    5:1 error `own` does not take one argument
    6:1 error there is no function `onw`
    7:1 error `lib::work` can't be called without arguments
    8:1 error lib.rhai has no function `wrok`
    9:1 error lib.rhai has no function `hidden`
    10:1 error there is no function `docker::stopp`
    11:1 error `docker::stop` can't be called without arguments
    12:5 error there is no method `mapp`
    13:5 error `push` can't be called without arguments
    14:6 error lib.rhai exports no `PORT`
    15:26 error there is no function `deep`
    15:45 error `global::LIMIT` would be looked up in the module `lib`, which runs this closure
    16:1 error there is no function `onw`
    17:4 error `param` is a function of the language, a script can't define it
    20:48 error `own` is also a function of this file: inside a closure it means the function
    19:1 warning a second step `a`, as in line 18
    ");
    assert_eq!(ran.code, 1);
}

#[test]
fn check_finds_syntax_errors_in_modules_too() {
    let place =
        Place::new().with("main.rhai", "import \"lib\" as lib; lib::f();").with("lib.rhai", "fn f() {\n  let = 1;\n}");
    let ran = place.pgscript(&["check", "main.rhai"]);
    assert!(ran.code == 1 && ran.stdout.contains("lib.rhai:2:7"), "{}", ran.stdout);
}

#[test]
fn check_lets_valid_scripts_pass_and_they_run() {
    let place = Place::new().with("main.rhai", include_str!("language/valid.rhai"));
    let ran = place.pgscript(&["check", "main.rhai"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "main.rhai: nothing found\n"));
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn everything_shipped_passes_check() {
    let place = Place::new();
    let listed = place.pgscript(&["list", "--modules", "--format", "json"]);
    let names: Vec<_> = events(&listed).iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let ran = place.pgscript(&["check", &name, "--format", "json"]);
        assert_eq!((ran.code, events(&ran)), (0, Vec::new()), "{name}");
    }
}

#[test]
fn after_no_rollback_steps_need_no_undo() {
    let write = |name: &str| format!("step(\"{name}\", || host::write(\"{name}\", \"\"), #{{ repeatable: true }});\n");
    let place = Place::new().with("main.rhai", &format!("no_rollback(\"gone\");\n{}", write("after")));
    assert_eq!(place.pgscript(&["check", "main.rhai"]).stdout, "main.rhai: nothing found\n");
    let shown = "   1  after  (the run can't be put back any more)  (after a kill: runs again by itself)\n";
    let text = place.pgscript(&["show", "main.rhai"]).stdout;
    assert!(text.ends_with(shown), "{text}");
    let place =
        Place::new().with("main.rhai", &format!("{}no_rollback(\"gone\");\n{}", write("before"), write("after")));
    let ran = place.pgscript(&["check", "main.rhai", "--format", "json"]);
    let found = events(&ran);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "check.no_undo");
    assert_eq!(found[0]["message"], "a rollback can't put back: `before`");
}

#[test]
fn show_tells_parameters_and_nested_steps() {
    let place = Place::new().with("lib.rhai", "fn ask() { param(\"user\", #{ help: \"who\" }) }").with(
        "main.rhai",
        "//! Does things.\n//!\n//! Carefully.\nimport \"lib\" as lib;\n\
         let to = param(\"to\", #{ type: \"int\", help: \"where\" });\n\
         let n = param(\"n\", #{ default: 3 });\nstep(\"outer\", || { step(\"inner\", || to, #{ undo: || 1 }); });\n\
         fn late() { step(\"late\", || n(), #{ commit: true }); }",
    );
    insta::assert_snapshot!(place.pgscript(&["show", "main.rhai"]).stdout, @r"
    main.rhai (main.rhai)

    Does things.

    Carefully.

    Parameters:
      to: int       where  [required]
      n: int        [default 3]
      user: string  who  [required]

    Steps:
       1  outer  (after a kill: runs again by itself)
       2    inner  (can be undone)  (after a kill: runs again by itself)
       3  late  (where its condition holds)  (after a kill: runs again by itself)  (from here on nothing is undone by itself)
    ");
}

// What a kill and a rollback would meet

/// Severity, place, code and message of what `check` finds in `main.rhai`.
fn checked(place: &Place) -> Vec<String> {
    let ran = place.pgscript(&["check", "main.rhai", "--format", "json"]);
    let found = events(&ran);
    let text = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let is_warned = found.iter().all(|f| f["severity"] == "warning");
    assert_eq!((ran.code, is_warned), (0, true), "{}", ran.stdout);
    let line = |f: &serde_json::Value| {
        format!("{}:{}:{} {}: {}", text(f, "file"), f["line"], f["column"], text(f, "code"), text(f, "message"))
    };
    found.iter().map(line).collect()
}

fn checked_script(script: &str) -> Vec<String> {
    checked(&Place::new().with("main.rhai", script))
}

#[test]
fn a_script_without_any_way_on_or_back_is_told_so_with_its_steps() {
    let place = Place::new().with(
        "main.rhai",
        r#"
step("look", || host::exists("a"));
step("write", || host::write("a", "x"));
step("by hand", || ui::manual("press the button"));
"#,
    );
    let ran = place.pgscript(&["check", "main.rhai"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stdout, @r#"
    warning[check.not_durable]: a kill in `write`, `by hand` would leave no way forward and none back: no step that changes something has `undo`, `probe` or `repeatable`
     --> main.rhai:3:1
      |
    3 | step("write", || host::write("a", "x"));
      | ^^^^
      = hint: forward: nobody can know what such a step has done, so the operator must find out and decide by hand:
              pgscript resume RUN --retry STEP | --skip STEP | --accept STEP=VALUE
              back: `pgscript rollback` would put nothing back
              declare both: step("…", || …, #{ undo: |value| …, probe: || … }), or `repeatable: true` for the probe
    "#);
}

#[test]
fn steps_that_change_something_without_undo_are_named_also_when_a_module_does_it() {
    let place = Place::new()
        .with(
            "main.rhai",
            r#"import "lib" as lib;
step("reads", || lib::look());
step("has undo", || lib::stop(1), #{ undo: || (), repeatable: true });
step("through a module", || { lib::stop(1) }, #{ repeatable: true });
step("outer", || {
    step("inner, covered", || lib::stop(1), #{ repeatable: true });
}, #{ undo: || () });
step("frame", || { step("inner", || { [1].map(|c| Fn("own").call(c)) }, #{ repeatable: true }); });
step("undo is no change", || 1, #{ undo: || lib::stop(1), probe: || own(1) });
let options = #{ undo: || () };
step("not known", || own(1), options);
step("as a method", || docker::container("x").stop(), #{ repeatable: true, undo: () });
step("a map is no container", || { let m = #{ a: 1 }; m.remove("a") });
fn own(c) { docker::start(c) }
fn for_others() { step("in a function", || own(1), #{ repeatable: true }) }
lib::with_step();
"#,
        )
        .with(
            "lib.rhai",
            r#"import "deep" as deep;
fn look() { docker::containers() }
fn stop(c) { if c == 0 { return; } deep::really_stop(c) }
fn with_step() { step("of the module", || stop(1), #{ repeatable: true }) }
fn nobody_calls() { step("never met", || stop(1)) }
"#,
        )
        .with("deep.rhai", "fn really_stop(c) { docker::stop(c) }\n");
    insta::assert_snapshot!(checked(&place).join("\n"), @r"
    main.rhai:4:1 check.no_undo: a rollback can't put back: `through a module`, `inner`, `as a method`, `in a function`, `of the module`
    ");
}

#[test]
fn steps_that_only_the_operator_can_judge_after_a_kill_are_named_with_what_to_type() {
    let script = r#"
step("reads", || docker::containers());
step("probed", || host::write("a", "x"), #{ probe: || if host::exists("a") { true }, undo: || () });
step("repeatable", || host::write("a", "x"), #{ repeatable: true, undo: || () });
step("says no", || host::write("a", "x"), #{ repeatable: false, undo: || () });
for name in ["a", "b"] {
    step(name, || host::write(name, "x"), #{ undo: || () });
}
"#;
    let ran = Place::new().with("main.rhai", script).pgscript(&["check", "main.rhai"]);
    insta::assert_snapshot!(ran.stdout, @r#"
    warning[check.open_question]: a kill in `says no`, the step at main.rhai:7 would leave a question that only the operator can answer
     --> main.rhai:5:1
      |
    5 | step("says no", || host::write("a", "x"), #{ repeatable: false, undo: || () });
      | ^^^^
      = hint: nobody could know what such a step has done:
              pgscript resume RUN --retry STEP | --skip STEP | --accept STEP=VALUE
              declare `repeatable: true` where doing it twice does no harm,
              or `probe: || …` that gives () if it was not done, else the step's value
    "#);
}

#[test]
fn a_function_that_makes_steps_is_followed_to_who_calls_it() {
    let place = Place::new().with("lib.rhai", "fn sure(name, body) { step(name, body, #{ undo: || () }) }\n").with(
        "main.rhai",
        "import \"lib\" as lib;\nlib::sure(\"reads\", || 1);\nlib::sure(\"writes\", || host::write(\"a\", \"x\"));\n",
    );
    insta::assert_snapshot!(checked(&place).join("\n"), @r"
    main.rhai:3:1 check.open_question: a kill in `writes` would leave a question that only the operator can answer
    ");
}

#[test]
fn variables_that_a_resumed_run_would_not_have_are_found() {
    let script = r#"
let fenced = [];
let plan = #{ record: #{}, list: [[]] };
let total = 0;
let label = "a:b";
step("stop", || {
    fenced = [1];
    plan.record.set("fenced", fenced);
    [1, 2].map(|x| { total += x; x });
    label.replace(":", "-");
    let own = 1;
    own += 1;
});
step("next", || { plan.list[0].push(total); plan.list }, #{ undo: || fenced });
ui::say(`${label} ${plan}`);
"#;
    let ran = Place::new().with("main.rhai", script).pgscript(&["check", "main.rhai"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stdout, @r#"
    warning[check.lost_variable]: on resume finished steps do not run again, so these keep their old values: `fenced` of `stop`, `plan` of `stop`, `total` of `stop`, `label` of `stop`; return them from the steps
     --> main.rhai:7:5
      |
    7 |     fenced = [1];
      |     ^^^^^^
      = hint: let result = step("stop", || { …; result }), with `fenced` in it
    "#);
}

#[test]
fn each_way_to_change_a_variable_is_seen_and_what_is_not_read_later_is_let_pass() {
    let warned = |script: &str| !checked_script(script).is_empty();
    for change in ["x = 1", "x += 1", "x.a = 1", "x[0] = 1", "x.a[0].b = 1", "x.push(1)", "x[0].push(1)", "x.a.clear()"]
    {
        let after = |end: &str| warned(&format!("let x = #{{}};\nstep(\"s\", || {{ {change}; }});\n{end}"));
        assert!(after("ui::say(x);"), "{change}");
        assert!(!after("ui::say(1);"), "{change}");
        assert!(!after("x = 2;"), "{change}");
    }
    for harmless in
        ["let x = 2; x = 3", "x.len()", "x.get(\"a\").push(1)", "[1][x].push(1)", "let y = x; y = 2", "x[x].a"]
    {
        assert!(!warned(&format!("let x = 1;\nstep(\"s\", || {{ {harmless}; }});\nui::say(x);")), "{harmless}");
    }
    // Returned from the step into the very variable.
    assert!(!warned("let x = 1;\nx = step(\"s\", || { x += 1; x });\nui::say(x);"));
    // Read before, but in a loop; by an undo; in the function that has it; around a step in a step.
    assert!(warned("let x = false;\nloop {\n  if x { break; }\n  step(\"s\", || { x = true; });\n}"));
    assert!(!warned("let x = false;\nif x { ui::say(x); }\nstep(\"s\", || { x = true; });"));
    assert!(warned("let x = 1;\nstep(\"s\", || { x = 2; }, #{ undo: || ui::say(x) });"));
    assert!(warned("fn f() { let x = 1; step(\"s\", || { x = 2; }); x }\nf();"));
    assert!(warned("step(\"o\", || { let x = 1; step(\"i\", || { x = 2; }); ui::say(x); });"));
    assert!(!warned("let x = 1;\nstep(\"s\", || { x = 2; });\nfn f(x) { ui::say(x); }\nf(1);\n[1].map(|x| x);"));
}

#[test]
fn warnings_do_not_keep_a_script_from_running() {
    let place = Place::new().with("main.rhai", "step(\"write\", || host::write(\"a\", \"x\"));");
    assert_eq!(checked(&place).len(), 1);
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains("warning") && !ran.stderr.contains("warning"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn show_tells_what_a_kill_in_each_step_means() {
    let place = Place::new().with("lib.rhai", "fn write() { host::write(\"a\", \"x\") }").with(
        "main.rhai",
        "import \"lib\" as lib;\nstep(\"reads\", || 1);\nstep(\"asks\", || lib::write());\n\
         step(\"probes\", || lib::write(), #{ probe: || () });\n\
         step(\"again\", || lib::write(), #{ repeatable: true });\n\
         let o = #{};\nstep(\"not known\", || lib::write(), o);",
    );
    let shown = place.pgscript(&["show", "main.rhai"]).stdout;
    insta::assert_snapshot!(shown[shown.find("Steps:").unwrap()..], @r"
    Steps:
       1  reads  (after a kill: runs again by itself)
       2  asks  (after a kill: asks)
       3  probes  (after a kill: probes)
       4  again  (after a kill: runs again by itself)
       5  not known
    ");
    let json = events(&place.pgscript(&["show", "main.rhai", "--format", "json"])).remove(0);
    let kills: Vec<_> = json["steps"].as_array().unwrap().iter().map(|s| s["after_kill"].as_str()).collect();
    assert_eq!(kills, [Some("runs_again"), Some("asks"), Some("probes"), Some("runs_again"), None]);
}

// The reference and the rest

#[test]
fn the_reference_can_be_read_whole_or_in_part() {
    let place = Place::new();
    let whole = place.pgscript(&["show", "--api"]).stdout;
    assert!(
        whole.contains("step(name: string, body: Fn, options: Map = #{}) -> any") && whole.contains("docker::stop(")
    );
    let one = place.pgscript(&["show", "--api", "ui::confirm"]).stdout;
    assert!(one.contains("ui::confirm(question: string) -> bool") && !one.contains("ui::say"), "{one}");
    for of_tests in ["sim::captured(file: string)", "assert_eq(is: any, should_be: any)"] {
        assert!(whole.contains(of_tests), "{of_tests}: {whole}");
    }
    assert_eq!(whole.lines().filter(|line| line.starts_with("global: ")).count(), 1);
    assert!(place.pgscript(&["show", "--api", "Error"]).stdout.contains(".code: string"));
    assert_eq!(place.pgscript(&["show", "--api", "dokcer"]).code, 2);
}

#[test]
fn eject_writes_and_never_overwrites() {
    let place = Place::new();
    let ran = place.pgscript(&["eject", "upgrade", "mine/scripts"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "mine/scripts/upgrade.rhai\n"), "{}", ran.stderr);
    let path = place.path().join("mine/scripts/upgrade.rhai");
    fs::write(&path, "edited").unwrap();
    for arguments in [&["eject", "upgrade.rhai", "mine/scripts"][..], &["eject", "--all", "mine/scripts"]] {
        assert_eq!(place.pgscript(arguments).code, 3);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "edited");
    let names = fs::read_dir(place.path().join("mine/scripts")).unwrap().map(|e| e.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, [".pgscript-ejected", "upgrade.rhai"], "nothing but its note was written beside it");
    assert_eq!(place.pgscript(&["eject", "--all", "all"]).code, 0);
    assert_eq!(place.pgscript(&["check", "all/upgrade.rhai"]).code, 0);
}

#[test]
fn completions_and_help_are_there() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.pgscript(&["completions", shell]).stdout.len() > 500);
    }
    let help = place.pgscript(&["--help"]).stdout;
    assert!(help.contains("Exit codes:") && help.contains("pgscript run upgrade.rhai --set to=17"), "{help}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let place = Place::new();
    let mut child = place.command(&["show", "--api"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn the_tests_of_the_shipped_scripts_pass_in_the_simulated_world_and_a_failing_one_shows_both_sides() {
    let place = Place::new().with("own_test.rhai", "fn test_sum() { assert_eq(1 + 1, 3); }\nfn helper() {}");
    for directory in ["scripts", "stdlib"] {
        let shipped = place.pgscript(&["test", &format!("{}/{directory}", env!("CARGO_MANIFEST_DIR"))]);
        assert_eq!((shipped.code, shipped.stdout.contains(" 0 failed")), (0, true), "{}", shipped.stdout);
    }
    let failed = place.pgscript(&["test", "own_test.rhai"]);
    assert_eq!(failed.code, 1, "{}", failed.stdout);
    for part in ["FAILED  test_sum", "is         2", "should be  3", "own_test.rhai:1:", "0 passed, 1 failed"] {
        assert!(failed.stdout.contains(part), "{part}: {}", failed.stdout);
    }
    assert_eq!(place.pgscript(&["check", "own_test.rhai"]).code, 0);
    assert_eq!(place.pgscript(&["test", "."]).code, 1);
}
