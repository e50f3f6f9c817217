//! Clusters as the first start of an image makes them, kept below the build's own directory from one test to the next.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::docker;
use crate::program::sh;

/// Where the cluster of a version is kept that the image of today has made; `number` tells those of a version apart.
fn place(major: u32, number: usize) -> PathBuf {
    let image = docker(&["image", "inspect", "--format", "{{.Id}}", &super::image(major)]);
    let made_by = &image.rsplit(':').next().unwrap()[..12];
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{major}-{number}-{made_by}.tar"))
}

/// The container's volume as this machine sees it; `None` where its files are others' or elsewhere.
fn volume(container: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let source = docker(&["inspect", "--format", "{{range .Mounts}}{{.Source}}{{end}}", container]);
    // Of an engine that maps users its directory belongs to another root.
    let above = Path::new(&source).parent().and_then(|above| above.metadata().ok());
    above.is_some_and(|above| above.uid() == 0).then_some(source)
}

/// Puts the kept cluster into the volume of a container that has not run; whether there was one.
pub fn put_into(container: &str, major: u32, number: usize) -> bool {
    let kept = place(major, number);
    let Some(volume) = volume(container).filter(|_| kept.exists()) else { return false };
    sh("tar", &["-C", &volume, "--numeric-owner", "-xpf", &kept.display().to_string()]);
    true
}

/// Keeps the cluster of a server, which is stopped and started for that; whether it could.
pub fn take(container: &str, major: u32, number: usize) -> bool {
    static PART: AtomicU32 = AtomicU32::new(0);
    let Some(volume) = volume(container) else { return false };
    let kept = place(major, number);
    let part = kept.with_extension(format!("{}-{}", std::process::id(), PART.fetch_add(1, Ordering::Relaxed)));
    docker(&["stop", container]);
    sh("tar", &["-C", &volume, "--numeric-owner", "-cf", &part.display().to_string(), "."]);
    std::fs::rename(&part, kept).unwrap();
    docker(&["start", container]);
    true
}
