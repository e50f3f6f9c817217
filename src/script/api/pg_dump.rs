//! `pg_dump::` a cluster or database as files, and back into a server.

use std::path::PathBuf;
use std::sync::Arc;

use rhai::Dynamic;

use super::call::{Call, Options};
use super::{Namespace, Registrar, ScriptResult, values};
use crate::script::evidence::Fact;
use crate::script::{guards, witness};
use crate::world::postgres::{Dump, DumpOptions, Format, RestoreOptions, Server};
use crate::world::{Error, Result};

const OPTIONS: &[&str] = &["format", "client", "jobs", "compress", "databases", "replace"];
const TRANSFER: &[&str] = &["format", "client", "jobs", "compress", "databases"];

/// Declares the handle type and functions.
pub fn register(registrar: &mut Registrar) {
    registrar.handle::<Dump>("Dump");
    let d = "Dump";
    registrar.property::<Dump>(d, "path", "string", "File or directory.", |d| d.path.display().to_string().into());
    let doc = "Number of the cluster it is of; empty for a dump made elsewhere.";
    registrar.property::<Dump>(d, "system_identifier", "string", doc, |d| d.system_identifier.clone().into());
    registrar.property::<Dump>(d, "server_major", "int", "Major of the server it came from.", |d| {
        i64::from(d.server_major).into()
    });
    registrar.property::<Dump>(d, "client_major", "int", "Major of the pg_dump that wrote it.", |d| {
        i64::from(d.client_major).into()
    });
    registrar.property::<Dump>(d, "bytes", "int", "Size on disk.", |d| (d.bytes as i64).into());
    let doc = "What it holds: #{ name, path, entries, tables } per database.";
    registrar.property::<Dump>(d, "databases", "Array", doc, |d| values::from_serde(&d.databases));
    registrar.namespace("pg_dump", "Dumps of a cluster or database, complete and checked, and their restore.", |ns| {
        dumps(ns);
        restores(ns);
        untaken(ns);
    });
}

fn dumps(ns: &mut Namespace<'_>) {
    ns.effect(
        "cluster(server: Server, path: string, options: Map = #{}) -> Dump",
        "Dumps the whole cluster into a new private path, without a terminal. Options: format (`directory`: globals \
         and a parallel directory dump per database; `plain`: one stream as pg_dumpall writes it, compressed when the \
         path ends in `.zst`), client (an image whose client programs are used: at least as new as the server), jobs \
         (2), compress (as `pg_dump --compress`), databases (only these), replace (an older dump of the same cluster \
         at that path gives way once the new one is whole; needs room for both). The path exists only if the dump is \
         whole: exit codes, completion line, table of contents, CR and NUL damage are checked.\n\n\
         Errors: `dump.exists`, `dump.other_cluster` and `dump.empty_cluster` (`replace` never puts another cluster's \
         dump, or one without any table, in the place of a good one), `dump.failed`, `dump.incomplete`, \
         `dump.damaged`, `postgres.client_too_old`, `host.disk_full`.",
        cluster,
    );
    ns.effect(
        "globals(server: Server, path: string, options: Map = #{})",
        "Only roles, memberships, settings and tablespaces, as SQL, into a new private file. Options: client.",
        |call| {
            let (s, path): (Arc<Server>, _) = (call.get("server")?, call.path("path")?);
            let client = call.options("options", &["client"])?.string("client")?;
            call.effect(format!("pg_dumpall --globals-only -h {} > {}", s.container_name, path.display()))?;
            call.world().postgres.dump_globals(&s, &path, client.as_deref())?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "database(server: Server, database: string, path: string, options: Map = #{})",
        "One database into a new private path. Options: format (`custom`, `plain` or `directory`), client.",
        |call| {
            let (s, database): (Arc<Server>, _) = (call.get("server")?, call.string("database")?);
            let path = call.path("path")?;
            let o = call.options("options", &["format", "client"])?;
            let format = o.string("format")?.unwrap_or_else(|| "custom".into());
            call.effect(format!("pg_dump -F{} -d {database} > {}", &format[..1.min(format.len())], path.display()))?;
            call.world().postgres.dump_database(&s, &database, &path, &format, o.string("client")?.as_deref())?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.function(
        "open(path: string) -> Dump",
        "The dump in a path, with what its record says. A plain file made elsewhere has no record; it is looked at.",
        |call| Ok(values::handle(call.world().postgres.open_dump(&call.path("path")?)?)),
    );
    ns.function(
        "verify(dump: Dump, options: Map = #{})",
        "Reads a dump to its end: checksums, completion line, CR and NUL damage, every table's data. Options: \
         client.\n\n\
         Errors: `dump.incomplete`, `dump.damaged`.",
        |call| {
            let client = call.options("options", &["client"])?.string("client")?;
            let dump: Arc<Dump> = call.get("dump")?;
            call.world().postgres.verify_dump(&dump, client.as_deref())?;
            call.session.prove(Fact::DumpVerified { path: guards::absolute(&dump.path) })?;
            Ok(Dynamic::UNIT)
        },
    );
}

fn cluster(call: &mut Call<'_>) -> ScriptResult {
    let (s, path): (Arc<Server>, _) = (call.get("server")?, call.path("path")?);
    let (options, session) = (dump_options(&call.options("options", OPTIONS)?)?, call.session);
    if options.replace {
        guards::artefact_loss(session, &path)?;
    }
    call.effect(format!("pg_dumpall -h {} -U {} > {}", s.container_name, s.user, path.display()))?;
    let container = call.world().containers.container(&s.container)?;
    let volume = witness::data_volume(&container).map(str::to_owned);
    let holders = match &volume {
        Some(volume) => witness::look_at_holders(session, volume)?,
        None => Vec::new(),
    };
    if options.replace || call.world().host.entry(&path)?.is_none() {
        session.prove(Fact::ArtefactBegun { path: guards::absolute(&path) })?;
    }
    let fenced = !witness::is_reachable(call.world(), &container, None)?;
    let dump = call.world().postgres.dump(&s, &path, &options)?;
    // Some databases of a cluster are no copy of it.
    if options.databases.is_empty() {
        session.prove(Fact::DumpTaken {
            path: guards::absolute(&dump.path),
            container: container.id.clone(),
            volume,
            system_identifier: dump.system_identifier.clone(),
            tables: dump.databases.iter().map(|database| database.tables).sum(),
            fenced,
        })?;
        holders.iter().try_for_each(|container| witness::remember(session, container))?;
    }
    Ok(values::handle(dump))
}

fn dump_options(o: &Options) -> Result<DumpOptions> {
    let format = match o.string("format")?.as_deref() {
        None | Some("directory") => Format::Directory,
        Some("plain") => Format::Plain,
        Some(other) => {
            let message = format!("format `{other}` is none of directory, plain");
            return Err(Error::failed("script.wrong_type", message));
        }
    };
    Ok(DumpOptions {
        format,
        client_image: o.string("client")?,
        jobs: jobs(o)?,
        compress: o.string("compress")?,
        databases: o.strings("databases")?,
        replace: o.bool("replace")?.unwrap_or(false),
    })
}

fn jobs(o: &Options) -> Result<u32> {
    Ok(o.int("jobs")?.map_or(2, |j| j.clamp(1, 64) as u32))
}

fn restores(ns: &mut Namespace<'_>) {
    ns.effect(
        "restore(dump: Dump, server: Server, options: Map = #{}) -> Map",
        "Restores a dump into a cluster in which nobody else is connected. Databases that the dump holds replace those \
         of the same name. Errors on a closed list are expected and reported (the connected role exists already …); \
         any other stops. Options: client, jobs (2). Gives #{ databases, expected }.\n\n\
         Errors: `restore.sessions_connected`, `restore.unexpected_error`, `dump.damaged`, `dump.incomplete`.",
        |call| {
            let (dump, s): (Arc<Dump>, Arc<Server>) = (call.get("dump")?, call.get("server")?);
            let o = call.options("options", &["client", "jobs"])?;
            let options = RestoreOptions { client_image: o.string("client")?, jobs: jobs(&o)? };
            call.effect(format!("pg_restore -h {} -j {} {}", s.container_name, options.jobs, dump.path.display()))?;
            target(call, &s)?;
            let report = call.world().postgres.restore(&dump, &s, &options)?;
            call.session
                .prove(Fact::Restored { path: guards::absolute(&dump.path), container: s.container.clone() })?;
            Ok(values::from_serde(&report))
        },
    );
    ns.effect(
        "transfer(source: Server, target: Server, options: Map = #{}) -> Map",
        "Dumps one server straight into another, without a file. Options (but `replace`) and result as \
         `pg_dump::cluster` and `pg_dump::restore`.",
        |call| {
            let (source, to): (Arc<Server>, Arc<Server>) = (call.get("source")?, call.get("target")?);
            let options = dump_options(&call.options("options", TRANSFER)?)?;
            call.effect(format!("pg_dumpall -h {} | psql -h {}", source.container_name, to.container_name))?;
            target(call, &to)?;
            let report = call.world().postgres.transfer(&source, &to, &options)?;
            call.session.prove(Fact::Restored { path: PathBuf::new(), container: to.container.clone() })?;
            Ok(values::from_serde(&report))
        },
    );
}

/// What a throw-away server says to the schema of another.
fn untaken(ns: &mut Namespace<'_>) {
    ns.effect(
        "untaken(source: Server, target: Server, client: string) -> Array",
        "Restores the roles and the schemas of all databases of a server, without a row, into a throw-away server of \
         another version, and gives what that does not take: #{ database, object, message, hint, statement } each. \
         `client` is the image whose pg_dump is used. The target is spoilt by it.\n\n\
         Errors: `dump.failed`, `restore.sessions_connected`.",
        |call| {
            let (source, to): (Arc<Server>, Arc<Server>) = (call.get("source")?, call.get("target")?);
            let client = call.string("client")?;
            let (from, into) = (&source.container_name, &to.container_name);
            call.effect(format!("pg_dumpall --schema-only -h {from} | psql -h {into}"))?;
            target(call, &to)?;
            Ok(values::from_serde(&call.world().postgres.untaken(&source, &to, &client)?))
        },
    );
}

/// Before data is restored into a server: what it has is not what it had.
fn target(call: &Call<'_>, server: &Server) -> Result<()> {
    let container = call.world().containers.container(&server.container)?;
    witness::look(call.session, &container)?;
    witness::remember(call.session, &container)?;
    witness::written_to(call.session, witness::volumes_of(&container))
}
