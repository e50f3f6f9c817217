//! A drill finds what is wrong with a script, in the step where it is; and nothing is wrong with the shipped ones.

mod cures;
#[cfg(feature = "planted-faults")]
mod planted;
mod site;

use pgscript::practice::drill::Plan;
use site::{Drill, edit, edited, finds, not_kept_up, stuck, upgrade};

const TO: &str = site::UPGRADE[0];
const DIR: &str = site::UPGRADE[1];
const EVERY: Plan<'_> = Plan::EveryMoment { step: "" };
const DUMP: &str = "strategy=dump";
const COPY: &str = "strategy=pg_upgrade";
const UPGRADE: &str = "scripts/upgrade.rhai";
const NEW_SERVER: &str = "stdlib/new_server.rhai";
const PRIMERO: &str = "stdlib/primero.rhai";
const SETTINGS: &str = "stdlib/settings.rhai";
const STACK: &str = "stdlib/stack.rhai";
const WAYBACK: &str = "stdlib/wayback.rhai";

/// Of the histories that `make test-full` plays, `make test` plays one in so many.
const OTHERS_ONE_IN: usize = 127;
const TWICE_ONE_IN: usize = 400;

#[test]
fn killed_at_every_instant_the_upgrade_by_a_dump_goes_forward_and_back() {
    site::shipped("drill of the dump", upgrade(&[TO, DIR, DUMP]), EVERY);
}

#[test]
fn killed_at_every_instant_the_upgrade_by_a_copy_goes_forward_and_back() {
    site::shipped("drill of the copy", upgrade(&[TO, DIR, COPY]), EVERY);
}

/// Kills, failures, power cuts and other people's clean-ups, two in a row.
#[test]
fn histories_at_random_come_to_a_good_end() {
    site::shipped("histories of the dump", upgrade(&[TO, DIR, DUMP]), Plan::Random { seed: 11, histories: 150 });
    site::shipped("histories of the copy", upgrade(&[TO, DIR, COPY]), Plan::Random { seed: 12, histories: 150 });
}

#[test]
fn killed_at_every_instant_a_preflight_leaves_nothing() {
    let set = [TO, DIR];
    site::shipped("drill of the preflight", Drill { script: "preflight.rhai", set: &set, after: None }, EVERY);
}

#[test]
fn killed_at_every_instant_a_rehearsal_leaves_nothing() {
    for strategy in [DUMP, COPY] {
        let set = [TO, DIR, strategy];
        site::shipped("drill of the rehearsal", Drill { script: "rehearse.rhai", set: &set, after: None }, EVERY);
    }
}

/// Of an upgrade by a dump, which has more to remove.
#[test]
fn killed_at_every_instant_a_cleanup_removes_what_may_go() {
    let earlier = upgrade(&[TO, DIR, DUMP]);
    site::shipped("drill of the cleanup", Drill { script: "cleanup.rhai", set: &[], after: Some(&earlier) }, EVERY);
}

#[test]
fn killed_at_every_instant_the_way_back_without_the_journal_brings_the_old_server() {
    // The way back is the same by both.
    for &strategy in if cfg!(feature = "full-matrix") { &[COPY, DUMP][..] } else { &[COPY] } {
        let set = [TO, DIR, strategy];
        let earlier = upgrade(&set);
        site::shipped(
            "drill of the rollback",
            Drill { script: "rollback.rhai", set: &[], after: Some(&earlier) },
            EVERY,
        );
    }
}

/// Others at each instant, and two kills in a row. One in so many is for every change; all of them take minutes.
#[test]
fn whatever_others_do_the_upgrade_goes_forward_or_back() {
    let one_in = |few: usize| if cfg!(feature = "full-matrix") { 1 } else { few };
    let others = |few| Plan::Others { step: "", only: "", one_in: one_in(few) };
    site::shipped("others in the dump", upgrade(&[TO, DIR, DUMP]), others(OTHERS_ONE_IN));
    site::shipped("others in the copy", upgrade(&[TO, DIR, COPY]), others(OTHERS_ONE_IN + 4));
}

#[test]
fn killed_twice_the_upgrade_goes_forward_or_back() {
    let one_in = if cfg!(feature = "full-matrix") { 1 } else { TWICE_ONE_IN };
    site::shipped("two kills in the dump", upgrade(&[TO, DIR, DUMP]), Plan::Twice { step: "", one_in });
    site::shipped("two kills in the copy", upgrade(&[TO, DIR, COPY]), Plan::Twice { step: "", one_in });
}

/// The guard lets the volume go, because its backup was verified; there is nothing left to dump.
#[test]
fn the_old_server_is_given_up_before_it_was_dumped() {
    let edits = [edit(UPGRADE, "// Documented step 3, by a dump.\n", "give_up(way, plan);\n")];
    let drilled = edited(&edits, &[DUMP, "backup=before", "keep_volume=no"], "dump the cluster");
    finds(&drilled, "dump the cluster", stuck("docker.not_found"));
}

/// Found although the script itself does not look any more whether all is back.
#[test]
fn no_undo_leaves_the_application_down() {
    let edits = [
        edit(
            UPGRADE,
            "    fenced\n}, #{ repeatable: true, undo: || wayback::start_application(way) });",
            "    fenced\n}, #{ repeatable: true, undo: false });",
        ),
        edit(UPGRADE, "    wayback::look(way);\n", ""),
    ];
    let drilled = edited(&edits, &[DUMP], "stop the application");
    finds(&drilled, "stop the application", not_kept_up("application has restart policy no"));
}

#[test]
fn the_dump_is_taken_of_the_new_empty_server() {
    let look = "        let before = psql::content(source, #{ level: plan.level, jobs: jobs });\n        let dump";
    let of_new = "        source = psql::server(docker::container(new_server::name(record)), #{ user: site.user });\n";
    let drilled = edited(&[edit(UPGRADE, look, &format!("{of_new}{look}"))], &[DUMP], "compare old and new");
    finds(&drilled, "compare old and new", stuck("verify.nothing_compared"));
}

#[test]
fn the_application_is_not_fenced() {
    let edits = [
        edit(STACK, "    hold(containers);\n    let here", "    let here"),
        edit(STACK, "    docker::halt(here.filter(is_up), #{ timeout: patience });\n", ""),
    ];
    let drilled = edited(&edits, &[DUMP], "stop the application");
    finds(&drilled, "stop the application", stuck("postgres.sessions_connected"));
}

#[test]
fn the_backup_is_taken_while_the_server_runs() {
    let stop = "if plan.backup == \"before\" || !is_dump {\n    step(\"stop the server\"";
    let back_up = "if plan.backup == \"before\" { back_up(plan.volume.name, plan, false); }\n";
    let edits = [edit(UPGRADE, back_up, ""), edit(UPGRADE, stop, &format!("{back_up}{stop}"))];
    let drilled = edited(&edits, &[DUMP, "backup=before"], "back up the volume");
    finds(&drilled, "back up the volume / copy", stuck("volume.in_use"));
}

/// On a site that takes the new image's rules, which want SCRAM; nobody waits there for the application.
#[test]
fn the_password_step_is_forgotten() {
    let of_image = edit(SETTINGS, "!name.contains(\"/\")", "name == \"pg_ident.conf\"");
    let set =
        "        psql::set_password(server, role, password);\n        psql::login(server, role, password, database);\n";
    let wait = "    stack::wait_application(now.database, psql::server(now.database, #{ user: site.user }), \
                application_wait,\n        dir + \"/application.json\", plan.refused);\n";
    let drilled = edited(std::slice::from_ref(&of_image), &[DUMP], "prove the login");
    assert!(drilled.findings.is_empty(), "where the step is there: {:#?}", drilled.findings);
    let drilled = edited(&[of_image, edit(PRIMERO, set, ""), edit(UPGRADE, wait, "")], &[DUMP], "prove the login");
    finds(&drilled, "deploy the new version", not_kept_up("application is not let in"));
}

/// What was written since the upgrade would go with it; the guard knows.
#[test]
fn the_way_back_removes_the_wrong_volume() {
    let keep = "    volume::keep(volume::move(current, replaced));\n";
    let edits = [edit(WAYBACK, keep, "    volume::unkeep(current);\n    volume::remove(current);\n")];
    let drilled = edited(&edits, &[COPY], "put the old server aside");
    finds(&drilled, "put the old server aside", stuck("run.partly_put_back"));
}

/// Killed after that, the step that they were for begins again.
#[test]
fn the_old_programs_are_cleaned_up_too_early() {
    let end = "        let started_at = docker::inspect(held).started_at;\n        #{ before";
    let clean_up = "        step(\"clean up\", || new_server::remove_programs(record), \
                    #{ repeatable: true, undo: false });\n";
    let drilled = edited(&[edit(UPGRADE, end, &format!("{clean_up}{end}"))], &[COPY], "upgrade the copy / clean up");
    finds(&drilled, "upgrade the copy / clean up", stuck("volume.not_found"));
}

#[test]
fn what_a_step_gave_is_lost_on_resume() {
    let value = "#{ dump: dump, before: before, created: postgres::as_created(source) }";
    let edits = [
        edit(UPGRADE, "let dumped = if is_dump {", "let dumped = ();\nif is_dump {"),
        edit(UPGRADE, value, &format!("dumped = {value};")),
    ];
    let drilled = edited(&edits, &[DUMP], "verify the dump");
    finds(&drilled, "verify the dump", stuck("script.error"));
}

#[test]
fn restart_policies_are_not_put_back() {
    let put_back = "        if docker::inspect(now).restart_policy != policy { set_policy(now, policy); }\n";
    let drilled = edited(&[edit(STACK, put_back, "")], &[COPY], "start the application");
    finds(&drilled, "stop the application", not_kept_up("worker has restart policy no"));
}
