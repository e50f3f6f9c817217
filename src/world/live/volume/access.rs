//! How a volume's bytes are reached: at the mount point the engine names, or through its archive endpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::places::Place;
use super::{Context, Volumes};
use crate::event::Event;
use crate::world::Cancel;
use crate::world::container::{
    Container, ContainerEngine, ContainerFilter, ContainerSpec, EngineInfo, LABEL_HELPER, Mount, Volume, of_image,
};
use crate::world::error::{Error, Result};
use crate::world::volume::{Access, BackupOptions, OWNERS_CONTAINER};

/// Value of [`LABEL_HELPER`] on the container that lends us its mounts.
const PURPOSE: &str = "volume-archive";
/// Where that container mounts the volume: a path no image has, so that the engine copies nothing into an empty one;
/// in the root, below which no symbolic link of the volume can lead, for the engine refuses those that do.
pub const MOUNT_PARENT: &str = "/";
pub const MOUNT_NAME: &str = "pgscript-volume";

/// A way to a volume's bytes.
pub enum Route<'a> {
    MountPoint(PathBuf),
    Endpoint(Helper<'a>),
}

impl Route<'_> {
    /// Whose ids an archive shows or wants on this route: `container`, or `host <uid>.<gid>` of the remapping.
    pub fn owners(&self, info: &EngineInfo) -> String {
        match self {
            Self::MountPoint(_) if info.userns_remap => host_owners(info),
            _ => OWNERS_CONTAINER.into(),
        }
    }
}

/// The engine names its root directory after the remapped root.
fn host_owners(info: &EngineInfo) -> String {
    format!("host {}", info.root_dir.rsplit('/').next().unwrap_or_default())
}

impl Volumes {
    /// The volume, or `volume.not_found`.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        self.containers.volume(name)?.ok_or_else(|| {
            Error::failed("volume.not_found", format!("there is no volume {name}")).hint("docker volume ls")
        })
    }

    /// Every container that has the volume mounted.
    pub fn users(&self, volume: &str) -> Result<Vec<Container>> {
        let filter = ContainerFilter { volume: Some(volume.into()), ..ContainerFilter::default() };
        let mounts = |c: &Container| c.mounts.iter().any(|m| m.kind == "volume" && m.name == volume);
        Ok(self.containers.containers(&filter)?.into_iter().filter(mounts).collect())
    }

    /// `volume.in_use` when a container that mounts the volume, or its directory by another name, is not stopped.
    pub fn check_unused(&self, volume: &str) -> Result<()> {
        self.check_not_running(volume, |_| true)
    }

    /// `volume.in_use` when a container that could write to the volume is not stopped.
    pub fn check_unwritten(&self, volume: &str) -> Result<()> {
        self.check_not_running(volume, |mount| !mount.read_only)
    }

    fn check_not_running(&self, volume: &str, counts: impl Fn(&Mount) -> bool) -> Result<()> {
        let is_up = |c: &Container| matches!(c.state.as_str(), "running" | "paused" | "restarting" | "removing");
        let by_name = |c: &Container| c.mounts.iter().any(|m| m.name == volume && counts(m));
        let mut names: Vec<_> =
            self.users(volume)?.into_iter().filter(|c| is_up(c) && by_name(c)).map(|c| c.name).collect();
        names.extend(self.others_that_reach(volume, counts)?);
        if names.is_empty() {
            return Ok(());
        }
        let names = names.join(", ");
        Err(Error::refused("volume.in_use", format!("volume {volume} is mounted by running containers: {names}"))
            .hint("stop them first; a server's files are only consistent after a clean stop"))
    }

    /// Running containers that have the volume's directory by another name.
    fn others_that_reach(&self, volume: &str, counts: impl Fn(&Mount) -> bool) -> Result<Vec<String>> {
        let Some(itself) = self.containers.volume(volume)? else { return Ok(Vec::new()) };
        let (info, volumes) = (self.containers.info()?, self.containers.volumes(None)?);
        let resolve = |path: &Path| {
            let found = if info.is_local { path.canonicalize().ok() } else { None };
            found.unwrap_or_else(|| path.to_owned())
        };
        let place = Place::of(&itself, resolve);
        let reaches = |m: &Mount| m.name != volume && counts(m) && place.is_reached_by(m, &volumes, resolve);
        let running = self.containers.containers(&ContainerFilter { running: true, ..ContainerFilter::default() })?;
        Ok(running.into_iter().filter(|c| c.mounts.iter().any(reaches)).map(|c| c.name).collect())
    }

    /// The way to use. `owners`, when given, is the view a backup was taken in and must be written in.
    pub fn route(
        &self,
        volume: &Volume,
        options: &BackupOptions,
        info: &EngineInfo,
        owners: Option<&str>,
    ) -> Result<Route<'_>> {
        let direct = mount_point(volume, info).and_then(|path| match owners {
            Some(owners) if info.userns_remap && owners == OWNERS_CONTAINER => {
                Err(format!("the backup's owners are as containers see them, {} shows the host's", path.display()))
            }
            _ => Ok(path),
        });
        let route = match (options.access, direct) {
            (Access::Auto | Access::MountPoint, Ok(path)) => Route::MountPoint(path),
            (Access::MountPoint, Err(why)) => {
                return Err(Error::refused("volume.no_mount_point", format!("volume {}: {why}", volume.name))
                    .hint("leave the choice of access open, or use the engine's archive endpoint"));
            }
            _ => Route::Endpoint(self.helper(&volume.name, options.image.as_deref())?),
        };
        match owners {
            Some(owners) if owners != route.owners(info) => Err(Error::refused(
                "backup.other_owners",
                format!("the backup's owners are those of \"{owners}\", this engine's are \"{}\"", route.owners(info)),
            )
            .hint("restore it on the engine it was taken from, or take a backup through the archive endpoint")),
            _ => Ok(route),
        }
    }

    /// Creates the container, never started, that mounts the volume; removed when dropped. Nothing of its image is
    /// used.
    fn helper(&self, volume: &str, image: Option<&str>) -> Result<Helper<'_>> {
        let destination = format!("{MOUNT_PARENT}{MOUNT_NAME}");
        of_image(
            image,
            || self.containers.spare_images(&[volume], None),
            |image| {
                let spec = ContainerSpec {
                    image: Some(image.to_owned()),
                    entrypoint: Some(vec!["/never-started".into()]),
                    labels: Some(BTreeMap::from([(LABEL_HELPER.into(), PURPOSE.into())])),
                    mounts: vec![mount("volume", volume, &destination)],
                    network: Some("none".into()),
                    ..ContainerSpec::default()
                };
                let (container, image) = (self.containers.create(&spec)?.id, image.to_owned());
                Ok(Helper { engine: &*self.containers, cancel: &self.context.cancel, container, image })
            },
        )
    }
}

pub fn mount(kind: &str, name: &str, destination: &str) -> Mount {
    let (kind, name, destination) = (kind.into(), name.into(), destination.into());
    Mount { kind, name, source: String::new(), destination, read_only: false }
}

/// The mount point when its bytes are this machine's and ours to read; else why not.
pub fn mount_point(volume: &Volume, info: &EngineInfo) -> Result<PathBuf, String> {
    if !info.is_local {
        return Err(format!("the engine {} is on another machine", info.endpoint));
    }
    // A network or bind volume is only mounted while a container runs: its mount point then looks empty.
    if volume.driver != "local" || ["type", "device"].iter().any(|o| volume.options.contains_key(*o)) {
        return Err(format!("its driver ({}) mounts it only for a container", volume.driver));
    }
    let path = PathBuf::from(&volume.mount_point);
    match File::open(&path).and_then(|dir| dir.metadata()) {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(format!("its mount point {} is no directory", path.display())),
        Err(e) => Err(format!("its mount point {} can't be read: {e}", path.display())),
    }
}

/// Whether the volume has lost its directory: a move that was cut off leaves its old name so. There is nothing in it.
pub fn is_without_directory(volume: &Volume, info: &EngineInfo) -> bool {
    let path = Path::new(&volume.mount_point);
    let is_missing = path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    info.is_local && volume.driver == "local" && is_missing && path.parent().is_some_and(Path::is_dir)
}

/// A created container that mounts the volume at [`MOUNT_NAME`].
pub struct Helper<'a> {
    pub engine: &'a dyn ContainerEngine,
    cancel: &'a Cancel,
    pub container: String,
    image: String,
}

impl Helper<'_> {
    /// Asks the engine's host to put on disk what it was sent: the engine itself doesn't. A warning where the image
    /// has no `sync`.
    pub fn sync(&self, context: &Context) {
        let spec = ContainerSpec {
            image: Some(self.image.clone()),
            entrypoint: Some(vec!["sync".into()]),
            command: Some(Vec::new()),
            labels: Some(BTreeMap::from([(LABEL_HELPER.into(), PURPOSE.into())])),
            network: Some("none".into()),
            ..ContainerSpec::default()
        };
        let why = match self.engine.run(&spec) {
            Ok(output) if output.exit_code == 0 => return,
            Ok(output) => format!("sync ended with {}", output.exit_code),
            Err(error) => error.message,
        };
        context.emit(Event::Warn { text: format!("the restored volume may not be on disk yet: {why}") });
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        // Left behind, it would hold on to the volume.
        let _ = self.cancel.in_spite(|| self.engine.remove(&self.container, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_the_containers_unless_ids_are_remapped_and_read_on_the_host() {
        let info = |userns_remap| EngineInfo {
            root_dir: "/var/lib/docker/100000.100000".into(),
            userns_remap,
            is_local: true,
            ..EngineInfo::default()
        };
        let direct = Route::MountPoint(PathBuf::new());
        assert_eq!(direct.owners(&info(false)), OWNERS_CONTAINER);
        assert_eq!(direct.owners(&info(true)), "host 100000.100000");
    }

    #[test]
    fn a_volume_that_is_mounted_for_containers_only_is_not_read_on_the_host() {
        let info = EngineInfo { is_local: true, ..EngineInfo::default() };
        let mut volume = Volume {
            name: "data".into(),
            driver: "local".into(),
            mount_point: "/tmp".into(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            created_at: String::new(),
        };
        assert!(mount_point(&volume, &info).is_ok());
        assert!(mount_point(&volume, &EngineInfo { is_local: false, ..info.clone() }).is_err());
        volume.options.insert("device".into(), ":/export".into());
        assert!(mount_point(&volume, &info).is_err());
        volume.options.clear();
        volume.driver = "rexray".into();
        assert!(mount_point(&volume, &info).is_err());
    }
}
