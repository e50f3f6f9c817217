//! `volume::` volumes, and their content: as one file, under another name, twice.

use std::sync::Arc;

use rhai::{Array, Dynamic};

use super::call::{Call, Options};
use super::docker::text_map;
use super::{Namespace, Registrar, ScriptResult, booted, values};
use crate::script::evidence::Fact;
use crate::script::{guards, witness};
use crate::world::container::{Container, ContainerFilter, Volume};
use crate::world::control::{ControlFile, lsn};
use crate::world::volume::{Access, Backup, BackupOptions, NewVolume};
use crate::world::{Error, Result};

/// Declares the handle types and functions.
pub fn register(registrar: &mut Registrar) {
    handles(registrar);
    registrar.namespace(
        "volume",
        "Volumes: look, create, move, clone, keep, remove, and back up to and from one file.",
        |ns| {
            look(ns);
            change(ns);
            rename_and_clone(ns);
            keep(ns);
            backups(ns);
            booted::of_volume(ns);
        },
    );
}

fn handles(r: &mut Registrar) {
    r.handle::<Volume>("Volume");
    let v = "Volume";
    r.property::<Volume>(v, "name", "string", "Name.", |v| v.name.clone().into());
    r.property::<Volume>(v, "driver", "string", "Driver, mostly `local`.", |v| v.driver.clone().into());
    r.property::<Volume>(v, "mount_point", "string", "Where the engine keeps it on its host.", |v| {
        v.mount_point.clone().into()
    });
    r.property::<Volume>(v, "labels", "Map", "Labels.", |v| values::from_serde(&v.labels));
    r.property::<Volume>(v, "options", "Map", "Driver options.", |v| values::from_serde(&v.options));

    r.handle::<Backup>("Backup");
    let b = "Backup";
    r.property::<Backup>(b, "path", "string", "The file.", |b| b.path.display().to_string().into());
    r.property::<Backup>(b, "volume", "string", "The volume it was taken from.", |b| b.manifest.volume.clone().into());
    r.property::<Backup>(b, "pg_version", "string", "Major of the cluster in it; empty without one.", |b| {
        b.manifest.pg_version.clone().into()
    });
    r.property::<Backup>(b, "files", "int", "Regular files in it.", |b| (b.manifest.files as i64).into());
    r.property::<Backup>(b, "bytes", "int", "Sum of their sizes.", |b| (b.manifest.bytes as i64).into());
    r.property::<Backup>(b, "compressed_bytes", "int", "Size of the backup itself.", |b| {
        (b.manifest.compressed_bytes as i64).into()
    });
    r.property::<Backup>(b, "sha256", "string", "Checksum, as sha256sum prints it.", |b| {
        b.manifest.sha256.clone().into()
    });
}

fn look(ns: &mut Namespace<'_>) {
    ns.function(
        "list(project: string = \"\") -> Array",
        "Volumes with the Compose label of a project, or all.",
        |call| {
            let project = if call.has("project") { call.string("project")? } else { String::new() };
            let project = Some(project.as_str()).filter(|p| !p.is_empty());
            let found = call.world().containers.volumes(project)?;
            Ok(found.into_iter().map(values::handle).collect::<Array>().into())
        },
    );
    ns.function("inspect(name: string) -> Volume", "The volume of this name.\n\nErrors: `volume.not_found`.", |call| {
        Ok(values::handle(existing(call, &call.string("name")?)?))
    });
    ns.function("exists(name: string) -> bool", "Whether a volume of this name exists.", |call| {
        Ok(call.world().containers.volume(&call.string("name")?)?.is_some().into())
    });
    ns.function("holders(volume: Volume) -> Array", "Containers, in any state, that mount the volume.", |call| {
        let v: Arc<Volume> = call.get("volume")?;
        let filter = ContainerFilter { volume: Some(v.name.clone()), ..Default::default() };
        let found = call.world().containers.containers(&filter)?;
        Ok(found.into_iter().map(values::handle).collect::<Array>().into())
    });
    ns.function(
        "pg_version(volume: Volume) -> string",
        "Major version in the volume's PG_VERSION, read without starting anything; empty without a cluster.",
        |call| Ok(call.world().volumes.pg_version(&call.get::<Arc<Volume>>("volume")?.name)?.into()),
    );
    ns.function(
        "control(volume: Volume, directory: string = \"\") -> any",
        "What pg_controldata would say of a cluster, read without starting anything. It is in a directory of the \
         volume, or in its root: #{ system_identifier, state, checkpoint, redo, timeline, next_xid }. `state` is \
         `shut down` after a clean stop. `checkpoint` is text, as the server writes a place in its log; `redo`, in \
         bytes, and `next_xid`, with its epoch, are numbers. `()` where no cluster can be read.",
        |call| {
            let (volume, directory): (Arc<Volume>, _) = (call.get("volume")?, call.string("directory")?);
            let found = call.world().volumes.control(&volume.name, &directory)?;
            Ok(found.map_or(Dynamic::UNIT, control_map))
        },
    );
    ns.function("size(volume: Volume) -> int", "Bytes of the regular files in the volume.", |call| {
        Ok((call.world().volumes.size(&call.get::<Arc<Volume>>("volume")?.name)?.0 as i64).into())
    });
    ns.function("is_empty(volume: Volume) -> bool", "Whether the volume has no entry at all.", |call| {
        Ok((!call.world().volumes.size(&call.get::<Arc<Volume>>("volume")?.name)?.1).into())
    });
}

fn control_map(control: ControlFile) -> Dynamic {
    let number = |number: u64| Dynamic::from(i64::try_from(number).unwrap_or(i64::MAX));
    let values = [
        ("system_identifier", control.system_identifier.to_string().into()),
        ("state", control.state.into()),
        ("checkpoint", lsn(control.checkpoint).into()),
        ("redo", number(control.redo)),
        ("timeline", i64::from(control.timeline).into()),
        ("next_xid", number(control.next_xid)),
    ];
    values.into_iter().map(|(name, value)| (name.into(), value)).collect::<rhai::Map>().into()
}

fn existing(call: &Call<'_>, name: &str) -> Result<Volume> {
    let hint = || "docker volume ls shows what there is";
    let missing = || Error::refused("volume.not_found", format!("no volume {name}")).hint(hint());
    call.world().containers.volume(name)?.ok_or_else(missing)
}

fn change(ns: &mut Namespace<'_>) {
    ns.effect(
        "create(name: string, options: Map = #{}) -> Volume",
        "Creates a volume; options: driver (local), labels, options (of the driver), or `like: volume` for those \
         of another. An existing one of that name is an error.\n\nErrors: `volume.exists`.",
        |call| {
            let name = call.string("name")?;
            let o = call.options("options", &["driver", "labels", "options", "like"])?;
            let like = o.value("like").and_then(|v| v.try_cast::<Arc<Volume>>());
            let pick = |given: Option<rhai::Map>, inherited: fn(&Volume) -> _| match (given, &like) {
                (None, Some(like)) => inherited(like),
                (given, _) => text_map(given),
            };
            let labels = pick(o.map("labels")?, |v| v.labels.clone());
            let driver_options = pick(o.map("options")?, |v| v.options.clone());
            let inherited = like.as_ref().map(|v| v.driver.clone());
            let driver = o.string("driver")?.or(inherited).unwrap_or_else(|| "local".into());
            if call.world().containers.volume(&name)?.is_some() {
                return Err(Error::failed("volume.exists", format!("volume {name} exists already")).into());
            }
            call.effect(format!("docker volume create {name}"))?;
            let created = call.world().containers.create_volume(&name, &driver, &labels, &driver_options)?;
            call.session.prove(Fact::VolumeCreated { volume: created.name.clone() })?;
            Ok(values::handle(created))
        },
    );
    ns.effect(
        "remove(volume: Volume)",
        "Removes a volume and everything in it. Refused unless this run has a verified backup or dump of that volume, \
         taken after the last use of it, or made the volume itself and nobody used it, or a finished run has put it \
         aside and its backup was started (`psql::prove_backup`), or it is empty, or the operator named it with \
         `--allow-data-loss volume:NAME`.\n\n\
         Errors: `volume.unproven`, `guard.volume_kept`, `guard.backup_not_started`, `docker.conflict` while a \
         container holds it.",
        |call| {
            let v: Arc<Volume> = call.get("volume")?;
            guards::volume_removal(call.session, &v)?;
            call.effect(format!("docker volume rm {}", v.name))?;
            call.session.prove(Fact::VolumeRemoved { volume: v.name.clone() })?;
            if let Err(error) = call.world().containers.remove_volume(&v.name) {
                // What can't be found out now is settled by the next guard that asks.
                let _ = witness::settle(call.session);
                return Err(error.into());
            }
            call.session.prove(Fact::VolumeGone { volume: v.name.clone() })?;
            Ok(Dynamic::UNIT)
        },
    );
}

fn rename_and_clone(ns: &mut Namespace<'_>) {
    ns.effect(
        "move(volume: Volume, name: string, options: Map = #{}) -> Volume",
        "Keeps the volume's content under another name, without copying it: makes volume `name`, renames the content \
         on its file system, removes the old volume. For the driver `local` without driver options. No container may \
         mount the volume, stopped ones neither; a keeper goes along. Interrupted, the same call completes it, so its \
         step may be `repeatable` (look the volume up in a step before: its name may be gone by then). Options: \
         labels (of the new volume), image (one the site has, with `sh`; for the helper container that does it where \
         the engine is not on this machine).\n\n\
         Errors: `volume.in_use`, `volume.exists`, `volume.not_empty` (both hold something), `volume.cannot_move` \
         (back it up and restore it instead).",
        |call| {
            let (v, name): (Arc<Volume>, _) = (call.get("volume")?, call.string("name")?);
            let options = new_volume(&call.options("options", NEW_VOLUME)?)?;
            let (from, to) = (&v.mount_point, mount_point_of(&v, &name));
            call.effect(format!("docker volume create {name}; mv -T {from} {to}; docker volume rm {}", v.name))?;
            let is_there = call.world().containers.volume(&v.name)?.is_some();
            let has_moved = call.session.evidence.ask(|ledger| ledger.put_aside_from(&name).as_ref() == Some(&v.name));
            if is_there {
                witness::cluster_in(call.session, &v)?;
                call.session.prove(Fact::VolumeMoving { from: v.name.clone(), to: name.clone() })?;
            }
            let moved = call.world().volumes.rename(&v.name, &name, &options)?;
            if is_there || !has_moved {
                call.session.prove(Fact::VolumeMoved { from: v.name.clone(), to: name })?;
            }
            Ok(values::handle(moved))
        },
    );
    ns.effect(
        "clone(volume: Volume, name: string, options: Map = #{}) -> Volume",
        "A new volume `name` with exactly the content of this one, compared after copying; on file systems that can \
         (XFS, Btrfs) both share their blocks. Nothing that runs may have the volume mounted writable. The new volume \
         is empty until it holds everything; interrupted, the same call starts over. Options: labels (of the new \
         volume), image (one the site has, with `sh` and `cp`; for the helper container that does it where the engine \
         is not on this machine; BusyBox's `cp` drops extended attributes and fractions of seconds).\n\n\
         Errors: `volume.in_use`, `volume.exists`, `volume.changed`, `volume.cannot_clone`, `host.disk_full`.",
        |call| {
            let (v, name): (Arc<Volume>, _) = (call.get("volume")?, call.string("name")?);
            let options = new_volume(&call.options("options", NEW_VOLUME)?)?;
            let (from, to) = (&v.mount_point, mount_point_of(&v, &name));
            call.effect(format!("docker volume create {name}; cp -a --reflink=auto {from}/. {to}/"))?;
            let cloned = call.world().volumes.clone_to(&v.name, &name, &options)?;
            call.session.prove(Fact::VolumeCloned { from: v.name.clone(), to: cloned.name.clone() })?;
            Ok(values::handle(cloned))
        },
    );
}

const NEW_VOLUME: &[&str] = &["labels", "image"];

fn new_volume(o: &Options) -> Result<NewVolume> {
    Ok(NewVolume { labels: text_map(o.map("labels")?), image: o.string("image")? })
}

/// Where the engine will have a volume of this name, beside `sibling`.
fn mount_point_of(sibling: &Volume, name: &str) -> String {
    sibling.mount_point.replace(&format!("/{}/", sibling.name), &format!("/{name}/"))
}

fn keep(ns: &mut Namespace<'_>) {
    ns.effect(
        "keep(volume: Volume, options: Map = #{}) -> Container",
        "Makes the container `<volume>-keeper`, which mounts the volume and is never started: `docker volume prune` \
         leaves a volume alone that a container mounts, and the removal of exited containers leaves a container alone \
         that is only created (`docker container prune` and `docker system prune` don't). One that is there is found \
         again. Options: image (one the engine has; that of any of its containers, or that the run holds on to, \
         when left out).\n\n\
         Errors: `docker.conflict`, `docker.image_missing`.",
        |call| {
            let v: Arc<Volume> = call.get("volume")?;
            let image = call.options("options", &["image"])?.string("image")?;
            let (name, shown) = (&v.name, image.as_deref().unwrap_or("IMAGE"));
            call.effect(format!("docker container create --name {name}-keeper -v {name}:/pgscript-volume {shown}"))?;
            let keeper: Container = call.world().volumes.keep(name, image.as_deref())?;
            Ok(values::handle(keeper))
        },
    );
    ns.effect("unkeep(volume: Volume)", "Removes the volume's keeper; nothing happens without one.", |call| {
        let v: Arc<Volume> = call.get("volume")?;
        call.effect(format!("docker container rm {}-keeper", v.name))?;
        call.world().volumes.unkeep(&v.name)?;
        Ok(Dynamic::UNIT)
    });
}

const ACCESS: &[&str] = &["access", "level", "image"];
const BACKUP: &[&str] = &["access", "level", "image", "replace"];

fn backups(ns: &mut Namespace<'_>) {
    ns.effect(
        "backup(volume: Volume, path: string, options: Map = #{}) -> Backup",
        "Writes the volume's content to a new private file: a tar compressed with zstd on all cores, with a checksum \
         and a manifest beside it (`<path>.json`). Nothing that runs may have it mounted. The file gets its name only \
         when it is whole and synced. Options: access (auto, mount_point, endpoint), level (1), image (one the site \
         has, where a helper container is needed), replace (false; an older backup of the same volume gives way as \
         soon as the new one is whole, but not when the volume has become empty).\n\n\
         Errors: `volume.in_use`, `backup.exists`, `backup.in_progress`, `backup.other_volume`, `backup.empty_volume`, \
         `host.disk_full`.",
        backup,
    );
    ns.function("open(path: string) -> Backup", "The backup in a file, with what its manifest says.", |call| {
        Ok(values::handle(call.world().volumes.open(&call.path("path")?)?))
    });
    ns.function(
        "verify(backup: Backup)",
        "Reads a backup to its end: checksum, decompression, every entry, counts against the manifest.\n\n\
         Errors: `backup.damaged`, `backup.cut_off`.",
        |call| {
            let backup: Arc<Backup> = call.get("backup")?;
            call.world().volumes.verify(&backup)?;
            call.session.prove(Fact::BackupVerified { path: guards::absolute(&backup.path) })?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "restore(backup: Backup, volume: Volume, options: Map = #{})",
        "Gives an empty volume exactly the content of a backup: bytes, owners, modes, links and times. Options: access \
         (auto, mount_point, endpoint), image (one the site has, where a helper container is needed).\n\n\
         Errors: `volume.not_empty`, `volume.in_use`, `backup.damaged`.",
        |call| {
            let (backup, v): (Arc<Backup>, Arc<Volume>) = (call.get("backup")?, call.get("volume")?);
            let options = backup_options(&call.options("options", ACCESS)?)?;
            call.effect(format!("zstd -dc {} | tar -C {} -xp", backup.path.display(), v.mount_point))?;
            // Where it can't be looked at beforehand (an engine elsewhere, no image named) the restore itself refuses
            // one that is not empty.
            let is_empty = || call.world().volumes.size(&v.name).is_ok_and(|(_, has_entries)| !has_entries);
            if !call.session.evidence.ask(|ledger| ledger.is_ours(&v.name)) && is_empty() {
                call.session.prove(Fact::VolumeCreated { volume: v.name.clone() })?;
            }
            call.world().volumes.restore(&backup, &v.name, &options)?;
            let (path, sha256) = (guards::absolute(&backup.path), backup.manifest.sha256.clone());
            call.session.prove(Fact::VolumeRestored { volume: v.name.clone(), path, sha256 })?;
            Ok(Dynamic::UNIT)
        },
    );
}

fn backup(call: &mut Call<'_>) -> ScriptResult {
    let (v, path): (Arc<Volume>, _) = (call.get("volume")?, call.path("path")?);
    let (options, session) = (backup_options(&call.options("options", BACKUP)?)?, call.session);
    witness::settle(session)?;
    if options.replace {
        guards::artefact_loss(session, &path)?;
    }
    call.effect(format!("tar -C {} -c . | zstd -1 -T0 > {}", v.mount_point, path.display()))?;
    // Whoever is started from here on may write to what is being read.
    let holders = witness::look_at_holders(session, &v.name)?;
    let begun = call.world().host.entry(&path)?.is_none() || options.replace;
    if begun {
        session.prove(Fact::ArtefactBegun { path: guards::absolute(&path) })?;
    }
    let backup = call.world().volumes.backup(&v.name, &path, &options)?;
    let sha256 = backup.manifest.sha256.clone();
    session.prove(Fact::BackupTaken { volume: v.name.clone(), path: guards::absolute(&backup.path), sha256 })?;
    holders.iter().try_for_each(|container| witness::remember(session, container))?;
    Ok(values::handle(backup))
}

fn backup_options(o: &Options) -> Result<BackupOptions> {
    let access = match o.string("access")?.as_deref() {
        None | Some("auto") => Access::Auto,
        Some("mount_point") => Access::MountPoint,
        Some("endpoint") => Access::Endpoint,
        Some(other) => {
            let message = format!("access `{other}` is none of auto, mount_point, endpoint");
            return Err(Error::failed("script.wrong_type", message));
        }
    };
    Ok(BackupOptions {
        access,
        level: o.int("level")?.map(|l| l.clamp(1, 19) as i32),
        replace: o.bool("replace")?.unwrap_or(false),
        image: o.string("image")?,
    })
}
