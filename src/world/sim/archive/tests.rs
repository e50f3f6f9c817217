use super::super::testing::*;
use super::*;

const PATH: &str = "/base/volume.tar.zst";

fn backup(context: &Context, replace: bool) -> Result<Backup> {
    let options = BackupOptions { replace, ..BackupOptions::default() };
    Archives::new(context.clone()).backup(VOLUME, Path::new(PATH), &options)
}

fn with_empty(mut state: State) -> State {
    state.volumes.insert("empty".into(), volume("empty", Tree::default()));
    state
}

fn restore(context: &Context, backup: &Backup) -> Result<()> {
    Archives::new(context.clone()).restore(backup, "empty", &BackupOptions::default())
}

fn tree(context: &Context, volume: &str) -> Tree {
    context.sim.read(|state| Ok(state.volumes[volume].tree.clone())).unwrap()
}

#[test]
fn a_backup_gives_back_what_the_volume_held() {
    let context = context(with_empty(stopped(state())));
    let made = backup(&context, false).unwrap();
    assert_eq!((made.manifest.volume.as_str(), made.manifest.pg_version.as_str()), (VOLUME, "15"));
    assert_eq!((made.manifest.uid, made.manifest.gid), (999, 999));
    let archives = Archives::new(context.clone());
    assert_eq!(archives.open(Path::new(PATH)).unwrap(), made);
    archives.verify(&made).unwrap();
    context.sim.arrange(|state| state.volumes.get_mut(VOLUME).unwrap().tree.clusters.clear()).unwrap();
    restore(&context, &made).unwrap();
    let held = tree(&context, "empty");
    assert_eq!(held.clusters[""].rows().count(), 5);
    assert!(!held.is_partial && !held.is_unsynced);
    assert_eq!(archives.pg_version("empty").unwrap(), "15");
    assert_eq!(archives.control("empty", "").unwrap().unwrap().state, "shut down");
    assert_eq!(archives.control("empty", "old").unwrap(), None);
    assert!(archives.size("empty").unwrap().1 && archives.size("gone").is_err());
}

#[test]
fn what_is_written_after_the_backup_is_not_in_it() {
    let context = context(with_empty(stopped(state())));
    let made = backup(&context, false).unwrap();
    context.sim.arrange(|state| state.write_row(SERVER, DATABASE, TABLE)).unwrap();
    restore(&context, &made).unwrap();
    assert_eq!(tree(&context, "empty").clusters[""].rows().count(), 5);
    assert_eq!(tree(&context, VOLUME).clusters[""].rows().count(), 6);
}

#[test]
fn a_volume_that_is_used_or_not_there_or_not_empty_is_refused() {
    let running = context(state());
    assert_eq!(backup(&running, false).unwrap_err().code, "volume.in_use");
    let context = context(with_empty(stopped(state())));
    let archives = Archives::new(context.clone());
    let gone = archives.backup("gone", Path::new(PATH), &BackupOptions::default()).unwrap_err();
    assert_eq!(gone.code, "volume.not_found");
    let made = backup(&context, false).unwrap();
    let full = archives.restore(&made, VOLUME, &BackupOptions::default()).unwrap_err();
    assert_eq!(full.code, "volume.not_empty");
    context.sim.arrange(|state| state.free = 100).unwrap();
    assert_eq!(restore(&context, &made).unwrap_err().code, "host.disk_full");
}

#[test]
fn whoever_starts_meanwhile_makes_a_backup_worthless() {
    struct Starter;
    impl super::super::Watch for Starter {
        fn before(&self, change: &str, state: &mut State) -> Result<()> {
            if change.starts_with("sync the backup") {
                state.container_mut(SERVER).unwrap().state = "running".into();
            }
            Ok(())
        }
        fn after(&self, _change: &str, _state: &mut State) -> Result<()> {
            Ok(())
        }
    }
    let context = context(stopped(state()));
    context.sim.watched(Some(std::sync::Arc::new(Starter)));
    assert_eq!(backup(&context, false).unwrap_err().code, "volume.in_use");
    let left = context.sim.read(|state| Ok(state.files.len())).unwrap();
    assert_eq!(left, 2);
}

#[test]
fn killed_at_any_instant_it_leaves_no_backup_or_a_whole_one() {
    let world = stopped(state());
    let act = |context: &Context| backup(context, true).map(|_| ());
    let instants = killed_at_each(&world, act, |at, context| {
        let archives = Archives::new(context.clone());
        let found = context.sim.read(|state| Ok(state.files.contains_key(Path::new(PATH)))).unwrap();
        if found {
            let made = archives.open(Path::new(PATH)).unwrap_or_else(|e| panic!("{at}: {e}"));
            archives.verify(&made).unwrap_or_else(|e| panic!("{at}: {e}"));
        }
        act(context).unwrap_or_else(|e| panic!("{at}: {e}"));
    });
    assert!(instants >= 6, "{instants}");
}

#[test]
fn a_restore_that_is_cut_off_leaves_a_volume_that_no_server_takes() {
    let context = context(with_empty(stopped(state())));
    let made = backup(&context, false).unwrap();
    let world = context.sim.arrange(|state| state.clone()).unwrap();
    let mut partial = 0;
    killed_at_each(
        &world,
        |context| restore(context, &made),
        |_, context| {
            let held = tree(context, "empty");
            partial += usize::from(held.is_partial);
            assert!(held.is_empty() || held.is_partial || held.clusters[""].rows().count() == 5);
        },
    );
    assert!(partial >= 4, "{partial}");
}

#[test]
fn damage_and_what_is_cut_off_are_found() {
    let context = context(with_empty(stopped(state())));
    let made = backup(&context, false).unwrap();
    let after = |change: fn(&mut Content)| {
        let context = after_kill(&context);
        let change = |state: &mut State| change(&mut state.files.get_mut(Path::new(PATH)).unwrap().content);
        context.sim.arrange(change).unwrap();
        let codes = (Archives::new(context.clone()).verify(&made), restore(&context, &made));
        assert!(tree(&context, "empty").is_partial);
        (codes.0.unwrap_err().code, codes.1.unwrap_err().code)
    };
    let both = |code: &str| (code.to_owned(), code.to_owned());
    assert_eq!(
        after(|content| {
            let Content::Backup { is_whole, .. } = content else { panic!() };
            *is_whole = false;
        }),
        both("backup.damaged")
    );
    assert_eq!(
        after(|content| {
            let Content::Backup { bytes, .. } = content else { panic!() };
            *bytes -= 1;
        }),
        both("backup.cut_off")
    );
}

#[test]
fn a_backup_that_was_copied_byte_by_byte_is_one() {
    let context = context(with_empty(stopped(state())));
    let made = backup(&context, false).unwrap();
    let as_bytes = |state: &mut State, change: fn(&mut Vec<u8>)| {
        let file = state.files.get_mut(Path::new(PATH)).unwrap();
        let mut bytes = serde_json::to_vec(&file.content).unwrap();
        change(&mut bytes);
        file.content = Content::Bytes { bytes };
    };
    context.sim.arrange(|state| as_bytes(state, |_| ())).unwrap();
    Archives::new(context.clone()).verify(&made).unwrap();
    restore(&context, &made).unwrap();
    assert_eq!(tree(&context, "empty").clusters[""].rows().count(), 5);
    context.sim.arrange(|state| as_bytes(state, |bytes| bytes[20] ^= 0xFF)).unwrap();
    assert_eq!(Archives::new(context).verify(&made).unwrap_err().code, "backup.damaged");
}

#[test]
fn an_older_backup_gives_way_to_one_of_its_own_volume_that_holds_something() {
    let context = context(stopped(state()));
    backup(&context, false).unwrap();
    assert_eq!(backup(&context, false).unwrap_err().code, "backup.exists");
    backup(&context, true).unwrap();
    let options = BackupOptions { replace: true, ..BackupOptions::default() };
    context.sim.arrange(|state| state.container_mut(NEW).unwrap().state = "exited".into()).unwrap();
    let archives = Archives::new(context.clone());
    let other = archives.backup(NEW_VOLUME, Path::new(PATH), &options).unwrap_err();
    assert_eq!(other.code, "backup.other_volume");
    context.sim.arrange(|state| state.volumes.get_mut(VOLUME).unwrap().tree = Tree::default()).unwrap();
    assert_eq!(backup(&context, true).unwrap_err().code, "backup.empty_volume");
    archives.verify(&archives.open(Path::new(PATH)).unwrap()).unwrap();
}
