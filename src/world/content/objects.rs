//! The objects that a database or cluster consists of, as facts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::world::error::{Error, Result};

/// The parts of an object's name, as they are: schema, table, column for instance. An empty one stands for none.
pub type Name = Vec<String>;

/// What an object is like, each by the name of the fact; what is nothing in particular is left out.
pub type Facts = Map<String, Value>;

/// Bytes of JSON from which on compressing takes less than it gives.
const WORTH_PACKING: usize = 4096;

/// Objects by their kind. A database may have very many, so those of each kind are kept compressed where they are not
/// few, and one kind at a time is unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Objects(BTreeMap<String, Packed>);

impl Objects {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps all objects of a kind.
    pub fn put(&mut self, kind: &str, objects: &BTreeMap<Name, Facts>) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let pairs: Vec<_> = objects.iter().collect();
        let text = serde_json::to_vec(&pairs).map_err(|e| unreadable(kind, &e))?;
        let packed = match text.len() < WORTH_PACKING {
            true => text,
            false => zstd::encode_all(&*text, 3).map_err(|e| unreadable(kind, &e))?,
        };
        self.0.insert(kind.to_owned(), Packed(packed));
        Ok(())
    }

    /// All objects of a kind.
    pub fn of(&self, kind: &str) -> Result<BTreeMap<Name, Facts>> {
        let Some(Packed(packed)) = self.0.get(kind) else { return Ok(BTreeMap::new()) };
        let text = match packed.starts_with(b"[") {
            true => Cow::Borrowed(packed),
            false => Cow::Owned(zstd::decode_all(&**packed).map_err(|e| unreadable(kind, &e))?),
        };
        let pairs: Vec<(Name, Facts)> = serde_json::from_slice(&text).map_err(|e| unreadable(kind, &e))?;
        Ok(pairs.into_iter().collect())
    }

    /// Whether the objects of a kind are known to be the very same, without a look at each.
    pub fn are_same(&self, other: &Self, kind: &str) -> bool {
        self.0.get(kind) == other.0.get(kind)
    }

    pub fn kinds(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn unreadable(kind: &str, why: &dyn fmt::Display) -> Error {
    Error::failed("psql.failed", format!("what a cluster holds (kind {kind}) cannot be kept or read: {why}"))
}

/// A JSON array, as it is or compressed by zstd.
#[derive(Clone, PartialEq, Eq)]
struct Packed(Vec<u8>);

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_survive_being_kept_and_journalled() {
        let facts = serde_json::from_str::<Facts>(r#"{"owner": "primero", "rights": ["a=r/b"]}"#).unwrap();
        let tables = BTreeMap::from([(vec!["public".to_owned(), "Täble".to_owned()], facts)]);
        let mut objects = Objects::default();
        objects.put("table", &tables).unwrap();
        objects.put("view", &BTreeMap::new()).unwrap();
        let many: BTreeMap<_, _> = (0..500).map(|number| (vec![number.to_string()], Facts::new())).collect();
        objects.put("sequence", &many).unwrap();
        let back: Objects = serde_json::from_str(&serde_json::to_string(&objects).unwrap()).unwrap();
        assert_eq!(back, objects);
        assert_eq!(back.of("table").unwrap(), tables);
        assert_eq!(back.of("sequence").unwrap(), many);
        assert!(back.of("view").unwrap().is_empty());
        assert_eq!(back.kinds().collect::<Vec<_>>(), ["sequence", "table"]);
        assert!(back.are_same(&objects, "table") && !back.are_same(&Objects::default(), "table"));
    }
}
