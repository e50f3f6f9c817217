//! Faults of recovery that were found on the running program: the shipped script with its cure taken out again is found
//! by a drill, at the instant at which the fault was seen, and the shipped script is not. Each test is called as its
//! fault; `docs/testing.md` lists those that no drill can show.

use pgscript::practice::Broken;
use pgscript::practice::drill::Plan;
use pgscript::world::sim::compose::Service;
use pgscript::world::sim::{self, State};

use crate::drill::site::{Edit, drilled_in, edit, finds, not_kept_up, stuck};
use crate::drill::{DUMP, NEW_SERVER, STACK, UPGRADE, WAYBACK};

/// One thing that others do, at each instant of a step; of the histories one in so many.
fn at(step: &'static str, only: &'static str, one_in: usize) -> Plan<'static> {
    Plan::Others { step, only, one_in }
}

/// Drills both scripts by the same histories: this is found in the one before its cure, in that step, and nothing in
/// the shipped one.
#[track_caller]
fn cured(world: &State, edits: &[Edit], strategy: &str, plan: Plan<'_>, step: &str, is_it: impl Fn(&Broken) -> bool) {
    finds(&drilled_in(world.clone(), edits, &[strategy], plan), step, is_it);
    let today = drilled_in(world.clone(), &[], &[strategy], plan);
    assert!(today.findings.is_empty(), "the shipped script: {:#?}", today.findings);
}

/// The deployment with a service that is made otherwise.
fn with(service: &str, make: impl FnOnce(&mut Service)) -> State {
    let mut world = sim::reference(13);
    let stack = world.stacks.get_mut("primero").unwrap();
    make(stack.services.iter_mut().find(|known| known.name == service).unwrap());
    world.compose_up("primero", None).unwrap();
    world
}

fn is_lost(broken: &Broken) -> bool {
    matches!(broken, Broken::RowsLost { .. })
}

/// The line by which a write to the held server is seen.
fn unseen() -> Edit {
    edit(UPGRADE, "        postgres::nothing_written(source, held, plan.volume.name, writes);\n", "")
}

#[test]
fn write_during_dump() {
    let plan = at("dump the cluster", "insert", 1);
    cured(&sim::reference(13), &[unseen()], DUMP, plan, "dump the cluster", is_lost);
}

#[test]
fn published_port() {
    let world = with("postgres", |service| service.ports.push("127.0.0.1:15432:5432".into()));
    let edits =
        [unseen(), edit(STACK, "        internal: true,\n", ""), edit(STACK, " && !found.internal", " && false")];
    cured(&world, &edits, DUMP, at("dump the cluster", "insert_through_port", 1), "dump the cluster", is_lost);
}

/// The fence had stopped only what runs.
#[test]
fn crash_loop_blocks_rollback() {
    let is_up = "|c| [\"running\", \"restarting\", \"paused\"].contains(docker::inspect(c).state)";
    let edits = [edit(STACK, is_up, "|c| docker::inspect(c).running")];
    let plan = at("start the application", "crash_loop", 2);
    cured(&sim::reference(13), &edits, DUMP, plan, "start the application", stuck("run.partly_put_back"));
}

/// The container of the old server's name was the old server, whatever it was.
#[test]
fn foreign_deploy_in_the_dump() {
    let edits = [
        edit(
            STACK,
            "            if is_made_of(container, definition) { return container; }\n",
            "            return container;\n",
        ),
        edit(WAYBACK, "    make_room(way);\n", ""),
    ];
    let plan = at("dump the cluster", "compose_up", 5);
    cured(&sim::reference(13), &edits, DUMP, plan, "dump the cluster", stuck("run.partly_put_back"));
}

/// A new server that was not on the disk was taken for one.
#[test]
fn half_made_cluster() {
    let sync = "    let out = docker::run(#{ image: plan.image, user: owner_of(plan.record, container, data), \
                network: \"none\",\n        entrypoint: [\"initdb\", \"--sync-only\", \"-D\", data], \
                mounts: own_mounts(plan.record, container) });\n    if out.exit_code != 0 { \
                fail(\"new_server.sync\", `the new cluster can't be written to its disk: ${out.stderr}`); }\n";
    let edits = [edit(NEW_SERVER, sync, "")];
    let is_it = |broken: &Broken| *broken == Broken::NoCompleteCopy;
    let plan = at("stop the new server", "power_cut", 1);
    cured(&sim::reference(13), &edits, DUMP, plan, "start the application", is_it);
}

/// It said that all was back, and did not look.
#[test]
fn put_back_while_down() {
    let edits = [
        edit(WAYBACK, "    // Somebody may have stopped it meanwhile.\n    if !runs(way) { start_server(way); }\n", ""),
        edit(STACK, "    troubles += not_as_before(known);\n", ""),
        edit(UPGRADE, "    wayback::look(way);\n", ""),
        edit(UPGRADE, "    if !wayback::runs(way) { wayback::start_server(way); }\n", ""),
    ];
    let plan = at("stop the application", "stop_container", 2);
    let is_it = not_kept_up("postgres is exited");
    cured(&sim::reference(13), &edits, DUMP, plan, "stop the application", is_it);
}

/// A network was joined again under the aliases alone.
#[test]
fn static_address() {
    let world = with("postgres", |service| service.ipv4_address = "172.18.0.40".into());
    let edits = [edit(STACK, "    attachment.get(\"endpoint\") ?? #{}\n", "    #{}\n")];
    let is_it = |broken: &Broken| matches!(broken, Broken::OtherEnd { .. });
    let plan = Plan::EveryMoment { step: "prove the login" };
    cured(&world, &edits, DUMP, plan, "prove the login", is_it);
}

/// A container that was made again shared the network of one that is gone.
#[test]
fn sidecar_network() {
    let world = with("solr", |service| service.network_mode = "service:application".into());
    let edits = [edit(STACK, ", replaced: successors(known) })", " })")];
    let plan = at("verify the dump", "prune_containers", 2);
    cured(&world, &edits, DUMP, plan, "verify the dump", stuck("run.partly_put_back"));
}
