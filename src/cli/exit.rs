//! Exit codes: the one table, also shown in `--help`.

use std::process::ExitCode;

use crate::world::Kind;

/// How the program ends; scripts around it and Ansible decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    Refused,
    Cancelled,
    Unavailable,
    Internal,
    /// A third Ctrl-C: out at once, with whatever is half done.
    Killed,
}

impl Exit {
    /// All of them with what they mean.
    pub const TABLE: [(Self, &'static str); 8] = [
        (Self::Done, "done; nothing was found; the run of a `plan` would come to its end"),
        (Self::Failed, "the script failed, or `check`, `diff` or `test` found something"),
        (Self::Usage, "the command line, a parameter or the script's name is wrong; nothing was started"),
        (
            Self::Refused,
            "a guard or a preflight check refused, a `drill` found a broken promise, or a plan is of another world",
        ),
        (Self::Cancelled, "cancelled by the operator"),
        (Self::Unavailable, "something outside could not be reached: Docker, Ansible, a host"),
        (Self::Internal, "an error of pgscript itself"),
        (Self::Killed, "left at once, by a third Ctrl-C"),
    ];

    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Cancelled => 4,
            Self::Unavailable => 5,
            Self::Internal => 70,
            Self::Killed => 130,
        }
    }

    /// The table as text.
    pub fn table() -> String {
        let lines = Self::TABLE.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", exit.code()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Failed => Self::Failed,
            Kind::Refused => Self::Refused,
            Kind::Cancelled => Self::Cancelled,
            Kind::Unavailable => Self::Unavailable,
            Kind::Usage => Self::Usage,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_means_two_things() {
        let mut codes: Vec<_> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 70, 130]);
    }
}
