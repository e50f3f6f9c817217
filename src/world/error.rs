//! The one error type of the outside world: what happened, to what, and what to do next.

use std::fmt;

/// How an error ends a run; each kind has its exit code (see `docs/reference.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something was tried and did not work.
    Failed,
    /// A guard or a preflight check refused; nothing was changed.
    Refused,
    /// The operator cancelled (Ctrl-C, SIGTERM, or "no" to a question).
    Cancelled,
    /// Something outside could not be reached: Docker, Ansible, a host.
    Unavailable,
    /// The command line or a parameter is wrong.
    Usage,
}

/// An error with a stable `code` (`docker.not_found`) that scripts can compare,
/// a `message` for people and an optional `hint` that says what to type or check next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), hint: None }
    }

    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, code, message)
    }

    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, code, message)
    }

    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, message)
    }

    pub fn usage(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, code, message)
    }

    /// The operator pressed Ctrl-C or ended the process politely.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "cancelled", "cancelled by the operator")
    }

    /// Says what to type or check next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that beside the hint there is.
    pub fn further_hint(self, further: &str) -> Self {
        let hint = self.hint.as_deref().map_or(further.to_owned(), |hint| format!("{hint}; {further}"));
        self.hint(hint)
    }

    /// An input or output error, with what was done to which thing: `Error::io("write", path, &e)`.
    pub fn io(action: &str, target: impl fmt::Display, error: &std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull => "host.disk_full",
            std::io::ErrorKind::PermissionDenied => "host.permission",
            std::io::ErrorKind::NotFound => "host.not_found",
            std::io::ErrorKind::AlreadyExists => "host.exists",
            _ => "host.io",
        };
        Self::failed(code, format!("cannot {action} {target}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
