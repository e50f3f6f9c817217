use super::super::testing::*;
use super::super::{Servers, cluster::Table};
use super::*;

const PATH: &str = "/base/dump";

fn options(format: Format, replace: bool) -> DumpOptions {
    DumpOptions { format, client_image: None, jobs: 2, compress: None, databases: Vec::new(), replace }
}

fn dump(context: &Context, path: &str, options: &DumpOptions) -> Result<Dump> {
    Servers::new(context.clone()).dump(&server(SERVER), Path::new(path), options)
}

fn names(context: &Context) -> Vec<String> {
    let of_base = |state: &State| {
        let below = state.files.keys().filter(|path| path.starts_with("/base") && *path != Path::new("/base"));
        Ok(below.map(|path| path.display().to_string()).collect())
    };
    context.sim.read(of_base).unwrap()
}

#[test]
fn a_dump_is_laid_out_as_the_live_world_does_and_is_on_the_disk() {
    let context = context(state());
    let made = dump(&context, PATH, &options(Format::Directory, false)).unwrap();
    assert_eq!(names(&context), [PATH, "/base/dump/databases.dump", "/base/dump/dump.json"]);
    dump(&context, "/base/d.sql", &options(Format::Plain, false)).unwrap();
    assert_eq!(names(&context)[..2], ["/base/d.sql", "/base/d.sql.json"]);
    let is_synced = |state: &State| Ok(state.files.values().all(|file| file.synced == Some(file.content.clone())));
    assert!(context.sim.read(is_synced).unwrap());
    assert_eq!(context.sim.read(|state| open(state, Path::new(PATH))).unwrap(), made);
    assert_eq!((made.server_major, made.databases.len()), (15, 3));
    verify(&context, &made, Some("postgres:17")).unwrap();
}

#[test]
fn a_dump_holds_what_there_was_when_it_began_and_no_later_row() {
    let context = context(state());
    let made = dump(&context, PATH, &options(Format::Directory, false)).unwrap();
    context.sim.arrange(|state| state.write_row(SERVER, DATABASE, TABLE)).unwrap();
    let held = context.sim.read(|state| data(state, &made)).unwrap();
    assert_eq!(held.databases[DATABASE].tables[TABLE].rows, [1, 2, 3].into());
}

#[test]
fn killed_at_any_instant_it_leaves_no_dump_or_a_whole_one_and_can_be_made_again() {
    for format in [Format::Directory, Format::Plain] {
        let act = |context: &Context| dump(context, PATH, &options(format, false)).map(|_| ());
        let instants = killed_at_each(&state(), act, |at, context| {
            let found = context.sim.read(|state| Ok(state.files.contains_key(Path::new(PATH)))).unwrap();
            if found {
                let made = context.sim.read(|state| open(state, Path::new(PATH))).unwrap();
                verify(context, &made, None).unwrap_or_else(|e| panic!("{at}: {e}"));
            } else {
                act(context).unwrap_or_else(|e| panic!("{at}: {e}"));
            }
        });
        assert!(instants >= 8, "{instants}");
    }
}

#[test]
fn an_error_leaves_nothing_under_any_name() {
    let mut world = state();
    fault(&mut world, "dump dump", 3);
    let context = context(world);
    let free = context.sim.read(|state| Ok(state.free)).unwrap();
    assert_eq!(dump(&context, PATH, &options(Format::Directory, false)).unwrap_err().code, "docker.failed");
    assert_eq!(names(&context), Vec::<String>::new());
    assert_eq!(context.sim.read(|state| Ok(state.free)).unwrap(), free);
}

#[test]
fn an_older_dump_gives_way_to_one_of_its_own_cluster_that_holds_something() {
    let context = context(state());
    dump(&context, PATH, &options(Format::Directory, false)).unwrap();
    let code = |format, replace| dump(&context, PATH, &options(format, replace)).unwrap_err().code;
    assert_eq!(code(Format::Directory, false), "dump.exists");
    assert_eq!(code(Format::Plain, true), "dump.exists");
    dump(&context, PATH, &options(Format::Directory, true)).unwrap();
    let change = |change: fn(&mut Cluster)| {
        context.sim.arrange(|state| change(state.cluster_mut(SERVER).unwrap())).unwrap();
    };
    change(|cluster| cluster.databases.values_mut().for_each(|database| database.tables.clear()));
    assert_eq!(code(Format::Directory, true), "dump.empty_cluster");
    change(|cluster| {
        cluster.system_identifier = 9;
        cluster.databases.values_mut().for_each(|d| _ = d.tables.insert(TABLE.into(), Table::default()));
    });
    assert_eq!(code(Format::Directory, true), "dump.other_cluster");
    assert_eq!(names(&context).len(), 3);
}

#[test]
fn damage_is_found() {
    let context = context(state());
    let made = dump(&context, PATH, &options(Format::Directory, false)).unwrap();
    let after = |change: fn(&mut State)| {
        let context = after_kill(&context);
        context.sim.arrange(change).unwrap();
        verify(&context, &made, None).unwrap_err().code
    };
    let damage = |state: &mut State| {
        let file = state.files.get_mut(Path::new("/base/dump/databases.dump")).unwrap();
        let Content::Dump { is_whole, .. } = &mut file.content else { panic!() };
        *is_whole = false;
    };
    assert_eq!(after(damage), "dump.damaged");
    assert_eq!(after(|state| state.remove_files(Path::new("/base/dump/databases.dump"))), "dump.damaged");
    let stranger = Content::Bytes { bytes: vec![1] };
    let put = |state: &mut State| state.put_file(Path::new("/base/dump/x"), stranger.clone(), 0o600).unwrap();
    context.sim.arrange(put).unwrap();
    assert_eq!(verify(&context, &made, None).unwrap_err().code, "dump.damaged");
}

#[test]
fn it_needs_room_and_a_client_that_is_new_enough() {
    let mut world = state();
    world.free = 100;
    let small = context(world);
    assert_eq!(dump(&small, PATH, &options(Format::Directory, false)).unwrap_err().code, "host.disk_full");
    let context = context(state());
    let servers = Servers::new(context.clone());
    let old = DumpOptions { client_image: Some("postgres:15".into()), ..options(Format::Plain, false) };
    let error = servers.dump(&server(NEW), Path::new(PATH), &old).unwrap_err();
    assert_eq!(error.code, "postgres.client_too_old");
    assert_eq!(dump(&context, "/gone/x", &options(Format::Plain, false)).unwrap_err().code, "host.not_found");
    servers.dump_database(&server(SERVER), DATABASE, Path::new("/base/one"), "directory", None).unwrap();
    servers.dump_globals(&server(SERVER), Path::new("/base/globals.sql"), None).unwrap();
    assert_eq!(names(&context), ["/base/globals.sql", "/base/one", "/base/one/databases.dump"]);
    let error = context.sim.read(|state| open(state, Path::new("/base/one"))).unwrap_err();
    assert_eq!(error.code, "dump.incomplete");
}
