//! What is heard of one database, line by line.

use std::collections::BTreeMap;

use super::Found;
use crate::world::content::{DatabaseContent, NOT_CALLED, Statistics};
use crate::world::error::Result;

/// A table before its rows are read.
#[derive(Clone, Debug)]
pub struct Table {
    pub oid: u32,
    pub bytes: u64,
    /// How many relations are locked to read it.
    pub locks: usize,
    /// It has no rows here, because the server only follows another one.
    pub is_away: bool,
}

/// The sum of what is heard.
#[derive(Default)]
pub struct Gathered {
    pub content: DatabaseContent,
    pub tables: Vec<Table>,
    /// Number of views and of sequences.
    pub views: usize,
    pub sequences: usize,
    /// How many relations all transactions of the server can lock together.
    pub locks: usize,
    pub snapshot: String,
    /// The last thing that is asked was answered.
    pub is_whole: bool,
    found: Found,
    hashes: BTreeMap<String, i128>,
}

impl Gathered {
    /// Takes a line, which is a JSON array with a word at its front.
    pub fn line(&mut self, line: &str) -> serde_json::Result<()> {
        let word = line.trim_start_matches(['[', '"']).split('"').next().unwrap_or_default();
        match word {
            "snapshot" => self.snapshot = serde_json::from_str::<(String, String)>(line)?.1,
            "numbers" => {
                (_, self.views, self.sequences, self.locks) =
                    serde_json::from_str::<(String, usize, usize, usize)>(line)?;
            }
            "size" => self.table(serde_json::from_str(line)?),
            "rows" => self.rows(line)?,
            "value" => self.sequence(serde_json::from_str(line)?),
            "facts" => {
                (_, self.content.large_objects, self.content.extensions) =
                    serde_json::from_str::<(String, u64, BTreeMap<String, String>)>(line)?;
            }
            "statistics" => {
                self.content.statistics = serde_json::from_str::<(String, Statistics)>(line)?.1;
                self.is_whole = true;
            }
            _ => self.found.object(line)?,
        }
        Ok(())
    }

    fn table(&mut self, (_, oid, name, bytes, locks, is_away): (String, u32, String, u64, usize, bool)) {
        self.content.tables.entry(name.clone()).or_default();
        if is_away {
            self.content.unread.insert(name);
        }
        self.tables.push(Table { oid, bytes, locks, is_away });
    }

    /// Rows of a table, or of a partition: those of a root are the sum.
    fn rows(&mut self, line: &str) -> serde_json::Result<()> {
        let (name, count, hash) = match serde_json::from_str::<(String, String, u64, String)>(line) {
            Ok((_, name, count, hash)) => (name, count, hash.parse::<i128>().ok()),
            Err(_) => {
                let (_, name, count) = serde_json::from_str::<(String, String, u64)>(line)?;
                (name, count, None)
            }
        };
        *self.content.tables.entry(name.clone()).or_default() += count;
        if let Some(hash) = hash {
            let sum = self.hashes.entry(name).or_default();
            *sum = sum.wrapping_add(hash);
        }
        Ok(())
    }

    fn sequence(&mut self, (_, name, value, is_called): (String, String, i64, bool)) {
        let value = if is_called { value.to_string() } else { format!("{NOT_CALLED}, begins with {value}") };
        self.content.sequences.insert(name, value);
    }

    /// All of it; a table that was not read at all would be missing among the hashes.
    pub fn content(mut self) -> Result<DatabaseContent> {
        self.content.hashes = self.hashes.into_iter().map(|(name, sum)| (name, format!("{sum:032x}"))).collect();
        self.content.objects = self.found.packed()?;
        Ok(self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_to_a_content() {
        let mut gathered = Gathered::default();
        for line in [
            r#"["snapshot", "0003-1"]"#,
            r#"["table", ["public", "cases"], {"owner": "primero"}]"#,
            r#"["sequence", ["public", "s"], {"owner": "primero"}]"#,
            r#"["numbers", 3, 2, 6400]"#,
            r#"["size", 16384, "public.cases", 8192, 3, false]"#,
            r#"["rows", "public.cases", 2, "-5"]"#,
            r#"["rows", "public.cases", 3, "170141183460469231731"]"#,
            r#"["rows", "public.other", 4]"#,
            r#"["value", "public.s", 7, false]"#,
            r#"["facts", 1, {"plpgsql": "1.0"}]"#,
            r#"["statistics", {"since": "-/1", "tables": {}}]"#,
        ] {
            assert!(!gathered.is_whole);
            gathered.line(line).unwrap();
        }
        assert!(gathered.is_whole);
        assert_eq!((gathered.views, gathered.sequences, gathered.tables[0].locks), (3, 2, 3));
        let content = gathered.content().unwrap();
        assert_eq!((content.tables["public.cases"], content.tables["public.other"]), (5, 4));
        assert_eq!(content.hashes.keys().collect::<Vec<_>>(), ["public.cases"]);
        assert_eq!(content.sequences["public.s"], "not called, begins with 7");
        assert_eq!(content.objects.of("table").unwrap().len(), 1);
        assert_eq!((content.large_objects, content.extensions["plpgsql"].as_str()), (1, "1.0"));
    }
}
