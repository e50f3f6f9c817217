//! The archive on real directories, as root: what goes in must come out, and damage must be seen.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, chownat, mknodat, utimensat};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::event::{Event, Listener};
use crate::world::live::host::testing::context;

fn set(path: &Path, uid: u32, gid: u32, mode: u32, mtime: (i64, i64)) {
    chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    if !path.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let time = Timespec { tv_sec: mtime.0, tv_nsec: mtime.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A directory with one of everything.
fn odd_tree() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let long = "n".repeat(200);
    let deep = root.join("base").join(&long).join(&long);
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("PG_VERSION"), "15\n").unwrap();
    fs::write(deep.join("row"), noise(300_000)).unwrap();
    fs::write(root.join("suid"), "#!/bin/sh").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not utf-8 \xff\xfe")), "x").unwrap();
    fs::write(root.join("new\nline"), "y").unwrap();
    fs::write(root.join(format!("new\nline {long}")), "z").unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    fs::hard_link(root.join("nothing"), root.join("other name")).unwrap();
    fs::hard_link(deep.join("row"), root.join("row")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../".repeat(60), root.join("long link")).unwrap();
    symlink("base", root.join("zz link to dir")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3)).unwrap();
    set(&root.join("suid"), 70, 71, 0o6755, (1_600_000_000, 123_456_789));
    set(&root.join("absolute"), 999, 998, 0, (1_500_000_000, 1));
    set(&root.join("fifo"), 3_000_000, 3_000_001, 0o620, (-5, 500_000_000));
    set(&root.join("sparse"), 0, 0, 0o400, (0, 0));
    set(&deep, 70, 70, 0o2750, (1_400_000_000, 999_999_999));
    set(&root.join("empty"), 70, 70, 0o1777, (1_300_000_000, 0));
    set(root, 70, 70, 0o700, (1_200_000_000, 42));
    temp
}

/// Bytes that don't compress, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

/// Everything about a tree that a person could see: one line an entry.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let content = match m.file_type() {
            t if t.is_dir() => {
                pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
                String::new()
            }
            t if t.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            t if t.is_file() => format!("{} {:?}", m.len(), Sha256::digest(fs::read(&path).unwrap())),
            _ => m.rdev().to_string(),
        };
        let links = if m.is_dir() { 0 } else { m.nlink() };
        let name = path.strip_prefix(root).unwrap();
        let (owner, time) = ((m.uid(), m.gid()), (m.mtime(), m.mtime_nsec()));
        lines.push(format!("{name:?} {:o} {owner:?} {time:?} {links} {content}", m.mode()));
    }
    lines.sort();
    lines
}

fn back_up(context: &Context, source: &Path, path: &Path) -> Result<Backup> {
    back_up_with(context, source, path, &BackupOptions::default())
}

fn back_up_with(context: &Context, source: &Path, path: &Path, options: &BackupOptions) -> Result<Backup> {
    pack(context, "data", path, options, |out, progress| pack_directory(context, source, out, progress))?
        .publish(OWNERS_CONTAINER.into())
}

fn check(backup: &Backup) -> Result<()> {
    each_member(&context(), backup, "verify", &mut |_, content, _| {
        io::copy(content, &mut io::sink()).map(drop).map_err(CopyError::Source)
    })
}

/// A backup of the odd tree in a directory of its own.
fn odd_backup() -> (TempDir, TempDir, Backup) {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let backup = back_up(&context(), source.path(), &target.path().join("data.tar.zst")).unwrap();
    (source, target, backup)
}

fn files_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_restored_is_what_was_backed_up() {
    let (source, target, backup) = odd_backup();
    let restored = tempfile::tempdir().unwrap();
    check(&backup).unwrap();
    unpack_directory(&context(), &backup, "data", restored.path()).unwrap();
    assert_eq!(listing(restored.path()), listing(source.path()));
    let (a, b) = (restored.path().join("nothing"), restored.path().join("other name"));
    assert_eq!(fs::metadata(a).unwrap().ino(), fs::metadata(b).unwrap().ino());
    assert_eq!(files_in(target.path()), ["data.tar.zst", "data.tar.zst.json"]);
    for file in files_in(target.path()) {
        assert_eq!(fs::metadata(target.path().join(file)).unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn the_manifest_says_what_is_in_the_file() {
    let (source, _target, backup) = odd_backup();
    let manifest = &backup.manifest;
    assert_eq!(artefact::open(&backup.path).unwrap(), backup);
    assert_eq!((manifest.pg_version.as_str(), manifest.uid, manifest.gid), ("15", 70, 70));
    assert_eq!((manifest.files, manifest.bytes), (8, 3 + 300_000 + 9 + 1 + 1 + 1 + 5_000_000));
    assert_eq!(manifest.entries, listing(source.path()).len() as u64);
    assert_eq!(manifest.compressed_bytes, fs::metadata(&backup.path).unwrap().len());
    let sum = Command::new("sha256sum").arg(&backup.path).output().unwrap();
    assert!(String::from_utf8(sum.stdout).unwrap().starts_with(&manifest.sha256));
}

#[test]
fn ordinary_tools_read_the_file() {
    let (source, _target, backup) = odd_backup();
    let restored = tempfile::tempdir().unwrap();
    let archive = zstd::decode_all(File::open(&backup.path).unwrap()).unwrap();
    let plain = tempfile::NamedTempFile::new().unwrap();
    fs::write(plain.path(), archive).unwrap();
    let run = |archive: &Path, into: &Path| {
        let tar = Command::new("tar").arg("-xpf").arg(archive).arg("-C").arg(into).arg("--numeric-owner").output();
        let output = tar.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(plain.path(), restored.path());
    assert_eq!(listing(restored.path()), listing(source.path()));
}

#[test]
fn archives_of_ordinary_tools_are_read() {
    let source = odd_tree();
    let archive = Command::new("tar").args(["--format=posix", "-cf", "-", "-C"]).arg(source.path()).arg(".").output();
    let mut members = Members::new(io::Cursor::new(archive.unwrap().stdout));
    let restored = tempfile::tempdir().unwrap();
    let mut extractor = Extractor::new(restored.path(), &context().cancel).unwrap();
    let (tally, version) = survey(&mut members, &mut |m, content| extractor.add(m, content, &mut |_| ()))
        .map_err(|e| e.into_error("tar"))
        .unwrap();
    extractor.finish().unwrap();
    assert_eq!(listing(restored.path()), listing(source.path()));
    assert_eq!((tally, version.as_str()), (tree::measure(source.path(), &context().cancel).unwrap(), "15"));
}

#[test]
fn the_version_is_found_in_both_layouts() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(pg_version_in(temp.path()).unwrap(), "");
    for major in ["18", "19"] {
        fs::create_dir_all(temp.path().join(major).join("docker")).unwrap();
        fs::write(temp.path().join(major).join("docker/PG_VERSION"), format!("{major}\n")).unwrap();
    }
    let target = tempfile::tempdir().unwrap();
    let backup = back_up(&context(), temp.path(), &target.path().join("new")).unwrap();
    assert_eq!((pg_version_in(temp.path()).unwrap().as_str(), backup.manifest.pg_version.as_str()), ("19", "19"));
    check(&backup).unwrap();
    fs::write(temp.path().join("PG_VERSION"), "17\n").unwrap();
    assert_eq!(pg_version_in(temp.path()).unwrap(), "17");
}

#[test]
fn an_empty_volume_is_backed_up_and_restored() {
    let (source, target, restored) = (tempfile::tempdir(), tempfile::tempdir().unwrap(), tempfile::tempdir());
    let (source, restored) = (source.unwrap(), restored.unwrap());
    set(source.path(), 5, 6, 0o711, (7, 8));
    let backup = back_up(&context(), source.path(), &target.path().join("empty")).unwrap();
    assert_eq!((backup.manifest.entries, backup.manifest.bytes), (1, 0));
    unpack_directory(&context(), &backup, "data", restored.path()).unwrap();
    assert_eq!(listing(restored.path()), listing(source.path()));
}

#[test]
fn an_existing_file_is_never_overwritten_and_leftovers_are() {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let path = target.path().join("data.tar.zst");
    fs::write(&path, "precious").unwrap();
    assert_eq!(back_up(&context(), source.path(), &path).unwrap_err().code, "backup.exists");
    assert_eq!((fs::read(&path).unwrap(), files_in(target.path()).len()), (b"precious".to_vec(), 1));
    fs::remove_file(&path).unwrap();
    // A crash before the last rename leaves both of these.
    fs::write(target.path().join(".data.tar.zst.partial"), noise(1_000_000)).unwrap();
    fs::write(target.path().join("data.tar.zst.json"), "{}").unwrap();
    check(&back_up(&context(), source.path(), &path).unwrap()).unwrap();
    assert_eq!(files_in(target.path()), ["data.tar.zst", "data.tar.zst.json"]);
}

#[test]
fn a_second_writer_of_the_same_name_is_kept_out() {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let path = target.path().join("data.tar.zst");
    let first = Artefact::create(&path, 1, false, &context().cancel).unwrap();
    assert_eq!(back_up(&context(), source.path(), &path).unwrap_err().code, "backup.in_progress");
    drop(first);
    assert!(files_in(target.path()).is_empty());
    back_up(&context(), source.path(), &path).unwrap();
}

#[test]
fn what_a_killed_process_was_writing_is_nobodys() {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let path = target.path().join("data.tar.zst");
    let partial = target.path().join(".data.tar.zst.partial");
    // As we lock it, by another program.
    let mut writer = Command::new("flock");
    writer.arg("--no-fork").arg(&partial).args(["sh", "-c", "echo locked; exec sleep 60"]);
    let mut writer = writer.stdout(std::process::Stdio::piped()).spawn().unwrap();
    writer.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    assert_eq!(back_up(&context(), source.path(), &path).unwrap_err().code, "backup.in_progress");
    fs::write(&partial, noise(1_000_000)).unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    check(&back_up(&context(), source.path(), &path).unwrap()).unwrap();
    assert_eq!(files_in(target.path()), ["data.tar.zst", "data.tar.zst.json"]);
}

#[test]
fn a_backup_is_replaced_when_asked_and_whole_until_then() {
    let (first, second, target) = (odd_tree(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = target.path().join("data.tar.zst");
    let old = back_up(&context(), first.path(), &path).unwrap();
    fs::write(second.path().join("other"), "content").unwrap();
    let again = BackupOptions { replace: true, ..BackupOptions::default() };

    // An attempt that fails on the way, and one that is still writing: the old one is whole.
    let failed = pack(&context(), "data", &path, &again, |_, _| Err(Error::failed("test", "on the way")));
    assert_eq!(failed.err().unwrap().code, "test");
    check(&artefact::open(&path).unwrap()).unwrap();
    let packed = pack(&context(), "data", &path, &again, |out, progress| {
        pack_directory(&context(), second.path(), out, progress)
    });
    assert_eq!(artefact::open(&path).unwrap(), old);
    check(&old).unwrap();

    let new = packed.unwrap().publish(OWNERS_CONTAINER.into()).unwrap();
    check(&artefact::open(&path).unwrap()).unwrap();
    assert_eq!((new.manifest.entries, artefact::open(&path).unwrap()), (2, new));
    assert_eq!(files_in(target.path()), ["data.tar.zst", "data.tar.zst.json"]);

    // A crash between the two renames.
    fs::write(target.path().join("data.tar.zst.json"), serde_json::to_vec(&old.manifest).unwrap()).unwrap();
    assert!(check(&artefact::open(&path).unwrap()).is_err());
    check(&back_up_with(&context(), first.path(), &path, &again).unwrap()).unwrap();
}

#[test]
fn only_a_backup_of_the_same_volume_is_replaced_and_never_by_nothing() {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let again = BackupOptions { replace: true, ..BackupOptions::default() };
    let refused = |source: &Path, path: &Path| back_up_with(&context(), source, path, &again).unwrap_err().code;
    let (directory, precious) = (target.path().join("directory"), target.path().join("precious"));
    fs::create_dir(&directory).unwrap();
    fs::write(&precious, "content").unwrap();
    assert_eq!(refused(source.path(), &directory), "backup.exists");
    assert_eq!(refused(source.path(), &precious), "backup.exists");
    assert_eq!(fs::read(&precious).unwrap(), b"content");

    let path = target.path().join("data.tar.zst");
    let old = back_up_with(&context(), source.path(), &path, &again).unwrap();
    let other = pack(&context(), "other", &path, &again, |_, _| panic!("refused before anything is read"));
    assert_eq!(other.err().unwrap().code, "backup.other_volume");
    assert_eq!(refused(tempfile::tempdir().unwrap().path(), &path), "backup.empty_volume");
    assert_eq!(artefact::open(&path).unwrap(), old);
    check(&old).unwrap();
    assert_eq!(files_in(target.path()), ["data.tar.zst", "data.tar.zst.json", "directory", "precious"]);
}

#[test]
fn a_file_that_appears_at_the_last_moment_stays() {
    let (source, target) = (odd_tree(), tempfile::tempdir().unwrap());
    let path = target.path().join("data.tar.zst");
    let context = context();
    let packed = pack(&context, "data", &path, &BackupOptions::default(), |out, progress| {
        pack_directory(&context, source.path(), out, progress)
    });
    fs::write(&path, "precious").unwrap();
    assert_eq!(packed.unwrap().publish(OWNERS_CONTAINER.into()).unwrap_err().code, "backup.exists");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(files_in(target.path()), ["data.tar.zst"]);
}

#[test]
fn a_backup_cut_off_anywhere_is_cut_off() {
    let (_source, _target, backup) = odd_backup();
    let whole = fs::read(&backup.path).unwrap();
    for length in [0, 1, 3, 12, 5_000, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
        fs::write(&backup.path, &whole[..length]).unwrap();
        let error = check(&backup).unwrap_err();
        assert_eq!(error.code, "backup.cut_off", "{length}: {error}");
        // With a manifest that agrees, only the content can tell.
        let mut agreeing = backup.clone();
        agreeing.manifest.compressed_bytes = length as u64;
        let error = check(&agreeing).unwrap_err();
        assert_eq!(error.code, "backup.cut_off", "{length}: {error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_damage() {
    let (_source, _target, backup) = odd_backup();
    let whole = fs::read(&backup.path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 23).chain([4, 5, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&backup.path, &bytes).unwrap();
        let error = check(&backup).unwrap_err();
        assert!(error.code == "backup.damaged" || error.code == "backup.cut_off", "{at}: {error}");
        assert!(error.hint.is_some());
    }
}

#[test]
fn a_file_that_was_copied_as_text_is_named_so() {
    let (_source, _target, backup) = odd_backup();
    let whole = fs::read(&backup.path).unwrap();
    let text: Vec<u8> = whole.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
    fs::write(&backup.path, text).unwrap();
    let error = check(&backup).unwrap_err();
    assert_eq!(error.code, "backup.damaged");
    assert!(error.message.contains("CRLF"), "{error}");
    let more = [whole.as_slice(), b"more"].concat();
    fs::write(&backup.path, &more).unwrap();
    assert_eq!(check(&backup).unwrap_err().code, "backup.damaged");
    let mut agreeing = backup.clone();
    agreeing.manifest.compressed_bytes = more.len() as u64;
    assert_eq!(check(&agreeing).unwrap_err().code, "backup.damaged");
}

#[test]
fn a_manifest_of_another_content_is_seen() {
    let (_source, target, backup) = odd_backup();
    let changes: [fn(&mut Manifest); 5] = [
        |m| m.entries += 1,
        |m| m.files -= 1,
        |m| m.bytes += 1,
        |m| m.pg_version = "16".into(),
        |m| m.sha256 = "0".repeat(64),
    ];
    for change in changes {
        let mut other = backup.clone();
        change(&mut other.manifest);
        assert_eq!(check(&other).unwrap_err().code, "backup.damaged");
    }
    fs::write(target.path().join("data.tar.zst.json"), "{").unwrap();
    assert_eq!(artefact::open(&backup.path).unwrap_err().code, "backup.damaged");
    fs::remove_file(target.path().join("data.tar.zst.json")).unwrap();
    let error = artefact::open(&backup.path).unwrap_err();
    assert_eq!(error.code, "backup.no_manifest");
    assert!(error.hint.unwrap().contains("zstd -dc"));
    assert_eq!(artefact::open(&target.path().join("none")).unwrap_err().code, "backup.not_found");
}

/// Does something once, when the first bytes of a file are reported.
/// Reacts to the first progress; the number is the furthest that there was.
struct AtFirstBytes<F>(F, AtomicU64);

impl<F: Fn() + Send + Sync> Listener for AtFirstBytes<F> {
    fn hear(&self, event: &Event) {
        if let Event::Progress { done: done @ 1.., .. } = event
            && self.1.fetch_max(*done, Ordering::SeqCst) == 0
        {
            (self.0)();
        }
    }
}

fn watching(react: impl Fn() + Send + Sync + 'static) -> Context {
    Context { listener: Arc::new(AtFirstBytes(react, AtomicU64::new(0))), ..context() }
}

fn big_tree(bytes: u64) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let mut file = File::create(temp.path().join("big")).unwrap();
    let noise = noise(1 << 20);
    for _ in 0..bytes >> 20 {
        file.write_all(&noise).unwrap();
    }
    temp
}

#[test]
fn cancel_midway_leaves_no_file() {
    let (source, target) = (big_tree(512 << 20), tempfile::tempdir().unwrap());
    let cancel = crate::world::Cancel::default();
    let trigger = cancel.clone();
    let listener = Arc::new(AtFirstBytes(move || trigger.cancel(), AtomicU64::new(0)));
    let context = Context { cancel, listener: listener.clone(), ..context() };
    let error = back_up(&context, source.path(), &target.path().join("data.tar.zst")).unwrap_err();
    assert_eq!(error.code, "cancelled");
    let read = listener.1.load(Ordering::SeqCst);
    assert!((1..256 << 20).contains(&read), "{read}");
    assert!(files_in(target.path()).is_empty());
}

#[test]
fn cancelled_restore_says_that_the_volume_is_half_filled() {
    let (source, target) = (big_tree(512 << 20), tempfile::tempdir().unwrap());
    let backup = back_up(&context(), source.path(), &target.path().join("data.tar.zst")).unwrap();
    let cancel = crate::world::Cancel::default();
    let trigger = cancel.clone();
    let context = Context { cancel, ..watching(move || trigger.cancel()) };
    let restored = tempfile::tempdir().unwrap();
    let error = unpack_directory(&context, &backup, "data", restored.path()).unwrap_err();
    assert_eq!(error.code, "cancelled");
    assert!(error.hint.unwrap().contains("half filled"));
}

#[test]
fn what_changes_while_it_is_read_is_an_error() {
    let changes: [fn(&Path); 4] = [
        |root| File::options().write(true).open(root.join("big")).unwrap().set_len(300 << 20).unwrap(),
        |root| File::options().append(true).open(root.join("big")).unwrap().write_all(b"more").unwrap(),
        |root| {
            let mut file = File::options().write(true).open(root.join("big")).unwrap();
            file.seek(SeekFrom::Start(7)).unwrap();
            file.write_all(b"x").unwrap();
        },
        |root| fs::write(root.join("new"), "").unwrap(),
    ];
    for change in changes {
        let (source, target) = (big_tree(400 << 20), tempfile::tempdir().unwrap());
        let root = source.path().to_owned();
        let context = watching(move || change(&root));
        let error = back_up(&context, source.path(), &target.path().join("data.tar.zst")).unwrap_err();
        assert_eq!(error.code, "volume.changed", "{error}");
        assert!(files_in(target.path()).is_empty());
    }
}

/// A server up to 14 writes statistics into a directory of its cluster again and again.
#[test]
fn a_tree_that_a_server_is_at_work_in_is_measured() {
    let source = tempfile::tempdir().unwrap();
    let busy = source.path().join("pg_stat_tmp");
    fs::create_dir(&busy).unwrap();
    fs::write(source.path().join("kept"), [0; 1000]).unwrap();
    let (done, visited) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (temporary, file) = (busy.join("global.tmp"), busy.join("global.stat"));
                fs::write(&temporary, "x").unwrap();
                fs::rename(&temporary, &file).unwrap();
                fs::remove_file(&file).unwrap();
                visited.fetch_add(1, Ordering::Relaxed);
            }
        });
        let measured = || {
            while visited.load(Ordering::Relaxed) < 2000 {
                let bytes = tree::measure(source.path(), &context().cancel).map_err(|e| e.to_string())?.bytes;
                if !(1000..=1002).contains(&bytes) {
                    return Err(format!("{bytes} bytes"));
                }
            }
            Ok(())
        };
        let outcome = measured();
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// A small ext4 file system on a loop device.
struct SmallDisk {
    _image: tempfile::NamedTempFile,
    mount: TempDir,
}

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(bytes).unwrap();
        let mount = tempfile::tempdir().unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(image.path()));
        run(Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(mount.path()));
        fs::remove_dir(mount.path().join("lost+found")).unwrap();
        Self { _image: image, mount }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_is_named_and_left_clean() {
    let (disk, source) = (SmallDisk::new(16 << 20), big_tree(200 << 20));
    fs::write(source.path().join("first"), noise(40 << 20)).unwrap();
    let path: PathBuf = disk.mount.path().join("data.tar.zst");
    let error = back_up(&context(), source.path(), &path).unwrap_err();
    assert_eq!(error.code, "host.disk_full", "{error}");
    assert!(files_in(disk.mount.path()).is_empty());
    // Small enough to end on the disk's last sync or in the compressor's tail.
    let small = tempfile::tempdir().unwrap();
    fs::write(small.path().join("file"), noise(15 << 20)).unwrap();
    let error = back_up(&context(), small.path(), &path).unwrap_err();
    assert_eq!(error.code, "host.disk_full", "{error}");
    assert!(files_in(disk.mount.path()).is_empty());
}

#[test]
fn a_restore_that_has_no_room_does_not_begin() {
    let (disk, target) = (SmallDisk::new(16 << 20), tempfile::tempdir().unwrap());
    let source = big_tree(40 << 20);
    let mut backup = back_up(&context(), source.path(), &target.path().join("data")).unwrap();
    let error = unpack_directory(&context(), &backup, "data", disk.mount.path()).unwrap_err();
    assert_eq!((error.code.as_str(), files_in(disk.mount.path()).len()), ("host.disk_full", 0));
    backup.manifest.bytes = 1;
    let error = unpack_directory(&context(), &backup, "data", disk.mount.path()).unwrap_err();
    assert_eq!(error.code, "host.disk_full", "{error}");
    assert!(error.hint.unwrap().contains("half filled"));
}

#[test]
fn a_restore_never_leaves_its_directory() {
    let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let member = |path: &str, kind, link: &Path| Member {
        path: path.into(),
        kind,
        link: link.as_os_str().as_bytes().to_vec(),
        ..Member::root()
    };
    let mut extractor = Extractor::new(inside.path(), &context().cancel).unwrap();
    let mut add = |m: Member| extractor.add(&m, &mut io::empty(), &mut |_| ()).is_ok();
    assert!(add(member("link", member::Kind::Symlink, outside.path())));
    assert!(!add(member("link/file", member::Kind::File, Path::new(""))));
    assert!(!add(member("link", member::Kind::File, Path::new(""))));
    assert!(!add(member("link/dir", member::Kind::Directory, Path::new(""))));
    assert!(!add(member("hard", member::Kind::HardLink, Path::new("link/x"))));
    assert!(files_in(outside.path()).is_empty());
}
