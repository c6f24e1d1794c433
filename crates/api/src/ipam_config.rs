//! The stored form of the allocator's configuration (`libcalico-go/lib/backend/model/ipam_config.go`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// How many blocks a host may own if the configuration does not say (`libcalico-go/lib/ipam/ipam.go`).
pub const DEFAULT_MAX_BLOCKS_PER_HOST: u32 = 20;

/// Whether a virtual machine keeps its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Persistence {
    /// A machine keeps its address.
    Enabled,
    /// A machine does not keep its address.
    Disabled,
    /// The stored value is neither of these. A machine keeps its address then, so that nobody else gets it;
    /// the value is written back as it was read.
    #[serde(untagged)]
    Odd(Arc<Json>),
}

/// The allocator's configuration as stored. Values out of range can occur (`calicoctl ipam configure` takes
/// them); the methods read them as Calico's allocator does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamConfig {
    /// Whether a host gets addresses only from blocks that it owns.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict_affinity: bool,
    /// Whether hosts may claim blocks by themselves. If a stored record lacks the field, it is false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_allocate_blocks: bool,
    /// The largest number of blocks that a host may own; 0 stands for the default.
    #[serde(rename = "maxBlocksPerHost", default, skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: i64,
    /// Whether a virtual machine keeps its address.
    #[serde(rename = "kubeVirtVMAddressPersistence", default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// The number of seconds for which a released address is not assigned again.
    #[serde(rename = "ipCooldownSeconds", default, skip_serializing_if = "is_zero")]
    pub cooldown_seconds: i64,
}

impl IpamConfig {
    /// The configuration to use while the record cannot be read: the strictest possible. No address is taken
    /// from another host's block, no block is claimed, and no cooldown ends.
    pub const STRICTEST: IpamConfig = IpamConfig {
        strict_affinity: true,
        auto_allocate_blocks: false,
        max_blocks_per_host: 1,
        persistence: Some(Persistence::Enabled),
        cooldown_seconds: i64::MAX,
    };
}

impl Default for IpamConfig {
    /// The configuration to use while no record exists.
    fn default() -> Self {
        IpamConfig {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            persistence: Some(Persistence::Enabled),
            cooldown_seconds: 0,
        }
    }
}

fn is_false(b: &bool) -> bool {
    !b
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_and_zero_vanish() {
        let text = r#"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4,"kubeVirtVMAddressPersistence":"Enabled","ipCooldownSeconds":30}"#;
        let read: IpamConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        for odd in ["5", "\"maybe\"", "{\"Enabled\":1}", "[\"Enabled\"]"] {
            let text = format!(r#"{{"auto_allocate_blocks":true,"kubeVirtVMAddressPersistence":{odd}}}"#);
            let read: IpamConfig = serde_json::from_str(&text).unwrap();
            assert!(read.auto_allocate_blocks && matches!(read.persistence, Some(Persistence::Odd(_))));
            assert_eq!(serde_json::to_string(&read).unwrap(), text, "kept as it stands");
        }
        let none: IpamConfig = serde_json::from_str(r#"{"kubeVirtVMAddressPersistence":null}"#).unwrap();
        assert_eq!(none.persistence, None);
        let empty: IpamConfig = serde_json::from_str("{}").unwrap();
        assert!(!empty.auto_allocate_blocks);
        assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
    }
}
