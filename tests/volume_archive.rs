//! Volume backups against a real engine: the mount point and the archive endpoint must agree.
//!
//! Needs a Docker engine on this machine, root, and an image of PostgreSQL; without them the tests say so and pass.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pgscript::event::{Event, Listener};
use pgscript::world::container::{ContainerFilter, ContainerSpec, LABEL_HELPER, Mount};
use pgscript::world::live::{Context, world};
use pgscript::world::volume::{Access, Backup, BackupOptions};
use pgscript::world::{Cancel, Redactor, World};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const IMAGE: &str = "pgscript-test/postgres:15";

/// A world, a directory for backups, and volumes that go away again.
struct Bench {
    world: World,
    dir: TempDir,
    volumes: Vec<String>,
    containers: Vec<String>,
    _runtime: Runtime,
}

/// Cancels at the first sign of progress in bytes.
struct CancelAtProgress(Cancel, bool);

impl Listener for CancelAtProgress {
    fn hear(&self, event: &Event) {
        if self.1 && matches!(event, Event::Progress { done: 1.., .. }) {
            self.0.cancel();
        }
    }
}

impl Bench {
    fn new() -> Option<Self> {
        Self::listening(false)
    }

    fn listening(cancel_at_progress: bool) -> Option<Self> {
        let runtime = Runtime::new().unwrap();
        let cancel = Cancel::default();
        let context = Context {
            runtime: runtime.handle().clone(),
            cancel: cancel.clone(),
            listener: Arc::new(CancelAtProgress(cancel, cancel_at_progress)),
            redactor: Redactor::default(),
            owner: pgscript::world::Owner::default(),
        };
        let world = world(context, None);
        let ready = world.containers.image(IMAGE).ok().flatten().is_some() && rustix::process::geteuid().is_root();
        if !ready {
            eprintln!("skipped: no Docker engine with {IMAGE}, or not root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        Some(Self { world, dir, volumes: Vec::new(), containers: Vec::new(), _runtime: runtime })
    }

    /// A new volume and its mount point.
    fn volume(&mut self) -> (String, PathBuf) {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgscript-archive-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let none = BTreeMap::new();
        let volume = self.world.containers.create_volume(&name, "local", &none, &none).unwrap();
        self.volumes.push(name.clone());
        (name, volume.mount_point.into())
    }

    fn container(&mut self, volume: &str, destination: &str, argv: &[&str]) -> String {
        let mount = |kind: &str, name: &str, destination: &str| Mount {
            kind: kind.into(),
            name: name.into(),
            source: String::new(),
            destination: destination.into(),
            read_only: false,
        };
        let mut mounts = vec![mount("volume", volume, destination)];
        if destination != "/var/lib/postgresql/data" {
            mounts.push(mount("tmpfs", "", "/var/lib/postgresql/data"));
        }
        let spec = ContainerSpec {
            image: Some(IMAGE.into()),
            entrypoint: Some(argv.iter().map(|a| a.to_string()).collect()),
            mounts,
            network: Some("none".into()),
            ..ContainerSpec::default()
        };
        let id = self.world.containers.create(&spec).unwrap().id;
        self.containers.push(id.clone());
        id
    }

    fn back_up(&self, volume: &str, name: &str, access: Access) -> Backup {
        self.world.volumes.backup(volume, &self.dir.path().join(name), &with(access)).unwrap()
    }

    fn helpers(&self) -> usize {
        let filter = ContainerFilter { labels: vec![LABEL_HELPER.into()], ..ContainerFilter::default() };
        let ours = |c: &pgscript::world::container::Container| c.mounts.iter().any(|m| self.volumes.contains(&m.name));
        self.world.containers.containers(&filter).unwrap().into_iter().filter(ours).count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.world.cancel.rearm();
        for container in &self.containers {
            let _ = self.world.containers.remove(container, true);
        }
        for volume in &self.volumes {
            let _ = self.world.containers.remove_volume(volume);
        }
    }
}

fn with(access: Access) -> BackupOptions {
    BackupOptions { access, image: Some(IMAGE.into()), ..BackupOptions::default() }
}

/// Entries that the engine's archives keep; whole seconds, which is all it tells.
fn fill(root: &Path) {
    let long = "n".repeat(200);
    fs::create_dir_all(root.join("base").join(&long)).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("PG_VERSION"), "15\n").unwrap();
    fs::write(root.join("base").join(&long).join("row"), vec![7; 3_000_000]).unwrap();
    fs::write(root.join("suid"), "x").unwrap();
    fs::hard_link(root.join("suid"), root.join("other name")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../".repeat(60), root.join("long link")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).current_dir(root).status();
        assert!(status.unwrap().success());
    };
    run("mkfifo", &["fifo"]);
    run("chown", &["-hR", "999:998", "."]);
    run("chown", &["3000000:5", "suid"]);
    run("find", &[".", "-exec", "touch", "-h", "-d", "@1500000000", "{}", "+"]);
    for (name, mode) in [("suid", 0o4711), ("empty", 0o1777), (".", 0o700)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// One line an entry: all that a backup keeps.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        if m.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let content = if m.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let links = if m.is_dir() { 0 } else { m.nlink() };
        let sum = content.iter().fold(content.len() as u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)));
        let name = path.strip_prefix(root).unwrap();
        let (target, owner) = (fs::read_link(&path).ok(), (m.uid(), m.gid()));
        let time = (m.mtime(), m.mtime_nsec());
        lines.push(format!("{name:?} {:o} {owner:?} {time:?} {links} {target:?} {sum}", m.mode()));
    }
    lines.sort();
    lines
}

#[test]
fn both_ways_of_reading_give_the_same_archive() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    fill(&root);
    let direct = bench.back_up(&name, "direct", Access::MountPoint);
    let endpoint = bench.back_up(&name, "endpoint", Access::Endpoint);
    assert_eq!(direct.manifest.pg_version, "15");
    assert_eq!(direct.manifest.sha256, endpoint.manifest.sha256, "the very same bytes");
    let mut manifest = endpoint.manifest.clone();
    manifest.created_at = direct.manifest.created_at.clone();
    assert_eq!(direct.manifest, manifest);
    bench.world.volumes.verify(&direct).unwrap();
    bench.world.volumes.verify(&endpoint).unwrap();
    assert_eq!(bench.helpers(), 0);
}

#[test]
fn each_way_of_writing_restores_what_each_way_of_reading_read() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    fill(&root);
    for (file, read) in [("direct", Access::MountPoint), ("endpoint", Access::Endpoint)] {
        let backup = bench.back_up(&name, file, read);
        for write in [Access::MountPoint, Access::Endpoint] {
            let (restored, restored_root) = bench.volume();
            bench.world.volumes.restore(&backup, &restored, &with(write)).unwrap();
            assert_eq!(listing(&restored_root), listing(&root), "read {read:?}, written {write:?}");
            let error = bench.world.volumes.restore(&backup, &restored, &with(write)).unwrap_err();
            assert_eq!(error.code, "volume.not_empty", "{write:?}");
        }
    }
    assert_eq!(bench.helpers(), 0);
}

#[test]
fn size_and_version_are_told_without_a_server() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    assert_eq!(bench.world.volumes.size(&name).unwrap(), (0, false));
    assert_eq!(bench.world.volumes.pg_version(&name).unwrap(), "");
    fill(&root);
    assert_eq!(bench.world.volumes.size(&name).unwrap(), (3_000_004, true));
    assert_eq!(bench.world.volumes.pg_version(&name).unwrap(), "15");
    assert_eq!(bench.world.volumes.size("no-such-volume").unwrap_err().code, "volume.not_found");
}

#[test]
fn a_volume_in_use_is_not_read_and_its_users_are_named() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    fill(&root);
    let id = bench.container(&name, "/data", &["sleep", "60"]);
    bench.world.containers.start(&id).unwrap();
    let path = bench.dir.path().join("backup");
    let error = bench.world.volumes.backup(&name, &path, &BackupOptions::default()).unwrap_err();
    let user = bench.world.containers.container(&id).unwrap().name;
    assert!(error.code == "volume.in_use" && error.message.contains(&user), "{error}");
    bench.world.containers.remove(&id, true).unwrap();
    bench.world.volumes.backup(&name, &path, &BackupOptions::default()).unwrap();
}

#[test]
fn the_endpoint_takes_the_image_of_a_container_that_mounts_the_volume() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    fill(&root);
    let path = bench.dir.path().join("backup");
    let options = BackupOptions { access: Access::Endpoint, ..BackupOptions::default() };
    let error = bench.world.volumes.backup(&name, &path, &options).unwrap_err();
    assert_eq!(error.code, "docker.image_missing");
    assert!(error.hint.is_some());
    bench.container(&name, "/var/lib/postgresql/data", &["true"]);
    let backup = bench.world.volumes.backup(&name, &path, &options).unwrap();
    bench.world.volumes.verify(&backup).unwrap();
}

/// The image declares a volume of its own, which must not be created with every helper and stay behind.
#[test]
fn the_helper_leaves_no_anonymous_volume() {
    let Some(mut bench) = Bench::new() else { return };
    let (name, root) = bench.volume();
    fill(&root);
    let mine = std::thread::spawn({
        let name = name.clone();
        move || helper_mounts(&name)
    });
    bench.back_up(&name, "backup", Access::Endpoint);
    let mounts = mine.join().unwrap();
    assert!(mounts.iter().all(|m| m.kind == "tmpfs" || m.name == name), "{mounts:?}");
}

/// What the helper on a volume has mounted, looked at while it exists.
fn helper_mounts(volume: &str) -> Vec<Mount> {
    let bench = Bench::new().unwrap();
    let filter = ContainerFilter { volume: Some(volume.into()), ..ContainerFilter::default() };
    for _ in 0..500 {
        if let Ok([helper]) = bench.world.containers.containers(&filter).as_deref() {
            return helper.mounts.clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("no helper appeared");
}

#[test]
fn cancel_removes_the_helper_and_the_file() {
    let Some(mut bench) = Bench::listening(true) else { return };
    let (name, root) = bench.volume();
    let noise: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(root.join("big"), noise.repeat(400)).unwrap();
    let error = bench.world.volumes.backup(&name, &bench.dir.path().join("file"), &with(Access::Endpoint)).unwrap_err();
    assert_eq!(error.code, "cancelled");
    assert!(bench.world.cancel.is_cancelled(), "the run must still see it");
    bench.world.cancel.rearm();
    assert_eq!(bench.helpers(), 0);
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 0);
}
