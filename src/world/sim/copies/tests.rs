use super::super::Servers;
use super::super::testing::*;
use super::*;
use crate::world::content::{Beside, Level, compare};
use crate::world::postgres::Postgres;

const COPY_VOLUME: &str = "copy";
const NAME: &str = "primero-copy";

fn options() -> CopyOptions {
    CopyOptions { name: NAME.into(), max_rate: None, cpu_shares: None }
}

fn taken(context: &Context) -> ClusterCopy {
    let copies = Copies::new(context.clone());
    let copy = copies.copy(&server(SERVER), COPY_VOLUME, &options()).unwrap();
    copies.follow(&copy, &server(SERVER)).unwrap();
    copy
}

fn write(context: &Context) {
    context.sim.arrange(|state| assert!(state.write_row(SERVER, DATABASE, TABLE))).unwrap();
}

fn rows(context: &Context) -> usize {
    let rows = |state: &State| Ok(state.volumes[COPY_VOLUME].tree.clusters[OLD].rows().count());
    context.sim.read(rows).unwrap()
}

fn stop(context: &Context) -> (Stopped, String) {
    context.sim.act("stop primero-postgres-1", |state| state.stop(SERVER)).unwrap();
    let directory = "/var/lib/postgresql/data".to_owned();
    let stopped = Stopped { volume: VOLUME.into(), mount: directory.clone(), directory };
    let checkpoint = context.sim.read(|state| Ok(state.cluster(SERVER).unwrap().control.checkpoint)).unwrap();
    (stopped, lsn(checkpoint))
}

#[test]
fn a_copy_follows_until_its_server_has_stopped_and_then_has_all_of_it() {
    let context = context(state());
    let copies = Copies::new(context.clone());
    let copy = taken(&context);
    assert!(copies.follows(&copy).unwrap());
    // The row of the table that is not logged is not in it.
    assert_eq!(rows(&context), 4);
    write(&context);
    assert!(copies.lag(&copy, &server(SERVER)).unwrap() > 0);
    wait(&context, 10).unwrap();
    assert_eq!((copies.lag(&copy, &server(SERVER)).unwrap(), rows(&context)), (0, 5));
    write(&context);
    let (stopped, checkpoint) = stop(&context);
    copies.caught_up(&copy, &checkpoint).unwrap();
    copies.promote(&copy, Some(&stopped)).unwrap();
    assert_eq!(rows(&context), 7);
    let cluster = context.sim.read(|s| Ok(s.volumes[COPY_VOLUME].tree.clusters[OLD].clone())).unwrap();
    assert_eq!((cluster.control.timeline, cluster.is_clean(), cluster.follows), (2, true, None));
    assert!(!copies.follows(&copy).unwrap());
}

#[test]
fn what_a_standby_tells_is_what_its_server_holds() {
    let context = context(state());
    let copies = Copies::new(context.clone());
    let copy = taken(&context);
    let servers = Servers::new(context.clone());
    let standby = copies.follow(&copy, &server(SERVER)).unwrap();
    let settings = servers.content(&server(SERVER), Level::Content, 1).unwrap();
    let before = servers.content(&standby, Level::Content, 1).unwrap();
    assert!(before.is_standby);
    let beside = Beside { settings: Some(&settings), ..Beside::default() };
    let found = compare(&before, &settings, beside).unwrap();
    assert_eq!(found.differences, []);
    assert_eq!(found.not_looked_at, ["primero_production: rows of public.cache"]);
    let error = servers.execute(&standby, DATABASE, "INSERT INTO public.cases VALUES (1)", &[]).unwrap_err();
    assert!(error.message.contains("25006"));
}

#[test]
fn a_copy_that_was_not_there_at_the_end_is_behind() {
    let context = context(state());
    let copies = Copies::new(context.clone());
    let copy = taken(&context);
    context.sim.arrange(|state| state.stop(NAME)).unwrap().unwrap();
    write(&context);
    let (_, checkpoint) = stop(&context);
    assert_eq!(copies.caught_up(&copy, &checkpoint).unwrap_err().code, "basebackup.failed");
    assert_eq!(copies.follow(&copy, &server(SERVER)).unwrap_err().code, "docker.conflict");
    copies.discard(NAME, None).unwrap();
    copies.follow(&copy, &server(SERVER)).unwrap();
    let now = || context.sim.read(|state| Ok(state.now)).unwrap();
    let begun = now();
    assert_eq!(copies.caught_up(&copy, &checkpoint).unwrap_err().code, "basebackup.behind");
    assert!(now() - begun >= PATIENCE);
}

#[test]
fn a_copy_is_taken_anew_of_the_files_of_the_stopped_server() {
    let context = context(state());
    let copies = Copies::new(context.clone());
    let copy = taken(&context);
    context.sim.arrange(|state| state.stop(NAME)).unwrap().unwrap();
    write(&context);
    let (stopped, checkpoint) = stop(&context);
    copies.copy_stopped(&copy, &stopped).unwrap();
    copies.follow(&copy, &server(SERVER)).unwrap();
    copies.caught_up(&copy, &checkpoint).unwrap();
    copies.promote(&copy, Some(&stopped)).unwrap();
    assert_eq!(rows(&context), 6);
}

#[test]
fn a_parted_copy_is_a_cluster_of_its_own_and_its_server_keeps_nothing_for_it() {
    let context = context(state());
    let copies = Copies::new(context.clone());
    let copy = taken(&context);
    let slots = |state: &State| Ok(state.cluster(SERVER).unwrap().slots.len());
    assert_eq!(context.sim.read(slots).unwrap(), 1);
    let parted = copies.part(&copy, &server(SERVER)).unwrap();
    assert_eq!(context.sim.read(slots).unwrap(), 0);
    write(&context);
    wait(&context, 1000).unwrap();
    assert_eq!(rows(&context), 4);
    let network = |state: &State| Ok(state.container(&parted.container).unwrap().network_mode.clone());
    assert_eq!(context.sim.read(network).unwrap(), "none");
    copies.promote(&copy, None).unwrap();
    assert!(context.sim.read(|state| Ok(state.container(NAME).is_none())).unwrap());
}

#[test]
fn a_server_that_lets_nobody_replicate_is_not_copied() {
    let refused = |change: fn(&mut State)| {
        let mut world = state();
        change(&mut world);
        let copies = Copies::new(context(world));
        let copied = copies.copy(&server(SERVER), COPY_VOLUME, &options()).unwrap_err().code;
        (copies.can_replicate(&server(SERVER)).unwrap_err().code, copied)
    };
    let both = ("basebackup.refused".to_owned(), "basebackup.failed".to_owned());
    assert_eq!(refused(|state| state.cluster_mut(SERVER).unwrap().lets_replicate = false), both);
    assert_eq!(
        refused(|state| {
            let settings = &mut state.cluster_mut(SERVER).unwrap().settings;
            settings.insert("max_wal_senders".into(), "0".into());
        }),
        both
    );
    Copies::new(context(state())).can_replicate(&server(SERVER)).unwrap();
}

#[test]
fn killed_at_any_instant_a_copy_can_be_taken_again() {
    let copied =
        |context: &Context| Copies::new(context.clone()).copy(&server(SERVER), COPY_VOLUME, &options()).map(|_| ());
    let instants = killed_at_each(&state(), copied, |at, context| {
        let is_partial = |state: &State| {
            let tree = state.volumes.get(COPY_VOLUME).map(|volume| &volume.tree);
            Ok(tree.is_none_or(|tree| tree.is_partial || tree.clusters.contains_key(OLD)))
        };
        assert!(context.sim.read(is_partial).unwrap(), "{at}");
        copied(context).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(rows(context), 4, "{at}");
    });
    assert!(instants >= 5, "{instants}");
}

#[test]
fn places_in_the_log_are_read_as_they_are_written() {
    assert_eq!(place_in_log(&lsn(0x16_B374_D848)), Some(0x16_B374_D848));
    assert_eq!(place_in_log("x"), None);
}
