//! `kill -9` at every line of the journal: of a run, of its resume, of its rollback.

use super::*;

/// Four steps, each of another kind, that change two files and make three; and values of every plain type.
const SCRIPT: &str = r#"
let to = param("to", #{ default: 17 });
let sure = ui::confirm("go on?");

let first = step("overwrite", || {
    host::write("a", "new", #{ overwrite: true });
    #{ int: -7, float: 0.1 + 0.2, whole: 2.0, text: "ä \"quoted\" \\ \n line", unit: (), yes: true,
       list: [1, 2.5, "x", (), [[]]], map: #{ deep: #{ "a key": [#{}] } }, char: 'c' }
}, #{ repeatable: true, undo: || host::write("a", "old", #{ overwrite: true }) });

let second = step("make once", || {
    // Twice would be an error.
    host::write("b", `${first.int} ${to}`);
    host::read("b")
}, #{ probe: || if host::exists("b") { host::read("b") },
      undo: || if host::exists("b") { host::remove_file("b") } });

fn gone(path) { if host::exists(path) { host::remove_file(path); } }

let third = step("outer", || {
    let inner = step("inner", || { host::write("c", "c", #{ overwrite: true }); 3.5 },
        #{ repeatable: true, undo: || gone("c") });
    let other = step("inner", || { host::write("d", "d"); [inner] },
        #{ probe: || if host::exists("d") { [inner] }, undo: |v| gone("d") });
    #{ inner: inner, other: other }
}, #{ undo: || { gone("c"); gone("d"); } });

let last = step("remove", || {
    if host::exists("e") { host::remove_file("e"); }
    third.other + [second]
}, #{ repeatable: true, commit: true, undo: || host::write("e", "old", #{ overwrite: true }) });

ui::say(`${sure} ${first} ${first.float == 0.1 + 0.2} ${type_of(first.whole)}`);
ui::say(`${second} ${third} ${last}`);
"#;

fn place() -> Place {
    let place = Place::new(SCRIPT);
    place.write("work/a", "old");
    place.write("work/e", "old");
    place
}

const RUN: &[&str] = &["run", "../main.rhai", "--yes", "--format", "json"];
const RESUME: &[&str] = &["resume", "--yes", "--format", "json"];
const ROLLBACK: &[&str] = &["rollback", "1", "--yes", "--format", "json"];

/// Every place to end at, of the journal's lines `from` (excluded) to `to`.
fn instants(from: usize, to: usize) -> Vec<String> {
    (from + 1..=to).flat_map(|line| [format!("before:{line}"), format!("after:{line}")]).collect()
}

/// What an undisturbed run makes and says.
struct Undisturbed {
    files: BTreeMap<PathBuf, String>,
    says: Vec<String>,
    lines: usize,
}

impl Undisturbed {
    fn of(place: &Place) -> Self {
        let before = place.state();
        let says = place.pgscript(RUN).expect(0, &[]).says();
        let undisturbed = Self { files: names(place), says, lines: place.journal(1).len() };
        place.restore(&before);
        undisturbed
    }
}

/// Files without the directory they are in, which each place has its own.
fn names(place: &Place) -> BTreeMap<PathBuf, String> {
    let work = place.path("work");
    place.files().into_iter().map(|(path, text)| (path.strip_prefix(&work).unwrap().to_owned(), text)).collect()
}

/// Has a process end itself somewhere.
fn killed(place: &Place, arguments: &[&str], at: &str) -> Ran {
    let ran = place.killed_at(arguments, at);
    assert_eq!(ran.code, KILLED, "{arguments:?} {at}: {}{}", ran.stdout, ran.stderr);
    ran
}

/// Brings a killed run to its end; `said` is what was said by then.
#[track_caller]
fn finish(place: &Place, undisturbed: &Undisturbed, at: &str, mut said: Vec<String>) {
    match place.status(&[])["state"].as_str().unwrap() {
        "done" => {}
        "not begun" => said = place.pgscript(RUN).expect(0, &[]).says(),
        "interrupted" | "failed" => said.extend(place.pgscript(RESUME).expect(0, &[]).says()),
        state => panic!("{at}: {state}"),
    }
    said.dedup();
    assert_eq!(names(place), undisturbed.files, "{at}");
    // What the killed process has said may be said again.
    let last = said.len().saturating_sub(undisturbed.says.len());
    assert_eq!(said[last..], undisturbed.says, "{at}");
    assert_eq!(place.status(&[])["state"], "done", "{at}");
}

#[track_caller]
fn go_back(place: &Place, before: &BTreeMap<PathBuf, String>, at: &str) {
    if place.status(&["1"])["state"] != "not begun" {
        let ran = place.pgscript(ROLLBACK);
        assert_eq!(ran.code, 0, "{at}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(place.status(&["1"])["state"], "rolled back", "{at}");
    }
    assert_eq!(&place.files(), before, "{at}");
}

/// Does the work of each instant in its own place, on all cores.
fn at_each(instants: &[String], work: impl Fn(&str) -> usize + Sync) -> usize {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut kills = 0;
        while let Some(at) = instants.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            kills += work(at);
        }
        kills
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

#[test]
fn killed_at_every_line_a_run_is_resumed_to_the_same_end() {
    let undisturbed = Undisturbed::of(&place());
    let kills = at_each(&instants(0, undisturbed.lines), |at| {
        let place = place();
        let ran = killed(&place, RUN, at);
        finish(&place, &undisturbed, at, ran.says());
        1
    });
    println!("kills survived by resume: {kills}");
    assert_eq!(kills, 2 * undisturbed.lines);
}

#[test]
fn killed_at_every_line_a_run_is_rolled_back_to_what_was_before() {
    let undisturbed = Undisturbed::of(&place());
    let kills = at_each(&instants(0, undisturbed.lines), |at| {
        let place = place();
        let before = place.files();
        killed(&place, RUN, at);
        go_back(&place, &before, at);
        1
    });
    println!("kills survived by rollback: {kills}");
    assert_eq!(kills, 2 * undisturbed.lines);
}

/// Where a run is killed before its resume or rollback is killed too: in the middle of each step, and at the ends.
fn first_kills(lines: usize) -> Vec<String> {
    (1..=lines).filter(|line| line % 6 == 5).map(|line| format!("after:{line}")).collect()
}

#[test]
fn killed_at_every_line_of_the_resume_it_is_resumed_again_or_rolled_back() {
    let undisturbed = Undisturbed::of(&place());
    let kills = at_each(&first_kills(undisturbed.lines), |first| {
        let place = place();
        let before = place.files();
        let said = killed(&place, RUN, first).says();
        let (cut_off, from) = (place.state(), place.journal(1).len());
        place.pgscript(RESUME).expect(0, &[]);
        let to = place.journal(1).len();
        for at in &instants(from, to) {
            let both = format!("{first}, resume {at}");
            place.restore(&cut_off);
            let said = [said.clone(), killed(&place, RESUME, at).says()].concat();
            let twice_cut_off = place.state();
            finish(&place, &undisturbed, &both, said);
            place.restore(&twice_cut_off);
            go_back(&place, &before, &both);
        }
        2 * (to - from)
    });
    println!("kills survived during resume: {kills}");
    assert!(kills > 100, "{kills}");
}

#[test]
fn killed_at_every_line_of_the_rollback_it_goes_on_with_the_rest() {
    let undisturbed = Undisturbed::of(&place());
    // Also of a run that is done.
    let firsts = [first_kills(undisturbed.lines), vec![format!("after:{}", undisturbed.lines)]].concat();
    let kills = at_each(&firsts, |first| {
        let place = place();
        let before = place.files();
        killed(&place, RUN, first);
        let (cut_off, from) = (place.state(), place.journal(1).len());
        place.pgscript(ROLLBACK).expect(0, &[]);
        let to = place.journal(1).len();
        for at in &instants(from, to) {
            let both = format!("{first}, rollback {at}");
            place.restore(&cut_off);
            killed(&place, ROLLBACK, at);
            if place.status(&[])["state"] == "rolled back" {
                assert_eq!(place.files(), before, "{both}");
            } else {
                go_back(&place, &before, &both);
            }
        }
        2 * (to - from)
    });
    println!("kills survived during rollback: {kills}");
    assert!(kills > 100, "{kills}");
}
