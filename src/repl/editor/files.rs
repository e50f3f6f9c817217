//! Paths of this machine.

use std::path::Path;

use super::candidate::Candidate;

/// The paths that begin with what was typed, listed by their last part; directories end with `/`. Hidden ones come when
/// a point was typed.
pub fn paths(typed: &str) -> Vec<Candidate> {
    let (dir, begin) = typed.split_at(typed.rfind('/').map_or(0, |slash| slash + 1));
    let Ok(entries) = std::fs::read_dir(if dir.is_empty() { Path::new(".") } else { Path::new(dir) }) else {
        return Vec::new();
    };
    // A name that is no UTF-8 can't be typed; one with control characters can't be shown.
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.starts_with(begin) && !name.contains(char::is_control));
    let candidate = |name: String| {
        let path = format!("{dir}{name}");
        let slash = if Path::new(&path).is_dir() { "/" } else { "" };
        Candidate::new(format!("{path}{slash}")).shown(format!("{name}{slash}"))
    };
    names.filter(|name| begin.starts_with('.') || !name.starts_with('.')).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_are_completed_part_by_part() {
        let dir = tempfile::tempdir().unwrap();
        let root = format!("{}/", dir.path().display());
        fs::create_dir(dir.path().join("backups")).unwrap();
        for name in ["backup.tar.zst", "dump.sql", ".hidden", "bell\x07"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = |typed: &str| {
            let mut found: Vec<_> = paths(&format!("{root}{typed}"))
                .into_iter()
                .inspect(|candidate| assert_eq!(candidate.text, format!("{root}{}", candidate.shown)))
                .map(|candidate| candidate.shown)
                .collect();
            found.sort();
            found.join(" ")
        };
        assert_eq!(found(""), "backup.tar.zst backups/ dump.sql");
        assert_eq!(found("back"), "backup.tar.zst backups/");
        assert_eq!(found("."), ".hidden");
        assert_eq!(found("missing/"), "");
        assert!(paths("Cargo.to").iter().any(|candidate| candidate.text == "Cargo.toml"));
    }
}
