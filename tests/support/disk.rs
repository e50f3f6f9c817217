//! A file system of its own that is too small for what is to be written there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::sh;

/// Unmounted when the value goes, which must be before the directory that it is in does.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// A new directory with so many kilobytes below it, and a few thousand names.
    pub fn at(path: PathBuf, kilobytes: u32) -> Self {
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={kilobytes}k,nr_inodes=3k,mode=700");
        sh("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &path.display().to_string()]);
        Self(path)
    }

    /// Somebody else leaves this much room, in bytes.
    pub fn fill(&self, left: u64) {
        fill(&self.0, left);
    }

    /// Neither room nor names are left.
    pub fn fill_to_the_end(&self) {
        self.fill(0);
        let names = "i=0; while true > \"$0/somebody-else's.$i\"; do i=$((i + 1)); done; true";
        sh("sh", &["-c", &format!("exec 2> /dev/null; {names}"), &self.0.display().to_string()]);
    }

    /// What took the room goes.
    pub fn make_room(&self) {
        sh("sh", &["-c", "rm -f \"$0\"/somebody-else*", &self.0.display().to_string()]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Leaves this much room, in bytes, on the file system of a directory. The file that takes the rest.
pub fn fill(directory: &Path, left: u64) -> PathBuf {
    let free: u64 = sh("df", &["-B1", "--output=avail", &directory.display().to_string()])
        .lines()
        .last()
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap();
    let path = directory.join("somebody-else's.log");
    match free.saturating_sub(left) {
        0 => _ = std::fs::File::create(&path).unwrap(),
        taken => _ = sh("fallocate", &["-l", &taken.to_string(), &path.display().to_string()]),
    }
    path
}
