//! The record of a dump: `dump.json` in a directory, `<path>.json` beside a plain file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::staging;
use crate::world::cancel::Cancel;
use crate::world::error::{Error, Result};
use crate::world::live::Context;
use crate::world::live::progress::Progress;
use crate::world::postgres::Dump;

/// Name of the record in a dump's directory.
pub const NAME: &str = "dump.json";

/// Where the record of a plain dump is.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

/// Writes and syncs the record.
pub fn write(path: &Path, dump: &Dump) -> Result<()> {
    let text = serde_json::to_vec_pretty(dump)
        .map_err(|e| Error::failed("dump.failed", format!("the dump's record cannot be written: {e}")))?;
    let mut file = staging::create(path)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| Error::io("write", path.display(), &e))
}

/// Reads a record; the dump may have been moved since, `path` is where it is now.
pub fn read(record: &Path, path: &Path) -> Result<Dump> {
    let text = fs::read(record).map_err(|e| Error::io("read", record.display(), &e))?;
    let mut dump: Dump = serde_json::from_slice(&text).map_err(|e| {
        let message = format!("{} is not the record of a dump: {e}", record.display());
        Error::failed("dump.damaged", message)
    })?;
    dump.path = path.to_owned();
    Ok(dump)
}

/// Every file below a directory except the record, relative to it, sorted.
pub fn files(root: &Path) -> Result<Vec<String>> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(at)? {
            let path = entry?.path();
            if path.is_dir() {
                walk(root, &path, found)?;
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.display().to_string());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(root, root, &mut found).map_err(|e| Error::io("read", root.display(), &e))?;
    found.retain(|name| name != NAME);
    found.sort();
    Ok(found)
}

/// Checksums of files below `root`, on all cores; also the bytes read.
pub fn checksums(context: &Context, root: &Path, names: &[String]) -> Result<(Vec<(String, String)>, u64)> {
    let total = names.iter().filter_map(|name| fs::metadata(root.join(name)).ok()).map(|m| m.len()).sum();
    let progress = Mutex::new(Progress::bytes(context, "checksum of the dump", Some(total)));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(names.len()));
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get()).min(names.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sum = checksum(&root.join(name), &context.cancel, |bytes| {
                        progress.lock().unwrap_or_else(|e| e.into_inner()).advance(bytes);
                    });
                    results.lock().unwrap_or_else(|e| e.into_inner()).push((name.clone(), sum));
                }
            });
        }
    });
    let mut sums = Vec::with_capacity(names.len());
    for (name, sum) in results.into_inner().unwrap_or_else(|e| e.into_inner()) {
        sums.push((name, sum?));
    }
    sums.sort();
    Ok((sums, total))
}

fn checksum(path: &Path, cancel: &Cancel, mut advance: impl FnMut(u64)) -> Result<String> {
    let failed = |e: io::Error| Error::io("read", path.display(), &e);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        cancel.check()?;
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
        advance(count as u64);
    }
}

/// As `sha256sum` prints it.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 3339, UTC, seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::live::host::testing::context;

    #[test]
    fn checksums_are_those_of_sha256sum() {
        let context = context();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), b"abc").unwrap();
        fs::write(dir.path().join("b"), b"").unwrap();
        fs::write(dir.path().join(NAME), b"{}").unwrap();
        let names = files(dir.path()).unwrap();
        let (sums, bytes) = checksums(&context, dir.path(), &names).unwrap();
        assert_eq!(bytes, 3);
        assert_eq!(sums[0], ("b".into(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()));
        assert_eq!(sums[1], ("d/a".into(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()));
    }
}
