//! A volume under another name, with its content where it was.
//!
//! The engine knows no such thing, so it takes steps: make `to`, rename the content, remove `from`. After each a
//! process may be killed; what the two directories hold tells the next call which step it has come to.

use super::Volumes;
use super::directories::{Content, Directories, both_filled, cannot_move, is_ours, root};
use super::keeper::is_keeper;
use super::worker::Task;
use crate::world::container::{Container, Volume};
use crate::world::error::{Error, Result};
use crate::world::volume::*;

const PURPOSE: &str = "volume-move";

impl Volumes {
    pub fn rename_volume(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume> {
        different(from, to)?;
        let task = Task { purpose: PURPOSE, from, to, refusal: |volume, why| cannot_move(volume, why) };
        // What a killed process has left at work on it.
        self.containers.sweep(&[from, to])?;
        let Some(source) = self.containers.volume(from)? else { return self.moved_before(from, to, options) };
        let place = root(&source).map_err(|why| cannot_move(from, why))?;
        let info = self.containers.info()?;
        let keepers = self.check_unmounted(from)?;
        let directories = match is_ours(&place, &info) {
            true => Directories::Here(place),
            false => Directories::There(place, self.worker(&task, options.image.as_deref())?),
        };
        let waiting = match self.containers.volume(to)? {
            None => Content::Missing,
            Some(_) => {
                self.target(to, LABEL_MOVED_FROM, from, options)?;
                self.check_unused(to)?;
                directories.look(to)?
            }
        };
        match (directories.look(from)?, waiting) {
            (Content::Filled, Content::Filled) => return Err(both_filled(from, to)),
            // An earlier call came as far as this.
            (_, Content::Filled) => {}
            (Content::Missing, _) => return Err(cannot_move(from, "there is no directory of it")),
            (Content::Empty | Content::Filled, _) => self.hand_over(from, to, options, &directories, &keepers)?,
        }
        for keeper in keepers {
            self.containers.remove(&keeper.id, true)?;
        }
        directories.clear(from)?;
        self.containers.remove_volume(from)?;
        self.volume(to)
    }

    /// Where `from` is gone: `to`, when an earlier call made it of `from`.
    fn moved_before(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume> {
        let missing = |why: String| Error::failed("volume.not_found", why).hint("docker volume ls");
        let target = self.containers.volume(to)?.filter(|v| v.labels.get(LABEL_MOVED_FROM).is_some_and(|l| l == from));
        let target = target.ok_or_else(|| missing(format!("there is no volume {from}")))?;
        let options = BackupOptions { image: options.image.clone(), ..BackupOptions::default() };
        let route = self.route(&target, &options, &self.containers.info()?, None)?;
        if super::is_empty(&self.context, &route)? {
            return Err(missing(format!(
                "there is no volume {from}, and {to}, which was made for its content, is empty"
            )));
        }
        Ok(target)
    }

    /// The keepers of a volume that nothing else mounts. The engine removes no volume that a stopped container mounts,
    /// and would give that container an empty one.
    fn check_unmounted(&self, volume: &str) -> Result<Vec<Container>> {
        self.check_unused(volume)?;
        let (keepers, others): (Vec<_>, Vec<_>) = self.users(volume)?.into_iter().partition(is_keeper);
        if others.is_empty() {
            return Ok(keepers);
        }
        let named: Vec<_> = others.iter().map(|c| format!("{} ({})", c.name, c.state)).collect();
        let names: Vec<_> = others.into_iter().map(|c| c.name).collect();
        let message = format!("volume {volume} can't be moved: containers mount it: {}", named.join(", "));
        Err(Error::refused("volume.in_use", message)
            .hint(format!("remove them first: docker container rm {}", names.join(" "))))
    }

    /// Gives the content of `from` to the volume `to`, which is made where it isn't there.
    fn hand_over(
        &self,
        from: &str,
        to: &str,
        options: &NewVolume,
        directories: &Directories<'_>,
        keepers: &[Container],
    ) -> Result<()> {
        let (target, is_new) = self.target(to, LABEL_MOVED_FROM, from, options)?;
        let shift = || {
            if root(&target).as_deref() != Ok(directories.root()) {
                return Err(cannot_move(from, format!("the engine keeps {to} elsewhere, at {}", target.mount_point)));
            }
            // Before the content comes, so that it is never without one.
            if let Some(keeper) = keepers.first() {
                self.keep_volume(to, Some(&keeper.image_id))?;
            }
            directories.shift(from, to)
        };
        shift().inspect_err(|_| {
            if is_new {
                self.take_back(to, directories);
            }
        })
    }

    /// Removes the volume that this call made and that has stayed empty; otherwise it is left as it is.
    fn take_back(&self, to: &str, directories: &Directories<'_>) {
        // The failure that led here is what the caller hears of; what is left is found by the next call.
        let _ = self.context.cancel.in_spite(|| {
            directories.clear(to)?;
            self.unkeep_volume(to)?;
            self.containers.remove_volume(to)
        });
    }

    /// The volume to fill, and whether it is new: an earlier call for the same purpose may have made it.
    pub fn target(&self, to: &str, label: &str, from: &str, options: &NewVolume) -> Result<(Volume, bool)> {
        let mut labels = options.labels.clone();
        labels.insert(label.into(), from.into());
        let (volume, is_new) = match self.containers.volume(to)? {
            Some(volume) => (volume, false),
            None => (self.containers.create_volume(to, "local", &labels, &Default::default())?, true),
        };
        if volume.labels.get(label).is_some_and(|l| l == from) {
            return Ok((volume, is_new));
        }
        Err(Error::refused("volume.exists", format!("volume {to} exists already, and was not made of {from}"))
            .hint(format!("name another volume; docker volume inspect {to} shows what this one is")))
    }
}

pub fn different(from: &str, to: &str) -> Result<()> {
    if from == to {
        return Err(Error::usage("volume.exists", format!("{from} is the name the volume has already")));
    }
    Ok(())
}
