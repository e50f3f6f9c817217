//! A copy that follows its server, until that one has stopped and the copy is made a cluster of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Clusters, OLD, mount, volume};
use crate::world::cluster::{COPY, ClusterCopy, Stopped, slot_of, tools_of};
use crate::world::container::{Container, ContainerSpec, ExecSpec, LABEL_HELPER};
use crate::world::control::SHUT_DOWN;
use crate::world::error::{Error, Result};
use crate::world::postgres::{ANY_DATABASE, Binding, Server};

/// The socket's directory of the images. It is the copy's own, and only containers of ours get to it.
const SOCKETS: &str = "/var/run/postgresql";

/// Starts the copy as its data's owner; the image's entry point wants an environment that it does not have. Its own
/// socket leads to it, and that one trusts; so does, in a network that nobody else is in, its own address.
const START: &str = r#"umask 077
printf 'local all all trust\nhost all all 127.0.0.1/32 trust\n' >/var/run/postgresql/hba.conf
: >/var/run/postgresql/ident.conf
: >/pgscript-cluster/old/standby.signal
exec postgres "$@""#;

/// What the copy needs of its own, whatever its files say: it writes nowhere but to its volume, and nothing of the
/// site's runs in it.
const SETTINGS: [&str; 15] = [
    // Its socket's name, whatever port the server listens on.
    "port=5432",
    // `pg_upgrade --check` of another image comes to it by the volume.
    "unix_socket_directories=/pgscript-cluster/old,/var/run/postgresql",
    "hba_file=/var/run/postgresql/hba.conf",
    "ident_file=/var/run/postgresql/ident.conf",
    "external_pid_file=",
    "hot_standby=on",
    "archive_mode=off",
    "restore_command=",
    "recovery_target_timeline=latest",
    "shared_preload_libraries=",
    "session_preload_libraries=",
    "ssl=off",
    "logging_collector=off",
    // Beside the server, on its machine.
    "shared_buffers=128MB",
    "huge_pages=off",
];

/// How long a copy may take to come up, and to take what is left when its server has stopped.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn start(clusters: &Clusters, copy: &ClusterCopy, server: &Server) -> Result<Server> {
    let container = match clusters.containers.existing(&copy.name)? {
        Some(container) => container,
        None => create(clusters, copy, following(clusters, copy, server)?)?,
    };
    come_up(clusters, copy, &container)
}

/// Waits until the copy in the container answers.
fn come_up(clusters: &Clusters, copy: &ClusterCopy, container: &Container) -> Result<Server> {
    if !container.is_running() {
        clusters.containers.start(&container.id)?;
    }
    let standby = copy.server(&container.id, &container.name);
    let begun = Instant::now();
    loop {
        let answer = recovering(clusters, &standby);
        match answer {
            Ok(_) => return Ok(standby),
            Err(error) if error.code == "cancelled" => return Err(error),
            Err(error) => {
                let now = clusters.containers.container(&container.id)?;
                if !now.is_running() || begun.elapsed() >= PATIENCE {
                    return Err(not_up(clusters, copy, &error));
                }
            }
        }
        pause(clusters)?;
    }
}

fn not_up(clusters: &Clusters, copy: &ClusterCopy, error: &Error) -> Error {
    let log = clusters.containers.logs(&copy.name, 20).unwrap_or_default();
    let message = format!("the copy of {} does not come up: {error}\n{}", copy.container_name, log.trim_end());
    Error::failed("basebackup.failed", message)
}

fn pause(clusters: &Clusters) -> Result<()> {
    std::thread::sleep(Duration::from_millis(100));
    clusters.context.cancel.check()
}

/// Settings, environment and network of a copy.
struct Place {
    settings: Vec<String>,
    env: Vec<String>,
    network: String,
}

/// Where it follows its server.
fn following(clusters: &Clusters, copy: &ClusterCopy, server: &Server) -> Result<Place> {
    let connection = format!(
        "host=127.0.0.1 port={} user='{}' application_name={}",
        copy.cluster.port,
        server.user.replace('\\', "\\\\").replace('\'', "\\'"),
        copy.slot()
    );
    // One whose server has stopped has nobody to follow.
    let runs = clusters.containers.existing(&copy.container)?.is_some_and(|server| server.is_running());
    let env = clusters.environment(server, copy.cluster.port).into_iter();
    Ok(Place {
        settings: vec![
            "listen_addresses=".into(),
            format!("primary_conninfo={connection}"),
            format!("primary_slot_name={}", copy.slot()),
        ],
        // The password is the log receiver's; where none is needed there is none.
        env: env.filter(|e| e.starts_with("PGPASSWORD=")).collect(),
        network: if runs { format!("container:{}", copy.container) } else { "none".into() },
    })
}

fn create(clusters: &Clusters, copy: &ClusterCopy, place: Place) -> Result<Container> {
    let (uid, gid) = copy.owner.split_once(':').unwrap_or((&copy.owner, &copy.owner));
    let own = SETTINGS.map(str::to_owned).into_iter();
    let at_least = copy.cluster.at_least.iter().map(|(name, value)| format!("{name}={value}"));
    let settings = own.chain(place.settings).chain(at_least).flat_map(|setting| ["-c".to_owned(), setting]);
    clusters.containers.create(&ContainerSpec {
        name: Some(copy.name.clone()),
        image: Some(copy.image_id.clone()),
        entrypoint: Some(["sh", "-c", START, "sh", "-D", OLD].map(str::to_owned).to_vec()),
        command: Some(settings.collect()),
        env: place.env,
        labels: Some(BTreeMap::from([(LABEL_HELPER.to_owned(), COPY.to_owned())])),
        mounts: vec![volume(&copy.volume)],
        tmpfs: BTreeMap::from([(SOCKETS.to_owned(), format!("uid={uid},gid={gid},mode=700"))]),
        log_driver: Some("json-file".into()),
        network: Some(place.network),
        user: Some(copy.owner.clone()),
        restart_policy: Some("no".into()),
        cpu_shares: copy.cpu_shares,
        ..ContainerSpec::default()
    })
}

pub fn part(clusters: &Clusters, copy: &ClusterCopy, server: &Server) -> Result<Server> {
    if let Some(container) = clusters.containers.existing(&copy.name)? {
        clusters.containers.stop(&[&container.id], Duration::from_secs(300))?;
        clusters.containers.remove(&container.id, true)?;
    }
    drop_slot(clusters, &copy.name, server)?;
    // Whoever dumps it comes to it in its own network, by an address.
    let settings = vec!["listen_addresses=127.0.0.1".to_owned()];
    let container = create(clusters, copy, Place { settings, env: Vec::new(), network: "none".into() })?;
    let parted = come_up(clusters, copy, &container)?;
    own(clusters, &parted)?;
    Ok(parted)
}

/// Makes a cluster of its own of a standby.
fn own(clusters: &Clusters, standby: &Server) -> Result<()> {
    if recovering(clusters, standby)? {
        value(clusters, standby, "SELECT pg_catalog.pg_promote(true, 120) AS p", &[])?;
    }
    Ok(())
}

fn running(clusters: &Clusters, copy: &ClusterCopy) -> Result<Server> {
    let container = clusters.containers.existing(&copy.name)?.filter(Container::is_running);
    container.map(|container| copy.server(&container.id, &container.name)).ok_or_else(|| {
        let message = format!("the copy of {} does not run: container {}", copy.container_name, copy.name);
        Error::failed("basebackup.failed", message).hint(format!("docker logs {}", copy.name))
    })
}

pub fn follows(clusters: &Clusters, copy: &ClusterCopy) -> Result<bool> {
    match clusters.containers.existing(&copy.name)?.filter(Container::is_running) {
        Some(container) => recovering(clusters, &copy.server(&container.id, &container.name)),
        None => Ok(false),
    }
}

fn value(clusters: &Clusters, server: &Server, sql: &str, bindings: &[Binding]) -> Result<Value> {
    let row = clusters.postgres.query(server, ANY_DATABASE, sql, bindings)?.into_iter().next();
    Ok(row.and_then(|row| row.into_iter().next()).map(|(_, value)| value).unwrap_or_default())
}

fn recovering(clusters: &Clusters, standby: &Server) -> Result<bool> {
    Ok(value(clusters, standby, "SELECT pg_catalog.pg_is_in_recovery() AS r", &[])?.as_bool().unwrap_or(false))
}

fn binding(name: &str, value: &str) -> Vec<Binding> {
    vec![Binding { name: name.to_owned(), value: value.to_owned() }]
}

const LAG: &str = "SELECT pg_catalog.pg_wal_lsn_diff(:'written'::pg_lsn,
    coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0'))::bigint AS lag";

pub fn lag(clusters: &Clusters, copy: &ClusterCopy, server: &Server) -> Result<u64> {
    let written = value(clusters, server, "SELECT pg_catalog.pg_current_wal_lsn()::text AS lsn", &[])?;
    let standby = running(clusters, copy)?;
    let lag = value(clusters, &standby, LAG, &binding("written", written.as_str().unwrap_or_default()))?;
    Ok(lag.as_i64().unwrap_or(i64::MAX).max(0).unsigned_abs())
}

const REPLAYED: &str = "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::text AS lsn,
    pg_catalog.pg_last_wal_replay_lsn() > :'checkpoint'::pg_lsn AS is_past";

pub fn caught_up(clusters: &Clusters, copy: &ClusterCopy, checkpoint: &str) -> Result<String> {
    let standby = running(clusters, copy)?;
    let begun = Instant::now();
    loop {
        let rows = clusters.postgres.query(&standby, ANY_DATABASE, REPLAYED, &binding("checkpoint", checkpoint))?;
        let row = rows.into_iter().next().unwrap_or_default();
        let lsn = row.get("lsn").and_then(Value::as_str).unwrap_or_default().to_owned();
        if row.get("is_past").and_then(Value::as_bool) == Some(true) {
            return Ok(lsn);
        }
        if begun.elapsed() >= PATIENCE {
            let message = format!(
                "the copy of {} came to {lsn}, and not past the last checkpoint of its server, {checkpoint}",
                copy.container_name
            );
            return Err(Error::failed("basebackup.behind", message).hint(format!("docker logs {}", copy.name)));
        }
        pause(clusters)?;
    }
}

pub fn promote(clusters: &Clusters, copy: &ClusterCopy, stopped: Option<&Stopped>) -> Result<()> {
    let mut may_have_unlogged = true;
    if let Some(container) = clusters.containers.existing(&copy.name)? {
        let is_clean = !container.is_running() && clusters.state(copy)? == SHUT_DOWN;
        if !is_clean {
            let standby = start_again(clusters, copy, &container)?;
            own(clusters, &standby)?;
            may_have_unlogged = has_unlogged(clusters, &container)?;
            clusters.containers.stop(&[&container.id], Duration::from_secs(300))?;
        }
        clusters.containers.remove(&container.id, true)?;
    }
    let state = clusters.state(copy)?;
    if state != SHUT_DOWN {
        let message = format!("the copy of {} is \"{state}\", not shut down", copy.container_name);
        return Err(Error::failed("basebackup.not_stopped", message));
    }
    if let Some(stopped) = stopped.filter(|_| may_have_unlogged) {
        let mounts = vec![volume(&copy.volume), mount(&stopped.volume, &stopped.mount, true)];
        clusters.sh(&copy.image_id, &copy.owner, mounts, UNLOGGED, &[&stopped.directory])?;
    }
    Ok(())
}

/// Each relation that is not logged has an empty beginning, `_init`, from which a standby makes it anew.
fn has_unlogged(clusters: &Clusters, container: &Container) -> Result<bool> {
    let base = format!("{OLD}/base");
    let argv = ["find", &base, "-name", "[0-9]*_init"].map(str::to_owned).to_vec();
    let found = clusters.containers.exec_output(&container.id, &ExecSpec { argv, ..ExecSpec::default() })?;
    Ok(found.exit_code != 0 || !found.stdout.is_empty())
}

/// Takes the rows of unlogged relations from the files of the server.
const UNLOGGED: &str = r#"set -e
cd /pgscript-cluster/old
find base -name '[0-9]*_init' | while read -r beginning; do
    relation=${beginning%_init}
    for file in "$1/$relation" "$1/$relation".[0-9]* "$1/${relation}_fsm" "$1/${relation}_vm"; do
        [ ! -e "$file" ] || cp -p "$file" "${file#"$1"/}"
    done
done
sync"#;

/// One that was stopped meanwhile, promoted or not.
fn start_again(clusters: &Clusters, copy: &ClusterCopy, container: &Container) -> Result<Server> {
    match container.is_running() {
        true => Ok(copy.server(&container.id, &container.name)),
        false => start(clusters, copy, &copy.server(&container.id, &container.name)),
    }
}

const DROP: &str = "SELECT pg_catalog.pg_drop_replication_slot(slot_name)
    FROM pg_catalog.pg_replication_slots WHERE slot_name = :'slot' AND NOT active";
const LEFT: &str = "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_replication_slots WHERE slot_name = :'slot'";

/// Removes the containers of a copy.
pub fn end(clusters: &Clusters, name: &str) -> Result<()> {
    for name in [name.to_owned(), tools_of(name)] {
        if let Some(container) = clusters.containers.existing(&name)?.filter(|c| c.labels.contains_key(LABEL_HELPER)) {
            clusters.containers.remove(&container.id, true)?;
        }
    }
    Ok(())
}

pub fn discard(clusters: &Clusters, name: &str, server: Option<&Server>) -> Result<()> {
    end(clusters, name)?;
    server.map_or(Ok(()), |server| drop_slot(clusters, name, server))
}

/// Has a server that runs keep no log any more for the copy of that name, which does not follow.
fn drop_slot(clusters: &Clusters, name: &str, server: &Server) -> Result<()> {
    if !clusters.containers.existing(&server.container)?.is_some_and(|container| container.is_running()) {
        return Ok(());
    }
    let slot = binding("slot", &slot_of(name));
    let begun = Instant::now();
    // The server takes a moment to see that nobody follows any more.
    while value(clusters, server, LEFT, &slot)?.as_i64() != Some(0) {
        clusters.postgres.execute(server, ANY_DATABASE, DROP, &slot)?;
        if begun.elapsed() >= PATIENCE {
            let message = format!("{} keeps its replication slot {}", server.container_name, slot_of(name));
            return Err(Error::failed("basebackup.failed", message).hint("it holds the log back: drop it"));
        }
        pause(clusters)?;
    }
    Ok(())
}
