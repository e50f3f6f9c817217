//! Scripts that live on at a site: what they came from is noted, shown, and said where the shipped one has moved on.

use std::fs;

use pgscript::script::ejected::{DIRECTORY, VERSION};
use pgscript::script::shipped;
use pgscript::script::source::sha256;
use serde_json::{Value, json};

use super::{Place, Ran, error, events};

/// Scripts of a real run of before the new server was proved ahead of the commit: `NN-name.rhai`.
const OF_BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/old_store/scripts");

/// The old `upgrade.rhai` in the site's directory, alone or with its modules.
fn with_scripts_of_before(with_modules: bool) -> Place {
    let mut place = Place::new();
    for entry in fs::read_dir(OF_BEFORE).unwrap() {
        let path = entry.unwrap().path();
        let (_, name) = path.file_name().unwrap().to_str().unwrap().split_once('-').unwrap();
        if with_modules || name == "upgrade.rhai" {
            place = place.with(&format!("site/{name}"), &fs::read_to_string(&path).unwrap());
        }
    }
    place
}

fn shipped(name: &str) -> &'static str {
    shipped::find(name).unwrap().text
}

impl Place {
    /// A script in the site's directory that was ejected by an earlier program, as `base`, and edited since.
    fn ejected_before(self, name: &str, base: &str, now: &str) -> Self {
        let record = json!({"about": "", "version": "0.0.9", "sha256": sha256(base), "changes": 0});
        self.with(&format!("site/{name}"), now)
            .with(&format!("site/{DIRECTORY}/{name}"), base)
            .with(&format!("site/{DIRECTORY}/{name}.json"), &record.to_string())
    }
}

/// A shipped script that was ejected when it had no first line yet; the site has added a last one.
fn ejected_before(name: &str) -> Place {
    let (_, base) = shipped(name).split_once('\n').unwrap();
    Place::new().ejected_before(name, base, &format!("{base}// of the site\n"))
}

fn found(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events(ran).iter().map(|finding| (text(&finding["severity"]), text(&finding["code"]))).collect()
}

/// A script of the site that only imports.
const IMPORTS: &str = "import \"verify\" as verify;\nui::say(\"done\");\n";

#[test]
fn a_script_of_before_the_procedure_changed_is_told_to_be_of_another_version_with_all_that_is_gone() {
    let place = with_scripts_of_before(false);
    let ran = place.pgscript(&["check", "upgrade.rhai"]);
    assert_eq!(ran.code, 1);
    let site = place.path().join("site/upgrade.rhai").display().to_string();
    let said = ran.stdout.replace(&site, "SITE").replace(VERSION, "VERSION");
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    assert_eq!(
        lines[0],
        "error[ejected.outdated]: SITE does not fit this version of pgscript, VERSION: it seems to come from another \
         one, and nothing notes which"
    );
    for line in [
        "lines 124, 165: built-in:preflight.rhai has no function `deployed`",
        "line 116: `wayback::put_aside` does not take 2 arguments: put_aside(volume, kept, image)",
        "line 122: built-in:deploy.rhai has no function `prepare`",
        "what is different:  pgscript diff SITE",
        "to begin anew:  pgscript eject upgrade.rhai NEW-DIRECTORY, and carry your changes over",
        "to keep it as it is:  put the rest of its version beside it, by `eject --all` of that pgscript",
    ] {
        assert!(lines.contains(&line), "{line}\n{said}");
    }
    assert!(
        said.contains("- the new server is proved on a volume of its own before the old one is given up"),
        "{said}"
    );
    assert_eq!(said.matches("error[").count(), 1, "one answer, not a list: {said}");
}

#[test]
fn a_run_of_a_script_of_before_is_refused_with_the_same_answer_before_anything_is_done() {
    let place = with_scripts_of_before(false);
    let ran = place.pgscript(&["run", "upgrade.rhai", "--set", "to=17"]);
    let error = error(&ran);
    assert!(ran.code == 1 && error.starts_with("error[ejected.outdated]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
}

#[test]
fn a_module_of_before_that_lacks_what_the_shipped_scripts_call_is_named_once() {
    let place = with_scripts_of_before(true);
    let stack = fs::read_to_string(place.path().join("site/stack.rhai")).unwrap();
    let place = Place::new().with("site/stack.rhai", &stack);
    let ran = place.pgscript(&["check", "upgrade.rhai", "--format", "json"]);
    assert_eq!(found(&ran), [("error".into(), "ejected.outdated".into())]);
    let hint = events(&ran)[0]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("it lacks what is called in it") && hint.contains("built-in:upgrade.rhai, line "), "{hint}");
    assert!(hint.contains("has no function `closed_network`"), "{hint}");
}

#[test]
fn scripts_of_before_with_all_their_modules_fit_and_check_and_run_still_say_what_they_lack() {
    let place = with_scripts_of_before(true);
    let ran = place.pgscript(&["check", "upgrade.rhai", "--format", "json"]);
    assert_eq!((ran.code, found(&ran)), (0, vec![("warning".into(), "ejected.unnoted".into())]));
    let finding = &events(&ran)[0];
    assert!(finding["message"].as_str().unwrap().contains("site/wayback.rhai"), "{finding}");
    assert!(finding["hint"].as_str().unwrap().contains("the new server is proved on a volume of its own"), "{finding}");
    let place = place.with("main.rhai", IMPORTS);
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(ran.code == 0 && ran.stderr.contains("nothing notes which version of pgscript it came from"), "{ran:?}");
}

#[test]
fn with_a_note_the_answer_names_the_version_and_does_not_guess_what_was_meant() {
    let before = fs::read_to_string(with_scripts_of_before(false).path().join("site/upgrade.rhai")).unwrap();
    let now = format!("{before}docker::stopp(1);\n");
    let place = Place::new().ejected_before("upgrade.rhai", &before, &now);
    let ran = place.pgscript(&["check", "upgrade.rhai", "--format", "json"]);
    let expected = [("error", "ejected.outdated"), ("error", "check.unknown")];
    assert_eq!(found(&ran), expected.map(|(severity, code)| (severity.to_owned(), code.to_owned())));
    let (outdated, own) = (&events(&ran)[0], &events(&ran)[1]);
    assert!(outdated["message"].as_str().unwrap().ends_with(": it was ejected from version 0.0.9"), "{outdated}");
    assert!(!outdated["hint"].as_str().unwrap().contains("did you mean"), "{outdated}");
    assert_eq!(own["hint"], "did you mean `docker::stop`?", "what the site has written itself is not of before");
}

#[test]
fn check_and_run_say_that_the_shipped_one_has_moved_on_with_what_it_mends_and_what_to_type() {
    let place = ejected_before("upgrade.rhai");
    let ran = place.pgscript(&["check", "upgrade.rhai"]);
    let site = place.path().join("site/upgrade.rhai").display().to_string();
    let said = ran.stdout.replace(&site, "SITE");
    let head = "warning[ejected.moved_on]: ejected, and the shipped one has changed since: SITE (from version 0.0.9)\n";
    assert!(ran.code == 0 && said.starts_with(head), "{said}");
    assert!(said.contains("the shipped one mends:\n") && said.contains("- a backup is started once"), "{said}");
    assert!(said.contains("pgscript diff SITE\n"), "{said}");

    let place = ejected_before("verify.rhai").with("main.rhai", IMPORTS);
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(ran.code == 0 && ran.stdout.contains("done"), "it is run all the same: {ran:?}");
    assert!(ran.stderr.contains("the shipped one has changed since: "), "{ran:?}");
    assert!(ran.stderr.contains("site/verify.rhai (from version 0.0.9)"), "{ran:?}");
    let warned = events(&place.pgscript(&["run", "main.rhai", "--format", "json"]));
    assert!(warned.iter().any(|e| e["event"] == "warn" && e["text"].as_str().unwrap().contains("pgscript diff")));
}

#[test]
fn a_resumed_run_says_it_too() {
    let place = ejected_before("verify.rhai")
        .with("main.rhai", &format!("{IMPORTS}step(\"one\", || host::write(\"/nowhere/one\", \"\"));"));
    assert_eq!(place.pgscript(&["run", "main.rhai", "--keep"]).code, 1);
    let ran = place.pgscript(&["resume"]);
    assert!(ran.code == 1 && ran.stderr.contains("the shipped one has changed since: "), "{ran:?}");
}

#[test]
fn what_was_just_ejected_gives_no_warning_edited_or_not_and_neither_does_what_is_only_like_the_shipped_one() {
    let place = Place::new().with("site/verify.rhai", shipped("verify.rhai"));
    assert_eq!(place.pgscript(&["eject", "upgrade.rhai", "site"]).code, 0);
    let nothing = "upgrade.rhai: nothing found\n";
    assert_eq!(place.pgscript(&["check", "upgrade.rhai"]).stdout, nothing);
    let edited = format!("{}\n// of the site\n", shipped("upgrade.rhai"));
    let place = place.with("site/upgrade.rhai", &edited);
    assert_eq!(place.pgscript(&["check", "upgrade.rhai"]).stdout, nothing);
}

#[test]
fn the_sites_own_mistake_in_an_older_script_stays_a_finding_at_its_place() {
    let place = ejected_before("upgrade.rhai");
    let text = fs::read_to_string(place.path().join("site/upgrade.rhai")).unwrap();
    let place = place.with("site/upgrade.rhai", &format!("{text}docker::stopp(1);\n"));
    let ran = place.pgscript(&["check", "upgrade.rhai", "--format", "json"]);
    let expected = [("error", "check.unknown"), ("warning", "ejected.moved_on")];
    assert_eq!(found(&ran), expected.map(|(severity, code)| (severity.to_owned(), code.to_owned())));
    assert_eq!(events(&ran)[0]["line"], text.lines().count() + 1);
}

#[test]
fn a_note_that_can_not_be_read_is_a_warning_of_check_and_run_and_an_error_of_diff() {
    let place = ejected_before("verify.rhai")
        .with("main.rhai", IMPORTS)
        .with(&format!("site/{DIRECTORY}/verify.rhai.json"), "<<<<<<< HEAD\n");
    let ran = place.pgscript(&["check", "main.rhai"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("warning[ejected.note]"), "{ran:?}");
    let ran = place.pgscript(&["run", "main.rhai"]);
    assert!(ran.code == 0 && ran.stderr.contains("verify.rhai.json"), "{ran:?}");
    let ran = place.pgscript(&["diff"]);
    assert!(ran.code == 1 && error(&ran).starts_with("error[ejected.note]"), "{ran:?}");
}

#[test]
fn diff_shows_the_sites_changes_and_those_of_the_shipped_one_apart() {
    let place = ejected_before("upgrade.rhai");
    let ran = place.pgscript(&["diff", "upgrade"]);
    assert_eq!(ran.code, 1);
    let site = place.path().join("site").display().to_string();
    let said = ran.stdout.replace(&site, "SITE").replace(VERSION, "VERSION");
    assert!(said.starts_with("SITE/upgrade.rhai: edited, and the shipped one has changed since 0.0.9\n"), "{said}");
    assert!(said.contains("the shipped one mends:\n  - "), "{said}");
    let (yours, since) = said.split_once("what is shipped otherwise since:\n").unwrap();
    let head = "what you have changed:\n--- upgrade.rhai (ejected from 0.0.9)\n+++ SITE/upgrade.rhai\n@@ ";
    assert!(yours.contains(head) && yours.contains("\n+// of the site\n"), "{yours}");
    let first = shipped("upgrade.rhai").lines().next().unwrap();
    assert!(since.starts_with("--- upgrade.rhai (ejected from 0.0.9)\n+++ upgrade.rhai (shipped with VERSION)\n@@ "));
    assert!(since.contains(&format!("\n+{first}\n")) && !since.contains("of the site"), "{since}");
    let merge = "  git merge-file SITE/upgrade.rhai SITE/.pgscript-ejected/upgrade.rhai NEW-DIRECTORY/upgrade.rhai\n  \
                 pgscript eject --merged upgrade.rhai SITE\n";
    assert!(since.ends_with(merge), "{since}");
}

#[test]
fn diff_of_an_unedited_older_script_says_that_it_can_go() {
    let place = ejected_before("upgrade.rhai");
    let base = fs::read_to_string(place.path().join(format!("site/{DIRECTORY}/upgrade.rhai"))).unwrap();
    let said = place.with("site/upgrade.rhai", &base).pgscript(&["diff", "upgrade.rhai"]).stdout;
    assert!(said.contains(": not edited, but the shipped one has changed since 0.0.9\n"), "{said}");
    assert!(!said.contains("what you have changed") && said.contains("what is shipped otherwise since:"), "{said}");
    assert!(said.contains("nothing in it is yours: remove it, and the shipped one is taken:  rm "), "{said}");
}

#[test]
fn diff_without_a_note_shows_the_file_against_the_shipped_one_of_today() {
    let place = with_scripts_of_before(false);
    let ran = place.pgscript(&["diff", "upgrade.rhai"]);
    assert!(
        ran.code == 1 && ran.stdout.contains(": nothing notes which version of pgscript it came from\n"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("\nyour file against the shipped one of today:\n--- upgrade.rhai (shipped with "));
}

#[test]
fn diff_finds_what_is_taken_instead_of_shipped_files_here_and_in_the_sites_directory() {
    let place = Place::new().with("main.rhai", "").with("site/own.rhai", "");
    let ran = place.pgscript(&["diff"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("nothing here or in "), "{ran:?}");
    let ran = place.pgscript(&["diff", "upgrade.rhai"]);
    assert!(ran.code == 0 && ran.stdout.ends_with("takes the place of the shipped upgrade.rhai\n"), "{ran:?}");
    assert_eq!(place.pgscript(&["eject", "upgrade.rhai", "."]).code, 0);
    assert_eq!(place.pgscript(&["eject", "stack.rhai", "site"]).code, 0);
    let ran = place.pgscript(&["diff"]);
    assert_eq!((ran.code, ran.stdout.matches(": is what is shipped with ").count()), (0, 2), "{}", ran.stdout);
    let place = place.with("site/stack.rhai", "edited\n");
    let diff = place.pgscript(&["diff", "--format", "json"]);
    let files = events(&diff);
    let shown: Vec<_> = files.iter().map(|file| (&file["name"], &file["is_edited"], &file["has_moved_on"])).collect();
    let no = &json!(false);
    assert_eq!(shown, [(&json!("upgrade.rhai"), no, no), (&json!("stack.rhai"), &json!(true), no)]);
    assert_eq!((diff.code, &files[1]["ejected_from"]), (1, &json!(VERSION)));
    assert!(files[1]["changed_here"].as_str().unwrap().ends_with("\n+edited"));
}

#[test]
fn diff_of_a_script_that_is_the_sites_own_is_a_usage_error() {
    let place = Place::new().with("main.rhai", "");
    let ran = place.pgscript(&["diff", "main.rhai"]);
    assert!(ran.code == 2 && error(&ran).starts_with("error[diff.not_shipped]"), "{ran:?}");
    assert_eq!(place.pgscript(&["diff", "missing.rhai"]).code, 2);
}

#[test]
fn what_was_merged_by_hand_is_noted_and_no_script_is_written() {
    let place = ejected_before("upgrade.rhai").with("site/stack.rhai", "edited");
    let merged = format!("// of the site\n{}", shipped("upgrade.rhai"));
    let place = place.with("site/upgrade.rhai", &merged);
    assert_eq!(place.pgscript(&["eject", "--merged", "verify.rhai", "site"]).code, 2);
    let ran = place.pgscript(&["eject", "--merged", "upgrade.rhai", "site"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("site/upgrade.rhai: has what is shipped with {VERSION}\n")));
    assert_eq!(fs::read_to_string(place.path().join("site/upgrade.rhai")).unwrap(), merged);
    let diff = place.pgscript(&["diff", "upgrade.rhai"]).stdout;
    assert!(diff.contains(&format!(": edited; the shipped one is still that of {VERSION}\n")), "{diff}");
    let all = place.pgscript(&["eject", "--merged", "--all", "site"]);
    assert_eq!((all.code, all.stdout.lines().count()), (0, 2), "{}", all.stdout);
}
