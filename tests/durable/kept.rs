//! What a run keeps of itself: parameters, answers and values, privately; secrets never.

use crate::disk::SmallDisk;

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn parameters_are_those_of_the_run_s_beginning() {
    let place = Place::new(
        r#"
let size = param("size", #{ default: 3 });
let word = param("word", #{ default: "default" });
let list = param("list", #{ type: "list", default: ["a"] });
step("one", || host::write("one", "1"), #{ repeatable: true });
ui::say(`${size} ${word} ${list}`);
let late = param("late", #{ default: "late default" });
ui::say(late);
"#,
    );
    let at = [("PGSCRIPT_KILL_AT", "after:8"), ("PGSCRIPT_WORD", "environment")];
    let killed = place.with_env(&["run", "../main.rhai", "--set", "size=7", "--set", "list=x,y"], &at);
    assert_eq!(killed.code, KILLED, "{}", killed.stderr);
    place.edit("main.rhai", "default: 3", "default: 4");
    place.write("p.toml", "size = 5\nlist = [\"z\"]\nlate = \"from a file\"\n");
    let params = place.path("p.toml");
    let resume = ["resume", "--accept-changes", "--format", "json", "--params", params.to_str().unwrap()];
    let ran = place.with_env(&resume, &[("PGSCRIPT_WORD", "changed"), ("PGSCRIPT_SIZE", "6")]);
    // What the run had not come to yet is taken from where it is given now.
    assert_eq!(ran.expect(0, &[]).says()[1..], ["7 environment [\"x\", \"y\"]", "from a file"]);
    place.pgscript(&["resume", "--set", "size=9"]).expect(2, &["--set"]);
}

/// However early it was: what was given counts, and never the default in its place.
#[test]
fn cut_off_in_the_parameters_a_run_goes_on_with_what_was_given() {
    let script = r#"
let project = param("project", #{ default: "another" });
let size = param("size", #{ type: "int", default: 3 });
let word = param("word", #{ default: "default" });
let given = #{ help: "computed", default: "default" };
let late = param("late", given);
step("one", || host::write("one", `${project} ${size} ${word} ${late}`, #{ overwrite: true }), #{ repeatable: true });
let later = param("later", #{ default: "default" });
step("two", || host::write("two", later, #{ overwrite: true }), #{ repeatable: true });
"#;
    let environment = [("PGSCRIPT_WORD", "environment"), ("PGSCRIPT_LATE", "once more")];
    let mut went_on = 0;
    for line in 1..=16 {
        let place = Place::new(script);
        place.write("p.toml", "size = 5\nlater = \"file\"\n");
        let params = place.path("p.toml");
        let run = ["run", "../main.rhai", "--set", "project=mine", "--params", params.to_str().unwrap()];
        let at = format!("after:{line}");
        let killed = place.with_env(&run, &[&environment[..], &[("PGSCRIPT_KILL_AT", &at)]].concat());
        assert_eq!(killed.code, KILLED, "{at}: {}", killed.stderr);
        fs::remove_file(&params).unwrap();
        if place.status(&[])["state"] == "not begun" {
            assert!(place.files().is_empty());
            continue;
        }
        // The script computes what kind of parameter this is, so its value was not kept: it is not the default either.
        let kept = place.entries(1, "parameter").iter().any(|parameter| parameter["name"] == "late");
        if !kept {
            place.pgscript(&["resume"]).expect(2, &["error[params.not_kept]", "`late`", "as PGSCRIPT_LATE"]);
        }
        let changed = [("PGSCRIPT_WORD", "changed"), ("PGSCRIPT_PROJECT", "changed"), ("PGSCRIPT_LATE", "once more")];
        place.with_env(&["resume"], &changed).expect(0, &[]);
        assert_eq!(place.read("work/one"), "mine 5 environment once more", "{at}");
        assert_eq!(place.read("work/two"), "file", "{at}");
        went_on += 1;
    }
    assert!(went_on > 10, "{went_on}");
}

#[test]
fn secrets_are_asked_for_again_and_are_in_no_file_of_the_run() {
    const SECRET: &str = "correct horse \"battery\" \\ staple";
    let place = Place::new(
        r#"
let password = param("password", #{ type: "secret" });
on_failure("try again");
try { step("shout", || host::run(["sh", "-c", "echo \"$WORD\"; echo \"no: $WORD\" >&2; exit 3"],
    #{ env: #{ WORD: env_of(password) }, stream: true })); }
catch (e) { ui::say(e.message); }
fn env_of(secret) { host::read("secret") }
step("one", || host::write("one", "1"), #{ repeatable: true });
ui::confirm(`with ${host::read("secret")}?`);
ui::say(`then ${host::read("secret")}`);
step("fails", || fail("a.b", host::read("secret")));
"#,
    );
    place.write("work/secret", SECRET);
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ran = place.with_env(&[arguments, &["--yes", "--keep"]].concat(), environment);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(SECRET), "{}{}", ran.stdout, ran.stderr);
        ran
    };
    let secret = ("PGSCRIPT_PASSWORD", SECRET);
    run(&["run", "../main.rhai"], &[secret]).expect(1, &["a.b"]);
    // Forgotten: nothing is put back for that, and it is said how to give it.
    run(&["resume"], &[]).expect(2, &["params.missing", "PGSCRIPT_PASSWORD=...", "the run stands where it stood"]);
    run(&["resume"], &[secret]).expect(1, &["a.b"]);
    assert_eq!(place.entries(1, "answer").len(), 1, "asked once");
    for (path, text) in texts(&place.path("runs")) {
        let escaped = serde_json::to_string(SECRET).unwrap();
        assert!(!text.contains(SECRET) && !text.contains(escaped.trim_matches('"')), "{}: {text}", path.display());
    }
    assert!(place.entries(1, "parameter").iter().all(|entry| entry["value"].is_null()));
    let rollback = place.with_env(&["rollback"], &[secret]);
    rollback.expect(0, &[]);
}

#[test]
fn a_step_that_gives_a_secret_away_is_refused() {
    let place = Place::new(
        r#"
let password = param("password", #{ type: "secret" });
step("one", || { host::write("one", "1"); #{ login: `user:${host::read("secret")}` } },
    #{ undo: || host::remove_file("one") });
"#,
    );
    place.write("work/secret", "hunter22");
    let refused = place.with_env(&["run", "../main.rhai"], &[("PGSCRIPT_PASSWORD", "hunter22")]);
    refused.expect(1, &["error[run.secret_value]", "step `one`", "everything is back as it was"]);
    refused.expect_not(&["hunter22"]);
    assert_eq!(place.files().len(), 1);
}

#[test]
fn a_value_that_can_not_be_journalled_names_the_step_and_the_place_in_it() {
    let values = [
        ("|x| x", "value is function"),
        ("#{ a: [1, #{ f: |x| x }] }", "value.a[1].f is function"),
        ("{ let e = (); try { fail(\"a\", \"b\") } catch (c) { e = c; } [#{ e: e }] }", "value[0].e is"),
        ("[1.0 / 0.0]", "value[0]: inf has no JSON form"),
        ("#{ \"$handle\": \"Volume\" }", "value has the key `$handle`"),
        ("#{ p: param(\"word\", #{ type: \"secret\", default: \"x\" }) }", "value.p is a secret"),
    ];
    for (value, words) in values {
        let place = Place::new(&format!("step(\"one\", || {value});"));
        let ran = place.with_env(&["run", "../main.rhai"], &[("PGSCRIPT_WORD", "hunter22")]);
        ran.expect(1, &["the value of step `one` can't be journalled", words, "plain data"]);
    }
}

#[test]
fn an_answer_outside_a_step_is_kept_and_one_inside_is_asked_for_again() {
    let place = Place::new(
        r#"
let outside = ui::confirm("outside?");
step("one", || { host::write("one", "1", #{ overwrite: true }); ui::confirm("inside?"); }, #{ repeatable: true });
let again = ui::confirm("outside?");
ui::say(`${outside} ${again}`);
"#,
    );
    let killed = place.killed_at(&["run", "../main.rhai", "--yes"], "after:7");
    assert_eq!(killed.code, KILLED);
    assert_eq!(place.entries(1, "answer").len(), 1);
    // Nobody is there to ask: only the question inside the step is one.
    place.pgscript(&["resume", "--keep"]).expect(2, &["ui.no_terminal", "inside?", "--yes"]);
    place.pgscript(&["resume", "--yes"]).expect(0, &["true true"]);
    let questions: Vec<_> = place.entries(1, "answer").iter().map(|entry| entry["question"].clone()).collect();
    assert_eq!(questions, ["outside?", "outside?"]);
}

#[test]
fn everything_of_a_run_is_private() {
    let place = Place::new(
        r#"import "lib" as lib;
step("one", || {
    host::write(run::directory() + "/own", "1");
    host::create_private_dir(run::directory() + "/artefacts");
});"#,
    );
    place.write("lib.rhai", "fn f() { 1 }");
    // As wide open as a shell's umask can be.
    let mut command = Command::new("sh");
    let script = format!("umask 000; exec {} run ../main.rhai", env!("CARGO_BIN_EXE_pgscript"));
    command
        .args(["-c", &script])
        .current_dir(place.path("work"))
        .env("PGSCRIPT_STORE", place.path("runs/below"))
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    ran(command.env("PGSCRIPT_SITE", place.path("site")).output().unwrap()).expect(0, &[]);
    let mut seen = 0;
    let mut left = vec![place.path("runs")];
    while let Some(path) = left.pop() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        seen += 1;
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn a_store_that_is_open_to_others_is_refused() {
    let place = Place::new("step(\"one\", || host::write(\"one\", \"1\"), #{ repeatable: true });");
    place.run_killed_in("write one");
    let chmod = |mode| fs::set_permissions(place.path("runs"), fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o755, 0o710, 0o702] {
        chmod(mode);
        for command in [&["run", "../main.rhai"][..], &["resume"], &["rollback"]] {
            let store = place.path("runs").display().to_string();
            place
                .pgscript(command)
                .expect(3, &["host.not_private", "chmod 700", &store, "--store", "nothing was done"]);
        }
        // To look is no risk.
        place.pgscript(&["status"]).expect(0, &["interrupted"]);
    }
    assert!(place.files().is_empty());
    chmod(0o700);
    place.pgscript(&["resume"]).expect(0, &[]);
}

/// Its second step waits for the disk to be full, and then has very much to announce.
const FILLING: &str = r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("two", || {
    host::write("two", "2");
    host::write("waiting", "");
    while !host::exists("go") { host::sleep(0.05); }
    for i in 0..1000 { host::write("three", `${i}`, #{ overwrite: true }); }
}, #{ repeatable: true, undo: || for file in ["two", "waiting", "three"] {
    if host::exists(file) { host::remove_file(file); }
} });
"#;

fn run_into_full_disk(place: &Place, disk: &SmallDisk, arguments: &[&str]) -> Ran {
    let child = place.command(&[&["run", "../main.rhai"], arguments].concat()).spawn().unwrap();
    wait_until("the second step", || place.path("work/waiting").exists());
    disk.fill(0);
    place.write("work/go", "");
    ran(child.wait_with_output().unwrap())
}

#[test]
fn on_a_full_disk_nothing_is_begun_what_was_done_is_put_back_and_both_are_known_later() {
    let place = Place::new(FILLING);
    let disk = SmallDisk::at(place.path("runs"), 64);
    let failed = run_into_full_disk(&place, &disk, &[]);
    failed
        .expect(1, &["error[host.disk_full]", "cannot write the journal", "make room", "everything is back as it was"]);
    failed.expect_not(&["not journalled", "pgscript resume"]);
    assert_eq!(place.files().keys().collect::<Vec<_>>(), [&place.path("work/go")]);
    // Known before there is room again.
    place.expect_state("main-1", "rolled back");
    place.pgscript(&["run", "../main.rhai"]).expect(1, &["host.disk_full"]);
    assert_eq!(place.files().len(), 1);
    disk.make_room();
    place.pgscript(&["resume", "main-1"]).expect(3, &["run.over", "was put back"]);
    place.pgscript(&["rollback", "main-1"]).expect(0, &["put back"]);
}

#[test]
fn after_making_room_a_run_that_was_kept_is_resumed_or_rolled_back() {
    for command in ["resume", "rollback"] {
        let place = Place::new(FILLING);
        let disk = SmallDisk::at(place.path("runs"), 64);
        let failed = run_into_full_disk(&place, &disk, &["--keep"]);
        failed.expect(1, &["host.disk_full", "nothing was put back", "pgscript resume main-1"]);
        place.expect_state("main-1", "failed");
        let files = place.files();
        // Every effect that has happened was announced first.
        let announced =
            place.entries(1, "effect").iter().filter(|effect| starts(&effect["command"], "write three")).count();
        assert_eq!(files[&place.path("work/three")], (announced - 1).to_string());
        // To go on takes room; nothing is done without.
        place.pgscript(&["resume"]).expect(1, &["host.disk_full", "make room"]);
        assert_eq!(place.files(), files);
        disk.make_room();
        place.expect_state("main-1", "failed");
        place.edit("main.rhai", "0..1000", "0..3");
        place.edit("main.rhai", "host::write(\"two\", \"2\");", "");
        place.edit("main.rhai", "host::write(\"waiting\", \"\");", "");
        place.pgscript(&[command, "--accept-changes"]).expect(0, &[]);
        match command {
            "resume" => assert_eq!(place.read("work/three"), "2"),
            _ => assert_eq!(place.files().len(), 1),
        }
    }
}
