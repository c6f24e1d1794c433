//! The stored form of an affinity (`libcalico-go/lib/backend/model/block_affinity.go`): its owner and block
//! stand in its key.

use serde::{Deserialize, Serialize};

/// How far a host has come in claiming a block, or in giving it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AffinityState {
    /// The claim is announced; the block may not be the owner's yet.
    #[serde(rename = "pending")]
    Pending,
    /// The block is, or was, the owner's. The empty text of old records reads as this.
    #[default]
    #[serde(rename = "confirmed", alias = "")]
    Confirmed,
    /// The owner is giving the block up; until that is done, it may claim the block again.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
}

/// An affinity as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// How far the claim has come.
    #[serde(default)]
    pub state: AffinityState,
    /// Whether the deletion has begun (in two phases, on Kubernetes only); always false in etcd.
    #[serde(default)]
    pub deleted: bool,
}

impl Affinity {
    /// An affinity in that state.
    pub fn new(state: AffinityState) -> Affinity {
        Affinity { state, deleted: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let text = r#"{"state":"pendingDeletion","deleted":false}"#;
        let read: Affinity = serde_json::from_str(text).unwrap();
        assert_eq!(read.state, AffinityState::PendingDeletion);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        for old in [r#"{"state":""}"#, "{}"] {
            assert_eq!(serde_json::from_str::<Affinity>(old).unwrap().state, AffinityState::Confirmed);
        }
    }
}
