//! Clusters as the first start of an image makes them, kept below the build's own directory from one test to the next.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::sh;
use crate::stack::docker;

/// A server's volume, and where the cluster is kept that it begins with.
pub struct Kept {
    volume: String,
    file: PathBuf,
}

impl Kept {
    /// Of a container that the image of today made, with what tests of a subject give it; `number` tells clusters of a
    /// version apart. `None` where the files of its volume are others' or elsewhere.
    pub fn of(container: &str, subject: &str, major: u32, number: usize) -> Option<Self> {
        let shown = docker(&["inspect", "--format", "{{.Image}} {{range .Mounts}}{{.Source}}{{end}}", container]);
        let (image, volume) = shown.split_once(' ').unwrap();
        // Of an engine that maps users its directory belongs to another root.
        let above = Path::new(volume).parent()?.metadata().ok()?;
        let made_by = &image.rsplit(':').next().unwrap()[..12];
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{subject}-{major}-{number}-{made_by}.tar"));
        (above.uid() == 0).then(|| Self { volume: volume.to_owned(), file })
    }

    /// Puts the kept cluster into the volume of the container, which has not run; whether the volume has one now.
    pub fn put(&self) -> bool {
        if std::fs::read_dir(&self.volume).is_ok_and(|mut files| files.next().is_some()) {
            return true;
        }
        let is_kept = self.file.exists();
        if is_kept {
            sh("tar", &["-C", &self.volume, "--numeric-owner", "-xpf", &self.file.display().to_string()]);
        }
        is_kept
    }

    /// Keeps the cluster of the container's server, which is stopped and started for that.
    pub fn take(&self, container: &str) {
        static PART: AtomicU32 = AtomicU32::new(0);
        let number = PART.fetch_add(1, Ordering::Relaxed);
        let part = self.file.with_extension(format!("{}-{number}", std::process::id()));
        docker(&["stop", container]);
        sh("tar", &["-C", &self.volume, "--numeric-owner", "-cf", &part.display().to_string(), "."]);
        std::fs::rename(&part, &self.file).unwrap();
        docker(&["start", container]);
    }
}
