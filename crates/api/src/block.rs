//! The stored form of an IPAM block (`libcalico-go/lib/backend/model/block.go`).
//!
//! Only what is stored, and its JSON; the rules by which a block changes are in crate `ipam`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::cidr::BlockCidr;
use crate::key::Owner;
use crate::residue::{Residue, STORED_CLAIM_TIME};
use crate::time;

/// The handle under which the addresses that Windows keeps for itself are marked
/// (`libcalico-go/lib/ipam/ipam_block.go`).
pub const WINDOWS_RESERVED_HANDLE: &str = "windows-reserved-ipam-handle";

/// What is stored about an allocation: whose it is, or when it was given back.
///
/// Addresses that were assigned together share one attribute, and so do copies of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Attribute {
    /// The handle, as stored; compare with [`Attribute::handle`].
    #[serde(default)]
    pub handle_id: Option<String>,
    /// The active owner: node, pod, namespace, timestamp and the like.
    #[serde(rename = "secondary", default, deserialize_with = "nullable")]
    pub owner: BTreeMap<String, String>,
    /// The next owner of an address that moves with a virtual machine.
    #[serde(rename = "alternateOwnerAttrs", default, deserialize_with = "nullable")]
    pub alternate_owner: BTreeMap<String, String>,
    /// When the address was released, to the second; it is cooling down from then on.
    #[serde(rename = "releasedAt", default, deserialize_with = "seconds::deserialize")]
    pub released_at: Option<Timestamp>,
    /// The whole attribute as stored, if a part of it cannot be read. This text is written back; the other
    /// fields hold what could be read.
    #[serde(skip)]
    pub odd: Option<Arc<Json>>,
}

impl Attribute {
    /// Changes the attribute's node, its handle, or both, as they are given: each only where the attribute
    /// has one.
    pub fn rename(&mut self, node: Option<String>, handle: Option<String>) {
        let mut odd = self.odd.as_deref().cloned();
        if let Some(node) = node {
            if let Some(odd) = &mut odd {
                odd["secondary"]["node"] = node.as_str().into();
            }
            self.owner.insert("node".to_string(), node);
        }
        if let Some(handle) = handle {
            if let Some(odd) = &mut odd {
                odd["handle_id"] = handle.as_str().into();
            }
            self.handle_id = Some(handle);
        }
        self.odd = odd.map(Arc::new);
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(odd) = &self.odd {
            return odd.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = &self.handle_id {
            map.serialize_entry("handle_id", id)?;
        }
        for (field, owner) in [("secondary", &self.owner), ("alternateOwnerAttrs", &self.alternate_owner)] {
            if !owner.is_empty() {
                map.serialize_entry(field, owner)?;
            }
        }
        if let Some(time) = self.released_at {
            map.serialize_entry("releasedAt", &time::rfc3339(time))?;
        }
        map.end()
    }
}

impl Attribute {
    /// The handle, cut at the first carriage return (an old fault of Windows nodes left tails in stored
    /// data).
    pub fn handle(&self) -> Option<&str> {
        self.handle_id.as_deref().map(without_tail)
    }
}

/// A block as stored.
///
/// A block is unreadable as a whole if a fault in it makes it doubtful who holds an address: too many or too
/// few allocations, an index that is no number or points beyond the attributes. Other faults are kept as they
/// are, and do no harm: see [`crate::odd_block`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The network.
    pub cidr: BlockCidr,
    /// The owner, as stored (`host:node1`); see [`Block::owner`].
    pub affinity: Option<Arc<str>>,
    /// When the affinity was claimed, to the second.
    pub affinity_claim_time: Option<Timestamp>,
    /// For each ordinal the index of its attribute in `attributes`, or `None` if the address is free.
    pub allocations: Vec<Option<u32>>,
    /// The free ordinals, in the order in which they are used: taken from the front, given back at the end.
    /// They are never sorted.
    pub unallocated: Vec<u32>,
    /// The attributes. After a write, each of them belongs to some ordinal.
    pub attributes: Vec<Arc<Attribute>>,
    /// Grows by one with every write; starts at the nanoseconds since 1970 of the creation.
    pub sequence_number: u64,
    /// For each ordinal the `sequence_number` before the write that allocated it, sorted by ordinal. A
    /// missing entry stands for 0.
    pub sequence_numbers: Vec<(u32, u64)>,
    /// Whether the deletion has begun (in two phases, on Kubernetes only); always false in etcd.
    pub deleted: bool,
    /// A field of old releases, which no program uses; it is kept.
    pub legacy_host_affinity: Option<String>,
    /// Parts that cannot be read; they are written back unchanged.
    pub residue: Option<Arc<Residue>>,
}

impl Block {
    /// The owner; `None` if the stored text names none that this program knows.
    pub fn owner(&self) -> Option<Owner> {
        self.affinity.as_deref().and_then(Owner::from_affinity_text)
    }

    /// The attribute of an ordinal; `None` when it is free, or its index points nowhere.
    pub fn attribute(&self, ordinal: u32) -> Option<&Arc<Attribute>> {
        let index = (*self.allocations.get(ordinal as usize)?)?;
        self.attributes.get(index as usize)
    }

    /// The sequence number with which an ordinal was allocated; 0 when none is recorded.
    pub fn sequence_of(&self, ordinal: u32) -> u64 {
        match self.sequence_numbers.binary_search_by_key(&ordinal, |(o, _)| *o) {
            Ok(at) => self.sequence_numbers[at].1,
            Err(_) => 0,
        }
    }

    /// Whether no address was ever taken. Go writes the `attributes` of such a block as `null`.
    fn is_untouched(&self) -> bool {
        self.attributes.is_empty()
            && self.sequence_numbers.is_empty()
            && self.unallocated.len() == self.allocations.len()
            && self.unallocated.iter().enumerate().all(|(i, o)| i as u32 == *o)
    }

    /// The header: what a search over many blocks needs of this one.
    pub fn header(&self) -> BlockHeader {
        let attributes = |index: u32| {
            let attribute = self.attributes.get(index as usize)?;
            Some((attribute.handle_id.as_deref(), attribute.released_at))
        };
        let (held, cooling) = in_use(&self.allocations, attributes);
        BlockHeader {
            affinity: self.affinity.clone(),
            affinity_claim_time: self.affinity_claim_time,
            free: self.unallocated.len() as u32,
            held,
            cooling,
            sequence_number: self.sequence_number,
        }
    }
}

/// How many ordinals are held, and the first and last time of release of those that cool down. `attributes`
/// gives the handle and the time of release of each attribute.
pub(crate) fn in_use<'a>(
    allocations: &[Option<u32>],
    attributes: impl Fn(u32) -> Option<(Option<&'a str>, Option<Timestamp>)>,
) -> (u32, Option<(Timestamp, Timestamp)>) {
    let (mut held, mut cooling) = (0, None);
    for index in allocations.iter().flatten() {
        match attributes(*index) {
            Some((_, Some(time))) => {
                let (first, last) = cooling.unwrap_or((time, time));
                cooling = Some((time.min(first), time.max(last)));
            }
            Some((handle, None)) if handle.is_some_and(is_kept_by_windows) => {}
            _ => held += 1,
        }
    }
    (held, cooling)
}

/// Whether a handle marks addresses that a Windows host keeps for itself.
pub fn is_kept_by_windows(handle: &str) -> bool {
    without_tail(handle).eq_ignore_ascii_case(WINDOWS_RESERVED_HANDLE)
}

/// The handle without a stored tail: cut at the first carriage return.
fn without_tail(handle: &str) -> &str {
    handle.split('\r').next().unwrap_or_default()
}

/// What a search over many blocks needs of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// As [`Block::affinity`].
    pub affinity: Option<Arc<str>>,
    /// As [`Block::affinity_claim_time`].
    pub affinity_claim_time: Option<Timestamp>,
    /// The number of ordinals in `unallocated`. Ordinals that cool down do not count as free.
    pub free: u32,
    /// The number of ordinals that are held: without those that cool down, and those that a Windows host
    /// keeps for itself.
    pub held: u32,
    /// The first and the last time of release of the ordinals that cool down; `None` if there are none.
    pub cooling: Option<(Timestamp, Timestamp)>,
    /// As [`Block::sequence_number`].
    pub sequence_number: u64,
}

/// The JSON of etcd and of the embedded store, fields in Go's order.
#[derive(Serialize, Deserialize)]
struct Stored {
    cidr: String,
    #[serde(default)]
    affinity: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "seconds")]
    affinity_claim_time: Option<Timestamp>,
    #[serde(rename = "hostAffinity", default, skip_serializing_if = "Option::is_none")]
    host_affinity: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    allocations: Vec<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    unallocated: Vec<u32>,
    #[serde(default)]
    attributes: Option<Vec<Arc<Attribute>>>,
    #[serde(rename = "sequenceNumber", default)]
    sequence_number: u64,
    #[serde(rename = "sequenceNumberForAllocation", default, with = "sequences")]
    sequence_numbers: Vec<(u32, u64)>,
    #[serde(default)]
    deleted: bool,
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = Stored {
            cidr: self.cidr.to_string(),
            affinity: self.affinity.clone(),
            affinity_claim_time: self.affinity_claim_time,
            host_affinity: self.legacy_host_affinity.clone(),
            allocations: self.allocations.clone(),
            unallocated: self.unallocated.clone(),
            attributes: (!self.is_untouched()).then(|| self.attributes.clone()),
            sequence_number: self.sequence_number,
            sequence_numbers: self.sequence_numbers.clone(),
            deleted: self.deleted,
        };
        let Some(residue) = &self.residue else { return stored.serialize(serializer) };
        let mut json = serde_json::to_value(stored).map_err(serde::ser::Error::custom)?;
        residue.put_back(self.affinity_claim_time, &mut json, STORED_CLAIM_TIME);
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        Ok(Block {
            cidr: stored.cidr.parse().map_err(serde::de::Error::custom)?,
            affinity: stored.affinity,
            affinity_claim_time: stored.affinity_claim_time,
            allocations: stored.allocations,
            unallocated: stored.unallocated,
            attributes: stored.attributes.unwrap_or_default(),
            sequence_number: stored.sequence_number,
            sequence_numbers: stored.sequence_numbers,
            deleted: stored.deleted,
            legacy_host_affinity: stored.host_affinity,
            residue: None,
        })
    }
}

/// Go reads `null` as the empty value.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

pub(crate) mod seconds {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(t: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        t.map(time::rfc3339).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        let text: Option<String> = Option::deserialize(d)?;
        text.map(|t| {
            time::parse_rfc3339(&t).ok_or_else(|| serde::de::Error::custom(format!("{t} is no time")))
        })
        .transpose()
    }
}

/// Go writes a map with whole-number keys as text, sorted as text: "0", "1", "10", "2".
mod sequences {
    use super::*;

    pub(super) fn serialize<S: Serializer>(numbers: &[(u32, u64)], s: S) -> Result<S::Ok, S::Error> {
        let mut texts: Vec<(String, u64)> = numbers.iter().map(|(o, n)| (o.to_string(), *n)).collect();
        texts.sort();
        s.collect_map(texts)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(u32, u64)>, D::Error> {
        let map: Option<BTreeMap<u32, u64>> = Option::deserialize(d)?;
        Ok(map.unwrap_or_default().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTOUCHED: &str = r#"{"cidr":"10.0.0.0/30","affinity":"host:node1","affinity_claim_time":"2026-08-01T10:00:00Z","allocations":[null,null,null,null],"unallocated":[0,1,2,3],"attributes":null,"sequenceNumber":1785578400123456789,"sequenceNumberForAllocation":{},"deleted":false}"#;
    const USED: &str = r#"{"cidr":"10.0.0.0/30","affinity":null,"allocations":[0,null,null,1],"unallocated":[1,2],"attributes":[{"handle_id":"k8s-pod-network.5f2c","secondary":{"namespace":"default","node":"node1"}},{"releasedAt":"2026-08-01T10:05:00Z"}],"sequenceNumber":1785578400123456790,"sequenceNumberForAllocation":{"0":1785578400123456789,"3":7},"deleted":false}"#;

    #[test]
    fn stored_text_is_read_and_written_alike() {
        for text in [UNTOUCHED, USED] {
            let block: Block = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&block).unwrap(), text);
        }
        let block: Block = serde_json::from_str(USED).unwrap();
        assert_eq!(block.sequence_of(3), 7);
        assert_eq!(block.sequence_of(1), 0);
        assert_eq!(block.attribute(0).unwrap().handle(), Some("k8s-pod-network.5f2c"));
        assert!(block.attribute(1).is_none());
    }

    #[test]
    fn a_block_of_sixteen_sorts_its_sequence_numbers_as_text() {
        let mut block: Block = serde_json::from_str(UNTOUCHED).unwrap();
        block.sequence_numbers = vec![(1, 1), (2, 2), (10, 3)];
        assert!(serde_json::to_string(&block).unwrap().contains(r#"{"1":1,"10":3,"2":2}"#));
    }
}
