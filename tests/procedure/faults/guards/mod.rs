//! What a script can't do, however it is edited, where the engine's own behaviour has its part in it (all of it:
//! `tests/simulated/faults/guards`); and what a volume's backup gives back.

mod artefacts;
mod containers;
mod fence;
mod volumes;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::stack::{Run, Stack, docker, pgscript, run};

/// Volumes, containers, a network and a directory of the test's own, and a run store in it; they go with the value.
/// Names begin with `name`, containers and networks carry it as a label.
struct Scratch {
    dir: tempfile::TempDir,
    name: String,
}

/// Lines that scripts of these tests begin with.
const GIVEN: &str = r#"
let name = param("name");
let dir = param("dir", #{ type: "path" });
"#;

impl Scratch {
    fn new(name: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), name: format!("pgt-{}-{name}", std::process::id()) }
    }

    /// Runs a script of the site's own.
    fn run(&self, text: &str, args: &[&str]) -> Run {
        let script = self.dir.path().join("own.rhai");
        std::fs::write(&script, text).unwrap();
        let mut command = pgscript(&["run", &script.display().to_string(), "--set", &format!("name={}", self.name)]);
        command.arg("--set").arg(format!("dir={}", self.dir.path().display()));
        command.env("PGSCRIPT_STORE", self.dir.path().join("runs"));
        run(command.args(args))
    }

    /// Runs statements in a step, after [`GIVEN`].
    fn step(&self, statements: &str, args: &[&str]) -> Run {
        self.run(
            &format!("{GIVEN}\nstep(\"act\", || {{\n{statements}\n}}, #{{ undo: false, repeatable: true }});"),
            args,
        )
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn label(&self) -> String {
        format!("pgscript.test.stack={}", self.name)
    }

    /// Containers, networks or volumes of this name, or of one that begins with it.
    fn by_name(&self, kind: &str) -> Vec<String> {
        let all: &[&str] = if kind == "container" { &["-a"] } else { &[] };
        let filter = format!("name={}", self.name);
        let format = if kind == "container" { "{{.Names}}" } else { "{{.Name}}" };
        let found = docker(&[&[kind, "ls"], all, &["--filter", &filter, "--format", format]].concat());
        let is_ours = |name: &&str| *name == self.name || name.starts_with(&format!("{}-", self.name));
        found.lines().filter(is_ours).map(str::to_owned).collect()
    }

    /// The journals of all runs, one text.
    fn journals(&self) -> String {
        let runs = std::fs::read_dir(self.dir.path().join("runs")).unwrap();
        runs.filter_map(|run| std::fs::read_to_string(run.unwrap().path().join("journal.jsonl")).ok()).collect()
    }

    /// The operator's word is in the journal.
    #[track_caller]
    fn is_journalled(&self, loss: &str) {
        let line = format!("\"entry\":\"override\",\"loss\":\"{loss}\"");
        assert!(self.journals().contains(&line), "{line} is not in:\n{}", self.journals());
    }
}

fn has_volume(name: &str) -> bool {
    docker(&["volume", "ls", "--quiet", "--filter", &format!("name=^{name}$")]) == name
}

/// A volume with a file in it.
fn filled(name: &str) {
    docker(&["volume", "create", name]);
    let mount = format!("{name}:/data");
    docker(&[
        "run",
        "--rm",
        "--user",
        "0",
        "-v",
        &mount,
        "--entrypoint",
        "touch",
        "pgscript-test/app:1",
        "/data/record",
    ]);
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let remove = |kind: &[&str], names: Vec<String>| {
            for name in names {
                let _ = std::process::Command::new("docker").args(kind).arg(&name).output();
            }
        };
        remove(&["container", "rm", "-fv"], self.by_name("container"));
        remove(&["network", "rm"], self.by_name("network"));
        remove(&["volume", "rm", "-f"], self.by_name("volume"));
    }
}

#[test]
fn a_restored_volume_is_the_same_to_the_last_byte() {
    let stack = Stack::up(13);
    let scratch = Scratch::new("exact");
    stack.docker(&[
        "exec",
        &stack.container("postgres"),
        "sh",
        "-c",
        "cd /var/lib/postgresql/data && mkdir -p 'odd dir' && ln -s ../base 'odd dir/link' && ln -s /nowhere dangling \
         && echo x > 'odd dir/äö' && chmod 4751 'odd dir/äö' && chown 1234:4321 'odd dir/äö' && ln 'odd dir/äö' hard \
         && mkfifo pipe && touch -d 2001-02-03T04:05:06.789012345 'odd dir' && truncate -s 3M sparse",
    ]);
    let script = format!(
        r#"
        let container = docker::service("{}", "postgres");
        let name = param("name");
        let dir = param("dir", #{{ type: "path" }});
        step("copy", || {{
            docker::set_restart_policy(container, "no");
            docker::stop(container);
            let volume = volume::inspect("{}_database");
            let backup = volume::backup(volume, dir + "/volume.tar.zst");
            volume::verify(backup);
            volume::restore(backup, volume::create(name + "-copy"));
        }});"#,
        stack.name, stack.name
    );
    scratch.run(&script, &[]).expect(0, &[]);
    let mount_point = |name: &str| PathBuf::from(docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", name]));
    let (old, new) = (mount_point(&format!("{}_database", stack.name)), mount_point(&format!("{}-copy", scratch.name)));
    let (old, new) = (tree(&old), tree(&new));
    assert!(old.len() > 1000, "{} entries", old.len());
    let differs: Vec<_> = old.iter().filter(|(path, entry)| new.get(*path) != Some(*entry)).take(5).collect();
    assert!(
        differs.is_empty(),
        "{differs:?}, restored: {:?}",
        differs.iter().map(|(p, _)| new.get(*p)).collect::<Vec<_>>()
    );
    assert_eq!(old.len(), new.len());
}

/// Everything below a directory as lstat shows it, with the bytes and the name of another link to it.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    let mut links: BTreeMap<u64, PathBuf> = BTreeMap::new();
    while let Some(path) = left.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let kind = meta.file_type();
        let content = if kind.is_symlink() {
            format!("link to {}", std::fs::read_link(&path).unwrap().display())
        } else if kind.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            entries.sort();
            left.extend(entries);
            "directory".into()
        } else if kind.is_fifo() {
            "fifo".into()
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let first = links.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
            format!("{} bytes {:x} first {}", bytes.len(), checksum(&bytes), first.display())
        };
        let (mode, links) = (meta.mode(), if kind.is_dir() { 0 } else { meta.nlink() });
        let entry = format!(
            "{mode:o} {}:{} {}.{:09} {links} {content}",
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        found.insert(name, entry);
    }
    found
}

fn checksum(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
