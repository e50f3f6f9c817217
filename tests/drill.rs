//! A drill finds what is wrong with a script, in the step where it is; and nothing is wrong with the shipped ones.

#[path = "drill/site.rs"]
mod site;

use pgscript::practice::Broken;

use site::{Edit, edited, finds, not_kept_up, stuck};

const DUMP: &str = "strategy=dump";
const COPY: &str = "strategy=pg_upgrade";
const UPGRADE: &str = "scripts/upgrade.rhai";
const STACK: &str = "stdlib/stack.rhai";
const WAYBACK: &str = "stdlib/wayback.rhai";

#[test]
fn the_old_server_is_given_up_before_it_was_dumped() {
    let edits =
        [Edit { file: UPGRADE, shipped: "// Documented step 3, by a dump.\n", edited: "give_up(way, plan);\n" }];
    let drilled = edited(&edits, &[DUMP, "backup=before", "keep_volume=no"], "put the old server aside");
    finds(&drilled, "dump the cluster", stuck("docker.not_found"));
}

#[test]
fn no_undo_leaves_the_application_down() {
    let edits = [
        Edit { file: UPGRADE, shipped: "    wayback::look(way);\n", edited: "" },
        Edit {
            file: UPGRADE,
            shipped: "    fenced\n}, #{ repeatable: true, undo: || wayback::start_application(way) });",
            edited: "    fenced\n}, #{ repeatable: true, undo: false });",
        },
    ];
    let drilled = edited(&edits, &[DUMP], "stop the application");
    finds(&drilled, "stop the application", not_kept_up("application"));
}

#[test]
fn the_dump_is_taken_of_the_new_empty_server() {
    let edits = [
        Edit {
            file: UPGRADE,
            shipped: "        let before = psql::content(source, #{ level: plan.level, jobs: jobs });\n        let dump",
            edited: "        source = psql::server(docker::container(new_server::name(record)), #{ user: site.user });\n        let before = psql::content(source, #{ level: plan.level, jobs: jobs });\n        let dump",
        },
        Edit { file: "stdlib/verify.rhai", shipped: "if before.tables == 0 {", edited: "if false {" },
    ];
    let drilled = edited(&edits, &[DUMP], "dump the cluster");
    finds(&drilled, "compare old and new", stuck("verify.different"));
}

#[test]
fn the_application_is_not_fenced() {
    let edits = [
        Edit {
            file: STACK,
            shipped: "    hold(containers);\n    let here = containers",
            edited: "    let here = containers",
        },
        Edit { file: STACK, shipped: "    docker::halt(here.filter(is_up), #{ timeout: patience });\n", edited: "" },
    ];
    let drilled = edited(&edits, &[DUMP], "stop the application");
    finds(&drilled, "stop the application", stuck("postgres.sessions_connected"));
}

#[test]
fn the_backup_is_taken_while_the_server_runs() {
    let edits = [
        Edit {
            file: UPGRADE,
            shipped: "if plan.backup == \"before\" { back_up(plan.volume.name, plan, false); }\n",
            edited: "",
        },
        Edit {
            file: UPGRADE,
            shipped: "if plan.backup == \"before\" || !is_dump {",
            edited: "back_up(plan.volume.name, plan, false);\nif plan.backup == \"before\" || !is_dump {",
        },
    ];
    let drilled = edited(&edits, &[DUMP, "backup=before"], "back up the volume");
    finds(&drilled, "back up the volume/copy", stuck("volume.in_use"));
}

#[test]
fn the_password_step_is_forgotten() {
    let edits = [
        Edit { file: UPGRADE, shipped: "    primero::prove_login(target, fresh, site.password);\n", edited: "" },
        Edit {
            file: UPGRADE,
            shipped: "    primero::prove_login(psql::server(now.database, #{ user: site.user }), now.database, site.password);\n",
            edited: "",
        },
        Edit {
            file: UPGRADE,
            shipped: "    stack::wait_application(now.database, psql::server(now.database, #{ user: site.user }), application_wait,\n        dir + \"/application.json\", plan.refused);\n",
            edited: "",
        },
    ];
    let drilled = edited(&edits, &[COPY], "start the application");
    finds(&drilled, "start the application", not_kept_up("application"));
}

#[test]
fn the_way_back_removes_the_wrong_volume() {
    let edits = [Edit {
        file: WAYBACK,
        shipped: "    volume::keep(current);\n    volume::keep(volume::move(current, replaced));\n",
        edited: "    volume::remove(current);\n",
    }];
    let drilled = edited(&edits, &[COPY], "put the old server aside");
    finds(&drilled, "put the old server aside", |broken| *broken == Broken::NoCompleteCopy);
}

#[test]
fn the_old_programs_are_cleaned_up_too_early() {
    let edits = [Edit {
        file: UPGRADE,
        shipped: "        let started_at = docker::inspect(held).started_at;\n        #{",
        edited: "        let started_at = docker::inspect(held).started_at;\n        new_server::remove_programs(record);\n        #{",
    }];
    let drilled = edited(&edits, &[COPY], "upgrade the copy");
    finds(&drilled, "upgrade the copy", stuck("docker.not_found"));
}

#[test]
fn what_a_step_gave_is_lost_on_resume() {
    let edits = [
        Edit { file: UPGRADE, shipped: "let dumped = if is_dump {", edited: "let dumped = ();\nif is_dump {" },
        Edit {
            file: UPGRADE,
            shipped: "        #{ dump: dump, before: before, created: postgres::as_created(source) }",
            edited: "        dumped = #{ dump: dump, before: before, created: postgres::as_created(source) };\n        ()",
        },
    ];
    let drilled = edited(&edits, &[DUMP], "verify the dump");
    finds(&drilled, "verify the dump", stuck("script"));
}

#[test]
fn restart_policies_are_not_put_back() {
    let edits = [Edit {
        file: STACK,
        shipped: "        if docker::inspect(now).restart_policy != policy { set_policy(now, policy); }\n",
        edited: "",
    }];
    let drilled = edited(&edits, &[COPY], "start the application");
    finds(&drilled, "start the application", not_kept_up("restart policy no"));
}
