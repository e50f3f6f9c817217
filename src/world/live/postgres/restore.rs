//! A dump into a cluster in which nobody is connected.

use std::cmp::Reverse;

use super::archive::RESTORE;
use super::classify::Known;
use super::client::{Call, Client, connection_string};
use super::databases::{self, Database};
use super::roles::binding;
use super::watch::Watch;
use super::{Clients, archive, dump, globals, pinned, plain, quoted, ready, rows, verify};
use crate::event::Event;
use crate::world::error::{Error, Kind, Result};
use crate::world::live::progress::Progress;
use crate::world::postgres::{Dump, DumpedDatabase, Format, RestoreOptions, RestoreReport, Server};
use crate::world::session::Purpose;
use crate::world::side_by_side::side_by_side;

/// Restores all of a dump. Databases that the dump holds and the target has are replaced. A dump whose files have
/// changed since it was checked is found before anything is loaded.
pub fn restore(clients: &Clients, dump: &Dump, server: &Server, options: &RestoreOptions) -> Result<RestoreReport> {
    verify::compare_files(clients, dump)?;
    let target = Target::prepare(clients, server, dump.server_major)?;
    warn_about_old_client(&target, dump);
    match dump.format {
        Format::Directory => directory(&target, dump, options),
        Format::Plain => plain_sql(&target, dump, options),
    }
}

/// Until 14 everyone could create in the schema `public`, from 15 on only its owner. A client of 15 or newer writes the
/// old grant into the dump; an older one takes it for granted, and then the new server's default holds. Also `pg_dump`
/// 13 leaves out grants on the sequences of identity columns (both seen with 13.23 against 17.12).
fn warn_about_old_client(target: &Target<'_>, dump: &Dump) {
    if dump.client_major < 15 && target.major >= 15 {
        let text = format!(
            "the dump was made by pg_dump {}, which leaves out grants that PostgreSQL {} does not have by itself: that \
             everyone may create in the schema public, and those on sequences of identity columns; a dump made with \
             the new server's client has them",
            dump.client_major, target.major
        );
        target.clients.context.emit(Event::Warn { text });
    }
}

/// A cluster about to be filled.
pub struct Target<'a> {
    pub clients: &'a Clients,
    /// As given, but with a database that is there.
    pub server: Server,
    major: u32,
    pub known: Known,
    databases: Vec<Database>,
}

impl<'a> Target<'a> {
    /// Checks that the target can take a dump of a server of this major: not older, and nobody is connected.
    pub fn prepare(clients: &'a Clients, server: &Server, source_major: u32) -> Result<Self> {
        let (version, database) = ready::reach(clients, server)?;
        let (server, major) = (&Server { database, ..server.clone() }, version.major);
        let name = &server.container_name;
        if major < source_major {
            let message = format!("{name} is PostgreSQL {major}, the dump is from {source_major}");
            return Err(Error::refused("restore.target_older", message)
                .hint("a dump does not go back to an older major: the way back is the old volume"));
        }
        databases::require_alone(clients, server)?;
        let (roles, tablespaces) = databases::roles_and_tablespaces(clients, server, &server.database)?;
        let known = Known { superuser: server.user.clone(), roles, tablespaces };
        Ok(Self { clients, server: server.clone(), major, known, databases: databases::list(clients, server)? })
    }

    fn has(&self, name: &str) -> bool {
        self.databases.iter().any(|database| database.name == name)
    }

    /// A database to be connected to while `except` is made anew: one that was there, else one that is there by now.
    pub fn maintenance(&self, except: &str) -> Result<String> {
        databases::maintenance(&self.databases, except)
            .or_else(|_| databases::maintenance(&databases::list(self.clients, &self.server)?, except))
    }

    /// Makes room for a database of the dump; gives the database to be connected to meanwhile.
    pub fn make_room(&self, name: &str) -> Result<String> {
        let maintenance = self.maintenance(name)?;
        if self.has(name) {
            databases::drop(self.clients, &self.server, &maintenance, name)?;
        }
        Ok(maintenance)
    }

    /// From here on an error leaves half of a cluster: it says so, and what that means.
    pub fn half_done(&self, error: Error) -> Error {
        let name = &self.server.container_name;
        let message = format!("the restore into {name} is not complete: {}", error.message);
        let again = "the target must not be used as it is; the restore can be run again, it replaces what is there";
        Error { message, ..error }.further_hint(again)
    }
}

fn directory(target: &Target<'_>, dump: &Dump, options: &RestoreOptions) -> Result<RestoreReport> {
    let image = options.client_image.as_deref();
    let client = Client::beside(target.clients, &target.server, image, Some((&dump.path, true)))?;
    verify::require_reader(&client, dump)?;
    let path = dump.path.join(dump::GLOBALS);
    let sql = std::fs::read(&path).map_err(|e| Error::io("read", path.display(), &e))?;
    let (sql, demotes) = globals::keeping_superuser(sql, &target.server.user);
    let maintenance = target.maintenance("")?;
    let expected = globals::run(&client, &maintenance, &target.known, Purpose::Loading, &mut sql.as_slice(), None);
    let expected = expected.map_err(|error| target.half_done(error))?;
    let restore = |_, database: &&DumpedDatabase| {
        one(target, &client, dump, database, options.jobs.max(1)).map_err(|error| target.half_done(error))
    };
    let (standard, others) = in_order(dump);
    standard.iter().try_for_each(|database| restore(0, database))?;
    side_by_side(&others, restore)?;
    client.close();
    if demotes {
        globals::demote(target.clients, &target.server)?;
    }
    Ok(RestoreReport { databases: dump.databases.iter().map(|database| database.name.clone()).collect(), expected })
}

/// The standard databases, to be made anew one by one, as each is the place to be while the other is away; then the
/// others. To drop a database the server first writes out all that was loaded: it comes when that is little. Of the
/// others the largest takes the longest: begun first, it leaves the rest time to pass beside it.
fn in_order(dump: &Dump) -> (Vec<&DumpedDatabase>, Vec<&DumpedDatabase>) {
    let (standard, mut others): (Vec<_>, Vec<_>) =
        dump.databases.iter().partition(|database| databases::is_standard(&database.name));
    others.sort_by_cached_key(|database| Reverse(archive::bytes(&dump.path, &database.path)));
    (standard, others)
}

/// One database, made anew from `template0` with its properties, settings and grants.
fn one(target: &Target<'_>, client: &Client<'_>, dump: &Dump, database: &DumpedDatabase, jobs: u32) -> Result<()> {
    let mut ahead = Vec::new();
    loop {
        let Err(error) = load(target, client, dump, database, jobs, &ahead) else { return Ok(()) };
        match pinned::extension(&error.message).filter(|extension| !ahead.contains(extension)) {
            Some(extension) => ahead.push(extension),
            None => {
                let message = format!("database {:?}: {}", database.name, error.message);
                return Err(with_rule(target, &database.name, Error { message, ..error }));
            }
        }
        databases::drop(target.clients, &target.server, &target.maintenance(&database.name)?, &database.name)?;
    }
}

/// The error with the definition of the constraint that rows break, which names what it calls.
fn with_rule(target: &Target<'_>, database: &str, error: Error) -> Error {
    let Some(constraint) = quoted::broken_constraint(&error.message) else { return error };
    let sql = "SELECT CASE contypid WHEN 0 THEN conrelid::regclass::text ELSE contypid::regtype::text END AS relation,
                      pg_get_constraintdef(oid) AS rule
               FROM pg_catalog.pg_constraint WHERE conname = :'name' AND contype = 'c'";
    let client = Client::inside(target.clients, &target.server);
    let rows = rows::query(&client, database, sql, &[binding("name", &constraint)]).unwrap_or_default();
    let rules: Vec<_> = rows
        .iter()
        .map(|row| format!("{constraint} of {} is {}", databases::text(row, "relation"), databases::text(row, "rule")))
        .collect();
    if rules.is_empty() {
        return error;
    }
    let rules = rules.join("; ") + "; what it asks other tables or the clock does not hold while rows are loaded";
    error.further_hint(&rules)
}

/// `ahead`: extensions that are created before what the dump says of them.
fn load(
    target: &Target<'_>,
    client: &Client<'_>,
    dump: &Dump,
    database: &DumpedDatabase,
    jobs: u32,
    ahead: &[String],
) -> Result<()> {
    let context = &target.clients.context;
    let maintenance =
        if ahead.is_empty() { target.make_room(&database.name)? } else { target.maintenance(&database.name)? };
    let mut progress = Progress::new(context, format!("restore of {}", database.name), "tables", Some(database.tables));
    let mut watch = Watch::new(context, "restore.unexpected_error", Some(&mut progress));
    let source = archive::Source::open(client, &dump.path, &database.path)?;
    let (mut argv, mut into) = (RESTORE.to_vec(), maintenance.as_str());
    if !ahead.is_empty() {
        pinned::create(client, &dump.path, (&database.path, &database.name), &maintenance, ahead)?;
        argv.retain(|word| *word != "--create");
        into = &database.name;
    }
    let (connection, jobs) = (connection_string(into), jobs.to_string());
    argv.extend(["--dbname", &connection]);
    if source.is_seekable() {
        argv.extend(["--jobs", &jobs]);
    }
    source.pg_restore(client, &argv, None, &mut watch)
}

/// `pg_restore` that reads a database from its stdin.
pub fn from_stdin(maintenance: &str) -> Call<'static> {
    let mut call = Call::new(&["pg_restore"], None).purpose(Purpose::Loading);
    call.argv.extend(RESTORE.map(str::to_owned));
    call.argv.extend(["--dbname".to_owned(), connection_string(maintenance)]);
    call
}

/// The programs that restore as a stream: one process each, so the server's own container will do.
pub fn programs<'a>(clients: &'a Clients, server: &Server, image: Option<&str>) -> Result<Client<'a>> {
    match image {
        Some(image) => Client::beside(clients, server, Some(image), None),
        None => Ok(Client::inside(clients, server)),
    }
}

fn plain_sql(target: &Target<'_>, dump: &Dump, options: &RestoreOptions) -> Result<RestoreReport> {
    let client = programs(target.clients, &target.server, options.client_image.as_deref())?;
    for database in &dump.databases {
        make_room_for_plain(target, &database.name).map_err(|error| target.half_done(error))?;
    }
    // A dump made with --clean makes template1 anew first, then postgres from there.
    let begin_in = target.maintenance("template1")?;
    let label = format!("restore of {}", dump.path.display());
    let mut progress = Progress::bytes(&target.clients.context, label, None);
    let mut input = plain::open(&dump.path)?;
    // A dump without a record of ours is somebody else's.
    let is_ours = !dump.system_identifier.is_empty();
    let purpose = if is_ours { Purpose::Loading } else { Purpose::LoadingForeign };
    let ended = globals::run(&client, &begin_in, &target.known, purpose, &mut input, Some(&mut progress));
    let expected = ended.map_err(|error| match error.code.as_str() {
        "host.io" => target.half_done(Error { code: "dump.damaged".into(), kind: Kind::Failed, ..error }),
        _ => target.half_done(error),
    })?;
    client.close();
    Ok(RestoreReport { databases: dump.databases.iter().map(|database| database.name.clone()).collect(), expected })
}

/// `pg_dumpall` creates every database but `postgres` and `template1`, which it expects to be there, and empty.
fn make_room_for_plain(target: &Target<'_>, name: &str) -> Result<()> {
    let (clients, server) = (target.clients, &target.server);
    if !databases::is_standard(name) {
        return target.make_room(name).map(|_| ());
    }
    match !target.has(name) || databases::has_user_objects(clients, server, name)? {
        true => databases::recreate_standard(clients, server, &target.maintenance(name)?, name, target.has(name)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_databases_come_first_and_then_the_largest() {
        let dir = tempfile::tempdir().unwrap();
        let file = |path: &str, bytes: usize| std::fs::write(dir.path().join(path), vec![0; bytes]).unwrap();
        std::fs::create_dir(dir.path().join("db-3")).unwrap();
        file("db-0.dump", 10);
        file("db-1.dump", 5000);
        file("db-2.dump", 9000);
        file("db-3/toc.dat", 600);
        file("db-3/1.dat", 700);
        let database =
            |name: &str, path: &str| DumpedDatabase { name: name.into(), path: path.into(), entries: 1, tables: 1 };
        let dump = Dump {
            path: dir.path().to_owned(),
            system_identifier: String::new(),
            format: Format::Directory,
            server_major: 17,
            client_major: 17,
            superuser: "postgres".into(),
            databases: [
                ("a", "db-0.dump"),
                ("b", "db-3"),
                ("postgres", "db-2.dump"),
                ("template1", "none"),
                ("z", "db-1.dump"),
            ]
            .map(|(name, path)| database(name, path))
            .into(),
            bytes: 0,
            files: Vec::new(),
            created_at: String::new(),
        };
        let (standard, others) = in_order(&dump);
        let names = |databases: &[&DumpedDatabase]| databases.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&standard), ["postgres", "template1"]);
        assert_eq!(names(&others), ["z", "b", "a"]);
    }
}
