//! Which files are backups and dumps: known by the manifest or record that lies with them, not by their names.

use std::path::{Path, PathBuf};

use crate::world::Result;
use crate::world::host::Host;
use crate::world::postgres::Dump;
use crate::world::volume::Manifest;

/// The record in the directory of a dump.
const RECORD: &str = "dump.json";
/// Longer ones are no manifests: a dump's record grows with its files, but by lines.
const LONGEST: u64 = 64 << 20;

/// The backups and dumps at, in and around a path.
pub fn find(host: &dyn Host, path: &Path) -> Result<Vec<PathBuf>> {
    for directory in path.ancestors().skip(1) {
        if is_dump(host, directory)? {
            return Ok(vec![directory.to_owned()]);
        }
    }
    let Some(entry) = host.entry(path)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    if entry.is_dir {
        below(host, path, &mut found)?;
    } else {
        let described = path.to_str().and_then(|path| path.strip_suffix(".json")).map(PathBuf::from);
        for (file, manifest) in
            [Some((path.to_owned(), with_json(path))), described.map(|file| (file, path.to_owned()))]
                .into_iter()
                .flatten()
        {
            if describes(host, &manifest)? {
                found.push(file);
            }
        }
    }
    Ok(found)
}

fn below(host: &dyn Host, directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if is_dump(host, directory)? {
        found.push(directory.to_owned());
        return Ok(());
    }
    for entry in host.list(directory)? {
        if entry.is_dir {
            below(host, &entry.path, found)?;
        } else if entry.path.extension().is_some_and(|extension| extension == "json") && describes(host, &entry.path)? {
            found.push(entry.path.with_extension(""));
        }
    }
    Ok(())
}

fn is_dump(host: &dyn Host, directory: &Path) -> Result<bool> {
    describes(host, &directory.join(RECORD))
}

/// `<path>.json`
fn with_json(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Whether a file is the manifest of a backup or the record of a dump.
fn describes(host: &dyn Host, file: &Path) -> Result<bool> {
    let Some(entry) = host.entry(file)?.filter(|entry| !entry.is_dir && entry.size <= LONGEST) else {
        return Ok(false);
    };
    let text = host.read(&entry.path)?;
    let is = |found: serde_json::Result<()>| found.is_ok();
    Ok(is(serde_json::from_slice::<Manifest>(&text).map(drop)) || is(serde_json::from_slice::<Dump>(&text).map(drop)))
}
