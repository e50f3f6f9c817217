//! `pg_upgrade::` a copy of a cluster, taken to a new major version by the images that a site has.

use std::sync::Arc;

use rhai::Dynamic;

use super::call::Call;
use super::docker::archive_of;
use super::{Namespace, Registrar, ScriptResult, values};
use crate::script::evidence::Fact;
use crate::script::witness;
use crate::world::cluster::{ClusterCopy, Transfer, UpgradeOptions};
use crate::world::container::Volume;
use crate::world::postgres::Server;
use crate::world::{Error, Result};

/// Declares the functions.
pub fn register(registrar: &mut Registrar) {
    registrar.namespace(
        "pg_upgrade",
        "A copy of a cluster, taken to a new major version by the old and the new image.",
        functions,
    );
}

fn functions(ns: &mut Namespace<'_>) {
    ns.effect(
        "programs(image: string, volume: Volume)",
        "Fills a volume with the programs of the old version's image, such that they run in a container of the new \
         one, by their own loader and with their own libraries. A full one is left as it is.\n\n\
         Errors: `pg_upgrade.no_programs`.",
        |call| {
            let (image, volume): (String, Arc<Volume>) = (call.string("image")?, call.get("volume")?);
            call.effect(format!("docker run --rm -v {}:/old {image} cp -a /usr /lib /lib64 /old/", volume.name))?;
            call.world().clusters.programs(&image, &volume.name)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "initdb(copy: ClusterCopy, image: string, programs: Volume)",
        "Makes an empty cluster of the new image's version beside the copy, like it in superuser, encoding, locale, \
         provider, checksums and size of log files. The container in which it does that stays, with the old version's \
         programs, until `upgrade` is done or the copy is discarded.\n\n\
         Errors: `pg_upgrade.no_user`, `docker.failed` with what initdb said.",
        |call| {
            let (copy, image): (Arc<ClusterCopy>, _) = (call.get("copy")?, call.string("image")?);
            let programs: Arc<Volume> = call.get("programs")?;
            call.effect(format!(
                "docker run -d --name {} -v {}:/copy {image}; initdb -D /copy/new",
                copy.tools(),
                copy.volume
            ))?;
            call.world().clusters.initdb(&copy, &image, &programs.name)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "settings(copy: ClusterCopy, directory: string)",
        "Lays the files of a directory of this machine ready, after `initdb`: `upgrade` puts them into the new \
         cluster, in the place of those of their names, or, of one called `NAME.added`, at the end of `NAME`.",
        |call| {
            let (copy, directory): (Arc<ClusterCopy>, _) = (call.get("copy")?, call.path("directory")?);
            call.effect(format!("docker cp {}/. {}:/copy/settings/", directory.display(), copy.tools()))?;
            let files: Vec<_> = call.world().host.list(&directory)?.into_iter().map(|entry| entry.path).collect();
            let archive = archive_of(&files, &*call.world().host)?;
            call.world().clusters.settings(&copy, &mut archive.as_slice())?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "check(copy: ClusterCopy, image: string, programs: Volume, options: Map = #{})",
        "Asks `pg_upgrade --check` of the new image, while the copy follows its server, what would stand in the way of \
         `upgrade`. Options: transfer, jobs, place, as there.\n\n\
         Errors: `pg_upgrade.failed` with the objects that are in the way.",
        |call| {
            let copy: Arc<ClusterCopy> = call.get("copy")?;
            let (options, flag) = options(call)?;
            call.effect(format!("pg_upgrade --check {flag} -d {}/old -D {}/new", copy.volume, copy.volume))?;
            call.world().clusters.check_upgrade(&copy, &options)?;
            Ok(Dynamic::UNIT)
        },
    );
    ns.effect(
        "upgrade(copy: ClusterCopy, image: string, programs: Volume, options: Map = #{}) -> Map",
        "Upgrades the promoted copy into the cluster that `pg_upgrade::initdb` has made, with `pg_upgrade` of the new \
         image; the volume then holds that one alone. A copy serves once: where it fails, take another one. Options: \
         transfer (`link`, the default, `swap` from 18 on, or `copy`), jobs (2), place (the directory in the volume \
         where the new server looks for its cluster; the root when left out). Gives #{ same, others, \
         system_identifier }: how many files of the site's relations are the very files of the copy, and which are not \
         (those of sequences; all of them with `copy`).\n\n\
         Errors: `pg_upgrade.failed` with the decisive lines of its logs.",
        upgrade,
    );
    ns.effect(
        "verify(server: Server)",
        "Proves that the cluster of a server, which this run has upgraded with `link` or `swap`, holds each of its \
         tables and indexes in the very files of the copy. With the same names in both (`psql::compare` of contents \
         without rows) it then holds the same, and nobody has to read it.\n\nErrors: `pg_upgrade.not_the_same`.",
        verify,
    );
}

fn upgrade(call: &mut Call<'_>) -> ScriptResult {
    let copy: Arc<ClusterCopy> = call.get("copy")?;
    let (options, flag) = options(call)?;
    call.effect(format!("pg_upgrade {flag} -d {}/old -D {}/new -j {}", copy.volume, copy.volume, options.jobs))?;
    // Whatever comes of it, it is not the copy any more.
    call.session.prove(Fact::VolumeCreated { volume: copy.volume.clone() })?;
    let done = call.world().clusters.upgrade(&copy, &options)?;
    call.session.prove(Fact::ClusterUpgraded {
        volume: copy.volume.clone(),
        from: copy.cluster.system_identifier.clone(),
        to: done.system_identifier.clone(),
        same: done.same,
        others: done.others.clone(),
    })?;
    Ok(values::from_serde(&done))
}

/// How to upgrade, and the option of `pg_upgrade` that says how files are handed over.
fn options(call: &Call<'_>) -> Result<(UpgradeOptions, &'static str)> {
    let programs: Arc<Volume> = call.get("programs")?;
    let o = call.options("options", &["transfer", "jobs", "place"])?;
    let (transfer, flag) = match o.string("transfer")?.as_deref() {
        None | Some("link") => (Transfer::Link, "--link"),
        Some("swap") => (Transfer::Swap, "--swap"),
        Some("copy") => (Transfer::Copy, "--copy"),
        Some(other) => {
            let message = format!("transfer `{other}` is none of link, swap, copy");
            return Err(Error::failed("script.wrong_type", message));
        }
    };
    let options = UpgradeOptions {
        image: call.string("image")?,
        programs: programs.name.clone(),
        transfer,
        jobs: o.int("jobs")?.map_or(2, |jobs| jobs.clamp(1, 64) as u32),
        place: o.string("place")?.unwrap_or_default(),
    };
    Ok((options, flag))
}

fn verify(call: &mut Call<'_>) -> ScriptResult {
    let server: Arc<Server> = call.get("server")?;
    let container = call.world().containers.container(&server.container)?;
    call.effect(format!("find -inum: the files of tables and indexes of {} are those of the copy", container.name))?;
    witness::remember(call.session, &container)?;
    let volume = witness::data_volume(&container).unwrap_or_default().to_owned();
    let Some(upgrade) = call.session.evidence.ask(|ledger| ledger.upgrade_in(&volume).cloned()) else {
        let message = format!("the cluster of {} is none that this run has upgraded", container.name);
        return Err(Error::failed("pg_upgrade.not_the_same", message).into());
    };
    let anew = call.world().clusters.made_anew(&server, &upgrade.others)?;
    if !anew.is_empty() {
        let message = format!("of {} these are not in the files of the copy: {}", container.name, anew.join(", "));
        return Err(Error::failed("pg_upgrade.not_the_same", message).into());
    }
    call.session.prove(Fact::FilesProved { volume })?;
    Ok(Dynamic::UNIT)
}
