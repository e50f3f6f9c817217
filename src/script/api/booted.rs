//! `psql::prove_backup` and `volume::backup_not_started`: whether a backup is one, which only a server that was started
//! on it shows.

use std::path::Path;
use std::sync::Arc;

use rhai::{Dynamic, Map};

use super::call::Call;
use super::content::{checksum, content_of};
use super::{Namespace, ScriptResult};
use crate::script::evidence::Fact;
use crate::script::ledger::Ledger;
use crate::script::{guards, witness};
use crate::world::container::{Container, Volume};
use crate::world::content::{self, Beside, Content, Level};
use crate::world::postgres::{ANY_DATABASE, Server};
use crate::world::volume::Backup;
use crate::world::{Error, Result};

/// Differences that are told.
const SHOWN: usize = 20;
/// Sessions that read it: the application runs beside it.
const JOBS: usize = 1;

/// Declares the function of the namespace `psql`.
pub fn of_server(ns: &mut Namespace<'_>) {
    ns.function(
        "prove_backup(server: Server, backup: Backup, before: string) -> Map",
        "Proves that a backup can be started, and holds what was recorded before it was taken. `server` runs on a \
         volume that this run has unpacked the backup into and that nobody has written to since, alone in its \
         container, where nobody else reaches it. `before` is the file that `psql::save_content` of the run that made \
         the backup has written. Every row of every table is read. From then on `volume::remove` may take the volume \
         that the backup is of. Gives #{ tables, rows }.\n\n\
         Errors: `backup.unproven` where that is not so, `backup.other_cluster`, `backup.not_the_same`.",
        prove_backup,
    );
}

/// Declares the function of the namespace `volume`.
pub fn of_volume(ns: &mut Namespace<'_>) {
    ns.function(
        "backup_not_started(volume: Volume) -> any",
        "Why `volume::remove` refuses a volume with the old data, which a finished run has put aside: no backup of it \
         was started (`psql::prove_backup`), or it is not the same file any more. `()` where it does not refuse it for \
         that: after a rollback, or when the operator has named the volume. Reads the backup to its end.",
        |call| {
            let volume: Arc<Volume> = call.get("volume")?;
            Ok(guards::unstarted(call.session, &volume.name)?.map_or(Dynamic::UNIT, Into::into))
        },
    );
}

fn unproven(message: String) -> Error {
    Error::failed("backup.unproven", message)
}

fn prove_backup(call: &mut Call<'_>) -> ScriptResult {
    let (server, backup): (Arc<Server>, Arc<Backup>) = (call.get("server")?, call.get("backup")?);
    let (path, before) = (guards::absolute(&backup.path), guards::absolute(&call.path("before")?));
    let owner = call.session.record.owner(&path)?;
    let facts = owner.map(|owner| Ledger::of(&owner.facts)).unwrap_or_default();
    let Some(sha256) = facts.backup_at(&path) else {
        return Err(unproven(format!("no run of this store has made the backup {}", path.display())).into());
    };
    let before = recorded(call, &facts, &path, &before)?;
    let container = call.world().containers.container(&server.container)?;
    check_volume(call, &container, &path, sha256)?;
    check_server(call, &server, &container)?;
    if before.container == container.id {
        return Err(unproven(format!("what was recorded is of {} itself", container.name)).into());
    }
    let after = call.world().postgres.content(&server, Level::Content, JOBS)?;
    if after.system_identifier != before.system_identifier {
        let message = format!(
            "{} holds another cluster (system identifier {}) than the one that was recorded ({})",
            path.display(),
            after.system_identifier,
            before.system_identifier
        );
        return Err(Error::failed("backup.other_cluster", message).into());
    }
    check_same(&path, &before, &after)?;
    // Whoever was at it meanwhile would have had to start something.
    check_volume(call, &container, &path, sha256)?;
    let (sha256, system_identifier) = (sha256.to_owned(), after.system_identifier.clone());
    call.session.prove(Fact::BackupBooted { path, sha256, system_identifier })?;
    let number = |number: u64| Dynamic::from(i64::try_from(number).unwrap_or(i64::MAX));
    Ok(Map::from([("tables".into(), number(after.tables())), ("rows".into(), number(after.rows()))]).into())
}

/// What the run that made the backup has recorded. A script may write any file: what counts is the one whose checksum
/// that run has noted. Runs of earlier versions have noted none; of these it is the file beside the backup, which is as
/// good as the backup's own manifest: both lie in the run's private directory.
fn recorded(call: &Call<'_>, facts: &Ledger, backup: &Path, path: &Path) -> Result<Content> {
    let bytes = call.world().host.read(path)?;
    let is_it = match facts.contents().get(path) {
        Some(sha256) => *sha256 == checksum(&bytes),
        None => facts.contents().is_empty() && path.parent() == backup.parent(),
    };
    if !is_it {
        let shown = path.display();
        return Err(unproven(format!("{shown} is not what the run that made the backup has recorded of the cluster")));
    }
    content_of(&bytes, path)
}

/// The server's volume is this run's own, is alone in the container and alone its, and holds what was unpacked from
/// these very bytes.
fn check_volume(call: &Call<'_>, container: &Container, backup: &Path, sha256: &str) -> Result<()> {
    let name = &container.name;
    let mut volumes = witness::volumes_of(container);
    let Some(volume) = witness::data_volume(container).filter(|v| volumes.all(|other| other == *v)) else {
        return Err(unproven(format!("{name} must have its cluster in a volume, and no other one to write to")));
    };
    let holders = witness::look_at_holders(call.session, volume)?;
    if let Some(other) = holders.iter().find(|holder| holder.id != container.id) {
        return Err(unproven(format!("{} mounts volume {volume} as well", other.name)));
    }
    let (is_ours, unpacked) = call.session.evidence.ask(|l| (l.is_ours(volume), l.unpacked_from(volume).cloned()));
    let is_it = unpacked.is_some_and(|(path, sum)| path == backup && sum == sha256);
    if is_ours && is_it {
        return Ok(());
    }
    let shown = backup.display();
    let message =
        format!("volume {volume} does not hold, untouched, what this run has unpacked from {shown} as it was written");
    Err(unproven(message).hint("volume::restore it into a volume of this run's own, and write nothing to that"))
}

/// It runs where nobody else reaches it, and on the volume.
fn check_server(call: &Call<'_>, server: &Server, container: &Container) -> Result<()> {
    if !container.is_running() || witness::is_reachable(call.world(), container, None)? {
        return Err(unproven(format!("{} must run where nobody else reaches it (network none)", container.name)));
    }
    let sql = "SELECT pg_catalog.current_setting('data_directory') AS it";
    let rows = call.world().postgres.query(server, ANY_DATABASE, sql, &[])?;
    let directory = rows.first().and_then(|row| row.get("it")?.as_str()).unwrap_or_default();
    let mount = witness::data_mount(container).map(|mount| mount.destination.as_str()).unwrap_or_default();
    if !Path::new(directory).starts_with(mount) {
        return Err(unproven(format!("the server in {} keeps its cluster in {directory}", container.name)));
    }
    Ok(())
}

fn check_same(backup: &Path, before: &Content, after: &Content) -> Result<()> {
    let found = content::compare(before, after, Beside::default())?;
    if found.is_equal() {
        return Ok(());
    }
    let mut differences: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    if differences.is_empty() {
        differences.push("no table was recorded, so that there is nothing to compare".into());
    }
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    let message = format!(
        "{} does not hold what was recorded before it was taken:\n  {}",
        backup.display(),
        differences.join("\n  ")
    );
    Err(Error::failed("backup.not_the_same", message))
}
