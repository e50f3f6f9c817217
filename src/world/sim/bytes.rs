//! How bytes stand in the file of a world: as text where they are text, which takes a fraction of what numbers take.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Text(String),
    Numbers(Vec<u8>),
}

impl From<Kept> for Vec<u8> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Text(text) => text.into_bytes(),
            Kept::Numbers(bytes) => bytes,
        }
    }
}

struct Shown<'b>(&'b [u8]);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    Shown(bytes).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Kept::deserialize(deserializer).map(Vec::from)
}

/// The same of files by their paths.
pub mod by_path {
    use super::*;

    type Files = BTreeMap<String, Vec<u8>>;

    pub fn serialize<S: Serializer>(files: &Files, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(files.iter().map(|(path, bytes)| (path, Shown(bytes))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
        let kept = BTreeMap::<String, Kept>::deserialize(deserializer)?;
        Ok(kept.into_iter().map(|(path, kept)| (path, kept.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Content, Tree};
    use super::*;

    #[test]
    fn bytes_come_back_whether_they_are_text_or_not() {
        for bytes in [b"a\"\n".to_vec(), vec![0xff, 0, 7], Vec::new()] {
            let file = Content::Bytes { bytes: bytes.clone() };
            let text = serde_json::to_string(&file).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), file, "{text}");
            let tree = Tree { files: [("at".to_owned(), bytes)].into(), ..Tree::default() };
            let text = serde_json::to_string(&tree).unwrap();
            assert_eq!(serde_json::from_str::<Tree>(&text).unwrap(), tree, "{text}");
        }
        assert_eq!(serde_json::to_value(Shown(b"text")).unwrap(), "text");
    }
}
