//! The scripts and modules inside the program.

/// What a shipped file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A procedure an operator runs.
    Script,
    /// A module that procedures import.
    Module,
}

/// One file of `scripts/` or `stdlib/`, as it was when the program was built.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    pub kind: Kind,
    /// With its extension: `upgrade.rhai`.
    pub name: &'static str,
    pub text: &'static str,
}

/// All of them, scripts first, by name.
pub const ALL: &[Shipped] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The shipped file of that name, with or without its extension.
pub fn find(name: &str) -> Option<&'static Shipped> {
    ALL.iter().find(|file| file.name == name || file.name.strip_suffix(".rhai") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_because_eject_writes_them_into_one_directory() {
        let mut names: Vec<_> = ALL.iter().map(|file| file.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(find("upgrade").is_some() && find("upgrade.rhai").is_some() && find("nothing").is_none());
    }
}
