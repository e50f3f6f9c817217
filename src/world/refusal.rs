//! What an engine refuses, as an error with a code; and what is refused before any engine is asked.

use super::error::{Error, Result};

/// What the engine has answered with this HTTP status and this reason, to what was tried: `start container a-1`.
pub fn refused(action: &str, status: u16, reason: &str) -> Error {
    let code = match status {
        // The engine's words for an address of a network; those for a port end otherwise.
        _ if reason.ends_with("Address already in use") => "docker.address_in_use",
        // Of a container whose network was removed while it did not run.
        404 if reason.starts_with("network ") && reason.ends_with(" not found") => "docker.network_gone",
        // Of a container that the engine was starting when it was killed: engines before 23 keep its task.
        _ if reason.starts_with("task ") && reason.ends_with(": already exists") => "docker.half_started",
        404 => "docker.not_found",
        409 => "docker.conflict",
        _ => "docker.failed",
    };
    let reason = if reason.is_empty() { format!("the Docker engine answered {status}") } else { reason.to_owned() };
    let error = Error::failed(code, format!("cannot {action}: {reason}"));
    match code {
        "docker.half_started" => error.hint(
            "the engine was killed while it started that container, and can't start it any more: remove it and create \
             it again; what is on its volumes stays",
        ),
        _ => error,
    }
}

/// The image isn't on this engine.
pub fn image_missing(action: &str, reference: &str) -> Error {
    let message = format!("cannot {action}: the Docker engine has no image {reference}");
    Error::failed("docker.image_missing", message).hint(format!("`docker pull {reference}`, or build it, then go on"))
}

/// Names go into the path of a request: what can't be a name must not become another request.
pub fn checked_name<'a>(kind: &str, name: &'a str) -> Result<&'a str> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Ok(name);
    }
    Err(Error::usage("docker.not_found", format!("`{name}` can't be the name of a {kind}")))
}

/// As [`checked_name`] for image references, which may hold a registry, a path, a tag and a digest.
pub fn checked_reference(reference: &str) -> Result<&str> {
    let first = reference.starts_with(|c: char| c.is_ascii_alphanumeric());
    let all = reference.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/:@".contains(c));
    if first && all && !reference.contains("..") {
        return Ok(reference);
    }
    Err(Error::usage("docker.image_missing", format!("`{reference}` can't be the name of an image")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_another_request() {
        for name in ["", "../images", "a/b", "a?force=1", "-x", "a b"] {
            assert!(checked_name("container", name).is_err(), "{name}");
        }
        assert!(checked_name("container", "primero_postgres-1.old").is_ok());
        assert!(checked_reference("registry:5000/a/b:1.2-pg15@sha256:00ff").is_ok());
        assert!(checked_reference("a/../../containers").is_err());
    }
}
