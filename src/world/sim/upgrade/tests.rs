use super::super::testing::*;
use super::super::{Context, Servers};
use super::*;
use crate::world::content::{Beside, Level, compare};
use crate::world::postgres::Postgres;

const COPY_VOLUME: &str = "copy";
const NAME: &str = "primero-copy";

fn options(transfer: Transfer) -> UpgradeOptions {
    let (image, programs) = ("postgres:17".to_owned(), "programs".to_owned());
    UpgradeOptions { image, programs, transfer, jobs: 1, place: String::new() }
}

fn files() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let rules = "local all all trust\nhost replication all 127.0.0.1/32 trust\nhost all all all md5\n";
    for (name, text) in [("postgresql.conf.added", "\nwork_mem = '8MB'\n"), ("pg_hba.conf", rules)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A copy that has caught up with its stopped server, with all that an upgrade needs beside it.
fn ready(mut world: State) -> (Context, ClusterCopy) {
    world.cluster_mut(SERVER).unwrap().settings.insert("work_mem".into(), "8MB".into());
    let context = context(world);
    let copies = Copies::new(context.clone());
    let copying = CopyOptions { name: NAME.into(), max_rate: None, cpu_shares: None };
    let copy = copies.copy(&server(SERVER), COPY_VOLUME, &copying).unwrap();
    copies.follow(&copy, &server(SERVER)).unwrap();
    copies.programs("postgres:15", "programs").unwrap();
    copies.initdb(&copy, "postgres:17", "programs").unwrap();
    copies.settings(&copy, &mut files().as_slice()).unwrap();
    (context, copy)
}

fn promoted(context: &Context, copy: &ClusterCopy) {
    context.sim.act("stop", |state| state.stop(SERVER)).unwrap();
    let directory = "/var/lib/postgresql/data".to_owned();
    let stopped = Stopped { volume: VOLUME.into(), mount: directory.clone(), directory };
    Copies::new(context.clone()).promote(copy, Some(&stopped)).unwrap();
}

/// The new server runs on the copy's volume.
fn start(context: &Context) {
    let start = |state: &mut State| {
        let container = state.container_mut(NEW).unwrap();
        container.state = "exited".into();
        container.mounts[0].name = COPY_VOLUME.into();
        state.start(NEW)
    };
    context.sim.act("start primero-new", start).unwrap();
}

#[test]
fn an_upgraded_copy_holds_what_the_old_cluster_held_in_the_files_of_the_copy() {
    let (context, copy) = ready(state());
    let (copies, servers) = (Copies::new(context.clone()), Servers::new(context.clone()));
    copies.check_upgrade(&copy, &options(Transfer::Link)).unwrap();
    let before = servers.content(&server(SERVER), Level::Content, 1).unwrap();
    promoted(&context, &copy);
    let done = copies.upgrade(&copy, &options(Transfer::Link)).unwrap();
    assert_eq!((done.same, done.others.len()), (3, 1));
    assert_ne!(done.system_identifier, before.system_identifier);
    start(&context);
    let after = servers.content(&server(NEW), Level::Content, 1).unwrap();
    let found = compare(&before, &after, Beside::default()).unwrap();
    assert_eq!(found.differences, []);
    assert_eq!(copies.made_anew(&server(NEW), &done.others).unwrap(), Vec::<String>::new());
    let tree = context.sim.read(|state| Ok(state.volumes[COPY_VOLUME].tree.clone())).unwrap();
    assert_eq!(tree.clusters.keys().collect::<Vec<_>>(), [""]);
    assert_eq!((tree.clusters[""].relations_of, tree.clusters[""].major), (7_001, 17));
    assert!(context.sim.read(|state| Ok(state.container(&copy.tools()).is_none())).unwrap());
}

#[test]
fn files_that_were_copied_are_not_those_of_the_copy() {
    let (context, copy) = ready(state());
    promoted(&context, &copy);
    let copies = Copies::new(context.clone());
    let done = copies.upgrade(&copy, &options(Transfer::Copy)).unwrap();
    assert_eq!((done.same, done.others.len()), (0, 4));
    start(&context);
    assert_eq!(copies.made_anew(&server(NEW), &done.others).unwrap().len(), 3);
}

#[test]
fn a_copy_that_was_not_shut_down_is_not_upgraded() {
    let (context, copy) = ready(state());
    let copies = Copies::new(context.clone());
    let refused = |context: &Context| {
        let error = Copies::new(context.clone()).upgrade(&copy, &options(Transfer::Link)).unwrap_err();
        assert_eq!(error.code, "pg_upgrade.failed");
        error.message
    };
    assert!(refused(&context).contains("postmaster servicing"));
    context.sim.arrange(|state| state.stop(NAME)).unwrap().unwrap();
    assert!(refused(&context).contains("in recovery mode"));
    copies.check_upgrade(&copy, &options(Transfer::Link)).unwrap();
}

#[test]
fn killed_in_the_middle_the_copy_is_of_no_more_use_and_is_taken_anew() {
    let (context, copy) = ready(state());
    promoted(&context, &copy);
    let world = context.sim.arrange(|state| state.clone()).unwrap();
    let mut spent = 0;
    let upgrade = |context: &Context| Copies::new(context.clone()).upgrade(&copy, &options(Transfer::Link)).map(|_| ());
    killed_at_each(&world, upgrade, |at, context| {
        let tree = context.sim.read(|state| Ok(state.volumes[COPY_VOLUME].tree.clone())).unwrap();
        let is_whole = tree.clusters.get("").is_some_and(|cluster| cluster.rows().count() == 5);
        let is_untouched = tree.clusters.get(OLD).is_some_and(|cluster| !cluster.is_damaged);
        assert!(is_whole || is_untouched || tree.is_partial, "{at}");
        if is_whole {
            return;
        }
        spent += usize::from(!is_untouched);
        let copies = Copies::new(context.clone());
        let directory = "/var/lib/postgresql/data".to_owned();
        let stopped = Stopped { volume: VOLUME.into(), mount: directory.clone(), directory };
        copies.copy_stopped(&copy, &stopped).unwrap();
        copies.initdb(&copy, "postgres:17", "programs").unwrap();
        copies.follow(&copy, &server(SERVER)).unwrap();
        copies.promote(&copy, Some(&stopped)).unwrap();
        upgrade(context).unwrap_or_else(|e| panic!("{at}: {e}"));
    });
    assert!(spent >= 4, "{spent}");
}

#[test]
fn what_is_in_the_way_is_found_before() {
    let (context, copy) = ready(state());
    let refused = |change: fn(&mut State)| {
        let context = after_kill(&context);
        context.sim.arrange(change).unwrap();
        Copies::new(context).check_upgrade(&copy, &options(Transfer::Link)).unwrap_err().message
    };
    let lost = refused(|state| {
        let super::super::state::ImageKind::Postgres { extensions, .. } = &mut state.images[1].kind else { panic!() };
        extensions.clear();
    });
    assert!(lost.contains("$libdir/pg_trgm"), "{lost}");
    assert!(refused(|state| _ = state.volumes.remove("programs")).contains("/old/pgscript/bin/postgres"));
    let checksums = |state: &mut State| {
        let tree = &mut state.volumes.get_mut(COPY_VOLUME).unwrap().tree;
        tree.clusters.get_mut(NEW_CLUSTER).unwrap().checksums = true;
    };
    assert!(refused(checksums).contains("checksums"));
    let swap = Copies::new(context).check_upgrade(&copy, &options(Transfer::Swap)).unwrap_err();
    assert!(swap.message.contains("--swap"));
}

/// A server of that major on the copy's volume.
fn serve(context: &Context, major: u32, destination: &str) -> Server {
    let mount = Mount { destination: destination.into(), ..mounted(COPY_VOLUME) };
    let spec = ContainerSpec {
        name: Some("new".into()),
        image: Some(format!("pgscript-test/postgres:{major}")),
        mounts: vec![mount],
        env: vec!["POSTGRES_USER=primero".into()],
        ..ContainerSpec::default()
    };
    let start = |state: &mut State| {
        let id = state.create(&spec)?;
        state.start(&id).map(|()| id)
    };
    let container = context.sim.act("start new", start).unwrap();
    Server { container, container_name: "new".into(), database: "primero_production".into(), ..server(NEW) }
}

#[test]
fn the_reference_stack_is_upgraded_while_its_application_writes_and_loses_nothing() {
    let layouts = [
        (13, 17, Transfer::Link, "", "/var/lib/postgresql/data"),
        (15, 18, Transfer::Swap, "18/docker", "/var/lib/postgresql"),
    ];
    for (from, to, transfer, place, destination) in layouts {
        let context = context(super::super::reference(from));
        let (copies, servers) = (Copies::new(context.clone()), Servers::new(context.clone()));
        let id = context.sim.read(|state| Ok(state.container("primero-postgres-1").unwrap().id.clone())).unwrap();
        let old = Server { container: id, database: "primero_production".into(), ..server(SERVER) };
        copies.can_replicate(&old).unwrap();
        let copying = CopyOptions { name: NAME.into(), max_rate: None, cpu_shares: None };
        let copy = copies.copy(&old, COPY_VOLUME, &copying).unwrap();
        let standby = copies.follow(&copy, &old).unwrap();
        copies.programs(&copy.image_id, "programs").unwrap();
        let image = format!("pgscript-test/postgres:{to}");
        copies.initdb(&copy, &image, "programs").unwrap();
        copies.settings(&copy, &mut files().as_slice()).unwrap();
        let programs = "programs".to_owned();
        let options = UpgradeOptions { image, programs, transfer, jobs: 1, place: place.into() };
        copies.check_upgrade(&copy, &options).unwrap();
        super::super::bulk::wait(&context, 5000).unwrap();
        context.sim.act("stop", |state| state.stop(&old.container)).unwrap();
        let (stopped, checkpoint) = context
            .sim
            .read(|state| {
                let directory = state.data_directory(&old.container).unwrap();
                let stopped = Stopped { volume: VOLUME.into(), mount: directory.clone(), directory };
                let control = state.cluster(&old.container).unwrap().control.checkpoint;
                Ok((stopped, crate::world::control::lsn(control)))
            })
            .unwrap();
        copies.caught_up(&copy, &checkpoint).unwrap();
        let before = servers.content(&standby, Level::Content, 1).unwrap();
        copies.promote(&copy, Some(&stopped)).unwrap();
        let done = copies.upgrade(&copy, &options).unwrap();
        let new = serve(&context, to, destination);
        let ready = servers.wait_ready(&new, std::time::Duration::from_secs(5)).unwrap();
        assert_eq!(ready.major, to);
        let after = servers.content(&new, Level::Content, 1).unwrap();
        assert_eq!(compare(&before, &after, Beside::default()).unwrap().differences, []);
        assert_eq!(copies.made_anew(&new, &done.others).unwrap(), Vec::<String>::new());
        let is_kept = |state: &State| {
            let held: std::collections::BTreeSet<_> = state.cluster(&new.container).unwrap().rows().collect();
            Ok(state.acknowledged.len() > 30 && state.acknowledged.keys().all(|row| held.contains(row)))
        };
        assert!(context.sim.read(is_kept).unwrap());
    }
}
