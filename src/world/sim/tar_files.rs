//! Files into and out of a container as tar streams, as the engine's archive endpoint has them.

use std::io::Read;

use super::State;
use super::files::Found;
use super::state::Container;
use crate::world::error::{Error, Result};
use crate::world::refusal::refused;

/// A file, or a directory with all that is below it (`DIRECTORY/.` for its content alone), as a tar stream; `None` where
/// there is nothing at that path.
pub(super) fn pack(state: &State, container: &Container, path: &str, action: &str) -> Result<Option<Vec<u8>>> {
    let content = path.strip_suffix("/.");
    let path = content.unwrap_or(path).trim_end_matches('/');
    let base = path.rsplit('/').next().unwrap_or(path);
    if let Some(file) = state.read_file(container, path) {
        return packed(vec![(base.to_owned(), file)]).map(Some).map_err(|e| broken(action, &e));
    }
    let Some(files) = state.files_below(container, path) else { return Ok(None) };
    let prefix = if content.is_some() { "." } else { base };
    let entries = files.into_iter().map(|(path, file)| (format!("{prefix}/{path}"), file)).collect();
    packed(entries).map(Some).map_err(|e| broken(action, &e))
}

fn packed(entries: Vec<(String, Found)>) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in entries {
        let mut header = tar::Header::new_gnu();
        let (uid, gid) = file.owner.split_once(':').unwrap_or(("0", "0"));
        header.set_uid(uid.parse().unwrap_or_default());
        header.set_gid(gid.parse().unwrap_or_default());
        header.set_mode(0o600);
        header.set_size(file.bytes.len() as u64);
        archive.append_data(&mut header, path, file.bytes.as_slice())?;
    }
    archive.into_inner()
}

/// Writes the files of a tar stream below a directory, which must be there. What comes before the end of a stream that
/// is cut off, is written.
pub(super) fn unpack(
    state: &mut State,
    container: &Container,
    directory: &str,
    bytes: &[u8],
    action: &str,
) -> Result<()> {
    let directory = directory.trim_end_matches('/');
    if state.files_below(container, directory).is_none() {
        let reason = format!("Could not find the file {directory} in container {}", container.id);
        return Err(refused(action, 404, &reason));
    }
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().map_err(|e| broken(action, &e))? {
        let mut entry = entry.map_err(|e| broken(action, &e))?;
        let path = entry.path().map_err(|e| broken(action, &e))?.display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|e| broken(action, &e))?;
        if entry.header().entry_type().is_file() {
            state.write_file(container, &format!("{directory}/{path}"), content);
        }
    }
    Ok(())
}

fn broken(action: &str, error: &std::io::Error) -> Error {
    Error::failed("docker.failed", format!("cannot {action}: {error}"))
}
