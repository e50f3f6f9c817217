//! What changes of shipped files mend, for whoever has an older copy of them: the list in `scripts/changes.toml`.

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

/// One change of shipped files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The version of the program in which it came.
    pub version: String,
    /// Names of the shipped files: `upgrade.rhai`.
    pub files: Vec<String>,
    /// What is better by it, in one sentence.
    pub mends: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (version {})", self.mends, self.version)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    change: Vec<Change>,
}

const TEXT: &str = include_str!("../../scripts/changes.toml");

/// All of them, oldest first. That the text can be read is tested below; without it nothing is told.
static ALL: LazyLock<Vec<Change>> = LazyLock::new(|| toml::from_str::<List>(TEXT).unwrap_or_default().change);

/// How many changes this program knows: what a note of a file that it ejects keeps.
pub fn count() -> usize {
    ALL.len()
}

/// The changes that copies of shipped files may lack, oldest first: of each copy its name, and how many of all changes
/// were known when it was made.
pub fn since(copies: &[(&str, usize)]) -> Vec<&'static Change> {
    let lacks = |(number, change): &(usize, &Change)| {
        copies.iter().any(|(name, known)| number >= known && change.files.iter().any(|file| file == name))
    };
    ALL.iter().enumerate().filter(lacks).map(|(_, change)| change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::shipped;

    fn version(text: &str) -> [u32; 3] {
        let parts: Vec<_> = text.split('.').map(|part| part.parse().expect(text)).collect();
        parts.try_into().expect("three numbers")
    }

    #[test]
    fn every_change_names_shipped_files_and_says_what_it_mends() {
        toml::from_str::<List>(TEXT).unwrap();
        for change in ALL.iter() {
            assert!(!change.files.is_empty() && !change.mends.is_empty(), "{change:?}");
            let unknown = change.files.iter().find(|name| shipped::ALL.iter().all(|file| file.name != **name));
            assert_eq!(unknown, None, "{change:?}");
        }
    }

    #[test]
    fn versions_of_changes_never_go_back_and_none_is_of_a_later_program() {
        let versions: Vec<_> = ALL.iter().map(|change| version(&change.version)).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        assert!(versions.last() <= Some(&version(env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn the_changelog_begins_with_the_version_of_the_program() {
        let first = include_str!("../../CHANGELOG.md").lines().find_map(|line| line.strip_prefix("## "));
        assert_eq!(first.and_then(|line| line.split(' ').next()), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn what_a_copy_knew_already_is_no_change_since_and_what_two_copies_lack_is_said_once() {
        let (all, name) = (count(), "upgrade.rhai");
        assert!(since(&[(name, all)]).is_empty() && since(&[(name, all + 7)]).is_empty(), "also of a later program");
        let lacked = since(&[(name, 0)]);
        assert!(lacked.len() > 1 && lacked.iter().all(|change| change.files.contains(&name.to_owned())));
        let together: Vec<_> = since(&[("wayback.rhai", 0), (name, 0)]).iter().map(|change| &change.mends).collect();
        let is_of_either =
            |change: &&Change| ["wayback.rhai", name].iter().any(|n| change.files.iter().any(|f| f == n));
        assert_eq!(together, ALL.iter().filter(is_of_either).map(|change| &change.mends).collect::<Vec<_>>());
    }
}
