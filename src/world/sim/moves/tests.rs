use super::super::Archives;
use super::super::testing::*;
use super::*;

const ASIDE: &str = "primero_database_aside";

/// The old server's container is gone; its volume has a keeper.
fn kept(context: &Context) {
    context.sim.arrange(|state| _ = state.containers.remove(SERVER)).unwrap();
    keep(context, VOLUME, None).unwrap();
}

fn held(context: &Context, volume: &str) -> Option<usize> {
    let rows = |state: &State| {
        let cluster = state.volumes.get(volume)?.tree.clusters.get("")?;
        Some(cluster.rows().count())
    };
    context.sim.read(|state| Ok(rows(state))).unwrap()
}

fn move_it(context: &Context) -> Result<world::Volume> {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let options = NewVolume { labels, image: None };
    Archives::new(context.clone()).rename(VOLUME, ASIDE, &options)
}

#[test]
fn a_volume_is_moved_with_its_keeper_and_leaves_nothing_behind() {
    let context = context(stopped(state()));
    assert_eq!(move_it(&context).unwrap_err().code, "volume.in_use");
    kept(&context);
    let moved = move_it(&context).unwrap();
    assert_eq!((moved.labels["a"].as_str(), moved.labels[LABEL_MOVED_FROM].as_str()), ("b", VOLUME));
    assert_eq!((held(&context, VOLUME), held(&context, ASIDE)), (None, Some(5)));
    let holders = |state: &State| Ok(state.holders(ASIDE).map(|c| c.name.clone()).collect::<Vec<_>>());
    assert_eq!(context.sim.read(holders).unwrap(), [format!("{ASIDE}-keeper")]);
    assert_eq!(move_it(&context).unwrap().name, ASIDE);
}

#[test]
fn killed_at_any_instant_the_same_move_completes_it() {
    let context = context(stopped(state()));
    kept(&context);
    let world = context.sim.arrange(|state| state.clone()).unwrap();
    let instants = killed_at_each(
        &world,
        |context| move_it(context).map(|_| ()),
        |at, context| {
            assert_eq!(held(context, VOLUME).or(held(context, ASIDE)), Some(5), "{at}");
            move_it(context).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!((held(context, VOLUME), held(context, ASIDE)), (None, Some(5)), "{at}");
        },
    );
    assert_eq!(instants, 5);
}

#[test]
fn a_move_is_refused_where_both_hold_something_or_the_name_is_another_one_s() {
    let context = context(stopped(state()));
    kept(&context);
    let options = NewVolume::default();
    let archives = Archives::new(context.clone());
    assert_eq!(archives.rename(VOLUME, NEW_VOLUME, &options).unwrap_err().code, "volume.exists");
    assert_eq!(archives.rename(VOLUME, VOLUME, &options).unwrap_err().code, "volume.exists");
    assert_eq!(archives.rename("gone", ASIDE, &options).unwrap_err().code, "volume.not_found");
    let tree = context.sim.read(|state| Ok(state.volumes[VOLUME].tree.clone())).unwrap();
    move_it(&context).unwrap();
    context.sim.arrange(|state| state.volumes.insert(VOLUME.into(), volume(VOLUME, tree))).unwrap();
    assert_eq!(move_it(&context).unwrap_err().code, "volume.not_empty");
    let with_options = |state: &mut State| {
        state.volumes.remove(ASIDE);
        state.volumes.get_mut(VOLUME).unwrap().options.insert("type".into(), "nfs".into());
    };
    context.sim.arrange(with_options).unwrap();
    assert_eq!(move_it(&context).unwrap_err().code, "volume.cannot_move");
}

fn clone(context: &Context) -> Result<world::Volume> {
    Archives::new(context.clone()).clone_to(VOLUME, "twin", &NewVolume::default())
}

#[test]
fn a_clone_holds_the_same_and_is_empty_until_it_is_whole() {
    assert_eq!(clone(&context(state())).unwrap_err().code, "volume.in_use");
    let world = stopped(state());
    killed_at_each(
        &world,
        |context| clone(context).map(|_| ()),
        |at, context| {
            assert!(matches!(held(context, "twin"), None | Some(5)), "{at}");
            clone(context).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!((held(context, "twin"), held(context, VOLUME)), (Some(5), Some(5)), "{at}");
        },
    );
    let context = context(world);
    let made = clone(&context).unwrap();
    assert_eq!(made.labels[LABEL_CLONED_FROM], VOLUME);
    clone(&context).unwrap();
    context.sim.arrange(|state| state.write_row(SERVER, DATABASE, TABLE)).unwrap();
    assert_eq!(clone(&context).unwrap_err().code, "volume.exists");
}

#[test]
fn a_clone_without_room_leaves_no_volume() {
    let context = context(State { free: 100, ..stopped(state()) });
    assert_eq!(clone(&context).unwrap_err().code, "host.disk_full");
    assert!(context.sim.read(|state| Ok(!state.volumes.contains_key("twin"))).unwrap());
}

#[test]
fn a_keeper_is_created_once_found_again_and_replaced_where_it_has_ended() {
    let context = context(stopped(state()));
    let first = keep(&context, VOLUME, None).unwrap();
    assert_eq!((first.name.as_str(), first.state.as_str()), ("primero_database-keeper", "created"));
    assert_eq!(keep(&context, VOLUME, None).unwrap().id, first.id);
    context.sim.arrange(|state| state.container_mut(&first.id).unwrap().state = "exited".into()).unwrap();
    assert_ne!(keep(&context, VOLUME, None).unwrap().id, first.id);
    unkeep(&context, VOLUME).unwrap();
    assert_eq!(context.sim.read(|state| Ok(state.keepers(VOLUME).len())).unwrap(), 0);
    assert_eq!(keep(&context, "gone", None).unwrap_err().code, "volume.not_found");
    assert_eq!(keep(&context, VOLUME, Some("nothing:1")).unwrap_err().code, "docker.image_missing");
}
