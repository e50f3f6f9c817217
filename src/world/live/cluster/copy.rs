//! A copy of a running server's cluster, by `pg_basebackup`.

use super::{BESIDE, Clusters, OLD, ROOT, facts, mount, sh, standby, succeeded, volume};
use crate::world::cluster::{ClusterCopy, ClusterFacts, CopyOptions, Stopped};
use crate::world::container::{ContainerSpec, ExecSpec, Streams};
use crate::world::error::{Error, Result};
use crate::world::live::helper::Helper;
use crate::world::live::lines::Lines;
use crate::world::live::progress::Progress;
use crate::world::postgres::Server;

pub fn can_replicate(clusters: &Clusters, server: &Server) -> Result<()> {
    let facts = facts::ask(clusters, server)?;
    let container = clusters.containers.container(&server.container)?;
    let spec = ContainerSpec {
        image: Some(container.image_id.clone()),
        entrypoint: Some(["psql", "-X", "-w", "-A", "-t", "-c", "IDENTIFY_SYSTEM"].map(str::to_owned).to_vec()),
        command: Some(vec!["replication=true".into()]),
        env: clusters.environment(server, facts.port),
        network: Some(format!("container:{}", container.id)),
        ..ContainerSpec::default()
    };
    let answer = succeeded(clusters.containers.run(&spec)?);
    answer.map(|_| ()).map_err(|error| match error.code.as_str() {
        "docker.failed" => {
            let message = format!("{} lets nobody replicate it: {}", server.container_name, error.message);
            Error::refused("basebackup.refused", message)
                .hint("pg_hba.conf needs a line for `replication` from 127.0.0.1 (initdb writes one)")
        }
        _ => error,
    })
}

pub fn take(clusters: &Clusters, server: &Server, name: &str, options: &CopyOptions) -> Result<ClusterCopy> {
    let cluster = facts::ask(clusters, server)?;
    let container = clusters.containers.container(&server.container)?;
    // What an earlier attempt has left would hold the log back, and the volume.
    standby::discard(clusters, &options.name, Some(server))?;
    let copy = ClusterCopy {
        volume: name.to_owned(),
        name: options.name.clone(),
        container: container.id.clone(),
        container_name: container.name.clone(),
        image_id: container.image_id.clone(),
        user: server.user.clone(),
        database: server.database.clone(),
        owner: owner(clusters, server, &cluster)?,
        bytes: cluster.bytes,
        cpu_shares: options.cpu_shares,
        cluster,
    };
    let helper = Helper::start(
        &clusters.context,
        &clusters.containers,
        ContainerSpec {
            image: Some(copy.image_id.clone()),
            mounts: vec![volume(&copy.volume)],
            network: Some(format!("container:{}", copy.container)),
            user: Some(copy.owner.clone()),
            cpu_shares: Some(BESIDE),
            ..ContainerSpec::default()
        },
    )?;
    let empty = "rm -rf \"$1\" && mkdir -m 700 \"$1\" && chown \"$2\" \"$1\"";
    let argv = sh(empty, &[OLD, &copy.owner]);
    let as_root = ExecSpec { argv, user: Some("0:0".into()), ..ExecSpec::default() };
    succeeded(helper.engine.exec_output(&helper.id, &as_root)?)?;
    base_backup(clusters, &helper, server, &copy, options)?;
    read_back(&helper, &copy)?;
    Ok(copy)
}

/// Everything of the stopped cluster, and nothing of what an earlier attempt has made of the copy, wherever it came.
const STOPPED: &str = r#"set -e
rm -rf "$1"/* "$1"/.[!.]*
mkdir -m 700 "$2"
cp -a "$3"/. "$2"/
chown "$4" "$2"
sync"#;

pub fn take_stopped(clusters: &Clusters, copy: &ClusterCopy, stopped: &Stopped) -> Result<()> {
    standby::end(clusters, &copy.name)?;
    let mounts = vec![volume(&copy.volume), mount(&stopped.volume, &stopped.mount, true)];
    let arguments = [ROOT, OLD, stopped.directory.as_str(), copy.owner.as_str()];
    clusters.sh(&copy.image_id, "0:0", mounts, STOPPED, &arguments).map(|_| ())
}

/// Whose the files are, as a container sees it.
fn owner(clusters: &Clusters, server: &Server, cluster: &ClusterFacts) -> Result<String> {
    let argv = ["stat", "-L", "-c", "%u:%g", &cluster.data_directory].map(str::to_owned).to_vec();
    let spec = ExecSpec { argv, user: Some("0".into()), ..ExecSpec::default() };
    succeeded(clusters.containers.exec_output(&server.container, &spec)?)
}

fn base_backup(
    clusters: &Clusters,
    helper: &Helper,
    server: &Server,
    copy: &ClusterCopy,
    options: &CopyOptions,
) -> Result<()> {
    let slot = copy.slot();
    let mut argv = ["pg_basebackup", "-D", OLD, "-X", "stream", "-c", "fast", "-C", "-S", &slot, "-P", "-w"]
        .map(str::to_owned)
        .to_vec();
    argv.extend(options.max_rate.iter().map(|rate| format!("--max-rate={rate}")));
    let spec = ExecSpec { argv, env: clusters.environment(server, copy.cluster.port), ..ExecSpec::default() };
    let label = format!("copying the cluster of {}", copy.container_name);
    let mut progress = Progress::bytes(&clusters.context, label, Some(copy.bytes));
    let mut said = Vec::new();
    let mut lines = Lines::new(&clusters.context.redactor, |line: &str| match moved(line) {
        Some((done, total)) => {
            progress.expect(total);
            progress.set(done);
        }
        None => said.push(line.to_owned()),
    });
    let streams = Streams { stderr: Some(&mut lines), ..Streams::default() };
    let code = helper.engine.exec(&helper.id, &spec, streams)?;
    lines.finish();
    if code == 0 {
        return Ok(());
    }
    let said = said.join("\n");
    let message = format!("pg_basebackup of {} ended with exit code {code}: {said}", copy.container_name);
    let code = if said.contains("No space left on device") { "host.disk_full" } else { "basebackup.failed" };
    Err(Error::failed(code, message))
}

/// `  1234/56789 kB (2%), 0/1 tablespace`: bytes done and in all.
fn moved(line: &str) -> Option<(u64, u64)> {
    let (done, rest) = line.trim().split_once('/')?;
    let (total, _) = rest.split_once(" kB (")?;
    Some((done.parse::<u64>().ok()? * 1024, total.parse::<u64>().ok()? * 1024))
}

/// Every file against the manifest that the server wrote.
fn read_back(helper: &Helper, copy: &ClusterCopy) -> Result<()> {
    let argv = ["pg_verifybackup", "-q", OLD].map(str::to_owned).to_vec();
    let spec = ExecSpec { argv, env: vec!["LC_ALL=C".into()], ..ExecSpec::default() };
    succeeded(helper.engine.exec_output(&helper.id, &spec)?).map(|_| ()).map_err(|error| {
        let message = format!("the copy of {} in volume {} is not whole: {}", copy.container_name, copy.volume, error);
        Error::failed("basebackup.damaged", message).hint(format!("look at {ROOT}: is its disk sound?"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_off_its_lines() {
        assert_eq!(moved("  1024/4096 kB (25%), 0/1 tablespace"), Some((1 << 20, 4 << 20)));
        assert_eq!(moved(" 10/20 kB (50%), 0/1 tablespace (.../old/base/1/2619)"), Some((10240, 20480)));
        assert_eq!(moved("pg_basebackup: error: 1/2 is wrong"), None);
        assert_eq!(moved("waiting for checkpoint"), None);
    }
}
