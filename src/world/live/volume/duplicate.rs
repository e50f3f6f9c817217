//! A second volume with the content of another.
//!
//! The copy grows beside the new volume's content, under [`PARTIAL`], and takes its place whole, verified and synced:
//! until then the volume is empty, and no server can be started on half a cluster.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::access::{mount, mount_point};
use super::directories::{DATA, is_ours, last_line, root};
use super::keeper::is_keeper;
use super::rename::different;
use super::worker::{Task, Worker};
use super::{Volumes, tree};
use crate::event::Event;
use crate::world::container::{Mount, Volume};
use crate::world::error::{Error, Result};
use crate::world::live::Context;
use crate::world::live::host::sync_parent;
use crate::world::live::process::{self, Child};
use crate::world::live::progress::Progress;
use crate::world::volume::*;

const PURPOSE: &str = "volume-clone";
/// A copy that is not yet whole, in the new volume's own directory; the removal of the volume takes it along.
const PARTIAL: &str = ".pgscript-clone";
/// Where a worker has the volume and the new volume's own directory mounted.
const MOUNTED_FROM: &str = "/pgscript-from";
const MOUNTED_TO: &str = "/pgscript-to";
/// How often the growing copy is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// A worker's exit code: the copy is not what it was copied from.
const DIFFERENT: i64 = 65;

impl Volumes {
    pub fn clone_volume(&self, from: &str, to: &str, options: &NewVolume) -> Result<Volume> {
        different(from, to)?;
        let task = Task { purpose: PURPOSE, from, to, refusal: |volume, why| cannot_clone(volume, why) };
        // What a killed process has left at work on it.
        self.containers.sweep(&[from, to])?;
        let source = self.volume(from)?;
        self.check_unwritten(from)?;
        let (target, is_new) = self.target(to, LABEL_CLONED_FROM, from, options)?;
        let filled = self.fill(&task, &source, &target, options.image.as_deref());
        // Whoever started meanwhile has written to what was read.
        filled.and_then(|()| self.check_unwritten(from)).inspect_err(|_| {
            if is_new {
                self.drop_copy(to);
            }
        })?;
        Ok(target)
    }

    fn fill(&self, task: &Task<'_>, source: &Volume, target: &Volume, image: Option<&str>) -> Result<()> {
        self.check_unused(task.to)?;
        let root = root(target).map_err(|why| cannot_clone(task.from, format!("{} is of no use: {why}", task.to)))?;
        // Before the content comes, so that the copy is never without one.
        if let Some(keeper) = self.users(task.from)?.iter().find(|c| is_keeper(c)) {
            self.keep_volume(task.to, Some(&keeper.image_id))?;
        }
        let info = self.containers.info()?;
        match mount_point(source, &info) {
            Ok(content) if is_ours(&root, &info) => fill_here(&self.context, task, &content, &root.join(task.to)),
            _ => fill_there(&self.worker(task, image)?, task, &root.join(task.to)),
        }
    }

    /// Removes a copy that this call began and did not finish: it may fill a disk.
    fn drop_copy(&self, to: &str) {
        let removed = self.context.cancel.in_spite(|| {
            self.unkeep_volume(to)?;
            self.containers.remove_volume(to)
        });
        if let Err(error) = removed {
            self.context.emit(Event::Warn { text: format!("the unfinished copy stays: {}", error.message) });
        }
    }
}

fn cannot_clone(volume: &str, why: impl std::fmt::Display) -> Error {
    Error::refused("volume.cannot_clone", format!("volume {volume} can't be cloned: {why}"))
        .hint("back it up and restore it into a new volume instead: volume::backup, volume::restore")
}

/// An earlier call made this copy; something has changed since, on one side or the other.
fn changed_since(task: &Task<'_>) -> Error {
    let message = format!("volume {} holds a copy of {}, and one of them has changed since", task.to, task.from);
    Error::refused("volume.exists", message).hint("name another volume, or remove that copy")
}

fn not_the_same(task: &Task<'_>) -> Error {
    Error::failed("volume.changed", format!("the copy of volume {} is not the same as the volume", task.from))
        .hint("something writes to the volume: stop it, then try again")
}

/// `own`: the new volume's own directory.
fn fill_here(context: &Context, task: &Task<'_>, content: &Path, own: &Path) -> Result<()> {
    let (partial, data) = (own.join(PARTIAL), own.join(DATA));
    let failed = |e: io::Error| Error::io("make a copy in", own.display(), &e);
    if fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        let same = tree::fingerprint(content, &context.cancel)? == tree::fingerprint(&data, &context.cancel)?;
        return if same { Ok(()) } else { Err(changed_since(task)) };
    }
    remove_tree(&partial).map_err(failed)?;
    let copied = copy(context, task.from, content, &partial).and_then(|()| {
        let same = tree::fingerprint(content, &context.cancel)? == tree::fingerprint(&partial, &context.cancel)?;
        if same { Ok(()) } else { Err(not_the_same(task)) }
    });
    let finished = copied.and_then(|()| {
        fs::File::open(&partial).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?)).map_err(failed)?;
        // Takes the place of an empty directory; the kernel refuses any other.
        fs::rename(&partial, &data).map_err(failed)?;
        sync_parent(&data)
    });
    finished.inspect_err(|_| _ = remove_tree(&partial))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// `cp` of this machine: it knows extended attributes, sparse files, and how to share blocks.
fn copy(context: &Context, name: &str, content: &Path, partial: &Path) -> Result<()> {
    let total = tree::measure(content, &context.cancel)?.bytes;
    let path = |path: &Path| path.display().to_string();
    let argv = ["cp", "-a", "--reflink=auto", "-T", "--"].map(str::to_owned);
    let argv = [argv.as_slice(), &[path(&content.join(".")), path(partial)]].concat();
    let env = [("LC_ALL".to_owned(), "C".to_owned())];
    let child = Child { argv: &argv, dir: None, env: &env, stdin: None };
    let (done, is_done) = channel::<()>();
    let ended = thread::scope(|scope| {
        scope.spawn(move || {
            let mut progress = Progress::bytes(context, format!("clone {name}"), Some(total));
            while is_done.recv_timeout(MEASURE_EVERY) == Err(RecvTimeoutError::Timeout) {
                // It grows while it is measured, which counts as a change.
                if let Ok(tally) = tree::measure(partial, &context.cancel) {
                    progress.set(tally.bytes);
                }
            }
            progress.set(total);
        });
        let ended = process::run(context, &child, &mut |_, _| ());
        drop(done);
        ended
    })?;
    if ended.exit_code == 0 { Ok(()) } else { Err(copy_failed(name, &ended.stderr)) }
}

fn copy_failed(volume: &str, said: &[u8]) -> Error {
    let why = last_line(said);
    let code = if why.contains("No space left") { "host.disk_full" } else { "volume.cannot_clone" };
    Error::failed(code, format!("volume {volume} can't be cloned: {why}"))
}

/// `own`: the new volume's own directory, on the engine's host.
fn fill_there(worker: &Worker<'_>, task: &Task<'_>, own: &Path) -> Result<()> {
    let from = Mount { read_only: true, ..mount("volume", task.from, MOUNTED_FROM) };
    let to = Mount { source: own.display().to_string(), ..mount("bind", "", MOUNTED_TO) };
    let output = worker.run(CLONE, &[], vec![from, to])?;
    match (output.exit_code, output.stdout.as_slice()) {
        (0, _) => Ok(()),
        (DIFFERENT, b"") => Err(not_the_same(task)),
        (DIFFERENT, _) => Err(changed_since(task)),
        _ => Err(copy_failed(task.from, &output.stderr)),
    }
}

/// Copies `from` beside the content of `to`, compares, and lets the copy take its place. With a content that is
/// there already, it only compares, after a word on standard output.
const CLONE: &str = r#"
set -eu
list() {
    cd "$1" && find . -type d -exec stat -c '%n %f %u %g' {} + &&
        find . -type f -exec stat -c '%n %f %u %g %s %Y' {} + &&
        find . ! -type d ! -type f -exec stat -c '%n %f %u %g' {} +
}
sum() { { list "$1" || echo "$1 can't be read"; } | sort | sha256sum; }
same() { [ "$(sum /pgscript-from)" = "$(sum "$1")" ]; }

cd /pgscript-to
content=
[ ! -e _data ] || content=$(ls -A _data)
if [ -n "$content" ]; then
    echo there
    same /pgscript-to/_data || exit 65
    exit 0
fi
rm -rf .pgscript-clone
cp -a /pgscript-from .pgscript-clone || { rm -rf .pgscript-clone; exit 1; }
same /pgscript-to/.pgscript-clone || { rm -rf .pgscript-clone; exit 65; }
sync
[ ! -e _data ] || rmdir _data
mv .pgscript-clone _data
sync
"#;
