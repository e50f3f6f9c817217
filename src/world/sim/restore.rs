//! What a dump, or another server, holds into a simulated cluster in which nobody is connected.

use super::bulk::{Piece, work};
use super::cluster::{Cluster, Database, Table};
use super::sql::extension_version;
use super::{Context, State, dump, sql};
use crate::event::Event;
use crate::world::error::{Error, Result};
use crate::world::postgres::*;

/// All of a dump. Databases that the dump holds and the cluster has are replaced.
pub fn restore(context: &Context, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport> {
    let source = context.sim.read(|state| {
        dump::compare_files(state, dump)?;
        let source = dump::data(state, dump)?;
        check_target(state, server, dump.server_major)?;
        dump::require_reader(state, dump, options.client_image.as_deref())?;
        Ok(source)
    })?;
    let major = context.sim.read(|state| Ok(state.serving(server)?.1.major))?;
    if dump.client_major < 15 && major >= 15 {
        let text = format!(
            "the dump was made by pg_dump {}, which leaves out grants that PostgreSQL {major} does not have by itself: \
             that everyone may create in the schema public, and those on sequences of identity columns; a dump made \
             with the new server's client has them",
            dump.client_major
        );
        context.emit(Event::Warn { text });
    }
    let mut report = fill(context, &source, server)?;
    if dump.format == Format::Plain {
        let message = format!("role \"{}\" already exists", server.user);
        let reason = "the role that restores is there already; its attributes and password follow".into();
        report.expected.push(ExpectedError { sqlstate: "42710".into(), message, reason });
    }
    Ok(report)
}

/// One server straight into another.
pub fn transfer(context: &Context, source: &Server, target: &Server, options: &DumpOptions) -> Result<RestoreReport> {
    let held = context.sim.read(|state| {
        let mut held = state.serving(source)?.1.clone();
        let image = match &options.client_image {
            Some(image) => image.clone(),
            None => state.serving(target)?.0.image_id.clone(),
        };
        dump::client_major(state, source, Some(&image))?;
        check_target(state, target, held.major)?;
        held.databases.retain(|name, _| options.databases.is_empty() || options.databases.contains(name));
        Ok(held)
    })?;
    fill(context, &held, target)
}

/// It is not older, and nobody is connected.
fn check_target(state: &State, server: &Server, major: u32) -> Result<()> {
    let (container, cluster) = state.serving(server)?;
    let name = &server.container_name;
    if cluster.major < major {
        let message = format!("{name} is PostgreSQL {}, the dump is from {major}", cluster.major);
        return Err(Error::refused("restore.target_older", message)
            .hint("a dump does not go back to an older major: the way back is the old volume"));
    }
    let sessions: Vec<String> = state
        .sessions(&container.id)
        .into_iter()
        .map(|session| {
            let (pid, name, role) = (session.pid, session.application_name, session.role);
            format!("pid {pid}, {name:?}, role {role} from {} in database {}", session.client, session.database)
        })
        .collect();
    if sessions.is_empty() {
        return Ok(());
    }
    let message = format!("others are connected to {name}: {}", sessions.join("; "));
    Err(Error::refused("restore.sessions_connected", message)
        .hint("stop what they belong to; whoever writes during a restore loses data"))
}

/// From here on an error leaves half of a cluster.
fn half_done(error: Error, server: &Server) -> Error {
    let name = &server.container_name;
    let message = format!("the restore into {name} is not complete: {}", error.message);
    let again = "the target must not be used as it is; the restore can be run again, it replaces what is there";
    Error { message, ..error }.further_hint(again)
}

fn fill(context: &Context, source: &Cluster, server: &Server) -> Result<RestoreReport> {
    let change = format!("restore roles into {}", server.container_name);
    context.cancel.check()?;
    context.sim.act(&change, |state| roles(state, source, server))?;
    let is_standard = |name: &&String| ["postgres", "template1"].contains(&name.as_str());
    let (standard, others): (Vec<_>, Vec<_>) = source.databases.keys().partition(is_standard);
    for name in standard.into_iter().chain(others) {
        let database = &source.databases[name];
        let bytes = database.bytes();
        let change = format!("restore {name} into {}", server.container_name);
        let label = format!("restore of {name}");
        work(context, &change, &label, bytes, |state, piece| one(state, source, server, name, piece))
            .map_err(|error| half_done(error, server))?;
    }
    Ok(RestoreReport { databases: source.databases.keys().cloned().collect(), expected: Vec::new() })
}

/// The role that restores stays what it is: only in the end it gets what the dump says of it.
fn roles(state: &mut State, source: &Cluster, server: &Server) -> Result<()> {
    state.serving(server)?;
    state.note_write(&server.container);
    let Some(cluster) = state.cluster_mut(&server.container) else { return Ok(()) };
    for (name, role) in &source.roles {
        let mut role = role.clone();
        role.is_superuser |= *name == server.user;
        cluster.roles.insert(name.clone(), role);
        cluster.advance();
    }
    Ok(())
}

/// A part of a database, which is made anew with the first.
fn one(state: &mut State, source: &Cluster, server: &Server, name: &str, piece: Piece) -> Result<()> {
    let (container, cluster) = state.serving(server)?;
    let (container, major) = (container.id.clone(), cluster.major);
    let held = &source.databases[name];
    if let Some(missing) = held.extensions.keys().find(|extension| !sql::has_extension(state, &container, extension)) {
        let message = format!("database {name:?}: ERROR: extension \"{missing}\" is not available (SQLSTATE 0A000)");
        return Err(Error::failed("restore.unexpected_error", message));
    }
    let counted_since = state.number();
    state.need_room(held.bytes(), &format!("the cluster of {}", server.container_name))?;
    state.note_write(&container);
    let Some(cluster) = state.cluster_mut(&container) else { return Ok(()) };
    let tables = piece.part(held.tables.len() as u64) as usize;
    let database = Database {
        tables: held.tables.iter().take(tables).map(|(name, table)| (name.clone(), loaded(table))).collect(),
        sequences: if piece.is_last() { held.sequences.clone() } else { Default::default() },
        extensions: held.extensions.keys().map(|e| (e.clone(), extension_version(e, major))).collect(),
        large_objects: if piece.is_last() { held.large_objects } else { 0 },
        counted_since,
        owner: source.owner_of(name).to_owned(),
        more_bytes: if piece.is_last() { held.more_bytes } else { 0 },
    };
    let written = database.tables.values().map(|table| table.rows.len()).sum::<usize>();
    cluster.databases.insert(name.to_owned(), database);
    (0..=written).for_each(|_| cluster.advance());
    let is_last = piece.is_last() && source.databases.keys().all(|name| cluster.databases.contains_key(name));
    if let Some(role) = source.roles.get(&server.user).filter(|_| is_last) {
        cluster.roles.insert(server.user.clone(), role.clone());
    }
    Ok(())
}

fn loaded(table: &Table) -> Table {
    Table { inserted: table.rows.len() as u64, ..table.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Servers;
    use super::super::testing::*;
    use super::*;
    use crate::world::content::{Beside, Content, Level, compare};

    const PATH: &str = "/base/dump";

    fn dumped(format: Format) -> (Context, Dump) {
        let context = context(state());
        let options = DumpOptions {
            format,
            client_image: Some("postgres:17".into()),
            jobs: 2,
            compress: None,
            databases: Vec::new(),
            replace: false,
        };
        let dump = Servers::new(context.clone()).dump(&server(SERVER), Path::new(PATH), &options).unwrap();
        (context, dump)
    }

    fn load(context: &Context, dump: &Dump) -> Result<RestoreReport> {
        let options = RestoreOptions { client_image: Some("postgres:17".into()), jobs: 2 };
        Servers::new(context.clone()).restore(dump, &server(NEW), &options)
    }

    fn content(context: &Context, container: &str) -> Content {
        Servers::new(context.clone()).content(&server(container), Level::Content, 2).unwrap()
    }

    fn differences(context: &Context) -> Vec<String> {
        let (before, after) = (content(context, SERVER), content(context, NEW));
        let found = compare(&before, &after, Beside::default()).unwrap();
        found.differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_dumped_is_restored_with_roles_and_kinds_of_passwords() {
        for format in [Format::Directory, Format::Plain] {
            let (context, dump) = dumped(format);
            let report = load(&context, &dump).unwrap();
            assert_eq!(report.databases, ["postgres", DATABASE, "template1"]);
            assert_eq!(report.expected.len(), usize::from(format == Format::Plain));
            assert_eq!(differences(&context), Vec::<String>::new());
            let rows = |id: &'static str| context.sim.read(|s| Ok(s.cluster(id).unwrap().rows().count())).unwrap();
            assert_eq!((rows(SERVER), rows(NEW)), (5, 5));
        }
    }

    #[test]
    fn one_server_is_transferred_into_another_without_a_file() {
        let context = context(state());
        let servers = Servers::new(context.clone());
        let options = DumpOptions {
            format: Format::Directory,
            client_image: None,
            jobs: 1,
            compress: None,
            databases: Vec::new(),
            replace: false,
        };
        servers.transfer(&server(SERVER), &server(NEW), &options).unwrap();
        assert_eq!(differences(&context), Vec::<String>::new());
        let back = servers.transfer(&server(NEW), &server(SERVER), &options).unwrap_err();
        assert_eq!(back.code, "postgres.client_too_old");
    }

    #[test]
    fn killed_in_the_middle_it_leaves_half_and_can_be_run_again() {
        let (context, dump) = dumped(Format::Directory);
        let world = context.sim.arrange(|state| state.clone()).unwrap();
        let mut partial = 0;
        killed_at_each(
            &world,
            |context| load(context, &dump).map(|_| ()),
            |_, context| {
                partial += usize::from(!differences(context).is_empty());
                load(context, &dump).unwrap();
                assert_eq!(differences(context), Vec::<String>::new());
            },
        );
        assert!(partial > 10, "{partial}");
    }

    #[test]
    fn an_error_says_that_half_a_cluster_is_left() {
        let (context, dump) = dumped(Format::Directory);
        context.sim.arrange(|state| fault(state, &format!("restore {DATABASE}"), 2)).unwrap();
        let error = load(&context, &dump).unwrap_err();
        assert!(error.message.starts_with("the restore into primero-new is not complete: "));
        assert!(differences(&context).iter().any(|difference| difference.contains("missing")));
    }

    #[test]
    fn an_older_server_and_a_missing_extension_are_refused() {
        let (context, dump) = dumped(Format::Directory);
        let newer = Dump { server_major: 18, ..dump.clone() };
        assert_eq!(load(&context, &newer).unwrap_err().code, "restore.target_older");
        context
            .sim
            .arrange(|state| {
                let super::super::state::ImageKind::Postgres { extensions, .. } = &mut state.images[1].kind else {
                    panic!()
                };
                extensions.clear();
            })
            .unwrap();
        assert_eq!(load(&context, &dump).unwrap_err().code, "restore.unexpected_error");
    }

    #[test]
    fn what_a_server_without_fsync_takes_is_not_on_the_disk() {
        let (context, dump) = dumped(Format::Directory);
        let unsynced = |context: &Context| context.sim.read(|s| Ok(s.volumes[NEW_VOLUME].tree.is_unsynced)).unwrap();
        load(&context, &dump).unwrap();
        assert!(!unsynced(&context));
        context
            .sim
            .arrange(|state| {
                state.container_mut(NEW).unwrap().command.extend(["-c".into(), "fsync=off".into()]);
            })
            .unwrap();
        load(&context, &dump).unwrap();
        assert!(unsynced(&context));
    }
}
