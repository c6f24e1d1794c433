//! The stored form of a handle (`libcalico-go/lib/backend/model/ipam_handle.go`): its name stands in its key.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cidr::BlockCidr;

/// A handle as stored: how many addresses of each block bear it.
///
/// A count may be too high (a crash, or Calico's own over-counting); it is never too low. Blocks iterate in
/// their text order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handle {
    /// Number of addresses by block.
    pub blocks: BTreeMap<BlockCidr, u32>,
    /// Whether the deletion has begun (in two phases, on Kubernetes only); always false in etcd.
    pub deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, deserialize_with = "crate::block::nullable")]
    block: BTreeMap<String, i64>,
    #[serde(default)]
    deleted: bool,
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let block = self.blocks.iter().map(|(b, n)| (b.to_string(), i64::from(*n))).collect();
        Stored { block, deleted: self.deleted }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let mut blocks = BTreeMap::new();
        for (text, count) in stored.block {
            let block: BlockCidr = text.parse().map_err(serde::de::Error::custom)?;
            add(&mut blocks, block, count).map_err(serde::de::Error::custom)?;
        }
        Ok(Handle { blocks, deleted: stored.deleted })
    }
}

/// Adds a stored count. A number that is no count (negative, or of more than 32 bits) makes the handle
/// unreadable, as a rewrite would change it.
pub(crate) fn add(blocks: &mut BTreeMap<BlockCidr, u32>, block: BlockCidr, count: i64) -> Result<(), String> {
    let count =
        u32::try_from(count).map_err(|_| format!("block.{block}: {count} is no number of addresses"))?;
    let sum = blocks.entry(block).or_default();
    *sum = sum.saturating_add(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let text = r#"{"block":{"10.0.0.0/26":1,"fd00:10:244::/122":2},"deleted":false}"#;
        let read: Handle = serde_json::from_str(text).unwrap();
        assert_eq!(read.blocks.values().sum::<u32>(), 3);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(serde_json::from_str::<Handle>(r#"{"block":null}"#).unwrap(), Handle::default());
        // The same block in two spellings: the counts are added.
        let twice = r#"{"block":{"10.0.0.0/26":1,"::ffff:10.0.0.0/122":2,"10.0.0.0/026":4294967295}}"#;
        let read: Handle = serde_json::from_str(twice).unwrap();
        assert_eq!(read.blocks.into_iter().collect::<Vec<_>>(), [("10.0.0.0/26".parse().unwrap(), u32::MAX)]);
    }
}
