//! What the engine or the way to it complains of, in the words of an operator.

use std::io;
use std::path::Path;

use bollard::errors::Error as Cause;

use crate::world::error::Error;
use crate::world::refusal::refused;
pub(super) use crate::world::refusal::{checked_name, checked_reference, image_missing};

/// For `map_err`: `during("stop container primero-postgres-1")` gives "cannot stop container …: reason".
pub(super) fn during(action: impl Into<String>) -> impl FnOnce(Cause) -> Error {
    let action = action.into();
    move |cause| explain(&action, &cause)
}

fn explain(action: &str, cause: &Cause) -> Error {
    match cause {
        Cause::DockerResponseServerError { status_code, message } => refused(action, *status_code, message.trim()),
        Cause::DockerStreamError { error } => Error::failed("docker.failed", format!("cannot {action}: {error}")),
        Cause::RequestTimeoutError => {
            Error::failed("docker.timeout", format!("cannot {action}: the Docker engine did not answer in time"))
        }
        Cause::JsonDataError { message, .. } => {
            let reason = format!("the Docker engine's answer has an unexpected form ({message})");
            Error::failed("docker.failed", format!("cannot {action}: {reason}"))
        }
        Cause::IOError { .. } | Cause::HyperResponseError { .. } | Cause::HyperLegacyError { .. } => {
            let reason = format!("the connection to the Docker engine broke: {}", root_cause(cause));
            Error::unavailable("docker.unreachable", format!("cannot {action}: {reason}"))
                .hint("is the Docker daemon still running?")
        }
        other => Error::failed("docker.failed", format!("cannot {action}: {}", root_cause(other))),
    }
}

/// Whether the object asked for does not exist.
pub(super) fn is_missing(cause: &Cause) -> bool {
    matches!(cause, Cause::DockerResponseServerError { status_code: 404, .. })
}

/// The innermost reason: the outer ones of an HTTP library ("client error (Connect)") help nobody.
pub(super) fn root_cause(cause: &Cause) -> String {
    let mut innermost: &dyn std::error::Error = cause;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

/// What TLS complains of, said with the files that decide it.
pub(super) fn in_tls(reason: &str, certificates: &Path) -> Option<String> {
    const NOT_OURS: &str = "received fatal alert: ";
    const NOT_THEIRS: &str = "invalid peer certificate: ";
    let file = |name: &str| certificates.join(name).display().to_string();
    if let Some(alert) = reason.strip_prefix(NOT_OURS) {
        let about_us = ["UnknownCA", "AccessDenied"].contains(&alert) || alert.contains("Certificate");
        return about_us.then(|| format!("the engine does not accept the certificate {} ({alert})", file("cert.pem")));
    }
    if let Some(fault) = reason.strip_prefix(NOT_THEIRS) {
        return Some(format!("the engine's certificate is not valid by {}: {fault}", file("ca.pem")));
    }
    reason.contains("InvalidContentType").then(|| "what answers there does not speak TLS".into())
}

/// The kind of the input or output error at the bottom, if it is one.
pub(super) fn io_kind(cause: &Cause) -> Option<io::ErrorKind> {
    let mut layer: Option<&dyn std::error::Error> = Some(cause);
    let mut kind = None;
    while let Some(error) = layer {
        kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
        layer = error.source();
    }
    if let Cause::IOError { err } = cause {
        kind = kind.or(Some(err.kind()));
    }
    kind
}

/// A failure of the caller's own reader or writer. One that carries an [`Error`] (a cancelled copy,
/// a damaged backup) is passed on as it is.
pub(super) fn of_stream(action: &str, target: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(carried) => carried,
        Err(error) => Error::io(action, target, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_gives_the_code_and_the_message_names_what_was_tried() {
        for (status_code, code) in [(404, "docker.not_found"), (409, "docker.conflict"), (500, "docker.failed")] {
            let cause = Cause::DockerResponseServerError { status_code, message: "because\n".into() };
            let error = during("stop container a-1")(cause);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, "cannot stop container a-1: because"));
        }
        let message = "network 8a00eacb7ac2 not found".into();
        let error = during("start container a-1")(Cause::DockerResponseServerError { status_code: 404, message });
        assert_eq!(error.code, "docker.network_gone");
    }

    #[test]
    fn whose_certificate_is_wrong_is_said_with_the_file() {
        let said = |reason| in_tls(reason, Path::new("/c")).unwrap_or_default();
        assert!(said("received fatal alert: UnknownCA").contains("does not accept the certificate /c/cert.pem"));
        assert!(said("received fatal alert: CertificateExpired").contains("/c/cert.pem (CertificateExpired)"));
        assert!(said("invalid peer certificate: UnknownIssuer").contains("not valid by /c/ca.pem: UnknownIssuer"));
        assert!(said("received corrupt message of type InvalidContentType").contains("does not speak TLS"));
        assert_eq!(said("received fatal alert: ProtocolVersion"), "");
        assert_eq!(said("Connection refused (os error 111)"), "");
    }

    #[test]
    fn an_error_carried_by_a_stream_is_passed_on() {
        let carried = io::Error::other(Error::cancelled());
        assert_eq!(of_stream("write", "x", carried), Error::cancelled());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(of_stream("write", "x", full).code, "host.disk_full");
    }
}
