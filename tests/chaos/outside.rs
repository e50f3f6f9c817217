//! How a stack is in the end, seen by other means than pgscript's own.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::chaos::site::{DATABASE, Site};

const SERVICES: [&str; 4] = ["postgres", "application", "worker", "nginx"];

/// How the stack was.
#[derive(Default)]
pub struct Before {
    content: BTreeMap<String, String>,
    services: BTreeMap<&'static str, String>,
    things: Vec<String>,
    beats: u64,
}

impl Before {
    pub fn of(site: &Site) -> Self {
        Self {
            content: content(site),
            services: SERVICES.map(|service| (service, view(site, service))).into(),
            things: site.engine.things(),
            beats: site.stack.heartbeats(),
        }
    }
}

/// Every table, but for the one that clients write to.
fn content(site: &Site) -> BTreeMap<String, String> {
    let mut content = site.stack.content();
    for tables in content.values_mut() {
        *tables = tables.lines().filter(|line| !line.contains("public.acknowledged")).collect::<Vec<_>>().join("\n");
    }
    content
}

/// What of a service's container must be as before, whichever container it is.
fn view(site: &Site, service: &str) -> String {
    let id = site.stack.container(service);
    assert!(!id.is_empty(), "there is no container of service {service}");
    let text = site.stack.docker(&["inspect", &id]);
    let container = serde_json::from_str::<Value>(&text).unwrap()[0].take();
    let mut view = format!(
        "{} restart={} ports={}",
        container["State"]["Status"],
        container["HostConfig"]["RestartPolicy"]["Name"],
        container["NetworkSettings"]["Ports"]
    );
    for (network, attachment) in container["NetworkSettings"]["Networks"].as_object().unwrap() {
        let aliases = attachment["Aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // The engine adds the container's own number.
        let mut aliases: Vec<_> = aliases.filter(|alias| !id.starts_with(alias)).collect();
        aliases.sort_unstable();
        aliases.dedup();
        view += &format!(" {network}={aliases:?}");
    }
    view
}

/// What is wrong, where `major` should run with everything that was there before.
pub fn faults(site: &Site, major: u32) -> Vec<String> {
    let mut faults = Vec::new();
    let mut look = |what: &str, is: &dyn Fn() -> Result<(), String>| {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(is)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        });
        if let Err(reason) = outcome {
            faults.push(format!("{what}: {reason}"));
        }
    };
    look("the application does not write", &|| {
        site.stack.writes();
        Ok(())
    });
    look("the server", &|| same("major", &major.to_string(), &site.stack.major()));
    look("content", &|| {
        let now = content(site);
        match now == site.before.content {
            true => Ok(()),
            false => Err(format!("was {:#?}\nis {now:#?}", site.before.content)),
        }
    });
    look("heartbeats were lost", &|| {
        let (before, now) = (site.before.beats, site.stack.heartbeats());
        if now > before { Ok(()) } else { Err(format!("{before} before, {now} now")) }
    });
    look("acknowledged writes", &|| acknowledged(site, major));
    look("a service", &|| {
        SERVICES.iter().try_for_each(|service| same(service, &site.before.services[service], &view(site, service)))
    });
    look("a process is left", &|| none_left(&processes(site)));
    look("something is left", &|| none_left(&left(site, &kept(site))));
    faults
}

/// After everything that was kept for a way back has been removed.
pub fn faults_after_cleanup(site: &Site) -> Vec<String> {
    none_left(&left(site, &[])).err().map(|left| format!("left after the cleanup: {left}")).into_iter().collect()
}

fn same(what: &str, before: &str, now: &str) -> Result<(), String> {
    if before == now { Ok(()) } else { Err(format!("{what} was {before}, is {now}")) }
}

fn none_left(left: &[String]) -> Result<(), String> {
    if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
}

/// What was acknowledged by the old server is there for ever; what the new one has acknowledged is kept aside where the
/// old one came back.
fn acknowledged(site: &Site, major: u32) -> Result<(), String> {
    let there = site.stack.sql(DATABASE, "SELECT n FROM acknowledged");
    let there: Vec<u64> = there.lines().filter_map(|n| n.parse().ok()).collect();
    let expected = site.acknowledged().into_iter().filter(|(_, by)| *by <= major);
    let missing: Vec<_> = expected.filter(|(n, _)| !there.contains(n)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("missing, with the major that acknowledged them: {missing:?}"))
    }
}

/// What may be kept for a way back: volumes, containers that hold on to them, and those that hold the record.
fn kept(site: &Site) -> Vec<String> {
    let volumes = site.stack.kept_volumes();
    let label = format!("label=pgscript.record={}", site.stack.name);
    let records = site.stack.docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}}"]);
    let held = volumes.iter().flat_map(|volume| [format!("volume {volume}"), format!("container {volume}-keeper")]);
    held.chain(records.lines().map(|record| format!("container {record}"))).collect()
}

/// What was not there before, and what is not there any more.
fn left(site: &Site, allowed: &[String]) -> Vec<String> {
    let (before, now) = (&site.before.things, site.engine.things());
    let new = now.iter().filter(|thing| !before.contains(thing) && !allowed.contains(thing));
    let gone = before.iter().filter(|thing| !now.contains(thing)).map(|thing| format!("gone: {thing}"));
    new.cloned().chain(gone).collect()
}

/// Processes that work on this site's runs.
fn processes(site: &Site) -> Vec<String> {
    let store = format!("PGSCRIPT_STORE={}\0", site.stack.base.display());
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.windows(store.len()).any(|part| part == store.as_bytes()) {
            let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{} {}", process.file_name().display(), line.replace('\0', " ")));
        }
    }
    found
}
