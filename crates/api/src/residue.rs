//! Parts of a block that cannot be read, as they were stored. [`crate::odd_block`] says which parts can be
//! kept so.

use jiff::Timestamp;
use serde_json::Value as Json;

/// The field of the claim time in etcd and in the embedded store.
pub(crate) const STORED_CLAIM_TIME: &str = "affinity_claim_time";
/// The field of the claim time in Kubernetes.
pub(crate) const OBJECT_CLAIM_TIME: &str = "affinityClaimTime";

/// The unreadable parts of one block, as they were stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    pub(crate) claim_time: Option<Json>,
    pub(crate) unallocated: Vec<Json>,
    pub(crate) sequences: Vec<(String, Json)>,
    /// The field of each part, and why it cannot be read.
    pub(crate) faults: Vec<(String, String)>,
}

/// The claim time of a block whose own cannot be read: no block is taken over for being older than this.
pub(crate) const NEVER_OLD: Timestamp = Timestamp::MAX;

impl Residue {
    /// The field of each part, and why it cannot be read.
    pub fn faults(&self) -> &[(String, String)] {
        &self.faults
    }

    /// Puts the parts back where they were read, into the JSON of the block as it is to be written;
    /// `claim_time` is that block's.
    pub(crate) fn put_back(&self, claim_time: Option<Timestamp>, json: &mut Json, claim_time_field: &str) {
        if let Some(raw) = self.claim_time.as_ref().filter(|_| claim_time == Some(NEVER_OLD)) {
            json[claim_time_field] = raw.clone();
        }
        if let Some(Json::Array(queue)) = json.get_mut("unallocated") {
            queue.extend(self.unallocated.iter().cloned());
        }
        if let Some(Json::Object(numbers)) = json.get_mut("sequenceNumberForAllocation") {
            for (ordinal, raw) in &self.sequences {
                numbers.entry(ordinal.clone()).or_insert_with(|| raw.clone());
            }
        }
    }
}
