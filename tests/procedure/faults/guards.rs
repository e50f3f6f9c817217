//! What a script can't do, however it is edited; and what a volume's backup gives back.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::stack::{Run, Stack, docker, pgscript, run};

/// Volumes and a directory of the test's own; they go with the value.
struct Scratch {
    dir: tempfile::TempDir,
    name: String,
}

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
        run(command.args(args))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for name in [self.name.clone(), format!("{}-copy", self.name)] {
            let _ = std::process::Command::new("docker").args(["volume", "rm", &name]).output();
        }
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

#[test]
fn an_edited_script_removes_no_volume_without_a_verified_backup() {
    let scratch = Scratch::new("unproven");
    let volume = &scratch.name;
    filled(volume);
    let remove = r#"
        let volume = volume::inspect(param("name"));
        let dir = param("dir", #{ type: "path" });
        step("remove", || { volume::remove(volume); });"#;
    let refused = |text: &str, args: &[&str]| {
        scratch.run(text, args).expect(
            3,
            &[
                "error[volume.unproven]",
                &format!("no verified backup of volume {volume}"),
                &format!("--allow-data-loss volume:{volume}"),
            ],
        );
        assert!(has_volume(volume));
    };
    refused(remove, &[]);
    // Caught and tried again, backed up but never read back, allowed for another volume: still no.
    refused(
        &remove
            .replace("volume::remove(volume)", "try { volume::remove(volume) } catch (e) { volume::remove(volume) }"),
        &[],
    );
    refused(&remove.replace("volume::remove", "volume::backup(volume, dir + \"/b.tar.zst\"); volume::remove"), &[]);
    refused(remove, &["--allow-data-loss", "volume:another"]);
    scratch.run(remove, &["--allow-data-loss", volume]).expect(2, &["volume:NAME"]);
}

#[test]
fn the_operator_may_name_the_volume_to_lose() {
    let scratch = Scratch::new("allowed");
    filled(&scratch.name);
    let remove = "let volume = volume::inspect(param(\"name\"));\nlet dir = param(\"dir\");\nstep(\"remove\", || volume::remove(volume));";
    scratch.run(remove, &["--allow-data-loss", &format!("volume:{}", scratch.name)]).expect(0, &[]);
    assert!(!has_volume(&scratch.name));
}

#[test]
fn a_restored_volume_is_the_same_to_the_last_byte() {
    let stack = Stack::up(13);
    let scratch = Scratch::new("exact");
    stack.docker(&["exec", &stack.container("postgres"), "sh", "-c",
        "cd /var/lib/postgresql/data && mkdir -p 'odd dir' && ln -s ../base 'odd dir/link' && ln -s /nowhere dangling && \
         echo x > 'odd dir/äö' && chmod 4751 'odd dir/äö' && chown 1234:4321 'odd dir/äö' && ln 'odd dir/äö' hard && \
         mkfifo pipe && touch -d 2001-02-03T04:05:06.789012345 'odd dir' && truncate -s 3M sparse"]);
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
