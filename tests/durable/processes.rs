//! Two processes on one run, and what a killed one leaves behind.

use std::process::{Child, Stdio};

use super::*;

/// A step that goes on when there is a file `go`.
const WAITS: &str = r#"
step("one", || host::write("one", "1"), #{ undo: || host::remove_file("one") });
step("wait", || { while !host::exists("go") { host::sleep(0.05); } }, #{ undo: || () });
ui::say("went on");
"#;

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).spawn().unwrap()
}

/// Until the run is in its second step.
fn wait_for_step(place: &Place, step: &str) {
    wait_until(step, || {
        place.path("runs").join("main-1/journal.jsonl").is_file()
            && place.entries(1, "started").iter().any(|started| started["step"] == step)
    });
}

#[test]
fn a_run_that_is_driven_is_not_driven_twice_and_says_by_whom() {
    let place = Place::new(WAITS);
    let child = start(&place, &["run", "../main.rhai"]);
    wait_for_step(&place, "wait");
    let pid = child.id().to_string();
    let refused = place.pgscript(&["resume", "main-1"]);
    refused.expect(3, &["error[run.driven]", "process", &pid, "since", "kill -INT", "pgscript status main-1"]);
    place.pgscript(&["rollback"]).expect(3, &["run.driven", "under way", &pid, "pgscript rollback main-1 --yes"]);
    let status = place.status(&[]);
    assert_eq!((&status["state"], &status["driver"]["pid"]), (&"running".into(), &child.id().into()));
    place.pgscript(&["status"]).expect(0, &["main-1: running", &pid, "under way", "kill -INT"]);
    place.pgscript(&["runs"]).expect(0, &["main-1", "running"]);
    place.write("work/go", "");
    ran(child.wait_with_output().unwrap()).expect(0, &["went on"]);
    place.expect_state("main-1", "done");
}

#[test]
fn a_run_under_way_is_stopped_and_put_back_by_rollback_with_yes() {
    let place = Place::new(WAITS);
    let child = start(&place, &["run", "../main.rhai"]);
    wait_for_step(&place, "wait");
    // Without a commit step, to be stopped means to be put back.
    place.pgscript(&["rollback", "--yes"]).expect(0, &["put back", "everything is as it was"]);
    ran(child.wait_with_output().unwrap()).expect(4, &["cancelled", "everything is back as it was"]);
    assert!(place.files().is_empty());
    place.expect_state("main-1", "rolled back");
}

/// A run that is started deaf to a signal, as `nohup` does it with HUP, and `&` in a script with INT.
fn start_deaf(place: &Place, signal: &str) -> Child {
    let run = place.command(&["run", "../main.rhai"]);
    let mut deaf = Command::new("sh");
    deaf.args(["-c", &format!("trap '' {signal}; exec \"$0\" \"$@\"")]).arg(run.get_program()).args(run.get_args());
    let environment = run.get_envs().filter_map(|(name, value)| Some((name, value?)));
    deaf.current_dir(place.path("work")).env_clear().envs(environment);
    deaf.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_run_in_the_background_and_its_children_hear_a_cancellation_all_the_same() {
    let child = "trap 'echo heard > heard; exit 1' INT; touch listening; while :; do sleep 0.1; done";
    let place = Place::new(&format!(r#"step("listen", || host::run(["sh", "-c", "{child}"]), #{{ undo: || () }});"#));
    let started = start_deaf(&place, "INT");
    wait_until("the child", || place.path("work/listening").exists());
    send(&started, "INT");
    ran(started.wait_with_output().unwrap()).expect(4, &["cancelled"]);
    assert_eq!(place.read("work/heard"), "heard\n");
}

#[test]
fn a_hang_up_cancels_a_run_unless_it_was_started_with_nohup() {
    let place = Place::new(WAITS);
    let child = start(&place, &["run", "../main.rhai"]);
    wait_for_step(&place, "wait");
    send(&child, "HUP");
    ran(child.wait_with_output().unwrap()).expect(4, &["cancelled", "everything is back as it was"]);
    assert!(place.files().is_empty());

    let place = Place::new(WAITS);
    let child = start_deaf(&place, "HUP");
    wait_for_step(&place, "wait");
    send(&child, "HUP");
    place.write("work/go", "");
    ran(child.wait_with_output().unwrap()).expect(0, &["went on"]);
}

#[test]
fn a_child_that_outlives_a_killed_run_is_waited_for_and_the_operator_told() {
    for command in ["resume", "rollback"] {
        let place = Place::new(r#"step("sleep", || host::run(["sleep", "3"]), #{ repeatable: true, undo: || () });"#);
        let mut child = start(&place, &["run", "../main.rhai"]);
        wait_until("the effect", || place.entries(1, "effect").len() == 1);
        std::thread::sleep(Duration::from_millis(200));
        let pid = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        // It is nobody's who could be asked to stop; and it is said what it is.
        place.expect_state("main-1", "interrupted");
        let begun = Instant::now();
        let ran = place.pgscript(&[command, "--yes"]);
        ran.expect(0, &[&format!("process {pid}"), "has ended, but a program that it had started still runs"]);
        ran.expect(0, &["waiting for its end", "fuser -v", "main-1/lock", "Ctrl-C"]);
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(ran.stderr.matches("still runs").count(), 1);
    }
}

#[test]
fn waiting_for_a_child_that_does_not_end_is_left_with_ctrl_c() {
    let place = Place::new(r#"step("sleep", || host::run(["sleep", "5"]), #{ repeatable: true });"#);
    let mut child = start(&place, &["run", "../main.rhai"]);
    wait_until("the effect", || place.entries(1, "effect").len() == 1);
    std::thread::sleep(Duration::from_millis(200));
    child.kill().unwrap();
    child.wait().unwrap();
    let journal = place.journal(1);
    let resume = start(&place, &["resume"]);
    std::thread::sleep(Duration::from_millis(900));
    interrupt(&resume);
    ran(resume.wait_with_output().unwrap()).expect(4, &["cancelled"]);
    assert_eq!(place.journal(1), journal);
}

/// A number that has been given to another process since is no reason to wait, let alone to stop that one.
#[test]
fn a_stranger_with_the_killed_process_s_number_is_left_alone() {
    let place = Place::new(WAITS);
    place.run_killed_at("after:8");
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let lock = place.run_dir(1).join("lock");
    let mut driver: Value = serde_json::from_str(&fs::read_to_string(&lock).unwrap()).unwrap();
    driver["pid"] = stranger.id().into();
    fs::write(&lock, driver.to_string()).unwrap();
    // Somebody else has the lock meanwhile, as a child would.
    let held = Command::new("flock").args([lock.to_str().unwrap(), "sleep", "1.5"]).spawn();
    let mut held = held.expect("flock of util-linux");
    std::thread::sleep(Duration::from_millis(300));
    place.expect_state("main-1", "interrupted");
    place.pgscript(&["rollback", "--yes"]).expect(0, &["still runs"]);
    assert!(stranger.try_wait().unwrap().is_none(), "it was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    held.wait().unwrap();
}
