//! Whether two mounts are of the same directory, whatever each of them calls it.

use std::path::{Path, PathBuf};

use crate::world::container::{Mount, Volume};

/// Where a volume's bytes are.
pub struct Place<'v> {
    volume: &'v Volume,
    /// Its mount point, and what the engine mounts there.
    paths: Vec<PathBuf>,
}

impl<'v> Place<'v> {
    /// `resolve` follows symbolic links, where the engine's files can be read.
    pub fn of(volume: &'v Volume, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        let device = bound_device(volume).map(Path::new);
        let paths = [Path::new(&volume.mount_point)].into_iter().chain(device).map(resolve).collect();
        Self { volume, paths }
    }

    /// Whether a container sees the volume's files, or what is in one of its directories, through this mount.
    /// `volumes`: all there are.
    pub fn is_reached_by(&self, mount: &Mount, volumes: &[Volume], resolve: impl Fn(&Path) -> PathBuf) -> bool {
        match mount.kind.as_str() {
            "volume" if mount.name == self.volume.name => true,
            "volume" => volumes.iter().any(|v| v.name == mount.name && self.is_shared_with(v, &resolve)),
            "bind" => self.overlaps(&resolve(Path::new(&mount.source)), mount.read_only),
            _ => false,
        }
    }

    fn is_shared_with(&self, other: &Volume, resolve: impl Fn(&Path) -> PathBuf) -> bool {
        match (bound_device(other), remote_device(self.volume), remote_device(other)) {
            (Some(device), ..) => self.overlaps(&resolve(Path::new(device)), false),
            (_, Some(own), Some(other)) => {
                let (here, there) = (Path::new(own.1), Path::new(other.1));
                own.0 == other.0 && (here.starts_with(there) || there.starts_with(here))
            }
            _ => false,
        }
    }

    /// The directory itself, or one in it; one above it only where it can be written to, and not one above the engine's
    /// volumes: agents that look after the whole machine mount those.
    fn overlaps(&self, directory: &Path, read_only: bool) -> bool {
        let own = Path::new(&self.volume.mount_point).parent();
        let is_above = |path: &Path| {
            let is_engines = own.is_some_and(|own| own != directory && own.starts_with(directory));
            path.starts_with(directory) && !read_only && !is_engines
        };
        self.paths.iter().any(|path| directory.starts_with(path) || is_above(path))
    }
}

fn option<'v>(volume: &'v Volume, name: &str) -> &'v str {
    volume.options.get(name).map(String::as_str).unwrap_or_default()
}

/// The directory of the engine's host that the `local` driver mounts: `o=bind`, `device=/srv/pg`.
fn bound_device(volume: &Volume) -> Option<&str> {
    let is_bound = option(volume, "o").split(',').any(|word| matches!(word.trim(), "bind" | "rbind"));
    Some(option(volume, "device")).filter(|device| volume.driver == "local" && is_bound && !device.is_empty())
}

/// What else it mounts: the kind of file system and its server, and the path there.
fn remote_device(volume: &Volume) -> Option<((&str, &str), &str)> {
    let (kind, device) = (option(volume, "type"), option(volume, "device"));
    if volume.driver != "local" || device.is_empty() || bound_device(volume).is_some() {
        return None;
    }
    let address = option(volume, "o").split(',').find_map(|word| word.trim().strip_prefix("addr="));
    // nfs and nfs4 differ in the protocol alone.
    let kind = if kind.starts_with("nfs") { "nfs" } else { kind };
    let (server, path) = match device.split_once(":/") {
        Some((server, _)) => (address.unwrap_or(server), &device[server.len() + 1..]),
        None => (address.unwrap_or_default(), device),
    };
    Some(((kind, server), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, options: &[(&str, &str)]) -> Volume {
        Volume {
            name: name.into(),
            driver: "local".into(),
            mount_point: format!("/var/lib/docker/volumes/{name}/_data"),
            labels: Default::default(),
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            created_at: String::new(),
        }
    }

    fn bind(source: &str, read_only: bool) -> Mount {
        let (kind, name, destination) = ("bind".into(), String::new(), "/d".into());
        Mount { kind, name, source: source.into(), destination, read_only }
    }

    fn named(name: &str) -> Mount {
        Mount { kind: "volume".into(), name: name.into(), ..bind("", false) }
    }

    /// As if `/link` led to `/srv/pg`.
    fn resolve(path: &Path) -> PathBuf {
        if path == Path::new("/link") { "/srv/pg".into() } else { path.to_owned() }
    }

    #[track_caller]
    fn reached(volume: &Volume, mount: &Mount, others: &[Volume], expected: bool) {
        let found = Place::of(volume, resolve).is_reached_by(mount, others, resolve);
        assert_eq!(found, expected, "{} by {mount:?}", volume.name);
    }

    #[test]
    fn live_copy_is_seen_by_whatever_name_the_directory_is_mounted() {
        let data = volume("data", &[("type", "none"), ("o", "bind"), ("device", "/srv/pg")]);
        for source in ["/srv/pg", "/srv/pg/", "/srv/pg/pgdata", "/srv", "/link", "/var/lib/docker/volumes/data/_data"] {
            reached(&data, &bind(source, false), &[], true);
        }
        for source in ["/srv/pg2", "/srv/other", "/", "/var/lib/docker/volumes", "/var/lib/docker/volumes/other/_data"]
        {
            reached(&data, &bind(source, false), &[], false);
        }
        // It may read what is in the directory, but what looks at a whole disk read-only is no server.
        reached(&data, &bind("/srv/pg", true), &[], true);
        reached(&data, &bind("/srv", true), &[], false);
        let twin = volume("twin", &[("type", "none"), ("o", "rw,bind"), ("device", "/srv/pg/")]);
        let other = volume("other", &[("type", "none"), ("o", "bind"), ("device", "/srv/other")]);
        let all = [data.clone(), twin, other, volume("plain", &[])];
        for (name, expected) in [("data", true), ("twin", true), ("other", false), ("plain", false)] {
            reached(&data, &named(name), &all, expected);
        }
    }

    #[test]
    fn live_copy_is_seen_through_the_path_of_a_plain_volume() {
        let plain = volume("plain", &[]);
        let through = [volume("through", &[("o", "bind"), ("device", "/var/lib/docker/volumes/plain/_data")])];
        reached(&plain, &named("through"), &through, true);
        reached(&plain, &bind("/var/lib/docker/volumes/plain", false), &[], true);
        reached(&plain, &bind("/var/lib/docker", false), &[], false);
    }

    #[test]
    fn a_directory_of_another_machine_is_known_by_server_and_path() {
        let nfs = |name: &str, kind: &str, o: &str, device: &str| {
            volume(name, &[("type", kind), ("o", o), ("device", device)])
        };
        let data = nfs("data", "nfs", "addr=10.0.0.1,rw", ":/export/pg");
        let all = [
            nfs("same", "nfs4", "addr=10.0.0.1", ":/export/pg"),
            nfs("below", "nfs", "rw", "10.0.0.1:/export/pg/13"),
            nfs("elsewhere", "nfs", "addr=10.0.0.2", ":/export/pg"),
            nfs("beside", "nfs", "addr=10.0.0.1", ":/export/pg2"),
        ];
        for (name, expected) in [("same", true), ("below", true), ("elsewhere", false), ("beside", false)] {
            reached(&data, &named(name), &all, expected);
        }
    }
}
