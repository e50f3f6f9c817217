//! Files into and out of a container as tar streams, as the engine's archive endpoint has them.

use std::io::Read;

use super::State;
use super::files::Found;
use super::state::Container;
use crate::world::error::{Error, Result};
use crate::world::refusal::refused;

/// A file, or a directory with all that is below it (`DIRECTORY/.` for its content alone), as a tar stream; `None`
/// where there is nothing at that path.
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

#[cfg(test)]
mod tests {
    use super::super::cluster::Auth;
    use super::super::reference;
    use super::*;

    const SERVER: &str = "primero-postgres-1";
    const DATA: &str = "/var/lib/postgresql/data";

    fn out(state: &State, path: &str) -> Option<Vec<(String, String)>> {
        let bytes = pack(state, state.container(SERVER).unwrap(), path, "copy").unwrap()?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        Some(entries.collect())
    }

    fn put(state: &mut State, directory: &str, name: &str, text: &str) -> Result<()> {
        let file = Found { bytes: text.into(), owner: "999:999".into() };
        let bytes = packed(vec![(name.to_owned(), file)]).unwrap();
        let container = state.container(SERVER).unwrap().clone();
        unpack(state, &container, directory, &bytes, "copy")
    }

    #[test]
    fn files_of_a_cluster_are_read_and_written() {
        let mut state = reference(13);
        assert_eq!(out(&state, &format!("{DATA}/PG_VERSION")).unwrap(), [("PG_VERSION".into(), "13\n".into())]);
        put(&mut state, DATA, "postgresql.conf", "work_mem = '8MB'\n").unwrap();
        put(&mut state, DATA, "postgresql.auto.conf", "port = '5433'\n").unwrap();
        assert_eq!(state.cluster(SERVER).unwrap().settings["work_mem"], "8MB");
        let text = &out(&state, &format!("{DATA}/postgresql.conf")).unwrap()[0].1;
        assert_eq!(text, "port = '5433'\nwork_mem = '8MB'\n");
        let rules = out(&state, &format!("{DATA}/pg_hba.conf")).unwrap()[0].1.clone();
        put(&mut state, DATA, "pg_hba.conf", &rules.replace("all all all md5", "all all all scram-sha-256")).unwrap();
        assert_eq!(state.cluster(SERVER).unwrap().auth, Auth::Scram);
        assert!(state.cluster(SERVER).unwrap().lets_replicate);
        assert!(state.volumes["primero_database"].tree.is_unsynced);
    }

    #[test]
    fn directories_come_with_their_name_or_by_their_content() {
        let mut state = reference(13);
        put(&mut state, "/tmp", "a/b", "x").unwrap();
        assert_eq!(out(&state, "/tmp").unwrap(), [("tmp/a/b".into(), "x".into())]);
        assert_eq!(out(&state, "/tmp/.").unwrap(), [("a/b".into(), "x".into())]);
        assert_eq!(out(&state, "/tmp/a/b").unwrap(), [("b".into(), "x".into())]);
        assert!(out(&state, &format!("{DATA}/.")).unwrap().len() >= 5);
    }

    #[test]
    fn what_is_not_there_is_told_and_so_is_half_a_stream() {
        let mut state = reference(13);
        assert_eq!(out(&state, "/absent"), None);
        assert_eq!(put(&mut state, "/absent", "a", "x").unwrap_err().code, "docker.not_found");
        let file = Found { bytes: vec![7; 4000], owner: "0:0".into() };
        let bytes = packed(vec![("a".into(), file)]).unwrap();
        let container = state.container(SERVER).unwrap().clone();
        let cut = unpack(&mut state, &container, "/tmp", &bytes[..1000], "copy").unwrap_err();
        assert_eq!(cut.code, "docker.failed");
    }
}
