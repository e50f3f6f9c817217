//! The copy brought to the new version, by the new image's `pg_upgrade` with the old version's own programs.

use std::io::Read;

use super::programs::{PROGRAMS, WRAPPERS};
use super::{Clusters, NEW, OLD, ROOT, mount, sh, succeeded, volume};
use crate::event::Event;
use crate::world::cluster::{COPY, ClusterCopy, Transfer, UpgradeOptions, Upgraded};
use crate::world::container::{ContainerSpec, ExecSpec, Streams};
use crate::world::error::{Error, Result};
use crate::world::live::helper::sleeping;
use crate::world::live::lines::Lines;
use crate::world::postgres::{ANY_DATABASE, Binding, Row, Server};
use crate::world::session::{self, Purpose};
use crate::world::side_by_side::side_by_side;

/// The first major whose `initdb` has the option.
const PROVIDERS: u32 = 15;
const ICU_RULES: u32 = 16;
const CHECKSUMS_BY_DEFAULT: u32 = 18;

/// The container with the programs of both versions, which sees the copy's volume: it stays until the upgrade is done,
/// so that nothing has to be started for that in the outage.
struct Tools<'a> {
    clusters: &'a Clusters,
    id: String,
}

impl<'a> Tools<'a> {
    fn of(clusters: &'a Clusters, copy: &ClusterCopy, image: &str, programs: &str) -> Result<Self> {
        let name = copy.tools();
        let container = match clusters.containers.existing(&name)? {
            Some(container) => container,
            None => {
                let spec = ContainerSpec {
                    name: Some(name),
                    image: Some(image.to_owned()),
                    mounts: vec![volume(&copy.volume), mount(programs, PROGRAMS, true)],
                    network: Some("none".into()),
                    user: Some(copy.owner.clone()),
                    cpu_shares: copy.cpu_shares,
                    ..ContainerSpec::default()
                };
                clusters.containers.create(&sleeping(COPY, spec))?
            }
        };
        if !container.is_running() {
            clusters.containers.start(&container.id)?;
        }
        Ok(Self { clusters, id: container.id })
    }

    fn run(&self, argv: Vec<String>) -> Result<String> {
        self.exec(ExecSpec { argv, env: vec!["LC_ALL=C".into()], ..ExecSpec::default() })
    }

    fn run_as_root(&self, argv: Vec<String>) -> Result<String> {
        self.exec(ExecSpec { argv, user: Some("0:0".into()), ..ExecSpec::default() })
    }

    fn exec(&self, spec: ExecSpec) -> Result<String> {
        succeeded(self.clusters.containers.exec_output(&self.id, &spec)?)
    }
}

fn major(tools: &Tools<'_>) -> Result<u32> {
    let text = tools.run(["postgres", "--version"].map(str::to_owned).to_vec())?;
    session::major_of(&text)
        .ok_or_else(|| Error::failed("postgres.no_server", format!("no version of PostgreSQL: {text}")))
}

pub fn initdb(clusters: &Clusters, copy: &ClusterCopy, image: &str, programs: &str) -> Result<()> {
    let tools = Tools::of(clusters, copy, image, programs)?;
    let clear = "rm -rf \"$1\" && mkdir -m 700 \"$1\" && chown \"$2\" \"$1\" \"$3\"";
    tools.run_as_root(sh(clear, &[NEW, &copy.owner, ROOT]))?;
    if tools.run(vec!["id".into(), "-un".into()]).is_err() {
        let message = format!("image {image} does not know the user {} to whom the cluster belongs", copy.owner);
        return Err(Error::refused("pg_upgrade.no_user", message).hint("the strategy `dump` needs no such user"));
    }
    // Under the image's own locale, as its entry point does it: messages and formats go by that.
    let argv = options_of_initdb(copy, major(&tools)?);
    tools.exec(ExecSpec { argv, ..ExecSpec::default() }).map(|_| ())
}

/// Where files wait that come into the new cluster.
const SETTINGS: &str = "/pgscript-cluster/settings";

pub fn settings(clusters: &Clusters, copy: &ClusterCopy, files: &mut (dyn Read + Send)) -> Result<()> {
    let name = copy.tools();
    let Some(tools) = clusters.containers.existing(&name)? else {
        return Err(Error::failed("docker.not_found", format!("there is no container {name}: call initdb first")));
    };
    let tools = Tools { clusters, id: tools.id };
    tools.run_as_root(sh("rm -rf \"$1\" && mkdir -m 700 \"$1\"", &[SETTINGS]))?;
    clusters.containers.copy_in(&tools.id, SETTINGS, files)
}

/// A cluster that can take the place of the copy's: of the same superuser, encoding, locale and form of files.
fn options_of_initdb(copy: &ClusterCopy, to: u32) -> Vec<String> {
    let cluster = &copy.cluster;
    let template = |column| cluster.template(column).filter(|text| !text.is_empty());
    let mut argv = vec!["initdb".to_owned(), "-D".into(), NEW.into(), "--auth=trust".into(), "-U".into()];
    argv.push(cluster.bootstrap_user.clone());
    let mut add = |name: &str, value: Option<&str>| argv.extend(value.map(|value| format!("--{name}={value}")));
    add("encoding", template("encoding"));
    add("lc-collate", template("datcollate"));
    add("lc-ctype", template("datctype"));
    add("wal-segsize", Some(&(cluster.wal_segment_size >> 20).to_string()));
    let locale = template("datlocale").or_else(|| template("daticulocale"));
    match template("datlocprovider") {
        Some("i") if to >= PROVIDERS => {
            add("locale-provider", Some("icu"));
            add("icu-locale", locale);
            add("icu-rules", template("daticurules").filter(|_| to >= ICU_RULES));
        }
        Some("b") => {
            add("locale-provider", Some("builtin"));
            add("builtin-locale", locale);
        }
        _ if to >= PROVIDERS => add("locale-provider", Some("libc")),
        _ => {}
    }
    match cluster.data_checksums {
        true => argv.push("--data-checksums".into()),
        false if to >= CHECKSUMS_BY_DEFAULT => argv.push("--no-data-checksums".into()),
        false => {}
    }
    argv
}

/// Socket and rules of both servers that `pg_upgrade` starts: only it speaks to them. Says where its programs are.
const WORK: &str = "/tmp/pgscript-upgrade";
const RULES: &str = r#"umask 077; mkdir -p /tmp/pgscript-upgrade && cd /tmp/pgscript-upgrade
printf 'local all all trust\n' >hba.conf; : >ident.conf
find /pgscript-cluster/old/base -type f -exec stat -c %i {} + | sort -k 1,1 >old.inodes
dirname "$(readlink -f "$(command -v pg_upgrade)")""#;
/// Nothing of the site's runs in them, and they write nowhere else.
const SERVER: &str = "-c hba_file=/tmp/pgscript-upgrade/hba.conf -c ident_file=/tmp/pgscript-upgrade/ident.conf \
                      -c external_pid_file= -c archive_mode=off -c ssl=off -c logging_collector=off";

/// The new cluster's server is started for a moment beside the copy's.
const ANOTHER_PORT: u16 = 50432;

/// Asks `pg_upgrade` what is in its way, while the copy follows: it takes the server that it finds for the old one.
pub fn check(clusters: &Clusters, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<()> {
    let tools = Tools::of(clusters, copy, &options.image, &options.programs)?;
    let mut argv = arguments(&tools, copy, options)?;
    argv.extend(["--check".to_owned(), format!("--new-port={ANOTHER_PORT}")]);
    upgrade(&tools, copy, argv)
}

pub fn run(clusters: &Clusters, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Upgraded> {
    let tools = Tools::of(clusters, copy, &options.image, &options.programs)?;
    let argv = arguments(&tools, copy, options)?;
    upgrade(&tools, copy, argv)?;
    let found = tools.run(sh(FILES, &[]))?;
    let mut found = found.lines().map(str::to_owned);
    let same = found.next().and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
    let others = found.collect();
    tools.run_as_root(sh(PLACE, &[&options.place, &copy.owner]))?;
    clusters.containers.remove(&tools.id, true)?;
    let control = clusters.volumes.control(&copy.volume, &options.place)?;
    let system_identifier = control.map(|control| control.system_identifier.to_string()).unwrap_or_default();
    Ok(Upgraded { same, others, system_identifier })
}

/// What `pg_upgrade` is called with; what it needs beside that is laid ready.
fn arguments(tools: &Tools<'_>, copy: &ClusterCopy, options: &UpgradeOptions) -> Result<Vec<String>> {
    let bin = tools.run(sh(RULES, &[]))?;
    let transfer = match options.transfer {
        Transfer::Link => "--link",
        Transfer::Swap => "--swap",
        Transfer::Copy => "--copy",
    };
    Ok(vec![
        "pg_upgrade".to_owned(),
        format!("--old-bindir={WRAPPERS}"),
        format!("--new-bindir={bin}"),
        format!("--old-datadir={OLD}"),
        format!("--new-datadir={NEW}"),
        format!("--username={}", copy.cluster.bootstrap_user),
        format!("--jobs={}", options.jobs),
        format!("--socketdir={WORK}"),
        format!("--old-options={SERVER}"),
        format!("--new-options={SERVER}"),
        transfer.to_owned(),
    ])
}

/// How many files of the site's relations, which have numbers from 16384 on, are those of the
/// copy; then the others.
const FILES: &str = r#"cd /tmp/pgscript-upgrade
find /pgscript-cluster/new/base -type f -exec stat -c '%i %n' {} + | sed 's/\/pgscript-cluster\/new\/base\///' |
while read -r inode name; do
    number=${name##*/}; number=${number%%[!0-9]*}
    [ "${number:-0}" -lt 16384 ] || echo "$inode $name"
done | sort -k 1,1 >new.files
join old.inodes new.files | wc -l
join -v 2 -o 2.2 old.inodes new.files"#;

const DATABASES: &str = "SELECT datname AS name, oid::text AS oid FROM pg_catalog.pg_database WHERE datallowconn";
/// Of unlogged relations the empty beginning (`_init`) is always made anew, of sequences the one row.
const ANEW: &str = "SELECT c.oid::regclass::text AS name
    FROM pg_catalog.unnest(pg_catalog.string_to_array(:'numbers', ' ')) AS f(number)
    JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.pg_filenode_relation(0, f.number::oid) WHERE c.relkind <> 'S'";

pub fn made_anew(clusters: &Clusters, server: &Server, files: &[String]) -> Result<Vec<String>> {
    let ask =
        |database: &str, sql: &str, bindings: &[Binding]| clusters.postgres.query(server, database, sql, bindings);
    let text = |row: &Row, key: &str| row.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let of_database = |_, row: &Row| {
        let (name, oid) = (text(row, "name"), text(row, "oid"));
        let number = |file: &String| {
            let number = file.strip_prefix(&oid)?.strip_prefix('/')?;
            (!number.ends_with("_init")).then(|| number.split(['_', '.']).next().unwrap_or_default().to_owned())
        };
        let numbers: Vec<_> = files.iter().filter_map(number).collect();
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = Binding { name: "numbers".into(), value: numbers.join(" ") };
        let found = ask(&name, ANEW, &[numbers])?;
        Ok(found.iter().map(|row| format!("{name}: {}", text(row, "name"))).collect::<Vec<_>>())
    };
    Ok(side_by_side(&ask(ANY_DATABASE, DATABASES, &[])?, of_database)?.concat())
}

/// What of the copy is left goes; the new cluster gets what waits for it, and comes where its server looks for it.
const PLACE: &str = r#"set -e
cd /pgscript-cluster
rm -rf old
if [ -d settings ]; then
    cd settings
    for file in *; do
        case "$file" in
        *.added) cat "$file" >>"../new/${file%.added}" ;;
        '*') ;;
        *) cp "$file" ../new/ && chown "$2" "../new/$file" && chmod 600 "../new/$file" ;;
        esac
    done
    cd ..
    rm -rf settings
fi
if [ -z "$1" ]; then
    mv new pgscript-new
    for entry in pgscript-new/* pgscript-new/.[!.]*; do [ ! -e "$entry" ] || mv "$entry" .; done
    rmdir pgscript-new
    chmod 700 .
else
    mkdir -p "$1"
    rmdir "$1"
    mv new "$1"
    chown -R "$2" "${1%%/*}"
fi
sync"#;

fn upgrade(tools: &Tools<'_>, copy: &ClusterCopy, argv: Vec<String>) -> Result<()> {
    let context = &tools.clusters.context;
    // Its programs connect to both servers. A role or a time limit that the site has set for one is not theirs, nor is
    // a client encoding: each database's text goes from one server to the other as it is.
    let settings = session::options(Purpose::Writing, Some(copy.cluster.major));
    let env = vec!["LC_ALL=C".into(), format!("PGOPTIONS={settings}"), "PGCLIENTENCODING=SQL_ASCII".into()];
    let is_check = argv.iter().any(|word| word == "--check");
    let spec = ExecSpec { argv, env, working_dir: Some(WORK.into()), ..ExecSpec::default() };
    let mut said = Vec::new();
    let mut lines = Lines::new(&context.redactor, |line: &str| {
        // What is done; what is wrong comes with the error.
        if let Some(done) = line.trim_end().strip_suffix(" ok") {
            context.emit(Event::Output { source: "pg_upgrade".into(), line: done.trim_end().to_owned() });
        }
        said.push(line.to_owned());
    });
    let streams = Streams { stdout: Some(&mut lines), ..Streams::default() };
    let code = tools.clusters.containers.exec(&tools.id, &spec, streams)?;
    lines.finish();
    if code == 0 {
        return Ok(());
    }
    let logs = tools.run(sh(LOGS, &[])).unwrap_or_default();
    let message = format!(
        "pg_upgrade {}of the copy of {} ended with exit code {code}:\n  {}",
        if is_check { "--check " } else { "" },
        copy.container_name,
        decisive(&said, &logs).join("\n  ")
    );
    let code = if message.contains("No space left on device") { "host.disk_full" } else { "pg_upgrade.failed" };
    Err(Error::failed(code, message))
}

/// Where the major keeps its logs, and what it lists of objects.
const LOGS: &str = "find /tmp/pgscript-upgrade /pgscript-cluster/new/pg_upgrade_output.d -type f \
    \\( -name '*.log' -o -name '*.txt' \\) -exec tail -n 200 {} + 2>/dev/null | tail -c 200000";

/// The lines that name what is wrong: of the report, and of the logs that it refers to.
fn decisive(said: &[String], logs: &str) -> Vec<String> {
    let is_report = |line: &&String| !line.trim().is_empty() && !line.trim_end().ends_with("ok");
    let report: Vec<_> = said.iter().filter(is_report).map(|line| line.trim_end().to_owned()).collect();
    let marks = ["error:", "ERROR:", "FATAL:", "PANIC:", "could not", "does not exist", "mismatch"];
    // Below the name of a database its objects are listed, indented.
    let mut is_listing = false;
    let mut is_decisive = |line: &&str| {
        is_listing = line.starts_with("In database") || is_listing && line.starts_with(' ');
        is_listing || marks.iter().any(|mark| line.contains(mark)) && !line.contains("Command was")
    };
    let mut found: Vec<_> = logs.lines().filter(|line| is_decisive(line)).map(|line| line.trim().to_owned()).collect();
    found.dedup();
    let (most_said, most_found) = (8, 12);
    let said = report.into_iter().rev().take(most_said).collect::<Vec<_>>().into_iter().rev();
    said.chain(found.into_iter().rev().take(most_found).collect::<Vec<_>>().into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_object_is_among_the_decisive_lines() {
        let said =
            ["Checking cluster versions     ok", "Restoring database schemas", "*failure*", ""].map(str::to_owned);
        let logs = "pg_restore: creating VIEW \"v\"\npg_restore: error: could not execute query: ERROR:  column \
                    \"x\" does not exist\nCommand was: CREATE VIEW v\n";
        let found = decisive(&said, logs);
        assert_eq!(found[..2], ["Restoring database schemas", "*failure*"]);
        assert!(found[2].contains("column \"x\" does not exist"));
        assert_eq!(found.len(), 3);
        let lists = "==> tables_using_reg.txt <==\nIn database: app\n  public.t.f\nnothing of it\n  nor this\n";
        assert_eq!(decisive(&[], lists), ["In database: app", "public.t.f"]);
    }
}
